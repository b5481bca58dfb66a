#!/usr/bin/python
# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

DOCUMENTATION = r"""
module: shared_client_sets
short_description: Read the client sets that a server shares with its peers, and install those of its peers
version_added: 0.1.0
description:
  - Only for meshes with C(esync_trust_model=shared_keys). There a server accepts nobody but callers that present one of
    its own client sets, and so it shares them with all of its peers, private keys included.
  - The sets are sent as PKCS#12 files under the mesh's passphrase. A task with O(state=fetched), or with O(payload),
    needs C(no_log) and pipelining, because Ansible would otherwise print what it returns or write it to a temporary
    file.
  - What is to be installed is opened and compared with O(entries) before anything is written.
  - The sets of external peers are read by the host itself from the folder that they came in, O(folder), and are
    not sent.
author:
  - The esync.mesh contributors (@esync)
extends_documentation_fragment:
  - esync.mesh.attributes
  - esync.mesh.attributes.linux
  - esync.mesh.attributes.mesh_group
  - esync.mesh.server
  - esync.mesh.web_roots
options:
  state:
    description:
      - V(fetched) reads the client sets of this server that O(entries) name.
      - V(present) makes this server hold exactly the sets in O(entries), and destroys the keys of all others. It makes
        untrusted certificates with the names of these peers, too, for M(esync.mesh.peer_probe), and keeps them in the
        index of the sets.
      - V(withdrawn) takes what it holds out of use, and keeps it until V(present) or V(absent) destroys it.
      - V(absent) destroys what it holds.
    type: str
    choices: [fetched, present, withdrawn, absent]
    default: present
  entries:
    description: The sets.
    type: list
    elements: dict
    default: []
    suboptions:
      peer:
        description: Whose client set it is; with O(state=fetched) this server itself.
        type: str
        required: true
      state:
        description: The generation that it belongs to.
        type: str
        choices: [current, next, previous]
        default: current
      fingerprint:
        description: SHA-256 of its certificate, lower-case hexadecimal.
        type: str
        required: true
  payload:
    description:
      - The sets that the host may not have, a JSON object, fingerprint to the PKCS#12 file in base64, as RV(sets) of
        the peers.
    type: str
  pfx_passphrase:
    description: The mesh's passphrase, under which the sets are sent.
    type: str
  folder:
    description:
      - A folder on the host in which client sets of other servers came; see M(esync.mesh.exchange_folder_info).
    type: path
  folder_passphrase:
    description: The passphrase of the C(.pfx) files in O(folder).
    type: str
  file_group:
    description: A group that may read the private keys.
    type: str
attributes:
  check_mode:
    support: full
    details: Says whether anything would change, and changes nothing.
  diff_mode:
    support: full
    details: Shows file names and fingerprints.
seealso:
  - module: esync.mesh.certificate_set
  - module: esync.mesh.peer_trust
  - name: Shared client keys
    description: What it costs to hand client sets to the peers.
    link: https://github.com/esync-mesh/esync.mesh/blob/main/docs/shared-keys.md
"""

EXAMPLES = r"""
- name: Read the current client set of this server
  esync.mesh.shared_client_sets:
    name: "{{ inventory_hostname }}"
    state: fetched
    entries:
      - peer: "{{ inventory_hostname }}"
        fingerprint: "{{ sets.generations[0].client.fingerprint }}"
    pfx_passphrase: "{{ vault_esync_pfx_passphrase }}"
  register: fetched
  no_log: true

- name: Hold the client set of a peer
  esync.mesh.shared_client_sets:
    name: "{{ inventory_hostname }}"
    entries:
      - peer: bravo
        fingerprint: "{{ hostvars.bravo.sets.generations[0].client.fingerprint }}"
    payload: "{{ hostvars.bravo.fetched.sets | to_json }}"
    pfx_passphrase: "{{ vault_esync_pfx_passphrase }}"
  no_log: true
"""

RETURN = r"""
sets:
  description: The requested sets, fingerprint to the PKCS#12 file in base64. Nothing may print or keep this.
  type: dict
  returned: with O(state=fetched)
shared:
  description: What the server holds now, names and fingerprints, with its digest; null if nothing.
  type: dict
  returned: with O(state=present) and O(state=absent)
rejected:
  description: Why sets that were sent are not held, because they are not what they should be; by fingerprint.
  type: dict
  returned: with O(state=present) and O(state=absent)
added:
  description: The sets that are new.
  type: list
  elements: str
  returned: with O(state=present) and O(state=absent)
removed:
  description: The sets that went.
  type: list
  elements: str
  returned: with O(state=present) and O(state=absent)
"""

from ansible_collections.esync.mesh.plugins.module_utils._interpreter import require_python

require_python()

from ansible_collections.esync.mesh.plugins.module_utils._module import run_module
from ansible_collections.esync.mesh.plugins.module_utils._steps.shared_client_sets import SPEC, run


def main() -> None:
    run_module(SPEC, run)


if __name__ == "__main__":
    main()
