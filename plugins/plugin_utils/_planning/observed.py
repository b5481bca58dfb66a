# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The mesh as a run found it, made from what every server returned."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from ansible_collections.esync.mesh.plugins.module_utils._core.errors import EsyncError
from ansible_collections.esync.mesh.plugins.module_utils._core.names import CURRENT, ROLES, SHARED_KEYS
from ansible_collections.esync.mesh.plugins.plugin_utils._inventory.membership import Cluster
from ansible_collections.esync.mesh.plugins.plugin_utils._ledger.pending import pending_updates_of
from ansible_collections.esync.mesh.plugins.plugin_utils._ledger.records import LedgerRecord
from ansible_collections.esync.mesh.plugins.plugin_utils._planning import steps
from ansible_collections.esync.mesh.plugins.plugin_utils._planning.run import (
    FAILED,
    NOT_IN_RUN,
    OK,
    TEMPORARY,
    Run,
    Server,
)
from ansible_collections.esync.mesh.plugins.plugin_utils._planning.shared_keys import InstalledKeys, plan_shared_keys
from ansible_collections.esync.mesh.plugins.plugin_utils._report.builder import ReportBuilder
from ansible_collections.esync.mesh.plugins.plugin_utils._report.conclusions import view_of
from ansible_collections.esync.mesh.plugins.plugin_utils._report.findings import ServerFindings, problems_of
from ansible_collections.esync.mesh.plugins.plugin_utils._report.model import Mesh, ReportServer
from ansible_collections.esync.mesh.plugins.plugin_utils._wording import abbreviated, with_options

_TIME = "%Y-%m-%dT%H:%M:%SZ"


def mesh_of(run: Run) -> Mesh:
    """Every pair, tested or not, and everything that is wrong with servers."""
    checked = run.report_mode not in ("in_part", "never", "")
    builder = ReportBuilder(
        [_server(run, one) for one in run.members], _endpoint_of(run), [_cluster(one) for one in run.clusters]
    )
    for one in run.members:
        takes_part = one.state == OK
        builder.add(
            one.name,
            one.results if takes_part else (),
            one.refusals if takes_part else (),
            one.calls if takes_part else (),
            # In the middle of a rotation the trust may be newer than what was read of it.
            view=view_of(_read(one), {}, run.baseline is None) if takes_part else None,
            version=str(one.read["product_version"]) if one.read.get("product_version") else None,
            problems=problems_of(_findings(run, one, checked)),
        )
    mesh = builder.finish(
        pending=pending_updates_of(run.names, run.ledger),
        servers_checked=checked,
        trust_model=run.model,
        name=str(run.mesh.get("name", "")),
    )
    options = str(run.mesh.get("options", ""))
    return replace(
        mesh,
        operation=f"{run.operation} --check" if run.check else run.operation,
        options=options,
        problems=tuple(replace(one, command=with_options(one.command, options)) for one in mesh.problems),
        certificates={name: _identity(run.ledger.get(name)) for name in run.names},
    )


def _identity(record: LedgerRecord | None) -> str:
    """What changes when a server's current certificates are replaced; empty if the ledger has none."""
    current = [one for one in record.generations if one.state == CURRENT] if record else []
    return " ".join(str(one.certificates[role]["fingerprint"])[:16] for one in current for role in ROLES)


def notes_of_alone(run: Run, mesh: Mesh) -> list[str]:
    """What to know of a run that had only one server and proved nothing, which looks like a success of the others."""
    here = [one.name for one in run.members if one.state != NOT_IN_RUN]
    if len(here) != 1 or not mesh.proved_nothing:
        return []
    return [
        f"Only {here[0]} was in this run. A mesh is made by one run, on one control node, over the whole group. Where "
        "every host runs the playbook for itself (ansible-pull), each has a ledger of its own, and no server learns of "
        "another."
    ]


def notes_of_connections(run: Run) -> list[str]:
    """How many connections were ended because of the certificates that opened them."""
    ended = [one for one in run.servers.values() if one.connections]
    if not ended:
        return []
    counts = [sum(one.connections[key] for one in ended) for key in ("ended", "spared")]
    restarted = [one.name for one in ended if one.connections["restarted"]]
    return [
        f"Connections that were opened with certificates which are not trusted any more: {counts[0]:,} ended at "
        f"{abbreviated([one.name for one in ended])}, {counts[1]:,} others go on."
        + (
            f" The endpoint of {abbreviated(restarted)} had to be restarted for it, with all of its connections."
            if restarted
            else ""
        )
    ]


def _endpoint_of(run: Run) -> str:
    """Which ends have to be in the run for a pair to be tested: both with the temporary endpoint."""
    return TEMPORARY if any(not one.resident for one in run.members) else "resident"


def _server(run: Run, server: Server) -> ReportServer:
    state = server.state
    if state == OK and server.errors:
        state = FAILED
    elif state == OK and server.read.get("readable") is False and not server.results:
        state = "unreadable"
    sites = tuple(str(site["name"]) for site in server.sites)
    return ReportServer(server.name, server.address, server.port, state, _end_of(run.ledger.get(server.name)), sites)


def _read(server: Server) -> dict[str, Any]:
    """What was read there, with what its endpoint serves."""
    return {**server.read, "observed": server.endpoint if server.endpoint and "served" in server.endpoint else None}


def _findings(run: Run, server: Server, checked: bool) -> ServerFindings:
    now = datetime.datetime.strptime(run.control.now, _TIME)
    soon = now + datetime.timedelta(days=int(server.settings["esync_renew_before_days"]))
    missing, unexpected = _shared(run, server)
    found = server.state != NOT_IN_RUN
    return ServerFindings(
        server.name,
        _read(server) if found else {},
        _planned(run, server) if found and server.read else {},
        run.ledger.get(server.name),
        server.errors if found else [],
        checked,
        run.control.now,
        soon.strftime(_TIME),
        float(run.mesh["esync_max_clock_skew"]),
        missing,
        unexpected,
    )


def _planned(run: Run, server: Server) -> dict[str, Any]:
    """What establish would change of its trust."""
    try:
        plan = steps.trust_of(run, server, run.accepts)
    except EsyncError:
        return {}  # the ledger is lost, and says so of every server
    return {
        "added": [one.file_name for one in plan.added],
        "removed": [one.file_name for one in plan.removed],
        "kept": list(plan.kept),
    }


def _shared(run: Run, server: Server) -> tuple[Sequence[str], Sequence[str]]:
    """The shared client keys that a server should hold and does not, and those that it should not hold."""
    installed = InstalledKeys.read(server.read.get("shared"))
    if run.model != SHARED_KEYS:
        return [], [entry.stem for entry in installed.entries]
    plan = plan_shared_keys(server.name, run.names, run.ledger, installed)
    wanted = {entry.fingerprint for entry in plan.wanted}
    surplus = [entry.stem for entry in installed.entries if entry.fingerprint not in wanted]
    return [entry.stem for entry in plan.missing], surplus


def _cluster(given: dict[str, Any]) -> Cluster:
    members = tuple(str(name) for name in given["members"])
    return Cluster(str(given["name"]), str(given["address"]), int(given["port"]), members)


def _end_of(record: LedgerRecord | None) -> str | None:
    ends = [
        str(facts["not_after"])
        for generation in (record.generations if record else ())
        if generation.state == CURRENT
        for facts in generation.certificates.values()
    ]
    return min(ends, default=None)
