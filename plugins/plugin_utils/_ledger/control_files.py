# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Files on the control node, replaced completely or not at all."""

from __future__ import annotations

import contextlib
import fcntl
import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from ansible_collections.esync.mesh.plugins.module_utils._core.errors import EsyncError


def replace_file(path: Path, text: str) -> bool:
    """Make ``path`` hold ``text``, mode 0644; whoever reads meanwhile sees the old or the new file.

    :returns: whether anything changed.
    :raises EsyncError: the folder or the file cannot be written.
    """
    try:
        if path.read_text(encoding="utf-8", errors="replace") == text:
            return False
    except FileNotFoundError:
        pass
    except OSError as error:
        raise _refused(path, error) from None
    try:
        _make(path.parent)
        descriptor, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
                stream.write(text)
                stream.flush()
                os.fchmod(stream.fileno(), 0o644)
                os.fsync(stream.fileno())
            os.replace(temporary, path)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
            raise
        _sync(path.parent)
    except OSError as error:
        raise _refused(path, error) from None
    return True


@contextlib.contextmanager
def locked(folder: Path, wait: float = 60.0) -> Iterator[None]:
    """Hold the kernel's lock of a folder, so that no lock file is left behind; the folder is made if need be.

    :param wait: seconds to wait for others, who hold it for milliseconds each unless they hang.
    :raises EsyncError: kind ``locked``, or the folder cannot be made or opened.
    """
    try:
        _make(folder)
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        raise _refused(folder, error) from None
    try:
        _lock(descriptor, folder, time.monotonic() + wait)
        yield
    finally:
        os.close(descriptor)


def _lock(descriptor: int, folder: Path, end: float) -> None:
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            pass
        except OSError as error:
            raise _refused(folder, error) from None
        if time.monotonic() >= end:
            raise EsyncError(
                "another process on the control node holds its lock and does not let go",
                "End it (lslocks shows it), and run again",
                kind="locked",
                path=str(folder),
            )
        time.sleep(0.01)


def _make(folder: Path) -> None:
    """Make a folder and its parents with mode 0755, whatever the umask: the files in it are public."""
    missing = [one for one in (folder, *folder.parents) if not one.exists()]
    for one in reversed(missing):
        with contextlib.suppress(FileExistsError):  # another process may be making the same
            one.mkdir()
            one.chmod(0o755)


def _sync(folder: Path) -> None:
    """Make a rename durable; some file systems have no fsync for folders."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        with contextlib.suppress(OSError):
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _refused(path: Path, error: OSError) -> EsyncError:
    return EsyncError(
        f"it cannot be read or written: {os.strerror(error.errno or 0).lower()}",
        "Correct its permissions on the control node, or choose another place (esync_ledger, esync_report_directory)",
        kind="control_node_file",
        path=str(path),
    )
