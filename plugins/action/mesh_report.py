# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Report every directed pair, on the control node, and fail the play if the mesh does not hold."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ansible.utils.display import Display

from ansible_collections.esync.mesh.plugins.module_utils._core.names import SHARED_KEYS
from ansible_collections.esync.mesh.plugins.plugin_utils._action import ControlAction, plain
from ansible_collections.esync.mesh.plugins.plugin_utils._inventory.membership import Cluster
from ansible_collections.esync.mesh.plugins.plugin_utils._ledger.control_files import replace_file
from ansible_collections.esync.mesh.plugins.plugin_utils._ledger.records import Ledger, LedgerRecord
from ansible_collections.esync.mesh.plugins.plugin_utils._planning.shared_keys import HeldKeys, plan_handed
from ansible_collections.esync.mesh.plugins.plugin_utils._planning.trust import pending_updates_of
from ansible_collections.esync.mesh.plugins.plugin_utils._report import html as page
from ansible_collections.esync.mesh.plugins.plugin_utils._report import junit
from ansible_collections.esync.mesh.plugins.plugin_utils._report import prometheus as metrics
from ansible_collections.esync.mesh.plugins.plugin_utils._report.conclusions import View, combine, view_of
from ansible_collections.esync.mesh.plugins.plugin_utils._report.findings import Problem, ServerFindings, problems_of
from ansible_collections.esync.mesh.plugins.plugin_utils._report.model import (
    OK,
    Mesh,
    ReportServer,
    assemble,
    connection_lines,
    findings,
    refusal_lines,
    summary,
    terminal,
    to_json,
    trouble_lines,
    verdict,
)

OPTIONS: dict[str, Any] = {
    "members": {"type": "list", "elements": "dict", "required": True},
    "clusters": {"type": "list", "elements": "dict", "default": []},
    "endpoint": {"type": "str", "choices": ["temporary", "nginx", "external"], "default": "temporary"},
    "report_directory": {"type": "path", "required": True},
    "ledger": {"type": "path", "required": True},
    "title": {"type": "str"},
    "judge": {"type": "bool", "default": True},
    "baseline": {"type": "list", "elements": "str"},
    "judge_servers": {"type": "str", "choices": ["in_part", "all", "all_and_fail"], "default": "in_part"},
    "trust_model": {"type": "str", "choices": ["pinned", "shared_keys"], "default": "pinned"},
    "max_clock_skew": {"type": "float", "default": 300},
    "renew_before_days": {"type": "int", "default": 30},
    "name": {"type": "str"},
    "directory": {"type": "path"},
}

DAY = 86400

Writer = Callable[[Mesh, str, str], str]
WRITERS: Mapping[str, Writer] = {
    "mesh.json": lambda mesh, now, _before: json.dumps(to_json(mesh, now), indent=1, ensure_ascii=False) + "\n",
    "mesh.html": lambda mesh, now, _before: page.document(mesh, now),
    "mesh.xml": lambda mesh, now, _before: junit.document(mesh, now),
    "mesh.prom": metrics.text,
}
"""File name to its content: from the mesh, the time in UTC, and what the file held before."""


class ActionModule(ControlAction):
    """Runs wholly on the control node; see the module's documentation."""

    SPEC = OPTIONS

    def act(self, result: dict[str, Any], options: dict[str, Any], variables: dict[str, Any]) -> dict[str, Any]:
        if self._task.check_mode:
            result.update(changed=False, msg="No pair is tested in check mode.", worked=[], worse=[])
            return result
        ledger = {record.name: record for record in Ledger(Path(options["ledger"])).read_all()}
        now = _utc(time.time())
        mesh = _observe(options, variables, ledger, now)
        folder = Path(options["report_directory"])
        for name, write in WRITERS.items():
            replace_file(folder / name, _encodable(write(mesh, now, _read(folder / name))))
        lines = terminal(mesh)
        _show(options["title"], lines)
        worked = [pair.label for pair in mesh.pairs if pair.proved]
        worked += [one.label for one in mesh.connections if one.verdict == OK]
        baseline = set(options["baseline"] or ())
        lost = [pair for pair in mesh.pairs if pair.label in baseline and not pair.proved]
        lost_calls = [one for one in mesh.connections if one.label in baseline and one.verdict != OK]
        worse = [f"{pair.label}: {pair.cause}. {pair.detail}" for pair in lost]
        worse += [f"{one.label}: {one.cause}. {one.detail}" for one in lost_calls]
        result.update(
            changed=False,
            summary=summary(mesh),
            debts=[asdict(debt) for debt in mesh.debts],
            problems=[asdict(problem) for problem in mesh.problems],
            let_in=[asdict(refusal) for refusal in mesh.let_in],
            worse=worse,
            path=str(folder / "mesh.json"),
        )
        compared = options["baseline"] is not None
        bad = bool(worse if compared else (mesh.wrong or mesh.wrong_connections)) or bool(mesh.let_in)
        bad = bad or (options["judge_servers"] == "all_and_fail" and bool(mesh.faults))
        if options["judge"] and bad:
            # Ansible prints a failed result whole: so without the matrix, which stands above, and without every pair.
            worsened = [*refusal_lines(mesh), *trouble_lines(lost), *connection_lines(lost_calls)]
            lines = worsened if compared else []
            result.update(failed=True, msg="\n".join(lines or findings(mesh)))
        else:
            message = f"{verdict(mesh)} The report is {folder / 'mesh.html'}"
            result.update(matrix=lines, worked=worked, msg=message)
        return result


def _observe(
    options: Mapping[str, Any], variables: Mapping[str, Any], ledger: Mapping[str, LedgerRecord], now: str
) -> Mesh:
    hostvars = variables["hostvars"]
    alive = set(variables.get("ansible_play_hosts") or ())
    batch = set(variables.get("ansible_play_batch") or ())
    judged = options["judge_servers"] != "in_part"
    everybody = set(variables.get("ansible_play_hosts_all") or ())
    servers = []
    problems: list[Problem] = []
    versions: dict[str, str] = {}
    found_by: dict[str, Any] = {}
    views: dict[str, View] = {}
    for member in options["members"]:
        host, name = member["host"], str(member["name"])
        own = hostvars[host]
        found = plain(own.get("__esync_set") or {})
        trust: dict[str, Any] = {}
        failures = _failures(found, plain(own.get("__esync_failure") or []))
        if found.get("unreachable"):
            state = "unreachable"
        elif host in everybody and host not in alive:
            state = "failed"
        elif host in batch:
            state = "ok"
            # Taken only of hosts that are still in the run: what others registered may be of an earlier step.
            found_by[name] = plain(own.get("__esync_probe") or {})
            if failures:
                state = "failed"
            elif found.get("readable") is False and not found_by[name].get("results"):
                state = "unreadable"
            trust = plain(own.get("__esync_trust") or {})
            # In the middle of a rotation the trust may be newer than what was read of it.
            views[name] = view_of(found, trust, options["baseline"] is None)
            if found.get("product_version"):
                versions[name] = str(found["product_version"])
        else:
            state, found, failures = "not_in_run", {}, []
        sites = tuple(str(site["name"]) for site in member.get("sites") or ())
        place = (str(member["address"]), int(member["port"]))
        servers.append(ReportServer(name, *place, state, _expiry(ledger.get(name)), sites))
        problems += problems_of(
            ServerFindings(
                name,
                {} if found.get("failed") else found,
                trust,
                ledger.get(name),
                failures,
                judged,
                now,
                _utc(time.time() + options["renew_before_days"] * DAY),
                options["max_clock_skew"],
                *_handed(options, name, found, ledger),
            )
        )
    return assemble(
        servers,
        combine(found_by, views),
        options["endpoint"],
        pending_updates_of([server.name for server in servers], ledger),
        versions=versions,
        refusals={name: said.get("refusals") or () for name, said in found_by.items()},
        clusters=[_cluster(one) for one in options["clusters"]],
        connections={name: said.get("clusters") or () for name, said in found_by.items()},
        problems=problems,
        judged=judged,
        trust_model=options["trust_model"],
    )


def _handed(
    options: Mapping[str, Any], name: str, found: Mapping[str, Any], ledger: Mapping[str, LedgerRecord]
) -> tuple[list[str], list[str]]:
    """The client sets of its peers that a server should hold and does not, and those that it should not hold."""
    held = HeldKeys.read(found.get("handed"))
    if options["trust_model"] != SHARED_KEYS:
        return [], [entry.stem for entry in held.entries]
    plan = plan_handed(name, [str(member["name"]) for member in options["members"]], ledger, held)
    wanted = {entry.fingerprint for entry in plan.wanted}
    surplus = [entry.stem for entry in held.entries if entry.fingerprint not in wanted]
    return [entry.stem for entry in plan.lacking], surplus


def _cluster(given: Mapping[str, Any]) -> Cluster:
    members = tuple(str(name) for name in given["members"])
    return Cluster(str(given["name"]), str(given["address"]), int(given["port"]), members)


def _failures(found: Mapping[str, Any], kept: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The errors by which a host's part of the run ended, of the first call or kept by the step that went on."""
    if kept or not found.get("failed"):
        return kept
    errors = found.get("errors") or [found.get("error")]
    return [error for error in errors if error and error.get("kind") != "unexpected"]


def _utc(seconds: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        # There is none yet; what else is wrong with it, writing it will tell.
        return ""


def _encodable(text: str) -> str:
    """Lone surrogates, which a host's answer may hold, are no text; in a file they stand as question marks."""
    return text.encode("utf-8", errors="replace").decode("utf-8")


def _expiry(record: LedgerRecord | None) -> str | None:
    ends = [
        str(facts["not_after"])
        for generation in (record.generations if record else ())
        if generation.state == "current"
        for facts in generation.certificates.values()
    ]
    return min(ends, default=None)


def _show(title: str | None, lines: list[str]) -> None:
    display = Display()
    display.display("")
    for line in [f"{title}:"] * bool(title) + lines:
        display.display(line)
    display.display("")
