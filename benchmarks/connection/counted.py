# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A connection of Ansible's own, C(local) or C(ssh), with a note of every call and of the bytes that it sends.

E(ESYNC_BENCH_CONNECTION) names the connection, E(ESYNC_BENCH_CALLS) the file for the notes.
"""

from __future__ import annotations

import os
from importlib import import_module
from pathlib import Path
from typing import Any

_counted = import_module(f"ansible.plugins.connection.{os.environ['ESYNC_BENCH_CONNECTION']}")

# Ansible reads the options of a connection from here.
DOCUMENTATION = _counted.DOCUMENTATION


class Connection(_counted.Connection):  # type: ignore[misc, name-defined]
    """Does everything as the counted connection does it."""

    def exec_command(self, cmd: str, in_data: bytes | None = None, sudoable: bool = True) -> Any:
        _note(len(cmd.encode()) + len(in_data or b""))
        return super().exec_command(cmd, in_data=in_data, sudoable=sudoable)

    def put_file(self, in_path: str, out_path: str) -> Any:
        _note(Path(in_path).stat().st_size)
        return super().put_file(in_path, out_path)


def _note(sent: int) -> None:
    # One write of a few bytes to a file opened for appending: the notes of two processes do not mix.
    with open(os.environ["ESYNC_BENCH_CALLS"], "a", encoding="ascii") as notes:
        notes.write(f"{sent}\n")
