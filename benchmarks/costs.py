# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Run a playbook and measure what it cost: seconds, remote calls, bytes sent and CPU time."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Cost:
    """What one run cost.

    :param seconds: wall-clock time of the whole run.
    :param calls: remote calls for each server.
    :param sent: bytes sent to each server.
    :param cpu: CPU seconds of all processes, control node and servers together, for each server.
    """

    seconds: float
    calls: float
    sent: float
    cpu: float


def write_inventory(folder: Path, variables: Mapping[str, Any], hosts: Mapping[str, Mapping[str, Any]]) -> Path:
    """Write an inventory whose group ``esync`` holds the hosts, and return its path.

    What a run leaves on the control node lies in the folder too.
    """
    common = {"ansible_connection": "counted", "esync_ledger": f"{folder}/ledger"}
    common["esync_report_directory"] = f"{folder}/report"
    path = folder / "hosts.json"
    path.write_text(json.dumps({"esync": {"vars": {**common, **variables}, "hosts": hosts}}), encoding="utf-8")
    return path


def measure(
    folder: Path,
    playbook: Path,
    size: int,
    *,
    connection: str,
    environment: Mapping[str, str] | None = None,
    cpu_elsewhere: Callable[[], float] = lambda: 0.0,
    at_end: Callable[[], None] = lambda: None,
) -> Cost:
    """Run a playbook with the inventory of :func:`write_inventory`.

    :param size: number of servers.
    :param connection: the connection plugin that is counted, ``local`` or ``ssh``.
    :param environment: further environment variables of the run.
    :param cpu_elsewhere: CPU seconds used so far by processes that are not children of this one.
    :param at_end: called after the run, before CPU time is read.
    :raises SystemExit: the run failed or called no server. Its output is shown; a failed run must not count as cheap.
    """
    notes = folder / "calls"
    notes.write_text("", encoding="ascii")
    cpu_before = cpu_of_children() + cpu_elsewhere()
    started = time.monotonic()
    counting = {
        "ANSIBLE_CONNECTION_PLUGINS": str(ROOT / "benchmarks" / "connection"),
        "ESYNC_BENCH_CALLS": str(notes),
        "ESYNC_BENCH_CONNECTION": connection,
    }
    code, output = play(folder, playbook, environment={**counting, **(environment or {})})
    seconds = time.monotonic() - started
    at_end()
    cpu = cpu_of_children() + cpu_elsewhere() - cpu_before
    if code:
        raise SystemExit(f"{output}\n{playbook.name} with {size} servers ended with {code}")
    sent = [int(line) for line in notes.read_text(encoding="ascii").split()]
    if not sent:
        raise SystemExit(f"no call of {playbook.name} was counted")
    return Cost(seconds, len(sent) / size, sum(sent) / size, cpu / size)


def play(folder: Path, playbook: Path, *options: str, environment: Mapping[str, str] | None = None) -> tuple[int, str]:
    """Run a playbook with the inventory of :func:`write_inventory`, and return exit code and output.

    :param options: further ones of ansible-playbook. :param environment: further environment variables.
    """
    return run_in_group(
        [
            str(Path(sys.executable).with_name("ansible-playbook")),
            str(playbook),
            "--inventory",
            str(folder / "hosts.json"),
            *options,
        ],
        {
            **os.environ,
            "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
            "ANSIBLE_LOCAL_TEMP": str(folder / "tmp"),
            **(environment or {}),
        },
    )


def cpu_of_children() -> float:
    """CPU seconds of all children that have ended."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def run_in_group(command: list[str], environment: Mapping[str, str]) -> tuple[int, str]:
    """Run a command in a process group of its own, which ends with this process, and return exit code and output."""
    with subprocess.Popen(
        command,
        env=dict(environment),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            output, _none = process.communicate()
        except BaseException:
            # Also after an interrupt. Ansible passes SIGTERM on to its workers, which are in sessions of their own.
            for number in (signal.SIGTERM, signal.SIGKILL):
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, number)
                with suppress(subprocess.TimeoutExpired):
                    process.wait(timeout=5)
            raise
        return process.returncode, output
