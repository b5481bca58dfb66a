#!/usr/bin/python
# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: nginx_endpoint
short_description: Let nginx serve the eSync port, and prove that it does
description:
  - Writes one file of nginx's configuration, tests all of it, starts nginx or lets it reload, and proves that it did,
    for nginx keeps its old configuration silently when a reload fails.
  - A reload was taken when every worker process that was there before is gone or shutting down, and the certificate
    that is served is the current one.
  - What nginx refuses leaves the old file in place and the old configuration serving, and fails with nginx's message.
  - Other sites of that nginx are not touched.
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
    description: The sites that the configuration serves, in the place of O(port); each is read back.
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
  note:
    description:
      - Note O(loaded) once it is proved.
      - Not where a service of another make has still to take it up, which M(esync.mesh.external_endpoint) then notes.
    type: bool
    default: true
  reload:
    description: Reload even if nothing differs.
    type: bool
    default: false
  restart:
    description: Stop nginx with all of its sites, then start it, whatever it does now.
    type: bool
    default: false
  jitter:
    description: Wait a random time of at most so many seconds before the reload.
    type: float
    default: 0
  timeout:
    description: Seconds that each step, and the proof, may take.
    type: float
    default: 30
  state:
    description: V(absent) takes the file away; nginx goes on with its other sites.
    type: str
    choices: [present, absent]
    default: present
  content:
    description: The configuration; needed for O(state=present).
    type: str
  path:
    description: The file that it goes into; nginx must include it.
    type: path
    default: /etc/nginx/conf.d/esync-mesh.conf
  service:
    description: The name of nginx's unit, where systemd runs; without systemd nginx is started itself.
    type: str
    default: nginx
attributes:
  check_mode:
    support: full
    description: Says what would be done, and does nothing.
  diff_mode:
    support: full
    description: Shows the configuration.
"""

EXAMPLES = r"""
- name: Serve the eSync port with nginx
  esync.mesh.nginx_endpoint:
    name: "{{ inventory_hostname }}"
    content: "{{ lookup('ansible.builtin.template', 'esync-mesh.conf.j2') }}"
    loaded: "{{ trust.digest }}"
"""

RETURN = r"""
reasons:
  description:
    - Why something was done, such as V(configuration_differs), V(not_loaded), V(not_running) or
      V(another_certificate_served).
  type: list
  elements: str
  returned: success
"""

from typing import Any, Dict

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.esync.mesh.plugins.module_utils._endpoints.base import places_of
from ansible_collections.esync.mesh.plugins.module_utils._endpoints.nginx import NginxSettings, absent, present
from ansible_collections.esync.mesh.plugins.module_utils._module import SERVER, SITE, run

SPEC: Dict[str, Any] = {
    **SERVER,
    "port": {"type": "int", "default": 8732},
    "loaded": {"type": "str", "default": ""},
    "sites": {"type": "list", "elements": "dict", "default": [], "options": SITE},
    "note": {"type": "bool", "default": True},
    "reload": {"type": "bool", "default": False},
    "restart": {"type": "bool", "default": False},
    "jitter": {"type": "float", "default": 0},
    "timeout": {"type": "float", "default": 30},
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    "content": {"type": "str"},
    "path": {"type": "path", "default": "/etc/nginx/conf.d/esync-mesh.conf"},
    "service": {"type": "str", "default": "nginx"},
}


def nginx_endpoint(module: AnsibleModule) -> Dict[str, Any]:
    """Bring nginx to the state that was asked for."""
    options = dict(module.params)
    state = options.pop("state")
    options["content"] = options["content"] or ""
    options["sites"] = places_of(options["port"], options["sites"]) if options["sites"] else ()
    act = present if state == "present" else absent
    outcome = act(NginxSettings(**options), check=module.check_mode)
    result: Dict[str, Any] = {"changed": bool(outcome.reasons), "reasons": list(outcome.reasons)}
    if module._diff and outcome.before != outcome.after:
        result["diff"] = {
            "before": outcome.before,
            "after": outcome.after,
            "before_header": options["path"],
            "after_header": options["path"],
        }
    return result


def main() -> None:
    run(SPEC, nginx_endpoint, required_if=[("state", "present", ["content"])])


if __name__ == "__main__":
    main()
