# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A mesh of members on this machine, and ansible-playbook run on it as a user would; other tests use it, too."""

from __future__ import annotations

import contextlib
import json
import os
import random
import re
import socket
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(1, str(ROOT / "molecule" / "shared"))
ANSIBLE = Path(sys.executable).with_name("ansible-playbook")
_RECAP = re.compile(r"^(?P<host>\S+)\s+: ok=\d+\s+changed=(?P<changed>\d+)\s+unreachable=(?P<unreachable>\d+)\s", re.M)


@dataclass
class Result:
    """One run of a playbook.

    :param code: the exit code.
    :param output: both streams together.
    """

    code: int
    output: str

    @property
    def changed(self) -> dict[str, int]:
        """How many tasks changed something, by host."""
        found = {match["host"]: int(match["changed"]) for match in _RECAP.finditer(self.output)}
        assert found, f"no recap in:\n{self.output}"
        return found

    @property
    def prose(self) -> str:
        """The output with its line breaks and escapes folded, to look for a sentence in it."""
        return re.sub(r"(\\n|\s|\\)+", " ", self.output)


@dataclass
class Mesh:
    """Members on this machine: own folders, own ports, no root, no ssh.

    :param inventory: the one to run with, if it is not the file that is written here.
    """

    root: Path
    names: list[str]
    settings: dict[str, Any] = field(default_factory=dict)
    host_settings: dict[str, dict[str, Any]] = field(default_factory=dict)
    ports: dict[str, int] = field(default_factory=dict)
    inventory: str = ""

    def __post_init__(self) -> None:
        self.write()

    def write(self) -> None:
        """Write the inventory as it is now."""
        new = [name for name in self.names if name not in self.ports]
        self.ports.update(zip(new, free_ports(len(new))))
        hosts = {}
        for name in self.names:
            hosts[name] = {"esync_port": self.ports[name], **self.host_settings.get(name, {})}
        variables = {
            "ansible_connection": "local",
            "ansible_python_interpreter": sys.executable,
            "esync_address": "127.0.0.1",
            "esync_listen_address": "127.0.0.1",
            "esync_directory": str(self.root / "hosts") + "/{{ inventory_hostname }}",
            "esync_ledger": str(self.ledger),
            "esync_report_directory": str(self.root / "report"),
            "esync_install_dependencies": False,
            "esync_key_type": "ecdsa",
            "esync_formats": ["cer", "pfx"],
            **self.settings,
        }
        (self.root / "hosts").mkdir(exist_ok=True)
        (self.root / "hosts.json").write_text(json.dumps({"esync": {"vars": variables, "hosts": hosts}}))

    @property
    def ledger(self) -> Path:
        return self.root / "ledger"

    def host(self, name: str) -> Path:
        return self.root / "hosts" / name

    def current(self, name: str) -> Path:
        return self.host(name) / "current"

    def trust(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.host(name) / "trusted" / "trust.json").read_text())
        return found

    def trusted(self, name: str) -> set[str]:
        """The peers that a member trusts."""
        return {entry["peer"] for entry in self.trust(name)["entries"]}

    def report(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.root / "report" / "mesh.json").read_text())
        return found

    def command(self, playbook: str, *arguments: str) -> list[str]:
        return [
            str(ANSIBLE),
            str(ROOT / "playbooks" / f"{playbook}.yml"),  # an absolute path stays as it is
            "-i",
            self.inventory or str(self.root / "hosts.json"),
            *arguments,
        ]

    def environment(self) -> dict[str, str]:
        return {
            **os.environ,
            "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
            "ANSIBLE_LOCAL_TEMP": str(self.root / "tmp"),
            "ANSIBLE_REMOTE_TEMP": str(self.root / "remote-tmp"),
            "ANSIBLE_NOCOLOR": "1",
            "ANSIBLE_FORKS": "10",
            "ANSIBLE_TRANSPORT": "smart",
        }

    def run(self, playbook: str, *arguments: str, prefix: Sequence[str] = ()) -> Result:
        """Run a playbook to its end.

        :param prefix: a command to run it under.
        """
        done = subprocess.run(
            [*prefix, *self.command(playbook, *arguments)],
            cwd=self.root,
            env=self.environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=600,
            check=False,
        )
        return Result(done.returncode, done.stdout)

    def succeed(self, playbook: str, *arguments: str, prefix: Sequence[str] = ()) -> Result:
        result = self.run(playbook, *arguments, prefix=prefix)
        assert result.code == 0, result.output
        return result

    def fail(self, playbook: str, *arguments: str, prefix: Sequence[str] = ()) -> Result:
        result = self.run(playbook, *arguments, prefix=prefix)
        assert result.code != 0, result.output
        assert "Traceback" not in result.output, result.output
        return result

    def start(self, playbook: str, *arguments: str) -> subprocess.Popen[str]:
        """Start a playbook in a process group of its own, to be killed."""
        return subprocess.Popen(
            self.command(playbook, *arguments),
            cwd=self.root,
            env=self.environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def snapshot(self, *skip: str) -> dict[str, tuple[int, int, bytes | str]]:
        """Everything on the hosts and in the ledger: mode, inode and content by path."""
        found: dict[str, tuple[int, int, bytes | str]] = {}
        for top in (self.root / "hosts", self.ledger):
            for path in sorted(top.rglob("*")):
                if path.name in skip:
                    continue
                status = path.lstat()
                content: bytes | str = b""
                if path.is_symlink():
                    content = os.readlink(path)
                elif path.is_file():
                    content = path.read_bytes()
                found[str(path.relative_to(self.root))] = (status.st_mode, status.st_ino, content)
        return found


def free_ports(count: int) -> list[int]:
    """Ports that nobody uses now, below those that the kernel gives to outgoing connections (ip(7))."""
    found: list[int] = []
    candidates = iter(random.sample(range(20000, 32000), 2000))
    with contextlib.ExitStack() as stack:
        while len(found) < count:
            one = stack.enter_context(socket.socket())
            port = next(candidates)
            with contextlib.suppress(OSError):
                one.bind(("127.0.0.1", port))
                found.append(port)
    return found
