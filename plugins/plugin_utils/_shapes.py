# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Shapes of values that somebody else has written: what a shape does not name is dropped, whatever it is called; what
it names has to be of its type, within its size.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

Shape = Callable[[Any], Any]

_LIMIT = 100_000
"""Items of one list or mapping: a server of a mesh of some ten thousand returns less."""
_TEXT = 4096
_NUMBER = 1e15
# Control characters, marks that turn the direction of a text or break its line, and halves of characters, which no file
# can hold.
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


class Malformed(ValueError):
    """A value that is not of its shape. The text names the place, never the value."""


def text(limit: int = _TEXT) -> Shape:
    """A text; control characters in it become question marks, because it is printed."""

    def parse(value: Any) -> str:
        if not isinstance(value, str) or len(value) > limit:
            raise Malformed(f"a text of at most {limit} characters is expected")
        return _CONTROL.sub("?", value)

    return parse


def matching(pattern: re.Pattern[str], what: str) -> Shape:
    """A text of one form."""

    def parse(value: Any) -> str:
        if not isinstance(value, str) or not pattern.match(value):
            raise Malformed(f"{what} is expected")
        return value

    return parse


def flag(value: Any) -> bool:
    """True or false."""
    if not isinstance(value, bool):
        raise Malformed("true or false is expected")
    return value


def number(value: Any) -> float:
    """A finite number."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not -_NUMBER < value < _NUMBER:
        raise Malformed("a number is expected")
    return value


def whole(least: int, most: int, what: str) -> Shape:
    """A whole number, the bounds included. :param what: what it is."""

    def parse(value: Any) -> int:
        # True and false are numbers, too.
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            raise Malformed(f"{what} is expected")
        return value

    return parse


port = whole(1, 65535, "the number of a port")


def one_of(*choices: str) -> Shape:
    """One of these texts."""

    def parse(value: Any) -> str:
        if not isinstance(value, str) or value not in choices:
            raise Malformed(f"one of {', '.join(choices)} is expected")
        return value

    return parse


def optional(shape: Shape) -> Shape:
    """This, or nothing."""
    return lambda value: None if value is None else shape(value)


def items(shape: Shape, limit: int = _LIMIT) -> Shape:
    """A list of these."""

    def parse(value: Any) -> list[Any]:
        if not isinstance(value, Sequence) or isinstance(value, (str, bytes)) or len(value) > limit:
            raise Malformed(f"a list of at most {limit} is expected")
        return [shape(one) for one in value]

    return parse


def mapping(key: Shape, shape: Shape, limit: int = _LIMIT) -> Shape:
    """A mapping of these keys to these values."""

    def parse(value: Any) -> dict[Any, Any]:
        if not isinstance(value, Mapping) or len(value) > limit:
            raise Malformed(f"a mapping of at most {limit} is expected")
        return {key(name): shape(one) for name, one in value.items()}

    return parse


def record(needs: str = "", **shapes: Shape) -> Shape:
    """A mapping with these keys, each of its shape, and no other.

    :param needs: the keys that have to be there, with spaces; of the others, those that are not there are omitted.
    """
    needed = needs.split()

    def parse(value: Any) -> dict[str, Any]:
        if not isinstance(value, Mapping):
            raise Malformed("a mapping is expected")
        for name in needed:
            if name not in value:
                raise Malformed(f"{name} is missing")
        found = {}
        for name, shape in shapes.items():
            if name in value:
                try:
                    found[name] = shape(value[name])
                except Malformed as error:
                    raise Malformed(f"{name}: {error}") from None
        return found

    return parse
