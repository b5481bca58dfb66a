#!/usr/bin/python
# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: mesh_plan
short_description: Plan the next stage of an operation, for all servers at once
version_added: 0.1.0
description:
  - An operation is a table of stages. A stage is one plan on the control node and one visit to each host,
    M(esync.mesh.visit).
  - The first call reads and validates all settings of all members, and names the operation. Every further call takes in
    what the visits returned, demands what has to be proved before the run goes on, and plans the next visits.
  - The ledger is read and written here, once a stage.
  - Needs a strategy in which every task ends on all hosts before the next one begins,
    such as P(ansible.builtin.linear#strategy).
  - Runs on the control node and touches no host. The role C(esync.mesh.esync) calls it.
author:
  - The esync.mesh contributors (@esync)
extends_documentation_fragment:
  - esync.mesh.attributes
  - esync.mesh.attributes.control_node
options:
  operation:
    description: The operation that begins; by default the one that has begun continues.
    type: str
    choices: [establish, verify, check, gate, regenerate, remove, repair, apply, export]
  plan:
    description: The name under which this module's last result was registered.
    type: str
    default: __esync_plan
  visit:
    description: The name under which the result of M(esync.mesh.visit) was registered.
    type: str
    default: __esync_visit
attributes:
  check_mode:
    support: full
    details: Plans everything and writes no ledger.
  diff_mode:
    support: full
    details: Shows what changes in the ledger, without the certificates themselves.
seealso:
  - module: esync.mesh.visit
  - module: esync.mesh.mesh_report
  - name: The ledger
    description: What the control node records.
    link: https://github.com/esync-mesh/esync.mesh/blob/main/docs/ledger.md
"""

EXAMPLES = r"""
- name: Plan the first stage
  esync.mesh.mesh_plan:
    operation: establish
  register: __esync_plan
  run_once: true

- name: Visit every host
  esync.mesh.visit:
  register: __esync_visit
  timeout: "{{ __esync_plan.timeout }}"
  ignore_unreachable: true

- name: Plan the next stage
  esync.mesh.mesh_plan:
  register: __esync_plan
  run_once: true
"""

RETURN = r"""
title:
  description: What the stage does; empty if there is none left.
  type: str
  returned: success
part:
  description: V(stage) if another plan follows the visits, V(last) if the report does, V(report) if nobody is visited.
  type: str
  returned: success
visits:
  description: Inventory host to its visit, with C(name), C(directory) and C(steps).
  type: dict
  returned: success
timeout:
  description: Seconds that a visit may take.
  type: int
  returned: success
batch:
  description: How many hosts may be visited at the same time, because their endpoints reload; 0 for any number.
  type: int
  returned: success
keep:
  description: Whether the failure of a host is kept for what follows, instead of ending its part.
  type: bool
  returned: success
check:
  description: Whether the visits change nothing.
  type: bool
  returned: success
stage:
  description: The operation and the number of the stage, which distinguish its visits from others.
  type: str
  returned: success
lines:
  description: What was reported to the user.
  type: list
  elements: str
  returned: success
state:
  description: What is known of the run, for the next call.
  type: dict
  returned: success
"""
