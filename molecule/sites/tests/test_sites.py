# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the sites answer to curl and openssl, whichever the certificates apply to.

The tests run in their order: each chooses other sites, then the certificates are rotated, and a server leaves.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, replace
from typing import Any

import pytest
from hosts import address, connect, members
from runs import fail, report, succeed

DIRECTORY = "/etc/esync"
CONFIGURATION = "/etc/nginx/conf.d/esync-mesh.conf"


@dataclass(frozen=True)
class Place:
    """Where a site is served, and what stands there. :param by_nginx: or by a service of another make."""

    server: str
    site: str | None
    port: int
    host: str
    content: str = ""
    by_nginx: bool = True

    def __str__(self) -> str:
        return f"{self.server}-{self.site}"


PLACES = [
    Place("alpha", "shop", 8443, "alpha", "shop of alpha\n"),
    Place("alpha", "news", 8444, "alpha", "own of alpha\n"),
    Place("bravo", "shop", 8443, "shop.bravo.example", "shop of bravo\n"),
    Place("bravo", "news", 8443, "news.bravo.example", "own of bravo\n"),
    Place("charlie", "shop", 8443, "charlie", "own of charlie\n", by_nginx=False),
    Place("charlie", "news", 8444, "charlie", "own of charlie\n"),
    Place("delta", None, 8732, "delta"),
]
SHOPS = [place for place in PLACES if place.site == "shop"]
NEWS = [place for place in PLACES if place.site == "news"]
# Each place is called by the next server.
CALLER = dict(zip(members(), [*members()[1:], members()[0]]))

OWN = f"--cert {DIRECTORY}/current/client.crt --key {DIRECTORY}/current/client.key"
ITS_SERVER_SET = OWN.replace("client", "server")
STRANGER = "--cert /run/stranger.crt --key /run/stranger.key"


def curl(place: Place, path: str = "/", shown: str = OWN, more: str = "") -> tuple[int, str]:
    """Status (0 without an answer) and body of what the next server gets, which accepts the pinned certificate only."""
    caller = connect(CALLER[place.server])
    pinned = f"/run/pinned-{place.server}.pem"
    caller.check_output(f"openssl x509 -inform DER -in {DIRECTORY}/trusted/{place.server}_SyncServer.cer -out {pinned}")
    done = caller.run(
        f"curl --silent --max-time 10 --cacert {pinned} {shown} {more} --write-out '\n%{{http_code}}'"
        f" --connect-to {place.host}:{place.port}:{address(place.server)}:{place.port}"
        f" https://{place.host}:{place.port}{path}"
    )
    body, _newline, status = done.stdout.rpartition("\n")
    return int(status or 0), body


def served(place: Place) -> str:
    """The fingerprint of what openssl sees there; empty if there is nothing."""
    done = connect(CALLER[place.server]).run(
        f"openssl s_client -connect {address(place.server)}:{place.port} -servername {place.host}"
        " < /dev/null 2> /dev/null | openssl x509 -noout -fingerprint -sha256"
    )
    return str(done.stdout).strip().partition("=")[2].replace(":", "").lower()


def current(server: str) -> str:
    """What openssl says is the fingerprint of a host's current server certificate."""
    text = connect(server).check_output(f"openssl x509 -in {DIRECTORY}/current/server.crt -noout -fingerprint -sha256")
    return str(text).partition("=")[2].replace(":", "").lower()


def configuration(server: str) -> str:
    """Our part of nginx's configuration; empty if there is none."""
    return str(connect(server).run(f"cat {CONFIGURATION}").stdout)


def block(server: str, site: str) -> str:
    """The part of it that is about one site."""
    found = re.search(rf"^# Site {site}\n.*?^\}}$", configuration(server), re.DOTALL | re.MULTILINE)
    assert found, f"{server} has no block of {site}"
    return found.group()


def pairs() -> dict[tuple[str, str | None], list[dict[str, Any]]]:
    """The pairs of the last report, by what was called."""
    found: dict[tuple[str, str | None], list[dict[str, Any]]] = {}
    for pair in report()["pairs"]:
        found.setdefault((pair["to"], pair["site"]), []).append(pair)
    return found


def is_demanding(place: Place) -> None:
    """It lets the pinned peer in, with what it presented, and nobody else."""
    assert served(place) == current(place.server)
    if place.content:
        assert curl(place) == (200, place.content)
    if place.by_nginx:
        status, body = curl(place, "/esync/health")
        said = json.loads(body)
        assert (status, said["server"], said["peer"]) == (200, place.server, CALLER[place.server])
        assert said.get("site") == place.site
    for shown in ("", STRANGER, ITS_SERVER_SET):
        status, body = curl(place, shown=shown)
        assert status in (0, 400), (shown, body)
        assert not place.content or place.content not in body


def is_gone(place: Place) -> None:
    """Nothing of ours answers for it."""
    if place.server == "bravo":
        # Another site listens on its port, and does not answer for it.
        assert curl(place)[0] == 421
        assert curl(place, shown="")[0] == 400
    else:
        assert served(place) == ""
        assert curl(place)[0] == 0


def untouched(server: str) -> None:
    """Whatever the user has on a host is, byte for byte and to the second, what it was before we came."""
    now = connect(server).check_output(
        f"find -L /etc/nginx /var/www /srv -type f ! -path {CONFIGURATION} -exec sha256sum {{}} +"
        " -exec stat --format '%n %a %U %G %Y' {} +"
    )
    before = connect(server).check_output("cat /root/before")
    assert before.count("\n") > 20
    assert sorted(now.splitlines()) == sorted(before.splitlines())


def own_sites_answer() -> None:
    """The user's own sites are what they were for everybody, also the one that shares a port with ours."""
    for server in members():
        untouched(server)
        assert connect(server).check_output("curl -s http://127.0.0.1:8080/") == f"own of {server}"
    shared = f"--connect-to own.example:8443:{address('bravo')}:8443 https://own.example:8443/"
    connect("bravo").check_output("cp /etc/nginx/own.crt /run/own.crt")
    assert connect("bravo").check_output(f"curl -s --cacert /run/own.crt {shared}") == "own of bravo"


@pytest.fixture(scope="module", autouse=True)
def _stranger() -> None:
    for server in members():
        connect(server).check_output(
            "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=stranger"
            " -keyout /run/stranger.key -out /run/stranger.crt 2> /dev/null"
        )


@pytest.fixture(scope="module")
def blocks() -> dict[tuple[str, str], str]:
    """The blocks as they are while the certificates apply to all sites."""
    return {
        (place.server, place.site): block(place.server, place.site) for place in PLACES if place.site and place.by_nginx
    }


# -- all sites ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("place", PLACES, ids=str)
def test_every_site_lets_in_exactly_the_pinned_peers(place: Place) -> None:
    is_demanding(place)


def test_every_site_is_a_pair_of_its_own() -> None:
    found = pairs()
    assert set(found) == {(place.server, place.site) for place in PLACES}
    for (server, _site), some in found.items():
        assert [pair["from"] for pair in some] == [name for name in members() if name != server]
        assert {pair["verdict"] for pair in some} == {"ok"}
    assert report()["summary"]["expected"] == report()["summary"]["ok"] == 21


def test_what_must_be_refused_is_tried_at_every_site() -> None:
    tried = {(one["to"], one["site"], one["present"]): one["verdict"] for one in report()["refusals"]}
    assert set(tried.values()) == {"ok"}
    assert len(tried) == 5 * len(PLACES)


def test_no_site_answers_for_another() -> None:
    (shop,) = [place for place in SHOPS if place.server == "bravo"]
    assert curl(shop, more="-H 'Host: news.bravo.example:8443'")[0] == 421
    assert curl(shop, "/esync/health", more="-H 'Host: bravo:8443'")[0] == 421
    # A name that no site has, in the handshake already.
    assert curl(replace(shop, host="bravo"))[0] == 421
    # A request line with a URL, and another name in the header or in the handshake.
    url = f"--request-target https://{shop.host}/"
    assert curl(shop, more=url) == (200, shop.content)
    assert curl(shop, more=f"{url} -H 'Host: news.bravo.example:8443'")[0] == 421
    assert curl(shop, more="--request-target https://news.bravo.example/")[0] == 421


def test_what_the_user_has_there_is_untouched(blocks: dict[tuple[str, str], str]) -> None:
    assert len(blocks) == 5
    own_sites_answer()


# -- one site, and another --------------------------------------------------------------------------------------


def test_the_certificates_apply_to_one_site(blocks: dict[tuple[str, str], str]) -> None:
    done = succeed("establish", "-e", "esync_site=shop")
    assert {name for name, count in done.changed.items() if count} == {"alpha", "bravo", "charlie"}
    for place in SHOPS:
        is_demanding(place)
    for place in NEWS:
        is_gone(place)
    for server in ("alpha", "bravo"):
        assert block(server, "shop") == blocks[server, "shop"]
        assert "# Site news" not in configuration(server)
    # nginx serves none of the chosen ones there.
    assert configuration("charlie") == ""
    assert set(pairs()) == {("alpha", "shop"), ("bravo", "shop"), ("charlie", "shop"), ("delta", None)}
    assert report()["summary"]["ok"] == 12
    own_sites_answer()


def test_and_again_changes_nothing() -> None:
    before = [configuration(server) for server in members()]
    assert set(succeed("establish", "-e", "esync_site=shop").changed.values()) == {0}
    assert [configuration(server) for server in members()] == before


def test_a_site_that_is_not_served_is_told_by_its_name() -> None:
    result = fail("verify")
    found = pairs()
    causes = {place: {pair["cause"] for pair in some} for place, some in found.items()}
    assert causes == {
        ("alpha", "shop"): {None},
        ("alpha", "news"): {"endpoint_not_listening"},
        ("bravo", "shop"): {None},
        ("bravo", "news"): {"another_site_answers"},
        ("charlie", "shop"): {None},
        ("charlie", "news"): {"endpoint_not_listening"},
        ("delta", None): {None},
    }
    assert "-> bravo [news]" in result.output


def test_another_site_is_chosen_and_the_first_is_taken_out(blocks: dict[tuple[str, str], str]) -> None:
    succeed("establish", "-e", "esync_site=news")
    for place in NEWS:
        is_demanding(place)
        assert block(place.server, "news") == blocks[place.server, "news"]
    for place in SHOPS:
        # The user's own service goes on, and is none of ours.
        if place.by_nginx:
            is_gone(place)
    assert set(pairs()) == {("alpha", "news"), ("bravo", "news"), ("charlie", "news"), ("delta", None)}
    own_sites_answer()


def test_an_unknown_site_is_told_with_the_known_ones_before_any_host_is_touched() -> None:
    before = [configuration(server) for server in members()]
    result = fail("establish", "-e", "esync_site=shop,blog")
    for server in ("alpha", "bravo", "charlie"):
        assert f"{server}: esync_site asks for blog, which is none of its sites: the known ones are shop, news" in (
            result.output
        )
    assert set(re.findall(r"^(\S+)\s+: ok=", result.output, re.MULTILINE)) == {"localhost"}
    assert [configuration(server) for server in members()] == before


# -- all again --------------------------------------------------------------------------------------------------


def test_all_sites_again_are_what_they_were(blocks: dict[tuple[str, str], str]) -> None:
    succeed("establish")
    for (server, site), text in blocks.items():
        assert block(server, site) == text
    assert report()["summary"]["ok"] == 21


def test_a_repair_starts_what_serves_a_site() -> None:
    connect("bravo").check_output("systemctl stop nginx")
    connect("charlie").check_output("systemctl stop stunnel@shop")
    result = succeed("repair")
    assert "bravo [shop]" in result.output and "charlie [shop]" in result.output
    assert {name for name, count in result.changed.items() if count} == {"bravo", "charlie"}
    assert report()["summary"]["ok"] == 21


def test_a_rotation_reaches_every_site() -> None:
    before = {place: served(place) for place in PLACES}
    succeed("regenerate")
    for place in PLACES:
        assert served(place) != before[place]
        is_demanding(place)
    assert report()["summary"]["ok"] == 21
    own_sites_answer()


def test_a_server_that_leaves_is_refused_at_every_site_and_its_own_are_taken_out() -> None:
    kept = "cp --dereference /etc/esync/current/client.crt /etc/esync/current/client.key /run/"
    connect("charlie").check_output(kept)
    succeed("remove", "-e", "esync_remove=charlie")
    assert configuration("charlie") == ""
    untouched("charlie")
    for place in PLACES:
        if place.server in ("alpha", "bravo"):
            where = f"--connect-to {place.host}:{place.port}:{address(place.server)}:{place.port}"
            status = (
                "--insecure --output /dev/null --write-out '%{http_code}' --cert /run/client.crt --key /run/client.key"
            )
            done = connect("charlie").run(f"curl --silent {status} {where} https://{place.host}:{place.port}/")
            assert done.stdout == "400", place
