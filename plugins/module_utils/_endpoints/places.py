# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Where this host serves certificates, and which certificate it presents there now.

A reload that fails is often silent: the service goes on with what it had. So nothing counts as done before the
certificate that is really served was read back.
"""

from __future__ import annotations

import contextlib
import socket
from dataclasses import dataclass
from typing import Optional

from ansible_collections.esync.mesh.plugins.module_utils._connection import tls
from ansible_collections.esync.mesh.plugins.module_utils._connection.other_protocols import spoken_at
from ansible_collections.esync.mesh.plugins.module_utils._connection.protocols import PROTOCOLS
from ansible_collections.esync.mesh.plugins.module_utils._core.names import HTTP

LOOPBACK = ("127.0.0.1", "::1")

_LIMIT = 16 << 20


@dataclass(frozen=True)
class Place:
    """Where something of this server is served: a port, and of a site the name by which it is requested.

    :param site: the name of the site; None: the server has none. :param server_name: a DNS name.
    :param protocol: a key of PROTOCOLS.
    """

    port: int
    site: Optional[str] = None
    server_name: Optional[str] = None
    protocol: str = HTTP

    def __str__(self) -> str:
        name = f" ({self.server_name})" if self.server_name else ""
        return f"site {self.site}, port {self.port}{name}" if self.site else f"port {self.port}"


def served(place: Place, address: Optional[str] = None, timeout: float = 2) -> Optional[str]:
    """The fingerprint of the certificate that this host serves at a place now; None if none is.

    Looked for on this host itself first, because the address that peers use may lead to a load balancer.
    """
    begin = PROTOCOLS[place.protocol]().begin
    for host in (*LOOPBACK, address):
        with contextlib.suppress(OSError, UnicodeError):
            for family, _kind, _protocol, _name, where in socket.getaddrinfo(host, place.port, type=socket.SOCK_STREAM):
                der = tls.read_served(where, family, timeout, place.server_name, begin) if host else None
                if der:
                    return tls.fingerprint_of(der)
    return None


def other_protocol(port: int, address: Optional[str] = None) -> Optional[str]:
    """What is spoken on a port of this host in the place of TLS, in words; None if it is not known to be anything."""
    for place in (*LOOPBACK, address):
        with contextlib.suppress(OSError, UnicodeError):
            for family, _kind, _protocol, _name, where in socket.getaddrinfo(place, port, type=socket.SOCK_STREAM):
                spoken = spoken_at(family, where) if place else None
                if spoken:
                    return spoken
    return None


def has_ipv6() -> bool:
    """Whether a service can listen on IPv6 here."""
    with contextlib.suppress(OSError), socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as probe:
        probe.bind(("::", 0))
        return True
    return False


def describe(fingerprint: Optional[str]) -> str:
    """A served certificate in words."""
    return f"serves the certificate {fingerprint}" if fingerprint else "serves no certificate"
