# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Listen with mutual TLS on the eSync port for the length of a test."""

from __future__ import annotations

from typing import Any, Dict, Mapping

from ansible_collections.esync.mesh.plugins.module_utils._steps.context import SERVER, Context

SPEC: Dict[str, Any] = {
    **SERVER,
    "address": {"type": "str", "default": "0.0.0.0"},
    "port": {"type": "int", "default": 8732},
    "lifetime": {"type": "float", "default": 120},
    "expected": {"type": "list", "elements": "str", "default": []},
    "serve": {"type": "str", "choices": ["current", "next"], "default": "current"},
    "product_version": {"type": "str"},
}


def run(options: Mapping[str, Any], context: Context) -> Dict[str, Any]:
    """Start the endpoint, unless in check mode.

    :raises EsyncError: files that cannot be used, or kinds ``port_taken``, ``cannot_listen``, ``locked``.
    """
    if context.check:
        return {"changed": True}
    from ansible_collections.esync.mesh.plugins.module_utils._connection.listener import ListenerSettings, start

    return {"changed": True, **start(ListenerSettings(**{**options, "expected": frozenset(options["expected"])}))}
