# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A mutual TLS endpoint for the length of a test: a process of its own that ends by itself.

It answers the test's request to callers that present a pinned client certificate, and to nobody else. It ends when all
expected peers were served, or when its time is up, whatever became of the control node; a newer one for the same
directory replaces it.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import json
import os
import re
import resource
import selectors
import signal
import socket
import ssl
import time
from collections import Counter
from dataclasses import dataclass
from functools import partial
from typing import Any, Callable, Dict, FrozenSet, Generator, Iterator, NoReturn, Optional, TypeVar

from ansible_collections.esync.mesh.plugins.module_utils._connection import tls
from ansible_collections.esync.mesh.plugins.module_utils._core import layout
from ansible_collections.esync.mesh.plugins.module_utils._core.errors import EsyncError, unexpected
from ansible_collections.esync.mesh.plugins.module_utils._core.folders import os_error
from ansible_collections.esync.mesh.plugins.module_utils._core.names import SERVER, UNKNOWN

T = TypeVar("T")

LINGER = 0.5
"""Seconds after the last expected peer was served, for connections that are just being closed."""

ANY = "::"
"""Every address, IPv4 too."""

_BACKLOG = 1024
_MOST = 1024
# Seconds: for the handshake, and for the request after it; for a handshake that nothing delays, and for a goodbye; and
# between two looks for connections whose time is up.
_PATIENCE = 15.0
_GRACE = 1.0
_TICK = 0.25
_TAKE_OVER = 10.0
_REQUEST_LIMIT = 8192


@dataclass(frozen=True)
class ListenerSettings:
    """What to listen for.

    :param address: to bind to. :param lifetime: seconds after which it ends in any case.
    :param serve: the generation to present, ``current`` or ``next``.
    :param expected: the peers after which it may end; empty: only the lifetime counts.
    """

    name: str
    directory: str
    address: str
    port: int
    lifetime: float = 120
    serve: str = "current"
    expected: FrozenSet[str] = frozenset()
    product_version: Optional[str] = None


def start(settings: ListenerSettings) -> Dict[str, Any]:
    """Start the endpoint in a process of its own; return when it accepts connections.

    :raises EsyncError: files that cannot be used, or kinds ``port_taken``, ``cannot_listen``.
    """
    credential = tls.read_credential(settings.directory, settings.serve, SERVER)
    trust = tls.read_trust(settings.directory)
    context = tls.server_context(credential, trust)
    lock = _take_lock(settings.directory)
    try:
        server = _bind(settings)
    except BaseException:
        _release(lock)
        raise
    endpoint = _Endpoint(settings, context, credential.fingerprint, trust.callers(), server)
    # Whatever the process needs later is imported by now: the module's archive is gone as soon as the module ends.
    pid = _detach(endpoint, lock)
    with contextlib.suppress(OSError):
        server.close()
    os.close(lock.descriptor)
    return {
        "pid": pid,
        "address": settings.address,
        "port": server_port(settings, endpoint),
        "fingerprint": credential.fingerprint,
    }


def server_port(settings: ListenerSettings, endpoint: _Endpoint) -> int:
    """The port that it listens on, also if any free one was requested."""
    return settings.port or endpoint.port


# -- one at a time --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Lock:
    path: str
    descriptor: int


def lock_path(directory: str) -> str:
    """Where the endpoint of a directory notes its process."""
    if os.geteuid() == 0 and os.path.isdir("/run"):
        digest = hashlib.sha256(os.path.realpath(directory).encode("utf-8", "surrogateescape")).hexdigest()
        return f"/run/esync-listener-{digest[:16]}.lock"
    return os.path.join(directory, layout.LISTENER)


def _take_lock(directory: str) -> _Lock:
    """Become the only endpoint of this directory; an older one is ended."""
    path = lock_path(directory)
    deadline = time.monotonic() + _TAKE_OVER
    while True:
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise os_error(error, path, "note the endpoint's process") from None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # The older one removes the file when it ends: a lock on a removed file keeps nobody out.
            if _same_file(path, descriptor):
                return _Lock(path, descriptor)
        except BlockingIOError:
            with contextlib.suppress(OSError, ValueError):
                holder = int(os.pread(descriptor, 32, 0))
                # Numbers below that mean process groups, or all processes.
                if holder > 1:
                    os.kill(holder, signal.SIGTERM)
            if time.monotonic() > deadline:
                os.close(descriptor)
                raise EsyncError(
                    "an older endpoint of this directory does not end",
                    "End the process whose number stands in the file",
                    kind="locked",
                    path=path,
                ) from None
            time.sleep(0.02)
        os.close(descriptor)


def end_older(directory: str) -> None:
    """End the endpoint of this directory that an earlier test left, if there is one.

    :raises EsyncError: kind ``locked``.
    """
    if os.path.exists(lock_path(directory)):
        _release(_take_lock(directory))


def _same_file(path: str, descriptor: int) -> bool:
    try:
        named, opened = os.stat(path), os.fstat(descriptor)
    except FileNotFoundError:
        return False
    return (named.st_dev, named.st_ino) == (opened.st_dev, opened.st_ino)


def _release(lock: _Lock) -> None:
    with contextlib.suppress(OSError):
        os.unlink(lock.path)
    os.close(lock.descriptor)


# -- the port -------------------------------------------------------------------------------------------------


def _bind(settings: ListenerSettings) -> socket.socket:
    family, address = (socket.AF_INET6 if ":" in settings.address else socket.AF_INET), settings.address
    try:
        server = socket.socket(family, socket.SOCK_STREAM)
    except OSError as error:
        if error.errno != errno.EAFNOSUPPORT or address != ANY:
            raise EsyncError(
                f"cannot listen on {address}: this host has no addresses of that kind",
                "Correct esync_listen_address",
                kind="cannot_listen",
                server=settings.name,
            ) from None
        # A kernel without IPv6: every address is every IPv4 address there.
        family, address = socket.AF_INET, "0.0.0.0"
        server = socket.socket(family, socket.SOCK_STREAM)
    try:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            server.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        server.bind((address, settings.port))
        server.listen(_BACKLOG)
    except OSError as error:
        server.close()
        where = f"{settings.address} port {settings.port}"
        if error.errno == errno.EADDRINUSE:
            # Only here: who holds the port has to be known only then.
            from ansible_collections.esync.mesh.plugins.module_utils._core.processes import port_taken

            raise port_taken(settings.port, settings.name, where) from None
        raise EsyncError(
            f"cannot listen on {where}: {os.strerror(error.errno or 0).lower()}",
            "Correct esync_listen_address and esync_port",
            kind="cannot_listen",
            server=settings.name,
        ) from None
    return server


# -- the process ----------------------------------------------------------------------------------------------


def _detach(endpoint: _Endpoint, lock: _Lock) -> int:
    """Run the endpoint in a process that has nothing to do with this one any more; return its number."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        # Neither of the two may ever return into the module's code.
        try:
            os.close(reading)
            os.setsid()
            if os.fork() == 0:
                _live(endpoint, lock, writing)
        finally:
            os._exit(0)
    os.close(writing)
    os.waitpid(child, 0)
    with open(reading, "rb") as stream:
        answer = stream.read().decode("utf-8", "replace")
    if not answer.isdigit():
        raise EsyncError(
            f"the endpoint did not start: {answer or 'it ended at once'}",
            "Run again; if it comes back, report this line",
            kind="cannot_listen",
            server=endpoint.settings.name,
        )
    return int(answer)


def _live(endpoint: _Endpoint, lock: _Lock, writing: int) -> NoReturn:
    try:
        os.chdir("/")
        # The session of ssh waits for every process that holds its pipes.
        null = os.open(os.devnull, os.O_RDWR)
        for number in (0, 1, 2):
            os.dup2(null, number)
        kept = {0, 1, 2, writing, lock.descriptor, endpoint.server.fileno()}
        for number in range(3, 4096):
            if number not in kept:
                with contextlib.suppress(OSError):
                    os.close(number)
        signal.signal(signal.SIGTERM, lambda *_unused: _end(endpoint, lock))
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        os.ftruncate(lock.descriptor, 0)
        os.pwrite(lock.descriptor, b"%d\n" % os.getpid(), 0)
        os.write(writing, b"%d" % os.getpid())
        os.close(writing)
        endpoint.run()
    except BaseException as error:
        with contextlib.suppress(OSError):
            os.write(writing, unexpected(error).encode("utf-8"))
    finally:
        _end(endpoint, lock)


def _end(endpoint: _Endpoint, lock: _Lock) -> NoReturn:
    with contextlib.suppress(OSError):
        # The port first: as soon as the note is gone, the next endpoint takes it.
        endpoint.server.close()
    with contextlib.suppress(OSError):
        os.unlink(lock.path)
    os._exit(0)


class _Caller:
    """A connection that is being served.

    :param source: the address that it comes from. :param deadline: when it is ended, whatever it does.
    """

    def __init__(self, connection: socket.socket, source: str) -> None:
        self.connection = connection
        self.source = source
        self.began = time.monotonic()
        self.deadline = self.began + _PATIENCE
        self.accepted = False
        self.steps: Iterator[int] = iter(())


class _Endpoint:
    """Serves all callers in one thread, so that a silent or slow one costs a place and nothing else.

    Places are as many as there are; when all are taken, the one that goes is the oldest whose caller has not proved who
    it is, of the source that holds the most of them.
    """

    def __init__(
        self,
        settings: ListenerSettings,
        context: ssl.SSLContext,
        fingerprint: str,
        pins: Dict[str, str],
        server: socket.socket,
    ) -> None:
        self.settings = settings
        self.context = context
        self.fingerprint = fingerprint
        self.pins = pins
        self.server = server
        self.port = int(server.getsockname()[1])
        self._waiting = set(settings.expected)
        self._deadline = time.monotonic() + settings.lifetime
        self._callers: Dict[_Caller, None] = {}
        self._places = _MOST

    def run(self) -> None:
        """Serve until all expected peers were served, or the time is up."""
        self._places = _places()
        self.server.setblocking(False)
        with selectors.DefaultSelector() as selector:
            selector.register(self.server, selectors.EVENT_READ)
            while True:
                now = time.monotonic()
                if now >= self._deadline:
                    return
                for key, _events in selector.select(min(self._deadline - now, _TICK)):
                    if key.data is None:
                        self._accept(selector)
                    elif key.data in self._callers:
                        self._go_on(selector, key.data)
                now = time.monotonic()
                for caller in [one for one in self._callers if one.deadline <= now]:
                    self._drop(selector, caller)

    def _accept(self, selector: selectors.BaseSelector) -> None:
        if len(self._callers) >= self._places and not self._make_room(selector):
            time.sleep(0.01)  # whoever comes now waits in the kernel's queue
            return
        try:
            connection, address = self.server.accept()
        except OSError:
            return  # gone again, or out of descriptors
        connection.setblocking(False)
        caller = _Caller(connection, str(address[0]))
        caller.steps = self._serve(caller)
        self._callers[caller] = None
        selector.register(connection, selectors.EVENT_READ, caller)

    def _make_room(self, selector: selectors.BaseSelector) -> bool:
        """End one connection to make room for another, if there is one that may be ended."""
        unknown = [one for one in self._callers if not one.accepted]
        if not unknown:
            return False
        source, count = Counter(one.source for one in unknown).most_common(1)[0]
        oldest = next(one for one in unknown if one.source == source)
        # Many honest peers may come at once; each is given the time that a handshake takes.
        if count <= self._places // 4 and time.monotonic() - oldest.began < _GRACE:
            return False
        self._drop(selector, oldest)
        return True

    def _drop(self, selector: selectors.BaseSelector, caller: _Caller) -> None:
        del self._callers[caller]
        selector.unregister(caller.connection)
        caller.steps = iter(())
        caller.connection.close()

    def _go_on(self, selector: selectors.BaseSelector, caller: _Caller) -> None:
        try:
            wanted = next(caller.steps)
        except (StopIteration, OSError, ValueError):
            self._drop(selector, caller)
            return
        selector.modify(caller.connection, wanted, caller)

    def _serve(self, caller: _Caller) -> Iterator[int]:
        """Serve one caller; yields the event that it waits for."""
        caller.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        secured = self.context.wrap_socket(caller.connection, server_side=True, do_handshake_on_connect=False)
        caller.connection = secured
        try:
            yield from _waiting_for(secured.do_handshake)
        except OSError:
            yield from _end_orderly(caller, secured)
            return
        peer = self.pins.get(tls.fingerprint_of(secured.getpeercert(binary_form=True) or b""))
        if peer is None:
            return
        caller.accepted = True
        caller.deadline = time.monotonic() + _PATIENCE
        request = b""
        while b"\r\n\r\n" not in request and len(request) < _REQUEST_LIMIT:
            piece = yield from _waiting_for(lambda: secured.recv(4096))
            if not piece:
                return
            request += piece
        answer = memoryview(
            answer_to(request, self.settings.name, self.fingerprint, self.settings.product_version, peer)
        )
        while answer:
            sent = yield from _waiting_for(partial(secured.send, answer))
            answer = answer[sent:]
        # Who comes through a cluster's balancer comes directly, too, and must find somebody there then.
        if not tls.is_through_balancer(request):
            self._served(peer)
        # An orderly end: say that nothing more comes, and let the caller hang up.
        caller.deadline = time.monotonic() + _GRACE
        yield from _waiting_for(secured.unwrap)

    def _served(self, peer: str) -> None:
        if peer == UNKNOWN and self._waiting:
            # Callers that cannot be distinguished are counted.
            peer = next(iter(self._waiting))
        if peer in self._waiting:
            self._waiting.discard(peer)
            if not self._waiting:
                self._deadline = min(self._deadline, time.monotonic() + LINGER)


def _places() -> int:
    """How many connections are served at the same time, with some descriptors left for everything else."""
    wanted, spare = _MOST + 64, 64
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft not in (resource.RLIM_INFINITY, wanted) and soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(hard, wanted)
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    soft, _hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    return _MOST if soft == resource.RLIM_INFINITY else max(1, min(_MOST, soft - spare))


def _waiting_for(act: Callable[[], T]) -> Generator[int, None, T]:
    """Do something as soon as the connection lets it be done; yields the event that it waits for."""
    while True:
        try:
            return act()
        except ssl.SSLWantReadError:
            yield selectors.EVENT_READ
        except ssl.SSLWantWriteError:
            yield selectors.EVENT_WRITE


def answer_to(request: bytes, name: str, fingerprint: str, product_version: Optional[str], peer: str) -> bytes:
    """The answer to a request of a test.

    :param name: of this server. :param fingerprint: of the certificate that it presents. :param peer: who calls.
    """
    found = re.match(rb"GET " + tls.HEALTH.encode() + rb" HTTP/1\.[01]\r\n", request)
    health = {"server": name, "generation": fingerprint, "product_version": product_version, "peer": peer}
    body = json.dumps(health).encode("utf-8") if found else b"{}"
    status = "200 OK" if found else "404 Not Found"
    head = f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n"
    return f"{head}Connection: close\r\n\r\n".encode("ascii") + body


def _end_orderly(caller: _Caller, secured: ssl.SSLSocket) -> Iterator[int]:
    """Let the caller read the alert: closing while its bytes are unread would reset the connection instead."""
    raw = caller.connection = socket.socket(fileno=secured.detach())
    caller.deadline = min(caller.deadline, time.monotonic() + _GRACE)
    raw.shutdown(socket.SHUT_WR)
    while True:
        try:
            if not raw.recv(4096):
                return
        except BlockingIOError:
            yield selectors.EVENT_READ
