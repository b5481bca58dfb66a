# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import hashlib
import os
import socket
import ssl
import subprocess
import threading

import pytest

from ansible_collections.esync.mesh.plugins.module_utils._core.errors import EsyncError
from ansible_collections.esync.mesh.plugins.module_utils._core.folders import Folder
from ansible_collections.esync.mesh.plugins.module_utils._crypto import certificates as x509
from ansible_collections.esync.mesh.plugins.module_utils._endpoints import base as endpoint
from ansible_collections.esync.mesh.plugins.module_utils._endpoints.base import ExternalSettings, reload_external


def make(folder, name):
    """A server certificate with its key in a folder."""
    key = x509.generate_key("ecdsa", 256)
    now = datetime.datetime.now(datetime.timezone.utc)
    certificate = x509.self_sign(key, "server", x509.Profile(name, (name,), "ecdsa", 256, 2), now)
    folder.mkdir(exist_ok=True)
    (folder / "server.crt").write_text(certificate.pem)
    (folder / "server.key").write_bytes(x509.key_to_pem(key))
    return certificate.fingerprint


@contextlib.contextmanager
def serving(folder, version=None, demand=False, context=None):
    """A service with the certificate that lies in a folder now; yields its port."""
    context = context or ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(str(folder / "server.crt"), str(folder / "server.key"))
    if version:
        context.maximum_version = version
    if demand:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(str(folder / "server.crt"))
    with socket.create_server(("127.0.0.1", 0)) as server:

        def work():
            while True:
                try:
                    connection, _address = server.accept()
                except OSError:
                    return
                with connection, contextlib.suppress(OSError):
                    context.wrap_socket(connection, server_side=True).close()

        thread = threading.Thread(target=work, daemon=True)
        thread.start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)
    thread.join(5)


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


@pytest.fixture
def mesh(tmp_path):
    """The folder of a server with a current certificate."""
    folder = tmp_path / "esync"
    folder.mkdir(mode=0o755)
    return folder


# -- looking --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize("demand", [False, True])
def test_the_served_certificate_is_read_also_where_one_is_demanded(mesh, version, demand):
    fingerprint = make(mesh / "current", "a")
    with serving(mesh / "current", version, demand) as port:
        assert endpoint.served(port) == fingerprint


def test_nothing_is_served_where_nobody_listens():
    assert endpoint.served(free_port(), "127.0.0.1") is None


def test_what_is_not_tls_serves_nothing():
    with socket.create_server(("127.0.0.1", 0)) as server:
        # It takes the connection, and never says anything.
        assert endpoint.served(server.getsockname()[1], timeout=0.2) is None


def test_observe_tells_files_and_certificate(mesh):
    fingerprint = make(mesh / "current", "a")
    sound, missing, fifo = str(mesh / "sound"), str(mesh / "missing"), str(mesh / "fifo")
    (mesh / "sound").write_bytes(b"content")
    os.mkfifo(fifo)
    with serving(mesh / "current") as port:
        seen = endpoint.observe([sound, missing, fifo], port, None)
    assert seen["files"] == {sound: hashlib.sha256(b"content").hexdigest(), missing: None, fifo: None}
    assert seen["served"] == fingerprint
    assert isinstance(seen["ipv6"], bool)


def test_observe_connects_to_nothing_unless_asked():
    assert endpoint.observe([], None, "127.0.0.1")["served"] is None


def test_the_holder_of_a_port_is_named():
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert [holder.pid for holder in endpoint.holders(port)] == [os.getpid()]
        error = endpoint.port_taken(port, "a")
        with socket.create_connection(("127.0.0.1", port)) as connection:
            assert endpoint.holders(connection.getsockname()[1]) == [], "it is used, but nobody listens on it"
    assert error.kind == "port_taken"
    assert f"port {port} is taken by " in str(error)
    assert f"(process {os.getpid()})" in str(error)
    assert endpoint.holders(port) == []


def test_children_and_their_titles():
    with subprocess.Popen(["sleep", "60"]) as child:
        try:
            assert child.pid in endpoint.children_of(os.getpid())
            assert endpoint.wait_until(lambda: endpoint.title_of(child.pid) == "sleep 60", 5)
        finally:
            child.kill()
    assert child.pid not in endpoint.children_of(os.getpid())
    assert endpoint.title_of(child.pid) == ""


# -- proving and running --------------------------------------------------------------------------------------


def test_waiting_ends_with_the_answer_or_the_time():
    answers = iter([False, False, True])
    assert endpoint.wait_until(lambda: next(answers), 5)
    assert not endpoint.wait_until(lambda: False, 0.1)


def test_a_note_is_found_again(mesh):
    with Folder.open(str(mesh)) as base:
        assert not endpoint.is_loaded(base, "trust 1\n")
        endpoint.note_loaded(base, "trust 1\n")
        assert endpoint.is_loaded(base, "trust 1\n")
        assert not endpoint.is_loaded(base, "trust 2\n")
    assert (mesh / "endpoint.loaded").stat().st_mode & 0o777 == 0o644


def test_a_command_says_how_it_ended():
    assert endpoint.run_command(["sh", "-c", "echo out; echo err >&2; exit 3"], 10) == (3, "out\n", "err\n")
    assert endpoint.run_command(["/no/such/command"], 10)[0] == 127
    assert endpoint.run_command(["sleep", "60"], 0.1)[0] == -1


def test_a_command_may_leave_a_service_behind_that_keeps_its_output_open(tmp_path):
    # Were it waited for, the command would not end within its time.
    assert endpoint.run_command(["sh", "-c", f"sleep 60 & echo $! > {tmp_path}/pid"], 10)[0] == 0
    os.kill(int((tmp_path / "pid").read_text()), 9)


def test_last_words_are_short_and_hold_no_key():
    assert endpoint.last_words("one\n two \n\n") == "two"
    assert endpoint.last_words("-----BEGIN PRIVATE KEY-----\nx\n") == ""
    assert len(endpoint.last_words("x" * 9999)) < 1000


# -- an endpoint of the user's own ----------------------------------------------------------------------------


def external(mesh, port, *command, **more):
    return ExternalSettings("a", str(mesh), port, tuple(command), **{"loaded": "trust 1\n", "timeout": 5, **more})


def test_the_command_runs_once_and_then_nothing_differs(mesh):
    make(mesh / "current", "a")
    counting = ["sh", "-c", f"echo run >> {mesh}/count"]
    with serving(mesh / "current") as port:
        assert reload_external(external(mesh, port, *counting)) == ["not_loaded"]
        assert reload_external(external(mesh, port, *counting)) == []
        assert (mesh / "count").read_text() == "run\n"
        assert reload_external(external(mesh, port, *counting, reload=True)) == ["reload_asked_for"]
        assert reload_external(external(mesh, port, *counting, loaded="trust 2\n")) == ["not_loaded"]
    assert (mesh / "count").read_text() == "run\n" * 3


def test_check_runs_nothing(mesh):
    make(mesh / "current", "a")
    settings = external(mesh, free_port(), "touch", f"{mesh}/ran")
    assert reload_external(settings, check=True) == ["not_loaded", "another_certificate_served"]
    assert sorted(os.listdir(mesh)) == ["current"]


def test_a_service_that_keeps_the_old_certificate_is_told_with_both(mesh):
    old = make(mesh / "current", "a")
    with serving(mesh / "current") as port:
        new = make(mesh / "current", "a")
        with pytest.raises(EsyncError) as caught:
            reload_external(external(mesh, port, "true", timeout=0.3))
    assert caught.value.kind == "reload_refused"
    assert old in str(caught.value)
    assert new in str(caught.value)
    # Nothing was noted: the next run tries again.
    assert not (mesh / "endpoint.loaded").exists()


def test_a_service_that_does_not_listen_is_told(mesh):
    make(mesh / "current", "a")
    with pytest.raises(EsyncError, match="serves no certificate"):
        reload_external(external(mesh, free_port(), timeout=0.2))


def test_a_command_that_fails_is_told_with_its_last_words(mesh):
    make(mesh / "current", "a")
    with serving(mesh / "current") as port, pytest.raises(EsyncError) as caught:
        reload_external(external(mesh, port, "sh", "-c", "echo no such unit >&2; exit 5"))
    assert caught.value.kind == "reload_command_failed"
    assert "ended with 5 and said: no such unit" in str(caught.value)
    assert not (mesh / "endpoint.loaded").exists()


def test_without_a_certificate_there_is_nothing_to_wait_for(mesh):
    assert reload_external(external(mesh, free_port()), check=True) == ["not_loaded"]
    with pytest.raises(EsyncError) as caught:
        reload_external(external(mesh, free_port()))
    assert caught.value.kind == "no_certificate"


def test_settings_cannot_change():
    with pytest.raises(dataclasses.FrozenInstanceError):
        external("x", 1).port = 2


def test_each_site_is_looked_at_by_itself(mesh):
    fingerprint = make(mesh / "current", "a")
    with serving(mesh / "current") as port:
        sites = [{"name": "shop", "port": port, "server_name": "shop.example"}, {"name": "news", "port": free_port()}]
        seen = endpoint.observe([], port, None, sites=sites)
        assert (seen["served"], seen["sites"]) == (None, {"shop": fingerprint, "news": None})
        # Without sites it is the port that counts.
        seen = endpoint.observe([], port, None)
        assert (seen["served"], seen["sites"]) == (fingerprint, {})


def test_a_site_is_asked_for_by_its_name(mesh):
    fingerprint, asked = make(mesh / "current", "a"), []
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(str(mesh / "current" / "server.crt"), str(mesh / "current" / "server.key"))

    def note(_connection, name, _context):
        asked.append(name)

    context.sni_callback = note
    with serving(mesh / "current", context=context) as port:
        assert endpoint.served(port, server_name="shop.example") == fingerprint
        assert endpoint.served(port) == fingerprint
    assert asked == ["shop.example", None]


def test_places_in_words():
    assert [str(place) for place in endpoint.places_of(1, [])] == ["port 1"]
    named = [{"name": "shop", "port": 2, "server_name": "s.example"}, {"name": "news", "port": 3, "server_name": None}]
    assert [str(place) for place in endpoint.places_of(1, named)] == [
        "site shop, port 2 (s.example)",
        "site news, port 3",
    ]


def test_every_site_has_its_command_and_is_read_back(mesh):
    make(mesh / "current", "a")
    count = ("sh", "-c", f"echo own >> {mesh}/count")
    common = ["sh", "-c", f"echo common >> {mesh}/count"]
    with serving(mesh / "current") as one, serving(mesh / "current") as other:
        places = endpoint.places_of(
            1, [{"name": "a", "port": one}, {"name": "b", "port": one}, {"name": "c", "port": other}]
        )
        sites = tuple(zip(places, [count, (), ()]))
        # The sites count, not the port, where nothing listens; and what two have in common is run once.
        assert reload_external(external(mesh, free_port(), *common, sites=sites)) == ["not_loaded"]
        assert (mesh / "count").read_text() == "own\ncommon\n"
        assert reload_external(external(mesh, free_port(), *common, sites=sites)) == []
    with serving(mesh / "current") as one, pytest.raises(EsyncError) as caught:
        places = endpoint.places_of(1, [{"name": "a", "port": one}, {"name": "b", "port": free_port()}])
        reload_external(external(mesh, one, "true", sites=tuple((place, ()) for place in places), timeout=0.2))
    assert f"site b, port {places[1].port} serves no certificate" in str(caught.value)


def test_a_site_of_a_service_is_read_back_by_its_name(mesh):
    make(mesh / "current", "a")
    make(mesh / "other", "b")
    named, usual = (ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER) for _number in range(2))
    named.load_cert_chain(str(mesh / "current" / "server.crt"), str(mesh / "current" / "server.key"))

    def choose(connection, name, _context):
        if name == "shop.example":
            connection.context = named

    usual.sni_callback = choose
    with serving(mesh / "other", context=usual) as port:
        (place,) = endpoint.places_of(1, [{"name": "shop", "port": port, "server_name": "shop.example"}])
        assert reload_external(external(mesh, port, "true", sites=((place, ()),))) == ["not_loaded"]
        assert reload_external(external(mesh, port, "true", sites=((place, ()),))) == []


def test_a_restart_without_commands_for_it_is_a_reload(mesh):
    make(mesh / "current", "a")
    count = ["sh", "-c", f"echo reload >> {mesh}/count"]
    with serving(mesh / "current") as port:
        reload_external(external(mesh, port, *count, restart=True))
        stop, start = (("sh", "-c", f"echo {word} >> {mesh}/count") for word in ("stop", "start"))
        reload_external(external(mesh, port, *count, restart=True, stop_command=stop, start_command=start))
    assert (mesh / "count").read_text() == "reload\nstop\nstart\n"
