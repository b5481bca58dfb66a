# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The trust of one server: which certificates of which peers it accepts (docs/files-on-the-host.md).

A trust is a folder of its own, written completely and then never changed; a link says which one is in force.
"""

from __future__ import annotations

import hashlib
import stat
from dataclasses import dataclass
from typing import Any, Callable, Dict, Iterable, Mapping, Optional, Sequence, Tuple, TypeVar

from ansible_collections.esync.mesh.plugins.module_utils._core import names
from ansible_collections.esync.mesh.plugins.module_utils._core.certificate import pem_of
from ansible_collections.esync.mesh.plugins.module_utils._core.errors import EsyncError
from ansible_collections.esync.mesh.plugins.module_utils._core.folders import Folder
from ansible_collections.esync.mesh.plugins.module_utils._store import indexed_folder as indexed
from ansible_collections.esync.mesh.plugins.module_utils._store.distrust import Distrust, distrust_from, memory_digest
from ansible_collections.esync.mesh.plugins.module_utils._store.indexed_folder import digest_of

T = TypeVar("T")

INDEX = "trust.json"
_BUNDLES = ((names.SERVER, "servers.pem"), (names.CLIENT, "clients.pem"))
_MAP = "clients.map"


@dataclass(frozen=True, order=True)
class TrustEntry:
    """One certificate that is trusted.

    :param state: the generation it belongs to: ``current``, ``next`` or ``previous``.
    :param fingerprint: SHA-256, lower-case hex.
    """

    peer: str
    role: str
    state: str
    fingerprint: str

    @property
    def file_name(self) -> str:
        return names.remote_file(self.peer, self.role, self.state)

    @property
    def called(self) -> str:
        """The entry for messages."""
        return f"the trust entry for {self.peer!r} ({self.role}, {self.state})"


@dataclass(frozen=True)
class Trust:
    """The trust in force.

    :param entries: those whose certificates are there and sound.
    :param folder: the name of its folder.
    :param damaged: the files in it that are damaged, missing or unexpected, or have another mode than 0644.
    :param distrusted: what the server was told to distrust for ever.
    """

    entries: Tuple[TrustEntry, ...]
    folder: str
    damaged: Tuple[str, ...] = ()
    distrusted: Tuple[Distrust, ...] = ()

    @property
    def digest(self) -> str:
        """The digest of the entries; empty, hence equal to none, if the trust is not intact."""
        return "" if self.damaged else digest_of(self.entries)


@dataclass(frozen=True)
class TrustIndex:
    """What the index of a trust says.

    :param server: whose trust it is. :param folder: the name of its folder.
    """

    server: str
    entries: Tuple[TrustEntry, ...]
    folder: str


def model_of(server: str, entries: Iterable[TrustEntry]) -> Optional[str]:
    """Whose client certificates are accepted: ``pinned``, ``shared_keys``, ``both``; None if nobody's are."""
    own = {entry.peer.lower() == server.lower() for entry in entries if entry.role == names.CLIENT}
    if len(own) == 2:
        return names.BOTH
    return (names.SHARED_KEYS if True in own else names.PINNED) if own else None


def servers_in(entries: Iterable[TrustEntry]) -> Dict[str, Dict[str, str]]:
    """The certificates that every peer may serve: peer to fingerprint to state."""
    found: Dict[str, Dict[str, str]] = {}
    for entry in entries:
        if entry.role == names.SERVER:
            found.setdefault(entry.peer, {})[entry.fingerprint] = entry.state
    return found


def entries_from(items: Iterable[Mapping[str, Any]]) -> Tuple[TrustEntry, ...]:
    """Entries from JSON, validated: known roles and states, valid names, no duplicates.

    :raises EsyncError: kind ``bad_entry``.
    """
    return indexed.entries_from(items, TrustEntry)


def read(base: Folder, server: str) -> Optional[Trust]:
    """The trust in force, every file of it compared with the index; None if there is none.

    :param base: the directory of the mesh.
    :raises EsyncError: kind ``damaged_trust`` if the link or the index is unusable.
    """
    return _read(
        base,
        server,
        lambda inside, folder, data, entries: _compared(inside, entries, folder, server, _remembered(data)),
    )


def read_index(base: Folder) -> Optional[TrustIndex]:
    """What the index of the trust in force says, whatever became of the files beside it; None if there is none.

    :raises EsyncError: kind ``damaged_trust`` if the link or the index is unusable.
    """
    return _read(base, None, lambda _inside, folder, data, entries: TrustIndex(str(data["server"]), entries, folder))


def _remembered(data: Mapping[str, Any]) -> Tuple[Distrust, ...]:
    """What the index says of distrusted certificates; in that of the first edition there is nothing.

    :raises ValueError: it is damaged.
    """
    found = distrust_from(data.get("distrusted") or ())
    if memory_digest(found) != data.get("distrusted_digest", memory_digest(())):
        raise ValueError
    return found


def _read(
    base: Folder, server: Optional[str], view: Callable[[Folder, str, Mapping[str, Any], Tuple[TrustEntry, ...]], T]
) -> Optional[T]:
    target = base.link_target(names.TRUSTED)
    if target is None:
        return None
    try:
        folder = indexed.target_in(target, names.REMOTE)
        with base.child(names.REMOTE) as top, top.child(folder) as inside:
            data, entries = indexed.read_index(inside, INDEX, server, entries_from)
            return view(inside, folder, data, entries)
    except (EsyncError, ValueError, KeyError, TypeError, AttributeError):
        raise EsyncError(
            "the trust in force is damaged",
            "Run establish: it is public data and is written again from the ledger",
            kind="damaged_trust",
            server=server,
            path=f"{base.path}/{names.TRUSTED}/{INDEX}",
        ) from None


def _compared(
    inside: Folder, entries: Sequence[TrustEntry], folder: str, server: str, distrusted: Tuple[Distrust, ...]
) -> Trust:
    """What of a trust is sound. A hash proves it; nothing has to be parsed, so this also runs without cryptography."""
    ders: Dict[TrustEntry, bytes] = {}
    for entry in entries:
        try:
            der = inside.read(entry.file_name)
        except EsyncError:
            continue
        if hashlib.sha256(der).hexdigest() == entry.fingerprint:
            ders[entry] = der
    damaged = {entry.file_name for entry in entries if entry not in ders}
    for name, text in derived_files(ders, server).items():
        try:
            if inside.read(name, indexed.LIMIT) != text:
                damaged.add(name)
        except EsyncError:
            damaged.add(name)
    expected = {INDEX, *derived_files({}, server), *(entry.file_name for entry in entries)}
    for name in inside.entries():
        status = inside.status(name)
        if name not in expected or status is None or stat.S_IMODE(status.st_mode) != 0o644:
            damaged.add(name)
    status = inside.status()
    if status is None or stat.S_IMODE(status.st_mode) != 0o755:
        damaged.add(".")
    return Trust(tuple(entry for entry in entries if entry in ders), folder, tuple(sorted(damaged)), distrusted)


def derived_files(ders: Mapping[TrustEntry, bytes], server: str) -> Dict[str, bytes]:
    """The files made from the certificates: both bundles in PEM (RFC 7468), and the map, in the entries' order."""
    made = {
        bundle: b"".join(pem_of(ders[entry]) for entry in sorted(ders) if entry.role == role)
        for role, bundle in _BUNDLES
    }
    made[_MAP] = _map(ders, server)
    return made


def _map(ders: Mapping[TrustEntry, bytes], server: str) -> bytes:
    """Which peer a client certificate is, for nginx's map directive: its $ssl_client_fingerprint is SHA-1.

    It only names a certificate that the bundle, which pins all of it, accepts. The server's own one, which it shares
    with all of its peers, does not identify the caller.
    """
    peers: Dict[str, str] = {}
    for entry in sorted(ders):
        if entry.role == names.CLIENT:
            caller = names.UNKNOWN if entry.peer.lower() == server.lower() else entry.peer
            peers.setdefault(hashlib.sha1(ders[entry]).hexdigest(), caller)
    return "".join(f'{fingerprint} "{peer}";\n' for fingerprint, peer in peers.items()).encode("ascii")
