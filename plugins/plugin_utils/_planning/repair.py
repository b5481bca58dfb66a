# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What can be repaired, planned from the result of a check: the smallest action for each fault, none for what is sound.

A sound private key is never destroyed: what can be written again from what is sound beside it is, and only sets of
which no private key is left are made new. Where that would destroy one, the command is named, and left to a person.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from ansible_collections.esync.mesh.plugins.module_utils._connection.cause_table import (
    BY_HAND,
    CAUSES,
    FOLLOWS_FROM_SERVER,
    RESTART_PEER,
)
from ansible_collections.esync.mesh.plugins.plugin_utils._planning.run import at_least_half
from ansible_collections.esync.mesh.plugins.plugin_utils._report.findings import Problem
from ansible_collections.esync.mesh.plugins.plugin_utils._report.grouping import wrong_acceptances
from ansible_collections.esync.mesh.plugins.plugin_utils._report.model import CODES, FAILED, OK, Mesh, ReportPair
from ansible_collections.esync.mesh.plugins.plugin_utils._report.problem_kinds import (
    AS_FOUND,
    ENDPOINT,
    EXCHANGE,
    FAULT,
    KINDS,
    NOTE,
    OTHER,
    RENEW,
    RESTART,
    RESTORE,
)
from ansible_collections.esync.mesh.plugins.plugin_utils._report.problem_kinds import BY_HAND as LEFT
from ansible_collections.esync.mesh.plugins.plugin_utils._wording import pair_line, printable, problem_line


class Action(NamedTuple):
    """What one action does. :param destroys: what is gone afterwards, in words."""

    does: str
    destroys: str


ACTIONS: Mapping[str, Action] = {
    RENEW: Action("make new sets in the place of its own", "its sets, of which no private key is left"),
    RESTORE: Action(
        "write what is damaged or missing again from what is sound beside it, and correct modes",
        "nothing; its private keys stay",
    ),
    EXCHANGE: Action("bring its trust and its entry in the ledger up to date", "nothing but what is damaged"),
    RESTART: Action("stop its endpoint, then start it", "nothing; its connections end"),
}
"""What is done, in the order in which it is done."""

NOT_LOADED = frozenset(["client_certificate_refused", "not_refused", "no_answer_after_handshake", "taken_for_another"])
"""The causes by which an endpoint shows that it does not go by the trust on its disk."""

FINDINGS_LIMIT = 3
"""So many findings are named for an action on a server."""
NOTHING = "Nothing is wrong that can be repaired from here."


@dataclass(frozen=True)
class RepairPlan:
    """What to do on which server, and what is not repaired.

    :param servers: server name to actions, in their order; only servers with something to do.
    :param not_repaired: what cannot be repaired from here, with what to do about it.
    :param lines: the plan in words: for each action why, what kind of finding that is, and what is destroyed.
    :param disputed: the servers that present what the ledger does not have; what the others trust of them is kept.
    """

    servers: Mapping[str, tuple[str, ...]]
    not_repaired: tuple[str, ...]
    lines: tuple[str, ...]
    disputed: tuple[str, ...] = ()


class _Finding(NamedTuple):
    """Why an action is wanted. :param subject: what is concerned, such as ``own set``."""

    subject: str
    reason: str


class _Planner:
    """Collects what is wanted; becomes a RepairPlan."""

    def __init__(self, mesh: Mesh, restartable: Iterable[str]) -> None:
        self.mesh = mesh
        self.restartable = frozenset(restartable)
        # What the ledger has of these is in doubt. A single one must not keep the others from being repaired.
        self.disputed = sorted({one.server for one in mesh.problems if one.kind == "ledger_missing"})
        self.wanted: dict[str, dict[str, list[_Finding]]] = {}
        self.not_repaired: list[str] = []

    def want(self, server: str, action: str, finding: _Finding) -> None:
        if action == RESTART and server not in self.restartable:
            self.not_repaired.append(
                f"{server}: {finding.reason} Its endpoint is not one that this collection can stop and start: do it by "
                "hand, or set esync_stop_command and esync_start_command."
            )
        elif action in (RENEW, EXCHANGE) and (server in self.disputed or self._is_in_doubt()):
            self.not_repaired.append(
                f"{server}: {finding.reason} First settle what the ledger has of {', '.join(self.disputed)}."
            )
        else:
            self.wanted.setdefault(server, {}).setdefault(action, []).append(finding)

    def _is_in_doubt(self) -> bool:
        """Whether the ledger itself is in doubt: at least half of the servers present something else."""
        return bool(self.disputed) and at_least_half(len(self.disputed), len(self.mesh.servers))

    def add_problem(self, problem: Problem) -> None:
        row = KINDS.get(problem.kind, OTHER)
        action = problem.repair or row.repair
        if action in (LEFT, AS_FOUND):
            self.not_repaired.append(problem_line(problem))
        else:
            place = f"{problem.path}: " if problem.path else ""
            reason = " ".join(filter(None, [f"{place}{problem.cause}.", problem.evidence]))
            self.want(problem.server, action, _Finding(row.subject, reason))

    def add_pairs(self) -> None:
        faulty = {problem.server for problem in self.mesh.faults} | self.wanted.keys()
        contradicted = self._contradicted()
        for pair in self.mesh.wrong:
            repair = CAUSES[pair.cause].repair if pair.cause in CAUSES else BY_HAND
            if repair == RESTART_PEER and pair.verdict == FAILED and pair.label not in contradicted:
                if pair.target not in self.wanted:
                    self.want(pair.target, RESTART, _Finding(ENDPOINT, f"{pair.label}: {pair.cause}."))
            elif pair.label in contradicted and pair.cause in NOT_LOADED:
                self.want(pair.target, EXCHANGE, _Finding(ENDPOINT, f"{pair.label}: {pair.cause}."))
            elif not (repair == FOLLOWS_FROM_SERVER and faulty & {pair.source, pair.target}):
                self.not_repaired.append(pair_line(pair))

    def _contradicted(self) -> set[str]:
        """The pairs of which a single caller says that the endpoint fails, while it serves another one.

        No single server has another's endpoint stopped. If that may not have loaded whom it trusts, it is reloaded.
        """
        said: dict[str, list[ReportPair]] = {}
        for pair in self.mesh.wrong:
            if pair.verdict == FAILED and pair.cause in CAUSES and CAUSES[pair.cause].repair == RESTART_PEER:
                said.setdefault(pair.target, []).append(pair)
        numbers = {server.name: number for number, server in enumerate(self.mesh.servers)}
        served = CODES[OK].encode()
        return {
            pair.label
            for target, pairs in said.items()
            if len({pair.source for pair in pairs}) == 1 and served in self._called_by_others(numbers, pairs[0])
            for pair in pairs
        }

    def _called_by_others(self, numbers: Mapping[str, int], pair: ReportPair) -> bytes:
        """The codes of the pairs in which its target is called by others than its source."""
        table = self.mesh.pairs
        target, source = numbers[pair.target], numbers[pair.source]
        return bytes(ord(table.cell(row, target)) for row in range(len(numbers)) if row not in (target, source))

    def add_calls(self) -> None:
        members = {cluster.name: set(cluster.members) for cluster in self.mesh.clusters}
        for call in self.mesh.connections:
            # What a member does wrong is repaired there; the load balancer is not part of the mesh.
            if call.verdict == FAILED and not self.wanted.keys() & members.get(call.cluster, set()):
                self.not_repaired.append(pair_line(call))

    def lines(self) -> Iterator[str]:
        for server in sorted(self.wanted):
            for name, action in ACTIONS.items():
                if name in self.wanted[server]:
                    found = list(dict.fromkeys(self.wanted[server][name]))
                    why = " ".join(f"{one.subject}: {one.reason}" for one in found[:FINDINGS_LIMIT])
                    more = f" And {len(found) - FINDINGS_LIMIT} more." if len(found) > FINDINGS_LIMIT else ""
                    yield printable(f"{server}: {action.does} ({why}{more}) Destroys: {action.destroys}.")


def plan_repair(mesh: Mesh, restartable: Iterable[str]) -> RepairPlan:
    """Plan the repair of what a check found.

    :param mesh: the result of a run that checked every server.
    :param restartable: the servers whose endpoint can be stopped and started.
    """
    planner = _Planner(mesh, restartable)
    for problem in mesh.problems:
        if problem.severity == FAULT or (problem.severity == NOTE and KINDS.get(problem.kind, OTHER).repair == RESTORE):
            planner.add_problem(problem)
    planner.add_pairs()
    planner.add_calls()
    planner.not_repaired += [str(one) for one in wrong_acceptances(mesh)]
    not_repaired = tuple(dict.fromkeys(map(printable, planner.not_repaired)))
    lines = list(planner.lines()) or [NOTHING]
    return RepairPlan(
        servers={
            server: tuple(one for one in ACTIONS if one in planner.wanted[server]) for server in sorted(planner.wanted)
        },
        not_repaired=not_repaired,
        lines=(*lines, *(f"Not repaired: {text}" for text in not_repaired)),
        disputed=tuple(planner.disputed),
    )
