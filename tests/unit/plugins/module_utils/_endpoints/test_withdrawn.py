# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Answers that never end, through each real product: those of callers that are withdrawn do, and no others."""

from __future__ import annotations

import contextlib
import os
import socket
import time
from dataclasses import replace

import pytest
from endpoint_hosts import endless_upstream, log_of_callers, through
from other_users import needs_root

from ansible_collections.esync.mesh.plugins.module_utils._core import connections
from ansible_collections.esync.mesh.plugins.module_utils._core.errors import EsyncError
from ansible_collections.esync.mesh.plugins.module_utils._endpoints import procedure

pytestmark = needs_root
REQUEST = b"GET /endless HTTP/1.1\r\nHost: a\r\n\r\n"


class Streams:
    """A host with an endless upstream, and answers under way.

    :param host: the settings for it become such that its product notes connections, if it can.
    """

    def __init__(self, host, stack, port):
        self.host = host
        self.stack = stack
        scheme = host.driver.product.schemes[0]
        upstream = f"{scheme}://127.0.0.1:{port}"
        host.settings = replace(host.settings, upstream=upstream, access_log=log_of_callers(host))

    def load(self, **changes):
        return procedure.bring_up(self.host.driver, replace(self.host.settings, **changes)).ended

    def open(self, peer, request=REQUEST, source="127.0.0.1"):
        connection = self.stack.enter_context(self.host.connect(peer, source=source))
        connection.settimeout(5)
        connection.sendall(request)
        answer = b""
        while request and b"." not in answer.partition(b"\r\n\r\n")[2]:
            piece = connection.recv(4096)
            assert piece, answer
            answer += piece
        return connection

    def drain(self, seconds):
        settings = replace(self.host.settings, drain=seconds)
        return procedure.drain(self.host.driver, settings)


def goes_on(connection):
    """Whether another byte of the answer comes."""
    with contextlib.suppress(OSError):
        # What has arrived before does not count.
        connection.settimeout(0.01)
        while connection.recv(4096):
            pass
    with contextlib.suppress(OSError):
        connection.settimeout(2)
        return bool(connection.recv(1))
    return False


@pytest.fixture
def streams(resident_host):
    with endless_upstream() as port, contextlib.ExitStack() as stack:
        resident_host.trust("b", "c")
        made = Streams(resident_host, stack, port)
        made.load()
        yield made


# Those that note which certificate has opened which connection.
by_certificate = through("nginx", "haproxy")


@by_certificate
def test_answers_to_a_withdrawn_certificate_end_and_others_go_on(streams):
    kept = [streams.open("b") for _number in range(10)]
    cut = [streams.open("c") for _number in range(10)]
    streams.host.trust("b")
    ended = streams.load()
    # The connections of the proof itself may not be quite gone.
    assert ended.ended == 10 and ended.spared >= 10 and not ended.restarted
    assert [goes_on(one) for one in cut] == [False] * 10
    assert [goes_on(one) for one in kept] == [True] * 10


@through("stunnel")
def test_answers_to_the_address_of_a_withdrawn_server_end_and_others_go_on(streams):
    kept = [streams.open("b") for _number in range(10)]
    cut = [streams.open("c", source="127.0.0.2") for _number in range(10)]
    streams.host.trust("b")
    ended = streams.load(withdrawn=(("127.0.0.2", 1),))
    assert ended.ended == 10 and ended.spared >= 10 and not ended.restarted
    assert [goes_on(one) for one in cut] == [False] * 10
    assert [goes_on(one) for one in kept] == [True] * 10


@through("nginx")
def test_a_connection_is_known_from_before_the_log_was_rotated(streams):
    old = streams.open("c")
    log = streams.host.root / "esync-mesh.connections.log"
    log.rename(f"{log}.1")
    streams.host.trust("b")
    assert streams.load().ended == 1
    assert not goes_on(old)


@by_certificate
def test_a_connection_that_asked_for_something_short_first_is_known_too(streams):
    health = b"GET /esync/health HTTP/1.1\r\nHost: a\r\n\r\n"
    connection = streams.open("c", b"")
    connection.sendall(health)
    assert b"200 OK" in connection.recv(4096)
    connection.sendall(REQUEST)
    assert connection.recv(4096)
    streams.host.trust("b")
    assert streams.load().ended == 1
    assert not goes_on(connection)


@by_certificate
def test_who_has_connected_and_not_asked_yet_cannot_wait_for_the_withdrawal(streams):
    waiting = streams.open("c", b"")
    kept = streams.open("b")
    streams.host.trust("b")
    # Not of its address: both are of the same here, and the one that is noted goes on.
    streams.load(withdrawn=(("192.0.2.1", 1),))
    with contextlib.suppress(OSError):
        waiting.sendall(REQUEST)
    assert not goes_on(waiting)
    assert goes_on(kept)


@through("nginx")
def test_without_notes_the_address_has_to_do(streams):
    streams.host.settings = replace(streams.host.settings, access_log="off")
    streams.load()
    both, other = [streams.open("b"), streams.open("c")], streams.open("b", source="127.0.0.2")
    streams.host.trust("b")
    # And those of the proof itself, which come from the same address, if they are not quite gone.
    assert streams.load(withdrawn=(("127.0.0.1", 1),)).ended >= 2
    assert not any(goes_on(one) for one in both)
    assert goes_on(other)


@through("haproxy")
def test_without_its_socket_the_address_has_to_do(streams):
    cut, other = streams.open("c", source="127.0.0.2"), streams.open("b")
    (streams.host.root / "run" / "esync-test.sock").unlink()
    streams.host.trust("b")
    assert streams.load(withdrawn=(("127.0.0.2", 1),)).ended == 1
    assert not goes_on(cut)
    assert goes_on(other)


@by_certificate
def test_who_is_in_the_middle_of_the_handshake_cannot_wait_for_the_withdrawal(streams):
    place = ("127.0.0.1", streams.host.settings.port)
    waiting = streams.stack.enter_context(socket.create_connection(place, 5))
    # How a ClientHello begins (RFC 8446, 5.1).
    waiting.sendall(b"\x16\x03\x01\x02\x00")
    kept = streams.open("b")
    streams.host.trust("b")
    streams.load(withdrawn=(("192.0.2.1", 1),))
    # A time-out would say that it is still open.
    with contextlib.suppress(ConnectionResetError):
        assert waiting.recv(1) == b""
    assert goes_on(kept)


@by_certificate
def test_what_this_host_has_opened_to_a_withdrawn_server_ends_and_to_others_goes_on(streams):
    # Nobody else calls from there.
    with socket.create_server(("127.0.0.2", 0)) as withdrawn, socket.create_server(("127.0.0.2", 0)) as other:
        calls = [socket.create_connection(server.getsockname(), 5) for server in (withdrawn, other)]
        with calls[0], calls[1], withdrawn.accept()[0], other.accept()[0] as answering:
            streams.host.trust("b")
            assert streams.load(withdrawn=(withdrawn.getsockname(),)).ended == 1
            with pytest.raises(OSError):
                calls[0].recv(1)
            answering.sendall(b"x")
            assert calls[1].recv(1) == b"x"


@by_certificate
def test_after_a_planned_rotation_connections_have_a_while(streams):
    old, other = streams.open("c"), streams.open("b")
    streams.host.trust("b")
    assert streams.load(spare=True) is None
    assert goes_on(old)
    began = time.monotonic()
    outcome = streams.drain(2)
    assert time.monotonic() - began > 0.5
    assert (outcome.reasons, outcome.ended.ended, outcome.ended.restarted) == (("connections_ended",), 1, False)
    assert not goes_on(old)
    assert goes_on(other)


@by_certificate
def test_the_while_is_that_since_the_reload(streams):
    old = streams.open("c")
    streams.host.trust("b")
    streams.load(spare=True)
    note = streams.host.directory / "endpoint.loaded"
    os.utime(note, (time.time() - 100,) * 2)
    began = time.monotonic()
    assert streams.drain(60).ended.ended == 1
    assert time.monotonic() - began < 30
    assert not goes_on(old)


@by_certificate
def test_nobody_waits_for_connections_that_are_not_there(streams):
    other = streams.open("b")
    streams.host.trust("b")
    streams.load(spare=True)
    began = time.monotonic()
    outcome = streams.drain(60)
    assert outcome.reasons == () and outcome.ended.spared >= 1
    assert time.monotonic() - began < 30
    assert goes_on(other)


@by_certificate
def test_where_the_kernel_does_not_help_the_endpoint_is_restarted(streams, monkeypatch):
    cut, kept = streams.open("c"), streams.open("b")
    master = streams.host.main
    streams.host.trust("b")
    # As for a user who may not.
    monkeypatch.setattr(connections, "end", lambda found: "Operation not permitted")
    ended = streams.load()
    assert (ended.ended, ended.spared, ended.restarted) == (1, 0, True)
    assert streams.host.main not in (None, master)
    assert not goes_on(cut)
    assert not goes_on(kept)
    assert streams.load() is None


@by_certificate
def test_what_is_served_after_such_a_restart_is_proved_again(streams, monkeypatch):
    streams.open("c")
    streams.host.trust("b")
    monkeypatch.setattr(connections, "end", lambda found: "Operation not permitted")
    monkeypatch.setattr(streams.host.driver, "restart", lambda endpoint: streams.host.stop())
    with pytest.raises(EsyncError) as caught:
        streams.load(timeout=3)
    assert caught.value.kind == "reload_refused"


@by_certificate
def test_what_cannot_be_ended_at_all_fails_and_is_tried_again(streams, monkeypatch):
    cut = streams.open("c")
    streams.host.trust("b")
    with monkeypatch.context() as patch:
        patch.setattr(connections, "end", lambda found: "Operation not permitted")
        patch.setattr(streams.host.driver, "restart", lambda endpoint: None)
        with pytest.raises(EsyncError) as caught:
            streams.load(timeout=2)
    assert caught.value.kind == "connections_left"
    assert "Operation not permitted" in str(caught.value)
    assert streams.load().ended == 1
    assert not goes_on(cut)
