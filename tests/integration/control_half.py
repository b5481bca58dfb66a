# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The control node's half of a playbook in this process, so that hundreds of runs take minutes.

The three action plugins are called as the role's tasks call them, and the members' visits are the real ones, done here.
Only what Ansible does between the two is left out: what a member returns can be changed on its way.
"""

from __future__ import annotations

import contextlib
import io
import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from local_mesh import ROOT, Mesh

sys.path.insert(1, str(ROOT / "playbooks" / "collections"))

from ansible.module_utils.common.arg_spec import ArgumentSpecValidator  # noqa: E402 - found by the path above
from ansible.parsing.dataloader import DataLoader  # noqa: E402 - likewise

from ansible_collections.esync.mesh.plugins.action import mesh_plan, mesh_report  # noqa: E402 - likewise
from ansible_collections.esync.mesh.plugins.action import visit as visit_action  # noqa: E402 - likewise
from ansible_collections.esync.mesh.plugins.module_utils._connection import listener  # noqa: E402 - likewise
from ansible_collections.esync.mesh.plugins.module_utils._core.errors import EsyncError  # noqa: E402 - likewise
from ansible_collections.esync.mesh.plugins.module_utils._steps import visit as visit_step  # noqa: E402 - likewise
from ansible_collections.esync.mesh.plugins.module_utils._steps.context import Context  # noqa: E402 - likewise
from ansible_collections.esync.mesh.plugins.plugin_utils._action import guarded  # noqa: E402 - likewise

PLAN, VISIT = "__esync_plan", "__esync_visit"
Reply = dict[str, Any]
Lie = Callable[[str, Sequence[Mapping[str, Any]], Reply], Any]
"""Takes the member's name, the steps that it was sent, and its true reply; returns what the control node is given."""


@dataclass
class Outcome:
    """A playbook that ended.

    :param output: everything that would be printed, with the messages of failures.
    :param failed: inventory host to the message by which its part ended; all hosts if the run stopped for all.
    :param unexpected: the kinds of errors that are defects of the control node's half.
    :param reported: whether it came to the report. :param seconds: the longest part on the control node.
    """

    output: str = ""
    failed: dict[str, str] = field(default_factory=dict)
    unexpected: list[str] = field(default_factory=list)
    reported: bool = False
    seconds: float = 0

    @property
    def ok(self) -> bool:
        return not self.failed


class _Hostvars(dict[str, dict[str, Any]]):
    def raw_get(self, host: str) -> dict[str, Any]:
        return self[host]


class _Visit(visit_action.ActionModule):
    """The control node's half of a visit; the host is a folder of this machine."""

    lie: Lie | None = None

    def _call(self, arguments: dict[str, Any], variables: dict[str, Any]) -> dict[str, Any]:
        reply = json.loads(json.dumps(_visited(json.loads(json.dumps(arguments)), self._task.check_mode)))
        if self.lie is not None:
            reply = self.lie(arguments["name"], arguments["steps"], reply)
        return dict(reply)

    def _is_pipelining_enabled(self, module_style: str, wrap_async: bool = False) -> bool:
        return True


def _visited(arguments: dict[str, Any], check: bool) -> Reply:
    validated = ArgumentSpecValidator(visit_step.SPEC).validate(arguments)
    assert not validated.error_messages, validated.error_messages
    try:
        return visit_step.run(validated.validated_parameters, Context(check, False, lambda text: None))
    except EsyncError as error:
        return {"failed": True, **error.to_result()}


class ControlNode:
    """Runs operations on a mesh.

    :param lie: changes what members return.
    """

    def __init__(self, mesh: Mesh, lie: Lie | None = None) -> None:
        self.mesh = mesh
        self.lie = lie
        self.loader = DataLoader()

    def run(self, operation: str, **extra: Any) -> Outcome:
        """Run an operation to its end. :param extra: what a user gives with ``-e``."""
        inventory = json.loads((self.mesh.root / "hosts.json").read_text())["esync"]
        hostvars = _Hostvars()
        for host, own in inventory["hosts"].items():
            made = json.dumps({"inventory_hostname": host, **inventory["vars"], **own})
            hostvars[host] = {**json.loads(made.replace("{{ inventory_hostname }}", host)), **extra}
        run = _Running(self, operation, hostvars)
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
            run.go()
        for name in self.mesh.names:
            listener.end_older(str(self.mesh.host(name)))
        run.outcome.output = "\n".join([printed.getvalue(), *run.outcome.failed.values()])
        return run.outcome


@dataclass
class _Running:
    node: ControlNode
    operation: str
    hostvars: _Hostvars
    outcome: Outcome = field(default_factory=Outcome)

    def go(self) -> None:
        """What roles/esync/tasks/parts does."""
        options: dict[str, Any] = {"operation": self.operation}
        while True:
            plan = self._once(mesh_plan.ActionModule, {"operation": None, **options})
            if plan is None:
                return
            options = {}
            for host in self.hostvars:
                self.hostvars[host][PLAN] = plan
            if plan["part"] != "report":
                for host in self.alive:
                    self._visit(host)
            if not self.alive:
                return
            if plan["part"] != "stage":
                self.outcome.reported = self._once(mesh_report.ActionModule, {}) is not None
                return

    @property
    def alive(self) -> list[str]:
        return [host for host in self.hostvars if host not in self.outcome.failed]

    def _once(self, action: Any, options: dict[str, Any]) -> dict[str, Any] | None:
        """A task with run_once: what fails it ends the play."""
        hosts = list(self.hostvars)
        with self._timed():
            result = self._act(action, self.alive[0], {**options, "plan": PLAN, "visit": VISIT})
        if result.get("failed"):
            self.outcome.failed.update({host: str(result["msg"]) for host in hosts if host in self.alive})
            reported = action is mesh_report.ActionModule and result.get("error") is None
            return result if reported else None
        return result

    def _visit(self, host: str) -> None:
        secrets = {f"{one}_passphrase": self.hostvars[host].get(f"esync_{one}_passphrase") for one in ("pfx", "folder")}
        result = self._act(_Visit, host, {"plan": PLAN, "steps": [], **secrets})
        self.hostvars[host][VISIT] = result
        if result.get("failed"):
            self.outcome.failed[host] = str(result["msg"])
        print(*result.get("warnings", ()), *(str(one) for one in result.get("diff", ())), sep="\n")

    def _act(self, action: Any, host: str, options: dict[str, Any]) -> dict[str, Any]:
        task = SimpleNamespace(
            check_mode=False,
            diff=True,
            get_play=lambda: SimpleNamespace(strategy="linear", get_path=str),
            args={},
            action="x",
        )
        connection = SimpleNamespace(_play_context=SimpleNamespace(no_log=False))
        made = action(task, connection, SimpleNamespace(no_log=False), self.node.loader, None, None)
        made.lie = self.node.lie
        variables = {
            **self.hostvars[host],
            "hostvars": self.hostvars,
            "groups": {"esync": list(self.hostvars)},
            "ansible_play_hosts_all": list(self.hostvars),
            "ansible_play_batch": list(self.hostvars),
            "ansible_play_hosts": self.alive,
            "inventory_file": str(self.node.mesh.root / "hosts.json"),
        }
        result: dict[str, Any] = guarded(made.act)({}, options, variables)
        errors = [result.get("error"), *result.get("errors", ())]
        self.outcome.unexpected += [str(result["msg"]) for one in errors if one and one["kind"] == "unexpected"]
        return result

    @contextlib.contextmanager
    def _timed(self) -> Iterator[None]:
        began = time.monotonic()
        yield
        self.outcome.seconds = max(self.outcome.seconds, time.monotonic() - began)


def public_files(mesh: Mesh, name: str) -> dict[str, bytes]:
    """The certificates, DER, that a member really has: state and role to bytes."""
    found = {}
    for state in ("current", "next", "previous"):
        for role in ("Server", "Client"):
            path = mesh.host(name) / state / f"{name}_Sync{role}.cer"
            if path.exists():
                found[f"{state} {role.lower()}"] = path.read_bytes()
    return found


def everything_else(root: Path, *allowed: str) -> dict[str, bytes]:
    """What lies below a folder, but for some folders in it: path to content."""
    return {
        str(path.relative_to(root)): path.read_bytes() if path.is_file() else b""
        for path in sorted(root.rglob("*"))
        if path.relative_to(root).parts[0] not in allowed
    }
