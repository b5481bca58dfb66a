# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Callers that still present what a rotation retires: named, waited for, and what follows."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.esync.mesh.plugins.plugin_utils._ledger.pending import pending_updates_of
from ansible_collections.esync.mesh.plugins.plugin_utils._planning.retiring import has_moved

from .meshes import ALL, assert_settled, fresh, ok
from .model_mesh import Model, killed

WAITING = "Wait for callers that still present the previous certificates"
RETIRING = "Retire the previous certificates"


def nginx(generation: Any, **options: Any) -> Model:
    model: Model = fresh(generation, endpoint="nginx", **options)()
    return model


def watched(model: Model, operation: str = "regenerate", **options: Any) -> tuple[Any, list[tuple[str, str, Any]]]:
    """The run, and the stage, the host and the options of each look."""
    seen = []

    def watch(run: Any, plan: Any) -> None:
        for host, made in plan.visits.items():
            looks = [one for one in made if one["options"].get("state") == "watched"]
            assert len(looks) <= 1
            seen.extend((plan.title, host, one["options"]) for one in looks)

    return model.stages(model.start(operation, **options), watch), seen


def test_a_caller_that_still_presents_the_previous_certificate_is_named(generation: Any) -> None:
    model = nginx(generation)
    model.stragglers["a", "b"] = {"process": "python3 (process 4711)"}
    run, seen = watched(model)
    assert_settled(model, run)
    (note,) = [one for one in run.notes if "still presented" in one]
    assert (
        "a presented its previous client certificate to b from 192.0.2.1, 3 times, the last time 0.5 seconds before it "
        "was looked up; that was python3 (process 4711)." in note
    )
    assert "esync_retire_timeout, which is 0 (seconds)" in note
    # In the visit that retires them, before that is done.
    assert {(title, host) for title, host, _options in seen} == {(RETIRING, host) for host in "abc"}
    assert max(model.calls.values()) <= 10


def test_nobody_is_named_who_presents_the_new_one(generation: Any) -> None:
    model = nginx(generation)
    run, _seen = watched(model)
    assert_settled(model, run)
    assert run.notes == []


def test_all_servers_wait_at_the_same_time_in_one_visit(generation: Any) -> None:
    model = nginx(generation)
    plans = {}

    def watch(run: Any, plan: Any) -> None:
        plans[plan.title] = plan

    run = model.stages(model.start("regenerate", retire_timeout=90), watch)
    assert_settled(model, run)
    plan = plans[WAITING]
    assert set(plan.visits) == set("abc")
    assert (plan.batch, plan.seconds) == (0, 90)
    assert max(model.calls.values()) <= 11
    # What was looked for: what was switched away from, and by whom this host is called.
    ((step,),) = [made for host, made in plan.visits.items() if host == "a"]
    assert len(step["options"]["retired"]) == 3 and step["options"]["peer_ports"] == [8732]
    looks = [one for one in plans[RETIRING].visits["a"] if one["options"].get("state") == "watched"]
    assert looks == []


def test_what_counts_is_what_was_presented_after_the_switch_by_the_clock_of_the_host(
    generation: Any, monkeypatch: Any
) -> None:
    model = nginx(generation)
    now = [1000.0]
    monkeypatch.setattr("time.time", lambda: now[0])
    seen = {}

    def watch(run: Any, plan: Any) -> None:
        now[0] += 10
        for server in run.servers.values():
            server.clock_ahead = 5.0
        if plan.title == "Test every pair with the new certificates":
            seen["switched"] = now[0] - 10
        if plan.title == WAITING:
            seen.update({host: made[0]["options"]["since"] for host, made in plan.visits.items()})

    model.stages(model.start("regenerate", retire_timeout=1), watch)
    assert {seen[host] for host in "abc"} == {seen["switched"] + 5}


@pytest.mark.parametrize("seconds", [0, 30])
def test_a_run_that_is_to_stop_keeps_both_and_the_next_one_goes_on(generation: Any, seconds: int) -> None:
    model = nginx(generation)
    model.stragglers["a", "b"] = {}
    run, seen = watched(model, retire_timeout=seconds, retire_stragglers="stop")
    (failure,) = run.failures
    assert "a presented its previous client certificate to b" in failure
    assert "which process that was, was not seen" in failure
    assert "run the playbook again" in failure
    assert {title for title, _host, _options in seen} == {WAITING}
    assert all(set(host.generations) == {"current", "previous"} for host in model.hosts.values())
    for host in model.hosts.values():
        trusted = {entry["fingerprint"] for entry in host.trust or ()}
        others = [one for one in model.hosts.values() if one is not host]
        assert trusted >= {facts["client"]["fingerprint"] for one in others for facts in one.generations.values()}
    assert (ok(run), model.works()) == (6, ALL)
    assert pending_updates_of(run.names, model.ledger) == []
    renewed = {name: host.generations["current"]["id"] for name, host in model.hosts.items()}
    model.stragglers.clear()
    run, _seen = watched(model, retire_timeout=seconds, retire_stragglers="stop")
    assert_settled(model, run)
    assert {name: host.generations["current"]["id"] for name, host in model.hosts.items()} == renewed


def test_after_the_time_it_retires_all_the_same_unless_it_is_to_stop(generation: Any) -> None:
    model = nginx(generation)
    model.stragglers["a", "b"] = model.stragglers["a", "c"] = {"process": "sync (process 1)"}
    run, _seen = watched(model, retire_timeout=30)
    assert_settled(model, run)
    (note,) = run.notes
    # One program is one sentence, whatever it called.
    assert note.count("a presented its previous client certificate to b and c from 192.0.2.1, 6 times") == 1
    assert "which is 30 (seconds)" in note


@pytest.mark.parametrize("stragglers", ["retire", "stop"])
def test_an_endpoint_that_cannot_know_is_named_and_given_the_time(generation: Any, stragglers: str) -> None:
    model = nginx(generation)
    model.mute = ("b",)
    run, seen = watched(model, retire_timeout=30, retire_stragglers=stragglers)
    assert_settled(model, run)
    (note,) = run.notes
    assert "not known of the endpoint of b" in note and "whole 30 seconds" in note
    assert {host for _title, host, _options in seen} == set("abc")


def test_with_temporary_endpoints_nobody_waits(generation: Any) -> None:
    model: Model = fresh(generation)()
    run, seen = watched(model, retire_timeout=30, retire_stragglers="stop")
    assert_settled(model, run)
    assert (seen, run.notes) == ([], [])


def test_where_some_are_temporary_their_processes_are_named_too(generation: Any) -> None:
    model: Model = fresh(generation, endpoint={"a": "temporary", "b": "nginx", "c": "nginx"})()
    model.stragglers["a", "b"] = {"process": "sync (process 1)"}
    run, _seen = watched(model, retire_timeout=30)
    assert_settled(model, run)
    (note,) = run.notes
    assert "that was sync (process 1)" in note and "not known" not in note


def test_of_a_shared_client_key_the_caller_is_who_opened_the_connection(generation: Any) -> None:
    model = nginx(generation, trust_model="shared_keys")
    # What is presented to b is b's own, whoever calls.
    model.stragglers["a", "b"] = {"owner": "b", "process": "sync (process 1)"}
    model.stragglers["c", "b"] = {"owner": "b"}
    run, _seen = watched(model, trust_model="shared_keys", retire_timeout=30)
    assert_settled(model, run)
    (note,) = run.notes
    assert "a presented the previous shared client key to b from 192.0.2.1" in note
    assert "a caller presented the previous shared client key to b from 192.0.2.3" in note


@pytest.mark.parametrize(("before", "after"), [("pinned", "shared_keys"), ("shared_keys", "pinned")])
def test_a_change_of_the_trust_model_waits_too(generation: Any, before: str, after: str) -> None:
    model = nginx(generation, trust_model=before)
    owner = {"owner": "b"} if before == "shared_keys" else {}
    model.stragglers["a", "b"] = {**owner}
    options = {"trust_model": after, "retire_timeout": 30, "retire_stragglers": "stop"}
    run, seen = watched(model, **options)
    assert {title for title, _host, _options in seen} == {WAITING}
    assert "are not retired" in run.failures[0]
    assert model.works() == ALL
    assert all("previous" in host.generations for host in model.hosts.values())
    old = {host.generations["previous"]["client"]["fingerprint"] for host in model.hosts.values()}
    for host in model.hosts.values():
        assert old & host.accepted
    model.stragglers.clear()
    run, _seen = watched(model, **options)
    assert_settled(model, run)


@pytest.mark.parametrize("options", [{}, {"retire_timeout": 30, "retire_stragglers": "stop"}])
def test_a_removal_waits_for_nobody_who_holds_what_was_shared(generation: Any, options: Any) -> None:
    model = nginx(generation, trust_model="shared_keys")
    _run, seen = watched(model, "remove", leaving=["c"], remove=["c"], trust_model="shared_keys", **options)
    assert RETIRING in model.titles and WAITING not in model.titles
    assert seen == []


def test_a_rotation_with_a_wait_that_is_killed_in_any_stage_is_finished_by_the_next(generation: Any) -> None:
    options: Any = {"retire_timeout": 30}
    for model in killed(fresh(generation, endpoint="nginx"), lambda model: model.start("regenerate", **options), 11):
        assert model.works() == ALL
        assert_settled(model, model.run("regenerate", **options))


@pytest.mark.parametrize(
    ("seconds_ago", "longest_gap", "renewed_ago", "moved"),
    [
        # It never presented another one.
        (30.0, 1.0, None, False),
        # The last one that it presented was the previous one.
        (1.0, 5.0, 2.0, False),
        # It called each second, with the previous one first, then with another.
        (30.0, 1.0, 0.5, True),
        # One program at that address goes on with it each 30 seconds, while others have long moved.
        (10.0, 30.0, 0.5, False),
        # A single call with it, then others.
        (2.0, 0.0, 1.0, True),
    ],
)
def test_a_caller_has_moved_once_it_stays_away_longer_than_ever(
    seconds_ago: float, longest_gap: float, renewed_ago: float | None, moved: bool
) -> None:
    said = {"seconds_ago": seconds_ago, "longest_gap": longest_gap, "renewed_ago": renewed_ago}
    assert has_moved(said) is moved
