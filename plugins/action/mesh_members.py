# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Judge on the control node who is in the mesh."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from ansible.plugins.action import ActionBase

from ansible_collections.esync.mesh.plugins.module_utils.errors import EsyncError, raise_all
from ansible_collections.esync.mesh.plugins.plugin_utils.adapter import guarded, plain
from ansible_collections.esync.mesh.plugins.plugin_utils.membership import Member, judge

OPTIONS: dict[str, Any] = {
    "group": {"type": "str", "default": "esync"},
    "port": {"type": "int", "default": 8732},
    "directory": {"type": "str", "default": "/etc/esync"},
    "name": {"type": "str"},
    "web_roots": {"type": "list", "elements": "str", "default": ["/var/www", "/srv/www"]},
    "exclude": {"type": "list", "elements": "str", "default": []},
}


class ActionModule(ActionBase):
    """Runs wholly on the control node; see the module's documentation."""

    TRANSFERS_FILES = False
    _requires_connection = False

    @guarded
    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        _validated, options = self.validate_argument_spec(argument_spec=OPTIONS)
        variables = task_vars or {}
        members: list[Member] = []
        errors: list[EsyncError] = []
        for host in variables["groups"].get(options["group"], []):
            try:
                members.append(_member(str(host), variables["hostvars"][host], options))
            except EsyncError as error:
                errors.append(error)
        raise_all(errors)
        members = sorted((one for one in members if one.name not in options["exclude"]), key=lambda one: one.name)
        judge(members, options["group"])
        result.update(changed=False, members=plain([asdict(member) for member in members]))
        return result


def _member(host: str, variables: Any, options: dict[str, Any]) -> Member:
    def read(name: str, default: Any) -> Any:
        try:
            return variables.get(name, default)
        except Exception:
            # The text of a template error can quote other variables.
            raise EsyncError(
                f"the variable {name} cannot be evaluated", f"Correct {name}", kind="bad_variable", server=host
            ) from None

    port = read("esync_port", options["port"])
    if not str(port).isdigit():
        raise EsyncError(f"{port!r} is no port", "Set esync_port to 1 to 65535", kind="bad_port", server=host)
    web_roots = read("esync_web_roots", options["web_roots"])
    return Member(
        host=host,
        name=str(read("esync_server_name", host)),
        address=str(read("esync_address", read("ansible_host", host))),
        port=int(port),
        directory=str(read("esync_directory", options["directory"])),
        web_roots=tuple(str(root) for root in ([web_roots] if isinstance(web_roots, str) else web_roots)),
    )
