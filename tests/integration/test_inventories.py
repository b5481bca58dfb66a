# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Inventories of every kind: scripts, constructed groups, vaulted variables, and folders that cannot be written."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
from local_mesh import ANSIBLE, Mesh, Result
from secret_scanner import Secret, everything_below, leaks

PASSPHRASE = "from the vault: Qv4nW8eJt2Lx"
DEFAULTS = ("esync_ledger", "esync_report_directory")


def inventory_of(mesh: Mesh) -> dict[str, Any]:
    """The inventory's group ``esync``, with the default ledger and reports."""
    group: dict[str, Any] = json.loads((mesh.root / "hosts.json").read_text())["esync"]
    return {**group, "vars": {key: value for key, value in group["vars"].items() if key not in DEFAULTS}}


def played(mesh: Mesh, playbook: str, inventory: Path, *arguments: str, prefix: Any = ()) -> Result:
    mesh.inventory = str(inventory)
    return mesh.run(playbook, *arguments, prefix=prefix)


def test_a_script_and_a_constructed_group_in_one_folder_are_a_mesh(make_mesh: Any) -> None:
    mesh = make_mesh("a", "b", "c")
    group = inventory_of(mesh)
    prod = mesh.root / "prod"
    prod.mkdir()
    # The script knows the hosts and what they are; that makes the members. The last one is none.
    roles = {"a": "sync", "b": "sync", "c": "web"}
    hosts = {name: {**own, **group["vars"], "role": roles[name]} for name, own in group["hosts"].items()}
    listed = {"_meta": {"hostvars": hosts}, "all": {"hosts": list(hosts)}}
    script = prod / "10-hosts"
    script.write_text(f"#!/bin/sh\ncat <<'END'\n{json.dumps(listed)}\nEND\n")
    script.chmod(0o755)
    constructed = {"plugin": "ansible.builtin.constructed", "strict": True, "groups": {"esync": "role == 'sync'"}}
    (prod / "20-groups.yml").write_text(json.dumps(constructed))
    done = played(mesh, "establish", prod)
    assert done.code == 0 and "2 of 2 pairs ok" in done.output, done.output
    assert sorted(path.name for path in (prod / ".esync-ledger").glob("*.json")) == ["a.json", "b.json"]
    done = played(mesh, "verify", prod)
    assert done.code == 0 and "2 of 2 pairs ok" in done.output, done.output
    assert not mesh.host("c").exists()


def test_an_inventory_folder_that_cannot_be_written_is_refused_with_the_settings(make_mesh: Any) -> None:
    mesh = make_mesh("a", "b")
    prod = mesh.root / "prod"
    prod.mkdir()
    (prod / "hosts.json").write_text(json.dumps({"esync": inventory_of(mesh)}))
    script = 'mount --bind "$0" "$0" && mount -o remount,bind,ro "$0" "$0" && exec "$@"'
    prefix = ["unshare", "--map-root-user", "--mount", "sh", "-c", script, str(prod)]
    if subprocess.run([*prefix, "true"], capture_output=True, check=False).returncode:
        pytest.skip("this machine allows no mount namespaces")
    done = played(mesh, "establish", prod, prefix=prefix)
    text = " ".join(done.output.split())
    assert done.code != 0 and f"{prod} cannot be written" in text
    assert all(f"set {setting} to another folder" in text for setting in DEFAULTS)
    assert list((mesh.root / "hosts").iterdir()) == []
    # What it says is the way.
    elsewhere = [f"-e{setting}={mesh.root}/elsewhere/{setting}" for setting in DEFAULTS]
    done = played(mesh, "establish", prod, *elsewhere, prefix=prefix)
    assert done.code == 0 and "2 of 2 pairs ok" in done.output, done.output


def test_a_passphrase_from_a_vault_is_used_and_never_shown(make_mesh: Any) -> None:
    mesh = make_mesh("a", "b")
    prod = mesh.root / "prod"
    (prod / "group_vars" / "esync").mkdir(parents=True)
    (prod / "hosts.json").write_text(json.dumps({"esync": inventory_of(mesh)}))
    password = mesh.root / "password"
    password.write_text("the vault's own password: Zd6mF3\n")
    vault = str(ANSIBLE.with_name("ansible-vault"))
    # One variable in a file that is encrypted as a whole, one that is encrypted by itself.
    secret = prod / "group_vars" / "esync" / "vault.yml"
    secret.write_text(json.dumps({"vault_passphrase": PASSPHRASE}))
    keyed = ["--vault-password-file", str(password)]
    environment = {**os.environ, "ANSIBLE_LOCAL_TEMP": str(mesh.root / "tmp")}
    subprocess.run([vault, "encrypt", *keyed, str(secret)], check=True, capture_output=True, env=environment)
    other = PASSPHRASE[::-1]
    inline = subprocess.run(
        [vault, "encrypt_string", *keyed, "--name", "esync_pfx_passphrase", other],
        check=True,
        capture_output=True,
        text=True,
        env=environment,
    ).stdout
    (prod / "group_vars" / "esync" / "main.yml").write_text('esync_pfx_passphrase: "{{ vault_passphrase }}"\n')
    (prod / "host_vars").mkdir()
    (prod / "host_vars" / "b.yml").write_text(inline)
    outputs = []
    for playbook in ("establish", "check"):
        done = played(mesh, playbook, prod, *keyed, "-vvv", "--diff")
        assert done.code == 0 and "2 of 2 pairs ok" in done.output, done.output
        outputs.append((playbook, done.output.encode()))
    for name, passphrase in (("a", PASSPHRASE), ("b", other)):
        assert opens(mesh.current(name) / f"{name}_SyncServer.pfx", passphrase)
    secrets = [Secret("one", PASSPHRASE.encode()), Secret("other", other.encode())]
    assert leaks(secrets, outputs) == []
    for folder in (prod, mesh.root / "tmp", mesh.root / "remote-tmp"):
        assert leaks(secrets, everything_below(folder)) == []
    # Without the vault's password.
    done = played(mesh, "verify", prod)
    assert done.code != 0 and "give the password of the vault (--ask-vault-pass" in done.output, done.output
    # What was deleted from the vault must not pass for no passphrase; nothing is made without it.
    secret.unlink()
    (mesh.root / "hosts" / "a").rename(mesh.root / "hosts" / "kept")
    done = played(mesh, "establish", prod, *keyed)
    assert done.code != 0 and "the variable esync_pfx_passphrase: it cannot be evaluated" in done.output
    assert not mesh.host("a").exists()


def opens(path: Path, passphrase: str) -> bool:
    command = ["openssl", "pkcs12", "-in", str(path), "-noout", "-passin", "stdin"]
    return subprocess.run(command, input=passphrase, text=True, capture_output=True, check=False).returncode == 0
