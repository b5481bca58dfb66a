#!/usr/bin/python
# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

DOCUMENTATION = r"""
module: visit
short_description: Carry out several steps on a server in one remote call
version_added: 0.1.0
description:
  - Does steps in their order. Each is one of the other modules of this collection, by its name, with its options.
  - The first step that fails ends the visit; what was done before it is returned with the failure.
  - Costs one remote call however many steps there are, and loads only what they need.
  - The role C(esync.mesh.esync) gives none of these options but the passphrases; what is to be done on the host is then
    what M(esync.mesh.mesh_plan) planned for it. What comes back is made into records of that host alone, and everything
    else that a host may return is dropped.
author:
  - The esync.mesh contributors (@esync)
extends_documentation_fragment:
  - esync.mesh.attributes
  - esync.mesh.attributes.linux
  - esync.mesh.attributes.mesh_group
options:
  directory:
    description: The folder of the mesh on the host.
    type: path
    default: /etc/esync
  name:
    description: The server's name; needed with O(steps).
    type: str
  plan:
    description: The name under which M(esync.mesh.mesh_plan) was last registered; unused with O(steps).
    type: str
    default: __esync_plan
  pfx_passphrase:
    description: The passphrase of the C(.pfx) files. With O(steps), see O(secrets).
    type: str
  folder_passphrase:
    description: The passphrase of the files in a folder to apply. With O(steps), see O(secrets).
    type: str
  steps:
    description: What to do, in this order, in the place of a plan.
    type: list
    elements: dict
    default: []
    suboptions:
      step:
        description: The name of the module.
        type: str
        required: true
        choices:
          - certificate_set
          - certificate_info
          - peer_trust
          - endpoint
          - name_resolution_info
          - probe_listener
          - peer_probe
          - shared_client_sets
          - exchange_folder_info
          - exchange_folder
      options:
        description: Its options. O(name) and O(directory) are those of the visit unless they are given here.
        type: dict
        default: {}
      when:
        description: Do this step only if all of this is true; by default it is done in any case.
        type: dict
        suboptions:
          unchanged:
            description: No step before it changed anything, or would change anything in check mode.
            type: bool
            default: false
          trust:
            description:
              - The digest that the trust in force must have, by the last step before it that returned a trust, such as
                M(esync.mesh.certificate_set).
            type: str
          readable:
            description: The last M(esync.mesh.certificate_info) before it could read the server's own files.
            type: bool
            default: false
          resolved:
            description: Every M(esync.mesh.name_resolution_info) before it could resolve every name.
            type: bool
            default: false
      check:
        description: Do this step as in check mode, even if the visit is not.
        type: bool
        default: false
  secrets:
    description:
      - Any of C(pfx_passphrase), C(folder_passphrase) and C(payload), for the steps that have an option of that name.
        They are refused among the options of a step, where Ansible would print them.
    type: dict
    default: {}
  time_limit:
    description:
      - The module ends itself after so many seconds, wherever it is, so that it does not go on while nobody waits.
      - By default it takes the time that it takes.
    type: int
  not_after:
    description:
      - No step is begun after this time of the host's clock, in seconds since the epoch.
      - By default a step may begin at any time.
    type: float
attributes:
  check_mode:
    support: full
    details: Every step is done in check mode.
  diff_mode:
    support: full
    details: As each step does; C(diff) is in its result.
seealso:
  - module: esync.mesh.mesh_plan
  - module: esync.mesh.mesh_report
"""

EXAMPLES = r"""
- name: Make or keep the certificate sets, and listen if nothing has changed
  esync.mesh.visit:
    name: "{{ inventory_hostname }}"
    steps:
      - step: certificate_set
        options:
          address: "{{ ansible_host }}"
      - step: probe_listener
        options:
          expected: [bravo, charlie]
        when:
          unchanged: true
    secrets:
      pfx_passphrase: "{{ vault_esync_pfx_passphrase }}"
"""

RETURN = r"""
results:
  description:
    - A result for each step, in their order, with C(step), C(changed), and what the module of that name returns.
    - One that was not done because of O(steps[].when) has C(skipped), one that was only checked because of
      O(steps[].check) has C(checked).
  type: list
  elements: dict
  returned: success
step:
  description: The step that failed; RV(results) are then those of the steps before it.
  type: str
  returned: failure
"""

from ansible_collections.esync.mesh.plugins.module_utils._interpreter import require_python

require_python()

from ansible_collections.esync.mesh.plugins.module_utils._module import run_module
from ansible_collections.esync.mesh.plugins.module_utils._steps.visit import SPEC, run


def main() -> None:
    run_module(SPEC, run, any_user=True)


if __name__ == "__main__":
    main()
