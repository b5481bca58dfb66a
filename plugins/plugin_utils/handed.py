# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which client sets a server is to hold of its peers, planned from the ledger; only what it lacks is sent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ansible_collections.esync.mesh.plugins.module_utils.handed import Entry, entries_from
from ansible_collections.esync.mesh.plugins.module_utils.indexed import digest_of
from ansible_collections.esync.mesh.plugins.module_utils.names import CLIENT, CURRENT, NEXT
from ansible_collections.esync.mesh.plugins.plugin_utils.ledger import Entry as Record
from ansible_collections.esync.mesh.plugins.plugin_utils.plan import Lost, guests_of, unknown_of


@dataclass(frozen=True)
class Held:
    """What a server holds.

    :param entries: those that are sound. :param whole: whether nothing of it is damaged, or out of use.
    """

    entries: tuple[Entry, ...] = ()
    whole: bool = True

    @classmethod
    def read(cls, said: Mapping[str, Any] | None) -> Held:
        """What a module returned as C(handed); nothing if it returned nothing.

        :raises EsyncError: kind ``bad_entry``.
        """
        if not said:
            return cls()
        entries = entries_from(said["entries"])
        return cls(entries, said["digest"] == digest_of(entries) and not said.get("withdrawn"))


@dataclass(frozen=True)
class HandedPlan:
    """The client sets that one server is to hold, and what differs from those it holds.

    :param wanted: all of them, sorted. :param lacking: those of them that it has not.
    """

    wanted: tuple[Entry, ...]
    lacking: tuple[Entry, ...]
    held: Held

    def obtainable(self, fetched: Sequence[str]) -> tuple[Entry, ...]:
        """What it can hold now: of a set that it lacks, only those that were fetched, or that lie on the host.

        :param fetched: fingerprints.
        """
        return tuple(entry for entry in self.wanted if entry not in self.lacking or entry.fingerprint in fetched)

    def changes(self, entries: Sequence[Entry]) -> bool:
        """Whether holding exactly these is a change."""
        return tuple(sorted(entries)) != tuple(sorted(self.held.entries)) or not self.held.whole


def sets_of(record: Record, newest: bool = False) -> tuple[Entry, ...]:
    """The client sets that a server hands to its peers.

    :param newest: only the newest generation, while a mesh goes over to this model: the older ones were made to stay
        where they are.
    """
    states = [generation.state for generation in record.generations]
    return tuple(
        Entry(record.name, generation.state, str(generation.certificates[CLIENT]["fingerprint"]))
        for generation in record.generations
        if not newest or generation.state == (NEXT if NEXT in states else CURRENT)
    )


def plan_handed(
    server: str,
    members: Sequence[str],
    ledger: Mapping[str, Record],
    held: Held,
    newest: bool = False,
    allow_shrink: bool = False,
) -> HandedPlan:
    """Plan what a server holds: the sets of the other members, and those that guests handed over in a folder.

    As for the trust, what the ledger says of a peer counts, and what it does not know is kept, except what lost all
    trust: keys that are destroyed do not come back, and those of a guest not even with the ledger.

    :param members: the names of the mesh, ``server`` among them or not.
    :param newest: as for :func:`sets_of`.
    :param allow_shrink: whether sets of servers outside the mesh are dropped.
    """
    peers = [name for name in (*members, *guests_of(members, ledger)) if name.lower() != server.lower()]
    wanted: set[Entry] = set()
    for peer in peers:
        if peer in ledger:
            wanted.update(sets_of(ledger[peer], newest))
    recorded = {entry.peer for entry in wanted}
    wanted |= unknown_of(held.entries, Lost.of(server, peers, ledger), recorded, peers, allow_shrink)
    have = {entry.fingerprint for entry in held.entries}
    lacking = [entry for entry in wanted if entry.fingerprint not in have]
    return HandedPlan(tuple(sorted(wanted)), tuple(sorted(lacking)), held)
