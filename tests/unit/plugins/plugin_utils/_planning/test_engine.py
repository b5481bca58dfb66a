# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""From stage to stage."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.esync.mesh.plugins.module_utils._core.errors import EsyncError

from .meshes import fresh
from .model_mesh import Model


def test_a_batch_of_reloads_that_is_no_number_is_refused_before_any_host_is_touched(established: Model) -> None:
    with pytest.raises(EsyncError, match="esync_reload_batch is 'some'"):
        established.run("establish", reload_batch="some")
    assert set(established.calls.values()) == {0}


@pytest.mark.parametrize(("batch", "hosts"), [("1", 1), ("50%", 1), ("100%", 3), ("25%", 1), (2, 2), ("0", 1)])
def test_few_endpoints_reload_at_the_same_moment(generation: Any, batch: Any, hosts: int) -> None:
    model = fresh(generation, endpoint="nginx")()
    found: dict[str, int] = {}
    run = model.start("regenerate", reload_batch=batch)
    model.stages(run, lambda run, plan: found.update({plan.title: plan.batch}))
    assert found["Switch every server to its next certificates"] == hosts
    assert found["Test every pair with the new certificates"] == 0
