# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The names of servers, files, links and folders (docs/files-on-the-host.md)."""

from __future__ import annotations

import re
from typing import List

SERVER = "server"
CLIENT = "client"
ROLES = (SERVER, CLIENT)

CURRENT = "current"
NEXT = "next"
PREVIOUS = "previous"
STATES = (CURRENT, NEXT, PREVIOUS)

GENERATIONS = "generations"
REMOTE = "remote"
TRUSTED = "trusted"
SHARED = "handed"
HANDED_OVER = "handed-over"
SERVICES = "services"
HANDED_BEFORE = "handed-before"
PINNED = "pinned"
SHARED_KEYS = "shared_keys"
BOTH = "both"
MODELS = (PINNED, SHARED_KEYS)
"""Whose client certificates a server accepts: those of its peers, or its own, which it shares with them. ``both`` only
while a mesh goes from one to the other."""

ENDPOINTS = ("temporary", "nginx", "haproxy", "stunnel", "external")
"""The names of the drivers that _endpoints/registry.py has; here, so that who only names one compiles none."""

HTTP, TLS, POSTGRESQL = "http", "tls", "postgresql"
PROTOCOLS = (HTTP, TLS, POSTGRESQL)
"""The names of the protocols that _connection/protocols.py has."""

ESYNC_PORT = "esync"
"""What the endpoint on the eSync port is called where a server has attached services besides; no site is called so."""

UNKNOWN = "-"
"""Who calls, where the certificate does not identify it; no server name looks like it."""

_SUFFIX = {SERVER: "_SyncServer", CLIENT: "_SyncClient"}
_ALLOWED = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,52}\Z")
# Windows opens a device instead of a file for these, whatever follows the first dot.
_RESERVED = frozenset(
    ["con", "prn", "aux", "nul"] + [f"com{digit}" for digit in range(10)] + [f"lpt{digit}" for digit in range(10)]
)


def problems(name: str) -> List[str]:
    """What keeps ``name`` from being a server name; empty if it may be one."""
    found = []
    if not _ALLOWED.match(name):
        found.append("it must be 1 to 53 of A-Z a-z 0-9 . _ - and start with a letter or a digit")
    if name.endswith("."):
        found.append("it must not end in a dot")
    if name.split(".")[0].lower() in _RESERVED:
        found.append("it is a device name that Windows reserves")
    return found


def set_name(name: str, role: str) -> str:
    """``NAME_SyncServer`` or ``NAME_SyncClient``: the common stem of a set's files."""
    return name + _SUFFIX[role]


def remote_file(peer: str, role: str, state: str) -> str:
    """The file name of a peer's certificate in the trust, for one live generation."""
    return f"{remote_stem(peer, role, state)}.cer"


def remote_stem(peer: str, role: str, state: str) -> str:
    """How the names of the files of one live generation of a peer begin."""
    middle = "" if state == CURRENT else "." + state
    return f"{set_name(peer, role)}{middle}"
