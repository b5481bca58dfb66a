# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The mesh for a terminal: a matrix while it fits, what is wrong, what is pending, and the verdict as the last line.

Whatever the size of the mesh, and whatever is wrong with it, the lines fit a screen of 40; the matrix of a small mesh
stands above them. Root causes come before their consequences: faults of servers, then causes of pairs.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ansible_collections.esync.mesh.plugins.module_utils._core.names import SHARED_KEYS
from ansible_collections.esync.mesh.plugins.plugin_utils._inventory import clusters as balanced
from ansible_collections.esync.mesh.plugins.plugin_utils._inventory.clusters import ClusterCall
from ansible_collections.esync.mesh.plugins.plugin_utils._ledger.pending import PendingUpdate
from ansible_collections.esync.mesh.plugins.plugin_utils._report.findings import Problem
from ansible_collections.esync.mesh.plugins.plugin_utils._report.grouping import (
    CauseGroup,
    by_place,
    cause_groups,
    group_problems,
    presented_by,
    wrong_acceptances,
)
from ansible_collections.esync.mesh.plugins.plugin_utils._report.model import (
    OK,
    OUTSIDE,
    SELF,
    UNTESTED,
    Mesh,
    ReportPair,
    verdict,
)
from ansible_collections.esync.mesh.plugins.plugin_utils._report.problem_kinds import FAULT, PORT_TAKEN
from ansible_collections.esync.mesh.plugins.plugin_utils._wording import (
    abbreviated,
    more,
    place_of,
    printable,
    with_options,
)

MATRIX_LIMIT = 30
"""Beyond so many servers a matrix does not fit a terminal, and only what is wrong is listed."""

SOUND_MATRIX_LIMIT = 10
"""Beyond so many servers the matrix of a mesh in which every pair works says no more than the verdict does."""

CAUSE_LIMIT, PROBLEM_LIMIT, CALL_LIMIT, PENDING_LIMIT, CLUSTER_LIMIT, REFUSAL_LIMIT, NOTE_LIMIT = 10, 6, 3, 3, 3, 3, 2
"""The lines of each section. With a line for what was cut, the costs and the verdict, they are fewer than 40."""

COST = (
    "Trust model shared_keys: every server has the client keys of all others, so whoever breaks into one of them can "
    "pose as any other, and no server can tell who calls."
)
"""What a report says of a mesh whose servers share their client keys."""

_LEGEND = {"x": "failed", "?": "untested", OUTSIDE: "not in this run"}


def terminal(mesh: Mesh) -> list[str]:
    """All of it, line by line."""
    sound = mesh.count(OK) == mesh.expected
    lines = _matrix(mesh) if len(mesh.servers) <= (SOUND_MATRIX_LIMIT if sound else MATRIX_LIMIT) else []
    return [*lines, *cost_lines(mesh), *(with_options(line, mesh.options) for line in findings(mesh))]


def cost_lines(mesh: Mesh) -> list[str]:
    """What the trust model costs, if it is not the default."""
    return [COST] * (mesh.trust_model == SHARED_KEYS)


def findings(mesh: Mesh) -> list[str]:
    """What is wrong, what is pending, and the verdict, which comes last; never more than a screen."""
    others = [problem for problem in mesh.problems if problem.severity != FAULT]
    return [
        *problem_lines(mesh.faults),
        *refusal_lines(mesh),
        *_group_lines([group for group in cause_groups(mesh) if not _is_told(mesh, group)]),
        *connection_lines(mesh.wrong_connections),
        *problem_lines(others, NOTE_LIMIT),
        *_pending_lines(mesh.pending),
        *_cut(
            [printable(str(count)) for count in balanced.cluster_counts(mesh.clusters, mesh.connections)],
            CLUSTER_LIMIT,
            "clusters",
        ),
        *_scope_lines(mesh),
        verdict(mesh),
    ]


def _scope_lines(mesh: Mesh) -> list[str]:
    """Why nothing was proved, where that is because of who takes part in the run."""
    if not mesh.proved_nothing or mesh.pairs.count(OUTSIDE) < mesh.expected:
        return []
    return [
        "No pair has all the servers that its test needs in this run. Run the playbook over the whole group, without "
        "--limit and serial."
    ]


def problem_lines(problems: Iterable[Problem], limit: int = PROBLEM_LIMIT) -> list[str]:
    """What is wrong with servers themselves, a line for each group."""
    groups = group_problems(problems)
    rest = sum(len(group.problems) for group in groups[limit:])
    return _cut([str(group) for group in groups], limit, "problems of servers", rest)


def refusal_lines(mesh: Mesh) -> list[str]:
    """Who accepted what it must refuse, a line for each server; and where it was not seen whether it would."""
    lines = [str(group) for group in wrong_acceptances(mesh)]
    unseen = by_place(one for one in mesh.refusals if one.verdict == UNTESTED)
    # The pairs of a server that nobody could reach say so.
    reached = {pair.place for pair in _called(mesh, unseen) if pair.verdict == OK} if unseen else set()
    lines += [
        printable(f"{place}: not seen to refuse {presented_by(refusals)}: {_reason(refusals[0].detail)}")
        for place, refusals in unseen.items()
        if place in reached
    ]
    return _cut(lines, REFUSAL_LIMIT, "servers with refusals to look at")


def _reason(detail: str) -> str:
    return detail or "no reason is known."


def _called(mesh: Mesh, places: Iterable[str]) -> Iterable[ReportPair]:
    """For each of these places the first pair that is ok, if there is one."""
    wanted = set(places)
    pairs = mesh.pairs
    for number, column in enumerate(pairs.table.columns):
        row = pairs.table.codes[number :: pairs.width].find(b"+")
        if row >= 0 and place_of(mesh.servers[column.target].name, column.site) in wanted:
            yield pairs.at(row * pairs.width + number)


def _is_told(mesh: Mesh, group: CauseGroup) -> bool:
    """Whether the fault of the server itself, which stands above, says all there is to say of its pairs."""
    told = {problem.server for problem in mesh.faults if problem.kind == PORT_TAKEN}
    return group.causes == ("host_failed",) and set(group.servers) <= told


def _group_lines(groups: Sequence[CauseGroup]) -> list[str]:
    rest = groups[CAUSE_LIMIT:]
    count = sum(len(group.pairs) for group in rest)
    return _cut([str(group) for group in groups[:CAUSE_LIMIT]], CAUSE_LIMIT, f"causes ({count:,} pairs)", len(rest))


def connection_lines(connections: Iterable[ClusterCall]) -> list[str]:
    """What is wrong with calls to clusters, a line for each group."""
    lines = [balanced.call_line(group) for group in balanced.call_groups(connections)]
    return _cut(lines, CALL_LIMIT, "causes of calls to clusters")


def _pending_lines(pending: Iterable[PendingUpdate]) -> list[str]:
    """What servers have still to receive, each text once: a new server concerns all others."""
    servers: dict[str, list[str]] = {}
    for update in pending:
        servers.setdefault(update.text, []).append(update.server)
    lines = [
        printable(f"Pending for {abbreviated(names, most=3)}{', each' if len(names) > 1 else ''}: {text}")
        for text, names in servers.items()
    ]
    return _cut(lines, PENDING_LIMIT, "pending updates")


def _cut(lines: Sequence[str], limit: int, what: str, rest: int | None = None) -> list[str]:
    """The first lines, and one that says how many more there are. :param rest: if it is not the number of lines."""
    left = len(lines) - limit if rest is None else rest
    return [*lines[:limit], more(left, what)] if left > 0 else list(lines)


def _matrix(mesh: Mesh) -> list[str]:
    names = [printable(server.name) for server in mesh.servers]
    number = len(str(len(names)))
    width = max((len(name) for name in names), default=0) + number + 1
    # The numbers of the columns stand upright, so that thirty servers fit an ordinary terminal.
    heads = [" ".join(f"{index:>{number}}"[digit] for index in range(1, len(names) + 1)) for digit in range(number)]
    lines = [f"{'from / to' if digit == 0 else '':<{width}} {head}" for digit, head in enumerate(heads)]
    seen = set()
    for row, name in enumerate(names):
        cells = [SELF if row == column else mesh.pairs.cell(row, column) for column in range(len(names))]
        seen.update(cells)
        lines.append(f"{row + 1:>{number}} {name:<{width - number - 1}} {' '.join(cells)}")
    legend = [f"{sign} {text}" for sign, text in _LEGEND.items() if sign in seen]
    return lines + ([f"{'':<{width}} {', '.join(legend)}"] if legend else [])
