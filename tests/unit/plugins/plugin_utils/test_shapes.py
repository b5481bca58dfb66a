# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What each shape takes, and what it refuses."""

from __future__ import annotations

import re
from typing import Any

import pytest

from ansible_collections.esync.mesh.plugins.plugin_utils import _shapes as shapes

ROW = shapes.record("a", a=shapes.flag, b=shapes.number)


@pytest.mark.parametrize(
    ("shape", "value", "found"),
    [
        (shapes.text(3), "a\x1bb", "a?b"),
        (shapes.text(9), "left\u202eright"[:9], "left?righ"),
        (shapes.matching(re.compile("[0-9]+"), "digits"), "12", "12"),
        (shapes.number, 1.5, 1.5),
        (shapes.whole(0, 2, "a count"), 2, 2),
        (shapes.port, 65535, 65535),
        (shapes.one_of("x", "y"), "y", "y"),
        (shapes.optional(shapes.flag), None, None),
        (shapes.items(shapes.flag, 1), (True,), [True]),
        (shapes.mapping(shapes.text(1), shapes.flag, 1), {"x": False}, {"x": False}),
        # What is not named is dropped, and what is not needed may be missing.
        (ROW, {"a": True, "c": 1}, {"a": True}),
    ],
)
def test_what_a_shape_takes(shape: shapes.Shape, value: Any, found: Any) -> None:
    assert shape(value) == found


@pytest.mark.parametrize(
    ("shape", "value"),
    [
        (shapes.text(3), "abcd"),
        (shapes.text(3), b"a"),
        (shapes.matching(re.compile("[0-9]+"), "digits"), "x"),
        (shapes.matching(re.compile("[0-9]+"), "digits"), 12),
        (shapes.flag, 1),
        (shapes.number, True),
        (shapes.number, float("nan")),
        (shapes.number, float("inf")),
        (shapes.whole(0, 2, "a count"), 3),
        (shapes.whole(0, 2, "a count"), -1),
        (shapes.whole(0, 2, "a count"), True),
        (shapes.whole(0, 2, "a count"), 1.0),
        (shapes.port, 0),
        (shapes.port, 65536),
        (shapes.one_of("x", "y"), "z"),
        (shapes.one_of("x", "y"), ["x"]),
        (shapes.optional(shapes.flag), 0),
        (shapes.items(shapes.flag, 1), [True, True]),
        (shapes.items(shapes.flag, 1), "x"),
        (shapes.items(shapes.flag, 1), {True: 1}),
        (shapes.mapping(shapes.text(1), shapes.flag, 1), {"x": True, "y": True}),
        (shapes.mapping(shapes.text(1), shapes.flag, 1), {"xx": True}),
        (shapes.mapping(shapes.text(1), shapes.flag, 1), [["x", True]]),
        (ROW, {"b": 1}),
        (ROW, {"a": True, "b": "1"}),
        (ROW, [("a", True)]),
    ],
)
def test_what_a_shape_refuses(shape: shapes.Shape, value: Any) -> None:
    with pytest.raises(shapes.Malformed, match="expected|missing") as caught:
        shape(value)
    assert "z" not in str(caught.value)


def test_the_place_is_named() -> None:
    nested = shapes.record("row", row=ROW)
    with pytest.raises(shapes.Malformed, match=r"^row: a: true or false is expected$"):
        nested({"row": {"a": "secret"}})
