#!/usr/bin/python
# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: rotation_plan
short_description: Plan a rotation of the mesh from what lies on its hosts
description:
  - Decides which servers get new certificates, and which only have to finish a rotation that was interrupted.
  - Refuses, before anything is made and naming all offenders, unknown servers, servers that cannot be reached,
    and servers that another control node is rotating.
  - Runs on the control node and touches no host.
    It reads the results of M(esync.mesh.certificate_info) that the play registered.
author:
  - The esync.mesh contributors (@esync)
options:
  members:
    description: The members of the mesh, as M(esync.mesh.mesh_members) returned them.
    type: list
    elements: dict
    required: true
  variable:
    description: The name under which every host registered its result of M(esync.mesh.certificate_info).
    type: str
    default: __esync_set
  regenerate:
    description: The names of the servers to rotate; empty means all.
    type: list
    elements: str
    default: []
  only_due:
    description: Rotate only servers whose certificates are due.
    type: bool
    default: false
  compromised:
    description: Servers that were broken into. They get new certificates without an overlap, so nobody rotates them.
    type: list
    elements: str
    default: []
  offline:
    description: If a member cannot be reached, V(stop) before anything is made, or V(defer) and go on without it.
    type: str
    choices: [stop, defer]
    default: stop
  take_over:
    description: Continue a rotation that another control node began.
    type: bool
    default: false
  trust_model:
    description: The trust model that the mesh is to have; if it has another one, all servers are rotated.
    type: str
    choices: [pinned, shared_keys]
    default: pinned
attributes:
  check_mode:
    support: full
    description: Changes nothing in any mode.
  diff_mode:
    support: none
    description: There is nothing to compare.
"""

EXAMPLES = r"""
- name: Plan the rotation
  esync.mesh.rotation_plan:
    members: "{{ __esync_membership.members }}"
    only_due: true
  run_once: true
  register: plan

- name: Show it
  ansible.builtin.debug:
    var: plan.lines
  run_once: true
"""

RETURN = r"""
id:
  description: The rotation's id, which the generations made by it carry; that of a pending rotation if there is one.
  type: str
  returned: success
since:
  description: When the rotation began, UTC.
  type: str
  returned: success
holder:
  description: The control process that runs it.
  type: str
  returned: success
make:
  description: The servers that need a next generation.
  type: list
  elements: str
  returned: success
rotating:
  description: The servers that pass through the stages, those in RV(make) included.
  type: list
  elements: str
  returned: success
offline:
  description: The members that this run does not reach.
  type: list
  elements: str
  returned: success
take_over:
  description: Whether locks found on the hosts are to be replaced.
  type: bool
  returned: success
lines:
  description: The plan in words.
  type: list
  elements: str
  returned: success
compromised:
  description: The servers whose old certificates lose trust first.
  type: list
  elements: str
  returned: success
changes_model:
  description: Whether the mesh goes from one trust model to the other.
  type: bool
  returned: success
model_before:
  description: The trust model by which the pairs work before anything is made.
  type: str
  returned: success
"""
