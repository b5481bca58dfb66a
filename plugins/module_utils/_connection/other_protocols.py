# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Services that begin in a protocol of their own, and speak TLS only when they are asked to in it, or never."""

from __future__ import annotations

import contextlib
import socket
from typing import Any, Optional

from ansible_collections.esync.mesh.plugins.module_utils._connection.protocol_postgresql import SSL_REQUEST

_PATIENCE = 1.0
_SHOWN = 60


def spoken_at(family: int, address: Any) -> Optional[str]:
    """What a service speaks that a TLS server does not, in words; None if it is not known to be something else.

    A TLS server waits for the client, so whoever speaks first is none.

    :param address: for connect().
    """
    with contextlib.suppress(OSError):
        greeting = _answer(family, address, b"")
        if greeting:
            text = greeting.decode("latin-1").splitlines()[0][:_SHOWN]
            return f"it greets whoever connects with {''.join(one if one.isprintable() else '?' for one in text)!r}"
    with contextlib.suppress(OSError):
        # Nothing but PostgreSQL answers it with one letter.
        if _answer(family, address, SSL_REQUEST) in (b"S", b"N"):
            return "it speaks the protocol of PostgreSQL, which asks for TLS only after a message of its own"
    return None


def _answer(family: int, address: Any, said: bytes) -> bytes:
    with socket.socket(family, socket.SOCK_STREAM) as connection:
        connection.settimeout(_PATIENCE)
        connection.connect(address)
        connection.sendall(said)
        return connection.recv(1024)
