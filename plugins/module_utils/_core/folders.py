# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Folders and files that hold keys: nobody else can replace them, nothing is half written, no mode is ever too wide.

The way to a folder is safe if everything on it belongs to root or to the folder's owner, and nobody else may write
there: then nobody else can put something in its place. In a folder with the sticky bit, such as /tmp, others may write,
but cannot rename or remove what is not theirs. What is ours there is safe, and a link there is not followed.

AnsibleModule.atomic_move is not used: it widens the mode of new files, does not fsync, and replaces links.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import stat
import time
from typing import Iterator, List, Optional, Sequence, Tuple

from ansible_collections.esync.mesh.plugins.module_utils._core.errors import EsyncError

TEMPORARY = ".esync-tmp-"
"""How the name of everything unfinished begins; what a killed run left behind is found by it."""

_FOLDER_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# To look at an entry, whatever it is; it needs no right to read it, and a link is opened itself.
_STEP_FLAGS = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
_MAX_LINKS = 40
_LOCK_POLL = 0.05
_ACLS = ("system.posix_acl_access", "system.posix_acl_default")
"""Where Linux keeps the access control lists of a file or folder, and those that its new entries inherit (acl(5))."""

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

        Links on the way are followed if nobody but root and the folder's owner could have placed them.

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
    def place(cls, path: str) -> Tuple[Folder, str]:
        """Where a folder lies that is to be made or replaced: its parent, and its name there; links are followed.

        The parent may be root's, or one with the sticky bit; what it holds of us must belong to us.

        :raises EsyncError: kinds ``missing_folder``, ``unsafe_parent``, ``not_a_folder``, ``bad_path``, ...
        """
        owner = os.geteuid()
        with _Way(path, owner) as way:
            name = way.to_parent()
            return cls(way.opened(), os.path.dirname(os.path.normpath(path)), owner), name

    @classmethod
    def _open(cls, path: str, create_mode: Optional[int], any_owner: bool) -> Optional[Folder]:
        with _Way(path, None if any_owner else os.geteuid(), create_mode) as way:
            if not way.to_end():
                return None
            owner = way.owner_of_end()
            return cls(way.opened(), path, owner)

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

    def ensure_child(self, name: str, mode: int, gid: Optional[int] = None) -> Folder:
        """Open a folder inside this one; make it first, with this mode, if there is nothing of its name.

        :raises EsyncError: as :meth:`child` and :meth:`make_child`.
        """
        return self.make_child(name, mode, gid) if self.status(name) is None else self.child(name)

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

    def read(self, name: str, limit: int = 1 << 20, uid: Optional[int] = None) -> bytes:
        """The content of a regular file that belongs to the right user.

        :param limit: bytes; a larger file is refused before it is read. :param uid: of the user, if it is another one.
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
                _check_owner(status, self.owner if uid is None else uid, path)
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

    def write(self, name: str, data: bytes, mode: int, gid: Optional[int] = None, uid: Optional[int] = None) -> None:
        """Write a file atomically: it appears complete, durable, and with its final mode, or not at all.

        :param gid: the group to give it to; the mode is widened only after that. :param uid: the user to give it to.
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
                    _set_mode(descriptor, mode, gid)
                    if uid is not None:
                        os.fchown(descriptor, uid, -1)
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
        """Give this folder a mode, and a group before that; access control lists are taken away."""
        with _telling(self.path, "set the mode"):
            _set_mode(self._descriptor, mode, gid)

    def set_file_mode(self, name: str, mode: int, gid: Optional[int] = None) -> None:
        """Give a regular file inside a mode, and a group before that; its access control list is taken away."""
        path = self._path(name)
        with _telling(path, "set the mode"):
            found = os.open(name, _STEP_FLAGS, dir_fd=self._descriptor)
            try:
                status = os.fstat(found)
                _check_regular(status, path)
                _check_owner(status, self.owner, path)
                # By /proc, because the owner cannot open a file of mode 0000, and by name it could be another one.
                handle = f"/proc/self/fd/{found}"
                if not status.st_mode & stat.S_IRUSR:
                    os.chmod(handle, 0o600)
                descriptor = os.open(handle, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            finally:
                os.close(found)
            try:
                _set_mode(descriptor, mode, gid)
            finally:
                os.close(descriptor)

    def has_acl(self, name: Optional[str] = None) -> bool:
        """Whether an access control list lets others in besides the mode of a regular file, or of the folder without a
        name; ``False`` for what cannot be opened.
        """
        if name is None:
            return _has_acl(self._descriptor)
        try:
            descriptor = os.open(
                name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=self._descriptor
            )
        except OSError:
            return False
        try:
            return _has_acl(descriptor)
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

        Whoever can open the folder can hold its lock: lock only one that nobody else may read.

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
                        return f" (process {fields[4]}{_user_of(fields[4])})"
        except OSError:
            pass
        return ""


def _user_of(pid: str) -> str:
    """Whose process it is, in words, if that is somebody else."""
    try:
        uid = os.stat(f"/proc/{pid}").st_uid
    except OSError:
        return ""
    return "" if uid == os.geteuid() else f" of {user_name(uid)}"


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


class _Way:
    """The way from the root to a folder. Each step is opened, looked at through its descriptor, and then taken.

    A context manager, which closes what is open.

    :param path: absolute. :param owner: who may own what is on the way, besides root; None: whoever owns the end of it.
    :param create_mode: the mode of the last folder, if what is missing is to be made.
    """

    def __init__(self, path: str, owner: Optional[int], create_mode: Optional[int] = None) -> None:
        if not os.path.isabs(path):
            raise EsyncError("the path is not absolute", "Write it from the root on", kind="bad_path", path=path)
        self.path = path
        self.owner = owner
        self.create_mode = create_mode
        self._here = "/"
        self._steps = _steps(path)
        self._links = 0
        self._owners: List[Tuple[str, str, int]] = []
        self._descriptor = -1

    def __enter__(self) -> _Way:
        with self._telling():
            self._descriptor = os.open("/", _STEP_FLAGS)
        return self

    def __exit__(self, *_unused: object) -> None:
        os.close(self._descriptor)

    def to_end(self) -> bool:
        """Go to the folder itself. :returns: ``False`` if it is not there and not to be made."""
        with self._telling():
            while self._steps:
                if not self._take(self._steps.pop(0)):
                    return False
        return True

    def to_parent(self) -> str:
        """Go to the folder's parent. :returns: the name of the folder, which need not exist, in it."""
        with self._telling():
            while self._steps:
                name = self._steps.pop(0)
                if not self._steps and not self._is_link(name):
                    self._check_here(sticky=True)
                    return name
                if not self._take(name):
                    raise EsyncError(
                        f"its parent {os.path.join(self._here, name)} does not exist",
                        "Create it, or correct the path",
                        kind="missing_folder",
                        path=self.path,
                    )
        raise EsyncError(
            "it is the root of all files", "Give a folder inside another one", kind="bad_path", path=self.path
        )

    def opened(self) -> int:
        """A descriptor of where it is now, to list it and to make entries; the caller closes it."""
        with self._telling():
            return os.open(".", _FOLDER_FLAGS, dir_fd=self._descriptor)

    def owner_of_end(self) -> int:
        """Who owns where it is now, and must own what was on the way.

        :raises EsyncError: kinds ``wrong_owner``, ``unsafe_parent``.
        """
        with self._telling():
            status = os.fstat(self._descriptor)
        if self.owner is not None:
            _check_owner(status, self.owner, self.path)
        for what, path, uid in self._owners:
            if uid != status.st_uid:
                raise self._unsafe_owner(what, path, uid)
        return status.st_uid

    # -- a step --

    def _take(self, name: str) -> bool:
        standing = os.path.join(self._here, name)
        # Before anything is made there.
        self._check_here(sticky=True)
        entered = self._enter(name)
        if entered is None:
            return False
        try:
            status = os.fstat(entered)
            if stat.S_ISLNK(status.st_mode):
                self._check_here(sticky=False, link=standing)
                self._check_uid("the link", standing, status.st_uid)
                self._follow(os.readlink("", dir_fd=entered))
                return True
            if not stat.S_ISDIR(status.st_mode):
                raise OSError(errno.ENOTDIR, "")
            self._here = standing
            self._descriptor, entered = entered, self._descriptor
        finally:
            os.close(entered)
        return True

    def _enter(self, name: str) -> Optional[int]:
        """Open an entry of the folder, whatever it is; None if it is not there and not to be made."""
        try:
            return os.open(name, _STEP_FLAGS, dir_fd=self._descriptor)
        except FileNotFoundError:
            if self.create_mode is None:
                return None
        try:
            os.mkdir(name, 0o700, dir_fd=self._descriptor)
        except FileExistsError:  # another run may be making the same folder right now
            return os.open(name, _STEP_FLAGS, dir_fd=self._descriptor)
        entered = os.open(name, _FOLDER_FLAGS, dir_fd=self._descriptor)
        try:
            # By the descriptor: by its name it could by now be something else, of somebody else.
            _check_owner(os.fstat(entered), os.geteuid(), os.path.join(self._here, name))
            _set_mode(entered, 0o755 if self._steps else self.create_mode)
        except BaseException:
            os.close(entered)
            raise
        return entered

    def _follow(self, target: str) -> None:
        self._links += 1
        if self._links > _MAX_LINKS:
            raise EsyncError("too many links on the way", "Correct the links", kind="bad_path", path=self.path)
        self._steps = _steps(os.path.join(self._here, target)) + self._steps
        # Start over from the root: a target may be absolute or climb.
        root = os.open("/", _STEP_FLAGS)
        os.close(self._descriptor)
        self._descriptor, self._here = root, "/"

    def _is_link(self, name: str) -> bool:
        try:
            return stat.S_ISLNK(os.stat(name, dir_fd=self._descriptor, follow_symlinks=False).st_mode)
        except FileNotFoundError:
            return False

    # -- what may be on the way --

    def _check_here(self, sticky: bool, link: Optional[str] = None) -> None:
        """Refuse a parent in which somebody else could put something in our place.

        :param sticky: whether others may write there if the sticky bit keeps them from removing what is not theirs.
        :param link: the link in it that would be followed.
        """
        status, here = os.fstat(self._descriptor), self._here
        self._check_uid("the folder", here, status.st_uid)
        writable = status.st_mode & stat.S_IWOTH or (
            status.st_mode & stat.S_IWGRP and not _is_private_group(self._descriptor, status)
        )
        if not writable or (sticky and status.st_mode & stat.S_ISVTX):
            return
        mode = f"{stat.S_IMODE(status.st_mode):04o}"
        if link:
            cause = f"the link {link} on the way may be anybody's, because others may write to {here} ({mode})"
            remedy = "Give the path without that link"
        else:
            cause = f"others may replace it, because they may write to its parent {here} ({mode})"
            remedy = f"Take that right away (chmod go-w {here}), or choose another folder"
        raise EsyncError(cause, remedy, kind="unsafe_parent", path=self.path)

    def _check_uid(self, what: str, path: str, uid: int) -> None:
        if uid == 0 or uid == self.owner:
            return
        if self.owner is not None:
            raise self._unsafe_owner(what, path, uid)
        self._owners.append((what, path, uid))

    def _unsafe_owner(self, what: str, path: str, uid: int) -> EsyncError:
        return EsyncError(
            f"{what} {path} on the way to it belongs to {user_name(uid)}, who could put something else in its place",
            f"Give that to root (chown -h root {path}), or choose another folder",
            kind="unsafe_parent",
            path=self.path,
        )

    @contextlib.contextmanager
    def _telling(self) -> Iterator[None]:
        with _telling(self.path, "make the folder" if self.create_mode is not None else "open the folder"):
            yield


def _steps(path: str) -> List[str]:
    return [step for step in os.path.normpath(path).split("/") if step]


def _is_private_group(descriptor: int, status: os.stat_result) -> bool:
    """Whether a folder's group is one that only its owner is in, as many distributions make one for each user.

    Their folders are writable by that group by default. Root has no such group: others may be in the group root.
    """
    if status.st_uid == 0:
        return False
    try:
        import grp
        import pwd

        user, group = pwd.getpwuid(status.st_uid), grp.getgrgid(status.st_gid)
        readable = os.open(".", _FOLDER_FLAGS, dir_fd=descriptor)
    except (ImportError, KeyError, OSError):
        return False
    try:
        # With an access control list the bits of the group say what anybody in that list may do.
        if _has_acl(readable):
            return False
    finally:
        os.close(readable)
    return (user.pw_name, user.pw_gid) == (group.gr_name, group.gr_gid) and not {*group.gr_mem} - {user.pw_name}


# -- modes ----------------------------------------------------------------------------------------------------


def _set_mode(descriptor: int, mode: int, gid: Optional[int] = None) -> None:
    """Give what is open a mode, and a group before that, and take its access control lists away.

    With such a list, which can come from the folder around it, the bits of the group are those of everybody in it: a
    mode that lets one group read would let them all.
    """
    status = os.fstat(descriptor)
    lists = _has_acl(descriptor)
    moved = gid is not None and status.st_gid != gid
    if (lists or moved) and not mode & 0o007:
        # Nobody gets meanwhile what an older mode gave to others.
        os.fchmod(descriptor, mode & 0o700)
    for name in _ACLS if lists else ():
        try:
            os.removexattr(descriptor, name)
        except OSError as error:
            if error.errno != errno.ENODATA:
                raise
    if moved:
        os.fchown(descriptor, -1, gid if gid is not None else -1)
    os.fchmod(descriptor, mode)


def _has_acl(descriptor: int) -> bool:
    """Whether what is open has access control lists; on a file system without them nothing has."""
    for name in _ACLS:
        with contextlib.suppress(OSError):
            os.getxattr(descriptor, name)
            return True
    return False


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
