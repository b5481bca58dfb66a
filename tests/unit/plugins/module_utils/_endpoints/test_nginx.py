# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""With a stand-in for nginx: programs of its names that behave as it does, so that neither root nor nginx is needed.

The real one is tried in molecule/endpoint.
"""

from __future__ import annotations

import dataclasses
import datetime
import os
import signal
import socket
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from ansible_collections.esync.mesh.plugins.module_utils._connection import listener
from ansible_collections.esync.mesh.plugins.module_utils._core.errors import EsyncError
from ansible_collections.esync.mesh.plugins.module_utils._crypto import certificates as x509
from ansible_collections.esync.mesh.plugins.module_utils._endpoints import base as endpoint
from ansible_collections.esync.mesh.plugins.module_utils._endpoints import nginx
from ansible_collections.esync.mesh.plugins.modules import external_endpoint, nginx_endpoint

# -T refuses a configuration with the word "refuse"; -V tells where things lie; without an option it starts.
PROGRAM = """\
#!/bin/bash
cd ROOT
case "$1" in
-V) echo "configure arguments: --prefix=ROOT --conf-path=nginx.conf --pid-path=other.pid" >&2 ;;
-T) for file in conf.d/*.conf; do
        grep -q refuse "$file" && { echo "nginx: [emerg] unknown directive in $file:1" >&2; exit 1; }
        echo "# configuration file ROOT/$file:"
    done ;;
'') exec -a "nginx: master process" bash ROOT/master < /dev/null > /dev/null 2>&1 & ;;
esac
exit 0
"""

# A reload replaces the worker, unless the configuration cannot be loaded, which nobody is told.
MASTER = """\
cd ROOT
serve() {
    cat conf.d/*.conf > served.conf
    [ -e mute ] && return
    (exec -a "nginx: worker process" openssl s_server -quiet -accept PORT \
        -cert "${CERTIFICATE:-esync/current/server.crt}" -key esync/current/server.key) &
    worker=$!
}
reload() {
    echo reload >> reloads
    [ -e stubborn ] && return
    kill $worker
    wait $worker
    serve
}
trap reload HUP
trap 'kill $worker; exit' TERM
echo $$ > nginx.pid
serve
while true; do sleep 0.05; done
"""

CONTENT = "the configuration\n"


def make(folder):
    key = x509.generate_key("ecdsa", 256)
    now = datetime.datetime.now(datetime.timezone.utc)
    certificate = x509.self_sign(key, "server", x509.Profile("a", ("a",), "ecdsa", 256, 2), now)
    (folder / "server.crt").write_text(certificate.pem)
    (folder / "server.key").write_bytes(x509.key_to_pem(key))
    return certificate.fingerprint


class Host:
    """A folder with everything, and the settings for it."""

    def __init__(self, root: Path, port: int) -> None:
        self.root = root
        self.configuration = root / "conf.d" / "esync-mesh.conf"
        for folder in ("bin", "conf.d", "esync/current"):
            (root / folder).mkdir(parents=True, mode=0o755)
        (root / "nginx.conf").write_text("user nobody;\n  pid nginx.pid;\n")
        self.fingerprint = make(root / "esync" / "current")
        for path, text in (("bin/nginx", PROGRAM), ("master", MASTER)):
            (root / path).write_text(text.replace("ROOT", str(root)).replace("PORT", str(port)))
            (root / path).chmod(0o755)
        self.settings = nginx.NginxSettings(
            "a", str(root / "esync"), str(self.configuration), CONTENT, port, "trust 1\n", timeout=5
        )

    def present(self, check=False, **changes):
        return nginx.present(dataclasses.replace(self.settings, **changes), check)

    def refused(self, **changes):
        with pytest.raises(EsyncError) as caught:
            self.present(**changes)
        return caught.value

    @property
    def master(self):
        return nginx.Nginx(str(self.root / "bin" / "nginx"), self.settings).master()

    @property
    def reloads(self):
        path = self.root / "reloads"
        return len(path.read_text().splitlines()) if path.exists() else 0

    def stop(self):
        if self.master:
            os.kill(self.master, signal.SIGTERM)
            assert endpoint.wait_until(lambda: not endpoint.holders(self.settings.port), 5)
            assert endpoint.wait_until(lambda: not self.master, 5)


@pytest.fixture
def host(tmp_path, monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    made = Host(tmp_path, port)
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:{os.environ['PATH']}")
    monkeypatch.setattr(nginx, "_SYSTEMD", str(tmp_path / "no-systemd"))
    yield made
    made.stop()


def test_it_is_started_and_then_nothing_differs(host):
    outcome = host.present()
    assert outcome.reasons == ("configuration_differs", "not_loaded", "not_running")
    assert (outcome.before, outcome.after) == ("", CONTENT)
    assert host.configuration.read_text() == CONTENT
    assert stat.S_IMODE(host.configuration.stat().st_mode) == 0o644
    assert endpoint.served(host.settings.port) == host.fingerprint
    assert (host.root / "esync" / "endpoint.loaded").read_text() == "trust 1\n"
    assert host.present().reasons == ()
    assert host.reloads == 0


def test_a_new_certificate_is_taken_up_by_a_reload(host):
    host.present()
    master = host.master
    new = make(host.root / "esync" / "current")
    assert host.present().reasons == ("another_certificate_served",)
    assert endpoint.served(host.settings.port) == new
    assert (host.master, host.reloads) == (master, 1)


def test_a_new_trust_is_taken_up_by_a_reload(host):
    host.present()
    assert host.present(loaded="trust 2\n").reasons == ("not_loaded",)
    assert host.reloads == 1
    assert host.present(loaded="trust 2\n").reasons == ()


def test_a_reload_that_was_asked_for(host):
    host.present()
    assert host.present(reload=True).reasons == ("reload_asked_for",)
    assert host.reloads == 1


def test_another_configuration_is_loaded(host):
    host.present()
    outcome = host.present(content="another\n")
    assert outcome.reasons == ("configuration_differs",)
    assert (outcome.before, outcome.after) == (CONTENT, "another\n")
    assert (host.root / "served.conf").read_text() == "another\n"


@pytest.mark.parametrize("installed_before", [False, True])
def test_a_refused_configuration_leaves_the_old_one(host, installed_before):
    if installed_before:
        host.present()
    error = host.refused(content="refuse\n")
    assert error.kind == "configuration_refused"
    assert "unknown directive in conf.d/esync-mesh.conf:1" in str(error)
    assert error.path == str(host.configuration)
    if installed_before:
        assert host.configuration.read_text() == CONTENT
        assert endpoint.served(host.settings.port) == host.fingerprint
        assert host.present().reasons == ()
    else:
        assert os.listdir(host.root / "conf.d") == []
        assert host.master is None
        assert not (host.root / "esync" / "endpoint.loaded").exists()
    assert host.reloads == 0


def test_a_file_that_nginx_does_not_read_is_told(host):
    (host.root / "elsewhere").mkdir(mode=0o755)
    path = str(host.root / "elsewhere" / "esync.conf")
    error = host.refused(path=path)
    assert "does not read" in str(error)
    assert not os.path.exists(path)


def test_a_reload_that_fails_silently_is_noticed(host):
    host.present()
    (host.root / "stubborn").touch()
    error = host.refused(content="another\n", timeout=0.5)
    assert error.kind == "reload_refused"
    assert "old worker processes" in str(error)
    assert host.configuration.read_text() == CONTENT
    assert (host.root / "served.conf").read_text() == CONTENT
    assert host.reloads == 1


def test_a_reload_that_fails_silently_is_noticed_also_if_only_the_trust_changed(host):
    host.present()
    (host.root / "stubborn").touch()
    assert host.refused(loaded="trust 2\n", timeout=0.5).kind == "reload_refused"
    # What was not proved is not noted: the next run tries again.
    (host.root / "stubborn").unlink()
    assert host.present(loaded="trust 2\n").reasons == ("not_loaded",)


def test_a_reload_that_serves_another_certificate_is_undone(host, monkeypatch):
    host.present()
    # The service goes on with a copy of the old certificate, whatever lies in the folder.
    old = (host.root / "esync" / "current" / "server.crt").read_text()
    key = (host.root / "esync" / "current" / "server.key").read_bytes()
    host.stop()
    (host.root / "old.crt").write_text(old)
    (host.root / "old.key").write_bytes(key)
    text = (host.root / "master").read_text().replace("esync/current/server", "old")
    (host.root / "master").write_text(text)
    host.present()
    new = make(host.root / "esync" / "current")
    error = host.refused(content="another\n", timeout=0.5)
    assert error.kind == "reload_refused"
    assert host.fingerprint in str(error)
    assert new in str(error)
    assert host.configuration.read_text() == CONTENT
    assert endpoint.wait_until(lambda: (host.root / "served.conf").read_text() == CONTENT, 5)


def test_a_start_that_serves_nothing_is_told(host):
    (host.root / "mute").touch()
    error = host.refused(timeout=0.5)
    assert error.kind == "reload_refused"
    assert "serves no certificate" in str(error)
    assert os.listdir(host.root / "conf.d") == []


def test_a_port_that_another_process_holds(host):
    with socket.create_server(("127.0.0.1", host.settings.port)):
        error = host.refused()
    assert error.kind == "port_taken"
    assert f"(process {os.getpid()})" in str(error)
    assert os.listdir(host.root / "conf.d") == []


OLDER_TEST = """\
import fcntl, os, socket, sys, time
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
            assert endpoint.wait_until(lambda: bool(endpoint.holders(port)), 10)
            host.present()
            assert older.wait(10) == -signal.SIGTERM
        finally:
            older.kill()
    assert endpoint.served(port) == host.fingerprint
    assert not os.path.exists(path)


def test_check_does_nothing(host):
    outcome = host.present(check=True)
    assert outcome.reasons == ("configuration_differs", "not_loaded", "not_running")
    assert outcome.after == CONTENT
    assert os.listdir(host.root / "conf.d") == []
    assert host.master is None


def test_check_before_there_are_certificates(host):
    (host.root / "esync" / "current").rename(host.root / "away")
    assert host.present(check=True).reasons == ("not_loaded",)


def test_every_site_is_read_back(host):
    port = host.settings.port
    with socket.create_server(("127.0.0.1", 0)) as server:
        free = server.getsockname()[1]
    shop, news = endpoint.Place(port, "shop", "shop.example"), endpoint.Place(free, "news")
    # The sites count: nothing listens on the eSync port itself.
    host.present(sites=(shop,), port=free)
    assert host.present(sites=(shop,), port=free).reasons == ()
    error = host.refused(sites=(shop, news), timeout=0.5)
    assert error.kind == "reload_refused"
    assert f"site news, port {free} serves no certificate" in str(error)


def test_no_port_of_a_site_may_be_held_by_others(host):
    with socket.create_server(("127.0.0.1", 0)) as server:
        taken = server.getsockname()[1]
        error = host.refused(sites=(endpoint.Place(host.settings.port, "shop"), endpoint.Place(taken, "news")))
    assert error.kind == "port_taken"
    assert f"port {taken} " in str(error)


def test_what_another_endpoint_has_still_to_take_up_is_not_noted(host):
    host.present(note=False)
    assert not (host.root / "esync" / "endpoint.loaded").exists()
    assert host.present(note=False).reasons == ("not_loaded",)


def test_without_nginx(host, monkeypatch):
    monkeypatch.setenv("PATH", str(host.root))
    monkeypatch.setattr(nginx, "_FOLDERS", str(host.root))
    assert host.refused().kind == "missing_dependency"
    assert host.present(check=True).reasons == ("nginx_is_missing",)


# -- taking it away -------------------------------------------------------------------------------------------


def test_our_file_is_taken_out_and_nginx_goes_on(host):
    (host.root / "conf.d" / "other.conf").write_text("other\n")
    host.present()
    master = host.master
    assert nginx.absent(host.settings, check=True).reasons == ("present",)
    assert host.configuration.exists()
    outcome = nginx.absent(host.settings)
    assert (outcome.reasons, outcome.before, outcome.after) == (("present",), CONTENT, "")
    assert os.listdir(host.root / "conf.d") == ["other.conf"]
    assert (host.root / "served.conf").read_text() == "other\n"
    assert not (host.root / "esync" / "endpoint.loaded").exists()
    assert (host.master, host.reloads) == (master, 1)
    assert nginx.absent(host.settings).reasons == ()


def test_what_cannot_be_taken_out_stays(host):
    (host.root / "conf.d" / "other.conf").write_text("other\n")
    host.present()
    (host.root / "conf.d" / "other.conf").write_text("refuse\n")
    with pytest.raises(EsyncError) as caught:
        nginx.absent(host.settings)
    assert caught.value.kind == "configuration_refused"
    assert host.configuration.read_text() == CONTENT
    assert (host.root / "esync" / "endpoint.loaded").exists()


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
    assert nginx._words_of(said) == words


@pytest.mark.parametrize(
    "module, settings, further",
    [(nginx_endpoint, nginx.NginxSettings, {"state"}), (external_endpoint, endpoint.ExternalSettings, set())],
)
def test_the_modules_give_their_options_to_the_core(module, settings, further):
    assert set(module.SPEC) - further == {field.name for field in dataclasses.fields(settings)}
