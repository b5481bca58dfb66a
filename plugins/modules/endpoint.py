#!/usr/bin/python
# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

DOCUMENTATION = r"""
module: endpoint
short_description: Make the endpoint of a server serve the current certificate and trust, and prove that it does
version_added: 0.1.0
description:
  - Finds out by itself what lies on the host (the current certificate, the trust in force), and does nothing if the
    endpoint is known to serve it.
  - Otherwise it writes the configuration, lets the product test it, starts the product or lets it reload, and reads the
    served certificate back until it is the current one, because a reload that fails is often silent.
  - With V(nginx), a reload counts as taken only when every worker process that was there before is gone or shutting
    down. What nginx refuses leaves the old file in place and the old configuration serving, and fails with nginx's
    message. Other sites of that nginx are not touched.
  - With V(haproxy) and V(stunnel), the product runs as a service of ours alone, with a unit and a file of its own. What
    it refuses leaves the old files in place. A reload counts as taken when none of the sockets that listened before
    is open in the process that had it.
  - With V(external), the user's command is run. The served certificate is then the only proof; whether the trust was
    loaded shows in the pairs.
  - What was proved is noted in C(endpoint.loaded). The note is taken away before a reload is tried, so that a reload
    that did nothing is repeated by the next run.
author:
  - The esync.mesh contributors (@esync)
extends_documentation_fragment:
  - esync.mesh.attributes
  - esync.mesh.attributes.linux
  - esync.mesh.attributes.mesh_group
  - esync.mesh.server
options:
  driver:
    description:
      - What listens on the eSync port. With V(temporary) nothing does between runs, and nothing is done.
    type: str
    choices: [temporary, nginx, haproxy, stunnel, external]
    default: temporary
  state:
    description:
      - V(present) lets the endpoint serve what is in force.
      - V(absent) takes our file away; the product goes on with its other sites.
      - V(observed) changes nothing and only returns RV(reasons), why V(present) would do something.
      - V(forgotten) takes the note away, so that the next V(present) reloads; for a reload that turned out to have done
        nothing.
      - V(drained) ends the connections that O(spare) let go on, O(drain) seconds after the last reload.
      - V(watched) changes nothing, waits until nobody presents the certificates in O(retired) any more, and returns who
        did, RV(presented).
    type: str
    choices: [present, absent, observed, forgotten, drained, watched]
    default: present
  port:
    description: The eSync port.
    type: int
    default: 8732
  address:
    description: Where to look for a service of the user's own that does not listen on the loopback addresses.
    type: str
  sites:
    description:
      - The sites that are served in the place of O(port); each is read back.
      - Those with a command to reload are served by a service of the user's own, whatever O(driver) is. If no other is
        left, our file is taken away.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: The name of the site.
        type: str
        required: true
      port:
        description: Its port.
        type: int
        required: true
      server_name:
        description: The DNS name by which it is requested, where sites share a port.
        type: str
      root:
        description: A folder whose files accepted peers may read; with V(nginx) only.
        type: path
      upstream:
        description:
          - Where accepted requests go.
          - Default is O(upstream).
        type: str
      reload:
        description:
          - What makes the service of the site read its files again, as a list of words.
          - With O(driver=external), the default is O(reload_command).
        type: list
        elements: str
        default: []
  services:
    description:
      - Services of the user's own beside O(driver). One whose port is O(port) takes its place.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: The name of the service.
        type: str
        required: true
      port:
        description: Its port.
        type: int
        required: true
      server_name:
        description: The DNS name by which it is requested.
        type: str
      reload:
        description: The command that makes it take up new certificates.
        type: list
        elements: str
        default: []
      protocol:
        description: What it speaks.
        type: str
        choices: [http, tls, postgresql]
        default: http
      owner:
        description: The user that it runs as, if that cannot read our files; copies of them are given to this user.
        type: str
  configuration:
    description:
      - The file that our configuration goes into; nginx must include it in its C(http) block.
      - By default C(/etc/nginx/conf.d/esync-mesh.conf), C(/etc/haproxy/esync-mesh.cfg) or
        C(/etc/stunnel/esync-mesh.cfg).
    type: path
  service:
    description:
      - The name of the product's unit, where systemd runs; without systemd the product is started itself.
      - By default V(nginx), V(esync-haproxy) or V(esync-stunnel); the last two are written by this module.
    type: str
  upstream:
    description:
      - Where accepted connections go, a URL. With V(nginx) it begins with C(http) or C(https), with V(haproxy) with
        C(http), C(tcp) or C(proxy), with V(stunnel) with C(tcp) or C(proxy), which is the PROXY protocol.
      - If it is empty, V(nginx) and V(haproxy) answer 404 to everything but the health request; V(stunnel) needs one.
    type: str
    default: ""
  access_log:
    description:
      - The access log, with the name of the peer; V(off) for none.
      - By default C(/var/log/nginx/esync-mesh.access.log), or the journal of the unit. HAProxy takes the address of a
        syslog server too, stunnel a file.
    type: str
  product_version:
    description: The product's version, for the health answer.
    type: str
  reload_command:
    description:
      - What makes a service of the user's own read its files again, as a list of words; empty if it does so by itself.
    type: list
    elements: str
    default: []
  stop_command:
    description: What stops that service, as a list of words; for O(restart).
    type: list
    elements: str
    default: []
  start_command:
    description: What starts that service, as a list of words; for O(restart).
    type: list
    elements: str
    default: []
  restart:
    description:
      - Stop the service and start it, whatever is served now. nginx is stopped with all of its sites.
      - A service of the user's own without O(stop_command) and O(start_command) is reloaded.
    type: bool
    default: false
  jitter:
    description: Wait a random time of at most so many seconds before a reload.
    type: float
    default: 0
  timeout:
    description: Seconds that each command, and the proof, may take.
    type: float
    default: 30
  spare:
    description:
      - By default a reload also ends the open connections whose certificate is not trusted any more, through the kernel
        and one by one; if that cannot be done, the endpoint is restarted. With V(true) they go on.
      - With V(nginx) and V(haproxy) it is known which connection was opened with which certificate. nginx notes that in
        C(esync-mesh.connections.log), in the folder of O(access_log), and HAProxy in a table in memory.
    type: bool
    default: false
  withdrawn:
    description:
      - Servers that nobody trusts any more. Connections that they have opened end where it is not known with which
        certificate, and so do those that this host has opened to them.
    type: list
    elements: dict
    default: []
    suboptions:
      address:
        description: The address of the server.
        type: str
        required: true
      port:
        description: Its eSync port.
        type: int
        required: true
  drain:
    description: With O(state=drained), how many seconds after the last reload connections may go on.
    type: float
    default: 0
  retired:
    description: With O(state=watched), the SHA-256 fingerprints of client certificates that are about to be retired.
    type: list
    elements: str
    default: []
  since:
    description: With O(state=watched), from when on presented certificates count, in seconds of the clock of the host.
    type: float
    default: 0
  wait:
    description:
      - With O(state=watched), wait until nobody has presented the certificates in O(retired) for so many seconds, and
        so many seconds at the most. Where the product does not note what it is presented, exactly so many.
    type: float
    default: 0
  peer_ports:
    description: With O(state=watched), the ports of the endpoints that this host calls, for RV(calls).
    type: list
    elements: int
    default: []
attributes:
  check_mode:
    support: full
    details: Says what would be done, and does nothing.
  diff_mode:
    support: full
    details: Shows the configuration.
seealso:
  - module: esync.mesh.probe_listener
  - module: esync.mesh.peer_trust
  - name: Endpoints
    description: What listens on the eSync port, and how to attach a service of your own.
    link: https://github.com/esync-mesh/esync.mesh/blob/main/docs/endpoint.md
"""

EXAMPLES = r"""
- name: Serve the eSync port with nginx
  esync.mesh.endpoint:
    name: "{{ inventory_hostname }}"
    driver: nginx
    upstream: http://127.0.0.1:8080

- name: Serve a web site
  esync.mesh.endpoint:
    name: "{{ inventory_hostname }}"
    driver: nginx
    sites:
      - name: shop
        port: 8732
        server_name: shop.example.com
        root: /srv/shop

- name: Let stunnel answer on the port, with an rsync daemon behind it
  esync.mesh.endpoint:
    name: "{{ inventory_hostname }}"
    driver: stunnel
    upstream: proxy://127.0.0.1:873

- name: Let a service of the user's own read the new certificates and trust
  esync.mesh.endpoint:
    name: "{{ inventory_hostname }}"
    driver: external
    reload_command: [systemctl, reload-or-restart, product]
"""

RETURN = r"""
reasons:
  description:
    - Why something was done, or would be.
    - With O(state=present) and O(state=observed) these are V(nginx_is_missing) and the like, V(restart_asked_for),
      V(configuration_differs), V(not_loaded) (the certificate, the trust or the configuration is not noted as loaded),
      V(not_running), V(another_certificate_served) and V(serves_no_site) (our file is taken away).
    - With O(state=absent) V(present), with O(state=forgotten) V(noted), with O(state=drained) V(connections_ended).
  type: list
  elements: str
  returned: success
connections:
  description: What became of the open connections.
  type: dict
  returned: with O(state=drained), and when something was loaded and O(spare) is false
  contains:
    ended:
      description: How many were ended, because the certificate that opened them is not trusted any more.
      type: int
    spared:
      description: How many others go on.
      type: int
    seconds:
      description: How long that took.
      type: float
    restarted:
      description: Whether the endpoint had to be restarted for it, with all of its connections.
      type: bool
presented:
  description:
    - The callers that presented one of the certificates in O(retired) since O(since).
    - Null if the product does not note which certificate it is presented. nginx and HAProxy do.
  type: list
  elements: dict
  returned: with O(state=watched)
  contains:
    fingerprint:
      description: That of the certificate, SHA-256.
      type: str
    address:
      description: The address of the caller.
      type: str
    seconds_ago:
      description: When the certificate came from there for the last time.
      type: float
    longest_gap:
      description: The longest time between two connections with it, in seconds.
      type: float
    renewed_ago:
      description: When another certificate of the same server came from there for the last time; null if none did.
      type: float
    connections:
      description: How many connections were opened with it.
      type: int
    calls:
      description: Of the last of these the port of the caller, and the port that was called.
      type: list
      elements: list
calls:
  description: Connections of this host to O(peer_ports) that were open when it was looked at them.
  type: list
  elements: dict
  returned: with O(state=watched)
  contains:
    address:
      description: The address of this end.
      type: str
    port:
      description: The port of this end.
      type: int
    called:
      description: The port of the other end.
      type: int
    process:
      description: Which process opened it.
      type: str
"""

from ansible_collections.esync.mesh.plugins.module_utils._interpreter import require_python

require_python()

from ansible_collections.esync.mesh.plugins.module_utils._module import run_module
from ansible_collections.esync.mesh.plugins.module_utils._steps import endpoint


def main() -> None:
    run_module(endpoint.SPEC, endpoint.run)


if __name__ == "__main__":
    main()
