# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which shared client keys a server is to hold, planned from the ledger; only those that are missing are sent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ansible_collections.esync.mesh.plugins.module_utils._core.names import CLIENT, CURRENT, NEXT
from ansible_collections.esync.mesh.plugins.module_utils._store.indexed_folder import digest_of
from ansible_collections.esync.mesh.plugins.module_utils._store.shared_sets import SharedKey, entries_from
from ansible_collections.esync.mesh.plugins.plugin_utils._ledger.pending import external_peers_of
from ansible_collections.esync.mesh.plugins.plugin_utils._ledger.records import LedgerRecord
from ansible_collections.esync.mesh.plugins.plugin_utils._planning.trust import Withdrawn, unknown_of


@dataclass(frozen=True)
class InstalledKeys:
    """The shared client keys that a server holds.

    :param entries: those that are sound. :param intact: whether nothing of it is damaged, or out of use.
    """

    entries: tuple[SharedKey, ...] = ()
    intact: bool = True

    @classmethod
    def read(cls, said: Mapping[str, Any] | None) -> InstalledKeys:
        """What a module returned as C(shared); nothing if it returned nothing.

        :raises EsyncError: kind ``bad_entry``.
        """
        if not said:
            return cls()
        entries = entries_from(said["entries"])
        return cls(entries, said["digest"] == digest_of(entries) and not said.get("withdrawn"))


@dataclass(frozen=True)
class SharedKeyPlan:
    """The client sets that one server is to hold, and what differs from those it holds.

    :param wanted: all of them, sorted. :param missing: those of them that it does not have.
    """

    wanted: tuple[SharedKey, ...]
    missing: tuple[SharedKey, ...]
    installed: InstalledKeys

    def obtainable(self, fetched: Sequence[str]) -> tuple[SharedKey, ...]:
        """What it can hold now: of the missing sets, only those that were fetched, or that lie on the host.

        :param fetched: fingerprints.
        """
        return tuple(entry for entry in self.wanted if entry not in self.missing or entry.fingerprint in fetched)

    def changes(self, entries: Sequence[SharedKey]) -> bool:
        """Whether holding exactly these is a change."""
        return tuple(sorted(entries)) != tuple(sorted(self.installed.entries)) or not self.installed.intact


def sets_of(record: LedgerRecord, newest: bool = False) -> tuple[SharedKey, ...]:
    """The client sets that a server shares with its peers.

    :param newest: only the newest generation, while a mesh changes to this model: the older ones were made to stay
        where they are.
    """
    states = [generation.state for generation in record.generations]
    return tuple(
        SharedKey(record.name, generation.state, str(generation.certificates[CLIENT]["fingerprint"]))
        for generation in record.generations
        if not newest or generation.state == (NEXT if NEXT in states else CURRENT)
    )


def plan_shared_keys(
    server: str,
    members: Sequence[str],
    ledger: Mapping[str, LedgerRecord],
    installed: InstalledKeys,
    newest: bool = False,
    allow_shrink: bool = False,
) -> SharedKeyPlan:
    """Plan what a server holds: the sets of the other members, and those that external peers share in a folder.

    As for the trust, what the ledger says of a peer counts, and what it does not know is kept, except what lost all
    trust: keys that are destroyed do not come back, and those of an external peer not even with the ledger.

    :param members: the names of the mesh, ``server`` among them or not.
    :param newest: as for :func:`sets_of`.
    :param allow_shrink: whether sets of servers outside the mesh are dropped.
    """
    peers = [name for name in (*members, *external_peers_of(members, ledger)) if name.lower() != server.lower()]
    wanted: set[SharedKey] = set()
    for peer in peers:
        if peer in ledger:
            wanted.update(sets_of(ledger[peer], newest))
    recorded = {entry.peer for entry in wanted}
    wanted |= unknown_of(installed.entries, Withdrawn.of(server, peers, ledger), recorded, peers, allow_shrink)
    have = {entry.fingerprint for entry in installed.entries}
    missing = [entry for entry in wanted if entry.fingerprint not in have]
    return SharedKeyPlan(tuple(sorted(wanted)), tuple(sorted(missing)), installed)
