# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""``mesh.xml``: the mesh for CI systems, a suite for each server that calls, a case for each pair.

Beyond 200 servers one suite has a case for each server instead, with the causes that are found to be this server's.

Three suites more, if there is something to put into them: one with a case for each server itself, one with a case for
each attempt that had to be refused, and one with a case for each server that calls a cluster. Their names cannot be
those of servers.

JUnit has no standard; this is what Jenkins, GitLab and the xunit schema of pytest have in common.
"""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from dataclasses import dataclass, replace

from ansible_collections.esync.mesh.plugins.plugin_utils._inventory.clusters import ClusterCall
from ansible_collections.esync.mesh.plugins.plugin_utils._report.findings import Problem
from ansible_collections.esync.mesh.plugins.plugin_utils._report.grouping import CauseGroup, cause_groups
from ansible_collections.esync.mesh.plugins.plugin_utils._report.model import (
    FAILED,
    OK,
    Mesh,
    Refusal,
    ReportPair,
    ReportServer,
)
from ansible_collections.esync.mesh.plugins.plugin_utils._report.problem_kinds import FAULT
from ansible_collections.esync.mesh.plugins.plugin_utils._wording import pair_command, with_options

PAIRS, SERVERS, REFUSALS, CLUSTERS = "(pairs)", "(servers)", "(refusals)", "(clusters)"

# What XML 1.0 cannot hold in any form (https://www.w3.org/TR/xml/#charsets), lone surrogates among it.
_FORBIDDEN = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def text(mesh: Mesh, generated_at: str, _before: str = "") -> str:
    """The content of ``mesh.xml``.

    A failed pair is a failure, one that should have been tested and was not an error, one outside the run is skipped.

    :param generated_at: UTC.
    """
    suites = {PAIRS: _of_causes(mesh)} if mesh.large else _of_pairs(mesh)
    if mesh.servers_checked or mesh.problems:
        own: dict[str, list[Problem]] = {}
        for problem in mesh.problems:
            own.setdefault(problem.server, []).append(problem)
        suites[SERVERS] = [_of_server(server, own.get(server.name, [])) for server in mesh.servers]
    if mesh.refusals:
        suites[REFUSALS] = [_of_refusal(refusal) for refusal in mesh.refusals]
    if mesh.connections:
        suites[CLUSTERS] = [_of_connection(connection) for connection in mesh.connections]
    top = ET.Element("testsuites", {"name": "esync.mesh", **_counts([case for one in suites.values() for case in one])})
    for name, cases in suites.items():
        suite = ET.SubElement(top, "testsuite", {"name": _clean(name), **_counts(cases)})
        # The schema wants no time zone; the time is UTC.
        suite.set("timestamp", generated_at.rstrip("Z"))
        for case in cases:
            _add_case(suite, replace(case, text=with_options(case.text, mesh.options)))
    ET.indent(top, " ")
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{ET.tostring(top, encoding="unicode")}\n'


@dataclass(frozen=True)
class _Case:
    """A test case. :param outcome: ``failure``, ``error``, ``skipped``, or None if all is well."""

    group: str
    name: str
    outcome: str | None = None
    message: str = ""
    kind: str = ""
    text: str = ""
    milliseconds: float = 0


def _of_pairs(mesh: Mesh) -> dict[str, list[_Case]]:
    """A suite for each server that calls, a case for each pair."""
    suites: dict[str, list[_Case]] = {server.name: [] for server in mesh.servers}
    for pair in mesh.pairs:
        suites[pair.source].append(_of_pair(pair))
    return suites


def _of_causes(mesh: Mesh) -> list[_Case]:
    """A case for each server, with the causes that are its own: a dead one is one error, not one in each other."""
    groups: dict[str, list[CauseGroup]] = {}
    for group in cause_groups(mesh):
        for server in group.servers:
            groups.setdefault(server, []).append(group)
    return [_of_group(server, groups.get(server.name, [])) for server in mesh.servers]


def _of_group(server: ReportServer, groups: Sequence[CauseGroup]) -> _Case:
    if not groups:
        outside = "skipped" if server.state in ("not_in_run", "unreadable") else None
        return _Case(PAIRS, server.name, outside, f"Its state in this run: {server.state}.")
    first = groups[0].first
    return _Case(
        PAIRS,
        server.name,
        "failure" if any(group.failed for group in groups) else "error",
        first.title or first.detail,
        groups[0].causes[0],
        "\n\n".join(str(group) for group in groups),
    )


def _of_pair(pair: ReportPair) -> _Case:
    return _Case(
        pair.source,
        pair.label,
        _outcome(pair),
        pair.title or pair.detail,
        pair.cause or pair.verdict,
        _lines(pair.cause, pair.detail, pair.remedy, pair_command(pair)),
        pair.handshake_ms or 0,
    )


def _of_server(server: ReportServer, own: Sequence[Problem]) -> _Case:
    faults = [problem for problem in own if problem.severity == FAULT]
    first = next(iter(faults or own), None)
    if first is None:
        # An unreachable server is an error in its pairs already.
        away = None if server.state == "ok" else "skipped"
        return _Case(SERVERS, server.name, away, f"Its state in this run: {server.state}.")
    return _Case(
        SERVERS,
        server.name,
        "failure" if faults else "skipped",
        first.cause,
        first.kind,
        "\n\n".join(_lines(one.kind, one.path, one.cause, one.evidence, one.remedy, one.command) for one in own),
    )


def _of_refusal(refusal: Refusal) -> _Case:
    outcomes = {OK: None, FAILED: "failure"}
    return _Case(
        REFUSALS,
        f"{refusal.place} refuses {refusal.source}, presenting {refusal.presented}",
        outcomes.get(refusal.verdict, "skipped"),
        refusal.detail or refusal.verdict,
        refusal.cause or refusal.verdict,
        _lines(refusal.cause, refusal.detail, refusal.remedy),
    )


def _of_connection(connection: ClusterCall) -> _Case:
    return _Case(
        CLUSTERS,
        connection.label,
        _outcome(connection),
        connection.title or connection.detail,
        connection.cause or connection.verdict,
        _lines(connection.cause, connection.detail, connection.remedy, pair_command(connection)),
    )


def _lines(*texts: str | None) -> str:
    return "\n".join(text for text in texts if text)


def _counts(cases: Sequence[_Case]) -> dict[str, str]:
    outcomes = [case.outcome for case in cases]
    seconds = sum(case.milliseconds for case in cases) / 1000
    return {
        "tests": str(len(cases)),
        "failures": str(outcomes.count("failure")),
        "errors": str(outcomes.count("error")),
        "skipped": str(outcomes.count("skipped")),
        "time": f"{seconds:.4f}",
    }


def _add_case(suite: ET.Element, case: _Case) -> None:
    element = ET.SubElement(suite, "testcase", {"classname": _clean(case.group), "name": _clean(case.name)})
    element.set("time", f"{case.milliseconds / 1000:.4f}")
    if case.outcome is None:
        return
    found = ET.SubElement(element, case.outcome, {"message": _clean(case.message)})
    if case.outcome != "skipped":
        found.set("type", _clean(case.kind))
    found.text = _clean(case.text)


def _outcome(one: ReportPair | ClusterCall) -> str | None:
    if one.verdict == OK:
        return None
    if one.verdict == FAILED:
        return "failure"
    return "error" if one.in_scope else "skipped"


def _clean(text: str) -> str:
    return _FORBIDDEN.sub("\ufffd", text)
