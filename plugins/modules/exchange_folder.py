#!/usr/bin/python
# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: exchange_folder
short_description: Put a server's certificates into a folder, to be carried elsewhere
description:
  - Makes a folder on the host with the server's public certificates of every live generation, and a manifest with its
    name, its address and the fingerprints, in groups of four digits to be read aloud.
  - Never writes a private key, unless client sets are to be handed over (O(shared_keys)). Then the folder and its files
    are for their owner only, and the manifest names the files that hold keys.
  - The folder appears whole or not at all. An earlier export that nobody has changed is replaced, anything else is
    refused.
author:
  - The esync.mesh contributors (@esync)
extends_documentation_fragment:
  - esync.mesh.server
options:
  folder:
    description: The folder to make.
    type: path
    required: true
  address:
    description: Where others connect to.
    type: str
    required: true
  port:
    description: The eSync port.
    type: int
    required: true
  endpoint:
    description: What listens there. A temporary one cannot be tested from elsewhere.
    type: str
    choices: [temporary, nginx, external]
    default: temporary
  shared_keys:
    description:
      - Put the client sets there too, private keys included, as C(.pfx) files under O(pfx_passphrase), for meshes with
        C(esync_trust_model=shared_keys).
    type: bool
    default: false
  pfx_passphrase:
    description: The mesh's passphrase, under which the C(.pfx) files are.
    type: str
  web_roots:
    description: Folders under which the folder may not lie.
    type: list
    elements: path
    default: [/var/www, /srv/www]
attributes:
  check_mode:
    support: full
    description: Says whether the folder would be made.
  diff_mode:
    support: none
    description: The fingerprints are returned.
"""

EXAMPLES = r"""
- name: Export the public certificates
  esync.mesh.exchange_folder:
    name: "{{ inventory_hostname }}"
    folder: /root/for-the-others
    address: web1.example.org
    port: 8732
"""

RETURN = r"""
folder:
  description: The folder.
  type: str
  returned: success
files:
  description: The files in it.
  type: list
  elements: str
  returned: success
private:
  description: Those of the files that hold private keys.
  type: list
  elements: str
  returned: success
aloud:
  description: The fingerprint of every certificate, in groups of four digits.
  type: list
  elements: str
  returned: success
"""

from contextlib import ExitStack
from typing import Any, Dict, Mapping

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.esync.mesh.plugins.module_utils._core import names
from ansible_collections.esync.mesh.plugins.module_utils._core.errors import EsyncError, raise_all
from ansible_collections.esync.mesh.plugins.module_utils._core.folders import Folder
from ansible_collections.esync.mesh.plugins.module_utils._core.libraries import require
from ansible_collections.esync.mesh.plugins.module_utils._module import SERVER, run
from ansible_collections.esync.mesh.plugins.module_utils._store import shared_sets as handed
from ansible_collections.esync.mesh.plugins.module_utils._store.exchange_folder import (
    ENDPOINTS,
    RemoteSet,
    contents,
    write,
)
from ansible_collections.esync.mesh.plugins.module_utils._store.inspection import Expected, Inspection, inspect

SPEC: Dict[str, Any] = {
    **SERVER,
    "folder": {"type": "path", "required": True},
    "address": {"type": "str", "required": True},
    "port": {"type": "int", "required": True},
    "endpoint": {"type": "str", "choices": list(ENDPOINTS), "default": ENDPOINTS[0]},
    "shared_keys": {"type": "bool", "default": False},
    "pfx_passphrase": {"type": "str", "no_log": True},
    "web_roots": {"type": "list", "elements": "path", "default": ["/var/www", "/srv/www"]},
}


def exchange_folder(module: AnsibleModule) -> Dict[str, Any]:
    """Export every live generation."""
    require()
    options = module.params
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
    changed = write(options["folder"], one, options["web_roots"], module.check_mode)
    if one.private:
        module.warn(
            f"{name}: {options['folder']} holds private keys ({', '.join(sorted(one.private))}). Whoever has them and "
            "the passphrase can call this server as one of its peers: carry the folder so that nobody else can read "
            "it, and destroy it here and there when it was applied."
        )
    return {
        "changed": changed,
        "folder": options["folder"],
        "files": sorted(contents(one)),
        "private": sorted(one.private),
        "aloud": one.aloud(),
    }


def _client_sets(options: Mapping[str, Any], found: Inspection) -> Dict[str, bytes]:
    """The client sets of every live generation, by state.

    :raises EsyncError: one of them does not open with the mesh's passphrase, or is damaged.
    """
    wanted = {
        state: generation.certificates[names.CLIENT].fingerprint for state, generation in found.generations.items()
    }
    passphrase = (options["pfx_passphrase"] or "").encode("utf-8")
    with Folder.open(options["directory"]) as base:
        packed = handed.pack(base, options["name"], passphrase, wanted.values())
    return {state: packed[fingerprint] for state, fingerprint in wanted.items()}


def main() -> None:
    run(SPEC, exchange_folder)


if __name__ == "__main__":
    main()
