# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Members that can be killed: the mesh of the integration tests with a Python of ours, and hosts whose power is cut."""

from __future__ import annotations

import fcntl
import os
import signal
import struct
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path[1:1] = [
    str(ROOT / "tests" / "integration"),
    str(ROOT / "molecule" / "shared"),
    str(ROOT / "playbooks" / "collections"),
]

from local_mesh import Mesh  # noqa: E402 - found by the path above
from processes import children  # noqa: E402 - likewise

PORTS = {"a": 20001, "b": 20002, "c": 20003, "x": 20004, "y": 20005}
# _IOR('X', 125, __u32) of the kernel's fs/ext4/ext4.h, and its flag "do not write the journal": what xfstests uses.
_SHUTDOWN = 2 << 30 | 4 << 16 | ord("X") << 8 | 125
_NO_LOG_FLUSH = 2


class ChaosMesh(Mesh):
    """A mesh in a network of its own, therefore always on the same ports, and always in the same folder."""

    def __post_init__(self) -> None:
        self.ports.update(PORTS)
        self.settings.setdefault("esync_directory", str(self.root / "hosts") + "/{{ inventory_hostname }}/esync")
        self.settings["ansible_python_interpreter"] = (
            str(self.root / "chaos" / "bin") + "/{{ inventory_hostname }}/python"
        )
        (self.root / "chaos" / "trace").mkdir(parents=True, exist_ok=True)
        (self.root / "tmpdir").mkdir(exist_ok=True)
        (self.root / "hosts").mkdir(exist_ok=True)
        for name in self.names:
            link = self.root / "chaos" / "bin" / name / "python"
            link.parent.mkdir(parents=True, exist_ok=True)
            if not link.is_symlink():
                link.symlink_to(HERE / "interpreter.sh")
            (self.root / "hosts" / name).mkdir(exist_ok=True)
        super().__post_init__()

    def host(self, name: str) -> Path:
        return self.root / "hosts" / name / "esync"

    def environment(self) -> dict[str, str]:
        return {
            **super().environment(),
            "ANSIBLE_CALLBACK_PLUGINS": str(HERE / "callback_plugins"),
            "CHAOS_ROOT": str(self.root),
            "CHAOS_PYTHON": sys.executable,
            "TMPDIR": str(self.root / "tmpdir"),
        }

    def note(self, name: str) -> Path:
        """A file by which harness, callback and interpreter know of each other."""
        return self.root / "chaos" / name


class Power:
    """One member as a host: its processes in a namespace, its files on a file system of its own.

    What was not synced when its power is cut is lost, as after a real power cut: the file system is shut down without
    its journal being written, and mounted again.
    """

    def __init__(self, mesh: ChaosMesh, name: str) -> None:
        self.mesh, self.name = mesh, name
        self.folder = mesh.root / "hosts" / name
        self.image = mesh.root / f"{name}.img"
        saved = mesh.root / f"{name}.saved"
        self.folder.rename(saved)
        self.folder.mkdir()
        with self.image.open("wb") as stream:
            stream.truncate(24 << 20)
        run("mkfs.ext4", "-q", "-F", str(self.image))
        self._mount()
        run("cp", "-a", f"{saved}/.", str(self.folder))
        run("rm", "-rf", str(saved))
        run("sync", "-f", str(self.folder))
        self.on()

    def on(self) -> None:
        """Switch it on."""
        self.process = subprocess.Popen(
            # What is unmounted here, such as the disk of another host, is unmounted there too.
            [
                "unshare",
                "--pid",
                "--fork",
                "--kill-child",
                "--propagation",
                "slave",
                "--mount-proc",
                "sleep",
                "infinity",
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
        )
        wait_for(lambda: bool(children(self.process.pid)), "a host does not start")
        (self.init,) = children(self.process.pid)
        wait_for(lambda: Path(f"/proc/{self.init}/comm").read_text() == "sleep\n", "a host does not start")
        self.mesh.note(f"init.{self.name}").write_text(str(self.init))
        self.mesh.note(f"down.{self.name}").unlink(missing_ok=True)

    def cut(self) -> None:
        """Everything ends at once, and what was not synced is lost."""
        self.mesh.note(f"down.{self.name}").touch()
        os.kill(self.init, signal.SIGKILL)
        self.process.wait()
        descriptor = os.open(self.folder, os.O_RDONLY)
        fcntl.ioctl(descriptor, _SHUTDOWN, struct.pack("I", _NO_LOG_FLUSH))
        os.close(descriptor)
        run("umount", str(self.folder))
        wait_for(lambda: not run("losetup", "-j", str(self.image)), "a file system is still in use")

    def boot(self) -> None:
        """Mount what is left, and switch it on."""
        self._mount()
        self.on()

    def _mount(self) -> None:
        run("mount", "-o", "loop", str(self.image), str(self.folder))


def run(*words: str) -> str:
    """Run a command that has to succeed; returns what it printed."""
    return subprocess.run(words, check=True, capture_output=True, text=True).stdout


def wait_for(ready, what: str, seconds: float = 60) -> None:  # type: ignore[no-untyped-def]
    end = time.monotonic() + seconds
    while not ready():
        if time.monotonic() > end:
            raise TimeoutError(what)
        time.sleep(0.005)
