# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""From stage to stage: record what the visits returned, conclude, announce, and plan the next visits."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from ansible_collections.esync.mesh.plugins.module_utils._store.indexed_folder import digest_of
from ansible_collections.esync.mesh.plugins.module_utils._store.shared_sets import entries_from as shared_entries
from ansible_collections.esync.mesh.plugins.plugin_utils._planning import steps
from ansible_collections.esync.mesh.plugins.plugin_utils._planning.beginning import (
    refuse_bad_batch,
    refuse_unknown_names,
)
from ansible_collections.esync.mesh.plugins.plugin_utils._planning.distrust import hold_against_ledger
from ansible_collections.esync.mesh.plugins.plugin_utils._planning.operations import OPERATIONS
from ansible_collections.esync.mesh.plugins.plugin_utils._planning.repair import NOT_LOADED
from ansible_collections.esync.mesh.plugins.plugin_utils._planning.run import (
    FAILED,
    NOT_IN_RUN,
    OK,
    UNREACHABLE,
    Run,
    Server,
    names_of,
)
from ansible_collections.esync.mesh.plugins.plugin_utils._planning.stages import (
    KEEP,
    STOP_ALL,
    STOP_IF_FAILED,
    Stage,
    Visits,
    forget_fetched,
    note_disputed,
)
from ansible_collections.esync.mesh.plugins.plugin_utils._wording import abbreviated


@dataclass(frozen=True)
class Visited:
    """What came back from one host, as records.parse made it.

    :param state: ``ok``, ``failed`` or ``unreachable``.
    :param results: of the steps that were done. :param errors: why it ended before its end.
    """

    state: str
    results: list[dict[str, Any]] = field(default_factory=list)
    errors: list[dict[str, Any]] = field(default_factory=list)


@dataclass(frozen=True)
class Plan:
    """The next stage.

    :param title: in words; empty: there is none.
    :param visits: inventory host to the steps of its visit.
    :param seconds: what one visit may take beyond the usual time, because of what it tests.
    :param batch: how many hosts may be visited at the same time; 0: any number.
    :param keep: whether a failure is kept instead of ending the host's part.
    :param check: whether the visits change nothing. :param last: whether no other stage can follow.
    """

    title: str = ""
    visits: Mapping[str, list[dict[str, Any]]] = field(default_factory=dict)
    seconds: float = 0
    batch: int = 0
    keep: bool = False
    check: bool = False
    last: bool = False


def advance(run: Run, visited: Mapping[str, Visited], alive: Collection[str]) -> Plan:
    """Conclude the stage that was, and plan the next one.

    :param run: changed in place. :param visited: inventory host to what came back.
    :param alive: the hosts that Ansible has not given up.
    :raises EsyncError: what ends the run for all.
    """
    if run.position < 0:
        refuse_unknown_names(run)
        refuse_bad_batch(run)
    conclude(run, visited, alive)
    table = OPERATIONS[run.operation].stages
    for position in range(run.position + 1, len(table)):
        if run.ended:
            break
        run.position, stage = position, table[position]
        if not stage.when(run):
            continue
        visits = _prepared(run, stage)
        if visits:
            return _planned(run, stage, visits, position == len(table) - 1)
        if not run.ended:
            stage.conclude(run)
    run.ended = True
    forget_fetched(run)
    return Plan(check=run.check)


def _prepared(run: Run, stage: Stage) -> Visits:
    """Announce a stage, and plan its visits. What a server's own word spoils counts as a failure of its visit."""
    there = names_of(run.present)
    stage.announce(run)
    visits = {name: made for name, made in stage.visit(run).items() if made} if not run.ended else {}
    failed = [name for name in there if run.servers[name].state != OK]
    if failed and stage.failure in (STOP_ALL, STOP_IF_FAILED):
        _stop(run, stage, failed)
    return {} if run.ended else visits


def _stop(run: Run, stage: Stage, failed: Sequence[str]) -> None:
    run.ended = True
    run.failures.append(
        f"{', '.join(failed)} could not do its part ({stage.title}), so the run stops here for all servers; what "
        "served before goes on serving. Repair the cause and run the playbook again."
    )


def begin(run: Run, in_run: Collection[str], batch: Collection[str], alive: Collection[str] | None = None) -> None:
    """Note who takes part.

    :param in_run: the hosts of the play. :param batch: those of them whose turn it is (``serial``).
    :param alive: those of the play that have not failed before; None: all of them.
    """
    operation = OPERATIONS[run.operation]
    run.report_mode, run.tests_in_check_mode = operation.report_mode, operation.tests_in_check_mode
    for server in run.servers.values():
        server.state = OK if server.host in in_run and server.host in batch else NOT_IN_RUN
        if server.host in in_run and alive is not None and server.host not in alive:
            server.state = FAILED


def conclude(run: Run, visited: Mapping[str, Visited], alive: Collection[str]) -> None:
    """Record what came back from the visits of the last stage, and demand what has to be proved.

    :raises EsyncError: what ends the run for all.
    """
    if run.position < 0 or run.ended:
        return
    operation = OPERATIONS[run.operation]
    stage = operation.stages[run.position]
    failed = []
    for server in run.servers.values():
        found = visited.get(server.host)
        if server.state == OK and found is not None:
            _record_visit(run, server, found, stage)
        if server.state == OK and server.host not in alive:
            server.state = FAILED
        if found is not None and server.state != OK:
            failed.append(server)
    _let_listeners_end(run, visited)
    if operation.writes_trust and not run.check:
        _note_what_is_not_loaded(run, visited)
    if stage.failure == STOP_IF_FAILED:
        # Nobody waits for a server that is away; it receives later what is missing.
        failed = [server for server in failed if not server.away]
    if failed and stage.failure in (STOP_ALL, STOP_IF_FAILED):
        _stop(run, stage, names_of(failed))
        return
    if operation.writes_trust:
        hold_against_ledger(run)
        note_disputed(run)
    stage.conclude(run)


def _note_what_is_not_loaded(run: Run, visited: Mapping[str, Visited]) -> None:
    """Note whose endpoints failed a test, until they were reloaded: what a host has noted of a reload is no proof."""
    wrong = {}
    for server in run.servers.values():
        for result in visited[server.host].results if server.host in visited else ():
            if result["step"] == "endpoint" and "served" not in result and not result.get("tag"):
                wrong[server.name] = False
    for found in visited.values():
        for result in found.results:
            if result["step"] == "peer_probe" and result.get("tag") in (None, "refused"):
                failed = [pair for pair in result.get("results") or () if pair["verdict"] == "failed"]
                wrong.update({pair["to"]: True for pair in failed if pair.get("cause") in NOT_LOADED})
    for name, not_loaded in wrong.items():
        record = run.ledger.get(name)
        if record and name in run.servers and run.servers[name].serves and record.not_loaded != not_loaded:
            run.record(replace(record, not_loaded=not_loaded))


def _record_visit(run: Run, server: Server, found: Visited, stage: Stage) -> None:
    server.errors = list(found.errors)
    if found.state == UNREACHABLE:
        server.state = UNREACHABLE
        return
    for result in found.results:
        if not result.get("skipped"):
            _absorb(run, server, result)
        elif result["step"] == "probe_listener":
            server.listening = False
    if found.state == FAILED:
        server.listening = False
        # Nobody waits twice for a host that hangs.
        if stage.failure != KEEP or server.away:
            server.state = FAILED


def _absorb(run: Run, server: Server, result: Mapping[str, Any]) -> None:
    step, tag = result["step"], result.get("tag")
    said = {key: value for key, value in result.items() if key not in ("step", "tag", "clock_ahead")}
    if step in ("certificate_set", "certificate_info"):
        server.clock_ahead = result.get("clock_ahead", server.clock_ahead)
        server.read = said
        server.changed = server.changed or (bool(said.get("changed")) and not run.check)
    elif step == "peer_trust":
        if not run.check:
            remembered = [*map(asdict, server.remembered), *server.told]
            server.read["trust"] = {"digest": said["digest"], "entries": server.sent, "distrusted": remembered}
        server.sent, server.told = None, []
    elif step == "endpoint":
        _absorb_connections(server, said.pop("connections", {}))
        if tag == "watched":
            server.watched = {"presented": said.get("presented"), "calls": said.get("calls") or []}
        if not tag:
            server.endpoint = said
            server.changed = False
    elif step == "probe_listener":
        server.changed = False
    elif step == "name_resolution_info":
        server.unresolved = said["unresolved"]
    elif step == "peer_probe":
        _absorb_probe(server, said, tag)
    elif step == "shared_client_sets":
        _absorb_shared(run, server, said, tag)
    else:
        server.folder = said


def _absorb_connections(server: Server, said: Mapping[str, Any]) -> None:
    """What became of open connections, over all visits."""
    for key in ("ended", "spared", "restarted") if said.get("ended") else ():
        server.connections[key] = int(server.connections.get(key, 0)) + int(said[key])


def _absorb_probe(server: Server, said: Mapping[str, Any], tag: str | None) -> None:
    results = list(said.get("results") or ())
    if tag == "refused":
        server.refused = results
    elif tag == "external":
        server.external = results
    else:
        server.results = results
        server.refusals = list(said.get("refusals") or ())
        server.calls = list(said.get("clusters") or ())


def _absorb_shared(run: Run, server: Server, said: Mapping[str, Any], tag: str | None) -> None:
    if tag == "fetched":
        # A host's word counts for its own sets alone.
        record = run.ledger.get(server.name)
        own = record.fingerprints if record else frozenset()
        run.payloads.update({key: text for key, text in (said.get("sets") or {}).items() if key in own})
    elif not run.check:
        server.read["shared"] = _held(run, server, said.get("rejected") or {})


def _held(run: Run, server: Server, rejected: Mapping[str, str]) -> dict[str, Any] | None:
    """The shared client keys that a server holds, of those that it was sent."""
    sent = server.sent_keys
    if not (sent and rejected):
        return sent
    wrong = [one for one in sent["entries"] if one["fingerprint"] in rejected]
    causes = abbreviated([f"{one['peer']}: {rejected[one['fingerprint']]}" for one in wrong])
    run.failures.append(
        f"{server.name} does not hold client sets of its peers, because what they sent is none ({causes}). Set the "
        "same esync_pfx_passphrase for the whole mesh, and run establish again; if it comes back, run the check "
        "playbook for those peers."
    )
    entries = [one for one in sent["entries"] if one not in wrong]
    return {**sent, "digest": digest_of(shared_entries(entries)), "entries": entries} if entries else None


def _let_listeners_end(run: Run, visited: Mapping[str, Visited]) -> None:
    """A temporary endpoint may end when it was served what it waited for, so a test uses it up."""
    if any(result["step"] == "peer_probe" for found in visited.values() for result in found.results):
        for server in run.servers.values():
            server.listening = False


def _planned(run: Run, stage: Stage, visits: Visits, last: bool) -> Plan:
    servers = run.servers
    if any(one.get("step") == "peer_probe" and "tag" not in one for made in visits.values() for one in made):
        # Results grow with the square of the mesh: those that are about to be replaced are not kept.
        for server in servers.values():
            server.results, server.refusals, server.calls = [], [], []
    return Plan(
        title=stage.title,
        visits={servers[name].host: made for name, made in visits.items()},
        seconds=max(steps.waiting_seconds(made) for made in visits.values()),
        batch=_batch(run, visits),
        keep=stage.failure == KEEP,
        check=not run.tests,
        last=last,
    )


_QUIET = ("observed", "drained", "watched")
"""The states of the step endpoint in which nothing reloads."""


def _batch(run: Run, visits: Visits) -> int:
    """How many endpoints may reload at the same moment; 0 if none does."""
    reloading = [
        name
        for name, made in visits.items()
        if any(one.get("step") == "endpoint" and one["options"]["state"] not in _QUIET for one in made)
    ]
    if not reloading or run.check:
        return 0
    if any(site["restarts"] for name in reloading for site in run.servers[name].sites):
        # While a service restarts, what it serves is down: never at two servers at once.
        return 1
    wanted = str(run.mesh["esync_reload_batch"]).strip()
    if wanted.endswith("%"):
        return max(1, int(wanted[:-1]) * len(run.present) // 100)
    return max(1, int(wanted))
