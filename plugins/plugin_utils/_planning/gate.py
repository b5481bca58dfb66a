# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The gate: whether a server may go on in a play of the user's own, by its own files and its own pairs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ansible_collections.esync.mesh.plugins.module_utils._core.errors import EsyncError
from ansible_collections.esync.mesh.plugins.plugin_utils._planning.records import message_of
from ansible_collections.esync.mesh.plugins.plugin_utils._planning.run import OK
from ansible_collections.esync.mesh.plugins.plugin_utils._wording import not_tested, result_line


def outsider(host: str) -> EsyncError:
    """Why the gate is closed for a host of the play that is no server of the mesh."""
    return EsyncError(
        "it is not in the inventory group of the mesh (esync_group), so it has no certificates to pass with",
        "Add it to the group and run establish, or take it out of this play",
        kind="gate_closed",
        server=host,
    )


def unreachable(server: str) -> EsyncError:
    """Why the gate is closed for a server that the control node cannot reach."""
    return EsyncError(
        "the control node cannot reach it, so the gate is closed",
        "Bring it back (power, network, ssh), and run again",
        kind="gate_closed",
        server=server,
    )


def refusal(server: str, steps: Sequence[Mapping[str, Any]], results: Sequence[Mapping[str, Any]]) -> EsyncError | None:
    """Why the gate is closed for a server; None if it is open, or if this visit was none of a gate.

    :param steps: those of its visit. :param results: what came back, as records.parse made it.
    """
    asked = next((step for step in steps if step.get("tag") == "gate"), None)
    if asked is None:
        return None
    said = []
    tested: set[str] = set()
    for result in results:
        said += [message_of({**problem, "server": server}) for problem in result.get("problems") or ()]
        for pair in result.get("results") or ():
            tested.add(str(pair["to"]))
            if pair["verdict"] != OK:
                said.append(result_line(server, pair))
    names = dict.fromkeys(str(peer["name"]) for peer in asked["options"]["peers"])
    said += [not_tested(server, name) for name in names if name not in tested]
    if not said:
        return None
    return EsyncError(f"The gate is closed, and nothing was changed. {' '.join(said)}", "", kind="gate_closed")
