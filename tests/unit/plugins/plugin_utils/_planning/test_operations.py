# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What holds for every operation: others go on, check mode changes nothing, names are known."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from ansible_collections.esync.mesh.plugins.module_utils._core.errors import EsyncError
from ansible_collections.esync.mesh.plugins.plugin_utils._planning import repairing
from ansible_collections.esync.mesh.plugins.plugin_utils._planning.observed import mesh_of
from ansible_collections.esync.mesh.plugins.plugin_utils._planning.operations import OPERATIONS

from .meshes import ALL, FOLDER, fresh, ok
from .model_mesh import Model

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


@pytest.mark.parametrize("operation", sorted(OPERATIONS))
def test_check_mode_changes_nothing_in_any_operation(established: Model, operation: str, monkeypatch: Any) -> None:
    monkeypatch.setattr(
        repairing, "plan_repair", lambda mesh, able: SimpleNamespace(servers={"a": ["renew"]}, disputed=(), lines=())
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
