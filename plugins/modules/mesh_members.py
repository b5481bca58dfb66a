#!/usr/bin/python
# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: mesh_members
short_description: Judge who is in the mesh, before any host is touched
description:
  - Reads the members from an inventory group, never from the hosts of the run,
    so that a limited run changes nobody's trust.
  - Refuses an empty group, a mesh of one, bad or doubled names, doubled addresses, folders that two members share,
    folders under a web root, sites that cannot be served or are not known, and variables that cannot be evaluated,
    naming all offenders at once.
  - Reads C(esync_discard_existing) of every member, and refuses names in it that are no member's.
  - Refuses clusters whose members differ in what they say of them, and such with the name or the address of a server or
    the address of another cluster.
  - Runs on the control node and touches no host.
author:
  - The esync.mesh contributors (@esync)
options:
  group:
    description: The inventory group that is the mesh.
    type: str
    default: esync
  port:
    description:
      - The port of members that set no C(esync_port).
      - If the host that the task runs on sets C(esync_port) for itself, and this is its value, it is taken to be
        that host's alone, and the default counts for the others. The same goes for O(directory), O(web_roots),
        O(endpoint), O(site) and, with C(esync_endpoint_sites), O(sites).
    type: int
    default: 8732
  directory:
    description: The folder of members that set no C(esync_directory).
    type: path
    default: /etc/esync
  web_roots:
    description: The web roots of members that set no C(esync_web_roots).
    type: list
    elements: path
    default: [/var/www, /srv/www]
  endpoint:
    description: The endpoint of members that set no C(esync_endpoint).
    type: str
    default: temporary
  sites:
    description: The web sites of members that set no C(esync_endpoint_sites).
    type: list
    elements: dict
    default: []
  site:
    description:
      - To which of their sites the certificates of members apply that set no C(esync_site).
      - V(all), a name, or several as a list or with commas.
    type: raw
    default: all
  exclude:
    description: Names of servers that are in the group and no members any more, for they are being removed.
    type: list
    elements: str
    default: []
  trust_model:
    description:
      - The trust model of members that set no C(esync_trust_model). It must be the same for all; V(shared_keys) demands
        that all members have the same C(esync_pfx_passphrase), and C(pfx) among their formats.
    type: str
    choices: [pinned, shared_keys]
    default: pinned
  formats:
    description: The formats of members that set no C(esync_formats).
    type: list
    elements: str
    default: [cer, pfx, pvk]
  name:
    description: Without effect; every module of the mesh takes it, so that it can be given once for all.
    type: str
attributes:
  check_mode:
    support: full
    description: Changes nothing in any mode.
  diff_mode:
    support: none
    description: There is nothing to compare.
"""

EXAMPLES = r"""
- name: Judge who is in the mesh
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
