# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Meshes as a run leaves them behind: sound, large, with causes, hostile."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from ansible_collections.esync.mesh.plugins.module_utils._connection.cause_table import CAUSES
from ansible_collections.esync.mesh.plugins.plugin_utils._inventory.clusters import ClusterCall
from ansible_collections.esync.mesh.plugins.plugin_utils._inventory.membership import Cluster
from ansible_collections.esync.mesh.plugins.plugin_utils._ledger.pending import PendingUpdate
from ansible_collections.esync.mesh.plugins.plugin_utils._report.builder import assemble
from ansible_collections.esync.mesh.plugins.plugin_utils._report.findings import FAULT, Problem
from ansible_collections.esync.mesh.plugins.plugin_utils._report.model import Mesh, Refusal, ReportServer

NOW = "2026-11-23T19:00:00Z"
FAR = "2027-11-20T19:00:00Z"
SOON = "2026-12-05T19:00:00Z"
PAST = "2026-11-21T07:30:00Z"

Decide = Callable[[str, str], Any]


def fingerprint(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()


def accepted(source: str, target: str) -> dict[str, Any]:
    return {
        "to": target,
        "verdict": "ok",
        "handshake_ms": round(2 + int(fingerprint(source + target)[:4], 16) / 9000, 1),
        "tls": "TLSv1.3",
        "server_fingerprint": fingerprint(target),
        "client_fingerprint": fingerprint(f"client {source}"),
    }


def refused(source: str, target: str, cause: str, detail: str) -> dict[str, Any]:
    remedy = CAUSES[cause].remedy
    return {**accepted(source, target), "verdict": "failed", "cause": cause, "detail": detail, "remedy": remedy}


def make(
    names: Sequence[str],
    decide: Decide = accepted,
    states: Mapping[str, str] | None = None,
    ends: Mapping[str, str] | None = None,
    pending: Sequence[PendingUpdate] = (),
) -> Mesh:
    """A mesh whose pairs ``decide`` decides, as the probes would; servers of another state than ``ok`` have no part."""
    state = {name: (states or {}).get(name, "ok") for name in names}
    servers = [
        ReportServer(name, f"10.0.{index // 250}.{index % 250 + 1}", 8732, state[name], (ends or {}).get(name, FAR))
        for index, name in enumerate(names)
    ]
    present = [name for name in names if state[name] == "ok"]
    results = {name: [decide(name, peer) for peer in present if peer != name] for name in present}
    return assemble(servers, results, "temporary", pending)


def numbered(count: int, stem: str = "web") -> list[str]:
    return [f"{stem}{number:0{len(str(count))}}" for number in range(1, count + 1)]


def with_causes(count: int) -> Mesh:
    """One dead host, one stale endpoint, one expired certificate, and one certificate that ends soon."""
    names = numbered(count)
    dead, stale, expired, soon = names[count // 3], names[count // 2], names[-4], names[1]

    def decide(source: str, target: str) -> dict[str, Any]:
        if target == stale:
            text = (
                f"{target} (10.0.0.9:8732) serves its previous certificate 1f2e3d4c; {source} requires the current one."
            )
            return refused(source, target, "stale_generation_served", text)
        if target == expired:
            text = f"{target} (10.0.0.27:8732) serves a certificate that ended on {PAST}, as {source} found."
            return refused(source, target, "server_certificate_expired", text)
        if source == expired:
            text = f"{target} refused the client certificate of {source}, which ended on {PAST}."
            return refused(source, target, "client_certificate_expired", text)
        return accepted(source, target)

    update = PendingUpdate(dead, "trust", (names[0],), f"it has still to receive the certificates of {names[0]}")
    return make(names, decide, {dead: "unreachable"}, {expired: PAST, soon: SOON}, [update])


def all_failed(count: int) -> Mesh:
    def decide(source: str, target: str) -> dict[str, Any]:
        return refused(source, target, "endpoint_not_listening", f"{target} (10.0.0.1:8732) refused {source}.")

    return make(numbered(count), decide)


def nothing_tested(count: int) -> Mesh:
    return make(numbered(count), states=dict.fromkeys(numbered(count), "unreachable"))


def limited(count: int) -> Mesh:
    """A run with ``--limit``: two took part."""
    names = numbered(count)
    states = dict.fromkeys(names[2:], "not_in_run")
    news = f"it has still to receive the certificates of {names[0]}"
    return make(names, states=states, pending=[PendingUpdate(name, "trust", (names[0],), news) for name in names[1:]])


def with_sites() -> Mesh:
    """The second of three servers has three sites, one of which refuses one caller."""
    names, sites = numbered(3), ("shop", "news", "blog")
    servers = [replace(one, sites=sites if one.name == names[1] else ()) for one in make(names).servers]

    def call(source: str, target: str, site: str | None) -> dict[str, Any]:
        if (source, site) == (names[0], "news"):
            found = refused(source, target, "endpoint_not_listening", f"{target} [news] refused {source}.")
        else:
            found = accepted(source, target)
        return {**found, "site": site}

    results = {
        source: [call(source, one.name, site) for one in servers if one.name != source for site in one.sites or (None,)]
        for source in names
    }
    return assemble(servers, results, "nginx")


def with_clusters() -> Mesh:
    """Two clusters: one holds, though one of its members never answered; the other's balancer ends TLS."""
    names = numbered(5)
    servers = make(names).servers
    clusters = [Cluster("live", "lb.example", 8732, tuple(names[:3])), Cluster("db", "::1", 8733, (names[4],))]
    bad = refused(names[0], "db", "server_certificate_unknown", "TLS may be ending at the balancer.")
    found = {
        source: [
            {"cluster": "live", "verdict": "ok", "answered": {names[0]: 4, names[2]: 2}},
            {**bad, "cluster": "db", "answered": {}},
        ]
        for source in names
    }
    results = {source: [accepted(source, peer) for peer in names if peer != source] for source in names}
    return assemble(servers, results, "nginx", clusters=clusters, connections=found)


HOSTILE = [
    "</script><script>window.hacked=1</script>",
    "<img src=x onerror=window.hacked=2>",
    "\"'><svg/onload=window.hacked=3>",
    "{{ 7*7 }}${7*7}<%= 7*7 %>",
    "abc\u202egnp.exe\u200f\u05d0\u05d1",
    "<!--<script>\u2028\u2029&lt;&#x27;]]>",
    "controls\x00\x01\x1b[31m\x7f\ud800",
    "long" + "-and-longer" * 40,
]


def hostile() -> Mesh:
    """What must not run, in every place that a text can come to."""

    def decide(source: str, target: str) -> dict[str, Any]:
        if HOSTILE.index(target) % 2:
            return accepted(source, target)
        cause = HOSTILE[(HOSTILE.index(source) + 1) % len(HOSTILE)]
        text = {"detail": f"{source} said {target} {cause}", "remedy": f"{target}: {HOSTILE[0]}", "tls": HOSTILE[1]}
        return {**accepted(source, target), "verdict": "failed", "cause": cause, **text}

    pending = [PendingUpdate(name, HOSTILE[0], (name,), f"pending {name}") for name in HOSTILE]
    mesh = make(HOSTILE, decide, {HOSTILE[3]: "unreachable"}, {HOSTILE[2]: HOSTILE[0]}, pending)
    problems = [Problem(name, f"kind {name}", FAULT, name, name, f"saw {name}", f"repair {name}") for name in HOSTILE]
    refusals = [Refusal(HOSTILE[0], name, HOSTILE[1], "failed", HOSTILE[1], name, name) for name in HOSTILE[1:]]
    clusters = [Cluster(name, name, 1, (HOSTILE[0], name)) for name in HOSTILE]
    calls = [ClusterCall(HOSTILE[0], name, "failed", name, name, f"call {name}", ((name, 1),)) for name in HOSTILE]
    return replace(
        mesh,
        problems=tuple(problems),
        refusals=tuple(refusals),
        clusters=tuple(clusters),
        connections=tuple(calls),
    )
