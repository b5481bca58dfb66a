# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What of a damaged generation can be written again from what is sound in it, and what would be lost with it.

Only files that are damaged or missing are written, and only with what is certain: a certificate that the manifest
names, or that every file agrees on, and a private key that belongs to it. A file with a private key that no other file
keeps is left to a person, and so is everything else of that role.
"""

from __future__ import annotations

import contextlib
import stat
from dataclasses import dataclass, field
from typing import Any, Collection, Dict, List, Mapping, Optional, Set, Tuple

from ansible_collections.esync.mesh.plugins.module_utils._core import layout, names
from ansible_collections.esync.mesh.plugins.module_utils._core.errors import EsyncError
from ansible_collections.esync.mesh.plugins.module_utils._core.folders import Folder
from ansible_collections.esync.mesh.plugins.module_utils._crypto import certificates as x509
from ansible_collections.esync.mesh.plugins.module_utils._store.local_generation import Restoration

_UNREADABLE = frozenset(["no_permission", "io_error"])
_WITH_KEY = frozenset(["key", "pfx", "pvk"])
_FLIPPED = 8
"""So many bytes of a file may differ from what it was for its key to count as the same one, damaged."""


@dataclass
class Evidence:
    """What the check of a generation has found; it fills this in.

    :param stem: the server name in the file names.
    :param kinds: the name of each file or link with a problem, to the kind of the first one.
    :param keys: file name to the sound private key in it, whosever it is.
    :param certain: role to its certificate, where there is no doubt about it.
    :param closed: ``.pfx`` files that may open with a passphrase that is not known here.
    :param passphrase: by which new ``.pfx`` files are to open, if it is known.
    :param encryptions: how the ``.pfx`` files are encrypted.
    """

    folder: Folder
    stem: str
    kinds: Dict[str, str] = field(default_factory=dict)
    keys: Dict[str, Any] = field(default_factory=dict, repr=False)
    certain: Dict[str, x509.Certificate] = field(default_factory=dict)
    closed: Tuple[str, ...] = ()
    passphrase: Optional[bytes] = field(default=None, repr=False)
    encryptions: Tuple[str, ...] = ()


def plan(found: Evidence) -> Restoration:
    """Plan the restoration of a damaged generation."""
    public = {name: x509.public_key_of(key) for name, key in found.keys.items()}
    private = {}
    for role, certificate in found.certain.items():
        holder = next((name for name, key in public.items() if key == certificate.public_key), None)
        if holder:
            private[role] = found.keys[holder]
    again = {name for name in found.kinds if _can_be_written(found, name, private)}
    pfx = {f"{names.set_name(found.stem, role)}.pfx" for role in names.ROLES}
    if layout.PASSPHRASE in again and pfx & set(found.kinds) <= again:
        # Nobody can open what was written with the lost one.
        again |= pfx
    again = _without_strange_keys(found, again, public, private)
    if layout.PASSPHRASE in found.kinds and not pfx <= again:
        again -= {layout.PASSPHRASE, *pfx}
    links = layout.stable_links(found.stem)
    own = {x509.public_key_of(key) for key in private.values()}
    return Restoration(
        found.stem,
        # The passphrase first: whatever follows opens with it.
        tuple(sorted(again - set(links), key=lambda name: (name != layout.PASSPHRASE, name))),
        {name: target for name, target in links.items() if name in again},
        found.certain,
        private,
        None if layout.PASSPHRASE in again else found.passphrase,
        found.encryptions[0] if found.encryptions else None,
        (
            *private,
            *(name for name, key in public.items() if key not in own),
            *(name for name in _unknown(found, private) if name not in public),
        ),
    )


def _can_be_written(found: Evidence, name: str, private: Mapping[str, Any]) -> bool:
    kind, suffix, role = found.kinds[name], name.rpartition(".")[2], _role_of(name)
    if kind in (*_UNREADABLE, "unexpected_file") or _is_folder(found.folder, name):
        return False
    if name in layout.stable_links(found.stem):
        return True
    if kind == "wrong_owner" and (suffix in _WITH_KEY or name == layout.PASSPHRASE):
        # Whoever that is can read it: that is no damage, but perhaps a key compromise.
        return False
    if name == layout.PASSPHRASE:
        return len(private) == len(names.ROLES)
    if suffix in ("crt", "cer"):
        return role in found.certain
    return role in private and (suffix != "pfx" or found.passphrase is not None or layout.PASSPHRASE in found.kinds)


def _without_strange_keys(
    found: Evidence, again: Set[str], public: Mapping[str, bytes], private: Mapping[str, Any]
) -> Set[str]:
    """What is left of the files to be written when no private key may be destroyed."""
    kept = {key for name, key in public.items() if name not in again}
    for role in names.ROLES:
        of_role = {name for name in again if _role_of(name) == role}
        if any(_holds_another_key(found, name, kept, private.get(role)) for name in of_role):
            # Which of its files are the right ones is for a person to say.
            again = again - of_role
    return again


def _holds_another_key(found: Evidence, name: str, kept: Collection[bytes], own: Optional[Any]) -> bool:
    """Whether a file holds a private key that is in no file which stays, and is not that of its role."""
    key = found.keys.get(name)
    if key is None and name.endswith(".key"):
        # In a form, or of a kind, that is not made here; or in the place of a link.
        with contextlib.suppress(EsyncError):
            key = x509.key_from_pem(found.folder.read(name), name)
    if key is None or x509.public_key_of(key) in kept:
        return False
    if own is None:
        return True
    if x509.public_key_of(key) == x509.public_key_of(own):
        return False
    # A flipped bit makes another key of an Ed25519 key, which fits itself; a strange one differs nearly everywhere.
    return not (name.endswith(".key") and _nearly_equal(found.folder.read(name), x509.key_to_pem(own)))


def _unknown(found: Evidence, private: Collection[str]) -> List[str]:
    """The files that may hold a private key which cannot be read."""
    unreadable = ("unexpected_file", "wrong_owner", *_UNREADABLE)
    unknown = [name for name, kind in found.kinds.items() if kind in unreadable or _is_folder(found.folder, name)]
    return unknown + [name for name in found.closed if _role_of(name) not in private and name not in unknown]


def _is_folder(folder: Folder, name: str) -> bool:
    status = folder.status(name)
    return status is not None and stat.S_ISDIR(status.st_mode)


def _role_of(name: str) -> Optional[str]:
    """The role that a file, or a link, of a set belongs to; None for both."""
    stem = name.rpartition(".")[0]
    return next((role for role in names.ROLES if stem == role or stem.endswith(names.set_name("", role))), None)


def _nearly_equal(data: bytes, other: bytes) -> bool:
    return len(data) == len(other) and sum(one != two for one, two in zip(data, other)) <= _FLIPPED
