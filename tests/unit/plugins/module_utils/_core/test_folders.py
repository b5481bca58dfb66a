# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Files that hold keys: whole or absent, narrow from the first moment, no link followed."""

from __future__ import annotations

import errno
import fcntl
import grp
import os
import pwd
import socket
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any, Iterator

import pytest
from other_users import OTHER, acls, as_other, let_in, needs_root

from ansible_collections.esync.mesh.plugins.module_utils._core import folders as files
from ansible_collections.esync.mesh.plugins.module_utils._core.errors import EsyncError
from ansible_collections.esync.mesh.plugins.module_utils._core.folders import Folder

ROOT = os.geteuid() == 0


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Folder]:
    with Folder.open(str(tmp_path / "base"), 0o755) as opened:
        yield opened


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


def left(folder: Folder) -> list[str]:
    return [name for name in folder.entries() if name.startswith(files.TEMPORARY)]


# -- opening ---------------------------------------------------------------------------------------------------


def test_open_makes_parents_and_the_folder_with_modes_whatever_the_umask(tmp_path: Path) -> None:
    old = os.umask(0o077)
    try:
        Folder.open(str(tmp_path / "a" / "b"), 0o755).close()
    finally:
        os.umask(old)
    assert mode(tmp_path / "a") == 0o755
    assert mode(tmp_path / "a" / "b") == 0o755


def test_find_and_open_of_a_folder_that_is_not_there(tmp_path: Path) -> None:
    assert Folder.find(str(tmp_path / "none" / "deeper")) is None
    with pytest.raises(EsyncError) as caught:
        Folder.open(str(tmp_path / "none"))
    assert caught.value.kind == "missing_folder"


def test_a_relative_path_is_refused() -> None:
    with pytest.raises(EsyncError) as caught:
        Folder.open("etc/esync")
    assert caught.value.kind == "bad_path"


def test_a_parent_that_others_may_write_to_is_refused_and_named(tmp_path: Path) -> None:
    open_to_all = tmp_path / "open"
    open_to_all.mkdir()
    open_to_all.chmod(0o777)
    with pytest.raises(EsyncError) as caught:
        Folder.open(str(open_to_all / "esync"), 0o755)
    assert caught.value.kind == "unsafe_parent"
    assert str(open_to_all) in caught.value.cause
    assert not (open_to_all / "esync").exists()
    open_to_all.chmod(0o1777)
    Folder.open(str(open_to_all / "esync"), 0o755).close()


def refused(path: Path, **options: Any) -> EsyncError:
    """The error with which a folder is refused, whether it is to be opened or made or is the place of another one."""
    errors = []
    for attempt in (
        lambda: Folder.open(str(path), 0o755),
        lambda: Folder.find(str(path), **options),
        lambda: Folder.place(str(path)),
    ):
        with pytest.raises(EsyncError) as caught:
            attempt()
        errors.append(caught.value)
    assert {(error.kind, error.path) for error in errors} == {("unsafe_parent", str(path))}
    return errors[0]


@needs_root
@pytest.mark.parametrize("depth", ["", "deeper", "deeper/still"])
def test_a_parent_of_another_user_is_refused_and_named(tmp_path: Path, depth: str) -> None:
    foreign = tmp_path / "foreign"
    (foreign / depth / "esync").mkdir(parents=True)
    os.chown(foreign, OTHER, -1)
    error = refused(foreign / depth / "esync")
    assert str(foreign) in error.cause
    assert files.user_name(OTHER) in error.cause
    with pytest.raises(EsyncError):
        Folder.open(str(foreign / depth / "fresh"), 0o755)
    assert not (foreign / depth / "fresh").exists()


@needs_root
def test_a_reader_accepts_the_owner_of_the_folder_on_the_way_and_nobody_else(tmp_path: Path) -> None:
    folder = tmp_path / "theirs" / "esync"
    folder.mkdir(parents=True)
    for path in (folder.parent, folder):
        os.chown(path, OTHER, -1)
    with Folder.open(str(folder), any_owner=True) as reader:
        assert reader.owner == OTHER
    for uid in (0, 12345):
        os.chown(folder, uid, -1)
        with pytest.raises(EsyncError) as caught:
            Folder.open(str(folder), any_owner=True)
        assert caught.value.kind == "unsafe_parent"


def test_a_parent_that_a_group_may_write_to_is_refused_and_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shared = tmp_path / "shared"
    (shared / "esync").mkdir(parents=True)
    shared.chmod(0o775)
    real = grp.getgrgid
    monkeypatch.setattr(grp, "getgrgid", lambda gid: grp.struct_group((real(gid).gr_name, "x", gid, ["mallory"])))
    assert f"{shared} (0775)" in refused(shared / "esync").cause
    shared.chmod(0o755)
    Folder.open(str(shared / "esync")).close()


def test_a_group_with_nobody_but_the_owner_in_it_may_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "own").mkdir()
    (tmp_path / "own").chmod(0o775)
    me = pwd.struct_passwd(("me", "x", os.geteuid(), os.getegid(), "", "", ""))
    monkeypatch.setattr(pwd, "getpwuid", lambda _uid: me)
    monkeypatch.setattr(grp, "getgrgid", lambda gid: grp.struct_group(("me", "x", gid, ["me"])))
    if ROOT:
        # In the group root there may be others.
        refused(tmp_path / "own" / "esync")
        return
    Folder.open(str(tmp_path / "own" / "esync"), 0o755).close()
    let_in(tmp_path / "own", 7)
    refused(tmp_path / "own" / "esync")


def test_a_parent_that_an_access_control_list_lets_others_write_to_is_refused(tmp_path: Path) -> None:
    (tmp_path / "shared").mkdir(mode=0o755)
    let_in(tmp_path / "shared", 7)
    assert str(tmp_path / "shared") in refused(tmp_path / "shared" / "esync").cause


@needs_root
def test_in_a_folder_with_the_sticky_bit_only_what_is_ours_is_used(tmp_path: Path) -> None:
    (tmp_path / "sticky").mkdir()
    (tmp_path / "sticky").chmod(0o1777)
    assert as_other(tmp_path / "sticky", lambda: os.mkdir("esync"))
    with pytest.raises(EsyncError) as caught:
        Folder.open(str(tmp_path / "sticky" / "esync"), 0o755)
    assert caught.value.kind == "wrong_owner"
    refused(tmp_path / "sticky" / "esync" / "deeper")
    (tmp_path / "ours").mkdir()
    assert as_other(tmp_path / "sticky", lambda: os.symlink("../ours", "link"))
    refused(tmp_path / "sticky" / "link" / "esync")
    # Not even a link of our own: whatever bore its name before may have been anybody's.
    (tmp_path / "sticky" / "own").symlink_to("../ours")
    assert "own" in refused(tmp_path / "sticky" / "own" / "esync").cause
    assert list((tmp_path / "ours").iterdir()) == []
    Folder.open(str(tmp_path / "sticky" / "fresh" / "esync"), 0o755).close()
    assert not as_other(tmp_path / "sticky", lambda: os.rename("fresh", "gone"))


@needs_root
def test_a_link_of_another_user_is_refused_and_named(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    for name in ("link", "esync"):
        (tmp_path / name).symlink_to("real")
        os.lchown(tmp_path / name, OTHER, -1)
    assert f"{tmp_path}/link" in refused(tmp_path / "link" / "esync").cause
    assert f"{tmp_path}/esync" in refused(tmp_path / "esync").cause
    assert list((tmp_path / "real").iterdir()) == []


def test_a_folder_that_is_a_link_to_a_data_disk(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "esync").symlink_to(tmp_path / "data" / "esync")
    with Folder.open(str(tmp_path / "esync"), 0o755) as folder:
        folder.write("file", b"x", 0o644)
    assert (tmp_path / "data" / "esync" / "file").read_bytes() == b"x"
    parent, name = Folder.place(str(tmp_path / "esync"))
    with parent:
        assert (name, parent.entries()) == ("esync", ["esync"])
        assert parent.status().st_ino == (tmp_path / "data").stat().st_ino


def test_the_place_of_a_folder(tmp_path: Path) -> None:
    parent, name = Folder.place(str(tmp_path / "new"))
    with parent:
        assert (name, parent.entries()) == ("new", [])
    for path, kind in ((tmp_path / "none" / "new", "missing_folder"), (Path("/"), "bad_path"), (Path("x"), "bad_path")):
        with pytest.raises(EsyncError) as caught:
            Folder.place(str(path))
        assert (caught.value.kind, caught.value.path) == (kind, str(path))


def test_what_is_put_in_the_place_of_a_new_folder_keeps_its_mode(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "victim").mkdir()
    (tmp_path / "victim").chmod(0o700)
    real = os.open

    def swapped(path: Any, *args: Any, **options: Any) -> int:
        descriptor = real(path, *args, **options)
        if path == "esync" and not (tmp_path / "moved").exists():
            (tmp_path / "esync").rename(tmp_path / "moved")
            (tmp_path / "esync").symlink_to("victim")
        return descriptor

    monkeypatch.setattr(os, "open", swapped)
    Folder.open(str(tmp_path / "esync"), 0o755).close()
    assert (mode(tmp_path / "victim"), mode(tmp_path / "moved")) == (0o700, 0o755)


@needs_root
def test_a_folder_of_another_user_in_the_place_of_a_new_one_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "foreign").mkdir(mode=0o700)
    os.chown(tmp_path / "foreign", OTHER, -1)
    real = os.mkdir

    def swapped(path: Any, *args: Any, **options: Any) -> None:
        real(path, *args, **options)
        (tmp_path / "foreign").rename(tmp_path / "esync")

    monkeypatch.setattr(os, "mkdir", swapped)
    with pytest.raises(EsyncError) as caught:
        Folder.open(str(tmp_path / "esync"), 0o755)
    assert caught.value.kind == "wrong_owner"
    assert mode(tmp_path / "esync") == 0o700


def test_our_own_links_among_the_parents_are_followed(tmp_path: Path) -> None:
    (tmp_path / "real" / "deep").mkdir(parents=True)
    (tmp_path / "absolute").symlink_to(tmp_path / "real")
    (tmp_path / "real" / "up").symlink_to("../real/deep")
    with Folder.open(str(tmp_path / "absolute" / "up" / "esync"), 0o755):
        pass
    assert (tmp_path / "real" / "deep" / "esync").is_dir()


def test_a_loop_of_links_ends(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    with pytest.raises(EsyncError) as caught:
        Folder.open(str(tmp_path / "a" / "esync"))
    assert caught.value.kind == "bad_path"


def test_a_file_in_the_place_of_the_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "esync").write_text("x")
    with pytest.raises(EsyncError) as caught:
        Folder.open(str(tmp_path / "esync"), 0o755)
    assert (caught.value.kind, caught.value.path) == ("not_a_folder", str(tmp_path / "esync"))


@pytest.mark.skipif(not ROOT, reason="only root can give files away")
def test_what_belongs_to_somebody_else_is_refused(tmp_path: Path, folder: Folder) -> None:
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    os.chown(foreign, 12345, -1)
    with pytest.raises(EsyncError) as caught:
        Folder.open(str(foreign))
    assert caught.value.kind == "wrong_owner"
    assert "12345" in caught.value.cause
    with Folder.open(str(foreign), any_owner=True) as reader:
        assert reader.owner == 12345
    folder.write("key", b"x", 0o600)
    os.chown(Path(folder.path) / "key", 12345, -1)
    with pytest.raises(EsyncError) as caught:
        folder.read("key")
    assert (caught.value.kind, caught.value.path) == ("wrong_owner", f"{folder.path}/key")
    link = Path(folder.path) / "link"
    link.symlink_to("key")
    os.lchown(link, 12345, -1)
    with pytest.raises(EsyncError):
        folder.link_target("link")


def test_a_folder_inside_is_made_once(folder: Folder) -> None:
    with folder.ensure_child("inside", 0o711) as made:
        made.write("kept", b"x", 0o600)
    # Its mode is that of whoever made it.
    with folder.ensure_child("inside", 0o755) as found:
        assert (found.entries(), stat.S_IMODE(found.status().st_mode)) == (["kept"], 0o711)
    folder.write("file", b"", 0o600)
    with pytest.raises(EsyncError) as caught:
        folder.ensure_child("file", 0o755)
    assert caught.value.kind == "not_a_folder"


def test_child_refuses_links_and_files(folder: Folder) -> None:
    folder.make_child("sub", 0o700).close()
    folder.set_link("link", "sub")
    folder.write("file", b"", 0o600)
    for name in ("link", "file"):
        with pytest.raises(EsyncError) as caught:
            folder.child(name)
        assert caught.value.kind == "not_a_folder"
        assert f"a {name}" in caught.value.cause
    with pytest.raises(EsyncError) as caught:
        folder.child("none")
    assert caught.value.kind == "missing_file"


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "../x", "a\0b"])
def test_a_name_cannot_leave_the_folder(folder: Folder, name: str) -> None:
    with pytest.raises(ValueError, match="entry"):
        folder.read(name)


# -- reading ---------------------------------------------------------------------------------------------------


def test_read_refuses_everything_but_regular_files_without_blocking(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = Path(folder.path)
    folder.write("real", b"x", 0o600)
    (base / "link").symlink_to("real")
    os.mkfifo(base / "fifo")
    (base / "folder").mkdir()
    with socket.socket(socket.AF_UNIX) as server:
        monkeypatch.chdir(base)
        server.bind("socket")
    for name, word in (("link", "a link"), ("fifo", "a FIFO"), ("folder", "a folder"), ("socket", "a socket")):
        with pytest.raises(EsyncError) as caught:
            folder.read(name)
        assert caught.value.kind == "not_a_file"
        assert word in caught.value.cause
        assert caught.value.path == str(base / name)


def test_read_stops_at_the_limit(folder: Folder) -> None:
    folder.write("file", b"x" * 10, 0o600)
    assert folder.read("file", limit=10) == b"x" * 10
    with pytest.raises(EsyncError) as caught:
        folder.read("file", limit=9)
    assert caught.value.kind == "too_large"


# -- writing ---------------------------------------------------------------------------------------------------


def test_write_has_the_mode_whatever_the_umask_and_leaves_nothing_else(folder: Folder) -> None:
    for umask in (0o000, 0o077):
        old = os.umask(umask)
        try:
            folder.write("key", b"first", 0o600)
            folder.write("crt", b"second", 0o644)
        finally:
            os.umask(old)
        assert mode(Path(folder.path) / "key") == 0o600
        assert mode(Path(folder.path) / "crt") == 0o644
    assert folder.read("key") == b"first"
    assert folder.entries() == ["crt", "key"]


def test_write_is_narrow_until_it_is_whole(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    real = os.fsync

    def watch(descriptor: int) -> None:
        status = os.fstat(descriptor)
        if stat.S_ISREG(status.st_mode):
            seen.append((stat.S_IMODE(status.st_mode), "key" in folder.entries()))
        real(descriptor)

    monkeypatch.setattr(os, "fsync", watch)
    folder.write("key", b"x", 0o640, gid=os.getegid())
    assert seen == [(0o600, False), (0o640, False)]


@pytest.mark.parametrize(
    ("number", "kind"),
    [
        (errno.ENOSPC, "no_space"),
        (errno.EROFS, "read_only"),
        (errno.EACCES, "no_permission"),
        (errno.EDQUOT, "no_space"),
    ],
)
@pytest.mark.parametrize("call", ["write", "fsync", "fchmod", "rename"])
def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(
    folder: Folder, monkeypatch: pytest.MonkeyPatch, call: str, number: int, kind: str
) -> None:
    folder.write("key", b"old", 0o600)

    def fail(*_args: object, **_options: object) -> None:
        raise OSError(number, "secret bytes")

    monkeypatch.setattr(os, call, fail)
    with pytest.raises(EsyncError) as caught:
        folder.write("key", b"new", 0o600)
    monkeypatch.undo()
    assert (caught.value.kind, caught.value.path) == (kind, f"{folder.path}/key")
    assert "secret" not in str(caught.value)
    assert folder.read("key") == b"old"
    assert folder.entries() == ["key"]


def test_what_the_disk_gives_back_is_compared(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "_write_all", lambda descriptor, data: os.write(descriptor, b"rotten"))
    with pytest.raises(EsyncError) as caught:
        folder.write("key", b"fresh!", 0o600)
    assert caught.value.kind == "io_error"
    assert folder.entries() == []


def test_write_does_not_replace_a_link_or_follow_it(tmp_path: Path, folder: Folder) -> None:
    victim = tmp_path / "victim"
    victim.write_text("mine")
    (Path(folder.path) / "key").symlink_to(victim)
    with pytest.raises(EsyncError) as caught:
        folder.write("key", b"x", 0o600)
    assert caught.value.kind == "not_a_file"
    assert victim.read_text() == "mine"


def test_modes_are_set_without_following_and_even_on_a_closed_file(tmp_path: Path, folder: Folder) -> None:
    folder.write("key", b"x", 0o600)
    (Path(folder.path) / "key").chmod(0)
    folder.set_file_mode("key", 0o640, os.getegid())
    assert mode(Path(folder.path) / "key") == 0o640
    (tmp_path / "victim").write_text("x")
    (tmp_path / "victim").chmod(0o600)
    (Path(folder.path) / "link").symlink_to(tmp_path / "victim")
    with pytest.raises(EsyncError):
        folder.set_file_mode("link", 0o644)
    assert mode(tmp_path / "victim") == 0o600


# -- access control lists --------------------------------------------------------------------------------------


def test_what_is_made_inherits_no_access_control_list(tmp_path: Path) -> None:
    let_in(tmp_path, 7, inherited=True)
    with Folder.open(str(tmp_path / "up" / "esync"), 0o755) as base:
        for path in (tmp_path / "up", tmp_path / "up" / "esync"):
            assert acls(path) == []
        # Whatever got there later, such as by an administrator.
        let_in(tmp_path / "up" / "esync", 7, inherited=True)
        base.write("key", b"secret", 0o640, os.getegid())
        with base.make_child("keys", 0o750, os.getegid()) as inside:
            inside.write("key", b"secret", 0o640, os.getegid())
        for name in ("key", "keys", "keys/key"):
            assert acls(Path(base.path) / name) == []
        assert [mode(Path(base.path) / name) for name in ("key", "keys", "keys/key")] == [0o640, 0o750, 0o640]
        if ROOT:
            # What would be the case without all of this.
            assert not as_other(Path(base.path), lambda: Path("key").read_bytes())


def test_no_list_lets_anybody_in_for_a_moment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Folder.open(str(tmp_path / "esync"), 0o755) as base:
        base.write("key", b"secret", 0o640)
        let_in(tmp_path / "esync", 7, inherited=True)
        let_in(tmp_path / "esync" / "key", 4)
        seen = []
        for name in ("fchmod", "fchown", "removexattr"):
            real = getattr(os, name)

            def watched(descriptor: int, *args: Any, real: Any = real, **options: Any) -> None:
                real(descriptor, *args, **options)
                open_to_others = stat.S_IMODE(os.fstat(descriptor).st_mode) & 0o070
                lists = [one for one in os.listxattr(descriptor) if one.startswith("system.posix_acl")]
                seen.append(bool(open_to_others and lists))

            monkeypatch.setattr(os, name, watched)
        base.write("new", b"secret", 0o640, os.getegid())
        base.set_file_mode("key", 0o640, os.getegid())
    assert len(seen) > 4
    assert not any(seen)


def test_access_control_lists_are_noticed_and_taken_away_with_the_mode(tmp_path: Path) -> None:
    with Folder.open(str(tmp_path / "esync"), 0o755) as base:
        base.write("key", b"secret", 0o640)
        base.make_child("keys", 0o750).close()
        assert not base.has_acl("key")
        let_in(tmp_path / "esync" / "key", 4)
        let_in(tmp_path / "esync" / "keys", 5)
        let_in(tmp_path / "esync", 5, inherited=True)
        if ROOT:
            assert as_other(tmp_path / "esync", lambda: Path("key").read_bytes())
        assert base.has_acl("key")
        assert base.has_acl()
        base.set_file_mode("key", 0o640)
        base.set_mode(0o755)
        with base.child("keys") as inside:
            assert inside.has_acl()
            inside.set_mode(0o750)
        for name in ("", "key", "keys"):
            assert acls(tmp_path / "esync" / name) == []
        if ROOT:
            assert not as_other(tmp_path / "esync", lambda: Path("key").read_bytes())
        assert not base.has_acl("none")


def test_a_file_system_without_access_control_lists(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_args: object, **_options: object) -> None:
        raise OSError(errno.ENOTSUP, "")

    monkeypatch.setattr(os, "getxattr", fails)
    monkeypatch.setattr(os, "removexattr", fails)
    folder.write("key", b"x", 0o640, os.getegid())
    folder.set_file_mode("key", 0o600)
    folder.set_mode(0o750)
    assert (mode(Path(folder.path) / "key"), mode(Path(folder.path))) == (0o600, 0o750)
    assert not folder.has_acl("key")


# -- links -----------------------------------------------------------------------------------------------------


def test_set_link_replaces_a_link_and_nothing_else(folder: Folder) -> None:
    assert folder.link_target("current") is None
    folder.set_link("current", "generations/1")
    folder.set_link("current", "generations/2")
    assert folder.link_target("current") == "generations/2"
    folder.write("file", b"x", 0o600)
    with pytest.raises(EsyncError) as caught:
        folder.set_link("file", "generations/2")
    assert caught.value.kind == "not_a_link"
    assert folder.entries() == ["current", "file"]


def test_a_link_that_cannot_be_renamed_leaves_the_old_one(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    folder.set_link("current", "old")

    def fail(*_args: object, **_options: object) -> None:
        raise OSError(errno.ENOSPC, "")

    monkeypatch.setattr(os, "rename", fail)
    with pytest.raises(EsyncError):
        folder.set_link("current", "new")
    monkeypatch.undo()
    assert folder.link_target("current") == "old"
    assert left(folder) == []


def test_rename_replaces_nothing(folder: Folder) -> None:
    folder.make_child("a", 0o700).close()
    folder.make_child("b", 0o700).close()
    with pytest.raises(EsyncError) as caught:
        folder.rename("a", "b")
    assert caught.value.kind == "exists"
    folder.rename("a", "c")
    assert folder.entries() == ["b", "c"]


def test_hardlink_shares_the_content(folder: Folder) -> None:
    with folder.make_child("old", 0o755) as old, folder.make_child("new", 0o755) as new:
        old.write("a.cer", b"x", 0o644)
        assert new.hardlink(old, "a.cer")
        assert new.hardlink(old, "a.cer", "b.cer")
        assert new.read("b.cer") == b"x"
        with pytest.raises(EsyncError):
            new.hardlink(old, "none")


# -- removing --------------------------------------------------------------------------------------------------


def test_remove_wipes_the_content_but_not_that_of_another_name(folder: Folder) -> None:
    base = Path(folder.path)
    folder.write("key", b"secret", 0o600)
    with (base / "key").open("rb") as stream:
        folder.remove("key", wipe=True)
        assert stream.read() == bytes(6)
    folder.write("key", b"secret", 0o600)
    os.link(base / "key", base / "other")
    folder.remove("key", wipe=True)
    assert folder.read("other") == b"secret"
    folder.remove("none", wipe=True)


def test_remove_tree_follows_no_link(tmp_path: Path, folder: Folder) -> None:
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "file").write_text("x")
    with folder.make_child("tree", 0o700) as tree:
        tree.write("key", b"x", 0o600)
        tree.set_link("out", str(tmp_path / "kept"))
        tree.make_child("deeper", 0o700).close()
    with (Path(folder.path) / "tree" / "key").open("rb") as stream:
        folder.remove_tree("tree", wipe=True)
        assert stream.read() == b"\0"
    folder.set_link("link", str(tmp_path / "kept"))
    folder.remove_tree("link")
    folder.remove_tree("none")
    assert folder.entries() == []
    assert (tmp_path / "kept" / "file").exists()


# -- the lock --------------------------------------------------------------------------------------------------

_HOLD = """
import fcntl, os, sys
descriptor = os.open(sys.argv[1], os.O_RDONLY)
fcntl.flock(descriptor, fcntl.LOCK_EX)
print("held", flush=True)
sys.stdin.read()
"""


def test_lock_keeps_others_out_and_names_them(folder: Folder) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", _HOLD, folder.path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdin and other.stdout
        assert other.stdout.readline() == "held\n"
        with pytest.raises(EsyncError) as caught, folder.lock(wait=0):
            pass
        assert caught.value.kind == "locked"
        assert f"process {other.pid}" in caught.value.cause
        other.stdin.close()
        with folder.lock():
            second = os.open(folder.path, os.O_RDONLY)
            with pytest.raises(BlockingIOError):
                fcntl.flock(second, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.close(second)
    with folder.lock(wait=0):
        pass
    assert folder.entries() == []


def test_a_folder_removed_while_waiting_is_not_used(folder: Folder) -> None:
    os.rmdir(folder.path)
    with pytest.raises(EsyncError) as caught, folder.lock():
        pass
    assert "removed" in caught.value.cause


# -- web roots -------------------------------------------------------------------------------------------------


def test_web_roots_are_refused_through_links_too(tmp_path: Path) -> None:
    (tmp_path / "www" / "site").mkdir(parents=True)
    (tmp_path / "etc").symlink_to("www/site")
    roots = [str(tmp_path / "www"), str(tmp_path / "none")]
    for bad in ("www", "www/esync", "etc", "etc/esync", "etc/../www/x"):
        with pytest.raises(EsyncError) as caught:
            files.refuse_web_roots(str(tmp_path / bad), roots, "alpha")
        assert (caught.value.kind, caught.value.server) == ("web_root", "alpha")
    files.refuse_web_roots(str(tmp_path / "www-data"), roots)
    files.refuse_web_roots(str(tmp_path / "esync"), roots)
