# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Plan on the control node what can be repaired, from what a check found in this run."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from ansible_collections.esync.mesh.plugins.plugin_utils._action import ControlAction, plain
from ansible_collections.esync.mesh.plugins.plugin_utils._planning.repair import plan_repair
from ansible_collections.esync.mesh.plugins.plugin_utils._report.observation import OPTIONS, observe


class ActionModule(ControlAction):
    """Runs entirely on the control node; see the module's documentation."""

    SPEC = {**OPTIONS, "restartable": {"type": "list", "elements": "str", "default": []}}

    def act(self, result: dict[str, Any], options: dict[str, Any], variables: dict[str, Any]) -> dict[str, Any]:
        mesh = observe({**options, "check_servers": "all"}, variables)
        result.update(changed=False, **plain(asdict(plan_repair(mesh, options["restartable"]))))
        return result
