# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Establish and verify as a user runs them, on members on this machine."""

from __future__ import annotations

import json
import os
import re
import shutil
import stat
import sys
from pathlib import Path

import pytest
from local_mesh import ROOT, Mesh


def count(servers: int, ok: int, failed: int = 0, untested: int = 0) -> dict[str, int]:
    return {
        "servers": servers,
        "expected": servers * (servers - 1),
        "ok": ok,
        "failed": failed,
        "untested": untested,
    }


def test_establish_proves_every_pair_and_again_changes_nothing(mesh: Mesh, monkeypatch: pytest.MonkeyPatch) -> None:
    assert mesh.report()["summary"] == count(3, 6)
    before = mesh.snapshot()
    # From anywhere on earth.
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    result = mesh.succeed("establish-esync")
    assert set(result.changed.values()) == {0}
    assert mesh.snapshot() == before
    assert "6 of 6 pairs ok." in result.output
    for pair in mesh.report()["pairs"]:
        assert pair["tls"] == "TLSv1.3"
        assert len(pair["server_fingerprint"]) == len(pair["client_fingerprint"]) == 64


def test_verify_changes_nothing(mesh: Mesh) -> None:
    shutil.rmtree(mesh.root / "report")
    before = mesh.snapshot()
    assert set(mesh.succeed("verify").changed.values()) == {0}
    assert mesh.snapshot() == before
    assert mesh.report()["summary"] == count(3, 6)


def test_verify_finds_a_missing_trust(mesh: Mesh) -> None:
    # a forgets c: c is refused by a, and a does not know whom it reaches at c.
    (mesh.ledger / "c.json").rename(mesh.root / "c.json")
    shutil.rmtree(mesh.host("a") / "remote")
    (mesh.host("a") / "trusted").unlink()
    mesh.run("establish", "--limit", "a")
    assert mesh.trusted("a") == {"b"}
    (mesh.root / "c.json").rename(mesh.ledger / "c.json")
    result = mesh.fail("verify")
    causes = {(pair["from"], pair["to"]): pair["cause"] for pair in mesh.report()["pairs"]}
    assert causes["c", "a"] == "client_certificate_refused"
    assert causes["b", "a"] is None
    assert "c -> a: client_certificate_refused" in result.prose


def test_a_new_host_gets_all_and_the_old_ones_get_two_certificates(mesh: Mesh) -> None:
    before = mesh.snapshot()
    mesh.names.append("d")
    mesh.write()
    result = mesh.succeed("establish")
    assert mesh.report()["summary"] == count(4, 12)
    after = mesh.snapshot()
    for name in ("a", "b", "c"):
        own = {path: value for path, value in before.items() if path.startswith(f"hosts/{name}/generations")}
        assert own == {path: after[path] for path in own}
        old = {Path(path).name: value for path, value in before.items() if f"hosts/{name}/remote/" in path}
        new = {Path(path).name: value for path, value in after.items() if f"hosts/{name}/remote/" in path}
        certificates = {file for file in new if file.endswith(".cer")}
        assert certificates - set(old) == {"d_SyncServer.cer", "d_SyncClient.cer"}
        # The others are the same files still, not copies.
        assert all(new[file] == old[file] for file in old if file.endswith(".cer"))
    assert set(mesh.succeed("establish").changed.values()) == {0}
    assert result.changed["d"] > 0


def test_limit_takes_nobodys_trust_and_the_next_run_settles(mesh: Mesh) -> None:
    mesh.names.append("d")
    mesh.write()
    result = mesh.succeed("establish", "--limit", "d")
    assert mesh.trusted("d") == {"a", "b", "c"}
    assert mesh.trusted("a") == {"b", "c"}
    report = mesh.report()
    assert report["summary"] == count(4, 0, untested=12)
    assert {debt["server"] for debt in report["pending"]} == {"a", "b", "c"}
    assert "Pending for a" in result.output
    mesh.succeed("establish")
    assert mesh.trusted("a") == {"b", "c", "d"}
    assert mesh.report()["summary"] == count(4, 12)
    assert mesh.report()["pending"] == []


def dead(mesh: Mesh, name: str) -> None:
    mesh.host_settings[name] = {"ansible_connection": "ssh", "ansible_host": "127.0.0.1", "ansible_port": 9}
    mesh.write()


def test_an_absent_host_is_untested_and_loses_nothing(mesh: Mesh) -> None:
    dead(mesh, "c")
    mesh.names.append("d")
    mesh.write()
    result = mesh.fail("establish")
    report = mesh.report()
    assert report["summary"] == count(4, 6, untested=6)
    assert {server["name"]: server["state"] for server in report["servers"]}["c"] == "unreachable"
    assert mesh.trusted("a") == {"b", "c", "d"}
    assert mesh.trusted("d") == {"a", "b", "c"}
    assert [debt["server"] for debt in report["pending"]] == ["c"]
    assert len([line for line in result.output.splitlines() if line.startswith("c (6 pairs")]) == 1
    mesh.host_settings.clear()
    mesh.write()
    mesh.succeed("establish")
    assert mesh.report()["summary"] == count(4, 12)
    assert mesh.report()["pending"] == []


def test_a_member_never_reached_is_owed_and_stops_nobody(make_mesh) -> None:
    mesh = make_mesh("a", "b", "c")
    dead(mesh, "c")
    mesh.fail("establish")
    assert mesh.report()["summary"] == count(3, 2, untested=4)
    assert [(debt["server"], debt["kind"]) for debt in mesh.report()["pending"]] == [("c", "certificates")]


def test_a_report_is_written_even_if_every_host_is_dead(mesh: Mesh) -> None:
    for name in mesh.names:
        dead(mesh, name)
    mesh.fail("establish")
    assert mesh.report()["summary"] == count(3, 0, untested=6)


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0x10
    path.write_bytes(data)


def swap(one: Path, other: Path) -> None:
    data = one.read_bytes()
    one.write_bytes(other.read_bytes())
    other.write_bytes(data)


def test_every_damage_is_named_and_nothing_is_overwritten(make_mesh) -> None:
    names = ["flipped", "empty", "swapped", "roles", "link", "fifo", "sound"]
    mesh = make_mesh(*names)
    mesh.succeed("establish")
    current = {name: mesh.current(name) for name in names}
    flip(current["flipped"] / "flipped_SyncServer.cer")
    (current["empty"] / "empty_SyncClient.key").write_bytes(b"")
    swap(current["swapped"] / "swapped_SyncServer.key", current["swapped"] / "swapped_SyncClient.key")
    for suffix in ("cer", "crt", "key", "pfx"):
        swap(current["roles"] / f"roles_SyncServer.{suffix}", current["roles"] / f"roles_SyncClient.{suffix}")
    key = current["link"] / "link_SyncServer.key"
    key.rename(mesh.root / "elsewhere.key")
    key.symlink_to(mesh.root / "elsewhere.key")
    fifo = current["fifo"] / "fifo_SyncClient.pfx"
    fifo.unlink()
    os.mkfifo(fifo, 0o600)
    before = mesh.snapshot()
    result = mesh.fail("establish")
    for name, file in (
        ("flipped", "flipped_SyncServer.cer"),
        ("empty", "empty_SyncClient.key"),
        ("swapped", "swapped_SyncServer.key"),
        ("roles", "roles_SyncServer.cer"),
        ("link", "link_SyncServer.key"),
        ("fifo", "fifo_SyncClient.pfx"),
    ):
        assert f"/{name}/" in result.prose
        assert file in result.prose
    assert "esync_discard_existing" in result.prose
    assert mesh.snapshot() == before


def test_wrong_modes_are_repaired(mesh: Mesh) -> None:
    key = mesh.current("a") / "a_SyncServer.key"
    key.chmod(0o644)
    result = mesh.succeed("establish")
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert result.changed["a"] == 1
    assert result.changed["b"] == 0


def test_check_mode_changes_nothing_on_a_fresh_and_on_a_changed_mesh(make_mesh) -> None:
    mesh = make_mesh("a", "b")
    result = mesh.succeed("establish", "--check", "--diff")
    assert not mesh.ledger.exists()
    assert list((mesh.root / "hosts").iterdir()) == []
    assert result.changed["a"] > 0
    mesh.succeed("establish")
    mesh.names.append("c")
    mesh.write()
    before = mesh.snapshot()
    assert mesh.succeed("establish", "--check", "--diff").changed["c"] > 0
    assert mesh.snapshot() == before


def test_the_ledger_can_be_deleted(mesh: Mesh) -> None:
    shutil.rmtree(mesh.ledger)
    before = mesh.trust("a")
    mesh.succeed("establish")
    assert sorted(path.name for path in mesh.ledger.iterdir()) == ["a.json", "b.json", "c.json"]
    assert mesh.trust("a") == before


def test_a_rebuilt_host_is_refused_until_it_is_accepted(mesh: Mesh) -> None:
    shutil.rmtree(mesh.host("c"))
    before = (mesh.ledger / "c.json").read_text()
    old = json.loads(before)["generations"][0]["server"]["fingerprint"]
    result = mesh.fail("establish")
    assert old in result.prose
    assert "esync_accept_changed=c" in result.prose
    assert (mesh.ledger / "c.json").read_text() == before
    assert mesh.trusted("a") == {"b", "c"}
    mesh.succeed("establish", "-e", "esync_accept_changed=c")
    assert mesh.report()["summary"] == count(3, 6)
    assert set(mesh.succeed("establish").changed.values()) == {0}


def test_a_wrong_clock_stops_before_anything_is_made(make_mesh) -> None:
    mesh = make_mesh("a", "b", "late")
    wrapper = mesh.root / "python"
    wrapper.write_text(f'#!/bin/sh\nexec faketime -f -400s {sys.executable} "$@"\n')
    wrapper.chmod(0o755)
    mesh.host_settings["late"] = {"ansible_python_interpreter": str(wrapper)}
    mesh.write()
    result = mesh.fail("establish")
    assert not (mesh.host("late") / "current").exists()
    assert not list(mesh.ledger.glob("*"))
    assert not any((mesh.host(name) / "trusted").is_symlink() for name in mesh.names)
    assert "The run stops here for all servers" in result.prose
    assert re.search(r"late: .*\d\d:\d\d:\d\d.*\d\d:\d\d:\d\d", result.prose)


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"esync_server_name": "bad name"}, "bad name"),
        ({"esync_server_name": "A"}, "same server name"),
        ({"esync_directory": "/var/www/esync"}, "web root"),
        ({"esync_address": "b'"}, "neither a host name nor an IP address"),
        ({"esync_subject_alt_names": ["b; }"]}, "neither a host name nor an IP address"),
        ({"esync_endpoint": "nginx", "esync_endpoint_upstream": "http://b; }"}, "is no URL"),
    ],
)
def test_bad_members_stop_before_any_host_is_touched(make_mesh, settings, text) -> None:
    mesh = make_mesh("a", "b")
    mesh.host_settings["b"] = settings
    mesh.write()
    assert text in mesh.fail("establish").prose
    assert list((mesh.root / "hosts").iterdir()) == []


def test_an_empty_group_is_an_error(make_mesh) -> None:
    mesh = make_mesh()
    assert "group esync is empty" in mesh.fail("establish").prose


def test_a_port_that_is_taken_is_named(mesh: Mesh) -> None:
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", mesh.ports["b"]))
        taken.listen()
        # It answers nothing, so its callers wait for the time-outs.
        result = mesh.fail("establish", "-e", json.dumps({"esync_connect_timeout": 4, "esync_answer_timeout": 4}))
    assert str(mesh.ports["b"]) in result.prose
    assert f"{os.getpid()}" in result.prose, "the process that holds the port is named"
    assert mesh.report()["summary"]["ok"] == 2


def cost(mesh: Mesh, playbook: str, *arguments: str) -> tuple[int, int]:
    """Remote calls for each server (with pipelining every call is one command), and its tasks at the most."""
    output = mesh.succeed(playbook, "-vvv", *arguments).output
    calls = len(re.findall(r"^<[^>]+> EXEC ", output, re.M)) / len(mesh.names)
    assert calls.is_integer()
    tasks = re.findall(r"^(\S+)\s+: ok=(\d+).* skipped=(\d+)", output, re.M)
    return int(calls), max(int(done) + int(skipped) for host, done, skipped in tasks if host in mesh.names)


def test_remote_calls_and_tasks_do_not_grow_with_the_mesh(make_mesh) -> None:
    small, large = make_mesh("a", "b", "c"), make_mesh(*(f"s{number}" for number in range(12)))
    limits = {
        "establish": (3, 8),
        "establish again": (2, 8),
        "verify": (2, 6),
        "check": (2, 6),
        "regenerate": (10, 40),
    }
    for run, (calls, tasks) in limits.items():
        found = {cost(mesh, run.split()[0]) for mesh in (small, large)}
        assert len(found) == 1, run
        assert 0 < min(found)[0] <= calls, run
        assert 0 < min(found)[1] <= tasks, run


def test_the_local_inventory_is_a_mesh_of_five() -> None:
    text = (ROOT / "inventories" / "local" / "hosts.yml").read_text()
    assert len(re.findall(r"esync_port: \d+", text)) == 5
