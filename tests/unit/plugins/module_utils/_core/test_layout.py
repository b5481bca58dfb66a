# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from typing import Optional

import pytest

from ansible_collections.esync.mesh.plugins.module_utils._core import layout


@pytest.mark.parametrize(
    ("name", "alone", "with_group", "gid"),
    [
        ("a_SyncServer.crt", 0o644, 0o644, None),
        ("a_SyncServer.cer", 0o644, 0o644, None),
        ("a_SyncServer.key", 0o600, 0o640, 7),
        ("a_SyncClient.pfx", 0o600, 0o640, 7),
        ("a_SyncClient.pvk", 0o600, 0o640, 7),
        # With the keys of untrusted certificates.
        ("manifest.json", 0o600, 0o640, 7),
        ("shared.json", 0o600, 0o640, 7),
        ("trust.json", 0o644, 0o644, None),
        # Whoever may read a key need not be able to open its copies.
        ("pfx.passphrase", 0o600, 0o600, None),
    ],
)
def test_modes_and_groups_of_files(name: str, alone: int, with_group: int, gid: Optional[int]) -> None:
    assert layout.file_mode(name, None) == alone
    assert layout.file_mode(name, 7) == with_group
    assert layout.file_gid(name, 7) == gid
    assert layout.file_gid(name, None) is None


def test_a_group_of_number_nought_is_a_group_too() -> None:
    assert layout.file_mode("a.key", 0) == 0o640
    assert layout.file_gid("a.key", 0) == 0
    assert layout.folder_mode(0) == 0o750
    assert layout.folder_mode(None) == 0o700


def test_the_stable_links() -> None:
    assert layout.stable_links("a.b") == {
        "server.crt": "a.b_SyncServer.crt",
        "server.key": "a.b_SyncServer.key",
        "client.crt": "a.b_SyncClient.crt",
        "client.key": "a.b_SyncClient.key",
    }


@pytest.mark.parametrize(
    ("identity", "sound"),
    [
        ("20261123T120000Z-0123abcd", True),
        ("20261123T120000Z-0123abcd-20261124T010203Z", True),
        ("20261123T120000Z-0123abcd-", False),
        ("20261123T120000Z-0123ABCD", False),
        ("20261123T120000Z-0123abcd\n", False),
        ("20261123T120000Z-0123abcd-a/b", False),
        ("20261123T120000Z", False),
        ("..", False),
    ],
)
def test_ids(identity: str, sound: bool) -> None:
    assert bool(layout.GENERATION_ID.match(identity)) is sound


@pytest.mark.parametrize("target", ["generations/", "generations/a/b", "generations", "/generations/a", "remote/a"])
def test_what_is_no_target_of_a_link(target: str) -> None:
    assert not layout.LINK_TARGET.match(target)
