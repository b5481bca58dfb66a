# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Any service that begins with TLS, of whose own protocol nothing is known: the handshake is the proof.

With TLS 1.2 the service ends the handshake only after it has accepted the caller's certificate (RFC 5246, section
7.3). With TLS 1.3 a refusal follows what the caller takes for the end of the handshake (RFC 8446, section 4.4.2.4), so
a service that offers nothing else is asked to say goodbye: it refuses before it does.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import time
from typing import Optional

from ansible_collections.esync.mesh.plugins.module_utils._connection import tls
from ansible_collections.esync.mesh.plugins.module_utils._connection.protocols import Call, Protocol, Reply
from ansible_collections.esync.mesh.plugins.module_utils._core.names import TLS

# The beginning of a record that bears an alert (RFC 8446, section 5.1).
_ALERT = b"\x15\x03"
# What some services answer at once, and others not at all.
_NOTHING = b"\r\n\r\n"


class Tls(Protocol):
    """Bytes of the application are not exchanged, because nobody knows what to say."""

    name = TLS
    by_handshake = True

    def begin(self, connection: socket.socket) -> None:
        """TLS begins with the first byte."""

    def ask(self, connection: ssl.SSLSocket, call: Call) -> Reply:
        if connection.version() != "TLSv1.3":
            return Reply()
        try:
            place = connection.getpeername()[:2]
            # Some services serve one caller after the other.
            connection.close()
            with socket.create_connection(place, call.seconds) as raw:
                _say_goodbye(raw, connection.context, connection.server_hostname, time.monotonic() + call.seconds)
        except ssl.SSLZeroReturnError:
            return Reply()
        except ssl.SSLError as error:
            if "APPLICATION_DATA" in tls.reason_of(error):
                return Reply()
            if isinstance(error, ssl.SSLEOFError):
                return Reply(cut=True)
            raise
        except OSError as error:
            if isinstance(error, socket.timeout):
                raise
            return Reply(cut=True)
        return Reply()

    def answers_in_plain(self, connection: socket.socket, call: Call) -> bool:
        connection.settimeout(call.seconds)
        with contextlib.suppress(BrokenPipeError):
            connection.sendall(_NOTHING)
        answer = connection.recv(1024)
        return bool(answer) and answer[:2] != _ALERT


def _say_goodbye(raw: socket.socket, context: ssl.SSLContext, name: Optional[str], end: float) -> None:
    """Do the handshake, say goodbye, and read what the service says then; whatever that is, it had let the caller in.

    :param end: by the monotonic clock.
    :raises OSError: also ssl.SSLZeroReturnError, if it says goodbye too, and another ssl.SSLError, if it refuses.
    """
    incoming, outgoing, seen = ssl.MemoryBIO(), ssl.MemoryBIO(), bytearray()
    # Not as a socket: there OpenSSL can take an alert that has come already for the answer to a goodbye.
    secured = context.wrap_bio(incoming, outgoing, server_hostname=name)
    tls.drive(secured.do_handshake, raw, incoming, outgoing, end, seen)
    with contextlib.suppress(ssl.SSLWantReadError):
        secured.unwrap()
    tls.drive(lambda: secured.read(1), raw, incoming, outgoing, end, seen)
