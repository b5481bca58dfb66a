# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Every stage of every operation takes place somewhere: a stage that no mesh ever reaches is a mistake in its table."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from ansible_collections.esync.mesh.plugins.plugin_utils._planning import repairing
from ansible_collections.esync.mesh.plugins.plugin_utils._planning.operations import OPERATIONS

from .meshes import applied, fresh
from .model_mesh import Killed, Model

SHARED: Any = {"trust_model": "shared_keys"}
REMOVAL: Any = {"leaving": ["c"], "remove": ["c"]}
SWITCHED = "Test every pair with the new certificates"


def killed_at(model: Model, title: str, operation: str, **options: Any) -> Model:
    """A mesh whose run was killed before a stage."""

    def kill(run: Any, plan: Any) -> None:
        if plan.title == title:
            raise Killed

    with pytest.raises(Killed):
        model.stages(model.start(operation, **options), kill)
    return model


def got_worse(model: Model, operation: str, **options: Any) -> Model:
    """A mesh whose rotation was rolled back."""

    def break_it(run: Any, plan: Any) -> None:
        model.hosts["b"].deaf = plan.title == SWITCHED

    run = model.stages(model.start(operation, **options), break_it)
    assert "rolled back" in " ".join(run.failures)
    return model


def reach(generation: Any, monkeypatch: Any) -> set[tuple[str, int]]:
    """The stages that were reached, as operation and position in its table."""
    found: list[Model] = []

    def on(model: Model, operation: str, **options: Any) -> Model:
        model.run(operation, **options)
        found.append(model)
        return model

    repair = SimpleNamespace(servers={"a": ["renew", "exchange"]}, disputed=(), lines=())
    monkeypatch.setattr(repairing, "plan_repair", lambda mesh, restartable: repair)
    nginx = fresh(generation, endpoint="nginx")()
    on(nginx, "gate")
    nginx.stragglers["a", "b"] = {}
    on(nginx, "regenerate", retire_timeout=1, retire_stragglers="stop")
    model = fresh(generation)()
    for operation, options in (
        ("establish", {"discard": ["a"]}),
        *((name, {}) for name in ("verify", "check", "regenerate", "repair")),
        ("regenerate", {"compromised": ["b"], "regenerate": ["a"]}),
        ("regenerate", SHARED),
        ("establish", SHARED),
        ("regenerate", {"compromised": ["b"], **SHARED}),
        ("regenerate", {}),
        ("remove", REMOVAL),
    ):
        model.hosts["a"].lost = operation == "repair"
        on(model, operation, **options)
    # What shared keys add: those that are missing are fetched, and shared.
    on(Model(generation, ("a", "b", "c")), "establish", **SHARED)
    model = applied(generation, **SHARED)
    for operation in ("apply", "export", "repair"):
        model.hosts["a"].shared = None
        on(model, operation, **SHARED)
    # A server that is away needs the old certificates.
    model = fresh(generation)()
    model.hosts["c"].dead = True
    on(model, "regenerate", offline="defer")
    model = fresh(generation, ("a", "b", "c", "d"), **SHARED)()
    model.hosts["d"].dead = True
    on(model, "remove", offline="defer", **REMOVAL, **SHARED)
    # In a removal there can be two rotations, and each can end in each way.
    on(fresh(generation, **SHARED)(), "remove", **REMOVAL, **SHARED)
    on(killed_at(fresh(generation, **SHARED)(), SWITCHED, "regenerate", **SHARED), "remove", **REMOVAL, **SHARED)
    model = fresh(generation, **SHARED)()
    model.run("regenerate", announce_only=True, **SHARED)
    on(model, "remove", **REMOVAL, **SHARED)
    for operation in ("regenerate", "remove"):
        leaving = REMOVAL if operation == "remove" else {}
        found.append(got_worse(fresh(generation, **SHARED)(), operation, **leaving, **SHARED))
    for second in ("got worse", "lost a server"):
        model = fresh(generation, ("a", "b", "c", "d"), **SHARED)()
        killed_at(model, SWITCHED, "regenerate", **SHARED)
        first = 0

        def trouble(run: Any, plan: Any, model: Model = model, second: str = second) -> None:
            nonlocal first
            first += plan.title == SWITCHED
            model.hosts["b"].deaf = (second, first, plan.title) == ("got worse", 2, SWITCHED)
            if (second, plan.title) == ("lost a server", "Test every pair once more"):
                model.hosts["d"].dead = True

        model.stages(model.start("remove", offline="defer", **REMOVAL, **SHARED), trouble)
        found.append(model)
    return {one for model in found for one in model.reached}


# A removal is never a change of the trust model, and its second rotation finds endpoints that listen already.
NEVER = [("remove", "Take shared client keys out of use")] * 2 + [("remove", "Listen for the test")]


def test_every_stage_of_every_operation_is_reached(generation: Any, monkeypatch: Any) -> None:
    reached = reach(generation, monkeypatch)
    missing = [
        (operation, stage.title)
        for operation, row in OPERATIONS.items()
        for position, stage in enumerate(row.stages)
        if (operation, position) not in reached
    ]
    assert sorted(missing) == sorted(NEVER)
