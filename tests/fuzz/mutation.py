# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Documents of JSON, changed as some bytes say: what a fuzzer that knows nothing of their form hardly ever finds."""

from __future__ import annotations

import copy
import json
from typing import Any

# What nobody expects in the place of something else.
ODD: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1.5, 1e300, 2**64, 10**40, "", "x", "\0", "\u202e", "\ud800", "../../x", "a" * 5000),
    *("2026-02-30T00:00:00Z", "\u0661" * 20, "9999-12-31T23:59:59Z", "ab" * 32, [], {}, [[]], {"": {}}, ["x"] * 300),
)
# The most changes of one document; more would leave nothing of it.
_CHANGES = 6
# A larger document is not changed any further: what is tried here are forms, and sizes have limits of their own.
_MOST_VALUES = 500


class Choices:
    """Decisions that some bytes make; the same bytes decide the same. When they are used up, the first one is taken."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def of(self, count: int) -> int:
        """A number below ``count``."""
        found = int.from_bytes(self._data[self._at : self._at + 2], "big")
        self._at += 2
        return found % count if count else 0

    def rest(self) -> str:
        """The bytes that are left, as text."""
        return self._data[self._at :].decode("utf-8", "surrogateescape")

    @property
    def left(self) -> bool:
        return self._at < len(self._data)


def changed(document: Any, data: bytes) -> Any:
    """A document with some of its values replaced, removed, repeated, moved or nested."""
    choices = Choices(data)
    found = copy.deepcopy(document)
    for _number in range(_CHANGES):
        if not choices.left:
            break
        places = list(_places(found))
        if not 0 < len(places) <= _MOST_VALUES:
            break
        parent, key = places[choices.of(len(places))]
        _CHANGE[choices.of(len(_CHANGE))](parent, key, choices, places)
    return found


def raw_or_changed(documents: list[Any], data: bytes) -> bytes:
    """The bytes of a file: a changed document, or what follows the first byte, as it is.

    :param data: its first byte says which document; 0: none.
    """
    which = data[0] % (len(documents) + 1) if data else 0
    if which == 0:
        return data[1:]
    return json.dumps(changed(documents[which - 1], data[1:])).encode("utf-8", "surrogatepass")


def _places(value: Any) -> Any:
    """Every value in a document: what it is in, and under which key or number."""
    waiting = [value]
    while waiting:
        one = waiting.pop()
        pairs = one.items() if isinstance(one, dict) else enumerate(one) if isinstance(one, list) else ()
        for key, inner in list(pairs):
            yield one, key
            waiting.append(inner)


def _replace(parent: Any, key: Any, choices: Choices, _places: Any) -> None:
    parent[key] = copy.deepcopy(ODD[choices.of(len(ODD))])


def _write(parent: Any, key: Any, choices: Choices, _places: Any) -> None:
    parent[key] = choices.rest()


def _remove(parent: Any, key: Any, _choices: Choices, _places: Any) -> None:
    del parent[key]


def _move(parent: Any, key: Any, choices: Choices, places: Any) -> None:
    other, name = places[choices.of(len(places))]
    parent[key] = copy.deepcopy(other[name])


def _repeat(parent: Any, key: Any, choices: Choices, _places: Any) -> None:
    if isinstance(parent, list):
        parent.extend([parent[key]] * choices.of(20))
    else:
        parent[f"{key} "] = parent[key]


def _nest(parent: Any, key: Any, choices: Choices, _places: Any) -> None:
    for _level in range(choices.of(60)):
        parent[key] = [parent[key]]


_CHANGE = (_replace, _replace, _write, _remove, _move, _repeat, _nest)
