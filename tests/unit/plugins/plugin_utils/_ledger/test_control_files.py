# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import errno
import fcntl
import os
import stat
import subprocess
import sys
import threading

import pytest

from ansible_collections.esync.mesh.plugins.module_utils._core.errors import EsyncError
from ansible_collections.esync.mesh.plugins.plugin_utils._ledger.control_files import locked, replace_file


def test_a_file_is_replaced_whole(tmp_path):
    path = tmp_path / "new" / "file"
    assert replace_file(path, "one")
    assert not replace_file(path, "one")
    assert replace_file(path, "zwei ü")
    assert path.read_text(encoding="utf-8") == "zwei ü"
    assert os.listdir(path.parent) == ["file"]
    assert stat.S_IMODE(path.stat().st_mode) == 0o644


def test_a_folder_in_its_place_is_named(tmp_path):
    (tmp_path / "file").mkdir()
    with pytest.raises(EsyncError, match="file"):
        replace_file(tmp_path / "file", "text")
    assert os.listdir(tmp_path) == ["file"]


@pytest.mark.parametrize("call", ["fsync", "fchmod", "replace"])
def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch, call):
    replace_file(tmp_path / "file", "old")

    def fails(*_arguments):
        raise OSError(errno.ENOSPC, "very-secret")

    monkeypatch.setattr(os, call, fails)
    with pytest.raises(EsyncError) as caught:
        replace_file(tmp_path / "file", "new")
    monkeypatch.undo()
    assert (caught.value.kind, caught.value.path) == ("control_node_file", str(tmp_path / "file"))
    assert "no space left" in caught.value.cause
    assert "very-secret" not in str(caught.value)
    assert os.listdir(tmp_path) == ["file"]
    assert (tmp_path / "file").read_text() == "old"


def test_a_file_system_without_locks_is_named(tmp_path, monkeypatch):
    def fails(*_arguments):
        raise OSError(errno.ENOLCK, "")

    monkeypatch.setattr(fcntl, "flock", fails)
    with pytest.raises(EsyncError, match="no locks available") as caught, locked(tmp_path):
        pass
    assert caught.value.path == str(tmp_path)


def test_a_lock_is_waited_for(tmp_path):
    hold = "import fcntl, os, sys; fcntl.flock(os.open(sys.argv[1], os.O_RDONLY), fcntl.LOCK_EX); print(flush=True)"
    command = [sys.executable, "-c", f"{hold}; sys.stdin.read()", str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        other.stdout.readline()
        threading.Timer(0.2, other.stdin.close).start()
        with locked(tmp_path):
            assert other.stdin.closed


def test_the_lock_keeps_another_process_out_and_leaves_nothing(tmp_path):
    attempt = "import fcntl, os, sys; fcntl.flock(os.open(sys.argv[1], os.O_RDONLY), fcntl.LOCK_EX | fcntl.LOCK_NB)"
    command = [sys.executable, "-c", attempt, str(tmp_path)]
    with locked(tmp_path):
        assert subprocess.run(command, capture_output=True, check=False).returncode != 0
    assert subprocess.run(command, capture_output=True, check=False).returncode == 0
    assert os.listdir(tmp_path) == []


def test_folders_are_public_whatever_the_umask(tmp_path):
    before = os.umask(0o077)
    try:
        replace_file(tmp_path / "one" / "two" / "file", "text")
        with locked(tmp_path / "three"):
            pass
    finally:
        os.umask(before)
    modes = [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("one", "one/two", "one/two/file", "three")]
    assert modes == [0o755, 0o755, 0o644, 0o755]


def test_a_lock_that_is_never_let_go_is_named(tmp_path):
    with locked(tmp_path), pytest.raises(EsyncError) as caught, locked(tmp_path, wait=0):
        pass
    assert caught.value.kind == "locked"
    assert str(tmp_path) in str(caught.value)
