# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The end of a run: its verdict, and the files of its report."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ansible_collections.esync.mesh.plugins.plugin_utils._ledger.control_files import replace_file
from ansible_collections.esync.mesh.plugins.plugin_utils._report.formats import REPORTS
from ansible_collections.esync.mesh.plugins.plugin_utils._report.model import (
    Mesh,
    findings,
    summary,
    terminal,
    verdict,
)


@dataclass(frozen=True)
class Verdict:
    """What a run says at its end.

    :param lines: for the terminal. :param message: the verdict in short, or why it fails.
    :param facts: for the result of the task.
    """

    failed: bool
    lines: list[str]
    message: str
    facts: Mapping[str, Any] = field(default_factory=dict)


def verdict_of(mesh: Mesh, judge: str, page: str) -> Verdict:
    """The verdict on a mesh.

    :param judge: ``in_part``, ``all``, ``all_and_fail`` or ``never``, see Run. :param page: the path of the report.
    """
    bad = bool(mesh.wrong or mesh.wrong_connections or mesh.let_in)
    bad = (bad or (judge == "all_and_fail" and bool(mesh.faults))) and judge != "never"
    facts = {
        "summary": summary(mesh),
        "pending": [asdict(one) for one in mesh.debts],
        "problems": [asdict(one) for one in mesh.problems],
        "path": page,
    }
    # Ansible prints a failed result once more: so without the matrix, which stands above.
    message = "\n".join(findings(mesh)) if bad else f"{verdict(mesh)} The report is {page}"
    return Verdict(bad, terminal(mesh), message, facts)


def write_files(mesh: Mesh, folder: Path, now: str) -> None:
    """Write every file of the report.

    :param now: UTC.
    :raises EsyncError: kind ``control_node_file``.
    """
    for name, write in REPORTS.items():
        replace_file(folder / name, _encodable(write(mesh, now, _read(folder / name))))


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        # There is none yet; what else is wrong with it, writing it will tell.
        return ""


def _encodable(text: str) -> str:
    """Lone surrogates, which a host's answer may hold, are no text; in a file they are question marks."""
    return text.encode("utf-8", errors="replace").decode("utf-8")
