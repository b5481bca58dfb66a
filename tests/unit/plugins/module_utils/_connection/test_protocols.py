# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The registry, and HTTP as far as the tests of the probe do not show it; real servers are in tests/services."""

from __future__ import annotations

import socket
import ssl
from typing import Any

import pytest

from ansible_collections.esync.mesh.plugins.module_utils._connection import protocols
from ansible_collections.esync.mesh.plugins.module_utils._core.names import PROTOCOLS

CALL = protocols.Call("alpha", "bravo", 1, "", True, 2)


def test_the_registry_has_exactly_the_names_that_settings_can_have() -> None:
    assert tuple(protocols.PROTOCOLS) == PROTOCOLS
    for name, make in protocols.PROTOCOLS.items():
        assert make().name == name


@pytest.mark.parametrize(
    ("answer", "reply"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}", protocols.Reply("", 200, b"{}")),
        (b"HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n", protocols.Reply("with HTTP 403", 403)),
        (b"@RSYNCD: 31.0\n", protocols.Reply("", 0, b"@RSYNCD: 31.0\n")),
        (b"", protocols.Reply(cut=True)),
    ],
)
def test_what_an_answer_means(serve: Any, answer: bytes, reply: protocols.Reply) -> None:
    def work(connection: socket.socket) -> None:
        connection.recv(4096)
        connection.sendall(answer)

    with socket.create_connection(("127.0.0.1", serve(work))) as connection:
        assert protocols.Http().ask(connection, CALL) == reply  # type: ignore[arg-type]


def test_who_falls_silent_is_told_by_the_time(serve: Any) -> None:
    port = serve(lambda connection: connection.recv(4096) and connection.recv(4096))
    with socket.create_connection(("127.0.0.1", port)) as connection, pytest.raises(socket.timeout):
        protocols.exchange(connection, b"x", 0.2, bool)


def test_an_end_within_tls_is_an_end() -> None:
    class Ending:
        def settimeout(self, _seconds: float) -> None: ...

        def sendall(self, _data: bytes) -> None:
            raise BrokenPipeError

        def recv(self, _size: int) -> bytes:
            raise ssl.SSLEOFError

    assert protocols.exchange(Ending(), b"x", 1, bool) == b""  # type: ignore[arg-type]
