# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import hashlib
import json

import pytest

from ansible_collections.esync.mesh.plugins.module_utils._core.errors import EsyncError
from ansible_collections.esync.mesh.plugins.module_utils._core.folders import Folder
from ansible_collections.esync.mesh.plugins.module_utils._store import indexed_folder as indexed
from ansible_collections.esync.mesh.plugins.module_utils._store import shared_sets as handed
from ansible_collections.esync.mesh.plugins.module_utils._store import trust_folder as trust

PRINT = "a" * 64
SOUND = {"peer": "b", "role": "client", "state": "current", "fingerprint": PRINT}
INDEX = "index.json"


@pytest.fixture
def folder(tmp_path):
    with Folder.open(str(tmp_path)) as opened:
        yield opened


def judge(items):
    return indexed.entries_from(items, trust.TrustEntry)


def test_the_digest_is_that_of_the_sorted_fields():
    entries = [handed.SharedKey("c", "next", PRINT), handed.SharedKey("b", "current", PRINT)]
    text = f'[["b","current","{PRINT}"],["c","next","{PRINT}"]]'
    assert indexed.digest_of(entries) == hashlib.sha256(text.encode()).hexdigest()


@pytest.mark.parametrize(
    "change", [{"peer": "../b"}, {"role": "root"}, {"state": "later"}, {"fingerprint": "A" * 64}, {"fingerprint": "a"}]
)
def test_malformed_entries_are_refused(change):
    assert judge([SOUND]) == (trust.TrustEntry("b", "client", "current", PRINT),)
    with pytest.raises(EsyncError) as caught:
        judge([{**SOUND, **change}])
    assert caught.value.kind == "bad_entry"


def test_what_would_have_the_same_file_is_refused():
    with pytest.raises(EsyncError) as caught:
        judge([SOUND, {**SOUND, "peer": "B", "fingerprint": "b" * 64}])
    assert "'B' (client, current)" in str(caught.value)


@pytest.mark.parametrize("target", ["elsewhere/x", "remote/", "remote", "remote/x/y", "/remote/x"])
def test_a_link_that_leads_elsewhere(target):
    assert indexed.target_in("remote/x", "remote") == "x"
    with pytest.raises(ValueError, match=r"^$"):
        indexed.target_in(target, "remote")


def test_an_index_is_read_as_it_was_written(folder, tmp_path):
    entries = judge([SOUND])
    indexed.write_index(folder, INDEX, "a", entries, map(vars, entries), model="pinned")
    data, found = indexed.read_index(folder, INDEX, "a", judge)
    assert (found, data["model"]) == (entries, "pinned")
    assert (tmp_path / INDEX).stat().st_mode & 0o777 == 0o644


@pytest.mark.parametrize("change", [{"version": 2}, {"server": "c"}, {"digest": PRINT}, {"entries": []}])
def test_a_changed_index_is_none(folder, tmp_path, change):
    entries = judge([SOUND])
    indexed.write_index(folder, INDEX, "a", entries, map(vars, entries))
    path = tmp_path / INDEX
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(ValueError, match=r"^$"):
        indexed.read_index(folder, INDEX, "a", judge)


@pytest.mark.parametrize("wipe", [False, True])
def test_all_but_what_is_kept_goes(folder, tmp_path, wipe):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text("x")
    (tmp_path / "stray").write_text("x")
    indexed.clear(folder, keep={"two"}, wipe=wipe)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["two"]
    assert (tmp_path / "two" / "file").read_text() == "x"
