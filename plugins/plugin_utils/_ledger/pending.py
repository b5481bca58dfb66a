# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What servers have still to receive, by the ledger: pending updates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ansible_collections.esync.mesh.plugins.module_utils._core.names import ROLES
from ansible_collections.esync.mesh.plugins.module_utils._store.indexed_folder import digest_of
from ansible_collections.esync.mesh.plugins.module_utils._store.trust_folder import TrustEntry
from ansible_collections.esync.mesh.plugins.plugin_utils._ledger.records import APPLIED, LedgerRecord
from ansible_collections.esync.mesh.plugins.plugin_utils._wording import abbreviated


@dataclass(frozen=True)
class PendingUpdate:
    """A change that a server has still to receive.

    :param kind: ``trust`` (changes of the others are missing there) or ``certificates`` (its own are not known yet).
    :param missing: the servers whose certificates are missing there, in their present state.
    """

    server: str
    kind: str
    missing: tuple[str, ...]
    text: str


def digests_of(members: Sequence[str], ledger: Mapping[str, LedgerRecord]) -> dict[str, str]:
    """Every server that others are to trust, with the digest of its certificates.

    16 digits are plenty: the two that are compared are both our own, and nobody gains from making them equal.
    """
    return {
        peer: digest_of(entries_of(ledger[peer]))[:16]
        for peer in (*members, *external_peers_of(members, ledger))
        if peer in ledger and ledger[peer].generations
    }


def expected_digests(server: str, digests: Mapping[str, str]) -> dict[str, str]:
    """What the ledger alone asks a server to trust, in short: peer to the digest of that peer's certificates.

    It is noted in the server's record when the server received it.

    :param digests: as :func:`digests_of` returns them.
    """
    return {peer: digest for peer, digest in digests.items() if peer.lower() != server.lower()}


def external_peers_of(members: Sequence[str], ledger: Mapping[str, LedgerRecord]) -> list[str]:
    """The names of the servers of other meshes that every member is to trust, sorted.

    An external peer that became a member is none any more.
    """
    own = {name.lower() for name in members}
    return sorted(
        name
        for name, record in ledger.items()
        if record.origin == APPLIED and record.generations and name.lower() not in own
    )


def pending_updates_of(members: Sequence[str], ledger: Mapping[str, LedgerRecord]) -> list[PendingUpdate]:
    """What the members have still to receive."""
    found = []
    digests = digests_of(members, ledger)
    for name in members:
        record = ledger.get(name)
        now = expected_digests(name, digests)
        if record is None or not record.generations:
            found.append(PendingUpdate(name, "certificates", tuple(now), _why_unknown(record)))
        elif record.trust != now:
            before = record.trust or {}
            missing = tuple(peer for peer in now if before.get(peer) != now[peer])
            surplus = [peer for peer in before if peer not in now]
            parts = [f"the certificates of {abbreviated(missing)}"] if missing else []
            parts += [f"the message that {abbreviated(surplus)} is distrusted"] if surplus else []
            found.append(PendingUpdate(name, "trust", missing, f"it has still to receive {' and '.join(parts)}"))
    return found


def _why_unknown(record: LedgerRecord | None) -> str:
    if record is None:
        return "it was never reached, so the others do not know its certificates, nor it theirs"
    if record.removed_at:
        return "it was removed and has not joined again, so the others do not know its new certificates, nor it theirs"
    return "its certificates are distrusted, and new ones have still to be created and exchanged"


def entries_of(record: LedgerRecord) -> set[TrustEntry]:
    """The certificates of a server as its peers trust them."""
    return {
        TrustEntry(record.name, role, generation.state, str(generation.certificates[role]["fingerprint"]))
        for generation in record.generations
        for role in ROLES
    }
