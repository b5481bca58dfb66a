# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest

from ansible_collections.esync.mesh.plugins.module_utils._core import errors
from ansible_collections.esync.mesh.plugins.module_utils._core.errors import EsyncError, EsyncErrors


def test_the_text_says_where_what_and_what_to_do() -> None:
    error = EsyncError("it is empty", "Restore it", kind="damaged_file", server="web-1", path="/etc/esync/x")
    assert str(error) == "web-1: /etc/esync/x: it is empty. Restore it."


def test_the_text_without_a_place() -> None:
    assert str(EsyncError("What is this?", "Look!")) == "What is this? Look!"
    assert str(EsyncError("Odd", "")) == "Odd."


def test_the_result_has_the_parts() -> None:
    error = EsyncError("it is empty", "Restore it", kind="damaged_file", path="/x")
    assert error.to_result() == {
        "msg": "/x: it is empty. Restore it.",
        "error": {
            "kind": "damaged_file",
            "cause": "it is empty",
            "remedy": "Restore it",
            "server": None,
            "path": "/x",
        },
    }


def test_several_are_told_together() -> None:
    first = EsyncError("one", "do a", kind="a", server="s1", path="/p1")
    second = EsyncError("two", "do b", kind="b", server="s2", path="/p2")
    with pytest.raises(EsyncErrors) as caught:
        errors.raise_all([first, second])
    assert str(caught.value) == f"{first}\n{second}"
    result = caught.value.to_result()
    assert [error["kind"] for error in result["errors"]] == ["a", "b"]
    assert result["msg"] == f"{first}\n{second}"
    # What looks at one error only sees the first.
    assert (caught.value.kind, caught.value.server, caught.value.path) == ("a", "s1", "/p1")


def test_one_is_raised_as_it_is_and_none_is_silent() -> None:
    only = EsyncError("one", "do a")
    with pytest.raises(EsyncError) as caught:
        errors.raise_all([only])
    assert caught.value is only
    errors.raise_all([])


def test_an_unexpected_exception_shows_its_place_and_never_its_text() -> None:
    secret = "very-secret-passphrase"

    def fails() -> None:
        raise ValueError(secret)

    with pytest.raises(ValueError, match=secret) as caught:
        fails()
    told = errors.unexpected(caught.value)
    assert secret not in told
    assert "ValueError" in told
    assert "test_errors.py:" in told
    assert "in fails" in told


def test_an_unexpected_exception_that_was_never_raised() -> None:
    assert "an unknown place" in errors.unexpected(ValueError("x"))
