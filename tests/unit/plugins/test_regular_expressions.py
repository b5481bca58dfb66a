# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""No regular expression of the collection takes time that grows faster than the text."""

from __future__ import annotations

import ast
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

PLUGINS = Path(__file__).resolve().parents[3] / "plugins"
METHODS = ("match", "search", "fullmatch", "findall", "finditer", "sub", "split")
LENGTHS = (1000, 40_000)
# Seconds of the processor. The square of the longer one takes about one.
LIMIT = 0.2
PUMPS = ("\n", " ", "a", "A", "0", "-", ".", "/", "=", '"', "\\", "a.", "a-", "0 ", " \n", "A ", ";")


def found() -> Iterator[tuple[str, str, Any, int]]:
    """Place, method, pattern and flags of every regular expression."""
    for path in sorted(PLUGINS.rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        named: dict[str, tuple[Any, int]] = {}
        calls = [one for one in ast.walk(tree) if isinstance(one, ast.Call) and isinstance(one.func, ast.Attribute)]
        for call in calls:
            assert isinstance(call.func, ast.Attribute)
            owner = call.func.value.id if isinstance(call.func.value, ast.Name) else ""
            if owner == "re" and call.func.attr in METHODS and isinstance(call.args[0], ast.Constant):
                yield f"{path.name}:{call.lineno}", call.func.attr, call.args[0].value, flags_of(call)
        for node in ast.walk(tree):
            if (
                isinstance(node, ast.Assign)
                and isinstance(node.value, ast.Call)
                and isinstance(node.targets[0], ast.Name)
            ):
                call = node.value
                if ast.unparse(call.func) == "re.compile" and isinstance(call.args[0], ast.Constant):
                    named[node.targets[0].id] = call.args[0].value, flags_of(call)
        for call in calls:
            assert isinstance(call.func, ast.Attribute)
            owner = call.func.value.id if isinstance(call.func.value, ast.Name) else ""
            if owner in named and call.func.attr in METHODS:
                yield f"{path.name}:{owner}", call.func.attr, *named[owner]


def flags_of(call: ast.Call) -> int:
    text = " ".join(ast.unparse(one) for one in call.args[1:])
    return sum(getattr(re, name) for name in ("DOTALL", "MULTILINE", "IGNORECASE") if name in text)


EXPRESSIONS = sorted(set(found()), key=str)


def test_they_are_found() -> None:
    assert len(EXPRESSIONS) > 20
    assert {"exchange_folder.py:_FILE", "nginx.py:_COMPLAINT"} <= {place for place, *_others in EXPRESSIONS}


@pytest.mark.parametrize(("place", "method", "pattern", "flags"), EXPRESSIONS, ids=lambda one: str(one)[:40])
def test_time_grows_with_the_length(place: str, method: str, pattern: Any, flags: int) -> None:
    text = pattern.decode("latin-1") if isinstance(pattern, bytes) else pattern
    # What it looks for, as it stands there, is what a text that keeps it busy consists of.
    words = [word for word in re.findall(r"[A-Za-z0-9 _:=-]{2,}", text) if "A-Z" not in word and "a-z" not in word]
    begin = "".join(words[:1])
    compiled = re.compile(pattern, flags)
    # The third power of the length is noticed at the shorter one, before the longer one would take hours.
    for length in LENGTHS:
        for prefix in ("", *words, begin + "\n" + "A"):
            for pump in (*PUMPS, *words, *(word + "\n" for word in words)):
                subject: Any = prefix + pump * (length // len(pump)) + "\x01"
                if isinstance(pattern, bytes):
                    subject = subject.encode("latin-1")
                began = time.process_time()
                result = getattr(compiled, method)(*([subject[:0]] if method == "sub" else []), subject)
                if method == "finditer":
                    list(result)
                assert time.process_time() - began < LIMIT, (place, prefix, pump)
