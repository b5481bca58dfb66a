# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Share this server's own client sets, and put those of its peers in force (docs/shared-keys.md)."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Dict, Iterable, Mapping, Optional, Sequence, Tuple

from ansible_collections.esync.mesh.plugins.module_utils._core import layout, names
from ansible_collections.esync.mesh.plugins.module_utils._core.errors import EsyncError
from ansible_collections.esync.mesh.plugins.module_utils._core.folders import Folder
from ansible_collections.esync.mesh.plugins.module_utils._crypto import certificates as x509
from ansible_collections.esync.mesh.plugins.module_utils._crypto import key_types, pkcs12
from ansible_collections.esync.mesh.plugins.module_utils._store import indexed_folder as indexed
from ansible_collections.esync.mesh.plugins.module_utils._store import untrusted
from ansible_collections.esync.mesh.plugins.module_utils._store.local_generation import DISCARD
from ansible_collections.esync.mesh.plugins.module_utils._store.shared_sets import (
    SUFFIXES,
    Files,
    SharedKey,
    SharedKeys,
    read,
)


@dataclass(frozen=True)
class SharedKeyChange:
    """What putting sets in force changed.

    :param added: entries that are new. :param removed: entries that went, their keys destroyed.
    :param rejected: why sets that were sent are not what they should be, by fingerprint; they are not held.
    """

    changed: bool
    entries: Tuple[SharedKey, ...]
    added: Tuple[SharedKey, ...] = ()
    removed: Tuple[SharedKey, ...] = ()
    rejected: Mapping[str, EsyncError] = field(default_factory=dict)


@dataclass(frozen=True)
class FolderKeys:
    """Client sets that came in a folder (docs/apply.md), under a passphrase of their own.

    :param sets: fingerprint to ``.pfx`` file.
    """

    sets: Mapping[str, bytes] = field(default_factory=dict, repr=False)
    passphrase: bytes = field(default=b"", repr=False)


# -- its own --------------------------------------------------------------------------------------------------


def pack(base: Folder, server: str, passphrase: bytes, wanted: Iterable[str]) -> Dict[str, bytes]:
    """This server's own client sets as they are shared with its peers: fingerprint to the ``.pfx`` file.

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
                    "it does not open with the passphrase in esync_pfx_passphrase, so no peer could use it",
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

    What one peer sent and is not what it should be is no reason to go without the sets of all others.

    :param sent: fingerprint to ``.pfx`` file, of those that are missing here; the others are already here.
    :param passphrase: of the files that are sent. :param gid: the group that may read the keys, if any.
    :param carried: what lies on the host in a folder from elsewhere.
    :raises EsyncError: a set that came in a folder and is not what it should be (kind ``bad_shared_set``), or one that
        is missing (kind ``missing_shared_client_sets``); what is in force then stays as it is.
    """
    if any(entry.peer.lower() == server.lower() for entry in wanted):
        raise EsyncError(
            "a server does not share its client set with itself",
            "Give every server another name",
            kind="own_name",
            server=server,
        )
    try:
        before = read(base, server, gid)
    except EsyncError:
        before = None
    sets, rejected = _collect(base, server, sorted(wanted), sent, passphrase, before, carried or FolderKeys())
    entries = tuple(entry for entry in sorted(wanted) if entry.fingerprint not in rejected)
    old = set(before.entries) if before else set()
    there = any(base.status(name) is not None for name in (names.SHARED, names.HANDED_OVER, names.HANDED_BEFORE))
    differs = before is None or before.withdrawn or bool(before.damaged) or before.entries != entries
    change = SharedKeyChange(
        changed=differs if entries else there,
        entries=entries,
        added=tuple(sorted(set(entries) - old)),
        removed=tuple(sorted(old - set(entries))),
        rejected=rejected,
    )
    if change.changed and not check:
        if entries:
            _write(base, server, entries, sets, folder_name, gid)
        else:
            destroy(base)
    return change


def withdraw(base: Folder, check: bool = False) -> bool:
    """Take shared client keys out of use, but keep it until it is proved that nobody accepts it any more.

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
    """Destroy every shared client key. The links first: nothing may point to a key that is being destroyed."""
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
) -> Tuple[Dict[str, Files], Dict[str, EsyncError]]:
    """Every wanted set by fingerprint, each validated before anything is written; and why some that came are none."""
    found: Dict[str, Files] = {}
    rejected: Dict[str, EsyncError] = {}
    if before:
        for entry in before.entries:
            with base.child(names.SHARED) as top, top.child(before.folder) as inside:
                found[entry.fingerprint] = {suffix: inside.read(entry.file_name(suffix)) for suffix in SUFFIXES}
    missing = []
    for entry in wanted:
        if entry.fingerprint in found:
            continue
        if entry.fingerprint in sent and passphrase:
            try:
                found[entry.fingerprint] = _opened(server, entry, sent[entry.fingerprint], passphrase)
            except EsyncError as error:
                rejected[entry.fingerprint] = error
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
    return found, rejected


def _opened(server: str, entry: SharedKey, data: bytes, passphrase: bytes) -> Files:
    """The files of a set that was sent, if it is the one that the ledger names."""

    def refused(cause: str) -> EsyncError:
        return EsyncError(
            f"the client set that {entry.peer} shares ({entry.state}) {cause}",
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
    sets: Mapping[str, Files],
    folder_name: str,
    gid: Optional[int],
) -> None:
    in_force = {(base.link_target(name) or "").rpartition("/")[2] for name in (names.HANDED_OVER, names.HANDED_BEFORE)}
    rows = [
        {
            **vars(entry),
            "files": {
                suffix: hashlib.sha256(data).hexdigest() for suffix, data in sorted(sets[entry.fingerprint].items())
            },
        }
        for entry in wanted
    ]
    with base.ensure_child(names.SHARED, layout.folder_mode(gid), gid) as top:
        top.set_mode(layout.folder_mode(gid), gid)
        # Callers use what is in force until the link is switched.
        indexed.clear(top, keep=in_force, wipe=True)
        with top.make_child(folder_name, layout.folder_mode(gid), gid) as inside:
            for entry in wanted:
                for suffix, data in sets[entry.fingerprint].items():
                    name = entry.file_name(suffix)
                    inside.write(name, data, layout.file_mode(name, gid), layout.file_gid(name, gid))
            more = {untrusted.KEY: _untrusted(wanted, sets)}
            indexed.write_index(inside, layout.SHARED_INDEX, server, wanted, rows, gid, **more)
            inside.sync()
        top.sync()
        base.set_link(names.HANDED_OVER, f"{names.SHARED}/{folder_name}")
        base.remove(names.HANDED_BEFORE)
        base.sync()
        indexed.clear(top, keep={folder_name}, wipe=True)


def _untrusted(wanted: Sequence[SharedKey], sets: Mapping[str, Files]) -> Dict[str, Dict[str, str]]:
    """What each of these peers has to refuse: its own name, and nothing that it ever shared."""
    latest: Dict[str, x509.Certificate] = {}
    for entry in wanted:
        certificate = x509.parse_certificate(sets[entry.fingerprint]["crt"], entry.file_name("crt"), names.CLIENT)
        if entry.peer not in latest or latest[entry.peer].not_after < certificate.not_after:
            latest[entry.peer] = certificate
    made: Dict[str, Dict[str, str]] = {}
    for peer, certificate in latest.items():
        made.update(untrusted.make(peer, certificate))
    return made
