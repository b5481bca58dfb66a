# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Repair as a user runs it, on members on this machine; endpoints that are stopped and started: molecule/diagnosis."""

from __future__ import annotations

import json
import shutil
import socket

from local_mesh import Mesh


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


def keys(mesh: Mesh) -> dict[str, bytes]:
    """Every private key of every member."""
    return {
        f"{name} {role}": (mesh.current(name) / f"{role}.key").read_bytes() for name in mesh.names for role in ROLES
    }


ROLES = ("server", "client")


def test_what_is_damaged_is_written_again_and_every_key_stays(mesh: Mesh) -> None:
    before = keys(mesh)
    (mesh.current("a") / "a_SyncServer.crt").write_bytes((mesh.current("b") / "b_SyncServer.crt").read_bytes())
    (mesh.current("a") / "pfx.passphrase").unlink()
    (mesh.current("a") / "manifest.json").unlink()
    (mesh.current("b") / "b_SyncServer.key").write_bytes(b"")
    (mesh.current("b") / "server.key").unlink()
    (mesh.current("b") / "client.crt").unlink()
    (mesh.host("c") / "trusted" / "clients.pem").unlink()
    (mesh.current("c") / "c_SyncClient.pfx").write_bytes(b"no such file")
    files = mesh.snapshot()
    refused = mesh.fail("establish").prose
    assert "Run the repair playbook, which writes it again from what is sound beside it." in refused
    assert mesh.snapshot("c.json", "trusted", "remote")["hosts/b/current"] == files["hosts/b/current"]
    shown = plan(mesh.succeed("repair", "--check").output)
    for line in (
        "a: write what is damaged or missing again",
        "b: write what is damaged or missing again",
        "c: write what is damaged or missing again",
    ):
        assert line in shown
    assert "Not repaired" not in shown, shown
    assert shown.count("Destroys: nothing; its private keys stay.") == 3
    mesh.succeed("repair")
    assert keys(mesh) == before
    assert mesh.report()["summary"]["ok"] == 6
    assert set(mesh.succeed("check").changed.values()) == {0}
    assert mesh.report()["problems"] == []
    assert set(mesh.succeed("establish").changed.values()) == {0}


def test_a_key_that_is_lost_costs_no_sound_one_unless_the_server_is_named(mesh: Mesh) -> None:
    for suffix in ("key", "pfx"):
        (mesh.current("b") / f"b_SyncServer.{suffix}").write_bytes(b"")
    files = mesh.snapshot()
    result = mesh.fail("repair")
    assert "Not repaired: b: damaged_file." in plan(result.output)
    assert "would destroy what is left: current client." in plan(result.output)
    assert "ansible-playbook -i hosts.json esync.mesh.establish -e esync_discard_existing=b" in plan(result.output)
    assert mesh.snapshot() == files


def test_new_sets_are_made_only_where_no_key_is_left(mesh: Mesh) -> None:
    before = {name: generation(mesh, name) for name in mesh.names}
    shutil.rmtree(mesh.host("b") / "generations")
    files = mesh.snapshot()
    shown = mesh.succeed("repair", "--check")
    assert "b: make new sets in the place of its own" in plan(shown.output)
    assert "Destroys: its sets, of which no private key is left." in plan(shown.output)
    assert mesh.snapshot() == files
    mesh.succeed("repair")
    after = {name: generation(mesh, name) for name in mesh.names}
    assert {name for name in mesh.names if before[name] != after[name]} == {"b"}
    assert mesh.report()["summary"]["ok"] == 6
    assert set(mesh.succeed("check").changed.values()) == {0}
    assert set(mesh.succeed("establish").changed.values()) == {0}


def test_a_port_that_another_process_has_is_told_once(mesh: Mesh) -> None:
    with socket.create_server(("127.0.0.1", mesh.ports["b"])):
        result = mesh.fail("repair")
    last = result.output.rpartition("TASK [")[2].partition("[ERROR]")[0]
    (told,) = [line for line in last.splitlines() if line.startswith("b")]
    assert told.startswith("b: port_taken.") and "is taken by" in told
    assert "2 of 6 pairs ok, 4 untested." in last
    assert plan(result.output).count("Not repaired") == 1


def test_modes_and_trust_are_mended_without_new_certificates(mesh: Mesh) -> None:
    before = {name: generation(mesh, name) for name in mesh.names}
    (mesh.current("a") / "a_SyncServer.key").chmod(0o644)
    (mesh.host("c") / "trusted").unlink()
    shutil.rmtree(mesh.host("c") / "remote")
    result = mesh.succeed("repair")
    assert "a: write what is damaged or missing again from what is sound beside it, and correct modes" in plan(
        result.output
    )
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
    assert "Nothing is wrong that can be repaired from here" in plan(result.output), "nobody loses trust by it"
    assert mesh.snapshot() == before
