# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The settings of hosts, by the role's own specs and defaults."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from ansible_collections.esync.mesh.plugins.module_utils._core.errors import EsyncError, EsyncErrors
from ansible_collections.esync.mesh.plugins.plugin_utils._inventory.settings import (
    COMMANDS,
    MESH_WIDE,
    SECRET,
    Reader,
    mesh_wide,
    nearest,
)

ROLE = Path(__file__).resolve().parents[5] / "roles" / "esync"
SPECS: dict[str, Any] = {
    name: spec
    for entry in yaml.safe_load((ROLE / "meta" / "argument_specs.yml").read_text())["argument_specs"].values()
    for name, spec in (entry.get("options") or {}).items()
}
DEFAULTS: dict[str, Any] = yaml.safe_load((ROLE / "defaults" / "main.yml").read_text())
SECRET_TEXT = "Very-Secret-Passphrase"
BUILT_IN = {"inventory_hostname": "a", "inventory_dir": "/inv", "playbook_dir": "/books"}


def template(value: Any, variables: Any) -> Any:
    """A little of Jinja: ``{{ name }}``, and the role's own defaults; an unknown name fails with a text that leaks."""
    if isinstance(value, dict):
        return {key: template(one, variables) for key, one in value.items()}
    if isinstance(value, list):
        return [template(one, variables) for one in value]
    if not isinstance(value, str) or "{{" not in value:
        return value
    if value in DEFAULTS.values():
        return "::" if value == DEFAULTS["esync_listen_address"] else "a"
    if "undefined" in value:
        return value  # as before ansible-core 2.19
    names = re.findall(r"{{ (\w+) }}", value)
    if not names:
        raise ValueError(f"cannot evaluate {value} with {variables}")
    found = template(variables[names[0]], variables)
    return found if value == f"{{{{ {names[0]} }}}}" else re.sub(r"{{ \w+ }}", str(found), value)


def reader(run_wide: Any = None, **hosts: Any) -> Reader:
    """``reader(a={...})``: a reader of the hosts' own variables."""
    return Reader(SPECS, DEFAULTS, run_wide or {}, lambda host: {**BUILT_IN, **hosts[host]}, template)


def read(**own: Any) -> dict[str, Any]:
    return reader(a=own).settings("a")


def refused(**own: Any) -> EsyncError:
    with pytest.raises(EsyncError) as caught:
        read(**own)
    return caught.value


def test_everything_with_a_default_is_there_and_has_its_type() -> None:
    found = read()
    assert set(found) == set(DEFAULTS) & set(SPECS)
    types = {"str": str, "int": int, "float": float, "bool": bool, "list": list, "dict": dict, "path": str}
    wrong = [name for name, value in found.items() if not isinstance(value, types.get(SPECS[name]["type"], object))]
    assert wrong == []
    assert "esync_file_group" not in found


EXAMPLES: dict[str, tuple[Any, Any]] = {
    "int": ("17", 17),
    "float": ("1.5", 1.5),
    "bool": ("yes", True),
    "str": (17, "17"),
    "path": ("/x/~/y", "/x/~/y"),
}


@pytest.mark.parametrize("name", sorted(name for name in SPECS if name not in SECRET))
def test_every_setting_is_converted_to_its_type_or_refused_by_name(name: str) -> None:
    spec = SPECS[name]
    kind = spec["type"]
    if "choices" in spec and kind != "list":
        assert read(**{name: spec["choices"][-1]})[name] == spec["choices"][-1]
        bad: Any = "neither of them"
    elif kind in EXAMPLES:
        given, typed = EXAMPLES[kind]
        assert read(**{name: given})[name] == typed
        bad = {"x": []} if kind in ("int", "float", "bool") else None
    elif kind == "list":
        bad = {"x": 1}
        if spec.get("elements") != "dict":
            words = spec.get("choices", ["one", "two"])[:2]
            assert read(**{name: " , ".join(words)})[name] == words
            assert read(**{name: words})[name] == words
    elif kind == "dict":
        bad = "text"
    else:
        assert kind == "raw"
        assert read(**{name: ["x", 1]})[name] == ["x", 1]
        return
    if bad is not None:
        error = refused(**{name: bad})
        assert (error.kind, error.server) == ("bad_variable", "a") and name in str(error)


TEXTS = [name for name, spec in SPECS.items() if spec["type"] == "list" and spec["elements"] != "dict"]


@pytest.mark.parametrize("name", TEXTS)
@pytest.mark.parametrize("written", ["{0},{1}", " {0} , {1} ", "{0},{1},", ",{0},, {1} ,", "{0}\n,\t{1}"])
def test_every_list_is_also_a_text_with_commas(name: str, written: str) -> None:
    """Also with spaces, a comma at the end and line breaks; and where a template holds the text."""
    words = [str(one) for one in (SPECS[name].get("choices") or ["/one", "/two"])[:2]]
    assert read(**{name: words})[name] == words
    assert read(**{name: written.format(*words)})[name] == words
    assert read(**{name: "{{ mine }}", "mine": written.format(*words)})[name] == words
    assert read(**{name: f" {words[0]} ,"})[name] == words[:1] == read(**{name: words[0]})[name]
    assert read(**{name: ""})[name] == [] == read(**{name: " , "})[name]


def test_the_lists_are_all_there() -> None:
    assert {"esync_remove", "esync_web_roots", "esync_formats", "esync_reload_command", "esync_gate_peers"} <= {*TEXTS}
    assert {*COMMANDS} == {name for name in TEXTS if name.endswith("_command")}


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_line_is_no_list_of_words(name: str) -> None:
    error = refused(**{name: "systemctl reload rsync"})
    assert name in str(error) and "'systemctl, reload, rsync'" in str(error)
    assert read(**{name: "systemctl, reload, rsync"})[name] == ["systemctl", "reload", "rsync"]
    assert read(**{name: "sh, -c, cp x y"})[name] == ["sh", "-c", "cp x y"]


def test_paths_of_hosts_are_not_those_of_the_control_node(monkeypatch: Any) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    monkeypatch.setenv("PLACE", "here")
    found = read(esync_directory="~/esync", esync_web_roots=["~/www"], esync_ledger="~/$PLACE/ledger")
    assert (found["esync_directory"], found["esync_web_roots"]) == ("~/esync", ["~/www"])
    assert found["esync_ledger"] == "/home/me/here/ledger"


def test_parts_of_a_setting_are_validated_too() -> None:
    cluster = {"name": "web", "address": "lb", "port": "8000"}
    assert read(esync_cluster=cluster)["esync_cluster"]["port"] == 8000
    assert "port" in str(refused(esync_cluster={**cluster, "port": "many"}))
    assert "members" in str(refused(esync_cluster={**cluster, "members": ["a"]}))


def test_everything_that_is_wrong_is_told_at_once() -> None:
    error = refused(esync_port="many", esync_valid_days=[], esync_offline="later")
    text = str(error)
    assert all(name in text for name in ("esync_port", "esync_valid_days", "esync_offline"))


@pytest.mark.parametrize("value", ["{{ 1 / 0 }}", "{{ undefined }}", "{{ nothing }}", "{% undefined %}{{ x"])
def test_a_template_that_fails_is_told_by_name_and_leaks_nothing(value: str) -> None:
    error = refused(esync_address=value, esync_pfx_passphrase=SECRET_TEXT)
    assert error.kind == "bad_variable" and "esync_address" in str(error) and "cannot be evaluated" in str(error)
    assert SECRET_TEXT not in str(error) and error.__cause__ is None


def test_a_setting_without_a_value_is_refused() -> None:
    assert "it has no value" in str(refused(esync_port=None))


@pytest.mark.parametrize("name", SECRET)
def test_what_is_secret_is_never_among_the_settings(name: str) -> None:
    assert name in SPECS
    assert SECRET_TEXT not in repr(read(**{name: SECRET_TEXT}))
    # Nor is it looked at, so nothing is told of it.
    assert name not in read(**{name: "{{ nothing }}"})
    assert reader(a={name: SECRET_TEXT}).value("a", name) == SECRET_TEXT


def typing_errors(name: str) -> set[str]:
    """Two letters exchanged, one missing, one twice, capitals: behind the prefix, and in it."""
    place = len(name) - 3
    return {
        name[:place] + name[place + 1] + name[place] + name[place + 2 :],
        name[:place] + name[place + 1 :],
        name[:place] + name[place] + name[place:],
        name.upper(),
        name.title(),
        "eSync" + name[5:],
        "esnyc" + name[5:],
    } - {name}


@pytest.mark.parametrize("name", SPECS)
def test_a_typing_error_in_any_setting_is_refused_with_the_one_that_is_meant(name: str) -> None:
    for wrong in sorted(typing_errors(name) - {*SPECS}):
        [error] = reader(a={wrong: 1}, b={}).nearly(["a", "b"])
        assert (error.kind, error.server) == ("unknown_setting", "a"), wrong
        assert f"{wrong} is no setting" in str(error) and f"If {name} is meant" in str(error)


@pytest.mark.parametrize(
    "name",
    [
        "esync_local_root",
        "esync_",
        "esync_backup_window",
        "other_port",
        "esync_port",
        "sync_port",
        "resync_port",
        "esyn",
    ],
)
def test_variables_of_ones_own_are_kept(name: str) -> None:
    assert reader(a={name: 1, 5: 6}).nearly(["a"]) == []  # type: ignore[dict-item]


def test_what_the_play_sets_counts_for_every_host_and_before_the_inventory() -> None:
    hosts: Any = {"a": {"esync_port": 1}, "b": {"esync_port": 2}, "c": {}}
    over = reader({"esync_port": 9}, **hosts)
    assert [over.settings(host)["esync_port"] for host in "abc"] == [9, 9, 9]
    assert [reader(**hosts).settings(host)["esync_port"] for host in "abc"] == [1, 2, DEFAULTS["esync_port"]]


def test_a_variable_that_is_not_set_has_the_default_that_is_asked_for() -> None:
    assert reader(a={}).value("a", "ansible_host", "x") == "x"


# -- the mesh as a whole --------------------------------------------------------------------------------------------


def test_everything_that_belongs_to_the_mesh_is_a_setting() -> None:
    assert set(MESH_WIDE) <= set(SPECS)


@pytest.mark.parametrize("name", MESH_WIDE)
def test_a_setting_of_the_mesh_has_one_value(name: str) -> None:
    same = {host: {name: ["x"], "esync_port": port} for port, host in enumerate("abc")}
    assert mesh_wide(same) == {name: ["x"]}
    with pytest.raises(EsyncError, match=f"{name} is 'y' here and .'x'. on a") as caught:
        mesh_wide({**same, "c": {name: "y"}})
    assert (caught.value.kind, caught.value.server) == ("differing_setting", "c")


def test_each_value_that_differs_is_told_once() -> None:
    with pytest.raises(EsyncErrors) as caught:
        mesh_wide({host: {"esync_ledger": value} for host, value in zip("abcde", ["/1", "/1", "/2", "/2", "/3"])})
    assert [error.server for error in caught.value.errors] == ["c", "e"]
    assert "lies beside the inventory of each host" in str(caught.value) and "-e esync_ledger=/1" in str(caught.value)


def test_a_name_in_other_letters_is_near() -> None:
    assert nearest("DELTA", ["alpha", "delta"]) == " (is delta meant?)"


def test_the_nearest_name_is_a_hint_or_nothing() -> None:
    assert nearest("alpa", ["alpha", "beta"]) == " (is alpha meant?)"
    assert nearest("x", ["alpha", "beta"]) == ""


@pytest.mark.parametrize("name", sorted(set(SPECS) - set(DEFAULTS) - set(SECRET)))
def test_null_takes_back_what_a_group_sets_if_there_is_no_default(name: str) -> None:
    assert name not in read(**{name: None})
    assert reader(a={name: None}).value("a", name, "none") == "none"


@pytest.mark.parametrize("name", sorted({*DEFAULTS, *SECRET}))
def test_nothing_else_can_be_taken_back(name: str) -> None:
    with pytest.raises(EsyncError, match="it has no value"):
        reader(a={name: None}).value("a", name)


def test_a_key_size_is_a_number() -> None:
    assert read(esync_key_size="384")["esync_key_size"] == 384
    assert "esync_key_size" in str(refused(esync_key_size=""))
