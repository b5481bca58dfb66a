# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Processes of this host, the ports that they listen on, and commands that are run here."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import subprocess
import tempfile
import time
from dataclasses import dataclass
from typing import AbstractSet, Any, Callable, Dict, FrozenSet, Iterator, List, Optional, Sequence, Set, Tuple

from ansible_collections.esync.mesh.plugins.module_utils._core.errors import EsyncError
from ansible_collections.esync.mesh.plugins.module_utils._core.names import ENDPOINTS

PROGRAM_FOLDERS = "/usr/sbin:/usr/local/sbin:/sbin"

_POLL = 0.05
_LIMIT = 16 << 20
_SAID = 600


# -- processes and ports --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class PortHolder:
    """A process that listens on a port, or has a connection open."""

    pid: int
    command: str

    def __str__(self) -> str:
        return f"{self.command} (process {self.pid})"


def holders(port: int) -> List[PortHolder]:
    """The processes that listen on a port, as far as /proc may be read (proc(5))."""
    found = [_process(pid) for pid in sorted({pid for pid, _socket in listeners(port)})]
    return [one for one in found if one]


def _process(pid: int) -> Optional[PortHolder]:
    """A process, without its arguments; None if it is gone."""
    with contextlib.suppress(OSError), open(f"/proc/{pid}/comm", encoding="utf-8", errors="replace") as stream:
        return PortHolder(pid, stream.read().strip())
    return None


def listeners(port: int) -> FrozenSet[Tuple[int, str]]:
    """The sockets that listen on a port, each with a process that has it open: the process, and the socket's name."""
    return _having_open(_sockets(port))


def openers(sockets: AbstractSet[str]) -> Dict[str, PortHolder]:
    """Which process has each of these sockets open, as far as /proc may be read. :param sockets: ``socket:[INODE]``."""
    found = {name: _process(pid) for pid, name in sorted(_having_open(sockets), reverse=True)}
    return {name: process for name, process in found.items() if process}


def _having_open(sockets: AbstractSet[str]) -> FrozenSet[Tuple[int, str]]:
    found: Set[Tuple[int, str]] = set()
    for pid in _processes() if sockets else []:
        with contextlib.suppress(OSError):
            found.update((pid, name) for name in sockets & set(open_files(pid)))
    return frozenset(found)


def is_listened_on(port: int) -> bool:
    """Whether anybody listens on a port, even if it cannot be known who."""
    return bool(_sockets(port))


def hides_files(pid: int) -> bool:
    """Whether it cannot be seen what a process has open: one of another user, where root may not trace (ptrace(2))."""
    try:
        # The names of open files may be listed; where they lead, as this link, may not be seen.
        os.readlink(f"/proc/{pid}/exe")
    except PermissionError:
        return True
    except OSError:
        return False
    return False


def _sockets(port: int) -> Set[str]:
    listening = (fields for _table, fields in tcp_sockets() if fields[3] == "0A")
    return {f"socket:[{fields[9]}]" for fields in listening if int(fields[1].rpartition(":")[2], 16) == port}


def tcp_sockets() -> Iterator[Tuple[str, List[str]]]:
    """The TCP sockets of this host: the name of the table that has each, ``tcp`` or ``tcp6``, and its fields there."""
    for table in ("tcp", "tcp6"):
        with contextlib.suppress(OSError), open(f"/proc/net/{table}", encoding="ascii") as stream:
            for line in stream.readlines()[1:]:
                yield table, line.split()


def open_files(pid: int) -> List[str]:
    """What a process has open, sockets as ``socket:[INODE]``.

    :raises OSError: it is gone, or another user's.
    """
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
    drivers = [other.command for other in others if other.command in ENDPOINTS]
    setting = f"{drivers[0]}, or external" if drivers else "external"
    return EsyncError(
        f"{where or f'port {port}'} is taken" + (f" by {others[0]}" if others else ""),
        f"{remedy}set esync_endpoint to {setting}",
        kind="port_taken",
        server=server,
    )


# -- waiting --------------------------------------------------------------------------------------------------


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


# -- running --------------------------------------------------------------------------------------------------


def find_program(name: str) -> Optional[str]:
    """The path of a program, which is not always on the path of those who are not root; None if it is not installed."""
    return shutil.which(name, path=f"{os.environ.get('PATH', '')}:{PROGRAM_FOLDERS}")


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
