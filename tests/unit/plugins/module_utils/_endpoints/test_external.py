# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import contextlib
import os
import socket
import ssl
import threading
import time

import pytest
from endpoint_hosts import free_port, make_certificate, serving, settings, site

from ansible_collections.esync.mesh.plugins.module_utils._core.errors import EsyncError
from ansible_collections.esync.mesh.plugins.module_utils._endpoints.external import ExternalEndpoint
from ansible_collections.esync.mesh.plugins.module_utils._endpoints.procedure import bring_up, take_down


def reasons(directory, port, *command, check=False, **more):
    asked = settings(directory, port, reload_command=tuple(command), **more)
    return list(bring_up(ExternalEndpoint, asked, check).reasons)


def refused(directory, port, *command, **more):
    with pytest.raises(EsyncError) as caught:
        reasons(directory, port, *command, **more)
    return caught.value


def counting(directory, word="run"):
    return ["sh", "-c", f"echo {word} >> {directory}/count"]


def test_the_command_runs_once_and_then_nothing_differs(directory):
    make_certificate(directory / "current")
    with serving(directory / "current") as port:
        assert reasons(directory, port, *counting(directory)) == ["not_loaded"]
        assert reasons(directory, port, *counting(directory)) == []
        assert (directory / "count").read_text() == "run\n"
        (directory / "endpoint.loaded").unlink()
        assert reasons(directory, port, *counting(directory)) == ["not_loaded"]
    assert (directory / "count").read_text() == "run\n" * 2


def test_check_runs_nothing(directory):
    make_certificate(directory / "current")
    found = reasons(directory, free_port(), "touch", f"{directory}/ran", check=True)
    assert found == ["not_loaded", "another_certificate_served"]
    assert sorted(os.listdir(directory)) == ["current"]


def test_a_service_that_keeps_the_old_certificate_is_told_with_both(directory):
    old = make_certificate(directory / "current")
    with serving(directory / "current") as port:
        new = make_certificate(directory / "current")
        error = refused(directory, port, "true", timeout=0.3)
    assert error.kind == "reload_refused"
    assert old in str(error)
    assert new in str(error)
    assert error.path is None, "the configuration is none of ours"
    # Nothing was noted: the next run tries again.
    assert not (directory / "endpoint.loaded").exists()


def test_what_was_noted_is_forgotten_before_the_command_is_run(directory):
    make_certificate(directory / "current")
    with serving(directory / "current") as port:
        reasons(directory, port, "true")
        assert (directory / "endpoint.loaded").exists()
        there = ["sh", "-c", f"test ! -e {directory}/endpoint.loaded"]
        assert reasons(directory, port, *there, restart=True) == ["restart_asked_for"]
        assert (directory / "endpoint.loaded").exists()
        refused(directory, port, "false", restart=True)
    assert not (directory / "endpoint.loaded").exists()


def test_a_service_that_does_not_listen_is_told(directory):
    make_certificate(directory / "current")
    assert "serves no certificate" in str(refused(directory, free_port(), timeout=0.2))


def test_a_command_that_fails_is_told_with_its_last_words(directory):
    make_certificate(directory / "current")
    with serving(directory / "current") as port:
        error = refused(directory, port, "sh", "-c", "echo no such unit >&2; exit 5")
    assert error.kind == "reload_command_failed"
    assert "ended with 5 and said: no such unit" in str(error)
    assert not (directory / "endpoint.loaded").exists()


def test_without_a_certificate_there_is_nothing_to_wait_for(directory):
    assert reasons(directory, free_port(), check=True) == ["not_loaded"]
    assert refused(directory, free_port()).kind == "no_certificate"


def test_every_site_has_its_command_and_is_read_back(directory):
    make_certificate(directory / "current")
    own, common = tuple(counting(directory, "own")), counting(directory, "common")
    with serving(directory / "current") as one, serving(directory / "current") as other:
        sites = (site("a", one, reload=own), site("b", one), site("c", other))
        # The sites count, not the port, where nothing listens; and what two have in common is run once.
        assert reasons(directory, free_port(), *common, sites=sites) == ["not_loaded"]
        assert (directory / "count").read_text() == "own\ncommon\n"
        assert reasons(directory, free_port(), *common, sites=sites) == []
    with serving(directory / "current") as one:
        sites = (site("a", one), site("b", free_port()))
        error = refused(directory, one, "true", sites=sites, timeout=0.2)
    assert f"site b, port {sites[1].port} serves no certificate" in str(error)


def test_a_site_of_a_service_is_read_back_by_its_name(directory):
    make_certificate(directory / "current", "a")
    make_certificate(directory / "other", "b")
    named, usual = (ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER) for _number in range(2))
    named.load_cert_chain(str(directory / "current" / "server.crt"), str(directory / "current" / "server.key"))

    def choose(connection, name, _context):
        if name == "shop.example":
            connection.context = named

    usual.sni_callback = choose
    with serving(directory / "other", context=usual) as port:
        sites = (site("shop", port, server_name="shop.example"),)
        assert reasons(directory, port, "true", sites=sites) == ["not_loaded"]
        assert reasons(directory, port, "true", sites=sites) == []


def test_a_restart_without_commands_for_it_is_a_reload(directory):
    make_certificate(directory / "current")
    with serving(directory / "current") as port:
        reasons(directory, port, *counting(directory, "reload"), restart=True)
        stop, start = (tuple(counting(directory, word)) for word in ("stop", "start"))
        both = {"stop_command": stop, "start_command": start}
        reasons(directory, port, *counting(directory, "reload"), restart=True, **both)
    assert (directory / "count").read_text() == "reload\nstop\nstart\n"


def test_nothing_of_ours_is_there_to_be_taken_away(directory):
    make_certificate(directory / "current")
    assert take_down(ExternalEndpoint, settings(directory, free_port()), "present").reasons == ()


def answering(greeting, answers):
    """A service with a protocol of its own, on a port of this host."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve():
        with contextlib.suppress(OSError):
            while True:
                connection, _address = listener.accept()
                with connection, contextlib.suppress(OSError):
                    connection.settimeout(5)
                    connection.sendall(greeting)
                    said = connection.recv(8)
                    connection.sendall(answers.get(said, b""))

    threading.Thread(target=serve, daemon=True).start()
    return listener


@pytest.mark.parametrize(
    ("greeting", "answers", "said"),
    [
        (b"220 mail.example ESMTP\r\n", {}, "220 mail.example ESMTP"),
        (b"", {bytes.fromhex("0000000804d2162f"): b"N"}, "PostgreSQL"),
    ],
)
def test_a_service_that_does_not_begin_with_tls_is_told_at_once_and_what_it_speaks(directory, greeting, answers, said):
    make_certificate(directory / "current")
    with answering(greeting, answers) as listener:
        started = time.monotonic()
        error = refused(directory, listener.getsockname()[1], "true", timeout=30)
    assert error.kind == "not_tls" and said in error.cause and "stunnel" in error.remedy
    assert time.monotonic() - started < 20
    assert not (directory / "endpoint.loaded").exists()


def test_a_service_that_hangs_up_is_waited_for(directory):
    make_certificate(directory / "current")
    with answering(b"", {}) as listener:
        error = refused(directory, listener.getsockname()[1], "true", timeout=4)
    assert error.kind == "reload_refused" and "4 seconds after the reload" in error.cause
