# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.esync.mesh.plugins.module_utils._core.errors import EsyncError


def test_put_in_force_kept_and_replaced(host: Any) -> None:
    alpha, bravo, charlie = host("alpha"), host("bravo").make(), host("charlie").make()
    alpha.make()
    planned = alpha.trust(bravo, check=True, diff=True)
    assert not (alpha.directory / "trusted").exists()
    first = alpha.trust(bravo, diff=True)
    assert first == planned
    assert (first["changed"], first["added"]) == (True, ["bravo_SyncClient.cer", "bravo_SyncServer.cer"])
    assert first["diff"]["before"] == ""
    assert len(first["diff"]["after"].splitlines()) == 2
    assert first["trust"] == alpha.make()["trust"]
    assert not alpha.trust(bravo)["changed"]
    second = alpha.trust(charlie, diff=True)
    assert second["removed"] == first["added"]
    assert (second["diff"]["before"], len(second["diff"]["after"].splitlines())) == (first["diff"]["after"], 2)


def test_what_the_host_has_need_not_be_sent(host: Any) -> None:
    alpha, bravo = host("alpha"), host("bravo").make()
    entries = alpha.trust(bravo)["trust"]["entries"]
    done = alpha.do("peer_trust", entries=entries[:1])
    assert (done["changed"], len(done["removed"])) == (True, 1)
    with pytest.raises(EsyncError, match="neither on the host nor were they sent"):
        alpha.do("peer_trust", entries=entries)


def test_never_emptied_by_accident(host: Any) -> None:
    alpha = host("alpha")
    alpha.trust(host("bravo").make())
    with pytest.raises(EsyncError, match="would be empty"):
        alpha.do("peer_trust", entries=[])
    assert alpha.do("peer_trust", entries=[], allow_empty=True)["trust"]["entries"] == []
