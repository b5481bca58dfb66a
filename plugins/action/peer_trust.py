# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Plan a server's trust on the control node, and send the host only what it lacks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from ansible_collections.esync.mesh.plugins.module_utils._core.names import ROLES
from ansible_collections.esync.mesh.plugins.module_utils._store.indexed_folder import digest_of
from ansible_collections.esync.mesh.plugins.module_utils._store.trust_folder import TrustEntry, entries_from
from ansible_collections.esync.mesh.plugins.plugin_utils._action import Action
from ansible_collections.esync.mesh.plugins.plugin_utils._ledger.records import Ledger, LedgerRecord
from ansible_collections.esync.mesh.plugins.plugin_utils._planning.trust import (
    TrustPlan,
    asked,
    external_peers_of,
    plan_trust,
    refuse_external_peers,
    refuse_other_model,
)

OPTIONS: dict[str, Any] = {
    "directory": {"type": "path", "default": "/etc/esync"},
    "name": {"type": "str", "required": True},
    "members": {"type": "list", "elements": "dict", "required": True},
    "ledger": {"type": "path", "required": True},
    "trust": {"type": "dict"},
    "distrust": {"type": "list", "elements": "str", "default": []},
    "allow_shrink": {"type": "bool", "default": False},
    "trust_model": {"type": "str", "choices": ["pinned", "shared_keys", "both"], "default": "pinned"},
    "change_model": {"type": "bool", "default": False},
    "web_roots": {"type": "list", "elements": "path", "default": ["/var/www", "/srv/www"]},
}


class ActionModule(Action):
    """See the module's documentation."""

    SPEC = OPTIONS

    def act(self, result: dict[str, Any], options: dict[str, Any], variables: dict[str, Any]) -> dict[str, Any]:
        name = options["name"]
        ledger = Ledger(Path(options["ledger"]))
        records = {record.name: record for record in ledger.read_all()}
        members = [str(member["name"]) for member in options["members"]]
        known, intact = _known_trust(options["trust"])
        model = options["trust_model"]
        if options["change_model"]:
            refuse_external_peers(members, records)
        else:
            refuse_other_model(name, known, model)
        plan = plan_trust(name, members, records, known, intact, options["distrust"], options["allow_shrink"], model)
        changed = plan.changed
        # Nobody to trust yet, and no trust in force: nothing to write (all others are absent).
        if changed and (plan.entries or known) and not self._task.check_mode:
            reply = self._send(options, plan, records, variables)
            if reply.get("failed") or reply.get("unreachable"):
                return reply
        if not self._task.check_mode and name in records:
            _note_received(ledger, name, asked(name, members, records))
        result.update(
            changed=changed and bool(plan.entries or known),
            digest=plan.digest,
            peers=_peers(options["members"], plan.entries, name),
            external_peers=_peers(_guests(members, records), plan.entries, name),
            known=_known(records),
            added=[entry.file_name for entry in plan.added],
            removed=[entry.file_name for entry in plan.removed],
            kept=list(plan.kept),
            owed=list(plan.owed),
            trust={"digest": plan.digest, "entries": [asdict(entry) for entry in plan.entries]},
        )
        if self._task.diff and changed:
            result["diff"] = {
                "before": _lines(known or ()),
                "after": _lines(plan.entries),
                "before_header": f"{options['directory']}/trusted",
                "after_header": f"{options['directory']}/trusted",
            }
        return result

    def _send(
        self,
        options: Mapping[str, Any],
        plan: TrustPlan,
        records: Mapping[str, LedgerRecord],
        task_vars: dict[str, Any],
    ) -> dict[str, Any]:
        pems = {
            str(facts["fingerprint"]): str(facts["pem"])
            for record in records.values()
            for generation in record.generations
            for facts in generation.certificates.values()
        }
        arguments = {
            "directory": options["directory"],
            "name": options["name"],
            "entries": [asdict(entry) for entry in plan.entries],
            "certificates": [pems[fingerprint] for fingerprint in plan.send],
            # The plan refuses to empty a trust that nobody asked to empty.
            "allow_empty": not plan.entries,
            "web_roots": options["web_roots"],
        }
        reply: dict[str, Any] = self._execute_module(
            module_name="esync.mesh.peer_trust", module_args=arguments, task_vars=task_vars
        )
        if (reply.get("error") or {}).get("kind") == "missing_certificates":
            # A file of the trust in force was damaged since it was read: send everything once.
            arguments["certificates"] = sorted(
                pems[entry.fingerprint] for entry in plan.entries if entry.fingerprint in pems
            )
            reply = self._execute_module(
                module_name="esync.mesh.peer_trust", module_args=arguments, task_vars=task_vars
            )
        return reply


def _known_trust(trust: Mapping[str, Any] | None) -> tuple[Sequence[TrustEntry] | None, bool]:
    """The trust in force, and whether it is whole: the host gives one that is not another digest than its entries'."""
    if not trust:
        return None, True
    entries = entries_from(trust["entries"])
    return entries, trust["digest"] == digest_of(entries)


def _note_received(ledger: Ledger, name: str, received: Mapping[str, str]) -> None:
    """What a server last received is what its debts are computed from."""
    with ledger.lock():
        record = ledger.read(name)
        if record and record.trust != received:
            ledger.write(replace(record, trust=received))


def _peers(members: Sequence[Mapping[str, Any]], entries: Sequence[TrustEntry], name: str) -> list[dict[str, Any]]:
    """Every peer with its address and the server certificates that it may show: fingerprint to state.

    A peer whose certificates apply to sites comes once for each of them.
    """
    return [
        {
            "name": member["name"],
            "host": member["host"],
            "address": member["address"],
            "port": site["port"],
            "site": site["name"],
            "server_name": site["server_name"],
            "expected": {
                entry.fingerprint: entry.state
                for entry in entries
                if entry.peer == member["name"] and entry.role == ROLES[0]
            },
        }
        for member in members
        if member["name"] != name
        for site in member.get("sites") or [{"name": None, "port": member["port"], "server_name": None}]
    ]


def _guests(members: Sequence[str], records: Mapping[str, LedgerRecord]) -> list[dict[str, Any]]:
    """The external peers whose endpoint is known, as members are given; none of them is a host of the inventory."""
    found = [records[name] for name in external_peers_of(members, records)]
    return [
        {"name": record.name, "host": record.name, "address": record.address, "port": record.port}
        for record in found
        if record.port
    ]


def _known(records: Mapping[str, LedgerRecord]) -> dict[str, str]:
    """Whose certificate a fingerprint is, over the whole ledger."""
    return {
        str(generation.certificates[role]["fingerprint"]): f"{record.name} {role} {generation.state}"
        for record in records.values()
        for generation in record.generations
        for role in ROLES
    }


def _lines(entries: Sequence[TrustEntry]) -> str:
    return "".join(f"{entry.file_name} {entry.fingerprint}\n" for entry in entries)
