# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The mesh as the inventory describes it."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.esync.mesh.plugins.module_utils._core.errors import EsyncError, EsyncErrors
from ansible_collections.esync.mesh.plugins.plugin_utils._inventory.reading import MeshRead, member_facts, read_mesh
from ansible_collections.esync.mesh.plugins.plugin_utils._inventory.setting_values import LEAST

from .test_settings import BUILT_IN, DEFAULTS, SPECS, Reader, template

SECRET = "Very-Secret-Passphrase"


def mesh(others: Any = (), **hosts: Any) -> MeshRead:
    """``mesh(a={...}, b={...})``: what is read of these hosts; ``others`` are no members."""
    own = {
        host: {
            **BUILT_IN,
            "inventory_hostname": host,
            "esync_server_name": host,
            "esync_address": f"{host}.example",
            **one,
        }
        for host, one in hosts.items()
    }
    reader = Reader(SPECS, DEFAULTS, {}, own.__getitem__, template)
    return read_mesh(reader, "esync", [host for host in own if host not in others], others)


def refused(**hosts: Any) -> tuple[set[tuple[str | None, str]], str]:
    with pytest.raises(EsyncError) as caught:
        mesh(**hosts)
    errors = caught.value.errors if isinstance(caught.value, EsyncErrors) else (caught.value,)
    return {(error.server, error.kind) for error in errors}, str(caught.value)


def test_members_are_sorted_by_name_and_carry_their_settings() -> None:
    read = mesh(b={"esync_server_name": "alpha"}, a={"esync_server_name": "beta", "esync_port": "9000"})
    assert [(one.name, one.host, one.port) for one in read.members] == [("alpha", "b", 8732), ("beta", "a", 9000)]
    assert read.settings["a"]["esync_port"] == 9000 and set(read.settings) == {"a", "b"}
    assert read.mesh["esync_offline"] == "stop" and "esync_port" not in read.mesh
    assert (read.leaving, read.discarding, read.clusters) == ((), (), ())


def test_a_member_with_services_is_called_on_each_and_known_to_other_meshes_by_its_port() -> None:
    read = mesh(a={"esync_services": [{"name": "db", "port": "5432", "protocol": "postgresql"}]}, b={})
    facts = member_facts(read.members[0])
    assert [(one["name"], one["port"], one["attached"]) for one in facts["sites"]] == [
        ("esync", 8732, False),
        ("db", 5432, True),
    ]
    assert facts["port"] == 8732


def test_what_is_wrong_anywhere_is_told_at_once() -> None:
    found, text = refused(
        a={"esync_port": "many"},
        b={"esync_prot": 1},
        c={"esync_address": "{{ nothing }}"},
        d={},
        e={"esync_server_name": "-e"},
        f={"esync_cluster": {"name": "web"}},
    )
    assert found == {
        ("a", "bad_variable"),
        ("b", "unknown_setting"),
        ("c", "bad_variable"),
        ("e", "bad_name"),
        ("f", "bad_variable"),
    }
    assert "it must have a name and an address" in text


def test_a_variable_that_is_nearly_a_setting_is_told_once_for_all_hosts() -> None:
    with pytest.raises(EsyncError) as caught:
        mesh(**{host: {"esync_prot": 1} for host in "abc"})
    assert not isinstance(caught.value, EsyncErrors) and caught.value.server == "a"
    assert "(and on 2 other hosts)" in str(caught.value) and "esync_port is meant" in str(caught.value)


@pytest.mark.parametrize("name", ["esync_pfx_passphrase", "esync_folder_passphrase"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\0"])
def test_a_passphrase_that_nobody_could_type_is_refused_and_not_shown(name: str, end: str) -> None:
    found, text = refused(a={}, b={name: SECRET + end})
    assert found == {("b", "bad_passphrase")} and name in text and SECRET not in text


@pytest.mark.parametrize("name", ["esync_pfx_passphrase", "esync_folder_passphrase"])
@pytest.mark.parametrize("value", [83, 100000.0, True])
def test_a_passphrase_that_was_read_as_something_else_is_refused(name: str, value: Any) -> None:
    found, text = refused(a={}, b={name: value})
    assert found == {("b", "bad_passphrase")} and f"{name} is no text" in text and "in quotes" in text
    assert str(value) not in text


NUMBERS = [name for name, spec in SPECS.items() if spec["type"] in ("int", "float") and name != "esync_key_size"]


@pytest.mark.parametrize("name", NUMBERS)
@pytest.mark.parametrize("value", [-1, 10**12, "nan", "-inf"])
def test_every_number_has_bounds(name: str, value: Any) -> None:
    found, text = refused(a={name: value}, b={name: value})
    assert {kind for _server, kind in found} <= {"bad_setting", "bad_port", "bad_variable"} and name in text
    assert name in LEAST or name == "esync_port"


def test_numbers_that_make_sense() -> None:
    assert len(mesh(a=LEAST, b=LEAST).members) == 2


@pytest.mark.parametrize("address", ["eth0", "a.example", "127.0.0.1:80", "*", ""])
def test_the_endpoint_listens_on_an_address(address: str) -> None:
    if address:
        assert refused(a={"esync_listen_address": address}, b={})[0] == {("a", "bad_setting")}
    mesh(a={"esync_listen_address": "::1"}, b={"esync_listen_address": "10.0.0.1"})


@pytest.mark.parametrize(
    "name", ["Alpha_1.Example", "UPPER", "x" * 53, "a.b.c", "1", "under_score", "a--b", f"{'X_.-' * 13}y"]
)
def test_names_by_the_rules(name: str) -> None:
    assert name in [one.name for one in mesh(a={"esync_server_name": name}, b={}).members]


@pytest.mark.parametrize("name", ["x" * 54, "_a", "-a", ".a", "a b", "a.", "CON", "nul.x", "\u00e4", "a/b", "a\n"])
def test_names_against_the_rules(name: str) -> None:
    found, text = refused(a={"esync_server_name": name}, b={})
    assert ("a", "bad_name") in found and "Give this host another esync_server_name" in text


@pytest.mark.parametrize(
    "setting, start",
    [
        ("esync_endpoint_upstream", "http://127.0.0.1"),
        ("esync_endpoint_configuration", "/etc/nginx/x"),
        ("esync_endpoint_access_log", "/var/log/x"),
        ("esync_endpoint_service", "nginx"),
        ("esync_directory", "/etc/esync"),
        ("esync_address", "a.example"),
        ("esync_server_name", "a"),
        ("esync_subject_alt_names", "a.example"),
    ],
)
@pytest.mark.parametrize("end", ["'", '"', "; }", "{", "\nx", "\\", "`"])
@pytest.mark.parametrize("endpoint", ["temporary", "nginx"])
def test_no_value_means_something_in_a_configuration_or_a_command(
    setting: str, start: str, end: str, endpoint: str
) -> None:
    found, text = refused(a={setting: start + end, "esync_endpoint": endpoint}, b={})
    assert {server for server, _kind in found} == {"a"} and setting in text


def test_an_option_of_systemctl_is_no_service() -> None:
    assert refused(a={"esync_endpoint_service": "--root=/tmp"}, b={})[0] == {("a", "bad_setting")}
    mesh(a={"esync_endpoint_service": "nginx@mesh\\x2done.service"}, b={})


def test_settings_of_the_mesh_are_the_same_for_all() -> None:
    found, text = refused(a={}, b={"esync_ledger": "/elsewhere"})
    assert found == {("b", "differing_setting")} and "esync_ledger" in text


def test_removed_servers_are_no_members_any_more_whoever_names_them() -> None:
    removal = {"esync_remove": "c, d"}
    read = mesh(a=removal, b=removal, c=removal, others=["d", "e"], d={"esync_port": 1}, e={})
    assert [one.name for one in read.members] == ["a", "b"]
    assert [one.name for one in read.leaving] == ["c", "d"]
    assert read.settings["d"]["esync_port"] == 1


def test_hosts_outside_the_mesh_are_not_looked_at_unless_somebody_is_removed() -> None:
    assert set(mesh(a={}, b={}, others=["d"], d={"esync_port": "many"}).settings) == {"a", "b"}


def test_the_control_node_in_a_run_is_no_server_unless_it_is_removed_by_its_name() -> None:
    bad = {"localhost": {"esync_directory": "{{ undefined }}"}}
    assert mesh(a={"esync_remove": "d"}, b={"esync_remove": "d"}, others=["localhost"], **bad).leaving == ()
    one = mesh(a={"esync_remove": "localhost"}, b={"esync_remove": "localhost"}, others=["localhost"], localhost={})
    assert [server.name for server in one.leaving] == ["localhost"]


def test_sets_are_destroyed_where_a_host_or_the_run_says_so() -> None:
    assert mesh(a={"esync_discard_existing": True}, b={}).discarding == ("a",)
    both = {"esync_discard_existing": "b"}
    assert mesh(a=both, b=both).discarding == ("b",)


def test_clusters_and_sites_are_read() -> None:
    cluster = {"esync_cluster": {"name": "web", "address": "lb", "port": 99}}
    sites = {"esync_endpoint": "nginx", "esync_endpoint_sites": [{"name": "shop", "port": 8443}, {"name": "news"}]}
    read = mesh(a={**cluster, **sites, "esync_site": "shop"}, b={})
    assert [(one.name, one.members) for one in read.clusters] == [("web", ("a",))]
    told = member_facts(read.members[0])
    assert (told["port"], [site["name"] for site in told["sites"]]) == (8443, ["shop"])
    assert told["cluster"] == {"name": "web", "address": "lb", "port": 99}


def test_one_passphrase_for_all_is_compared_and_never_kept() -> None:
    shared = {"esync_trust_model": "shared_keys", "esync_pfx_passphrase": SECRET}
    read = mesh(a=shared, b=shared)
    assert SECRET not in repr(read)
    assert read.members[0].passphrase == read.members[1].passphrase != mesh(a=shared, b=shared).members[0].passphrase
    found, text = refused(a=shared, b={**shared, "esync_pfx_passphrase": f"{SECRET} other"})
    assert found == {(None, "mixed_pfx_passphrases")} and SECRET not in text
    found, _text = refused(a=shared, b={"esync_trust_model": "shared_keys"})
    assert found == {(None, "no_pfx_passphrase")}
    found, _text = refused(a=shared, b={})
    assert "mixed_trust_models" in {kind for _server, kind in found}
    # Of a pinned mesh nobody asks for it.
    assert mesh(a={"esync_pfx_passphrase": "{{ nothing }}"}, b={}).members[0].passphrase == ""
