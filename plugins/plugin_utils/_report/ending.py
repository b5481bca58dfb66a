# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The end of a run: its verdict, and the files of its report."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.esync.mesh.plugins.plugin_utils._report.model import Mesh, verdict
from ansible_collections.esync.mesh.plugins.plugin_utils._report.outcome import facts, fails
from ansible_collections.esync.mesh.plugins.plugin_utils._report.terminal import terminal


@dataclass(frozen=True)
class Verdict:
    """What a run says at its end.

    :param lines: for the terminal, causes included. :param message: the verdict in short, and where the report is.
    :param facts: for the result of the task.
    """

    failed: bool
    lines: list[str]
    message: str
    facts: Mapping[str, Any] = field(default_factory=dict)


def verdict_of(mesh: Mesh, mode: str, page: str) -> Verdict:
    """The verdict on a mesh.

    :param mode: ``in_part``, ``all``, ``all_and_fail`` or ``never``, see Run. :param page: the path of the report.
    """
    wrong = fails(mesh, servers_count=mode == "all_and_fail", must_prove=mode in ("all", "all_and_fail"))
    failed = wrong and mode != "never"
    # Ansible prints a failed result once or twice more: so without what stands above it already.
    message = f"{verdict(mesh)} The report is {page}"
    return Verdict(failed, terminal(mesh), message, {"path": page, **({} if failed else facts(mesh))})
