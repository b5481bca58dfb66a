# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The mesh at a glance: every directed pair, what it means for the run, and what to do (docs/verify.md)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from ansible_collections.esync.mesh.plugins.module_utils._connection.causes import CAUSES
from ansible_collections.esync.mesh.plugins.module_utils._core.names import PINNED, SHARED_KEYS
from ansible_collections.esync.mesh.plugins.plugin_utils._inventory import clusters as balanced
from ansible_collections.esync.mesh.plugins.plugin_utils._inventory.clusters import ClusterCall
from ansible_collections.esync.mesh.plugins.plugin_utils._inventory.membership import Cluster
from ansible_collections.esync.mesh.plugins.plugin_utils._planning.trust import PendingUpdate
from ansible_collections.esync.mesh.plugins.plugin_utils._report import untested as absence
from ansible_collections.esync.mesh.plugins.plugin_utils._report.findings import FAULT, NOT_JUDGED, Problem
from ansible_collections.esync.mesh.plugins.plugin_utils._report.wording import few, place_of

VERSION = 1
OK, FAILED, UNTESTED = "ok", "failed", "untested"
TEMPORARY = "temporary"
MATRIX_LIMIT = 30
"""Beyond so many servers a matrix does not fit a terminal, and only what is wrong is listed."""

ALIKE_LIMIT = 3
"""So many servers with the same trouble get a line each; more share one."""
TROUBLE_LIMIT = 20
DEBT_LIMIT = 10
PROBLEM_LIMIT = 20

NOT_REFUSED, VERSION_MISMATCH = "not_refused", "version_mismatch"
SHOWN = {
    "none": "no certificate",
    "stranger": "an unknown certificate",
    "stranger_same_subject": "an unknown certificate issued to the name of a trusted server",
    "server": "its server certificate in the place of its client certificate",
    "plain": "nothing, for it spoke without TLS",
}
"""What must be refused, as peer_probe names it, in words."""
SHOWN_TOO = {"own_client": "its own client certificate in the place of the one that it was handed"}
"""Likewise, where servers hand their client sets to each other."""

COST = (
    "Trust model shared_keys: every server holds the client keys of all others, so whoever breaks into one of them can "
    "pose as any other, and no server can tell who calls."
)
"""What a report says of a mesh whose servers hand their client sets to each other."""

OUTSIDE = "."
_SIGNS = {OK: "+", FAILED: "x", UNTESTED: "?"}
_WORST = "x?.+"
_LEGEND = {"x": "failed", "?": "untested", OUTSIDE: "not in this run"}
_UNTESTED_TITLES = {
    "host_unreachable": "The control node cannot reach the server",
    "host_failed": "The server failed earlier in this run",
    "not_tested": "The server returned no result",
}


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

    :param cause: a key of the diagnosis table; None unless something is wrong.
    :param in_scope: whether this run should have tested it.
    :param blamed: the server that keeps it from being tested, if one does.
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
        return f"{self.source} -> {place_of(self.target, self.site)}"

    @property
    def place(self) -> str:
        """What is called: the server, with the site."""
        return place_of(self.target, self.site)

    @property
    def wrong(self) -> bool:
        """Whether it fails the run."""
        return self.verdict == FAILED or (self.verdict == UNTESTED and self.in_scope)

    @property
    def proved(self) -> bool:
        """Whether the certificates work: a pair is tested for its product versions only after bytes went both ways."""
        return self.verdict == OK or self.cause == VERSION_MISMATCH


@dataclass(frozen=True)
class Refusal:
    """One attempt to get in that a server had to refuse.

    :param source: the server that tried it. :param present: what it showed, a key of SHOWN.
    :param verdict: ``ok``: refused; ``failed``: let in; ``untested``: neither was seen.
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
    def shown(self) -> str:
        return {**SHOWN, **SHOWN_TOO}.get(self.present, self.present)


@dataclass(frozen=True)
class Mesh:
    """The result of a run.

    :param refusals: what was tried of what must be refused. :param problems: what is wrong with servers themselves.
    :param judged: whether all of what can be wrong with a server was looked for.
    :param trust_model: ``pinned`` or ``shared_keys``.
    :param clusters: the load-balanced clusters. :param connections: what came of the calls to them.
    """

    servers: tuple[ReportServer, ...]
    pairs: tuple[ReportPair, ...]
    debts: tuple[PendingUpdate, ...]
    refusals: tuple[Refusal, ...] = ()
    problems: tuple[Problem, ...] = ()
    judged: bool = False
    trust_model: str = PINNED
    clusters: tuple[Cluster, ...] = ()
    connections: tuple[ClusterCall, ...] = ()

    def count(self, verdict: str) -> int:
        return sum(pair.verdict == verdict for pair in self.pairs)

    @property
    def expected(self) -> int:
        """How many pairs there must be: each server calls each other one, and each site of it."""
        return sum((len(self.servers) - 1) * max(len(server.sites), 1) for server in self.servers)

    @property
    def wrong(self) -> tuple[ReportPair, ...]:
        return tuple(pair for pair in self.pairs if pair.wrong)

    @property
    def wrong_connections(self) -> tuple[ClusterCall, ...]:
        """The calls to clusters that fail the run."""
        return tuple(connection for connection in self.connections if connection.wrong)

    @property
    def let_in(self) -> tuple[Refusal, ...]:
        """The attempts that should have been refused and were not."""
        return tuple(refusal for refusal in self.refusals if refusal.verdict == FAILED)

    @property
    def faults(self) -> tuple[Problem, ...]:
        """The problems that fail a check."""
        return tuple(problem for problem in self.problems if problem.severity == FAULT)


def assemble(
    servers: Sequence[ReportServer],
    results: Mapping[str, Sequence[Mapping[str, Any]]],
    endpoint: str,
    debts: Sequence[PendingUpdate] = (),
    *,
    versions: Mapping[str, str] | None = None,
    refusals: Mapping[str, Sequence[Mapping[str, Any]]] | None = None,
    problems: Sequence[Problem] = (),
    judged: bool = False,
    trust_model: str = PINNED,
    clusters: Sequence[Cluster] = (),
    connections: Mapping[str, Sequence[Mapping[str, Any]]] | None = None,
) -> Mesh:
    """Every directed pair, tested or not.

    :param results: server name to what its probe found of its peers.
    :param endpoint: ``temporary``: both ends must be in the run to be tested; else only the calling one.
    :param versions: server name to the product's version there, as far as it is known.
    :param refusals: server name to what its probe found when it tried what must be refused.
    :param connections: server name to what its probe found of the clusters.
    """
    tried = tuple(_tried(source, result) for source, found in (refusals or {}).items() for result in found)
    by_pair = {
        (source, str(result["to"]), result.get("site")): result
        for source, found in results.items()
        for result in found
        if "to" in result
    }
    pairs = []
    for source in servers:
        for target in servers:
            for site in (target.sites or (None,)) if source.name != target.name else ():
                result = by_pair.get((source.name, target.name, site))
                pair = _tested(source, result) if result else _untested(source, target, endpoint)
                pair = replace(pair, site=site)
                pairs.append(_with_shown(_compared(pair, versions or {}), tried))
    states = {server.name: server.state for server in servers}
    called = balanced.connect(clusters, states, connections or {}, endpoint == TEMPORARY)
    return Mesh(
        tuple(servers),
        tuple(pairs),
        tuple(debts),
        tried,
        tuple(problems),
        judged,
        trust_model,
        tuple(clusters),
        called,
    )


def _tried(source: str, result: Mapping[str, Any]) -> Refusal:
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


def _with_shown(pair: ReportPair, tried: Iterable[Refusal]) -> ReportPair:
    """A pair whose peer let in what it must refuse, with all of that in words."""
    if pair.cause != NOT_REFUSED:
        return pair
    shown = [one for one in tried if one.verdict == FAILED and (one.source, one.place) == (pair.source, pair.place)]
    detail = f"{pair.place} let in {pair.source}, showing {_listed(shown)}."
    return replace(pair, detail=detail) if shown else pair


def _compared(pair: ReportPair, versions: Mapping[str, str]) -> ReportPair:
    """A pair that works, judged by the versions that both servers themselves told, which endpoints may not know yet."""
    here, there = versions.get(pair.source), versions.get(pair.target)
    if not pair.proved or here is None or there is None:
        return pair
    if here == there:
        return replace(pair, verdict=OK, cause=None, detail="", remedy="")
    detail = f"{pair.target} runs {there!r}, {pair.source} runs {here!r}."
    remedy = CAUSES[VERSION_MISMATCH].remedy
    return replace(pair, verdict=FAILED, cause=VERSION_MISMATCH, detail=detail, remedy=remedy)


def _tested(source: ReportServer, result: Mapping[str, Any]) -> ReportPair:
    return ReportPair(
        source.name,
        str(result["to"]),
        str(result["verdict"]),
        cause=result.get("cause"),
        detail=result.get("detail") or "",
        remedy=result.get("remedy") or "",
        handshake_ms=result.get("handshake_ms"),
        tls=result.get("tls"),
        server_fingerprint=result.get("server_fingerprint"),
        client_fingerprint=result.get("client_fingerprint"),
    )


def _untested(source: ReportServer, target: ReportServer, endpoint: str) -> ReportPair:
    ends = (source, target) if endpoint == TEMPORARY else (source,)
    outside = [end.name for end in ends if end.state == "not_in_run"]
    dead = [end for end in (source, target) if end.state in absence.AWAY]
    if outside:
        text = f"{' and '.join(outside)} took no part in this run."
        return ReportPair(source.name, target.name, UNTESTED, detail=text, in_scope=False)
    closed = [end.name for end in ends if end.state == "unreadable"]
    if closed:
        text = f"Ansible's user on {' and '.join(closed)} may not read the keys there, so nothing was tested with them."
        return ReportPair(source.name, target.name, UNTESTED, detail=text, in_scope=False)
    blamed = dead[0] if dead else source
    why = absence.away(blamed.name, blamed.state) if dead else absence.no_result(source.name)
    return ReportPair(source.name, target.name, UNTESTED, why.cause, why.detail, why.remedy, blamed=blamed.name)


def to_json(mesh: Mesh, generated_at: str) -> dict[str, Any]:
    """The content of ``mesh.json``.

    :param generated_at: UTC.
    """
    return {
        "version": VERSION,
        "generated_at": generated_at,
        "servers": [asdict(server) for server in mesh.servers],
        "pairs": [_pair_json(pair) for pair in mesh.pairs],
        "summary": summary(mesh),
        "debts": [asdict(debt) for debt in mesh.debts],
        "refusals": [_refusal_json(refusal) for refusal in mesh.refusals],
        "problems": [asdict(problem) for problem in mesh.problems],
        "trust_model": mesh.trust_model,
        "clusters": balanced.to_json(mesh.clusters, mesh.connections),
    }


def _refusal_json(refusal: Refusal) -> dict[str, Any]:
    data = asdict(refusal)
    return {"from": data.pop("source"), "to": data.pop("target"), **data}


def _pair_json(pair: ReportPair) -> dict[str, Any]:
    data = asdict(pair)
    data["from"], data["to"] = data.pop("source"), data.pop("target")
    del data["in_scope"], data["blamed"]
    return data


def summary(mesh: Mesh) -> dict[str, int]:
    """How many servers and pairs there are, and what came of the pairs."""
    counts = {verdict: mesh.count(verdict) for verdict in (OK, FAILED, UNTESTED)}
    return {"servers": len(mesh.servers), "expected": mesh.expected, **counts}


def verdict(mesh: Mesh) -> str:
    """One line: did every pair work?"""
    text = f"{mesh.count(OK)} of {mesh.expected} pairs ok"
    others = [f"{mesh.count(kind)} {kind}" for kind in (FAILED, UNTESTED) if mesh.count(kind)]
    if mesh.wrong_connections:
        others.append(f"{len(mesh.wrong_connections)} of {len(mesh.connections)} calls to clusters not ok")
    return ", ".join([text, *others]) + "."


# -- what is wrong, each cause once ---------------------------------------------------------------------------


@dataclass(frozen=True)
class CauseGroup:
    """One thing that is wrong: a dead server is one, not two for each of its peers.

    :param servers: whose it is, as far as the pairs tell; never empty.
    :param causes: keys; several where one remedy mends what shows in several ways.
    :param pairs: in the order of the mesh; never empty.
    """

    servers: tuple[str, ...]
    causes: tuple[str, ...]
    pairs: tuple[ReportPair, ...]

    @property
    def place(self) -> str:
        """The pair, or the servers with the number of pairs and an example."""
        first = self.pairs[0].label
        if len(self.pairs) == 1:
            return first
        return f"{few(self.servers, most=3)} ({len(self.pairs)} pairs, such as {first})"

    @property
    def detail(self) -> str:
        return self.pairs[0].detail

    @property
    def remedy(self) -> str:
        return self.pairs[0].remedy

    def __str__(self) -> str:
        said = [_sentence(text) for text in (self.detail, self.remedy) if text]
        return " ".join([f"{self.place}: {', '.join(self.causes)}.", *said])


def title_of(pair: ReportPair) -> str:
    """The cause of a pair in a few plain words; empty if it has none."""
    if pair.cause is None:
        return ""
    if pair.verdict == UNTESTED and pair.cause in _UNTESTED_TITLES:
        return _UNTESTED_TITLES[pair.cause]
    return CAUSES[pair.cause].title if pair.cause in CAUSES else pair.cause


def troubles_of(pairs: Iterable[ReportPair]) -> list[CauseGroup]:
    """Put what is wrong under the server that has most of it; the largest first."""
    merged: dict[tuple[str, str], list[ReportPair]] = {}
    for server, group in _by_suspect(pairs):
        # An expired server shows in both directions, under two causes: it is one trouble with one remedy.
        merged.setdefault((server, group[0].remedy), []).extend(group)
    single = [CauseGroup((server,), _causes(group), tuple(group)) for (server, _remedy), group in merged.items()]
    alike: dict[tuple[tuple[str, ...], str], list[CauseGroup]] = {}
    for trouble in single:
        alike.setdefault((trouble.causes, trouble.remedy), []).append(trouble)
    found: list[CauseGroup] = []
    for troubles in alike.values():
        found += troubles if len(troubles) <= ALIKE_LIMIT else [_joined(troubles)]
    return sorted(found, key=lambda trouble: -len(trouble.pairs))


def _joined(troubles: Sequence[CauseGroup]) -> CauseGroup:
    servers = sorted({server for trouble in troubles for server in trouble.servers})
    pairs = tuple(pair for trouble in troubles for pair in trouble.pairs)
    return CauseGroup(tuple(servers), troubles[0].causes, pairs)


def _causes(pairs: Iterable[ReportPair]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(pair.cause or pair.verdict for pair in pairs))


def _by_suspect(pairs: Iterable[ReportPair]) -> Iterator[tuple[str, list[ReportPair]]]:
    """Server and pairs with the same cause, greedily: whoever has most of one cause takes them all."""
    open_: dict[tuple[str | None, str], dict[ReportPair, None]] = {}
    for pair in pairs:
        for end in _ends(pair):
            open_.setdefault((pair.cause, end), {})[pair] = None
    while open_:
        cause, server = max(open_, key=lambda suspect: len(open_[suspect]))
        group = list(open_.pop((cause, server)))
        for pair in group:
            for end in _ends(pair):
                others = open_.get((cause, end))
                if others is not None:
                    others.pop(pair, None)
                    if not others:
                        del open_[cause, end]
        yield server, group


def _ends(pair: ReportPair) -> tuple[str, ...]:
    # The end that is called comes first: of two equal suspects it is the more likely one.
    return (pair.blamed,) if pair.blamed else (pair.target, pair.source)


# -- the terminal ---------------------------------------------------------------------------------------------


def terminal(mesh: Mesh) -> list[str]:
    """The mesh for a terminal: a matrix while it fits, then what is wrong, by cause, then the verdict."""
    lines = _matrix(mesh) if len(mesh.servers) <= MATRIX_LIMIT else []
    return [*lines, *cost_lines(mesh), *findings(mesh)]


def cost_lines(mesh: Mesh) -> list[str]:
    """What the trust model costs, if it is not the default."""
    return [COST] * (mesh.trust_model == SHARED_KEYS)


def findings(mesh: Mesh) -> list[str]:
    """What is wrong, what is owed, and the verdict, which comes last; never more than a screen."""
    return [
        *refusal_lines(mesh),
        *trouble_lines(mesh.wrong),
        *connection_lines(mesh.wrong_connections),
        *problem_lines(mesh.problems),
        *_debt_lines(mesh.debts),
        *map(printable, balanced.tally_lines(mesh.clusters, mesh.connections)),
        verdict(mesh),
    ]


def refusal_lines(mesh: Mesh) -> list[str]:
    """Who let somebody in, a line for each server; and where it was not seen whether it would."""
    return [printable(str(group)) for group in let_in_of(mesh)] + [
        printable(f"{place}: not seen to refuse {_listed(refusals)}: {refusals[0].detail or 'no reason is known.'}")
        for place, refusals in _by_place(one for one in mesh.refusals if one.verdict == UNTESTED).items()
        # Of a server that nobody could talk to, its pairs tell that.
        if any(pair.place == place and pair.verdict == OK for pair in mesh.pairs)
    ]


@dataclass(frozen=True)
class WrongAcceptance:
    """A server, or a site of it, that let somebody in. :param refusals: what it should have refused; never empty."""

    server: str
    refusals: tuple[Refusal, ...]

    @property
    def detail(self) -> str:
        who = few(list(dict.fromkeys(refusal.source for refusal in self.refusals)), most=3)
        return f"It let in {who}, showing {_listed(self.refusals)}."

    @property
    def remedy(self) -> str:
        return self.refusals[0].remedy

    def __str__(self) -> str:
        return f"{self.server}: {self.refusals[0].cause or FAILED}. {self.detail} {self.remedy}".strip()


def let_in_of(mesh: Mesh) -> list[WrongAcceptance]:
    """The servers that let somebody in, unless a pair tells it already."""
    told = {(pair.source, pair.place) for pair in mesh.pairs if pair.cause == NOT_REFUSED}
    open_ = [refusal for refusal in mesh.let_in if (refusal.source, refusal.place) not in told]
    return [WrongAcceptance(place, tuple(refusals)) for place, refusals in _by_place(open_).items()]


def _by_place(refusals: Iterable[Refusal]) -> dict[str, list[Refusal]]:
    found: dict[str, list[Refusal]] = {}
    for refusal in refusals:
        found.setdefault(refusal.place, []).append(refusal)
    return found


def _listed(refusals: Iterable[Refusal]) -> str:
    return "; ".join(dict.fromkeys(refusal.shown for refusal in refusals))


@dataclass(frozen=True)
class ProblemGroup:
    """The same kind of problem with the same remedy, on one server or on many.

    :param problems: never empty.
    """

    problems: tuple[Problem, ...]

    @property
    def first(self) -> Problem:
        return self.problems[0]

    @property
    def servers(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(problem.server for problem in self.problems))

    def __str__(self) -> str:
        first = self.first
        where = f"{first.path}: " if first.path else ""
        said = " ".join(text for text in (first.evidence, first.remedy) if text)
        head = f"{few(self.servers, most=3)}: {first.kind}"
        if len(self.problems) > 1:
            example = f"{first.server}: " if len(self.servers) > 1 else ""
            head += f" ({len(self.problems)} of them, such as {example}{where.rstrip(': ') or first.cause})"
            return f"{head}. {said}"
        return f"{head}. {first.cause}: {where}{said}" if where else f"{head}. {first.cause}. {said}"


def ailments_of(problems: Iterable[Problem]) -> list[ProblemGroup]:
    """Problems of one kind and remedy together: those of one server, and across servers where many have the same."""
    single: dict[tuple[str, str, str], list[Problem]] = {}
    for problem in problems:
        single.setdefault((problem.kind, problem.remedy, problem.server), []).append(problem)
    alike: dict[tuple[str, str], list[list[Problem]]] = {}
    for (kind, remedy, _server), group in single.items():
        alike.setdefault((kind, remedy), []).append(group)
    found = []
    for groups in alike.values():
        joined = groups if len(groups) <= ALIKE_LIMIT else [[problem for group in groups for problem in group]]
        found += [ProblemGroup(tuple(group)) for group in joined]
    rank = {FAULT: 0, NOT_JUDGED: 2}
    return sorted(found, key=lambda ailment: rank.get(ailment.first.severity, 1))


def problem_lines(problems: Iterable[Problem]) -> list[str]:
    """What is wrong with servers themselves, a line for each while they fit a screen."""
    ailments = ailments_of(problems)
    lines = [printable(str(ailment)) for ailment in ailments[:PROBLEM_LIMIT]]
    rest = sum(len(ailment.problems) for ailment in ailments[PROBLEM_LIMIT:])
    return lines + ([f"{rest} more problems of servers; the report has them all."] if rest else [])


def trouble_lines(pairs: Iterable[ReportPair]) -> list[str]:
    """What is wrong, a line for each trouble while they fit a screen."""
    troubles = troubles_of(pairs)
    lines = [printable(str(trouble)) for trouble in troubles[:TROUBLE_LIMIT]]
    rest = troubles[TROUBLE_LIMIT:]
    if rest:
        count = sum(len(trouble.pairs) for trouble in rest)
        lines.append(f"{len(rest)} more causes concern {count} pairs; the report has them all.")
    return lines


def connection_lines(connections: Iterable[ClusterCall]) -> list[str]:
    """What is wrong with calls to clusters, a line for each trouble while they fit a screen."""
    return [printable(line) for line in balanced.wrong_lines(connections)]


def _debt_lines(debts: Sequence[PendingUpdate]) -> list[str]:
    """What is owed, each text once: a new server is news to all others."""
    servers: dict[str, list[str]] = {}
    for debt in debts:
        servers.setdefault(debt.text, []).append(debt.server)
    lines = [
        printable(f"Owed to {few(names, most=3)}{', each' if len(names) > 1 else ''}: {text}")
        for text, names in servers.items()
    ]
    rest = lines[DEBT_LIMIT:]
    return lines[:DEBT_LIMIT] + ([f"{len(rest)} more debts; the report has them all."] if rest else [])


def _matrix(mesh: Mesh) -> list[str]:
    names = [printable(server.name) for server in mesh.servers]
    # One cell for all sites of a server: the worst of them.
    signs: dict[tuple[str, str], str] = {}
    for pair in mesh.pairs:
        cell = (pair.source, pair.target)
        signs[cell] = min(signs.get(cell, _WORST[-1]), _sign(pair), key=_WORST.index)
    number = len(str(len(names)))
    width = max((len(name) for name in names), default=0) + number + 1
    # The numbers of the columns stand upright, so that thirty servers fit an ordinary terminal.
    heads = [" ".join(f"{index:>{number}}"[digit] for index in range(1, len(names) + 1)) for digit in range(number)]
    lines = [f"{'from / to' if digit == 0 else '':<{width}} {head}" for digit, head in enumerate(heads)]
    for index, (source, name) in enumerate(zip(mesh.servers, names), 1):
        row = " ".join(signs.get((source.name, target.name), "-") for target in mesh.servers)
        lines.append(f"{index:>{number}} {name:<{width - number - 1}} {row}")
    legend = [f"{sign} {text}" for sign, text in _LEGEND.items() if sign in signs.values()]
    return lines + ([f"{'':<{width}} {', '.join(legend)}"] if legend else [])


def _sign(pair: ReportPair) -> str:
    return _SIGNS[pair.verdict] if pair.in_scope else OUTSIDE


def printable(text: str) -> str:
    """A text that moves no cursor: what a peer answered may be part of it."""
    return "".join(character if character.isprintable() else "?" for character in text)


def _sentence(text: str) -> str:
    return f"{text.rstrip('. ')}."
