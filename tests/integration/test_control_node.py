# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Control nodes as people have them: inventories that are no file, other callbacks, users and folders."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from local_mesh import Mesh, free_ports

CALLBACK = '''
"""As much of ansible.posix.json as matters: one JSON text at the end."""
import json
from ansible.plugins.callback import CallbackBase

DOCUMENTATION = """
name: json
type: stdout
short_description: One JSON text
description: One JSON text.
"""


class CallbackModule(CallbackBase):
    CALLBACK_VERSION, CALLBACK_TYPE, CALLBACK_NAME = 2.0, "stdout", "json"

    def v2_playbook_on_stats(self, stats):
        self._display.display(json.dumps(sorted(stats.processed)))
'''


@pytest.mark.parametrize("arguments", [["verify"], ["establish", "--check", "--diff"]])
def test_an_output_that_programs_read_stays_one(
    mesh: Mesh, monkeypatch: pytest.MonkeyPatch, arguments: list[str]
) -> None:
    (mesh.root / "json.py").write_text(CALLBACK)
    monkeypatch.setenv("ANSIBLE_CALLBACK_PLUGINS", str(mesh.root))
    monkeypatch.setenv("ANSIBLE_STDOUT_CALLBACK", "json")
    mesh.names.append("d")
    mesh.write()
    done = subprocess.run(
        mesh.command(*arguments), cwd=mesh.root, env=mesh.environment(), capture_output=True, text=True, check=False
    )
    assert json.loads(done.stdout) == ["a", "b", "c", "d", "localhost"]
    if arguments == ["verify"]:
        assert "pairs ok" in done.stderr, "people can read it all the same"


def test_an_inventory_that_is_no_file_has_its_ledger_in_the_current_folder(tmp_path: Path) -> None:
    mesh = Mesh(tmp_path, [])
    one, other = free_ports(2)
    settings = {
        "esync_group": "all",
        "ansible_connection": "local",
        "ansible_python_interpreter": sys.executable,
        "esync_address": "127.0.0.1",
        "esync_listen_address": "127.0.0.1",
        "esync_port": f"{{{{ {one} if inventory_hostname == 'a' else {other} }}}}",
        "esync_directory": f"{tmp_path}/hosts/{{{{ inventory_hostname }}}}",
        "esync_key_type": "ecdsa",
        "esync_formats": ["cer"],
        "esync_install_dependencies": False,
    }
    mesh.inventory = "a,b,"
    command = mesh.command("establish", "-e", json.dumps(settings))
    done = subprocess.run(command, cwd=tmp_path, env=mesh.environment(), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    [ledger] = tmp_path.glob("*esync-ledger")
    assert sorted(path.name for path in ledger.glob("*.json")) == ["a.json", "b.json"]
    assert f"{ledger} (esync_ledger)" in done.stdout
    assert not (tmp_path / "None").exists()


@pytest.mark.parametrize("setting", ["esync_ledger", "esync_report_directory"])
def test_a_folder_that_cannot_be_written_is_noticed_before_any_host_is_touched(make_mesh, setting: str) -> None:
    mesh = make_mesh("a", "b")
    (mesh.root / "file").write_text("")
    result = mesh.fail("establish", "-e", f"{setting}={mesh.root}/file/there")
    assert f"set {setting} to another folder" in result.prose
    assert list((mesh.root / "hosts").iterdir()) == []


def test_a_user_without_an_entry_in_passwd_can_make_a_mesh(make_mesh) -> None:
    mesh = make_mesh("a", "b")
    # The same user by another number, as in a container.
    nobody = ["unshare", "--user", "--map-user=47110"]
    if subprocess.run([*nobody, "true"], capture_output=True, check=False).returncode:
        pytest.skip("this machine allows no user namespaces")
    mesh.succeed("establish", prefix=nobody)
    assert mesh.report()["summary"]["ok"] == 2


def test_an_interpreter_that_ansible_finds_itself_is_looked_for_once(mesh: Mesh) -> None:
    found = {"ansible_python_interpreter": "auto_silent", "ansible_interpreter_python_fallback": [sys.executable]}
    result = mesh.run("establish", "-vvv", "-e", json.dumps(found))
    assert result.code == 0, result.output
    looked = [line for line in result.output.splitlines() if "Attempting python interpreter discovery" in line]
    assert len(looked) == 3, "one for each server, which has two visits"
