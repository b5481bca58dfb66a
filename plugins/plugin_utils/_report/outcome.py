# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a report means for the play: whether it fails, what got worse, and what it returns."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import asdict
from typing import Any

from ansible_collections.esync.mesh.plugins.plugin_utils._report.model import NOT_OK, OK, Mesh, summary
from ansible_collections.esync.mesh.plugins.plugin_utils._wording import PairLike, statement


def fails(mesh: Mesh, servers_count: bool = False, must_prove: bool = False) -> bool:
    """Decide whether the play fails.

    :param servers_count: whether a fault of a server makes it fail. :param must_prove: whether proving nothing does.
    """
    wrong = bool(mesh.wrong_at or mesh.wrong_connections or mesh.wrongly_accepted)
    return wrong or (must_prove and mesh.proved_nothing) or (servers_count and bool(mesh.faults))


def broken(mesh: Mesh) -> list[str]:
    """The labels of the pairs, and of the calls to clusters, that do not work: a later proof compares with them."""
    return [one.label for one in _broken(mesh)]


def worse_than(mesh: Mesh, before: Collection[str]) -> list[str]:
    """What worked before and does not now, with the causes.

    :param before: the labels of what did not work then.
    """
    known = frozenset(before)
    return [
        statement(one.label, one.cause or one.verdict, one.detail) for one in _broken(mesh) if one.label not in known
    ]


def _broken(mesh: Mesh) -> Iterator[PairLike]:
    for index in mesh.pairs.find(NOT_OK):
        pair = mesh.pairs.at(index)
        if not pair.proved:
            yield pair
    yield from (one for one in mesh.connections if one.verdict != OK)


def facts(mesh: Mesh) -> dict[str, Any]:
    """What a report returns to the play, whatever the outcome."""
    return {
        "summary": summary(mesh),
        "pending": [asdict(update) for update in mesh.pending],
        "problems": [asdict(problem) for problem in mesh.problems],
        "wrongly_accepted": [asdict(refusal) for refusal in mesh.wrongly_accepted],
    }
