# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The one way from an action plugin into the core and back, with nothing secret on any path."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

from ansible import constants as C
from ansible.errors import AnsibleActionFail, AnsibleConnectionFailure
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

from ansible_collections.esync.mesh.plugins.module_utils._core.errors import EsyncError, unexpected

_FOR_PROGRAMS = ("json", "jsonl", "null", "tree", "junit")
"""Callbacks whose output is no text for people: what is printed past them would spoil it."""

Run = Callable[..., dict[str, Any]]


def guarded(run: Run) -> Run:
    """Turn what the core raises into a failed result; the text of unexpected exceptions is never shown."""

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


def show(lines: Sequence[str]) -> None:
    """Print lines for the user, as the plan and the report have them; beside an output that programs read."""
    display = Display()
    callback = str(C.config.get_config_value("DEFAULT_STDOUT_CALLBACK")).rpartition(".")[2]
    for line in lines:
        display.display(line, stderr=callback in _FOR_PROGRAMS)


class Action(ActionBase):
    """What every action begins with: its options are read by ``SPEC``, and what goes wrong ends in a failed result."""

    TRANSFERS_FILES = False
    SPEC: ClassVar[dict[str, Any]] = {}

    @guarded
    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        _validated, options = self.validate_argument_spec(argument_spec=self.SPEC)
        return self.act(result, plain(options), task_vars or {})

    def act(self, result: dict[str, Any], options: dict[str, Any], variables: dict[str, Any]) -> dict[str, Any]:
        """Do the work.

        :param result: what Ansible begins every result with. :param variables: those of the task.
        :returns: the complete result.
        :raises EsyncError: what is reported to the user.
        """
        raise NotImplementedError


class ControlAction(Action):
    """An action that runs wholly on the control node."""

    _requires_connection = False
