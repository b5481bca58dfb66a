# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a verdict says to run is copied from the terminal, as it stands there, and run: afterwards every pair works."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from local_mesh import Mesh


def lose_a_key(mesh: Mesh) -> None:
    for suffix in ("key", "pfx"):
        (mesh.current("b") / f"b_SyncServer.{suffix}").unlink()


def damage_a_certificate(mesh: Mesh) -> None:
    (mesh.current("b") / "b_SyncServer.crt").write_bytes(b"")


def lose_everything(mesh: Mesh) -> None:
    shutil.rmtree(mesh.host("a"))


def lose_the_trust(mesh: Mesh) -> None:
    (mesh.host("c") / "trusted").unlink()


def damage_the_trust(mesh: Mesh) -> None:
    (mesh.host("c") / "trusted" / "clients.pem").write_bytes(b"")


def open_a_key_to_all(mesh: Mesh) -> None:
    (mesh.current("a") / "a_SyncServer.key").chmod(0o644)


def lose_the_ledger(mesh: Mesh) -> None:
    shutil.rmtree(mesh.ledger)


def make_certificates_without_the_others(mesh: Mesh) -> None:
    """As somebody does who sets up a machine again, with a ledger of their own."""
    other = str(mesh.root / "other")
    alone = ("--limit", "a", "-e", json.dumps({"esync_discard_existing": ["a"], "esync_ledger": other}))
    mesh.run("establish", *alone)


def let_the_group_be(*names: str) -> Callable[[Mesh], None]:
    def change(mesh: Mesh) -> None:
        mesh.names = list(names)
        mesh.write()

    return change


def announce_a_rotation_only(mesh: Mesh) -> None:
    mesh.succeed("regenerate", "-e", "esync_announce_only=true")


def let_the_certificates_expire(mesh: Mesh) -> None:
    short = ("-e", json.dumps({"esync_valid_days": 2, "esync_discard_existing": mesh.names}))
    mesh.succeed("establish", *short, prefix=("faketime", "-f", "-3d"))


FAULTS: dict[str, tuple[Callable[[Mesh], None], str, str]] = {
    "a key is lost": (lose_a_key, "verify", "damaged_file"),
    "a certificate is damaged": (damage_a_certificate, "check", "damaged_file"),
    "all files of a server are lost": (lose_everything, "verify", "certificates_gone"),
    "the trust is lost": (lose_the_trust, "verify", "no_trust"),
    "the trust is damaged": (damage_the_trust, "check", "damaged_trust"),
    "a key is open to all": (open_a_key_to_all, "check", "wrong_mode"),
    "the ledger is lost": (lose_the_ledger, "check", "ledger_missing"),
    "certificates were made without the others": (make_certificates_without_the_others, "check", "ledger_missing"),
    "a server left the group": (let_the_group_be("a", "b"), "check", "left_group"),
    "a server joined the group": (let_the_group_be("a", "b", "c", "d"), "verify", "no_certificates"),
    "a rotation did not end": (announce_a_rotation_only, "check", "rotation_pending"),
    "all certificates have expired": (let_the_certificates_expire, "verify", "expired"),
}


def lines_of_causes(output: str) -> list[str]:
    """What stands between the matrix and the last sentence, a cause a line."""
    last = output.rpartition("TASK [")[2].partition("The report is")[0]
    return [line for line in last.splitlines() if re.match(r"\S.*: [a-z_]+( \(|\. )", line)]


def run(mesh: Mesh, command: str) -> subprocess.CompletedProcess[str]:
    """Paste a command where the playbook was started."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    environment = {**mesh.environment(), "PATH": path}
    return subprocess.run(
        command, shell=True, cwd=mesh.root, env=environment, capture_output=True, text=True, timeout=600, check=False
    )


@pytest.mark.parametrize("fault", FAULTS)
def test_the_command_of_the_first_cause_mends_it(mesh: Mesh, fault: str) -> None:
    make, playbook, cause = FAULTS[fault]
    make(mesh)
    output = mesh.fail(playbook).output
    told = lines_of_causes(output)
    assert told and f": {cause}" in told[0], output
    # Several servers can have the same fault, each with the command for itself.
    commands = dict.fromkeys(line.partition("Command: ")[2] for line in told if f": {cause}" in line)
    assert all(commands), output
    for command in commands:
        done = run(mesh, command)
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    assert not lines_of_causes(mesh.succeed(playbook).output)
    count = len(mesh.names)
    assert mesh.report()["summary"]["ok"] == count * (count - 1)
