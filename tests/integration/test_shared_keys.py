# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A mesh whose servers hand their client sets to each other (esync_trust_model: shared_keys)."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import pkcs12
from local_mesh import Mesh
from processes import kill

_RESULT = re.compile(r'"client_fingerprint": "(\w+)"[^}]+"to": "(\w+)", "verdict": "ok"')
PASSPHRASE = "the passphrase of the mesh: Jt4hVq8sLw2n"


@pytest.fixture(scope="module")
def handed(tmp_path_factory: pytest.TempPathFactory) -> Mesh:
    """A mesh of three that hand over, established once; each test leaves it whole."""
    settings = {"esync_trust_model": "shared_keys", "esync_pfx_passphrase": PASSPHRASE}
    mesh = Mesh(tmp_path_factory.mktemp("handed"), ["a", "b", "c"], settings)
    mesh.succeed("establish")
    return mesh


def clients(mesh: Mesh) -> dict[str, str]:
    """Server to the fingerprint of its current client certificate, by the ledger."""
    found = {}
    for name in mesh.names:
        record: Any = json.loads((mesh.ledger / f"{name}.json").read_text())
        (found[name],) = [one["client"]["fingerprint"] for one in record["generations"] if one["state"] == "current"]
    return found


def held(mesh: Mesh, name: str) -> dict[str, Path]:
    """Peer to the certificate that it shares with a server."""
    return {path.name.partition("_Sync")[0]: path for path in (mesh.host(name) / "handed-over").glob("*.crt")}


def shown(mesh: Mesh) -> set[tuple[str, str, str]]:
    return {(pair["from"], pair["to"], pair["client_fingerprint"]) for pair in mesh.report()["pairs"]}


def by_hand(mesh: Mesh) -> set[tuple[str, str, str]]:
    """What callers have to show: to each peer that peer's own client certificate."""
    own = clients(mesh)
    return {(source, target, own[target]) for source in mesh.names for target in mesh.names if source != target}


def refused(output: str) -> set[tuple[str, str]]:
    """What was shown before anything old was destroyed, and seen refused: the peer, and the fingerprint."""
    before, found, _after = output.partition("Destroy the keys of the previous certificates")
    assert found
    return {
        (peer, shown)
        for shown, peer in _RESULT.findall(
            before.rpartition("Test that retired certificates are refused")[2].partition("Plan the next")[0]
        )
    }


def test_each_is_shown_its_own_client_set_and_again_changes_nothing(handed: Mesh) -> None:
    assert handed.report()["summary"]["ok"] == 6
    assert handed.report()["trust_model"] == "shared_keys"
    assert shown(handed) == by_hand(handed)
    tried = {one["present"] for one in handed.report()["refusals"] if one["verdict"] == "ok"}
    assert tried == {"none", "stranger", "stranger_same_subject", "server", "plain", "own_client"}
    for name in handed.names:
        assert handed.trust(name)["model"] == "shared_keys"
        assert {entry["peer"] for entry in handed.trust(name)["entries"] if entry["role"] == "client"} == {name}
        assert set(held(handed, name)) == set(handed.names) - {name}
        for peer, path in held(handed, name).items():
            for suffix, mode in (("key", 0o600), ("pfx", 0o600), ("crt", 0o644)):
                assert path.with_suffix(f".{suffix}").stat().st_mode & 0o777 == mode
            own = handed.current(peer) / f"{peer}_SyncClient.pfx"
            assert path.with_suffix(".pfx").read_bytes() == own.read_bytes()
            key, certificate, _others = pkcs12.load_key_and_certificates(own.read_bytes(), PASSPHRASE.encode())
            assert key and certificate
        assert (handed.host(name) / "handed").stat().st_mode & 0o777 == 0o700
    before = handed.snapshot()
    for playbook in ("establish", "check"):
        result = handed.succeed(playbook)
        assert set(result.changed.values()) == {0}
        assert "can pose as any other" in result.prose
    assert handed.snapshot() == before


def test_damage_is_told_and_repaired(handed: Mesh) -> None:
    spoilt = held(handed, "a")["b"].with_suffix(".key").resolve()
    spoilt.write_bytes(held(handed, "a")["c"].with_suffix(".key").read_bytes())
    wide = held(handed, "b")["c"].with_suffix(".key").resolve()
    wide.chmod(0o644)
    (handed.host("c") / "handed-over").unlink()
    handed.fail("check")
    problems = {(one["server"], one["kind"], one["path"]) for one in handed.report()["problems"]}
    assert {("a", "damaged_shared_keys", str(spoilt)), ("b", "damaged_shared_keys", str(wide))} <= problems
    assert ("c", "damaged_shared_keys", str(handed.host("c") / "handed")) in problems
    assert {pair["cause"] for pair in handed.report()["pairs"] if pair["from"] == "c"} == {"not_handed"}
    handed.succeed("repair")
    assert set(handed.succeed("establish").changed.values()) == {0}


def test_a_removal_replaces_also_what_a_pending_rotation_shared_keys(handed: Mesh) -> None:
    handed.succeed("regenerate", "-e", "esync_announce_only=true")
    known = {path.read_bytes() for path in (handed.host("c") / "handed").rglob("*.key")}
    assert len(known) == 4, "the current and the next of both others"
    result = handed.succeed("remove", "-e", "esync_remove=c")
    assert "all of them are replaced" in result.prose
    assert list(handed.host("c").iterdir()) == []
    for name in ("a", "b"):
        assert (handed.current(name) / f"{name}_SyncClient.key").read_bytes() not in known
        assert set(held(handed, name)) == {"a", "b"} - {name}
    assert handed.report()["summary"] == {"servers": 2, "expected": 2, "ok": 2, "failed": 0, "untested": 0}


def killed_at(mesh: Mesh, task: str) -> None:
    """A rotation that is killed when a task begins."""
    process = mesh.start("regenerate")
    assert process.stdout
    assert any(line.startswith("TASK [") and task in line for line in process.stdout), f"{task} did not come up"
    kill(process)


def test_a_mesh_goes_over_and_back_also_when_it_is_killed_on_the_way(make_mesh) -> None:
    mesh = make_mesh("a", "b")
    mesh.succeed("establish")
    mesh.settings["esync_trust_model"] = "shared_keys"
    mesh.write()
    assert "esync_pfx_passphrase is not set for a and b" in mesh.fail("establish").prose
    mesh.settings["esync_pfx_passphrase"] = PASSPHRASE
    mesh.write()
    pinned = clients(mesh)
    before = mesh.snapshot()
    assert "Run the regenerate playbook, which goes from one model to the other" in mesh.fail("establish").prose
    assert mesh.snapshot() == before
    killed_at(mesh, "Hand every server the client sets of its peers")
    assert {mesh.trust(name)["model"] for name in mesh.names} == {"both"}
    output = mesh.succeed("regenerate", "-v").output
    assert refused(output) == {("a", pinned["b"]), ("b", pinned["a"])}
    assert shown(mesh) == by_hand(mesh)
    assert not set(pinned.values()) & set(clients(mesh).values()), "what was made to stay was never shared"
    assert set(mesh.succeed("establish").changed.values()) == {0}
    shared_keys = clients(mesh)
    mesh.settings["esync_trust_model"] = "pinned"
    mesh.write()
    # Out of use already, and not yet proved refused.
    killed_at(mesh, "Retire the previous certificates")
    assert all((mesh.host(name) / "handed-before").is_symlink() for name in mesh.names)
    output = mesh.succeed("regenerate", "-v").output
    assert refused(output) == {("a", shared_keys["a"]), ("b", shared_keys["b"])}
    own = clients(mesh)
    assert shown(mesh) == {("a", "b", own["a"]), ("b", "a", own["b"])}
    assert not set(shared_keys.values()) & set(own.values())
    for name in mesh.names:
        assert not [path for path in mesh.host(name).iterdir() if path.name.startswith("handed")]
        assert mesh.trust(name)["model"] == "pinned"
    assert set(mesh.succeed("establish").changed.values()) == {0}
