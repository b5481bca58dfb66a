#!/usr/bin/python
# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

DOCUMENTATION = r"""
module: peer_probe
short_description: Test mutual TLS from this server to many peers at once
version_added: 0.1.0
description:
  - Connects to every peer with TLS 1.2 or later, compares the served certificate with the exact fingerprints expected,
    and exchanges bytes both ways; only then a pair counts as proved.
  - Returns for every peer that fails why, and what to do.
  - Calls clusters through their balancers, several times each. Any member may answer, with its exact certificate.
author:
  - The esync.mesh contributors (@esync)
extends_documentation_fragment:
  - esync.mesh.attributes
  - esync.mesh.attributes.linux
  - esync.mesh.attributes.mesh_group
  - esync.mesh.server
options:
  peers:
    description: The peers.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: The peer's name.
        type: str
        required: true
      address:
        description: Where to connect to.
        type: str
        required: true
      port:
        description: The port to connect to.
        type: int
        required: true
      expected:
        description:
          - The server certificates that it may present, SHA-256 fingerprint to state; by default those that the trust
            in force on this server has of it.
        type: dict
      site:
        description: The site of it that is meant; by default it has none.
        type: str
      server_name:
        description: The DNS name by which the site is requested; by default the peer's own.
        type: str
      protocol:
        description: What is spoken there.
        type: str
        choices: [http, tls, postgresql]
        default: http
      host:
        description: Its name in the inventory; without effect.
        type: str
  present:
    description:
      - What to present to the peers. V(current), V(next) and V(previous) are this server's own client certificates.
      - The others are to be refused. V(none) presents no certificate, V(stranger) an untrusted one,
        V(stranger_same_subject) an untrusted one with this server's name, V(server) this server's server certificate,
        V(own_client) this server's own client certificate where O(trust_model=shared_keys), and V(plain) speaks without
        TLS.
      - The untrusted certificates lie in the manifest of the current generation, where M(esync.mesh.certificate_set)
        made them; those with a peer's name where M(esync.mesh.shared_client_sets) did, with the shared client keys.
    type: str
    choices: [current, next, previous, none, stranger, stranger_same_subject, server, plain, own_client]
    default: current
  trust_model:
    description:
      - Whose client certificate is presented. V(pinned) presents this server's own one to all peers. V(shared_keys)
        presents to each peer the one that this peer shares with this server (M(esync.mesh.shared_client_sets)). It
        tries in O(refusals) this server's own one besides, and an untrusted one with the peer's name.
    type: str
    choices: [pinned, shared_keys]
    default: pinned
  expect:
    description: What is to be proved, that the peers answer, or that they refuse.
    type: str
    choices: [accepted, refused]
    default: accepted
  require:
    description: The generations that a peer may serve.
    type: list
    elements: str
    choices: [current, next, previous]
    default: [current, next, previous]
  known:
    description:
      - Whose certificate a fingerprint is, C(NAME ROLE STATE), of those that the trust in force on this server does not
        hold.
    type: dict
    default: {}
  refusals:
    description:
      - The names of those of O(peers) that are verified to refuse no certificate, an untrusted one, an untrusted one
        with this server's name, this server's server certificate, and a caller that speaks without TLS. It is tried
        before anything else.
    type: list
    elements: str
    default: []
  clusters:
    description:
      - Load-balanced clusters that this server is no member of, as M(esync.mesh.mesh_members) returned them. They are
        called before the peers, twice as often as they have members, at least 2 and at most 16 times.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: The cluster's name.
        type: str
        required: true
      address:
        description: The balancer's address.
        type: str
        required: true
      port:
        description: The port that the balancer listens on.
        type: int
        required: true
      members:
        description: The names of the servers in it. Those that are none of O(peers) may not answer.
        type: list
        elements: str
        required: true
  cluster_patience:
    description: For how many seconds a balancer may take nobody for up before that counts.
    type: float
    default: 0
  concurrency:
    description: How many peers are tested at the same time.
    type: int
    default: 16
  connect_timeout:
    description: Seconds for each of connecting and the handshake.
    type: float
    default: 10
  answer_timeout:
    description: Seconds for the answer.
    type: float
    default: 15
  product_version:
    description: The product's version on this server; if given, it is compared with the peers'.
    type: str
attributes:
  check_mode:
    support: full
    details: Tests nothing, because in check mode nobody listens.
  diff_mode:
    support: none
    details: There is nothing to compare.
seealso:
  - module: esync.mesh.probe_listener
  - name: Verify
    description: How a pair is proved.
    link: https://github.com/esync-mesh/esync.mesh/blob/main/docs/verify.md
  - name: Diagnosis
    description: Every cause of a failed pair, and what to do.
    link: https://github.com/esync-mesh/esync.mesh/blob/main/docs/diagnosis.md
"""

EXAMPLES = r"""
- name: Connect to every peer
  esync.mesh.peer_probe:
    name: "{{ inventory_hostname }}"
    peers:
      - name: bravo
        address: bravo.example.org
        port: 8732
  register: probe
"""

RETURN = r"""
results:
  description: A result for every peer, in their order.
  type: list
  elements: dict
  returned: success
  contains:
    to:
      description: The peer's name.
      type: str
    site:
      description: The site of it that was tested; null if it has none.
      type: str
    verdict:
      description: V(ok) or V(failed); where a refusal is to be proved and was not, V(untested).
      type: str
    cause:
      description: A key of the diagnosis table; null if the pair is ok.
      type: str
    detail:
      description: What was seen.
      type: str
    remedy:
      description: What to do.
      type: str
    handshake_ms:
      description: How long the handshake took, in milliseconds.
      type: float
    tls:
      description: The TLS version.
      type: str
    server_fingerprint:
      description: SHA-256 of the certificate that the peer served.
      type: str
    client_fingerprint:
      description: SHA-256 of the certificate that was presented to it.
      type: str
    served:
      description: The generation that the peer served.
      type: str
    served_subject:
      description: To whom the served certificate is issued by its own word, where OpenSSL did not accept it.
      type: str
refusals:
  description: For each peer in O(refusals) and each thing that it must refuse, a result as in RV(results).
  type: list
  elements: dict
  returned: success
  contains:
    present:
      description: What was presented.
      type: str
clusters:
  description: A result for every cluster of which a peer is a member, in their order.
  type: list
  elements: dict
  returned: success
  contains:
    cluster:
      description: The cluster's name.
      type: str
    verdict:
      description: V(ok) if a member answered each time; V(failed).
      type: str
    cause:
      description: A key of the diagnosis table; null if all connections are ok.
      type: str
    detail:
      description: What was seen.
      type: str
    remedy:
      description: What to do.
      type: str
    answered:
      description: How often each member answered.
      type: dict
"""

from ansible_collections.esync.mesh.plugins.module_utils._interpreter import require_python

require_python()

from ansible_collections.esync.mesh.plugins.module_utils._module import run_module
from ansible_collections.esync.mesh.plugins.module_utils._steps.peer_probe import SPEC, run


def main() -> None:
    run_module(SPEC, run)


if __name__ == "__main__":
    main()
