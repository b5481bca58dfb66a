# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What lies where in the directory on a host, and with which modes (docs/files-on-the-host.md)."""

from __future__ import annotations

import re
from typing import Dict, Optional

from ansible_collections.esync.mesh.plugins.module_utils._core import names

PEM_FILES = ("crt", "key")
"""Written in any case; the formats below are the user's choice."""

FORMATS = ("cer", "pfx", "pvk")

MODERN = "modern"
COMPAT = "compat"
ENCRYPTIONS = (MODERN, COMPAT)
"""How a .pfx file is encrypted."""

PFX_ITERATIONS = 20000
"""Of each key derivation of a .pfx file."""

PASSPHRASE = "pfx.passphrase"
MANIFEST = "manifest.json"
"""What a generation holds: the SHA-256 of each file, the facts of both certificates, and untrusted ones."""

ROTATION = "rotation.json"
LOADED = "endpoint.loaded"
"""What the resident endpoint was last proved to have taken up."""

LISTENER = "listener.lock"
"""Where the temporary endpoint of a user other than root notes its process; it is no leftover while that lives."""

SHARED_INDEX = "shared.json"
"""Which client sets of peers a folder holds, with the SHA-256 of each file, and untrusted certificates."""

BASE_MODE = 0o755
GENERATIONS_MODE = 0o711
"""Others pass through, as a service with the group of the keys does, but cannot open it, and so not hold its lock."""
PUBLIC_MODE = 0o644
SECRET_MODE = 0o600

GENERATION_ID = re.compile(r"\d{8}T\d{6}Z-[0-9a-f]{8}(?:-[A-Za-z0-9]{1,40})?\Z")
"""When it was made (UTC), something random, and the rotation that it was made for."""

LINK_TARGET = re.compile(names.GENERATIONS + r"/(?P<id>[^/]+)\Z")

_SECRET = frozenset(["key", "pfx", "pvk"])
# Their keys are of untrusted certificates, hence worth nothing; but no key of any kind is public.
_WITH_KEYS = frozenset([MANIFEST, SHARED_INDEX])


def folder_mode(gid: Optional[int]) -> int:
    """The mode of a generation's folder."""
    return 0o700 if gid is None else 0o750


def file_mode(name: str, gid: Optional[int]) -> int:
    """The mode of a file in a generation; ``gid`` is the group that may read the keys, if any."""
    if name == PASSPHRASE:
        return SECRET_MODE
    if _is_secret(name):
        return SECRET_MODE if gid is None else 0o640
    return PUBLIC_MODE


def file_gid(name: str, gid: Optional[int]) -> Optional[int]:
    """The group that a file in a generation must have; None if any will do."""
    return gid if name != PASSPHRASE and _is_secret(name) else None


def stable_links(server: str) -> Dict[str, str]:
    """The links with the same name on every server, and what they point to."""
    return {
        f"{role}.{suffix}": f"{names.set_name(server, role)}.{suffix}" for role in names.ROLES for suffix in PEM_FILES
    }


def _is_secret(name: str) -> bool:
    return name in _WITH_KEYS or name.rpartition(".")[2] in _SECRET
