# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""From what the inventory says to the servers of a run."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from ansible_collections.esync.mesh.plugins.module_utils._core.errors import EsyncError, EsyncErrors
from ansible_collections.esync.mesh.plugins.plugin_utils._inventory.membership import Member
from ansible_collections.esync.mesh.plugins.plugin_utils._inventory.reading import MeshRead
from ansible_collections.esync.mesh.plugins.plugin_utils._inventory.settings import MESH_WIDE, SECRET
from ansible_collections.esync.mesh.plugins.plugin_utils._inventory.sites import Site
from ansible_collections.esync.mesh.plugins.plugin_utils._planning.beginning import (
    refuse_bad_batch,
    refuse_unknown_names,
    run_of,
)

from .model_mesh import MESH, SETTINGS, Model

A, B, C = (Member(name, name, f"{name}.example", 8732, "/etc/esync", ()) for name in "abc")


def read(members: Any = (A, B), leaving: Any = (), **mesh: Any) -> MeshRead:
    settings = {one.host: {**SETTINGS, **MESH, "esync_port": one.port} for one in (*members, *leaving)}
    whole = {**{key: MESH[key] for key in MESH if key != "discarding"}, **mesh}
    return MeshRead(members, leaving, settings, whole, (), ("a",))


def test_a_run_has_the_members_and_those_that_leave() -> None:
    run = run_of("remove", read(leaving=(C,), esync_remove=["c"]), [{"name": "web"}], True)
    assert {name: one.member for name, one in run.servers.items()} == {"a": True, "b": True, "c": False}
    assert (run.names, [one.name for one in run.leaving]) == (["a", "b"], ["c"])
    assert (run.check, run.position, run.mesh["discarding"], run.clusters) == (True, -1, ["a"], [{"name": "web"}])


def test_what_is_one_value_or_secret_is_no_setting_of_a_server() -> None:
    run = run_of("verify", read(), [], False)
    for server in run.servers.values():
        assert not {*MESH_WIDE, *SECRET} & set(server.settings)
        assert server.settings["esync_endpoint"] == "temporary"


def test_the_port_of_a_server_with_sites_is_that_of_the_first_that_is_chosen() -> None:
    sites = (Site("shop", 8443, None, None, None, ()), Site("news", 9443, None, None, None, ()))
    found = run_of("verify", read((dataclasses.replace(A, sites=sites, requested=("news",)), B)), [], False)
    assert found.servers["a"].port == 9443 and found.servers["b"].port == 8732


def test_nobody_is_removed_without_a_name() -> None:
    with pytest.raises(EsyncError, match="No server is named to be removed") as caught:
        run_of("remove", read(), [], False)
    assert caught.value.kind == "missing_option"


def test_names_that_nobody_knows_are_refused_all_at_once(established: Model) -> None:
    run = established.start("establish", remove=["aa", "b"], accept_changed=["zulu"])
    run.ledger = {"former": established.ledger["c"]}
    with pytest.raises(EsyncErrors) as caught:
        refuse_unknown_names(run)
    assert [(one.server, one.kind) for one in caught.value.errors] == [
        ("aa", "unknown_server"),
        ("zulu", "unknown_server"),
    ]
    assert "(is a meant?)" in str(caught.value) and "former" in str(caught.value)
    run.mesh["esync_remove"], run.mesh["esync_accept_changed"] = ["former"], []
    refuse_unknown_names(run)


def test_unknown_names_are_all_told_with_the_known_ones(established: Model) -> None:
    # Neither is for a server that the ledger alone knows.
    run = established.start("regenerate", regenerate=["x"], compromised=["former"])
    run.ledger = {"former": established.ledger["c"]}
    with pytest.raises(EsyncErrors) as caught:
        refuse_unknown_names(run)
    assert "x: esync_regenerate" in str(caught.value)
    assert "former: esync_compromised" in str(caught.value)
    assert "a, b" in str(caught.value)


@pytest.mark.parametrize("batch", ["25%", " 3 ", 7, "0", "100%"])
def test_a_batch_is_a_number_or_a_part(established: Model, batch: Any) -> None:
    refuse_bad_batch(established.start("establish", reload_batch=batch))


@pytest.mark.parametrize("batch", ["", "%", "some", "-1", "1.5", "5 %", "١%", [1]])
def test_other_batches_are_refused(established: Model, batch: Any) -> None:
    with pytest.raises(EsyncError, match="esync_reload_batch is"):
        refuse_bad_batch(established.start("establish", reload_batch=batch))
