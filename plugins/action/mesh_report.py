# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""End an operation on the control node: the verdict, the report's files, and the failure if the mesh does not hold."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ansible_collections.esync.mesh.plugins.module_utils._core.errors import EsyncError
from ansible_collections.esync.mesh.plugins.plugin_utils._action import ControlAction, show
from ansible_collections.esync.mesh.plugins.plugin_utils._control import plan_of, visited, with_ledger
from ansible_collections.esync.mesh.plugins.plugin_utils._ledger.records import is_news
from ansible_collections.esync.mesh.plugins.plugin_utils._planning.engine import conclude
from ansible_collections.esync.mesh.plugins.plugin_utils._planning.observed import (
    mesh_of,
    notes_of_alone,
    notes_of_connections,
)
from ansible_collections.esync.mesh.plugins.plugin_utils._planning.run import Run
from ansible_collections.esync.mesh.plugins.plugin_utils._report.ending import verdict_of
from ansible_collections.esync.mesh.plugins.plugin_utils._report.formats import write_reports

OPTIONS: dict[str, Any] = {
    "plan": {"type": "str", "default": "__esync_plan"},
    "visit": {"type": "str", "default": "__esync_visit"},
}


class ActionModule(ControlAction):
    """Runs wholly on the control node; see the module's documentation."""

    SPEC = OPTIONS

    def act(self, result: dict[str, Any], options: dict[str, Any], variables: dict[str, Any]) -> dict[str, Any]:
        before = plan_of(variables, options["plan"])
        run = Run.from_json(before["state"])
        with with_ledger(run) as known:
            conclude(run, visited(before, variables, options["visit"]), set(variables.get("ansible_play_hosts") or ()))
        show(run.said)
        result.update(changed=is_news(known, run.written))
        if not run.tests:
            result.update(msg="No pair is tested in check mode.")
            if run.failures:
                result.update(failed=True, msg="\n".join(run.failures))
            return result
        mesh = mesh_of(run) if run.report_mode else None
        if mesh is not None:
            # The verdict first: it must not be lost where the files cannot be written.
            folder = Path(run.mesh["esync_report_directory"])
            # What a repair would do fails nothing, as long as it only is to be seen.
            found = verdict_of(mesh, "never" if run.check else run.report_mode, str(folder / "mesh.html"))
            run.notes += [*notes_of_connections(run), *notes_of_alone(run, mesh)]
            # What was done, and the verdict as the last line.
            show(["", *found.lines[:-1], *run.notes, found.lines[-1]])
            result.update(found.facts)
            if found.failed:
                run.failures.append(found.message)
            else:
                result.update(msg=found.message)
            try:
                told = write_reports(mesh, folder, run.control.now)
                show([*told, *([] if found.failed else [f"The report is {found.facts['path']}"])])
                run.notes += told
            except EsyncError as error:
                run.failures.append(f"The report was not written: {error}")
        else:
            show(run.notes)
        if run.notes:
            result["notes"] = run.notes
        if run.failures:
            result.update(failed=True, msg="\n".join(run.failures))
        return result
