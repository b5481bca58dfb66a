# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Actions are tested by the real ansible-playbook, a few plays in all, for each costs a second or two."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[4]


@dataclass(frozen=True)
class Run:
    """A play that ended: its exit code, its output, and the registered results of its tasks by host and name."""

    code: int
    output: str
    results: dict[str, Any]


@pytest.fixture
def play(tmp_path: Path) -> Any:
    """Runs tasks: ``play(tasks, hosts={"a": {...}}, arguments=["--check"])``.

    Every task may register; what is registered under a name that begins with ``r_`` comes back in ``results``.
    """

    def run(
        tasks: list[dict[str, Any]], hosts: dict[str, Any] | None = None, arguments: Any = (), **keywords: Any
    ) -> Run:
        inventory = tmp_path / "inventory.json"
        everyone = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
        inventory.write_text(json.dumps({"all": {"vars": everyone}, "esync": {"hosts": hosts or {}}}))
        out = tmp_path / "results"
        out.mkdir(exist_ok=True)
        names = [task["register"] for task in tasks if task.get("register", "").startswith("r_")]
        save = {
            "name": "Save the results",
            "ansible.builtin.copy": {
                "content": "{{ __results | to_json }}",
                "dest": f"{out}/{{{{ inventory_hostname }}}}.json",
                "mode": "0600",
            },
            "vars": {"__results": "{{ dict(" + repr(names) + " | zip(" + repr(names) + " | map('extract', vars))) }}"},
            "check_mode": False,
        }
        book = [{"hosts": "esync", "gather_facts": False, **keywords, "tasks": [*tasks, *([save] if names else [])]}]
        (tmp_path / "play.json").write_text(json.dumps(book))
        done = subprocess.run(
            [sys.executable, "-m", "ansible", "playbook", "-i", str(inventory), "play.json", *arguments],
            cwd=tmp_path,
            env={
                **os.environ,
                "ANSIBLE_COLLECTIONS_PATH": str(ROOT / "playbooks" / "collections"),
                "ANSIBLE_LOCAL_TEMP": str(tmp_path / "ansible"),
                "ANSIBLE_NOCOLOR": "1",
                "ANSIBLE_LOCALHOST_WARNING": "false",
            },
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        found = {path.stem: json.loads(path.read_text()) for path in out.glob("*.json")}
        return Run(done.returncode, done.stdout + done.stderr, found)

    return run
