# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Fail if what users get was changed without a changelog fragment: changelog.py [BASE]

Compared with BASE; by default with where the branch left main, and on main itself with the last tag. Files that are
not committed yet count, too. Where git or such a commit is missing, as in a tarball, in a shallow clone, or before the
first release, nothing can be compared; that is said, and is no failure.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
USERS = re.compile(r"(plugins|roles|playbooks|meta|examples)/.+")
FRAGMENT = re.compile(r"changelogs/(fragments/[^/]+\.ya?ml|changelog\.yaml)")


def missing(changed: Sequence[str]) -> list[str]:
    """The files that users get, if they were changed and no fragment was."""
    if any(FRAGMENT.fullmatch(path) for path in changed):
        return []
    return [path for path in changed if USERS.fullmatch(path)]


def git(*arguments: str, root: Path = ROOT) -> str | None:
    """What git prints; None if it fails or is not there."""
    try:
        done = subprocess.run(["git", "-C", root, *arguments], capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def base(root: Path = ROOT) -> str | None:
    """The commit that the changes are compared with; None if the history does not reach it."""
    head = git("rev-parse", "HEAD", root=root)
    for main in ("origin/main", "main"):
        parting = git("merge-base", "HEAD", main, root=root)
        if parting and parting != head:
            return parting
    return git("describe", "--tags", "--abbrev=0", root=root)


def changes(since: str, root: Path = ROOT) -> list[str]:
    """Every file that differs from a commit, also in the working tree."""
    committed = git("diff", "--name-only", since, root=root)
    new = git("ls-files", "--others", "--exclude-standard", root=root)
    if committed is None:
        raise SystemExit(f"changelog: git knows no commit {since}")
    return sorted({*committed.splitlines(), *(new or "").splitlines()})


def main() -> int:
    since = sys.argv[1] if len(sys.argv) > 1 else base()
    if not since:
        print("changelog: no branch of main and no tag, so there is nothing to compare")
        return 0
    changed = changes(since)
    without = missing(changed)
    if without:
        print(
            f"changelog: since {since} these were changed, and no file in changelogs/fragments:", *without, sep="\n  "
        )
        return 1
    print(f"changelog: {len(changed)} files since {since}, none without a fragment")
    return 0


if __name__ == "__main__":
    sys.exit(main())
