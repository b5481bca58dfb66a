# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Requests that hosts make all the time while something is done to the mesh, each with what came of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import TracebackType
from typing import TypeVar

from hosts import connect
from runs import wait_until

Self = TypeVar("Self", bound="Load")

# Longer than the longest request of any load takes.
_LAST_REQUEST = 90


class Load:
    """A command at work on several hosts, which writes a line for each request to /run/load.log.

    It ends, after its last request, when there is /run/load.stop.

    :param commands: by host, with what else systemd-run is given before them.
    :param works: whether these lines of a host show that all kinds of requests are made.
    """

    def __init__(self, commands: Mapping[str, str], works: Callable[[list[str]], bool]) -> None:
        self._commands = commands
        self._works = works

    def __enter__(self: Self) -> Self:
        for name, command in self._commands.items():
            connect(name).check_output(f"systemd-run --quiet --collect --unit load {command}")
        wait_until(lambda: all(self._works(_log(name)) for name in self._commands))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for name in self._commands:
            connect(name).check_output("touch /run/load.stop")
        for name in self._commands:
            connect(name).check_output(
                f"timeout {_LAST_REQUEST} sh -c 'while systemctl --quiet is-active load; do sleep 0.2; done'"
            )

    def lines(self, *names: str) -> list[str]:
        """What was written by these hosts, or by all, each line after its host's name."""
        return [f"{name}: {line}" for name in names or self._commands for line in _log(name)]


def _log(name: str) -> list[str]:
    found: list[str] = connect(name).run("cat /run/load.log").stdout.splitlines()
    return found
