# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The stages of establish, verify, check, gate, export and apply."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ansible_collections.esync.mesh.plugins.module_utils._core.errors import EsyncError, raise_all
from ansible_collections.esync.mesh.plugins.module_utils._core.names import SHARED_KEYS
from ansible_collections.esync.mesh.plugins.plugin_utils._inventory.setting_values import is_ip_address
from ansible_collections.esync.mesh.plugins.plugin_utils._inventory.settings import nearest
from ansible_collections.esync.mesh.plugins.plugin_utils._ledger.external_peers import AppliedSet, admit
from ansible_collections.esync.mesh.plugins.plugin_utils._planning import stages, steps
from ansible_collections.esync.mesh.plugins.plugin_utils._planning.run import (
    OK,
    UNREACHABLE,
    Run,
    Server,
    at_least_half,
    errors_of,
    names_of,
)
from ansible_collections.esync.mesh.plugins.plugin_utils._planning.stages import Visits
from ansible_collections.esync.mesh.plugins.plugin_utils._planning.steps import Step
from ansible_collections.esync.mesh.plugins.plugin_utils._planning.trust import refuse_other_model
from ansible_collections.esync.mesh.plugins.plugin_utils._wording import abbreviated

# -- establish ------------------------------------------------------------------------------------------------------


def discards(run: Run) -> bool:
    """Whether sets are to be destroyed at once."""
    return bool(run.mesh["discarding"])


def warn(run: Run) -> None:
    """Say what is destroyed, and what is down until the end of the run."""
    named = run.mesh["discarding"]
    here = [one.name for one in run.present if one.name in named]
    if not here:
        run.say(f"Not in this run: {', '.join(named)}. Nothing is destroyed.")
        return
    places = {one.name: len(one.places) for one in run.members}
    every = sum(places.values()) * (len(places) - 1)
    kept = {name: count for name, count in places.items() if name not in here}
    down = every - sum(kept.values()) * max(len(kept) - 1, 0)
    if run.check:
        run.say("Check mode: what follows would be done, nothing is.")
    run.say(
        f"WARNING: all keys and certificates of {', '.join(here)} are destroyed and generated again. The old ones "
        "cannot come back.",
        f"{down} of {every} pairs are down from that moment until the new certificates are exchanged and the endpoints "
        "have taken them up, at the end of this run.",
        "The regenerate playbook makes new certificates too, and no pair is down meanwhile.",
    )
    absent = [one.name for one in run.members if one.state != OK]
    if absent:
        run.say(
            f"Not in this run: {', '.join(absent)}. What they have stays as it is, and the pairs with them stay down "
            "until establish has been run over the whole group."
        )


def look(run: Run) -> Visits:
    """In check mode: what would stop the run later stops it while there is something to keep."""
    if run.check:
        return {}
    return {
        one.name: [steps.certificate_set(run, one, check=True, renew=False, discard_existing=_discards(run, one))]
        for one in run.present
    }


def generate(run: Run) -> Visits:
    """Generate the sets or keep them. Where nothing differs from the ledger, the same visit prepares the test."""

    def generated(server: Server) -> list[Step]:
        made = [steps.certificate_set(run, server, renew=False, discard_existing=_discards(run, server))]
        addresses = new_addresses(run, server)
        if addresses:
            # Whoever cannot find its peers makes nothing that would only be of use to them.
            resolving = steps.name_resolution_info(server, {*addresses.values()})
            made = [resolving, {**made[0], "when": {"resolved": True}}]
        settled = {"unchanged": True, "trust": steps.trust_of(run, server, known=False).digest}
        if server.serves:
            made.append(steps.endpoint(server, "observed", when=settled))
        if not server.resident and not run.check and run.counterparts(server):
            made.append(steps.probe_listener(run, server, when=settled))
        return made

    return stages.visits_of(run, run.present, generated)


def _discards(run: Run, server: Server) -> bool:
    return server.name in run.mesh["discarding"]


def new_addresses(run: Run, server: Server) -> dict[str, str]:
    """The names that a server has to resolve for the first time: peer to its address.

    An address that the ledger has is proved by the test of the pairs, and must not hold up what is established.
    """

    def is_known(one: Server) -> bool:
        record = run.ledger.get(one.name)
        return bool(record and record.generations and record.address == one.address)

    others = [one for one in run.present if one.name != server.name and not is_ip_address(one.address)]
    return {one.name: one.address for one in others if not (is_known(server) and is_known(one))}


def demand_resolved(run: Run) -> None:
    """Stop the run for all before anything is recorded, if peers cannot resolve the addresses of servers.

    If fewer than half of the servers say so, it is their resolver that fails, and only their part ends.

    :raises EsyncError: kind ``unresolved_address``, of every server whose address cannot be resolved.
    """
    missing = {
        server.name: [name for name, address in new_addresses(run, server).items() if address in server.unresolved]
        for server in run.present
    }
    callers = [server for server in run.present if missing[server.name]]
    if callers and at_least_half(len(callers), len(run.present)):
        raise_all(
            [
                _unresolved(one, [caller for caller in callers if one.name in missing[caller.name]])
                for one in run.members
                if any(one.name in names for names in missing.values())
            ]
        )
    for server in callers:
        run.fail(server, _resolves_not(server, [run.servers[name] for name in missing[server.name]]))


def _unresolved(server: Server, callers: Sequence[Server]) -> EsyncError:
    whys = ", ".join(dict.fromkeys(caller.unresolved[server.address] for caller in callers))
    return EsyncError(
        f"its esync_address {server.address} cannot be resolved by {abbreviated(names_of(callers))} ({whys})",
        "Nothing was recorded or exchanged. Set esync_address to an IP address or to a name that its peers can resolve "
        f"(by default it is what Ansible connects to), or make {server.address} known to them, and run again",
        kind="unresolved_address",
        server=server.name,
    )


def _resolves_not(server: Server, peers: Sequence[Server]) -> EsyncError:
    whys = ", ".join(dict.fromkeys(server.unresolved[peer.address] for peer in peers))
    return EsyncError(
        f"it cannot resolve {abbreviated([f'{peer.address} ({peer.name})' for peer in peers])}, and most of the others "
        f"can ({whys})",
        "Nothing was made on it. Repair its resolver (/etc/resolv.conf, /etc/hosts), and run again",
        kind="unresolved_address",
        server=server.name,
    )


def stop_for_clocks_and_names(run: Run) -> None:
    """What stops the run for all before anything is recorded: wrong clocks, and addresses that nobody finds."""
    stop_for_clocks(run)
    demand_resolved(run)


def stop_for_clocks(run: Run) -> None:
    """Stop the run for all where a clock is wrong.

    :raises EsyncError: kind ``clock_skew``.
    """
    wrong = [
        EsyncError(error["cause"], error["remedy"], kind="clock_skew", server=server.name)
        for server in run.members
        for error in server.errors
        if error.get("kind") == "clock_skew"
    ]
    if wrong:
        said = " ".join(str(error) for error in wrong)
        raise EsyncError(f"{said} The run stops here for all servers", "", kind="clock_skew")


def record(run: Run) -> None:
    """Record the public certificates in the ledger, and report what is due."""
    stages.record_sets(run, run.present, accept=run.mesh["discarding"])
    for server in run.present:
        due = server.read.get("due") or ()
        if "expired" in due:
            run.say(
                f"{server.name}: its certificates have expired, so its pairs fail until it has new ones. "
                "Run the regenerate playbook; it works over ssh, also when every certificate has expired."
            )
        elif due:
            run.say(
                f"{server.name}: the certificates are sound, but due for renewal ({', '.join(due)}). "
                "Run the regenerate playbook; it renews them without an outage."
            )


def apply(run: Run) -> Visits:
    """Exchange the public parts; in check mode say what would be."""
    return stages.exchange(run)


def test(run: Run) -> Visits:
    """Test every pair, and at one peer each that everything else is refused."""
    return stages.prove(run, refusals=True)


# -- verify, check --------------------------------------------------------------------------------------------------


def read(run: Run) -> Visits:
    """Read what lies on the hosts; a resident endpoint is tested in the same visit."""

    def reading(server: Server) -> list[Step]:
        # What it serves by its own word tells apart why others could not reach it, or met something else.
        observed = [steps.endpoint(server, "observed")] if server.serves else []
        return [steps.certificate_info(server), *_tested_at_once(run, server), *observed]

    return stages.visits_of(run, run.present, reading)


def examine(run: Run) -> Visits:
    """Read everything deeply, whatever goes wrong, and test like :func:`read`."""

    def examined(server: Server) -> list[Step]:
        server.errors = []
        tested = [{**one, "when": {"readable": True}} for one in _tested_at_once(run, server)]
        # Last, so that the pairs are tested also where something is wrong with the endpoint's own files.
        observed = [steps.endpoint(server, "observed")] if server.serves else []
        return [steps.certificate_info(server, deep=True), *tested, *observed]

    return stages.visits_of(run, run.present, examined)


def _tested_at_once(run: Run, server: Server) -> list[Step]:
    if not run.tests:
        return []
    if run.all_resident:
        return stages.prove_steps(run, server, refusals=True, external=run.operation == "verify", known=False)
    return [steps.probe_listener(run, server)] if run.counterparts(server) and not server.resident else []


def test_temporary(run: Run) -> Visits:
    """Test the pairs, if there are endpoints that listen only now."""
    return {} if run.all_resident else stages.prove(run, refusals=True, external=run.operation == "verify")


def refuse_other_models(run: Run) -> None:
    """Refuse a mesh that is by another trust model than the settings; a single server that says so cannot stop others.

    :raises EsyncError: kind ``other_trust_model``, of every server, if that is at least half of them.
    """
    found = _other_models(run)
    if at_least_half(len(found), sum(server.trust is not None for server in run.present)):
        raise_all(list(found.values()))
    end_other_models(run)


def end_other_models(run: Run) -> None:
    """End the part of every server that is by another trust model than the settings; the others go on."""
    for name, error in _other_models(run).items():
        run.fail(run.servers[name], error)


def _other_models(run: Run) -> dict[str, EsyncError]:
    found: dict[str, EsyncError] = {}
    for server in run.present:
        try:
            refuse_other_model(server.name, server.trust, run.model)
        except EsyncError as error:
            found[server.name] = error
    return found


def require_external(run: Run) -> None:
    """Report how external peers answered; one that did not fails the run."""
    stages.report_external(run, must_answer=True)


# -- gate -----------------------------------------------------------------------------------------------------------


def pass_gate(run: Run) -> Visits:
    """Test the pairs of each server with those that it is about to call; whoever does not pass leaves the play."""
    visits: Visits = {}
    for server in run.present:
        others = [one.name for one in run.members if one.name != server.name]
        # A list of peers may be the same for all servers, so a server's own name in it means nothing.
        named = server.settings["esync_gate_peers"]
        called = [name for name in named if name != server.name] if named else others
        try:
            if not server.resident:
                raise EsyncError(
                    "there is nothing to pass through, because esync_endpoint is temporary: that endpoint listens only "
                    "while our own playbooks test",
                    "Set esync_endpoint to nginx or external and run establish, or use the verify playbook",
                    kind="gate_needs_endpoint",
                    server=server.name,
                )
            unknown = [name for name in called if name not in others]
            if unknown:
                named = ", ".join(name + nearest(name, others) for name in unknown)
                raise EsyncError(
                    f"esync_gate_peers names {named}, which is no other server of the mesh",
                    f"The servers are {', '.join(run.names)}",
                    kind="unknown_server",
                    server=server.name,
                )
        except EsyncError as error:
            server.errors = errors_of(error)
            visits[server.name] = [{"refuse": str(error), "errors": server.errors}]
            continue
        entries = steps.trust_of(run, server, known=False).entries
        peers = steps.peers_of(run, server, called, entries)
        probe = steps.peer_probe(run, server, peers, through_balancers=False)
        visits[server.name] = [steps.certificate_info(server), {**probe, "tag": "gate"}]
    return visits


# -- export, apply --------------------------------------------------------------------------------------------------


def export(run: Run) -> Visits:
    """Put every server's certificates into a folder on its host."""
    return {
        server.name: [
            steps.step(
                "exchange_folder",
                folder=_folder_of(server),
                address=server.address,
                port=server.port,
                endpoint=server.settings["esync_endpoint"],
                shared_keys=run.model == SHARED_KEYS,
                web_roots=server.settings["esync_web_roots"],
            )
        ]
        for server in run.present
    }


def _folder_of(server: Server) -> str:
    """The folder of exchange on a host.

    :raises EsyncError: kind ``missing_option``.
    """
    folder = server.settings.get("esync_folder")
    if not folder:
        raise EsyncError(
            "no folder is named",
            "Name the folder on the host with -e esync_folder=/PATH",
            kind="missing_option",
            server=server.name,
        )
    return str(folder)


def report_exported(run: Run) -> None:
    """Show the fingerprints, and fail the run where nothing could be exported."""
    for server in run.present:
        report_fingerprints(run, server.name, (server.folder or {}).get("fingerprints") or ())
    away = [one.name for one in run.members if one.state == UNREACHABLE]
    run.failures += [f"{name}: the control node cannot reach it, so nothing is exported." for name in away]


def report_fingerprints(run: Run, server: str, lines: Iterable[str]) -> None:
    """Show the fingerprints, to be compared with those that whoever sent the certificates has."""
    run.say(*(f"{server}: {line}" for line in lines))


def read_folder(run: Run) -> Visits:
    """Read what lies on the hosts, and validate the folder on each."""
    return {
        server.name: [
            steps.certificate_info(server),
            steps.step(
                "exchange_folder_info",
                folder=_folder_of(server),
                shared_keys=run.model == SHARED_KEYS,
                web_roots=server.settings["esync_web_roots"],
            ),
        ]
        for server in run.present
    }


def admit_folder(run: Run) -> None:
    """Admit what the folders hold to the ledger, all of it or nothing.

    :raises EsyncError: everything that is wrong, at once.
    """
    # A mesh that is by another trust model than the settings is refused before the ledger knows external peers.
    refuse_other_models(run)
    here = [server for server in run.present if server.folder]
    folders = {server.name: str((server.folder or {})["folder"]) for server in here}
    found = [
        AppliedSet.read(server.name, folders[server.name], item)
        for server in here
        for item in (server.folder or {}).get("sets") or ()
    ]
    for one in found:
        report_fingerprints(run, one.host, one.fingerprint_lines())
    members = {one.name: (one.address, one.port) for one in run.members}
    for entry in admit(found, folders, members, run.ledger, run.mesh["esync_accept_changed"], run.control.now):
        run.record(entry)


def shares_keys(run: Run) -> bool:
    """Whether client sets come in folders too."""
    return run.model == SHARED_KEYS


def apply_folder(run: Run) -> Visits:
    """Apply what the ledger has now."""
    return stages.exchange(run, listen=False)


def call_external(run: Run) -> Visits:
    """Connect to the external peers whose endpoint is known."""

    def called(server: Server) -> list[Step]:
        others = steps.external_peers(run, steps.trust_of(run, server).entries)
        return [steps.external_probe(run, server, others)] if others else []

    return stages.visits_of(run, run.present if run.tests else (), called)


def report_external(run: Run) -> None:
    """Report how external peers answered; it fails nothing, because the other side may not be ready yet."""
    stages.report_external(run, must_answer=False)
    away = names_of(one for one in run.members if one.away)
    if away:
        run.notes.append(
            f"Not reached: {', '.join(away)}. Run establish when they are back; it applies the same there."
        )
