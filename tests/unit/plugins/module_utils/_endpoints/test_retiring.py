# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Certificates that are presented to real products before they are retired: by whom, since when, and until when."""

from __future__ import annotations

import contextlib
import hashlib
import ssl
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest
from endpoint_hosts import endless_upstream, log_of_callers, make_certificate, through, trust
from other_users import needs_root

from ansible_collections.esync.mesh.plugins.module_utils._endpoints import procedure, retiring
from ansible_collections.esync.mesh.plugins.module_utils._endpoints.contract import Presented
from ansible_collections.esync.mesh.plugins.module_utils._endpoints.external import ExternalEndpoint
from ansible_collections.esync.mesh.plugins.module_utils._endpoints.temporary import TemporaryEndpoint

HEALTH = ["GET /esync/health HTTP/1.1", "Host: a"]


class Rotated:
    """A host that accepts b's previous certificate ``b``, its current one ``b.next``, and c's."""

    def __init__(self, host):
        self.host = host
        make_certificate(host.root / "peers" / "b.next", "b", "client")
        trust(host.directory, *(host.root / "peers" / name for name in ("b", "b.next", "c")))
        self.host.settings = replace(host.settings, access_log=log_of_callers(host))
        self.load()
        self.previous = self.fingerprint("b", hashlib.sha256)

    def load(self):
        procedure.bring_up(self.host.driver, self.host.settings)

    def fingerprint(self, name, kind):
        pem = (self.host.root / "peers" / name / "client.crt").read_text()
        return kind(ssl.PEM_cert_to_DER_cert(pem)).hexdigest()

    def call(self, name):
        assert self.host.ask(HEALTH, peer=name)[0] == 200

    def wanted(self, seconds=0, since=0.0):
        ports = frozenset([self.host.settings.port])
        return retiring.Watch(frozenset([self.previous]), since, seconds, ports)

    def watch(self, seconds=0, since=0.0):
        return retiring.watch(self.host.driver(self.host.settings), self.wanted(seconds, since))

    def noted(self):
        return self.host.driver(self.host.settings).noted()

    def callers(self, since=0.0):
        return self.watch(since=since)[0]


@pytest.fixture
def rotated(resident_host):
    return Rotated(resident_host)


@through("nginx", "haproxy")
def test_who_presents_a_certificate_is_noted_with_the_time(rotated):
    assert rotated.callers() == []
    before = time.time()
    rotated.call("b")
    rotated.call("b")
    rotated.call("c")
    (found,) = rotated.callers()
    assert (found.fingerprint, found.address, found.connections) == (rotated.previous, "127.0.0.1", 2)
    assert found.seconds_ago <= time.time() - before + 0.01
    assert found.renewed_ago is None
    assert {called for _port, called in found.calls} == {rotated.host.settings.port}
    rotated.call("b.next")
    (found,) = rotated.callers()
    assert found.renewed_ago is not None and found.renewed_ago <= found.seconds_ago
    # Times are noted to the thousandth of a second.
    assert rotated.callers(since=time.time() + 0.01) == []


@through("nginx")
def test_a_note_without_a_time_says_nothing_about_when(rotated):
    with open(rotated.host.root / "esync-mesh.connections.log", "a", encoding="ascii") as log:
        log.write(f"{rotated.fingerprint('b', hashlib.sha1)} 192.0.2.1 1234 {rotated.host.settings.port}\n")
    assert [one.at for one in rotated.noted().presented] == [0]
    assert rotated.callers(since=1) == []


@through("nginx")
def test_an_answer_that_was_under_way_is_no_certificate_presented_later(rotated):
    with endless_upstream() as port, contextlib.ExitStack() as stack:
        rotated.host.settings = replace(rotated.host.settings, upstream=f"http://127.0.0.1:{port}")
        rotated.load()
        connection = stack.enter_context(rotated.host.connect("b"))
        connection.sendall(b"GET /endless HTTP/1.1\r\nHost: a\r\n\r\n")
        assert connection.recv(1)
        time.sleep(0.2)
        switched = time.time()
        connection.close()
        log = rotated.host.root / "esync-mesh.connections.log"
        # One line before the answer, and one at its end, which is now.
        deadline = time.monotonic() + 10
        while len(log.read_text().splitlines()) < 2 and time.monotonic() < deadline:
            time.sleep(0.05)
    assert len(log.read_text().splitlines()) == 2
    assert rotated.callers(since=switched) == []
    assert len(rotated.callers()) == 1


@through("nginx", "haproxy")
def test_the_wait_ends_when_nobody_has_presented_it_for_long_enough(rotated, monkeypatch):
    monkeypatch.setattr(retiring, "LEAST", 0.0)
    # HAProxy says in whole seconds how long it has noted anything.
    time.sleep(1)
    rotated.call("b")
    # Two seconds after that call, which is sooner than two seconds after the beginning.
    time.sleep(1)
    began = time.monotonic()
    found, _calls = rotated.watch(2)
    assert 0.5 < time.monotonic() - began < 1.8
    assert len(found) == 1
    began = time.monotonic()
    rotated.watch(2)
    assert time.monotonic() - began < 1.8


@through("nginx", "haproxy")
def test_where_nobody_calls_the_processes_that_call_others_are_looked_at_all_the_same(rotated):
    began = time.monotonic()
    found, _calls = rotated.watch(1)
    assert found == []
    assert time.monotonic() - began >= 1


@through("nginx", "haproxy")
def test_the_wait_ends_in_any_case(rotated):
    done = threading.Event()

    def go_on():
        while not done.is_set():
            rotated.call("b")

    thread = threading.Thread(target=go_on)
    thread.start()
    try:
        found, _calls = rotated.watch(2)
    finally:
        done.set()
        thread.join()
    assert found[0].connections > 2
    assert found[0].seconds_ago < 1


@through("nginx")
def test_an_endpoint_that_does_not_note_what_is_presented_takes_the_whole_time(rotated):
    rotated.host.settings = replace(rotated.host.settings, access_log="off")
    rotated.load()
    began = time.monotonic()
    assert rotated.watch(1)[0] is None
    assert time.monotonic() - began >= 1
    for driver in (ExternalEndpoint, TemporaryEndpoint):
        assert driver(rotated.host.settings).noted() is None


@through("nginx")
def test_a_log_that_nginx_was_not_told_to_write_says_nothing(rotated):
    (rotated.host.root / "conf.d" / "esync-mesh.conf").write_text("")
    assert rotated.noted() is None


CALLER = """\
import socket, ssl, sys, time
folder, port = sys.argv[1], int(sys.argv[2])
context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
context.load_cert_chain(folder + "/client.crt", folder + "/client.key")
connection = context.wrap_socket(socket.create_connection(("127.0.0.1", port)))
connection.sendall(b"GET /esync/health HTTP/1.1\\r\\nHost: a\\r\\n\\r\\n")
print(connection.recv(100)[:15], flush=True)
sys.stdin.read()
"""


@needs_root
@through("nginx", "haproxy")
def test_the_process_that_called_is_found_on_its_host(rotated):
    command = [sys.executable, "-c", CALLER, str(rotated.host.root / "peers" / "b"), str(rotated.host.settings.port)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert b"200" in process.stdout.readline()
        found, calls = rotated.watch()
        comm = Path(f"/proc/{process.pid}/comm").read_text().strip()
        process.stdin.close()
    ((port, called),) = found[0].calls
    (call,) = [one for one in calls if (one.address, one.port, one.called) == (found[0].address, port, called)]
    assert call.process == f"{comm} (process {process.pid})"


def test_callers_are_told_apart_by_certificate_and_address():
    owners = {"old-b": ("b", "1"), "new-b": ("b", "2"), "old-c": ("c", "3")}
    wanted = retiring.Watch(frozenset(["1", "3"]), 100.0, 0, frozenset())
    presented = [
        Presented("old-b", (8732, "192.0.2.1", 1), 99.0),
        Presented("old-b", (8732, "192.0.2.1", 2), 100.0),
        # The same connection, at the end of its first answer.
        Presented("old-b", (8732, "192.0.2.1", 2), 100.0),
        Presented("new-b", (8732, "192.0.2.2", 3), 101.0),
        Presented("old-b", (8732, "192.0.2.1", 4), 107.0),
        Presented("old-c", (8732, "192.0.2.1", 5), 108.0),
        Presented("unknown", (8732, "192.0.2.1", 6), 109.0),
        Presented("new-b", (8732, "192.0.2.1", 7), 109.0),
    ]
    first, second = retiring.callers_of(presented, owners, wanted, now=110.0)
    assert first == retiring.Caller("1", "192.0.2.1", 3.0, 7.0, 1.0, 2, ((2, 8732), (4, 8732)))
    assert second == retiring.Caller("3", "192.0.2.1", 2.0, 0.0, None, 1, ((5, 8732),))
