# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import dataclasses

import pytest

from ansible_collections.esync.mesh.plugins.module_utils._steps.context import Context, difference


def test_how_a_step_is_called() -> None:
    said: list[str] = []
    context = Context(check=True, diff=False, warn=said.append)
    context.warn("this")
    assert (context.check, context.diff, said) == (True, False, ["this"])
    with pytest.raises(dataclasses.FrozenInstanceError):
        context.check = False  # type: ignore[misc]


def test_a_difference_has_the_place_on_both_sides() -> None:
    assert difference("/etc/x", "a\n", "") == {
        "before": "a\n",
        "after": "",
        "before_header": "/etc/x",
        "after_header": "/etc/x",
    }
