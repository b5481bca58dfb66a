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
  - esync.mesh.server
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
  description:
    - What is wrong with the sets and with the trust, each with C(path), C(kind), C(cause) and C(remedy).
  type: list
  elements: dict
  returned: success
modes:
  description: The paths whose mode is wrong, each with the mode that it has and the one that it must have.
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
handed:
  description:
    - The client sets that the peers handed to this server (C(esync_trust_model=shared_keys)), by peer, state and
      fingerprint, with a digest, which is empty if something of them is damaged; null if there are none.
  type: dict
  returned: success
trust:
  description: The trust in force, its digest and entries; null if there is none.
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
    sites:
      description: The same for each site that was looked at, by its name.
      type: dict
    ipv6:
      description: Whether the host has IPv6.
      type: bool
"""

from contextlib import ExitStack
from typing import Any, Dict

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.esync.mesh.plugins.module_utils._core import names
from ansible_collections.esync.mesh.plugins.module_utils._core.folders import Folder
from ansible_collections.esync.mesh.plugins.module_utils._core.libraries import require
from ansible_collections.esync.mesh.plugins.module_utils._module import run
from ansible_collections.esync.mesh.plugins.module_utils._steps import options as sets_adapter
from ansible_collections.esync.mesh.plugins.module_utils._store.generations import SetOutcome, due_reasons, live
from ansible_collections.esync.mesh.plugins.module_utils._store.inspection import Inspection, Mode, inspect


def certificate_info(module: AnsibleModule) -> Dict[str, Any]:
    """Read everything once."""
    require()
    options = module.params
    settings = sets_adapter.settings_of(options)
    now = sets_adapter.clock()
    with ExitStack() as stack:
        base = Folder.find(options["directory"], any_owner=True)
        if base:
            stack.enter_context(base)
        found = inspect(base, settings.expected) if base else Inspection()
        trust, damage = sets_adapter.read_trust(base, settings.name)
        held, spoilt = sets_adapter.handed_of(base, settings.name, settings.gid)
    current = live(found).get(names.CURRENT)
    problems = [*found.errors(), *damage, *spoilt]
    version, unknown = sets_adapter.product_version(options)
    return {
        "changed": False,
        "name": settings.name,
        "directory": options["directory"],
        "generations": SetOutcome(False, found).generations(),
        "problems": [error.to_result()["error"] for error in problems],
        "modes": {"/".join((options["directory"], *mode.place)): _shown(mode) for mode in found.modes},
        "readable": all(error.kind != "no_permission" for error in problems),
        "due": list(due_reasons(current, settings, now)) if current else [],
        "trust": trust,
        "handed": held,
        "clock": now.timestamp(),
        "clock_skew": sets_adapter.skew_of(now, options["control_clock"]),
        "rotation": found.rotation,
        "observed": sets_adapter.observed(options),
        "product_version": version,
        "product_version_problem": unknown,
    }


def _shown(mode: Mode) -> Dict[str, str]:
    return {"found": f"{mode.found:04o}", "wanted": f"{mode.wanted:04o}"}


def main() -> None:
    run(sets_adapter.SPEC, certificate_info)


if __name__ == "__main__":
    main()
