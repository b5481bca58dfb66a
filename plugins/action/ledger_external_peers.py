# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Record on the control node the servers that came in folders from elsewhere, all of them or none."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from ansible_collections.esync.mesh.plugins.module_utils._core.names import ROLES
from ansible_collections.esync.mesh.plugins.plugin_utils._action import ControlAction, plain
from ansible_collections.esync.mesh.plugins.plugin_utils._ledger.external_peers import AppliedSet, admit
from ansible_collections.esync.mesh.plugins.plugin_utils._ledger.records import Ledger, LedgerRecord

OPTIONS: dict[str, Any] = {
    "ledger": {"type": "path", "required": True},
    "members": {"type": "list", "elements": "dict", "required": True},
    "hosts": {"type": "list", "elements": "str", "required": True},
    "variable": {"type": "str", "default": "__esync_folder"},
    "accept_changed": {"type": "list", "elements": "str", "default": []},
    "name": {"type": "str"},
    "directory": {"type": "path"},
}


class ActionModule(ControlAction):
    """Runs wholly on the control node; see the module's documentation."""

    SPEC = OPTIONS

    def act(self, result: dict[str, Any], options: dict[str, Any], variables: dict[str, Any]) -> dict[str, Any]:
        hostvars = variables["hostvars"]
        found = [
            AppliedSet.read(str(folder["name"]), str(folder["folder"]), item)
            for folder in (plain(hostvars[host].get(options["variable"]) or {}) for host in options["hosts"])
            for item in folder.get("sets") or ()
        ]
        ledger = Ledger(Path(options["ledger"]))
        if self._task.check_mode:
            before, after = _planned(ledger, found, options)
        else:
            with ledger.lock():
                before, after = _planned(ledger, found, options)
                for entry in after:
                    ledger.write(entry)
        result.update(
            changed=bool(after),
            external_peers=sorted({one.name for one in found} - {str(member["name"]) for member in options["members"]}),
            recorded=[entry.name for entry in after],
        )
        if self._task.diff and after:
            result["diff"] = {
                "before_header": options["ledger"],
                "after_header": options["ledger"],
                "before": "".join(_lines(before[entry.name]) for entry in after if entry.name in before),
                "after": "".join(_lines(entry) for entry in after),
            }
        return result


def _planned(
    ledger: Ledger, found: list[AppliedSet], options: dict[str, Any]
) -> tuple[dict[str, LedgerRecord], list[LedgerRecord]]:
    before = {record.name: record for record in ledger.read_all()}
    members = {str(one["name"]): (str(one["address"]), int(one["port"])) for one in options["members"]}
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    return before, admit(found, members, before, options["accept_changed"], now)


def _lines(entry: LedgerRecord) -> str:
    return "".join(
        f"{entry.name} {role} {generation.state} {generation.certificates[role]['fingerprint']} "
        f"until {generation.certificates[role]['not_after']}\n"
        for generation in entry.generations
        for role in ROLES
    )
