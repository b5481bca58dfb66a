# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The one way from an action plugin into the core and back, with nothing secret on any path."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from typing import Any

from ansible.errors import AnsibleActionFail, AnsibleConnectionFailure

from ansible_collections.esync.mesh.plugins.module_utils.errors import EsyncError, unexpected

Run = Callable[..., dict[str, Any]]


def guarded(run: Run) -> Run:
    """Turn what the core raises into a failed result; the text of foreign exceptions is never shown."""

    @functools.wraps(run)
    def guard(*arguments: Any, **options: Any) -> dict[str, Any]:
        try:
            return run(*arguments, **options)
        except EsyncError as error:
            return {"failed": True, **error.to_result()}
        except (AnsibleActionFail, AnsibleConnectionFailure):
            # What Ansible says of a wrong option, and how it learns that a host cannot be reached.
            raise
        except Exception as error:
            return {"failed": True, "msg": unexpected(error), "error": {"kind": "unexpected"}}

    return guard


def plain(value: Any) -> Any:
    """A copy made of nothing but JSON's own types: Ansible tags and wraps the values of variables."""
    return json.loads(json.dumps(value, default=str))
