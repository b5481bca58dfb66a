# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Record on the control node which public certificates a server has."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from ansible_collections.esync.mesh.plugins.module_utils._core.errors import EsyncError
from ansible_collections.esync.mesh.plugins.plugin_utils._action import ControlAction
from ansible_collections.esync.mesh.plugins.plugin_utils._ledger.records import (
    COMPROMISED,
    REMOVED,
    Ledger,
    LedgerRecord,
    PresentedSets,
    read_generations,
    recorded,
    render,
    withdrawn,
)

OPTIONS: dict[str, Any] = {
    "ledger": {"type": "path", "required": True},
    "name": {"type": "str", "required": True},
    "address": {"type": "str"},
    "port": {"type": "int"},
    "generations": {"type": "list", "elements": "dict", "default": []},
    "accept_changed": {"type": "bool", "default": False},
    "rotation": {"type": "bool", "default": False},
    "state": {"type": "str", "choices": ["present", "distrusted", "removed"], "default": "present"},
    "directory": {"type": "path"},
}


class ActionModule(ControlAction):
    """Runs wholly on the control node; see the module's documentation."""

    SPEC = OPTIONS

    def act(self, result: dict[str, Any], options: dict[str, Any], variables: dict[str, Any]) -> dict[str, Any]:
        ledger = Ledger(Path(options["ledger"]))
        name = options["name"]
        shown = read_generations(options["generations"], f"the certificates shown by {name}")
        check = self._task.check_mode
        if check:
            before, after = self._after(ledger, options, shown)
            changed = after != before
        else:
            with ledger.lock():
                before, after = self._after(ledger, options, shown)
                changed = after is not None and ledger.write(after)
        result.update(changed=changed, path=str(ledger.path(name)))
        if options["state"] == "removed" and before is None:
            names = ", ".join(record.name for record in ledger.read_all()) or "nobody"
            result["warnings"] = [
                f"The ledger does not know {name}, so there is nothing to take back. It knows {names}."
            ]
        if self._task.diff and changed:
            result["diff"] = {
                "before_header": str(ledger.path(name)),
                "after_header": str(ledger.path(name)),
                "before": _summary(before),
                "after": _summary(after),
            }
        return result

    def _after(
        self, ledger: Ledger, options: dict[str, Any], generations: Any
    ) -> tuple[LedgerRecord | None, LedgerRecord | None]:
        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        before = ledger.read(options["name"])
        if options["state"] == "present":
            if not generations:
                return before, before  # check mode on a fresh host: nothing is known yet
            if before is None and not (options["address"] and options["port"]):
                raise EsyncError(
                    "the ledger does not know it yet, so its address and port are needed",
                    "Give address and port",
                    kind="missing_option",
                    server=options["name"],
                )
            shown = PresentedSets(
                options["name"],
                options["address"] or (before.address if before else ""),
                options["port"] or (before.port if before else 0),
                generations,
                options["accept_changed"],
                options["rotation"],
            )
            return before, recorded(before, shown, now)
        if before is None:
            return None, None
        return before, withdrawn(before, REMOVED if options["state"] == "removed" else COMPROMISED, now)


def _summary(entry: LedgerRecord | None) -> str:
    """The file without the certificates themselves, which nobody can read in a diff."""
    if entry is None:
        return ""
    short = replace(
        entry,
        generations=tuple(
            replace(
                one,
                certificates={
                    role: {key: value for key, value in facts.items() if key != "pem"}
                    for role, facts in one.certificates.items()
                },
            )
            for one in entry.generations
        ),
    )
    return render(short)
