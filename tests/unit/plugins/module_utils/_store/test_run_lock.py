# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Two runs on one host are kept apart, and nobody else can keep them waiting."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from other_users import OTHER, as_other, lock, needs_root

from ansible_collections.esync.mesh.plugins.module_utils._core.errors import EsyncError
from ansible_collections.esync.mesh.plugins.module_utils._core.folders import Folder
from ansible_collections.esync.mesh.plugins.module_utils._store.run_lock import locked

_HOLD = """
import fcntl, os, sys
if sys.argv[2] != "0":
    os.setgroups([])
    os.setgid(int(sys.argv[2]))
    os.setuid(int(sys.argv[2]))
descriptor = os.open(sys.argv[1], os.O_RDONLY)
fcntl.flock(descriptor, fcntl.LOCK_EX)
print("held", flush=True)
sys.stdin.read()
"""


def holding(path: Path, uid: int = 0) -> subprocess.Popen[str]:
    """A process that holds the lock of a folder until its input ends, as another user if there is a uid."""
    other = subprocess.Popen(
        [sys.executable, "-c", _HOLD, path.name, str(uid)],
        cwd=path.parent,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert other.stdout
    assert other.stdout.readline() == "held\n"
    return other


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "esync"


@pytest.fixture
def base(path: Path) -> Iterator[Folder]:
    with Folder.open(str(path), 0o755) as opened:
        opened.make_child("generations", 0o711).close()
        yield opened


def test_another_run_is_kept_out_and_nothing_is_left(base: Folder, path: Path) -> None:
    with locked(base), pytest.raises(BlockingIOError):
        lock(path / "generations")
    os.close(lock(path / "generations"))
    assert base.entries() == ["generations"]
    with holding(path / "generations") as other:
        with pytest.raises(EsyncError) as caught, locked(base, wait=0):
            pass
        assert caught.value.kind == "locked"
        assert f"process {other.pid})" in caught.value.cause
        # Where nothing is changed nothing has to wait.
        with locked(base, check=True, wait=0):
            pass
        assert other.stdin
        other.stdin.close()
        with locked(base):
            pass


def test_the_lock_of_the_directory_itself_keeps_nobody_waiting(base: Folder, path: Path) -> None:
    with holding(path), locked(base, wait=0):
        pass


@needs_root
@pytest.mark.parametrize("gid", [OTHER, 4711])
def test_another_user_finds_nothing_to_hold(base: Folder, path: Path, gid: int) -> None:
    base.write("endpoint.loaded", b"", 0o644)
    base.make_child("remote", 0o755).close()
    with base.child("generations") as generations:
        generations.make_child("id", 0o750, 4711).close()
    held = [
        name for name in (".", "generations", "generations/id", "remote", "endpoint.loaded") if _held(path, name, gid)
    ]
    assert held == [".", *["generations/id"] * (gid == 4711), "remote", "endpoint.loaded"]


def _held(path: Path, name: str, gid: int) -> bool:
    return as_other(path, lambda: lock(name), gid)


@needs_root
def test_who_holds_a_lock_that_was_open_to_him_is_named_and_cannot_do_so_again(base: Folder, path: Path) -> None:
    (path / "generations").chmod(0o755)
    path.parent.chmod(0o755)
    with holding(path / "generations", OTHER) as other:
        with pytest.raises(EsyncError) as caught, locked(base, wait=0):
            pass
        assert f"process {other.pid} of nobody)" in caught.value.cause
        assert other.stdin
        other.stdin.close()
    assert not as_other(path, lambda: lock("generations"))
    with locked(base, wait=0):
        pass


@pytest.mark.parametrize("filled", [False, True])
def test_the_folder_is_made_where_there_will_be_generations(base: Folder, path: Path, filled: bool) -> None:
    (path / "generations").rmdir()
    with locked(base), locked(base, make=True, check=True):
        assert base.entries() == []
    with locked(base, make=True):
        assert stat.S_IMODE((path / "generations").stat().st_mode) == 0o711
        with pytest.raises(BlockingIOError):
            lock(path / "generations")
        if filled:
            (path / "generations" / "id").mkdir()
    assert base.entries() == ["generations"] * filled


@pytest.mark.parametrize("what", ["a file", "a link"])
def test_what_is_none_of_ours_is_left_to_others_to_report(base: Folder, path: Path, what: str) -> None:
    (path / "generations").rmdir()
    (path / "generations").write_bytes(b"") if what == "a file" else (path / "generations").symlink_to("/etc")
    with locked(base, make=True):
        pass
    assert base.entries() == ["generations"]
