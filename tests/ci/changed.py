# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Check what was changed since the branch left main, in seconds: make changed."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import changelog

ROOT = Path(__file__).resolve().parents[2]
BIN = ROOT / ".venv" / "bin"


def tests(changed: Sequence[str]) -> list[str]:
    """The unit tests of changed files: each file's mirror, and those of the documents."""
    found = set()
    for path in changed:
        mirror = re.sub(r"^plugins/(.+/)(\w+)\.py$", r"tests/unit/plugins/\1test_\2.py", path)
        if re.match(r"(docs/|[A-Z]+\.md$|roles/|plugins/modules/)", path):
            found.add("tests/unit/docs")
        if re.fullmatch(r"tests/unit/.*test_\w+\.py", mirror) and (ROOT / mirror).exists():
            found.add(mirror)
    return sorted(found)


def main() -> int:
    since = changelog.base() or "HEAD"
    changed = [path for path in changelog.changes(since) if (ROOT / path).exists()]
    python = [path for path in changed if path.endswith(".py")]
    commands = [[f"{BIN}/python", "tests/ci/changelog.py", since]]
    if python:
        commands += [[f"{BIN}/ruff", "check", "--fix", *python], [f"{BIN}/ruff", "format", *python]]
    if tests(changed):
        commands.append([f"{BIN}/pytest", "-p", "no:cacheprovider", "-q", *tests(changed)])
    return max([subprocess.run(command, cwd=ROOT, check=False).returncode for command in commands])


if __name__ == "__main__":
    sys.exit(main())
