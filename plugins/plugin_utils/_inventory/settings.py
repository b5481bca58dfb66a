# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The settings of all members, read once on the control node, before any host is touched.

A setting is a variable of the role. Its type and its choices stand in the role's argument specs, its default in the
role's defaults, and nowhere else.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ansible.module_utils.common.arg_spec import ArgumentSpecValidator

from ansible_collections.esync.mesh.plugins.module_utils._core.errors import EsyncError, raise_all
from ansible_collections.esync.mesh.plugins.module_utils._core.passphrases import refuse_bad_passphrase

SECRET = ("esync_pfx_passphrase", "esync_folder_passphrase")
"""Never a part of what a stage passes to the next."""

MESH_WIDE = (
    "esync_group",
    "esync_trust_model",
    "esync_ledger",
    "esync_report_directory",
    "esync_allow_shrink",
    "esync_accept_changed",
    "esync_recover_distrusted",
    "esync_max_clock_skew",
    "esync_reload_batch",
    "esync_regenerate",
    "esync_only_due",
    "esync_offline",
    "esync_compromised",
    "esync_take_over_lock",
    "esync_announce_only",
    "esync_retire_timeout",
    "esync_retire_stragglers",
    "esync_remove",
    "esync_visit_timeout",
)
"""What belongs to the entire mesh: one value for all members."""

COMMANDS = ("esync_reload_command", "esync_stop_command", "esync_start_command")
"""The words of a command."""

CONTROL_PATHS = ("esync_ledger", "esync_report_directory")
"""Paths on the control node: only in these it expands ~ and variables of its environment."""

_NEARLY = 0.88
PREFIX = "esync_"
_LETTERS = sorted("esync")


def may_be_meant(name: Any) -> bool:
    """Whether a variable has our prefix, or one with its letters in another order or case, so that it may be meant."""
    return isinstance(name, str) and sorted(name[:5].lower()) == _LETTERS


@dataclass(frozen=True)
class Reader:
    """Reads the settings of hosts.

    :param specs: the role's options by name, as ``argument_specs.yml`` has them.
    :param defaults: the role's defaults, not templated.
    :param run_wide: what the play, the role's call or the like sets, for every host, not templated.
    :param raw: the variables of a host in the inventory, not templated.
    :param template: a value, templated with the variables of a host.
    """

    specs: Mapping[str, Any]
    defaults: Mapping[str, Any]
    run_wide: Mapping[str, Any]
    raw: Callable[[str], Mapping[str, Any]]
    template: Callable[[Any, Mapping[str, Any]], Any]
    cache: dict[str, Mapping[str, Any]] = field(default_factory=dict)

    def variables(self, host: str) -> Mapping[str, Any]:
        """Everything that counts for a host, not templated."""
        if host not in self.cache:
            self.cache[host] = {**self.defaults, **self.raw(host), **self.run_wide}
        return self.cache[host]

    def value(self, host: str, name: str, default: Any = None) -> Any:
        """One variable of a host.

        :returns: the default for a variable that is not set, and for one that null takes back from a group: only a
            setting that has no default can be taken back.
        :raises EsyncError: kind ``bad_variable``.
        """
        variables = self.variables(host)
        if name not in variables:
            return default
        try:
            value = self.template(variables[name], variables)
        except Exception:
            # The text of a template error can quote other variables.
            raise unreadable(host, name, "it cannot be evaluated") from None
        # Before ansible-core 2.19 a template with an undefined variable is returned as it is.
        if any(mark in str(value) for mark in ("{{", "{%")):
            why = "it cannot be evaluated, as a rule because a variable in it is not defined"
            raise unreadable(host, name, why)
        if value is None:
            if name in self.specs and name not in self.defaults and name not in SECRET:
                return default
            raise unreadable(host, name, "it has no value")
        return value

    def settings(self, host: str) -> dict[str, Any]:
        """All settings of a host that are set or have a default, typed; without the secret ones.

        :raises EsyncError: kind ``bad_variable``, everything that is wrong at once.
        """
        found = {}
        errors = []
        for name in self.specs:
            if name in SECRET or name not in self.variables(host):
                continue
            try:
                value = self.value(host, name)
                if value is not None:
                    found[name] = self._typed(host, name, value)
            except EsyncError as error:
                errors.append(error)
        raise_all(errors)
        return found

    def _typed(self, host: str, name: str, value: Any) -> Any:
        spec = {"type": "path"} if name in CONTROL_PATHS else _plain_spec(self.specs[name])
        if spec.get("type") == "list" and spec.get("elements") == "str" and isinstance(value, str):
            value = self._split(host, name, value)
        try:
            result = ArgumentSpecValidator({name: spec}).validate({name: value})
        except ArithmeticError:  # what Ansible raises of an infinite number
            raise unreadable(host, name, f"{value!r} cannot be converted to {spec['type']}") from None
        if result.error_messages:
            raise unreadable(host, name, "; ".join(result.error_messages))
        return result.validated_parameters[name]

    @staticmethod
    def _split(host: str, name: str, text: str) -> list[str]:
        """A text with commas as a list; split here, so that spaces around a comma are no part of a name.

        :raises EsyncError: kind ``bad_variable``: a command as for a shell, which would be the name of one program.
        """
        words = words_of(text)
        if name in COMMANDS and is_command_line(words):
            meant = ", ".join(text.split())
            raise unreadable(
                host, name, f"it is a list of words, or a text with commas such as {meant!r}, not a command line"
            )
        return words

    def nearly(self, hosts: Sequence[str]) -> list[EsyncError]:
        """Variables that are no setting but nearly one; others with the prefix are the user's own.

        :returns: errors of kind ``unknown_setting``, each naming a host that has it, and the nearest setting.
        """
        having: dict[str, list[str]] = {}
        for host in hosts:
            for name in self.variables(host):
                if may_be_meant(name) and name not in self.specs:
                    having.setdefault(name, []).append(host)
        return [
            EsyncError(
                f"{name} is no setting" + (f" (and on {len(where) - 1} other hosts)" if len(where) > 1 else ""),
                f"If {near[0]} is meant, correct it; otherwise give your own variable another name",
                kind="unknown_setting",
                server=where[0],
            )
            for name, where in having.items()
            for near in [_close(name, self.specs, _NEARLY)]
            if near
        ]

    def passphrases(self, host: str) -> list[EsyncError]:
        """What is wrong with the passphrases of a host; none of them is quoted."""
        found = []
        for name in SECRET:
            try:
                value = self.value(host, name, "")
                if not isinstance(value, str):
                    # What was written, such as 0123 or 1e5, is not what is left of it.
                    found.append(
                        EsyncError(
                            f"{name} is no text, because it was read as a number, true or false",
                            "Write it in quotes; in an INI inventory in single quotes within double quotes",
                            kind="bad_passphrase",
                            server=host,
                        )
                    )
                refuse_bad_passphrase(str(value), name, host)
            except EsyncError as error:
                # One that cannot be evaluated is refused where it is needed.
                found += [error] if error.kind == "bad_passphrase" else []
        return found


def mesh_wide(settings: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """The settings that are one value for the whole mesh.

    :param settings: host to its settings.
    :raises EsyncError: kind ``differing_setting``, once for each value that differs, naming two hosts.
    """
    errors = []
    told = []
    found: dict[str, Any] = {}
    said_by: dict[str, str] = {}
    for host, own in settings.items():
        for name in MESH_WIDE:
            if name not in own:
                continue
            if name not in found:
                found[name], said_by[name] = own[name], host
            elif found[name] != own[name] and (name, own[name]) not in told:
                told.append((name, own[name]))
                beside = ", and its default lies beside the inventory of each host" if name in CONTROL_PATHS else ""
                errors.append(
                    EsyncError(
                        f"{name} is {own[name]!r} here and {found[name]!r} on {said_by[name]}; it belongs to the "
                        f"mesh as a whole{beside}",
                        f"Give {name} one value for the whole group, such as -e {name}={found[name]}"
                        if name in CONTROL_PATHS
                        else f"Give {name} one value for the whole group",
                        kind="differing_setting",
                        server=host,
                    )
                )
    raise_all(errors)
    return found


def unreadable(host: str, name: str, cause: str) -> EsyncError:
    """The error for a variable that cannot be used."""
    return EsyncError(f"the variable {name}: {cause}", f"Correct {name} of this host", kind="bad_variable", server=host)


def nearest(name: str, known: Iterable[str]) -> str:
    """A hint at the known name that is nearest, as the end of a sentence; empty if none is near."""
    near = _close(name, known, 0.6)
    return f" (is {near[0]} meant?)" if near else ""


def is_command_line(words: Sequence[str]) -> bool:
    """Whether what should be the words of a command is a line as for a shell: it would be the name of one program."""
    return bool(words) and len(words[0].split()) > 1


def words_of(text: str) -> list[str]:
    """The names in a text with commas."""
    return [word.strip() for word in text.split(",") if word.strip()]


def _close(name: str, known: Iterable[str], least: float) -> list[str]:
    """The known name that is nearest, if one is near; case counts for nothing."""
    forms = {one.lower(): one for one in known}
    return [forms[one] for one in difflib.get_close_matches(name.lower(), list(forms), 1, least)]


def _plain_spec(spec: Mapping[str, Any]) -> dict[str, Any]:
    """A spec of the role for a value that is given. A path is one of a host, so the control node expands nothing."""
    plain = {key: spec[key] for key in ("type", "elements", "choices", "options") if key in spec}
    for key in ("type", "elements"):
        if plain.get(key) == "path":
            plain[key] = "str"
    if "options" in plain:
        plain["options"] = {name: _plain_spec(one) for name, one in plain["options"].items()}
    return plain
