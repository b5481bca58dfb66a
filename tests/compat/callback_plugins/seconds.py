# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Adds up for how long each host was at work, and notes it in the file that COMPAT_SECONDS names."""

from __future__ import annotations

import json
import os
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

from ansible.plugins.callback import CallbackBase

DOCUMENTATION = """
name: seconds
type: notification
short_description: Adds up for how long each host was at work
description: For tests/compat alone.
"""


class CallbackModule(CallbackBase):
    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "notification"
    CALLBACK_NAME = "seconds"
    CALLBACK_NEEDS_ENABLED = False

    def __init__(self) -> None:
        super().__init__()
        self.begun: dict[tuple[str, str], float] = {}
        self.spent: dict[str, float] = defaultdict(float)

    def v2_runner_on_start(self, host: Any, task: Any) -> None:
        if task.action.endswith("visit"):
            self.begun[host.name, task._uuid] = time.monotonic()

    def v2_runner_on_ok(self, result: Any) -> None:
        begun = self.begun.pop((result._host.name, result._task._uuid), None)
        if begun is not None:
            self.spent[result._host.name] += time.monotonic() - begun

    def v2_runner_on_failed(self, result: Any, ignore_errors: bool = False) -> None:
        self.v2_runner_on_ok(result)

    def v2_playbook_on_stats(self, stats: Any) -> None:
        path = Path(os.environ["COMPAT_SECONDS"])
        found = json.loads(path.read_text()) if path.exists() else {}
        for name, seconds in self.spent.items():
            found[name] = found.get(name, 0.0) + seconds
        path.write_text(json.dumps(found))
