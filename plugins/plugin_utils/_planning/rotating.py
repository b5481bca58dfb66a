# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The stages of regenerate and remove: what is compromised or removed first, then the rotation without an outage."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterable, Sequence

from ansible_collections.esync.mesh.plugins.module_utils._core.errors import EsyncError, raise_all
from ansible_collections.esync.mesh.plugins.module_utils._core.names import (
    BOTH,
    CLIENT,
    CURRENT,
    NEXT,
    PINNED,
    PREVIOUS,
    SERVER,
    SHARED_KEYS,
)
from ansible_collections.esync.mesh.plugins.module_utils._store.distrust import COMPROMISED, REMOVED
from ansible_collections.esync.mesh.plugins.module_utils._store.trust_folder import model_of
from ansible_collections.esync.mesh.plugins.plugin_utils._ledger.admission import renaming
from ansible_collections.esync.mesh.plugins.plugin_utils._ledger.records import LedgerRecord, withdrawn
from ansible_collections.esync.mesh.plugins.plugin_utils._planning import records, stages, steps
from ansible_collections.esync.mesh.plugins.plugin_utils._planning.establishing import refuse_other_models
from ansible_collections.esync.mesh.plugins.plugin_utils._planning.observed import mesh_of
from ansible_collections.esync.mesh.plugins.plugin_utils._planning.rotation import (
    RotationRequest,
    RotationServer,
    plan_rotation,
)
from ansible_collections.esync.mesh.plugins.plugin_utils._planning.run import (
    FAILED,
    OK,
    UNREACHABLE,
    Run,
    Server,
    at_least_half,
)
from ansible_collections.esync.mesh.plugins.plugin_utils._planning.stages import Visits
from ansible_collections.esync.mesh.plugins.plugin_utils._planning.steps import Step
from ansible_collections.esync.mesh.plugins.plugin_utils._planning.trust import refuse_external_peers
from ansible_collections.esync.mesh.plugins.plugin_utils._report.model import verdict
from ansible_collections.esync.mesh.plugins.plugin_utils._report.outcome import broken, worse_than

REPAIR_AND_AGAIN = "Repair the cause and run the playbook again"

# -- the plan -------------------------------------------------------------------------------------------------------


def read(run: Run) -> Visits:
    """Read what lies on the hosts; the first test follows at once if a rotation was requested outright."""
    listens = not run.check and not run.mesh["esync_only_due"] and not run.mesh["esync_compromised"]
    return {
        one.name: [steps.certificate_info(one), *(stages.listener_steps(run, one) if listens else ())]
        for one in run.present
    }


def plan(run: Run) -> None:
    """Plan the rotation, or refuse it, before anything is made.

    :raises EsyncError: see plan_rotation; or kind ``wrong_name``.
    """
    _refuse_renamed(run)
    _plan(
        run,
        RotationRequest(
            names=tuple(run.mesh["esync_regenerate"]),
            only_due=bool(run.mesh["esync_only_due"]),
            compromised=tuple(run.mesh["esync_compromised"]),
            defer=run.mesh["esync_offline"] == "defer",
            take_over=bool(run.mesh["esync_take_over_lock"]),
            model=run.model,
        ),
    )
    found = run.rotation_plan
    if run.changes_model:
        refuse_external_peers(run.names, run.ledger)
    run.say(*found.lines)
    if run.check or not (found.rotating or found.compromised):
        run.ended, run.report_mode = True, ""


def _refuse_renamed(run: Run) -> None:
    """Refuse to rotate a server under a new name: its peers know its certificates by the old one, and would go on so.

    :raises EsyncError: kind ``wrong_name``, of every such server.
    """
    if run.mesh["esync_compromised"]:
        return  # nobody's word delays the answer to a key compromise
    raise_all(
        [
            EsyncError(
                f"its certificates are issued to {subject!r}; a rotation cannot rename a server",
                f"To give it its new name, {renaming(one.name, subject)}",
                kind="wrong_name",
                server=one.name,
            )
            for one in run.present
            if CURRENT in one.generations
            for subject in [str(one.generations[CURRENT][SERVER]["subject"])]
            if subject != one.name
        ]
    )


def _plan(run: Run, request: RotationRequest) -> None:
    now = run.control.now
    counts = _whose_model_counts(run)
    found = plan_rotation(
        [_rotation_server(one, run.ledger.get(one.name), one.name in counts) for one in run.members],
        request,
        run.control.holder,
        new_id="".join(character for character in now if character.isalnum()),
        now=now,
        alive=run.control.alive,
        begun=max((record.rotation for record in run.ledger.values() if record.rotation), default=None),
    )
    run.rotation = dataclasses.asdict(found)
    run.pending = bool(set(found.rotating) - set(found.make))
    run.retiring = run.rotated = False


def _whose_model_counts(run: Run) -> list[str]:
    """The servers whose word of their trust model counts: which one is in force is in the ledger.

    Only a change that the ledger says was begun leaves some by one and some by the other. Where the ledger has noted
    none yet, or was lost, a single server that differs from the settings cannot turn the mesh.
    """
    noted = {one.name: record.model for one in run.members for record in [run.ledger.get(one.name)] if record}
    if any(noted.values()):
        return [name for name, model in noted.items() if model in (BOTH, SHARED_KEYS)]
    trusting = [one for one in run.present if one.trust]
    differing = [
        one for one in trusting if one.installed_keys or model_of(one.name, one.trust or ()) not in (None, run.model)
    ]
    return [one.name for one in trusting] if at_least_half(len(differing), len(trusting)) else []


def _holds_shared(run: Run) -> bool:
    """Whether members hold client sets of their peers, as far as their word of it counts."""
    counts = _whose_model_counts(run)
    return any(one.installed_keys for one in run.members if one.name in counts)


def _rotation_server(server: Server, record: LedgerRecord | None, counts: bool) -> RotationServer:
    """What was found on a server. :param counts: whether its word of its trust model does."""
    if server.state != OK or "generations" not in server.read:
        return RotationServer(server.name, False, {})
    rotation = server.read.get("rotation")
    noted = record.model if record and record.model != BOTH else None
    return RotationServer(
        server.name,
        True,
        {state: str(one["id"]) for state, one in server.generations.items()},
        tuple(server.read.get("due") or ()),
        dict(rotation) if rotation else None,
        noted or (model_of(server.name, server.trust or ()) if counts else None),
        {state: str(one[CLIENT]["fingerprint"]) for state, one in server.generations.items()},
        frozenset(str(one["fingerprint"]) for one in server.installed_keys if counts),
    )


# -- what is compromised --------------------------------------------------------------------------------------------


def is_compromised(run: Run) -> bool:
    """Whether a key compromise is answered first."""
    return bool(run.rotation and run.rotation["compromised"]) and not run.check


def _compromised(run: Run) -> list[str]:
    return list(run.rotation["compromised"]) if run.rotation else []


def distrust(run: Run) -> None:
    """Remove the certificates from the ledger, also those of a server that is not in this run."""
    _withdraw_in_ledger(run, _compromised(run), COMPROMISED)


def _withdraw_in_ledger(run: Run, names: Iterable[str], why: str) -> None:
    for name in names:
        known = run.ledger.get(name)
        if known:
            run.record(withdrawn(known, why, run.control.now))


def withdraw(run: Run) -> Visits:
    """Take the compromised certificates out of everybody's trust, and let the endpoints refuse them."""
    return stages.exchange(run, distrust=_compromised(run), listen=False)


def replace(run: Run) -> Visits:
    """Destroy the compromised sets and make new ones."""
    return {
        one.name: [steps.certificate_set(run, one, renew=False, discard_existing=True)]
        for one in run.present
        if one.name in _compromised(run)
    }


def record_replaced(run: Run) -> None:
    """Record the new ones. That they differ was this run's own doing."""
    stages.record_sets(run, run.present, accept=_compromised(run))


def apply_replaced(run: Run) -> Visits:
    """Exchange the new ones."""
    return stages.exchange(run)


def test_shared_refused(run: Run) -> Visits:
    """Present to every peer the client set that it shared before; one that is away cannot refuse it yet."""
    return _shared_refused(run, run.present) if run.model == SHARED_KEYS else {}


def _shared_refused(run: Run, servers: Sequence[Server]) -> Visits:
    present = {one.name for one in run.present}
    return stages.prove_refused(
        run,
        [one for one in servers if one.installed_keys],
        CURRENT,
        SHARED_KEYS,
        lambda server: {str(one["peer"]) for one in server.installed_keys} & present,
    )


def demand_shared_refused(run: Run) -> None:
    """No shared client key of before may be accepted any more."""
    stages.demand_refused(run, "a shared client key", REPAIR_AND_AGAIN)


def demand_pairs(run: Run) -> None:
    """A rotation follows only if every pair works."""
    mesh = mesh_of(run)
    run.ended = bool(mesh.wrong or mesh.wrong_connections)


# -- the rotation ---------------------------------------------------------------------------------------------------


def is_on(run: Run) -> bool:
    """Whether there is anything to rotate, still."""
    return bool(run.rotation and run.rotation["rotating"]) and not run.check and not run.rotated


def listen(run: Run) -> Visits:
    """Let those listen for the next test that do not yet."""
    return stages.visits_of(run, run.present, lambda server: stages.listener_steps(run, server))


def demand_all(run: Run) -> None:
    """Whoever was lost since the rotation was planned would not learn the next certificates: none are made then."""
    lost = [one.name for one in run.members if one.state != OK and one.name not in run.rotation_plan.offline]
    if lost:
        run.ended = True
        run.failures.append(
            f"{', '.join(lost)} could not do its part before the rotation, so nothing is rotated. What served before "
            f"goes on serving. {REPAIR_AND_AGAIN}."
        )


def make_next(run: Run) -> Visits:
    """Prove which pairs work before anything is made; then make the next sets. The current ones go on serving."""
    found = run.rotation_plan
    lock = {"holder": str(run.control.holder), "since": found.since, "id": found.id, "take_over": found.take_over}
    visits = stages.prove(run, model=found.model_before)
    for server in run.present:
        if run.rotates(server):
            makes = server.name in found.make or server.has(NEXT)
            made = steps.certificate_set(run, server, renew=False, generation=NEXT if makes else CURRENT, lock=lock)
            visits.setdefault(server.name, []).append(made)
    return visits


def keep_baseline(run: Run) -> None:
    """Remember which pairs do not work, for the comparisons: they are few."""
    mesh = mesh_of(run)
    run.baseline = broken(mesh)
    run.say(f"Before the rotation: {verdict(mesh)}")


def announce(run: Run) -> None:
    """Announce the next certificates in the ledger, and that the trust model changes."""
    stages.record_sets(run, run.present, rotation=True)
    for record in [run.ledger[name] for name in run.names if name in run.ledger] if run.changes_model else ():
        run.record(dataclasses.replace(record, model=BOTH))


def apply_next(run: Run) -> Visits:
    """Let everybody trust the current and the next ones."""
    return stages.exchange(run, serve=NEXT)


def shares_keys(run: Run) -> bool:
    """Whether what is rotated is shared with the peers too."""
    return is_on(run) and run.model == SHARED_KEYS


def test_next(run: Run) -> Visits:
    """Present the next certificates, and meet them."""
    return stages.prove(run, present=NEXT)


def demand_as_good(run: Run) -> None:
    """With the next certificates every pair has to work that worked before; else nothing is switched."""
    mesh = mesh_of(run)
    worse = worse_than(mesh, run.baseline or [])
    if worse:
        run.ended = True
        run.failures.append(
            "With the next certificates the mesh is worse than before, so nothing was switched, and the current ones "
            f"go on serving: {'; '.join(worse)}. {REPAIR_AND_AGAIN}."
        )
    elif run.mesh["esync_announce_only"]:
        # As good as before is good enough.
        run.ended, run.report_mode = True, "never"
        run.notes.append(
            "The next certificates are announced to the members. Export them to everybody else who has to know them, "
            "and run this playbook again without esync_announce_only."
        )


def switch(run: Run) -> Visits:
    """Make next the current and keep the current as previous; the endpoints serve them, a few servers at a time."""
    return _turn(run, "switched")


def _turn(run: Run, state: str) -> Visits:
    def turned(server: Server) -> list[Step]:
        made = []
        if run.rotates(server):
            made.append(steps.certificate_set(run, server, state=state))
            server.changed = True
        return [*made, *stages.endpoint_steps(run, server), *stages.listener_steps(run, server)]

    return stages.visits_of(run, run.present, turned)


def record_switch(run: Run) -> None:
    """Record the switch. One server that could not switch must not leave the others in the middle: all go back."""
    # One that hangs takes no more part, and may have switched or not.
    for server in [one for one in run.members if one.state == OK or run.rotates(one)]:
        place = f"{server.name}: the switch failed"
        run.worse += [records.message_of({**error, "server": place}) for error in server.errors]
        if server.state == OK:
            server.errors = []
    stages.record_sets(run, run.present)
    run.switched_at = time.time()


def test_current(run: Run) -> Visits:
    """Every peer has to serve its new certificate."""
    return stages.prove(run, require=(CURRENT,))


def compare(run: Run) -> None:
    """Collect what got worse."""
    run.worse += worse_than(mesh_of(run), run.baseline or [])


def got_worse(run: Run) -> bool:
    """Whether the switch has to be undone."""
    return is_on(run) and bool(run.worse)


def roll_back(run: Run) -> Visits:
    """Switch back, each server by itself."""
    return _turn(run, "rolled_back")


def record_roll_back(run: Run) -> None:
    """Record it."""
    stages.record_sets(run, run.present)


def shares_old_keys(run: Run) -> bool:
    """Whether what was switched back is shared with the peers too."""
    return shares_keys(run) and got_worse(run)


def test_old(run: Run) -> Visits:
    """Every pair that worked before has to work again."""
    return stages.prove(run, model=run.rotation_plan.model_before)


def report_roll_back(run: Run) -> None:
    """Say why the rotation was rolled back."""
    still = worse_than(mesh_of(run), run.baseline or [])
    away = ", ".join(one.name for one in run.members if run.rotates(one) and one.state != OK)
    run.ended = True
    run.failures.append(
        f"The rotation was rolled back on every server{f' but {away}' if away else ''}, because the mesh got worse: "
        f"{'; '.join(run.worse)}. "
        + (f"Still worse than before: {'; '.join(still)}. " if still else "Every pair that worked before works again. ")
        + "The next certificates are kept: repair the cause and run the playbook again."
    )


def waits_for_absent(run: Run) -> bool:
    """Whether a server that is away may still need the previous certificates."""
    return is_on(run) and not run.worse and bool(run.rotation and run.rotation["offline"])


def keep_previous(run: Run) -> Visits:
    """The same certificates, filed under what they are now."""
    return stages.exchange(run, listen=False)


def report_kept(run: Run) -> None:
    """Say what is kept, and for whom. A removal goes on: what can be refused is, but it has not ended."""
    stages.note_received(run)
    run.rotated, run.baseline = True, None
    kept = (
        f"The previous certificates are kept until {', '.join(run.rotation_plan.offline)} can be reached: "
        "run this playbook again then."
    )
    if run.operation == "remove":
        run.failures.append(f"What {', '.join(run.mesh['esync_remove'])} holds of the others is still accepted. {kept}")
    else:
        run.ended, run.report_mode = True, "never"
        run.notes.append(kept)


def retires(run: Run) -> bool:
    """Whether the previous certificates go."""
    return is_on(run) and not run.worse and not waits_for_absent(run)


def leaves_shared_keys(run: Run) -> bool:
    """Whether callers return to their own client sets."""
    return retires(run) and run.changes_model and run.model == PINNED


def note_withdrawn(run: Run) -> None:
    """From here on callers present their own client sets."""
    run.switched_at = time.time()


def retire_in_ledger(run: Run) -> None:
    """The ledger goes first: a run that is killed from here on finds there that they are out."""
    run.retiring = True
    stages.record_sets(run, run.present, without=(PREVIOUS,))


def retire(run: Run) -> Visits:
    """Take them out of everybody's trust, and let the endpoints refuse them. What is connected has a while to end."""
    return stages.exchange(run, spare=True)


def test_refused(run: Run) -> Visits:
    """Present them everywhere once more."""
    shared = run.old_model == SHARED_KEYS
    state = CURRENT if run.changes_model and shared else PREVIOUS
    return stages.prove_refused(
        run,
        stages.previous_of(run),
        state,
        run.old_model,
        run.retired_of if shared else lambda server: run.names,
    )


def demand_retired_refused(run: Run) -> None:
    """Their keys are destroyed only after everybody refused them."""
    stages.demand_refused(run, "the retired certificate", f"Its keys are kept until it is. {REPAIR_AND_AGAIN}")


def drops_shared(run: Run) -> bool:
    """Whether shared client keys of the previous generation go too."""
    return retires(run) and run.shares_keys


def destroy(run: Run) -> Visits:
    """Destroy the keys, end connections that the retired ones opened, and the rotation on each server."""

    def retired(server: Server) -> list[Step]:
        server.listening = False
        made = [steps.drained(server)] if server.resident else []
        made += [steps.certificate_set(run, server, state="retired")] if run.rotates(server) else []
        return [*made, *stages.listener_steps(run, server)]

    return stages.visits_of(run, run.present, retired)


def test_final(run: Run) -> Visits:
    """Every pair, and after a change of the trust model that nobody gets in by the other one."""
    return stages.prove(run, require=(CURRENT,), refusals=run.changes_model)


def end(run: Run) -> None:
    """The rotation is over; another one may follow. Where a server did not end it, the next run continues it."""
    run.rotated, run.baseline = True, None
    if all(one.state == OK for one in run.members if run.rotates(one)):
        for record in list(run.ledger.values()):
            if record.rotation:
                run.record(dataclasses.replace(record, rotation=None))


# -- removal --------------------------------------------------------------------------------------------------------


def read_for_removal(run: Run) -> Visits:
    """Read what lies on the hosts, those that are being removed among them."""
    return {one.name: [steps.certificate_info(one)] for one in run.servers.values() if one.state == OK}


def plan_removal(run: Run) -> None:
    """Refuse what cannot be done; with shared keys plan the rotation of all servers that stay.

    :raises EsyncError: see plan_rotation; kind ``removal_and_model``.
    """
    removed = ", ".join(run.mesh["esync_remove"])
    if _is_replaced(run) or (run.model != SHARED_KEYS and not _holds_shared(run)):
        refuse_other_models(run)
        return
    _plan_replacement(run)
    if run.changes_model:
        raise EsyncError(
            f"The mesh is by another trust model than esync_trust_model, which is {run.model}, and a server is to be "
            "removed: that takes two runs",
            "Run the regenerate playbook first",
            kind="removal_and_model",
        )
    run.say(
        f"{removed} holds the client sets of all servers that stay (esync_trust_model is shared_keys), so all of them "
        "are replaced, and the old ones are proved refused.",
        *run.rotation_plan.lines,
    )


def _is_replaced(run: Run) -> bool:
    """Whether an earlier run has replaced all that the removed servers hold of the others."""
    records = [run.ledger.get(name) for name in run.mesh["esync_remove"]]
    return all(record is not None and record.removed_at and record.replaced for record in records)


def _has_replaced(run: Run) -> bool:
    """Whether this run has: everybody has a new set, and has retired the old one."""
    over = bool(run.rotation) and run.rotated and not run.rotation_plan.offline
    return over and all(one.state == OK for one in run.members if run.rotates(one))


def _plan_replacement(run: Run) -> None:
    defer, take_over = run.mesh["esync_offline"] == "defer", bool(run.mesh["esync_take_over_lock"])
    _plan(run, RotationRequest(defer=defer, take_over=take_over, model=run.model))


def distrust_removed(run: Run) -> None:
    """Remove the removed servers from the ledger."""
    _withdraw_in_ledger(run, run.mesh["esync_remove"], REMOVED)


def withdraw_removed(run: Run) -> Visits:
    """Take them out of everybody's trust, and let the endpoints refuse them."""
    visits = stages.exchange(run, distrust=run.mesh["esync_remove"])
    return {**visits, **(_trust_once_more(run) if run.model == SHARED_KEYS else {})}


def test_removed(run: Run) -> Visits:
    """Prove that the removed servers are refused everywhere. What others shared with them is replaced later."""
    leaving = [one for one in run.leaving if one.state == OK and one.generations]
    present = "own_client" if run.model == SHARED_KEYS else CURRENT
    # A server that is left alone accepts nobody, and has no temporary endpoint then.
    able = [one.name for one in run.members if one.resident or not one.accepts_nobody]
    return stages.prove_refused(run, leaving, present, run.model, lambda server: able)


def demand_removed_refused(run: Run) -> None:
    """Their keys are destroyed only after everybody refused them; where nobody could, nothing is proved."""
    # A single server that is left trusts nobody, and has no test to listen for.
    for server in run.leaving if not run.check and not run.present else ():
        if server.state == OK and server.generations:
            run.fail(
                server,
                EsyncError(
                    "no other server could test that it is refused, so its keys are kept",
                    "Bring the other servers back, and run the playbook again",
                    kind="not_refused",
                    server=server.name,
                ),
            )
    for server in run.leaving:
        server.refused_by = len({str(one["to"]) for one in server.refused or () if one["verdict"] == OK})
    stages.demand_refused(run, "the removed server", f"Its keys are kept until it is. {REPAIR_AND_AGAIN}")


def was_pending(run: Run) -> bool:
    """A pending rotation was shared with the removed server as well, so it replaces nothing; another one follows."""
    return run.rotated and run.pending


def read_again(run: Run) -> Visits:
    """Read what lies on the hosts now."""
    return {one.name: [steps.certificate_info(one), *stages.listener_steps(run, one)] for one in run.present}


def plan_second_rotation(run: Run) -> None:
    """Plan the rotation that replaces what the removed servers hold.

    :raises EsyncError: kind ``pending_rotation``: the first one could not be ended.
    """
    _plan_replacement(run)
    if run.pending:
        raise EsyncError(
            f"What {', '.join(run.mesh['esync_remove'])} holds of the others cannot be replaced, because a rotation is "
            f"pending until {', '.join(run.rotation_plan.offline)} can be reached",
            "Bring it back, and run this playbook again",
            kind="pending_rotation",
        )


def is_on_removed(run: Run) -> bool:
    """Whether the removed servers hold client keys of the others."""
    holding = any(one.installed_keys and one.state == OK for one in run.leaving)
    return holding and run.rotation is not None and not run.check


def restore_removed_trust(run: Run) -> Visits:
    """Let them know the others once more: else they would refuse the others, and that would prove nothing."""
    return {**_trust_once_more(run), **listen(run)}


def _trust_once_more(run: Run) -> Visits:
    def restored(server: Server) -> list[Step]:
        found = steps.trust_of(run, server)
        return [steps.peer_trust(run, server, found)] if found.changed else []

    holding = [one for one in run.leaving if one.state == OK and one.installed_keys and one.trust]
    return stages.visits_of(run, holding, restored)


def test_removed_shared(run: Run) -> Visits:
    """Let them present what they hold of the others."""
    return _shared_refused(run, [one for one in run.leaving if one.state == OK])


def destroy_removed(run: Run) -> Visits:
    """Destroy the removed servers' own files; the members listen for the last test."""

    def destroyed(server: Server) -> list[Step]:
        made = [steps.endpoint(server, "absent")] if server.serves else []
        return [*made, steps.destroyed_set(server)]

    for server in run.present:
        server.listening = False
    leaving = [one for one in run.leaving if one.state == OK]
    return {**stages.visits_of(run, leaving, destroyed), **listen(run)}


def report_removed_done(run: Run) -> None:
    """Say what became of each removed server, and note if nothing is in force that it holds of the others."""
    here = {one.name: one for one in run.leaving}
    replaced = _has_replaced(run)
    for name in run.mesh["esync_remove"]:
        server = here.get(name)
        # One that was still accepted somewhere has failed.
        if replaced and name in run.ledger and (server is None or server.state != FAILED):
            run.record(dataclasses.replace(run.ledger[name], replaced=True))
        if server is None:
            run.notes.append(f"{name} removed: it is no host of the inventory, so nothing was destroyed there.")
        elif server.state == OK:
            refused = f"refused by {server.refused_by} of {len(run.members)}, " if server.refused_by else ""
            run.notes.append(f"{name} removed: {refused}keys destroyed.")
        elif server.state != FAILED:
            why = "could not be reached" if server.state == UNREACHABLE else "was not in this run"
            run.notes.append(f"{name} removed: nobody trusts it any more. It {why}, so its keys are still on it.")
