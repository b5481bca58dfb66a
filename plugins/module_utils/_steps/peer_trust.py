# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Make a server trust exactly the certificates that it is given."""

from __future__ import annotations

import os
import time
from typing import Any, Dict, Iterable, Mapping

from ansible_collections.esync.mesh.plugins.module_utils._core.folders import Folder, refuse_web_roots
from ansible_collections.esync.mesh.plugins.module_utils._core.layout import BASE_MODE
from ansible_collections.esync.mesh.plugins.module_utils._core.names import TRUSTED
from ansible_collections.esync.mesh.plugins.module_utils._steps.context import SERVER, WEB_ROOTS, Context, difference
from ansible_collections.esync.mesh.plugins.module_utils._store.distrust import distrust_from
from ansible_collections.esync.mesh.plugins.module_utils._store.indexed_folder import digest_of
from ansible_collections.esync.mesh.plugins.module_utils._store.run_lock import locked
from ansible_collections.esync.mesh.plugins.module_utils._store.trust_folder import TrustEntry, entries_from

_CERTIFICATE: Dict[str, Any] = {
    "peer": {"type": "str", "required": True},
    "role": {"type": "str", "choices": ["server", "client"], "required": True},
    "fingerprint": {"type": "str", "required": True},
}
_DISTRUSTED: Dict[str, Any] = {
    **_CERTIFICATE,
    # A hash of a public key; Ansible takes the name for that of a secret.
    "key": {"type": "str", "default": "", "no_log": False},
    "since": {"type": "str", "required": True},
    "why": {"type": "str", "choices": ["removed", "compromised"], "required": True},
    "not_after": {"type": "str", "default": ""},
}

SPEC: Dict[str, Any] = {
    **SERVER,
    "entries": {
        "type": "list",
        "elements": "dict",
        "required": True,
        "options": {
            **_CERTIFICATE,
            "state": {"type": "str", "choices": ["current", "next", "previous"], "default": "current"},
        },
    },
    "certificates": {"type": "list", "elements": "str", "default": []},
    "allow_empty": {"type": "bool", "default": False},
    "distrusted": {"type": "list", "elements": "dict", "default": [], "options": _DISTRUSTED},
    **WEB_ROOTS,
}


def run(options: Mapping[str, Any], context: Context) -> Dict[str, Any]:
    """Put the trust in force, unless it is already.

    :raises EsyncError: see ``trust_writer.apply``; the trust in force then stays as it is.
    """
    # Only here, because reading a trust needs nothing of it.
    from ansible_collections.esync.mesh.plugins.module_utils._store.trust_writer import TrustChange, apply

    name, directory = options["name"], options["directory"]
    refuse_web_roots(directory, options["web_roots"], name)
    entries, distrusted = entries_from(options["entries"]), distrust_from(options["distrusted"])
    # In check mode there may be no directory yet, and none is made.
    found = Folder.find(directory) if context.check else Folder.open(directory, create_mode=BASE_MODE)
    if found is None:
        change = TrustChange(True, digest_of(entries), tuple(sorted(entries)), (), distrusted)
    else:
        with found as base, locked(base, make=True, check=context.check):
            change = apply(
                base,
                name,
                entries,
                options["certificates"],
                folder_name(),
                options["allow_empty"],
                context.check,
                distrusted,
            )
    result: Dict[str, Any] = {
        "changed": change.changed,
        "digest": change.digest,
        "trust": {
            "digest": change.digest,
            "entries": [vars(entry) for entry in entries],
            "distrusted": [vars(one) for one in change.distrusted],
        },
        "added": [entry.file_name for entry in change.added],
        "removed": [entry.file_name for entry in change.removed],
    }
    if context.diff and change.changed:
        before = set(entries) - set(change.added) | set(change.removed)
        result["diff"] = difference(f"{directory}/{TRUSTED}", _lines(before), _lines(entries))
    return result


def folder_name() -> str:
    """A name for a folder that is written once: the time (UTC) and something random."""
    return time.strftime("%Y%m%dT%H%M%SZ-", time.gmtime()) + os.urandom(4).hex()


def _lines(entries: Iterable[TrustEntry]) -> str:
    return "".join(f"{entry.file_name} {entry.fingerprint}\n" for entry in sorted(entries))
