# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Real servers as an administrator attaches them (docs/services.md): one process for each member of a mesh."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, ClassVar


def run(*command: str, user: str = "", **more: Any) -> subprocess.CompletedProcess[str]:
    """Run a command to its end. :param user: who it is run as."""
    words = ["setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups", *command] if user else list(command)
    return subprocess.run(words, capture_output=True, text=True, timeout=60, check=False, **more)


class Product(ABC):
    """One service of one member.

    :cvar name: of the service. :cvar owner: the user that it runs as.
    :param root: a folder for it. :param files: the copies that the mesh gives to it. :param port: where it listens.
    """

    name: ClassVar[str]
    protocol: ClassVar[str]
    owner: ClassVar[str]

    def __init__(self, root: Path, files: Path, port: int) -> None:
        self.root, self.files, self.port = root, files, port
        self.root.mkdir(parents=True)
        shutil.chown(self.root, self.owner, self.owner)

    @property
    def setting(self) -> dict[str, Any]:
        """The service as esync_services has it."""
        return {
            "name": self.name,
            "port": self.port,
            "protocol": self.protocol,
            "owner": self.owner,
            "reload": ["sh", str(self.command())],
        }

    @abstractmethod
    def command(self) -> Path:
        """Write a script that starts the service, or makes it read its files again if it runs."""

    @abstractmethod
    def stop(self) -> None:
        """End it."""

    @abstractmethod
    def asks(self, port: int, caller: Path, trust: Path, user: str) -> list[str]:
        """The command by which its own client makes one request of the service on another member.

        :param caller: the folder of the set that is presented. :param trust: that of the caller's trust.
        """


class Postgresql(Product):
    """PostgreSQL reads its certificate and its trust again at a reload."""

    name, protocol, owner = "postgresql", "postgresql", "postgres"
    binaries = sorted(Path("/usr/lib/postgresql").glob("*/bin"))[-1]

    def command(self) -> Path:
        data, script = self.root / "data", self.root / "reload"
        made = run(str(self.binaries / "initdb"), "-A", "trust", "-D", str(data), user=self.owner)
        assert made.returncode == 0, made.stderr
        with (data / "postgresql.conf").open("a") as stream:
            stream.write(
                f"port = {self.port}\nlisten_addresses = '127.0.0.1,127.0.0.3'\n"
                f"unix_socket_directories = '{self.root}'\n"
                f"ssl = on\nssl_cert_file = '{self.files}/server.crt'\nssl_key_file = '{self.files}/server.key'\n"
                f"ssl_ca_file = '{self.files}/clients.pem'\nfsync = off\n"
            )
        (data / "pg_hba.conf").write_text(
            "local all all trust\nhostssl all all 127.0.0.0/8 cert\nhostssl replication all 127.0.0.0/8 cert\n"
        )
        control = f"{self.binaries}/pg_ctl -D {data} -s -w -l {self.root}/log"
        script.write_text(
            f"as_user='setpriv --reuid={self.owner} --regid={self.owner} --clear-groups'\n"
            f"$as_user {control} status && exec $as_user {control} reload\n"
            f"exec $as_user {control} start\n"
        )
        return script

    def user(self, name: str) -> None:
        """Create the role of another member."""
        done = run("psql", "-h", str(self.root), "-p", str(self.port), "-d", "postgres", "-c",
                   f'create role "{name}" login replication', user=self.owner)  # fmt: skip
        assert done.returncode == 0, done.stderr

    def stop(self) -> None:
        run(str(self.binaries / "pg_ctl"), "-D", str(self.root / "data"), "-m", "immediate", "stop", user=self.owner)

    def address(self, port: int, caller: Path, trust: Path, user: str) -> str:
        """Where and how a client connects, as libpq takes it."""
        return (
            f"host=127.0.0.1 port={port} dbname=postgres user={user} sslmode=verify-ca sslrootcert={trust}/servers.pem "
            f"sslcert={caller}/client.crt sslkey={caller}/client.key connect_timeout=10"
        )

    def asks(self, port: int, caller: Path, trust: Path, user: str) -> list[str]:
        return ["psql", self.address(port, caller, trust, user), "-Atc", "select 42"]


class Redis(Product):
    """Redis reads its certificate and its trust again when one of its settings is set, also to what it was."""

    name, protocol, owner = "redis", "tls", "redis"

    def command(self) -> Path:
        script, configuration = self.root / "reload", self.root / "redis.conf"
        files = {"cert": "server.crt", "key": "server.key", "ca-cert": "clients.pem"}
        settings = [f"tls-{name}-file {self.files}/{file}" for name, file in files.items()]
        configuration.write_text(
            "\n".join(
                [
                    f"port 0\ntls-port {self.port}\nbind 127.0.0.1 127.0.0.3",
                    "tls-auth-clients yes\ntls-session-caching no\nprotected-mode no",
                    f"unixsocket {self.root}/socket\ndir {self.root}\nsave ''\ndaemonize yes\nlogfile {self.root}/log",
                    f"pidfile {self.root}/pid",
                    *settings,
                    "",
                ]
            )
        )
        script.write_text(
            f"redis-cli -s {self.root}/socket ping 2>/dev/null && \\\n"
            f"  exec redis-cli -e -s {self.root}/socket config set {' '.join(settings)}\n"
            f"exec setpriv --reuid={self.owner} --regid={self.owner} --clear-groups redis-server {configuration}\n"
        )
        return script

    def stop(self) -> None:
        pid = self.root / "pid"
        if pid.exists():
            os.kill(int(pid.read_text()), signal.SIGKILL)

    def asks(self, port: int, caller: Path, trust: Path, user: str) -> list[str]:
        return ["redis-cli", "-p", str(port), "--tls", "--cert", f"{caller}/client.crt", "--key",
                f"{caller}/client.key", "--cacert", f"{trust}/servers.pem", "echo", "42"]  # fmt: skip


PRODUCTS = (Postgresql, Redis)
