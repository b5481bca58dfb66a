# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.esync.mesh.plugins.module_utils._core.errors import EsyncError


def test_what_is_unexpected_in_a_folder_is_named(host: Any, tmp_path: Path) -> None:
    alpha, folder = host("alpha"), tmp_path / "copied"
    alpha.make(formats=["cer"])
    folder.mkdir()
    for file in (alpha.directory / "current").resolve().glob("*.cer"):
        shutil.copy(file, folder)
    found = host("bravo").do("exchange_folder_info", folder=str(folder))
    assert (found["changed"], [one["name"] for one in found["sets"]], found["keys"]) == (False, ["alpha"], [])
    (folder / "notes.txt").write_text("x")
    with pytest.raises(EsyncError, match=r"notes\.txt"):
        host("bravo").do("exchange_folder_info", folder=str(folder))


def test_a_servers_own_certificates_have_no_place_in_it(host: Any, tmp_path: Path) -> None:
    alpha = host("alpha")
    alpha.make()
    alpha.do("exchange_folder", folder=str(tmp_path / "out"), address="127.0.0.1", port=8732)
    with pytest.raises(EsyncError):
        alpha.do("exchange_folder_info", folder=str(tmp_path / "out"))
