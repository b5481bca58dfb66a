# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Read this server's own client sets for its peers, and install those of the peers, private keys included."""

from __future__ import annotations

import base64
import binascii
from typing import Any, Dict, Iterable, Mapping, Sequence

from ansible_collections.esync.mesh.plugins.module_utils._core import json_text
from ansible_collections.esync.mesh.plugins.module_utils._core.errors import EsyncError
from ansible_collections.esync.mesh.plugins.module_utils._core.folders import Folder, refuse_web_roots
from ansible_collections.esync.mesh.plugins.module_utils._core.libraries import require
from ansible_collections.esync.mesh.plugins.module_utils._core.names import HANDED_OVER
from ansible_collections.esync.mesh.plugins.module_utils._core.passphrases import passphrase_of
from ansible_collections.esync.mesh.plugins.module_utils._steps.context import SERVER, WEB_ROOTS, Context, difference
from ansible_collections.esync.mesh.plugins.module_utils._steps.options import gid_of
from ansible_collections.esync.mesh.plugins.module_utils._steps.peer_trust import folder_name
from ansible_collections.esync.mesh.plugins.module_utils._store import shared_set_writer as writer
from ansible_collections.esync.mesh.plugins.module_utils._store.exchange_folder import read_client_sets
from ansible_collections.esync.mesh.plugins.module_utils._store.indexed_folder import digest_of
from ansible_collections.esync.mesh.plugins.module_utils._store.run_lock import locked
from ansible_collections.esync.mesh.plugins.module_utils._store.shared_sets import SharedKey, entries_from

SPEC: Dict[str, Any] = {
    **SERVER,
    "state": {"type": "str", "choices": ["fetched", "present", "withdrawn", "absent"], "default": "present"},
    "entries": {
        "type": "list",
        "elements": "dict",
        "default": [],
        "options": {
            "peer": {"type": "str", "required": True},
            "state": {"type": "str", "choices": ["current", "next", "previous"], "default": "current"},
            "fingerprint": {"type": "str", "required": True},
        },
    },
    "payload": {"type": "str", "no_log": True},
    "pfx_passphrase": {"type": "str", "no_log": True},
    "folder": {"type": "path"},
    "folder_passphrase": {"type": "str", "no_log": True},
    "file_group": {"type": "str"},
    **WEB_ROOTS,
}


def run(options: Mapping[str, Any], context: Context) -> Dict[str, Any]:
    """Read this server's own sets, or put in force the sets that its peers share with it.

    :raises EsyncError: a set that is not what it should be; what is in force then stays as it is.
    """
    require()
    name, state = options["name"], options["state"]
    refuse_web_roots(options["directory"], options["web_roots"], name)
    entries = entries_from(options["entries"])
    with Folder.open(options["directory"]) as base, locked(base, check=context.check):
        if state == "fetched":
            passphrase = passphrase_of(options, "pfx_passphrase") or b""
            packed = writer.pack(base, name, passphrase, [entry.fingerprint for entry in entries])
            return {"changed": False, "sets": {key: base64.b64encode(data).decode() for key, data in packed.items()}}
        if state == "withdrawn":
            return {"changed": writer.withdraw(base, context.check)}
        return _install(base, options, entries if state == "present" else (), context)


def _install(
    base: Folder, options: Mapping[str, Any], entries: Sequence[SharedKey], context: Context
) -> Dict[str, Any]:
    name = options["name"]
    passphrase = passphrase_of(options, "pfx_passphrase") or b""
    change = writer.apply(
        base,
        name,
        entries,
        _sent(options["payload"], name),
        passphrase or None,
        folder_name(),
        gid_of(options["file_group"], name),
        context.check,
        _folder_keys(options, entries),
    )
    entries = change.entries
    installed = {"digest": digest_of(entries), "withdrawn": False, "entries": [vars(entry) for entry in entries]}
    for error in change.rejected.values():
        context.warn(str(error))
    result: Dict[str, Any] = {
        "changed": change.changed,
        "shared": installed if entries else None,
        "rejected": {fingerprint: error.cause for fingerprint, error in change.rejected.items()},
        "added": [entry.stem for entry in change.added],
        "removed": [entry.stem for entry in change.removed],
    }
    if context.diff and change.changed:
        before = set(entries) - set(change.added) | set(change.removed)
        result["diff"] = difference(f"{options['directory']}/{HANDED_OVER}", _lines(before), _lines(entries))
    return result


def _lines(entries: Iterable[SharedKey]) -> str:
    return "".join(f"{entry.stem} {entry.fingerprint}\n" for entry in sorted(entries))


def _folder_keys(options: Mapping[str, Any], entries: Sequence[SharedKey]) -> writer.FolderKeys:
    """What lies in the folder of the servers whose sets are wanted."""
    if not options["folder"]:
        return writer.FolderKeys()
    passphrase = passphrase_of(options, "folder_passphrase") or b""
    peers = sorted({entry.peer for entry in entries})
    sets = read_client_sets(options["folder"], options["name"], peers, passphrase, options["web_roots"])
    return writer.FolderKeys(sets, passphrase)


def _sent(payload: Any, name: str) -> Dict[str, bytes]:
    try:
        sent = json_text.loads(payload) if payload else {}
        return {str(key): base64.b64decode(text, validate=True) for key, text in sent.items()}
    except (ValueError, binascii.Error, AttributeError, TypeError):
        raise EsyncError(
            "what was sent to it cannot be read", "Run establish again", kind="bad_shared_set", server=name
        ) from None
