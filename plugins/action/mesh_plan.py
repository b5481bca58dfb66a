# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Plan the next stage of an operation, on the control node, for all servers at once."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ansible_collections.esync.mesh.plugins.module_utils._endpoints.registry import ENDPOINTS
from ansible_collections.esync.mesh.plugins.plugin_utils._action import ControlAction, show
from ansible_collections.esync.mesh.plugins.plugin_utils._control import (
    command_options,
    hosts_of,
    inventory_variables,
    is_our_playbook,
    mesh_group,
    mesh_name,
    mesh_reader,
    plan_of,
    refuse_debugging,
    refuse_selection,
    refuse_steps,
    refuse_strategy,
    refuse_unwritable_folders,
    say_folders,
    visited,
    with_ledger,
)
from ansible_collections.esync.mesh.plugins.plugin_utils._inventory.control_folders import settled
from ansible_collections.esync.mesh.plugins.plugin_utils._inventory.reading import cluster_facts, read_mesh
from ansible_collections.esync.mesh.plugins.plugin_utils._inventory.settings import CONTROL_PATHS
from ansible_collections.esync.mesh.plugins.plugin_utils._ledger.records import Ledger, difference, is_news
from ansible_collections.esync.mesh.plugins.plugin_utils._planning.beginning import run_of
from ansible_collections.esync.mesh.plugins.plugin_utils._planning.engine import Plan, advance, begin
from ansible_collections.esync.mesh.plugins.plugin_utils._planning.operations import OPERATIONS
from ansible_collections.esync.mesh.plugins.plugin_utils._planning.run import Run

OPTIONS: dict[str, Any] = {
    "operation": {"type": "str", "choices": list(OPERATIONS)},
    "plan": {"type": "str", "default": "__esync_plan"},
    "visit": {"type": "str", "default": "__esync_visit"},
}


class ActionModule(ControlAction):
    """Runs wholly on the control node; see the module's documentation."""

    SPEC = OPTIONS

    def act(self, result: dict[str, Any], options: dict[str, Any], variables: dict[str, Any]) -> dict[str, Any]:
        alive = set(variables.get("ansible_play_hosts") or ())
        before: Mapping[str, Any] = {}
        if options["operation"]:
            refuse_strategy(self._task)
            if is_our_playbook(self._task):
                refuse_selection(self._task, variables)
            refuse_steps()
            run = self._begin(options["operation"], variables)
            for name in CONTROL_PATHS:
                sources = [str(one) for one in variables.get("ansible_inventory_sources") or ()]
                run.mesh[name], warnings = settled(name, str(run.mesh[name]), sources)
                result["warnings"] = [*result.get("warnings", ()), *warnings]
            refuse_unwritable_folders(run)
            say_folders(run, self._home(run, variables))
        else:
            before = plan_of(variables, options["plan"])
            run = Run.from_json(before["state"])
        with with_ledger(run) as known:
            plan = advance(run, visited(before, variables, options["visit"]), alive)
        show(run.said)
        if self._task.diff and run.written:
            result["diff"] = difference(Ledger(Path(run.mesh["esync_ledger"])), known, run.written)
        if run.payloads:
            # Shared client keys, encrypted: nobody is to see them all the same.
            result["_ansible_no_log"] = True
        # For the next stage, and no reading for people: what it says is in its lines.
        result["_ansible_verbose_override"] = True
        result.update(changed=is_news(known, run.written), lines=run.said, **_told(run, plan))
        return result

    def _begin(self, operation: str, variables: dict[str, Any]) -> Run:
        reader = mesh_reader(self._loader, variables)
        group = mesh_group(reader, variables)
        hosts = hosts_of(group, variables)
        in_run = [str(host) for host in variables.get("ansible_play_hosts_all") or ()]
        read = read_mesh(reader, group, hosts, [host for host in in_run if host not in hosts])
        refuse_debugging(reader, hosts)
        run = run_of(operation, read, cluster_facts(read.clusters), bool(self._task.check_mode))
        batch, alive = (
            [str(host) for host in variables.get(f"ansible_play_{name}") or ()] for name in ("batch", "hosts")
        )
        run.mesh["options"] = command_options(group, variables)
        run.mesh["name"] = mesh_name(group, self._home(run, variables))
        begin(run, in_run, batch, alive)
        return run

    @staticmethod
    def _home(run: Run, variables: Mapping[str, Any]) -> Mapping[str, Any]:
        """What says where the inventory is. The task may run on an implicit localhost, which is from none."""
        return inventory_variables(run.members[0].host, variables) if run.members else variables


def _endpoint_packages(settings: Mapping[str, Any]) -> list[str]:
    """What is installed if there is none of the product of a server's endpoint."""
    return list(settings["esync_endpoint_packages"] or ENDPOINTS[settings["esync_endpoint"]].product.packages)


def _told(run: Run, plan: Plan) -> dict[str, Any]:
    servers = {one.host: one for one in run.servers.values()}
    part = "stage" if plan.visits and not plan.last else "last" if plan.visits else "report"
    return {
        "stage": f"{run.operation} {run.position}",
        "title": plan.title or "Nothing is left to do",
        "part": part,
        "visits": {
            host: {
                "name": servers[host].name,
                "directory": servers[host].settings["esync_directory"],
                "clock_ahead": servers[host].clock_ahead,
                "install": OPERATIONS[run.operation].installs and servers[host].settings["esync_install_dependencies"],
                "packages": servers[host].settings["esync_dependencies"],
                "endpoint_packages": _endpoint_packages(servers[host].settings),
                "steps": steps,
            }
            for host, steps in plan.visits.items()
        },
        "timeout": int(run.mesh["esync_visit_timeout"] + plan.seconds),
        "batch": plan.batch,
        "keep": plan.keep,
        "check": plan.check,
        "state": run.to_json(),
    }
