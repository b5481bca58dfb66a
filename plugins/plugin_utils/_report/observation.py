# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Make the result of a run from what the hosts registered, one host after the other."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ansible_collections.esync.mesh.plugins.module_utils._core.names import SHARED_KEYS
from ansible_collections.esync.mesh.plugins.plugin_utils._action import plain
from ansible_collections.esync.mesh.plugins.plugin_utils._inventory.membership import Cluster
from ansible_collections.esync.mesh.plugins.plugin_utils._ledger.records import Ledger, LedgerRecord
from ansible_collections.esync.mesh.plugins.plugin_utils._planning.shared_keys import HeldKeys, plan_handed
from ansible_collections.esync.mesh.plugins.plugin_utils._planning.trust import pending_updates_of
from ansible_collections.esync.mesh.plugins.plugin_utils._report.builder import ReportBuilder
from ansible_collections.esync.mesh.plugins.plugin_utils._report.conclusions import view_of
from ansible_collections.esync.mesh.plugins.plugin_utils._report.findings import Problem, ServerFindings, problems_of
from ansible_collections.esync.mesh.plugins.plugin_utils._report.model import Mesh, ReportServer

OPTIONS: dict[str, Any] = {
    "members": {"type": "list", "elements": "dict", "required": True},
    "clusters": {"type": "list", "elements": "dict", "default": []},
    "endpoint": {"type": "str", "choices": ["temporary", "nginx", "external"], "default": "temporary"},
    "ledger": {"type": "path", "required": True},
    "baseline": {"type": "list", "elements": "str"},
    "check_servers": {"type": "str", "choices": ["in_part", "all", "all_and_fail"], "default": "in_part"},
    "trust_model": {"type": "str", "choices": ["pinned", "shared_keys"], "default": "pinned"},
    "max_clock_skew": {"type": "float", "default": 300},
    "renew_before_days": {"type": "int", "default": 30},
    "group": {"type": "str", "default": "esync"},
    "name": {"type": "str"},
    "directory": {"type": "path"},
}
"""The options of every action that begins with ``observe``."""

DAY = 86400


@dataclass(frozen=True)
class _Host:
    """What one host registered.

    :param read: the result of the first call. :param trust: that of peer_trust. :param probe: that of peer_probe.
    :param failures: the errors by which its part of the run ended.
    :param present: whether it is still in the run: what others registered may be of an earlier step.
    """

    state: str
    read: Mapping[str, Any] = field(default_factory=dict)
    failures: Sequence[Mapping[str, Any]] = ()
    trust: Mapping[str, Any] = field(default_factory=dict)
    probe: Mapping[str, Any] = field(default_factory=dict)
    present: bool = False


def utc(seconds: float) -> str:
    """A time as reports have it, such as ``2027-11-23T19:00:00Z``."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


def observe(options: Mapping[str, Any], variables: Mapping[str, Any]) -> Mesh:
    """The mesh as the hosts of this play registered it.

    :param options: those of OPTIONS. :param variables: those of the task, with ``hostvars``.
    """
    ledger = {record.name: record for record in Ledger(Path(options["ledger"])).read_all()}
    servers = [_server(member, ledger) for member in options["members"]]
    builder = ReportBuilder(servers, options["endpoint"], [_cluster(one) for one in options["clusters"]])
    alive, batch, everybody = (
        frozenset(variables.get(name) or ())
        for name in ("ansible_play_hosts", "ansible_play_batch", "ansible_play_hosts_all")
    )
    for member, server in zip(options["members"], servers):
        name = member["host"]
        host = _host(name in everybody - alive, name in batch, variables["hostvars"][name])
        problems = _problems(server.name, host, options, ledger)
        builder.add(
            server.name,
            host.probe.get("results") or (),
            host.probe.get("refusals") or (),
            host.probe.get("clusters") or (),
            state=host.state,
            # In the middle of a rotation the trust may be newer than what was read of it.
            view=view_of(host.read, host.trust, options["baseline"] is None) if host.present else None,
            version=str(host.read["product_version"]) if host.present and host.read.get("product_version") else None,
            problems=problems,
        )
    return builder.finish(
        pending=pending_updates_of([server.name for server in servers], ledger),
        servers_checked=options["check_servers"] != "in_part",
        trust_model=options["trust_model"],
        name=mesh_name(options["group"], variables),
    )


def mesh_name(group: str, variables: Mapping[str, Any]) -> str:
    """The mesh for people: ``<group> of <inventory>``."""
    source = str(variables.get("inventory_file") or variables.get("inventory_dir") or "the inventory")
    return f"{group} of {Path(source).name}"


def _server(member: Mapping[str, Any], ledger: Mapping[str, LedgerRecord]) -> ReportServer:
    name = str(member["name"])
    sites = tuple(str(site["name"]) for site in member.get("sites") or ())
    return ReportServer(
        name, str(member["address"]), int(member["port"]), "not_in_run", _expiry(ledger.get(name)), sites
    )


def _host(gone: bool, present: bool, own: Mapping[str, Any]) -> _Host:
    """:param gone: it failed earlier in this run. :param present: it is still in the run. :param own: its variables."""
    read = plain(own.get("__esync_set") or {})
    failures = _failures(read, plain(own.get("__esync_failure") or []))
    if read.get("unreachable"):
        return _Host("unreachable", read, failures)
    if gone:
        return _Host("failed", read, failures)
    if not present:
        return _Host("not_in_run")
    probe = plain(own.get("__esync_probe") or {})
    closed = read.get("readable") is False and not probe.get("results")
    state = "failed" if failures else "unreadable" if closed else "ok"
    return _Host(state, read, failures, plain(own.get("__esync_trust") or {}), probe, present=True)


def _problems(name: str, host: _Host, options: Mapping[str, Any], ledger: Mapping[str, LedgerRecord]) -> list[Problem]:
    now = time.time()
    missing, unexpected = _shared_keys(options, name, host.read, ledger)
    return problems_of(
        ServerFindings(
            name,
            read={} if host.read.get("failed") else host.read,
            planned=host.trust,
            record=ledger.get(name),
            failures=host.failures,
            at_rest=options["check_servers"] != "in_part",
            now=utc(now),
            soon=utc(now + options["renew_before_days"] * DAY),
            max_clock_skew=options["max_clock_skew"],
            shared_keys_missing=missing,
            shared_keys_unexpected=unexpected,
        )
    )


def _shared_keys(
    options: Mapping[str, Any], name: str, read: Mapping[str, Any], ledger: Mapping[str, LedgerRecord]
) -> tuple[list[str], list[str]]:
    """The shared client keys of its peers that a server should have and does not, and those that it should not have."""
    held = HeldKeys.read(read.get("handed"))
    if options["trust_model"] != SHARED_KEYS:
        return [], [entry.stem for entry in held.entries]
    plan = plan_handed(name, [str(member["name"]) for member in options["members"]], ledger, held)
    wanted = {entry.fingerprint for entry in plan.wanted}
    return [entry.stem for entry in plan.lacking], [one.stem for one in held.entries if one.fingerprint not in wanted]


def _cluster(given: Mapping[str, Any]) -> Cluster:
    members = tuple(str(name) for name in given["members"])
    return Cluster(str(given["name"]), str(given["address"]), int(given["port"]), members)


def _failures(read: Mapping[str, Any], kept: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The errors by which a host's part of the run ended, of the first call or kept by the step that went on."""
    if kept or not read.get("failed"):
        return kept
    errors = read.get("errors") or [read.get("error")]
    return [error for error in errors if error and error.get("kind") != "unexpected"]


def _expiry(record: LedgerRecord | None) -> str | None:
    ends = [
        str(facts["not_after"])
        for generation in (record.generations if record else ())
        if generation.state == "current"
        for facts in generation.certificates.values()
    ]
    return min(ends, default=None)
