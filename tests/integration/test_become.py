# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Become: from a user who may do nothing to root, by sudo and su, and to a user who owns the mesh."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from local_mesh import Mesh, free_ports
from secret_scanner import everything_below, leaks, secrets_of
from ssh_hosts import SshHost

LOGIN, OWNER = "esync-login", "esync-owner"
UIDS = {LOGIN: 47111, OWNER: 47112}
PASSWORD = "the password of root and of the owner: Hx5tB9"

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can start hosts with users of their own")


def with_users(folder: Path) -> list[str]:
    """A command under which the machine has two more users, passwords to become somebody, and a rule for sudo.

    They exist in a mount namespace only; nothing of the machine is changed.
    """
    hashed = subprocess.run(
        ["openssl", "passwd", "-6", "-stdin"], input=PASSWORD, check=True, capture_output=True, text=True
    ).stdout.strip()
    changed = {"passwd": "", "group": "", "shadow": "", "sudoers": "root ALL=(ALL) ALL\n"}
    for name in ("passwd", "group", "shadow"):
        changed[name] = Path("/etc", name).read_text()
    lines = changed["shadow"].splitlines()
    changed["shadow"] = "\n".join(f"root:{hashed}:19000::::::" if one.startswith("root:") else one for one in lines)
    changed["shadow"] += "\n"
    for name, uid in UIDS.items():
        home = folder / name
        home.mkdir(mode=0o700)
        os.chown(home, uid, uid)
        changed["passwd"] += f"{name}:x:{uid}:{uid}::{home}:/bin/sh\n"
        changed["group"] += f"{name}:x:{uid}:\n"
        changed["shadow"] += f"{name}:{hashed if name == OWNER else '*'}:19000::::::\n"
    changed["sudoers"] += f"{LOGIN} ALL=(ALL) NOPASSWD: ALL\n"
    mounts = []
    for name, content in changed.items():
        path = folder / name
        path.write_text(content)
        path.chmod(stat.S_IMODE(Path("/etc", name).stat().st_mode))
        os.chown(path, 0, Path("/etc", name).stat().st_gid)
        mounts.append(f"mount --bind {path} /etc/{name}")
    return ["unshare", "--mount", "sh", "-c", " && ".join([*mounts, 'exec "$@"']), "sh"]


@pytest.fixture
def mesh(monkeypatch: pytest.MonkeyPatch) -> Iterator[Mesh]:
    """Three hosts, on each of which an ordinary user logs in: root by sudo, root by su, and the owner by sudo."""
    with tempfile.TemporaryDirectory(prefix="esync-become-") as name, contextlib.ExitStack() as stack:
        # Other users have to come by; the one of pytest is closed to them.
        folder = Path(name)
        folder.chmod(0o755)
        # unix(7): a path of a socket has at most 108 bytes.
        monkeypatch.setenv("ANSIBLE_SSH_CONTROL_PATH_DIR", str(folder / "ssh-control"))
        (folder / "users").mkdir()
        prefix = with_users(folder / "users")
        if subprocess.run([*prefix, "true"], capture_output=True, check=False).returncode:
            pytest.skip("this machine allows no mount namespaces")
        one = SshHost(folder / "ssh", free_ports(1)[0], LOGIN, prefix)
        stack.callback(one.end)
        (folder / "mesh").mkdir()
        settings = {
            **one.variables,
            # The one of these tests may lie where other users do not come by.
            "ansible_python_interpreter": "/usr/bin/python3",
            "ansible_become": True,
            "ansible_remote_tmp": "~/.ansible/tmp",
        }
        hosts: dict[str, dict[str, Any]] = {
            "sudo": {},
            "su": {"ansible_become_method": "su", "ansible_become_password": PASSWORD},
            "owner": {"ansible_become_user": OWNER},
        }
        mesh = Mesh(folder / "mesh", list(hosts), settings, hosts)
        mesh.host("owner").mkdir()
        os.chown(mesh.host("owner"), UIDS[OWNER], UIDS[OWNER])
        yield mesh


@needs_root
def test_whoever_is_become_owns_the_files_and_nobody_else_can_read_the_keys(mesh: Mesh) -> None:
    result = mesh.succeed("establish", "-vvv", "--diff")
    assert "6 of 6 pairs ok" in result.output
    owners = {"sudo": 0, "su": 0, "owner": UIDS[OWNER]}
    for name, uid in owners.items():
        files = [mesh.host(name), *mesh.host(name).rglob("*")]
        assert len(files) > 10 and {path.lstat().st_uid for path in files} == {uid}
        keys = [path for path in files if path.suffix in (".key", ".pfx") and not path.is_symlink()]
        assert len(keys) == 4 and {stat.S_IMODE(path.stat().st_mode) for path in keys} == {0o600}
        # Whoever logs in reads neither.
        for path in keys:
            command = [
                "setpriv",
                f"--reuid={UIDS[LOGIN]}",
                f"--regid={UIDS[LOGIN]}",
                "--clear-groups",
                "cat",
                str(path),
            ]
            assert subprocess.run(command, capture_output=True, check=False).returncode != 0
    left = [path for name in UIDS for path in (mesh.root.parent / "users" / name).rglob("ansible-*")]
    assert left == []
    secrets = secrets_of([mesh.root / "hosts"])
    assert leaks(secrets, [("output", result.output.encode()), *everything_below(mesh.root / "tmp")]) == []
    assert PASSWORD not in result.output

    # Where the temporary endpoint of the last run notes its process, until that ends.
    before = mesh.snapshot("listener.lock")
    again = mesh.succeed("establish")
    assert set(again.changed.values()) == {0} and mesh.snapshot("listener.lock") == before
    mesh.succeed("regenerate")
    assert {path.lstat().st_uid for path in mesh.host("owner").rglob("*")} == {UIDS[OWNER]}


@needs_root
def test_without_become_and_as_somebody_else_it_is_told_what_is_missing(mesh: Mesh) -> None:
    mesh.settings["ansible_become"] = False
    mesh.write()
    assert "ansible_become: true" in mesh.fail("establish").prose
    # As the one who owns the folder of another.
    mesh.settings["ansible_become"] = True
    mesh.host_settings["owner"] = {"ansible_become_user": LOGIN}
    mesh.write()
    assert f"ansible_become_user: {OWNER}" in mesh.fail("establish").prose
    # Ansible's own folder on the host, which it cannot use either.
    mesh.settings["ansible_remote_tmp"] = str(mesh.root / "closed")
    (mesh.root / "closed").mkdir()
    os.chown(mesh.root / "closed", UIDS[LOGIN], UIDS[LOGIN])
    mesh.host_settings["owner"] = {"ansible_become_user": OWNER}
    mesh.write()
    assert re.search(f"owner: the module ended without a result: .*{mesh.root}/closed", mesh.fail("establish").prose)


@needs_root
def test_no_passphrase_is_written_where_every_user_can_read_it(mesh: Mesh) -> None:
    # By su from one ordinary user to another: Ansible has to write a file that both can read.
    for name in mesh.names:
        mesh.host_settings[name] = {
            "ansible_become_user": OWNER,
            "ansible_become_method": "su",
            "ansible_become_password": PASSWORD,
            "esync_pfx_passphrase": "never in such a file: Vb3nM8",
        }
    mesh.host_settings["sudo"]["ansible_shell_allow_world_readable_temp"] = True
    mesh.write()
    result = mesh.fail("establish", "-vvv")
    assert "sudo: a passphrase is about to be sent" in result.prose
    assert "ansible_shell_allow_world_readable_temp to false" in result.prose
    assert "Vb3nM8" not in result.output
    if not shutil.which("setfacl"):
        assert re.search(f"owner: without pipelining .* for {OWNER} alone. Set ansible_become_method", result.prose)
