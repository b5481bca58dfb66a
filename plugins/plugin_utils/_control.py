# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the actions need of Ansible and of the control node: variables, the strategy, the ledger, this process."""

from __future__ import annotations

import contextlib
import getpass
import os
import shlex
import socket
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ansible import constants as C
from ansible import context
from ansible.errors import AnsibleError
from ansible.playbook.taggable import Taggable
from ansible.template import Templar

from ansible_collections.esync.mesh.plugins.module_utils._core.errors import EsyncError, raise_all
from ansible_collections.esync.mesh.plugins.plugin_utils._action import plain, show
from ansible_collections.esync.mesh.plugins.plugin_utils._inventory.settings import Reader, may_be_meant, nearest
from ansible_collections.esync.mesh.plugins.plugin_utils._ledger.control_files import refuse_unwritable
from ansible_collections.esync.mesh.plugins.plugin_utils._ledger.records import Ledger, LedgerRecord
from ansible_collections.esync.mesh.plugins.plugin_utils._planning.engine import Visited
from ansible_collections.esync.mesh.plugins.plugin_utils._planning.rotation import LockHolder
from ansible_collections.esync.mesh.plugins.plugin_utils._planning.run import Control, Run

_ROLE = Path(__file__).resolve().parents[2] / "roles" / "esync"
_BARRIERS = ("linear", "debug", "mitogen_linear")


def mesh_reader(loader: Any, variables: Mapping[str, Any]) -> Reader:
    """The reader of the settings of all hosts.

    :param loader: Ansible's. :param variables: those of a task, on whichever host it runs.
    """
    known: dict[str, Any] = {}
    for entry in plain(_load(loader, _ROLE / "meta" / "argument_specs.yml"))["argument_specs"].values():
        known.update(entry.get("options") or {})
    defaults = _load(loader, _ROLE / "defaults" / "main.yml")
    hostvars = variables["hostvars"]

    def raw(host: str) -> Mapping[str, Any]:
        found = _variables_of(host, hostvars)
        # What lies beside the inventory lies in the current folder if the inventory is no file (-i a,b,).
        return found if has_folder(found) or "inventory_dir" not in found else {**found, "inventory_dir": os.getcwd()}

    own = _variables_of(str(variables["inventory_hostname"]), hostvars)
    # What the task sees, and neither the inventory nor the defaults say, comes from the play or the role's call.
    run_wide = {
        name: variables[name]
        for name in variables
        # With those that are no setting, one of which may be a setting that is not spelled right.
        if may_be_meant(str(name)) and variables[name] != own.get(name, defaults.get(name))
    }

    def template(value: Any, context: Mapping[str, Any]) -> Any:
        return plain(Templar(loader=loader, variables={**context, "hostvars": hostvars}).template(value))

    return Reader(known, defaults, run_wide, raw, template)


def _variables_of(host: str, hostvars: Any) -> Mapping[str, Any]:
    """The variables of a host as they are written.

    :raises EsyncError: kind ``bad_inventory``: Ansible cannot read them. What it says of that can quote them.
    """
    try:
        found: Mapping[str, Any] = hostvars.raw_get(host)
    except AnsibleError:
        raise EsyncError(
            f"Ansible cannot read the variables of {host} in the inventory",
            "If they are encrypted, give the password of the vault (--ask-vault-pass, or --vault-password-file FILE); "
            f"otherwise see what is wrong with them: ansible-inventory -i INVENTORY --host {host}",
            kind="bad_inventory",
            server=host,
        ) from None
    return found


def has_folder(variables: Mapping[str, Any]) -> bool:
    """Whether the inventory is a file or folder. Newer versions of Ansible make a text of what is none."""
    return variables.get("inventory_dir") not in (None, "", "None")


def inventory_variables(host: str, variables: Mapping[str, Any]) -> Mapping[str, Any]:
    """The variables that say which inventory a host is from; an implicit localhost, which runs the plan, is from none.

    :param variables: those of a task, on whichever host it runs.
    """
    return _variables_of(host, variables["hostvars"])


def say_folders(run: Run, variables: Mapping[str, Any]) -> None:
    """Say where things are kept if no inventory's folder says it. :param variables: those of a member."""
    here = {name: str(run.mesh[name]) for name in ("esync_ledger", "esync_report_directory")}
    if not has_folder(variables) and any(os.path.dirname(place) == os.getcwd() for place in here.values()):
        places = " and ".join(f"{place} ({name})" for name, place in here.items())
        run.say(f"The inventory is no file, so what lies beside it is in the current folder: {places}.")


def hosts_of(group: str, variables: Mapping[str, Any]) -> list[str]:
    """The hosts of an inventory group.

    :raises EsyncError: kind ``empty_group``: there is no such group, with the nearest name.
    """
    groups = variables["groups"]
    if group not in groups:
        raise EsyncError(
            f"the inventory has no group {group}{nearest(group, groups)}, so there is no mesh",
            "List its servers in the inventory, or name another group in esync_group",
            kind="empty_group",
        )
    return [str(host) for host in groups[group]]


def mesh_group(reader: Reader, variables: Mapping[str, Any]) -> str:
    """The inventory group of the mesh, as its own members say it.

    A play of the user's can have hosts that are no members, and one of them may be the first.
    """
    first = str(variables["inventory_hostname"])
    for host in dict.fromkeys([first, *map(str, variables.get("ansible_play_hosts_all") or ())]):
        group = str(reader.value(host, "esync_group"))
        if host in variables["groups"].get(group, ()):
            return group
    return str(reader.value(first, "esync_group"))


def mesh_name(group: str, variables: Mapping[str, Any]) -> str:
    """The mesh for people: ``<group> of <inventory>``. :param variables: those of a member."""
    source = variables.get("inventory_file") or variables["inventory_dir"] if has_folder(variables) else "the inventory"
    return f"{group} of {Path(str(source)).name}"


def command_options(group: str, variables: Mapping[str, Any]) -> str:
    """The options of this run that the commands of its report need, as a shell reads them.

    :param variables: those of a task.
    """
    found: list[str] = []
    for source in variables.get("ansible_inventory_sources") or ():
        found += ["-i", _from_here(str(source))]
    for option, name in _ASKING.items():
        found += [option] if context.CLIARGS.get(name) else []
    for option, name in _NAMING.items():
        values = context.CLIARGS.get(name) or ()
        for value in [values] if isinstance(values, str) else values:
            found += [option, _from_here(str(value))]
    if group != "esync":
        found += ["-e", f"esync_group={group}"]
    return " ".join(map(shlex.quote, found))


_ASKING = {"--ask-become-pass": "become_ask_pass", "--ask-vault-pass": "ask_vault_pass"}
_NAMING = {"--vault-id": "vault_ids", "--vault-password-file": "vault_password_files"}
"""Options to their names in what Ansible keeps of its command line. No value of them is secret."""


def _from_here(place: str) -> str:
    """A path as somebody in this folder would type it, if it is one below it."""
    here = os.getcwd() + os.sep
    return place[len(here) :] if place.startswith(here) else place


def _load(loader: Any, path: Path) -> dict[str, Any]:
    try:
        return dict(loader.load_from_file(str(path), trusted_as_template=True))
    except TypeError:  # before ansible-core 2.19 every text is a template
        return dict(loader.load_from_file(str(path)))


def refuse_strategy(task: Any) -> None:
    """Refuse a strategy without barriers: every stage has to end on all hosts before the next one begins.

    :raises EsyncError: kind ``bad_strategy``.
    """
    strategy = str(_play_of(task).strategy)
    if strategy.rpartition(".")[2] not in _BARRIERS:
        raise EsyncError(
            f"the strategy {strategy} lets hosts run ahead of each other, and every stage has to end on all of them "
            "before the next one begins",
            "Use the strategy linear for this play (strategy: linear, or ANSIBLE_STRATEGY=linear)",
            kind="bad_strategy",
        )


def refuse_selection(task: Any, variables: Mapping[str, Any]) -> None:
    """Refuse a run of one of our playbooks whose tags leave out its tasks, which have none.

    The task that asks has the tag ``always`` there, so that it runs with any tags. In a play of the user's it may
    have others; those count, and so do the play's.

    :raises EsyncError: kind ``left_out``.
    """
    refuse_steps()
    play = _play_of(task)
    rest: Any = _Tagged([tag for tag in task.tags if tag != "always"] + list(play.tags))

    def left_out(only: Any, skipped: Any) -> bool:
        return not Taggable.evaluate_tags(rest, only, skipped, dict(variables))

    for option, given, out in (
        ("--tags", play.only_tags, left_out(play.only_tags, ())),
        ("--skip-tags", play.skip_tags, left_out((), play.skip_tags)),
    ):
        if out:
            raise EsyncError(
                f"{option} {','.join(sorted(map(str, given)))} leaves out what this playbook is for: its tasks have no "
                "tags, because a mesh is changed and proved by all of them or by none",
                f"Run it without {option}; to do something else, run another playbook",
                kind="left_out",
            )


def is_our_playbook(task: Any) -> bool:
    """Whether a task belongs to a playbook of this collection, which has nothing but the role."""
    path = str(_play_of(task).get_path() or "").rpartition(":")[0]
    return bool(path) and Path(path).resolve().parent == _ROLE.parents[1] / "playbooks"


class _Tagged:
    """What Ansible's own rule is asked about: something with tags, above which nothing is."""

    untagged = Taggable.untagged
    _loader = None

    def __init__(self, tags: Sequence[str]) -> None:
        self.tags = tags

    def _get_all_taggable_objects(self) -> Sequence[Any]:
        return ()


def refuse_steps() -> None:
    """Refuse a run in which somebody is asked before every task whether it is left out.

    :raises EsyncError: kind ``left_out``.
    """
    if context.CLIARGS.get("step"):
        raise EsyncError(
            "with --step each task can be left out, and the stages of a run build on each other",
            "Run without --step; --check --diff shows what a run would do",
            kind="left_out",
        )


def plan_of(variables: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """What mesh_plan returned for the stage that is under way.

    :param variables: those of a task. :param name: under which it was registered.
    :raises EsyncError: kind ``left_out``: the task that plans the first stage did not run.
    """
    refuse_steps()
    plan = variables.get(name)
    if not isinstance(plan, Mapping) or "state" not in plan:
        raise EsyncError(
            "there is no plan, because the task that plans the first stage was left out",
            "Run all tasks, from the first one on: without --start-at-task, --tags and --skip-tags",
            kind="left_out",
        )
    return plan


def _play_of(task: Any) -> Any:
    if hasattr(task, "get_play"):
        return task.get_play()
    parent = task._parent
    while getattr(parent, "_play", None) is None:
        parent = parent._parent
    return parent._play


_DEBUGGING = {
    "DEFAULT_DEBUG": "ANSIBLE_DEBUG prints whatever modules return and are given",
    "DEFAULT_KEEP_REMOTE_FILES": "ANSIBLE_KEEP_REMOTE_FILES leaves whatever modules are given in files on the hosts",
}


def refuse_debugging(reader: Reader, hosts: Sequence[str]) -> None:
    """Refuse what makes Ansible show or keep the arguments of every module, secret ones too.

    :raises EsyncError: kind ``debugging``.
    """
    if not any("esync_pfx_passphrase" in reader.variables(host) for host in hosts):
        return
    for setting, what in _DEBUGGING.items():
        if C.config.get_config_value(setting):
            raise EsyncError(
                f"{what}, and esync_pfx_passphrase is given to them",
                f"Run without {what.partition(' ')[0]}",
                kind="debugging",
            )


def visited(before: Mapping[str, Any], variables: Mapping[str, Any], name: str) -> dict[str, Visited]:
    """What came back from the visits of the last stage.

    :param before: what mesh_plan returned for that stage; empty: there was none.
    :param variables: those of a task. :param name: under which the visit was registered.
    """
    found = {}
    for host in before.get("visits") or {}:
        result = variables["hostvars"].raw_get(host).get(name) or {}
        if result.get("unreachable"):
            found[host] = Visited("unreachable")
        elif result.get("stage") == before["stage"]:
            found[host] = Visited(str(result["state"]), plain(result["steps"]), plain(result["errors"]))
        else:
            # A visit that Ansible itself ended has no result of ours.
            found[host] = Visited("failed")
    return found


def refuse_unwritable_folders(run: Run) -> None:
    """Refuse folders of the control node that cannot be written, before any host is touched.

    :raises EsyncError: kind ``control_node_file``, of each.
    """
    if run.check:
        return
    errors = []
    # A mere test shows its verdict all the same.
    reports = run.report_mode and run.operation not in ("verify", "check")
    for setting in ("esync_ledger", *(("esync_report_directory",) if reports else ())):
        try:
            refuse_unwritable(Path(run.mesh[setting]), setting)
        except EsyncError as error:
            errors.append(error)
    raise_all(errors)


@contextlib.contextmanager
def with_ledger(run: Run) -> Iterator[dict[str, LedgerRecord]]:
    """Let a stage of a run be planned from the ledger, whose lock is held, and write there what the stage recorded.

    In check mode nothing is written, and no lock is taken.

    :returns: what the ledger had before: name to record.
    """
    run.control = control_node()
    ledger = Ledger(Path(run.mesh["esync_ledger"]))
    with contextlib.nullcontext() if run.check else ledger.lock():
        known = {record.name: record for record in ledger.read_all()}
        run.ledger = dict(known)
        try:
            yield known
        except EsyncError:
            # It may only follow from what ended the part of a single server before.
            show([*run.said, *run.failures])
            raise
        for record in run.written.values() if not run.check else ():
            ledger.write(record)


def control_node() -> Control:
    """This process, and the time."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a user without an entry in passwd, as in containers
        user = f"uid {os.getuid()}"
    pid = os.getppid()
    return Control(
        LockHolder(f"{user}@{socket.gethostname()}", pid, _started(pid) or 0),
        lambda holder: _started(holder.pid) == holder.started,
        time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    )


def _started(pid: int) -> int | None:
    """When a process of this node started, in clock ticks since boot; None if there is none (proc(5), field 22)."""
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as stream:
            return int(stream.read().rpartition(")")[2].split()[19])
    except (OSError, IndexError, ValueError):
        return None
