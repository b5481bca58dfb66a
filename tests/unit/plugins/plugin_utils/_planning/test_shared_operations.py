# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The operations of a mesh whose servers share their client keys, on the model of a mesh."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.esync.mesh.plugins.module_utils._core.errors import EsyncError
from ansible_collections.esync.mesh.plugins.plugin_utils._planning.observed import mesh_of

from .meshes import ABC, ALL, fresh, ok
from .model_mesh import Killed, Model, killed

SHARED: Any = {"trust_model": "shared_keys"}
FETCH, HOLD = "Read the client sets that peers are missing", "Hand every server the client sets of its peers"


@pytest.fixture(params=["temporary", "nginx"])
def model(request: Any, generation: Any) -> Model:
    """Three servers, established with shared keys."""
    made = Model(generation, ABC, request.param)
    made.run("establish", **SHARED)
    return made


def held(model: Model, name: str) -> set[tuple[str, str]]:
    entries = (model.hosts[name].shared or {"entries": []})["entries"]
    return {(one["peer"], one["state"]) for one in entries}


def current_client(model: Model, name: str) -> str:
    return str(model.hosts[name].generations["current"]["client"]["fingerprint"])


def assert_settled(model: Model, run: Any) -> None:
    """Every pair works, and nothing of an earlier generation is left anywhere."""
    assert (run.failures, ok(run), model.works()) == ([], 6, ALL)
    for name, host in model.hosts.items():
        assert set(host.generations) == {"current"}
        assert held(model, name) == {(other, "current") for other in ABC if other != name}
        assert {one["fingerprint"] for one in host.shared["entries"]} == {
            current_client(model, other) for other in ABC if other != name
        }
        # Who calls presents this server's own client certificate, so no other is accepted.
        assert [one["peer"] for one in host.trust if one["role"] == "client"] == [name]


def test_establish_hands_every_server_the_client_sets_of_its_peers(model: Model) -> None:
    assert_settled(model, model.run("establish", **SHARED))
    assert FETCH not in model.titles
    assert set(model.calls.values()) == {2}


def test_verify_changes_nothing_and_presents_what_was_handed_over(model: Model) -> None:
    run = model.run("verify", **SHARED)
    assert (ok(run), run.failures, run.written) == (6, [], {})


def test_a_server_that_cannot_be_read_holds_up_nobody_else(generation: Any) -> None:
    model = Model(generation, ABC)
    model.hosts["c"].breaks = {"shared_client_sets fetched": "io_error"}
    run = model.run("establish", **SHARED)
    assert model.works() >= {("a", "b"), ("b", "a")}
    assert held(model, "a") == {("b", "current")}
    assert mesh_of(run).wrong and not run.ended
    model.hosts["c"].breaks = {}
    assert_settled(model, model.run("establish", **SHARED))


def test_keys_that_were_on_their_way_are_forgotten_at_once(model: Model, generation: Any) -> None:
    seen = {}

    def watch(run: Any, plan: Any) -> None:
        seen[plan.title] = bool(run.payloads)

    fresh = Model(generation, ABC)
    fresh.stages(fresh.start("establish", **SHARED), watch)
    assert seen[HOLD] and not any(seen[title] for title in seen if title != HOLD)


def test_regenerate_replaces_what_peers_hold(model: Model) -> None:
    before = {name: current_client(model, name) for name in ABC}

    def watch(run: Any, plan: Any) -> None:
        assert model.works() == ALL, plan.title

    run = model.stages(model.start("regenerate", **SHARED), watch)
    assert_settled(model, run)
    assert all(current_client(model, name) != before[name] for name in ABC)
    assert model.titles.count("Switch every server to its next certificates") == 1


def test_a_compromise_of_one_replaces_all_and_proves_what_was_held_refused(model: Model) -> None:
    before = {name: current_client(model, name) for name in ABC}
    run = model.run("regenerate", compromised=["b"], **SHARED)
    assert_settled(model, run)
    assert all(current_client(model, name) != before[name] for name in ABC)
    assert "Test that shared client keys of before are refused" in model.titles


def test_shared_keys_that_are_still_accepted_after_a_compromise_fail_the_run(model: Model) -> None:
    old = current_client(model, "c")

    def accept(run: Any, plan: Any) -> None:
        if plan.title == "Test that shared client keys of before are refused":
            model.hosts["c"].accepted |= {old}

    run = model.stages(model.start("regenerate", compromised=["b"], **SHARED), accept)
    assert "a shared client key was not seen refused everywhere" in " ".join(run.failures)


@pytest.mark.parametrize("endpoint", ["temporary", "nginx"])
def test_a_mesh_goes_over_to_shared_keys_and_back_without_an_outage(generation: Any, endpoint: str) -> None:
    model = Model(generation, ABC, endpoint)
    model.run("establish")

    def watch(run: Any, plan: Any) -> None:
        assert model.works() == ALL, plan.title

    run = model.stages(model.start("regenerate", **SHARED), watch)
    assert_settled(model, run)
    run = model.stages(model.start("regenerate"), watch)
    assert (run.failures, ok(run), model.works()) == ([], 6, ALL)
    assert all(host.shared is None for host in model.hosts.values())
    assert "Take shared client keys out of use" in model.titles
    run = model.run("establish")
    assert (run.failures, run.written) == ([], {})


def test_only_regenerate_goes_from_one_model_to_the_other(model: Model) -> None:
    for operation in ("establish", "verify"):
        run = model.run(operation)
        assert len(run.failures) == 3 and "its trust is by the model shared_keys" in run.failures[0]
    assert model.works() == ALL
    with pytest.raises(EsyncError, match="that takes two runs"):
        model.run("remove", leaving=["c"], remove=["c"])
    assert not model.ledger["c"].removed_at


@pytest.mark.parametrize("towards", ["shared_keys", "pinned"])
def test_a_change_of_the_model_that_is_killed_anywhere_is_ended_by_the_next_run(generation: Any, towards: str) -> None:
    start: Any = {"trust_model": "pinned" if towards == "shared_keys" else "shared_keys"}
    goal: Any = {"trust_model": towards}
    for model in killed(fresh(generation, **start), lambda model: model.start("regenerate", **goal), 16):
        assert model.works() == ALL
        run = model.run("regenerate", **goal)
        assert (run.failures, ok(run), model.works()) == ([], 6, ALL)
        run = model.run("verify", **goal)
        assert (run.failures, ok(run)) == ([], 6)
        assert all((host.shared is None) == (towards == "pinned") for host in model.hosts.values())


def test_removal_replaces_what_the_removed_server_holds_once(model: Model) -> None:
    before = {name: current_client(model, name) for name in ABC}
    run = model.run("remove", leaving=["c"], remove=["c"], **SHARED)
    assert run.failures == []
    assert model.hosts["c"].generations == {} and model.hosts["c"].shared is None
    assert model.works() == {("a", "b"), ("b", "a")}
    assert all(current_client(model, name) != before[name] for name in "ab")
    assert held(model, "a") == {("b", "current")}
    assert model.titles.count("Switch every server to its next certificates") == 1
    assert "Test that what the removed servers hold of the others is refused" in model.titles


def test_removal_is_proved_again_as_long_as_what_the_removed_server_holds_is_accepted(model: Model) -> None:
    old = current_client(model, "a")

    def accept(run: Any, plan: Any) -> None:
        if plan.title == "Test that what the removed servers hold of the others is refused":
            model.hosts["a"].accepted |= {old}

    run = model.stages(model.start("remove", leaving=["c"], remove=["c"], **SHARED), accept)
    assert "a shared client key was not seen refused everywhere" in " ".join(run.failures)
    assert model.hosts["c"].shared and not model.ledger["c"].replaced
    model.hosts["a"].accepted -= {old}
    assert model.run("remove", leaving=["c"], remove=["c"], **SHARED).failures == []
    assert model.titles.count("Test that what the removed servers hold of the others is refused") == 1
    assert model.ledger["c"].replaced


def test_removal_ends_a_pending_rotation_first_and_then_replaces_its_result(model: Model) -> None:
    def stop(run: Any, plan: Any) -> None:
        if plan.title == "Test every pair with the new certificates":
            raise Killed

    with pytest.raises(Killed):
        model.stages(model.start("regenerate", **SHARED), stop)
    handed = {name: current_client(model, name) for name in ABC}
    run = model.run("remove", leaving=["c"], remove=["c"], **SHARED)
    assert run.failures == []
    # The first rotation was only ended; what it had made was known to the removed server, and is replaced.
    assert model.titles.count("Switch every server to its next certificates") == 2
    assert all(current_client(model, name) != handed[name] for name in "ab")
    assert model.works() == {("a", "b"), ("b", "a")} and model.hosts["c"].generations == {}


def test_removal_has_not_ended_while_an_absent_server_needs_the_old_keys(generation: Any) -> None:
    model = Model(generation, ("a", "b", "c", "d"))
    model.run("establish", **SHARED)
    model.hosts["d"].dead = True
    with pytest.raises(EsyncError, match="could not be reached"):
        model.run("remove", leaving=["c"], remove=["c"], **SHARED)
    assert not model.ledger["c"].removed_at
    run = model.run("remove", leaving=["c"], remove=["c"], offline="defer", **SHARED)
    assert "What c holds of the others is still accepted" in run.failures[0] and "until d can be" in run.failures[0]
    assert "a shared client key was not seen refused" in run.failures[1]
    # It can still show what it holds, so its keys are kept for the proof.
    assert model.hosts["c"].shared and "current" in model.hosts["c"].generations
    assert not model.ledger["c"].replaced
    with pytest.raises(EsyncError, match="a rotation is pending until d can be reached"):
        model.run("remove", leaving=["c"], remove=["c"], offline="defer", **SHARED)
    model.hosts["d"].dead = False
    run = model.run("remove", leaving=["c"], remove=["c"], **SHARED)
    assert run.failures == [] and model.hosts["c"].generations == {}
    assert len(model.works()) == 6


def test_removal_of_a_server_that_is_away_has_not_ended_while_another_one_is(generation: Any) -> None:
    model = fresh(generation, ("a", "b", "c", "d"), **SHARED)()
    model.hosts["c"].dead = model.hosts["d"].dead = True
    model.run("remove", leaving=["c"], remove=["c"], offline="defer", **SHARED)
    # The previous certificates are kept for the other one, so what the removed server holds is still accepted.
    assert not model.ledger["c"].replaced


def test_removal_has_not_ended_while_somebody_has_not_retired_what_the_removed_server_holds(model: Model) -> None:
    def lose(run: Any, plan: Any) -> None:
        model.hosts["b"].dead = plan.title == "Retire the previous certificates"

    model.stages(model.start("remove", leaving=["c"], remove=["c"], **SHARED), lose)
    assert "Retire the previous certificates" in model.titles and not model.ledger["c"].replaced
    model.hosts["b"].dead = False
    assert model.run("remove", leaving=["c"], remove=["c"], **SHARED).failures == []
    assert model.ledger["c"].replaced


def test_removal_that_is_killed_anywhere_is_ended_by_the_next_run(generation: Any) -> None:
    removal: Any = {"leaving": ["c"], "remove": ["c"], **SHARED}
    for model in killed(fresh(generation, **SHARED), lambda model: model.start("remove", **removal), 16):
        assert model.works() >= {("a", "b"), ("b", "a")}
        run = model.run("remove", **removal)
        assert run.failures == []
        assert model.works() == {("a", "b"), ("b", "a")}
        assert model.hosts["c"].generations == {} and model.hosts["c"].shared is None
        assert {tuple(model.hosts[name].generations) for name in "ab"} == {("current",)}
        assert model.ledger["c"].replaced
        before = {name: current_client(model, name) for name in "ab"}
        assert model.run("remove", **removal).failures == []
        assert {name: current_client(model, name) for name in "ab"} == before
        run = model.run("verify", leaving=["c"], **SHARED)
        assert (run.failures, ok(run)) == ([], 2)


def test_an_answer_to_a_compromise_that_is_killed_anywhere_is_ended_by_the_next_run(generation: Any) -> None:
    answer: Any = {"compromised": ["b"], **SHARED}
    for model in killed(fresh(generation, **SHARED), lambda model: model.start("regenerate", **answer), 10):
        assert_settled(model, model.run("regenerate", **answer))


@pytest.mark.parametrize("check", ["establish", "regenerate", "remove", "verify", "check"])
def test_check_mode_changes_nothing(model: Model, check: str) -> None:
    before = {name: host.read() for name, host in model.hosts.items()}
    ledger = dict(model.ledger)
    named: Any = {"leaving": ["c"], "remove": ["c"]} if check == "remove" else {}
    model.run(check, check=True, **named, **SHARED)
    assert {name: host.read() for name, host in model.hosts.items()} == before
    assert model.ledger == ledger
