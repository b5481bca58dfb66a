# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""As whom Ansible works on a host. Nothing here needs root: it is given up if this is root."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from ansible_collections.esync.mesh.plugins.module_utils._core.errors import EsyncError
from ansible_collections.esync.mesh.plugins.module_utils._core.user import refuse_other_user

SOMEBODY = 54321


@pytest.fixture
def place() -> Iterator[Path]:
    """A folder that everybody may enter, which pytest's own are not."""
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        yield Path(folder)


def refused(directory: Path, uid: int = SOMEBODY) -> str:
    """What a process of a user is told; empty if nothing."""
    if os.geteuid():
        pytest.skip("only root can become another user")
    before = os.geteuid()
    os.seteuid(uid)
    try:
        refuse_other_user(str(directory), "alpha")
    except EsyncError as error:
        assert (error.kind, error.server, error.path) == ("other_user", "alpha", str(directory))
        return str(error)
    finally:
        os.seteuid(before)
    return ""


def test_the_folder_of_root_needs_become(place: Path) -> None:
    said = refused(place)
    assert f"it belongs to root, and Ansible works as user {SOMEBODY} here" in said
    assert "Set ansible_become: true" in said and "ansible_become_user" not in said


def test_the_folder_of_another_user_needs_become_as_that_user(place: Path) -> None:
    os.chown(place, SOMEBODY + 1, -1)
    assert f"ansible_become_user: user {SOMEBODY + 1}" in refused(place)


def test_a_folder_that_cannot_be_made_needs_become(place: Path) -> None:
    said = refused(place / "a" / "b")
    assert "may not make it in " + str(place) in said and "Set ansible_become: true" in said
    os.chmod(place, 0o700)
    assert "may not enter" in refused(place / "esync")


def test_root_and_the_owner_may_work(place: Path) -> None:
    assert refused(place, 0) == "" == refused(place / "a", 0)
    os.chown(place, SOMEBODY, -1)
    assert refused(place) == "" == refused(place / "a" / "b")


def test_whatever_else_is_wrong_is_left_to_who_opens_it(place: Path) -> None:
    (place / "file").touch()
    assert refused(place / "file" / "esync") == ""
