# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which certificates a server is to trust, planned from the ledger; the difference is all that is sent."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from ansible_collections.esync.mesh.plugins.module_utils._core.errors import EsyncError
from ansible_collections.esync.mesh.plugins.module_utils._core.names import (
    BOTH,
    CLIENT,
    PINNED,
    SERVER,
    SHARED_KEYS,
)
from ansible_collections.esync.mesh.plugins.module_utils._store.distrust import Distrust
from ansible_collections.esync.mesh.plugins.module_utils._store.indexed_folder import digest_of
from ansible_collections.esync.mesh.plugins.module_utils._store.shared_sets import SharedKey
from ansible_collections.esync.mesh.plugins.module_utils._store.trust_folder import TrustEntry, model_of
from ansible_collections.esync.mesh.plugins.plugin_utils._ledger.pending import entries_of, external_peers_of
from ansible_collections.esync.mesh.plugins.plugin_utils._ledger.records import LedgerRecord
from ansible_collections.esync.mesh.plugins.plugin_utils._wording import abbreviated

Kind = TypeVar("Kind", TrustEntry, SharedKey)


@dataclass(frozen=True)
class TrustPlan:
    """The trust that one server is to have, and what differs from the one it has.

    :param entries: all of it, sorted.
    :param send: fingerprints of the certificates that are missing on the host.
    :param kept: peers that are trusted although they are not in the mesh (any more).
    :param unrecorded: members that the ledger has no certificates of.
    :param told: what the server is to remember to distrust, besides what it remembers.
    """

    entries: tuple[TrustEntry, ...]
    send: tuple[str, ...]
    added: tuple[TrustEntry, ...]
    removed: tuple[TrustEntry, ...]
    kept: tuple[str, ...]
    unrecorded: tuple[str, ...]
    changed: bool
    told: tuple[Distrust, ...] = ()

    @property
    def digest(self) -> str:
        return digest_of(self.entries)


@dataclass(frozen=True)
class Withdrawn:
    """What a server keeps nothing of.

    :param server: its own name, under which there may once have been a peer. :param names: servers that were removed.
    :param fingerprints: certificates that lost all trust.
    """

    server: str
    names: frozenset[str]
    fingerprints: frozenset[str]

    @classmethod
    def of(
        cls, server: str, peers: Sequence[str], ledger: Mapping[str, LedgerRecord], distrust: Sequence[str] = ()
    ) -> Withdrawn:
        """By the ledger. :param distrust: names that nothing may be kept of besides."""
        removed = {name for name, record in ledger.items() if record.removed_at and name not in peers}
        fingerprints = {one.fingerprint for record in ledger.values() for one in record.distrusted}
        return cls(server, frozenset(distrust) | removed, frozenset(fingerprints))

    def covers(self, entry: TrustEntry | SharedKey) -> bool:
        """Whether this is one of them."""
        own = entry.peer.lower() == self.server.lower()
        return own or entry.peer in self.names or entry.fingerprint in self.fingerprints


def unknown_of(
    old: Iterable[Kind], withdrawn: Withdrawn, recorded: Collection[str], peers: Collection[str], allow_shrink: bool
) -> set[Kind]:
    """Of what a server has, that which stays although the ledger has nothing of its owner.

    :param recorded: the peers that the ledger has something of; upper and lower case count as the same.
    :param allow_shrink: whether servers outside the mesh are dropped.
    """
    known = {peer.lower() for peer in recorded}
    return {
        entry
        for entry in old
        if not withdrawn.covers(entry) and entry.peer.lower() not in known and (entry.peer in peers or not allow_shrink)
    }


def plan_trust(
    server: str,
    members: Sequence[str],
    ledger: Mapping[str, LedgerRecord],
    known: Sequence[TrustEntry] | None,
    intact: bool = True,
    distrust: Sequence[str] = (),
    allow_shrink: bool = False,
    model: str = PINNED,
    remembered: Iterable[Distrust] = (),
) -> TrustPlan:
    """Plan the trust of one server.

    What the ledger says of a member or an external peer counts. A member that the ledger has nothing of, and a
    server outside the mesh, keep what the host trusts of them already, except what lost all trust.

    :param members: the names of the mesh, ``server`` among them or not.
    :param ledger: name to record, also of former members.
    :param known: the trust in force; None if there is none, or it cannot be read.
    :param intact: whether the trust in force is intact; if not, it is written again even if nothing differs.
    :param distrust: names that nothing may be kept of.
    :param allow_shrink: whether servers outside the mesh lose trust.
    :param model: whose client certificates are accepted: ``pinned``, those of the peers; ``shared_keys``, the server's
        own, which it shares with its peers; ``both``.
    :param remembered: what it was told to distrust for ever.
    :raises EsyncError: kind ``empty_trust``: nobody would be trusted any more, and that was not requested.
    """
    external_peers = [name for name in external_peers_of(members, ledger) if name not in distrust]
    peers = [name for name in (*members, *external_peers) if name.lower() != server.lower()]
    withdrawn = Withdrawn.of(server, peers, ledger, distrust)
    entries: set[TrustEntry] = set()
    unrecorded = []
    for peer in peers:
        record = ledger.get(peer)
        if record and record.generations:
            entries |= {entry for entry in entries_of(record) if entry.role == SERVER or model != SHARED_KEYS}
        elif peer not in withdrawn.names:
            unrecorded.append(peer)
    own = {entry for entry in entries_of(ledger[server]) if entry.role == CLIENT} if server in ledger else set()
    recorded = {entry.peer for entry in entries}
    old = set(known or ())
    # A client certificate that the other model accepted is none of those to be kept.
    kept = {
        one
        for one in unknown_of(old, withdrawn, recorded, peers, allow_shrink)
        if one.role == SERVER or model != SHARED_KEYS
    }
    entries |= kept
    if not entries and any(not withdrawn.covers(entry) for entry in old):
        raise EsyncError(
            "it would trust nobody any more",
            "Bring the ledger back, or run establish over the whole group; to take servers out use the remove playbook",
            kind="empty_trust",
            server=server,
        )
    if model in (SHARED_KEYS, BOTH):
        entries |= own
    have = {entry.fingerprint for entry in old}
    known_to_it = {one.fingerprint for one in remembered}
    told = tuple(one for one in distrusted_by(ledger) if one.fingerprint not in known_to_it)
    return TrustPlan(
        entries=tuple(sorted(entries)),
        send=tuple(sorted({entry.fingerprint for entry in entries} - have)),
        added=tuple(sorted(entries - old)),
        removed=tuple(sorted(old - entries)),
        kept=tuple(sorted({entry.peer for entry in kept} - set(peers))),
        unrecorded=tuple(unrecorded),
        changed=entries != old or not intact or bool(told),
        told=told,
    )


def distrusted_by(ledger: Mapping[str, LedgerRecord]) -> list[Distrust]:
    """Everything that nobody may trust any more."""
    return [one for record in ledger.values() for one in record.distrusted]


def refuse_other_model(server: str, known: Sequence[TrustEntry] | None, model: str) -> None:
    """Refuse to write a trust of another model than the one in force: without stages, every pair would be down.

    :raises EsyncError: kind ``other_trust_model``.
    """
    found = model_of(server, known or ())
    if found in (None, model):
        return
    why = (
        f"a change of the trust model to {model} has begun and not ended"
        if found == BOTH
        else f"its trust is by the model {found}, and esync_trust_model is {model}"
    )
    raise EsyncError(
        why,
        "Run the regenerate playbook, which goes from one model to the other without an outage, "
        f"or set esync_trust_model to {found}"
        if found != BOTH
        else "Run the regenerate playbook, which ends it",
        kind="other_trust_model",
        server=server,
    )


def refuse_external_peers(members: Sequence[str], ledger: Mapping[str, LedgerRecord]) -> None:
    """Refuse external peers while the trust model changes: what they know and hold of this mesh is by the old one only.

    :raises EsyncError: kind ``external_peers_of_other_model``.
    """
    external_peers = external_peers_of(members, ledger)
    if external_peers:
        raise EsyncError(
            f"the ledger has external peers ({abbreviated(external_peers)}), with what they presented or shared by the "
            "old trust model, and nobody here can give them what the new one needs",
            "Go back to the old esync_trust_model and remove them with the remove playbook; change the model, and "
            "export and apply again, both meshes with the same esync_trust_model",
            kind="external_peers_of_other_model",
        )
