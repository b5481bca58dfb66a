# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The mesh at a glance: every directed pair, what it means for the run, and what to do (docs/verify.md)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from ansible_collections.esync.mesh.plugins.plugin_utils.plan import Debt

VERSION = 1
OK, FAILED, UNTESTED = "ok", "failed", "untested"
TEMPORARY = "temporary"
MATRIX_LIMIT = 30
"""Beyond so many servers a matrix does not fit a terminal, and only what is wrong is listed."""

_SIGNS = {OK: "+", FAILED: "x", UNTESTED: "?"}
_UNREACHABLE_REMEDY = "Bring the server back (power, network, ssh), and run again"


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
            remedy="Look at what went wrong before, and run again",
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
        "Its error stands above; mend it and run again",
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
        "summary": {
            "servers": len(mesh.servers),
            "expected": mesh.expected,
            "ok": mesh.count(OK),
            "failed": mesh.count(FAILED),
            "untested": mesh.count(UNTESTED),
        },
        "debts": [asdict(debt) for debt in mesh.debts],
    }


def _pair_json(pair: Pair) -> dict[str, Any]:
    data = asdict(pair)
    data["from"], data["to"] = data.pop("source"), data.pop("target")
    del data["in_scope"], data["blamed"]
    return data


def verdict(mesh: Mesh) -> str:
    """One line: did every pair work?"""
    text = f"{mesh.count(OK)} of {mesh.expected} pairs ok"
    others = [f"{mesh.count(kind)} {kind}" for kind in (FAILED, UNTESTED) if mesh.count(kind)]
    return ", ".join([text, *others]) + "."


def terminal(mesh: Mesh) -> list[str]:
    """The mesh for a terminal: a matrix while it fits, then what is wrong, by cause, then the verdict."""
    lines = _matrix(mesh) if len(mesh.servers) <= MATRIX_LIMIT else []
    lines += _troubles(mesh.wrong)
    lines += [f"Owed to {debt.server}: {debt.text}" for debt in mesh.debts]
    return [*lines, verdict(mesh)]


def _matrix(mesh: Mesh) -> list[str]:
    names = [server.name for server in mesh.servers]
    signs = {(pair.source, pair.target): _SIGNS[pair.verdict] for pair in mesh.pairs}
    number = len(str(len(names)))
    width = max(len(name) for name in names) + number + 1
    lines = [f"{'from / to':<{width}} " + " ".join(f"{index:>{number}}" for index in range(1, len(names) + 1))]
    for index, source in enumerate(names, 1):
        row = " ".join(f"{signs.get((source, target), '-'):>{number}}" for target in names)
        lines.append(f"{index:>{number}} {source:<{width - number - 1}} {row}")
    return lines


def _troubles(wrong: Sequence[Pair]) -> list[str]:
    """What is wrong, each cause once: a dead server is one line, not two for each of its peers."""
    lines = []
    remaining = list(wrong)
    while remaining:
        (cause, server), _count = _suspects(remaining).most_common(1)[0]
        group = [pair for pair in remaining if pair.cause == cause and server in _ends(pair)]
        remaining = [pair for pair in remaining if pair not in group]
        first = group[0]
        where = first.label if len(group) == 1 else f"{server} ({len(group)} pairs, such as {first.label})"
        lines.append(f"{where}: {cause}. {first.detail} {first.remedy}".rstrip(". ") + ".")
    return lines


def _suspects(pairs: Iterable[Pair]) -> Counter[tuple[str | None, str]]:
    return Counter((pair.cause, end) for pair in pairs for end in _ends(pair))


def _ends(pair: Pair) -> tuple[str, ...]:
    # The end that is called comes first: of two equal suspects it is the more likely one.
    return (pair.blamed,) if pair.blamed else (pair.target, pair.source)
