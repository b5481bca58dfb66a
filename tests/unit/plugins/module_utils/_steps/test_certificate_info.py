# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from typing import Any

import pytest

SAME = ("generations", "problems", "modes", "readable", "due", "trust", "shared", "rotation")


@pytest.mark.parametrize("spoil", ["nothing", "key", "mode", "manifest", "trust"])
def test_the_short_way_finds_what_the_deep_one_finds(host: Any, spoil: str) -> None:
    alpha = host("alpha")
    alpha.make()
    alpha.trust(host("bravo").make())
    folder = (alpha.directory / "current").resolve()
    if spoil == "key":
        data = bytearray((folder / "client.key").resolve().read_bytes())
        data[100] ^= 1
        (folder / "client.key").resolve().write_bytes(data)
    elif spoil == "mode":
        (folder / "alpha_SyncServer.cer").chmod(0o600)
    elif spoil == "manifest":
        (folder / "manifest.json").write_text("{}")
    elif spoil == "trust":
        (alpha.directory / "trusted" / "servers.pem").write_text("")
    before = sorted(alpha.directory.rglob("*"))
    deep, short = (alpha.do("certificate_info", deep=deep) for deep in (True, False))
    assert {name: short[name] for name in SAME} == {name: deep[name] for name in SAME}
    assert len(deep["problems"]) == {"key": 1, "trust": 1}.get(spoil, 0)
    assert len(deep["modes"]) == (spoil == "mode")
    assert sorted(alpha.directory.rglob("*")) == before
    assert (deep["changed"], short["changed"]) == (False, False)


def test_nothing_yet(host: Any) -> None:
    found = host("alpha").do("certificate_info", deep=False)
    assert (found["generations"], found["problems"], found["trust"]) == ([], [], None)
