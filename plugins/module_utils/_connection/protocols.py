# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the test says to a service: the contract of a protocol, the registry, and HTTP, which is spoken by default.

A protocol says what precedes TLS and what is asked inside it. A new one is one file beside this one, its line in
PROTOCOLS and in names.PROTOCOLS, its test, and its row in docs/services.md.
"""

from __future__ import annotations

import abc
import contextlib
import socket
import ssl
import time
from dataclasses import dataclass
from typing import Callable, ClassVar, Mapping, Optional

from ansible_collections.esync.mesh.plugins.module_utils._connection import tls
from ansible_collections.esync.mesh.plugins.module_utils._core.names import HTTP, POSTGRESQL, TLS

# What nginx answers, inside the encrypted connection, to a caller that it does not accept.
_REFUSING = (400, 403, 495, 496)
_LIMIT = 64 * 1024


@dataclass(frozen=True)
class Call:
    """One call of a service.

    :param caller: the name of the server that calls. :param host: what it asks for. :param port: 1 to 65535.
    :param cluster: the name of the cluster, if it goes through its balancer.
    :param with_certificate: whether it presents one. :param seconds: for the answer.
    :param listens: for how many seconds it first waits whether the service says something by itself.
    """

    caller: str
    host: str
    port: int
    cluster: str
    with_certificate: bool
    seconds: float
    listens: float = 0


@dataclass(frozen=True)
class Reply:
    """What came of it.

    :param refused: how the service refused the caller, in words; empty: it did not.
    :param status: of HTTP; 0 for anything else. :param body: what it answered.
    :param cut: whether it ended the connection without a word, which can be a refusal or not.
    """

    refused: str = ""
    status: int = 0
    body: bytes = b""
    cut: bool = False


class NotSpoken(OSError):
    """The service does not speak the protocol; the text says what it did instead, as the end of a sentence."""


class Protocol(abc.ABC):
    """How a service of one kind is called. It remembers nothing between two calls.

    :cvar name: the key in PROTOCOLS, and the value of ``protocol`` of a service.
    :cvar by_handshake: whether a handshake of TLS 1.2 is all that can be proved. With 1.3 the caller has finished it
        before the service has looked at its certificate.
    """

    name: ClassVar[str]
    by_handshake: ClassVar[bool]

    @abc.abstractmethod
    def begin(self, connection: socket.socket) -> None:
        """Say what precedes TLS. The time-out of the connection is set.

        :raises NotSpoken: the service does not go on to TLS.
        """

    @abc.abstractmethod
    def ask(self, connection: ssl.SSLSocket, call: Call) -> Reply:
        """Exchange bytes inside TLS.

        :raises OSError: also ssl.SSLError with an alert, if the service refuses the caller in the TLS protocol.
        """

    @abc.abstractmethod
    def answers_in_plain(self, connection: socket.socket, call: Call) -> bool:
        """Whether the service serves a caller that speaks without TLS.

        :raises OSError: it does not.
        """


class Http(Protocol):
    """Any byte that answers a request proves that the caller was let in; so do services of other protocols prove it
    that say something at once.
    """

    name = HTTP
    by_handshake = False

    def begin(self, connection: socket.socket) -> None:
        """TLS begins with the first byte."""

    def ask(self, connection: ssl.SSLSocket, call: Call) -> Reply:
        answer = self._exchanged(connection, call)
        status, body = tls.parse_answer(answer)
        refused = f"with HTTP {status}" if status in _REFUSING else ""
        return Reply(refused, status, body, cut=not answer)

    def answers_in_plain(self, connection: socket.socket, call: Call) -> bool:
        status, _body = tls.parse_answer(self._exchanged(connection, call))
        return bool(status) and status not in _REFUSING

    @staticmethod
    def _exchanged(connection: socket.socket, call: Call) -> bytes:
        said = greeting(connection, call.listens) if call.listens else None
        request = tls.request_for(call.host, call.port, call.cluster)
        return exchange(connection, request, call.seconds, tls.is_complete) if said is None else said


def greeting(connection: socket.socket, seconds: float) -> Optional[bytes]:
    """What a service says before it is asked.

    :returns: empty if it closed the connection; None if it waits for a request.
    :raises OSError: also ssl.SSLError with an alert, if it refuses the caller in the TLS protocol.
    """
    connection.settimeout(seconds)
    try:
        return connection.recv(16384)
    except socket.timeout:
        return None
    except (ssl.SSLEOFError, ssl.SSLZeroReturnError):
        return b""


def exchange(connection: socket.socket, request: bytes, seconds: float, is_complete: Callable[[bytes], bool]) -> bytes:
    """Send a request and read the answer.

    :param is_complete: whether an answer needs no more reading.
    :returns: empty if the service closed the connection without a byte.
    :raises OSError: also socket.timeout, if not a byte came in time.
    """
    connection.settimeout(seconds)
    with contextlib.suppress(BrokenPipeError, ConnectionResetError, ssl.SSLEOFError):
        # A service that refused and hung up before the request went out may still have said why.
        connection.sendall(request)
    answer = b""
    end = time.monotonic() + seconds
    try:
        while len(answer) < _LIMIT and not is_complete(answer):
            connection.settimeout(tls.seconds_left(end))
            piece = connection.recv(16384)
            if not piece:
                break
            answer += piece
    except (ssl.SSLEOFError, ssl.SSLZeroReturnError):
        pass
    except socket.timeout:
        # A part of an answer is an answer, and some never say where theirs ends.
        if not answer:
            raise
    return answer


def _tls() -> Protocol:
    from ansible_collections.esync.mesh.plugins.module_utils._connection.protocol_tls import Tls

    return Tls()


def _postgresql() -> Protocol:
    from ansible_collections.esync.mesh.plugins.module_utils._connection.protocol_postgresql import Postgresql

    return Postgresql()


# Made when it is needed, so that a host that speaks one does not compile the others.
PROTOCOLS: Mapping[str, Callable[[], Protocol]] = {HTTP: Http, TLS: _tls, POSTGRESQL: _postgresql}
"""The value of ``protocol`` of a service to what makes the protocol."""
