# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What runs the tutorial finds an output that is not the one that the page shows. `make tutorial` runs it."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
TUTORIAL = runpy.run_path(str(ROOT / "docs" / "run_tutorial.py"))

PAGE = """\
`greeting`:

```text
hello
```

```console
$ cat greeting -
hello

$ pwd; cd ..
/home/you/mesh

$ printf 'ok: [b]\\nok: [a]\\nTASK\\n'
ok: [a]
ok: [b]
TASK
```

```sh
no command
```
"""


def follow(page: Path, folder: Path, write: bool = False) -> int:
    shell = TUTORIAL["Shell"](folder, own_network=False)
    try:
        number: int = TUTORIAL["_page"](shell, page, folder, write)
        return number
    finally:
        shell.close()


def test_a_page_that_shows_what_comes_passes(tmp_path: Path) -> None:
    """No command reads the next one as its input, and one shell does them all."""
    page = tmp_path / "page.md"
    page.write_text(PAGE)
    (tmp_path / "mesh").mkdir()
    assert follow(page, tmp_path / "mesh") == 3


@pytest.mark.parametrize(
    ("shown", "other"), [("hello\n\n$", "hallo\n\n$"), ("TASK\n```", "TASK\nmore\n```"), ("a]\nok: [b]", "a]")]
)
def test_another_output_is_found_and_can_be_written(tmp_path: Path, shown: str, other: str) -> None:
    page = tmp_path / "page.md"
    page.write_text(PAGE.replace(shown, other))
    assert page.read_text() != PAGE
    (tmp_path / "mesh").mkdir()
    assert follow(page, tmp_path / "mesh") == 0
    assert follow(page, tmp_path / "mesh", write=True) == 3
    assert page.read_text() == PAGE


def test_a_page_without_a_command_does_not_pass(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# Nothing\n")
    assert follow(page, tmp_path) == 0


def test_what_differs_from_run_to_run_is_masked() -> None:
    one = f"20261127T064326Z-c4686fb8 {'ab' * 32} 2026-11-27T06:43:26Z"
    other = f"20251231T235959Z-00000000 {'0f' * 32} 2025-12-31T23:59:59Z"
    assert TUTORIAL["masked"](one) == TUTORIAL["masked"](other) != TUTORIAL["masked"](one + " x")
