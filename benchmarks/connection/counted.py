# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The local connection, with a note of every call and of the bytes that it sends."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from ansible.plugins.connection.local import Connection as LocalConnection

DOCUMENTATION = """
name: counted
short_description: The local connection, counted
description:
  - Runs everything on this machine, and notes each call in the file named by E(ESYNC_BENCH_CALLS).
author:
  - The esync.mesh contributors (@esync)
extends_documentation_fragment:
  - connection_pipelining
"""


class Connection(LocalConnection):
    """Everything as the local connection does it."""

    transport = "counted"

    def exec_command(self, cmd: str, in_data: bytes | None = None, sudoable: bool = True) -> Any:
        _note(len(cmd.encode()) + len(in_data or b""))
        return super().exec_command(cmd, in_data=in_data, sudoable=sudoable)

    def put_file(self, in_path: str, out_path: str) -> None:
        _note(Path(in_path).stat().st_size)
        super().put_file(in_path, out_path)


def _note(sent: int) -> None:
    # One write of a few bytes to a file opened for appending: the notes of two processes do not mix.
    with open(os.environ["ESYNC_BENCH_CALLS"], "a", encoding="ascii") as notes:
        notes.write(f"{sent}\n")
