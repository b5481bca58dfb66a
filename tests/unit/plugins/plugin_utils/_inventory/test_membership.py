# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import dataclasses

import pytest

from ansible_collections.esync.mesh.plugins.module_utils._core.errors import EsyncError, EsyncErrors
from ansible_collections.esync.mesh.plugins.plugin_utils._inventory.membership import (
    Cluster,
    Member,
    clusters_of,
    discarding,
    validate,
)
from ansible_collections.esync.mesh.plugins.plugin_utils._inventory.sites import Site


def member(host, **changes):
    plain = Member(host, host, f"{host}.example", 8732, "/etc/esync", ("/var/www", "/srv/www"))
    return dataclasses.replace(plain, **changes)


def kinds(*members, **options):
    with pytest.raises(EsyncError) as caught:
        validate(members, "esync", **options)
    errors = caught.value.errors if isinstance(caught.value, EsyncErrors) else (caught.value,)
    return [error.kind for error in errors], str(caught.value)


def test_a_sound_mesh():
    validate([member("a"), member("b")], "esync")


def test_empty_group_is_named():
    found, text = kinds()
    assert found == ["empty_group"]
    assert "esync" in text


def test_mesh_of_one():
    assert kinds(member("a"))[0] == ["mesh_of_one"]


def test_removing_one_of_two_leaves_one():
    validate([member("a")], "esync", leaving=["b"])


def test_removing_everybody_is_refused():
    found, text = kinds(leaving=["a", "b"])
    assert found == ["empty_group"]
    assert "lose all" in text


def test_one_folder_for_two_members_of_a_machine():
    found, text = kinds(
        member("a", machine="local"), member("b", machine="local", directory="/etc//esync"), member("c", machine="x")
    )
    assert found == ["duplicate_directory"]
    assert "a and b" in text and "/etc/esync" in text


def test_members_of_a_machine_with_folders_of_their_own():
    validate([member("a", machine="local"), member("b", machine="local", directory="/etc/b")], "esync")


def test_hosts_that_could_not_be_read_are_told_with_the_others():
    unreadable = EsyncError("the variable x", "correct it", kind="bad_variable", server="c")
    # One that could be read is not alone: the other is there, and its fault is told.
    assert kinds(member("a", port=0), unreadable=[unreadable])[0] == ["bad_variable", "bad_port"]
    assert kinds(unreadable=[unreadable])[0] == ["bad_variable"]


@pytest.mark.parametrize("name", ["", "-a", ".a", "a.", "a b", "a/b", "NUL", "com1.example", "a" * 54, "ä", "a\n"])
def test_bad_names(name):
    assert "bad_name" in kinds(member("a", name=name), member("b"))[0]


def test_names_duplicate_whatever_the_case():
    found, text = kinds(member("one", name="Alpha"), member("two", name="alpha"), member("three"))
    assert found == ["duplicate_name"]
    assert "one and two" in text


def test_same_address_and_port():
    found, text = kinds(member("a", address="10.0.0.1"), member("b", address="10.0.0.1"))
    assert found == ["duplicate_address"]
    assert "10.0.0.1 port 8732" in text


def test_same_address_with_other_ports_is_fine():
    validate([member("a", address="10.0.0.1"), member("b", address="10.0.0.1", port=8733)], "esync")


@pytest.mark.parametrize("port", [0, -1, 65536])
def test_bad_ports(port):
    assert kinds(member("a", port=port), member("b"))[0] == ["bad_port"]


SAME = [
    ("::1", "0:0:0:0:0:0:0:1"),
    ("2001:db8::a", "2001:DB8:0:0::000A"),
    ("10.0.0.1", "::ffff:10.0.0.1"),
    ("alpha.example", "Alpha.EXAMPLE."),
    ("b\u00fccher.example", "xn--bcher-kva.example"),
]


@pytest.mark.parametrize(("one", "other"), SAME)
def test_the_same_address_written_in_two_ways(one, other):
    found, text = kinds(member("a", address=one), member("b", address=other))
    assert found == ["duplicate_address"]
    assert "a and b" in text
    validate([member("a", address=one), member("b", address=other, port=8733)], "esync")


@pytest.mark.parametrize("address", ["fe80::1", "FE80:0::1", "fe80::1%eth0", "febf::1", "2001:db8::1%eth0", "::1%lo"])
def test_addresses_that_count_on_one_link_only(address):
    found, text = kinds(member("a", address=address), member("b"))
    assert found == ["bad_address"]
    assert "link-local" in text and "global or unique local address" in text and "esync_address" in text
    cluster = Cluster("web", address, 443)
    assert kinds(member("a", cluster=cluster), member("b"))[0] == ["bad_cluster"]


@pytest.mark.parametrize("address", ["0.0.0.0", "::", "::ffff:0.0.0.0", "224.0.0.1", "ff02::1", "255.255.255.255"])
def test_addresses_of_no_single_server(address):
    assert kinds(member("a", address=address), member("b"))[0] == ["bad_address"]


def behind(*hosts, **options):
    """Hosts that Ansible reaches at one address, by an ssh port for each."""
    return [member(host, **{"machine": f"one ssh {host}", "default_address": True, **options}) for host in hosts]


@pytest.mark.parametrize("address", ["127.0.0.1", "127.1.2.3", "::1", "localhost", "localhost.localdomain"])
def test_hosts_behind_forwarded_ports_need_addresses_of_their_own(address):
    found, text = kinds(*behind("a", "b", address=address, port=1), *behind("c", address=address, port=2))
    assert found.count("bad_address") == 1 and "duplicate_address" in found
    assert "of the hosts a and b and c is" in text
    assert "set esync_address of each" in text and "esync_port" not in text
    # Whoever sets it knows what he does; and on one machine it is right.
    given = [dataclasses.replace(one, default_address=False) for one in behind("a", address=address, port=1)]
    validate([*given, *behind("b", address="10.0.0.2", port=2)], "esync")
    local = {"machine": "local", "address": address}
    validate([*behind("a", **local, port=1), *behind("b", **local, port=2, directory="/srv/b")], "esync")


def test_hosts_behind_a_jump_host():
    text = kinds(*behind("a", "b", address="203.0.113.1"))[1]
    assert "jump host" in text and "set esync_address of each" in text


HOSTILE = ["a'b", 'a"b', "a;b", "a; }", "a}", "a{", "a`b", "a\\b", "a\nb", "a\x00", "a\x85b"]


@pytest.mark.parametrize("address", ["", ".", "a b", "a\n", "a/b", "[::1]", "a:80", "::1::", "10.0.0.256", *HOSTILE])
def test_bad_addresses(address):
    assert kinds(member("a", address=address), member("b"))[0] == ["bad_address"]
    cluster = Cluster("web", address, 443)
    assert kinds(member("a", cluster=cluster), member("b"))[0] == ["bad_cluster"]


@pytest.mark.parametrize("address", ["fe80::1%eth0; }", "fe80::1%eth0'", "127.1", "0x7f.0.0.1", "2130706433"])
def test_what_a_library_would_take_for_an_address(address):
    assert kinds(member("a", address=address), member("b"))[0] == ["bad_address"]


@pytest.mark.parametrize("address", ["web.1", "web_1", "1a", "fd00::1", "::1", "b\u00fccher.example"])
def test_unusual_addresses(address):
    validate([member("a", address=address), member("b")], "esync")


@pytest.mark.parametrize("value", [*HOSTILE, "$x"])
@pytest.mark.parametrize("endpoint", ["temporary", "nginx", "external"])
def test_folders_with_characters_that_mean_something(endpoint, value):
    one = member("a", directory=f"/etc/{value}", endpoint=endpoint)
    assert kinds(one, member("b"))[0] == ["bad_directory"]


def test_a_folder_with_a_space_is_fine_unless_nginx_is_told_of_it():
    one = member("a", directory="/srv/our mesh")
    validate([one, member("b")], "esync")
    assert kinds(dataclasses.replace(one, endpoint="nginx"), member("b"))[0] == ["bad_directory"]


@pytest.mark.parametrize(
    "directory", ["/var/www", "/var/www/esync", "/srv/www/x/../y", "/etc/../var/www/a", "/var//www/a"]
)
def test_a_folder_under_a_web_root(directory):
    assert kinds(member("a", directory=directory), member("b"))[0] == ["under_web_root"]


def test_a_folder_beside_a_web_root_is_fine():
    validate([member("a", directory="/var/www-esync"), member("b")], "esync")


@pytest.mark.parametrize("directory", ["", "etc/esync", "/", "//"])
def test_folders_that_are_none_of_ours(directory):
    assert kinds(member("a", directory=directory), member("b"))[0] == ["bad_directory"]


def test_all_offenders_are_told_at_once():
    found, text = kinds(
        member("a", name="-a"), member("b", port=0), member("c", directory="/var/www"), member("d", name="B")
    )
    assert sorted(found) == ["bad_name", "bad_port", "duplicate_name", "under_web_root"]
    assert len(text.splitlines()) == 4


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ({}, ()),
        ({"b": True}, ("B-2",)),
        ({"a": "true", "b": "False", "c": "yes"}, ("a", "c")),
        ({"a": "0", "b": 1, "c": ""}, ("B-2",)),
        (dict.fromkeys("abc", "c, B-2"), ("B-2", "c")),
        (dict.fromkeys("abc", ["B-2"]), ("B-2",)),
        ({"a": ["c"]}, ()),
    ],
)
def test_whose_sets_are_discarded(wanted, found):
    assert discarding([member("a"), member("b", name="B-2"), member("c")], wanted, "esync") == found


@pytest.mark.parametrize(
    ("value", "offenders"),
    [("b,x,y", ["x", "y"]), (["b", "B", ""], ["B", ""]), ("truue", ["truue"]), ("no", ["no"])],
)
def test_what_cannot_be_discarded_is_named_with_those_that_can(value, offenders):
    members = [member("a"), member("b"), member("no")]
    with pytest.raises(EsyncError) as caught:
        discarding(members, dict.fromkeys(["a", "b", "no"], value), "esync")
    error = caught.value
    errors = error.errors if isinstance(error, EsyncErrors) else (error,)
    assert [one.server for one in errors] == offenders
    assert {one.kind for one in errors} == {"unknown_server"}
    assert "the servers are a, b, no" in str(error)


def test_a_server_that_is_not_spelled_right_is_told_with_the_nearest_name():
    with pytest.raises(EsyncError, match=r"\(is alpha meant\?\)"):
        discarding([member("alpha"), member("bravo")], {"alpha": "alhpa"}, "esync")


def test_a_server_whose_name_is_a_word_for_no_is_named_in_a_list():
    assert discarding([member("a"), member("no")], {"a": ["no"], "no": ["no"]}, "esync") == ("no",)


SITES = (Site("shop", 8443), Site("news", 8444))


def test_sites_are_judged_with_their_servers():
    validate(
        [member("a", sites=SITES, requested=("shop",), endpoint="nginx"), member("b", requested=("shop",))], "esync"
    )
    found, text = kinds(member("a", sites=SITES, requested=("blog",)), member("b", port=0, requested=("blog",)))
    assert sorted(found) == ["bad_port", "sites_need_endpoint", "unknown_site"]
    assert "the known ones are shop, news" in text
    assert kinds(member("a"), member("b", requested=("shop",)))[0] == ["unknown_site"]


def test_who_leaves_may_be_the_only_one_with_sites():
    validate([member("a", requested=("shop",)), member("b")], "esync", leaving=["c"])


DATABASE = Site("db", 5432, protocol="postgresql", attached=True)


def test_services_are_judged_with_their_servers():
    validate([member("a", services=(DATABASE,)), member("b", services=(DATABASE,))], "esync")
    found, text = kinds(member("a", services=(dataclasses.replace(DATABASE, port=0),)), member("b"))
    assert found == ["bad_service"]
    assert "the service 'db': 0 is no port" in text


def test_same_address_and_port_of_services():
    one = member("a", address="10.0.0.1", services=(DATABASE,))
    found, text = kinds(one, member("b", address="10.0.0.1", port=5432))
    assert found == ["duplicate_address"]
    assert "10.0.0.1 port 5432" in text


def test_same_address_and_port_of_sites():
    one = member("a", address="10.0.0.1", sites=SITES, endpoint="nginx")
    found, text = kinds(one, member("b", address="10.0.0.1", port=8444))
    assert found == ["duplicate_address"]
    assert "10.0.0.1 port 8444" in text
    # Nothing of the first listens on its eSync port.
    validate([one, member("b", address="10.0.0.1")], "esync")


def test_the_sites_that_certificates_apply_to():
    assert member("a", sites=SITES).chosen == SITES
    assert member("a", sites=SITES, requested=("news",)).chosen == SITES[1:]


# -- the trust model -------------------------------------------------------------------------------------------


def over(host, **changes):
    return member(host, **{"trust_model": "shared_keys", "passphrase": "digest", **changes})


def test_a_sound_mesh_that_hands_over():
    validate([over("a"), over("b")], "esync")


@pytest.mark.parametrize(
    ("members", "kind", "words"),
    [
        ([over("a"), over("c"), member("b")], "mixed_trust_models", ["a and c", "for b"]),
        ([over("a", trust_model="trusting"), over("b")], "bad_trust_model", ["'trusting'", "pinned or shared_keys"]),
        ([over("a"), over("b", passphrase="")], "no_pfx_passphrase", ["not set for b", "vault"]),
        ([over("a"), over("b", passphrase="other")], "mixed_pfx_passphrases", ["a and b"]),
        ([over("a"), over("b", formats=("cer",))], "no_pfx", ["for b"]),
    ],
)
def test_what_the_trust_model_needs_is_named(members, kind, words):
    found, text = kinds(*members)
    assert found == [kind]
    assert all(word in text for word in words)
    assert "digest" not in text
    assert "digest" not in repr(members)


def cluster(name="web", address="lb.example", port=8732):
    return Cluster(name, address, port)


WEB = cluster()


def test_clusters_of_any_size():
    both = [
        member("a", cluster=WEB),
        member("b"),
        member("c", cluster=cluster("db", port=9000)),
        member("d", cluster=WEB),
    ]
    validate(both, "esync")
    assert clusters_of(both) == [
        Cluster("db", "lb.example", 9000, ("c",)),
        Cluster("web", "lb.example", 8732, ("a", "d")),
    ]
    assert clusters_of([member("a")]) == []


@pytest.mark.parametrize("other", [cluster(address="other.example"), cluster(port=1), cluster("Web")])
def test_members_that_differ_in_what_they_say_of_their_cluster(other):
    found, text = kinds(member("a", cluster=WEB), member("b", cluster=other))
    assert found == ["cluster_differs"]
    assert "a and b" in text and WEB.place in text and other.place in text


def test_two_clusters_with_one_address():
    found, text = kinds(member("a", cluster=WEB), member("b", cluster=cluster("db", "LB.example")))
    assert found == ["duplicate_cluster_address"]
    assert "web and db" in text and "lb.example port 8732" in text


def test_a_cluster_with_the_name_of_a_server_whatever_the_case():
    found, text = kinds(member("a", cluster=cluster("B")), member("b"))
    assert found == ["cluster_named_as_server"]
    assert text.startswith("b: the cluster of a ")


def test_a_cluster_at_the_address_and_port_of_a_server():
    found, text = kinds(member("a", cluster=cluster(address="A.example")), member("b"))
    assert found == ["cluster_at_server"]
    assert "a.example port 8732" in text
    # A balancer on the host of a member, with a port of its own.
    validate([member("a", cluster=cluster(address="a.example", port=443)), member("b")], "esync")


@pytest.mark.parametrize("bad", [cluster(""), cluster("-x"), cluster("nul"), cluster(address="a b"), cluster(port=0)])
def test_bad_clusters(bad):
    found, text = kinds(member("a", cluster=bad), member("b"))
    assert found == ["bad_cluster"]
    assert "Correct esync_cluster" in text


def test_all_offending_clusters_are_told_at_once():
    found, _text = kinds(
        member("a", cluster=cluster("b")),
        member("b", cluster=cluster("db")),
        member("c", cluster=cluster("db", "d.example")),
        member("d", cluster=cluster("-")),
    )
    assert sorted(set(found)) == [
        "bad_cluster",
        "cluster_at_server",
        "cluster_differs",
        "cluster_named_as_server",
        "duplicate_cluster_address",
    ]


def test_through_a_balancer_nobody_knows_whose_client_set_to_show():
    found, text = kinds(over("a", cluster=WEB), over("b"))
    assert found == ["cluster_needs_pins"]
    assert text.startswith("a is in a cluster, and esync_trust_model is shared_keys")
