# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A host that accepts the connection and then says nothing costs its own pairs, and no more than its time."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from local_mesh import Mesh, free_ports
from ssh_hosts import SshHost, clients_of

LIMIT = 12
SETTINGS = {"esync_visit_timeout": LIMIT, "esync_connect_timeout": 2, "esync_answer_timeout": 2}


def summary(mesh: Mesh) -> tuple[int, int, int]:
    found = mesh.report()["summary"]
    return found["ok"], found["failed"], found["untested"]


# -- by ssh ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def reached_by_ssh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Mesh, dict[str, SshHost]]]:
    """A mesh whose members c and d have an ssh daemon each; for d files are copied, because su takes no pipelining."""
    root = tmp_path / "mesh"
    root.mkdir()
    ports = dict(zip("cd", free_ports(2)))
    hosts: dict[str, SshHost] = {}
    # unix(7): a path of a socket has at most 108 bytes.
    monkeypatch.setenv("ANSIBLE_SSH_CONTROL_PATH_DIR", f"/tmp/esync-test-{os.getpid()}")
    # Longer than the limit of a visit: else ssh itself would give up first.
    monkeypatch.setenv("ANSIBLE_TIMEOUT", "60")
    try:
        for name, port in ports.items():
            hosts[name] = SshHost(root / f"ssh-{name}", port)
        mesh = Mesh(root, list("abcd"), dict(SETTINGS), {name: one.variables for name, one in hosts.items()})
        if os.geteuid() == 0:
            mesh.host_settings["d"].update(ansible_become=True, ansible_become_method="su")
        mesh.host_settings["d"]["ansible_python_interpreter"] = str(root / "python")
        # Whoever logs in on d is frozen by the first program that he starts there, if he is to be.
        (root / "python").write_text(
            f'#!/bin/sh\n[ -e {root}/freeze ] && {hosts["d"].freezer}\nexec {sys.executable} "$@"\n'
        )
        (root / "python").chmod(0o755)
        mesh.write()
        yield mesh, hosts
    finally:
        for one in hosts.values():
            one.end()


def test_hosts_behind_frozen_connections_cost_their_own_pairs_and_the_next_run_finds_them_again(
    reached_by_ssh: tuple[Mesh, dict[str, SshHost]],
) -> None:
    mesh, hosts = reached_by_ssh
    mesh.settings["esync_visit_timeout"] = 120
    mesh.write()
    mesh.succeed("establish")
    assert summary(mesh) == (12, 0, 0)
    mesh.settings["esync_visit_timeout"] = LIMIT
    mesh.write()
    # One before its visit, behind the connection that was kept open; one in the middle of it.
    assert hosts["c"].sessions(), "no connection was kept"
    hosts["c"].freeze()
    (mesh.root / "freeze").touch()
    began = time.monotonic()
    result = mesh.fail("verify")
    # Whatever else takes its time on a busy machine.
    assert time.monotonic() - began < 10 * LIMIT
    assert summary(mesh) == (2, 0, 10)
    for name in "cd":
        assert f"{name}: it accepted the connection and did not end its visit within {LIMIT} seconds" in result.prose
    assert not clients_of(hosts.values()), "programs that wait for the frozen hosts are left"
    (mesh.root / "freeze").unlink()
    for one in hosts.values():
        one.thaw()
    mesh.settings["esync_visit_timeout"] = 120
    mesh.write()
    mesh.succeed("verify")
    assert summary(mesh) == (12, 0, 0)


# -- on this machine ------------------------------------------------------------------------------------------------


def hang(mesh: Mesh, name: str, call: int, after: bool) -> Path:
    """Let the interpreter of a member hang at its call of this number, before or after what it should do.

    :returns: the file that has the number of calls.
    """
    count, wrapper = mesh.root / "count", mesh.root / "python"
    count.write_text("0")
    lines = ["#!/bin/sh", f"echo $(($(cat {count}) + 1)) > {count}"]
    lines += [f'[ $(cat {count}) = {call} ] || exec {sys.executable} "$@"']
    lines += [f'{sys.executable} "$@" > /dev/null'] if after else []
    wrapper.write_text("\n".join([*lines, "exec sleep 1000", ""]))
    wrapper.chmod(0o755)
    mesh.host_settings[name] = {"ansible_python_interpreter": str(wrapper)}
    mesh.settings.update(SETTINGS)
    mesh.write()
    return count


def test_nobody_waits_twice_for_a_module_that_hangs(mesh: Mesh) -> None:
    count = hang(mesh, "c", 1, after=False)
    # Of what goes wrong in a check, the rest is tested all the same.
    result = mesh.fail("check")
    assert count.read_text().strip() == "1"
    assert summary(mesh) == (2, 0, 4)
    causes = {pair["cause"] for pair in mesh.report()["pairs"] if "c" in (pair["from"], pair["to"])}
    assert causes == {"host_failed"}, "its endpoint is not to blame"
    assert f"did not end its visit within {LIMIT} seconds" in result.prose


def test_a_host_that_hangs_in_the_switch_has_the_others_switched_back_and_no_pair_is_lost(mesh: Mesh) -> None:
    # Reads, makes, trusts, tests, switches.
    hang(mesh, "c", 5, after=True)
    result = mesh.fail("regenerate")
    assert "rolled back on every server but c" in result.prose
    assert "c: the switch failed: it accepted the connection" in result.prose
    # It has switched, the others have not; everybody accepts both.
    links = {link.name for link in mesh.host("c").iterdir() if link.is_symlink()}
    assert links == {"current", "previous", "trusted"}
    mesh.host_settings.clear()
    mesh.write()
    assert "Before the rotation: 6 of 6 pairs ok." in mesh.succeed("regenerate").output
    assert summary(mesh) == (6, 0, 0)
    assert not (mesh.host("c") / "previous").is_symlink()
