#!/usr/bin/python
# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: shared_client_sets
short_description: Hand every server the client sets of its peers, private keys included
description:
  - Only for meshes with C(esync_trust_model=shared_keys). There a server accepts nobody but callers that show one of
    its own client sets, and so it hands them to all of its peers.
  - The sets travel as PKCS#12 files under the mesh's passphrase, through the memory of the control node; they never lie
    on its disk. Only what a peer lacks is sent, and there is no remote call where nothing differs.
  - Refuses to work where Ansible would write what is sent to a temporary file (without pipelining), or print it
    (C(ANSIBLE_DEBUG)).
  - What is taken in is opened and compared with the ledger before anything is written.
  - The sets of external peers are read by the host itself from the folder that they came in, O(folder), and do not travel.
author:
  - The esync.mesh contributors (@esync)
extends_documentation_fragment:
  - esync.mesh.server
options:
  state:
    description:
      - V(fetched) reads those client sets of this server that one of O(hosts) lacks; such a task needs C(no_log).
      - V(present) makes this server hold exactly the live sets of all peers, external peers included, and destroys the keys
        of older ones, of those that lost trust, and of servers that were removed. Those of a peer that the ledger does
        not know are kept.
      - V(withdrawn) takes what it holds out of use, and keeps it until V(present) or V(absent) destroys it.
      - V(absent) destroys what it holds.
    type: str
    choices: [fetched, present, withdrawn, absent]
    default: present
  members:
    description: The members of the mesh, as M(esync.mesh.mesh_members) returned them.
    type: list
    elements: dict
  ledger:
    description: The ledger's folder, on the control node.
    type: path
  hosts:
    description: The hosts that take part in this run.
    type: list
    elements: str
    default: []
  newest:
    description: Hand over only the newest generation of each server, while a mesh goes over to this trust model.
    type: bool
    default: false
  allow_shrink:
    description: Drop the sets of servers that neither are members nor external peers, and that nobody removed.
    type: bool
    default: false
  held_variable:
    description: The registered result of V(present), in which a host's C(handed) is looked for first.
    type: str
    default: __esync_handed
  set_variable:
    description: The registered result of M(esync.mesh.certificate_set) or M(esync.mesh.certificate_info), likewise.
    type: str
    default: __esync_set
  fetched_variable:
    description: The registered result of V(fetched).
    type: str
    default: __esync_fetched
  pfx_passphrase:
    description: The mesh's passphrase, under which the sets travel.
    type: str
  folder:
    description: A folder on the host in which client sets of other servers came, judged before.
    type: path
  folder_passphrase:
    description: The passphrase of the C(.pfx) files in O(folder).
    type: str
  folder_variable:
    description: The registered result of M(esync.mesh.exchange_folder_info) for O(folder).
    type: str
    default: __esync_folder
  file_group:
    description: A group that may read the private keys.
    type: str
  web_roots:
    description: Folders under which the folder of the mesh may not lie.
    type: list
    elements: path
    default: [/var/www, /srv/www]
  entries:
    description: Made from O(members) and O(ledger) on the control node; not to be given.
    type: list
    elements: dict
    default: []
  payload:
    description: Made on the control node from what was fetched; not to be given.
    type: str
attributes:
  check_mode:
    support: full
    description: Says what would be handed over, without a remote call.
  diff_mode:
    support: full
    description: Shows file names and fingerprints.
"""

EXAMPLES = r"""
- name: Read the client sets that a peer lacks
  esync.mesh.shared_client_sets:
    name: "{{ inventory_hostname }}"
    state: fetched
    members: "{{ membership.members }}"
    ledger: "{{ inventory_dir }}/esync-ledger"
    hosts: "{{ ansible_play_hosts }}"
    pfx_passphrase: "{{ vault_esync_pfx_passphrase }}"
  register: __esync_fetched
  no_log: true

- name: Hand every server the client sets of its peers
  esync.mesh.shared_client_sets:
    name: "{{ inventory_hostname }}"
    members: "{{ membership.members }}"
    ledger: "{{ inventory_dir }}/esync-ledger"
    pfx_passphrase: "{{ vault_esync_pfx_passphrase }}"
"""

RETURN = r"""
sets:
  description: The sets that were asked for, fingerprint to the PKCS#12 file in base64. Nothing may print or keep this.
  type: dict
  returned: with O(state=fetched)
problem:
  description: Why nothing could be fetched; the task itself does not fail, for C(no_log) would hide the reason.
  type: str
  returned: with O(state=fetched), if something is wrong
handed:
  description: What the server holds now, names and fingerprints, with its digest.
  type: dict
  returned: with another state
added:
  description: The sets that are new.
  type: list
  elements: str
  returned: with another state
removed:
  description: The sets that went.
  type: list
  elements: str
  returned: with another state
owed:
  description:
    - The servers whose sets it lacks, because they could not be fetched in this run. Those of external peers come in a folder.
  type: list
  elements: str
  returned: with another state
"""

from ansible_collections.esync.mesh.plugins.module_utils._module import run_module
from ansible_collections.esync.mesh.plugins.module_utils._steps.shared_client_sets import SPEC, run


def main() -> None:
    run_module(SPEC, run)


if __name__ == "__main__":
    main()
