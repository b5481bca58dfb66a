# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The gate: what it tests, and what closes it."""

from __future__ import annotations

from typing import Any

from ansible_collections.esync.mesh.plugins.plugin_utils._planning import gate as gates

from .meshes import fresh
from .model_mesh import Model


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
    model.settings = {"esync_gate_peers": ["a", "delta", "aa"]}
    plan = gate(model)
    assert "esync_gate_peers names delta, aa (is a meant?)" in plan.visits["b"][0]["refuse"]


def test_nobody_passes_a_gate_of_temporary_endpoints(generation: Any) -> None:
    plan = gate(fresh(generation)())
    assert {steps[0]["errors"][0]["kind"] for steps in plan.visits.values()} == {"gate_needs_endpoint"}


# -- what came back -------------------------------------------------------------------------------------------------

ASKED: Any = [
    {"step": "certificate_info"},
    {"step": "peer_probe", "tag": "gate", "options": {"peers": [{"name": "b"}]}},
]
GOOD: Any = {"to": "b", "verdict": "ok", "cause": None, "detail": "", "remedy": ""}


def refusal(*results: Any) -> str:
    return str(gates.refusal("a", ASKED, results) or "")


def test_the_gate_is_open_where_everything_is_as_it_should_be() -> None:
    assert refusal({"problems": []}, {"results": [GOOD]}) == ""
    assert gates.refusal("a", [{"step": "certificate_info"}], []) is None


def test_the_gate_is_closed_by_files_by_pairs_and_by_what_is_missing() -> None:
    problem = {"kind": "wrong_mode", "cause": "its mode is wrong", "remedy": "Run repair", "path": "/etc/esync"}
    assert "a: /etc/esync: its mode is wrong. Run repair." in refusal({"problems": [problem]}, {"results": [GOOD]})
    failed = {**GOOD, "verdict": "failed", "cause": "not_tls", "detail": "It spoke HTTP.", "site": "shop"}
    said = refusal({"problems": []}, {"results": [failed]})
    assert said.startswith("The gate is closed, and nothing was changed. a -> b") and "not_tls. It spoke HTTP." in said
    assert "a -> b: not tested." in refusal({"problems": []})
    assert "a -> b: not tested." in refusal({"problems": []}, {"results": []})


def test_who_is_not_of_the_mesh_or_away_does_not_pass() -> None:
    for error in (gates.outsider("x"), gates.unreachable("x")):
        assert error.kind == "gate_closed" and str(error).startswith("x: ")
