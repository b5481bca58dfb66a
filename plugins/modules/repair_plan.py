#!/usr/bin/python
# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: repair_plan
short_description: Plan what can be repaired in the mesh, from what a check found
description:
  - Chooses for each fault the smallest action that repairs it, and says of the others what to do about them.
  - Sound private keys are never destroyed. Each line says what an action destroys.
  - Servers that are sound are not in the plan.
  - Runs on the control node and touches no host. It reads what the hosts of the play registered.
author:
  - The esync.mesh contributors (@esync)
options:
  members:
    description: The members of the mesh, as M(esync.mesh.mesh_members) returned them.
    type: list
    elements: dict
    required: true
  clusters:
    description: The load-balanced clusters, as M(esync.mesh.mesh_members) returned them.
    type: list
    elements: dict
    default: []
  endpoint:
    description: What listens on the eSync port; a V(temporary) one can only be tested if both ends are in the run.
    type: str
    choices: [temporary, nginx, external]
    default: temporary
  baseline:
    description: Without effect.
    type: list
    elements: str
  check_servers:
    description: Without effect, because every server is checked.
    type: str
    choices: [in_part, all, all_and_fail]
    default: in_part
  restartable:
    description: The names of the servers whose endpoint can be stopped and started.
    type: list
    elements: str
    default: []
attributes:
  check_mode:
    support: full
    description: Changes nothing in any mode.
  diff_mode:
    support: none
    description: There is nothing to compare.
"""

EXAMPLES = r"""
- name: Plan the repair
  esync.mesh.repair_plan:
    members: "{{ membership.members }}"
    ledger: "{{ inventory_dir }}/esync-ledger"
    restartable: "{{ groups['esync'] }}"
  run_once: true
  register: plan
"""

RETURN = r"""
servers:
  description:
    - Server name to what is to be done there, in this order, V(renew) (new sets), V(restore) (modes, public files),
      V(exchange) (trust and ledger), V(restart) (stop and start the endpoint).
  type: dict
  returned: success
not_repaired:
  description: What cannot be repaired from here, with what to do about it.
  type: list
  elements: str
  returned: success
lines:
  description: The plan in words.
  type: list
  elements: str
  returned: success
"""
