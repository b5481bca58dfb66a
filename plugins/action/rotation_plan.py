# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Plan a rotation on the control node, from what certificate_info read on the hosts."""

from __future__ import annotations

import getpass
import os
import socket
import time
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from ansible_collections.esync.mesh.plugins.module_utils._core.names import CLIENT
from ansible_collections.esync.mesh.plugins.module_utils._store.trust_folder import entries_from, model_of
from ansible_collections.esync.mesh.plugins.plugin_utils._action import ControlAction, plain
from ansible_collections.esync.mesh.plugins.plugin_utils._planning.rotation import (
    LockHolder,
    RotationRequest,
    RotationServer,
    plan_rotation,
)

OPTIONS: dict[str, Any] = {
    "members": {"type": "list", "elements": "dict", "required": True},
    "variable": {"type": "str", "default": "__esync_set"},
    "regenerate": {"type": "list", "elements": "str", "default": []},
    "only_due": {"type": "bool", "default": False},
    "compromised": {"type": "list", "elements": "str", "default": []},
    "offline": {"type": "str", "choices": ["stop", "defer"], "default": "stop"},
    "take_over": {"type": "bool", "default": False},
    "trust_model": {"type": "str", "choices": ["pinned", "shared_keys"], "default": "pinned"},
}


class ActionModule(ControlAction):
    """Runs wholly on the control node; see the module's documentation."""

    SPEC = OPTIONS

    def act(self, result: dict[str, Any], options: dict[str, Any], variables: dict[str, Any]) -> dict[str, Any]:
        hostvars = variables["hostvars"]
        servers = [_server(member, hostvars, options["variable"]) for member in options["members"]]
        me = LockHolder(f"{getpass.getuser()}@{socket.gethostname()}", os.getppid(), _started(os.getppid()) or 0)
        now = time.gmtime()
        plan = plan_rotation(
            servers,
            RotationRequest(
                names=tuple(options["regenerate"]),
                only_due=options["only_due"],
                compromised=tuple(options["compromised"]),
                defer=options["offline"] == "defer",
                take_over=options["take_over"],
                model=options["trust_model"],
            ),
            me,
            new_id=time.strftime("%Y%m%dT%H%M%SZ", now),
            now=time.strftime("%Y-%m-%dT%H:%M:%SZ", now),
            alive=lambda holder: _started(holder.pid) == holder.started,
        )
        result.update(asdict(plan), changed=False, holder=str(me))
        return result


def _server(member: Mapping[str, Any], hostvars: Mapping[str, Any], variable: str) -> RotationServer:
    name = str(member["name"])
    # A host outside this run still has variables, but no result of this run.
    found = hostvars[member["host"]].get(variable) or {}
    if found.get("unreachable") or "generations" not in found:
        return RotationServer(name, False, {})
    rotation = found.get("rotation")
    return RotationServer(
        name,
        True,
        {str(generation["state"]): str(generation["id"]) for generation in found["generations"]},
        tuple(str(reason) for reason in found.get("due") or ()),
        {str(key): str(value) for key, value in rotation.items()} if rotation else None,
        model_of(name, entries_from((plain(found.get("trust")) or {}).get("entries") or ())),
        {str(one["state"]): str(one[CLIENT]["fingerprint"]) for one in found["generations"]},
        frozenset(str(one["fingerprint"]) for one in (plain(found.get("handed")) or {}).get("entries") or ()),
    )


def _started(pid: int) -> int | None:
    """When a process of this node started, in clock ticks since boot; None if there is none (proc(5), field 22)."""
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as stream:
            return int(stream.read().rpartition(")")[2].split()[19])
    except (OSError, IndexError, ValueError):
        return None
