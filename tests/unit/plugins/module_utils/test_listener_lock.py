# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The note by which the next endpoint finds the one before it is nobody's leftover."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ansible_collections.esync.mesh.plugins.module_utils import generations, listener
from ansible_collections.esync.mesh.plugins.module_utils.files import Folder

from .conftest import NOW, PLAIN


def test_a_run_leaves_the_note_of_a_living_endpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Root's note lies in /run.
    monkeypatch.setattr(os, "geteuid", lambda: 65534)
    path = Path(listener.lock_path(str(tmp_path)))
    monkeypatch.undo()
    assert path.parent == tmp_path
    with Folder.open(str(tmp_path), 0o755) as base:
        generations.Sets(base, PLAIN, NOW).present()
        path.write_text("4711\n")
        sets = generations.Sets(base, PLAIN, NOW)
        assert not sets.present().changed
        assert (sets.found.leftovers, sets.found.foreign) == ((), ())
        assert path.exists()
        sets.absent()
    assert not path.exists()
