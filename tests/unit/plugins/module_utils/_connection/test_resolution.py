# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import socket
import threading
from typing import Any

import pytest

from ansible_collections.esync.mesh.plugins.module_utils._connection import resolution

FOUND = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("192.0.2.1", 1))]


def test_addresses_and_names() -> None:
    assert resolution.resolve("::1", 1, 1)[0][4][:2] == ("::1", 1)
    assert resolution.resolve("localhost", 1, 5)
    assert resolution.unresolved(["127.0.0.1", "::1", "localhost"], 5) == {}


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (socket.gaierror(-2, "Name or service not known"), "Name or service not known"),
        (UnicodeError("label too long"), "neither a valid host name nor an address"),
    ],
)
def test_a_name_without_an_address(monkeypatch: pytest.MonkeyPatch, error: Exception, said: str) -> None:
    def refuse(*_arguments: Any, **_options: Any) -> Any:
        raise error

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    with pytest.raises(resolution.NotResolved, match=said):
        resolution.resolve("nobody.invalid", 1, 3)
    assert said in resolution.unresolved(["nobody.invalid"], 3)["nobody.invalid"]


def test_a_resolver_that_hangs_takes_its_time_once_for_all_names(monkeypatch: pytest.MonkeyPatch) -> None:
    hang = threading.Event()

    def look(name: str, *_arguments: Any, **options: Any) -> Any:
        if options.get("flags") == socket.AI_NUMERICHOST:
            raise socket.gaierror(-2, "Name or service not known")
        if name.startswith("slow"):
            hang.wait(60)
        return FOUND

    monkeypatch.setattr(socket, "getaddrinfo", look)
    try:
        slow = [f"slow{number}" for number in range(5)]
        found = resolution.unresolved([*slow, *(f"quick{number}" for number in range(100))], 0.5)
        assert found == dict.fromkeys(slow, "the resolver did not answer within 0.5 s")
        with pytest.raises(resolution.NotResolved, match="did not answer within"):
            resolution.resolve("slow", 1, 0.1)
    finally:
        hang.set()
