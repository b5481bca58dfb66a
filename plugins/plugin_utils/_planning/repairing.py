# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The stages of repair, between the two examinations."""

from __future__ import annotations

from ansible_collections.esync.mesh.plugins.plugin_utils._planning import records, stages, steps
from ansible_collections.esync.mesh.plugins.plugin_utils._planning.observed import mesh_of
from ansible_collections.esync.mesh.plugins.plugin_utils._planning.repair import plan_repair
from ansible_collections.esync.mesh.plugins.plugin_utils._planning.run import Run
from ansible_collections.esync.mesh.plugins.plugin_utils._planning.stages import Visits
from ansible_collections.esync.mesh.plugins.plugin_utils._report.problem_kinds import EXCHANGE, RENEW, RESTART, RESTORE
from ansible_collections.esync.mesh.plugins.plugin_utils._report.terminal import terminal


def plan(run: Run) -> None:
    """Plan the repair of what was found, and show the plan."""
    mesh = mesh_of(run)
    found = plan_repair(mesh, [one.name for one in run.present if steps.can_restart(one)])
    run.repairs = {name: list(actions) for name, actions in found.servers.items()}
    run.disputed = sorted({*run.disputed, *found.disputed})
    run.say("Before the repair:", *terminal(mesh), "The repair:", *found.lines)
    run.ended = run.check or not run.repairs
    for server in run.present if not run.ended else ():
        server.errors = []
        # What it served was a finding; it is touched only where the plan says so, or because something changed.
        server.endpoint = {"reasons": []}


def _with(run: Run, *actions: str) -> list[str]:
    return [name for name, found in run.repairs.items() if set(found) & set(actions)]


def fix_sets(run: Run) -> Visits:
    """Restore files and modes, or make new sets, where the plan says so; which of them, the host decides then."""
    if run.ended:
        return {}
    return {
        server.name: [steps.certificate_set(run, server, renew=False, repair=server.name in _with(run, RENEW, RESTORE))]
        for server in run.present
        if server.name in _with(run, RENEW, RESTORE, EXCHANGE)
    }


def keep_errors(run: Run) -> None:
    """What could not be done fails the run, whatever the examination that follows finds."""
    for server in run.present:
        # A host has no say in whose error it is.
        named = [{**error, "server": server.name} for error in server.errors]
        run.failures += [records.message_of(error) for error in named]
        server.errors = []


def forget_fetched(run: Run) -> None:
    """Likewise, at the end of what hands shared client keys over."""
    keep_errors(run)
    stages.forget_fetched(run)


def record(run: Run) -> None:
    """Record what was made, where the plan says so."""
    named = _with(run, RENEW, EXCHANGE)
    stages.record_sets(run, [one for one in run.present if one.name in named], accept=_with(run, RENEW))


def apply(run: Run) -> Visits:
    """Bring the trust up to date, and stop and start endpoints where the plan says so."""
    if exchanges(run):
        return stages.exchange(run, listen=False, restart=_with(run, RESTART))
    restart = _with(run, RESTART)
    return stages.visits_of(run, run.present, lambda one: stages.endpoint_steps(run, one, one.name in restart))


def exchanges(run: Run) -> bool:
    """Whether certificates are exchanged."""
    return bool(_with(run, RENEW, EXCHANGE)) and not run.check


def has_repaired(run: Run) -> bool:
    """Whether anything was done, so that everything is examined once more."""
    return bool(run.repairs) and not run.check
