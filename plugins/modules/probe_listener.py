#!/usr/bin/python
# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

DOCUMENTATION = r"""
module: probe_listener
short_description: Listen with mutual TLS on the eSync port for the duration of a test
version_added: 0.1.0
description:
  - Starts a process that presents this server's certificate, demands a pinned client certificate, and answers the test.
  - It ends by itself when all expected peers were served or when its time is up, also if the control node dies.
  - Refuses to start where the port is taken, and names the process that holds it if it can.
author:
  - The esync.mesh contributors (@esync)
extends_documentation_fragment:
  - esync.mesh.attributes
  - esync.mesh.attributes.linux
  - esync.mesh.attributes.mesh_group
  - esync.mesh.server
options:
  address:
    description: The address to listen on; V(::) is every address, IPv4 too, also on a host without IPv6.
    type: str
    default: "0.0.0.0"
  port:
    description: The port to listen on.
    type: int
    default: 8732
  lifetime:
    description: After so many seconds it ends in any case.
    type: float
    default: 120
  expected:
    description: The names of the peers after which it may end; empty, only O(lifetime) counts.
    type: list
    elements: str
    default: []
  serve:
    description: The generation to present.
    type: str
    choices: [current, next]
    default: current
  product_version:
    description: The product's version on this server, for the answer.
    type: str
attributes:
  check_mode:
    support: full
    details: Starts nothing.
  diff_mode:
    support: none
    details: There is nothing to compare.
seealso:
  - module: esync.mesh.peer_probe
  - module: esync.mesh.endpoint
  - name: Verify
    description: How a pair is proved.
    link: https://github.com/esync-mesh/esync.mesh/blob/main/docs/verify.md
"""

EXAMPLES = r"""
- name: Listen while the others test
  esync.mesh.probe_listener:
    name: "{{ inventory_hostname }}"
    expected: [bravo, charlie]
"""

RETURN = r"""
pid:
  description: The process that listens.
  type: int
  returned: when it was started
address:
  description: The address that it listens on.
  type: str
  returned: when it was started
port:
  description: The port that it listens on.
  type: int
  returned: when it was started
fingerprint:
  description: SHA-256 of the certificate that it presents.
  type: str
  returned: when it was started
"""

from ansible_collections.esync.mesh.plugins.module_utils._interpreter import require_python

require_python()

from ansible_collections.esync.mesh.plugins.module_utils._module import run_module
from ansible_collections.esync.mesh.plugins.module_utils._steps.probe_listener import SPEC, run


def main() -> None:
    run_module(SPEC, run)


if __name__ == "__main__":
    main()
