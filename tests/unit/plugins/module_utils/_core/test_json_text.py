# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import time
from typing import Any

import pytest

from ansible_collections.esync.mesh.plugins.module_utils._core import json_text


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('{"a": [1, -2, 1.5, true, null, "\\u00e9\\ud83d\\ude00"]}', {"a": [1, -2, 1.5, True, None, "é😀"]}),
        ("é".join('""').encode(), "é"),
        ("[" * 32 + "]" * 32, None),
    ],
)
def test_what_is_read(text: Any, value: Any) -> None:
    found = json_text.loads(text)
    assert value is None or found == value


@pytest.mark.parametrize(
    "text",
    [
        b"\xff",
        "",
        "{",
        "NaN",
        "-Infinity",
        '{"a": Infinity}',
        "[" * 33 + "]" * 33,
        "[" * 10_000 + "]" * 10_000,
        '{"a":' * 100_000 + "1" + "}" * 100_000,
        "1" * 65,
        "-" + "1" * 1_000_000,
        "1." + "1" * 1_000_000,
        # Half of a character, which no file can hold.
        '"\\ud800"',
        '{"\\udfff": 1}',
    ],
    ids=range(14),
)
def test_what_is_refused(text: Any) -> None:
    began = time.process_time()
    with pytest.raises(ValueError):
        json_text.loads(text)
    assert time.process_time() - began < 1
