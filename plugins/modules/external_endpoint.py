#!/usr/bin/python
# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: external_endpoint
short_description: Let a service of the user's own take up new certificates, and prove that it serves them
description:
  - Runs the user's command if the certificate that is served is not the current one, or if O(loaded) was not noted yet.
  - Then reads back the certificate that is served until it is the current one, and fails if it does not become so.
author:
  - The esync.mesh contributors (@esync)
extends_documentation_fragment:
  - esync.mesh.server
options:
  port:
    description: The eSync port.
    type: int
    default: 8732
  loaded:
    description:
      - Noted in C(endpoint.loaded) once it is proved to be in force, and compared with that the next time.
      - As a rule the digest of the trust and the fingerprint of the server certificate.
    type: str
    default: ""
  sites:
    description: The sites that are served in the place of O(port); each is read back.
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
        description: The name that it is asked for by, where sites share a port.
        type: str
      reload:
        description: What makes the service of the site take up new certificates; left out, that is O(command).
        type: list
        elements: str
        default: []
  reload:
    description: Reload even if nothing differs.
    type: bool
    default: false
  restart:
    description: Run O(stop_command) and O(start_command), whatever is served now.
    type: bool
    default: false
  stop_command:
    description: What stops the service, as a list of words; needed for O(restart).
    type: list
    elements: str
    default: []
  start_command:
    description: What starts the service, as a list of words; needed for O(restart).
    type: list
    elements: str
    default: []
  jitter:
    description: Wait a random time of at most so many seconds before the reload.
    type: float
    default: 0
  timeout:
    description: Seconds that each step, and the proof, may take.
    type: float
    default: 30
  address:
    description: Where to look for the service if it does not listen on the loopback addresses.
    type: str
  command:
    description: What makes the service take up new certificates; empty if it does so by itself.
    type: list
    elements: str
    default: []
attributes:
  check_mode:
    support: full
    description: Says what would be done, and does nothing.
  diff_mode:
    support: none
    description: There is nothing to compare.
"""

EXAMPLES = r"""
- name: Let HAProxy take up what changed
  esync.mesh.external_endpoint:
    name: "{{ inventory_hostname }}"
    command: [systemctl, reload-or-restart, haproxy]
    loaded: "{{ trust.digest }}"
"""

RETURN = r"""
reasons:
  description: Why the command was run, such as V(not_loaded) or V(another_certificate_served).
  type: list
  elements: str
  returned: success
"""

from typing import Any, Dict

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.esync.mesh.plugins.module_utils._endpoints.base import (
    ExternalSettings,
    places_of,
    reload_external,
)
from ansible_collections.esync.mesh.plugins.module_utils._module import SERVER, SITE, run

SPEC: Dict[str, Any] = {
    **SERVER,
    "port": {"type": "int", "default": 8732},
    "loaded": {"type": "str", "default": ""},
    "sites": {
        "type": "list",
        "elements": "dict",
        "default": [],
        "options": {**SITE, "reload": {"type": "list", "elements": "str", "default": []}},
    },
    "reload": {"type": "bool", "default": False},
    "restart": {"type": "bool", "default": False},
    "stop_command": {"type": "list", "elements": "str", "default": []},
    "start_command": {"type": "list", "elements": "str", "default": []},
    "jitter": {"type": "float", "default": 0},
    "timeout": {"type": "float", "default": 30},
    "address": {"type": "str"},
    "command": {"type": "list", "elements": "str", "default": []},
}


def external_endpoint(module: AnsibleModule) -> Dict[str, Any]:
    """Reload and prove, if there is a reason to."""
    options = dict(module.params)
    for option in ("command", "stop_command", "start_command"):
        options[option] = tuple(options[option])
    sites = options["sites"]
    places = places_of(options["port"], sites) if sites else ()
    options["sites"] = tuple((place, tuple(site["reload"])) for place, site in zip(places, sites))
    reasons = reload_external(ExternalSettings(**options), check=module.check_mode)
    return {"changed": bool(reasons), "reasons": reasons}


def main() -> None:
    run(SPEC, external_endpoint)


if __name__ == "__main__":
    main()
