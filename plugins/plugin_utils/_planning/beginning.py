# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The beginning of a run: from what the inventory says to the servers of the run."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from ansible_collections.esync.mesh.plugins.module_utils._core.errors import EsyncError, raise_all
from ansible_collections.esync.mesh.plugins.plugin_utils._inventory.membership import Member
from ansible_collections.esync.mesh.plugins.plugin_utils._inventory.reading import MeshRead, member_facts
from ansible_collections.esync.mesh.plugins.plugin_utils._inventory.settings import MESH_WIDE, nearest
from ansible_collections.esync.mesh.plugins.plugin_utils._planning.run import Run, Server

_BATCH = re.compile(r"[0-9]{1,6}%?\Z")


def run_of(operation: str, read: MeshRead, clusters: Sequence[dict[str, Any]], check: bool) -> Run:
    """The run of an operation before its first stage.

    :param clusters: as mesh_members returns them. :param check: whether nothing may change.
    :raises EsyncError: kind ``missing_option``: nobody is named to be removed.
    """
    servers = [_server(one, read.settings[one.host], True) for one in read.members]
    servers += [_server(one, read.settings[one.host], False) for one in read.leaving]
    mesh = {**read.mesh, "discarding": list(read.discarding)}
    if operation == "remove" and not mesh["esync_remove"]:
        raise EsyncError(
            "No server is named to be removed",
            'Name one with -e esync_remove=NAME, or several with -e \'{"esync_remove": ["A", "B"]}\'',
            kind="missing_option",
        )
    return Run(operation, mesh, {one.name: one for one in servers}, clusters=list(clusters), check=check)


def _server(member: Member, settings: Mapping[str, Any], stays: bool) -> Server:
    facts = member_facts(member)
    own = {name: value for name, value in settings.items() if name not in MESH_WIDE}
    return Server(
        member.name, member.host, member.address, int(facts["port"]), stays, sites=list(facts["sites"]), settings=own
    )


def refuse_bad_batch(run: Run) -> None:
    """Refuse a batch of reloads that is neither a number nor a part in percent.

    :raises EsyncError: kind ``bad_variable``.
    """
    said = str(run.mesh["esync_reload_batch"]).strip()
    if not _BATCH.match(said):
        raise EsyncError(
            f"esync_reload_batch is {said!r}, which is neither a number nor a part such as 25%",
            "Correct esync_reload_batch",
            kind="bad_variable",
        )


def refuse_unknown_names(run: Run) -> None:
    """Refuse names that are no server of the mesh; the ledger knows removed servers and external peers too.

    :raises EsyncError: kind ``unknown_server``, all at once, each with the nearest name.
    """
    recorded = sorted({*run.servers, *run.ledger})
    raise_all(
        [
            EsyncError(
                f"{option} names it, but {who}{nearest(name, known)}",
                f"Choose from: {', '.join(known)}",
                kind="unknown_server",
                server=name,
            )
            for option, known, who in (
                ("esync_remove", recorded, "neither the mesh nor the ledger knows it"),
                ("esync_accept_changed", recorded, "neither the mesh nor the ledger knows it"),
                ("esync_regenerate", run.names, "it is not in the mesh"),
                ("esync_compromised", run.names, "it is not in the mesh"),
            )
            for name in run.mesh[option]
            if name not in known
        ]
    )
