# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Report every directed pair, on the control node, and fail the play if the mesh does not work."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from ansible.utils.display import Display

from ansible_collections.esync.mesh.plugins.plugin_utils._action import ControlAction
from ansible_collections.esync.mesh.plugins.plugin_utils._report.formats import write_reports
from ansible_collections.esync.mesh.plugins.plugin_utils._report.model import verdict
from ansible_collections.esync.mesh.plugins.plugin_utils._report.observation import OPTIONS, observe, utc
from ansible_collections.esync.mesh.plugins.plugin_utils._report.outcome import facts, outcome_of, worked
from ansible_collections.esync.mesh.plugins.plugin_utils._report.terminal import terminal


class ActionModule(ControlAction):
    """Runs entirely on the control node; see the module's documentation."""

    SPEC = {
        **OPTIONS,
        "report_directory": {"type": "path", "required": True},
        "title": {"type": "str"},
        "fail": {"type": "bool", "default": True},
    }

    def act(self, result: dict[str, Any], options: dict[str, Any], variables: dict[str, Any]) -> dict[str, Any]:
        if self._task.check_mode:
            result.update(changed=False, msg="No pair is tested in check mode.", worked=[], worse=[])
            return result
        mesh = observe(options, variables)
        folder = Path(options["report_directory"])
        write_reports(mesh, folder, utc(time.time()))
        lines = terminal(mesh)
        _show(options["title"], lines)
        outcome = outcome_of(mesh, options["baseline"], options["check_servers"] == "all_and_fail")
        result.update(changed=False, worse=list(outcome.worse), path=str(folder / "mesh.json"), **facts(mesh))
        if not options["fail"]:
            result.update(worked=worked(mesh))
        if options["fail"] and outcome.failed:
            # Ansible prints a failed result completely: so without the matrix, which stands above.
            result.update(failed=True, msg=outcome.message)
        else:
            result.update(matrix=lines, msg=f"{verdict(mesh)} The report is {folder / 'mesh.html'}")
        return result


def _show(title: str | None, lines: list[str]) -> None:
    display = Display()
    display.display("")
    for line in [f"{title}:"] * bool(title) + lines:
        display.display(line)
    display.display("")
