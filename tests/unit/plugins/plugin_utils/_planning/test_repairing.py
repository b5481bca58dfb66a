# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Repairs by a given plan, on the model of a mesh."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from ansible_collections.esync.mesh.plugins.plugin_utils._planning import repairing

from .meshes import assert_settled, fresh, ok
from .model_mesh import Model


@pytest.fixture
def repaired(established: Model, monkeypatch: Any) -> Any:
    """Runs repair with a plan: server name to actions."""

    def repair(actions: dict[str, list[str]], watch: Any = None, **options: Any) -> Any:
        found = SimpleNamespace(servers=actions, disputed=(), lines=("the plan",))
        monkeypatch.setattr(repairing, "plan_repair", lambda mesh, restartable: found)
        return established.stages(established.start("repair", **options), watch)

    return repair


def test_a_repair_does_what_its_plan_says_and_nothing_else(established: Model, repaired: Any) -> None:
    before = {name: host.generations["current"]["id"] for name, host in established.hosts.items()}
    established.hosts["b"].lost = True
    run = repaired({"b": ["renew"]})
    assert_settled(established, run)
    assert [n for n, host in established.hosts.items() if host.generations["current"]["id"] != before[n]] == ["b"]
    run = repaired({})
    assert run.failures == [] and ok(run) == 6
    assert not [title for title in established.titles if "once more" in title]


def test_the_host_has_the_last_word_on_whether_a_key_is_left(established: Model, repaired: Any) -> None:
    """Between the plan and the repair somebody may have brought it back."""
    before = {name: host.generations["current"]["id"] for name, host in established.hosts.items()}
    assert_settled(established, repaired({"b": ["renew"]}))
    assert {name: host.generations["current"]["id"] for name, host in established.hosts.items()} == before


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
    found = SimpleNamespace(servers={"a": ["exchange"]}, disputed=(), lines=())
    monkeypatch.setattr(repairing, "plan_repair", lambda mesh, restartable: found)
    run = model.run("repair", **shared)
    assert (run.failures, ok(run)) == ([], 6)
    assert len(model.hosts["a"].shared["entries"]) == 2


def test_what_is_trusted_of_a_server_in_dispute_is_kept_while_the_others_are_repaired(established: Model) -> None:
    before = [one for one in established.hosts["a"].trust or () if one["peer"] == "b"]
    established.hosts["a"].trust = before
    made = established.make("b", "current", 900)
    established.hosts["b"].generations["current"] = made
    established.run("repair")
    after = established.hosts["a"].trust or ()
    assert {one["peer"] for one in after} == {"b", "c"}
    assert [one for one in after if one["peer"] == "b"] == before


def test_an_endpoint_that_refuses_one_caller_only_is_reloaded_and_not_stopped(generation: Any) -> None:
    model = Model(generation, ["a", "b", "c", "d"], "nginx")
    model.run("establish")
    b, own = model.hosts["b"], model.hosts["c"].generations["current"]["client"]["fingerprint"]
    b.accepted -= {own}
    done: list[tuple[str, bool]] = []

    def watch(run: Any, plan: Any) -> None:
        asked = [step["options"] for step in plan.visits.get("b", ()) if step["step"] == "endpoint"]
        done.extend((one["state"], one["restart"]) for one in asked if one["state"] != "observed")

    run = model.stages(model.start("repair"), watch)
    assert done == [("forgotten", False), ("present", False)]
    assert own in b.accepted and not run.failures and ok(run) == 12


def test_an_error_is_of_the_host_that_returned_it(established: Model) -> None:
    run = established.start("repair")
    run.servers["c"].errors = [{"kind": "x", "cause": "its key is gone", "remedy": "Make it again", "server": "a"}]
    repairing.keep_errors(run)
    assert run.failures == ["c: its key is gone. Make it again."]


def test_a_repair_takes_no_next_certificates_away_that_the_ledger_does_not_have(established: Model) -> None:
    made = established.make("b", "next", 901)
    established.hosts["b"].generations["next"] = made
    told = [
        {"peer": "b", "role": role, "state": "next", "fingerprint": made[role]["fingerprint"]}
        for role in ("server", "client")
    ]
    # Some control node has announced them, and something else is missing here.
    established.hosts["a"].trust = [*(one for one in established.hosts["a"].trust or () if one["peer"] == "b"), *told]
    established.run("repair")
    after = established.hosts["a"].trust or ()
    assert {one["peer"] for one in after} == {"b", "c"}
    assert [one for one in after if one["state"] == "next"] == sorted(told, key=lambda one: one["role"])
