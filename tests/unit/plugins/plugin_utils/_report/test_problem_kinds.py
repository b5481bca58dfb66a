# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The table says everything of every kind; nothing of a row is left to a default that nobody chose."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from ansible_collections.esync.mesh.plugins.plugin_utils._report.problem_kinds import (
    AS_FOUND,
    EXCHANGE,
    FROM_HOST,
    KINDS,
    NO_COMMAND,
    OTHER,
    OWN_SET,
    RENEW,
    REPAIRS,
    SEVERITIES,
    SUBJECTS,
    TRUST,
    ProblemKind,
)

DOCS = Path(__file__).resolve().parents[5] / "docs"


def test_no_field_has_a_default() -> None:
    assert ProblemKind._field_defaults == {}
    assert len(KINDS) > 30


@pytest.mark.parametrize("kind", KINDS)
def test_a_row_says_what_how_bad_what_to_do_by_which_command_and_what_repair_does(kind: str) -> None:
    row = KINDS[kind]
    assert re.fullmatch(r"[a-z_]+", kind)
    assert row.cause[0].isupper() and not row.cause.endswith(".")
    assert row.remedy == FROM_HOST or (row.remedy[0].isupper() and not row.remedy.endswith("."))
    assert row.command == NO_COMMAND or row.command.startswith("ansible-playbook esync.mesh.")
    assert set(re.findall(r"{(\w+)}", row.command)) <= {"server", "left"}
    assert row.severity in SEVERITIES
    assert row.subject in SUBJECTS
    assert row.repair in REPAIRS


def test_only_own_sets_are_ever_renewed_and_trust_never_is() -> None:
    assert {row.subject for row in (*KINDS.values(), OTHER) if row.repair == AS_FOUND} == {OWN_SET}
    # Only a host that has looked at all of its keys can say that none is left to be destroyed.
    assert [kind for kind, row in KINDS.items() if row.repair == RENEW] == []
    assert {row.repair for row in KINDS.values() if row.subject == TRUST} >= {EXCHANGE}


def test_every_kind_is_in_the_document() -> None:
    text = (DOCS / "check.md").read_text(encoding="utf-8")
    # The document lists those of files together, with the most common ones by name.
    together = {kind for kind, row in KINDS.items() if row.repair == AS_FOUND}
    assert [kind for kind in KINDS if f"`{kind}`" not in text and kind not in together] == []
    assert sum(f"`{kind}`" in text for kind in together) >= 3
