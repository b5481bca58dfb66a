#!/usr/bin/python
# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

DOCUMENTATION = r"""
module: exchange_folder_info
short_description: Read and validate a folder with the certificate sets of other servers, and change nothing
version_added: 0.1.0
description:
  - Reads a folder on the host into which the sets of other servers were copied by hand, or by
    M(esync.mesh.exchange_folder) elsewhere.
  - Fails, naming every offender at once, if anything in it is unexpected, incomplete, duplicate, damaged, out of its
    time, in the wrong place, no regular file, or if others could have put it there.
  - Private keys in the folder are read only to be compared with their certificates. They are never copied or returned.
  - Where client sets are shared (O(shared_keys)), every client certificate must come with its C(.pfx) file.
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
    description: The folder to read.
    type: path
    required: true
  folder_passphrase:
    description: The passphrase of the C(.pfx) and encrypted C(.pvk) files; by default no C(.pfx) is opened.
    type: str
  shared_keys:
    description: Whether this server is to present to each of the others the client set that it shares.
    type: bool
    default: false
attributes:
  check_mode:
    support: full
    details: Changes nothing in any mode.
  diff_mode:
    support: none
    details: There is nothing to compare.
seealso:
  - module: esync.mesh.exchange_folder
  - name: Certificates that travel in a folder
    description: How two meshes without a common control node exchange certificates.
    link: https://github.com/esync-mesh/esync.mesh/blob/main/docs/apply.md
"""

EXAMPLES = r"""
- name: Read the folder that was copied to the host
  esync.mesh.exchange_folder_info:
    name: "{{ inventory_hostname }}"
    folder: /root/from-elsewhere
  register: folder

- name: Show the fingerprints, to be compared by telephone
  ansible.builtin.debug:
    var: folder.fingerprints
"""

RETURN = r"""
name:
  description: The server's name.
  type: str
  returned: success
folder:
  description: The folder that was read.
  type: str
  returned: success
sets:
  description: Each server with C(name), public C(generations), and C(address) and C(port) if it can be reached there.
  type: list
  elements: dict
  returned: success
fingerprints:
  description: The fingerprint of every certificate, in groups of four digits.
  type: list
  elements: str
  returned: success
keys:
  description: The files that hold private keys and are not needed here.
  type: list
  elements: str
  returned: success
client_sets:
  description: The files that hold private keys and are needed here, with O(shared_keys=true).
  type: list
  elements: str
  returned: success
"""

from ansible_collections.esync.mesh.plugins.module_utils._interpreter import require_python

require_python()

from ansible_collections.esync.mesh.plugins.module_utils._module import run_module
from ansible_collections.esync.mesh.plugins.module_utils._steps.exchange_folder_info import SPEC, run


def main() -> None:
    run_module(SPEC, run)


if __name__ == "__main__":
    main()
