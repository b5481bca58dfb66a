# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Playbooks run on a scenario's hosts from within its tests, as an administrator runs them."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from processes import kill

_RECAP = re.compile(r"^(?P<host>\S+)\s+: ok=\d+\s+changed=(?P<changed>\d+)\s+unreachable=\d+\s", re.MULTILINE)
_EPHEMERAL = "MOLECULE_EPHEMERAL_DIRECTORY"


@dataclass
class Result:
    """One run. :param output: both streams together."""

    code: int
    output: str

    @property
    def changed(self) -> dict[str, int]:
        """How many tasks changed something, by host."""
        found = {match["host"]: int(match["changed"]) for match in _RECAP.finditer(self.output)}
        assert found, f"no recap in:\n{self.output}"
        return found


class Run:
    """A playbook at work, in a process group of its own, to be watched, waited for or killed."""

    def __init__(self, playbook: str, *arguments: str) -> None:
        root = Path(os.environ["MOLECULE_PROJECT_DIRECTORY"])
        self.process = subprocess.Popen(
            [
                str(Path(sys.executable).with_name("ansible-playbook")),
                str(root / "playbooks" / f"{playbook}.yml"),
                *("--inventory", os.environ["LAB_INVENTORY"]),
                *arguments,
            ],
            env={
                **os.environ,
                "ANSIBLE_NOCOLOR": "1",
                "ANSIBLE_FORCE_COLOR": "0",
                "ANSIBLE_CONFIG": str(root / "ansible.cfg"),
            },
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self.lines: list[str] = []

    def until(self, task: str) -> None:
        """Read its output until a task begins."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line)
            if line.startswith("TASK [") and task in line:
                return
        self.process.wait()
        raise AssertionError(f"{task!r} did not come up in:\n{''.join(self.lines)}")

    def kill(self) -> None:
        """SIGKILL to the control process and everything below it."""
        kill(self.process)

    def wait(self) -> Result:
        rest, _none = self.process.communicate(timeout=600)
        return Result(self.process.returncode, "".join(self.lines) + rest)


def succeed(playbook: str, *arguments: str) -> Result:
    result = Run(playbook, *arguments).wait()
    assert result.code == 0, result.output
    return result


def fail(playbook: str, *arguments: str) -> Result:
    result = Run(playbook, *arguments).wait()
    assert result.code != 0, result.output
    assert "Traceback" not in result.output, result.output
    return result


def report() -> dict[str, Any]:
    """The last mesh.json."""
    found: dict[str, Any] = json.loads((Path(os.environ[_EPHEMERAL]) / "report" / "mesh.json").read_text())
    return found


def ledger(name: str) -> dict[str, Any]:
    """A server's file in the ledger."""
    found: dict[str, Any] = json.loads((Path(os.environ[_EPHEMERAL]) / "ledger" / f"{name}.json").read_text())
    return found


def wait_until(ready: Any, seconds: float = 60) -> None:
    """Wait until something is so, or fail."""
    end = time.monotonic() + seconds
    while not ready():
        assert time.monotonic() < end, f"not within {seconds:g} s"
        time.sleep(0.2)
