# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The hosts of a scenario for testinfra, over ssh, by their inventory names."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from functools import lru_cache
from pathlib import Path
from typing import Any

import lab
import testinfra
import yaml


@lru_cache(maxsize=1)
def inventory() -> dict[str, Any]:
    """Molecule's inventory."""
    with open(os.path.join(os.environ["MOLECULE_SCENARIO_DIRECTORY"], "molecule.yml"), encoding="utf-8") as stream:
        found: dict[str, Any] = yaml.safe_load(stream)
    return found


@lru_cache(maxsize=1)
def sockets() -> Path:
    """A folder for the sockets of shared connections; each process has one, for the next may find other hosts."""
    folder = Path(tempfile.mkdtemp(prefix="esync-ssh-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


@lru_cache(maxsize=None)
def connect(name: str) -> Any:
    """One host; all commands go over one connection, which costs a fraction of one each."""
    key = os.path.join(os.environ["MOLECULE_EPHEMERAL_DIRECTORY"], "id_ed25519")
    options = (
        "-o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR"
        f" -o ControlMaster=auto -o ControlPersist=60s -o ControlPath={sockets() / name}"
    )
    return testinfra.get_host(f"ssh://root@{address(name)}", ssh_identity_file=key, ssh_extra_args=options)


def platforms() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = inventory()["platforms"]
    assert found
    return found


def platform_of(name: str) -> dict[str, Any]:
    (found,) = [platform for platform in platforms() if platform["name"] == name]
    return found


def address(name: str) -> str:
    return str(platform_of(name)["address"])


def power(name: str, on: bool) -> None:
    """Cut a host's power, or switch it on again."""
    # Nobody answers on the old connection any more.
    (sockets() / name).unlink(missing_ok=True)
    lab.power(platform_of(name), on)
    connect.cache_clear()


def members() -> list[str]:
    """The names of the mesh."""
    found = [str(platform["name"]) for platform in platforms() if "esync" in platform.get("groups", [])]
    assert len(found) > 1
    return found


def pairs() -> list[tuple[str, str]]:
    """Every directed pair."""
    found = [(source, target) for source in members() for target in members() if source != target]
    assert len(found) == len(members()) * (len(members()) - 1)
    return found
