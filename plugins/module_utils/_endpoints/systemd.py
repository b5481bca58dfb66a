# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The unit of a product, where systemd runs."""

from __future__ import annotations

import os
import shutil
from typing import List

from ansible_collections.esync.mesh.plugins.module_utils._core import processes

RUNNING = "/run/systemd/system"
UNITS = "/etc/systemd/system"
"""The folder for units of the administrator's, and ours."""


def is_here() -> bool:
    """Whether systemd runs this host (sd_booted(3))."""
    return os.path.isdir(RUNNING) and shutil.which("systemctl") is not None


class Unit:
    """One unit.

    :param name: its name.
    :param timeout: seconds for each command.
    """

    def __init__(self, name: str, timeout: float) -> None:
        self.name = name
        self.timeout = timeout

    @property
    def start_command(self) -> List[str]:
        """What starts it, and lets it start at every boot."""
        return ["systemctl", "--quiet", "enable", "--now", self.name]

    def is_active(self) -> bool:
        """Whether systemd knows the product to run; somebody may have started it by hand."""
        return is_here() and self._status("is-active") == 0

    def enable(self) -> bool:
        """Let systemd read its file, and start it at every boot; returns whether the command succeeded."""
        return self._status("daemon-reload", unit=False) == 0 and self._status("enable") == 0

    def disable(self) -> bool:
        """Let it be started no more at boot; returns whether the command succeeded."""
        return self._status("disable") == 0

    def forget(self) -> bool:
        """Let systemd forget it, after its file was taken away; returns whether the command succeeded."""
        self._status("reset-failed")
        return self._status("daemon-reload", unit=False) == 0

    def reload(self) -> bool:
        """Reload it; returns whether the command succeeded."""
        return self._status("reload") == 0

    def stop(self) -> bool:
        """Stop it; returns whether the command succeeded."""
        return self._status("stop") == 0

    def log(self) -> str:
        """The last lines that it logged."""
        command = ["journalctl", "--quiet", "--no-pager", "--output=cat", "--lines=20", "--unit", self.name]
        return processes.run_command(command, self.timeout)[1]

    def _status(self, verb: str, unit: bool = True) -> int:
        return processes.run_command(["systemctl", verb, *([self.name] if unit else [])], self.timeout)[0]
