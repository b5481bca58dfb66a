# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What listens on the eSync port now, and the proof that it took up what changed (docs/endpoint.md).

A reload that fails is often silent: the service goes on with what it had. So nothing counts as done before the
certificate that is really served was read back.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import random
import socket
import stat
import subprocess
import tempfile
import time
from dataclasses import dataclass
from typing import Any, Callable, Dict, List, Mapping, Optional, Sequence, Tuple

from ansible_collections.esync.mesh.plugins.module_utils._connection import tls
from ansible_collections.esync.mesh.plugins.module_utils._core import layout
from ansible_collections.esync.mesh.plugins.module_utils._core.errors import EsyncError
from ansible_collections.esync.mesh.plugins.module_utils._core.folders import Folder
from ansible_collections.esync.mesh.plugins.module_utils._core.names import CURRENT, SERVER

LOOPBACK = ("127.0.0.1", "::1")

_POLL = 0.05
_LIMIT = 16 << 20
_SAID = 600


# -- looking --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Place:
    """Where something of this server is served: a port, and of a site the name that it is asked for by.

    :param site: the name of the site; None: the server has none. :param server_name: a DNS name.
    """

    port: int
    site: Optional[str] = None
    server_name: Optional[str] = None

    def __str__(self) -> str:
        name = f" ({self.server_name})" if self.server_name else ""
        return f"site {self.site}, port {self.port}{name}" if self.site else f"port {self.port}"


def places_of(port: int, sites: Sequence[Mapping[str, Any]]) -> Tuple[Place, ...]:
    """Every place that a server serves.

    :param port: the eSync port, which counts if there are no sites.
    :param sites: ``name``, ``port`` and ``server_name`` of each.
    """
    return tuple(Place(site["port"], site["name"], site.get("server_name")) for site in sites) or (Place(port),)


def observe(
    files: Sequence[str],
    port: Optional[int],
    address: Optional[str],
    timeout: float = 2,
    sites: Sequence[Mapping[str, Any]] = (),
) -> Dict[str, Any]:
    """What the control node needs to know in order to leave an endpoint alone.

    :param files: paths. :param port: the eSync port; None: nothing is connected to.
    :param address: where to look if nothing listens on the loopback addresses.
    :param timeout: seconds for each address.
    :param sites: ``name``, ``port`` and ``server_name`` of the sites that are looked at in the place of the port.
    :returns: ``files`` (path to SHA-256, None for what cannot be read), ``served`` (SHA-256 fingerprint of the
        certificate that listens there, or None), ``sites`` (the same for each site), and ``ipv6`` (whether this host
        has it).
    """
    places = places_of(0, sites) if sites else ()
    return {
        "files": {path: digest_of(path) for path in files},
        "served": served(port, address, timeout) if port and not places else None,
        "sites": {place.site: served(place.port, address, timeout, place.server_name) for place in places},
        "ipv6": has_ipv6(),
    }


def digest_of(path: str) -> Optional[str]:
    """SHA-256 of a file; None if there is none, or it cannot be read."""
    with contextlib.suppress(OSError):
        # A FIFO in the place of a file must not block.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with open(descriptor, "rb") as stream:
            if stat.S_ISREG(os.fstat(descriptor).st_mode):
                return hashlib.sha256(stream.read(_LIMIT)).hexdigest()
    return None


def served(
    port: int, address: Optional[str] = None, timeout: float = 2, server_name: Optional[str] = None
) -> Optional[str]:
    """The fingerprint of the certificate that this host serves on a port now; None if none is.

    Looked for on this host itself first, for the address that peers use may lead to a balancer.

    :param server_name: the name to ask for, where several certificates can be served on the port.
    """
    for place in (*LOOPBACK, address):
        with contextlib.suppress(OSError, UnicodeError):
            for family, _kind, _protocol, _name, where in socket.getaddrinfo(place, port, type=socket.SOCK_STREAM):
                der = tls.read_served(where, family, timeout, server_name) if place else None
                if der:
                    return tls.fingerprint_of(der)
    return None


def has_ipv6() -> bool:
    """Whether a service can listen on IPv6 here."""
    with contextlib.suppress(OSError), socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as probe:
        probe.bind(("::", 0))
        return True
    return False


@dataclass(frozen=True)
class PortHolder:
    """A process that listens on a port."""

    pid: int
    command: str

    def __str__(self) -> str:
        return f"{self.command} (process {self.pid})"


def holders(port: int) -> List[PortHolder]:
    """The processes that listen on a port, as far as /proc may be read (proc(5))."""
    inodes = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        with contextlib.suppress(OSError), open(table, encoding="ascii") as stream:
            for line in stream.readlines()[1:]:
                fields = line.split()
                if fields[3] == "0A" and int(fields[1].rpartition(":")[2], 16) == port:
                    inodes.add(f"socket:[{fields[9]}]")
    found = []
    for pid in _processes() if inodes else []:
        with contextlib.suppress(OSError):
            if inodes.intersection(_open_files(pid)):
                with open(f"/proc/{pid}/comm", encoding="utf-8", errors="replace") as stream:
                    found.append(PortHolder(pid, stream.read().strip()))
    return found


def _open_files(pid: int) -> List[str]:
    found = []
    for number in os.listdir(f"/proc/{pid}/fd"):
        # One that was closed since it was listed, such as the listing itself, hides none of the others.
        with contextlib.suppress(OSError):
            found.append(os.readlink(f"/proc/{pid}/fd/{number}"))
    return found


def _processes() -> List[int]:
    return sorted(map(int, filter(str.isdigit, os.listdir("/proc")))) if os.path.isdir("/proc") else []


def children_of(parent: int) -> List[int]:
    """The processes that a process started and that still run."""
    found = []
    for pid in _processes():
        with contextlib.suppress(OSError, ValueError, IndexError), open(f"/proc/{pid}/stat", "rb") as stream:
            # The command may hold anything, parentheses too: PID (COMMAND) STATE PARENT ...
            if int(stream.read().rpartition(b")")[2].split()[1]) == parent:
                found.append(pid)
    return found


def title_of(pid: int) -> str:
    """What a process calls itself; empty if it is gone, or only its parent has not noticed yet."""
    with contextlib.suppress(OSError), open(f"/proc/{pid}/cmdline", encoding="utf-8", errors="replace") as stream:
        return stream.read().replace("\0", " ").strip()
    return ""


def port_taken(port: int, server: str, where: Optional[str] = None) -> EsyncError:
    """The error for a port that another process holds, with that process if it can be known.

    :param where: how to call the place.
    """
    others = holders(port)
    remedy = "End that process, or choose another esync_port; if it is the service that synchronises, "
    setting = "nginx, or external" if any(other.command == "nginx" for other in others) else "external"
    return EsyncError(
        f"{where or f'port {port}'} is taken" + (f" by {others[0]}" if others else ""),
        f"{remedy}set esync_endpoint to {setting}",
        kind="port_taken",
        server=server,
    )


# -- proving --------------------------------------------------------------------------------------------------


def current_fingerprint(directory: str) -> str:
    """The fingerprint of the server certificate that an endpoint has to serve.

    :raises EsyncError: kinds ``no_certificate``, ``damaged_file``.
    """
    return tls.read_credential(directory, CURRENT, SERVER).fingerprint


def has_current(directory: str) -> bool:
    """Whether there are certificates yet: in check mode nobody has made them."""
    return os.path.isdir(os.path.join(directory, CURRENT))


def wait_until(ready: Callable[[], bool], seconds: float) -> bool:
    """Ask again and again until something is so; False if it was not within the time."""
    end = time.monotonic() + seconds
    while not ready():
        if time.monotonic() >= end:
            return False
        time.sleep(_POLL)
    return True


def spread(jitter: float) -> None:
    """Wait for a random time, so that not all servers of a mesh reload at the same moment.

    :param jitter: at most so many seconds.
    """
    time.sleep(random.uniform(0, jitter) if jitter > 0 else 0)


def shown(fingerprint: Optional[str]) -> str:
    """A served certificate in words."""
    return f"serves the certificate {fingerprint}" if fingerprint else "serves no certificate"


def note_loaded(base: Folder, text: str) -> None:
    """Remember what was proved to be in force; a run that is killed before that is made good by the next one."""
    base.write(layout.LOADED, text.encode("utf-8"), layout.PUBLIC_MODE)


def is_loaded(base: Folder, text: str) -> bool:
    """Whether exactly this was noted."""
    with contextlib.suppress(EsyncError):
        return base.read(layout.LOADED) == text.encode("utf-8")
    return False


# -- running --------------------------------------------------------------------------------------------------


def run_command(words: Sequence[str], seconds: float) -> Tuple[int, str, str]:
    """Run a command that may leave a service behind.

    :returns: exit status, output, and what it said on its error channel; the status is -1 if it did not end in time,
        127 if it could not be started.
    """
    # Files, not pipes: a service that the command starts keeps them open, and would keep us waiting for their end.
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as said:
        try:
            status = subprocess.run(
                list(words),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=said,
                timeout=seconds,
                check=False,
                start_new_session=True,
                env={**os.environ, "LC_ALL": "C"},
            ).returncode
        except subprocess.TimeoutExpired:
            status = -1
        except (OSError, ValueError):
            status = 127
        return status, _text(output), _text(said)


def _text(stream: Any) -> str:
    stream.seek(0)
    return str(stream.read(_LIMIT).decode("utf-8", "replace"))


def outcome_of(status: int, seconds: float) -> str:
    """How a command ended, in words."""
    if status == -1:
        return f"did not end within {seconds:g} seconds"
    return "cannot be started" if status == 127 else f"ended with {status}"


def last_words(said: str) -> str:
    """The last line of what a program said, cut to a length for messages; nothing if it looks like a key."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    return "" if "PRIVATE" in said or not lines else lines[-1][:_SAID]


# -- an endpoint of the user's own ----------------------------------------------------------------------------


@dataclass(frozen=True)
class ExternalSettings:
    """A service that the user installed and configured.

    :param command: what makes it take up new certificates. :param loaded: what to note once it has.
    :param jitter: at most so many seconds to wait before the command.
    :param timeout: seconds for the command, and for the proof.
    :param reload: run the command even if nothing differs.
    :param restart: run the commands that stop and start it instead, whatever it does now.
    :param sites: what is served in the place of the port, each with the command of its service.
    """

    name: str
    directory: str
    port: int
    command: Tuple[str, ...]
    address: Optional[str] = None
    loaded: str = ""
    jitter: float = 0
    timeout: float = 30
    reload: bool = False
    restart: bool = False
    stop_command: Tuple[str, ...] = ()
    start_command: Tuple[str, ...] = ()
    sites: Tuple[Tuple[Place, Tuple[str, ...]], ...] = ()


def reload_external(settings: ExternalSettings, check: bool = False) -> List[str]:
    """Let the user's service take up what changed, and prove that it serves the current certificate.

    :returns: why it was done; empty if it was not.
    :raises EsyncError: kinds ``reload_command_failed``, ``reload_refused``.
    """
    if check and not has_current(settings.directory):
        return ["not_loaded"]
    wanted = current_fingerprint(settings.directory)
    with Folder.open(settings.directory) as base, base.lock():
        reasons = ["reload_asked_for"] * settings.reload + ["restart_asked_for"] * settings.restart
        reasons += [] if is_loaded(base, settings.loaded) else ["not_loaded"]
        places = [place for place, _command in settings.sites] or [Place(settings.port)]
        if any(_served_at(settings, place) != wanted for place in places):
            reasons.append("another_certificate_served")
        if not reasons or check:
            return reasons
        for command in _commands(settings):
            spread(settings.jitter)
            _run_user_command(settings, command)
        for place in places:
            _prove_external(settings, place, wanted)
        note_loaded(base, settings.loaded)
    return reasons


def _served_at(settings: ExternalSettings, place: Place) -> Optional[str]:
    return served(place.port, settings.address, server_name=place.server_name)


def _commands(settings: ExternalSettings) -> List[Tuple[str, ...]]:
    """What is to be run, in its order; a command that several sites have in common once."""
    if settings.restart and settings.stop_command and settings.start_command:
        return [settings.stop_command, settings.start_command]
    own = [command or settings.command for _place, command in settings.sites]
    return list(filter(None, dict.fromkeys(own or [settings.command])))


def _prove_external(settings: ExternalSettings, place: Place, wanted: str) -> None:
    if not wait_until(lambda: _served_at(settings, place) == wanted, settings.timeout):
        raise EsyncError(
            f"{place} {shown(_served_at(settings, place))} "
            f"{settings.timeout:g} seconds after the reload, and should serve {wanted}",
            "Look into the service's log; let it use current/server.crt, current/server.key and "
            "trusted/clients.pem, and esync_reload_command (or reload of the site) make it read them anew",
            kind="reload_refused",
            server=settings.name,
        )


def _run_user_command(settings: ExternalSettings, command: Sequence[str]) -> None:
    status, _output, said = run_command(command, settings.timeout)
    if status != 0:
        words = last_words(said)
        raise EsyncError(
            f"the command {' '.join(command)} {outcome_of(status, settings.timeout)}"
            + (f" and said: {words}" if words else ""),
            "Correct esync_reload_command (esync_stop_command, esync_start_command, or reload of a site), or what it "
            "reports",
            kind="reload_command_failed",
            server=settings.name,
        )
