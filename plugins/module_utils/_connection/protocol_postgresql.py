# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""PostgreSQL: it is asked for TLS in a message of its own, and inside TLS for a connection, in the caller's name.

The messages are those of the protocol 3.0 (PostgreSQL documentation, "Message Flow" and "Message Formats").
"""

from __future__ import annotations

import re
import socket
import ssl
import struct

from ansible_collections.esync.mesh.plugins.module_utils._connection.protocols import (
    Call,
    NotSpoken,
    Protocol,
    Reply,
    exchange,
)
from ansible_collections.esync.mesh.plugins.module_utils._core.names import POSTGRESQL

SSL_REQUEST = struct.pack("!ii", 8, 80877103)
_PROTOCOL = 3 << 16
# The kind of a message, and the length of it that follows.
_HEAD = struct.Struct("!cI")
_AUTHENTICATION, _ERROR, _NEGOTIATE = b"R", b"E", b"v"
# invalid_authorization_specification and invalid_password (appendix A).
_NOT_AUTHORIZED = re.compile(rb"\x00?C28[0-9A-Z]{3}\x00")


class Postgresql(Protocol):
    """Whatever the server answers to the request for a connection proves that it accepts the certificate, also that
    there is no such user: a certificate that it does not trust ends the handshake.
    """

    name = POSTGRESQL
    by_handshake = False

    def begin(self, connection: socket.socket) -> None:
        connection.sendall(SSL_REQUEST)
        # One byte only: what follows is TLS.
        answer = connection.recv(1)
        if answer == b"N":
            raise NotSpoken("said that it offers no TLS: its setting ssl is off")
        if answer != b"S":
            raise NotSpoken("did not answer as PostgreSQL does when it was asked for TLS")

    def ask(self, connection: ssl.SSLSocket, call: Call) -> Reply:
        answer = self._exchanged(connection, call)
        # Without a certificate the handshake succeeds, and pg_hba.conf decides.
        refused = "" if call.with_certificate or not _is_refusal(answer) else "with the error 28000"
        return Reply(refused, body=answer, cut=not answer)

    def answers_in_plain(self, connection: socket.socket, call: Call) -> bool:
        answer = self._exchanged(connection, call)
        return answer[:1] in (_AUTHENTICATION, _ERROR, _NEGOTIATE) and not _is_refusal(answer)

    @staticmethod
    def _exchanged(connection: socket.socket, call: Call) -> bytes:
        options = b"".join(word.encode("utf-8") + b"\0" for word in ("user", call.caller, "database", "postgres", ""))
        message = struct.pack("!ii", 8 + len(options), _PROTOCOL) + options
        return exchange(connection, message, call.seconds, _is_complete)


def _is_complete(answer: bytes) -> bool:
    """Whether the first message is there, as far as it is looked at."""
    if len(answer) < _HEAD.size:
        return False
    kind, length = _HEAD.unpack_from(answer)
    return bool(kind != _ERROR or len(answer) > length)


def _is_refusal(answer: bytes) -> bool:
    """Whether the first message says that the caller is not authorized."""
    return answer[:1] == _ERROR and bool(_NOT_AUTHORIZED.search(answer))
