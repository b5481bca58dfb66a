#!/usr/bin/python
# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: mesh_report
short_description: Report the verdict of an operation, and fail if a pair failed
version_added: 0.1.0
description:
  - Shows the verdict in the terminal, as a matrix up to 30 servers (10 if every pair works), with every
    cause once.
  - Writes it as C(mesh.json) for programs, C(mesh.html) for people, C(mesh.xml) (JUnit) for CI systems and C(mesh.prom)
    for the textfile collector of Prometheus' node_exporter. Each file is replaced completely or not at all.
  - Adds the run to C(history.json) beside them, which holds at most 50 runs. The page shows what each of them changed,
    and since when pairs fail.
  - Fails if a pair failed, or if a pair was not tested though it should have been. Pairs outside a limited run are
    reported as untested and fail nothing.
  - Fails if a server accepted what it must refuse, if a stage failed, and after a check if a server has a fault.
  - Runs on the control node and touches no host. It reads what M(esync.mesh.mesh_plan) and
    M(esync.mesh.visit) returned.
author:
  - The esync.mesh contributors (@esync)
extends_documentation_fragment:
  - esync.mesh.attributes
  - esync.mesh.attributes.control_node
options:
  plan:
    description: The name under which the last result of M(esync.mesh.mesh_plan) was registered.
    type: str
    default: __esync_plan
  visit:
    description: The name under which the result of M(esync.mesh.visit) was registered.
    type: str
    default: __esync_visit
attributes:
  check_mode:
    support: full
    details: Only a repair tests in check mode, and its report fails nothing then; the others write no report.
  diff_mode:
    support: none
    details: The report is a result, not a state.
seealso:
  - module: esync.mesh.mesh_plan
  - name: The reports
    description: The files of a report and their formats.
    link: https://github.com/esync-mesh/esync.mesh/blob/main/docs/reports.md
  - name: Diagnosis
    description: Every cause of a failed pair, and what to do.
    link: https://github.com/esync-mesh/esync.mesh/blob/main/docs/diagnosis.md
"""

EXAMPLES = r"""
- name: Report
  esync.mesh.mesh_report:
  run_once: true
"""

RETURN = r"""
summary:
  description: How many servers there are, and how many pairs are expected, ok, failed and untested.
  type: dict
  returned: with a report, also on failure
pending:
  description: What servers that could not be reached have still to receive.
  type: list
  elements: dict
  returned: with a report, also on failure
problems:
  description: What is wrong with servers themselves, with C(server), C(kind), C(severity), C(path), C(cause),
    C(evidence) and C(remedy).
  type: list
  elements: dict
  returned: with a report, also on failure
notes:
  description: What else is reported to the user.
  type: list
  elements: str
  returned: if there is anything
path:
  description: The path of C(mesh.html) on the control node; the other files lie beside it.
  type: str
  returned: with a report, also on failure
"""
