#!/usr/bin/python
# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

DOCUMENTATION = r"""
module: name_resolution_info
short_description: Read which addresses of peers this host can resolve
description:
  - Asks the resolver of the host for every name at the same time. Changes nothing, and connects to nobody.
  - The establish playbook does this before certificates are made, for the addresses that are new to the mesh.
author:
  - The esync.mesh contributors (@esync)
extends_documentation_fragment:
  - esync.mesh.server
options:
  addresses:
    description: The names to resolve. An IP address needs no resolver, and always passes.
    type: list
    elements: str
    required: true
  timeout:
    description: How many seconds the resolver may take, for all names together.
    type: float
    default: 10
attributes:
  check_mode:
    support: full
    description: Changes nothing.
  diff_mode:
    support: none
    description: Changes nothing.
"""

EXAMPLES = r"""
- name: Read whether the peers can be found
  esync.mesh.name_resolution_info:
    name: "{{ inventory_hostname }}"
    addresses: [bravo.example.com, charlie.example.com]
"""

RETURN = r"""
unresolved:
  description: The names that have no address on this host, and why; empty if all have one.
  type: dict
  returned: success
  sample: {bravo.example.com: Name or service not known}
"""

from ansible_collections.esync.mesh.plugins.module_utils._interpreter import require_python

require_python()

from ansible_collections.esync.mesh.plugins.module_utils._module import run_module
from ansible_collections.esync.mesh.plugins.module_utils._steps.name_resolution_info import SPEC, run


def main() -> None:
    run_module(SPEC, run)


if __name__ == "__main__":
    main()
