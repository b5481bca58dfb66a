# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The Pythons of hosts: which Python and which cryptography the distributions ship, and virtual environments with both.

They are made from wheels, with the interpreters that this machine has (pyenv's, on the PATH, in /usr/bin), and kept in
.cache/compat, which ``make clean`` removes.
"""

from __future__ import annotations

import functools
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from packaging.tags import platform_tags
from packaging.version import Version

ROOT = Path(__file__).resolve().parents[2]
CACHE = ROOT / ".cache" / "compat"
NEWEST = "newest"
OWN = "the distribution's own"
FEW = 5

_ASK = (
    "import json, platform, ssl, sys; import cryptography; "
    "from cryptography.hazmat.backends.openssl.backend import backend; "
    "print(json.dumps([platform.python_version(), cryptography.__version__, "
    "ssl.OPENSSL_VERSION.split()[1], backend.openssl_version_text().split()[1]]))"
)


@dataclass(frozen=True)
class Cell:
    """One kind of host.

    :param distribution: whose Python and cryptography these are.
    :param python: its version, ``3.9``. :param library: the version of cryptography, ``newest`` or ``OWN``.
    :param few: whether it is one of the few that are tried with all the others.
    :param stands_in: whether another Python than the distribution's has to do, because this machine has none.
    """

    distribution: str
    python: str
    library: str
    few: bool = False
    stands_in: bool = False

    @property
    def name(self) -> str:
        """As the name of a server."""
        return f"py{self.python}-{'own' if self.library == OWN else self.library}"


CELLS = (
    Cell("Debian 11", "3.9", "3.3.2", few=True),
    Cell("Debian 12", "3.11", "38.0.4"),
    Cell("Debian 13", "3.13", "43.0.0"),
    Cell("Ubuntu 22.04", "3.10", "3.4.8", few=True),
    Cell("Ubuntu 24.04, RHEL 8 and 9 (python3.12)", "3.12", "41.0.7", few=True),
    Cell("RHEL 8 (python39)", "3.9", "3.3.1"),
    Cell("RHEL 8 and 9 (python3.11)", "3.11", "37.0.2"),
    Cell("RHEL 9, Amazon Linux 2023", "3.9", "36.0.1", few=True),
    Cell("SLES 15 (python311)", "3.11", "41.0.3"),
    Cell("the oldest that will do", "3.8", "3.3"),
    Cell("Ubuntu 20.04 and others, a virtual environment", "3.8", NEWEST, few=True),
    *(Cell("a virtual environment", f"3.{minor}", NEWEST) for minor in range(9, 15)),
)


@dataclass(frozen=True)
class Host:
    """A kind of host that is there.

    :param python: the path of its interpreter. :param versions: Python, cryptography, the OpenSSL of either.
    :param seconds: what making it took.
    """

    cell: Cell
    python: Path
    versions: Sequence[str]
    seconds: float


@functools.lru_cache(maxsize=None)
def interpreters() -> dict[str, Path]:
    """The interpreters of this machine by their versions, ``3.9``; of several of one version the first is taken."""
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv") / "versions"
    folders = [*sorted(pyenv.glob("3.*/bin"), reverse=True), *map(Path, os.get_exec_path()), Path("/usr/bin")]
    folders.append(Path(sys.base_prefix) / "bin")
    found: dict[str, Path] = {}
    for minor in range(6, 20):
        version = f"3.{minor}"
        paths = (folder / f"python{version}" for folder in folders if not (folder.parent / "pyvenv.cfg").exists())
        # What stands there may be no Python that runs (pyenv's shims).
        works = (path for path in paths if path.exists() and _version(path) == version)
        first = next(works, None)
        if first:
            found[version] = first
    return found


def _version(python: Path, parts: int = 2) -> str:
    ask = f"import sys; print('.'.join(map(str, sys.version_info[:{parts}])))"
    return subprocess.run([str(python), "-c", ask], capture_output=True, text=True, check=False).stdout.strip()


def chosen(every: bool) -> list[Cell]:
    """The few, or every cell that this machine has the Python for; of the few, another Python may take the place.

    :raises LookupError: fewer than five.
    """
    here = [version for version in interpreters() if Version(version) >= Version("3.8")]
    found: dict[str, Cell] = {}
    for cell in CELLS:
        if cell.python not in here and cell.few and here:
            cell = replace(cell, python=here[-1], stands_in=True)
        if cell.python in here and (every or cell.few):
            found.setdefault(cell.name, cell)
    if every:
        found.update({cell.name: cell for cell in _own()})
    if len(found) < FEW:
        raise LookupError(f"fewer than {FEW} kinds of hosts: {', '.join(found)} of Python {', '.join(here)}")
    return list(found.values())


def _own() -> Iterator[Cell]:
    """The Python and the package of the distribution that this is, if it has them."""
    python = Path("/usr/bin/python3")
    done = subprocess.run([str(python), "-c", "import cryptography"], capture_output=True, check=False)
    if done.returncode == 0:
        yield Cell(f"{_here()}, its own packages", _version(python), OWN)


def _here() -> str:
    lines = Path("/etc/os-release").read_text(encoding="utf-8").splitlines()
    found = dict(line.split("=", 1) for line in lines if "=" in line)
    return f"{found['NAME']} {found.get('VERSION_ID', '')}".replace('"', "").strip()


def make(cell: Cell) -> Host:
    """Make the virtual environment of a cell, unless it is in the cache."""
    started = time.monotonic()
    if cell.library == OWN:
        python = Path("/usr/bin/python3")
    else:
        python = environment(interpreters()[cell.python], cell.name, cell.library)
    asked = subprocess.run([str(python), "-W", "ignore", "-c", _ASK], capture_output=True, text=True, check=False)
    if asked.returncode != 0:
        raise RuntimeError(f"{cell.name}: cryptography cannot be used:\n{asked.stderr}")
    return Host(cell, python, json.loads(asked.stdout), time.monotonic() - started)


def environment(base: Path, name: str, library: str) -> Path:
    """A virtual environment with this cryptography, or with none (an empty ``library``); returns its interpreter."""
    folder = CACHE / name
    made = folder / "made"
    of = f"{base.resolve()} {library}\n"
    if not made.exists() or made.read_text() != of:
        shutil.rmtree(folder, ignore_errors=True)
        subprocess.run([str(base), "-m", "venv", "--without-pip", str(folder)], check=True)
        if library:
            _install(folder, _version(base, parts=3), library)
        made.write_text(of)
    return folder / "bin" / "python"


def _install(folder: Path, python: str, library: str) -> None:
    """Install it by the pip of the tests, because those of old Pythons are slow, and new ones do not run on these.

    :param python: the complete version, because the library excludes single ones (3.9.1).
    """
    (site,) = (folder / "lib").glob("python*/site-packages")
    words = ["--target", str(site), "--python-version", python, "--implementation", "cp", "--only-binary", ":all:"]
    for tag in platform_tags():
        words += ["--platform", tag]
    wanted = "cryptography" if library == NEWEST else f"cryptography=={library}"
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-warn-conflicts", *words, wanted]
    for attempt in range(1, 4):
        # A registry that hiccups must not fail the run.
        done = subprocess.run(pip, capture_output=True, text=True, check=False)
        if done.returncode == 0:
            return
        time.sleep(5 * attempt)
    raise RuntimeError(f"pip cannot install {wanted} for Python {python}:\n{done.stderr[-2000:]}")
