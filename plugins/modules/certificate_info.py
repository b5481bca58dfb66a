#!/usr/bin/python
# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

DOCUMENTATION = r"""
module: certificate_info
short_description: Read and validate a server's own certificate sets, and change nothing
version_added: 0.1.0
description:
  - Returns the public certificates of every live generation, what is wrong with the files, and what is due.
  - Damaged files are no failure here but returned in RV(problems).
author:
  - The esync.mesh contributors (@esync)
extends_documentation_fragment:
  - esync.mesh.attributes
  - esync.mesh.attributes.linux
  - esync.mesh.attributes.mesh_group
  - esync.mesh.server
  - esync.mesh.sets
options:
  deep:
    description:
      - Parse every certificate and key. If not, that is done only where a file is not the one that the manifest of its
        generation names.
    type: bool
    default: true
attributes:
  check_mode:
    support: full
    details: Changes nothing in any mode.
  diff_mode:
    support: none
    details: There is nothing to compare.
seealso:
  - module: esync.mesh.certificate_set
"""

EXAMPLES = r"""
- name: Read what lies on the host
  esync.mesh.certificate_info:
    name: "{{ inventory_hostname }}"
  register: info

- name: Show what is wrong
  ansible.builtin.debug:
    var: info.problems
"""

RETURN = r"""
name:
  description: The server's name.
  type: str
  returned: success
directory:
  description: The folder of the mesh on the host.
  type: str
  returned: success
generations:
  description: The live generations with their public certificates, as far as they are sound.
  type: list
  elements: dict
  returned: success
problems:
  description:
    - What is wrong with the sets and with the trust, each with C(path), C(kind), C(cause) and C(remedy).
  type: list
  elements: dict
  returned: success
restorable:
  description:
    - The paths of problems that can be written again from what is sound beside them, which the option C(repair) of
      M(esync.mesh.certificate_set) does.
  type: list
  elements: str
  returned: success
keys:
  description:
    - What would be destroyed with all sets, such as V(current client), that is the sound private key of the current
      client set; also files that may hold a private key.
  type: list
  elements: str
  returned: success
stale_manifests:
  description: The paths of manifests that are missing, damaged or not up to date.
  type: list
  elements: str
  returned: success
modes:
  description:
    - The paths whose mode is wrong, each with the mode that it has and the one that it must have.
    - A plus sign after the mode, as C(ls) shows it, is an access control list.
  type: dict
  returned: success
readable:
  description: Whether the user that Ansible is may read everything; what it may not read is among the problems.
  type: bool
  returned: success
due:
  description: Why the current certificates should be replaced; empty if they should not.
  type: list
  elements: str
  returned: success
shared:
  description:
    - The client sets that the peers share with this server (C(esync_trust_model=shared_keys)), by peer, state and
      fingerprint, with a digest, which is empty if something of them is damaged; null if there are none.
  type: dict
  returned: success
trust:
  description: The trust in force, its digest and entries, and what is distrusted for ever; null if there is none.
  type: dict
  returned: success
clock:
  description: The host's time, in seconds since the epoch.
  type: float
  returned: success
clock_skew:
  description: By how many seconds the host's clock is ahead of O(control_clock); null without that.
  type: float
  returned: success
rotation:
  description: The rotation in progress, C(holder), C(since) and C(id); null if there is none.
  type: dict
  returned: success
product_version:
  description: The product's version on this host; null if it is not known.
  type: str
  returned: success
product_version_problem:
  description: Why the command of O(product_version) gave none, with C(kind), C(cause) and C(remedy); null if it did.
  type: dict
  returned: success
"""

from ansible_collections.esync.mesh.plugins.module_utils._interpreter import require_python

require_python()

from ansible_collections.esync.mesh.plugins.module_utils._module import run_module
from ansible_collections.esync.mesh.plugins.module_utils._steps.certificate_info import SPEC, run


def main() -> None:
    run_module(SPEC, run, any_user=True)


if __name__ == "__main__":
    main()
