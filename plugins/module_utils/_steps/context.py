# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What every step of a visit has in common: the options that say which server, and what it knows of the call."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Callable, Dict

from ansible_collections.esync.mesh.plugins.module_utils._core.names import HTTP, PROTOCOLS

SERVER: Dict[str, Any] = {
    "directory": {"type": "path", "default": "/etc/esync"},
    "name": {"type": "str", "required": True},
}
"""What every module of a server takes; their documentation is the fragment C(server)."""

SITE: Dict[str, Any] = {
    "name": {"type": "str", "required": True},
    "port": {"type": "int", "required": True},
    "server_name": {"type": "str"},
}
"""Where a site is served, as modules that look at it take it."""

PROTOCOL: Dict[str, Any] = {"type": "str", "choices": list(PROTOCOLS), "default": HTTP}
"""What is spoken there."""

WEB_ROOTS: Dict[str, Any] = {
    "web_roots": {"type": "list", "elements": "path", "default": ["/var/www", "/srv/www"]},
}
"""Under what no folder with keys may lie."""


@dataclass(frozen=True)
class Context:
    """How a step is called.

    :param check: change nothing, and say what would be changed.
    :param diff: say what was, or would be, there before and after, in ``diff`` of the result.
    :param warn: takes a sentence for the user that is no failure.
    """

    check: bool
    diff: bool
    warn: Callable[[str], None]


def difference(place: str, before: str, after: str) -> Dict[str, str]:
    """What Ansible shows in diff mode: facts, never a key or a certificate itself.

    :param place: the file or folder that changes.
    """
    return {"before": before, "after": after, "before_header": place, "after_header": place}
