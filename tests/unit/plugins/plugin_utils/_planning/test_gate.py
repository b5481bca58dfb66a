# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The gate: what it tests, and what closes it."""

from __future__ import annotations

from typing import Any

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
    model.settings = {"esync_gate_peers": ["a", "delta"]}
    plan = gate(model)
    assert "esync_gate_peers names delta" in plan.visits["b"][0]["refuse"]


def test_nobody_passes_a_gate_of_temporary_endpoints(generation: Any) -> None:
    plan = gate(fresh(generation)())
    assert {steps[0]["errors"][0]["kind"] for steps in plan.visits.values()} == {"gate_needs_endpoint"}
