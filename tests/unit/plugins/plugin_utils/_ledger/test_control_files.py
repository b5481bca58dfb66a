# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from other_users import as_other, lock, needs_root

from ansible_collections.esync.mesh.plugins.module_utils._core.errors import EsyncError
from ansible_collections.esync.mesh.plugins.plugin_utils._ledger.control_files import (
    locked,
    read_file,
    refuse_unwritable,
    replace_file,
)


def test_a_file_is_replaced_whole(tmp_path):
    path = tmp_path / "new" / "file"
    assert replace_file(path, "one")
    assert not replace_file(path, "one")
    assert replace_file(path, "zwei ü")
    assert path.read_text(encoding="utf-8") == "zwei ü"
    assert os.listdir(path.parent) == ["file"]


def test_a_folder_in_its_place_is_named(tmp_path):
    (tmp_path / "file").mkdir()
    with pytest.raises(EsyncError, match="file"):
        replace_file(tmp_path / "file", "text")
    assert os.listdir(tmp_path) == ["file"]


@pytest.mark.parametrize("call", ["fsync", "replace"])
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


HOLD = """
import fcntl, os, sys
fcntl.flock(os.open(sys.argv[1], os.O_RDWR | os.O_CREAT, 0o600), fcntl.LOCK_EX)
print(flush=True)
sys.stdin.read()
"""


def test_a_lock_is_waited_for(tmp_path):
    command = [sys.executable, "-c", HOLD, str(tmp_path / ".lock")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        other.stdout.readline()
        threading.Timer(0.2, other.stdin.close).start()
        with locked(tmp_path):
            assert other.stdin.closed
    assert os.listdir(tmp_path) == []


def test_the_lock_keeps_others_out_and_leaves_nothing(tmp_path):
    attempt = "import fcntl, os, sys; fcntl.flock(os.open(sys.argv[1], os.O_RDWR), fcntl.LOCK_EX | fcntl.LOCK_NB)"
    command = [sys.executable, "-c", attempt, str(tmp_path / ".lock")]
    with locked(tmp_path):
        assert b"BlockingIOError" in subprocess.run(command, capture_output=True, check=False).stderr
    assert os.listdir(tmp_path) == []


def test_many_wait_for_each_other(tmp_path):
    def add():
        for _turn in range(20):
            with locked(tmp_path):
                count = int((tmp_path / "count").read_text())
                (tmp_path / "count").write_text(str(count + 1))

    (tmp_path / "count").write_text("0")
    threads = [threading.Thread(target=add) for _number in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (tmp_path / "count").read_text() == "100"
    assert os.listdir(tmp_path) == ["count"]


def test_whoever_may_only_read_the_folder_cannot_hold_its_lock(tmp_path):
    tmp_path.chmod(0o755)
    for path in (tmp_path, tmp_path / "a.json"):
        path == tmp_path or path.write_text("{}")
        with held(path), locked(tmp_path, wait=0):
            assert stat.S_IMODE((tmp_path / ".lock").stat().st_mode) == 0o600


@contextlib.contextmanager
def held(path):
    descriptor = lock(path)
    yield
    os.close(descriptor)


@needs_root
def test_two_administrators_share_a_folder_and_nobody_else_its_lock(tmp_path):
    folder = tmp_path / "ledger"
    folder.mkdir()
    os.chown(folder, -1, 4711)
    folder.chmod(0o2775)
    with locked(folder):
        replace_file(folder / "a.json", "one")
        assert as_other(folder, lambda: os.close(os.open(".lock", os.O_RDWR)), 4711)
        assert not as_other(folder, lambda: os.close(os.open(".lock", os.O_RDONLY)))
    # What a run of the one left that was killed.
    (folder / ".lock").touch()
    os.chown(folder / ".lock", 0, 4711)
    (folder / ".lock").chmod(0o660)

    def replace():
        with locked(Path(), wait=0):
            replace_file(Path("a.json"), "two")

    assert as_other(folder, replace, 4711)
    assert os.listdir(folder) == ["a.json"]
    assert (folder / "a.json").read_text() == "two"
    assert (folder / "a.json").stat().st_gid == 4711


@needs_root
def test_a_lock_file_that_cannot_be_opened_is_named(tmp_path):
    folder = tmp_path / "ledger"
    folder.mkdir()
    folder.chmod(0o777)
    (folder / ".lock").touch(mode=0o600)

    def refused():
        with pytest.raises(EsyncError) as caught, locked(Path(), wait=0):
            pass
        assert (caught.value.kind, caught.value.path) == ("control_node_file", ".lock")

    assert as_other(folder, refused)


@pytest.mark.parametrize(
    ("umask", "folder", "file"), [(0o077, 0o700, 0o600), (0o022, 0o755, 0o644), (0o002, 0o775, 0o664)]
)
def test_modes_are_as_the_umask_says(tmp_path, umask, folder, file):
    before = os.umask(umask)
    try:
        for text in ("text", "other"):
            replace_file(tmp_path / "one" / "two" / "file", text)
        with locked(tmp_path / "three"):
            pass
    finally:
        os.umask(before)
    modes = [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("one", "one/two", "one/two/file", "three")]
    assert modes == [folder, folder, file, folder]


@needs_root
def test_the_group_is_as_the_folder_says(tmp_path):
    os.chown(tmp_path, -1, 4711)
    tmp_path.chmod(0o2775)
    replace_file(tmp_path / "new" / "file", "text")
    assert {(tmp_path / name).stat().st_gid for name in ("new", "new/file")} == {4711}
    assert (tmp_path / "new").stat().st_mode & stat.S_ISGID


@pytest.mark.parametrize(
    ("what", "cause"),
    [
        ("fifo", "a FIFO"),
        ("device", "a device"),
        ("socket", "a socket"),
        ("folder", "a folder"),
        ("link to a fifo", "a FIFO"),
        ("link to nothing", "a link to something that does not exist"),
        ("large", "larger than the 4194304 bytes"),
        ("no text", "no text in UTF-8"),
    ],
)
def test_only_regular_files_of_a_sane_size_are_read(tmp_path, monkeypatch, what, cause):
    path = tmp_path / "a.json"
    monkeypatch.chdir(tmp_path)
    if what == "device" and os.geteuid() != 0:
        pytest.skip("only root can make a device")
    make = {
        "fifo": lambda: os.mkfifo(path),
        "device": lambda: os.mknod(path, stat.S_IFCHR | 0o644, os.makedev(1, 5)),
        "socket": lambda: os.mknod(path, stat.S_IFSOCK | 0o644),
        "folder": path.mkdir,
        "link to a fifo": lambda: (os.mkfifo("fifo"), path.symlink_to("fifo")),
        "link to nothing": lambda: path.symlink_to("nothing"),
        "large": lambda: (path.touch(), os.truncate(path, (4 << 20) + 1)),
        "no text": lambda: path.write_bytes(b"\xff"),
    }
    make[what]()
    with pytest.raises(EsyncError) as caught:
        read_file(path)
    assert (caught.value.kind, caught.value.path) == ("control_node_file", str(path))
    assert cause in caught.value.cause
    if what not in ("large", "no text"):
        before = os.lstat(path)
        with pytest.raises(EsyncError, match=cause):
            replace_file(path, "text")
        assert os.lstat(path) == before


def test_a_regular_file_is_read_through_a_link_too(tmp_path):
    assert read_file(tmp_path / "none") is None
    replace_file(tmp_path / "file", "zwei ü")
    (tmp_path / "link").symlink_to("file")
    assert read_file(tmp_path / "link") == "zwei ü"
    assert read_file(tmp_path / "file", limit=7) == "zwei ü"
    with pytest.raises(EsyncError):
        read_file(tmp_path / "file", limit=6)


def test_a_lock_that_is_never_let_go_is_named(tmp_path):
    with locked(tmp_path), pytest.raises(EsyncError) as caught, locked(tmp_path, wait=0):
        pass
    assert caught.value.kind == "locked"
    assert str(tmp_path) in str(caught.value)


def test_a_folder_that_cannot_be_written_is_named_with_its_setting(tmp_path, monkeypatch):
    refuse_unwritable(tmp_path / "new" / "below", "esync_ledger")
    assert not (tmp_path / "new").exists()
    (tmp_path / "file").write_text("")
    with pytest.raises(EsyncError, match=f"{tmp_path}/file is no folder.*set esync_ledger to another folder"):
        refuse_unwritable(tmp_path / "file" / "below", "esync_ledger")
    monkeypatch.setattr(os, "access", lambda path, mode: path != tmp_path)
    with pytest.raises(EsyncError, match=f"{tmp_path} cannot be written"):
        refuse_unwritable(tmp_path / "new", "esync_ledger")
