# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Folders that are written completely and then never changed, with an index of what belongs to which peer.

The trust of a server is one, and so are the client sets that its peers share with it.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import fields
from typing import Any, Callable, Iterable, Mapping, Optional, Set, Tuple

from ansible_collections.esync.mesh.plugins.module_utils._core import json_text, layout, names
from ansible_collections.esync.mesh.plugins.module_utils._core.certificate import FINGERPRINT
from ansible_collections.esync.mesh.plugins.module_utils._core.errors import EsyncError
from ansible_collections.esync.mesh.plugins.module_utils._core.folders import Folder

VERSION = 1
"""Of an index."""

LIMIT = 16 << 20
"""Bytes that an index, or a file made of all its entries, may have at the most."""


def digest_of(entries: Iterable[Any]) -> str:
    """SHA-256 over the sorted entries, the same on the host and on the control node.

    :param entries: of one dataclass with order; its fields in their order are what is hashed.
    """
    rows = [list(vars(entry).values()) for entry in sorted(entries)]
    return hashlib.sha256(json.dumps(rows, separators=(",", ":")).encode("ascii")).hexdigest()


def entries_from(items: Iterable[Mapping[str, Any]], kind: Any) -> Tuple[Any, ...]:
    """Entries from JSON, validated: known roles and states, valid names, no duplicates; sorted.

    :param kind: a dataclass with ``peer``, ``state`` and ``fingerprint``, ``role`` if it is not the client's, and
        ``called``, the words for an entry in a message.
    :raises EsyncError: kind ``bad_entry``.
    """
    keys = [field.name for field in fields(kind)]
    found: Set[Any] = set()
    files: Set[str] = set()
    for item in items:
        entry = kind(**{name: str(item[name]) for name in keys})
        role = getattr(entry, "role", names.CLIENT)
        sound = (
            not names.problems(entry.peer)
            and role in names.ROLES
            and entry.state in names.STATES
            and FINGERPRINT.match(entry.fingerprint)
        )
        stem = names.remote_stem(entry.peer, role, entry.state).lower() if sound else ""
        if not sound or stem in files:
            raise EsyncError(
                f"{entry.called} is malformed or duplicate", "Run establish over the whole group", kind="bad_entry"
            )
        files.add(stem)
        found.add(entry)
    return tuple(sorted(found))


def target_in(target: str, parent: str) -> str:
    """The folder that a link like ``PARENT/FOLDER`` names.

    :raises ValueError: it leads elsewhere.
    """
    top, _slash, folder = target.partition("/")
    if top != parent or not folder or "/" in folder:
        raise ValueError
    return folder


def read_index(
    inside: Folder, name: str, server: Optional[str], parse_entries: Callable[[Any], Tuple[Any, ...]]
) -> Tuple[Mapping[str, Any], Tuple[Any, ...]]:
    """The index of a folder, and its entries.

    :param server: whose index it must be; None: anybody's. :param parse_entries: makes entries of those in the index.
    :raises EsyncError: it cannot be read, or an entry is malformed.
    :raises ValueError: it is no index of this server's, or changed; likewise KeyError, TypeError and AttributeError.
    """
    data = json_text.loads(inside.read(name, LIMIT))
    entries = parse_entries(data["entries"])
    if (
        data["version"] != VERSION
        or data["server"] != (server or data["server"])
        or data["digest"] != digest_of(entries)
    ):
        raise ValueError
    return data, entries


def write_index(
    inside: Folder,
    name: str,
    server: str,
    entries: Iterable[Any],
    rows: Iterable[Mapping[str, Any]],
    gid: Optional[int] = None,
    **more: Any,
) -> None:
    """Write the index of a folder, the last of its files.

    :param rows: what it says of each entry. :param gid: the group that may read keys, if any.
    :param more: what else it says.
    """
    index = {"version": VERSION, "server": server, "digest": digest_of(entries), "entries": list(rows), **more}
    text = (json.dumps(index, indent=1, sort_keys=True) + "\n").encode("ascii")
    inside.write(name, text, layout.file_mode(name, gid), layout.file_gid(name, gid))


def clear(top: Folder, keep: Set[str], wipe: bool = False) -> None:
    """Remove everything in a folder but these. :param wipe: overwrite it before, for keys."""
    for name in top.entries():
        if name not in keep:
            top.remove_tree(name, wipe)
