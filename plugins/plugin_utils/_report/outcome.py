# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a report means for the play: whether it fails, and with which message."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import asdict, dataclass
from typing import Any

from ansible_collections.esync.mesh.plugins.plugin_utils._report.model import NOT_OK, OK, Mesh, summary
from ansible_collections.esync.mesh.plugins.plugin_utils._report.terminal import (
    connection_lines,
    findings,
    pair_lines,
    refusal_lines,
)
from ansible_collections.esync.mesh.plugins.plugin_utils._report.wording import PairLike, statement


@dataclass(frozen=True)
class Outcome:
    """The outcome of a run.

    :param failed: whether the mesh, or what worked before, does not work.
    :param message: why; empty unless ``failed``.
    :param worse: what worked before and does not now, with the causes.
    """

    failed: bool
    message: str
    worse: tuple[str, ...]


def outcome_of(
    mesh: Mesh, baseline: Collection[str] | None = None, servers_count: bool = False, must_prove: bool = False
) -> Outcome:
    """Decide whether the play fails.

    :param baseline: what worked before, by label; with it only that, and wrongly accepted callers, make it fail.
    :param servers_count: whether a fault of a server makes it fail. :param must_prove: whether proving nothing does.
    """
    if baseline is None:
        bad = bool(mesh.wrong_at or mesh.wrong_connections or mesh.wrongly_accepted)
        bad = bad or (must_prove and mesh.proved_nothing)
        failed = bad or (servers_count and bool(mesh.faults))
        return Outcome(failed, "\n".join(findings(mesh)) if failed else "", ())
    before = frozenset(baseline)
    not_ok = (mesh.pairs.at(index) for index in mesh.pairs.find(NOT_OK))
    pairs = [pair for pair in not_ok if pair.label in before and not pair.proved]
    calls = [one for one in mesh.connections if one.label in before and one.verdict != OK]
    lost: list[PairLike] = [*pairs, *calls]
    worse = [statement(one.label, one.cause or one.verdict, one.detail) for one in lost]
    lines = [*refusal_lines(mesh), *pair_lines(pairs), *connection_lines(calls)]
    failed = bool(worse or mesh.wrongly_accepted) or (servers_count and bool(mesh.faults))
    return Outcome(failed, "\n".join(lines or findings(mesh)) if failed else "", tuple(worse))


def worked(mesh: Mesh) -> list[str]:
    """What works, by label: a later report compares with it."""
    return [
        *(pair.label for pair in mesh.pairs if pair.proved),
        *(one.label for one in mesh.connections if one.verdict == OK),
    ]


def facts(mesh: Mesh) -> dict[str, Any]:
    """What a report returns to the play, whatever the outcome."""
    return {
        "summary": summary(mesh),
        "pending": [asdict(update) for update in mesh.pending],
        "problems": [asdict(problem) for problem in mesh.problems],
        "wrongly_accepted": [asdict(refusal) for refusal in mesh.wrongly_accepted],
    }
