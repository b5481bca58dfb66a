#!/usr/bin/python
# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: mesh_members
short_description: Validate who is in the mesh, before any host is touched
version_added: 0.1.0
description:
  - Reads the members from an inventory group, never from the hosts of the run,
    so that a limited run changes nobody's trust.
  - Reads all settings of all members, the variables of the role C(esync.mesh.esync), with their types and choices.
  - Refuses an empty group, a mesh of one, bad or duplicate names, duplicate addresses, folders that two members share,
    folders under a web root, sites that cannot be served or are not known, variables that cannot be evaluated,
    variables that are no setting but nearly one, and members that differ in what belongs to the entire mesh.
  - Names all offenders at once.
  - Runs on the control node and touches no host.
author:
  - The esync.mesh contributors (@esync)
extends_documentation_fragment:
  - esync.mesh.attributes
  - esync.mesh.attributes.control_node
options:
  group:
    description: The inventory group that is the mesh; the default is the setting C(esync_group).
    type: str
attributes:
  check_mode:
    support: full
    details: Changes nothing in any mode.
  diff_mode:
    support: none
    details: There is nothing to compare.
seealso:
  - module: esync.mesh.mesh_plan
  - name: Establish
    description: What is validated before any host is touched.
    link: https://github.com/esync-mesh/esync.mesh/blob/main/docs/establish.md
"""

EXAMPLES = r"""
- name: Validate the members
  esync.mesh.mesh_members:
    group: esync
  run_once: true
  register: membership
"""

RETURN = r"""
members:
  description: The members, sorted by name.
  type: list
  elements: dict
  returned: success
  contains:
    host:
      description: The name in the inventory.
      type: str
    name:
      description: The server name.
      type: str
    address:
      description: Where the others connect to.
      type: str
    port:
      description: The eSync port; of a server with sites that of the first one that certificates apply to.
      type: int
    directory:
      description: The folder of the mesh on it.
      type: str
    sites:
      description:
        - The sites that certificates apply to, each with C(name), C(port), C(server_name), C(root), C(upstream) and
          C(reload).
        - Empty if the server has no sites.
      type: list
      elements: dict
    cluster:
      description: The cluster that it belongs to, with C(name), C(address) and C(port); null if it is in none.
      type: dict
discarding:
  description: The names of the servers whose C(esync_discard_existing) is true or names them, in the run or not.
  type: list
  elements: str
  returned: success
clusters:
  description: The load-balanced clusters, sorted by name.
  type: list
  elements: dict
  returned: success
  contains:
    name:
      description: The cluster's name.
      type: str
    address:
      description: The balancer's address.
      type: str
    port:
      description: The port that the balancer listens on.
      type: int
    members:
      description: The names of the servers in it.
      type: list
      elements: str
"""
