# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""With the real HAProxy and the real stunnel: what is the same for every product that runs for us alone."""

from __future__ import annotations

import contextlib
import datetime
import os
import signal
import socket
import ssl
import subprocess
from dataclasses import replace

import pytest
from endpoint_hosts import OwnHost, call, free_port, make_certificate, require, site, trust, upstream

from ansible_collections.esync.mesh.plugins.module_utils._core import processes
from ansible_collections.esync.mesh.plugins.module_utils._endpoints import own_service, places, systemd

REQUEST = ["GET / HTTP/1.1", "Host: a"]
FIRST = ("configuration_differs", "not_loaded", "not_running")
PRODUCTS = ["haproxy", "stunnel"]
VERSIONS = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]


@pytest.fixture
def host(own_host):
    """The host, with an upstream."""
    with upstream() as behind:
        own_host.settings = replace(own_host.settings, upstream=f"tcp://127.0.0.1:{behind}")
        yield own_host


both = pytest.mark.parametrize("own_host", PRODUCTS, indirect=True)


@both
def test_its_life(host):
    assert host.present(check=True).reasons == FIRST
    assert not host.configuration.exists()
    assert host.present().reasons == FIRST
    assert places.served(places.Place(host.settings.port)) == host.fingerprint
    assert host.ask(REQUEST)[0] == 200
    assert host.note.startswith(f"{host.driver.name}: trust ")
    assert host.present().reasons == ()
    main = host.main
    host.trust("b", "c")
    assert host.present().reasons == ("not_loaded",)
    assert host.ask(REQUEST, peer="c")[0] == 200
    new = host.renew()
    assert "another_certificate_served" in host.present().reasons
    assert places.served(places.Place(host.settings.port)) == new
    assert host.main == main
    assert host.present(restart=True).reasons == ("restart_asked_for",)
    assert host.main not in (None, main)
    host.stop()
    assert host.present().reasons == ("not_running",)
    assert host.absent(check=True).reasons == ("present",)
    assert host.main
    assert host.absent().reasons == ("present",)
    assert host.main is None
    assert not host.configuration.exists() and not host.note
    assert host.absent().reasons == ()


@both
def test_a_reload_breaks_no_connection(host):
    host.present()
    with call(host.settings.port, host.root / "peers" / "b") as connection:
        host.trust("b", "c")
        host.renew()
        assert "not_loaded" in host.present().reasons
        connection.sendall(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        assert connection.recv(4096).startswith(b"HTTP/1.0 200")


@both
@pytest.mark.parametrize("fault", ["key", "trust"])
def test_what_it_refuses_leaves_the_old_configuration_serving(host, fault):
    before = host.present().after
    path = host.directory / ("current/server.key" if fault == "key" else "trusted/clients.pem")
    sound = path.read_bytes()
    path.unlink()
    path.write_text("no PEM")
    error = host.refused(upstream="tcp://127.0.0.1:1")
    assert error.kind == "configuration_refused"
    assert str(path) in str(error) or (host.driver.name, fault) == ("stunnel", "trust")
    assert "trusted" in str(error) or fault == "key"
    assert host.configuration.read_text() == before
    assert host.ask(REQUEST)[0] == 200
    path.write_bytes(sound)
    assert host.present().reasons == ()


@both
def test_a_reload_that_does_nothing_is_noticed(host):
    host.present()
    before = host.configuration.read_text()
    # One that cannot do anything now, as one that found a fault when it was too late, goes on with what it had.
    os.kill(host.main, signal.SIGSTOP)
    try:
        host.trust("b", "c")
        error = host.refused(timeout=1, access_log="off")
        assert error.kind == "reload_refused"
        assert "goes on with the old one" in str(error)
        assert host.configuration.read_text() == before
        assert not host.note
    finally:
        before_it_goes_on = processes.listeners(host.settings.port)
        os.kill(host.main, signal.SIGCONT)
    # It does now what it was told in the meantime, and the port may be closed for a moment.
    assert processes.wait_until(lambda: not processes.listeners(host.settings.port) <= before_it_goes_on, 10)
    assert processes.wait_until(lambda: places.served(places.Place(host.settings.port)) == host.fingerprint, 10)
    assert host.present().reasons == ("not_loaded",)
    assert host.ask(REQUEST, peer="c")[0] == 200


@pytest.mark.parametrize("own_host", ["haproxy"], indirect=True)
def test_where_root_may_not_see_what_a_worker_has_open(host, monkeypatch):
    """As in a container without CAP_SYS_PTRACE: HAProxy's worker belongs to another user."""
    listeners = processes.listeners
    monkeypatch.setattr(processes, "hides_files", lambda pid: pid != host.main)
    monkeypatch.setattr(processes, "listeners", lambda port: {one for one in listeners(port) if one[0] == host.main})
    assert host.present().reasons == FIRST
    with call(host.settings.port, host.root / "peers" / "b") as connection:
        host.trust("b", "c")
        # The old worker is still there, for the connection.
        assert host.present().reasons == ("not_loaded",)
        assert host.ask(REQUEST, peer="c")[0] == 200
        connection.sendall(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        assert connection.recv(4096)
    os.kill(host.main, signal.SIGSTOP)
    try:
        host.trust("b")
        assert host.refused(timeout=1).kind == "reload_refused"
    finally:
        os.kill(host.main, signal.SIGCONT)


@both
def test_a_port_that_another_process_holds(host):
    with socket.create_server(("127.0.0.1", 0)) as server:
        error = host.refused(port=server.getsockname()[1])
    assert error.kind == "port_taken"
    assert host.main is None and not host.configuration.exists()


@both
def test_what_cannot_start_is_told_and_nothing_stays(host):
    # An address of its upstream that it looks up first, and a folder for its log that there is not.
    changes = (
        {"access_log": "/nowhere/log"} if host.driver.name == "stunnel" else {"upstream": "tcp://nobody.invalid:1"}
    )
    error = host.refused(**changes, timeout=2)
    assert error.kind in ("start_failed", "configuration_refused")
    assert "/nowhere/log" in str(error) or "nobody.invalid" in str(error)
    assert host.main is None and not host.configuration.exists() and not host.note


@both
def test_a_process_that_only_has_its_number_is_not_taken_for_it(host):
    host.present()
    main = host.main
    host.stop()
    (host.root / "run" / "esync-test.pid").write_text(f"{os.getpid()}\n")
    assert host.present().reasons == ("not_running",)
    assert host.main not in (main, os.getpid())


@both
def test_sites_have_ports_of_their_own(host):
    ports = [free_port(), free_port()]
    sites = tuple(site(f"site{port}", port) for port in ports)
    host.present(sites=sites)
    assert [places.served(places.Place(port)) for port in ports] == [host.fingerprint] * 2
    assert places.served(places.Place(host.settings.port)) is None
    assert [host.ask(REQUEST, port=port)[0] for port in ports] == [200, 200]
    host.present(sites=sites[:1])
    assert [places.served(places.Place(port)) for port in ports] == [host.fingerprint, None]


@both
def test_without_the_product(host, monkeypatch):
    monkeypatch.setenv("PATH", str(host.root))
    monkeypatch.setattr(processes, "PROGRAM_FOLDERS", str(host.root))
    assert host.refused().kind == "missing_dependency"
    assert host.present(check=True).reasons == (f"{host.driver.name}_is_missing",)


@both
@pytest.mark.parametrize("service", ["nginx", "haproxy", "esync-x.service", "esync-"])
def test_no_unit_of_somebody_else_is_written(host, service):
    error = host.refused(service=service)
    assert error.kind == "bad_setting"
    assert "esync_endpoint_service" in error.remedy
    assert host.main is None and not host.configuration.exists()


SYSTEMCTL = """#!/bin/sh
echo "$@" >> ROOT/said
case "$*" in
*--now*) $(sed -n 's/^ExecStart=//p' ROOT/units/esync-test.service | sed 's/%%/%/g') > /dev/null 2>&1 & ;;
esac
"""


@both
def test_its_unit(host, monkeypatch):
    """With a stand-in for systemctl, which starts what the unit says."""
    for folder in ("systemd", "units", "bin"):
        (host.root / folder).mkdir()
    (host.root / "bin" / "systemctl").write_text(SYSTEMCTL.replace("ROOT", str(host.root)))
    (host.root / "bin" / "systemctl").chmod(0o755)
    monkeypatch.setenv("PATH", str(host.root / "bin"), prepend=":")
    monkeypatch.setattr(systemd, "RUNNING", str(host.root / "systemd"))
    monkeypatch.setattr(systemd, "UNITS", str(host.root / "units"))
    unit = host.root / "units" / "esync-test.service"
    odd = host.configuration.with_name("esync%mesh.cfg")
    outcome = host.present(configuration=str(odd))
    assert host.ask(REQUEST)[0] == 200
    assert outcome.after == f"{odd.read_text()}\n# {unit}\n{unit.read_text()}"
    assert f"{odd.parent}/esync%%mesh.cfg" in unit.read_text()
    assert host.present(configuration=str(odd)).reasons == ()
    unit.write_text(unit.read_text() + "Environment=BY=hand\n")
    assert host.present(configuration=str(odd)).reasons == ("configuration_differs",)
    assert "hand" not in unit.read_text()
    said = (host.root / "said").read_text()
    assert said.startswith("daemon-reload\nenable esync-test\n--quiet enable --now esync-test\n")
    host.settings = replace(host.settings, configuration=str(odd))
    host.absent()
    assert not odd.exists() and not unit.exists() and host.main is None
    said = (host.root / "said").read_text()
    assert said.endswith("disable esync-test\nstop esync-test\nreset-failed esync-test\ndaemon-reload\n")


@both
def test_an_old_version_is_told_with_what_is_needed(host, monkeypatch):
    (host.root / "bin").mkdir()
    old = host.root / "bin" / host.driver.name
    old.write_text("#!/bin/sh\necho HA-Proxy version 2.2.9-2+deb11u6 2023/12/28\necho stunnel 5.56 on x86_64 >&2\n")
    old.chmod(0o755)
    monkeypatch.setenv("PATH", str(old.parent), prepend=":")
    error = host.refused()
    assert error.kind == "configuration_refused"
    assert "newer is needed" in str(error)
    assert not host.configuration.exists()


# -- who is let in --------------------------------------------------------------------------------------------


def is_let_in(port, folder, version):
    """Whether a caller gets an answer."""
    with contextlib.suppress(OSError), call(port, folder, version) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        return connection.recv(4096).startswith(b"HTTP/1")
    return False


def openssl(*words):
    subprocess.run(["openssl", *map(str, words)], check=True, capture_output=True)


NEW_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
CLIENT = ("-addext", "extendedKeyUsage=clientAuth", "-addext", "basicConstraints=critical,CA:FALSE")


def self_signed(folder, subject, *options):
    folder.mkdir(parents=True)
    keys = options or (*NEW_KEY, "-keyout", folder / "client.key")
    openssl("req", "-x509", *keys, "-days", 2, "-subj", f"/CN={subject}", *CLIENT, "-out", folder / "client.crt")


def issued(folder, issuer):
    """A certificate that another one has issued, whether it may or not; it is presented together with that one."""
    folder.mkdir(parents=True)
    request, crt, extensions = folder / "request", folder / "client.crt", folder / "extensions"
    openssl("req", *NEW_KEY, "-keyout", folder / "client.key", "-subj", "/CN=b", "-out", request)
    extensions.write_text("extendedKeyUsage=clientAuth\n")
    signer = ("-CA", issuer / "client.crt", "-CAkey", issuer / "client.key", "-CAcreateserial")
    openssl("x509", "-req", "-in", request, *signer, "-days", 2, "-extfile", extensions, "-out", crt)
    crt.write_text(crt.read_text() + (issuer / "client.crt").read_text())


@pytest.fixture(scope="module", params=PRODUCTS)
def guarded(request, tmp_path_factory):
    """A host that trusts b, an authority that may issue certificates, and one that has expired; and all who call."""
    require(request.param)
    root = tmp_path_factory.mktemp("guarded")
    root.chmod(0o755)
    (root / "run").mkdir()
    host = OwnHost(root, free_port(), request.param)
    peers, callers = root / "peers", root / "callers"
    authority = ("-addext", "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=keyCertSign,digitalSignature")
    authority += ("-addext", "extendedKeyUsage=clientAuth")
    keys = (*NEW_KEY, "-keyout", peers / "authority" / "client.key")
    (peers / "authority").mkdir()
    openssl("req", "-x509", *keys, "-subj", "/CN=authority", *authority, "-out", peers / "authority" / "client.crt")
    then = datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(days=30)
    make_certificate(peers / "expired", "expired", "client", then)
    self_signed(callers / "stranger", "stranger")
    self_signed(callers / "same subject", "b")
    self_signed(callers / "same subject and key", "b", "-key", peers / "b" / "client.key")
    (callers / "same subject and key" / "client.key").write_bytes((peers / "b" / "client.key").read_bytes())
    issued(callers / "issued by a trusted one", peers / "b")
    issued(callers / "issued by a trusted authority", peers / "authority")
    (callers / "for servers").mkdir()
    for suffix in ("crt", "key"):
        own = host.directory / "current" / f"server.{suffix}"
        (callers / "for servers" / f"client.{suffix}").write_bytes(own.read_bytes())
    trust(host.directory, *(peers / name for name in ("b", "authority", "expired")))
    with pytest.MonkeyPatch.context() as patched, upstream() as behind:
        patched.setattr(systemd, "RUNNING", str(root / "no-systemd"))
        patched.setattr(own_service, "RUN", str(root / "run"))
        host.present(upstream=f"tcp://127.0.0.1:{behind}")
        yield host
        host.stop()


@pytest.mark.parametrize("version", VERSIONS, ids=lambda version: version.name)
@pytest.mark.parametrize(
    "caller",
    [
        None,
        "callers/stranger",
        "callers/same subject",
        "callers/same subject and key",
        "callers/for servers",
        "callers/issued by a trusted one",
        "callers/issued by a trusted authority",
        "peers/expired",
        "peers/c",
    ],
)
def test_nobody_but_the_pinned_peers_is_let_in(guarded, caller, version):
    folder = guarded.root / caller if caller else None
    assert not is_let_in(guarded.settings.port, folder, version)
    assert is_let_in(guarded.settings.port, guarded.root / "peers" / "b", version), "the pinned one, right after"


@pytest.mark.parametrize("version", VERSIONS, ids=lambda version: version.name)
def test_no_session_is_resumed(guarded, version):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.minimum_version = context.maximum_version = version
    folder = guarded.root / "peers" / "b"
    context.load_cert_chain(str(folder / "client.crt"), str(folder / "client.key"))
    session = None
    for _attempt in range(3):
        raw = socket.create_connection(("127.0.0.1", guarded.settings.port), 10)
        with context.wrap_socket(raw, session=session) as connection:
            connection.sendall(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
            assert connection.recv(4096)
            assert not connection.session_reused
            session = connection.session


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_tls_before_1_2_is_refused(guarded):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
    with pytest.raises(ssl.SSLError), socket.create_connection(("127.0.0.1", guarded.settings.port), 10) as raw:
        context.wrap_socket(raw)


@both
def test_where_nobody_is_trusted_nobody_is_let_in(host):
    trust(host.directory)
    host.present()
    own = host.root / "own"
    own.mkdir()
    for suffix in ("crt", "key"):
        (own / f"client.{suffix}").write_bytes((host.directory / "current" / f"server.{suffix}").read_bytes())
    for folder in (None, host.root / "peers" / "b", own):
        assert not any(is_let_in(host.settings.port, folder, version) for version in VERSIONS), folder


# -- rsync ----------------------------------------------------------------------------------------------------

RSYNCD = """\
address = 127.0.0.1
port = {port}
proxy protocol = {proxy}
proxy protocol hosts = 127.0.0.1
use chroot = no
uid = {uid}
gid = {gid}
log file = {root}/rsyncd.log
pid file = {root}/rsyncd.pid
[content]
    path = {root}/content
"""
CONNECT = """\
#!/bin/sh
exec openssl s_client -quiet -connect 127.0.0.1:{port} -cert {folder}/client.crt -key {folder}/client.key 2>/dev/null
"""


def copy(host, folder):
    """Copy a file by rsync as a caller; returns what arrived, or None."""
    connect, target = host.root / "connect", host.root / "arrived"
    connect.write_text(CONNECT.format(port=host.settings.port, folder=folder))
    connect.chmod(0o755)
    target.unlink(missing_ok=True)
    command = ["rsync", "-e", str(connect), "a::content/file", str(target)]
    done = subprocess.run(command, capture_output=True, check=False, timeout=60)
    return target.read_text() if done.returncode == 0 else None


@both
def test_rsync_behind_it(own_host):
    require("rsync")
    root = own_host.root
    (root / "content").mkdir()
    (root / "content" / "file").write_text("content")
    port = free_port()
    # rsync's daemon refuses what HAProxy adds to the header, the name of the caller.
    proxy = own_host.driver.name == "stunnel"
    text = RSYNCD.format(root=root, port=port, uid=os.geteuid(), gid=os.getegid(), proxy=str(proxy).lower())
    (root / "rsyncd.conf").write_text(text)
    daemon = ["rsync", "--daemon", "--no-detach", f"--config={root}/rsyncd.conf"]
    with subprocess.Popen(daemon) as served:
        try:
            assert processes.wait_until(lambda: bool(processes.holders(port)), 10)
            own_host.present(upstream=f"{'proxy' if proxy else 'tcp'}://127.0.0.1:{port}")
            assert copy(own_host, root / "peers" / "b") == "content"
            assert copy(own_host, root / "peers" / "c") is None
            # The daemon goes by the address of the caller.
            assert "(127.0.0.1)" in (root / "rsyncd.log").read_text()
        finally:
            served.terminate()
