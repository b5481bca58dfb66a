# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Rotations in a row, under load: make soak.

Five servers on this machine, each with an nginx of its own, renew their certificates again and again. Meanwhile every
server calls every other, each time in a new connection with its current client certificate, as a service does that
reads its files again. No request and no rotation may fail. It needs nginx, and neither root nor ssh.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime
import functools
import hashlib
import json
import multiprocessing
import os
import random
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import costs
from costs import ROOT, write_inventory
from scale import free_ports

NAMES = ("amsterdam", "berlin", "copenhagen", "dublin", "edinburgh")
# A child that is forked shares the counters, whatever else Python would choose.
FORK = multiprocessing.get_context("fork")
SHOWN = 20
"""So many failed requests are printed; the others are counted."""

# The driver finds nginx by the search path, which the interpreter of a host sets for it.
INTERPRETER = '#!/bin/sh\nPATH="{folder}/bin:$PATH" exec "{python}" "$@"\n'
PROGRAM = """\
#!/bin/sh
case "$1" in
-V) echo "configure arguments: --prefix={folder} --conf-path=nginx.conf" >&2 ;;
*) exec "{nginx}" -p "{folder}" -c "{folder}/nginx.conf" "$@" ;;
esac
"""
CONFIGURATION = """\
daemon on;
{user}
pid {folder}/nginx.pid;
error_log {folder}/error.log;
worker_processes 1;
events {{ worker_connections 4096; }}
http {{
    access_log off;
    client_body_temp_path {folder}/temporary;
    proxy_temp_path {folder}/temporary;
    fastcgi_temp_path {folder}/temporary;
    uwsgi_temp_path {folder}/temporary;
    scgi_temp_path {folder}/temporary;
    include {folder}/conf.d/*.conf;
}}
"""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rotations", type=positive, default=20, help="how many, one after the other (%(default)s)")
    parser.add_argument("--requests", type=positive, default=250_000, help="at least so many (%(default)s)")
    parser.add_argument("--callers", type=positive, default=8, help="processes that make requests (%(default)s)")
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 32), help="of the order of the requests")
    arguments = parser.parse_args()
    # Everything is stopped and removed, however this ends.
    signal.signal(signal.SIGTERM, lambda number, _frame: sys.exit(128 + number))
    nginx = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
    if not nginx:
        raise SystemExit("nginx is not installed: apt-get install nginx-light")
    with tempfile.TemporaryDirectory(prefix="esync-soak-") as folder, mesh(Path(folder), nginx) as servers:
        return soak(Path(folder), servers, arguments)


def positive(text: str) -> int:
    """An option that counts something."""
    number = int(text)
    if number < 1:
        raise ValueError(text)
    return number


def soak(folder: Path, servers: list[Server], arguments: argparse.Namespace) -> int:
    """Rotate under load, print what came of it, and return the exit code."""
    if not play(folder, "establish"):
        return 1
    done = 0
    with load(servers, arguments.callers, arguments.seed) as counts:
        for number in range(1, arguments.rotations + 1):
            if not rotate(folder, servers, counts, number):
                break
            done = number
            # So that each rotation has its share of the requests before it, on any machine.
            while counts.requests * arguments.rotations < arguments.requests * number and counts.work():
                time.sleep(0.1)
            if not counts.work():
                break
    for text in counts.failures():
        print(f"failed: {text}")
    for server in servers if counts.failed else ():
        print(f"--- nginx of {server.name}: {(server.folder / 'error.log').read_text()[-2000:]}")
    idle = [f"{source.name} -> {target.name}" for source, target in pairs(servers) if not counts.of(source, target)]
    if idle:
        print(f"no request at all: {', '.join(idle)}")
    print(
        f"{done} rotations, {counts.requests} requests on new connections, {counts.failed} failed, "
        f"seed {arguments.seed}, {datetime.date.today()}"
    )
    enough = done == arguments.rotations and counts.requests >= arguments.requests
    return 0 if enough and not counts.failed and not idle else 1


def rotate(folder: Path, servers: list[Server], counts: Counts, number: int) -> bool:
    """Renew all certificates; returns whether that succeeded."""
    before, asked, started = currents(servers), counts.requests, time.monotonic()
    if not play(folder, "regenerate"):
        return False
    after = currents(servers)
    same = [name for name in after if after[name] == before[name]]
    if same:
        print(f"rotation {number} renewed nothing on {', '.join(same)}")
        return False
    seconds, during = time.monotonic() - started, counts.requests - asked
    print(f"rotation {number}: {seconds:.0f} s, {during} requests, {counts.failed} failed so far", flush=True)
    return True


# -- the mesh -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Server:
    """One server. :param folder: everything of it; :attr:`directory` is that of the mesh."""

    name: str
    port: int
    folder: Path

    @property
    def directory(self) -> Path:
        return self.folder / "esync"


@contextlib.contextmanager
def mesh(folder: Path, nginx: str) -> Iterator[list[Server]]:
    """Five servers whose nginx runs, with nothing to serve yet, and an inventory of them."""
    ports = free_ports(len(NAMES))
    servers = [Server(name, port, folder / "hosts" / name) for name, port in zip(NAMES, ports)]
    hosts = {}
    for server in servers:
        for part in ("bin", "conf.d"):
            (server.folder / part).mkdir(parents=True)
        # The user that nginx runs as need not be root.
        user = "user root;" if os.geteuid() == 0 else ""
        for path, text in (("bin/python", INTERPRETER), ("bin/nginx", PROGRAM), ("nginx.conf", CONFIGURATION)):
            (server.folder / path).write_text(
                text.format(folder=server.folder, python=sys.executable, nginx=nginx, user=user)
            )
            (server.folder / path).chmod(0o755)
        hosts[server.name] = {
            "ansible_python_interpreter": f"{server.folder}/bin/python",
            "esync_directory": str(server.directory),
            "esync_endpoint_configuration": f"{server.folder}/conf.d/esync-mesh.conf",
            "esync_port": server.port,
        }
    variables = {
        "ansible_connection": "local",
        "esync_address": "127.0.0.1",
        "esync_endpoint": "nginx",
        "esync_endpoint_access_log": "off",
        # These are no units, also where systemd runs.
        "esync_endpoint_service": "esync-soak",
        "esync_install_dependencies": False,
        "esync_key_type": "ecdsa",
        "esync_key_size": 256,
        "esync_formats": ["cer"],
    }
    write_inventory(folder, variables, hosts)
    try:
        for server in servers:
            subprocess.run([f"{server.folder}/bin/nginx"], check=True)
        yield servers
    finally:
        for server in servers:
            with contextlib.suppress(OSError, ValueError):
                os.kill(int((server.folder / "nginx.pid").read_text()), signal.SIGTERM)
        deadline = time.monotonic() + 10
        while any((server.folder / "nginx.pid").exists() for server in servers) and time.monotonic() < deadline:
            time.sleep(0.05)


def play(folder: Path, playbook: str) -> bool:
    """Run a playbook for all servers; returns whether it succeeded. If not, its output is shown."""
    code, output = costs.play(folder, ROOT / "playbooks" / f"{playbook}.yml")
    if code:
        print(f"{output}\n{playbook} ended with {code}")
    return code == 0


def currents(servers: list[Server]) -> dict[str, tuple[str, ...]]:
    """The current certificates by server name."""
    return {
        server.name: tuple((server.directory / "current" / f"{role}.crt").read_text() for role in ("server", "client"))
        for server in servers
    }


def pairs(servers: list[Server]) -> list[tuple[Server, Server]]:
    """Every directed pair."""
    return [(source, target) for source in servers for target in servers if source is not target]


# -- the load -------------------------------------------------------------------------------------------------


class Counts:
    """What the callers have done so far. Each counts in memory of its own that this process reads."""

    def __init__(self, servers: list[Server], callers: int) -> None:
        self._pairs = {(source.name, target.name): at for at, (source, target) in enumerate(pairs(servers))}
        self._requests = [FORK.RawArray("Q", len(self._pairs)) for _caller in range(callers)]
        self._failed = FORK.RawArray("Q", callers)
        self._texts = FORK.SimpleQueue()
        self.processes: list[multiprocessing.process.BaseProcess] = []

    def note(self, caller: int, source: Server, target: Server, failure: str) -> None:
        """Count a request. :param failure: empty if it did not fail."""
        self._requests[caller][self._pairs[source.name, target.name]] += 1
        if failure:
            self._failed[caller] += 1
            if self._failed[caller] <= SHOWN:
                moment = datetime.datetime.now().time().isoformat("milliseconds")
                self._texts.put(f"{moment} {source.name} -> {target.name}: {failure}")

    def of(self, source: Server, target: Server) -> int:
        """The requests of one pair."""
        at = self._pairs[source.name, target.name]
        return sum(one[at] for one in self._requests)

    @property
    def requests(self) -> int:
        return sum(sum(one) for one in self._requests)

    @property
    def failed(self) -> int:
        return sum(self._failed)

    def failures(self) -> Iterator[str]:
        """Some of the failed requests, each with its pair and its cause."""
        while not self._texts.empty():
            yield self._texts.get()

    def work(self) -> bool:
        """Whether all callers are at work, and nothing has failed yet."""
        return not self.failed and all(process.is_alive() for process in self.processes)


@contextlib.contextmanager
def load(servers: list[Server], callers: int, seed: int) -> Iterator[Counts]:
    """Let every server call every other all the time, from several processes."""
    counts = Counts(servers, callers)
    stop = FORK.Event()
    counts.processes += [
        FORK.Process(target=call, args=(servers, counts, caller, seed, stop), daemon=True) for caller in range(callers)
    ]
    for process in counts.processes:
        process.start()
    try:
        yield counts
    finally:
        stop.set()
        for process in counts.processes:
            process.join(30)


def call(
    servers: list[Server], counts: Counts, caller: int, seed: int, stop: multiprocessing.synchronize.Event
) -> None:
    """Make requests until told to stop. All pairs come equally often, in a random order."""
    # An interrupt from the keyboard is for the process that waits for this one.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    order = random.Random(seed + caller)
    while not stop.is_set():
        round_of_all = pairs(servers)
        order.shuffle(round_of_all)
        for source, target in round_of_all:
            failure = ""
            try:
                request(source, target)
            except (OSError, ValueError, LookupError) as error:
                failure = f"{type(error).__name__}: {error}"
            counts.note(caller, source, target, failure)


def request(source: Server, target: Server) -> None:
    """One request on a connection of its own, with the files as they are now.

    :raises OSError: no connection, or a refusal by either side.
    :raises ValueError: another answer than that of this target to this source.
    """
    # Where the links lead now. What is in these folders never changes, so it is read once.
    own, trusted = os.path.realpath(source.directory / "current"), os.path.realpath(source.directory / "trusted")
    context = context_of(own, trusted)
    with socket.create_connection(("127.0.0.1", target.port), 20) as raw, context.wrap_socket(raw) as connection:
        der = connection.getpeercert(binary_form=True) or b""
        if hashlib.sha256(der).digest() not in pins_of(trusted, target.name):
            raise ValueError("another certificate than the pinned ones of this peer")
        connection.sendall(b"GET /esync/health HTTP/1.1\r\nHost: mesh\r\nConnection: close\r\n\r\n")
        answer = b""
        while piece := connection.recv(4096):
            answer += piece
    head, _separator, body = answer.partition(b"\r\n\r\n")
    if not head.startswith(b"HTTP/1.1 200 "):
        raise ValueError(f"answered {answer[:200]!r}")
    said = json.loads(body)
    if (said["server"], said["peer"]) != (target.name, source.name):
        raise ValueError(f"answered as {said}")


@functools.lru_cache(maxsize=64)
def context_of(own: str, trusted: str) -> ssl.SSLContext:
    """A caller with a generation of its own and a trust, both by their real paths."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    # Peers are known by their certificates, whatever the name or the address says.
    context.check_hostname = False
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    context.load_verify_locations(f"{trusted}/servers.pem")
    context.load_cert_chain(f"{own}/client.crt", f"{own}/client.key")
    return context


@functools.lru_cache(maxsize=256)
def pins_of(trusted: str, peer: str) -> frozenset[bytes]:
    """The fingerprints of a peer's live server certificates in a trust."""
    return frozenset(
        hashlib.sha256(path.read_bytes()).digest() for path in Path(trusted).glob(f"{peer}_SyncServer*.cer")
    )


if __name__ == "__main__":
    sys.exit(main())
