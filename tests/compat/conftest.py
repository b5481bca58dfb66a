# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One mesh whose servers each run on another Python; five kinds of them, or all with ``--all-cells``."""

from __future__ import annotations

import json
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from cells import Cell, Host, chosen, make

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path.insert(1, str(ROOT / "tests" / "integration"))
from local_mesh import Mesh  # noqa: E402 - found by the path above


class MeshOfHosts(Mesh):
    """Members on this machine, each with a Python of its own."""

    def environment(self) -> dict[str, str]:
        return {
            **super().environment(),
            "ANSIBLE_CALLBACK_PLUGINS": str(HERE / "callback_plugins"),
            "COMPAT_SECONDS": str(self.root.parent / "seconds.json"),
        }


def mesh_of(root: Path, pythons: dict[str, str], **settings: Any) -> Any:
    """A mesh. :param pythons: the interpreter of each server."""
    root.mkdir()
    settings = {
        "esync_key_type": "rsa",
        "esync_key_size": 2048,
        "esync_formats": ["cer", "pfx", "pvk"],
        "esync_visit_timeout": 600,
        **settings,
    }
    own = {name: {"ansible_python_interpreter": python} for name, python in pythons.items()}
    return MeshOfHosts(root, list(pythons), settings, own)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--all-cells", action="store_true", help="every kind of host that this machine has the Python for")


@pytest.fixture(scope="session")
def cells(request: pytest.FixtureRequest) -> list[Cell]:
    """The kinds of hosts to try; fewer than five are a failure."""
    return chosen(request.config.getoption("--all-cells"))


@pytest.fixture(scope="session")
def hosts(cells: list[Cell], request: pytest.FixtureRequest) -> dict[str, Host]:
    """Their interpreters, by the name of the server that runs on each."""
    with ThreadPoolExecutor(2) as pool:
        made = {host.cell.name: host for host in pool.map(make, cells)}
    request.config.stash[HOSTS] = made
    return made


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Path:
    """Where the meshes are."""
    found = tmp_path_factory.mktemp("compat")
    request.config.stash[SECONDS] = found / "seconds.json"
    return found


@pytest.fixture(scope="session")
def mesh(hosts: dict[str, Host], folder: Path) -> Any:
    """The mesh, established by the first test and removed from by the last."""
    return mesh_of(folder / "here", {name: str(host.python) for name, host in hosts.items()})


HOSTS: pytest.StashKey[dict[str, Host]] = pytest.StashKey()
SECONDS: pytest.StashKey[Path] = pytest.StashKey()
SEEN: pytest.StashKey[dict[str, str]] = pytest.StashKey()


@pytest.fixture(scope="session")
def seen(request: pytest.FixtureRequest) -> dict[str, str]:
    """What is told of each server in the end."""
    found: dict[str, str] = request.config.stash.setdefault(SEEN, {})
    return found


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """A line for each kind of host."""
    hosts = config.stash.get(HOSTS, {})
    seconds = config.stash.get(SECONDS, None)
    spent = json.loads(seconds.read_text()) if seconds and seconds.exists() else {}
    seen = config.stash.get(SEEN, {})
    for name, host in hosts.items():
        python, library, ssl, library_ssl = host.versions
        instead = ", which this machine has no Python of" if host.cell.stands_in else ""
        terminalreporter.write_line(
            f"cell {name}: Python {python} (OpenSSL {ssl}), cryptography {library} (OpenSSL {library_ssl}); "
            f"{seen.get(name, 'no pair proved')}; {host.seconds:.1f} s to make, {spent.get(name, 0):.1f} s in visits "
            f"[{host.cell.distribution}{instead}]"
        )
