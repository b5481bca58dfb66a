# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The client sets that the peers handed to this server, private keys included (docs/shared-keys.md).

Like the trust they lie in a folder of their own, written whole and then never changed; a link says which one is in
force.
"""

from __future__ import annotations

import hashlib
import stat
from dataclasses import dataclass, field
from typing import Any, Dict, Iterable, List, Mapping, Optional, Sequence, Tuple

from ansible_collections.esync.mesh.plugins.module_utils._core import layout, names
from ansible_collections.esync.mesh.plugins.module_utils._core.errors import EsyncError
from ansible_collections.esync.mesh.plugins.module_utils._core.folders import Folder
from ansible_collections.esync.mesh.plugins.module_utils._crypto import certificates as x509
from ansible_collections.esync.mesh.plugins.module_utils._crypto import key_types, pkcs12
from ansible_collections.esync.mesh.plugins.module_utils._store import indexed_folder as indexed
from ansible_collections.esync.mesh.plugins.module_utils._store.indexed_folder import digest_of
from ansible_collections.esync.mesh.plugins.module_utils._store.inspection import DISCARD

SUFFIXES = ("crt", "key", "pfx")
_Files = Mapping[str, bytes]


@dataclass(frozen=True, order=True)
class SharedKey:
    """One client set that a peer handed over.

    :param state: the generation it belongs to: ``current``, ``next`` or ``previous``.
    :param fingerprint: SHA-256 of its certificate, lower-case hex.
    """

    peer: str
    state: str
    fingerprint: str

    @property
    def stem(self) -> str:
        return names.remote_stem(self.peer, names.CLIENT, self.state)

    @property
    def called(self) -> str:
        """The entry for messages."""
        return f"the entry for the client set of {self.peer!r} ({self.state})"

    def file_name(self, suffix: str) -> str:
        return f"{self.stem}.{suffix}"


@dataclass(frozen=True)
class SharedKeys:
    """What was handed over.

    :param entries: those whose files are there and sound.
    :param folder: the name of its folder.
    :param withdrawn: whether it is kept only until it is proved that nobody accepts it any more.
    :param damaged: the files in it that are damaged, missing or foreign, or have another mode or group.
    """

    entries: Tuple[SharedKey, ...]
    folder: str
    withdrawn: bool = False
    damaged: Tuple[str, ...] = ()

    @property
    def digest(self) -> str:
        """The digest of the entries; empty, hence equal to none, if something is damaged."""
        return "" if self.damaged else digest_of(self.entries)


@dataclass(frozen=True)
class SharedKeyChange:
    """What putting sets in force changed.

    :param added: entries that are new. :param removed: entries that went, their keys destroyed.
    """

    changed: bool
    entries: Tuple[SharedKey, ...]
    added: Tuple[SharedKey, ...] = ()
    removed: Tuple[SharedKey, ...] = ()


@dataclass(frozen=True)
class FolderKeys:
    """Client sets that came in a folder (docs/apply.md), under a passphrase of their own.

    :param sets: fingerprint to ``.pfx`` file.
    """

    sets: Mapping[str, bytes] = field(default_factory=dict, repr=False)
    passphrase: bytes = field(default=b"", repr=False)


def entries_from(items: Iterable[Mapping[str, Any]]) -> Tuple[SharedKey, ...]:
    """Entries from JSON, judged: known states, sound names, nothing doubled.

    :raises EsyncError: kind ``bad_entry``.
    """
    return indexed.entries_from(items, SharedKey)


# -- reading --------------------------------------------------------------------------------------------------


def read(base: Folder, server: str, gid: Optional[int] = None) -> Optional[SharedKeys]:
    """What was handed over, every file of it judged; None if nothing was.

    :param base: the directory of the mesh. :param gid: the group that may read the keys, if any.
    :raises EsyncError: kind ``damaged_shared_keys`` if the link or the index is unusable, ``no_permission``.
    """
    link = names.HANDED_OVER
    try:
        target = base.link_target(link)
        if target is None:
            link = names.HANDED_BEFORE
            target = base.link_target(link)
        if target is None:
            # A run that was killed may have left keys that no link names.
            return None if base.status(names.SHARED) is None else SharedKeys((), "", damaged=("..",))
        folder = indexed.target_in(target, names.SHARED)
        with base.child(names.SHARED) as outer, outer.child(folder) as inside:
            data, entries = indexed.read_index(inside, layout.SHARED_INDEX, server, entries_from)
            hashes = {
                entry.file_name(suffix): str(item["files"][suffix])
                for entry, item in zip(entries, sorted(data["entries"], key=_order))
                for suffix in SUFFIXES
            }
            sound, damaged = _compared(inside, entries, hashes, gid)
            damaged += _narrow(outer, layout.folder_mode(gid), gid, "..")
            damaged += [".."] * (outer.entries() != [folder])
            return SharedKeys(sound, folder, link == names.HANDED_BEFORE, tuple(sorted(set(damaged))))
    except (EsyncError, ValueError, KeyError, TypeError, AttributeError) as error:
        if isinstance(error, EsyncError) and error.kind == "no_permission":
            raise
        raise EsyncError(
            "the list of the client sets that were handed to this server is damaged",
            "Run establish, which has them handed over anew",
            kind="damaged_shared_keys",
            server=server,
            path=f"{base.path}/{link}/{layout.SHARED_INDEX}",
        ) from None


def _order(item: Mapping[str, Any]) -> Tuple[str, str, str]:
    return str(item["peer"]), str(item["state"]), str(item["fingerprint"])


def _compared(
    inside: Folder, entries: Sequence[SharedKey], hashes: Mapping[str, str], gid: Optional[int]
) -> Tuple[Tuple[SharedKey, ...], List[str]]:
    """Which sets are sound, and what is wrong with the folder."""
    sound, damaged = [], _narrow(inside, layout.folder_mode(gid), gid, ".")
    for entry in entries:
        bad = []
        files: Dict[str, bytes] = {}
        for suffix in SUFFIXES:
            name = entry.file_name(suffix)
            try:
                files[suffix] = inside.read(name)
            except EsyncError as error:
                if error.kind == "no_permission":
                    raise
            if hashlib.sha256(files.get(suffix, b"")).hexdigest() != hashes[name]:
                bad.append(name)
        if not bad and not _belong(files, entry):
            bad.append(entry.file_name("key"))
        damaged += bad
        if not bad:
            sound.append(entry)
    expected = {layout.SHARED_INDEX, *hashes}
    for name in inside.entries():
        status = inside.status(name)
        gid_wanted = layout.file_gid(name, gid)
        if (
            name not in expected
            or status is None
            or stat.S_IMODE(status.st_mode) != layout.file_mode(name, gid)
            or gid_wanted not in (None, status.st_gid)
        ):
            damaged.append(name)
    return tuple(sound), damaged


def _narrow(folder: Folder, mode: int, gid: Optional[int], name: str) -> List[str]:
    """The folder's name among what is damaged, if its mode or group is another."""
    status = folder.status()
    sound = status is not None and stat.S_IMODE(status.st_mode) == mode and gid in (None, status.st_gid)
    return [] if sound else [name]


def _belong(files: Mapping[str, bytes], entry: SharedKey) -> bool:
    """Is it the certificate that the index names, and the key that belongs to it?"""
    try:
        certificate = x509.parse_certificate(files["crt"], entry.stem, names.CLIENT)
        key = x509.key_from_pem(files["key"], entry.stem)
    except EsyncError:
        return False
    return certificate.fingerprint == entry.fingerprint and x509.public_key_of(key) == certificate.public_key


# -- handing out ----------------------------------------------------------------------------------------------


def pack(base: Folder, server: str, passphrase: bytes, wanted: Iterable[str]) -> Dict[str, bytes]:
    """This server's own client sets as they are handed to its peers: fingerprint to the ``.pfx`` file.

    :param wanted: fingerprints; those that no live generation has are left out.
    :raises EsyncError: kinds ``missing_file``, ``pfx_passphrase_differs``, ``mismatch``.
    """
    found: Dict[str, bytes] = {}
    for state in names.STATES:
        target = base.link_target(state)
        match = layout.LINK_TARGET.match(target) if target else None
        if not match:
            continue
        stem = names.set_name(server, names.CLIENT)
        with base.child(names.GENERATIONS) as generations, generations.child(match["id"]) as folder:
            path = f"{folder.path}/{stem}.pfx"
            certificate = x509.parse_certificate(folder.read(f"{stem}.crt"), f"{folder.path}/{stem}.crt", names.CLIENT)
            if certificate.fingerprint not in wanted or certificate.fingerprint in found:
                continue
            data = folder.read(f"{stem}.pfx", pkcs12.MAX_BYTES)
            try:
                _key, der = pkcs12.read_pfx(data, path, passphrase)
            except EsyncError:
                raise EsyncError(
                    "it does not open with the passphrase in esync_pfx_passphrase, so it cannot be handed to the peers",
                    "Run the regenerate playbook, which makes sets with that passphrase; if the file is damaged, "
                    "restore it",
                    kind="pfx_passphrase_differs",
                    server=server,
                    path=path,
                ) from None
            if der != certificate.der:
                raise EsyncError(
                    f"it holds another certificate than {stem}.crt",
                    DISCARD,
                    kind="mismatch",
                    server=server,
                    path=path,
                )
            found[certificate.fingerprint] = data
    return found


# -- taking ---------------------------------------------------------------------------------------------------


def apply(
    base: Folder,
    server: str,
    wanted: Sequence[SharedKey],
    sent: Mapping[str, bytes],
    passphrase: Optional[bytes],
    folder_name: str,
    gid: Optional[int] = None,
    check: bool = False,
    carried: Optional[FolderKeys] = None,
) -> SharedKeyChange:
    """Put exactly the sets in ``wanted`` in force, and destroy all others; call it under the lock of ``base``.

    :param sent: fingerprint to ``.pfx`` file, of those that the host may lack; the others are taken from what it holds.
    :param passphrase: of the files that are sent. :param gid: the group that may read the keys, if any.
    :param carried: what lies on the host in a folder from elsewhere.
    :raises EsyncError: a set that is not what it should be (kind ``bad_shared_set``), or that is missing (kind
        ``missing_shared_client_sets``); what is in force then stays as it is.
    """
    entries = tuple(sorted(wanted))
    try:
        before = read(base, server, gid)
    except EsyncError:
        before = None
    old = set(before.entries) if before else set()
    there = any(base.status(name) is not None for name in (names.SHARED, names.HANDED_OVER, names.HANDED_BEFORE))
    differs = before is None or before.withdrawn or bool(before.damaged) or before.entries != entries
    change = SharedKeyChange(
        changed=differs if entries else there,
        entries=entries,
        added=tuple(sorted(set(entries) - old)),
        removed=tuple(sorted(old - set(entries))),
    )
    if any(entry.peer.lower() == server.lower() for entry in entries):
        raise EsyncError(
            "nobody is handed a set of its own", "Give every server another name", kind="own_name", server=server
        )
    sets = _collect(base, server, entries, sent, passphrase, before, carried or FolderKeys())
    if change.changed and not check:
        if entries:
            _write(base, server, entries, sets, folder_name, gid)
        else:
            destroy(base)
    return change


def withdraw(base: Folder, check: bool = False) -> bool:
    """Take what was handed over out of use, but keep it until it is proved that nobody accepts it any more.

    :returns: whether it was in use.
    """
    target = base.link_target(names.HANDED_OVER)
    if target is None:
        return False
    if not check:
        base.set_link(names.HANDED_BEFORE, target)
        base.remove(names.HANDED_OVER)
        base.sync()
    return True


def destroy(base: Folder) -> None:
    """Destroy every key that was handed over. The links first: nothing may point to a key that is being destroyed."""
    for name in (names.HANDED_OVER, names.HANDED_BEFORE, names.SHARED):
        base.remove_tree(name, wipe=True)


def _collect(
    base: Folder,
    server: str,
    wanted: Sequence[SharedKey],
    sent: Mapping[str, bytes],
    passphrase: Optional[bytes],
    before: Optional[SharedKeys],
    carried: FolderKeys,
) -> Dict[str, _Files]:
    """Every wanted set by fingerprint, each judged before anything is written."""
    found: Dict[str, _Files] = {}
    if before:
        for entry in before.entries:
            with base.child(names.SHARED) as top, top.child(before.folder) as inside:
                found[entry.fingerprint] = {suffix: inside.read(entry.file_name(suffix)) for suffix in SUFFIXES}
    missing = []
    for entry in wanted:
        if entry.fingerprint in found:
            continue
        if entry.fingerprint in sent and passphrase:
            found[entry.fingerprint] = _opened(server, entry, sent[entry.fingerprint], passphrase)
        elif entry.fingerprint in carried.sets:
            found[entry.fingerprint] = _opened(server, entry, carried.sets[entry.fingerprint], carried.passphrase)
        else:
            missing.append(entry)
    if missing:
        raise EsyncError(
            "these client sets are neither on the host nor were they sent: "
            + ", ".join(f"{entry.stem} ({entry.fingerprint})" for entry in missing),
            "Run establish again",
            kind="missing_shared_client_sets",
            server=server,
        )
    return found


def _opened(server: str, entry: SharedKey, data: bytes, passphrase: bytes) -> _Files:
    """The files of a set that was sent, if it is the one that the ledger names."""

    def refused(cause: str) -> EsyncError:
        return EsyncError(
            f"the client set that {entry.peer} handed over ({entry.state}) {cause}",
            "Set the same esync_pfx_passphrase for the whole mesh, and run establish again; if it comes back, run the "
            f"check playbook for {entry.peer}",
            kind="bad_shared_set",
            server=server,
        )

    try:
        key, der = pkcs12.read_pfx(data, entry.file_name("pfx"), passphrase)
    except EsyncError:
        raise refused("does not open with the mesh's passphrase, or is damaged") from None
    found = hashlib.sha256(der).hexdigest()
    if found != entry.fingerprint:
        raise refused(f"holds the certificate {found}, and the ledger has {entry.fingerprint}")
    try:
        certificate = x509.parse_certificate(der, entry.file_name("pfx"), names.CLIENT)
    except EsyncError:
        raise refused("holds no client certificate") from None
    if not key_types.consistent(key) or x509.public_key_of(key) != certificate.public_key:
        raise refused("holds a private key that does not belong to its certificate")
    return {"crt": certificate.pem.encode("ascii"), "key": x509.key_to_pem(key), "pfx": data}


def _write(
    base: Folder,
    server: str,
    wanted: Sequence[SharedKey],
    sets: Mapping[str, _Files],
    folder_name: str,
    gid: Optional[int],
) -> None:
    in_force = {(base.link_target(name) or "").rpartition("/")[2] for name in (names.HANDED_OVER, names.HANDED_BEFORE)}
    if base.status(names.SHARED) is None:
        base.make_child(names.SHARED, layout.folder_mode(gid), gid).close()
    rows = [
        {
            **vars(entry),
            "files": {
                suffix: hashlib.sha256(data).hexdigest() for suffix, data in sorted(sets[entry.fingerprint].items())
            },
        }
        for entry in wanted
    ]
    with base.child(names.SHARED) as top:
        top.set_mode(layout.folder_mode(gid), gid)
        # Callers use what is in force until the link is switched.
        indexed.clear(top, keep=in_force, wipe=True)
        with top.make_child(folder_name, layout.folder_mode(gid), gid) as inside:
            for entry in wanted:
                for suffix, data in sets[entry.fingerprint].items():
                    name = entry.file_name(suffix)
                    inside.write(name, data, layout.file_mode(name, gid), layout.file_gid(name, gid))
            indexed.write_index(inside, layout.SHARED_INDEX, server, wanted, rows)
            inside.sync()
        top.sync()
        base.set_link(names.HANDED_OVER, f"{names.SHARED}/{folder_name}")
        base.remove(names.HANDED_BEFORE)
        base.sync()
        indexed.clear(top, keep={folder_name}, wipe=True)
