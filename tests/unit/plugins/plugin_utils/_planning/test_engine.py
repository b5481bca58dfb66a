# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""From stage to stage."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.esync.mesh.plugins.module_utils._core.errors import EsyncError
from ansible_collections.esync.mesh.plugins.plugin_utils._inventory.sites import Site
from ansible_collections.esync.mesh.plugins.plugin_utils._planning import engine
from ansible_collections.esync.mesh.plugins.plugin_utils._planning.engine import Visited, advance, begin, conclude
from ansible_collections.esync.mesh.plugins.plugin_utils._planning.operations import OPERATIONS

from .meshes import ABC, ALL, applied, fresh, ok
from .model_mesh import Broken, Model


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


def test_a_service_that_is_restarted_is_down_at_one_server_at_a_time(established: Model) -> None:
    run = established._through_json(established.start("regenerate", reload_batch="100%"))
    database = Site("db", 5432, reload=("systemctl", "restart", "db"), attached=True, restarts=True)
    run.servers["b"].sites = [database.facts()]
    reload = [{"step": "endpoint", "options": {"state": "present"}}]
    assert [engine._batch(run, dict.fromkeys(names, reload)) for names in ("abc", "ac")] == [1, 3]


def test_who_failed_before_the_run_is_a_failed_server_and_who_waits_for_another_batch_is_not(model: Model) -> None:
    run = model.start("establish")
    begin(run, ["a", "b", "c"], ["a"], ["a", "c"])
    assert {name: server.state for name, server in run.servers.items()} == {"a": "ok", "b": "failed", "c": "not_in_run"}


@pytest.mark.parametrize("found", [None, Visited("unreachable"), Visited("failed")])
def test_a_host_that_ansible_gave_up_takes_no_more_part(established: Model, found: Any) -> None:
    run = established._through_json(established.start("establish"))
    plan = advance(run, {}, set(ABC))
    visited = {host: established.visit(host, steps, plan) for host, steps in plan.visits.items()}
    if found is None:
        del visited["b"]
    else:
        visited["b"] = found
    advance(run, visited, {"a", "c"})
    assert run.servers["b"].state == ("unreachable" if found == Visited("unreachable") else "failed")
    assert [server.name for server in run.present] == ["a", "c"]


def test_what_a_failed_visit_did_before_is_known(established: Model) -> None:
    established.hosts["b"].breaks = {"endpoint": "io_error", "probe_listener": "io_error"}
    run = established.run("establish")
    assert run.servers["b"].state == "failed" and run.servers["b"].read["generations"]


def test_a_stage_says_how_long_its_visits_may_take_and_whether_another_can_follow(established: Model) -> None:
    plans: list[Any] = []
    established.stages(established.start("verify"), lambda run, plan: plans.append(plan))
    assert [plan.last for plan in plans] == ([False] if established.endpoint == "nginx" else [False, True])
    assert plans[-1].seconds > 0


def test_a_run_that_ended_has_no_further_stage(established: Model) -> None:
    run = established.run("regenerate", only_due=True)
    assert run.ended and advance(run, {}, set(ABC)).visits == {}
    conclude(run, {}, set(ABC))
    assert run.failures == []


def test_every_failure_that_stops_a_run_names_the_server_and_the_stage(established: Model) -> None:
    established.hosts["b"].breaks = {"peer_trust": "io_error"}
    run = established.run("regenerate")
    assert run.failures[-1].startswith("b could not do its part (Apply the next certificates besides the current ones)")
    assert "run the playbook again" in run.failures[-1]


def test_tests_use_temporary_endpoints_up(generation: Any) -> None:
    model = fresh(generation)()
    seen: dict[str, list[bool]] = {}
    run = model.start("regenerate")
    model.stages(run, lambda run, plan: seen.update({plan.title: [one.listening for one in run.members]}))
    assert seen["Test which pairs work, and make the next certificates"] == [True] * 3
    assert seen["Destroy the keys of the previous certificates"] == [True] * 3
    run = model.run("verify")
    assert not any(server.listening for server in run.members)


# What each may do to the pairs: a server whose keys are replaced at once has none meanwhile, and if the others do not
# wait for one that is away, it cannot know them until it is back.
REMOVAL: Any = {"leaving": ["c"], "remove": ["c"]}

OPERATIONS_TRIED: Any = [
    *((name, {}, ALL) for name in ("establish", "verify", "check", "repair", "regenerate")),
    ("regenerate", {"offline": "defer"}, {("a", "c"), ("c", "a")}),
    ("regenerate", {"compromised": ["c"]}, {("a", "b"), ("b", "a")}),
    ("establish", {"discard": ["c"]}, {("a", "b"), ("b", "a")}),
]


@pytest.mark.parametrize("frozen", ["before", "after"])
@pytest.mark.parametrize("endpoint", ["temporary", "nginx"])
@pytest.mark.parametrize(("operation", "options", "kept"), OPERATIONS_TRIED)
def test_nobody_waits_twice_for_a_host_that_hangs_and_whatever_it_did_no_pair_is_lost(
    generation: Any, operation: str, options: Any, kept: Any, endpoint: str, frozen: str
) -> None:
    for moment in range(100):
        model = fresh(generation, endpoint=endpoint)()
        model.hosts["a"].wrong = [Broken("x").error] if operation == "repair" else []
        asked: list[str] = []

        def freeze(run: Any, plan: Any, model: Model = model, moment: int = moment, note: Any = asked.append) -> None:
            if len(model.titles) == moment + 1:
                model.hosts["b"].frozen = frozen
            if model.hosts["b"].frozen and "b" in plan.visits:
                note(plan.title)

        run = model.start(operation, **options)
        try:
            run = model.stages(run, freeze)
            if not model.hosts["b"].frozen:
                break
            if asked:
                assert run.servers["b"].state == "failed" and ok(run) < 6
            if "Roll back: switch every server back" in model.titles:
                assert "rolled back on every server but b" in " ".join(run.failures)
        except EsyncError as error:
            assert error.kind == "offline" and asked == ["Read the certificates on each host"]
        assert len(asked) <= 1, asked
        assert model.works() >= kept, asked
        model.hosts["b"].frozen, model.hosts["a"].wrong = "", []
        again = model.run(operation, **options)
        assert (again.failures, model.works()) == ([], ALL), asked
    assert moment >= (1 if endpoint == "nginx" else 2)


@pytest.mark.parametrize("frozen", ["before", "after"])
@pytest.mark.parametrize(("operation", "options"), [("apply", {}), ("export", {}), ("remove", REMOVAL)])
def test_the_others_go_on_without_a_host_that_hangs(generation: Any, operation: str, options: Any, frozen: str) -> None:
    model = applied(generation)
    model.hosts["b"].frozen = frozen
    run = model.run(operation, **options)
    assert model.calls["b"] == 1
    # To the end of the table, and not only beside it.
    assert run.position == len(OPERATIONS[operation].stages) - 1 and run.failures == []
    assert run.servers["b"].state == "failed" and run.servers["a"].state == "ok"
    model.hosts["b"].frozen = ""
    assert model.works() >= {("a", "b"), ("b", "a")}
    assert model.run(operation, **options).failures == []
