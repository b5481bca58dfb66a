# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""``mesh.xml``: the mesh as a CI system shows it, a suite for each server that calls, a case for each pair.

Three suites more, if there is something to put into them: one with a case for each server itself, one with a case for
each attempt that had to be refused, and one with a case for each server that calls a cluster. Their names cannot be
those of servers.

JUnit has no standard; this is what Jenkins, GitLab and the xunit schema of pytest have in common.
"""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from dataclasses import dataclass

from ansible_collections.esync.mesh.plugins.plugin_utils._inventory.clusters import ClusterCall
from ansible_collections.esync.mesh.plugins.plugin_utils._report.findings import FAULT, Problem
from ansible_collections.esync.mesh.plugins.plugin_utils._report.model import (
    FAILED,
    OK,
    Mesh,
    Refusal,
    ReportPair,
    ReportServer,
    title_of,
)

SERVERS, REFUSALS, CLUSTERS = "(servers)", "(refusals)", "(clusters)"

# What XML 1.0 cannot hold in any form (https://www.w3.org/TR/xml/#charsets), lone surrogates among it.
_FORBIDDEN = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def document(mesh: Mesh, generated_at: str) -> str:
    """The content of ``mesh.xml``.

    A failed pair is a failure, one that should have been tested and was not an error, one outside the run is skipped.

    :param generated_at: UTC.
    """
    suites: dict[str, list[_Case]] = {server.name: [] for server in mesh.servers}
    for pair in mesh.pairs:
        suites[pair.source].append(_of_pair(pair))
    if mesh.judged or mesh.problems:
        suites[SERVERS] = [_of_server(server, mesh.problems) for server in mesh.servers]
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
            _add_case(suite, case)
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


def _of_pair(pair: ReportPair) -> _Case:
    return _Case(
        pair.source,
        pair.label,
        _outcome(pair),
        title_of(pair) or pair.detail,
        pair.cause or pair.verdict,
        "\n".join(text for text in (pair.cause, pair.detail, pair.remedy) if text),
        pair.handshake_ms or 0,
    )


def _of_server(server: ReportServer, problems: Sequence[Problem]) -> _Case:
    own = [problem for problem in problems if problem.server == server.name]
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
        "\n\n".join(
            "\n".join(text for text in (one.kind, one.path, one.cause, one.evidence, one.remedy) if text) for one in own
        ),
    )


def _of_refusal(refusal: Refusal) -> _Case:
    outcomes = {OK: None, FAILED: "failure"}
    return _Case(
        REFUSALS,
        f"{refusal.place} refuses {refusal.source}, showing {refusal.shown}",
        outcomes.get(refusal.verdict, "skipped"),
        refusal.detail or refusal.verdict,
        refusal.cause or refusal.verdict,
        "\n".join(text for text in (refusal.cause, refusal.detail, refusal.remedy) if text),
    )


def _of_connection(connection: ClusterCall) -> _Case:
    return _Case(
        CLUSTERS,
        connection.label,
        _outcome(connection),
        connection.title or connection.detail,
        connection.cause or connection.verdict,
        "\n".join(text for text in (connection.cause, connection.detail, connection.remedy) if text),
    )


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
