# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The results of the calls to load-balanced clusters through their load balancers (docs/clusters.md)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ansible_collections.esync.mesh.plugins.module_utils._connection.cause_table import CAUSES
from ansible_collections.esync.mesh.plugins.plugin_utils._inventory.membership import Cluster
from ansible_collections.esync.mesh.plugins.plugin_utils._report import untested as reasons
from ansible_collections.esync.mesh.plugins.plugin_utils._wording import cluster_label, pair_line


@dataclass(frozen=True)
class ClusterCall:
    """The calls of one server to one cluster that it is no member of.

    :param verdict: ``ok`` if a pinned member answered each time, ``failed``, or ``untested``.
    :param cause: a key of the diagnosis table; None unless something is wrong.
    :param answered: member and how often it answered, of those that did.
    :param in_scope: whether this run should have tested it.
    """

    source: str
    cluster: str
    verdict: str
    cause: str | None = None
    detail: str = ""
    remedy: str = ""
    answered: tuple[tuple[str, int], ...] = ()
    in_scope: bool = True

    @property
    def label(self) -> str:
        return cluster_label(self.source, self.cluster)

    @property
    def target(self) -> str:
        """What is called."""
        return self.cluster

    @property
    def wrong(self) -> bool:
        """Whether it fails the run."""
        return self.verdict == "failed" or (self.verdict == "untested" and self.in_scope)

    @property
    def title(self) -> str:
        """The cause in a few plain words; empty if it has none."""
        return CAUSES[self.cause].title if self.cause in CAUSES else self.cause or ""

    def __str__(self) -> str:
        return pair_line(self)


def connect(
    clusters: Sequence[Cluster],
    states: Mapping[str, str],
    found: Mapping[str, Sequence[Mapping[str, Any]]],
    both_ends: bool,
) -> tuple[ClusterCall, ...]:
    """Every server with every cluster that it is no member of, tested or not.

    Members are not called through their own load balancer: they have each other, and many load balancers do not support
    hairpin connections.

    :param states: server name to its state in the run, as in the report.
    :param found: server name to what its probe found of the clusters.
    :param both_ends: whether the members, too, must be in the run to be tested, because only then they listen.
    """
    results = {(source, str(result["cluster"])): result for source, one in found.items() for result in one}
    return tuple(
        _connection(source, cluster, states, results.get((source, cluster.name)), both_ends)
        for cluster in clusters
        for source in states
        if source not in cluster.members
    )


def _connection(
    source: str, cluster: Cluster, states: Mapping[str, str], result: Mapping[str, Any] | None, both_ends: bool
) -> ClusterCall:
    if result:
        return ClusterCall(
            source,
            cluster.name,
            str(result["verdict"]),
            result.get("cause"),
            result.get("detail") or "",
            result.get("remedy") or "",
            tuple((str(name), int(count)) for name, count in (result.get("answered") or {}).items()),
        )
    ends = (source, *cluster.members) if both_ends else (source,)
    outside = [end for end in ends if states[end] in ("not_in_run", "unreadable")]
    if outside:
        text = f"{' and '.join(outside)} took no part in this run."
        return ClusterCall(source, cluster.name, "untested", detail=text, in_scope=False)
    away = next((end for end in ends if states[end] in reasons.AWAY), None)
    why = reasons.away(away, states[away]) if away else reasons.no_result(source)
    return ClusterCall(source, cluster.name, "untested", why.cause, why.detail, why.remedy)


def to_json(clusters: Iterable[Cluster], connections: Sequence[ClusterCall]) -> list[dict[str, Any]]:
    """The clusters as ``mesh.json`` has them."""
    return [
        {
            "name": cluster.name,
            "address": cluster.address,
            "port": cluster.port,
            "members": list(cluster.members),
            "connections": [
                {
                    "from": one.source,
                    "verdict": one.verdict,
                    "cause": one.cause,
                    "detail": one.detail,
                    "remedy": one.remedy,
                    "answered": dict(one.answered),
                }
                for one in connections
                if one.cluster == cluster.name
            ],
        }
        for cluster in clusters
    ]


@dataclass(frozen=True)
class ClusterCount:
    """A cluster in figures. :param callers: the servers that should have called it."""

    cluster: Cluster
    connections: tuple[ClusterCall, ...]

    @property
    def ok(self) -> int:
        return sum(one.verdict == "ok" for one in self.connections)

    @property
    def answered(self) -> dict[str, int]:
        """Every member, and how often it answered."""
        counts = dict.fromkeys(self.cluster.members, 0)
        for one in self.connections:
            for name, count in one.answered:
                counts[name] = counts.get(name, 0) + count
        return counts

    @property
    def silent(self) -> tuple[str, ...]:
        """The members that answered nobody, though others did; the load balancer may do that, so it fails nothing."""
        counts = self.answered
        return tuple(name for name, count in counts.items() if not count) if any(counts.values()) else ()

    def __str__(self) -> str:
        if not self.connections:
            return f"cluster {self.cluster.name}: no server outside of it calls it."
        parts = [f"cluster {self.cluster.name}: {self.ok} of {len(self.connections)} callers ok"]
        counts = [f"{name} {count}" for name, count in self.answered.items() if count]
        parts += [f"answered {', '.join(counts)}"] if counts else []
        parts += [f"never {', '.join(self.silent)}"] if self.silent else []
        return f"{'; '.join(parts)}."


def cluster_counts(clusters: Iterable[Cluster], connections: Sequence[ClusterCall]) -> list[ClusterCount]:
    """Each cluster in figures."""
    return [
        ClusterCount(cluster, tuple(one for one in connections if one.cluster == cluster.name)) for cluster in clusters
    ]


def call_groups(connections: Iterable[ClusterCall]) -> list[list[ClusterCall]]:
    """Calls with the same cause at the same cluster together, however many servers make them."""
    groups: dict[tuple[str, str | None, str], list[ClusterCall]] = {}
    for one in connections:
        groups.setdefault((one.cluster, one.cause, one.remedy), []).append(one)
    return list(groups.values())


def call_line(group: Sequence[ClusterCall]) -> str:
    """Such a group in one line. :param group: never empty."""
    first = group[0]
    many = f"cluster {first.cluster} ({len(group)} callers, such as {first.label})"
    return pair_line(first, many if len(group) > 1 else "")
