# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Plan on the control node what can be mended, from the report of a check."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ansible_collections.esync.mesh.plugins.module_utils._core.errors import EsyncError
from ansible_collections.esync.mesh.plugins.plugin_utils._action import ControlAction, plain
from ansible_collections.esync.mesh.plugins.plugin_utils._planning.repair import plan_repair

OPTIONS: dict[str, Any] = {
    "report": {"type": "path", "required": True},
    "restartable": {"type": "list", "elements": "str", "default": []},
}


class ActionModule(ControlAction):
    """Runs wholly on the control node; see the module's documentation."""

    SPEC = OPTIONS

    def act(self, result: dict[str, Any], options: dict[str, Any], variables: dict[str, Any]) -> dict[str, Any]:
        try:
            report = json.loads(Path(options["report"]).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            raise EsyncError(
                "the report cannot be read",
                "Correct esync_report_directory, and run again",
                kind="control_node_file",
                path=options["report"],
            ) from None
        result.update(changed=False, **plain(asdict(plan_repair(report, options["restartable"]))))
        return result
