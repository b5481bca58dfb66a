# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Folders and files that hold keys: no link is followed, nothing is half written, no mode is ever too wide.

AnsibleModule.atomic_move is not used: it widens the mode of new files, does not fsync, and replaces links.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import stat
import time
from typing import Iterator, List, Optional, Sequence

from ansible_collections.esync.mesh.plugins.module_utils._core.errors import EsyncError

TEMPORARY = ".esync-tmp-"
"""How the name of everything unfinished begins; what a killed run left behind is found by it."""

_FOLDER_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# Parents are only passed through, which needs no right to list them.
_PARENT_FLAGS = getattr(os, "O_PATH", os.O_RDONLY) | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_MAX_LINKS = 40
_LOCK_POLL = 0.05

_KINDS = {
    errno.ENOSPC: ("no_space", "there is no space left", "Make room on the file system"),
    errno.EDQUOT: ("no_space", "the disk quota is used up", "Make room or raise the quota"),
    errno.EROFS: ("read_only", "the file system is mounted read-only", "Mount it writable"),
    errno.EACCES: ("no_permission", "permission denied", "Run as the owner of the directory, as a rule root"),
    errno.EPERM: (
        "no_permission",
        "the operation is not permitted",
        "Look for attributes such as immutable, and run as the owner",
    ),
    errno.ENOENT: ("missing_file", "it does not exist", "Find out who removed it"),
    errno.ELOOP: (
        "not_a_file",
        "it is a link where none may be",
        "Replace the link by what it stands for, or remove it",
    ),
    errno.ENOTDIR: ("not_a_folder", "it is not a folder", "Move it out of the way"),
    errno.EIO: ("io_error", "the disk reports an input/output error", "Check the disk"),
}
_ANOTHER = "If everything of this collection is spoilt, set esync_discard_existing"


def os_error(error: OSError, path: str, doing: str) -> EsyncError:
    """A failed system call as an error with path, cause and remedy.

    :param doing: what was tried, such as ``write``.
    """
    kind, cause, remedy = _KINDS.get(
        error.errno or 0,
        ("io_error", os.strerror(error.errno or 0).lower(), "Repair the cause"),
    )
    return EsyncError(f"cannot {doing}: {cause}", f"{remedy}, and run again", kind=kind, path=path)


@contextlib.contextmanager
def _telling(path: str, doing: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        # "from None": the chain would be printed by whoever prints tracebacks.
        raise os_error(error, path, doing) from None


class Folder:
    """An open folder. All work goes through its descriptor, so nobody can swap a parent under our feet.

    Made by :meth:`open`, :meth:`find`, :meth:`child` and :meth:`make_child`; a context manager.

    :param descriptor: an open directory descriptor, owned from now on.
    :param path: for messages only.
    :param owner: the user id that everything inside must belong to.
    """

    def __init__(self, descriptor: int, path: str, owner: int) -> None:
        self._descriptor = descriptor
        self.path = path
        self.owner = owner

    def __enter__(self) -> Folder:
        return self

    def __exit__(self, *_unused: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the descriptor; a second time does nothing."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    # -- opening ----------------------------------------------------------------------------------------------

    @classmethod
    def open(cls, path: str, create_mode: Optional[int] = None, any_owner: bool = False) -> Folder:
        """Open a folder by its absolute path; make it, and parents with mode 0755, if ``create_mode`` is given.

        Links among the parents are followed if nobody but the folder's owner, root or we could have placed them.

        :param any_owner: accept a folder of another user, and expect its contents to be that user's (for readers).
        :raises EsyncError: kinds ``missing_folder``, ``unsafe_parent``, ``wrong_owner``, ``not_a_folder``, ...
        """
        folder = cls._open(path, create_mode, any_owner)
        if folder is None:
            raise EsyncError(
                "the folder does not exist", "Create it, or correct the path", kind="missing_folder", path=path
            )
        return folder

    @classmethod
    def find(cls, path: str, any_owner: bool = False) -> Optional[Folder]:
        """Like :meth:`open`, but ``None`` if there is no such folder."""
        return cls._open(path, None, any_owner)

    @classmethod
    def _open(cls, path: str, create_mode: Optional[int], any_owner: bool) -> Optional[Folder]:
        descriptor = _walk(path, create_mode)
        if descriptor is None:
            return None
        try:
            status = os.fstat(descriptor)
            owner = status.st_uid if any_owner else os.geteuid()
            _check_owner(status, owner, path)
        except BaseException:
            os.close(descriptor)
            raise
        return cls(descriptor, path, owner)

    def child(self, name: str) -> Folder:
        """Open a folder inside this one; a link is refused.

        :raises EsyncError: kinds ``missing_file``, ``not_a_folder``, ``wrong_owner``, ...
        """
        path = self._path(name)
        try:
            descriptor = os.open(name, _FOLDER_FLAGS, dir_fd=self._descriptor)
        except OSError as error:
            if error.errno in (errno.ENOTDIR, errno.ELOOP):
                what = kind_of(os.stat(name, dir_fd=self._descriptor, follow_symlinks=False))
                raise EsyncError(
                    f"it is {what}, but must be a folder",
                    f"Find out who placed it and remove it. {_ANOTHER}",
                    kind="not_a_folder",
                    path=path,
                ) from None
            raise os_error(error, path, "open the folder") from None
        try:
            _check_owner(os.fstat(descriptor), self.owner, path)
        except BaseException:
            os.close(descriptor)
            raise
        return Folder(descriptor, path, self.owner)

    def make_child(self, name: str, mode: int, gid: Optional[int] = None) -> Folder:
        """Make a folder inside this one, with exactly this mode whatever the umask, and open it.

        :raises EsyncError: also when something of this name exists.
        """
        path = self._path(name)
        with _telling(path, "make the folder"):
            os.mkdir(name, 0o700, dir_fd=self._descriptor)
        folder = self.child(name)
        try:
            folder.set_mode(mode, gid)
            self.sync()
        except BaseException:
            folder.close()
            raise
        return folder

    # -- looking ----------------------------------------------------------------------------------------------

    def _path(self, name: str) -> str:
        if not name or "/" in name or "\0" in name or name in (".", ".."):
            raise ValueError("not the name of an entry")
        return os.path.join(self.path, name)

    def status(self, name: Optional[str] = None) -> Optional[os.stat_result]:
        """The status of an entry, links not followed, or ``None`` if there is none; of the folder without a name."""
        if name is None:
            with _telling(self.path, "look at the folder"):
                return os.fstat(self._descriptor)
        path = self._path(name)
        try:
            return os.stat(name, dir_fd=self._descriptor, follow_symlinks=False)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise os_error(error, path, "look at it") from None

    def entries(self) -> List[str]:
        """The names inside, sorted."""
        with _telling(self.path, "list the folder"):
            return sorted(os.listdir(self._descriptor))

    def read(self, name: str, limit: int = 1 << 20) -> bytes:
        """The content of a regular file that belongs to the right user.

        :param limit: bytes; a larger file is refused before it is read.
        :raises EsyncError: kinds ``missing_file``, ``not_a_file``, ``wrong_owner``, ``too_large``, ``no_permission``.
        """
        path = self._path(name)
        with _telling(path, "read"):
            # Looked at before it is opened: opening a device can have effects, opening a FIFO can block.
            _check_regular(os.stat(name, dir_fd=self._descriptor, follow_symlinks=False), path)
            descriptor = os.open(
                name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=self._descriptor
            )
            with open(descriptor, "rb", buffering=0) as stream:
                status = os.fstat(descriptor)
                _check_regular(status, path)
                _check_owner(status, self.owner, path)
                data = bytearray()
                while len(data) <= limit:
                    piece = stream.read(limit + 1 - len(data))
                    if not piece:
                        return bytes(data)
                    data += piece
        raise EsyncError(
            f"it is larger than the {limit} bytes that such a file can have",
            f"Find out who wrote it and remove it. {_ANOTHER}",
            kind="too_large",
            path=path,
        )

    def link_target(self, name: str) -> Optional[str]:
        """Where a link points to, or ``None`` if there is nothing of this name.

        :raises EsyncError: kind ``not_a_link`` for anything else, ``wrong_owner``.
        """
        status = self.status(name)
        path = self._path(name)
        if status is None:
            return None
        if not stat.S_ISLNK(status.st_mode):
            raise EsyncError(
                f"it is {kind_of(status)}, but must be a link",
                f"Find out who placed it and remove it. {_ANOTHER}",
                kind="not_a_link",
                path=path,
            )
        _check_owner(status, self.owner, path)
        with _telling(path, "read the link"):
            return os.readlink(name, dir_fd=self._descriptor)

    # -- changing ---------------------------------------------------------------------------------------------

    def write(self, name: str, data: bytes, mode: int, gid: Optional[int] = None) -> None:
        """Write a file atomically: it appears complete, durable, and with its final mode, or not at all.

        :param gid: the group to give it to; the mode is widened only after that.
        :raises EsyncError: kinds ``no_space``, ``read_only``, ``not_a_file``, ``io_error``, ...; nothing is left then.
        """
        path = self._path(name)
        standing = self.status(name)
        if standing is not None:
            _check_regular(standing, path)
        temporary = temporary_name()
        try:
            with _telling(path, "write"):
                descriptor = os.open(
                    temporary,
                    os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC,
                    0o600,
                    dir_fd=self._descriptor,
                )
                with open(descriptor, "r+b", buffering=0) as stream:
                    _write_all(descriptor, data)
                    os.fsync(descriptor)
                    stream.seek(0)
                    if stream.readall() != data:
                        raise EsyncError(
                            "what was read back is not what was written", "Check the disk", kind="io_error", path=path
                        )
                    if gid is not None:
                        os.fchown(descriptor, -1, gid)
                    os.fchmod(descriptor, mode)
                    os.fsync(descriptor)
                os.rename(temporary, name, src_dir_fd=self._descriptor, dst_dir_fd=self._descriptor)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(temporary, dir_fd=self._descriptor)
            raise
        self.sync()

    def hardlink(self, source: Folder, name: str, new_name: Optional[str] = None) -> bool:
        """Give a file of another folder a second name here.

        :returns: ``False`` if the file system cannot do that; then copy.
        """
        path = self._path(new_name or name)
        try:
            os.link(
                name,
                new_name or name,
                src_dir_fd=source._descriptor,
                dst_dir_fd=self._descriptor,
                follow_symlinks=False,
            )
        except OSError as error:
            if error.errno in (errno.EPERM, errno.EXDEV, errno.EMLINK, errno.ENOTSUP, errno.ENOSYS):
                return False
            raise os_error(error, path, "link") from None
        return True

    def set_link(self, name: str, target: str) -> None:
        """Point a link at ``target``, in one step: at every moment it points to the old or to the new.

        :raises EsyncError: kind ``not_a_link`` if something else stands there.
        """
        self.link_target(name)
        path = self._path(name)
        temporary = temporary_name()
        with _telling(path, "set the link"):
            os.symlink(target, temporary, dir_fd=self._descriptor)
            try:
                os.rename(temporary, name, src_dir_fd=self._descriptor, dst_dir_fd=self._descriptor)
            except BaseException:
                with contextlib.suppress(OSError):
                    os.unlink(temporary, dir_fd=self._descriptor)
                raise
        self.sync()

    def rename(self, name: str, new_name: str) -> None:
        """Rename an entry within this folder, durably; an existing file or folder of the new name is not replaced."""
        path = self._path(new_name)
        if self.status(new_name) is not None:
            raise EsyncError("it exists already", "Remove it, and run again", kind="exists", path=path)
        with _telling(path, "rename"):
            os.rename(name, new_name, src_dir_fd=self._descriptor, dst_dir_fd=self._descriptor)
        self.sync()

    def move(self, name: str, folder: Folder, new_name: str) -> None:
        """Move a file into another folder of the same file system in one step; a file of the new name is replaced."""
        with _telling(folder._path(new_name), "rename"):
            os.rename(name, new_name, src_dir_fd=self._descriptor, dst_dir_fd=folder._descriptor)
        folder.sync()
        self.sync()

    def set_mode(self, mode: int, gid: Optional[int] = None) -> None:
        """Give this folder a mode, and a group before that."""
        with _telling(self.path, "set the mode"):
            if gid is not None and os.fstat(self._descriptor).st_gid != gid:
                os.fchown(self._descriptor, -1, gid)
            os.fchmod(self._descriptor, mode)

    def set_file_mode(self, name: str, mode: int, gid: Optional[int] = None) -> None:
        """Give a regular file inside a mode, and a group before that."""
        path = self._path(name)
        with _telling(path, "set the mode"):
            # O_PATH and /proc, because the owner cannot open a file of mode 0000.
            _check_regular(os.stat(name, dir_fd=self._descriptor, follow_symlinks=False), path)
            descriptor = os.open(
                name, getattr(os, "O_PATH", os.O_RDONLY) | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=self._descriptor
            )
            try:
                status = os.fstat(descriptor)
                _check_regular(status, path)
                _check_owner(status, self.owner, path)
                handle = f"/proc/self/fd/{descriptor}"
                if gid is not None and status.st_gid != gid:
                    # The new group gets what the mode says, not what an older one said.
                    os.chmod(handle, 0o600)
                    os.chown(handle, -1, gid)
                os.chmod(handle, mode)
            finally:
                os.close(descriptor)

    def remove(self, name: str, wipe: bool = False) -> None:
        """Remove a file or link, if it is there.

        :param wipe: overwrite a regular file first, so that a key does not survive in the freed blocks (as far as
            the file system overwrites in place). A file with further names is left as it is.
        """
        path = self._path(name)
        with _telling(path, "remove"):
            try:
                status = os.stat(name, dir_fd=self._descriptor, follow_symlinks=False)
            except FileNotFoundError:
                return
            if wipe and stat.S_ISREG(status.st_mode) and status.st_nlink == 1:
                self._wipe(name)
            os.unlink(name, dir_fd=self._descriptor)

    def _wipe(self, name: str) -> None:
        # A full or failing disk must not keep a key alive: whatever happens here, the caller unlinks.
        with contextlib.suppress(OSError):
            descriptor = os.open(
                name, os.O_WRONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=self._descriptor
            )
            try:
                _write_all(descriptor, bytes(os.fstat(descriptor).st_size))
                os.fsync(descriptor)
            finally:
                os.close(descriptor)

    def remove_tree(self, name: str, wipe: bool = False) -> None:
        """Remove a folder with everything in it, or a file, if it is there. Links are removed, never followed."""
        status = self.status(name)
        if status is None:
            return
        if not stat.S_ISDIR(status.st_mode):
            self.remove(name, wipe)
            self.sync()
            return
        path = self._path(name)
        with _telling(path, "remove"):
            descriptor = os.open(name, _FOLDER_FLAGS, dir_fd=self._descriptor)
        with Folder(descriptor, path, self.owner) as folder:
            for entry in folder.entries():
                folder.remove_tree(entry, wipe) if folder._is_folder(entry) else folder.remove(entry, wipe)
        with _telling(path, "remove"):
            os.rmdir(name, dir_fd=self._descriptor)
        self.sync()

    def _is_folder(self, name: str) -> bool:
        status = self.status(name)
        return status is not None and stat.S_ISDIR(status.st_mode)

    def sync(self) -> None:
        """Make renames and new entries durable."""
        with _telling(self.path, "sync the folder"):
            try:
                os.fsync(self._descriptor)
            except OSError as error:
                # Some file systems have no fsync for folders.
                if error.errno not in (errno.EINVAL, errno.ENOTSUP):
                    raise

    @contextlib.contextmanager
    def lock(self, wait: float = 60.0) -> Iterator[None]:
        """Keep other runs out of this folder. It leaves no file, and ends with the process whatever happens to it.

        :param wait: seconds to wait for another run to finish.
        :raises EsyncError: kind ``locked``, naming the process that holds the lock if it can be known.
        """
        end = time.monotonic() + wait
        while True:
            try:
                fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except OSError as error:
                if error.errno not in (errno.EAGAIN, errno.EACCES, errno.EINTR):
                    raise os_error(error, self.path, "lock the folder") from None
            if time.monotonic() >= end:
                raise EsyncError(
                    f"another run works here{self._holder()}, and did not finish within {wait:g} seconds",
                    "Wait for it or end it, and run again",
                    kind="locked",
                    path=self.path,
                )
            time.sleep(_LOCK_POLL)
        try:
            with _telling(self.path, "look at the folder"):
                gone = os.fstat(self._descriptor).st_nlink == 0
            if gone:
                raise EsyncError("another run removed the folder meanwhile", "Run again", kind="locked", path=self.path)
            yield
        finally:
            with contextlib.suppress(OSError):
                fcntl.flock(self._descriptor, fcntl.LOCK_UN)

    def _holder(self) -> str:
        try:
            inode = str(os.fstat(self._descriptor).st_ino)
            with open("/proc/locks", encoding="ascii", errors="replace") as stream:
                for line in stream:
                    # 1: FLOCK  ADVISORY  WRITE 4711 fe:01:131074 0 EOF
                    fields = line.split()
                    if len(fields) > 5 and fields[1] == "FLOCK" and fields[5].rsplit(":", 1)[-1] == inode:
                        return f" (process {fields[4]})"
        except OSError:
            pass
        return ""


# -- before a folder is opened --------------------------------------------------------------------------------


def refuse_web_roots(path: str, web_roots: Sequence[str], server: Optional[str] = None) -> None:
    """Refuse a folder that a web server could serve, links resolved on both sides.

    :raises EsyncError: kind ``web_root``.
    """
    real = os.path.realpath(os.path.normpath(path))
    for root in web_roots:
        real_root = os.path.realpath(root)
        if os.path.commonpath([real, real_root]) == real_root:
            also = "" if real == os.path.normpath(path) else f" (it is really {real})"
            raise EsyncError(
                f"the folder lies under the web root {root}{also}, where private keys could be served to anybody",
                "Set esync_directory to a folder outside of every web root",
                kind="web_root",
                server=server,
                path=path,
            )


def _walk(path: str, create_mode: Optional[int]) -> Optional[int]:
    """Open ``path`` from the root on, looking at every step; ``None`` if it is not there and not to be made."""
    if not os.path.isabs(path):
        raise EsyncError("the path is not absolute", "Write it from the root on", kind="bad_path", path=path)
    here = "/"
    steps = _steps(path)
    links = 0
    descriptor = os.open("/", _PARENT_FLAGS if steps else _FOLDER_FLAGS)
    try:
        while steps:
            name = steps.pop(0)
            standing = os.path.join(here, name)
            made = False
            parent = os.fstat(descriptor)
            try:
                status: Optional[os.stat_result] = os.stat(name, dir_fd=descriptor, follow_symlinks=False)
            except FileNotFoundError:
                status = None
            _check_parent(parent, here, path)
            if status is not None and stat.S_ISLNK(status.st_mode):
                links += 1
                if links > _MAX_LINKS:
                    raise EsyncError("too many links on the way", "Correct the links", kind="bad_path", path=path)
                if status.st_uid not in (0, os.geteuid(), parent.st_uid):
                    raise EsyncError(
                        f"the link {standing} on the way belongs to user {status.st_uid}",
                        "Remove the link",
                        kind="unsafe_parent",
                        path=path,
                    )
                steps = _steps(os.path.join(here, os.readlink(name, dir_fd=descriptor))) + steps
                # Start over from the root: a target may be absolute or climb.
                here = "/"
                os.close(descriptor)
                descriptor = -1
                descriptor = os.open("/", _PARENT_FLAGS if steps else _FOLDER_FLAGS)
                continue
            if status is None:
                if create_mode is None:
                    os.close(descriptor)
                    return None
                # Another run may be making the same folder right now.
                with contextlib.suppress(FileExistsError):
                    os.mkdir(name, 0o700, dir_fd=descriptor)
                    made = True
            deeper = os.open(name, _PARENT_FLAGS if steps else _FOLDER_FLAGS, dir_fd=descriptor)
            if made:
                os.chmod(name, 0o755 if steps else create_mode or 0o700, dir_fd=descriptor)
            os.close(descriptor)
            descriptor, here = deeper, standing
    except OSError as error:
        if descriptor >= 0:
            os.close(descriptor)
        raise os_error(error, path, "make the folder" if create_mode is not None else "open the folder") from None
    except BaseException:
        if descriptor >= 0:
            os.close(descriptor)
        raise
    return descriptor


def _steps(path: str) -> List[str]:
    return [step for step in os.path.normpath(path).split("/") if step]


def _check_parent(status: os.stat_result, here: str, path: str) -> None:
    # In a folder that others may write to, they can rename ours away and put theirs there; the sticky bit prevents it.
    if status.st_mode & stat.S_IWOTH and not status.st_mode & stat.S_ISVTX:
        raise EsyncError(
            f"anybody may replace it, because others may write to its parent {here} "
            f"({stat.S_IMODE(status.st_mode):04o})",
            f"Take that right away (chmod o-w {here}), or choose another esync_directory",
            kind="unsafe_parent",
            path=path,
        )


def _check_owner(status: os.stat_result, owner: int, path: str) -> None:
    if status.st_uid != owner:
        raise EsyncError(
            f"it belongs to user {user_name(status.st_uid)}, not to {user_name(owner)}",
            f"Find out how that came about; give it back with chown, or remove it. {_ANOTHER}",
            kind="wrong_owner",
            path=path,
        )


def _check_regular(status: os.stat_result, path: str) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise EsyncError(
            f"it is {kind_of(status)} in the place of a file",
            f"Find out who placed it and remove it. {_ANOTHER}",
            kind="not_a_file",
            path=path,
        )


def kind_of(status: os.stat_result) -> str:
    """What an entry is, in words."""
    return _WORDS.get(stat.S_IFMT(status.st_mode), "something unknown")


_WORDS = {
    stat.S_IFREG: "a file",
    stat.S_IFDIR: "a folder",
    stat.S_IFLNK: "a link",
    stat.S_IFIFO: "a FIFO",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


def user_name(uid: int) -> str:
    """A user's name, or its number if it has none."""
    try:
        import pwd

        return pwd.getpwuid(uid).pw_name
    except (ImportError, KeyError):
        return str(uid)


def temporary_name() -> str:
    """A name for something unfinished that nobody can foresee."""
    return TEMPORARY + os.urandom(8).hex()


def _write_all(descriptor: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(descriptor, rest) :]
