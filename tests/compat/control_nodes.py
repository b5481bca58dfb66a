# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Every control node: each ansible-core on each Python that it supports, as far as there are interpreters.

The built collection is installed from its file, and a mesh of local members lives its whole life. Anything that Ansible
warns of fails the cell. One line a cell; `make matrix-control` runs all, the part `control` of the tests two of them.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "integration"))
from cells import interpreters  # noqa: E402
from local_mesh import Mesh, Result  # noqa: E402 - found by the path above
from test_control_node import CALLBACK  # noqa: E402

CORES = {
    "2.14": ("3.9", "3.10", "3.11"),
    "2.15": ("3.9", "3.10", "3.11"),
    "2.16": ("3.10", "3.11", "3.12"),
    "2.17": ("3.10", "3.11", "3.12"),
    "2.18": ("3.11", "3.12", "3.13"),
    "2.19": ("3.11", "3.12", "3.13"),
    "2.20": ("3.12", "3.13", "3.14"),
    "2.21": ("3.12", "3.13", "3.14"),
    "2.22": ("3.13", "3.14"),
}
"""The Pythons of the control node that each ansible-core supports, oldest first (its support matrix)."""

REACH_3_8 = ("2.14", "2.15", "2.16", "2.17", "2.18", "2.19")
"""Those whose modules run on the oldest Python that hosts may have."""

CACHE = ROOT / ".cache" / "control"
_WARNED = re.compile(r"^.*(?:\[(?:DEPRECATION )?WARNING\]|\[ERROR\]|esync/mesh/.*Warning: ).*", re.M)
# What Ansible says of a collection inside of itself, and of every playbook that is called by its collection's name.
_NOT_OURS = re.compile("ansible/_protomatter|running playbook inside collection ")

# A play as users write it: Ansible validates the role's arguments, and an action group sets the options of modules.
PLAY = """
- hosts: esync
  gather_facts: false
  module_defaults:
    group/esync.mesh.mesh:
      name: "{{ inventory_hostname }}"
      directory: "{{ esync_directory }}"
  tasks:
    - ansible.builtin.include_role:
        name: esync.mesh.esync
    - esync.mesh.certificate_info:
"""


class Failed(Exception):
    """A cell is red; the text says why."""


@dataclass(frozen=True)
class Cell:
    """An ansible-core on a Python.

    :param interpreter: the path of that Python.
    """

    core: str
    python: str
    interpreter: Path

    @property
    def folder(self) -> Path:
        return CACHE / f"{self.core}-{self.python}"

    def command(self, name: str) -> str:
        return str(self.folder / "bin" / name)

    def install(self) -> str:
        """Make the virtual environment, unless it is there; returns the full version of ansible-core."""
        if not (self.folder / "installed").exists():
            shutil.rmtree(self.folder, ignore_errors=True)
            execute([str(self.interpreter), "-m", "venv", str(self.folder)])
            pip = [self.command("python"), "-m", "pip", "install", "--quiet", "--retries", "10"]
            try:
                execute([*pip, f"ansible-core~={self.core}.0"])
            except Failed:
                # Not released yet: the newest that comes before it.
                execute([*pip, f"ansible-core~={self.core}.0b1"])
            (self.folder / "installed").touch()
        return execute([self.command("python"), "-c", "from ansible.release import __version__ as v; print(v)"]).strip()


class Node(Mesh):
    """Members on this machine, run by one control node with the collection that its users install."""

    cell: Cell
    collections: Path

    def command(self, playbook: str, *arguments: str) -> list[str]:
        own = self.root / f"{playbook}.yml"
        name = str(own) if own.exists() else f"esync.mesh.{playbook}"
        return [self.cell.command("ansible-playbook"), name, "-i", str(self.root / "hosts.json"), *arguments]

    def environment(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("ANSIBLE_", "PYTHON"))}
        return {
            **kept,
            "HOME": str(self.root),
            "ANSIBLE_COLLECTIONS_PATH": str(self.collections),
            "ANSIBLE_NOCOLOR": "1",
            "ANSIBLE_FORCE_COLOR": "0",
            "COLUMNS": "400",
            # What Python itself warns of, of which only our own files count.
            "PYTHONWARNINGS": "default",
            "PATH": f"{self.cell.folder / 'bin'}:{os.environ['PATH']}",
        }

    def play(self, playbook: str, *arguments: str) -> Result:
        """Run a playbook, which has to succeed without a warning."""
        result = self.run(playbook, *arguments)
        told = " ".join([playbook, *arguments])
        if result.code:
            raise Failed(f"{told} ended with {result.code}:\n{result.output}")
        refuse_warnings(told, result.output)
        return result

    def proved(self, servers: int) -> None:
        """Every pair of the last run holds."""
        pairs = servers * (servers - 1)
        expected = {"servers": servers, "expected": pairs, "ok": pairs, "failed": 0, "untested": 0}
        expect("the report's summary", self.report()["summary"], expected)


def refuse_warnings(told: str, output: str) -> None:
    warned = [match.group() for match in _WARNED.finditer(output) if not _NOT_OURS.search(match.group())]
    if warned:
        raise Failed(f"{told} warned:\n" + "\n".join(warned))


def expect(what: str, found: Any, expected: Any) -> None:
    if found != expected:
        raise Failed(f"{what}: expected {expected}, found {found}")


def execute(command: Sequence[str], environment: dict[str, str] | None = None, folder: Path = ROOT) -> str:
    done = subprocess.run(
        command,
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=600,
        check=False,
    )
    if done.returncode:
        raise Failed(f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout}")
    return done.stdout


# -- the life of a mesh -----------------------------------------------------------------------------------------------


def documents(node: Node) -> None:
    """What users read by ansible-doc."""
    doc = node.cell.command("ansible-doc")
    found = (node.collections / "ansible_collections" / "esync" / "mesh" / "plugins" / "modules").glob("*.py")
    modules = sorted(f"esync.mesh.{path.stem}" for path in found)
    expect("whether there are modules", bool(modules), True)
    for kind, names in (("module", modules), ("role", ["esync.mesh.esync"])):
        refuse_warnings("ansible-doc", execute([doc, "-t", kind, *names], node.environment(), node.root))


def establish(node: Node) -> None:
    node.play("establish", "--check", "--diff")
    node.play("establish")
    node.proved(3)


def establish_again(node: Node) -> None:
    before = node.snapshot()
    for playbook in ("establish", "play"):
        changed = node.play(playbook).changed
        expect(f"what {playbook} changed", {host: count for host, count in changed.items() if count}, {})
        expect("whether files changed", node.snapshot() == before, True)
        node.proved(3)


def verify(node: Node) -> None:
    """Under a callback that writes JSON, which has standard output for itself."""
    callbacks = node.root / "callback_plugins"
    callbacks.mkdir()
    (callbacks / "json.py").write_text(CALLBACK)
    environment = {"ANSIBLE_STDOUT_CALLBACK": "json", "ANSIBLE_CALLBACK_PLUGINS": str(callbacks)}
    done = subprocess.run(
        node.command("verify"),
        cwd=node.root,
        env={**node.environment(), **environment},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    try:
        hosts = json.loads(done.stdout)
    except ValueError:
        raise Failed(f"no JSON:\n{done.stdout}{done.stderr}") from None
    expect("hosts in the JSON", hosts, ["a", "b", "c", "localhost"])
    refuse_warnings("the callback json", done.stderr)
    node.proved(3)


def check(node: Node) -> None:
    node.play("check")


def regenerate(node: Node) -> None:
    before = {name: (node.current(name) / f"{name}_SyncServer.cer").read_bytes() for name in node.names}
    node.play("regenerate")
    node.proved(3)
    after = {name: (node.current(name) / f"{name}_SyncServer.cer").read_bytes() for name in node.names}
    expect("servers that kept their certificate", [name for name in node.names if before[name] == after[name]], [])


def remove(node: Node) -> None:
    node.play("remove", "-e", "esync_remove=c")
    node.names.remove("c")
    node.write()
    node.play("verify")
    node.proved(2)


def refuse_an_old_host(node: Node) -> None:
    """Where Python 3.8 is, an ansible-core that no longer reaches it says so, and what to do."""
    old = interpreters().get("3.8")
    if old is None or node.cell.core in REACH_3_8:
        return
    node.host_settings["a"] = {"ansible_python_interpreter": str(old)}
    node.write()
    result = node.run("verify")
    expect("whether it failed", result.code != 0, True)
    said = re.search(r"its Python is 3\.8\.\d+, and ansible-core \S+ on the control node needs 3\.\d+", result.prose)
    expect("whether it says why", bool(said) and "Set ansible_python_interpreter" in result.prose, True)


LIFE: Sequence[Callable[[Node], None]] = (
    documents,
    establish,
    establish_again,
    verify,
    check,
    regenerate,
    remove,
    refuse_an_old_host,
)


def live(cell: Cell, tarball: Path, work: Path) -> None:
    """Let a mesh live its life under one control node.

    :raises Failed: why the cell is red.
    """
    # Fewer seconds than a connection that was made with a retired certificate may go on by default.
    settings = {"ansible_python_interpreter": cell.command("python"), "esync_drain_seconds": 1}
    node = Node(work, ["a", "b", "c"], settings)
    node.cell, node.collections = cell, work / "collections"
    (work / "play.yml").write_text(PLAY)
    galaxy = [cell.command("ansible-galaxy"), "collection", "install", str(tarball), "--offline"]
    said = execute([*galaxy, "-p", str(node.collections)], node.environment(), work)
    refuse_warnings("ansible-galaxy", said)
    for part in LIFE:
        try:
            part(node)
        except Failed as failure:
            raise Failed(f"{part.__name__}: {failure}") from None


# -- the cells --------------------------------------------------------------------------------------------------------


def cells() -> list[Cell]:
    here = interpreters()
    pairs = [(core, python) for core, pythons in CORES.items() for python in pythons if python in here]
    return [Cell(core, python, here[python]) for core, python in pairs]


def run(cell: Cell, tarball: Path) -> bool:
    """Run a cell and print its line."""
    started = time.monotonic()
    version, why = cell.core, ""
    with tempfile.TemporaryDirectory(prefix="control-") as work:
        try:
            version = cell.install()
            live(cell, tarball, Path(work))
        except Failed as failure:
            why = str(failure)
    seconds = time.monotonic() - started
    print(
        f"{'FAILED' if why else 'ok    '} ansible-core {version:<10} Python {cell.python:<5} {seconds:4.0f} s",
        flush=True,
    )
    if why:
        print(why, flush=True)
    return not why


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sample", action="store_true", help="only the oldest and the newest")
    parser.add_argument("--core", action="append", choices=list(CORES), help="only this ansible-core (can be repeated)")
    parser.add_argument("--python", action="append", help="only this Python, such as 3.11 (can be repeated)")
    arguments = parser.parse_args()
    chosen = [
        cell
        for cell in cells()
        if cell.core in (arguments.core or CORES) and cell.python in (arguments.python or (cell.python,))
    ]
    if arguments.sample:
        chosen = [chosen[0], chosen[-1]] if len(chosen) > 1 else []
    with tempfile.TemporaryDirectory(prefix="tarball-") as folder:
        galaxy = str(Path(sys.executable).with_name("ansible-galaxy"))
        execute([galaxy, "collection", "build", str(ROOT), "--output-path", folder])
        (tarball,) = Path(folder).glob("esync-mesh-*.tar.gz")
        green = sum([run(cell, tarball) for cell in chosen])
    print(f"control nodes: {green} of {len(chosen)} cells passed")
    return 0 if chosen and green == len(chosen) else 1


if __name__ == "__main__":
    sys.exit(main())
