# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Every operation, stage by stage, on the model of a mesh: what each stage does, and what each failure leads to."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.esync.mesh.plugins.module_utils._core.errors import EsyncError
from ansible_collections.esync.mesh.plugins.plugin_utils._report.observed import mesh_of

from .model_mesh import Model

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


def test_a_run_that_is_killed_in_any_stage_is_finished_by_the_next(generation: Any) -> None:
    class Killed(Exception):
        pass

    seen = 0
    for stop_at in range(30):
        for stage in ("before the visit", "after it"):
            model = Model(generation, ABC)
            model.run("establish")
            count = 0

            def kill(run: Any, plan: Any, model: Model = model, stop_at: int = stop_at, stage: str = stage) -> None:
                nonlocal count
                assert model.works() == ALL, plan.title
                if count == stop_at:
                    if stage == "after it":
                        for host, steps in plan.visits.items():
                            model.visit(host, steps, plan)
                    raise Killed
                count += 1

            try:
                model.stages(model.start("regenerate"), kill)
            except Killed:
                seen += 1
            assert model.works() == ALL
            run = model.run("regenerate")
            assert (run.failures, ok(run)) == ([], 6), (stop_at, stage)
            assert model.works() == ALL
            assert {tuple(host.generations) for host in model.hosts.values()} == {("current",)}
    assert seen >= 18


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
