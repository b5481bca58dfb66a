# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.esync.mesh.plugins.module_utils._steps import certificate_info, certificate_set
from ansible_collections.esync.mesh.plugins.plugin_utils._planning import steps
from ansible_collections.esync.mesh.plugins.plugin_utils._planning.run import Run, Server

from .model_mesh import MESH, SETTINGS


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, {}),
        ({"esync_key_type": "ed25519", "esync_key_size": None}, {"key_type": "ed25519"}),
        ({"esync_key_type": "ecdsa", "esync_key_size": 384}, {"key_type": "ecdsa", "key_size": 384}),
    ],
)
def test_a_size_that_is_null_is_left_out(settings: Any, expected: Any) -> None:
    server = Server("a", "a", "a.example", 8732, True, settings={**SETTINGS, **settings})
    run = Run("establish", dict(MESH), {"a": server})
    for made, spec in (
        (steps.certificate_set(run, server), certificate_set.SPEC),
        (steps.certificate_info(server), certificate_info.SPEC),
    ):
        assert {name: made["options"][name] for name in made["options"] if name.startswith("key_")} == expected
        assert set(made["options"]) <= set(spec)
