# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import errno
import os
import socket
from pathlib import Path

import pytest

from ansible_collections.esync.mesh.plugins.module_utils._core.regular_file import read_file


def refused(path: Path, limit: int = 10) -> int:
    with pytest.raises(OSError) as caught:
        read_file(str(path), limit)
    return caught.value.errno or 0


def test_files_and_links_to_them(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"0123456789")
    (tmp_path / "link").symlink_to("x")
    assert read_file(str(tmp_path / "link"), 10) == b"0123456789"
    assert refused(tmp_path / "x", 9) == errno.EFBIG


def test_what_is_no_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "link").symlink_to("/dev/zero")
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(str(tmp_path / "socket"))
        for name in ("fifo", "link", "socket", "."):
            assert refused(tmp_path / name) == errno.EINVAL
    assert refused(tmp_path / "missing") == errno.ENOENT
