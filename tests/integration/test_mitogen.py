# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Mitogen's strategy with barriers works, with its own connections; its others are refused."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import ansible_mitogen
import pytest
from local_mesh import free_ports
from secret_scanner import Secret, everything_below, leaks, secrets_of
from ssh_hosts import SshHost

PASSPHRASE = "a passphrase that the user gave: Wd8sL3kYq1"
LIMIT = 20


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SshHost]:
    """A host that is reached by ssh."""
    plugins = Path(ansible_mitogen.__file__).parent / "plugins" / "strategy"
    monkeypatch.setenv("ANSIBLE_STRATEGY_PLUGINS", str(plugins))
    monkeypatch.setenv("ANSIBLE_STRATEGY", "mitogen_linear")
    # Mitogen takes no ssh options for this.
    monkeypatch.setenv("ANSIBLE_HOST_KEY_CHECKING", "false")
    # Longer than the limit of a visit: else ssh itself would give up first.
    monkeypatch.setenv("ANSIBLE_TIMEOUT", "60")
    one = SshHost(tmp_path / "ssh", free_ports(1)[0])
    yield one
    one.end()


def test_a_mesh_is_made_rotated_and_shares_keys_with_mitogen(make_mesh, host: SshHost) -> None:
    mesh = make_mesh("a", "b", "c", esync_trust_model="shared_keys", esync_pfx_passphrase=PASSPHRASE)
    mesh.host_settings["c"] = host.variables
    if os.geteuid() == 0:
        # Where Ansible itself would have to write what it sends to a file, Mitogen does not.
        mesh.host_settings["c"]["ansible_become"] = True
        mesh.host_settings["c"]["ansible_become_method"] = "su"
    mesh.write()
    made = mesh.succeed("establish", "-vvv", "--diff")
    assert "6 of 6 pairs ok" in made.output
    before = mesh.snapshot()
    assert set(mesh.succeed("establish").changed.values()) == {0} and mesh.snapshot() == before
    secrets = [*secrets_of([mesh.root / "hosts"]), Secret("the given passphrase", PASSPHRASE.encode())]
    rotated = mesh.succeed("regenerate", "-vvv", "--diff")
    assert "6 of 6 pairs ok" in rotated.output
    secrets += secrets_of([mesh.root / "hosts"])
    assert leaks(secrets, [("establish", made.output.encode()), ("regenerate", rotated.output.encode())]) == []
    for folder in ("ledger", "report", "tmp", "remote-tmp"):
        assert leaks(secrets, everything_below(mesh.root / folder)) == []


def test_with_mitogen_a_frozen_host_costs_its_own_pairs(make_mesh, host: SshHost) -> None:
    mesh = make_mesh("a", "b", "c", esync_connect_timeout=2, esync_answer_timeout=2)
    mesh.host_settings["c"] = host.variables
    mesh.write()
    mesh.succeed("establish")
    host.freeze()
    result = mesh.fail("verify", "-e", f"esync_visit_timeout={LIMIT}")
    assert f"did not end its visit within {LIMIT} seconds" in result.prose
    summary = mesh.report()["summary"]
    assert (summary["ok"], summary["failed"], summary["untested"]) == (2, 0, 4)
    host.thaw()
    assert "6 of 6 pairs ok" in mesh.succeed("verify").output


def test_mitogens_other_strategies_are_refused(make_mesh, host: SshHost, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANSIBLE_STRATEGY", "mitogen_free")
    mesh = make_mesh("a", "b")
    assert "the strategy mitogen_free lets hosts run ahead" in mesh.fail("establish").prose
    assert list((mesh.root / "hosts").iterdir()) == []
