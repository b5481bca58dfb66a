# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Copies of the files for the user of a service: their owner, modes, contents, and what became of old ones."""

from __future__ import annotations

import getpass
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from endpoint_hosts import make_certificate, site, trust
from other_users import let_in, needs_root

from ansible_collections.esync.mesh.plugins.module_utils._core.errors import EsyncError
from ansible_collections.esync.mesh.plugins.module_utils._endpoints.copies import Copies

ME = getpass.getuser()
NAMES = ["client.crt", "client.key", "clients.pem", "server.crt", "server.key", "servers.pem"]


@pytest.fixture
def filled(directory: Path, tmp_path: Path) -> Path:
    """The directory of a server that has certificates and a trust."""
    for role in ("server", "client"):
        make_certificate(directory / "current", role=role)
    make_certificate(tmp_path / "b", "b", "client")
    trust(directory, tmp_path / "b")
    return directory


def copies(directory: Path, **owners: str | None) -> Copies:
    return Copies(str(directory), "a", tuple(site(name, 1, owner=owner) for name, owner in owners.items()))


def test_who_has_an_owner_gets_six_files(filled: Path) -> None:
    some = copies(filled, db=ME, cache=None)
    assert some.found() == ""
    some.write()
    assert some.found() == some.wanted()
    assert sorted(path.name for path in (filled / "services").iterdir()) == ["db"]
    for name in NAMES:
        path = filled / "services" / "db" / name
        source = "trusted" if name.endswith(".pem") else "current"
        assert path.read_bytes() == (filled / source / name).read_bytes()
        assert stat.S_IMODE(path.stat().st_mode) == (0o600 if name.endswith(".key") else 0o644)


def test_the_order_in_the_inventory_means_nothing(filled: Path) -> None:
    some = copies(filled, second=ME, first=ME)
    some.write()
    assert some.found() == some.wanted()


def test_without_an_owner_there_is_nothing(filled: Path) -> None:
    some = copies(filled, cache=None)
    some.write()
    assert (some.wanted(), some.found(), (filled / "services").exists()) == ("", "", False)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda folder: (folder / "server.key").write_bytes(b"x"),
        lambda folder: (folder / "server.key").chmod(0o640),
        lambda folder: (folder / "server.key").unlink(),
        lambda folder: (folder / "more").write_bytes(b"x"),
        lambda folder: ((folder / "server.crt").unlink(), (folder / "server.crt").symlink_to("/etc/passwd")),
        lambda folder: (folder.parent / "old").mkdir(),
    ],
)
def test_what_is_not_as_it_should_be_is_seen_and_written_again(filled: Path, spoil: Callable[[Path], Any]) -> None:
    some = copies(filled, db=ME)
    some.write()
    spoil(filled / "services" / "db")
    assert some.found() != some.wanted()
    some.write()
    assert some.found() == some.wanted()


@needs_root
def test_a_key_that_a_list_lets_others_read_is_written_again(filled: Path) -> None:
    some = copies(filled, db=ME)
    some.write()
    let_in(filled / "services" / "db" / "server.key", 4)
    assert some.found() != some.wanted()
    some.write()
    assert some.found() == some.wanted()


def test_a_key_that_is_replaced_is_overwritten(filled: Path) -> None:
    some = copies(filled, db=ME)
    some.write()
    key = filled / "services" / "db" / "server.key"
    with key.open("rb") as old:
        make_certificate(filled / "current", role="server")
        some.write()
        assert set(old.read()) == {0}
    assert key.read_bytes() == (filled / "current" / "server.key").read_bytes()
    assert sorted(path.name for path in key.parent.iterdir()) == NAMES


def test_all_are_destroyed(filled: Path) -> None:
    some = copies(filled, db=ME)
    some.write()
    some.remove()
    assert (some.found(), (filled / "services").exists()) == ("", False)
    some.remove()


def test_an_owner_that_is_no_user_is_named(filled: Path) -> None:
    with pytest.raises(EsyncError, match="'nobody-here' of the service db is no user") as caught:
        copies(filled, db="nobody-here").write()
    assert (caught.value.kind, (filled / "services").exists()) == ("bad_setting", False)
