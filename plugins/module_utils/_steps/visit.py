# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Several steps on one host in one call: in their order, each with its own options, until one fails.

A step is a module of the same name. It is imported only when it is requested, because compiling what is not needed
would cost more than a call that finds nothing to do. A new step is a file here, a function and a row of STEPS below,
its module, and its tests.
"""

from __future__ import annotations

import contextlib
import signal
import time
from dataclasses import dataclass, field, replace
from typing import Any, Callable, Dict, Iterator, List, Mapping, NamedTuple, Optional, Sequence

from ansible.module_utils.common.arg_spec import ArgumentSpecValidator

from ansible_collections.esync.mesh.plugins.module_utils._core.errors import EsyncError, unexpected
from ansible_collections.esync.mesh.plugins.module_utils._core.user import refuse_other_user
from ansible_collections.esync.mesh.plugins.module_utils._steps.context import SERVER, Context

SECRETS = ("pfx_passphrase", "folder_passphrase", "payload")
"""What may be among the secrets of a visit."""


class Step(NamedTuple):
    """What a step is: its argument specification, and what does it."""

    spec: Dict[str, Any]
    run: Callable[[Mapping[str, Any], Context], Dict[str, Any]]


def _certificate_set() -> Step:
    from ansible_collections.esync.mesh.plugins.module_utils._steps.certificate_set import SPEC, run

    return Step(SPEC, run)


def _certificate_info() -> Step:
    from ansible_collections.esync.mesh.plugins.module_utils._steps.certificate_info import SPEC, run

    return Step(SPEC, run)


def _peer_trust() -> Step:
    from ansible_collections.esync.mesh.plugins.module_utils._steps.peer_trust import SPEC, run

    return Step(SPEC, run)


def _endpoint() -> Step:
    from ansible_collections.esync.mesh.plugins.module_utils._steps.endpoint import SPEC, run

    return Step(SPEC, run)


def _name_resolution_info() -> Step:
    from ansible_collections.esync.mesh.plugins.module_utils._steps.name_resolution_info import SPEC, run

    return Step(SPEC, run)


def _probe_listener() -> Step:
    from ansible_collections.esync.mesh.plugins.module_utils._steps.probe_listener import SPEC, run

    return Step(SPEC, run)


def _peer_probe() -> Step:
    from ansible_collections.esync.mesh.plugins.module_utils._steps.peer_probe import SPEC, run

    return Step(SPEC, run)


def _shared_client_sets() -> Step:
    from ansible_collections.esync.mesh.plugins.module_utils._steps.shared_client_sets import SPEC, run

    return Step(SPEC, run)


def _exchange_folder_info() -> Step:
    from ansible_collections.esync.mesh.plugins.module_utils._steps.exchange_folder_info import SPEC, run

    return Step(SPEC, run)


def _exchange_folder() -> Step:
    from ansible_collections.esync.mesh.plugins.module_utils._steps.exchange_folder import SPEC, run

    return Step(SPEC, run)


# Imports inside functions, so that Ansible finds what to send, and nothing is compiled that is not requested.
STEPS: Dict[str, Callable[[], Step]] = {
    "certificate_set": _certificate_set,
    "certificate_info": _certificate_info,
    "peer_trust": _peer_trust,
    "endpoint": _endpoint,
    "name_resolution_info": _name_resolution_info,
    "probe_listener": _probe_listener,
    "peer_probe": _peer_probe,
    "shared_client_sets": _shared_client_sets,
    "exchange_folder_info": _exchange_folder_info,
    "exchange_folder": _exchange_folder,
}

SPEC: Dict[str, Any] = {
    "directory": SERVER["directory"],
    # The control node's half gives name and steps, from its plan or as it was given them itself.
    "name": {"type": "str"},
    "steps": {
        "type": "list",
        "elements": "dict",
        "default": [],
        "options": {
            "step": {"type": "str", "choices": list(STEPS), "required": True},
            "options": {"type": "dict", "default": {}},
            "when": {
                "type": "dict",
                "options": {
                    "unchanged": {"type": "bool", "default": False},
                    "trust": {"type": "str"},
                    "readable": {"type": "bool", "default": False},
                    "resolved": {"type": "bool", "default": False},
                },
            },
            "check": {"type": "bool", "default": False},
        },
    },
    "secrets": {"type": "dict", "no_log": True, "default": {}},
    "time_limit": {"type": "int"},
    "not_after": {"type": "float"},
    # Of the control node's half.
    "plan": {"type": "str", "default": "__esync_plan"},
    "pfx_passphrase": {"type": "str", "no_log": True},
    "folder_passphrase": {"type": "str", "no_log": True},
}


class VisitError(EsyncError):
    """The step that ended a visit, and what was done before it.

    :param failure: how the step ended, as a module fails with it. :param results: of the steps before.
    """

    def __init__(self, step: str, failure: Mapping[str, Any], results: Sequence[Mapping[str, Any]]) -> None:
        super().__init__(str(failure["msg"]), "", kind=str(failure["error"]["kind"]))
        self.step = step
        self.failure = dict(failure)
        self.results = list(results)

    def __str__(self) -> str:
        return self.cause

    def to_result(self) -> Dict[str, Any]:
        """The failure of the step, with the step's name, and what was done before."""
        return {**self.failure, "step": self.step, "changed": _has_changed(self.results), "results": self.results}


@dataclass
class _Visit:
    """What later steps depend on.

    :param changed: whether a step changed something, or would have. :param trust: the digest of the trust in force, as
        far as a step returned it. :param readable: whether the server's own files could be read.
    :param product_version: that of the product on this host, as far as a step returned it.
    :param resolved: whether this host knows an address for every name that a step asked for.
    """

    results: List[Dict[str, Any]] = field(default_factory=list)
    changed: bool = False
    trust: Optional[str] = None
    readable: bool = True
    product_version: Optional[str] = None
    resolved: bool = True

    def meets(self, when: Optional[Mapping[str, Any]]) -> bool:
        """Whether a step is to be done."""
        if when is None:
            return True
        if when["unchanged"] and self.changed:
            return False
        if when.get("readable") and not self.readable:
            return False
        if when.get("resolved") and not self.resolved:
            return False
        return when["trust"] is None or when["trust"] == self.trust

    def note(self, step: str, result: Mapping[str, Any], checked: bool) -> None:
        """Take in what a step returned. :param checked: it was only checked, in a visit that is not."""
        self.results.append({"step": step, "changed": False, **result, **({"checked": True} if checked else {})})
        self.changed = self.changed or bool(result.get("changed"))
        if "trust" in result:
            self.trust = (result["trust"] or {}).get("digest")
        self.readable = bool(result.get("readable", self.readable))
        self.product_version = result.get("product_version") or self.product_version
        self.resolved = self.resolved and not result.get("unresolved")


def run(options: Mapping[str, Any], context: Context) -> Dict[str, Any]:
    """Do the steps in their order.

    :raises VisitError: the first step that fails; the ones after it are not done.
    """
    with _limited(options.get("time_limit")):
        return _run(options, context)


@contextlib.contextmanager
def _limited(seconds: Optional[int]) -> Iterator[None]:
    """End this process after so many seconds, wherever it is, also if it was stopped meanwhile.

    Whoever waits for it has given it up by then, and may have sent somebody else. Any moment will do to be killed at.
    """
    signal.alarm(seconds or 0)
    try:
        yield
    finally:
        signal.alarm(0)


def _refuse_late(not_after: Optional[float], name: str) -> None:
    """Refuse to do now what was wanted earlier, as when the host was frozen before the visit could begin.

    :raises EsyncError: kind ``too_late``.
    """
    if not_after is not None and time.time() > not_after:
        raise EsyncError(
            "the visit was given up before it came to this, so nothing more is done",
            "Run again. If the host did not hang, see whether its clock was set meanwhile",
            kind="too_late",
            server=name,
        )


def _run(options: Mapping[str, Any], context: Context) -> Dict[str, Any]:
    visit = _Visit()
    # All of them before the first is done, so that no secret is on its way where it could be printed.
    steps = [_Prepared.of(one, options) for one in options["steps"]]
    if not all(map(_is_for_any_user, options["steps"])):
        refuse_other_user(options["directory"], options["name"])
    for given, step in zip(options["steps"], steps):
        if not visit.meets(given["when"]):
            visit.results.append({"step": step.name, "skipped": True, "changed": False})
            continue
        checked = bool(given["check"]) and not context.check
        failure: Dict[str, Any] = {}
        try:
            _refuse_late(options.get("not_after"), options["name"])
            visit.note(
                step.name, step.do(replace(context, check=context.check or checked), visit.product_version), checked
            )
        except EsyncError as error:
            failure = error.to_result()
        except Exception as error:
            # The text of an unexpected exception can hold key material, and no_log would not catch it.
            failure = {"msg": unexpected(error), "error": {"kind": "unexpected"}}
        if failure:
            raise VisitError(step.name, failure, visit.results)
    return {"changed": _has_changed(visit.results), "results": visit.results}


def _is_for_any_user(given: Mapping[str, Any]) -> bool:
    """Whether a step has something to say to users who may not read the keys, or is not done for them."""
    when, state = given["when"] or {}, (given["options"] or {}).get("state")
    return given["step"] == "certificate_info" or state == "observed" or bool(when.get("readable"))


def _has_changed(results: Sequence[Mapping[str, Any]]) -> bool:
    """Whether a visit changed something; what was only checked did not."""
    return any(result["changed"] and not result.get("checked") for result in results)


@dataclass(frozen=True)
class _Prepared:
    """A step and its options, which are validated only when it is imported: when it is done."""

    name: str
    options: Mapping[str, Any]
    secrets: Mapping[str, Any]

    @classmethod
    def of(cls, given: Mapping[str, Any], visit: Mapping[str, Any]) -> _Prepared:
        secret = sorted(set(given["options"] or {}) & set(SECRETS))
        unknown = sorted(set(visit["secrets"] or {}) - set(SECRETS))
        if secret or unknown:
            raise EsyncError(
                f"the step {given['step']} has {', '.join(secret)} among its options, where Ansible may print them"
                if secret
                else f"{', '.join(unknown)} cannot be among the secrets of a visit",
                f"Give {', '.join(SECRETS)} as secrets of the visit, and nothing else",
                kind="bad_step_options",
                server=visit["name"],
            )
        options = {"name": visit["name"], "directory": visit["directory"], **(given["options"] or {})}
        return cls(given["step"], options, visit["secrets"] or {})

    def do(self, context: Context, product_version: Optional[str] = None) -> Dict[str, Any]:
        """Import the step, validate its options, and do it.

        :param product_version: what an earlier step found, for steps that pass it on.
        :raises EsyncError: kind ``bad_step_options``, or whatever the step raises.
        """
        step = STEPS[self.name]()
        secrets = {name: value for name, value in self.secrets.items() if name in step.spec}
        known = {"product_version": product_version} if product_version and "product_version" in step.spec else {}
        validated = ArgumentSpecValidator(step.spec).validate({**known, **self.options, **secrets})
        if validated.error_messages:
            raise EsyncError(
                f"the options of the step {self.name} are not valid: {'; '.join(validated.error_messages)}",
                f"Correct them; they are those of the module {self.name}",
                kind="bad_step_options",
                server=str(self.options["name"]),
            )
        return step.run(validated.validated_parameters, context)
