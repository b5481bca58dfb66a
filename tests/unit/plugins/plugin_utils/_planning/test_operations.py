# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Every operation, stage by stage, on the model of a mesh: what each stage does, and what each failure leads to."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from ansible_collections.esync.mesh.plugins.module_utils._core.errors import EsyncError
from ansible_collections.esync.mesh.plugins.plugin_utils._planning import repairing
from ansible_collections.esync.mesh.plugins.plugin_utils._planning.operations import OPERATIONS
from ansible_collections.esync.mesh.plugins.plugin_utils._report.observed import mesh_of

from .model_mesh import Killed, Model, killed

ABC = ("a", "b", "c")
ALL = {(one, other) for one in ABC for other in ABC if one != other}


@pytest.fixture(params=["temporary", "nginx"])
def model(request: Any, generation: Any) -> Model:
    """Three servers that know nothing of each other."""
    return Model(generation, ABC, request.param)


@pytest.fixture
def established(model: Model) -> Model:
    """Three servers, established."""
    model.run("establish")
    return model


def ok(run: Any) -> int:
    return mesh_of(run).count("ok")


def test_establish_makes_exchanges_and_proves(model: Model) -> None:
    run = model.run("establish")
    assert (ok(run), run.failures) == (6, [])
    assert model.works() == ALL
    assert set(model.calls.values()) == {3}


def test_establish_again_prepares_the_test_in_the_first_visit(established: Model) -> None:
    run = established.run("establish")
    assert (ok(run), run.failures, run.written) == (6, [], {})
    assert set(established.calls.values()) == {2}


def test_verify_and_check_take_no_more_visits_than_they_need(established: Model) -> None:
    for operation in ("verify", "check"):
        run = established.run(operation)
        assert (ok(run), run.failures) == (6, [])
        assert set(established.calls.values()) == ({1} if established.endpoint == "nginx" else {2})


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


def fresh(generation: Any, names: Any = ABC, endpoint: Any = "temporary", **options: Any) -> Any:
    """Makes established meshes."""

    def make() -> Model:
        model = Model(generation, names, endpoint)
        model.run("establish", **options)
        return model

    return make


def assert_settled(model: Model, run: Any) -> None:
    """Every pair works, and nothing of an earlier generation is left anywhere."""
    assert (run.failures, ok(run), model.works()) == ([], 6, ALL)
    for host in model.hosts.values():
        assert set(host.generations) == {"current"}
        assert {entry["state"] for entry in host.trust or ()} == {"current"}
        assert host.rotation is None


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


OPERATIONS_THAT_CHANGE: Any = {
    "establish": ("establish", {}),
    "establish new": ("establish", {"discard": ["a"]}),
    "regenerate": ("regenerate", {}),
    "compromised": ("regenerate", {"compromised": ["a"]}),
    "to shared keys": ("regenerate", {"trust_model": "shared_keys"}),
    "from shared keys": ("regenerate", {}),
}


@pytest.mark.parametrize("endpoint", ["temporary", "nginx"])
@pytest.mark.parametrize("how", ["dead", "failed", "frozen"])
@pytest.mark.parametrize("operation", OPERATIONS_THAT_CHANGE)
def test_a_server_lost_in_any_stage_costs_the_others_nothing(
    generation: Any, operation: str, how: str, endpoint: str
) -> None:
    name, options = OPERATIONS_THAT_CHANGE[operation]
    before = {"trust_model": "shared_keys"} if operation == "from shared keys" else {}
    planned = options.get("compromised") or options.get("discard") or []
    unaffected = {(one, other) for one, other in ALL if not {one, other} & {"b", *planned}}
    lost = 0
    for lost_at in range(100):
        model = fresh(generation, endpoint=endpoint, **before)()
        count = 0

        def lose(run: Any, plan: Any, model: Model = model, lost_at: int = lost_at) -> None:
            nonlocal count, lost
            host = model.hosts["b"]
            if count == lost_at and "b" in plan.visits:
                lost += 1
                host.dead = how == "dead"
                host.breaks = {"*": "io_error"} if how == "failed" else {}
                if how == "frozen":
                    # It goes on and nobody hears of it.
                    model.visit("b", plan.visits["b"], plan)
                    host.breaks = {"*": "host_frozen"}
            count += 1
            assert unaffected <= model.works(), plan.title

        try:
            run = model.stages(model.start(name, **options), lose)
            assert not model.hosts["b"].breaks or run.failures or mesh_of(run).wrong, lost_at
        except EsyncError as error:
            assert "could not be reached" in str(error)
        assert unaffected <= model.works()
        host = model.hosts["b"]
        if not host.dead and not host.breaks:
            if count <= lost_at:
                break
            continue
        host.dead, host.breaks = False, {}
        run = model.run(name, **options)
        assert (run.failures, ok(run), model.works()) == ([], 6, ALL), lost_at
        assert all(set(one.generations) == {"current"} for one in model.hosts.values())
    assert lost >= 2


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


def test_names_that_nobody_knows_are_refused_with_the_nearest(established: Model) -> None:
    with pytest.raises(EsyncError, match="neither the mesh nor the ledger knows it"):
        established.run("remove", remove=["delta"])


def test_check_mode_changes_nothing_anywhere(model: Model) -> None:
    run = model.run("establish", check=True)
    assert run.written == {}
    assert all(not host.generations for host in model.hosts.values())


def test_the_model_itself_can_fail(established: Model) -> None:
    established.hosts["a"].accepted = frozenset()
    established.hosts["a"].trust = []
    assert established.works() == {("b", "c"), ("c", "b")}


# -- discard_existing -----------------------------------------------------------------------------------------------


def test_sets_are_destroyed_only_where_that_was_asked_for(established: Model) -> None:
    before = {name: host.generations["current"]["id"] for name, host in established.hosts.items()}
    run = established.run("establish", discard=["b"])
    assert_settled(established, run)
    changed = [name for name, host in established.hosts.items() if host.generations["current"]["id"] != before[name]]
    assert changed == ["b"]


def test_the_warning_counts_the_pairs_that_are_down(established: Model) -> None:
    seen: list[str] = []
    established.stages(established.start("establish", discard=["b"]), lambda run, plan: seen.extend(run.said))
    warning = " ".join(seen)
    assert "WARNING: all keys and certificates of b are destroyed" in warning
    assert "4 of 6 pairs are down" in warning and "Not in this run" not in warning


def test_nothing_is_destroyed_for_a_name_outside_this_run(established: Model) -> None:
    before = established.hosts["b"].generations
    seen: list[str] = []
    run = established.start("establish", discard=["b"], only=["a", "c"])
    established.stages(run, lambda run, plan: seen.extend(run.said))
    assert "Not in this run: b. Nothing is destroyed." in seen
    assert established.hosts["b"].generations == before and established.works() == ALL


@pytest.mark.parametrize("discard", [[], ["a", "b", "c"]])
def test_a_wrong_clock_on_one_host_stops_the_run_before_anything_is_destroyed(
    established: Model, discard: list[str]
) -> None:
    before = {name: host.generations for name, host in established.hosts.items()}
    established.hosts["b"].breaks = {"certificate_set present": "clock_skew", "certificate_set ": "clock_skew"}
    with pytest.raises(EsyncError, match="The run stops here for all servers") as caught:
        established.run("establish", discard=discard)
    assert caught.value.kind == "clock_skew" and "b: clock_skew there" in str(caught.value)
    assert {name: host.generations for name, host in established.hosts.items()} == before
    assert established.works() == ALL


# -- regenerate -----------------------------------------------------------------------------------------------------


def test_a_certificate_that_nobody_announced_stops_a_rotation_for_all(established: Model) -> None:
    host = established.hosts["b"]
    host.generate("current", None)
    run = established.run("regenerate")
    assert "it shows a server certificate that no rotation announced" in run.failures[0]
    assert "b could not do its part" in run.failures[1]
    assert all("previous" not in one.generations for one in established.hosts.values())
    assert established.works() >= {("a", "c"), ("c", "a")}


def test_only_due_and_named_servers_are_rotated(established: Model) -> None:
    assert established.run("regenerate", only_due=True).judge == ""
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
    assert run.failures == [] and run.judge == "never"
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
        return {**found, "to": "nobody"} if options["expect"] == "refused" and caller.name == "c" else found

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


# -- remove ---------------------------------------------------------------------------------------------------------


def test_a_mesh_of_two_becomes_one(generation: Any) -> None:
    model = fresh(generation, names=("a", "b"))()
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


# -- verify, check --------------------------------------------------------------------------------------------------


def test_a_server_that_is_away_is_reported_and_the_others_are_tested(established: Model) -> None:
    established.hosts["c"].dead = True
    for operation in ("establish", "verify", "check"):
        mesh = mesh_of(established.run(operation))
        assert mesh.count("ok") == 2
        assert {server.name: server.state for server in mesh.servers}["c"] == "unreachable"
        assert mesh.wrong


def test_a_check_keeps_what_went_wrong_for_its_report(established: Model) -> None:
    established.hosts["c"].breaks = {"certificate_info": "io_error"}
    run = established.run("check")
    mesh = mesh_of(run)
    assert run.judge == "all_and_fail" and mesh.faults
    assert ["o_error there" in problem.evidence for problem in mesh.faults if problem.server == "c"] == [True]


def test_a_host_whose_keys_may_not_be_read_tests_nothing(established: Model) -> None:
    established.hosts["c"].readable = False
    mesh = mesh_of(established.run("check"))
    assert {server.name: server.state for server in mesh.servers}["c"] == "unreadable"
    assert not [pair for pair in mesh.pairs if pair.source == "c" and pair.verdict == "ok"]


def test_a_damaged_endpoint_does_not_keep_a_check_from_testing(established: Model) -> None:
    established.hosts["c"].breaks = {"endpoint observed": "missing_dependency"}
    mesh = mesh_of(established.run("check"))
    assert mesh.count("ok") == 6
    assert bool(mesh.faults) == (established.endpoint == "nginx")


def test_one_server_of_another_trust_model_does_not_keep_the_others_from_being_verified(established: Model) -> None:
    host = established.hosts["c"]
    own = {"peer": "c", "role": "client", "state": "current"}
    own["fingerprint"] = host.generations["current"]["client"]["fingerprint"]
    host.trust = [one for one in host.trust or () if one["role"] == "server"] + [own]
    run = established.run("verify")
    [failure] = run.failures
    assert failure.startswith("c: its trust is by the model shared_keys")
    assert mesh_of(run).count("ok") >= 2


# -- limits, batches ------------------------------------------------------------------------------------------------


def test_a_limited_run_and_a_batch_change_nothing_of_the_others(established: Model) -> None:
    before = {name: host.trust for name, host in established.hosts.items()}
    for who in ({"only": ["a"]}, {"batch": ["a"]}):
        run = established.run("establish", **who)
        assert (run.failures, established.calls["b"]) == ([], 0)
        assert {name: host.trust for name, host in established.hosts.items()} == before
        mesh = mesh_of(run)
        assert {server.state for server in mesh.servers if server.name != "a"} == {"not_in_run"}
        assert not mesh.wrong
    with pytest.raises(EsyncError, match="is not part of this run"):
        established.run("regenerate", batch=["a", "b"])


def test_a_mesh_established_batch_by_batch_ends_up_whole(model: Model) -> None:
    for name in ABC:
        model.run("establish", batch=[name])
    run = model.run("establish")
    assert_settled(model, run)


def test_a_single_server_that_knows_nobody_has_received_all_there_is(model: Model) -> None:
    model.run("establish", only=["a"])
    assert model.ledger["a"].trust == {}


# -- export, apply --------------------------------------------------------------------------------------------------


FOLDER: Any = {"esync_folder": "/srv/exchange"}


def applied(generation: Any, endpoint: str = "temporary", **options: Any) -> Model:
    """A mesh that knows the server x of another mesh."""
    model = fresh(generation, endpoint=endpoint, **options)()
    model.settings = FOLDER
    made = {**generation("x", "current", 500), "id": "500"}
    model.outside["x"] = x = Model(generation, ("x",)).hosts["x"]
    x.resident, x.generations = True, {"current": made}
    for host in model.hosts.values():
        host.folder = [{"name": "x", "address": "x.example", "port": 8732, "generations": [made]}]
    run = model.run("apply", **options)
    assert run.failures == []
    return model


def let_in(model: Model) -> None:
    """The other mesh applies what this one exported."""
    x = model.outside["x"]
    x.trust = [
        {"peer": name, "role": "client", "fingerprint": host.generations["current"]["client"]["fingerprint"]}
        for name, host in model.hosts.items()
    ]
    x.listen()


@pytest.mark.parametrize("endpoint", ["temporary", "nginx"])
def test_external_peers_are_applied_called_verified_and_removed(generation: Any, endpoint: str) -> None:
    model = applied(generation, endpoint)
    assert model.ledger["x"].origin == "applied"
    assert all({"x"} <= {one["peer"] for one in host.trust} for host in model.hosts.values())
    run = model.run("apply")
    assert run.failures == [] and "a -> x: endpoint_not_listening" in " ".join(run.notes)
    assert "Not every external peer" in model.run("verify").failures[0]
    let_in(model)
    run = model.run("verify")
    assert (run.failures, run.notes) == ([], ["Every external peer answered as it should."])
    assert ok(run) == 6
    assert_settled(model, model.run("regenerate"))
    run = model.run("remove", remove=["x"])
    assert run.failures == [] and not any("x" in {one["peer"] for one in host.trust} for host in model.hosts.values())


def test_the_versions_of_external_peers_are_not_compared(generation: Any) -> None:
    model = applied(generation)
    seen: list[Any] = []
    model.stages(model.start("verify"), lambda run, plan: seen.extend(plan.visits["a"]))
    [probe] = [one for one in seen if one.get("tag") == "external"]
    assert "product_version" not in probe["options"] and probe["options"]["clusters"] == []


def test_one_bad_folder_stops_the_apply_for_all_and_one_absent_host_does_not(generation: Any) -> None:
    model = applied(generation)
    model.hosts["b"].folder = [{**model.hosts["b"].folder[0], "generations": [generation("x", "current", 501)]}]
    with pytest.raises(EsyncError, match="it holds x with"):
        model.run("apply", accept_changed=["x"])
    model.hosts["b"].breaks = {"exchange_folder_info": "damaged_file"}
    assert "b could not do its part" in model.run("apply").failures[0]
    model.hosts["b"].breaks, model.hosts["b"].dead = {}, True
    run = model.run("apply")
    assert run.failures == [] and run.notes[-1].startswith("Not reached: b.")


def test_client_sets_of_external_peers_come_from_the_folder_and_those_of_members_from_them(generation: Any) -> None:
    shared: Any = {"trust_model": "shared_keys"}
    model = applied(generation, **shared)
    model.hosts["a"].shared = None
    model.run("apply", **shared)
    entries = model.hosts["a"].shared["entries"]
    assert [one["peer"] for one in entries] == ["b", "c", "x"]
    # A server whose folder is gone says what it is missing.
    model.hosts["a"].shared, model.hosts["a"].folder = None, []
    seen: list[str] = []
    model.stages(model.start("establish", **shared), lambda run, plan: seen.extend(run.said))
    assert "a lacks the client sets of x" in " ".join(seen)


def test_export_shows_fingerprints_and_one_failure_stops_nobody(established: Model) -> None:
    with pytest.raises(EsyncError, match="no folder is named"):
        established.run("export")
    established.settings = FOLDER
    established.hosts["a"].folder = [{"name": "a", "address": None, "port": None, "generations": []}]
    run = established.run("export")
    assert (run.failures, run.judge) == ([], "")
    assert run.servers["a"].folder == {"folder": "/srv/exchange", "changed": False, "fingerprints": ["a aa:bb"]}
    established.hosts["b"].breaks, established.hosts["c"].dead = {"*": "io_error"}, True
    run = established.run("export")
    assert run.servers["b"].state == "failed" and run.servers["a"].folder
    assert run.failures == ["c: the control node cannot reach it, so nothing is exported."]


# -- the gate -------------------------------------------------------------------------------------------------------


def gate(model: Model, **who: Any) -> Any:
    """What the first and only stage of the gate has for every host."""
    plans: list[Any] = []
    model.stages(model.start("gate", **who), lambda run, plan: plans.append(plan))
    [plan] = plans
    return plan


def test_the_gate_tests_the_peers_that_are_named(generation: Any) -> None:
    model = fresh(generation, endpoint="nginx")()
    model.settings = {"esync_gate_peers": ["a", "b"]}
    plan = gate(model, check=True)
    assert not plan.check and plan.last
    peers = {host: [one["name"] for one in steps[1]["options"]["peers"]] for host, steps in plan.visits.items()}
    assert peers == {"a": ["b"], "b": ["a"], "c": ["a", "b"]}
    model.settings = {"esync_gate_peers": ["a", "delta"]}
    plan = gate(model)
    assert "esync_gate_peers names delta" in plan.visits["b"][0]["refuse"]


def test_nobody_passes_a_gate_of_temporary_endpoints(generation: Any) -> None:
    plan = gate(fresh(generation)())
    assert {steps[0]["errors"][0]["kind"] for steps in plan.visits.values()} == {"gate_needs_endpoint"}


# -- repair ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def repaired(established: Model, monkeypatch: Any) -> Any:
    """Runs repair with a plan: server name to actions."""

    def repair(actions: dict[str, list[str]], watch: Any = None, **options: Any) -> Any:
        found = SimpleNamespace(servers=actions, lines=("the plan",))
        monkeypatch.setattr(repairing, "plan_repair", lambda mesh, restartable: found)
        return established.stages(established.start("repair", **options), watch)

    return repair


def test_a_repair_does_what_its_plan_says_and_nothing_else(established: Model, repaired: Any) -> None:
    before = {name: host.generations["current"]["id"] for name, host in established.hosts.items()}
    run = repaired({"b": ["renew"]})
    assert_settled(established, run)
    assert [n for n, host in established.hosts.items() if host.generations["current"]["id"] != before[n]] == ["b"]
    run = repaired({})
    assert run.failures == [] and ok(run) == 6
    assert not [title for title in established.titles if "once more" in title]


def test_a_repair_restarts_a_deaf_endpoint_and_brings_trust_up_to_date(established: Model, repaired: Any) -> None:
    established.hosts["a"].trust = []
    run = repaired({"a": ["exchange"]})
    assert_settled(established, run)
    if established.endpoint == "nginx":
        established.hosts["c"].deaf = True
        assert_settled(established, repaired({"c": ["restart"]}))


def test_a_repair_in_check_mode_tests_and_repairs_nothing(established: Model, repaired: Any) -> None:
    before = {name: host.generations for name, host in established.hosts.items()}
    run = repaired({"b": ["renew"]}, check=True)
    assert {name: host.generations for name, host in established.hosts.items()} == before
    assert ok(run) == 6 and run.repairs == {"b": ["renew"]}


@pytest.mark.parametrize("step", ["certificate_set", "peer_trust"])
def test_what_a_repair_could_not_do_is_told_at_its_end(established: Model, repaired: Any, step: str) -> None:
    def break_it(run: Any, plan: Any) -> None:
        if plan.title.startswith("Repair"):
            established.hosts["a"].trust = []
        established.hosts["a"].breaks = {step: "io_error"}

    run = repaired({"a": ["exchange", "renew"]}, break_it)
    assert run.failures == ["a: io_error there. Repair it."]


def test_a_repair_with_shared_keys_hands_over_what_is_missing(generation: Any, monkeypatch: Any) -> None:
    shared: Any = {"trust_model": "shared_keys"}
    model = fresh(generation, **shared)()
    model.hosts["a"].shared = None
    found = SimpleNamespace(servers={"a": ["exchange"]}, lines=())
    monkeypatch.setattr(repairing, "plan_repair", lambda mesh, restartable: found)
    run = model.run("repair", **shared)
    assert (run.failures, ok(run)) == ([], 6)
    assert len(model.hosts["a"].shared["entries"]) == 2


# -- check mode, the tables -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("operation", sorted(OPERATIONS))
def test_check_mode_changes_nothing_in_any_operation(established: Model, operation: str, monkeypatch: Any) -> None:
    monkeypatch.setattr(
        repairing, "plan_repair", lambda mesh, able: SimpleNamespace(servers={"a": ["renew"]}, lines=())
    )
    established.settings = FOLDER
    # There is something to do for everybody.
    established.hosts["a"].trust = []
    established.hosts["b"].due = ["expires_soon"]
    before = {name: host.read() for name, host in established.hosts.items()}
    ledger = dict(established.ledger)
    named: Any = {"leaving": ["c"], "remove": ["c"]} if operation == "remove" else {}
    established.run(operation, check=True, **named)
    assert {name: host.read() for name, host in established.hosts.items()} == before
    assert established.ledger == ledger


def test_a_batch_of_reloads_that_is_no_number_is_refused_before_any_host_is_touched(established: Model) -> None:
    with pytest.raises(EsyncError, match="esync_reload_batch is 'some'"):
        established.run("establish", reload_batch="some")
    assert set(established.calls.values()) == {0}


@pytest.mark.parametrize(("batch", "hosts"), [("1", 1), ("50%", 1), ("100%", 3), ("25%", 1), (2, 2), ("0", 1)])
def test_few_endpoints_reload_at_the_same_moment(generation: Any, batch: Any, hosts: int) -> None:
    model = fresh(generation, endpoint="nginx")()
    found: dict[str, int] = {}
    run = model.start("regenerate", reload_batch=batch)
    model.stages(run, lambda run, plan: found.update({plan.title: plan.batch}))
    assert found["Switch every server to its next certificates"] == hosts
    assert found["Test every pair with the new certificates"] == 0
