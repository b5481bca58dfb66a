#!/usr/bin/python
# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: mesh_report
short_description: Report every directed pair of the mesh, and fail if it does not work
description:
  - Puts together what M(esync.mesh.peer_probe) found on every host, and shows it in the terminal, as a matrix up to 30
    servers, with every cause once.
  - Writes it as C(mesh.json) for programs, C(mesh.html) for people, C(mesh.xml) (JUnit) for CI systems and C(mesh.prom)
    for the textfile collector of Prometheus' node_exporter. Each file is replaced completely or not at all.
  - Fails if a pair failed, if a pair was not tested though it should have been, or if no pair at all was tested. Pairs
    outside a limited run are reported as untested and fail nothing by themselves.
  - Calls to load-balanced clusters count as pairs do. Members that never answered fail nothing, and are named.
  - Fails if a server accepted what it must refuse, and with O(check_servers=all_and_fail) if a server has a fault.
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
  report_directory:
    description: The folder that the report is written to, on the control node.
    type: path
    required: true
  ledger:
    description: The ledger's folder, on the control node.
    type: path
    required: true
  title:
    description: A line to show above the matrix.
    type: str
  fail:
    description: Whether to fail if the mesh does not work.
    type: bool
    default: true
  baseline:
    description:
      - What worked before, as RV(worked). With it, only that, and servers that accept what they must refuse, make it
        fail.
    type: list
    elements: str
  check_servers:
    description:
      - What is checked of the servers themselves. V(in_part) is what is also right after a run that changed something,
        such as the time of certificates; V(all) checks files, ledger, trust, clocks and endpoints as they were just
        read.
      - With V(all_and_fail) a fault of a server fails the play too.
    type: str
    choices: [in_part, all, all_and_fail]
    default: in_part
  trust_model:
    description: Whose client certificates the servers accept; the report says what V(shared_keys) costs.
    type: str
    choices: [pinned, shared_keys]
    default: pinned
  max_clock_skew:
    description: By how many seconds the clocks of hosts may differ from that of the control node.
    type: float
    default: 300
  renew_before_days:
    description: How many days before its end a certificate counts as due, where only the ledger tells when it ends.
    type: int
    default: 30
  group:
    description: The inventory group of the mesh; the report names the mesh by it.
    type: str
    default: esync
  name:
    description: Without effect; every module of the mesh takes it, so that it can be given once for all.
    type: str
  directory:
    description: Without effect; every module of the mesh takes it, so that it can be given once for all.
    type: path
attributes:
  check_mode:
    support: full
    description: Writes nothing, because nothing is tested in check mode.
  diff_mode:
    support: none
    description: The report is a result, not a state.
"""

EXAMPLES = r"""
- name: Report every pair
  esync.mesh.mesh_report:
    members: "{{ membership.members }}"
    report_directory: "{{ inventory_dir }}/esync-report"
    ledger: "{{ inventory_dir }}/esync-ledger"
  run_once: true
"""

RETURN = r"""
summary:
  description: How many servers there are, and how many pairs are expected, ok, failed and untested.
  type: dict
  returned: outside check mode, also on failure
pending:
  description: The changes that servers which could not be reached have still to receive.
  type: list
  elements: dict
  returned: outside check mode, also on failure
problems:
  description: What is wrong with servers themselves, with C(server), C(kind), C(severity), C(path), C(cause),
    C(evidence), C(remedy) and C(command).
  type: list
  elements: dict
  returned: outside check mode, also on failure
wrongly_accepted:
  description: What was tried of what must be refused, and was accepted.
  type: list
  elements: dict
  returned: outside check mode, also on failure
matrix:
  description: The lines shown in the terminal.
  type: list
  elements: str
  returned: outside check mode
worked:
  description: The pairs that are ok, and the calls to clusters, such as C(a -> [cluster web]).
  type: list
  elements: str
  returned: if O(fail) is false
worse:
  description: What of O(baseline) is not ok now, with their causes.
  type: list
  elements: str
  returned: always
path:
  description: The path of C(mesh.json) on the control node; the other files lie beside it.
  type: str
  returned: outside check mode, also on failure
"""
