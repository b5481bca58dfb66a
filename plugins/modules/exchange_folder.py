#!/usr/bin/python
# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

DOCUMENTATION = r"""
module: exchange_folder
short_description: Put a server's certificates into a folder, to be copied elsewhere
version_added: 0.1.0
description:
  - Makes a folder on the host with the server's public certificates of every live generation, and a manifest with its
    name, its address and the fingerprints, in groups of four digits, to be compared by telephone.
  - Never writes a private key, unless client sets are to be shared (O(shared_keys)). Then the folder and its files
    are for their owner only, and the manifest names the files that hold keys.
  - The folder appears complete or not at all. An earlier export that nobody has changed is replaced, anything else is
    refused.
author:
  - The esync.mesh contributors (@esync)
extends_documentation_fragment:
  - esync.mesh.attributes
  - esync.mesh.attributes.linux
  - esync.mesh.attributes.mesh_group
  - esync.mesh.server
  - esync.mesh.web_roots
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
    choices: [temporary, nginx, haproxy, stunnel, external]
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
attributes:
  check_mode:
    support: full
    details: Says whether the folder would be made.
  diff_mode:
    support: none
    details: The fingerprints are returned.
seealso:
  - module: esync.mesh.exchange_folder_info
  - name: Certificates that travel in a folder
    description: How two meshes without a common control node exchange certificates.
    link: https://github.com/esync-mesh/esync.mesh/blob/main/docs/apply.md
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
fingerprints:
  description: The fingerprint of every certificate, in groups of four digits.
  type: list
  elements: str
  returned: success
"""

from ansible_collections.esync.mesh.plugins.module_utils._interpreter import require_python

require_python()

from ansible_collections.esync.mesh.plugins.module_utils._module import run_module
from ansible_collections.esync.mesh.plugins.module_utils._steps.exchange_folder import SPEC, run


def main() -> None:
    run_module(SPEC, run)


if __name__ == "__main__":
    main()
