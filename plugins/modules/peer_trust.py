#!/usr/bin/python
# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: peer_trust
short_description: Make a server trust exactly what the ledger says the other members have
description:
  - Plans the trust on the control node, from the ledger, and sends the host only the certificates that it lacks.
  - Makes no remote call at all when nothing differs.
  - Never shrinks the trust without intent, never empties it by accident, and never makes a server trust itself.
author:
  - The esync.mesh contributors (@esync)
extends_documentation_fragment:
  - esync.mesh.server
options:
  members:
    description: The members of the mesh, as M(esync.mesh.mesh_members) returned them.
    type: list
    elements: dict
  ledger:
    description: The ledger's folder, on the control node.
    type: path
  trust:
    description: The trust in force, as M(esync.mesh.certificate_set) returned it; empty if there is none.
    type: dict
  distrust:
    description: Servers of which nothing may be trusted any more, because they are removed or were broken into.
    type: list
    elements: str
    default: []
  allow_shrink:
    description: Whether servers that are no members lose trust; otherwise what the host trusts of them is kept.
    type: bool
    default: false
  trust_model:
    description:
      - Whose client certificates the server accepts. V(pinned), those of its peers; V(shared_keys), its own, which it
        handed to its peers (M(esync.mesh.shared_client_sets)); V(both), while a mesh goes from one to the other.
    type: str
    choices: [pinned, shared_keys, both]
    default: pinned
  change_model:
    description: Whether the trust in force may be by another model; otherwise that is an error.
    type: bool
    default: false
  web_roots:
    description: Folders under which the folder of the mesh may not lie.
    type: list
    elements: path
    default: [/var/www, /srv/www]
  entries:
    description: Made from O(members) and O(ledger) on the control node; not to be given.
    type: list
    elements: dict
  certificates:
    description: Made from O(members) and O(ledger) on the control node; not to be given.
    type: list
    elements: str
    default: []
  allow_empty:
    description: Made from O(distrust) and O(allow_shrink) on the control node; not to be given.
    type: bool
    default: false
attributes:
  check_mode:
    support: full
    description: Says what would be trusted, without a remote call.
  diff_mode:
    support: full
    description: Shows file names and fingerprints.
"""

EXAMPLES = r"""
- name: Trust exactly what the ledger says the others have
  esync.mesh.peer_trust:
    name: "{{ inventory_hostname }}"
    members: "{{ membership.members }}"
    ledger: "{{ inventory_dir }}/esync-ledger"
    trust: "{{ certificate_set.trust }}"
"""

RETURN = r"""
digest:
  description: The digest of the trust, the same on the host and in the ledger.
  type: str
  returned: success
peers:
  description:
    - Every peer with its address, port, and the server certificates that it may show (fingerprint to state).
    - One whose certificates apply to sites comes once for each, with C(site) and C(server_name).
  type: list
  elements: dict
  returned: success
external_peers:
  description: Likewise every external peer (a server of another mesh, M(esync.mesh.ledger_external_peers)) whose endpoint is known.
  type: list
  elements: dict
  returned: success
known:
  description: Whose certificate a fingerprint is, over the whole ledger.
  type: dict
  returned: success
trust:
  description: The trust as it is now.
  type: dict
  returned: success
added:
  description: The files that are new in the trust.
  type: list
  elements: str
  returned: success
removed:
  description: The files that went.
  type: list
  elements: str
  returned: success
kept:
  description: Servers that are trusted although they are no members.
  type: list
  elements: str
  returned: success
owed:
  description: Members whose certificates are not known yet.
  type: list
  elements: str
  returned: success
"""

from ansible_collections.esync.mesh.plugins.module_utils._module import run_module
from ansible_collections.esync.mesh.plugins.module_utils._steps.peer_trust import SPEC, run


def main() -> None:
    run_module(SPEC, run)


if __name__ == "__main__":
    main()
