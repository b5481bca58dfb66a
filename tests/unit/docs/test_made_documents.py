# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The documents that are made from the code are those that the code makes now."""

from __future__ import annotations

import runpy
from pathlib import Path

from ansible_collections.esync.mesh.plugins.module_utils._connection.causes import CAUSES

DOCS = Path(__file__).resolve().parents[3] / "docs"


def test_documents_are_up_to_date() -> None:
    made = runpy.run_path(str(DOCS / "make.py"))["documents"]()
    assert made
    for name, text in made.items():
        assert (DOCS / name).read_text(encoding="utf-8") == text, f"docs/{name} is out of date: run make docs"


def test_every_cause_is_in_the_diagnosis() -> None:
    text = (DOCS / "diagnosis.md").read_text(encoding="utf-8")
    for key, row in CAUSES.items():
        for part in (
            f"## `{key}`",
            row.title,
            row.cause,
            row.remedy,
            row.balancer.remedy,
            row.command.split(" -e ")[0],
        ):
            assert part in text, f"{key}: {part!r} is missing"
