# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Open TCP connections of this host, and how the kernel is made to end one, whichever process holds it."""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import os
import socket
import struct
from typing import Collection, Iterable, Iterator, List, NamedTuple, Optional, Tuple

from ansible_collections.esync.mesh.plugins.module_utils._core.processes import tcp_sockets

_OPEN = frozenset(("01", "04", "05", "08"))
"""The states in which bytes can still go one way or the other: ESTABLISHED, both FIN_WAIT, CLOSE_WAIT."""

_FAMILIES = {"tcp": int(socket.AF_INET), "tcp6": int(socket.AF_INET6)}

# netlink(7), sock_diag(7), and linux/inet_diag.h.
_NETLINK_SOCK_DIAG = 4
_LIST, _DESTROY = 20, 21
_REQUEST, _ACK, _DUMP = 1, 4, 0x300
_ERROR, _DONE = 2, 3
_HEAD = struct.Struct("=IHHII")
_ASKED = struct.Struct("=BBBBI48s")
"""struct inet_diag_req_v2: family, protocol, extensions, padding, states as bits, and struct inet_diag_sockid."""
_FOUND = struct.Struct("=BBBB48sIIIII")
"""struct inet_diag_msg: the family comes first, the inode last."""
_ENDS = 36
"""Bytes of struct inet_diag_sockid before the interface and the cookie."""


class Connection(NamedTuple):
    """One connection, seen from here.

    :param local: the address of this end; IPv4 addresses are IPv4, whatever the socket is. :param port: its port.
    :param peer: the address of the other end. :param peer_port: its port. :param family: of the socket.
    :param inode: the number by which the open files of a process name the socket.
    """

    local: str
    port: int
    peer: str
    peer_port: int
    family: int
    inode: int


def open_connections(to: Optional[Collection[int]] = None) -> List[Connection]:
    """Those of this host that bytes can still go through (proc(5)). :param to: only those to one of these ports."""
    return [
        Connection(*_place(fields[1]), *_place(fields[2]), _FAMILIES[table], int(fields[9]))
        for table, fields in tcp_sockets()
        if fields[3] in _OPEN and (to is None or int(fields[2].rpartition(":")[2], 16) in to)
    ]


def _place(text: str) -> Tuple[str, int]:
    address, _colon, port = text.partition(":")
    # Words of 32 bits, each as the processor has it in memory.
    words = b"".join(struct.pack("=I", int(address[at : at + 8], 16)) for at in range(0, len(address), 8))
    family = socket.AF_INET if len(words) == 4 else socket.AF_INET6
    return plain(socket.inet_ntop(family, words)), int(port, 16)


def plain(address: str) -> str:
    """An address as it is compared: an IPv4 address that an IPv6 socket shows is that IPv4 address.

    :raises ValueError: it is no address.
    """
    found = ipaddress.ip_address(address)
    mapped = found.ipv4_mapped if isinstance(found, ipaddress.IPv6Address) else None
    return str(mapped or found)


def end(connections: Iterable[Connection]) -> Optional[str]:
    """Let the kernel end connections; both ends see a reset.

    :returns: why one could not be ended, as the kernel says it; None if all are ended.
    """
    wrong = None
    with contextlib.ExitStack() as stack:
        try:
            link = stack.enter_context(socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_SOCK_DIAG))
            link.settimeout(5)
            wanted = {(one.family, _ends(one), one.inode) for one in connections}
            for family in sorted({one[0] for one in wanted}):
                for inode, number in list(_numbers(link, family)):
                    if (family, number[:_ENDS], inode) in wanted:
                        wrong = _destroy(link, family, number) or wrong
        except OSError as error:
            wrong = error.strerror or str(error)
    return wrong


def _ends(one: Connection) -> bytes:
    """How struct inet_diag_sockid begins: both ports, and both addresses."""
    mapped = "::ffff:" if one.family == socket.AF_INET6 else ""
    addresses = [address if ":" in address else mapped + address for address in (one.local, one.peer)]
    family = socket.AddressFamily(one.family)
    packed = b"".join(socket.inet_pton(family, address).ljust(16, b"\0") for address in addresses)
    return struct.pack("!HH", one.port, one.peer_port) + packed


def _numbers(link: socket.socket, family: int) -> Iterator[Tuple[int, bytes]]:
    """The open connections: the inode, and how the kernel names the socket.

    Its addresses alone would not do: of a connection that has ended meanwhile they find the socket that listens there.
    The name has a cookie besides. Nor would the inode: what its process has closed, and still sends, has none.
    """
    states = sum(1 << int(state, 16) for state in _OPEN)
    _send(link, _LIST, _DUMP, _ASKED.pack(family, socket.IPPROTO_TCP, 0, 0, states, bytes(48)))
    while True:
        for kind, body in _answers(link):
            if kind == _DONE:
                return
            found = _FOUND.unpack_from(body)
            yield found[-1], found[4]


def _destroy(link: socket.socket, family: int, number: bytes) -> Optional[str]:
    """End one; returns why it could not be. What has ended by itself meanwhile is not there any more."""
    _send(link, _DESTROY, _ACK, _ASKED.pack(family, socket.IPPROTO_TCP, 0, 0, 0xFFFFFFFF, number))
    try:
        list(_answers(link))
    except OSError as error:
        return None if error.errno == errno.ENOENT else error.strerror
    return None


def _send(link: socket.socket, kind: int, flags: int, body: bytes) -> None:
    link.sendto(_HEAD.pack(_HEAD.size + len(body), kind, _REQUEST | flags, 1, 0) + body, (0, 0))


def _answers(link: socket.socket) -> Iterator[Tuple[int, bytes]]:
    """What comes in one packet: the kind and the body of each message.

    :raises OSError: the kernel's answer is an error.
    """
    data = link.recv(1 << 20)
    while len(data) >= _HEAD.size:
        size, kind = _HEAD.unpack_from(data)[:2]
        body, data = data[_HEAD.size : size], data[(size + 3) & ~3 :]
        code = -struct.unpack_from("=i", body)[0] if kind == _ERROR else 0
        if code:
            raise OSError(code, os.strerror(code))
        yield kind, body
