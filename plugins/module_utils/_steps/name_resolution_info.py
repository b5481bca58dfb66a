# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Read which names this host can resolve."""

from __future__ import annotations

from typing import Any, Dict, Mapping

from ansible_collections.esync.mesh.plugins.module_utils._steps.context import SERVER, Context

SPEC: Dict[str, Any] = {
    **SERVER,
    "addresses": {"type": "list", "elements": "str", "required": True},
    "timeout": {"type": "float", "default": 10},
}


def run(options: Mapping[str, Any], context: Context) -> Dict[str, Any]:
    """Ask the resolver of this host."""
    from ansible_collections.esync.mesh.plugins.module_utils._connection.resolution import unresolved

    return {"changed": False, "unresolved": unresolved(options["addresses"], options["timeout"])}
