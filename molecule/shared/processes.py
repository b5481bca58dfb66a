# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A running playbook, killed with everything it started."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from pathlib import Path


def kill(process: subprocess.Popen[str]) -> None:
    """SIGKILL to the control process and everything below it; return when all of them are gone.

    A process group is not enough: Ansible's workers are in sessions of their own.
    """
    found = [process.pid]
    for pid in found:  # grows on the way; what is stopped starts nothing more
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGSTOP)
        found += children(pid)
    for pid in found:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    process.communicate()
    end = time.monotonic() + 60
    while any(running(pid) for pid in found):
        assert time.monotonic() < end, "what was killed does not go away"
        time.sleep(0.01)


def children(parent: int) -> list[int]:
    """The processes that a process has started, and that have not let go of it."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            if int(_fields(path)[1]) == parent:
                found.append(int(path.parent.name))
    return found


def running(pid: int) -> bool:
    """Whether there is such a process, and more of it than an entry that nobody has fetched yet."""
    try:
        return _fields(Path(f"/proc/{pid}/stat"))[0] not in ("Z", "X")
    except OSError:
        return False


def _fields(path: Path) -> list[str]:
    """State, parent and so on: what follows the name, which stands in brackets and may hold anything (proc(5))."""
    return path.read_text(errors="replace").rpartition(")")[2].split()
