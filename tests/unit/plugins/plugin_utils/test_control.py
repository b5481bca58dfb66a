# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the actions need of Ansible and of the control node."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ansible import constants
from ansible.parsing.dataloader import DataLoader

from ansible_collections.esync.mesh.plugins.module_utils._core.errors import EsyncError
from ansible_collections.esync.mesh.plugins.plugin_utils import _control as control
from ansible_collections.esync.mesh.plugins.plugin_utils._inventory.settings import Reader
from ansible_collections.esync.mesh.plugins.plugin_utils._planning.rotation import LockHolder
from ansible_collections.esync.mesh.plugins.plugin_utils._planning.run import Run

SECRET = "Very-Secret-Passphrase"


class HostVars(dict[str, Any]):
    """As Ansible's, as far as it is read: the variables of every host, not templated."""

    def raw_get(self, host: str) -> Any:
        return self.get(host, {})


def reader(task: Any = None, **hosts: Any) -> Reader:
    """What an action on the host ``a`` reads by. :param task: the variables of the task besides."""
    hostvars = HostVars(
        {name: {"inventory_hostname": name, "inventory_dir": "/inv", **own} for name, own in hosts.items()}
    )
    variables = {**hostvars["a"], **(task or {}), "hostvars": hostvars}
    return control.mesh_reader(DataLoader(), variables)


# -- settings -------------------------------------------------------------------------------------------------------


def test_the_roles_own_defaults_and_specs_are_read() -> None:
    found = reader(a={}, b={})
    settings = found.settings("b")
    assert (settings["esync_server_name"], settings["esync_address"], settings["esync_port"]) == ("b", "b", 8732)
    assert settings["esync_ledger"] == "/inv/.esync-ledger"


def test_what_the_play_sets_is_for_all_and_what_a_host_sets_is_its_own() -> None:
    found = reader({"esync_valid_days": 17}, a={"esync_port": 9000}, b={})
    assert [found.settings(host)["esync_port"] for host in "ab"] == [9000, 8732]
    assert [found.settings(host)["esync_valid_days"] for host in "ab"] == [17, 17]


def test_a_group_that_does_not_exist_is_told_with_the_nearest_name() -> None:
    groups = {"groups": {"esync": ["a", "b"], "empty": []}}
    assert control.hosts_of("esync", groups) == ["a", "b"] and control.hosts_of("empty", groups) == []
    with pytest.raises(EsyncError, match=r"no group esnyc \(is esync meant\?\)") as caught:
        control.hosts_of("esnyc", groups)
    assert caught.value.kind == "empty_group"


def test_what_the_play_spells_wrong_is_noticed_like_what_the_inventory_does() -> None:
    [error] = reader({"esync_prot": 9999, "esync_port": 9000}, a={}, b={}).nearly(["a", "b"])
    assert error.kind == "unknown_setting" and "If esync_port is meant" in str(error)


def test_a_text_with_braces_is_told_by_the_name_of_its_variable() -> None:
    with pytest.raises(EsyncError, match="the variable esync_address: it cannot be evaluated") as caught:
        reader(a={"esync_address": "{{ nothing }}"}).value("a", "esync_address")
    assert caught.value.server == "a"


# -- the strategy ---------------------------------------------------------------------------------------------------


def task_of(strategy: str, direct: bool) -> Any:
    play = SimpleNamespace(strategy=strategy)
    if direct:
        return SimpleNamespace(get_play=lambda: play)
    return SimpleNamespace(_parent=SimpleNamespace(_play=None, _parent=SimpleNamespace(_play=play)))


@pytest.mark.parametrize("direct", [True, False])
@pytest.mark.parametrize("strategy", ["linear", "ansible.builtin.linear", "debug", "mitogen_linear"])
def test_strategies_with_barriers_are_accepted(strategy: str, direct: bool) -> None:
    control.refuse_strategy(task_of(strategy, direct))


@pytest.mark.parametrize("strategy", ["free", "host_pinned", "ansible.builtin.free", "mitogen_free", "my.own.linearly"])
def test_others_are_refused_by_name(strategy: str) -> None:
    with pytest.raises(EsyncError, match=strategy) as caught:
        control.refuse_strategy(task_of(strategy, True))
    assert caught.value.kind == "bad_strategy"


COLLECTION = Path(__file__).resolve().parents[4]


@pytest.mark.parametrize(
    ("path", "ours"),
    [
        (COLLECTION / "playbooks" / "establish.yml", True),
        (COLLECTION / "playbooks" / "collections" / "own.yml", False),
        (COLLECTION / "roles" / "own.yml", False),
        ("/srv/own.yml", False),
        ("", False),
    ],
)
def test_which_playbooks_are_ours(path: Any, ours: bool) -> None:
    play = SimpleNamespace(get_path=lambda: f"{path}:7" if path else "")
    assert control.is_our_playbook(SimpleNamespace(get_play=lambda: play)) is ours


# -- tasks that are left out ----------------------------------------------------------------------------------------


def selected(only: Any = ("all",), skipped: Any = (), own: Any = ("always",), plays: Any = ()) -> None:
    """A run with tags, as the task that validates sees it. :param own: its tags, with those of the play."""
    play = SimpleNamespace(only_tags=set(only), skip_tags=set(skipped), tags=list(plays))
    control.refuse_selection(SimpleNamespace(tags=[*own, *plays], get_play=lambda: play), {})


@pytest.mark.parametrize(
    "run",
    [
        {},
        {"only": ["nginx", "untagged"]},
        {"skipped": ["always", "nginx"]},
        {"skipped": ["tagged"]},
        # In plays of users.
        {"only": ["mesh"], "own": ["mesh", "always"]},
        {"only": ["nginx"], "own": [], "plays": ["always"]},
    ],
)
def test_tags_that_leave_out_nothing_are_accepted(run: dict[str, Any]) -> None:
    selected(**run)


@pytest.mark.parametrize(
    ("run", "option"),
    [
        ({"only": ["trust"]}, "--tags trust "),
        ({"only": ["tagged"]}, "--tags tagged "),
        ({"only": ["always"]}, "--tags always "),
        ({"skipped": ["untagged", "b"]}, "--skip-tags b,untagged "),
        ({"skipped": ["all"]}, "--skip-tags all "),
        ({"only": ["nginx"], "own": ["mesh", "always"]}, "--tags nginx "),
    ],
)
def test_tags_that_leave_out_what_follows_are_refused_by_their_option(run: dict[str, Any], option: str) -> None:
    with pytest.raises(EsyncError, match=option) as caught:
        selected(**run)
    assert caught.value.kind == "left_out"


@pytest.mark.parametrize("variables", [{}, {"p": None}, {"p": {"skipped": True}}, {"p": {"failed": True}}])
def test_a_plan_that_was_left_out_is_missed_by_that_name(variables: dict[str, Any]) -> None:
    assert control.plan_of({"p": {"state": {}}}, "p") == {"state": {}}
    with pytest.raises(EsyncError, match="the task that plans the first stage was left out") as caught:
        control.plan_of(variables, "p")
    assert caught.value.kind == "left_out"


# -- what Ansible would show ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("setting", ["DEFAULT_DEBUG", "DEFAULT_KEEP_REMOTE_FILES"])
def test_a_passphrase_and_what_shows_arguments_do_not_go_together(monkeypatch: Any, setting: str) -> None:
    before = constants.config.get_config_value
    monkeypatch.setattr(
        constants.config, "get_config_value", lambda name, *more, **rest: name == setting or before(name, *more, **rest)
    )
    control.refuse_debugging(reader(a={}, b={}), ["a", "b"])
    with pytest.raises(EsyncError) as caught:
        control.refuse_debugging(reader(a={}, b={"esync_pfx_passphrase": SECRET}), ["a", "b"])
    assert caught.value.kind == "debugging" and SECRET not in str(caught.value)


# -- what came back -------------------------------------------------------------------------------------------------


def test_only_results_of_the_stage_that_was_count() -> None:
    result = {"stage": "verify 0", "state": "ok", "steps": [{"step": "endpoint"}], "errors": []}
    hostvars = HostVars(
        a={"v": result},
        b={"v": {**result, "stage": "establish 0"}},
        c={"v": {"unreachable": True, "msg": "x"}},
        d={"v": {"failed": True, "msg": "x"}},
        e={},
        f={"v": {**result, "state": "failed", "steps": [], "errors": [{"kind": "x"}]}},
        g={"v": result},
    )
    before = {"stage": "verify 0", "visits": dict.fromkeys("abcdef", {})}
    found = control.visited(before, {"hostvars": hostvars}, "v")
    states = {host: one.state for host, one in found.items()}
    assert states == {"a": "ok", "b": "failed", "c": "unreachable", "d": "failed", "e": "failed", "f": "failed"}
    assert found["a"].results == [{"step": "endpoint"}] and found["f"].errors == [{"kind": "x"}]
    assert control.visited({}, {"hostvars": hostvars}, "v") == {}


# -- this process ---------------------------------------------------------------------------------------------------


def test_this_process_holds_locks_and_the_time_is_utc() -> None:
    node = control.control_node()
    assert node.holder.pid == os.getppid() and node.alive(node.holder)
    assert LockHolder.parse(str(node.holder)) == node.holder
    assert abs(time.time() - calendar_of(node.now)) < 5


def calendar_of(text: str) -> float:
    return time.mktime(time.strptime(text, "%Y-%m-%dT%H:%M:%SZ")) - time.timezone


def test_a_process_that_ended_and_another_with_its_number_are_told_apart() -> None:
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    node = control.control_node()
    started = control._started(child.pid)
    assert started is not None
    holder = LockHolder(node.holder.place, child.pid, started)
    assert node.alive(holder)
    assert not node.alive(LockHolder(holder.place, holder.pid, holder.started + 1))
    child.communicate(b"\n")
    assert not node.alive(holder)


def test_a_user_without_an_entry_in_passwd_can_run_it_too(monkeypatch: Any) -> None:
    def nobody() -> str:
        raise KeyError("getpwuid(): uid not found: 4711")

    monkeypatch.setattr(control.getpass, "getuser", nobody)
    assert control.control_node().holder.place.startswith(f"uid {os.getuid()}@")


def test_a_mesh_is_named_by_its_group_and_inventory() -> None:
    assert (
        control.mesh_name("esync", {"inventory_file": "/inv/prod/hosts.yml", "inventory_dir": "/inv/prod"})
        == "esync of hosts.yml"
    )
    assert control.mesh_name("esync", {"inventory_dir": "/inv/prod"}) == "esync of prod"
    assert control.mesh_name("esync", {}) == "esync of the inventory"


# -- who is in the play, and where things are kept ------------------------------------------------------------------


def test_the_group_is_what_its_members_say_also_if_the_first_host_is_none() -> None:
    found = reader(x={}, a={"esync_group": "mesh"}, b={"esync_group": "mesh"})
    groups = {"mesh": ["a", "b"], "esync": []}
    task = {"inventory_hostname": "x", "groups": groups, "ansible_play_hosts_all": ["x", "a", "b"]}
    assert control.mesh_group(found, task) == "mesh"
    assert control.mesh_group(found, {**task, "ansible_play_hosts_all": ["x"]}) == "esync"


@pytest.mark.parametrize("none", [None, "None"])
def test_an_inventory_without_a_folder_has_its_things_in_the_current_one(none: Any, monkeypatch: Any) -> None:
    monkeypatch.chdir("/usr")
    found = reader(a={"inventory_dir": none}, b={"inventory_dir": none})
    ledger = found.settings("b")["esync_ledger"]
    assert os.path.dirname(ledger) == "/usr"
    assert control.mesh_name("esync", {"inventory_dir": none}) == "esync of the inventory"
    folders = {"esync_ledger": ledger, "esync_report_directory": "/srv/report"}
    run = Run("verify", folders, {})
    control.say_folders(run, {"inventory_dir": none})
    assert f"{ledger} (esync_ledger)" in run.said[0]
    control.say_folders(run, {"inventory_dir": "/inv"})
    assert len(run.said) == 1


def test_what_ended_the_part_of_a_server_is_said_also_where_the_run_ends_for_all(tmp_path: Any, capsys: Any) -> None:
    run = Run("regenerate", {"esync_ledger": str(tmp_path / "ledger")}, {})
    with pytest.raises(EsyncError), control.with_ledger(run):
        run.failures.append("c distrusts certificates that the ledger does not know.")
        raise EsyncError("it could not be reached", "Bring it back", kind="offline", server="c")
    assert "c distrusts certificates" in "".join(capsys.readouterr())


# -- the commands of a report ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "options"),
    [
        ({}, "-i hosts.yml"),
        ({"become_ask_pass": True, "ask_vault_pass": True}, "-i hosts.yml --ask-become-pass --ask-vault-pass"),
        ({"vault_password_files": ["{here}/pass word"]}, "-i hosts.yml --vault-password-file 'pass word'"),
        ({"vault_ids": ["prod@prompt"]}, "-i hosts.yml --vault-id prod@prompt"),
    ],
)
def test_commands_have_the_inventory_and_what_asks_for_passwords(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, given: Any, options: str
) -> None:
    monkeypatch.chdir(tmp_path)
    filled = {
        key: [one.format(here=tmp_path) for one in value] if value != [] and isinstance(value, list) else value
        for key, value in given.items()
    }
    monkeypatch.setattr(control.context, "CLIARGS", filled)
    variables = {"ansible_inventory_sources": [f"{tmp_path}/hosts.yml"]}
    assert control.command_options("esync", variables) == options


def test_commands_name_a_group_that_is_not_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control.context, "CLIARGS", {})
    variables = {"ansible_inventory_sources": ["/srv/eu.yml", "a,b,"]}
    assert control.command_options("mesh", variables) == "-i /srv/eu.yml -i a,b, -e esync_group=mesh"
