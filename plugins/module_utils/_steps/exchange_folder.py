# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Put a server's certificates into a folder, to be copied elsewhere."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any, Dict, Mapping

from ansible_collections.esync.mesh.plugins.module_utils._core import names
from ansible_collections.esync.mesh.plugins.module_utils._core.errors import EsyncError, raise_all
from ansible_collections.esync.mesh.plugins.module_utils._core.folders import Folder
from ansible_collections.esync.mesh.plugins.module_utils._core.libraries import require
from ansible_collections.esync.mesh.plugins.module_utils._core.names import ENDPOINTS
from ansible_collections.esync.mesh.plugins.module_utils._core.passphrases import passphrase_of
from ansible_collections.esync.mesh.plugins.module_utils._steps.context import SERVER, WEB_ROOTS, Context
from ansible_collections.esync.mesh.plugins.module_utils._store.exchange_folder import (
    RemoteSet,
    contents,
    write,
)
from ansible_collections.esync.mesh.plugins.module_utils._store.local_generation import Expected
from ansible_collections.esync.mesh.plugins.module_utils._store.local_sets import Inspection, inspect
from ansible_collections.esync.mesh.plugins.module_utils._store.shared_set_writer import pack

SPEC: Dict[str, Any] = {
    **SERVER,
    "folder": {"type": "path", "required": True},
    "address": {"type": "str", "required": True},
    "port": {"type": "int", "required": True},
    "endpoint": {"type": "str", "choices": list(ENDPOINTS), "default": ENDPOINTS[0]},
    "shared_keys": {"type": "bool", "default": False},
    "pfx_passphrase": {"type": "str", "no_log": True},
    **WEB_ROOTS,
}


def run(options: Mapping[str, Any], context: Context) -> Dict[str, Any]:
    """Export every live generation.

    :raises EsyncError: there is nothing sound to export, or something else stands in the folder's place.
    """
    require()
    name = options["name"]
    with ExitStack() as stack:
        base = Folder.find(options["directory"], any_owner=True)
        found = inspect(stack.enter_context(base), Expected(name, any_group=True)) if base else Inspection()
    raise_all(found.errors())
    if names.CURRENT not in found.generations:
        raise EsyncError(
            "it has no certificates yet, so there is nothing to export",
            "Run the establish playbook first",
            kind="not_established",
            server=name,
            path=options["directory"],
        )
    for generation in found.generations.values():
        if generation.name != name:
            raise EsyncError(
                f"its certificates are issued to {generation.name}, its former name",
                "Run the regenerate playbook first",
                kind="wrong_name",
                server=name,
                path=options["directory"],
            )
    client_sets = _client_sets(options, found) if options["shared_keys"] else {}
    one = RemoteSet(
        name,
        {state: generation.certificates for state, generation in found.generations.items()},
        options["address"],
        options["port"],
        options["endpoint"],
        client_sets,
    )
    changed = write(options["folder"], one, options["web_roots"], context.check)
    if one.private:
        context.warn(
            f"{name}: {options['folder']} holds private keys ({', '.join(sorted(one.private))}). Whoever has them and "
            "the passphrase can call this server as one of its peers: copy the folder so that nobody else can read "
            "it, and destroy it here and there when it was applied."
        )
    return {
        "changed": changed,
        "folder": options["folder"],
        "files": sorted(contents(one)),
        "private": sorted(one.private),
        "fingerprints": one.fingerprint_lines(),
    }


def _client_sets(options: Mapping[str, Any], found: Inspection) -> Dict[str, bytes]:
    """The client sets of every live generation, by state.

    :raises EsyncError: one of them does not open with the mesh's passphrase, or is damaged.
    """
    wanted = {
        state: generation.certificates[names.CLIENT].fingerprint for state, generation in found.generations.items()
    }
    passphrase = passphrase_of(options, "pfx_passphrase") or b""
    with Folder.open(options["directory"]) as base:
        packed = pack(base, options["name"], passphrase, wanted.values())
    return {state: packed[fingerprint] for state, fingerprint in wanted.items()}
