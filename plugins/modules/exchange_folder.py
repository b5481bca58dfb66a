#!/usr/bin/python
# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: exchange_folder
short_description: Put a server's public certificates into a folder, to be carried elsewhere
description:
  - Makes a folder on the host with the server's public certificates of every live generation, and a manifest with its
    name, its address and the fingerprints, in groups of four digits to be read aloud.
  - Never writes a private key.
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
aloud:
  description: The fingerprint of every certificate, in groups of four digits.
  type: list
  elements: str
  returned: success
"""

from contextlib import ExitStack
from typing import Any, Dict

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.esync.mesh.plugins.module_utils import names
from ansible_collections.esync.mesh.plugins.module_utils.adapter import SERVER, run
from ansible_collections.esync.mesh.plugins.module_utils.errors import EsyncError, raise_all
from ansible_collections.esync.mesh.plugins.module_utils.files import Folder
from ansible_collections.esync.mesh.plugins.module_utils.folder import ENDPOINTS, RemoteSet, contents, write
from ansible_collections.esync.mesh.plugins.module_utils.inspection import Expected, Inspection, inspect
from ansible_collections.esync.mesh.plugins.module_utils.requirements import require

SPEC: Dict[str, Any] = {
    **SERVER,
    "folder": {"type": "path", "required": True},
    "address": {"type": "str", "required": True},
    "port": {"type": "int", "required": True},
    "endpoint": {"type": "str", "choices": list(ENDPOINTS), "default": ENDPOINTS[0]},
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
    one = RemoteSet(
        name,
        {state: generation.certificates for state, generation in found.generations.items()},
        options["address"],
        options["port"],
        options["endpoint"],
    )
    changed = write(options["folder"], one, options["web_roots"], module.check_mode)
    return {
        "changed": changed,
        "folder": options["folder"],
        "files": sorted(contents(one)),
        "aloud": one.aloud(),
    }


def main() -> None:
    run(SPEC, exchange_folder)


if __name__ == "__main__":
    main()
