# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A change that users get has a changelog fragment."""

from __future__ import annotations

import runpy
import subprocess
import sys
from pathlib import Path

import pytest

CI = Path(__file__).resolve().parents[2] / "ci"
CHANGELOG = runpy.run_path(str(CI / "changelog.py"))


def git(root: Path, *arguments: str) -> None:
    name = ["-c", "user.name=a", "-c", "user.email=a@example.com"]
    subprocess.run(["git", "-C", root, *name, *arguments], check=True, capture_output=True)


@pytest.mark.parametrize(
    ("changed", "missing"),
    [
        (["plugins/modules/visit.py", "docs/verify.md"], ["plugins/modules/visit.py"]),
        (["roles/esync/tasks/main.yml", "changelogs/fragments/roles.yml"], []),
        (["plugins/modules/visit.py", "changelogs/changelog.yaml"], []),
        (["playbooks/check.yml", "changelogs/config.yaml"], ["playbooks/check.yml"]),
        (["docs/verify.md", "tests/ci/run.py"], []),
    ],
)
def test_what_needs_a_fragment(changed: list[str], missing: list[str]) -> None:
    assert CHANGELOG["missing"](changed) == missing


def test_a_branch_is_compared_with_where_it_left_main_and_main_with_the_last_tag(tmp_path: Path) -> None:
    git(tmp_path, "init", "--initial-branch", "main")
    assert CHANGELOG["base"](tmp_path) is None
    git(tmp_path, "commit", "--allow-empty", "-m", "first")
    assert CHANGELOG["base"](tmp_path) is None
    git(tmp_path, "tag", "v1")
    git(tmp_path, "commit", "--allow-empty", "-m", "second")
    assert CHANGELOG["base"](tmp_path) == "v1"
    git(tmp_path, "checkout", "-b", "topic")
    (tmp_path / "committed").touch()
    git(tmp_path, "add", "committed")
    git(tmp_path, "commit", "-m", "third")
    (tmp_path / "new").touch()
    assert CHANGELOG["changes"](CHANGELOG["base"](tmp_path), tmp_path) == ["committed", "new"]


def test_the_tests_of_what_was_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [str(CI), *sys.path])
    tests = runpy.run_path(str(CI / "changed.py"))["tests"]
    mirror = "tests/unit/plugins/module_utils/_store/test_trust_folder.py"
    assert tests(["plugins/module_utils/_store/trust_folder.py", "docs/verify.md"]) == ["tests/unit/docs", mirror]
    assert tests([mirror, "benchmarks/soak.py"]) == [mirror]
