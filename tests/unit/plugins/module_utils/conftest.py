# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Directories with certificate sets, made once and copied, and endpoints of all kinds that end with the test."""

from __future__ import annotations

import contextlib
import datetime
import os
import shutil
import signal
import socket
import ssl
import stat
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.esync.mesh.plugins.module_utils._connection import listener, probe, tls
from ansible_collections.esync.mesh.plugins.module_utils._core import folders as files
from ansible_collections.esync.mesh.plugins.module_utils._core import names
from ansible_collections.esync.mesh.plugins.module_utils._core.folders import Folder
from ansible_collections.esync.mesh.plugins.module_utils._store import generations, trust_writer
from ansible_collections.esync.mesh.plugins.module_utils._store import trust_folder as trust

NOW = datetime.datetime.now(datetime.timezone.utc)
PLAIN = generations.SetSettings("alpha", ("alpha", "127.0.0.1"), "ecdsa", formats=("cer",))
FORMS = {
    "ecdsa": PLAIN,
    "pfx": replace(PLAIN, formats=("cer", "pfx")),
    "rsa": replace(PLAIN, key_type="rsa", key_size=2048, formats=("cer", "pvk")),
    "p384": replace(PLAIN, key_size=384),
    "ed25519": replace(PLAIN, key_type="ed25519"),
}
"""What the tests' sets look like: quick to check, with .pfx files, with RSA keys, hence .pvk files, and other keys."""


class Server:
    """The directory of one server and its settings, with what nearly every test asks of it."""

    def __init__(self, path: Path, settings: generations.SetSettings) -> None:
        self.path = path
        self.settings = settings

    def sets(self, base: Folder, now: datetime.datetime = NOW, **changes: Any) -> generations.Sets:
        """What generations.py makes of an open directory."""
        check = changes.pop("check", False)
        return generations.Sets(base, replace(self.settings, **changes), now, check)

    def do(self, state: str, *arguments: Any, now: datetime.datetime = NOW, **options: Any) -> generations.SetOutcome:
        """Bring it into a state: ``do("present", renew=True)``; ``settings`` and ``check`` may be among the options."""
        changes = options.pop("settings", {})
        with Folder.open(str(self.path), 0o755) as base:
            sets = self.sets(base, now, check=options.pop("check", False), **changes)
            outcome: generations.SetOutcome = getattr(sets, state)(*arguments, **options)
        return outcome

    def inspect(self, **changes: Any) -> Any:
        """What inspection.py finds in it."""
        with Folder.open(str(self.path)) as base:
            return self.sets(base, **changes).found

    def file(self, role: str, suffix: str, state: str = names.CURRENT) -> Path:
        """A file of a set, by its real path."""
        return (self.path / state).resolve() / f"{names.set_name(self.settings.name, role)}.{suffix}"

    def links(self) -> dict[str, str]:
        """State to generation, as the links say."""
        return {
            state: (self.path / state).readlink().name for state in names.STATES if (self.path / state).is_symlink()
        }

    def contents(self) -> dict[str, Any]:
        """Everything that lies there: path to mode and content or target."""
        found: dict[str, Any] = {}
        for path in sorted(self.path.rglob("*")):
            mode = path.lstat().st_mode
            if stat.S_ISLNK(mode):
                found[str(path)] = str(path.readlink())
            else:
                found[str(path)] = stat.S_IMODE(mode), path.read_bytes() if stat.S_ISREG(mode) else None
        return found


@pytest.fixture(scope="session")
def _made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A directory with a current and a next generation for each form."""
    found = {}
    for form, settings in FORMS.items():
        server = Server(tmp_path_factory.mktemp("made") / form, settings)
        server.do("present")
        server.do("next")
        found[form] = server.path
    return found


@pytest.fixture
def server(tmp_path: Path, _made: dict[str, Path]) -> Any:
    """Gives directories that have generations already: ``server("ecdsa", "current", "next")``.

    Of what is not named there is nothing; with ``previous`` it is as after a switch.
    """

    def copy(form: str, *states: str, path: Path = tmp_path / "esync") -> Server:
        shutil.copytree(_made[form], path, symlinks=True)
        made = Server(path, FORMS[form])
        if names.NEXT not in states and names.PREVIOUS not in states:
            shutil.rmtree(made.file("server", "crt", names.NEXT).parent)
            (path / names.NEXT).unlink()
        elif names.PREVIOUS in states:
            made.do("switched")
        return made

    return copy


@pytest.fixture
def fresh(tmp_path: Path) -> Any:
    """Gives a server that has nothing yet, its directory neither: ``fresh("ecdsa")``."""

    def make(form: str, path: Path = tmp_path / "esync") -> Server:
        return Server(path, FORMS[form])

    return make


# -- a process that is killed ----------------------------------------------------------------------------------


class Killed(BaseException):
    """The end of a process: nothing that would tidy up after it may work either."""


class Dying:
    """The module os for a process that is killed before its n-th change of the file system, a write half-way.

    :param moment: n.
    """

    CHANGING = frozenset(
        ["mkdir", "symlink", "rename", "link", "unlink", "rmdir", "chmod", "fchmod", "chown", "fchown", "write"]
    )

    def __init__(self, moment: int) -> None:
        self.moment = moment
        self.count = 0

    def __getattr__(self, name: str) -> Any:
        real = getattr(os, name)
        if name == "fsync":
            return self._nothing
        if name not in self.CHANGING and name != "open":
            return real

        def call(*arguments: Any, **options: Any) -> Any:
            if name == "open" and not arguments[1] & os.O_CREAT:
                return real(*arguments, **options)
            self.count += 1
            if self.count == self.moment and name == "write":
                real(arguments[0], arguments[1][: len(arguments[1]) // 2])
            if self.count >= self.moment:
                raise Killed
            return real(*arguments, **options)

        return call

    def _nothing(self, _descriptor: int) -> None:
        """A kill, other than a power cut, loses nothing that was written."""


def killed(moment: int, act: Callable[[], Any]) -> bool:
    """Do something and be killed at that moment; returns whether there was such a moment."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(files, "os", Dying(moment))
        try:
            act()
        except Killed:
            return True
    return False


# -- servers that trust each other -----------------------------------------------------------------------------

MEMBERS = ("alpha", "bravo", "charlie")


class Mesh:
    """The directories of servers that trust each other, side by side: each with a current and a next generation."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def server(self, name: str) -> Server:
        """One of them."""
        return Server(self.root / name, replace(PLAIN, name=name, alt_names=(name, "127.0.0.1")))

    def make(self, name: str, now: datetime.datetime = NOW, **changes: Any) -> None:
        """Make the sets of a server, anew if there are some."""
        shutil.rmtree(self.root / name, ignore_errors=True)
        for state in ("present", "next"):
            self.server(name).do(state, now=now, settings=changes)

    def certificates(self, *members: str) -> list[tuple[trust.TrustEntry, str]]:
        """Every certificate of these servers, as an entry of a trust and in PEM."""
        return [
            (
                trust.TrustEntry(name, role, state, generation.certificates[role].fingerprint),
                generation.certificates[role].pem,
            )
            for name in members
            for state, generation in self.server(name).inspect().generations.items()
            for role in names.ROLES
        ]

    def trust(self, name: str, *peers: str, **renamed: str) -> None:
        """Make a server trust exactly these peers; ``renamed`` are known to it under another name."""
        both = self.certificates(*peers, *renamed)
        entries = [replace(entry, peer=renamed.get(entry.peer, entry.peer)) for entry, _pem in both]
        with Folder.open(str(self.root / name), 0o755) as base:
            trust_writer.apply(
                base, name, entries, [pem for _entry, pem in both], f"{time.monotonic_ns()}", allow_empty=True
            )

    def expected(self, name: str) -> dict[str, str]:
        """The server certificates of a server: fingerprint to state."""
        return {entry.fingerprint: entry.state for entry, _pem in self.certificates(name) if entry.role == names.SERVER}

    def known(self) -> dict[str, str]:
        """Every fingerprint of the mesh: to ``NAME role state``."""
        return {
            entry.fingerprint: f"{entry.peer} {entry.role} {entry.state}"
            for entry, _pem in self.certificates(*sorted(path.name for path in self.root.iterdir()))
        }

    def peer(self, name: str, port: int, address: str = "127.0.0.1", **changes: Any) -> probe.Peer:
        """A peer to connect to."""
        return probe.Peer(name, address, port, changes.pop("expected", None) or self.expected(name))

    def probe(self, caller: str, *peers: probe.Peer, **settings: Any) -> list[dict[str, Any]]:
        """Let a server test some peers."""
        settings.setdefault("known", self.known())
        return probe.probe(peers, probe.ProbeSettings(caller, str(self.root / caller), **settings))

    def one(self, caller: str, name: str, port: int, **settings: Any) -> dict[str, Any]:
        """Let a server test one peer; it must not answer for any other."""
        address = settings.pop("address", "127.0.0.1")
        expected = settings.pop("expected", None)
        [found] = self.probe(caller, self.peer(name, port, address, expected=expected), **settings)
        assert found["to"] == name
        return found


@pytest.fixture(scope="session")
def _mesh(tmp_path_factory: pytest.TempPathFactory) -> Path:
    mesh = Mesh(tmp_path_factory.mktemp("mesh"))
    for name in MEMBERS:
        mesh.make(name)
    for name in MEMBERS:
        mesh.trust(name, *(peer for peer in MEMBERS if peer != name))
    return mesh.root


@pytest.fixture
def mesh(tmp_path: Path, _mesh: Path) -> Mesh:
    """Three servers that trust each other: alpha, bravo and charlie."""
    shutil.copytree(_mesh, tmp_path / "mesh", symlinks=True)
    return Mesh(tmp_path / "mesh")


# -- endpoints -------------------------------------------------------------------------------------------------


@pytest.fixture(params=["TLSv1.2", "TLSv1.3"])
def version(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Each version of TLS; the listener takes no other."""
    name: str = request.param
    real = tls.server_context

    def only(credential: tls.Credential, trusted: tls.Trust) -> ssl.SSLContext:
        context = real(credential, trusted)
        context.minimum_version = context.maximum_version = ssl.TLSVersion[name.replace(".", "_")]
        return context

    monkeypatch.setattr(tls, "server_context", only)
    return name


def is_alive(pid: int) -> bool:
    """Whether a process still runs."""
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as stream:
            return stream.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def wait_for(holds: Callable[[], Any], seconds: float = 30) -> Any:
    """Wait until something holds; how long it takes is not judged."""
    end = time.monotonic() + seconds
    while not (found := holds()):
        assert time.monotonic() < end, "it never came about"
        time.sleep(0.02)
    return found


@pytest.fixture
def listen(mesh: Mesh, tmp_path: Path) -> Iterator[Any]:
    """Starts listeners: ``listen("bravo", lifetime=5)``; returns what ``start`` returns."""
    started: list[listener.ListenerSettings] = []
    pids = []

    def start(name: str, directory: str | None = None, **settings: Any) -> dict[str, Any]:
        settings = {"address": "127.0.0.1", "port": 0, "lifetime": 60, **settings}
        started.append(listener.ListenerSettings(name, str(mesh.root / (directory or name)), **settings))
        found = listener.start(started[-1])
        pids.append(found["pid"])
        return found

    yield start
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    for settings in started:
        Path(listener.lock_path(settings.directory)).unlink(missing_ok=True)


@pytest.fixture
def serve() -> Iterator[Any]:
    """Serves connections by a function: ``serve(lambda connection: ...)``; returns the port.

    The function gets each connection in a thread of its own; the connection is closed after it.
    """
    servers = []

    def start(answer: Callable[[socket.socket], Any]) -> int:
        server = socket.create_server(("127.0.0.1", 0), backlog=64)
        servers.append(server)

        def converse(connection: socket.socket) -> None:
            with connection, contextlib.suppress(OSError):
                answer(connection)

        def accept() -> None:
            with contextlib.suppress(OSError):
                while True:
                    connection, _address = server.accept()
                    threading.Thread(target=converse, args=(connection,), daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        port: int = server.getsockname()[1]
        return port

    yield start
    for server in servers:
        with contextlib.suppress(OSError):
            server.shutdown(socket.SHUT_RDWR)
        server.close()


@pytest.fixture
def s_server(mesh: Mesh) -> Iterator[Any]:
    """Starts ``openssl s_server`` with a server's files: ``s_server("bravo", "-tls1_2")``; returns the port."""
    if not shutil.which("openssl"):
        pytest.skip("there is no openssl")
    running = []

    def start(name: str, *options: str, role: str = "server", state: str = "current") -> int:
        files = [str(mesh.root / name / state / f"{role}.{suffix}") for suffix in ("crt", "key")]
        command = ["openssl", "s_server", "-accept", "127.0.0.1:0", "-cert", files[0], "-key", files[1], *options]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.PIPE)
        assert process.stdout
        said = b""
        for line in process.stdout:
            said += line
            if line.startswith(b"ACCEPT"):
                break
        assert b"ACCEPT" in said, said
        # A full pipe would stop it.
        reader = threading.Thread(target=process.stdout.read, daemon=True)
        reader.start()
        running.append((process, reader))
        return int(said.rsplit(b":", 1)[1])

    yield start
    for process, reader in running:
        process.kill()
        reader.join()
        with process:
            pass
