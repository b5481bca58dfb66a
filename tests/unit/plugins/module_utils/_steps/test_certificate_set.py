# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
from typing import Any

import pytest

from ansible_collections.esync.mesh.plugins.module_utils._core.errors import EsyncError


def test_made_then_kept(host: Any) -> None:
    alpha = host("alpha")
    made = alpha.make()
    assert (made["changed"], made["reasons"], made["trust"], made["shared"]) == (True, ["absent"], None, None)
    kept = alpha.make()
    assert (kept["changed"], kept["reasons"], kept["due"], kept["repaired"]) == (False, [], [], [])
    assert kept["generations"] == made["generations"]
    assert alpha.make(deep=True)["generations"] == made["generations"]


@pytest.mark.parametrize("spoil", ["gone", "damaged"])
@pytest.mark.parametrize("deep", [False, True])
def test_a_manifest_is_written_again_and_no_key_is_touched(host: Any, spoil: str, deep: bool) -> None:
    alpha = host("alpha")
    alpha.make()
    path = (alpha.directory / "current").resolve() / "manifest.json"
    keys = {file: file.read_bytes() for file in path.parent.glob("*.key")}
    text = path.read_bytes()
    path.unlink() if spoil == "gone" else path.write_bytes(text.replace(b"alpha", b"bravo", 1))
    planned = alpha.make(deep=deep, check=True)
    assert (planned["changed"], planned["repaired"]) == (True, [str(path)])
    done = alpha.make(deep=deep)
    assert (done["changed"], done["repaired"]) == (True, [str(path)])
    assert {file: file.read_bytes() for file in path.parent.glob("*.key")} == keys
    before, after = json.loads(text), json.loads(path.read_bytes())
    for said in (before, after):
        assert set(said.pop("untrusted")) == {"untrusted", "alpha_SyncClient"}
        del said["digest"]
    assert after == before
    assert not alpha.make(deep=deep)["changed"]


def test_nothing_lies_there_but_what_is_documented(host: Any) -> None:
    alpha = host("alpha")
    alpha.make()
    assert sorted(path.name for path in alpha.directory.iterdir()) == ["current", "generations"]


def test_absent_leaves_nothing(host: Any) -> None:
    alpha = host("alpha")
    alpha.make()
    done = alpha.make(state="absent")
    assert (done["changed"], done["generations"], done["shared"]) == (True, [], None)
    assert list(alpha.directory.iterdir()) == []


def test_damage_is_an_error_also_on_the_short_way(host: Any) -> None:
    alpha = host("alpha")
    alpha.make()
    key = (alpha.directory / "current" / "server.key").resolve()
    key.write_bytes(b"")
    with pytest.raises(EsyncError, match="it is empty"):
        alpha.make()
