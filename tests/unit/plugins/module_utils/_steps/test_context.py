# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import dataclasses

import pytest

from ansible_collections.esync.mesh.plugins.module_utils._steps.context import Context


def test_nothing_is_asked_for_unless_it_is_said() -> None:
    plain = Context()
    assert (plain.check, plain.diff) == (False, False)
    plain.warn("nobody reads this")
    with pytest.raises(dataclasses.FrozenInstanceError):
        plain.check = True  # type: ignore[misc]


def test_warnings_go_where_they_are_sent() -> None:
    said: list[str] = []
    Context(warn=said.append).warn("this")
    assert said == ["this"]
