# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A stage of an operation, and the parts that several operations have in common: exchange, shared keys, test."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import asdict, dataclass, replace

from ansible_collections.esync.mesh.plugins.module_utils._core.errors import EsyncError
from ansible_collections.esync.mesh.plugins.module_utils._core.names import (
    CLIENT,
    CURRENT,
    ROLES,
    SHARED_KEYS,
    STATES,
)
from ansible_collections.esync.mesh.plugins.module_utils._store.indexed_folder import digest_of
from ansible_collections.esync.mesh.plugins.module_utils._store.shared_sets import SharedKey
from ansible_collections.esync.mesh.plugins.plugin_utils._ledger.admission import Owners, demand_own
from ansible_collections.esync.mesh.plugins.plugin_utils._ledger.pending import (
    digests_of,
    expected_digests,
    external_peers_of,
)
from ansible_collections.esync.mesh.plugins.plugin_utils._ledger.records import (
    LedgerRecord,
    PresentedSets,
    RecordedGeneration,
    read_generations,
    recorded,
)
from ansible_collections.esync.mesh.plugins.plugin_utils._planning import steps
from ansible_collections.esync.mesh.plugins.plugin_utils._planning.run import OK, Run, Server, names_of
from ansible_collections.esync.mesh.plugins.plugin_utils._planning.shared_keys import (
    InstalledKeys,
    SharedKeyPlan,
    plan_shared_keys,
    sets_of,
)
from ansible_collections.esync.mesh.plugins.plugin_utils._planning.steps import Step
from ansible_collections.esync.mesh.plugins.plugin_utils._planning.trust import (
    TrustPlan,
    refuse_external_peers,
    refuse_other_model,
)
from ansible_collections.esync.mesh.plugins.plugin_utils._wording import not_tested, result_line

OTHERS_GO_ON, KEEP = "others_go_on", "keep"
STOP_ALL, STOP_IF_FAILED = "stop_all", "stop_if_failed"
"""What a failure of a server leads to: its part ends, or it is kept for what follows; or the run ends for all, if it
failed or could not be reached, or only if it failed."""

Visits = dict[str, list[Step]]
"""Server name to the steps of its next visit."""


def nothing(_run: Run) -> None:
    """Nothing to announce, or to conclude."""


def always(_run: Run) -> bool:
    """No condition."""
    return True


@dataclass(frozen=True)
class Stage:
    """One plan on the control node and one visit to each host.

    :param title: what the user reads while it runs.
    :param visit: the steps of every server; with none at all the stage is passed over.
    :param when: whether the stage takes place.
    :param announce: what is written to the ledger before, visit or not.
    :param conclude: what has to be proved by what came back before the run goes on.
    :param failure: what the failure of one server leads to.
    """

    title: str
    visit: Callable[[Run], Visits]
    when: Callable[[Run], bool] = always
    announce: Callable[[Run], None] = nothing
    conclude: Callable[[Run], None] = nothing
    failure: str = OTHERS_GO_ON


def visits_of(run: Run, servers: Iterable[Server], planned_for: Callable[[Server], list[Step]]) -> Visits:
    """The visits of a stage. A server whose steps cannot be planned, because of its own word, takes no more part.

    :param planned_for: the steps of one server; with none it is not visited.
    """
    visits: Visits = {}

    def plan(server: Server) -> None:
        made = planned_for(server)
        if made:
            visits[server.name] = made

    _each(run, servers, plan)
    return visits


# -- the ledger -----------------------------------------------------------------------------------------------------


def record_sets(
    run: Run,
    servers: Sequence[Server],
    rotation: bool = False,
    accept: Collection[str] = (),
    without: Collection[str] = (),
) -> None:
    """Record what servers presented in the ledger.

    :param rotation: whether it announces next certificates. :param accept: names whose certificates may have changed
        because this run had them replaced. :param without: states that are not recorded any more.
    """
    allowed = {*accept, *run.mesh["esync_accept_changed"]}
    presented: dict[str, tuple[RecordedGeneration, ...]] = {}

    def validate(server: Server) -> None:
        found = [one for one in server.read.get("generations") or () if one["state"] not in without]
        if not found:
            return
        generations = read_generations(found, f"the certificates presented by {server.name}")
        expected = (server.name, server.address, *steps.alt_names(server))
        named = server.name in run.mesh["esync_accept_changed"]
        demand_own(server.name, generations, run.ledger.get(server.name), expected, any_names=named)
        presented[server.name] = generations

    def record(server: Server) -> None:
        if server.name in presented:
            generations = presented[server.name]
            owners.demand_only(server.name, generations)
            found = PresentedSets(
                server.name,
                server.address,
                server.port,
                generations,
                server.name in allowed,
                rotation,
                run.rotation_id if rotation and run.rotates(server) else None,
            )
            entries.append(recorded(run.ledger.get(server.name), found, run.control.now))

    entries: list[LedgerRecord] = []
    _each(run, servers, validate)
    # Whose a key is shows only when all are known; and nothing is recorded of two that have the same one.
    owners = Owners.of(run.ledger, presented, replaced=allowed & {*presented})
    _each(run, [one for one in servers if one.name in presented], record)
    for entry in entries:
        run.record(entry)
    recorded_now = {entry.name for entry in entries}
    run.disputed = [name for name in run.disputed if name not in recorded_now]


def note_disputed(run: Run) -> None:
    """Note which servers present what the ledger does not have: one of the two is out of date.

    Until that is settled, an old ledger must not take from the others what they trust of such a server.
    """
    for server in run.present:
        record, current = run.ledger.get(server.name), server.generations.get(CURRENT)
        shown = {str(current[role]["fingerprint"]) for role in ROLES} if current else set()
        if record and record.generations and not shown <= record.fingerprints and server.name not in run.disputed:
            run.disputed.append(server.name)


def _each(run: Run, servers: Iterable[Server], act: Callable[[Server], None]) -> None:
    """Do this for every server; an error ends the part of that one."""
    for server in servers:
        try:
            act(server)
        except EsyncError as error:
            run.fail(server, error)


def note_received(run: Run) -> None:
    """Note what servers have received, from which their pending updates are computed."""
    digests = digests_of(run.names, run.ledger)
    for server in run.present if not run.check else ():
        record = run.ledger.get(server.name)
        try:
            plan = planned(run, server, run.accepts)
        except EsyncError:
            continue  # reported where its trust is planned in order to be written
        # A server that nobody is known to yet has received all there is.
        if record and not plan.changed and (server.trust is not None or not plan.entries):
            received = expected_digests(server.name, digests)
            for peer in run.disputed:  # what it has of them is as old as it was
                received.pop(peer, None)
                received.update({peer: record.trust[peer]} if record.trust and peer in record.trust else {})
            run.record(replace(record, trust=received, model=run.accepts))


# -- exchange -------------------------------------------------------------------------------------------------------


def planned(run: Run, server: Server, accepts: str, distrust: Sequence[str] = ()) -> TrustPlan:
    """The trust of a server, unless it is by another trust model than the settings.

    :raises EsyncError: kinds ``other_trust_model``, ``external_peers_of_other_model``, ``empty_trust``.
    """
    if run.changes_model:
        refuse_external_peers(run.names, run.ledger)
    elif not _is_new(run, server):
        refuse_other_model(server.name, server.trust, accepts)
    return steps.trust_of(run, server, accepts, distrust)


def _is_new(run: Run, server: Server) -> bool:
    """Whether others have received what they trust from this ledger, and this server nothing: no pair is lost then.

    What it trusts may be from before it was renamed, when its own certificate bore another name.
    """
    models = {name: run.ledger[name].model for name in run.names if name in run.ledger}
    return not models.get(server.name) and any(models.values())


def exchange(
    run: Run,
    distrust: Sequence[str] = (),
    serve: str = CURRENT,
    listen: bool = True,
    restart: Collection[str] = (),
    spare: bool = False,
) -> Visits:
    """Apply the certificates of every other server, and let the endpoints take up what changed.

    :param distrust: names that nobody keeps anything of. :param serve: the generation that the endpoint presents.
    :param listen: whether a test follows. :param restart: the servers whose endpoint is stopped and started.
    :param spare: whether connections go on that were opened with what is not trusted any more.
    """

    def exchanged(server: Server) -> list[Step]:
        plan = planned(run, server, run.accepts, distrust)
        made = []
        # With nobody to trust yet and no trust in force there is nothing to write.
        if plan.changed and (plan.entries or server.trust):
            made.append(steps.peer_trust(run, server, plan))
            server.changed = True
        made += endpoint_steps(run, server, server.name in restart, spare)
        return [*made, *(listener_steps(run, server, serve) if listen else ())]

    return visits_of(run, run.present, exchanged)


def endpoint_steps(run: Run, server: Server, restart: bool = False, spare: bool = False) -> list[Step]:
    """The resident endpoint, if it has anything to take up."""
    observed, record = server.endpoint, run.ledger.get(server.name)
    # What the last test has shown counts for more than what the host has noted of its last reload.
    not_loaded = record is not None and record.not_loaded
    differs = server.changed or observed is None or bool(observed.get("reasons")) or not_loaded
    if not (server.serves and server.read.get("generations") and (differs or restart)):
        return []
    forgotten = [steps.endpoint(server, "forgotten")] if not_loaded else []
    # Who loses all trust in this visit; everybody else's connections are known by their certificates only.
    names = {str(one["peer"]) for one in server.told} - {server.name}
    withdrawn = [run.ledger[name] for name in sorted(names) if name in run.ledger]
    return [*forgotten, steps.endpoint(server, restart=restart, spare=spare, withdrawn=withdrawn)]


def listener_steps(run: Run, server: Server, serve: str = CURRENT) -> list[Step]:
    """The temporary endpoint, unless it listens already with what is in force."""
    # The last server of a mesh has to refuse those that are removed.
    callers = run.counterparts(server) or (run.leaving if run.operation == "remove" else [])
    if server.resident or run.check or not callers or server.accepts_nobody:
        return []
    if server.listening and not server.changed:
        return []
    return [steps.probe_listener(run, server, run.serves(server, serve))]


# -- shared client keys ---------------------------------------------------------------------------------------------


def shared_plan(run: Run, server: Server) -> SharedKeyPlan:
    """The shared client keys that a server is to hold."""
    installed = InstalledKeys.read(server.read.get("shared"))
    shrink = bool(run.mesh["esync_allow_shrink"])
    ledger = steps.ledger_for(run, server)
    return plan_shared_keys(server.name, run.names, ledger, installed, run.changes_model, shrink)


def fetch_shared(run: Run) -> Visits:
    """Read, encrypted, the client sets that a peer is missing."""
    run.payloads = {}
    if run.model != SHARED_KEYS or run.check:
        return {}
    missing = {entry for server in run.present for entry in shared_plan(run, server).missing}

    def fetched(server: Server) -> list[Step]:
        record = run.ledger.get(server.name)
        own = [entry for entry in sets_of(record, run.changes_model) if entry in missing] if record else []
        return [_shared_step(server, "fetched", own)] if own else []

    return visits_of(run, run.present, fetched)


def hold_shared(run: Run, folder: bool = False) -> Visits:
    """Let every server hold exactly the client keys that its peers share with it.

    :param folder: whether those of external peers lie in a folder on the host.
    """
    if run.model != SHARED_KEYS:
        holding = [one for one in run.present if one.read.get("shared") is not None]
        return visits_of(run, holding, lambda server: [_shared_step(server, "absent", ())])

    def held(server: Server) -> list[Step]:
        plan = shared_plan(run, server)
        entries = plan.obtainable([*run.payloads, *(_in_folder(server) if folder else ())])
        _report_missing(run, server, {one.peer for one in set(plan.wanted) - set(entries)})
        if not plan.changes(entries):
            return []
        made = _shared_step(server, "present", entries)
        if folder:
            made["options"]["folder"] = server.settings["esync_folder"]
        sent = {*run.payloads} - {one["fingerprint"] for one in server.installed_keys}
        made["payloads"] = [one.fingerprint for one in entries if one.fingerprint in sent]
        return [made]

    return visits_of(run, run.present, held)


def withdraw_shared(run: Run) -> Visits:
    """Take shared client keys out of use: callers return to their own before those are refused."""
    return {one.name: [_shared_step(one, "withdrawn", ())] for one in run.present if one.installed_keys}


def _shared_step(server: Server, state: str, entries: Sequence[SharedKey]) -> Step:
    """One step about shared client keys; remembers what the server holds after it."""
    found = [asdict(entry) for entry in sorted(entries)]
    if state == "withdrawn":
        server.sent_keys = {"digest": "", "withdrawn": True, "entries": server.installed_keys}
    elif state != "fetched":
        server.sent_keys = (
            {"digest": digest_of(entries), "withdrawn": False, "entries": found} if state == "present" else None
        )
    made = steps.step(
        "shared_client_sets",
        state=state,
        entries=found,
        file_group=server.settings.get("esync_file_group"),
        web_roots=server.settings["esync_web_roots"],
    )
    return {**made, "tag": state}


def _in_folder(server: Server) -> list[str]:
    """The fingerprints of the client sets that lie in the folder on the host."""
    return [
        str(generation[CLIENT]["fingerprint"])
        for one in (server.folder or {}).get("sets") or ()
        for generation in one["generations"]
    ]


def _report_missing(run: Run, server: Server, peers: Collection[str]) -> None:
    external = sorted(set(peers) & set(external_peers_of(run.names, run.ledger)))
    if external:
        run.say(
            f"{server.name} cannot call {', '.join(external)} of another mesh, because their shared client keys are "
            "missing on it: copy their folder to it, and run the apply playbook."
        )


def forget_fetched(run: Run) -> None:
    """Forget the keys that were on their way: they are encrypted, and nobody needs them any more all the same."""
    run.payloads = {}


FETCH = Stage("Read the client sets that peers are missing", fetch_shared)
HOLD = Stage("Hand every server the client sets of its peers", hold_shared, conclude=forget_fetched)
"""One follows the other; an operation gives them its own conditions with dataclasses.replace."""


# -- test -----------------------------------------------------------------------------------------------------------


def prove(
    run: Run,
    present: str = CURRENT,
    require: Sequence[str] = STATES,
    model: str | None = None,
    refusals: bool = False,
    external: bool = False,
) -> Visits:
    """Test every pair: connect to every peer and exchange bytes both ways. Parameters: see steps.peer_probe.

    :param external: whether external peers are called too.
    """
    # What went wrong elsewhere is kept for the report.
    able = [one for one in run.present if run.tests and not one.errors and run.takes_part(one)]
    return visits_of(run, able, lambda server: prove_steps(run, server, present, require, model, refusals, external))


def prove_steps(
    run: Run,
    server: Server,
    present: str = CURRENT,
    require: Sequence[str] = STATES,
    model: str | None = None,
    refusals: bool = False,
    external: bool = False,
    known: bool = True,
) -> list[Step]:
    """The test of one server's pairs. :param known: whether its trust in force is known, see steps.trust_of."""
    entries = steps.trust_of(run, server, run.accepts, known=known).entries
    made = []
    peers = steps.peers_of(run, server, names_of(run.counterparts(server)), entries)
    if peers:
        made.append(steps.peer_probe(run, server, peers, present, require=require, model=model, refusals=refusals))
    others = steps.external_peers(run, entries) if external else []
    if others:
        made.append(steps.external_probe(run, server, others))
    return made


def prove_refused(
    run: Run, servers: Sequence[Server], present: str, model: str, towards: Callable[[Server], Collection[str]]
) -> Visits:
    """Present what has to be refused by now to peers.

    :param servers: those that present it. :param towards: the names of the peers, for each of those.
    """

    def refused(server: Server) -> list[Step]:
        wanted = [name for name in names_of(run.counterparts(server)) if name in towards(server)]
        peers = steps.peers_of(run, server, wanted, steps.trust_of(run, server, run.accepts).entries)
        server.to_refuse = [str(peer["name"]) for peer in peers]
        probe = steps.peer_probe(run, server, peers, present, refused=True, model=model)
        return [{**probe, "tag": "refused"}] if peers else []

    return visits_of(run, servers if run.tests else (), refused)


def demand_refused(run: Run, what: str, then: str) -> None:
    """Fail every server that was not refused everywhere.

    :param what: what it presented, at the beginning of a sentence. :param then: what follows from it.
    """
    for server in run.servers.values():
        found, expected = server.refused or [], server.to_refuse
        server.refused, server.to_refuse = None, []
        accepted = [one for one in found if one["verdict"] != OK]
        answered = {str(one["to"]) for one in found}
        details = [str(one.get("detail") or "") for one in accepted]
        # What returned no result proves nothing.
        details += [not_tested(server.name, name) for name in dict.fromkeys(expected) if name not in answered]
        if details and server.state == OK:
            remedies = dict.fromkeys(str(one.get("remedy") or "") for one in accepted)
            run.fail(
                server,
                EsyncError(
                    f"{what} was not seen refused everywhere. {' '.join([*details, *remedies])}".strip(),
                    then,
                    kind="not_refused",
                    server=server.name,
                ),
            )


def report_external(run: Run, must_answer: bool) -> None:
    """Report how external peers answered. :param must_answer: whether one that did not fails the run."""
    called = [one for one in run.present if one.external]
    wrong = [
        result_line(server.name, pair, external=True)
        for server in called
        for pair in server.external
        if pair["verdict"] != OK
    ]
    if wrong and must_answer:
        run.failures.append(f"Not every external peer answered as it should. {' '.join(wrong)}")
    elif wrong:
        run.notes += wrong
    elif called:
        run.notes.append("Every external peer answered as it should.")


def previous_of(run: Run) -> list[Server]:
    """The servers that can still present what a rotation retires."""
    return [one for one in run.present if run.presents_retired(one)]
