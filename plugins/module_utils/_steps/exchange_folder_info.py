# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Read a folder with the certificate sets of other servers, and validate it; nothing is changed."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any, Dict, Mapping

from ansible_collections.esync.mesh.plugins.module_utils._core.folders import Folder
from ansible_collections.esync.mesh.plugins.module_utils._core.libraries import require
from ansible_collections.esync.mesh.plugins.module_utils._core.passphrases import passphrase_of
from ansible_collections.esync.mesh.plugins.module_utils._steps.context import SERVER, WEB_ROOTS, Context
from ansible_collections.esync.mesh.plugins.module_utils._steps.options import clock
from ansible_collections.esync.mesh.plugins.module_utils._store.exchange_folder import FolderRequest, read
from ansible_collections.esync.mesh.plugins.module_utils._store.local_generation import Expected
from ansible_collections.esync.mesh.plugins.module_utils._store.local_sets import Inspection, inspect

SPEC: Dict[str, Any] = {
    **SERVER,
    "folder": {"type": "path", "required": True},
    "folder_passphrase": {"type": "str", "no_log": True},
    "shared_keys": {"type": "bool", "default": False},
    **WEB_ROOTS,
}


def run(options: Mapping[str, Any], context: Context) -> Dict[str, Any]:
    """Read the folder once.

    :raises EsyncError: everything that is wrong with it.
    """
    require()
    passphrase = passphrase_of(options, "folder_passphrase")
    with ExitStack() as stack:
        base = Folder.find(options["directory"], any_owner=True)
        own = inspect(stack.enter_context(base), Expected(options["name"], any_group=True)) if base else Inspection()
    request = FolderRequest(
        server=options["name"],
        own=frozenset(
            certificate.fingerprint
            for generation in own.generations.values()
            for certificate in generation.certificates.values()
        ),
        now=clock(),
        passphrase=passphrase,
        shared_keys=options["shared_keys"],
    )
    found = read(options["folder"], request, options["web_roots"])
    if found.keys:
        context.warn(
            f"{options['name']}: {options['folder']} holds private keys ({', '.join(found.keys)}). They are not used "
            "here, and whoever reads them can pose as these servers: take them out of the folder. If they were to be "
            "shared, both meshes need esync_trust_model: shared_keys; if not, consider new sets there."
        )
    if found.client_sets:
        context.warn(
            f"{options['name']}: {options['folder']} holds private keys ({', '.join(found.client_sets)}), to be taken "
            "in here. Destroy the folder when it was applied."
        )
    return {
        "changed": False,
        "name": options["name"],
        "folder": options["folder"],
        "sets": [one.facts() for one in found.sets],
        "fingerprints": [line for one in found.sets for line in one.fingerprint_lines()],
        "keys": list(found.keys),
        "client_sets": list(found.client_sets),
    }
