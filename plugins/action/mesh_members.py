# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Validate on the control node who is in the mesh, with all settings of all members."""

from __future__ import annotations

from typing import Any

from ansible_collections.esync.mesh.plugins.plugin_utils._action import ControlAction, plain
from ansible_collections.esync.mesh.plugins.plugin_utils._control import (
    hosts_of,
    mesh_reader,
    refuse_debugging,
    refuse_selection,
)
from ansible_collections.esync.mesh.plugins.plugin_utils._inventory.reading import (
    cluster_facts,
    member_facts,
    read_mesh,
)

OPTIONS: dict[str, Any] = {"group": {"type": "str"}}


class ActionModule(ControlAction):
    """Runs wholly on the control node; see the module's documentation."""

    SPEC = OPTIONS

    def act(self, result: dict[str, Any], options: dict[str, Any], variables: dict[str, Any]) -> dict[str, Any]:
        refuse_selection(self._task, variables)
        reader = mesh_reader(self._loader, variables)
        group = options["group"] or str(reader.value(str(variables["inventory_hostname"]), "esync_group"))
        hosts = hosts_of(group, variables)
        read = read_mesh(reader, group, hosts)
        refuse_debugging(reader, hosts)
        result.update(
            changed=False,
            members=plain([member_facts(member) for member in read.members]),
            discarding=list(read.discarding),
            clusters=plain(cluster_facts(read.clusters)),
        )
        return result
