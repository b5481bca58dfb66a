# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The result of a run: servers, every directed pair, refusals, problems (docs/verify.md).

A mesh of 1,000 servers has 999,000 pairs, so pairs are kept in columns, and an object for a pair exists only if it
was tested and is not ok. ``Pairs`` is a sequence that makes the other objects when somebody looks at them.
"""

from __future__ import annotations

import math
import re
from array import array
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple, overload

from ansible_collections.esync.mesh.plugins.module_utils._connection.cause_table import CAUSES
from ansible_collections.esync.mesh.plugins.module_utils._core.names import PINNED
from ansible_collections.esync.mesh.plugins.plugin_utils._inventory.clusters import ClusterCall
from ansible_collections.esync.mesh.plugins.plugin_utils._inventory.membership import Cluster
from ansible_collections.esync.mesh.plugins.plugin_utils._ledger.pending import PendingUpdate
from ansible_collections.esync.mesh.plugins.plugin_utils._report import untested as reasons
from ansible_collections.esync.mesh.plugins.plugin_utils._report.findings import FAULT, Problem
from ansible_collections.esync.mesh.plugins.plugin_utils._wording import pair_label, place_of

if TYPE_CHECKING:
    from ansible_collections.esync.mesh.plugins.plugin_utils._report.history import History

OK, FAILED, UNTESTED = "ok", "failed", "untested"
TEMPORARY = "temporary"
LARGE = 200
"""Beyond so many servers a report has no entry for each pair that is ok, because nobody could read it."""

NOT_REFUSED, VERSION_MISMATCH = "not_refused", "version_mismatch"
PRESENTED = {
    "none": "no certificate",
    "stranger": "an untrusted certificate",
    "stranger_same_subject": "an untrusted certificate issued to the name of a trusted server",
    "server": "its server certificate in the place of its client certificate",
    "plain": "nothing, because it spoke without TLS",
}
"""What must be refused, as peer_probe names it, in words."""
PRESENTED_WITH_SHARED_KEYS = {"own_client": "its own client certificate in the place of the shared one"}
"""Likewise, where servers share their client keys."""

CODES = {OK: "+", FAILED: "x", UNTESTED: "?"}
OUTSIDE, SELF = ".", "-"
NOT_OK = "x?."
WORST_FIRST = "x?.+"
"""The code of a pair: its verdict, ``.`` for one that is not in this run, ``-`` for a server with itself."""

_NAN = float("nan")


@dataclass(frozen=True)
class ReportServer:
    """One member, and what became of it in this run.

    :param state: ``ok``, ``unreachable``, ``failed``, ``not_in_run``, or ``unreadable``: Ansible's user there may not
        read its keys, so that nothing was tested from it.
    :param expires_at: when the first of its current certificates ends, UTC; None if it is not known.
    :param sites: the names of its sites that certificates apply to; each is called by itself.
    """

    name: str
    address: str
    port: int
    state: str
    expires_at: str | None = None
    sites: tuple[str, ...] = ()


@dataclass(frozen=True)
class ReportPair:
    """One direction between two servers.

    :param cause: a key of the table of causes; None unless something is wrong.
    :param in_scope: whether this run should have tested it.
    :param blamed: the server that prevents it from being tested, if one does.
    :param site: the site of the called server that is meant; None if it has none.
    """

    source: str
    target: str
    verdict: str
    cause: str | None = None
    detail: str = ""
    remedy: str = ""
    handshake_ms: float | None = None
    tls: str | None = None
    server_fingerprint: str | None = None
    client_fingerprint: str | None = None
    in_scope: bool = True
    blamed: str | None = None
    site: str | None = None

    @property
    def label(self) -> str:
        return pair_label(self.source, self.target, self.site)

    @property
    def place(self) -> str:
        """What is called: the server, with the site."""
        return place_of(self.target, self.site)

    @property
    def code(self) -> str:
        return CODES[self.verdict] if self.in_scope else OUTSIDE

    @property
    def wrong(self) -> bool:
        """Whether it fails the run."""
        return self.verdict == FAILED or (self.verdict == UNTESTED and self.in_scope)

    @property
    def proved(self) -> bool:
        """Whether the certificates work: product versions are compared only after bytes were exchanged both ways."""
        return self.verdict == OK or self.cause == VERSION_MISMATCH

    @property
    def title(self) -> str:
        """The cause in a few plain words; empty if it has none."""
        if self.cause is None:
            return ""
        if self.verdict == UNTESTED and self.cause in reasons.TITLES:
            return reasons.TITLES[self.cause]
        return CAUSES[self.cause].title if self.cause in CAUSES else self.cause


class Column(NamedTuple):
    """One thing that is called. :param target: the number of the server. :param site: its site; None if it has none."""

    target: int
    site: str | None


@dataclass(frozen=True)
class Columns:
    """The facts of all pairs, each as one array: the pair of caller r and column c is entry r * width + c.

    :param codes: a code a pair.
    :param times: milliseconds, NaN for none.
    :param tls: numbers in ``strings``, as are ``served`` and ``presented``, the fingerprints.
    :param strings: 0 is None.
    """

    columns: tuple[Column, ...]
    codes: bytearray
    times: array[float]
    tls: array[int]
    served: array[int]
    presented: array[int]
    strings: list[str | None]

    @classmethod
    def of(cls, servers: Sequence[ReportServer]) -> Columns:
        """Nothing is known yet: code 0."""
        columns = tuple(Column(number, site) for number, one in enumerate(servers) for site in one.sites or (None,))
        size = len(servers) * len(columns)
        tls, served, presented = (array("I", bytes(4 * size)) for _each in range(3))
        table = cls(columns, bytearray(size), array("d", [_NAN]) * size, tls, served, presented, [None])
        for place, column in enumerate(columns):
            table.codes[column.target * len(columns) + place] = ord(SELF)
        return table


class Pairs(Sequence[ReportPair]):
    """Every directed pair, by caller and then by what is called.

    :param special: the pairs that have more to say than the columns hold: those that were tested and are not ok.
    :param endpoint: what listens; with ``temporary`` both ends must be in the run.
    """

    def __init__(
        self, servers: Sequence[ReportServer], table: Columns, special: Mapping[int, ReportPair], endpoint: str
    ) -> None:
        self.servers = servers
        self.table = table
        self.width = len(table.columns)
        self._special = special
        self._endpoint = endpoint

    def __len__(self) -> int:
        return len(self.table.codes) - self.width

    def __iter__(self) -> Iterator[ReportPair]:
        return (self.at(index) for index, code in enumerate(self.table.codes) if code != ord(SELF))

    @overload
    def __getitem__(self, index: int) -> ReportPair: ...

    @overload
    def __getitem__(self, index: slice) -> tuple[ReportPair, ...]: ...

    def __getitem__(self, index: int | slice) -> ReportPair | tuple[ReportPair, ...]:
        return tuple(self)[index]

    def at(self, index: int) -> ReportPair:
        """The pair of an entry. :param index: caller's number * width + column."""
        found = self._special.get(index)
        if found:
            return found
        row, place = divmod(index, self.width)
        source, column = self.servers[row], self.table.columns[place]
        target = self.servers[column.target]
        if chr(self.table.codes[index]) != CODES[OK]:
            return untested_pair(source, target, self._endpoint, column.site)
        time = self.table.times[index]
        text = self.table.strings
        return ReportPair(
            source.name,
            target.name,
            OK,
            handshake_ms=None if math.isnan(time) else time,
            tls=text[self.table.tls[index]],
            server_fingerprint=text[self.table.served[index]],
            client_fingerprint=text[self.table.presented[index]],
            site=column.site,
        )

    def find(self, codes: str) -> Iterator[int]:
        """The entries with one of these codes."""
        pattern = re.compile(b"[" + re.escape(codes.encode()) + b"]")
        return (match.start() for match in pattern.finditer(self.table.codes))

    def count(self, value: Any) -> int:
        """How many pairs have this code. :param value: the code."""
        return self.table.codes.count(str(value).encode())

    def row(self, number: int) -> bytearray:
        """The codes of the pairs that a server calls."""
        return self.table.codes[number * self.width : (number + 1) * self.width]

    def called(self, number: int) -> bytearray:
        """The codes of the pairs in which a server is called."""
        places = [place for place, column in enumerate(self.table.columns) if column.target == number]
        return bytearray().join(self.table.codes[place :: self.width] for place in places)

    def cell(self, row: int, target: int) -> str:
        """The code of a cell of the matrix: the worst of all sites of the called server."""
        codes = {chr(self.table.codes[row * self.width + place]) for place in self._places[target]}
        return SELF if SELF in codes else min(codes, key=WORST_FIRST.index)

    @cached_property
    def _places(self) -> dict[int, list[int]]:
        found: dict[int, list[int]] = {}
        for place, column in enumerate(self.table.columns):
            found.setdefault(column.target, []).append(place)
        return found


def untested_pair(source: ReportServer, target: ReportServer, endpoint: str, site: str | None = None) -> ReportPair:
    """A pair that nobody tested, and why."""
    names = (source.name, target.name)
    ends = (source, target) if endpoint == TEMPORARY else (source,)
    outside = tuple(end.name for end in ends if end.state == "not_in_run")
    unreadable = tuple(end.name for end in ends if end.state == "unreadable")
    if outside or unreadable:
        return ReportPair(*names, UNTESTED, detail=_why_outside(outside, unreadable), in_scope=False, site=site)
    away = next((end for end in (source, target) if end.state in reasons.AWAY), None)
    blamed = away or source
    why = _why_untested(blamed.name, blamed.state if away else "")
    return ReportPair(*names, UNTESTED, why.cause, why.detail, why.remedy, blamed=blamed.name, site=site)


@lru_cache(maxsize=4096)
def _why_untested(server: str, state: str) -> reasons.Reason:
    # Cached, so that all pairs of a server share their texts.
    return reasons.away(server, state) if state else reasons.no_result(server)


@lru_cache(maxsize=4096)
def _why_outside(outside: tuple[str, ...], unreadable: tuple[str, ...]) -> str:
    if outside:
        return f"{' and '.join(outside)} took no part in this run."
    return f"Ansible's user on {' and '.join(unreadable)} may not read the keys there, so nothing was tested with them."


@dataclass(frozen=True)
class Refusal:
    """One attempt that a server had to refuse.

    :param source: the server that tried it.
    :param present: what it presented, a key of PRESENTED.
    :param verdict: ``ok``: refused; ``failed``: accepted; ``untested``: neither was seen.
    """

    source: str
    target: str
    present: str
    verdict: str
    cause: str | None = None
    detail: str = ""
    remedy: str = ""
    site: str | None = None

    @property
    def place(self) -> str:
        """The server that had to refuse, with the site."""
        return place_of(self.target, self.site)

    @property
    def label(self) -> str:
        return self.place

    @property
    def presented(self) -> str:
        return {**PRESENTED, **PRESENTED_WITH_SHARED_KEYS}.get(self.present, self.present)


@dataclass(frozen=True)
class Mesh:
    """The result of a run.

    :param name: ``<group> of <inventory>``; may be empty.
    :param pending: what servers have still to receive.
    :param refusals: what was tried of what must be refused.
    :param problems: what is wrong with servers themselves.
    :param servers_checked: whether everything that can be wrong with a server was looked for.
    :param trust_model: ``pinned`` or ``shared_keys``.
    :param clusters: the load-balanced clusters.
    :param connections: the results of the calls to them.
    :param operation: what the run did. :param options: those of Ansible with which it was started, for its commands.
    :param certificates: server to what identifies its current certificates.
    :param history: the last runs, this one included; None if it is not known.
    """

    servers: tuple[ReportServer, ...]
    pairs: Pairs
    pending: tuple[PendingUpdate, ...] = ()
    refusals: tuple[Refusal, ...] = ()
    problems: tuple[Problem, ...] = ()
    servers_checked: bool = False
    trust_model: str = PINNED
    clusters: tuple[Cluster, ...] = ()
    connections: tuple[ClusterCall, ...] = ()
    name: str = ""
    operation: str = ""
    options: str = ""
    certificates: Mapping[str, str] = field(default_factory=dict)
    history: History | None = None

    @property
    def large(self) -> bool:
        """Whether pairs that are ok are only counted."""
        return len(self.servers) > LARGE

    def count(self, verdict: str) -> int:
        """How many pairs have this verdict."""
        if verdict == UNTESTED:
            return self.pairs.count(CODES[UNTESTED]) + self.pairs.count(OUTSIDE)
        return self.pairs.count(CODES[verdict])

    @property
    def expected(self) -> int:
        """How many pairs there must be: each server calls each other one, and each site of it."""
        return sum((len(self.servers) - 1) * max(len(server.sites), 1) for server in self.servers)

    @property
    def proved_nothing(self) -> bool:
        """Whether there are pairs and none of them was tested."""
        return self.expected > 0 and not self.count(OK) and not self.count(FAILED)

    @cached_property
    def wrong_at(self) -> Mapping[int, ReportPair]:
        """The pairs that fail the run, by their entry in ``pairs``."""
        return {index: self.pairs.at(index) for index in self.pairs.find(CODES[FAILED] + CODES[UNTESTED])}

    @property
    def wrong(self) -> tuple[ReportPair, ...]:
        """The pairs that fail the run."""
        return tuple(self.wrong_at.values())

    @property
    def wrong_connections(self) -> tuple[ClusterCall, ...]:
        """The calls to clusters that fail the run."""
        return tuple(connection for connection in self.connections if connection.wrong)

    @property
    def wrongly_accepted(self) -> tuple[Refusal, ...]:
        """The attempts that should have been refused and were not."""
        return tuple(refusal for refusal in self.refusals if refusal.verdict == FAILED)

    @property
    def faults(self) -> tuple[Problem, ...]:
        """The problems that fail a check."""
        return tuple(problem for problem in self.problems if problem.severity == FAULT)


def summary(mesh: Mesh) -> dict[str, int]:
    """How many servers and pairs there are, and how many pairs have each verdict."""
    counts = {verdict: mesh.count(verdict) for verdict in (OK, FAILED, UNTESTED)}
    return {"servers": len(mesh.servers), "expected": mesh.expected, **counts}


def verdict(mesh: Mesh) -> str:
    """One line: did every pair work?"""
    if mesh.proved_nothing:
        return f"Nothing was proved: 0 of {mesh.expected} pairs were tested."
    others = [f"{mesh.count(kind)} {kind}" for kind in (FAILED, UNTESTED) if mesh.count(kind)]
    if mesh.wrong_connections:
        others.append(f"{len(mesh.wrong_connections)} of {len(mesh.connections)} calls to clusters not ok")
    return ", ".join([f"{mesh.count(OK)} of {mesh.expected} pairs ok", *others]) + "."
