# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Notes each stage as it begins; stops the control process there, or at a write of its own files, to be killed."""

from __future__ import annotations

import json
import mmap
import os
import sys
import time
from pathlib import Path
from typing import Any

from ansible.plugins.callback import CallbackBase

DOCUMENTATION = """
name: chaos
type: notification
short_description: Notes each stage as it begins
description: For tests/chaos alone.
"""

ROOT = Path(os.environ["CHAOS_ROOT"])
CONTROL_FILES = (str(ROOT / "ledger"), str(ROOT / "report"))
WRITES = os.O_CREAT | os.O_WRONLY | os.O_RDWR
# Shared with the workers, one of which writes the ledger.
COUNT = mmap.mmap(-1, 8)


def wait_to_be_killed() -> None:
    (ROOT / "chaos" / "reached").touch()
    time.sleep(600)


def note(part: str, stage: str) -> None:
    event = {"part": part, "stage": stage, "at": time.monotonic(), "writes": int.from_bytes(COUNT[:8], "little")}
    with (ROOT / "chaos" / "events").open("a") as stream:
        stream.write(json.dumps(event) + "\n")


def count(event: str, arguments: tuple[Any, ...]) -> None:
    """Count what changes the control node's own files; stop in front of the one that was chosen."""
    if event not in ("open", "os.rename", "os.remove", "os.mkdir") or not arguments:
        return
    if event == "open" and not int(arguments[2] or 0) & WRITES:
        return
    path = os.fsdecode(arguments[0]) if isinstance(arguments[0], (str, bytes, os.PathLike)) else ""
    if not path.startswith(CONTROL_FILES):
        return
    number = int.from_bytes(COUNT[:8], "little") + 1
    COUNT[:8] = number.to_bytes(8, "little")
    if str(number) == os.environ.get("CHAOS_WRITE"):
        wait_to_be_killed()


sys.addaudithook(count)


class CallbackModule(CallbackBase):
    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "notification"
    CALLBACK_NAME = "chaos"
    CALLBACK_NEEDS_ENABLED = False

    variables: Any = None

    def v2_playbook_on_play_start(self, play: Any) -> None:
        self.variables = play.get_variable_manager()

    def v2_playbook_on_task_start(self, task: Any, is_conditional: bool) -> None:
        part = task.action.rpartition(".")[2]
        if part not in ("visit", "mesh_plan", "mesh_report"):
            return
        if part == "visit":
            # Registered, but not passed to callbacks as it is, because it may hold what must not be printed.
            plans = [facts["__esync_plan"] for facts in self._registered() if "__esync_plan" in facts]
            stage = plans[0]["stage"].replace(" ", "-") if plans else "none"
            (ROOT / "chaos" / "stage").write_text(stage)
        else:
            stage = (ROOT / "chaos" / "stage").read_text() if (ROOT / "chaos" / "stage").exists() else "none"
        note(part, stage)
        if f"{part} {stage}" == os.environ.get("CHAOS_STOP"):
            wait_to_be_killed()

    def v2_playbook_on_stats(self, stats: Any) -> None:
        note("end", "none")

    def _registered(self) -> list[Any]:
        return list(self.variables._nonpersistent_fact_cache.values())
