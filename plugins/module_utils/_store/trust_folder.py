# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The trust of one server: which certificates of which peers it accepts (docs/files-on-the-host.md).

A trust is a folder of its own, written whole and then never changed; a link says which one is in force.
"""

from __future__ import annotations

import base64
import hashlib
import stat
from dataclasses import dataclass
from typing import Any, Dict, Iterable, List, Mapping, Optional, Sequence, Tuple

from ansible_collections.esync.mesh.plugins.module_utils._core import names
from ansible_collections.esync.mesh.plugins.module_utils._core.errors import EsyncError
from ansible_collections.esync.mesh.plugins.module_utils._core.folders import Folder
from ansible_collections.esync.mesh.plugins.module_utils._crypto.certificates import Certificate, parse_certificate
from ansible_collections.esync.mesh.plugins.module_utils._store import indexed_folder as indexed
from ansible_collections.esync.mesh.plugins.module_utils._store.indexed_folder import digest_of

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
    :param damaged: the files in it that are damaged, missing or foreign, or have another mode than 0644.
    """

    entries: Tuple[TrustEntry, ...]
    folder: str
    damaged: Tuple[str, ...] = ()

    @property
    def digest(self) -> str:
        """The digest of the entries; empty, hence equal to none, if the trust is not whole."""
        return "" if self.damaged else digest_of(self.entries)


@dataclass(frozen=True)
class TrustChange:
    """What putting a trust in force changed.

    :param added: entries that are new. :param removed: entries that went.
    """

    changed: bool
    digest: str
    added: Tuple[TrustEntry, ...]
    removed: Tuple[TrustEntry, ...]


def model_of(server: str, entries: Iterable[TrustEntry]) -> Optional[str]:
    """Whose client certificates are accepted: ``pinned``, ``shared_keys``, ``both``; None if nobody's are."""
    own = {entry.peer.lower() == server.lower() for entry in entries if entry.role == names.CLIENT}
    if len(own) == 2:
        return names.BOTH
    return (names.SHARED_KEYS if True in own else names.PINNED) if own else None


def entries_from(items: Iterable[Mapping[str, Any]]) -> Tuple[TrustEntry, ...]:
    """Entries from JSON, judged: known roles and states, sound names, nothing doubled.

    :raises EsyncError: kind ``bad_entry``.
    """
    return indexed.entries_from(items, TrustEntry)


def read(base: Folder, server: str) -> Optional[Trust]:
    """The trust in force, every file of it compared with the index; None if there is none.

    :param base: the directory of the mesh.
    :raises EsyncError: kind ``damaged_trust`` if the link or the index is unusable.
    """
    target = base.link_target(names.TRUSTED)
    if target is None:
        return None
    try:
        folder = indexed.target_in(target, names.REMOTE)
        with base.child(names.REMOTE) as top, top.child(folder) as inside:
            _data, entries = indexed.read_index(inside, INDEX, server, entries_from)
            return _compared(inside, entries, folder, server)
    except (EsyncError, ValueError, KeyError, TypeError, AttributeError):
        raise EsyncError(
            "the trust in force is damaged",
            "Run establish: it is public data and is written anew from the ledger",
            kind="damaged_trust",
            server=server,
            path=f"{base.path}/{names.TRUSTED}/{INDEX}",
        ) from None


def _compared(inside: Folder, entries: Sequence[TrustEntry], folder: str, server: str) -> Trust:
    """What of a trust is sound. A hash tells; nothing has to be parsed, so this also runs without cryptography."""
    ders: Dict[TrustEntry, bytes] = {}
    for entry in entries:
        try:
            der = inside.read(entry.file_name)
        except EsyncError:
            continue
        if hashlib.sha256(der).hexdigest() == entry.fingerprint:
            ders[entry] = der
    damaged = {entry.file_name for entry in entries if entry not in ders}
    for name, text in _derived(ders, server).items():
        try:
            if inside.read(name, indexed.LIMIT) != text:
                damaged.add(name)
        except EsyncError:
            damaged.add(name)
    expected = {INDEX, *_derived({}, server), *(entry.file_name for entry in entries)}
    for name in inside.entries():
        status = inside.status(name)
        if name not in expected or status is None or stat.S_IMODE(status.st_mode) != 0o644:
            damaged.add(name)
    status = inside.status()
    if status is None or stat.S_IMODE(status.st_mode) != 0o755:
        damaged.add(".")
    return Trust(tuple(entry for entry in entries if entry in ders), folder, tuple(sorted(damaged)))


def _derived(ders: Mapping[TrustEntry, bytes], server: str) -> Dict[str, bytes]:
    """The files made from the certificates: both bundles in PEM (RFC 7468), and the map, in the entries' order."""
    made = {
        bundle: b"".join(_pem(ders[entry]) for entry in sorted(ders) if entry.role == role) for role, bundle in _BUNDLES
    }
    made[_MAP] = _map(ders, server)
    return made


def _map(ders: Mapping[TrustEntry, bytes], server: str) -> bytes:
    """Which peer a client certificate is, for nginx's map directive: its $ssl_client_fingerprint is SHA-1.

    It only names a certificate that the bundle, which pins all of it, has let in. The server's own one, which it handed
    to all of its peers, does not tell who calls.
    """
    peers: Dict[str, str] = {}
    for entry in sorted(ders):
        if entry.role == names.CLIENT:
            caller = names.UNKNOWN if entry.peer.lower() == server.lower() else entry.peer
            peers.setdefault(hashlib.sha1(ders[entry]).hexdigest(), caller)
    return "".join(f'{fingerprint} "{peer}";\n' for fingerprint, peer in peers.items()).encode("ascii")


def _pem(der: bytes) -> bytes:
    text = base64.b64encode(der)
    lines = b"\n".join(text[start : start + 64] for start in range(0, len(text), 64))
    return b"-----BEGIN CERTIFICATE-----\n" + lines + b"\n-----END CERTIFICATE-----\n"


def apply(
    base: Folder,
    server: str,
    entries: Sequence[TrustEntry],
    pems: Sequence[str],
    folder_name: str,
    allow_empty: bool = False,
    check: bool = False,
) -> TrustChange:
    """Put exactly ``entries`` in force; call it under the lock of ``base``.

    :param pems: the certificates that the host may lack; the others are taken from the trust in force.
    :param folder_name: the name of the new folder.
    :param allow_empty: whether trusting nobody is intended.
    :raises EsyncError: the server itself among the entries with another certificate than a client's, an empty trust
        nobody asked for, or a certificate that is missing (kind ``missing_certificates``); the trust in force then
        stays as it is.
    """
    wanted = tuple(sorted(entries))
    # Its own client certificates it accepts where it handed them to its peers (esync_trust_model: shared_keys).
    if any(entry.peer.lower() == server.lower() and entry.role != names.CLIENT for entry in wanted):
        raise EsyncError(
            "a server never trusts itself as a peer", "Give every server another name", kind="own_name", server=server
        )
    if not wanted and not allow_empty:
        raise EsyncError(
            "the new trust would be empty, and every peer would be refused",
            "Run establish over the whole group; to take a server out use the remove playbook",
            kind="empty_trust",
            server=server,
        )
    try:
        before = read(base, server)
    except EsyncError:
        before = None  # public data: written anew
    old = set(before.entries) if before else set()
    change = TrustChange(
        changed=before is None or bool(before.damaged) or before.entries != wanted,
        digest=digest_of(wanted),
        added=tuple(sorted(set(wanted) - old)),
        removed=tuple(sorted(old - set(wanted))),
    )
    certificates = _collect(base, server, wanted, pems, before)
    if change.changed and not check:
        _write(base, server, wanted, certificates, folder_name, before)
    return change


def _collect(
    base: Folder, server: str, wanted: Sequence[TrustEntry], pems: Sequence[str], before: Optional[Trust]
) -> Dict[str, Certificate]:
    """Every wanted certificate by fingerprint, each judged anew."""
    found: Dict[str, Certificate] = {}
    for number, pem in enumerate(pems, 1):
        certificate = parse_certificate(pem.encode("ascii", "replace"), f"certificate {number} of those sent")
        found[certificate.fingerprint] = certificate
    lacking = {entry.fingerprint for entry in wanted} - set(found)
    if before and lacking:
        with base.child(names.REMOTE) as top, top.child(before.folder) as inside:
            for entry in before.entries:
                if entry.fingerprint in lacking:
                    path = f"{inside.path}/{entry.file_name}"
                    try:
                        certificate = parse_certificate(inside.read(entry.file_name), path, entry.role)
                    except EsyncError:
                        continue  # told below, by its fingerprint
                    found[certificate.fingerprint] = certificate
    missing = [entry for entry in wanted if entry.fingerprint not in found]
    if missing:
        raise EsyncError(
            "these certificates are neither on the host nor were they sent: "
            + ", ".join(f"{entry.file_name} ({entry.fingerprint})" for entry in missing),
            "Run establish again",
            kind="missing_certificates",
            server=server,
        )
    for entry in wanted:
        certificate = found[entry.fingerprint]
        if certificate.role != entry.role:
            raise EsyncError(
                f"the {entry.role} certificate of {entry.peer} is a {certificate.role} certificate",
                "Correct the ledger",
                kind="wrong_role",
                server=server,
            )
    return found


def _write(
    base: Folder,
    server: str,
    wanted: Sequence[TrustEntry],
    certificates: Mapping[str, Certificate],
    folder_name: str,
    before: Optional[Trust],
) -> None:
    in_force = (base.link_target(names.TRUSTED) or "").rpartition("/")[2]
    if base.status(names.REMOTE) is None:
        base.make_child(names.REMOTE, 0o755).close()
    with base.child(names.REMOTE) as top:
        top.set_mode(0o755)
        # Services read what is in force, damaged or not, until the link is switched.
        indexed.clear(top, keep={in_force})
        with top.make_child(folder_name, 0o755) as inside:
            _fill(inside, top, wanted, certificates, before)
            for name, text in _derived(
                {entry: certificates[entry.fingerprint].der for entry in wanted}, server
            ).items():
                inside.write(name, text, 0o644)
            indexed.write_index(inside, INDEX, server, wanted, map(vars, wanted), model=model_of(server, wanted))
            inside.sync()
        top.sync()
        base.set_link(names.TRUSTED, f"{names.REMOTE}/{folder_name}")
        indexed.clear(top, keep={folder_name})


def _fill(
    inside: Folder,
    top: Folder,
    wanted: Sequence[TrustEntry],
    certificates: Mapping[str, Certificate],
    before: Optional[Trust],
) -> None:
    """Write the certificates; those that lie in the trust in force are linked, so only the difference is written."""
    there: Dict[str, str] = {}
    if before:
        # A file with a wrong mode is copied: its second name would have the same mode.
        there = {
            entry.fingerprint: entry.file_name for entry in before.entries if entry.file_name not in before.damaged
        }
    linked: List[str] = []
    if before:
        with top.child(before.folder) as old:
            for entry in wanted:
                name = there.get(entry.fingerprint)
                sound = name and old.read(name) == certificates[entry.fingerprint].der
                if name and sound and inside.hardlink(old, name, entry.file_name):
                    linked.append(entry.file_name)
    for entry in wanted:
        if entry.file_name not in linked:
            inside.write(entry.file_name, certificates[entry.fingerprint].der, 0o644)
