# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""No key and no passphrase in any output, cache or temporary folder, whatever goes well or wrong."""

from __future__ import annotations

import base64
import json
import textwrap
from pathlib import Path

import pytest
from local_mesh import Mesh
from secret_scanner import Secret, everything_below, leaks, secrets_of

GIVEN = "a passphrase that the user gave: Zr7kQ2mXw9"


def verbose(mesh: Mesh, playbook: str, *arguments: str) -> bytes:
    """A run at the highest verbosity, with diff."""
    return mesh.run(playbook, "-vvvv", "--diff", *arguments).output.encode()


def left_behind(mesh: Mesh) -> list[tuple[str, bytes]]:
    """Everything that runs leave outside the servers' own folders."""
    return [
        found
        for folder in ("ledger", "report", "tmp", "remote-tmp", "facts")
        for found in everything_below(mesh.root / folder)
    ]


def test_nothing_leaks(make_mesh, monkeypatch: pytest.MonkeyPatch) -> None:
    mesh = make_mesh("sound", "given", esync_key_type="rsa", esync_key_size=2048)
    mesh.settings["esync_formats"] = ["cer", "pfx", "pvk"]
    mesh.host_settings["given"] = {"esync_pfx_passphrase": GIVEN}
    mesh.write()
    monkeypatch.setenv("ANSIBLE_CACHE_PLUGIN", "jsonfile")
    monkeypatch.setenv("ANSIBLE_CACHE_PLUGIN_CONNECTION", str(mesh.root / "facts"))
    outputs = [("establish", verbose(mesh, "establish"))]
    secrets = [*secrets_of([mesh.root / "hosts"]), Secret("the given passphrase", GIVEN.encode())]
    outputs.append(("regenerate", verbose(mesh, "regenerate")))

    mesh.names += ["flipped", "empty", "swapped", "link", "pvk", "pfx"]
    mesh.write()
    outputs.append(("establish with new servers", verbose(mesh, "establish")))
    secrets += secrets_of([mesh.root / "hosts"])
    damage(mesh)
    outputs.append(("establish over damage", verbose(mesh, "establish")))
    outputs.append(("verify over damage", verbose(mesh, "verify")))
    outputs.append(("check over damage", verbose(mesh, "check")))
    mesh.host_settings["given"] = {"esync_pfx_passphrase": GIVEN + " changed"}
    mesh.write()
    outputs.append(("another passphrase", verbose(mesh, "establish")))
    outputs.append(("check mode", verbose(mesh, "establish", "--check")))
    outputs.append(("discard", verbose(mesh, "establish", "-e", "esync_discard_existing=true")))
    secrets += secrets_of([mesh.root / "hosts"])

    assert all(b"PLAY RECAP" in text for _name, text in outputs)
    assert leaks(secrets, outputs) == []
    assert leaks(secrets, left_behind(mesh)) == []


def test_nothing_leaks_where_client_sets_are_shared_keys(make_mesh, monkeypatch: pytest.MonkeyPatch) -> None:
    mesh = make_mesh("a", "b", esync_trust_model="shared_keys", esync_pfx_passphrase=GIVEN)
    log = mesh.root / "report" / "ansible.log"
    log.parent.mkdir()
    # Whatever keeps results: the fact cache, a callback that writes each result to a file, and the log.
    monkeypatch.setenv("ANSIBLE_CACHE_PLUGIN", "jsonfile")
    monkeypatch.setenv("ANSIBLE_CACHE_PLUGIN_CONNECTION", str(mesh.root / "facts"))
    monkeypatch.setenv("ANSIBLE_CALLBACKS_ENABLED", "ansible.builtin.tree")
    monkeypatch.setenv("ANSIBLE_CALLBACK_TREE_DIR", str(mesh.root / "report" / "tree"))
    monkeypatch.setenv("ANSIBLE_LOG_PATH", str(log))
    outputs = [("establish", verbose(mesh, "establish"))]
    secrets = [Secret("the given passphrase", GIVEN.encode()), *handed_secrets(mesh)]
    assert any("handed" in secret.name for secret in secrets)
    outputs.append(("regenerate", verbose(mesh, "regenerate")))
    secrets += handed_secrets(mesh)
    held = mesh.host("a") / "handed-over" / "b_SyncClient.key"
    held.write_bytes(held.read_bytes()[:-40])
    outputs.append(("check over damage", verbose(mesh, "check")))
    # A set that cannot be read, and one that is sent anew.
    mine = mesh.current("b") / "b_SyncClient.pfx"
    sound = mine.read_bytes()
    mine.write_bytes(sound[:-60])
    outputs.append(("establish over damage", verbose(mesh, "establish")))
    mine.write_bytes(sound)
    outputs.append(("repair", verbose(mesh, "repair")))
    with monkeypatch.context() as patched:
        patched.setenv("ANSIBLE_DEBUG", "1")
        held.unlink()
        outputs.append(("establish in debug mode", verbose(mesh, "establish")))
    assert "ANSIBLE_DEBUG prints whatever modules return and are given" in outputs[-1][1].decode()
    with monkeypatch.context() as patched:
        patched.setenv("ANSIBLE_KEEP_REMOTE_FILES", "1")
        outputs.append(("establish with files that are kept", verbose(mesh, "establish")))
    assert "ANSIBLE_KEEP_REMOTE_FILES leaves whatever modules are given in files" in outputs[-1][1].decode()
    assert all(b"PLAY RECAP" in text for _name, text in outputs)
    assert b"PLAY RECAP" in log.read_bytes()
    assert list((mesh.root / "report" / "tree").iterdir())
    assert leaks(secrets, outputs) == []
    assert leaks(secrets, left_behind(mesh)) == []


def handed_secrets(mesh: Mesh) -> list[Secret]:
    """Every key that is on the hosts, and every .pfx file, which is encrypted and nobody's business all the same."""
    files = [path for path in sorted((mesh.root / "hosts").rglob("*.pfx")) if not path.is_symlink()]
    pfx = [Secret(f"{path.parent.parent.name}/{path.name}", path.read_bytes()) for path in files]
    return [*secrets_of([mesh.root / "hosts"]), *pfx]


def damage(mesh: Mesh) -> None:
    for name, file in (
        ("flipped", "flipped_SyncServer.key"),
        ("pvk", "pvk_SyncServer.pvk"),
        ("pfx", "pfx_SyncClient.pfx"),
    ):
        path = mesh.current(name) / file
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 1
        path.write_bytes(data)
    (mesh.current("empty") / "empty_SyncServer.key").write_bytes(b"")
    one, other = (mesh.current("swapped") / f"swapped_Sync{role}.key" for role in ("Server", "Client"))
    content = one.read_bytes()
    one.write_bytes(other.read_bytes())
    other.write_bytes(content)
    key = mesh.current("link") / "link_SyncServer.key"
    key.rename(mesh.root / "hosts" / "elsewhere.key")
    key.symlink_to(mesh.root / "hosts" / "elsewhere.key")


def forms(value: bytes) -> dict[str, bytes]:
    """The ways in which a leak could look."""
    encoded = base64.b64encode(value)
    return {
        "raw": value,
        "hex": value.hex().encode(),
        "upper-case hex": value.hex().upper().encode(),
        "hex with colons": value.hex(":").encode(),
        "base64": encoded,
        "base64 in lines": "\n".join(textwrap.wrap(encoded.decode(), 64)).encode(),
        "base64 after one byte": base64.b64encode(b"x" + value),
        "base64 after two bytes": base64.b64encode(b"xy" + value),
        "base64 in JSON": json.dumps({"a": "\n".join(textwrap.wrap(encoded.decode(), 64))}).encode(),
    }


@pytest.fixture(scope="module")
def a_secret(established: Mesh) -> Secret:
    (found,) = [one for one in secrets_of([established.current("a")]) if one.name == "a_SyncServer.key as DER"]
    return found


@pytest.mark.parametrize("form", list(forms(b"")))
def test_the_scanner_finds_a_deliberate_leak(a_secret: Secret, form: str) -> None:
    text = b"ok: [a] => {" + forms(a_secret.value)[form] + b"}"
    assert leaks([a_secret], [("output", text)])


def test_the_scanner_finds_a_key_that_a_run_prints(established: Mesh, tmp_path: Path) -> None:
    playbook = tmp_path / "leak.yml"
    playbook.write_text(
        json.dumps(
            [
                {
                    "hosts": "a",
                    "gather_facts": False,
                    "tasks": [
                        {"ansible.builtin.slurp": {"src": str(established.current("a") / "server.key")}},
                    ],
                }
            ]
        )
    )
    output = established.run(str(playbook.with_suffix("")), "-v").output
    assert leaks(secrets_of([established.current("a")]), [("output", output.encode())])


def test_the_scanner_is_quiet_about_public_data(established: Mesh) -> None:
    secrets = secrets_of([established.root / "hosts"])
    assert leaks(secrets, everything_below(established.ledger)) == []
