#!/usr/bin/python
# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: repair_plan
short_description: Plan what can be mended in the mesh, from the report of a check
description:
  - Chooses for each fault the smallest thing that mends it, and says of the others what to do about them.
  - Servers that are sound are not in the plan.
  - Runs on the control node and touches no host.
author:
  - The esync.mesh contributors (@esync)
options:
  report:
    description: The C(mesh.json) that M(esync.mesh.mesh_report) wrote in this run, with every server judged.
    type: path
    required: true
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
    report: "{{ esync_report_directory }}/mesh.json"
    restartable: "{{ groups['esync'] }}"
  run_once: true
  register: plan
"""

RETURN = r"""
servers:
  description:
    - Server name to what is to be done there, in this order, V(renew) (new sets), V(restore) (modes),
      V(exchange) (trust and ledger), V(restart) (stop and start the endpoint).
  type: dict
  returned: success
left:
  description: What cannot be mended from here, with what to do about it.
  type: list
  elements: str
  returned: success
lines:
  description: The plan in words.
  type: list
  elements: str
  returned: success
"""
