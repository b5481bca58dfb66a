# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The built collection, installed somewhere else, does its main job, with its working parts alone too."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent
NEEDED = {"meta", "plugins", "roles", "playbooks", "MANIFEST.json", "FILES.json"}


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The collection as a user gets it."""
    work = tmp_path_factory.mktemp("tarball")
    run(work, "ansible-galaxy", "collection", "build", str(ROOT), "--output-path", str(work))
    (tarball,) = work.glob("esync-mesh-*.tar.gz")
    run(work, "ansible-galaxy", "collection", "install", str(tarball), "-p", str(work), "--offline")
    return work / "ansible_collections" / "esync" / "mesh"


def run(work: Path, *command: str) -> str:
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_")},
        "HOME": str(work),
        "ANSIBLE_COLLECTIONS_PATH": str(work),
        "ANSIBLE_NOCOLOR": "1",
    }
    done = subprocess.run(
        [str(BIN / command[0]), *command[1:]],
        cwd=work,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def establish(collection: Path, root: Path) -> dict[str, int]:
    work = collection.parents[2]
    run(
        work,
        "ansible-playbook",
        "esync.mesh.establish",
        "-i",
        str(ROOT / "inventories" / "local" / "hosts.yml"),
        "-e",
        json.dumps({"esync_local_root": str(root), "esync_key_type": "ecdsa", "esync_formats": ["cer", "pfx"]}),
    )
    summary: dict[str, int] = json.loads((root / "report" / "mesh.json").read_text())["summary"]
    return summary


ALL_OK = {"servers": 5, "expected": 20, "ok": 20, "failed": 0, "untested": 0}


def test_nothing_of_the_workshop_is_in_it(installed: Path) -> None:
    assert (installed / "README.md").is_file()
    found = {path.name for path in installed.iterdir()}
    assert not found & {".git", ".venv", ".mesh", ".cache", ".ci", ".github"}
    assert not (installed / "playbooks" / "collections").exists()


def test_every_role_has_the_readme_that_galaxy_demands(installed: Path) -> None:
    roles = [path for path in (installed / "roles").iterdir() if path.is_dir()]
    assert roles and all((path / "README.md").is_file() for path in roles)


def test_it_establishes_a_mesh(installed: Path, tmp_path: Path) -> None:
    assert establish(installed, tmp_path) == ALL_OK


def test_its_working_parts_are_enough(installed: Path, tmp_path: Path) -> None:
    top = tmp_path / "reduced"
    collection = top / "ansible_collections" / "esync" / "mesh"
    shutil.copytree(installed, collection)
    for path in collection.iterdir():
        if path.name not in NEEDED:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    assert establish(collection, tmp_path / "mesh") == ALL_OK
