# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The endpoint of a test: a process that answers its peers, ends by itself, and leaves nothing."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import resource
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.esync.mesh.plugins.module_utils._connection import listener, tls
from ansible_collections.esync.mesh.plugins.module_utils._core.errors import EsyncError
from ansible_collections.esync.mesh.plugins.module_utils._endpoints.places import has_ipv6

from ..conftest import is_alive, wait_for

COLLECTIONS = Path(__file__).resolve().parents[5] / "playbooks" / "collections"


def talk(mesh: Any, caller: str, port: int, request: bytes, role: str = "client") -> bytes:
    """Send a request as one of the servers; returns everything that comes back."""
    directory = str(mesh.root / caller)
    context = tls.client_context(tls.read_trust(directory))
    tls.load_credential(context, tls.read_credential(directory, "current", role))
    with socket.create_connection(("127.0.0.1", port), 20) as raw, context.wrap_socket(raw) as secured:
        secured.sendall(request)
        answer = b""
        while piece := secured.recv(4096):
            answer += piece
        return answer


# -- what it answers -------------------------------------------------------------------------------------------


def test_the_answer_to_a_peer(mesh: Any, listen: Any, version: str) -> None:
    started = listen("bravo", product_version="7.1")
    assert started["address"] == "127.0.0.1"
    assert mesh.expected("bravo")[started["fingerprint"]] == "current"
    status, body = tls.parse_answer(talk(mesh, "alpha", started["port"], tls.request_for("bravo", 1)))
    assert status == 200
    assert json.loads(body) == {
        "server": "bravo",
        "generation": started["fingerprint"],
        "product_version": "7.1",
        "peer": "alpha",
    }


@pytest.mark.parametrize(
    "request_", [b"GET / HTTP/1.1\r\n\r\n", b"POST /esync/health HTTP/1.1\r\n\r\n", b"nothing\r\n\r\n", b"x" * 9000]
)
def test_other_requests_are_not_answered_with_anything_of_ours(mesh: Any, listen: Any, request_: bytes) -> None:
    answer = talk(mesh, "alpha", listen("bravo")["port"], request_)
    assert tls.parse_answer(answer) == (404, b"{}")


def test_the_next_generation_is_served(mesh: Any, listen: Any) -> None:
    started = listen("bravo", serve="next")
    assert mesh.expected("bravo")[started["fingerprint"]] == "next"
    assert mesh.one("alpha", "bravo", started["port"])["served"] == "next"


def test_a_certificate_in_the_bundle_that_is_not_pinned(mesh: Any, listen: Any, version: str) -> None:
    # The bundle is what OpenSSL accepts; who may speak is what the index pins.
    mesh.trust("bravo", "charlie")
    bundle = Path(tls.read_trust(str(mesh.root / "bravo")).bundle("client"))
    bundle.write_text(bundle.read_text() + mesh.server("alpha").file("client", "crt").read_text())
    port = listen("bravo")["port"]
    assert talk(mesh, "alpha", port, tls.request_for("bravo", 1)) == b""
    assert b"200 OK" in talk(mesh, "charlie", port, tls.request_for("bravo", 1))


@contextlib.contextmanager
def callers(port: int, count: int, source: str, first: bytes = b"") -> Iterator[list[socket.socket]]:
    """Connections from an address of this machine that present nothing."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, max(soft, 4096)), hard))
    with contextlib.ExitStack() as opened:
        found = []
        for _number in range(count):
            one = socket.create_connection(("127.0.0.1", port), 20, (source, 0))
            found.append(opened.enter_context(one))
            one.sendall(first)
        yield found
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.parametrize("source", ["127.0.0.1", "127.0.0.2"])
@pytest.mark.parametrize(
    ("count", "first"),
    [
        (64, b""),
        (1000, b""),
        # More than there are places.
        (1300, b""),
        # The beginning of a handshake, and of one that says it is long.
        (64, b"\x16\x03\x01"),
        (64, b"\x16\x03\x01\x40\x00\x01"),
    ],
)
def test_silent_callers_keep_nobody_waiting(mesh: Any, listen: Any, source: str, count: int, first: bytes) -> None:
    port = listen("bravo")["port"]
    with callers(port, count, source, first):
        peer = mesh.peer("bravo", port)
        found = mesh.probe("alpha", *[peer] * 5) + mesh.probe("charlie", *[peer] * 5)
    assert [one["verdict"] for one in found] == ["ok"] * 10


def test_slow_callers_keep_nobody_waiting(mesh: Any, listen: Any) -> None:
    port = listen("bravo")["port"]
    with callers(port, 64, "127.0.0.2", b"\x16\x03\x01\x40\x00") as slow:
        for _second in range(3):
            for one in slow:
                one.sendall(b"\x01")
            assert mesh.one("alpha", "bravo", port)["verdict"] == "ok"


def test_when_all_places_are_taken_the_source_with_the_most_of_them_gives_way(
    mesh: Any, listen: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listener, "_MOST", 20)
    monkeypatch.setattr(listener, "_GRACE", 60.0)
    port = listen("bravo")["port"]
    with callers(port, 2, "127.0.0.3") as others, callers(port, 60, "127.0.0.2") as silent:
        began = time.monotonic()
        assert mesh.one("alpha", "bravo", port)["verdict"] == "ok"
        assert time.monotonic() - began < 5
        # The oldest of them were ended, and nobody else's.
        silent[0].settimeout(5)
        assert silent[0].recv(1) == b""
        for one in others:
            one.settimeout(0.2)
            with pytest.raises(socket.timeout):
                one.recv(1)


def test_a_caller_that_proves_nothing_is_ended(mesh: Any, listen: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listener, "_PATIENCE", 0.5)
    port = listen("bravo")["port"]
    with callers(port, 1, "127.0.0.1") as silent:
        silent[0].settimeout(5)
        assert silent[0].recv(1) == b""
    # Nor does one that is known keep its place for ever.
    directory = str(mesh.root / "alpha")
    context = tls.client_context(tls.read_trust(directory))
    tls.load_credential(context, tls.read_credential(directory, "current", "client"))
    with socket.create_connection(("127.0.0.1", port), 5) as raw, context.wrap_socket(raw) as secured:
        assert secured.recv(1) == b""


def test_places_are_not_more_than_descriptors(monkeypatch: pytest.MonkeyPatch) -> None:
    limits = [(100, 100)]
    monkeypatch.setattr(resource, "getrlimit", lambda _what: limits[-1])
    monkeypatch.setattr(resource, "setrlimit", lambda _what, pair: limits.append(pair))
    assert listener._places() == 36
    limits.append((1024, 4096))
    assert listener._places() == 1024
    limits.append((resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    assert listener._places() == 1024


def test_many_callers_at_once(mesh: Any, listen: Any) -> None:
    peer = mesh.peer("bravo", listen("bravo")["port"])
    found = mesh.probe("alpha", *[peer] * 100, concurrency=50)
    assert [one["verdict"] for one in found] == ["ok"] * 100


# -- when it ends ----------------------------------------------------------------------------------------------


def test_it_ends_when_its_time_is_up(mesh: Any, listen: Any) -> None:
    started = listen("bravo", lifetime=0.5)
    assert is_alive(started["pid"])
    wait_for(lambda: not is_alive(started["pid"]))
    assert not Path(listener.lock_path(str(mesh.root / "bravo"))).exists()


def test_calls_through_a_balancer_do_not_end_it(mesh: Any, listen: Any) -> None:
    started = listen("bravo", expected=frozenset(["alpha"]))
    assert b"200 OK" in talk(mesh, "alpha", started["port"], tls.request_for("lb", 1, "web"))
    with pytest.raises(AssertionError, match="never"):
        wait_for(lambda: not is_alive(started["pid"]), seconds=2 * listener.LINGER)
    assert mesh.one("alpha", "bravo", started["port"])["verdict"] == "ok"
    wait_for(lambda: not is_alive(started["pid"]))


def test_it_ends_when_all_expected_were_served_and_not_before(mesh: Any, listen: Any) -> None:
    started = listen("bravo", expected=frozenset(["alpha", "charlie"]))
    for _number in range(2):
        assert mesh.one("alpha", "bravo", started["port"])["verdict"] == "ok"
    assert mesh.one("charlie", "bravo", started["port"], present="none")["verdict"] == "failed"
    with pytest.raises(AssertionError, match="never"):
        # Twice as long as it would stay after the last one.
        wait_for(lambda: not is_alive(started["pid"]), seconds=2 * listener.LINGER)
    assert mesh.one("charlie", "bravo", started["port"])["verdict"] == "ok"
    wait_for(lambda: not is_alive(started["pid"]))
    assert not Path(listener.lock_path(str(mesh.root / "bravo"))).exists()


def test_a_signal_ends_it_and_leaves_nothing(mesh: Any, listen: Any) -> None:
    started = listen("bravo")
    os.kill(started["pid"], signal.SIGHUP)
    assert mesh.one("alpha", "bravo", started["port"])["verdict"] == "ok"
    os.kill(started["pid"], signal.SIGTERM)
    wait_for(lambda: not is_alive(started["pid"]))
    assert not Path(listener.lock_path(str(mesh.root / "bravo"))).exists()


START = """
import json, sys, time
sys.path.insert(0, sys.argv[1])
from ansible_collections.esync.mesh.plugins.module_utils._connection.listener import ListenerSettings, start
print(json.dumps(start(ListenerSettings("bravo", sys.argv[2], "127.0.0.1", 0, 60))), flush=True)
time.sleep(float(sys.argv[3]))
"""


@pytest.fixture
def _clean(mesh: Any) -> Iterator[list[int]]:
    pids: list[int] = []
    yield pids
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    Path(listener.lock_path(str(mesh.root / "bravo"))).unlink(missing_ok=True)


def test_it_outlives_its_parent_and_holds_nothing_of_it(mesh: Any, _clean: list[int]) -> None:
    # The pipes are read to their end here, as sshd does it.
    command = [sys.executable, "-c", START, str(COLLECTIONS), str(mesh.root / "bravo"), "0"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True, stdin=subprocess.DEVNULL)
    started = json.loads(done.stdout)
    _clean.append(started["pid"])
    assert os.getsid(started["pid"]) != os.getsid(0)
    assert os.readlink(f"/proc/{started['pid']}/cwd") == "/"
    held = [os.readlink(f"/proc/{started['pid']}/fd/{number}") for number in range(3)]
    assert held == [os.devnull] * 3
    assert mesh.one("alpha", "bravo", started["port"])["verdict"] == "ok"


def test_it_outlives_a_parent_that_is_killed(mesh: Any, _clean: list[int]) -> None:
    command = [sys.executable, "-c", START, str(COLLECTIONS), str(mesh.root / "bravo"), "60"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout
        started = json.loads(parent.stdout.readline())
        _clean.append(started["pid"])
        parent.kill()
    assert mesh.one("alpha", "bravo", started["port"])["verdict"] == "ok"


# -- one at a time ---------------------------------------------------------------------------------------------


def test_a_newer_one_replaces_it_on_the_same_port(mesh: Any, listen: Any) -> None:
    first = listen("bravo")
    second = listen("bravo", port=first["port"], serve="next")
    assert second["port"] == first["port"]
    assert not is_alive(first["pid"])
    assert mesh.one("alpha", "bravo", first["port"])["served"] == "next"


def test_the_port_is_free_before_the_note_is_gone(mesh: Any, listen: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.unlink

    def slow(path: str) -> None:
        real(path)
        time.sleep(0.5)

    monkeypatch.setattr(os, "unlink", slow)
    port = listen("bravo")["port"]
    assert listen("bravo", port=port)["port"] == port


def test_a_lock_on_a_note_that_was_just_removed_is_none(
    mesh: Any, listen: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = Path(listener.lock_path(str(mesh.root / "bravo")))
    real = fcntl.flock
    removed = []

    def late(descriptor: int, operation: int) -> None:
        # As if the older one, which removes its note, had ended between our open and our lock.
        if not removed:
            removed.append(path.stat().st_ino)
            path.unlink()
        real(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", late)
    started = listen("bravo")
    assert removed
    assert int(path.read_text()) == started["pid"]


def test_one_that_does_not_end_is_told(mesh: Any, listen: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listener, "_TAKE_OVER", 0.3)
    first = listen("bravo")
    os.kill(first["pid"], signal.SIGSTOP)
    with pytest.raises(EsyncError) as caught:
        listen("bravo")
    os.kill(first["pid"], signal.SIGCONT)
    assert (caught.value.kind, caught.value.path) == ("locked", listener.lock_path(str(mesh.root / "bravo")))


def test_a_note_that_cannot_be_written_is_told(listen: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = str(tmp_path / "missing" / "note")
    monkeypatch.setattr(listener, "lock_path", lambda directory: path)
    with pytest.raises(EsyncError) as caught:
        listen("bravo")
    assert (caught.value.kind, caught.value.path) == ("missing_file", path)


@pytest.mark.parametrize("text", ["", "nothing", "0", "-1", "999999999"])
def test_a_note_that_nobody_holds_is_taken_over(mesh: Any, listen: Any, text: str) -> None:
    path = Path(listener.lock_path(str(mesh.root / "bravo")))
    path.write_text(text)
    started = listen("bravo")
    assert int(path.read_text()) == started["pid"]


def test_numbers_in_the_note_that_are_no_process_harm_nobody(mesh: Any, listen: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(listener, "_TAKE_OVER", 0.1)
    killed = []
    monkeypatch.setattr(os, "kill", lambda pid, number: killed.append(pid))
    with open(listener.lock_path(str(mesh.root / "bravo")), "w+", encoding="ascii") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        for text in ("-1", "0", "1", "", "x", "2222222"):
            held.truncate(0)
            held.seek(0)
            held.write(text)
            held.flush()
            with pytest.raises(EsyncError, match="does not end"):
                listen("bravo")
    assert set(killed) == {2222222}
    os.unlink(held.name)


@pytest.mark.parametrize("user", [0, 1000] if os.geteuid() == 0 else [1000])
def test_the_note_is_not_taken_for_something_unfinished(
    mesh: Any, listen: Any, monkeypatch: pytest.MonkeyPatch, user: int
) -> None:
    # An ordinary user has no /run, so the note lies in the directory, which other runs keep tidy meanwhile.
    monkeypatch.setattr(os, "geteuid", lambda: user)
    first = listen("bravo")
    path = Path(listener.lock_path(str(mesh.root / "bravo")))
    monkeypatch.undo()
    assert path.exists()
    assert (path.parent == mesh.root / "bravo") is (user != 0)
    assert not mesh.server("bravo").do("present").changed
    assert path.exists()
    monkeypatch.setattr(os, "geteuid", lambda: user)
    listen("bravo", port=first["port"])
    assert not is_alive(first["pid"])
    monkeypatch.undo()
    mesh.server("bravo").do("absent")
    assert list((mesh.root / "bravo").iterdir()) == []


# -- the port --------------------------------------------------------------------------------------------------


def test_the_process_that_holds_the_port_is_named(mesh: Any, listen: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(EsyncError) as caught:
            listen("bravo", port=port)
    assert (caught.value.kind, caught.value.server) == ("port_taken", "bravo")
    assert f"127.0.0.1 port {port}" in caught.value.cause
    assert f"(process {os.getpid()})" in caught.value.cause
    assert not Path(listener.lock_path(str(mesh.root / "bravo"))).exists()


def test_another_server_of_this_machine_that_listens_there_is_named(mesh: Any, listen: Any) -> None:
    first = listen("bravo")
    with pytest.raises(EsyncError) as caught:
        listen("charlie", port=first["port"])
    assert f"(process {first['pid']})" in caught.value.cause
    assert mesh.one("alpha", "bravo", first["port"])["verdict"] == "ok"


@pytest.mark.parametrize("address", ["203.0.113.1", "2001:db8::1"])
def test_an_address_that_is_not_of_this_host(listen: Any, address: str) -> None:
    with pytest.raises(EsyncError) as caught:
        listen("bravo", address=address)
    assert (caught.value.kind, caught.value.server) == ("cannot_listen", "bravo")
    assert address in caught.value.cause


@pytest.mark.parametrize("caller", [socket.AF_INET, socket.AF_INET6] if has_ipv6() else [socket.AF_INET])
def test_every_address_is_one_of_either_kind(listen: Any, caller: int) -> None:
    place = "127.0.0.1" if caller == socket.AF_INET else "::1"
    with socket.create_connection((place, listen("bravo", address="::")["port"]), 5):
        pass


def test_every_address_on_a_host_without_ipv6(listen: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "AF_INET6", 99)  # no kernel has it
    with socket.create_connection(("127.0.0.1", listen("bravo", address="::")["port"]), 5):
        pass
    with pytest.raises(EsyncError, match="has no addresses of that kind") as caught:
        listen("bravo", address="::1")
    assert caught.value.kind == "cannot_listen" and "esync_listen_address" in caught.value.remedy


@pytest.mark.parametrize("address", ["nonsense", "1.2.3", "x y"])
def test_what_is_no_address(listen: Any, address: str) -> None:
    with pytest.raises(EsyncError) as caught:
        listen("bravo", address=address)
    assert caught.value.kind == "cannot_listen"
    assert address in caught.value.cause


@pytest.mark.skipif(not Path("/proc/net/if_inet6").exists(), reason="this host has no IPv6")
def test_an_address_of_ipv6(mesh: Any, listen: Any) -> None:
    port = listen("bravo", address="::1")["port"]
    assert mesh.one("alpha", "bravo", port, address="::1")["verdict"] == "ok"
    port = listen("charlie", address="::")["port"]
    for address in ("::1", "127.0.0.1", "localhost"):
        assert mesh.one("alpha", "charlie", port, address=address)["verdict"] == "ok"


# -- files that cannot be used ---------------------------------------------------------------------------------


def test_files_that_cannot_be_used(mesh: Any, listen: Any) -> None:
    def kind(**settings: Any) -> str:
        with pytest.raises(EsyncError) as caught:
            listen("bravo", **settings)
        assert not Path(listener.lock_path(str(mesh.root / "bravo"))).exists()
        return caught.value.kind

    bravo = mesh.server("bravo")
    bravo.file("server", "key", "next").write_bytes(bravo.file("client", "key").read_bytes())
    assert kind(serve="next") == "key_mismatch"
    (bravo.path / "next").unlink()
    assert kind(serve="next") == "no_certificate"
    mesh.trust("bravo")
    assert kind() == "empty_trust"
    (bravo.path / "trusted").unlink()
    assert kind() == "no_trust"
    bravo.file("server", "crt").write_text("")
    assert kind() == "damaged_file"


def test_a_process_that_cannot_start_is_told(listen: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_unused: Any) -> None:
        raise RuntimeError("very-secret")

    monkeypatch.setattr(signal, "signal", fails)
    with pytest.raises(EsyncError) as caught:
        listen("bravo")
    assert caught.value.kind == "cannot_listen"
    assert "RuntimeError" in caught.value.cause
    assert "very-secret" not in str(caught.value)


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
def test_tls_before_1_2_is_not_spoken(listen: Any) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version = ssl.TLSVersion.TLSv1
    context.maximum_version = ssl.TLSVersion.TLSv1_1
    port = listen("bravo")["port"]
    with socket.create_connection(("127.0.0.1", port), 20) as raw, pytest.raises(ssl.SSLError, match="(?i)protocol"):
        context.wrap_socket(raw)
