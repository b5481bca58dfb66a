#!/usr/bin/python
# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: certificate_info
short_description: Read and judge a server's own certificate sets, and change nothing
description:
  - Returns the public certificates of every live generation, what is wrong with the files, and what is due.
  - Damaged files are no failure here but returned in RV(problems).
author:
  - The esync.mesh contributors (@esync)
extends_documentation_fragment:
  - esync.mesh.sets
attributes:
  check_mode:
    support: full
    description: Changes nothing in any mode.
  diff_mode:
    support: none
    description: There is nothing to compare.
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
  description: What is wrong, each with C(path), C(kind), C(cause) and C(remedy).
  type: list
  elements: dict
  returned: success
modes:
  description: The paths whose mode is wrong.
  type: list
  elements: str
  returned: success
due:
  description: Why the current certificates should be replaced; empty if they should not.
  type: list
  elements: str
  returned: success
trust:
  description: The trust in force, its digest and entries; null if there is none.
  type: dict
  returned: success
clock:
  description: The host's time, in seconds since the epoch.
  type: float
  returned: success
rotation:
  description: The rotation in progress, C(holder), C(since) and C(id); null if there is none.
  type: dict
  returned: success
observed:
  description: What O(observe) asked for; null if nothing.
  type: dict
  returned: success
  contains:
    files:
      description: Path to SHA-256; null for a file that cannot be read.
      type: dict
    served:
      description: SHA-256 fingerprint of the certificate that is served on the port now; null if none is.
      type: str
    ipv6:
      description: Whether the host has IPv6.
      type: bool
"""

from contextlib import ExitStack
from typing import Any, Dict, List

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.esync.mesh.plugins.module_utils import names, sets_adapter
from ansible_collections.esync.mesh.plugins.module_utils.adapter import run
from ansible_collections.esync.mesh.plugins.module_utils.files import Folder
from ansible_collections.esync.mesh.plugins.module_utils.generations import Outcome, due_reasons, live
from ansible_collections.esync.mesh.plugins.module_utils.inspection import Inspection, inspect
from ansible_collections.esync.mesh.plugins.module_utils.requirements import require


def certificate_info(module: AnsibleModule) -> Dict[str, Any]:
    """Read everything once."""
    require()
    options = module.params
    settings = sets_adapter.settings_of(options)
    now = sets_adapter.clock()
    warnings: List[str] = []
    with ExitStack() as stack:
        base = Folder.find(options["directory"], any_owner=True)
        if base:
            stack.enter_context(base)
        found = inspect(base, settings.expected) if base else Inspection()
        trust = sets_adapter.trust_of(base, settings.name, warnings)
    current = live(found).get(names.CURRENT)
    for warning in warnings:
        module.warn(warning)
    return {
        "changed": False,
        "name": settings.name,
        "directory": options["directory"],
        "generations": Outcome(False, found).generations(),
        "problems": [error.to_result()["error"] for error in found.errors()],
        "modes": ["/".join((options["directory"], *mode.place)) for mode in found.modes],
        "due": list(due_reasons(current, settings, now)) if current else [],
        "trust": trust,
        "clock": now.timestamp(),
        "rotation": found.rotation,
        "observed": sets_adapter.observed(options),
    }


def main() -> None:
    run(sets_adapter.SPEC, certificate_info)


if __name__ == "__main__":
    main()
