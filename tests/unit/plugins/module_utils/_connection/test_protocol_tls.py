# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Services of which nothing but TLS is known: what the handshake proves, with each version of TLS."""

from __future__ import annotations

import socket
import ssl
from dataclasses import replace
from typing import Any

import pytest

from ansible_collections.esync.mesh.plugins.module_utils._connection import probe

VERSIONS: Any = {"any": (), "TLSv1.2": ("-tls1_2",), "TLSv1.3": ("-tls1_3",)}


def found(mesh: Any, port: int, present: str = "current", **settings: Any) -> Any:
    peer = replace(mesh.peer("bravo", port), protocol="tls")
    [result] = mesh.probe("alpha", peer, present=present, answer_timeout=2, **settings)
    return result


@pytest.fixture(params=VERSIONS)
def silent(request: pytest.FixtureRequest, mesh: Any, s_server: Any) -> int:
    """A server that demands a certificate and says nothing; its port."""
    bundle = str(mesh.root / "bravo" / "trusted" / "clients.pem")
    options = ["-Verify", "1", "-verify_return_error", "-partial_chain", "-CAfile", bundle]
    port: int = s_server("bravo", *VERSIONS[request.param], *options)
    return port


def test_a_pair_is_proved_and_everybody_else_is_refused(mesh: Any, silent: int) -> None:
    result = found(mesh, silent)
    assert (result["verdict"], result["served"]) == ("ok", "current")
    for present in probe.MUST_BE_REFUSED:
        assert found(mesh, silent, present, refused=True)["verdict"] == "ok", present


def test_a_server_that_does_not_trust_the_caller(mesh: Any, silent: int) -> None:
    result = found(mesh, silent, "stranger")
    assert (result["verdict"], result["cause"]) == ("failed", "client_certificate_refused")


@pytest.mark.parametrize("version", VERSIONS)
def test_a_server_that_lets_everybody_in_is_not_taken_for_one_that_refuses(
    mesh: Any, s_server: Any, version: str
) -> None:
    port = s_server("bravo", *VERSIONS[version])
    for present in ("none", "stranger"):
        result = found(mesh, port, present, refused=True)
        assert (result["verdict"], result["cause"]) == ("failed", "not_refused"), (present, result)


def test_a_server_that_greets_has_let_the_caller_in(mesh: Any, serve: Any) -> None:
    context = context_of(mesh, ssl.TLSVersion.TLSv1_3)

    def greet(connection: socket.socket) -> None:
        secured = context.wrap_socket(connection, server_side=True)
        secured.sendall(b"220 hello\r\n")
        secured.recv(1)

    assert found(mesh, serve(greet))["verdict"] == "ok"


@pytest.mark.parametrize("linger", [b"\1\0\0\0\0\0\0\0", b"\0\0\0\0\0\0\0\0"])
def test_an_end_without_a_word_proves_nothing(mesh: Any, serve: Any, linger: bytes) -> None:
    """With TLS 1.3 it can be a refusal, or a server that takes a goodbye for the end."""
    context = context_of(mesh, ssl.TLSVersion.TLSv1_3)

    def hang_up(connection: socket.socket) -> None:
        secured = context.wrap_socket(connection, server_side=True)
        secured.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        secured.close()

    port = serve(hang_up)
    assert found(mesh, port)["cause"] == "no_answer_after_handshake"
    assert found(mesh, port, "stranger", refused=True)["verdict"] == "untested"


def test_one_that_answers_in_plain_is_told(mesh: Any, serve: Any) -> None:
    port = serve(lambda connection: connection.sendall(b"220 hello\r\n"))
    assert found(mesh, port, "plain", refused=True)["cause"] == "not_refused"


def context_of(mesh: Any, version: ssl.TLSVersion) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    current = mesh.root / "bravo" / "current"
    context.load_cert_chain(current / "server.crt", current / "server.key")
    context.minimum_version = version
    return context
