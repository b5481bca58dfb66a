# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The control node's half of a visit: send the steps, and make records of what comes back."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shlex
import subprocess
import threading
import time
import traceback
from collections.abc import Mapping, Sequence
from typing import Any

from ansible import constants as C
from ansible.errors import (
    AnsibleAction,
    AnsibleActionFail,
    AnsibleConnectionFailure,
    AnsibleError,
    AnsibleRuntimeError,
)
from ansible.release import __version__ as core_version

from ansible_collections.esync.mesh.plugins.module_utils._core.errors import EsyncError
from ansible_collections.esync.mesh.plugins.module_utils._interpreter import (
    OLDEST,
    OS_RELEASE,
    other_ways_out,
    ways_out,
    why_too_old,
)
from ansible_collections.esync.mesh.plugins.module_utils._steps.visit import SPEC
from ansible_collections.esync.mesh.plugins.plugin_utils import _shapes as shapes
from ansible_collections.esync.mesh.plugins.plugin_utils._action import Action, plain
from ansible_collections.esync.mesh.plugins.plugin_utils._control import plan_of
from ansible_collections.esync.mesh.plugins.plugin_utils._inventory.settings import PREFIX, SECRET, unreadable
from ansible_collections.esync.mesh.plugins.plugin_utils._planning import gate, records
from ansible_collections.esync.mesh.plugins.plugin_utils._planning.run import FROZEN, errors_of

_RETURNED = ("changed", "failed", "msg", "error", "errors", "step", "results", "warnings", "unreachable", "diff")
_GIVEN = ("name", "directory", "steps", "secrets", "time_limit", "not_after")
_SENT = ("step", "options", "when", "check")
_CLOSING_SECONDS = 5
_OPEN_PFX = ("certificate_set", "certificate_info", "shared_client_sets")
_OPEN_FOLDERS = ("exchange_folder_info", "shared_client_sets")
_NOT_COMPILED = re.compile("SyntaxError|ImportError|ModuleNotFoundError|AttributeError|Current version: ")
# How Ansible itself ends a module on a Python that it no longer reaches, though ours would do.
_NOT_REACHED = re.compile(
    r"requires (?:a minimum of )?Python (?:version )?([0-9]{1,2}\.[0-9]{1,2})\b"
    r".{0,40} Current version: ([0-9]{1,2}\.[0-9]{1,2}(?:\.[0-9]{1,2})?)"
)
# Of any version of Python, Ansible's own part of a module included, which may be newer than ours.
_ASK_VERSION = f"import sys; print('%d.%d.%d' % tuple(sys.version_info[:3])); print(open('{OS_RELEASE}').read(4096))"
# How a host starts what is sent. Python takes ten times as long to read a program of this size from its standard input
# by itself. From a zip archive it compiles every module twice, the first time only to find out the name of its file.
_START = """
import sys
if sys.version_info >= (3, 8):
    from zipimport import zipimporter
    compiling = zipimporter.get_filename
    def get_filename(self, module):
        if not self.archive.endswith("_payload.zip"):
            return compiling(self, module)
        inside = "/__init__" if self.is_package(module) else ""
        return "%s/%s%s%s.py" % (self.archive, self.prefix, module.rpartition(".")[2], inside)
    zipimporter.get_filename = get_filename
exec(sys.stdin.buffer.read())
"""
_INTERPRETER = re.compile(r"/[A-Za-z0-9_./+-]{1,250}\Z")
_PACKAGE = re.compile(r"python[0-9.]{0,6}-cryptography\Z")
_VERSION = re.compile(r"\b([0-9]{1,3})\.([0-9]{1,3})\.([0-9]{1,3})\b")


class ActionModule(Action):
    """See the module's documentation."""

    SPEC = SPEC

    def act(self, result: dict[str, Any], options: dict[str, Any], variables: dict[str, Any]) -> dict[str, Any]:
        if options["steps"]:
            given = {key: options[key] for key in _GIVEN if options[key] is not None}
            reply = self._call(given, variables)
            return {key: reply[key] for key in _RETURNED if key in reply}
        plan = plan_of(variables, options["plan"])
        mine = plan["visits"].get(variables["inventory_hostname"])
        result.update(changed=False, stage=plan["stage"], state="ok", steps=[], errors=[])
        gated = plan["state"]["operation"] == "gate"
        if not mine:
            # Whoever has no part in a stage waits for the others; but nobody passes a gate that was not tested at it.
            return {**result, **_closed(gate.outsider(str(variables["inventory_hostname"])))} if gated else result
        name, steps = str(mine["name"]), plain(mine["steps"])
        self._task.check_mode = bool(plan["check"])
        try:
            if "refuse" in steps[0]:
                errors, result["msg"] = list(steps[0]["errors"]), steps[0]["refuse"]
            else:
                self._refuse_undefined(options, variables)
                secrets = _secrets(steps, options, plan["state"].get("payloads") or {})
                sent = time.time()
                reply = self._send(name, steps, mine, secrets, _limits(plan, mine, sent), variables)
                errors = self._take(result, name, steps, reply, sent)
        except EsyncError as error:
            errors, result["msg"] = errors_of(error), str(error)
        except AnsibleConnectionFailure:
            if not gated:
                raise
            return {**result, **_closed(gate.unreachable(name))}
        except BaseException as error:
            # Ansible ends a task that takes too long by an exception of its own in the middle of whatever runs.
            if type(error).__name__ != "TaskTimeoutError":
                raise
            self._let_go(error)
            late = _too_late(name, plan["timeout"])
            errors, result["msg"] = errors_of(late), str(late)
        if errors:
            result.update(state="failed", errors=errors, failed=not plan["keep"])
            if not plan["keep"]:
                # Ansible prints a failed result completely, and this host's part ends here.
                result["steps"] = []
        self._keep_interpreter(result)
        return result

    def _keep_interpreter(self, result: dict[str, Any]) -> None:
        """Let Ansible remember the interpreter that it found on the host, or it would look for it in every visit."""
        key, found = self._discovered_interpreter_key, self._discovered_interpreter
        if key and isinstance(found, str) and _INTERPRETER.match(found):
            result["ansible_facts"] = {key: found}

    def _send(
        self,
        name: str,
        steps: Sequence[Mapping[str, Any]],
        mine: Mapping[str, Any],
        secrets: Mapping[str, str],
        limits: Mapping[str, float],
        variables: dict[str, Any],
    ) -> dict[str, Any]:
        """Let the host do the steps, installing what they need if need be; returns its reply."""
        if _shares_keys(steps):
            self._refuse_leaks(name)
            # Else the connection, which has a copy of its own, prints what comes back from -vvv on.
            self._play_context.no_log = self._connection._play_context.no_log = True
        if secrets:
            self._refuse_readable_files(name)
        arguments = {
            "name": name,
            "directory": mine["directory"],
            "steps": [{key: step[key] for key in _SENT if key in step} for step in steps],
            "secrets": secrets,
            **limits,
        }
        reply = self._call(arguments, variables)
        missing = _missing(reply, steps, mine)
        if missing and mine["install"] and not self._task.check_mode:
            refusal = self._install(missing, variables)
            if not refusal:
                reply = self._call(arguments, variables)
            if _missing(reply, steps, mine):
                reply = _after_installing(reply, missing, refusal)
        self._refuse_old_python(name, reply, variables)
        _refuse_unreached_python(name, reply)
        return reply

    def _take(
        self,
        result: dict[str, Any],
        name: str,
        steps: Sequence[Mapping[str, Any]],
        reply: Mapping[str, Any],
        sent: float,
    ) -> list[dict[str, Any]]:
        """Put what came back from the host into the result; returns the errors by which the visit ended."""
        found, errors = _understood(name, steps, reply, _shares_keys(steps))
        for step, one in zip(steps, found):
            if "tag" in step:
                one["tag"] = step["tag"]
            if "clock" in one:
                one["clock_ahead"] = one["clock"] - sent
        # A temporary endpoint ends by itself and leaves nothing behind.
        changed = any(one.get("changed") for one in found if one["step"] != "probe_listener")
        result.update(changed=changed, steps=found)
        if self._task.diff:
            result["diff"] = records.diffs(reply)
        if any(one.get("sets") for one in found if one["step"] == "shared_client_sets"):
            # Encrypted private keys on their way: nobody is to see them all the same.
            result["_ansible_no_log"] = True
        warned = reply.get("warnings")
        warnings = [shapes.text()(_said(one)[:2000]) for one in (warned if isinstance(warned, list) else ())[:20]]
        if warnings:
            result["warnings"] = warnings
        refused = gate.refusal(name, steps, found)
        if refused:
            errors, result["msg"] = errors_of(refused), str(refused)
        elif errors:
            result["msg"] = "\n".join(records.message_of(error) for error in errors)
        return errors

    def _call(self, arguments: dict[str, Any], variables: dict[str, Any]) -> dict[str, Any]:
        try:
            reply: dict[str, Any] = self._execute_module(
                module_name="esync.mesh.visit", module_args=arguments, task_vars=variables
            )
        except (AnsibleAction, AnsibleConnectionFailure):
            raise
        except (AnsibleRuntimeError, RecursionError):
            # JSON that Ansible itself cannot take in, by its nesting or its keys.
            raise records.malformed(str(arguments.get("name")), "Ansible cannot read it") from None
        except AnsibleError as error:
            if all(frame.f_code.co_name != "_fixup_perms2" for frame, _line in traceback.walk_tb(error.__traceback__)):
                raise
            raise EsyncError(
                "without pipelining Ansible writes what it sends to a temporary file, and it cannot make that readable "
                f"for {self._play_context.become_user} alone",
                "Set ansible_become_method to sudo, which takes pipelining, or install the package acl on the host",
                kind="no_pipelining",
                server=str(arguments.get("name")),
            ) from None
        return reply

    def _low_level_execute_command(self, cmd: str, *arguments: Any, **options: Any) -> Any:
        """Run a command as Ansible does. With pipelining a module is what an interpreter gets as its input."""
        sent = options.get("in_data")
        if isinstance(sent, bytes) and sent.startswith(b"#!"):
            cmd = f"{cmd} -c {shlex.quote(_START)}"
        return super()._low_level_execute_command(cmd, *arguments, **options)

    def _let_go(self, late: BaseException) -> None:
        """Let go of a connection on which nothing comes back any more: nothing waits for it again.

        :param late: what ended the wait.
        """
        # Ansible would remove its temporary folder on the host now, over the same connection, with no time limit.
        self._connection._shell.tmpdir = None
        # Nothing else knows the program that was waited for: it would stay for as long as the host hangs.
        for frame, _line in traceback.walk_tb(late.__traceback__):
            for process in [one for one in frame.f_locals.values() if isinstance(one, subprocess.Popen)]:
                process.kill()
                if process.stdin is not None and not process.stdin.closed:
                    # What is still to be sent would be waited for when the pipe is closed.
                    os.set_blocking(process.stdin.fileno(), False)
        if self._connection.transport == "ssh":
            # A kept connection may be what hangs, and not the host: the next run makes a new one.
            closing = threading.Thread(target=self._close_kept, daemon=True)
            closing.start()
            closing.join(_CLOSING_SECONDS)

    def _close_kept(self) -> None:
        with contextlib.suppress(Exception):
            self._connection.reset()

    def _install(self, packages: Sequence[str], variables: dict[str, Any]) -> str:
        """Install packages with the host's own package manager; returns why that failed, or nothing."""
        task = self._task.copy()
        task.action = "ansible.builtin.package"
        task.args = {"name": list(packages), "state": "present"}
        installer = self._shared_loader_obj.action_loader.get(
            "ansible.builtin.package",
            task=task,
            connection=self._connection,
            play_context=self._play_context,
            loader=self._loader,
            templar=self._templar,
            shared_loader_obj=self._shared_loader_obj,
        )
        try:
            done = installer.run(task_vars=variables)
        except AnsibleActionFail as error:
            # The module of a package manager may be in a collection that is not here (zypper).
            done = {"failed": True, "msg": str(error)}
        return shapes.text(400)(str(done.get("msg") or "no reason given")[:400]) if done.get("failed") else ""

    def _refuse_old_python(self, name: str, reply: Mapping[str, Any], variables: Mapping[str, Any]) -> None:
        """Ask for the version of the Python on a host that could not even compile what was sent; costs a call then.

        :raises EsyncError: kind ``old_python``.
        """
        said = "".join(str(reply.get(key) or "") for key in ("msg", "module_stderr", "module_stdout"))
        if not reply.get("failed") or reply.get("error") or not _NOT_COMPILED.search(said):
            return
        found = (reply.get("ansible_facts") or {}).get("discovered_interpreter_python")
        interpreter = str(found or self._templar.template(variables.get("ansible_python_interpreter") or "python3"))
        asked = self._low_level_execute_command(f"{interpreter} -c {shlex.quote(_ASK_VERSION)}")
        version = _VERSION.search(str(asked.get("stdout") or ""))
        if version and tuple(int(part) for part in version.groups()[:2]) < OLDEST:
            number = ".".join(version.groups())
            remedy = ways_out(interpreter, number, False, str(asked["stdout"])[version.end() :])
            raise EsyncError(why_too_old(interpreter, number), remedy, kind="old_python", server=name)

    def _refuse_undefined(self, options: Mapping[str, Any], variables: Mapping[str, Any]) -> None:
        """Refuse a passphrase in which a variable is not defined: the role's default takes it for none at all.

        :raises EsyncError: kind ``bad_variable``.
        """
        for option, setting in ((name.replace(PREFIX, ""), name) for name in SECRET):
            if options[option] is None and variables.get(setting) is not None:
                try:
                    self._templar.template(variables[setting])
                except Exception:
                    why = "it cannot be evaluated, as a rule because a variable in it is not defined"
                    raise unreadable(str(variables["inventory_hostname"]), setting, why) from None

    def _is_piped(self) -> bool:
        """Whether what is sent to the host is never written to a file there."""
        # Mitogen has no such files, and answers with an assertion where Ansible is asked for pipelining.
        mitogen = any(base.__module__.startswith("ansible_mitogen.") for base in type(self).__mro__)
        return mitogen or bool(self._is_pipelining_enabled("new"))

    def _refuse_readable_files(self, name: str) -> None:
        """Refuse a passphrase where Ansible may write what it sends to a file that every user on the host can read.

        :raises EsyncError: kind ``no_pipelining``.
        """
        if not self._is_piped() and self.get_shell_option("world_readable_temp", False):
            raise EsyncError(
                "a passphrase is about to be sent, without pipelining Ansible writes it to a temporary file, and it is "
                "allowed to make that readable for every user on the host",
                "Set ansible_shell_allow_world_readable_temp to false, and become by sudo, which takes pipelining, or "
                "install the package acl on the host",
                kind="no_pipelining",
                server=name,
            )

    def _refuse_leaks(self, name: str) -> None:
        """Refuse settings of Ansible under which shared client keys would be written or printed on their way.

        :raises EsyncError: kinds ``no_pipelining``, ``debugging``.
        """
        if C.config.get_config_value("DEFAULT_DEBUG"):
            raise EsyncError(
                "ANSIBLE_DEBUG prints whatever modules return, and private keys are about to be shared",
                "Run without ANSIBLE_DEBUG",
                kind="debugging",
                server=name,
            )
        if C.config.get_config_value("DEFAULT_KEEP_REMOTE_FILES") or not self._is_piped():
            raise EsyncError(
                "without pipelining Ansible writes what it sends to temporary files, and private keys are about to be "
                "shared",
                "Let pipelining be used: no ANSIBLE_KEEP_REMOTE_FILES, and a connection and become plugin that can "
                "(ssh and local with sudo can; su cannot)",
                kind="no_pipelining",
                server=name,
            )


def _refuse_unreached_python(name: str, reply: Mapping[str, Any]) -> None:
    """Say whose limit it is where the Python of a host is new enough for us, and too old for this ansible-core.

    :raises EsyncError: kind ``old_python``.
    """
    found = _NOT_REACHED.search(str(reply.get("msg") or ""))
    if found and reply.get("failed") and not reply.get("error"):
        raise EsyncError(
            f"its Python is {found[2]}, and ansible-core {core_version} on the control node needs {found[1]} or later "
            "on a host",
            "Set ansible_python_interpreter to a newer Python of the host, with cryptography for it, or run from a "
            "control node with an older ansible-core (2.19 and earlier reach Python 3.8)",
            kind="old_python",
            server=name,
        )


def _limits(plan: Mapping[str, Any], mine: Mapping[str, Any], now: float) -> dict[str, float]:
    """Until when the host may work on a visit: what the control node has given up must not be done later."""
    limits = {"time_limit": plan["timeout"]}
    if mine.get("clock_ahead") is not None:
        limits["not_after"] = now + mine["clock_ahead"] + plan["timeout"]
    return limits


def _closed(error: EsyncError) -> dict[str, Any]:
    """The failure by which a server leaves the play."""
    return {"failed": True, "state": "failed", "errors": errors_of(error), "msg": str(error)}


def _shares_keys(steps: Sequence[Mapping[str, Any]]) -> bool:
    """Whether private keys, encrypted, are sent with these steps, or returned by them."""
    return any(
        step["step"] == "shared_client_sets" and (step["options"].get("state") == "fetched" or step.get("payloads"))
        for step in steps
    )


def _said(warning: Any) -> str:
    """The text of a warning or an exception; from ansible-core 2.19 on it is a record."""
    return str(getattr(getattr(warning, "event", None), "msg", warning))


def _secrets(
    steps: Sequence[Mapping[str, Any]], options: Mapping[str, Any], payloads: Mapping[str, str]
) -> dict[str, str]:
    """Only what these steps need."""
    kinds = {str(step["step"]) for step in steps}
    # An export opens .pfx files only where client sets are shared.
    exports_keys = any(step["step"] == "exchange_folder" and step["options"]["shared_keys"] for step in steps)
    found = {}
    if options["pfx_passphrase"] and (exports_keys or kinds & set(_OPEN_PFX)):
        found["pfx_passphrase"] = options["pfx_passphrase"]
    if options["folder_passphrase"] and kinds & set(_OPEN_FOLDERS):
        found["folder_passphrase"] = options["folder_passphrase"]
    wanted = [one for step in steps for one in step.get("payloads") or ()]
    if wanted:
        found["payload"] = json.dumps({one: payloads[one] for one in wanted})
    return found


def _missing(reply: Mapping[str, Any], steps: Sequence[Mapping[str, Any]], mine: Mapping[str, Any]) -> list[str]:
    """The packages that the step which failed needs; empty if that was not the reason."""
    error = reply.get("error")
    if not isinstance(error, Mapping) or error.get("kind") != "missing_dependency":
        return []
    done = reply.get("results") or ()
    step = steps[len(done)]["step"] if len(done) < len(steps) else ""
    if step == "endpoint":
        return list(mine["endpoint_packages"])
    # What a host names is installed on that host.
    named = str(error.get("package") or "")
    return list(mine["packages"]) or ([named] if _PACKAGE.match(named) else [])


def _after_installing(reply: Mapping[str, Any], packages: Sequence[str], refusal: str) -> dict[str, Any]:
    """The reply with another remedy, because installing did not help; the cause, which names what was found, stays.

    :param refusal: why it failed; empty: it did not.
    """
    error, named = reply["error"], ", ".join(packages)
    ways = str(error.get("remedy") or "")
    others = other_ways_out(ways)
    if refusal:
        remedy = f"The packages {named} could not be installed ({refusal}). Install them by hand"
        remedy += f"; or {others}" if others else ""
    elif others:
        remedy = f"The packages {named} are installed, but too old, or for another Python; {others}"
    else:
        remedy = ways
    return {**reply, "error": {**error, "remedy": remedy}, "msg": f"{error.get('cause')}. {remedy}."}


def _understood(
    name: str, steps: Sequence[Mapping[str, Any]], reply: Mapping[str, Any], secret: bool
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The records of a visit, and the errors by which it ended.

    :raises EsyncError: kinds ``no_result``, ``malformed_result``.
    """
    if reply.get("failed") and not reply.get("error"):
        # What Ansible shows of a module that did not end properly can be a part of what it was about to return.
        last = str(reply.get("module_stderr") or "").strip().rpartition("\n")[2]
        # From ansible-core 2.19 on there is no message beside what was raised.
        text = str(reply.get("msg") or _said(reply.get("exception") or "").rpartition("\n")[2])
        said = "" if secret else f": {shapes.text()(' '.join((text[:1000], last[:500])).strip())}"
        raise EsyncError(
            f"the module ended without a result{said}",
            "Run again; if it comes back, see that Python and cryptography work on the host",
            kind="no_result",
            server=name,
        )
    return records.parse(name, steps, reply)


def _too_late(name: str, seconds: int) -> EsyncError:
    return EsyncError(
        f"it accepted the connection and did not end its visit within {seconds} seconds",
        "See whether the host hangs (paused, out of memory, a disk that does not answer); a slow host needs a larger "
        "esync_visit_timeout",
        kind=FROZEN,
        server=name,
    )
