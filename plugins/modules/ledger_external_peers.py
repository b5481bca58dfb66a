#!/usr/bin/python
# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: ledger_external_peers
short_description: Record the servers whose certificates came in folders from elsewhere
description:
  - Takes what M(esync.mesh.exchange_folder_info) found on the hosts of the run into the ledger, all of it or nothing.
  - A server that is not in the inventory group becomes an external peer. Every member trusts it from then on, until it is
    removed.
  - Refuses, naming all offenders, certificates that differ from those that the ledger knows, folders that contradict
    each other, and names that differ from a known one in upper and lower case only.
  - Runs on the control node and touches no host.
author:
  - The esync.mesh contributors (@esync)
options:
  ledger:
    description: The ledger's folder, on the control node.
    type: path
    required: true
  members:
    description: The members of the mesh, as M(esync.mesh.mesh_members) returned them.
    type: list
    elements: dict
    required: true
  hosts:
    description: The hosts of the inventory whose folders count.
    type: list
    elements: str
    required: true
  variable:
    description: The name under which every host registered its result of M(esync.mesh.exchange_folder_info).
    type: str
    default: __esync_folder
  accept_changed:
    description: Servers whose certificates may differ from those that the ledger knows.
    type: list
    elements: str
    default: []
  name:
    description: Without effect; every module of the mesh takes it, so that it can be given once for all.
    type: str
  directory:
    description: Without effect; every module of the mesh takes it, so that it can be given once for all.
    type: path
attributes:
  check_mode:
    support: full
    description: Says what would be recorded.
  diff_mode:
    support: full
    description: Shows names, fingerprints and ends.
"""

EXAMPLES = r"""
- name: Read the folder that was copied to the host
  esync.mesh.exchange_folder_info:
    name: "{{ inventory_hostname }}"
    folder: /root/from-elsewhere
  register: folder

- name: Take in what it holds
  esync.mesh.ledger_external_peers:
    ledger: "{{ inventory_dir }}/esync-ledger"
    members: "{{ membership.members }}"
    hosts: "{{ ansible_play_hosts }}"
    variable: folder
  run_once: true
"""

RETURN = r"""
external_peers:
  description: The names of those found that are no members.
  type: list
  elements: str
  returned: success
recorded:
  description: The names of those whose entry in the ledger changed.
  type: list
  elements: str
  returned: success
"""
