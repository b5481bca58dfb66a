# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Repair as a user runs it, on members on this machine; endpoints that are stopped and started: molecule/diagnosis."""

from __future__ import annotations

import json
import shutil

from conftest import Mesh


def plan(output: str) -> str:
    """What the run printed between its plan and what followed."""
    return output.partition("The repair:")[2].partition("TASK [")[0]


def generation(mesh: Mesh, name: str) -> str:
    return str((mesh.host(name) / "current").readlink())


def test_a_sound_mesh_is_left_as_it_is(mesh: Mesh) -> None:
    before = mesh.snapshot()
    result = mesh.succeed("repair")
    assert "Nothing is wrong that can be repaired from here." in plan(result.output)
    assert set(result.changed.values()) == {0}
    assert mesh.snapshot() == before


def test_damaged_sets_are_made_anew_and_sound_ones_are_not(mesh: Mesh) -> None:
    before = {name: generation(mesh, name) for name in mesh.names}
    (mesh.current("b") / "b_SyncServer.key").write_bytes(b"")
    files = mesh.snapshot()
    shown = mesh.succeed("repair", "--check")
    assert "b: destroy its sets and make new ones" in plan(shown.output)
    assert mesh.snapshot() == files
    result = mesh.succeed("repair")
    assert plan(result.output).count("destroy its sets") == 1
    after = {name: generation(mesh, name) for name in mesh.names}
    assert {name for name in mesh.names if before[name] != after[name]} == {"b"}
    assert mesh.report()["summary"]["ok"] == 6
    assert set(mesh.succeed("check").changed.values()) == {0}
    assert set(mesh.succeed("establish").changed.values()) == {0}


def test_modes_and_trust_are_mended_without_new_certificates(mesh: Mesh) -> None:
    before = {name: generation(mesh, name) for name in mesh.names}
    (mesh.current("a") / "a_SyncServer.key").chmod(0o644)
    (mesh.host("c") / "trusted").unlink()
    shutil.rmtree(mesh.host("c") / "remote")
    result = mesh.succeed("repair")
    assert "a: correct the modes of its files" in plan(result.output)
    assert "c: bring its trust and its entry in the ledger up to date" in plan(result.output)
    assert "b:" not in plan(result.output)
    assert {name: generation(mesh, name) for name in mesh.names} == before
    assert mesh.trusted("c") == {"a", "b"}
    mesh.succeed("check")


def test_what_it_cannot_mend_it_says_and_leaves(mesh: Mesh) -> None:
    path = mesh.ledger / "b.json"
    record = json.loads(path.read_text())
    other = json.loads((mesh.ledger / "c.json").read_text())
    record["generations"] = other["generations"]
    path.write_text(json.dumps(record))
    before = mesh.snapshot()
    result = mesh.fail("repair")
    assert "Not repaired: b: ledger_missing. The ledger does not have certificates that it has" in plan(result.output)
    assert "esync_accept_changed" in plan(result.output)
    assert "First settle what the ledger has of b" in plan(result.output), "trust is not made from a ledger in doubt"
    assert mesh.snapshot() == before
