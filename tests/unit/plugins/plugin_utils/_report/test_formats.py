# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
import os
import stat
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from probed_meshes import NAMES, all_ok, servers

from ansible_collections.esync.mesh.plugins.module_utils._core.errors import EsyncError
from ansible_collections.esync.mesh.plugins.plugin_utils._report.builder import assemble
from ansible_collections.esync.mesh.plugins.plugin_utils._report.formats import REPORTS, write_reports

NOW = "2026-11-23T19:00:00Z"
DOCS = Path(__file__).resolve().parents[5] / "docs"


def test_every_format_of_the_registry_is_written_and_described(tmp_path: Path) -> None:
    write_reports(assemble(servers(*NAMES), all_ok(NAMES), "temporary"), tmp_path, NOW)
    assert (
        {path.name for path in tmp_path.iterdir()} - {"history.json"}
        == set(REPORTS)
        == {*("mesh.json", "mesh.html", "mesh.xml", "mesh.prom")}
    )
    for name in REPORTS:
        assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o644
        assert f"`{name}`" in (DOCS / "reports.md").read_text(encoding="utf-8")
    assert json.loads((tmp_path / "mesh.json").read_text())["summary"]["ok"] == 6
    assert ET.parse(tmp_path / "mesh.xml").getroot().get("tests") == "6"


def test_a_format_is_given_what_it_held_before_and_a_lone_surrogate_becomes_a_question_mark(tmp_path: Path) -> None:
    results = {"a": [{"to": "b", "verdict": "failed", "detail": "said \ud800"}]}
    mesh = assemble(servers("a", "b"), results, "temporary")
    write_reports(mesh, tmp_path, NOW)
    assert "said ?" in (tmp_path / "mesh.json").read_text(encoding="utf-8")
    works = assemble(servers("a", "b"), all_ok("ab"), "temporary")
    write_reports(works, tmp_path, NOW)
    write_reports(mesh, tmp_path, "2026-11-24T19:00:00Z")
    assert 'esync_last_verified_timestamp_seconds{server="a"} 1795460400' in (tmp_path / "mesh.prom").read_text()


@pytest.mark.parametrize("damage", ["text", "fifo", "large"])
def test_a_history_that_cannot_be_used_is_told_and_stays_as_it_is(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "history.json"
    if damage == "fifo":
        os.mkfifo(path)
    else:
        path.write_text("what somebody wrote" * (1 if damage == "text" else 400_000))
    before = path.stat()
    (note,) = write_reports(assemble(servers("a", "b"), all_ok("ab"), "temporary"), tmp_path, NOW)
    assert str(path) in note
    assert (path.stat().st_ino, path.stat().st_size) == (before.st_ino, before.st_size)
    assert json.loads((tmp_path / "mesh.json").read_text())["summary"]["ok"] == 2
    assert 'id="history"' not in (tmp_path / "mesh.html").read_text()


def test_every_run_is_added_to_the_history_and_the_page_shows_what_changed(tmp_path: Path) -> None:
    works = assemble(servers("a", "b"), all_ok("ab"), "temporary")
    broken = assemble(servers("a", "b"), {**all_ok("ab"), "a": [{"to": "b", "verdict": "failed"}]}, "temporary")
    for mesh, now in ((works, NOW), (broken, "2026-11-24T02:00:00Z"), (broken, "2026-11-25T02:00:00Z")):
        assert write_reports(mesh, tmp_path, now) == []
        first_failure = mesh is broken and now.startswith("2026-11-24")
        assert ("Since this run" in (tmp_path / "mesh.html").read_text()) is first_failure
    assert [run["began"]["count"] for run in json.loads((tmp_path / "history.json").read_text())["runs"]] == [0, 1, 0]
    page = (tmp_path / "mesh.html").read_text()
    assert '<p class="since">Since <time datetime="2026-11-24T02:00:00Z">2026-11-24 02:00</time> UTC</p>' in page
    assert "began to fail" in page


def test_a_folder_that_cannot_be_written_is_an_error() -> None:
    with pytest.raises(EsyncError) as caught:
        write_reports(assemble(servers("a"), {}, "temporary"), Path("/proc/nowhere"), NOW)
    assert caught.value.kind == "control_node_file"


def test_what_is_no_file_does_not_block_and_is_named(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "mesh.json")
    with pytest.raises(EsyncError) as caught:
        write_reports(assemble(servers("a"), {}, "temporary"), tmp_path, NOW)
    assert (caught.value.kind, caught.value.path) == ("control_node_file", str(tmp_path / "mesh.json"))


def test_a_large_mesh_makes_small_files(tmp_path: Path) -> None:
    names = [f"s{number:03}" for number in range(300)]
    write_reports(assemble(servers(*names), all_ok(names), "temporary"), tmp_path, NOW)
    assert max(path.stat().st_size for path in tmp_path.iterdir()) < 400_000
