# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which certificates a server is to trust, planned from the ledger; the difference is all that is sent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ansible_collections.esync.mesh.plugins.module_utils.errors import EsyncError
from ansible_collections.esync.mesh.plugins.module_utils.names import ROLES
from ansible_collections.esync.mesh.plugins.module_utils.trust import Entry, digest_of
from ansible_collections.esync.mesh.plugins.plugin_utils.ledger import Entry as Record


@dataclass(frozen=True)
class TrustPlan:
    """The trust that one server is to have, and what differs from the one it has.

    :param entries: all of it, sorted.
    :param send: fingerprints of the certificates that the host lacks.
    :param kept: peers that are trusted although they are not in the mesh (any more).
    :param owed: members that the ledger has no certificates of.
    """

    entries: tuple[Entry, ...]
    send: tuple[str, ...]
    added: tuple[Entry, ...]
    removed: tuple[Entry, ...]
    kept: tuple[str, ...]
    owed: tuple[str, ...]
    changed: bool

    @property
    def digest(self) -> str:
        return digest_of(self.entries)


def plan_trust(
    server: str,
    members: Sequence[str],
    ledger: Mapping[str, Record],
    known: Sequence[Entry] | None,
    distrust: Sequence[str] = (),
    allow_shrink: bool = False,
) -> TrustPlan:
    """Plan the trust of one server.

    What the ledger says of a member counts. A member that the ledger has nothing of, and a server outside the mesh,
    keep what the host trusts of them already, except what was struck and what is to be distrusted.

    :param members: the names of the mesh, ``server`` among them or not.
    :param ledger: name to record, also of former members.
    :param known: the trust in force; None if there is none, or it is damaged.
    :param distrust: names that nothing may be kept of.
    :param allow_shrink: whether servers outside the mesh lose trust.
    :raises EsyncError: kind ``empty_trust``: nobody would be trusted any more, and nobody asked for that.
    """
    peers = [name for name in members if name.lower() != server.lower()]
    struck = {one.fingerprint for record in ledger.values() for one in record.struck}
    entries: set[Entry] = set()
    owed = []
    for peer in peers:
        record = ledger.get(peer)
        if record and record.generations:
            entries |= _of_record(record)
        elif peer not in distrust:
            owed.append(peer)
    recorded = {entry.peer for entry in entries}
    kept = set()
    for entry in known or ():
        if entry.peer in recorded or entry.peer in distrust or entry.fingerprint in struck:
            continue
        if entry.peer in peers or not allow_shrink:
            entries.add(entry)
            if entry.peer not in peers:
                kept.add(entry.peer)
    old = set(known or ())
    if old and not entries and not distrust:
        raise EsyncError(
            "it would trust nobody any more",
            "Bring the ledger back, or run establish over the whole group; to take servers out use the remove playbook",
            kind="empty_trust",
            server=server,
        )
    have = {entry.fingerprint for entry in old}
    return TrustPlan(
        entries=tuple(sorted(entries)),
        send=tuple(sorted({entry.fingerprint for entry in entries} - have)),
        added=tuple(sorted(entries - old)),
        removed=tuple(sorted(old - entries)),
        kept=tuple(sorted(kept)),
        owed=tuple(owed),
        changed=entries != old,
    )


def asked_digest(server: str, members: Sequence[str], ledger: Mapping[str, Record]) -> str:
    """The digest of what the ledger alone asks a server to trust.

    A server whose record holds another one than it had when it was last reached is owed a change.
    """
    return digest_of(
        entry
        for peer in members
        if peer.lower() != server.lower() and peer in ledger
        for entry in _of_record(ledger[peer])
    )


def _of_record(record: Record) -> set[Entry]:
    return {
        Entry(record.name, role, generation.state, str(generation.certificates[role]["fingerprint"]))
        for generation in record.generations
        for role in ROLES
    }
