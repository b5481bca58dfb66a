# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Read a server's own certificate sets, and what is wrong with them; nothing is changed."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any, Dict, Mapping

from ansible_collections.esync.mesh.plugins.module_utils._core import layout, names
from ansible_collections.esync.mesh.plugins.module_utils._core.folders import Folder
from ansible_collections.esync.mesh.plugins.module_utils._core.libraries import require, require_installed
from ansible_collections.esync.mesh.plugins.module_utils._steps import options as shared
from ansible_collections.esync.mesh.plugins.module_utils._steps.context import Context
from ansible_collections.esync.mesh.plugins.module_utils._store.generations import SetOutcome, due_reasons, live
from ansible_collections.esync.mesh.plugins.module_utils._store.local_generation import Mode
from ansible_collections.esync.mesh.plugins.module_utils._store.local_sets import Inspection, inspect

SPEC: Dict[str, Any] = {**shared.SPEC, "deep": {"type": "bool", "default": True}}


def run(options: Mapping[str, Any], context: Context) -> Dict[str, Any]:
    """Read everything once.

    :raises EsyncError: kind ``missing_dependency``, or the directory itself cannot be used.
    """
    deep = options["deep"]
    if deep:
        require()
    else:
        # What reads no certificate needs it neither, but whatever is to be made next does.
        require_installed()
    settings = shared.settings_of(options)
    now = shared.clock()
    with ExitStack() as stack:
        base = Folder.find(options["directory"], any_owner=True)
        if base:
            stack.enter_context(base)
        found = inspect(base, settings.expected, deep) if base else Inspection()
        trust, damage = shared.read_trust(base, settings.name)
        installed, spoilt = shared.shared_keys_of(base, settings.name, settings.gid, deep)
    current = live(found).get(names.CURRENT)
    problems = [*found.errors(), *damage, *spoilt]
    version, unknown = shared.product_version(options)
    return {
        "changed": False,
        "name": settings.name,
        "directory": options["directory"],
        "generations": SetOutcome(False, found).generations(),
        "problems": [error.to_result()["error"] for error in problems],
        "modes": {"/".join((options["directory"], *mode.place)): _shown(mode) for mode in found.modes},
        "restorable": ["/".join((options["directory"], *place)) for place in found.restorable],
        "keys": list(found.keys),
        "stale_manifests": [
            "/".join((options["directory"], names.GENERATIONS, identity, layout.MANIFEST)) for identity in found.unnoted
        ],
        "readable": all(error.kind != "no_permission" for error in problems),
        "due": list(due_reasons(current, settings, now)) if current else [],
        "trust": trust,
        "shared": installed,
        "clock": now.timestamp(),
        "clock_skew": shared.skew_of(now, options["control_clock"]),
        "rotation": found.rotation,
        "product_version": version,
        "product_version_problem": unknown,
    }


def _shown(mode: Mode) -> Dict[str, str]:
    # As ls shows it, which is where the administrator will look.
    return {"found": f"{mode.found:04o}" + "+" * mode.acl, "wanted": f"{mode.wanted:04o}"}
