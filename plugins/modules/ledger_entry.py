#!/usr/bin/python
# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: ledger_entry
short_description: Record which public certificates a server has
description:
  - Keeps one small, sorted file for each server, public data only, fit to be committed to git.
  - Refuses certificates that the ledger does not know and no rotation announced, with both fingerprints.
  - Runs on the control node and touches no host.
author:
  - The esync.mesh contributors (@esync)
options:
  ledger:
    description: The ledger's folder, on the control node.
    type: path
    required: true
  name:
    description: The server's name.
    type: str
    required: true
  address:
    description: Where the others connect to.
    type: str
  port:
    description: The eSync port.
    type: int
  generations:
    description: The certificates that the server shows, as M(esync.mesh.certificate_set) returned them.
    type: list
    elements: dict
    default: []
  accept_changed:
    description: Accept certificates that nobody announced, because the host was rebuilt.
    type: bool
    default: false
  rotation:
    description: Record a next generation that the ledger does not know, for this run is the rotation that announces it.
    type: bool
    default: false
  state:
    description:
      - V(present) records O(generations).
      - V(distrusted) takes all trust from the certificates of a server that was broken into; it stays a member.
      - V(removed) takes it from them too, and remembers when the server was removed.
      - Certificates that lost trust are remembered and refused until they would have ended by themselves.
    type: str
    choices: [present, distrusted, removed]
    default: present
  directory:
    description: Without effect; every module of the mesh takes it, so that it can be given once for all.
    type: path
attributes:
  check_mode:
    support: full
    description: Says what would be recorded.
  diff_mode:
    support: full
    description: Shows the file without the certificates themselves.
"""

EXAMPLES = r"""
- name: Record the public certificates
  esync.mesh.ledger_entry:
    ledger: "{{ inventory_dir }}/esync-ledger"
    name: "{{ inventory_hostname }}"
    address: "{{ ansible_host }}"
    port: 8732
    generations: "{{ certificate_set.generations }}"
"""

RETURN = r"""
path:
  description: The server's file in the ledger.
  type: str
  returned: success
"""
