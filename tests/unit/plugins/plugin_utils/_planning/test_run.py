# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What one stage hands to the next."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ansible_collections.esync.mesh.plugins.module_utils._core.errors import EsyncError, EsyncErrors
from ansible_collections.esync.mesh.plugins.plugin_utils._planning.run import Run, errors_of, next_in_ring

from .meshes import fresh
from .model_mesh import Model


def test_a_run_survives_json(generation: Any) -> None:
    model = fresh(generation, trust_model="shared_keys")()
    for operation in ("regenerate", "verify"):
        run = model.run(operation, trust_model="shared_keys")
        data = json.loads(json.dumps(run.to_json()))
        again = Run.from_json({**data, "unknown": 1})
        assert again.to_json() == data and again.servers == run.servers
    assert again.ledger == {} and again.written == {}


def test_the_plan_of_a_rotation_survives_json(established: Model) -> None:
    run = established.run("regenerate")
    assert run.rotation_plan.rotating == ("a", "b", "c")
    assert run.rotates(run.servers["a"]) and not run.changes_model


def test_a_trust_is_parsed_once_and_again_when_another_one_is_read(established: Model) -> None:
    server = established.run("verify").servers["a"]
    before = server.trust
    assert before and server.trust is before
    told = server.read["trust"]
    server.read = {**server.read, "trust": {**told, "entries": told["entries"][:1]}}
    assert server.trust == before[:1]
    server.read = {}
    assert server.trust is None


@pytest.mark.parametrize(
    ("kinds", "states", "expected"),
    [
        ("ttt", ("ok", "ok", "ok"), {"a": "bc", "b": "ac", "c": "ab"}),
        ("ttt", ("ok", "ok", "unreachable"), {"a": "b", "b": "a", "c": "ab"}),
        ("nnn", ("ok", "failed", "not_in_run"), {"a": "bc", "b": "ac", "c": "ab"}),
        ("tnn", ("not_in_run", "ok", "ok"), {"b": "c", "c": "b"}),
        ("tnn", ("ok", "unreachable", "ok"), {"a": "c", "c": "ab"}),
    ],
)
def test_who_can_be_tested(generation: Any, kinds: str, states: Any, expected: dict[str, str]) -> None:
    endpoints = {name: {"t": "temporary", "n": "nginx"}[kind] for name, kind in zip("abc", kinds)}
    run = Model(generation, ("a", "b", "c"), endpoints).start("verify")
    for server, state in zip(run.servers.values(), states):
        server.state = state
    found = {name: "".join(one.name for one in run.counterparts(run.servers[name])) for name in expected}
    assert found == expected


def test_who_may_not_read_its_keys_is_no_counterpart(established: Model) -> None:
    run = established.start("check")
    run.servers["c"].read = {"readable": False}
    names = [one.name for one in run.counterparts(run.servers["a"])]
    assert names == (["b", "c"] if established.endpoint == "nginx" else ["b"])


def test_only_what_differs_is_written(established: Model) -> None:
    run = established.start("verify")
    run.ledger = dict(established.ledger)
    run.record(established.ledger["a"])
    assert run.written == {}


def test_a_server_that_fails_takes_no_more_part(established: Model) -> None:
    run = established.start("verify")
    run.fail(run.servers["b"], EsyncErrors([EsyncError("x", "y", kind="one"), EsyncError("x", "y", kind="two")]))
    assert [one.name for one in run.present] == ["a", "c"]
    assert [one["kind"] for one in run.servers["b"].errors] == ["one", "two"]
    assert len(run.failures) == 1


def test_errors_are_those_of_hosts() -> None:
    assert errors_of(EsyncError("x", "y", kind="k"))[0]["kind"] == "k"


@pytest.mark.parametrize(("name", "others", "expected"), [("b", "ac", "c"), ("c", "ab", "a"), ("a", "c", "c")])
def test_the_ring_gives_everybody_another_one(name: str, others: str, expected: str) -> None:
    assert next_in_ring(name, set(others)) == expected
