# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import stat

import pytest

from ansible_collections.esync.mesh.plugins.module_utils._core.errors import EsyncError
from ansible_collections.esync.mesh.plugins.module_utils._endpoints.our_file import OurFile


def test_its_life(directory):
    path = directory / "ours.conf"
    ours = OurFile(str(path), "a")
    assert ours.read() is None
    assert ours.write("one")
    assert (path.read_text(), stat.S_IMODE(path.stat().st_mode), ours.read()) == ("one", 0o644, "one")
    before = path.stat().st_ino
    assert not ours.write("one")
    assert path.stat().st_ino == before, "what does not differ is not written"
    assert ours.write("two")
    ours.remove()
    ours.remove()
    assert not path.exists()


def test_where_there_is_no_folder_there_is_nothing_but_nothing_can_be_written(directory):
    ours = OurFile(str(directory / "nowhere" / "ours.conf"), "a")
    assert ours.read() is None
    ours.remove()
    with pytest.raises(EsyncError) as caught:
        ours.write("one")
    assert (caught.value.kind, caught.value.server) == ("missing_folder", "a")
    assert caught.value.path == str(directory / "nowhere")
