# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is damaged is written again from what is sound beside it, and no sound private key is ever destroyed by that."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.esync.mesh.plugins.module_utils._core import layout, names
from ansible_collections.esync.mesh.plugins.module_utils._core.errors import EsyncError

from ..conftest import FORMS, Server, killed

ROOT = os.geteuid() == 0


@pytest.fixture(scope="module")
def _full(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Current and next sets with every kind of file."""
    settings = replace(FORMS["rsa"], formats=layout.FORMATS)
    server = Server(tmp_path_factory.mktemp("full") / "esync", settings)
    server.do("present")
    server.do("next")
    return server.path


@pytest.fixture
def full(_full: Path, tmp_path: Path) -> Server:
    shutil.copytree(_full, tmp_path / "full", symlinks=True)
    return Server(tmp_path / "full", replace(FORMS["rsa"], formats=layout.FORMATS))


def gone(file: Path, _other: Path) -> None:
    file.unlink()


def halved(file: Path, _other: Path) -> None:
    target = file.readlink() if file.is_symlink() else None
    if target:
        file.unlink()
        file.symlink_to(str(target)[:5])
    else:
        file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def flipped(file: Path, other: Path) -> None:
    if file.is_symlink():
        halved(file, other)
    else:
        data = bytearray(file.read_bytes())
        data[len(data) * 2 // 3] ^= 1
        file.write_bytes(data)


def replaced(file: Path, other: Path) -> None:
    """By the file of the same name of the other role, or of the other generation."""
    content = other.read_bytes()
    file.unlink()
    file.write_bytes(content)


def widened(file: Path, _other: Path) -> None:
    if file.is_symlink():
        file.unlink()
    else:
        file.chmod(0o666)


def given_away(file: Path, _other: Path) -> None:
    os.chown(file, 12345, -1, follow_symlinks=False)


SUFFIXES = (*layout.PEM_FILES, *layout.FORMATS)
SET_FILES = [f"{names.set_name('alpha', role)}.{suffix}" for role in names.ROLES for suffix in SUFFIXES]
EVERYTHING = [*SET_FILES, *layout.stable_links("alpha"), layout.PASSPHRASE, layout.MANIFEST]
SPOILT: list[Callable[[Path, Path], None]] = [gone, halved, flipped, replaced, widened]


def keys(server: Server) -> dict[tuple[str, str], bytes]:
    """Every private key of a server."""
    states = [state for state in names.STATES if (server.path / state).is_symlink()]
    return {(state, role): server.file(role, "key", state).read_bytes() for state in states for role in names.ROLES}


def other_of(name: str) -> str:
    """The file of the same kind of the other role; of those that a role does not have, the same."""
    for one, two in (("Server", "Client"), ("server.", "client.")):
        if one in name or two in name:
            return name.replace(one, two) if one in name else name.replace(two, one)
    return name


def assert_repaired(server: Server, before: dict[tuple[str, str], bytes]) -> None:
    outcome = server.do("present", repair=True)
    assert outcome.changed and outcome.reasons == () and outcome.repaired
    assert keys(server) == before
    found = server.inspect()
    assert (found.errors(), found.modes, found.unnoted, found.unfinished) == ([], (), (), ())
    assert not server.do("present", repair=True).changed


@pytest.mark.parametrize(
    ("state", "spoil", "name"),
    [
        *(("current", spoil, name) for spoil in SPOILT for name in EVERYTHING),
        *(("next", gone, name) for name in EVERYTHING),
        *(("previous", replaced, name) for name in EVERYTHING),
    ],
)
def test_any_one_file_is_restored_with_every_key_untouched(
    full: Server, state: str, spoil: Callable[[Path, Path], None], name: str
) -> None:
    if state == "previous":
        full.do("switched")
    before = keys(full)
    folder = (full.path / state).resolve()
    elsewhere = folder
    if other_of(name) == name:
        elsewhere = next(one for one in (full.path / "generations").iterdir() if one != folder)
    spoil(folder / name, elsewhere / other_of(name))
    contents = full.contents()
    found = full.inspect()
    wrong = [*found.errors(), *found.modes, *found.unnoted]
    assert wrong, "nothing was noticed"
    if found.errors():
        # Without being asked for it, nothing is touched, and the command is named.
        with pytest.raises(EsyncError) as caught:
            full.do("present")
        assert "Run the repair playbook" in caught.value.remedy
        assert full.contents() == contents
        shown = full.do("present", repair=True, check=True)
        assert shown.changed and str(folder / name) in shown.repaired
        assert full.contents() == contents
    assert_repaired(full, before)


@pytest.mark.skipif(not ROOT, reason="only root can give files away")
@pytest.mark.parametrize("name", EVERYTHING)
def test_what_belongs_to_somebody_else_is_written_again_unless_he_may_know_a_key(full: Server, name: str) -> None:
    before = keys(full)
    given_away(full.path / "current" / name, full.path)
    if name.rpartition(".")[2] in ("crt", "cer") or name in (*layout.stable_links("alpha"), layout.MANIFEST):
        assert_repaired(full, before)
        return
    with pytest.raises(EsyncError) as caught:
        full.do("present", repair=True)
    assert caught.value.kind == "wrong_owner"
    assert "chown" in caught.value.remedy and keys(full) == before
    assert not full.inspect().is_lost


@pytest.mark.parametrize("spoil", [gone, halved, flipped])
@pytest.mark.parametrize("form", ["pfx", "ecdsa", "ed25519"])
def test_a_lost_key_costs_no_other_one(server: Any, form: str, spoil: Callable[[Path, Path], None]) -> None:
    alpha = server(form, "current")
    before = keys(alpha)
    spoil(alpha.file("server", "key"), alpha.path)
    if form == "pfx":
        # It is in the .pfx file, too.
        assert_repaired(alpha, before)
        return
    contents = alpha.contents()
    with pytest.raises(EsyncError) as caught:
        alpha.do("present", repair=True)
    assert caught.value.path == str(alpha.file("server", "key"))
    assert "esync_discard_existing" in caught.value.remedy
    assert alpha.contents() == contents
    assert "current client" in alpha.inspect().keys


def test_new_sets_are_made_where_no_key_is_left(server: Any) -> None:
    alpha = server("ecdsa", "current")
    for role in names.ROLES:
        alpha.file(role, "key").write_bytes(b"")
    assert alpha.inspect().is_lost
    assert "no private key of them is left" in alpha.inspect().errors()[0].remedy
    before = alpha.contents()
    with pytest.raises(EsyncError):
        alpha.do("present")
    assert alpha.contents() == before
    assert alpha.do("present", repair=True).reasons == ("keys_lost",)
    assert alpha.inspect().errors() == []


def test_so_are_they_where_all_generations_are_gone(server: Any) -> None:
    alpha = server("ecdsa", "current")
    shutil.rmtree(alpha.path / "generations")
    assert alpha.do("present", repair=True).reasons == ("keys_lost",)


def folder_in_place_of_link(server: Server) -> None:
    copy = server.path.parent / "copy"
    shutil.copytree((server.path / "current").resolve(), copy, symlinks=True)
    (server.path / "current").unlink()
    shutil.rmtree(server.path / "generations")
    copy.rename(server.path / "current")


def both_keys_renamed(server: Server) -> None:
    for role in names.ROLES:
        file = server.file(role, "key")
        file.rename(f"{file}.bak")


def generation_unlinked(server: Server) -> None:
    identity = server.links()["current"]
    (server.path / "current").unlink()
    other = "1" if identity.endswith("0") else "0"
    (server.path / "current").symlink_to(identity.replace("20", "generations/20", 1)[:-1] + other)


def folders_in_place_of_keys(server: Server) -> None:
    for role in names.ROLES:
        file = server.file(role, "key")
        data = file.read_bytes()
        file.unlink()
        file.mkdir()
        (file / "key").write_bytes(data)


def next_is_sound(server: Server) -> None:
    for role in names.ROLES:
        server.file(role, "key").unlink()


@pytest.mark.parametrize(
    "spoil",
    [folder_in_place_of_link, both_keys_renamed, generation_unlinked, folders_in_place_of_keys, next_is_sound],
)
def test_wherever_a_key_may_still_be_it_is_not_destroyed(server: Any, spoil: Callable[[Server], None]) -> None:
    states = ("current", "next") if spoil is next_is_sound else ("current",)
    alpha = server("ecdsa", *states)
    spoil(alpha)
    before = alpha.contents()
    with pytest.raises(EsyncError):
        alpha.do("present", repair=True)
    assert alpha.contents() == before


def test_a_strange_key_in_the_place_of_the_own_one_is_kept(server: Any, tmp_path: Path) -> None:
    """It may be the only copy of something; the own one is in the .pfx file."""
    alpha, other = server("pfx", "current"), server("ed25519", "current", path=tmp_path / "other")
    strange = other.file("server", "key").read_bytes()
    alpha.file("server", "key").write_bytes(strange)
    alpha.file("server", "cer").unlink()
    with pytest.raises(EsyncError):
        alpha.do("present", repair=True)
    assert alpha.file("server", "key").read_bytes() == strange
    # In the place of a link likewise.
    alpha.file("server", "key").unlink()
    alpha.file("server", "key").with_name("server.key").unlink()
    alpha.file("server", "key").with_name("server.key").write_bytes(strange)
    with pytest.raises(EsyncError):
        alpha.do("present", repair=True)
    assert alpha.file("server", "key").with_name("server.key").read_bytes() == strange


def test_keys_that_changed_places_are_left_to_a_person(server: Any) -> None:
    """Written one after the other, the second one would be lost if the run was killed in between."""
    alpha = server("ecdsa", "current")
    files = [alpha.file(role, "key") for role in names.ROLES]
    contents = [file.read_bytes() for file in files]
    for file, content in zip(files, reversed(contents)):
        file.write_bytes(content)
    with pytest.raises(EsyncError):
        alpha.do("present", repair=True)
    assert [file.read_bytes() for file in files] == list(reversed(contents))


def test_what_else_was_put_in_place_of_a_set_is_not_mixed_with_it(server: Any) -> None:
    """Certificate and key of the next generation, and the .pfx file of the current one."""
    alpha = server("pfx", "current", "next")
    for suffix in ("crt", "key"):
        alpha.file("server", suffix).write_bytes(alpha.file("server", suffix, "next").read_bytes())
    before = alpha.contents()
    with pytest.raises(EsyncError):
        alpha.do("present", repair=True)
    assert alpha.contents() == before


def test_a_pfx_that_may_open_with_another_passphrase_may_hold_the_key(server: Any) -> None:
    alpha = server("pfx", "current")
    folder = alpha.file("server", "key").parent
    (folder / layout.PASSPHRASE).unlink()
    (folder / layout.MANIFEST).unlink()
    for role in names.ROLES:
        alpha.file(role, "key").unlink()
    assert not alpha.inspect().is_lost
    assert not alpha.inspect(passphrase=b"another").is_lost


@pytest.mark.parametrize(
    "lost", [(layout.PASSPHRASE, "client.key", "alpha_SyncServer.crt"), ("alpha_SyncServer.key", "server.crt")]
)
def test_whenever_a_restoration_is_killed_the_next_one_completes_it(
    server: Any, tmp_path: Path, lost: tuple[str, ...]
) -> None:
    made = server("pfx", "current")
    before = keys(made)
    for name in lost:
        (made.path / "current" / name).unlink()
    moment = 0
    while True:
        moment += 1
        alpha = Server(tmp_path / f"at{moment}", made.settings)
        shutil.copytree(made.path, alpha.path, symlinks=True)
        if not killed(moment, partial(alpha.do, "present", repair=True)):
            break
        alpha.do("present", repair=True)
        assert (keys(alpha), alpha.inspect().errors(), alpha.inspect().unfinished) == (before, [], ())
    assert moment > 8
