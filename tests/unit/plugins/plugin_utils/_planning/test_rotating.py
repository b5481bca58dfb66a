# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Rotations, answers to a compromise and removals, stage by stage, on the model of a mesh."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.esync.mesh.plugins.module_utils._core.errors import EsyncError
from ansible_collections.esync.mesh.plugins.plugin_utils._planning.observed import mesh_of, notes_of_connections

from .meshes import ALL, applied, assert_settled, fresh, ok
from .model_mesh import Killed, Model, killed


def test_regenerate_renews_everybody_and_retires_what_was(established: Model) -> None:
    before = {name: host.generations["current"]["id"] for name, host in established.hosts.items()}
    run = established.run("regenerate")
    assert run.failures == []
    for name, host in established.hosts.items():
        assert set(host.generations) == {"current"}
        assert host.generations["current"]["id"] != before[name]
        assert {entry["state"] for entry in host.trust or ()} == {"current"}
    assert established.works() == ALL
    assert ok(run) == 6
    assert max(established.calls.values()) <= 10


def test_at_every_stage_of_a_rotation_every_pair_works(established: Model) -> None:
    seen = []

    def watch(run: Any, plan: Any) -> None:
        seen.append(plan.title)
        assert established.works() == ALL, plan.title

    established.stages(established.start("regenerate"), watch)
    assert "Switch every server to its next certificates" in seen


def test_a_host_that_fails_before_the_switch_stops_the_rotation_for_all(established: Model) -> None:
    established.hosts["b"].breaks["certificate_set present"] = "io_error"
    established.hosts["b"].breaks["certificate_set "] = "io_error"
    run = established.run("regenerate")
    assert "b could not do its part" in run.failures[0]
    assert all(host.generations["current"]["state"] == "current" for host in established.hosts.values())
    assert established.works() == ALL


def test_next_certificates_that_are_not_accepted_are_not_switched_to(established: Model) -> None:
    def forget(run: Any, plan: Any) -> None:
        if plan.title == "Test that every peer accepts the next certificates":
            established.hosts["c"].accepted = frozenset()

    run = established.stages(established.start("regenerate"), forget)
    assert "nothing was switched" in run.failures[0]
    assert all("next" in host.generations for host in established.hosts.values())
    assert established.works() == ALL
    # The next run goes on from there.
    run = established.run("regenerate")
    assert (run.failures, ok(run), established.works()) == ([], 6, ALL)


@pytest.mark.parametrize("how", ["switch fails", "serves the old one"])
def test_if_the_mesh_got_worse_every_server_is_switched_back(established: Model, how: str) -> None:
    before = {name: host.generations["current"]["server"]["fingerprint"] for name, host in established.hosts.items()}

    def break_it(run: Any, plan: Any) -> None:
        host = established.hosts["b"]
        if how == "switch fails":
            host.breaks = {"certificate_set switched": "io_error"} if "Switch" in plan.title else {}
        elif plan.title == "Test every pair with the new certificates":
            host.served = before["b"]

    run = established.stages(established.start("regenerate"), break_it)
    assert "The rotation was rolled back on every server" in run.failures[0]
    assert "Every pair that worked before works again" in run.failures[0]
    now = {name: host.generations["current"]["server"]["fingerprint"] for name, host in established.hosts.items()}
    assert now == before
    assert established.works() == ALL
    run = established.run("regenerate")
    assert (run.failures, ok(run), established.works()) == ([], 6, ALL)


@pytest.mark.parametrize("endpoint", ["temporary", "nginx", {"a": "temporary", "b": "nginx", "c": "nginx"}])
def test_a_rotation_that_is_killed_in_any_stage_is_finished_by_the_next(generation: Any, endpoint: Any) -> None:
    make = fresh(generation, endpoint=endpoint)
    for model in killed(make, lambda model: model.start("regenerate"), 20):
        assert model.works() == ALL
        assert_settled(model, model.run("regenerate"))


def test_a_removal_that_is_killed_in_any_stage_is_finished_by_the_next(generation: Any) -> None:
    removal: Any = {"leaving": ["c"], "remove": ["c"]}
    for model in killed(fresh(generation), lambda model: model.start("remove", **removal), 9):
        assert model.works() >= {("a", "b"), ("b", "a")}
        run = model.run("remove", **removal)
        assert (run.failures, model.works()) == ([], {("a", "b"), ("b", "a")})
        assert model.hosts["c"].generations == {}


@pytest.mark.parametrize("others", [[], ["a", "c"]])
def test_an_answer_to_a_compromise_that_is_killed_is_finished_by_the_next(generation: Any, others: Any) -> None:
    answer: Any = {"compromised": ["b"], "regenerate": others}
    for model in killed(fresh(generation), lambda model: model.start("regenerate", **answer), 12):
        assert model.works() >= {("a", "c"), ("c", "a")}
        assert_settled(model, model.run("regenerate", **answer))


def test_an_absent_server_stops_a_rotation_or_is_waited_for(established: Model) -> None:
    established.hosts["c"].dead = True
    with pytest.raises(EsyncError, match="could not be reached"):
        established.run("regenerate")
    run = established.run("regenerate", offline="defer")
    assert "kept until c can be reached" in run.notes[-1]
    assert all("previous" in established.hosts[name].generations for name in "ab")
    established.hosts["c"].dead = False
    run = established.run("regenerate")
    assert (run.failures, ok(run), established.works()) == ([], 6, ALL)


def test_a_compromised_server_loses_trust_before_it_gets_new_keys(established: Model) -> None:
    old = established.hosts["b"].generations["current"]["client"]["fingerprint"]
    trusted_when_made = []

    def watch(run: Any, plan: Any) -> None:
        if plan.title == "Make new certificates in their place":
            trusted_when_made.extend(
                old in {entry["fingerprint"] for entry in established.hosts[name].trust or ()} for name in "ac"
            )

    run = established.stages(established.start("regenerate", compromised=["b"]), watch)
    assert trusted_when_made == [False, False]
    assert (run.failures, ok(run), established.works()) == ([], 6, ALL)
    assert old in {one.fingerprint for one in established.ledger["b"].distrusted}


def endpoint_steps(model: Model, operation: str, **options: Any) -> tuple[Any, list[tuple[str, str, Any]]]:
    """The run, and of each step of an endpoint the stage, the host, and the options."""
    seen = []

    def watch(run: Any, plan: Any) -> None:
        for host, made in plan.visits.items():
            seen.extend((plan.title, host, one["options"]) for one in made if one.get("step") == "endpoint")

    return model.stages(model.start(operation, **options), watch), seen


@pytest.mark.parametrize(
    ("operation", "title", "options"),
    [
        ("regenerate", "Stop trusting the compromised certificates", {"compromised": ["c"], "regenerate": ["a"]}),
        ("remove", "Stop trusting the removed servers", {"leaving": ["c"], "remove": ["c"]}),
    ],
)
def test_what_a_withdrawn_server_has_opened_ends_at_once(
    generation: Any, operation: str, title: str, options: Any
) -> None:
    model = fresh(generation, endpoint="nginx")()
    _run, seen = endpoint_steps(model, operation, **options)
    withdrawing = [(host, one) for where, host, one in seen if where == title]
    assert {host for host, _options in withdrawing} >= {"a", "b"}
    for host, one in withdrawing:
        assert not one["spare"]
        # Nobody is cut off from himself.
        assert one["withdrawn"] == ([{"address": "c.example", "port": 8732}] if host != "c" else [])
    # Its new certificates are as good as any.
    later = [one["withdrawn"] for where, _host, one in seen if where != title]
    assert not any(later)


@pytest.mark.parametrize("endpoint", ["temporary", "nginx"])
@pytest.mark.parametrize(
    ("operation", "base", "options"),
    [
        ("regenerate", {}, {}),
        ("regenerate", {}, {"compromised": ["b"], "regenerate": ["a"]}),
        ("regenerate", {"trust_model": "shared_keys"}, {"trust_model": "shared_keys"}),
        ("regenerate", {}, {"trust_model": "shared_keys"}),
        ("regenerate", {"trust_model": "shared_keys"}, {}),
        ("remove", {"trust_model": "shared_keys"}, {"leaving": ["b"], "remove": ["b"], "trust_model": "shared_keys"}),
    ],
)
def test_no_server_that_is_lost_in_a_run_is_left_behind_by_a_rotation(
    generation: Any, endpoint: str, operation: str, base: Any, options: Any
) -> None:
    """Killed visits: who is lost in front of a rotation, for one stage, would not learn what the others change to."""
    new = fresh(generation, ("a", "b", "c", "d"), endpoint, **base)
    titles: list[str] = []
    new_one = new()
    new_one.stages(new_one.start(operation, **options), lambda _run, plan: titles.append(plan.title))
    assert "Switch every server to its next certificates" in titles
    # Who is away already when the rotation is planned is another matter.
    for lost in range(1, len(titles)):
        model, reached = new(), 0
        before = model.works()

        def lose(_run: Any, _plan: Any, model: Model = model, lost: int = lost) -> None:
            nonlocal reached
            model.hosts["c"].dead = reached == lost
            reached += 1

        model.stages(model.start(operation, **options), lose)
        model.hosts["c"].dead = False
        assert not {pair for pair in before - model.works() if "b" not in pair}, titles[lost]


def test_no_rotation_begins_after_a_server_failed_in_front_of_it(generation: Any) -> None:
    model = fresh(generation, endpoint="temporary")()
    before = dict(model.hosts["a"].generations)
    proved = []

    def fail(_run: Any, plan: Any) -> None:
        proved.extend([plan.title] if plan.title == "Test every pair" else [])
        if plan.title == "Listen for the test" and proved:
            model.hosts["c"].breaks = {"probe_listener": "io_error"}

    run = model.stages(model.start("regenerate", compromised=["b"], regenerate=["a"]), fail)
    assert proved and "c could not do its part before the rotation" in run.failures[0]
    assert model.hosts["a"].generations == before


def test_a_server_that_learns_later_of_a_withdrawal_ends_those_connections_then(generation: Any) -> None:
    model = fresh(generation, endpoint="nginx")()
    model.hosts["b"].dead = True
    model.run("remove", leaving=["c"], remove=["c"])
    model.hosts["b"].dead = False
    model.names = ("a", "b")
    _run, seen = endpoint_steps(model, "establish")
    withdrawn = [(host, one["withdrawn"]) for _title, host, one in seen if one["state"] == "present"]
    assert withdrawn == [("b", [{"address": "c.example", "port": 8732}])]


def test_after_a_rotation_connections_of_the_retired_certificates_have_a_while(generation: Any) -> None:
    model = fresh(generation, endpoint="nginx")()
    model.settings = {"esync_drain_seconds": 90}
    run, seen = endpoint_steps(model, "regenerate")
    assert run.failures == []
    spared = {title for title, _host, one in seen if one["spare"]}
    assert spared == {"Retire the previous certificates"}
    drained = [(title, host, one["drain"]) for title, host, one in seen if one["state"] == "drained"]
    assert drained == [("Destroy the keys of the previous certificates", host, 90) for host in "abc"]


def test_all_wait_for_such_connections_at_the_same_time(generation: Any) -> None:
    model = fresh(generation, endpoint="nginx")()
    batches = {}

    def watch(run: Any, plan: Any) -> None:
        batches[plan.title] = plan.batch

    model.stages(model.start("regenerate"), watch)
    assert batches["Retire the previous certificates"] > 0
    assert batches["Destroy the keys of the previous certificates"] == 0


def test_ended_connections_are_reported(generation: Any) -> None:
    model = fresh(generation, endpoint="nginx")()
    run = model.run("remove", leaving=["c"], remove=["c"])
    assert notes_of_connections(run) == []
    model = fresh(generation, endpoint="nginx")()
    model.connections.update(ended=3, spared=1200, restarted=True)
    run = model.run("remove", leaving=["c"], remove=["c"])
    (note,) = notes_of_connections(run)
    assert "6 ended at a and b, 2,400 others go on" in note
    assert "endpoint of a and b had to be restarted" in note


def test_a_removed_server_is_refused_everywhere_before_its_keys_go(established: Model) -> None:
    run = established.run("remove", leaving=["c"], remove=["c"])
    assert run.failures == []
    assert established.hosts["c"].generations == {}
    assert established.works() == {("a", "b"), ("b", "a")}
    assert "c removed" in run.notes[-1]


def test_a_removed_server_that_is_still_accepted_keeps_its_keys(established: Model) -> None:
    def accept(run: Any, plan: Any) -> None:
        if plan.title == "Test that the removed servers are refused":
            fingerprint = established.hosts["c"].generations["current"]["client"]["fingerprint"]
            established.hosts["a"].accepted |= {fingerprint}

    run = established.stages(established.start("remove", leaving=["c"], remove=["c"]), accept)
    assert "was not seen refused everywhere" in run.failures[0]
    assert "current" in established.hosts["c"].generations


def test_a_certificate_that_nobody_announced_stops_a_rotation_for_all(established: Model) -> None:
    host = established.hosts["b"]
    host.generate("current", None)
    run = established.run("regenerate")
    assert "it presents a server certificate that no rotation announced" in run.failures[0]
    assert "b could not do its part" in run.failures[1]
    assert all("previous" not in one.generations for one in established.hosts.values())
    assert established.works() >= {("a", "c"), ("c", "a")}


def test_a_renamed_server_is_refused_before_anything_is_made(established: Model) -> None:
    host = established.hosts["b"]
    host.generations["current"] = {**host.make("old", "current", 900), "id": "900"}
    with pytest.raises(EsyncError, match="esync_discard_existing=b, then remove with -e esync_remove=old"):
        established.run("regenerate")
    assert {state for one in established.hosts.values() for state in one.generations} == {"current"}
    assert not any(one.rotation for one in established.hosts.values())


def test_only_due_and_named_servers_are_rotated(established: Model) -> None:
    assert established.run("regenerate", only_due=True).report_mode == ""
    assert established.titles == ["Read the certificates on each host"]
    before = {name: host.generations["current"]["id"] for name, host in established.hosts.items()}
    established.hosts["b"].due = ["expires_soon"]
    assert_settled(established, established.run("regenerate", only_due=True))
    assert_settled(established, established.run("regenerate", regenerate=["c"]))
    same = [name for name, host in established.hosts.items() if host.generations["current"]["id"] == before[name]]
    assert same == ["a"]


def test_announce_only_ends_before_the_switch_and_the_next_run_goes_on(established: Model) -> None:
    announced = established.run("regenerate", announce_only=True)
    assert announced.failures == [] and "run this playbook again without" in announced.notes[0]
    assert all("next" in host.generations for host in established.hosts.values())
    made = {name: host.generations["next"]["id"] for name, host in established.hosts.items()}
    assert_settled(established, established.run("regenerate"))
    assert {name: host.generations["current"]["id"] for name, host in established.hosts.items()} == made


def test_what_was_broken_before_a_rotation_does_not_hold_it_up(established: Model) -> None:
    # c lost its trust of b, and establish has not been run since.
    host = established.hosts["c"]
    host.trust = [one for one in host.trust or () if one["peer"] != "b"]

    def deafen(run: Any, plan: Any) -> None:
        established.hosts["c"].deaf = True

    run = established.stages(established.start("regenerate", announce_only=True), deafen)
    assert run.failures == [] and run.report_mode == "never"
    run = established.stages(established.start("regenerate"), deafen)
    # An endpoint that answers nobody was not seen to refuse either, so the keys of those that called it are kept.
    assert [failure.partition(". ")[0] for failure in run.failures] == [
        "a: the retired certificate was not seen refused everywhere",
        "b: the retired certificate was not seen refused everywhere",
    ]
    assert {name for name, host in established.hosts.items() if "previous" in host.generations} == {"a", "b"}
    assert {pair.target for pair in mesh_of(run).wrong} >= {"c"}


def test_two_servers_in_different_states_after_a_kill_are_brought_to_the_same(established: Model) -> None:
    def kill(run: Any, plan: Any) -> None:
        if plan.title == "Switch every server to its next certificates":
            established.visit("a", plan.visits["a"], plan)
            raise Killed

    with pytest.raises(Killed):
        established.stages(established.start("regenerate"), kill)
    assert "previous" in established.hosts["a"].generations and "next" in established.hosts["b"].generations
    assert established.works() == ALL
    assert_settled(established, established.run("regenerate"))


def test_retired_certificates_that_are_still_accepted_keep_their_keys(established: Model) -> None:
    old = established.hosts["b"].generations["current"]["client"]["fingerprint"]

    def accept(run: Any, plan: Any) -> None:
        if plan.title == "Test that retired certificates are refused":
            established.hosts["a"].accepted |= {old}

    run = established.stages(established.start("regenerate"), accept)
    assert "the retired certificate was not seen refused everywhere. b and a." in run.failures[0]
    assert set(established.hosts["b"].generations) == {"current", "previous"}
    assert set(established.hosts["c"].generations) == {"current"}
    assert_settled(established, established.run("regenerate"))


def test_a_proof_of_refusal_without_results_proves_nothing(established: Model, monkeypatch: Any) -> None:
    pair = established.pair

    def silent(caller: Any, peer: Any, options: Any, listening: Any) -> Any:
        found = pair(caller, peer, options, listening)
        return {} if options["expect"] == "refused" and caller.name == "c" else found

    monkeypatch.setattr(established, "pair", silent)
    run = established.run("remove", leaving=["c"], remove=["c"])
    assert "c -> a: not tested. c -> b: not tested." in run.failures[0]
    assert "current" in established.hosts["c"].generations


def test_a_rotation_with_both_kinds_of_endpoints(generation: Any) -> None:
    model = fresh(generation, endpoint={"a": "temporary", "b": "nginx", "c": "nginx"})()
    for operation in ("verify", "check", "establish", "regenerate"):
        assert_settled(model, model.run(operation))
    model.hosts["a"].dead = True
    run = model.run("verify")
    # Nobody expects an endpoint that only listens during a test on a server that is away.
    assert {pair.cause for pair in mesh_of(run).pairs if pair.verdict != "ok"} == {"host_unreachable"}


def test_external_peers_stop_a_change_of_the_trust_model_before_anything_is_made(generation: Any) -> None:
    model = applied(generation)
    with pytest.raises(EsyncError, match="the ledger has external peers"):
        model.run("regenerate", trust_model="shared_keys")
    assert all(set(host.generations) == {"current"} for host in model.hosts.values())


@pytest.mark.parametrize("endpoint", ["temporary", "nginx"])
def test_a_mesh_of_two_becomes_one(generation: Any, endpoint: str) -> None:
    model = fresh(generation, names=("a", "b"), endpoint=endpoint)()
    run = model.run("remove", leaving=["b"], remove=["b"])
    assert run.failures == [] and model.hosts["b"].generations == {}
    assert model.hosts["a"].trust == []


def test_a_removed_server_that_is_away_is_distrusted_and_keeps_its_keys(established: Model) -> None:
    established.hosts["c"].dead = True
    run = established.run("remove", leaving=["c"], remove=["c"])
    assert run.failures == [] and run.notes == [
        "c removed: nobody trusts it any more. It could not be reached, so its keys are still on it."
    ]
    assert established.works() == {("a", "b"), ("b", "a")} and established.ledger["c"].removed_at


def test_a_removed_server_with_a_wrong_clock_is_destroyed_all_the_same(established: Model) -> None:
    seen: list[Any] = []
    established.stages(
        established.start("remove", leaving=["c"], remove=["c"]),
        lambda run, plan: seen.extend(plan.visits.get("c", ())),
    )
    [options] = [one["options"] for one in seen if one["step"] == "certificate_set"]
    assert options["state"] == "absent" and "control_clock" not in options


def test_only_the_ledger_may_know_who_is_removed(established: Model) -> None:
    established.names = ("a", "b")
    del established.hosts["c"]
    run = established.run("remove", remove=["c"])
    assert run.failures == [] and "it is no host of the inventory" in run.notes[-1]
    assert established.works() == {("a", "b"), ("b", "a")}


def test_where_nobody_is_left_to_refuse_it_a_removed_server_keeps_its_keys(established: Model) -> None:
    for name in "ab":
        established.hosts[name].breaks["peer_trust"] = "io_error"
    run = established.run("remove", leaving=["c"], remove=["c"])
    assert any("no other server could test that it is refused" in failure for failure in run.failures)
    assert "current" in established.hosts["c"].generations


def test_a_reload_that_did_nothing_is_repeated_once_the_test_has_shown_it(generation: Any) -> None:
    """A reload command that does nothing ends well, the certificate served is the right one, and so it is noted."""
    model = fresh(generation, endpoint="external")()
    model.hosts["b"].reloads = False
    run = model.run("regenerate")
    assert "the mesh is worse than before" in " ".join(run.failures)
    assert {name for name, record in model.ledger.items() if record.not_loaded} == {"b"}
    # The user corrects the command. Nothing on the disk of b has changed since.
    model.hosts["b"].reloads = True
    assert_settled(model, model.run("regenerate"))
    assert not any(record.not_loaded for record in model.ledger.values())


def test_establish_repeats_it_too(generation: Any) -> None:
    model = fresh(generation, endpoint="external")()
    model.hosts["b"].reloads = False
    model.run("regenerate")
    model.hosts["b"].reloads = True
    model.run("establish")
    assert not model.ledger["b"].not_loaded
    assert model.hosts["b"].accepted == model.hosts["b"].in_force()[1]


def test_a_check_notes_nothing(generation: Any) -> None:
    model = fresh(generation, endpoint="external")()
    model.hosts["b"].accepted = frozenset()
    before = dict(model.ledger)
    for operation in ("verify", "check"):
        assert ok(model.run(operation)) == 4
    assert model.ledger == before
