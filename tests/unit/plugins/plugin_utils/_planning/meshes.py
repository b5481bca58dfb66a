# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Meshes to try plans on, made in one line, and what is asked of them."""

from __future__ import annotations

from typing import Any

from ansible_collections.esync.mesh.plugins.plugin_utils._planning.observed import mesh_of

from .model_mesh import Model

ABC = ("a", "b", "c")

ALL = {(one, other) for one in ABC for other in ABC if one != other}

FOLDER: Any = {"esync_folder": "/srv/exchange"}


def ok(run: Any) -> int:
    return mesh_of(run).count("ok")


def fresh(generation: Any, names: Any = ABC, endpoint: Any = "temporary", **options: Any) -> Any:
    """Makes established meshes."""

    def make() -> Model:
        model = Model(generation, names, endpoint)
        model.run("establish", **options)
        return model

    return make


def assert_settled(model: Model, run: Any) -> None:
    """Every pair works, and nothing of an earlier generation is left anywhere."""
    assert (run.failures, ok(run), model.works()) == ([], 6, ALL)
    for host in model.hosts.values():
        assert set(host.generations) == {"current"}
        assert {entry["state"] for entry in host.trust or ()} == {"current"}
        assert host.rotation is None


def applied(generation: Any, endpoint: str = "temporary", **options: Any) -> Model:
    """A mesh that knows the server x of another mesh."""
    model = fresh(generation, endpoint=endpoint, **options)()
    model.settings = FOLDER
    made = {**generation("x", "current", 500), "id": "500"}
    model.outside["x"] = x = Model(generation, ("x",)).hosts["x"]
    x.resident, x.generations = True, {"current": made}
    for host in model.hosts.values():
        host.folder = [{"name": "x", "address": "x.example", "port": 8732, "generations": [made]}]
    run = model.run("apply", **options)
    assert run.failures == []
    return model


def let_in(model: Model) -> None:
    """The other mesh applies what this one exported."""
    x = model.outside["x"]
    x.trust = [
        {"peer": name, "role": "client", "fingerprint": host.generations["current"]["client"]["fingerprint"]}
        for name, host in model.hosts.items()
    ]
    x.listen()
