# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The registry of report formats: a new one is one file with a writer, a line here, its test, and docs/reports.md."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from ansible_collections.esync.mesh.plugins.module_utils._core.errors import EsyncError
from ansible_collections.esync.mesh.plugins.plugin_utils._ledger.control_files import locked, read_file, replace_file
from ansible_collections.esync.mesh.plugins.plugin_utils._report import history, html, junit, mesh_json, prometheus
from ansible_collections.esync.mesh.plugins.plugin_utils._report.model import Mesh

Writer = Callable[[Mesh, str, str], str]
"""From the mesh, the time in UTC, and what the file held before, the content of the file."""

REPORTS: Mapping[str, Writer] = {
    "mesh.json": mesh_json.text,
    "mesh.html": html.text,
    "mesh.xml": junit.text,
    "mesh.prom": prometheus.text,
}
"""File name to its writer."""

_LIMIT = 64 << 20
"""Bytes of a report that is there already; a larger one is not ours, and is only replaced."""


def write_reports(mesh: Mesh, folder: Path, now: str) -> list[str]:
    """Write all files, each replaced completely or not at all, and the history of the runs, which they show.

    :param now: UTC.
    :returns: what the user is told besides: a history that cannot be used stays as it is, and fails nothing.
    :raises EsyncError: kind ``control_node_file``.
    """
    with locked(folder):
        notes = []
        path = folder / history.FILE
        try:
            known = history.after(history.parse(read_file(path, history.BYTE_LIMIT), str(path)), mesh, now)
        except EsyncError as error:
            notes.append(str(error))
        else:
            mesh = replace(mesh, history=known)
            replace_file(path, _encodable(history.render(known)))
        _write_all(mesh, folder, now)
    return notes


def _write_all(mesh: Mesh, folder: Path, now: str) -> None:
    for name, write in REPORTS.items():
        path = folder / name
        replace_file(path, _encodable(write(mesh, now, _read(path))))


def _read(path: Path) -> str:
    try:
        return read_file(path, _LIMIT) or ""
    except EsyncError:
        # Writing it reports what is wrong with it, if that matters.
        return ""


def _encodable(text: str) -> str:
    """Lone surrogates, which a host's answer may contain, are no text; in a file they become question marks."""
    return text.encode("utf-8", errors="replace").decode("utf-8")
