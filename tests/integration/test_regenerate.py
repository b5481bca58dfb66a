# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Rotation, key compromise, absence and removal as a user runs them, on members on this machine."""

from __future__ import annotations

import json
import os
import random
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from local_mesh import Mesh
from processes import kill

COUNT = {"servers": 3, "expected": 6, "ok": 6, "failed": 0, "untested": 0}


def fingerprints(mesh: Mesh) -> dict[str, str]:
    """The current server certificate of each member, by the ledger."""
    found = {}
    for name in mesh.names:
        record = json.loads((mesh.ledger / f"{name}.json").read_text())
        (current,) = [one for one in record["generations"] if one["state"] == "current"]
        found[name] = current["server"]["fingerprint"]
    return found


def settled(mesh: Mesh) -> None:
    """One live generation everywhere, nothing pending, nothing orphaned, every pair ok."""
    for name in mesh.names:
        folder = mesh.host(name)
        assert sorted(path.name for path in folder.iterdir()) == ["current", "generations", "remote", "trusted"]
        assert len(list((folder / "generations").iterdir())) == 1
        assert len(list((folder / "remote").iterdir())) == 1
        assert {entry["state"] for entry in mesh.trust(name)["entries"]} == {"current"}
        assert len(mesh.trust(name)["entries"]) == 2 * (len(mesh.names) - 1)
    assert mesh.report()["summary"]["ok"] == len(mesh.names) * (len(mesh.names) - 1)
    assert set(mesh.succeed("establish").changed.values()) == {0}


def test_all_are_rotated(mesh: Mesh) -> None:
    before = fingerprints(mesh)
    result = mesh.succeed("regenerate-esync")
    after = fingerprints(mesh)
    assert not set(before.values()) & set(after.values())
    assert mesh.report()["summary"] == COUNT
    assert "then switch, then retire" in result.prose
    settled(mesh)


def test_only_due_with_nothing_due_changes_nothing_in_two_calls(mesh: Mesh) -> None:
    before = mesh.snapshot()
    result = mesh.succeed("regenerate", "-e", "esync_only_due=true", "-vvv")
    assert set(result.changed.values()) == {0}
    assert mesh.snapshot() == before
    assert 0 < result.output.count("> EXEC ") <= 2 * len(mesh.names)
    assert "Nothing is due" in result.prose


def test_only_due_rotates_what_is_due(mesh: Mesh) -> None:
    mesh.host_settings["c"] = {"esync_renew_before_days": 400}
    mesh.write()
    result = mesh.succeed("establish")
    assert "regenerate playbook" in result.prose
    before = fingerprints(mesh)
    mesh.host_settings["c"] = {"esync_renew_before_days": 400, "esync_valid_days": 800}
    mesh.write()
    mesh.succeed("regenerate", "-e", "esync_only_due=true")
    after = fingerprints(mesh)
    assert {name for name in mesh.names if before[name] != after[name]} == {"c"}
    settled(mesh)


def test_check_mode_prints_the_plan_and_changes_nothing(mesh: Mesh) -> None:
    before = mesh.snapshot()
    result = mesh.succeed("regenerate", "--check", "--diff")
    assert "a: make the next certificates" in result.prose
    assert mesh.snapshot() == before


def dead(mesh: Mesh, name: str) -> None:
    mesh.host_settings[name] = {"ansible_connection": "ssh", "ansible_host": "127.0.0.1", "ansible_port": 9}
    mesh.write()


def test_an_absent_server_stops_it_before_anything_is_made(mesh: Mesh) -> None:
    dead(mesh, "c")
    before = mesh.snapshot()
    result = mesh.fail("regenerate")
    assert "c: it could not be reached" in result.prose
    assert mesh.snapshot() == before


def test_limit_stops_it_for_the_others_could_not_learn_of_it(mesh: Mesh) -> None:
    before = mesh.snapshot()
    assert "b: it could not be reached, or is not part of this run" in mesh.fail("regenerate", "--limit", "a").prose
    assert mesh.snapshot() == before


def test_defer_goes_on_and_settles_when_the_server_is_back(mesh: Mesh) -> None:
    dead(mesh, "c")
    before = fingerprints(mesh)
    mesh.run("regenerate", "-e", "esync_offline=defer")
    after = fingerprints(mesh)
    assert before["c"] == after["c"]
    assert before["a"] != after["a"]
    # c was not told, so what it knows of the others is not retired.
    assert (mesh.host("a") / "previous").is_symlink()
    assert [debt["server"] for debt in mesh.report()["pending"]] == ["c"]
    mesh.host_settings.clear()
    mesh.write()
    mesh.succeed("regenerate", "-e", "esync_only_due=true")
    assert fingerprints(mesh) == after
    assert mesh.report()["pending"] == []
    settled(mesh)


def test_expired_certificates_are_recovered_by_one_run(make_mesh) -> None:
    mesh = make_mesh("a", "b", "c", esync_valid_days=1)
    mesh.succeed("establish")
    before = fingerprints(mesh)
    # Control node and hosts all see a clock two days ahead.
    ahead = ("faketime", "-f", "+2d")
    assert "server_certificate_expired" in mesh.fail("verify", prefix=ahead).prose
    mesh.succeed("regenerate", prefix=ahead)
    assert not set(before.values()) & set(fingerprints(mesh).values())
    assert mesh.report()["summary"] == COUNT


def test_a_breach_takes_the_old_trust_away_first(mesh: Mesh) -> None:
    before = fingerprints(mesh)
    result = mesh.succeed("regenerate", "-e", "esync_compromised=b")
    after = fingerprints(mesh)
    assert {name for name in mesh.names if before[name] != after[name]} == {"b"}
    record = json.loads((mesh.ledger / "b.json").read_text())
    assert before["b"] in {one["fingerprint"] for one in record["distrusted"]}
    assert "First everybody stops trusting" in result.prose
    assert mesh.report()["summary"] == COUNT
    settled(mesh)


def test_a_breach_is_answered_also_without_the_server_in_the_run(mesh: Mesh) -> None:
    result = mesh.succeed("regenerate", "-e", "esync_compromised=b", "--limit", "esync:!b")
    assert "First everybody stops trusting" in result.prose
    assert json.loads((mesh.ledger / "b.json").read_text())["distrusted"]
    assert mesh.trusted("a") == {"c"}
    assert mesh.trusted("c") == {"a"}


def test_another_control_node_is_kept_out_and_one_server_is_rotated(mesh: Mesh) -> None:
    note = {"holder": "root@elsewhere process 1 started 1", "since": "2026-01-01T00:00:00Z", "id": "20260101T000000Z"}
    path = mesh.host("b") / "rotation.json"
    path.write_text(json.dumps(note))
    path.chmod(0o644)
    before = mesh.snapshot()
    result = mesh.fail("regenerate")
    assert "root@elsewhere" in result.prose
    assert "2026-01-01T00:00:00Z" in result.prose
    assert mesh.snapshot() == before
    old = fingerprints(mesh)
    mesh.succeed("regenerate", "-e", '{"esync_regenerate": ["b"], "esync_take_over_lock": true}')
    new = fingerprints(mesh)
    assert {name for name in mesh.names if old[name] != new[name]} == {"b"}
    settled(mesh)


def works(mesh: Mesh, source: str, target: str, presented: Path | None = None) -> bool:
    """Would the two accept each other right now, by the files on their disks? Decided by TLS itself.

    :param presented: the client certificate that the caller presents, its key beside it; default: its own current one.
    """
    own = mesh.current(source) / "client.crt"
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname = False
    server.verify_mode = ssl.CERT_REQUIRED
    for context, name, certificate, bundle in (
        (server, target, mesh.current(target) / "server.crt", "clients.pem"),
        (client, source, presented or own, "servers.pem"),
    ):
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        context.load_cert_chain(certificate, certificate.with_suffix(".key"))
        context.load_verify_locations(mesh.host(name) / "trusted" / bundle)
    left, right = socket.socketpair()
    ends = [ssl.MemoryBIO() for _number in range(4)]
    left.close()
    right.close()
    one = server.wrap_bio(ends[0], ends[1], server_side=True)
    other = client.wrap_bio(ends[1], ends[0])
    done = set()
    try:
        for _round in range(10):
            for end in (other, one):
                try:
                    end.do_handshake()
                    done.add(end)
                except ssl.SSLWantReadError:
                    pass
    except ssl.SSLError:
        return False
    return len(done) == 2


def still_sound(mesh: Mesh, where: str) -> None:
    """Whatever was interrupted: every pair works, and nobody holds more than two generations."""
    pairs = [(source, target) for source in mesh.names for target in mesh.names if source != target]
    assert all(works(mesh, *pair) for pair in pairs), where
    for name in mesh.names:
        links = [one for one in ("current", "next", "previous") if (mesh.host(name) / one).is_symlink()]
        assert len({os.readlink(mesh.host(name) / one) for one in links}) <= 2, where


PLAN = "Plan the next stage"
MAKE = "Test which pairs work, and make the next certificates"
APPLY = "Apply the next certificates besides the current ones"
SWITCH = "Switch every server to its next certificates"
SWITCHED = "Test every pair with the new certificates"
RETIRE = "Retire the previous certificates"
DESTROY = "Destroy the keys of the previous certificates"

# What changes anything in a rotation, in two rows: the last of the tasks that come up one after the other is the one.
# In each row the run that follows a kill is killed in the next stage, and the last one goes to the end.
STAGES = {
    "before the switch": {
        "make": (MAKE,),
        "announce in the ledger": (MAKE, PLAN),
        "announce to the hosts": (APPLY,),
        "switch": (SWITCH,),
    },
    "after the switch": {
        "record the switch": (SWITCH, PLAN),
        "retire in the ledger": (SWITCHED, PLAN),
        "retire on the hosts": (RETIRE,),
        "destroy": (DESTROY,),
    },
}


def tasks(process: subprocess.Popen[str]) -> Iterator[str]:
    """The names of the tasks of a run, each as it begins."""
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("TASK ["):
            yield line[len("TASK [") : line.rindex("]")].removeprefix("esync.mesh.esync : ")


@pytest.mark.parametrize("row", STAGES)
def test_killed_in_any_stage_it_is_simply_run_again(mesh: Mesh, row: str) -> None:
    before = fingerprints(mesh)
    for stage, names in STAGES[row].items():
        process = mesh.start("regenerate")
        begun = tasks(process)
        for name in names:
            assert name in begun, f"{stage}: {name!r} did not come up"
        # While the task is at work on the hosts, not before it.
        time.sleep(random.uniform(0, 0.4))
        kill(process)
        still_sound(mesh, stage)
    mesh.succeed("regenerate")
    assert not set(before.values()) & set(fingerprints(mesh).values())
    settled(mesh)


def test_a_removed_server_is_refused_and_may_join_again(mesh: Mesh) -> None:
    before = fingerprints(mesh)
    # Text with blanks, as people write it.
    mesh.succeed("remove", "-e", '{"esync_remove": " c "}')
    assert mesh.trusted("a") == {"b"}
    assert mesh.trusted("b") == {"a"}
    assert not (mesh.host("c") / "current").exists()
    assert not (mesh.host("c") / "generations").exists()
    record = json.loads((mesh.ledger / "c.json").read_text())
    assert record["removed_at"]
    assert before["c"] in {one["fingerprint"] for one in record["distrusted"]}
    assert mesh.report()["summary"] == {"servers": 2, "expected": 2, "ok": 2, "failed": 0, "untested": 0}
    mesh.succeed("establish")
    assert mesh.trusted("a") == {"b", "c"}
    assert fingerprints(mesh)["c"] != before["c"]


def test_a_server_that_no_longer_exists_is_removed(mesh: Mesh) -> None:
    mesh.names.remove("c")
    mesh.write()
    assert mesh.succeed("establish").changed == {"a": 0, "b": 0, "localhost": 0}
    assert mesh.trusted("a") == {"b", "c"}
    mesh.succeed("remove", "-e", '{"esync_remove": ["c"]}')
    assert mesh.trusted("a") == {"b"}


def test_remove_wants_a_name(mesh: Mesh) -> None:
    assert "No server is named" in mesh.fail("remove").prose
