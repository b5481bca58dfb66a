# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Hosts with an endpoint: a service of the user's own, a stand-in for nginx, and the real nginx."""

from __future__ import annotations

import contextlib
import datetime
import json
import os
import random
import shutil
import signal
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.esync.mesh.plugins.module_utils._core import processes
from ansible_collections.esync.mesh.plugins.module_utils._core.errors import EsyncError
from ansible_collections.esync.mesh.plugins.module_utils._core.folders import Folder
from ansible_collections.esync.mesh.plugins.module_utils._crypto import certificates as x509
from ansible_collections.esync.mesh.plugins.module_utils._endpoints.contract import EndpointSettings, Site
from ansible_collections.esync.mesh.plugins.module_utils._endpoints.procedure import (
    EndpointOutcome,
    bring_up,
    take_down,
)
from ansible_collections.esync.mesh.plugins.module_utils._endpoints.registry import ENDPOINTS
from ansible_collections.esync.mesh.plugins.module_utils._store import trust_folder, trust_writer

REAL_NGINX = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")


def make_certificate(folder: Path, name: str = "a", role: str = "server", now: datetime.datetime | None = None) -> str:
    """A certificate with its key in a folder, valid for two days; returns its fingerprint."""
    key = x509.generate_key("ecdsa", 256)
    now = now or datetime.datetime.now(datetime.timezone.utc)
    certificate = x509.self_sign(key, role, x509.Profile(name, (name,), "ecdsa", 256, 2), now)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{role}.crt").write_text(certificate.pem)
    (folder / f"{role}.key").write_bytes(x509.key_to_pem(key))
    return certificate.fingerprint


def trust(directory: Path, *peers: Path) -> None:
    """Let a server trust the client certificates that lie in these folders.

    :param peers: each folder has the name of the peer, followed by a dot and the state if it is not the current one.
    """
    entries, pems = [], []
    for folder in peers:
        peer, _dot, state = folder.name.partition(".")
        certificate = x509.parse_certificate((folder / "client.crt").read_bytes(), "")
        entries.append(trust_folder.TrustEntry(peer, "client", state or "current", certificate.fingerprint))
        pems.append(certificate.pem)
    with Folder.open(str(directory)) as base:
        trust_writer.apply(base, "a", entries, pems, f"{time.monotonic_ns()}", allow_empty=True)


def free_port() -> int:
    """A port that nobody listens on, and that no connection gets on its way out (ip_local_port_range)."""
    while True:
        port = random.randrange(20000, 32000)
        with contextlib.suppress(OSError), socket.create_server(("", port)):
            return port


def settings(directory: Path, port: int, **changes: Any) -> EndpointSettings:
    """Settings for a host; what is not named is as the documentation says."""
    plain = EndpointSettings(
        name="a",
        directory=str(directory),
        port=port,
        address=None,
        sites=(),
        services=(),
        configuration="/nowhere/esync-mesh.conf",
        service="nginx",
        upstream="",
        access_log="off",
        product_version=None,
        reload_command=(),
        stop_command=(),
        start_command=(),
        restart=False,
        jitter=0,
        timeout=5,
        spare=False,
        withdrawn=(),
        drain=0,
    )
    return replace(plain, **changes)


def site(name: str, port: int, **more: Any) -> Site:
    """A site; what is not named is not there."""
    nothing = {"server_name": None, "root": None, "upstream": None, "reload": (), "protocol": "http", "owner": None}
    return Site(name, port, **{**nothing, **more})


@contextlib.contextmanager
def serving(
    folder: Path, version: Any = None, demand: bool = False, context: ssl.SSLContext | None = None
) -> Iterator[int]:
    """A service with the certificate that lies in a folder now; yields its port."""
    context = context or ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(str(folder / "server.crt"), str(folder / "server.key"))
    if version:
        context.maximum_version = version
    if demand:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(str(folder / "server.crt"))
    with socket.create_server(("127.0.0.1", 0)) as server:

        def work() -> None:
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


# -- a stand-in for nginx -------------------------------------------------------------------------------------

# -T refuses a configuration with the word "nonsense"; -V tells where things lie; without an option it starts.
PROGRAM = """\
#!/bin/bash
cd ROOT
case "$1" in
-V) echo "configure arguments: --prefix=ROOT --conf-path=nginx.conf --pid-path=other.pid" >&2 ;;
-T) for file in conf.d/*.conf; do
        [ -e "$file" ] || continue
        grep -q nonsense "$file" && { echo "nginx: [emerg] unknown directive in $file:1" >&2; exit 1; }
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

# The real one, with a configuration and a folder of its own; only where it was built to look is told otherwise.
REAL_PROGRAM = """\
#!/bin/bash
case "$1" in
-V) echo "configure arguments: --prefix=ROOT --conf-path=nginx.conf --pid-path=other.pid" >&2
    NGINX -V 2>&1 | grep -o -e '--with-[a-z_]*' >&2 ;;
*) exec NGINX -p ROOT -c ROOT/nginx.conf "$@" ;;
esac
"""
REAL_MAIN = """\
daemon on;
user root;
pid ROOT/nginx.pid;
error_log ROOT/error.log;
worker_processes 1;
events {}
http {
    access_log off;
    client_body_temp_path ROOT/temporary;
    proxy_temp_path ROOT/temporary;
    fastcgi_temp_path ROOT/temporary;
    uwsgi_temp_path ROOT/temporary;
    scgi_temp_path ROOT/temporary;
    include ROOT/conf.d/*.conf;
}
"""


class Host:
    """A folder with everything of a host, and the settings for its endpoint."""

    def __init__(self, root: Path, port: int, configuration: Path, **changes: Any) -> None:
        self.root = root
        self.directory = root / "esync"
        self.configuration = configuration
        for folder in (configuration.parent, self.directory / "current"):
            folder.mkdir(parents=True, mode=0o755)
        self.fingerprint = make_certificate(self.directory / "current")
        for peer in ("b", "c"):
            make_certificate(root / "peers" / peer, peer, "client")
        self.trust("b")
        self.settings = settings(self.directory, port, configuration=str(configuration), **changes)

    def trust(self, *peers: str) -> None:
        """Put a trust in force: exactly these of the peers b and c."""
        trust(self.directory, *(self.root / "peers" / peer for peer in peers))

    def renew(self) -> str:
        """Another current certificate; returns its fingerprint."""
        return make_certificate(self.directory / "current")

    @property
    def note(self) -> str:
        """What is noted as loaded; empty if nothing is."""
        path = self.directory / "endpoint.loaded"
        return path.read_text() if path.exists() else ""

    def ask(self, lines: list[str], peer: str = "b", port: int | None = None, name: str = "") -> tuple[int, str]:
        """Send a request with a peer's client certificate; returns the status and the body.

        :param lines: the request line, and the headers.
        :param name: the name that is asked for in the handshake.
        """
        request = "\r\n".join([*lines, "Connection: close", "", ""]).encode()
        answer = self._exchange(request, peer, port, name)
        head, _separator, body = answer.partition(b"\r\n\r\n")
        return int(head.split()[1]), body.decode()

    def ask_http2(self, headers: list[tuple[str, str]], name: str = "") -> tuple[int, str]:
        """The same with HTTP/2 (RFC 9113), where nginx ends a connection after its first request (keepalive_requests).

        :param headers: all of them, in their order; those of the request line begin with a colon.
        """
        block = b"".join(_literal(one) for header in headers for one in (b"\x00", *header))
        # All that there is to say ends with the first request: END_STREAM and END_HEADERS.
        request = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + _frame(4, 0, 0, b"") + _frame(1, 5, 1, block)
        answer = self._exchange(request, "b", None, name, "h2")
        status, body = 0, b""
        while answer:
            size, kind = int.from_bytes(answer[:3], "big"), answer[3]
            if kind == 1:
                # The status comes first: by its number in the static table (RFC 7541), or as three digits.
                status = {0x88: 200, 0x8C: 400}.get(answer[9]) or int(answer[11:14])
            body += answer[9 : 9 + size] if kind == 0 else b""
            answer = answer[9 + size :]
        return status, body.decode()

    def _exchange(self, request: bytes, peer: str, port: int | None, name: str, protocol: str = "http/1.1") -> bytes:
        """Send bytes, and read until nginx closes the connection."""
        with self.connect(peer, port, name, protocol) as connection:
            connection.sendall(request)
            answer = b""
            while piece := connection.recv(4096):
                answer += piece
            return answer

    @contextlib.contextmanager
    def connect(
        self,
        peer: str = "b",
        port: int | None = None,
        name: str = "",
        protocol: str = "http/1.1",
        source: str = "127.0.0.1",
    ) -> Iterator[ssl.SSLSocket]:
        """A connection with a peer's client certificate. :param source: the address that it comes from."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        context.set_alpn_protocols([protocol])
        folder = self.root / "peers" / peer
        context.load_cert_chain(str(folder / "client.crt"), str(folder / "client.key"))
        place = ("127.0.0.1", port or self.settings.port)
        with socket.create_connection(place, 10, (source, 0)) as raw, context.wrap_socket(
            raw, server_hostname=name or None
        ) as connection:
            # What does not speak HTTP chooses none.
            assert connection.selected_alpn_protocol() in (protocol, None if protocol == "http/1.1" else protocol)
            yield connection


class NginxHost(Host):
    """A host with nginx.

    :cvar driver: its driver.
    :param real: the path of the real nginx; None: the stand-in.
    """

    driver = ENDPOINTS["nginx"]

    def __init__(self, root: Path, port: int, real: str | None = None) -> None:
        super().__init__(root, port, root / "conf.d" / "esync-mesh.conf")
        (root / "bin").mkdir()
        files = {"bin/nginx": PROGRAM, "master": MASTER, "nginx.conf": "user nobody;\n  pid nginx.pid;\n"}
        if real:
            files = {"bin/nginx": REAL_PROGRAM, "nginx.conf": REAL_MAIN}
        for path, text in files.items():
            text = text.replace("ROOT", str(root)).replace("PORT", str(port)).replace("NGINX", str(real))
            # The user that the master runs as need not be root.
            text = text if os.geteuid() == 0 else text.replace("user root;\n", "")
            (root / path).write_text(text)
            (root / path).chmod(0o755)

    @property
    def main(self) -> int | None:
        """The master process, or None if it does not run."""
        with contextlib.suppress(OSError, ValueError):
            pid = int((self.root / "nginx.pid").read_text())
            return pid if processes.title_of(pid).startswith("nginx: master process") else None
        return None

    @property
    def reloads(self) -> int:
        """How often the stand-in was reloaded."""
        path = self.root / "reloads"
        return len(path.read_text().splitlines()) if path.exists() else 0

    def stop(self) -> None:
        """End it."""
        main = self.main
        if main:
            os.kill(main, signal.SIGTERM)
            assert processes.wait_until(lambda: not processes.holders(self.settings.port), 5)
            assert processes.wait_until(lambda: not self.main, 5)


def through(*drivers: str) -> pytest.MarkDecorator:
    """Run a test on hosts with each of these real products, as the fixture resident_host."""
    return pytest.mark.parametrize("resident_host", drivers, indirect=True)


def log_of_callers(host: Host) -> str:
    """The access log with which a product notes its callers, as far as it can: HAProxy needs none for it."""
    return str(host.root / "esync.access.log") if isinstance(host, NginxHost) else "off"


def require(program: str) -> None:
    """Skip a test that needs a program, unless it can be installed here."""
    if not processes.find_program(program):
        missing = f"there is no {program}: see tests/unit/packages.txt"
        pytest.fail(missing) if os.geteuid() == 0 else pytest.skip(missing)


class OwnHost(Host):
    """A host with a product that runs for us alone.

    :param driver: the name of the driver.
    """

    def __init__(self, root: Path, port: int, driver: str, **changes: Any) -> None:
        super().__init__(root, port, root / "configuration" / "esync-mesh.cfg", service="esync-test", **changes)
        self.driver = ENDPOINTS[driver]

    def present(self, check: bool = False, **changes: Any) -> EndpointOutcome:
        """Bring the endpoint up."""
        return bring_up(self.driver, replace(self.settings, **changes), check)

    def absent(self, check: bool = False) -> EndpointOutcome:
        """Take it down."""
        return take_down(self.driver, self.settings, "present", check)

    def refused(self, **changes: Any) -> EsyncError:
        """The error by which it is not brought up."""
        try:
            self.present(**changes)
        except EsyncError as error:
            return error
        raise AssertionError("it was brought up")

    @property
    def main(self) -> int | None:
        """Its main process, or None if it does not run."""
        with contextlib.suppress(OSError, ValueError):
            pid = int((self.root / "run" / "esync-test.pid").read_text())
            return pid if processes.title_of(pid) else None
        return None

    def stop(self) -> None:
        """End it."""
        main = self.main
        if main:
            os.kill(main, signal.SIGTERM)
            assert processes.wait_until(lambda: not processes.title_of(main), 5)


def _frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


def _literal(text: str | bytes) -> bytes:
    """A string of a header, shorter than 127 bytes; bytes are what they are."""
    return text if isinstance(text, bytes) else bytes([len(text)]) + text.encode()


@contextlib.contextmanager
def endless_upstream() -> Iterator[int]:
    """A server whose answer never ends: a byte every tenth of a second; yields its port."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer(connection: socket.socket) -> None:
            with connection, contextlib.suppress(OSError):
                connection.recv(65536)
                connection.sendall(b"HTTP/1.1 200 OK\r\nX-Accel-Buffering: no\r\n\r\n")
                while True:
                    connection.sendall(b".")
                    time.sleep(0.1)

        def work() -> None:
            with contextlib.suppress(OSError):
                while True:
                    threading.Thread(target=answer, args=server.accept()[:1], daemon=True).start()

        thread = threading.Thread(target=work, daemon=True)
        thread.start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)
    thread.join(5)


@contextlib.contextmanager
def upstream() -> Iterator[int]:
    """A server that answers with what it got, in JSON: a list of values for each header; yields its port."""
    from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            names = {key.lower() for key in self.headers}
            got = {name: self.headers.get_all(name) for name in names}
            body = json.dumps({**got, ":path": [self.path]}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_unused: Any) -> None:
            """Nobody reads it."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield server.server_address[1]
        server.shutdown()
        thread.join(5)


@contextlib.contextmanager
def mirror() -> Iterator[int]:
    """A service that answers with the first bytes that it gets, whatever they are; yields its port."""
    import socketserver

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            self.request.settimeout(5)
            with contextlib.suppress(OSError):
                got = b""
                while not got.endswith(b"end"):
                    got += self.request.recv(4096)
                self.request.sendall(got)

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield server.server_address[1]
        server.shutdown()
        thread.join(5)


def call(
    port: int, folder: Path | None, version: ssl.TLSVersion | None = None, name: str | None = None
) -> ssl.SSLSocket:
    """A TLS connection with the client certificate in a folder. :param folder: None: with none."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if version:
        context.minimum_version = context.maximum_version = version
    if folder:
        context.load_cert_chain(str(folder / "client.crt"), str(folder / "client.key"))
    return context.wrap_socket(socket.create_connection(("127.0.0.1", port), 10), server_hostname=name)
