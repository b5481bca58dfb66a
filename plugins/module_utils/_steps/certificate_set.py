# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Make, keep, switch and retire a server's own certificate sets."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any, Dict, List, Mapping, Sequence

from ansible_collections.esync.mesh.plugins.module_utils._core.folders import Folder, refuse_web_roots
from ansible_collections.esync.mesh.plugins.module_utils._core.layout import BASE_MODE
from ansible_collections.esync.mesh.plugins.module_utils._steps import options as shared
from ansible_collections.esync.mesh.plugins.module_utils._steps.context import WEB_ROOTS, Context, difference
from ansible_collections.esync.mesh.plugins.module_utils._store.generations import (
    RotationLock,
    SetOutcome,
    Sets,
    check_settings,
)
from ansible_collections.esync.mesh.plugins.module_utils._store.run_lock import locked

SPEC: Dict[str, Any] = {
    **shared.SPEC,
    "deep": {"type": "bool", "default": False},
    **WEB_ROOTS,
    "valid_days": {"type": "int", "default": 365},
    "state": {
        "type": "str",
        "choices": ["present", "switched", "rolled_back", "retired", "absent"],
        "default": "present",
    },
    "generation": {"type": "str", "choices": ["current", "next"], "default": "current"},
    "discard_existing": {"type": "bool", "default": False},
    "repair": {"type": "bool", "default": False},
    "renew": {"type": "bool", "default": True},
    "only_due": {"type": "bool", "default": False},
    "max_clock_skew": {"type": "int", "default": 300},
    "lock": {
        "type": "dict",
        "options": {
            "holder": {"type": "str", "required": True},
            "since": {"type": "str", "required": True},
            "id": {"type": "str", "required": True},
            "take_over": {"type": "bool", "default": False},
        },
    },
}


def run(options: Mapping[str, Any], context: Context) -> Dict[str, Any]:
    """Do what was requested, under the lock of the directory.

    :raises EsyncError: what is wrong with the sets, the settings, the clock or the disk; nothing is changed then.
    """
    name, directory = options["name"], options["directory"]
    now = shared.clock()
    settings = shared.settings_of(options)
    shared.check_clock(now, options["control_clock"], options["max_clock_skew"], name)
    refuse_web_roots(directory, options["web_roots"], name)
    check_settings(settings)
    create = not context.check and options["state"] == "present"
    warnings: List[str] = []
    version, unknown = shared.product_version(options)
    with ExitStack() as stack:
        base = Folder.open(directory, create_mode=BASE_MODE) if create else Folder.find(directory)
        if base:
            stack.enter_context(base)
            if not context.check:
                stack.enter_context(locked(base, make=create))
        installed = shared.shared_keys_of(base, name, settings.gid, options["deep"])[0]
        # Without the directory there is nothing to switch, retire or destroy.
        sets = Sets(base, settings, now, context.check or base is None, options["deep"])
        before = sets.found
        outcome = _act(sets, options)
        result = {
            "changed": outcome.changed,
            "name": name,
            "directory": directory,
            "generations": outcome.generations(),
            "reasons": list(outcome.reasons),
            "due": list(outcome.due),
            "repaired": list(outcome.repaired),
            "trust": shared.trust_of(base, name, warnings),
            "shared": installed if options["state"] != "absent" or context.check else None,
            "clock": now.timestamp(),
            "rotation": outcome.inspection.rotation,
            "product_version": version,
            "product_version_problem": unknown,
        }
    for warning in warnings:
        context.warn(warning)
    if context.diff and outcome.changed:
        planned = outcome.reasons if context.check else ()
        result["diff"] = difference(directory, _summary(SetOutcome(False, before), ()), _summary(outcome, planned))
    return result


def _act(sets: Sets, options: Mapping[str, Any]) -> SetOutcome:
    lock = RotationLock(**options["lock"]) if options["lock"] else None
    if options["state"] != "present":
        outcome: SetOutcome = getattr(sets, options["state"])()
        return outcome
    if options["discard_existing"]:
        return sets.present(discard=True, lock=lock)
    if options["generation"] == "next":
        return sets.next(options["only_due"], lock)
    return sets.present(options["renew"], lock=lock, repair=options["repair"])


def _summary(outcome: SetOutcome, planned: Sequence[str]) -> str:
    lines = [
        f"{generation['state']} {role} {generation[role]['fingerprint']} until {generation[role]['not_after']}"
        for generation in outcome.generations()
        for role in ("server", "client")
    ]
    lines += [f"new certificates ({', '.join(planned)})"] * bool(planned)
    return "".join(f"{line}\n" for line in lines)
