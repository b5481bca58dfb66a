# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

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
    assert path.read_bytes() == text
    assert not alpha.make(deep=deep)["changed"]


def test_untrusted_certificates_are_made_again(host: Any) -> None:
    alpha = host("alpha")
    alpha.make()
    path = alpha.directory / "probe" / "alpha_SyncClient.pem"
    path.unlink()
    done = alpha.make()
    assert (done["changed"], done["repaired"], path.exists()) == (True, [str(path)], True)
    assert not alpha.make()["changed"]


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
