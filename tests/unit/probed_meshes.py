# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Meshes for the tests of the report, from what probes return."""

from __future__ import annotations

import dataclasses

from ansible_collections.esync.mesh.plugins.module_utils._connection.probe import MUST_BE_REFUSED
from ansible_collections.esync.mesh.plugins.plugin_utils._inventory.membership import Cluster
from ansible_collections.esync.mesh.plugins.plugin_utils._report.builder import assemble
from ansible_collections.esync.mesh.plugins.plugin_utils._report.findings import FAULT, Problem
from ansible_collections.esync.mesh.plugins.plugin_utils._report.model import ReportServer


def servers(*names, **states):
    return [ReportServer(name, f"{name}.example", 8732, states.get(name, "ok")) for name in names]


def ok(to):
    return {"to": to, "verdict": "ok", "handshake_ms": 1.5, "tls": "TLSv1.3", "server_fingerprint": "aa"}


def failed(to, cause="connection_timed_out"):
    return {"to": to, "verdict": "failed", "cause": cause, "detail": "No answer.", "remedy": f"Repair the {cause}."}


def all_ok(names, without=()):
    return {name: [ok(to) for to in names if to not in (name, *without)] for name in names if name not in without}


NAMES = ("a", "b", "c")


def numbered(count):
    return [f"s{number:03}" for number in range(count)]


def decided(names, decide, **states):
    """Every pair of those that take part, as ``decide`` decides: a cause, or None."""
    present = [name for name in names if states.get(name, "ok") == "ok"]
    results = {
        source: [
            failed(target, decide(source, target)) if decide(source, target) else ok(target)
            for target in present
            if target != source
        ]
        for source in present
    }
    return assemble(servers(*names, **states), results, "temporary")


def tried(to, **verdicts):
    return [
        {
            "to": to,
            "present": present,
            "verdict": verdicts.get(present, "ok"),
            "cause": "not_refused" if verdicts.get(present) == "failed" else None,
            "detail": "It answered." if present in verdicts else "",
            "remedy": "Close it." if present in verdicts else "",
        }
        for present in MUST_BE_REFUSED
    ]


def ring(**of_b):
    return {"a": tried("b", **of_b), "b": tried("c"), "c": tried("a")}


def problem(server, kind="expired", severity=FAULT, path=None, evidence="They ended.", remedy="Renew."):
    return Problem(server, kind, severity, path, "Its certificates have expired", evidence, remedy)


def sited(results):
    """a and c call b, which has two sites; c is called as a whole."""
    some = servers(*NAMES)
    some[1] = dataclasses.replace(some[1], sites=("shop", "news"))
    return assemble(some, results, "nginx")


SITED = {
    "a": [{**ok("b"), "site": "shop"}, {**ok("b"), "site": "news"}, ok("c")],
    "b": [ok("a"), ok("c")],
    "c": [ok("a"), {**ok("b"), "site": "shop"}, {**failed("b"), "site": "news"}],
}


WEB = Cluster("web", "lb.example", 8732, ("a", "b"))
NO_BALANCER = {
    "cluster": "web",
    "verdict": "failed",
    "cause": "endpoint_not_listening",
    "detail": "Seen\x1b.",
    "remedy": "Start it.",
    "answered": {},
}


def with_cluster(result):
    return assemble(
        servers(*NAMES), all_ok(NAMES), "nginx", clusters=[WEB], connections={"c": [result]} if result else {}
    )
