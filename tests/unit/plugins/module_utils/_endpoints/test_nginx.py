# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""With a stand-in for nginx, programs of its names that behave as it does, and at the end with the real one."""

from __future__ import annotations

import os
import signal
import socket
import stat
import subprocess
import sys
from dataclasses import replace

import pytest
from endpoint_hosts import free_port, site

from ansible_collections.esync.mesh.plugins.module_utils._connection import listener
from ansible_collections.esync.mesh.plugins.module_utils._core import processes
from ansible_collections.esync.mesh.plugins.module_utils._core.errors import EsyncError
from ansible_collections.esync.mesh.plugins.module_utils._endpoints import nginx, places, procedure
from ansible_collections.esync.mesh.plugins.module_utils._endpoints.nginx import NginxEndpoint

# A setting that makes the configuration another one, and one with which the stand-in refuses it.
OTHER = {"upstream": "http://other.example"}
BAD = {"upstream": "http://nonsense.example"}


def present(host, check=False, **changes):
    return procedure.bring_up(NginxEndpoint, replace(host.settings, **changes), check)


def absent(host, check=False):
    return procedure.take_down(NginxEndpoint, host.settings, "present", check)


def refused(host, **changes):
    with pytest.raises(EsyncError) as caught:
        present(host, **changes)
    return caught.value


def test_it_is_started_and_then_nothing_differs(host):
    outcome = present(host)
    assert outcome.reasons == ("configuration_differs", "not_loaded", "not_running")
    assert (outcome.before, outcome.after) == ("", host.configuration.read_text())
    assert stat.S_IMODE(host.configuration.stat().st_mode) == 0o644
    assert places.served(places.Place(host.settings.port)) == host.fingerprint
    assert host.note.startswith("nginx: trust ")
    assert present(host).reasons == ()
    assert host.reloads == 0


def test_a_new_certificate_is_taken_up_by_a_reload(host):
    present(host)
    master = host.main
    new = host.renew()
    # Its fingerprint is in the configuration, for the health answer.
    assert present(host).reasons == ("configuration_differs", "not_loaded", "another_certificate_served")
    assert places.served(places.Place(host.settings.port)) == new
    assert (host.main, host.reloads) == (master, 1)
    assert present(host).reasons == ()


def test_a_new_trust_is_taken_up_by_a_reload(host):
    present(host)
    host.trust("c")
    assert present(host).reasons == ("not_loaded",)
    assert host.reloads == 1
    assert present(host).reasons == ()


def test_a_trust_that_was_written_again_is_taken_up_by_a_reload(host):
    present(host)
    (host.directory / "trusted" / "clients.pem").write_text("damaged")
    host.trust("b")
    assert present(host).reasons == ("not_loaded",)
    assert host.reloads == 1


def test_a_restart(host):
    present(host)
    master = host.main
    assert present(host, restart=True).reasons == ("restart_asked_for",)
    assert host.reloads == 0
    assert host.main not in (None, master)


def test_another_configuration_is_loaded(host):
    before = present(host).after
    outcome = present(host, **OTHER)
    assert outcome.reasons == ("configuration_differs", "not_loaded")
    assert outcome.before == before
    assert (host.root / "served.conf").read_text() == outcome.after
    assert "other.example" in outcome.after


@pytest.mark.parametrize("installed_before", [False, True])
def test_a_refused_configuration_leaves_the_old_one(host, installed_before):
    before = present(host).after if installed_before else ""
    error = refused(host, **BAD)
    assert error.kind == "configuration_refused"
    assert "unknown directive in conf.d/esync-mesh.conf:1" in str(error)
    assert error.path == str(host.configuration)
    if installed_before:
        assert host.configuration.read_text() == before
        assert places.served(places.Place(host.settings.port)) == host.fingerprint
        assert present(host).reasons == ()
    else:
        assert os.listdir(host.root / "conf.d") == []
        assert host.main is None
        assert not host.note
    assert host.reloads == 0


def test_a_file_that_nginx_does_not_read_is_told(host):
    (host.root / "elsewhere").mkdir(mode=0o755)
    path = str(host.root / "elsewhere" / "esync.conf")
    assert "does not read" in str(refused(host, configuration=path))
    assert not os.path.exists(path)


def test_a_folder_that_does_not_exist_is_told(host):
    error = refused(host, configuration=str(host.root / "nowhere" / "esync.conf"))
    assert (error.kind, error.path) == ("missing_folder", str(host.root / "nowhere"))


def test_a_reload_that_fails_silently_is_noticed(host):
    before = present(host).after
    (host.root / "stubborn").touch()
    error = refused(host, **OTHER, timeout=0.5)
    assert error.kind == "reload_refused"
    assert "old worker processes" in str(error)
    assert host.configuration.read_text() == before
    assert (host.root / "served.conf").read_text() == before
    assert host.reloads == 1


def test_a_reload_that_fails_silently_is_noticed_also_if_only_the_trust_changed(host):
    present(host)
    host.trust("c")
    (host.root / "stubborn").touch()
    assert refused(host, timeout=0.5).kind == "reload_refused"
    # What was not proved is not noted: the next run tries again.
    (host.root / "stubborn").unlink()
    assert present(host).reasons == ("not_loaded",)


def test_a_reload_that_did_nothing_is_repeated_even_if_everything_is_back_as_it_was(host):
    present(host)
    trust = os.readlink(host.directory / "trusted")
    host.trust("c")
    (host.root / "stubborn").touch()
    refused(host, timeout=0.5)
    host.trust("b")
    assert os.readlink(host.directory / "trusted") != trust
    (host.root / "stubborn").unlink()
    assert present(host).reasons == ("not_loaded",)


def test_a_reload_that_serves_another_certificate_is_undone(host):
    present(host)
    # The service goes on with a copy of the old certificate, whatever lies in the folder.
    host.stop()
    for suffix in ("crt", "key"):
        (host.root / f"old.{suffix}").write_bytes((host.directory / "current" / f"server.{suffix}").read_bytes())
    text = (host.root / "master").read_text().replace("esync/current/server", "old")
    (host.root / "master").write_text(text)
    before = present(host).after
    new = host.renew()
    error = refused(host, timeout=0.5)
    assert error.kind == "reload_refused"
    assert host.fingerprint in str(error)
    assert new in str(error)
    assert host.configuration.read_text() == before
    assert processes.wait_until(lambda: (host.root / "served.conf").read_text() == before, 5)
    assert not host.note


def test_a_start_that_serves_nothing_is_told(host):
    (host.root / "mute").touch()
    error = refused(host, timeout=0.5)
    assert error.kind == "reload_refused"
    assert "serves no certificate" in str(error)
    assert os.listdir(host.root / "conf.d") == []


OLDER_TEST = """import fcntl, os, socket, sys, time
lock = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT, 0o600)
fcntl.flock(lock, fcntl.LOCK_EX)
os.write(lock, b"%d" % os.getpid())
server = socket.create_server(("127.0.0.1", int(sys.argv[2])))
time.sleep(60)
"""


def test_an_endpoint_that_a_test_left_is_ended(host):
    path = listener.lock_path(host.settings.directory)
    port = host.settings.port
    with subprocess.Popen([sys.executable, "-c", OLDER_TEST, path, str(port)]) as older:
        try:
            assert processes.wait_until(lambda: bool(processes.holders(port)), 10)
            present(host)
            assert older.wait(10) == -signal.SIGTERM
        finally:
            older.kill()
    assert places.served(places.Place(port)) == host.fingerprint
    assert not os.path.exists(path)


def test_check_does_nothing(host):
    outcome = present(host, check=True)
    assert outcome.reasons == ("configuration_differs", "not_loaded", "not_running")
    assert outcome.after
    assert os.listdir(host.root / "conf.d") == []
    assert host.main is None


def test_check_before_there_are_certificates(host):
    (host.directory / "current").rename(host.root / "away")
    outcome = present(host, check=True)
    assert outcome.reasons == ("not_loaded",)
    assert '"generation": "none yet"' in outcome.after


def test_every_site_is_read_back(host):
    port, free = host.settings.port, free_port()
    shop, news = site("shop", port, server_name="shop.example"), site("news", free)
    # The sites count: nothing listens on the eSync port itself.
    present(host, sites=(shop,), port=free)
    assert present(host, sites=(shop,), port=free).reasons == ()
    error = refused(host, sites=(shop, news), timeout=0.5)
    assert error.kind == "reload_refused"
    assert f"site news, port {free} serves no certificate" in str(error)


def test_no_port_of_a_site_may_be_held_by_others(host):
    with socket.create_server(("127.0.0.1", 0)) as server:
        taken = server.getsockname()[1]
        error = refused(host, sites=(site("shop", host.settings.port), site("news", taken)))
    assert error.kind == "port_taken"
    assert f"port {taken} " in str(error)
    assert os.listdir(host.root / "conf.d") == []


def test_without_nginx(host, monkeypatch):
    monkeypatch.setenv("PATH", str(host.root))
    monkeypatch.setattr(processes, "PROGRAM_FOLDERS", str(host.root))
    assert refused(host).kind == "missing_dependency"
    assert present(host, check=True).reasons == ("nginx_is_missing",)


# -- taking it away -------------------------------------------------------------------------------------------


def test_our_file_is_taken_out_and_nginx_goes_on(host):
    (host.root / "conf.d" / "other.conf").write_text("other\n")
    before = present(host).after
    master = host.main
    assert absent(host, check=True).reasons == ("present",)
    assert host.configuration.exists()
    assert absent(host) == procedure.EndpointOutcome(("present",), before, "", str(host.configuration))
    assert os.listdir(host.root / "conf.d") == ["other.conf"]
    assert (host.root / "served.conf").read_text() == "other\n"
    assert not host.note
    assert (host.main, host.reloads) == (master, 1)
    assert absent(host).reasons == ()


def test_what_cannot_be_taken_out_stays(host):
    (host.root / "conf.d" / "other.conf").write_text("other\n")
    before = present(host).after
    (host.root / "conf.d" / "other.conf").write_text("nonsense\n")
    with pytest.raises(EsyncError) as caught:
        absent(host)
    assert caught.value.kind == "configuration_refused"
    assert host.configuration.read_text() == before
    assert host.note


def test_where_there_is_no_folder_for_it_there_is_nothing_to_take_out(host):
    host.settings = replace(host.settings, configuration=str(host.root / "nowhere" / "esync.conf"))
    assert absent(host) == procedure.NOTHING


# -- small parts ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "said, words",
    [
        ("nginx: [emerg] bad a\nnginx: configuration file x test failed\n", "bad a"),
        ("2026/11/24 07:28:00 [emerg] 23#23: bad b\nnginx: configuration file x test failed\n", "bad b"),
        ("nginx: [warn] odd\nnginx: [emerg] bad c\n", "bad c"),
        ("something else\n", "something else"),
        ('nginx: [emerg] cannot load "data:-----BEGIN PRIVATE KEY-----"\n', ""),
        ("", ""),
    ],
)
def test_its_own_words_are_found(said, words):
    assert nginx.words_of(said) == words


# -- the real one ---------------------------------------------------------------------------------------------


def test_the_life_of_a_real_endpoint(real_host):
    assert present(real_host).reasons == ("configuration_differs", "not_loaded", "not_running")
    assert present(real_host).reasons == ()
    master = real_host.main
    real_host.trust("b", "c")
    assert present(real_host).reasons == ("not_loaded",)
    assert real_host.ask(["GET /esync/health HTTP/1.1", "Host: a"], peer="c")[0] == 200
    new = real_host.renew()
    assert "another_certificate_served" in present(real_host).reasons
    assert places.served(places.Place(real_host.settings.port)) == new
    assert real_host.main == master
    assert present(real_host, restart=True).reasons == ("restart_asked_for",)
    assert real_host.main not in (None, master)
    absent(real_host)
    assert places.served(places.Place(real_host.settings.port)) is None
    assert real_host.main


@pytest.mark.parametrize("include", ["ROOT/conf.d/*.conf", "conf.d/*.conf"], ids=["path in full", "relative path"])
def test_main_configurations_that_include_ours_in_different_ways(real_host, include):
    """RHEL writes the path in full, SUSE the one from nginx.conf, with its vhosts.d beside it."""
    main = real_host.root / "nginx.conf"
    ours = f"{real_host.root}/conf.d/*.conf"
    text = main.read_text()
    assert ours in text
    wanted = include.replace("ROOT", str(real_host.root))
    main.write_text(text.replace(f"include {ours};", f"include {wanted};\n    include vhosts.d/*.conf;"))
    assert "not_running" in present(real_host).reasons
    assert real_host.ask(["GET /esync/health HTTP/1.1", "Host: a"])[0] == 200
    assert present(real_host).reasons == ()


def test_what_the_real_one_refuses(real_host):
    before = present(real_host).after
    broken = real_host.root / "conf.d" / "broken.conf"
    broken.write_text("no_such_directive on;\n")
    error = refused(real_host, **OTHER)
    assert f'nginx refuses its configuration: unknown directive "no_such_directive" in {broken}:1' in str(error)
    assert real_host.configuration.read_text() == before
    # A site of another's that is accepted, but whose port is taken: the reload fails, and nothing is said.
    with socket.create_server(("127.0.0.1", 0)) as taken:
        broken.write_text(f"server {{ listen 127.0.0.1:{taken.getsockname()[1]}; }}\n")
        error = refused(real_host, upstream="http://127.0.0.1:1", timeout=1)
    assert error.kind == "reload_refused"
    assert real_host.configuration.read_text() == before
    assert real_host.ask(["GET /esync/health HTTP/1.1", "Host: a"])[0] == 200
