# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Real connections over the loopback addresses, and the real kernel."""

from __future__ import annotations

import contextlib
import socket
from pathlib import Path

import pytest
from other_users import as_other, needs_root

from ansible_collections.esync.mesh.plugins.module_utils._core import connections

# The address that is called, the one that is listened on, and both as they are compared.
KINDS = [
    pytest.param("127.0.0.1", "127.0.0.1", "127.0.0.1", id="IPv4"),
    pytest.param("::1", "::1", "::1", id="IPv6"),
    pytest.param("127.0.0.1", "::", "127.0.0.1", id="IPv4 at a socket for both"),
]


@contextlib.contextmanager
def connected(called, listened):
    """A connection; yields the caller's end, the other one, and what listens."""
    family = socket.AF_INET6 if ":" in listened else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as server:
        if listened == "::":
            server.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        server.bind((listened, 0))
        server.listen()
        with socket.create_connection((called, server.getsockname()[1]), 5) as caller:
            accepted, _address = server.accept()
            with accepted:
                accepted.settimeout(5)
                yield caller, accepted, server


def at(accepted):
    """What is known of the connection with this end."""
    port, peer_port = accepted.getsockname()[1], accepted.getpeername()[1]
    return [one for one in connections.open_connections() if (one.port, one.peer_port) == (port, peer_port)]


@pytest.mark.parametrize(("called", "listened", "shown"), KINDS)
def test_a_connection_is_found_until_it_is_closed(called, listened, shown):
    with connected(called, listened) as (caller, accepted, _server):
        (found,) = at(accepted)
        assert (found.local, found.peer) == (shown, shown)
        caller.close()
        assert accepted.recv(1) == b""
        # This end can still send.
        assert at(accepted) == [found]
        accepted.close()
    assert found not in connections.open_connections()


@needs_root
@pytest.mark.parametrize(("called", "listened", "shown"), KINDS)
def test_one_connection_is_ended_and_another_goes_on(called, listened, shown):
    with connected(called, listened) as (caller, accepted, _server), connected(called, listened) as second:
        other, beside = second[:2]
        found = at(accepted)
        assert connections.end(found) is None
        assert found[0] not in connections.open_connections()
        with pytest.raises(OSError):
            accepted.recv(1)
        with pytest.raises(OSError):
            caller.recv(1)
        other.sendall(b"x")
        assert beside.recv(1) == b"x"
        assert at(beside)[0].peer == shown
        # What has ended meanwhile is no error.
        assert connections.end(found) is None


@needs_root
@pytest.mark.parametrize(("called", "listened", "shown"), KINDS)
def test_of_a_connection_that_has_ended_meanwhile_the_listening_socket_is_left(called, listened, shown):
    with connected(called, listened) as (caller, accepted, server):
        found = at(accepted)
        assert found[0].peer == shown
        caller.close()
        accepted.close()
        assert connections.end(found) is None
        with socket.create_connection((called, server.getsockname()[1]), 5):
            server.accept()[0].close()


@needs_root
def test_of_connections_that_their_process_has_closed_only_the_one_is_ended():
    with connected("127.0.0.1", "127.0.0.1") as first, connected("127.0.0.1", "127.0.0.1") as second:
        ports = [[one.getsockname()[1] for one in pair[:2]] for pair in (first, second)]
        first[1].close()
        second[1].close()
        closed = [
            next(one for one in connections.open_connections() if [one.peer_port, one.port] == pair) for pair in ports
        ]
        # Nothing but their addresses tells them apart.
        assert [one.inode for one in closed] == [0, 0]
        assert connections.end(closed[:1]) is None
        left = connections.open_connections()
        assert closed[0] not in left and closed[1] in left


@needs_root
def test_who_may_not_end_connections_is_told(tmp_path):
    with connected("127.0.0.1", "127.0.0.1") as (caller, accepted, _server):
        found = at(accepted)
        tmp_path.chmod(0o755)
        said = tmp_path / "said"
        said.touch()
        said.chmod(0o666)
        assert as_other(tmp_path, lambda: Path(said.name).write_text(str(connections.end(found))))
        assert said.read_text() == "Operation not permitted"
        caller.sendall(b"x")
        assert accepted.recv(1) == b"x"


@pytest.mark.parametrize(
    ("given", "compared"),
    [("10.0.0.1", "10.0.0.1"), ("::ffff:10.0.0.1", "10.0.0.1"), ("2001:DB8::0:1", "2001:db8::1")],
)
def test_addresses_are_compared_in_one_form(given, compared):
    assert connections.plain(given) == compared
