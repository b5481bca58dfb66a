# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A mesh for every test, with either kind of endpoint."""

from __future__ import annotations

from typing import Any

import pytest

from .meshes import ABC
from .model_mesh import Model


@pytest.fixture(params=["temporary", "nginx"])
def model(request: Any, generation: Any) -> Model:
    """Three servers that know nothing of each other."""
    return Model(generation, ABC, request.param)


@pytest.fixture
def established(model: Model) -> Model:
    """Three servers, established."""
    model.run("establish")
    return model
