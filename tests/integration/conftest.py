# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A mesh of local members for each test."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from local_mesh import Mesh


@pytest.fixture
def make_mesh(tmp_path: Path) -> Any:
    """Makes meshes: ``make_mesh("a", "b", esync_valid_days=10)``."""
    count = 0

    def make(*names: str, **settings: Any) -> Mesh:
        nonlocal count
        count += 1
        root = tmp_path / f"mesh{count}"
        root.mkdir()
        return Mesh(root, list(names), settings)

    return make


@pytest.fixture(scope="session")
def established(tmp_path_factory: pytest.TempPathFactory) -> Mesh:
    """A mesh of three, established once; copied for each test that changes it."""
    root = tmp_path_factory.mktemp("established")
    mesh = Mesh(root, ["a", "b", "c"])
    mesh.succeed("establish")
    return mesh


@pytest.fixture
def mesh(established: Mesh, tmp_path: Path) -> Mesh:
    """An established mesh of three, for one test alone: on ports of its own, so that no listener meets another's."""
    root = tmp_path / "mesh"
    shutil.copytree(established.root, root, symlinks=True)
    mesh = Mesh(root, ["a", "b", "c"])
    for name, port in mesh.ports.items():
        path = mesh.ledger / f"{name}.json"
        path.write_text(path.read_text().replace(f'"port": {established.ports[name]}', f'"port": {port}'))
    return mesh
