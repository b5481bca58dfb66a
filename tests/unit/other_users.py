# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Other users of the same machine, for tests of what they can do: another process, and access control lists."""

from __future__ import annotations

import fcntl
import os
import struct
from collections.abc import Callable
from pathlib import Path

import pytest

OTHER = 65534
"""The number of the other user, and of his group."""

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can be another user, or give files away")


def as_other(folder: Path, act: Callable[[], object], gid: int = OTHER) -> bool:
    """Whether another user can do something, in a process of his own. The folder is made its working directory first,
    because those above it may be closed to him.
    """
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            os.chdir(folder)
            os.setgroups([])
            os.setgid(gid)
            os.setuid(OTHER)
            act()
            code = 0
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def lock(path: str | Path) -> int:
    """Hold the kernel's lock of a file or folder, as long as the descriptor is open."""
    descriptor = os.open(path, os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    return descriptor


_ANYBODY = 0xFFFFFFFF
_USER_OBJ, _USER, _GROUP_OBJ, _MASK, _OTHERS = 1, 2, 4, 16, 32


def let_in(path: Path, rights: int, inherited: bool = False) -> None:
    """Give the other user rights by an access control list, as setfacl (-d) does (format: linux/posix_acl_xattr.h).

    Skips the test on a file system that has none.
    """
    mode = path.stat().st_mode
    entries = [
        (_USER_OBJ, mode >> 6 & 7, _ANYBODY),
        (_USER, rights, OTHER),
        (_GROUP_OBJ, mode >> 3 & 7, _ANYBODY),
        (_MASK, rights | mode >> 3 & 7, _ANYBODY),
        (_OTHERS, mode & 7, _ANYBODY),
    ]
    text = struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)
    try:
        os.setxattr(path, "system.posix_acl_default" if inherited else "system.posix_acl_access", text)
    except OSError as error:
        pytest.skip(f"this file system has no access control lists: {error.strerror}")


def acls(path: Path) -> list[str]:
    """The access control lists that a file or folder has."""
    return [name for name in os.listxattr(path, follow_symlinks=False) if name.startswith("system.posix_acl")]
