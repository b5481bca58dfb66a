# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Actions are tested by the real ansible-playbook, a few plays in all, for each costs a second or two."""

from __future__ import annotations

import functools
import importlib
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[4]


def documented(module: str) -> set[str]:
    """The keys that the documentation promises for every success."""
    text = importlib.import_module(f"ansible_collections.esync.mesh.plugins.modules.{module}").RETURN
    return {key for key, about in yaml.safe_load(text).items() if about["returned"] in ("success", "always")}


@dataclass(frozen=True)
class Run:
    """A play that ended: its exit code, its output, and the registered results of its tasks by host and name."""

    code: int
    output: str
    results: dict[str, Any]


def run_play(
    folder: Path, tasks: list[dict[str, Any]], hosts: dict[str, Any] | None = None, arguments: Any = (), **keywords: Any
) -> Run:
    """Run tasks: ``run_play(folder, tasks, hosts={"a": {...}}, arguments=["--check"])``.

    Every task may register; what is registered under a name that begins with ``r_`` comes back in ``results``.

    :param folder: where the play is written to, and runs.
    """
    inventory = folder / "inventory.json"
    everyone = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
    inventory.write_text(json.dumps({"all": {"vars": everyone}, "esync": {"hosts": hosts or {}}}))
    out = folder / "results"
    out.mkdir(exist_ok=True)
    names = [task["register"] for task in tasks if task.get("register", "").startswith("r_")]
    save = {
        "name": "Save the results",
        "ansible.builtin.copy": {
            "content": "{{ __results | to_json }}",
            "dest": f"{out}/{{{{ inventory_hostname }}}}.json",
            "mode": "0600",
        },
        "vars": {
            "__results": "{{ dict(" + repr(names) + " | zip(" + repr(names) + " | map('extract', vars))) }}",
            # A host of the test may have one that is good for nothing.
            "ansible_python_interpreter": sys.executable,
        },
        "check_mode": False,
    }
    book = [{"hosts": "esync", "gather_facts": False, **keywords, "tasks": [*tasks, *([save] if names else [])]}]
    (folder / "play.json").write_text(json.dumps(book))
    done = subprocess.run(
        [sys.executable, "-m", "ansible", "playbook", "-i", str(inventory), "play.json", *arguments],
        cwd=folder,
        env={
            **os.environ,
            "ANSIBLE_COLLECTIONS_PATH": str(ROOT / "playbooks" / "collections"),
            "ANSIBLE_LOCAL_TEMP": str(folder / "ansible"),
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


@pytest.fixture
def play(tmp_path: Path) -> Any:
    """Runs tasks in the folder of the test; see ``run_play``."""
    return functools.partial(run_play, tmp_path)
