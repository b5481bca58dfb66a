#!/usr/bin/python
# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

DOCUMENTATION = r"""
module: peer_trust
short_description: Make a server trust exactly the certificates that it is given
version_added: 0.1.0
description:
  - Writes a new trust beside the one in force, complete, and switches to it by the rename of a link.
  - Certificates that the trust in force holds already need not be sent again.
  - Never empties the trust by accident, and never makes a server trust itself as a peer.
  - Changes nothing, and does not load the library cryptography, if the trust in force is intact and the same.
author:
  - The esync.mesh contributors (@esync)
extends_documentation_fragment:
  - esync.mesh.attributes
  - esync.mesh.attributes.linux
  - esync.mesh.attributes.mesh_group
  - esync.mesh.server
  - esync.mesh.web_roots
options:
  entries:
    description: What is trusted, all of it.
    type: list
    elements: dict
    required: true
    suboptions:
      peer:
        description:
          - Whose certificate it is. Where client keys are shared (C(esync_trust_model=shared_keys)), the client
            certificates of O(name) itself are trusted, which it shares with its peers.
        type: str
        required: true
      role:
        description: Whether it is a server or a client certificate.
        type: str
        choices: [server, client]
        required: true
      state:
        description: The generation that it belongs to.
        type: str
        choices: [current, next, previous]
        default: current
      fingerprint:
        description: SHA-256 of the certificate, lower-case hexadecimal.
        type: str
        required: true
  certificates:
    description: The certificates of O(entries), in PEM, in any order, as far as the host may not have them.
    type: list
    elements: str
    default: []
  allow_empty:
    description: Whether trusting nobody is intended; if not, empty O(entries) are an error.
    type: bool
    default: false
  distrusted:
    description:
      - Certificates that nobody may trust any more. The host remembers them besides those that it was told before, and
        refuses O(entries) with one of them, or with its key, for ever.
    type: list
    elements: dict
    default: []
    suboptions:
      peer:
        description: The server that it was of.
        type: str
        required: true
      role:
        description: Whether it is a server or a client certificate.
        type: str
        choices: [server, client]
        required: true
      fingerprint:
        description: SHA-256 of the certificate, lower-case hexadecimal.
        type: str
        required: true
      key:
        description: SHA-256 of its public key (SubjectPublicKeyInfo in DER), lower-case hexadecimal.
        type: str
        default: ''
      since:
        description: When it lost trust, UTC.
        type: str
        required: true
      why:
        description: Why it lost trust.
        type: str
        choices: [removed, compromised]
        required: true
      not_after:
        description: When it ends by itself, UTC, for people to see; it is distrusted for ever.
        type: str
        default: ''
attributes:
  check_mode:
    support: full
    details: Says what would be trusted, and changes nothing.
  diff_mode:
    support: full
    details: Shows file names and fingerprints.
seealso:
  - module: esync.mesh.certificate_set
  - module: esync.mesh.endpoint
  - name: Files on the host
    description: What the trust of a server consists of.
    link: https://github.com/esync-mesh/esync.mesh/blob/main/docs/files-on-the-host.md
"""

EXAMPLES = r"""
- name: Trust exactly one peer
  esync.mesh.peer_trust:
    name: "{{ inventory_hostname }}"
    entries:
      - peer: bravo
        role: server
        fingerprint: 5d1a5bbd9d1c1f4a8f4d1e54f8b9e9c2a3c2c0f76cf1f8b5e4b6f1d0a9c8b7e6
      - peer: bravo
        role: client
        fingerprint: 0b7a4e9d1f5c3a2e8d6b4f0c9e7a5d3b1f8e6c4a2d0b9f7e5c3a1d8b6f4e2c0a
    certificates:
      - "{{ lookup('ansible.builtin.file', 'bravo_SyncServer.pem') }}"
      - "{{ lookup('ansible.builtin.file', 'bravo_SyncClient.pem') }}"
"""

RETURN = r"""
digest:
  description: The digest of the trust, the same on the host and on the control node.
  type: str
  returned: success
trust:
  description: The trust as it is now, or would be, C(digest), C(entries) and C(distrusted).
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
"""

from ansible_collections.esync.mesh.plugins.module_utils._interpreter import require_python

require_python()

from ansible_collections.esync.mesh.plugins.module_utils._module import run_module
from ansible_collections.esync.mesh.plugins.module_utils._steps.peer_trust import SPEC, run


def main() -> None:
    run_module(SPEC, run)


if __name__ == "__main__":
    main()
