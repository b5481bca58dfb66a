# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Build the result of a run one server at a time, so that nobody has to hold the results of all servers at once."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from ansible_collections.esync.mesh.plugins.module_utils._connection.cause_table import CAUSES
from ansible_collections.esync.mesh.plugins.module_utils._core.names import PINNED
from ansible_collections.esync.mesh.plugins.plugin_utils._inventory import clusters as balanced
from ansible_collections.esync.mesh.plugins.plugin_utils._inventory.membership import Cluster
from ansible_collections.esync.mesh.plugins.plugin_utils._ledger.pending import PendingUpdate
from ansible_collections.esync.mesh.plugins.plugin_utils._report.conclusions import Result, View, conclude
from ansible_collections.esync.mesh.plugins.plugin_utils._report.findings import Problem
from ansible_collections.esync.mesh.plugins.plugin_utils._report.model import (
    CODES,
    FAILED,
    NOT_REFUSED,
    OK,
    TEMPORARY,
    UNTESTED,
    VERSION_MISMATCH,
    Columns,
    Mesh,
    Pairs,
    Refusal,
    ReportPair,
    ReportServer,
    untested_pair,
)
from ansible_collections.esync.mesh.plugins.plugin_utils._report.problem_kinds import PORT_TAKEN

_OK = ord(CODES[OK])


class ReportBuilder:
    """Collects what each server returned; ``finish`` makes the mesh of it.

    :param servers: every member, in the order of the inventory; a state that only ``add`` knows can be given there.
    :param endpoint: what listens; with ``temporary`` both ends must be in the run to be tested.
    :param clusters: the load-balanced clusters.
    """

    def __init__(self, servers: Sequence[ReportServer], endpoint: str, clusters: Sequence[Cluster] = ()) -> None:
        self._servers = list(servers)
        self._endpoint = endpoint
        self._clusters = tuple(clusters)
        self._table = Columns.of(servers)
        self._width = len(self._table.columns)
        self._number = {server.name: number for number, server in enumerate(servers)}
        self._column = {
            (servers[column.target].name, column.site): place for place, column in enumerate(self._table.columns)
        }
        self._strings: dict[str | None, int] = {None: 0}
        # What is not simply ok needs the view of the other end, which may come later.
        self._unresolved: dict[int, Result] = {}
        self._views: dict[str, View] = {}
        self._versions: dict[str, str] = {}
        self._refusals: list[Refusal] = []
        self._attempts: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
        self._calls: dict[str, Sequence[Mapping[str, Any]]] = {}
        self._problems: list[Problem] = []

    def add(
        self,
        server: str,
        results: Iterable[Mapping[str, Any]] = (),
        refusals: Iterable[Mapping[str, Any]] = (),
        clusters: Iterable[Mapping[str, Any]] = (),
        *,
        state: str | None = None,
        view: View | None = None,
        version: str | None = None,
        problems: Iterable[Problem] = (),
    ) -> None:
        """Take what one server returned. Nothing of the arguments is kept but what is not ok.

        :param results: what its probe found of its peers, one at a time; a generator will do.
        :param refusals: what its probe found when it tried what must be refused.
        :param clusters: what its probe found of the clusters.
        :param state: what became of it in this run, if the constructor did not know.
        :param view: what is on its own disk.
        :param version: the product's version there.
        :param problems: what is wrong with it.
        """
        number = self._number[server]
        if state is not None:
            self._servers[number] = replace(self._servers[number], state=state)
        if view is not None:
            self._views[server] = view
        if version is not None:
            self._versions[server] = version
        self._problems += problems
        self._calls[server] = list(clusters)
        accepted = set()
        for attempt in refusals:
            refusal = _refusal(server, attempt)
            self._refusals.append(refusal)
            if refusal.verdict == FAILED:
                accepted.add((refusal.target, refusal.site))
                self._attempts.setdefault((server, refusal.place), []).append(attempt)
        for result in results:
            self._take(number, result, accepted)

    def _take(self, row: int, result: Mapping[str, Any], accepted: set[tuple[str, str | None]]) -> None:
        site = result.get("site")
        key = (str(result.get("to")), None if site is None else str(site))
        place = self._column.get(key)
        if place is None or self._table.columns[place].target == row:
            return
        index = row * self._width + place
        table = self._table
        plain = not (result.get("cause") or result.get("detail") or result.get("remedy"))
        if result.get("verdict") != OK or not plain or key in accepted:
            table.codes[index] = 0
            self._unresolved[index] = dict(result)
            return
        self._unresolved.pop(index, None)
        table.codes[index] = _OK
        time = result.get("handshake_ms")
        if isinstance(time, (int, float)):
            table.times[index] = time
        table.tls[index] = self._string(result.get("tls"))
        table.served[index] = self._string(result.get("server_fingerprint"))
        table.presented[index] = self._string(result.get("client_fingerprint"))

    def _string(self, text: Any) -> int:
        text = None if text is None else str(text)
        number = self._strings.get(text)
        if number is None:
            number = self._strings[text] = len(self._table.strings)
            self._table.strings.append(text)
        return number

    def finish(
        self,
        *,
        pending: Iterable[PendingUpdate] = (),
        problems: Iterable[Problem] = (),
        servers_checked: bool = False,
        trust_model: str = PINNED,
        name: str = "",
    ) -> Mesh:
        """The mesh, when all servers were added; of the others no pair was tested. The builder is used up.

        :param pending: what servers have still to receive.
        :param problems: more problems than ``add`` took.
        :param servers_checked: whether everything that can be wrong with a server was looked for.
        :param trust_model: ``pinned`` or ``shared_keys``.
        :param name: ``<group> of <inventory>``.
        """
        self._problems += problems
        self._drop_unrelated()
        special = self._concluded()
        self._fill_untested()
        self._compare_versions(special)
        servers = tuple(self._servers)
        return Mesh(
            servers=servers,
            pairs=Pairs(servers, self._table, special, self._endpoint),
            pending=tuple(pending),
            refusals=tuple(self._refusals),
            problems=tuple(self._problems),
            servers_checked=servers_checked,
            trust_model=trust_model,
            clusters=self._clusters,
            connections=balanced.connect(
                self._clusters, {one.name: one.state for one in servers}, self._calls, self._endpoint == TEMPORARY
            ),
            name=name,
        )

    def _drop_unrelated(self) -> None:
        """Take back what was found on the port of a server that another process has: it says nothing of the server."""
        if self._endpoint != TEMPORARY:
            return
        taken = {problem.server for problem in self._problems if problem.kind == PORT_TAKEN}
        self._refusals = [one for one in self._refusals if one.target not in taken]
        for place, column in enumerate(self._table.columns):
            if self._servers[column.target].name in taken:
                for row in (row for row in range(len(self._servers)) if row != column.target):
                    self._table.codes[row * self._width + place] = 0
                    self._unresolved.pop(row * self._width + place, None)

    def _concluded(self) -> dict[int, ReportPair]:
        """The pairs that are not simply ok, with what both ends together prove."""
        special = {}
        while self._unresolved:
            index, result = self._unresolved.popitem()
            row, place = divmod(index, self._width)
            source = self._servers[row].name
            column = self._table.columns[place]
            target = self._servers[column.target].name
            attempts = self._attempts.get((source, f"{target} [{column.site}]" if column.site else target), ())
            pair = _pair(source, target, column.site, conclude(source, result, attempts, self._views.get(target)))
            special[index] = _with_attempts(pair, attempts)
            self._table.codes[index] = ord(pair.code)
        return special

    def _fill_untested(self) -> None:
        """Give every pair without a result the code of its reason; the pair itself is made when it is looked at."""
        codes = self._table.codes
        sample = {server.state: server for server in self._servers}
        for row, source in enumerate(self._servers):
            begin, end = row * self._width, (row + 1) * self._width
            found = codes[begin:end]
            if 0 not in found:
                continue
            by_state = {state: ord(untested_pair(source, one, self._endpoint).code) for state, one in sample.items()}
            empty = bytes(by_state[self._servers[column.target].state] for column in self._table.columns)
            codes[begin:end] = bytes(code or other for code, other in zip(found, empty))

    def _compare_versions(self, special: dict[int, ReportPair]) -> None:
        """Compare the pairs that work by the versions that both servers report, which endpoints may not know yet."""
        pairs = Pairs(self._servers, self._table, special, self._endpoint)
        for index, pair in list(special.items()):
            here, there = self._versions.get(pair.source), self._versions.get(pair.target)
            if pair.cause == VERSION_MISMATCH and here is not None and here == there:
                special[index] = replace(pair, verdict=OK, cause=None, detail="", remedy="")
                self._table.codes[index] = _OK
        if len(set(self._versions.values())) < 2:
            return
        versions = [self._versions.get(server.name) for server in self._servers]
        for index in list(pairs.find(CODES[OK])):
            row, place = divmod(index, self._width)
            here, there = versions[row], versions[self._table.columns[place].target]
            if here is not None and there is not None and here != there:
                pair = pairs.at(index)
                detail = f"{pair.target} runs {there!r}, {pair.source} runs {here!r}."
                remedy = CAUSES[VERSION_MISMATCH].remedy
                special[index] = replace(pair, verdict=FAILED, cause=VERSION_MISMATCH, detail=detail, remedy=remedy)
                self._table.codes[index] = ord(CODES[FAILED])


def _refusal(source: str, result: Mapping[str, Any]) -> Refusal:
    return Refusal(
        source,
        str(result["to"]),
        str(result["present"]),
        str(result["verdict"]),
        cause=result.get("cause"),
        detail=result.get("detail") or "",
        remedy=result.get("remedy") or "",
        site=result.get("site"),
    )


def _pair(source: str, target: str, site: str | None, result: Mapping[str, Any]) -> ReportPair:
    verdict = result.get("verdict")
    return ReportPair(
        source,
        target,
        str(verdict) if verdict in (OK, UNTESTED) else FAILED,
        cause=_shared(result.get("cause")),
        detail=result.get("detail") or "",
        remedy=_shared(result.get("remedy")) or "",
        handshake_ms=result.get("handshake_ms"),
        tls=_shared(result.get("tls")),
        server_fingerprint=_shared(result.get("server_fingerprint")),
        client_fingerprint=_shared(result.get("client_fingerprint")),
        site=site,
    )


def _shared(text: str | None) -> str | None:
    """The one object for all equal texts."""
    return sys.intern(f"{text}") if isinstance(text, str) else text


def _with_attempts(pair: ReportPair, attempts: Iterable[Mapping[str, Any]]) -> ReportPair:
    """A pair whose peer accepted what it must refuse, with all of that in words."""
    if pair.cause != NOT_REFUSED or not attempts:
        return pair
    presented = "; ".join(dict.fromkeys(_refusal(pair.source, one).presented for one in attempts))
    return replace(pair, detail=f"{pair.place} accepted {pair.source}, which presented {presented}.")


def assemble(
    servers: Sequence[ReportServer],
    results: Mapping[str, Iterable[Mapping[str, Any]]],
    endpoint: str,
    pending: Iterable[PendingUpdate] = (),
    *,
    versions: Mapping[str, str] | None = None,
    refusals: Mapping[str, Iterable[Mapping[str, Any]]] | None = None,
    connections: Mapping[str, Iterable[Mapping[str, Any]]] | None = None,
    views: Mapping[str, View] | None = None,
    clusters: Sequence[Cluster] = (),
    problems: Iterable[Problem] = (),
    servers_checked: bool = False,
    trust_model: str = PINNED,
    name: str = "",
) -> Mesh:
    """The mesh from the results of all servers at once; the parameters are those of ReportBuilder, by server."""
    builder = ReportBuilder(servers, endpoint, clusters)
    for server in servers:
        builder.add(
            server.name,
            results.get(server.name, ()),
            (refusals or {}).get(server.name, ()),
            (connections or {}).get(server.name, ()),
            version=(versions or {}).get(server.name),
            view=(views or {}).get(server.name),
        )
    return builder.finish(
        pending=pending,
        problems=problems,
        servers_checked=servers_checked,
        trust_model=trust_model,
        name=name,
    )
