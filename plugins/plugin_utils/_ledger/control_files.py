# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Files on the control node, replaced completely or not at all."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import stat
import time
from collections.abc import Iterator
from pathlib import Path

from ansible_collections.esync.mesh.plugins.module_utils._core.errors import EsyncError
from ansible_collections.esync.mesh.plugins.module_utils._core.folders import kind_of
from ansible_collections.esync.mesh.plugins.module_utils._core.regular_file import read_beginning

MAX_BYTES = 4 << 20
"""What a file that is read here can have at the most."""

_LOCK = ".lock"


def read_file(path: Path, limit: int = MAX_BYTES) -> str | None:
    """The text of a regular file; None if there is none. Links are followed.

    :param limit: bytes; a larger file is refused.
    :raises EsyncError: kind ``control_node_file``: it cannot be read, is too large, or is something else than a file.
    """
    try:
        data = _read(path, limit)
        if data is not None and len(data) > limit:
            raise _unusable(path, f"it is larger than the {limit} bytes that such a file can have")
        return None if data is None else data.decode("utf-8")
    except UnicodeDecodeError:
        raise _unusable(path, "it is no text in UTF-8") from None


def replace_file(path: Path, text: str) -> bool:
    """Make ``path`` hold ``text``; whoever reads meanwhile sees the old or the new file.

    It has the mode and the group that a new file has there: by the umask, and by the folder's setgid bit or ACL.

    :returns: whether anything changed.
    :raises EsyncError: the folder or the file cannot be written.
    """
    data = text.encode("utf-8")
    if _read(path, len(data)) == data:
        return False
    try:
        _make(path.parent)
        temporary = path.parent / f".{path.name}.{os.urandom(8).hex()}"
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
        try:
            with os.fdopen(descriptor, "wb") as stream:
                stream.write(data)
                stream.flush()
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


def _read(path: Path, limit: int) -> bytes | None:
    """What a regular file holds, up to one byte more than the limit; None if there is none."""
    try:
        return read_beginning(str(path), limit)
    except FileNotFoundError:
        if path.is_symlink():
            raise _unusable(path, "it is a link to something that does not exist") from None
        return None
    except OSError as error:
        if error.errno == errno.EINVAL:
            raise _unusable(path, f"it is {kind_of(path.stat())} in the place of a file") from None
        raise _refused(path, error) from None


@contextlib.contextmanager
def locked(folder: Path, wait: float = 60.0) -> Iterator[None]:
    """Keep other processes out of a folder's files; the folder is made if need be.

    The lock is that of a file which exists meanwhile, and which only those can open who may write to the folder: the
    lock of anything else could be held for ever by whoever may read the folder.

    :param wait: seconds to wait for others, who hold it for milliseconds each unless they hang.
    :raises EsyncError: kind ``locked``, or the folder cannot be made or written.
    """
    try:
        _make(folder)
    except OSError as error:
        raise _refused(folder, error) from None
    descriptor = _lock(folder, time.monotonic() + wait)
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            os.unlink(folder / _LOCK)
        os.close(descriptor)


def refuse_unwritable(folder: Path, setting: str) -> None:
    """Refuse a folder that cannot be written, before anything is done that is to be written there.

    :param setting: that names the folder.
    :raises EsyncError: kind ``control_node_file``.
    """
    there = next(one for one in (folder, *folder.absolute().parents) if one.exists())
    if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
        why = f"{there} is no folder" if not there.is_dir() else f"{there} cannot be written"
        raise EsyncError(
            f"nothing could be written there, because {why}",
            f"Correct that on the control node, or set {setting} to another folder",
            kind="control_node_file",
            path=str(folder),
        )


def _lock(folder: Path, end: float) -> int:
    while True:
        error: OSError | None = None
        try:
            descriptor = _open_lock(folder)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                # Whoever held it has removed it: the lock of a removed file keeps nobody out.
                if os.path.samestat(os.fstat(descriptor), os.stat(folder / _LOCK)):
                    return descriptor
            except BaseException:
                os.close(descriptor)
                raise
            os.close(descriptor)
        except (BlockingIOError, FileNotFoundError):
            pass
        except PermissionError as refusal:
            # Its maker may be about to give it its mode; else it is that of a run that was killed.
            if not (folder / _LOCK).exists():
                raise _refused(folder, refusal) from None
            error = refusal
        except OSError as refusal:
            raise _refused(folder, refusal) from None
        if time.monotonic() >= end:
            if error:
                raise _refused(folder / _LOCK, error)
            raise EsyncError(
                "another process on the control node holds its lock and does not release it",
                f"End it (lslocks shows it), and run again; the lock is that of {_LOCK} there",
                kind="locked",
                path=str(folder),
            )
        time.sleep(0.01)


def _open_lock(folder: Path) -> int:
    """Open the file that bears the lock, or make it, for those who may write to the folder."""
    flags = os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    with contextlib.suppress(FileNotFoundError):
        return os.open(folder / _LOCK, flags)
    try:
        descriptor = os.open(folder / _LOCK, flags | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return os.open(folder / _LOCK, flags)
    status = folder.stat()
    writers = stat.S_IMODE(status.st_mode) & 0o222
    with contextlib.suppress(OSError):  # not everybody can, and not everybody needs to
        os.fchown(descriptor, -1, status.st_gid)
        os.fchmod(descriptor, writers | writers << 1)
    return descriptor


def _make(folder: Path) -> None:
    """Make a folder and its parents, as the umask and the folder around them say."""
    folder.mkdir(parents=True, exist_ok=True)


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


def _unusable(path: Path, cause: str) -> EsyncError:
    return EsyncError(
        cause,
        "Find out who placed it, and remove it or restore the file, from git or a backup",
        kind="control_node_file",
        path=str(path),
    )
