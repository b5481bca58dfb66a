# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""As whom Ansible works on a host: without become it is the user who logs in, who as a rule may not do what we do."""

from __future__ import annotations

import os
import pwd
from typing import Optional

from ansible_collections.esync.mesh.plugins.module_utils._core.errors import EsyncError


def refuse_other_user(directory: str, server: Optional[str]) -> None:
    """Refuse to work as somebody who is neither root nor the owner of our folder, or who could not make it.

    :raises EsyncError: kind ``other_user``.
    """
    me = os.geteuid()
    if me == 0:
        return
    cause, become = "", ""
    try:
        owner = os.stat(directory).st_uid
        if owner != me:
            cause = f"it belongs to {_name(owner)}, and Ansible works as {_name(me)} here"
            become = f", and ansible_become_user: {_name(owner)}" if owner else ""
    except PermissionError:
        cause = f"it is in a folder that {_name(me)}, as whom Ansible works here, may not enter"
    except FileNotFoundError:
        above = os.path.dirname(directory.rstrip("/")) or "/"
        while not os.path.lexists(above):
            above = os.path.dirname(above)
        if not os.access(above, os.W_OK | os.X_OK, effective_ids=os.access in os.supports_effective_ids):
            cause = f"it does not exist, and {_name(me)}, as whom Ansible works here, may not make it in {above}"
    except OSError:
        # Whatever else is wrong with it is found where it is opened.
        return
    if cause:
        raise EsyncError(
            cause,
            f"Set ansible_become: true for this host{become} (or run with --become); if the mesh is meant to belong to "
            f"{_name(me)}, set esync_directory to a folder of that user",
            kind="other_user",
            server=server,
            path=directory,
        )


def _name(number: int) -> str:
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return f"user {number}"
