# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The mesh at a glance: every directed pair, what it means for the run, and what to do (docs/verify.md)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from ansible_collections.esync.mesh.plugins.module_utils.diagnosis import CAUSES
from ansible_collections.esync.mesh.plugins.plugin_utils.plan import Debt

VERSION = 1
OK, FAILED, UNTESTED = "ok", "failed", "untested"
TEMPORARY = "temporary"
MATRIX_LIMIT = 30
"""Beyond so many servers a matrix does not fit a terminal, and only what is wrong is listed."""

ALIKE_LIMIT = 3
"""So many servers with the same trouble get a line each; more share one."""
TROUBLE_LIMIT = 20
DEBT_LIMIT = 10

OUTSIDE = "."
_SIGNS = {OK: "+", FAILED: "x", UNTESTED: "?"}
_LEGEND = {"x": "failed", "?": "untested", OUTSIDE: "not in this run"}
_UNTESTED_TITLES = {
    "host_unreachable": "The control node cannot reach the server",
    "host_failed": "The server failed earlier in this run",
    "not_tested": "The server returned no result",
}
_UNREACHABLE_REMEDY = "Bring the server back (power, network, ssh), and run again."


@dataclass(frozen=True)
class Server:
    """One member, and what became of it in this run.

    :param state: ``ok``, ``unreachable``, ``failed`` or ``not_in_run``.
    :param expires_at: when the first of its current certificates ends, UTC; None if it is not known.
    """

    name: str
    address: str
    port: int
    state: str
    expires_at: str | None = None


@dataclass(frozen=True)
class Pair:
    """One direction between two servers.

    :param cause: a key of the diagnosis table; None unless something is wrong.
    :param in_scope: whether this run should have tested it.
    :param blamed: the server that keeps it from being tested, if one does.
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

    @property
    def label(self) -> str:
        return f"{self.source} -> {self.target}"

    @property
    def wrong(self) -> bool:
        """Whether it fails the run."""
        return self.verdict == FAILED or (self.verdict == UNTESTED and self.in_scope)


@dataclass(frozen=True)
class Mesh:
    """The result of a run."""

    servers: tuple[Server, ...]
    pairs: tuple[Pair, ...]
    debts: tuple[Debt, ...]

    def count(self, verdict: str) -> int:
        return sum(pair.verdict == verdict for pair in self.pairs)

    @property
    def expected(self) -> int:
        return len(self.servers) * (len(self.servers) - 1)

    @property
    def wrong(self) -> tuple[Pair, ...]:
        return tuple(pair for pair in self.pairs if pair.wrong)


def assemble(
    servers: Sequence[Server],
    results: Mapping[str, Sequence[Mapping[str, Any]]],
    endpoint: str,
    debts: Sequence[Debt] = (),
) -> Mesh:
    """Every directed pair, tested or not.

    :param results: server name to what its probe found of its peers.
    :param endpoint: ``temporary``: both ends must be in the run to be tested; else only the calling one.
    """
    by_pair = {
        (source, str(result["to"])): result for source, found in results.items() for result in found if "to" in result
    }
    pairs = []
    for source in servers:
        for target in servers:
            if source.name != target.name:
                result = by_pair.get((source.name, target.name))
                pairs.append(_tested(source, result) if result else _untested(source, target, endpoint))
    return Mesh(tuple(servers), tuple(pairs), tuple(debts))


def _tested(source: Server, result: Mapping[str, Any]) -> Pair:
    return Pair(
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


def _untested(source: Server, target: Server, endpoint: str) -> Pair:
    ends = (source, target) if endpoint == TEMPORARY else (source,)
    outside = [end.name for end in ends if end.state == "not_in_run"]
    dead = [end for end in (source, target) if end.state in ("unreachable", "failed")]
    if outside:
        text = f"{' and '.join(outside)} took no part in this run."
        return Pair(source.name, target.name, UNTESTED, detail=text, in_scope=False)
    if not dead:
        return Pair(
            source.name,
            target.name,
            UNTESTED,
            cause="not_tested",
            detail=f"{source.name} returned no result for it.",
            remedy="Look at what went wrong before, and run again.",
            blamed=source.name,
        )
    first = dead[0]
    if first.state == "unreachable":
        text = f"The control node could not reach {first.name}."
        return Pair(
            source.name, target.name, UNTESTED, "host_unreachable", text, _UNREACHABLE_REMEDY, blamed=first.name
        )
    text = f"{first.name} failed earlier in this run."
    return Pair(
        source.name,
        target.name,
        UNTESTED,
        "host_failed",
        text,
        "Its error stands above; mend it and run again.",
        blamed=first.name,
    )


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
    }


def _pair_json(pair: Pair) -> dict[str, Any]:
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
    return ", ".join([text, *others]) + "."


# -- what is wrong, each cause once ---------------------------------------------------------------------------


@dataclass(frozen=True)
class Trouble:
    """One thing that is wrong: a dead server is one, not two for each of its peers.

    :param servers: whose it is, as far as the pairs tell; never empty.
    :param causes: keys; several where one remedy mends what shows in several ways.
    :param pairs: in the order of the mesh; never empty.
    """

    servers: tuple[str, ...]
    causes: tuple[str, ...]
    pairs: tuple[Pair, ...]

    @property
    def place(self) -> str:
        """The pair, or the servers with the number of pairs and an example."""
        first = self.pairs[0].label
        if len(self.pairs) == 1:
            return first
        return f"{few(self.servers)} ({len(self.pairs)} pairs, such as {first})"

    @property
    def detail(self) -> str:
        return self.pairs[0].detail

    @property
    def remedy(self) -> str:
        return self.pairs[0].remedy

    def __str__(self) -> str:
        said = [_sentence(text) for text in (self.detail, self.remedy) if text]
        return " ".join([f"{self.place}: {', '.join(self.causes)}.", *said])


def title_of(pair: Pair) -> str:
    """The cause of a pair in a few plain words; empty if it has none."""
    if pair.cause is None:
        return ""
    if pair.verdict == UNTESTED and pair.cause in _UNTESTED_TITLES:
        return _UNTESTED_TITLES[pair.cause]
    return CAUSES[pair.cause].title if pair.cause in CAUSES else pair.cause


def troubles_of(pairs: Iterable[Pair]) -> list[Trouble]:
    """Put what is wrong under the server that has most of it; the largest first."""
    merged: dict[tuple[str, str], list[Pair]] = {}
    for server, group in _by_suspect(pairs):
        # An expired server shows in both directions, under two causes: it is one trouble with one remedy.
        merged.setdefault((server, group[0].remedy), []).extend(group)
    single = [Trouble((server,), _causes(group), tuple(group)) for (server, _remedy), group in merged.items()]
    alike: dict[tuple[tuple[str, ...], str], list[Trouble]] = {}
    for trouble in single:
        alike.setdefault((trouble.causes, trouble.remedy), []).append(trouble)
    found: list[Trouble] = []
    for troubles in alike.values():
        found += troubles if len(troubles) <= ALIKE_LIMIT else [_joined(troubles)]
    return sorted(found, key=lambda trouble: -len(trouble.pairs))


def _joined(troubles: Sequence[Trouble]) -> Trouble:
    servers = sorted({server for trouble in troubles for server in trouble.servers})
    pairs = tuple(pair for trouble in troubles for pair in trouble.pairs)
    return Trouble(tuple(servers), troubles[0].causes, pairs)


def _causes(pairs: Iterable[Pair]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(pair.cause or pair.verdict for pair in pairs))


def _by_suspect(pairs: Iterable[Pair]) -> Iterator[tuple[str, list[Pair]]]:
    """Server and pairs with the same cause, greedily: whoever has most of one cause takes them all."""
    open_: dict[tuple[str | None, str], dict[Pair, None]] = {}
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


def _ends(pair: Pair) -> tuple[str, ...]:
    # The end that is called comes first: of two equal suspects it is the more likely one.
    return (pair.blamed,) if pair.blamed else (pair.target, pair.source)


# -- the terminal ---------------------------------------------------------------------------------------------


def terminal(mesh: Mesh) -> list[str]:
    """The mesh for a terminal: a matrix while it fits, then what is wrong, by cause, then the verdict."""
    lines = _matrix(mesh) if len(mesh.servers) <= MATRIX_LIMIT else []
    return [*lines, *findings(mesh)]


def findings(mesh: Mesh) -> list[str]:
    """What is wrong, what is owed, and the verdict, which comes last; never more than a screen."""
    return [*trouble_lines(mesh.wrong), *_debt_lines(mesh.debts), verdict(mesh)]


def trouble_lines(pairs: Iterable[Pair]) -> list[str]:
    """What is wrong, a line for each trouble while they fit a screen."""
    troubles = troubles_of(pairs)
    lines = [printable(str(trouble)) for trouble in troubles[:TROUBLE_LIMIT]]
    rest = troubles[TROUBLE_LIMIT:]
    if rest:
        count = sum(len(trouble.pairs) for trouble in rest)
        lines.append(f"{len(rest)} more causes concern {count} pairs; the report has them all.")
    return lines


def _debt_lines(debts: Sequence[Debt]) -> list[str]:
    """What is owed, each text once: a new server is news to all others."""
    servers: dict[str, list[str]] = {}
    for debt in debts:
        servers.setdefault(debt.text, []).append(debt.server)
    lines = [
        printable(f"Owed to {few(names)}{', each' if len(names) > 1 else ''}: {text}")
        for text, names in servers.items()
    ]
    rest = lines[DEBT_LIMIT:]
    return lines[:DEBT_LIMIT] + ([f"{len(rest)} more debts; the report has them all."] if rest else [])


def _matrix(mesh: Mesh) -> list[str]:
    names = [printable(server.name) for server in mesh.servers]
    signs = {(pair.source, pair.target): _sign(pair) for pair in mesh.pairs}
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


def _sign(pair: Pair) -> str:
    return _SIGNS[pair.verdict] if pair.in_scope else OUTSIDE


def printable(text: str) -> str:
    """A text that moves no cursor: what a peer answered may be part of it."""
    return "".join(character if character.isprintable() else "?" for character in text)


def few(names: Sequence[str]) -> str:
    """A few names, and how many more there are."""
    shown = [*names[:3], f"{len(names) - 3} more"] if len(names) > 4 else list(names)
    return " and ".join([", ".join(shown[:-1]), shown[-1]]) if len(shown) > 1 else shown[0]


def _sentence(text: str) -> str:
    return f"{text.rstrip('. ')}."
