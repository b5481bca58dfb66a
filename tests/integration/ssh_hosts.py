# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Members that are reached by ssh: a daemon for each on this machine, which can be frozen and thawed."""

from __future__ import annotations

import contextlib
import getpass
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any


def descendants(pid: int) -> list[int]:
    """A process and everything that it started, as far as that still belongs to it."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                parent = int((entry / "stat").read_text(errors="replace").rpartition(")")[2].split()[1])
                children.setdefault(parent, []).append(int(entry.name))
    found = [pid]
    for one in found:
        found += children.get(one, [])
    return found


class SshHost:
    """A host of its own as far as ssh is concerned: a daemon on 127.0.0.1."""

    def __init__(self, folder: Path, port: int, user: str = "", prefix: Sequence[str] = ()) -> None:
        """Start it.

        :param user: who logs in; by default who runs the tests. :param prefix: a command to run it under.
        """
        self.folder, self.port, self.user = folder, port, user or getpass.getuser()
        folder.mkdir(parents=True)
        for name in ("host", "user"):
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)], check=True)
        (folder / "sshd_config").write_text(
            f"ListenAddress 127.0.0.1:{port}\nHostKey {folder}/host\nAuthorizedKeysFile {folder}/user.pub\n"
            f"PidFile none\nUsePAM no\nStrictModes no\nMaxStartups 100\nSubsystem sftp internal-sftp\n"
        )
        if os.geteuid() == 0:
            Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
        self.daemon = subprocess.Popen(
            [*prefix, "/usr/sbin/sshd", "-D", "-e", "-f", str(folder / "sshd_config")],
            stderr=(folder / "log").open("wb"),
            start_new_session=True,
        )
        end = time.monotonic() + 20
        while socket.socket().connect_ex(("127.0.0.1", port)):
            assert time.monotonic() < end and self.daemon.poll() is None, (folder / "log").read_text()
            time.sleep(0.05)

    @property
    def variables(self) -> dict[str, Any]:
        """How Ansible reaches it; a kept connection of its own for each, with a short path (unix(7): 108 bytes)."""
        return {
            "ansible_connection": "ssh",
            "ansible_host": "127.0.0.1",
            "ansible_port": self.port,
            "ansible_user": self.user,
            "ansible_ssh_private_key_file": str(self.folder / "user"),
            "ansible_ssh_common_args": "-o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null",
        }

    @property
    def freezer(self) -> str:
        """A command that freezes it from within a session, which is frozen too as far as others can see."""
        return f"kill -STOP {self.daemon.pid} $(pgrep -P {self.daemon.pid})"

    def sessions(self) -> list[int]:
        """The connections that are open."""
        return descendants(self.daemon.pid)[1:]

    def signal(self, number: int) -> None:
        for pid in descendants(self.daemon.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    def freeze(self) -> None:
        """From now on it accepts connections, as its kernel does, and says nothing."""
        self.signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self.signal(signal.SIGCONT)

    def end(self) -> None:
        self.signal(signal.SIGKILL)
        self.daemon.wait()


def clients_of(hosts: Iterable[SshHost]) -> list[str]:
    """The programs of this machine that are connected to these hosts, or try to be; no kept connections."""
    found = []
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if entry.name.isdigit() and (words := (entry / "cmdline").read_text().split("\0"))[0].endswith("ssh"):
                found += [" ".join(words) for one in hosts if f"Port={one.port}" in words]
    return found
