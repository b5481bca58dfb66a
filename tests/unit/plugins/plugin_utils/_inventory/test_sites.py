# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.esync.mesh.plugins.module_utils._core.errors import EsyncError
from ansible_collections.esync.mesh.plugins.plugin_utils._inventory import sites
from ansible_collections.esync.mesh.plugins.plugin_utils._inventory.sites import Site

SHOP, NEWS = Site("shop", 8443), Site("news", 8444)
BOTH = (SHOP, NEWS)


def told(*some: Site, asked: Any = None, directory: str = "/etc/esync", endpoint: str = "nginx") -> list[str]:
    """Kind and cause of everything that is wrong with a server's sites."""
    errors = list(sites.validate("a", some, asked, directory, endpoint))
    for error in errors:
        assert error.server == "a"
        assert error.remedy
    return [f"{error.kind}: {error.cause}" for error in errors]


def test_sites_as_the_inventory_has_them():
    given = [
        {"name": "shop"},
        {"name": "news", "port": "8444", "server_name": "News.Example", "root": "/srv/news", "upstream": None},
        {"name": "own", "reload": ["systemctl", "reload", "own"]},
    ]
    assert sites.read("a", given, 8732) == (
        Site("shop", 8732),
        Site("news", 8444, "news.example", "/srv/news"),
        Site("own", 8732, reload=("systemctl", "reload", "own")),
    )
    assert sites.read("a", [], 8732) == ()


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("shop", "no list"),
        ({"name": "shop"}, "no list"),
        (["shop"], "site 1 of esync_endpoint_sites has no name"),
        ([{"name": "shop"}, {"port": 1}], "site 2 of esync_endpoint_sites has no name"),
        ([{"name": "shop", "prot": 1}], "the site shop has prot, and a site may have name, port"),
        ([{"name": "shop", "port": "many"}], "'many', which is none"),
        ([{"name": "shop", "reload": "systemctl reload x"}], "no list of words"),
    ],
)
def test_what_is_no_site(given, said):
    with pytest.raises(EsyncError) as caught:
        sites.read("a", given, 8732)
    assert caught.value.kind == "bad_site"
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("value", "names"),
    [
        ("all", None),
        (["shop", "all"], None),
        ("shop", ("shop",)),
        ("shop, news,", ("shop", "news")),
        (["news", "shop", "news"], ("news", "shop")),
        ("", ()),
        ([], ()),
        (7, ("7",)),
    ],
)
def test_which_sites_are_asked_for(value, names):
    assert sites.requested(value) == names


def test_the_chosen_sites_stay_in_their_order():
    assert sites.chosen(BOTH, None) == BOTH
    assert sites.chosen(BOTH, ("news",)) == (NEWS,)
    assert sites.chosen(BOTH, ("news", "shop")) == BOTH


def test_nothing_is_wrong_with_sound_sites():
    assert told(*BOTH) == told(*BOTH, asked=("news",)) == []
    named = (
        Site("shop", 443, "shop.example", root="/srv/shop"),
        Site("news", 443, "news.example", upstream="http://x"),
    )
    assert told(*named, Site("rest", 443)) == []
    assert told(Site("own", 1, reload=("true",)), SHOP) == []
    assert told(SHOP, endpoint="external") == []
    # Of a server without sites nothing is asked.
    assert told(asked=("other",), endpoint="temporary") == []


@pytest.mark.parametrize(
    ("some", "said"),
    [
        ([Site("-a", 1)], "no name of a site"),
        ([Site("All", 1)], "stands for all sites"),
        ([Site("a", 0)], "0 is no port"),
        ([Site("a", 65536)], "65536 is no port"),
        ([Site("a", 1, "10.0.0.1")], "no DNS name"),
        ([Site("a", 1, "a;b")], "no DNS name"),
        ([Site("a", 1, root="/srv/a", upstream="http://x")], "both a root and an upstream"),
        ([Site("a", 1, root="/srv/a", reload=("true",))], "root and upstream mean nothing"),
        ([Site("a", 1, root="srv/a")], "absolute path"),
        ([Site("a", 1, root="/srv/$a")], "absolute path"),
        ([Site("a", 1, root="/srv/a;")], "absolute path"),
        ([Site("a", 1, upstream="http://x; }")], "its upstream 'http://x; }' is no URL"),
        ([Site("a", 1, upstream="127.0.0.1:80")], "is no URL"),
        ([Site("Shop", 1), Site("shop", 2)], "Shop and shop have the same name"),
        ([Site("a", 1), Site("b", 1)], "a and b have the same port 1 and no server_name"),
        ([Site("a", 1, "x.example"), Site("b", 1, "x.example")], "a and b have the same port 1 and server_name"),
        (
            [Site("a", 1, "x.example"), Site("b", 1, "y.example", reload=("true",))],
            "some have a service of their own",
        ),
    ],
)
def test_sites_that_cannot_be_served(some, said):
    (found,) = told(*some)
    assert found.startswith("bad_site: ") and said in found


@pytest.mark.parametrize(
    "root", ["/", "/etc", "/etc/", "/etc//esync/", "/etc/esync/current", "/var/../etc", "/etc/./esync"]
)
def test_a_root_that_would_hand_out_our_folder(root):
    (found,) = told(Site("shop", 1, root=root))
    assert "private keys" in found


@pytest.mark.parametrize("root", ["/etc/esync-shop", "/srv", "/etc/nginx"])
def test_a_root_beside_our_folder_is_fine(root):
    assert told(Site("shop", 1, root=root)) == []


def test_the_temporary_endpoint_serves_no_sites():
    (found,) = told(*BOTH, endpoint="temporary")
    assert found.startswith("sites_need_endpoint: ") and "esync_port" in found


def test_unknown_sites_are_told_with_the_known_ones():
    (found,) = told(*BOTH, asked=("shop", "blog", "wiki"))
    assert found == (
        "unknown_site: esync_site asks for blog, wiki, which is none of its sites: the known ones are shop, news"
    )
    (found,) = told(*BOTH, asked=("shp",))
    assert "asks for shp (is shop meant?), which" in found
    (found,) = told(*BOTH, asked=())
    assert found == "unknown_site: esync_site names no site; its sites are shop, news"


def test_what_nobody_knows_is_told_once_also_by_servers_without_sites():
    def mesh(asked: Any, *some: Site) -> list[str]:
        given = {"a": (some, None), "b": ((), asked), "c": ((), asked)}
        return [f"{error.server}: {error.cause}" for error in sites.unknown_to_all(given)]

    assert mesh(("news", "shop"), *BOTH) == mesh(None) == mesh(()) == []
    assert mesh(("blog", "shop"), *BOTH) == [
        "b: esync_site asks for blog, which is none of its sites: the known ones are news, shop"
    ]
    assert mesh(("blog",)) == [
        "b: esync_site asks for blog, which is none of its sites: no server of the mesh has sites"
    ]
    # A server with sites is told by itself, and once is enough.
    both_asked = {"a": (BOTH, ("blog",)), "b": ((), ("blog",))}
    assert list(sites.unknown_to_all(both_asked)) == []


def test_a_site_as_the_role_gets_it():
    assert Site("shop", 1, "x.example", reload=("a", "b")).facts() == {
        "name": "shop",
        "port": 1,
        "server_name": "x.example",
        "root": None,
        "upstream": None,
        "reload": ["a", "b"],
        "protocol": "http",
        "attached": False,
        "restarts": False,
        "owner": None,
    }


# -- attached services --


def service(**given: Any) -> Site:
    whole = {"name": "db", "port": 5432, "protocol": "postgresql", "reload": None, "restart": None, "owner": None}
    [found] = sites.read_services("a", [{**whole, **given}])
    return found


def test_services_as_the_inventory_has_them():
    assert service() == Site("db", 5432, protocol="postgresql", attached=True)
    restarted = service(restart=["systemctl", "restart", "db"], owner="postgres")
    assert (restarted.reload, restarted.restarts, restarted.owner) == (("systemctl", "restart", "db"), True, "postgres")
    assert service(reload=["true"]).restarts is False


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"reload": ["true"], "restart": ["true"]}, "both reload and restart"),
        ({"reload": ["systemctl reload db"]}, "a list of words such as [systemctl, reload, db]"),
    ],
)
def test_what_is_no_service(given, said):
    with pytest.raises(EsyncError) as caught:
        service(**given)
    assert caught.value.kind == "bad_service"
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"name": "-"}, "no name of a service"),
        ({"name": "Esync"}, "esync stands for the endpoint on the eSync port"),
        ({"name": "ALL"}, "stands for all sites"),
        ({"port": 0}, "0 is no port"),
        ({"owner": "a b"}, "no name of a user"),
        ({"owner": "-x"}, "no name of a user"),
        ({"name": "SHOP"}, "has the name SHOP"),
        ({"port": 8443}, "has the port 8443"),
    ],
)
def test_what_a_service_cannot_be(given, said):
    errors = list(sites.validate_services("a", (SHOP,), (service(**given),)))
    assert [said in error.cause for error in errors] == [True]
    assert list(sites.validate_services("a", (SHOP,), (service(), service(name="x", port=1)))) == []


def test_where_a_server_is_called():
    database = service()
    assert sites.places((), (), 8732) == ()
    assert sites.places(BOTH, (), 8732) == BOTH
    assert sites.places(BOTH, (database,), 8732) == (*BOTH, database)
    assert sites.places((), (database,), 8732) == (Site("esync", 8732), database)
    in_its_place = service(port=8732)
    assert sites.places((), (in_its_place,), 8732) == (in_its_place,)
