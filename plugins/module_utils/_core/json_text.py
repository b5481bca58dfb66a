# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""JSON that somebody else may have written, or changed: read within bounds (RFC 8259).

Nothing that is read here is deep, or holds long numbers; what does would exhaust the stack of whatever handles it, or
take time that grows with the square of its length.
"""

from __future__ import annotations

import json
from typing import Any, Union

MAX_DEPTH = 32
_MAX_DIGITS = 64


def loads(data: Union[bytes, str]) -> Any:
    """What a text says.

    :param data: UTF-8, if bytes.
    :raises ValueError: it is not JSON, nested too deeply, or holds a number or a text that no file of ours can hold.
    """
    text = data.decode("utf-8") if isinstance(data, bytes) else data
    try:
        found = json.loads(text, parse_int=_integer, parse_float=_float, parse_constant=_constant)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    _demand_shallow(found)
    # The halves of a character outside of 16 bits: they can be escaped alone, but no file can hold them.
    if "\\u" in text:
        json.dumps(found, ensure_ascii=False).encode("utf-8")
    return found


def _integer(digits: str) -> int:
    return int(_short(digits))


def _float(digits: str) -> float:
    return float(_short(digits))


def _short(digits: str) -> str:
    if len(digits) > _MAX_DIGITS:
        raise ValueError("a number with too many digits")
    return digits


def _constant(_name: str) -> Any:
    raise ValueError("no number of JSON")


def _demand_shallow(value: Any) -> None:
    level = [value]
    for _depth in range(MAX_DEPTH):
        level = [
            inner
            for one in level
            for inner in (one.values() if isinstance(one, dict) else one if isinstance(one, list) else ())
            if isinstance(inner, (dict, list))
        ]
        if not level:
            return
    raise ValueError("nested too deeply")
