# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What servers answer that are no PostgreSQL, or one that is set up otherwise; the real one is in tests/services."""

from __future__ import annotations

import socket
import struct
from dataclasses import replace
from typing import Any

import pytest

from ansible_collections.esync.mesh.plugins.module_utils._connection import protocol_postgresql as postgresql
from ansible_collections.esync.mesh.plugins.module_utils._connection.protocols import Call, Reply

CALL = Call("alpha", "bravo", 1, "", True, 2)
LOGIN = b"R" + struct.pack("!ii", 8, 10)


def error(code: bytes) -> bytes:
    body = b"SFATAL\0C" + code + b"\0Mno\0\0"
    return b"E" + struct.pack("!i", 4 + len(body)) + body


def found(mesh: Any, port: int, **settings: Any) -> Any:
    peer = replace(mesh.peer("bravo", port), protocol="postgresql")
    [result] = mesh.probe("alpha", peer, answer_timeout=1, connect_timeout=1, **settings)
    return result


@pytest.mark.parametrize(
    ("answer", "said"), [(b"N", "offers no TLS"), (b"HTTP/1.1 400", "as PostgreSQL does"), (b"", "as PostgreSQL does")]
)
def test_a_server_that_does_not_go_on_to_tls(mesh: Any, serve: Any, answer: bytes, said: str) -> None:
    def work(connection: socket.socket) -> None:
        assert connection.recv(8) == postgresql.SSL_REQUEST
        connection.sendall(answer)

    result = found(mesh, serve(work))
    assert result["cause"] == "not_tls"
    assert said in result["detail"]


def test_a_server_that_says_nothing(mesh: Any, serve: Any) -> None:
    assert found(mesh, serve(lambda connection: connection.recv(8) and connection.recv(8)))["cause"] == "not_tls"


@pytest.mark.parametrize(
    ("answer", "with_certificate", "refused"),
    [
        (LOGIN, True, ""),
        (LOGIN, False, ""),
        (error(b"28000"), True, ""),
        (error(b"28000"), False, "with the error 28000"),
        (error(b"53300"), False, ""),
    ],
)
def test_what_an_answer_means(serve: Any, answer: bytes, with_certificate: bool, refused: str) -> None:
    def work(connection: socket.socket) -> None:
        length, protocol = struct.unpack("!ii", connection.recv(8))
        assert protocol == 3 << 16
        assert connection.recv(length - 8) == b"user\0alpha\0database\0postgres\0\0"
        connection.sendall(answer)

    with socket.create_connection(("127.0.0.1", serve(work))) as connection:
        reply = postgresql.Postgresql().ask(connection, replace(CALL, with_certificate=with_certificate))  # type: ignore[arg-type]
    assert reply == Reply(refused, body=answer)


@pytest.mark.parametrize(
    ("answer", "served"), [(LOGIN, True), (error(b"28000"), False), (b"\x15\x03\x03\0\2\2\50", False), (b"", False)]
)
def test_a_caller_that_speaks_without_tls(serve: Any, answer: bytes, served: bool) -> None:
    port = serve(lambda connection: connection.recv(4096) and connection.sendall(answer))
    with socket.create_connection(("127.0.0.1", port)) as connection:
        assert postgresql.Postgresql().answers_in_plain(connection, CALL) is served
