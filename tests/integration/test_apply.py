# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Meshes of different control nodes, joined by folders; and folders that are refused."""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from local_mesh import ROOT, Mesh

sys.path[1:1] = [str(ROOT / "playbooks" / "collections"), str(ROOT / "tests" / "unit")]

from hostile_folders import CASES, PASSPHRASE, Hostile, certificate, told  # noqa: E402 - found by the path above
from secret_scanner import Secret, everything_below, leaks, secrets_of  # noqa: E402 - found by the path above

from ansible_collections.esync.mesh.plugins.module_utils._connection import listener  # noqa: E402 - likewise

_FAILED = re.compile(r"^fatal: \[(?P<host>[^]]+)\]: FAILED! => (?P<result>\{.*\})$", re.M)


@pytest.fixture(scope="session")
def _two(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("two")
    for mesh in meshes(root):
        mesh.succeed("establish")
    return root


def meshes(root: Path) -> list[Mesh]:
    """Here (a, b) and there (x, y): each with an inventory and a ledger of its own."""
    found = []
    for place, members in (("here", ["a", "b"]), ("there", ["x", "y"])):
        (root / place).mkdir(exist_ok=True)
        found.append(Mesh(root / place, members))
    return found


@pytest.fixture
def two(_two: Path, tmp_path: Path) -> list[Mesh]:
    """Two established meshes that know nothing of each other, for one test alone."""
    shutil.copytree(_two, tmp_path / "two", symlinks=True)
    found = meshes(tmp_path / "two")
    for mesh in found:
        # On ports of their own, so that no listener meets another's.
        for path in mesh.ledger.iterdir():
            path.write_text(re.sub(r'"port": \d+', f'"port": {mesh.ports[path.stem]}', path.read_text()))
    return found


def export(mesh: Mesh, *arguments: str) -> Any:
    """Export every server's public certificates."""
    folder = {"esync_folder": f"{mesh.root}/out-{{{{ esync_server_name }}}}"}
    return mesh.succeed("export", "-e", json.dumps(folder), *arguments)


def carry(mesh: Mesh, *names: str) -> Path:
    """Carry what was exported by these servers, or by all, to one folder elsewhere."""
    folder = mesh.root.parent / f"from-{mesh.root.name}"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    folder.chmod(0o755)
    for name in names or mesh.names:
        files = list((mesh.root / f"out-{name}").iterdir())
        assert len(files) > 2
        for file in files:
            shutil.copy(file, folder)
    return folder


def apply(mesh: Mesh, folder: Path, *arguments: str) -> Any:
    return mesh.succeed("apply", "-e", f"esync_folder={folder}", *arguments)


def current(mesh: Mesh, name: str) -> bytes:
    return (mesh.current(name) / f"{name}_SyncServer.cer").read_bytes()


@contextlib.contextmanager
def listening(mesh: Mesh, name: str) -> Iterator[None]:
    """The endpoint of a server, for as long as it is looked at."""
    settings = listener.ListenerSettings(name, str(mesh.host(name)), "127.0.0.1", mesh.ports[name])
    listener.start(settings)
    try:
        yield
    finally:
        listener.end_older(settings.directory)


def test_exported_folders_hold_public_parts_and_stay_unless_something_changed(two: list[Mesh]) -> None:
    mesh = two[1]
    assert export(mesh).changed["x"] == 1
    folder = mesh.root / "out-x"
    assert sorted(path.name for path in folder.iterdir()) == ["x_Sync.json", "x_SyncClient.cer", "x_SyncServer.cer"]
    assert (folder / "x_SyncServer.cer").read_bytes() == current(mesh, "x")
    assert set(export(mesh).changed.values()) == {0}
    (folder / "note").write_text("mine")
    result = mesh.fail("export", "-e", f"esync_folder={folder}", "--limit", "x")
    assert f"x: {folder}: it is there already" in result.prose
    assert (folder / "note").exists()


def test_two_meshes_are_joined_and_stay_joined(two: list[Mesh]) -> None:
    here, there = two
    for mesh in two:
        export(mesh, "-e", "esync_endpoint=external") if mesh is there else export(mesh)
    folders = {mesh.root: carry(mesh) for mesh in two}
    # Check mode says what would be, and does nothing.
    before = here.snapshot()
    result = apply(here, folders[there.root], "--check", "--diff")
    assert "x server current" in result.output
    assert here.snapshot() == before

    apply(there, folders[here.root])
    assert there.trusted("x") == {"a", "b", "y"}
    with listening(there, "x"), listening(there, "y"):
        result = apply(here, folders[there.root])
        assert "Every external peer answered as it should." in result.output
        assert here.trusted("a") == {"b", "x", "y"}
        before = here.snapshot()
        assert set(apply(here, folders[there.root]).changed.values()) == {0}
        assert set(here.succeed("establish").changed.values()) == {0}
        assert here.snapshot() == before
        assert here.report()["summary"]["expected"] == 2
        assert here.report()["pending"] == []
    # An external peer that does not answer is told by name.
    with listening(there, "x"):
        result = here.fail("verify")
        assert "a -> y: endpoint_not_listening" in result.prose
        assert "a -> x" not in result.prose

    here.succeed("regenerate")
    here.succeed("establish", "-e", "esync_allow_shrink=true")
    assert here.trusted("a") == {"b", "x", "y"}
    here.succeed("remove", "-e", "esync_remove=x")
    assert here.trusted("a") == here.trusted("b") - {"a"} | {"b"} == {"b", "y"}
    result = here.fail("apply", "-e", f"esync_folder={folders[there.root]}")
    assert "is distrusted" in result.prose
    assert here.trusted("a") == {"b", "y"}


def held(mesh: Mesh, name: str) -> dict[str, bytes]:
    """The client sets that a server was handed: stem to private key."""
    return {path.stem: path.read_bytes() for path in (mesh.host(name) / "handed-over").glob("*.key")}


def client_key(mesh: Mesh, name: str) -> bytes:
    return (mesh.current(name) / f"{name}_SyncClient.key").read_bytes()


def test_meshes_that_hand_over_their_client_sets_are_joined_and_stay_joined(tmp_path: Path) -> None:
    two = here, there = meshes(tmp_path)
    outputs: list[tuple[str, bytes]] = []
    passphrases = {"here": "the passphrase of the one mesh: b7Kq", "there": "the passphrase of the other: w3Zt"}
    opening = {}
    for mesh, other in ((here, "there"), (there, "here")):
        mesh.settings = {"esync_trust_model": "shared_keys", "esync_pfx_passphrase": passphrases[mesh.root.name]}
        mesh.write()
        mesh.succeed("establish")
        secret = mesh.root / "opening.json"
        secret.write_text(json.dumps({"esync_folder_passphrase": passphrases[other]}))
        opening[mesh.root] = ("-vvvv", "--diff", "-e", f"@{secret}")

    for mesh in two:
        result = export(mesh, "-vvvv", *(["-e", "esync_endpoint=external"] if mesh is there else []))
        assert "holds private keys" in result.prose
        outputs.append((f"export {mesh.root.name}", result.output.encode()))
    out = there.root / "out-x"
    assert out.stat().st_mode & 0o777 == 0o700
    assert {path.name: path.stat().st_mode & 0o777 for path in out.iterdir()} == dict.fromkeys(
        ["x_Sync.json", "x_SyncClient.cer", "x_SyncClient.pfx", "x_SyncServer.cer"], 0o600
    )
    assert list(json.loads((out / "x_Sync.json").read_text())["private_keys"]) == ["x_SyncClient.pfx"]
    assert set(export(here).changed.values()) == {0}
    folders = {mesh.root: carry(mesh) for mesh in two}

    # Without the private key, or without the passphrase, nothing is taken in.
    before = here.snapshot()
    kept = (folders[there.root] / "y_SyncClient.pfx").read_bytes()
    (folders[there.root] / "y_SyncClient.pfx").unlink()
    result = here.fail("apply", "-e", f"esync_folder={folders[there.root]}")
    assert "y_SyncClient.pfx: it is missing: y accepts only callers that present its own client set" in result.prose
    assert "x_SyncClient.pfx: it cannot be opened without its passphrase" in result.prose
    assert "y_SyncClient.pfx: it cannot" not in result.prose
    assert here.snapshot() == before
    (folders[there.root] / "y_SyncClient.pfx").write_bytes(kept)

    outputs.append(("apply there", apply(there, folders[here.root], *opening[there.root]).output.encode()))
    assert held(there, "x") == {
        "a_SyncClient": client_key(here, "a"),
        "b_SyncClient": client_key(here, "b"),
        "y_SyncClient": client_key(there, "y"),
    }
    with listening(there, "x"), listening(there, "y"):
        result = apply(here, folders[there.root], *opening[here.root])
        outputs.append(("apply here", result.output.encode()))
        assert "Every external peer answered as it should." in result.output
        assert {entry["peer"] for entry in here.trust("a")["entries"] if entry["role"] == "client"} == {"a"}
        before = here.snapshot()
        assert set(apply(here, folders[there.root], *opening[here.root]).changed.values()) == {0}
        assert set(here.succeed("establish").changed.values()) == {0}
        assert here.snapshot() == before
    assert held(here, "a")["x_SyncClient"] == client_key(there, "x")

    secrets = secrets_of([mesh.root / "hosts" for mesh in two])
    # A member that lost one of their sets is told.
    (here.host("b") / "handed-over" / "y_SyncClient.key").unlink()
    result = here.succeed("establish")
    assert "b cannot call y of another mesh, because their shared client keys are missing on it" in result.prose
    assert set(held(here, "b")) == {"a_SyncClient", "x_SyncClient"}
    here.fail("check")
    assert [(one["server"], one["kind"]) for one in here.report()["problems"]] == [("b", "shared_keys_missing")]
    apply(here, folders[there.root], *opening[here.root])
    assert set(held(here, "b")) == {"a_SyncClient", "x_SyncClient", "y_SyncClient"}

    # An external peer that is removed knows the client sets of all, so they are replaced, and its own is destroyed; the
    # sets of the other external peers outlive that rotation.
    old = client_key(here, "a")
    outputs.append(("remove", here.succeed("remove", "-e", "esync_remove=x", "-vvvv").output.encode()))
    assert client_key(here, "a") != old
    assert set(held(here, "a")) == {"b_SyncClient", "y_SyncClient"}
    assert held(here, "a")["y_SyncClient"] == client_key(there, "y")
    here.settings["esync_trust_model"] = "pinned"
    here.write()
    before = here.snapshot()
    assert "the ledger has external peers (y)" in here.fail("regenerate").prose
    assert here.snapshot() == before

    secrets += secrets_of([mesh.root / "hosts" for mesh in two])
    secrets += [Secret(f"passphrase {name}", text.encode()) for name, text in passphrases.items()]
    secrets.append(Secret("y_SyncClient.pfx", kept))
    assert leaks(secrets, outputs) == []
    left = [everything_below(mesh.root / name) for mesh in two for name in ("ledger", "report", "tmp", "remote-tmp")]
    assert leaks(secrets, [one for found in left for one in found]) == []


def test_what_one_host_learned_the_others_are_owed(two: list[Mesh]) -> None:
    here, there = two
    export(there)
    apply(here, carry(there, "x"), "--limit", "a")
    assert here.trusted("a") == {"b", "x"}
    assert here.trusted("b") == {"a"}
    assert here.run("verify").code == 0
    assert [(debt["server"], debt["missing"]) for debt in here.report()["pending"]] == [("b", ["x"])]
    here.succeed("establish")
    assert here.trusted("b") == {"a", "x"}
    assert here.report()["pending"] == []


def test_hostile_folders_are_refused_on_every_host_and_nothing_changes(two: list[Mesh]) -> None:
    mesh, there = two
    export(there)
    good = carry(there)
    titles = {f"h{number}": title for number, title in enumerate(CASES)}
    assert len(titles) >= 30
    folders = mesh.root / "folders"
    folders.mkdir()
    own = certificate("a", "server").der
    for host, title in titles.items():
        CASES[title][0](Hostile(folders / host, host, own))
        mesh.host_settings[host] = {"esync_folder": str(folders / host)}
        if "store" in title:
            mesh.host_settings[host]["esync_folder_passphrase"] = PASSPHRASE
    for name in ("a", "b"):
        mesh.host_settings[name] = {"esync_folder": str(good)}
    mesh.names += titles
    mesh.write()
    before = mesh.snapshot()
    result = mesh.fail("apply")
    assert mesh.snapshot() == before

    failures = {match["host"]: json.loads(match["result"]) for match in _FAILED.finditer(result.output)}
    # The plan ends the run for all.
    assert "so the run stops here for all servers" in failures.pop("localhost")["msg"]
    assert set(failures) == set(titles)
    for host, title in titles.items():
        errors = failures[host].get("errors") or [failures[host]["error"]]
        found = {(error["kind"], error["path"].removeprefix(str(folders / host)).strip("/")) for error in errors}
        # These hosts have no certificates of their own that could be recognised.
        assert found == told(title, host) - {("own_certificate", "guest_SyncServer.cer")}, title
    assert "PRIVATE" not in result.output
    assert PASSPHRASE not in result.output
