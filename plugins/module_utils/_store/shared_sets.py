# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The client sets that the peers share with this server, private keys included (docs/shared-keys.md).

Like the trust they lie in a folder of their own, written completely and then never changed; a link says which one is in
force.
"""

from __future__ import annotations

import hashlib
import stat
from dataclasses import dataclass
from typing import Any, Dict, Iterable, List, Mapping, Optional, Sequence, Tuple

from ansible_collections.esync.mesh.plugins.module_utils._core import layout, names
from ansible_collections.esync.mesh.plugins.module_utils._core.errors import EsyncError
from ansible_collections.esync.mesh.plugins.module_utils._core.folders import Folder
from ansible_collections.esync.mesh.plugins.module_utils._core.libraries import require
from ansible_collections.esync.mesh.plugins.module_utils._store import indexed_folder as indexed
from ansible_collections.esync.mesh.plugins.module_utils._store import untrusted
from ansible_collections.esync.mesh.plugins.module_utils._store.indexed_folder import digest_of

SUFFIXES = ("crt", "key", "pfx")
Files = Mapping[str, bytes]


@dataclass(frozen=True, order=True)
class SharedKey:
    """One client set that a peer shares.

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
    """The client sets in use, or withdrawn.

    :param entries: those whose files are there and sound.
    :param folder: the name of its folder.
    :param withdrawn: whether it is kept only until it is proved that nobody accepts it any more.
    :param damaged: the files in it that are damaged, missing or unexpected, or have another mode, group or an ACL.
    """

    entries: Tuple[SharedKey, ...]
    folder: str
    withdrawn: bool = False
    damaged: Tuple[str, ...] = ()

    @property
    def digest(self) -> str:
        """The digest of the entries; empty, hence equal to none, if something is damaged."""
        return "" if self.damaged else digest_of(self.entries)


def entries_from(items: Iterable[Mapping[str, Any]]) -> Tuple[SharedKey, ...]:
    """Entries from JSON, validated: known states, valid names, no duplicates.

    :raises EsyncError: kind ``bad_entry``.
    """
    return indexed.entries_from(items, SharedKey)


# -- reading --------------------------------------------------------------------------------------------------


def read(base: Folder, server: str, gid: Optional[int] = None, deep: bool = True) -> Optional[SharedKeys]:
    """The client sets of the peers, every file of them compared with the index; None if there are none.

    :param base: the directory of the mesh. :param gid: the group that may read the keys, if any.
    :param deep: parse every certificate and key, too, which needs cryptography.
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
            sound, damaged = _compared(inside, entries, hashes, gid, deep)
            damaged += _narrow(outer, layout.folder_mode(gid), gid, "..")
            damaged += [".."] * (outer.entries() != [folder])
            if not untrusted.is_complete(data.get(untrusted.KEY), (entry.peer for entry in entries)):
                damaged.append(layout.SHARED_INDEX)
            return SharedKeys(sound, folder, link == names.HANDED_BEFORE, tuple(sorted(set(damaged))))
    except (EsyncError, ValueError, KeyError, TypeError, AttributeError) as error:
        if isinstance(error, EsyncError) and error.kind in ("no_permission", "missing_dependency"):
            raise
        raise EsyncError(
            "the index of the shared client keys is damaged",
            "Run establish, which distributes them again",
            kind="damaged_shared_keys",
            server=server,
            path=f"{base.path}/{link}/{layout.SHARED_INDEX}",
        ) from None


def _order(item: Mapping[str, Any]) -> Tuple[str, str, str]:
    return str(item["peer"]), str(item["state"]), str(item["fingerprint"])


def _compared(
    inside: Folder, entries: Sequence[SharedKey], hashes: Mapping[str, str], gid: Optional[int], deep: bool
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
        if not bad and deep and not _belong(files, entry):
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
            or inside.has_acl(name)
        ):
            damaged.append(name)
    return tuple(sound), damaged


def _narrow(folder: Folder, mode: int, gid: Optional[int], name: str) -> List[str]:
    """The folder's name among what is damaged, if its mode or group is another, or others can get in by an ACL."""
    status = folder.status()
    sound = status is not None and stat.S_IMODE(status.st_mode) == mode and gid in (None, status.st_gid)
    return [] if sound and not folder.has_acl() else [name]


def _belong(files: Mapping[str, bytes], entry: SharedKey) -> bool:
    """Is it the certificate that the index names, and the key that belongs to it?"""
    require()
    # Only here: where the hashes agree, it is what was parsed when it was taken in.
    from ansible_collections.esync.mesh.plugins.module_utils._crypto import certificates as x509

    try:
        certificate = x509.parse_certificate(files["crt"], entry.stem, names.CLIENT)
        key = x509.key_from_pem(files["key"], entry.stem)
    except EsyncError:
        return False
    return certificate.fingerprint == entry.fingerprint and x509.public_key_of(key) == certificate.public_key
