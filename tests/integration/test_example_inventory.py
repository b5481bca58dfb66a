# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The documented inventory is one that the collection takes."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

from local_mesh import ANSIBLE, ROOT

PLAYBOOK = """
- hosts: localhost
  connection: local
  gather_facts: false
  tasks:
    - esync.mesh.mesh_members:
      register: found
    - ansible.builtin.copy:
        content: "{{ found.members | to_json }}"
        dest: "{{ playbook_dir }}/members.json"
        mode: "0644"
"""


def test_its_members_are_accepted(tmp_path: Path) -> None:
    playbook = tmp_path / "members.yml"
    playbook.write_text(PLAYBOOK)
    example = ROOT / "inventories" / "example"
    environment = {
        **os.environ,
        "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
        "ANSIBLE_LOCAL_TEMP": str(tmp_path / "tmp"),
        "ANSIBLE_NOCOLOR": "1",
    }
    done = subprocess.run(
        [str(ANSIBLE), str(playbook), "-i", str(example)],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    found = json.loads((tmp_path / "members.json").read_text())
    assert [(member["name"], member["address"], member["port"]) for member in found] == [
        ("cms-author.example.com", "cms-author.example.com", 8732),
        ("cms-live-1.example.com", "192.0.2.11", 8732),
        ("cms-live-2", "cms-live-2.example.com", 8732),
    ]
    assert [member["cluster"] and member["cluster"]["name"] for member in found] == [None, "cms-live", "cms-live"]
    assert not (example / ".esync-ledger").exists()
