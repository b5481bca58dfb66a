# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The text of the configuration, byte for byte, and what the real HAProxy makes of it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from endpoint_hosts import OwnHost, free_port, require, settings, site, upstream
from http_requests import FORGED, INTRANET, REQUESTS, SHOP, assert_only_ours, told

from ansible_collections.esync.mesh.plugins.module_utils._core.errors import EsyncError
from ansible_collections.esync.mesh.plugins.module_utils._endpoints import own_service, systemd
from ansible_collections.esync.mesh.plugins.module_utils._endpoints.haproxy_configuration import Listening, render
from ansible_collections.esync.mesh.plugins.module_utils._endpoints.in_force import InForce

EXPECTED = Path(__file__).parent / "configurations" / "haproxy"
THIS = InForce("ab" * 32, "dd", "one", 2)
PLAIN = settings("/etc/esync", 8732, name="alpha")
VERSION = "9.0 \"beta\" $uri \\n 'x' } { %[src] \u00e9"
HERE = Listening(ipv6=True, root=True, journal=True)

CASES = {
    "plain": (replace(PLAIN, upstream="http://127.0.0.1:8080", access_log="stdout"), THIS, HERE),
    "no_peers": (PLAIN, InForce(None, None, None, 0), Listening(False, False, False)),
    "many_peers": (replace(PLAIN, upstream="tcp://[::1]:873"), replace(THIS, peers=501), HERE),
    "sites": (
        replace(
            PLAIN,
            upstream="http://127.0.0.1:8080",
            sites=(
                site("shop", 8732, server_name="shop.example"),
                site("news", 8732, server_name="news.example", upstream="http://127.0.0.1:8081"),
                site("old", 9000, upstream="proxy://127.0.0.1:873"),
                site("one", 9001, server_name="one.example", upstream="tcp://127.0.0.1:1"),
                site("two", 9001, server_name="two.example", upstream="tcp://127.0.0.1:2"),
            ),
        ),
        THIS,
        HERE,
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_the_text(case):
    assert render(*CASES[case]) == (EXPECTED / f"{case}.cfg").read_text()


def test_every_expected_text_is_compared():
    assert {path.stem for path in EXPECTED.iterdir()} == set(CASES)


def test_sites_of_two_kinds_do_not_share_a_port():
    sites = tuple(site(name, 1, server_name=f"{name}.example", upstream=f"{name}://h:1") for name in ("http", "tcp"))
    with pytest.raises(EsyncError) as caught:
        render(replace(PLAIN, sites=sites), THIS, HERE)
    assert caught.value.kind == "bad_setting"
    assert "the sites http and tcp have the same port 1" in str(caught.value)


# -- the real HAProxy -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("own_host", ["haproxy"], indirect=True)
def test_the_health_answer(own_host):
    own_host.present(product_version=VERSION)
    status, body = own_host.ask(["GET /esync/health HTTP/1.1", "Host: a"])
    expected = {"server": "a", "generation": own_host.fingerprint, "product_version": VERSION, "peer": "b"}
    assert (status, json.loads(body)) == (200, expected)
    assert own_host.ask(["GET /other HTTP/1.1", "Host: a"])[0] == 404


@pytest.fixture(scope="module", params=[(SHOP,), (SHOP, INTRANET)], ids=["one site", "two sites"])
def named(request, tmp_path_factory):
    """The real HAProxy with sites that have names; and their names."""
    yield from _serving(tmp_path_factory.mktemp("named"), request.param)


@pytest.fixture(scope="module")
def unnamed(tmp_path_factory):
    """The real HAProxy with an endpoint that is served under any name."""
    yield from _serving(tmp_path_factory.mktemp("unnamed"), ())


def _serving(root, names):
    require("haproxy")
    root.chmod(0o755)
    (root / "run").mkdir()
    host = OwnHost(root, free_port(), "haproxy")
    sites = tuple(site(name.split(".")[0], host.settings.port, server_name=name) for name in names)
    with pytest.MonkeyPatch.context() as patched, upstream() as behind:
        patched.setattr(systemd, "RUNNING", str(root / "no-systemd"))
        patched.setattr(own_service, "RUN", str(root / "run"))
        host.present(sites=sites, upstream=f"http://127.0.0.1:{behind}")
        yield host, names
        host.stop()


@pytest.mark.parametrize("sni, target, header, expected", REQUESTS)
def test_a_site_is_served_and_its_upstream_told_its_name_only(named, sni, target, header, expected):
    host, names = named
    expected = expected if expected != INTRANET or expected in names else 421
    found = told(host.ask([f"GET {target} HTTP/1.1", f"Host: {header}"], name=sni))
    # HAProxy itself refuses two names in one request, also if only one of them has a port.
    allowed = expected if isinstance(expected, tuple) else (expected,)
    two_names = target != "/" and target.split("/")[2] != header
    assert found in allowed or (found == 400 and two_names)
    if isinstance(found, int) and target == "/":
        assert host.ask(["GET /esync/health HTTP/1.1", f"Host: {header}"], name=sni)[0] == found


@pytest.mark.parametrize("forged", FORGED)
def test_what_a_caller_says_of_itself_does_not_reach_the_upstream(named, forged):
    host, _names = named
    lines = ["GET / HTTP/1.1", f"Host: {SHOP}"]
    for more in ([forged], [forged, forged], ["Connection: X-Esync-Peer, X-Forwarded-Host, Host", forged]):
        status, body = host.ask([*lines, *more], name=SHOP)
        if status != 400:
            assert_only_ours(status, json.loads(body), host.settings.port)


def test_a_request_of_two_headers_host_is_refused(named):
    host, _names = named
    for pair in ((SHOP, INTRANET), (INTRANET, SHOP)):
        assert host.ask(["GET / HTTP/1.1", *(f"Host: {name}" for name in pair)], name=SHOP)[0] in (400, 421)


@pytest.mark.parametrize("line", ["GET / HTTP/1.0", f"GET http://{SHOP}/ HTTP/1.0"])
def test_a_site_is_not_served_to_callers_that_name_no_host(named, line):
    assert named[0].ask([line], name=SHOP)[0] in (400, 421)


@pytest.mark.parametrize(
    "lines, expected",
    [
        (["GET / HTTP/1.1", "Host: Any.example:99"], "Any.example:99"),
        (["GET / HTTP/1.1", "Host: [::1]:8732"], "[::1]:8732"),
        (["GET https://any.example/admin HTTP/1.1", "Host: any.example"], "any.example"),
        (["GET https://any.example/admin HTTP/1.1", "Host: other.example"], 400),
        (["GET https://any.example/admin HTTP/1.1", "Host: any.example.other"], 400),
    ],
)
def test_the_upstream_of_an_endpoint_without_a_name_is_told_one_name_whatever_it_is(unnamed, lines, expected):
    assert told(unnamed[0].ask([*lines, "X-Esync-Peer: c"], name="a")) == expected


def test_and_is_told_none_if_the_caller_gives_none(unnamed):
    status, body = unnamed[0].ask(["GET / HTTP/1.0", "X-Forwarded-Host: other.example"])
    assert (status, json.loads(body).keys() & {"host", "x-forwarded-host"}) == (200, set())
