# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is wrong, each cause once: a dead server is one group, not two pairs for each of its peers."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass

from ansible_collections.esync.mesh.plugins.module_utils._connection.cause_table import CAUSES, FOLLOWS_FROM_SERVER
from ansible_collections.esync.mesh.plugins.plugin_utils._report.findings import Problem
from ansible_collections.esync.mesh.plugins.plugin_utils._report.model import (
    FAILED,
    NOT_REFUSED,
    Mesh,
    Refusal,
    ReportPair,
)
from ansible_collections.esync.mesh.plugins.plugin_utils._report.problem_kinds import FAULT, NOT_CHECKED
from ansible_collections.esync.mesh.plugins.plugin_utils._wording import (
    abbreviated,
    pair_line,
    problem_line,
    statement,
)

ALIKE_LIMIT = 3
"""So many servers with the same cause get a group each; more share one."""

_SEVERITY_ORDER = {FAULT: 0, NOT_CHECKED: 2}


@dataclass(frozen=True)
class CauseGroup:
    """One thing that is wrong with pairs.

    :param servers: whose it is, as far as the pairs prove it; never empty.
    :param causes: keys; several where one remedy removes several causes.
    :param pairs: in the order of the mesh; never empty.
    """

    servers: tuple[str, ...]
    causes: tuple[str, ...]
    pairs: tuple[ReportPair, ...]

    @property
    def first(self) -> ReportPair:
        return self.pairs[0]

    @property
    def failed(self) -> bool:
        """Whether a pair of it failed; else all are untested."""
        return any(pair.verdict == FAILED for pair in self.pairs)

    @property
    def place(self) -> str:
        """The pair, or the servers with the number of pairs and an example."""
        if len(self.pairs) == 1:
            return self.first.label
        return f"{abbreviated(self.servers, most=3)} ({len(self.pairs)} pairs, such as {self.first.label})"

    def __str__(self) -> str:
        return pair_line(self.first, self.place, self.causes)


def cause_groups(mesh: Mesh) -> list[CauseGroup]:
    """What is wrong with the pairs of a mesh: root causes first, then the largest."""
    return group_pairs(mesh.wrong, {problem.server for problem in mesh.faults})


def group_pairs(pairs: Iterable[ReportPair], faulty: Collection[str] = ()) -> list[CauseGroup]:
    """Put what is wrong under the server that has most of it: root causes first, then the largest.

    :param faulty: the servers with a fault of their own, of which some causes are only consequences.
    """
    merged: dict[tuple[str, str], list[ReportPair]] = {}
    for server, group in _by_suspect(pairs, faulty):
        # An expired server fails in both directions, under two causes: it is one group with one remedy.
        merged.setdefault((server, group[0].remedy), []).extend(group)
    single = [CauseGroup((server,), _causes(group), tuple(group)) for (server, _remedy), group in merged.items()]
    alike: dict[tuple[tuple[str, ...], str], list[CauseGroup]] = {}
    for one in single:
        alike.setdefault((one.causes, one.first.remedy), []).append(one)
    found: list[CauseGroup] = []
    for groups in alike.values():
        found += groups if len(groups) <= ALIKE_LIMIT else [_joined(groups)]
    return sorted(found, key=lambda group: (_is_consequence(group, faulty), -len(group.pairs)))


def _is_consequence(group: CauseGroup, faulty: Collection[str]) -> bool:
    rows = [CAUSES[cause] for cause in group.causes if cause in CAUSES]
    follows = bool(rows) and all(row.repair == FOLLOWS_FROM_SERVER for row in rows)
    return follows and any(server in faulty for server in group.servers)


def _joined(groups: Sequence[CauseGroup]) -> CauseGroup:
    servers = sorted({server for group in groups for server in group.servers})
    pairs = tuple(pair for group in groups for pair in group.pairs)
    return CauseGroup(tuple(servers), groups[0].causes, pairs)


def _causes(pairs: Iterable[ReportPair]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(pair.cause or pair.verdict for pair in pairs))


def _by_suspect(pairs: Iterable[ReportPair], faulty: Collection[str]) -> Iterator[tuple[str, list[ReportPair]]]:
    """Server and pairs with the same cause, greedily: whoever has most of one cause takes them all."""
    listed = list(pairs)
    suspects: dict[tuple[str | None, str], dict[int, None]] = {}
    for number, pair in enumerate(listed):
        for end in _ends(pair, faulty):
            suspects.setdefault((pair.cause, end), {})[number] = None
    while suspects:
        cause, server = max(suspects, key=lambda suspect: len(suspects[suspect]))
        group = list(suspects.pop((cause, server)))
        for number in group:
            for end in _ends(listed[number], faulty):
                others = suspects.get((cause, end))
                if others is not None:
                    others.pop(number, None)
                    if not others:
                        del suspects[cause, end]
        yield server, [listed[number] for number in group]


def _ends(pair: ReportPair, faulty: Collection[str]) -> tuple[str, ...]:
    """The servers that may be the cause of a pair, the more likely one first.

    :param faulty: the servers with a fault of their own; what only follows from such a fault is theirs.
    """
    if pair.blamed:
        return (pair.blamed,)
    ends = (pair.target, pair.source)
    if pair.cause in CAUSES and CAUSES[pair.cause].repair == FOLLOWS_FROM_SERVER:
        # What the peer presents has expired; everything else of that kind is on the caller's own disk.
        likely = ends if pair.cause == "server_certificate_expired" else ends[::-1]
        return next(((end,) for end in likely if end in faulty), ends)
    return ends


@dataclass(frozen=True)
class WrongAcceptance:
    """A server, or a site of it, that accepted what it must refuse. :param refusals: what that was; never empty."""

    server: str
    refusals: tuple[Refusal, ...]

    @property
    def detail(self) -> str:
        who = abbreviated(list(dict.fromkeys(refusal.source for refusal in self.refusals)), most=3)
        return f"It accepted {who}, which presented {presented_by(self.refusals)}."

    @property
    def remedy(self) -> str:
        return self.refusals[0].remedy

    def __str__(self) -> str:
        return statement(self.server, self.refusals[0].cause or FAILED, self.detail, self.remedy)


def wrong_acceptances(mesh: Mesh) -> list[WrongAcceptance]:
    """The servers that accepted what they must refuse, unless a pair reports it already."""
    reported = {(pair.source, pair.place) for pair in mesh.wrong if pair.cause == NOT_REFUSED}
    others = [refusal for refusal in mesh.wrongly_accepted if (refusal.source, refusal.place) not in reported]
    return [WrongAcceptance(place, tuple(refusals)) for place, refusals in by_place(others).items()]


def by_place(refusals: Iterable[Refusal]) -> dict[str, list[Refusal]]:
    """Refusals by the server, or the site of it, that had to refuse."""
    found: dict[str, list[Refusal]] = {}
    for refusal in refusals:
        found.setdefault(refusal.place, []).append(refusal)
    return found


def presented_by(refusals: Iterable[Refusal]) -> str:
    """What was presented, in words, each once."""
    return "; ".join(dict.fromkeys(refusal.presented for refusal in refusals))


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
        place = abbreviated(self.servers, most=3)
        if len(self.problems) == 1:
            return problem_line(first, place)
        of_one = f"{first.server}: " if len(self.servers) > 1 else ""
        return problem_line(first, place, f"{len(self.problems)} of them, such as {of_one}{first.path or first.cause}")


def group_problems(problems: Iterable[Problem]) -> list[ProblemGroup]:
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
    return sorted(found, key=lambda group: _SEVERITY_ORDER.get(group.first.severity, 1))
