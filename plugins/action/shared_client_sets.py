# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Hand every server the client sets of its peers, through the memory of the control node only.

What travels are private keys. They are encrypted, and all the same nothing of them may be printed, logged or written
here: a task that fetches them needs no_log, and what would write or print the modules' own data is refused beforehand.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ansible import constants as C

from ansible_collections.esync.mesh.plugins.module_utils._core.errors import EsyncError
from ansible_collections.esync.mesh.plugins.module_utils._core.libraries import WANTED
from ansible_collections.esync.mesh.plugins.module_utils._core.names import CLIENT
from ansible_collections.esync.mesh.plugins.module_utils._store.indexed_folder import digest_of
from ansible_collections.esync.mesh.plugins.module_utils._store.shared_sets import SharedKey
from ansible_collections.esync.mesh.plugins.plugin_utils._action import Action, plain
from ansible_collections.esync.mesh.plugins.plugin_utils._ledger.records import Ledger, LedgerRecord
from ansible_collections.esync.mesh.plugins.plugin_utils._planning.shared_keys import (
    HeldKeys,
    SharedKeyPlan,
    plan_handed,
    sets_of,
)

OPTIONS: dict[str, Any] = {
    "directory": {"type": "path", "default": "/etc/esync"},
    "name": {"type": "str", "required": True},
    "state": {"type": "str", "choices": ["fetched", "present", "withdrawn", "absent"], "default": "present"},
    "members": {"type": "list", "elements": "dict", "default": []},
    "ledger": {"type": "path"},
    "hosts": {"type": "list", "elements": "str", "default": []},
    "newest": {"type": "bool", "default": False},
    "allow_shrink": {"type": "bool", "default": False},
    "held_variable": {"type": "str", "default": "__esync_handed"},
    "set_variable": {"type": "str", "default": "__esync_set"},
    "fetched_variable": {"type": "str", "default": "__esync_fetched"},
    "pfx_passphrase": {"type": "str", "no_log": True},
    "folder": {"type": "path"},
    "folder_passphrase": {"type": "str", "no_log": True},
    "folder_variable": {"type": "str", "default": "__esync_folder"},
    "file_group": {"type": "str"},
    "web_roots": {"type": "list", "elements": "path", "default": ["/var/www", "/srv/www"]},
}
_SENT_ON = ("directory", "name", "state", "file_group", "web_roots")


class ActionModule(Action):
    """See the module's documentation."""

    SPEC = OPTIONS

    def act(self, result: dict[str, Any], options: dict[str, Any], variables: dict[str, Any]) -> dict[str, Any]:
        if options["state"] == "fetched":
            # Not as a failure, for that would be hidden together with what was fetched.
            try:
                result.update(changed=False, sets=self._fetch(options, variables))
            except EsyncError as error:
                result.update(changed=False, sets={}, problem=str(error))
            return result
        host = variables["inventory_hostname"]
        held = HeldKeys.read(plain(_said(variables["hostvars"][host], options)))
        if options["state"] == "withdrawn":
            return {**result, **self._withdraw(options, held, variables)}
        plan = SharedKeyPlan((), (), held)
        if options["state"] == "present":
            names = [str(member["name"]) for member in options["members"]]
            shrink = options["allow_shrink"]
            plan = plan_handed(options["name"], names, _ledger(options), held, options["newest"], shrink)
        return {**result, **self._hold(options, plan, variables)}

    def _fetch(self, options: Mapping[str, Any], variables: dict[str, Any]) -> dict[str, str]:
        """This server's sets that one of the others lacks: fingerprint to PKCS#12 in base64."""
        record = _ledger(options).get(options["name"])
        own = sets_of(record, options["newest"]) if record else ()
        lacking: set[SharedKey] = set()
        for member in options["members"]:
            if member["host"] in options["hosts"] and member["name"] != options["name"]:
                # Every server looks at every other: by fingerprints only; its own task judges what it holds.
                said = _said(variables["hostvars"][member["host"]], options) or {}
                have = {one["fingerprint"] for one in said.get("entries", ())}
                lacking.update(entry for entry in own if entry.fingerprint not in have)
        if not lacking or self._task.check_mode:
            return {}
        if not self._task.no_log:
            raise EsyncError(
                "the client set would be printed", "Set no_log for this task", kind="no_log", server=options["name"]
            )
        arguments = {key: options[key] for key in _SENT_ON}
        arguments["entries"] = [asdict(entry) for entry in sorted(lacking)]
        arguments["pfx_passphrase"] = options["pfx_passphrase"]
        reply = self._call(arguments, variables, options["name"])
        if reply.get("failed"):
            raise EsyncError(str(reply["msg"]), "", kind="not_fetched")
        return {str(key): str(text) for key, text in reply["sets"].items()}

    def _withdraw(self, options: Mapping[str, Any], held: HeldKeys, variables: dict[str, Any]) -> dict[str, Any]:
        arguments = {key: options[key] for key in _SENT_ON}
        changed = bool(held.entries)
        if changed and not self._task.check_mode:
            reply = self._call(arguments, variables, options["name"], secret=False)
            if reply.get("failed") or reply.get("unreachable"):
                return reply
            changed = bool(reply["changed"])
        return _told(changed, HeldKeys(held.entries, False), held.entries, ())

    def _hold(self, options: Mapping[str, Any], plan: SharedKeyPlan, variables: dict[str, Any]) -> dict[str, Any]:
        fetched: dict[str, str] = {}
        for member in options["members"]:
            found = variables["hostvars"][member["host"]].get(options["fetched_variable"]) or {}
            fetched.update({str(key): str(text) for key, text in plain(found.get("sets") or {}).items()})
        # In check mode nothing is fetched, and what would be is shown.
        names = [str(member["name"]) for member in options["members"]] if self._task.check_mode else []
        would_be = [entry.fingerprint for entry in plan.lacking if entry.peer in names]
        entries = plan.obtainable([*fetched, *would_be, *_carried(options, variables)])
        changed = plan.changes(entries)
        if changed and not self._task.check_mode:
            taken = [entry.fingerprint for entry in entries if entry in plan.lacking]
            sent = {fingerprint: fetched[fingerprint] for fingerprint in taken if fingerprint in fetched}
            arguments = {key: options[key] for key in _SENT_ON}
            arguments["entries"] = [asdict(entry) for entry in entries]
            if sent:
                arguments["pfx_passphrase"] = options["pfx_passphrase"]
                arguments["payload"] = json.dumps(sent)
            if set(taken) - set(sent):
                # The host reads its own folder: these keys do not travel.
                arguments.update({key: options[key] for key in ("folder", "folder_passphrase")})
            reply = self._call(arguments, variables, options["name"], secret=bool(sent))
            if reply.get("failed") or reply.get("unreachable"):
                return reply
        owed = sorted({entry.peer for entry in set(plan.wanted) - set(entries)})
        told = _told(changed, HeldKeys(entries), plan.held.entries, owed)
        if self._task.check_mode:
            # What it holds is looked for there by the tasks that follow.
            told["handed"] = _told(False, plan.held, (), ())["handed"]
        if self._task.diff and changed:
            told["diff"] = {
                "before": _lines(plan.held.entries),
                "after": _lines(entries),
                "before_header": f"{options['directory']}/handed-over",
                "after_header": f"{options['directory']}/handed-over",
            }
        return told

    def _call(
        self, arguments: Mapping[str, Any], variables: dict[str, Any], name: str, secret: bool = True
    ) -> dict[str, Any]:
        """Call the module on the host; of a failure only what this project wrote itself is passed on.

        :param secret: whether private keys are in what is sent or returned.
        """
        if secret:
            self._refuse_leaks(name)
        reply = self._execute_module(
            module_name="esync.mesh.shared_client_sets", module_args=arguments, task_vars=variables
        )
        if reply.get("unreachable"):
            return {"unreachable": True, "msg": f"{name}: the control node cannot reach it."}
        if not reply.get("failed"):
            return dict(reply)
        if reply.get("error"):
            return {key: reply[key] for key in ("failed", "msg", "error", "errors") if key in reply}
        # What Ansible shows of a module that did not end properly can be a part of what it was about to return.
        raise EsyncError(
            "handing the client sets over ended without a result",
            f"Run again; if it comes back, see that Python with cryptography {WANTED} or later works on the host",
            kind="no_result",
            server=name,
        )

    def _refuse_leaks(self, name: str) -> None:
        """Refuse settings of Ansible under which the sets would be written or printed on their way.

        :raises EsyncError: kinds ``no_pipelining``, ``debugging``.
        """
        if C.config.get_config_value("DEFAULT_DEBUG"):
            raise EsyncError(
                "ANSIBLE_DEBUG prints whatever modules return, and private keys are about to be handed over",
                "Run without ANSIBLE_DEBUG",
                kind="debugging",
                server=name,
            )
        if C.config.get_config_value("DEFAULT_KEEP_REMOTE_FILES") or not self._is_pipelining_enabled("new"):
            raise EsyncError(
                "without pipelining Ansible writes what it sends to temporary files, and private keys are about to be "
                "handed over",
                "Let pipelining be used: no ANSIBLE_KEEP_REMOTE_FILES, and a connection and become plugin that can "
                "(ssh and local with sudo can; su cannot)",
                kind="no_pipelining",
                server=name,
            )


def _ledger(options: Mapping[str, Any]) -> dict[str, LedgerRecord]:
    if not options["ledger"]:
        return {}
    return {record.name: record for record in Ledger(Path(options["ledger"])).read_all()}


def _said(variables: Any, options: Mapping[str, Any]) -> Any:
    """What was last registered of what a host holds; None if it holds nothing."""
    for variable in (options["held_variable"], options["set_variable"]):
        said = variables.get(variable) or {}
        if "handed" in said:
            return said["handed"]
    return None


def _carried(options: Mapping[str, Any], variables: Mapping[str, Any]) -> list[str]:
    """The client sets that lie in the host's folder, as exchange_folder_info judged them: fingerprints."""
    if not options["folder"]:
        return []
    found = variables["hostvars"][variables["inventory_hostname"]].get(options["folder_variable"]) or {}
    return [
        str(generation[CLIENT]["fingerprint"])
        for one in plain(found.get("sets") or [])
        for generation in one["generations"]
    ]


def _told(changed: bool, held: HeldKeys, before: Any, owed: Any) -> dict[str, Any]:
    return {
        "changed": changed,
        "handed": {
            "digest": digest_of(held.entries),
            "withdrawn": not held.whole,
            "entries": [asdict(entry) for entry in held.entries],
        }
        if held.entries
        else None,
        "added": [entry.stem for entry in sorted(set(held.entries) - set(before))],
        "removed": [entry.stem for entry in sorted(set(before) - set(held.entries))],
        "owed": list(owed),
    }


def _lines(entries: Any) -> str:
    return "".join(f"{entry.stem} {entry.fingerprint}\n" for entry in entries)
