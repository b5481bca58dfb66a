# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The text of the configuration, byte for byte, and what the real nginx makes of it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from endpoint_hosts import REAL_NGINX, NginxHost, free_port, settings, site, upstream
from http_requests import FORGED, INTRANET, REQUESTS, SHOP, assert_only_ours, told

from ansible_collections.esync.mesh.plugins.module_utils._core.errors import EsyncError
from ansible_collections.esync.mesh.plugins.module_utils._endpoints import systemd
from ansible_collections.esync.mesh.plugins.module_utils._endpoints.in_force import InForce
from ansible_collections.esync.mesh.plugins.module_utils._endpoints.nginx import NginxEndpoint
from ansible_collections.esync.mesh.plugins.module_utils._endpoints.nginx_configuration import render
from ansible_collections.esync.mesh.plugins.module_utils._endpoints.procedure import bring_up

EXPECTED = Path(__file__).parent / "configurations" / "nginx"
THIS = InForce("ab" * 32, "dd", "one", 2)
PLAIN = settings("/etc/esync", 8732, name="alpha")
VERSION = "9.0 \"beta\" $uri \\n 'x' } { \u00e9"

CASES = {
    "plain": (replace(PLAIN, upstream="http://127.0.0.1:8080", access_log="/var/log/nginx/esync.log"), THIS, True),
    "no_peers": (PLAIN, InForce(None, None, None, 0), False),
    "many_peers": (replace(PLAIN, product_version=VERSION), replace(THIS, peers=501), False),
    "sites": (
        replace(
            PLAIN,
            upstream="http://127.0.0.1:8080",
            sites=(
                site("shop", 8732, server_name="shop.example", root="/srv/shop"),
                site("news", 8732, server_name="news.example"),
                site("old", 9000, upstream="https://127.0.0.1:8081/old/"),
            ),
        ),
        THIS,
        True,
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_the_text(case):
    assert render(*CASES[case], notes=True) == (EXPECTED / f"{case}.conf").read_text()


def test_an_nginx_that_cannot_note_connections_is_not_asked_to():
    settings_, in_force, ipv6 = CASES["plain"]
    assert "auth_request" in render(settings_, in_force, ipv6, notes=True)
    assert "auth_request" not in render(settings_, in_force, ipv6, notes=False)
    assert "connections.log" not in render(settings_, in_force, ipv6, notes=False)


def test_every_expected_text_is_compared():
    assert {path.stem for path in EXPECTED.iterdir()} == set(CASES)


def test_the_names_of_peers_are_announced_as_long_as_they_fit():
    announced = "ssl_client_certificate /etc/esync/trusted/clients.pem;"
    assert announced in render(PLAIN, replace(THIS, peers=500), True, True)
    assert announced not in render(PLAIN, replace(THIS, peers=501), True, True)


def test_nothing_is_rendered_from_what_is_refused():
    with pytest.raises(EsyncError) as caught:
        render(replace(PLAIN, upstream="http://x; }"), THIS, True, True)
    assert caught.value.kind == "bad_setting"


# -- the real nginx -------------------------------------------------------------------------------------------


def test_the_health_answer(real_host):
    asked = replace(real_host.settings, product_version=VERSION)
    bring_up(NginxEndpoint, asked)
    status, body = real_host.ask(["GET /esync/health HTTP/1.1", "Host: a"])
    expected = {"server": "a", "generation": real_host.fingerprint, "product_version": VERSION, "peer": "b"}
    assert (status, json.loads(body)) == (200, expected)
    assert real_host.ask(["GET /other HTTP/1.1", "Host: a"])[0] == 404
    # Not trusted.
    assert real_host.ask(["GET /esync/health HTTP/1.1", "Host: a"], peer="c")[0] == 400


# HTTP/2 is spoken on the port because a site of the user's own asks for it. The user lets any header pass everywhere.
OWN_SITE = """\
keepalive_requests 1;
underscores_in_headers on;
ignore_invalid_headers off;
ssl_certificate {folder}/server.crt;
ssl_certificate_key {folder}/server.key;
server {{ listen {port} ssl http2; server_name own.example; return 200 own; }}
"""


@pytest.fixture(scope="module", params=[(SHOP,), (SHOP, INTRANET)], ids=["one site", "two sites"])
def named(request, tmp_path_factory):
    """The real nginx with sites that have names, on the port of a site of the user's own; and their names."""
    root = tmp_path_factory.mktemp("named")
    root.chmod(0o755)
    yield from _serving(root, request.param)


def _serving(root, names):
    if not REAL_NGINX:
        pytest.skip("there is no nginx")
    host = NginxHost(root, free_port(), REAL_NGINX)
    port = host.settings.port
    (root / "conf.d" / "own.conf").write_text(OWN_SITE.format(folder=host.directory / "current", port=port))
    sites = tuple(site(name.split(".")[0], port, server_name=name) for name in names)
    with pytest.MonkeyPatch.context() as patched, upstream() as behind:
        patched.setenv("PATH", f"{root}/bin", prepend=":")
        patched.setattr(systemd, "RUNNING", str(root / "no-systemd"))
        bring_up(NginxEndpoint, replace(host.settings, sites=sites, upstream=f"http://127.0.0.1:{behind}"))
        yield host, names
        host.stop()


@pytest.mark.parametrize("sni, target, header, expected", REQUESTS)
def test_a_site_is_served_and_its_upstream_told_its_name_only(named, sni, target, header, expected):
    host, names = named
    expected = expected if expected != INTRANET or expected in names else 421
    found = told(host.ask([f"GET {target} HTTP/1.1", f"Host: {header}"], name=sni))
    assert found in (expected if isinstance(expected, tuple) else (expected,))
    # What the collection answers itself is no exception.
    if isinstance(found, int) and target == "/":
        assert host.ask(["GET /esync/health HTTP/1.1", f"Host: {header}"], name=sni)[0] == found


@pytest.mark.parametrize("target", ["/", f"http://{SHOP}/"])
@pytest.mark.parametrize("sni", [SHOP, ""])
def test_a_site_is_not_served_to_callers_that_name_no_host(named, sni, target):
    assert told(named[0].ask([f"GET {target} HTTP/1.0"], name=sni)) == 421


@pytest.mark.parametrize("names", [(SHOP, INTRANET), (INTRANET, SHOP), (SHOP, SHOP)])
@pytest.mark.parametrize("sni", [SHOP, ""])
def test_of_two_headers_the_upstream_is_never_told_the_one_that_was_not_checked(named, sni, names):
    host, _names = named
    # Old versions of nginx take the first.
    allowed = (400, 421, SHOP) if names[0] == SHOP else (400, 421)
    assert told(host.ask(["GET / HTTP/1.1", *(f"Host: {name}" for name in names)], name=sni)) in allowed


@pytest.mark.parametrize(
    "sni, authority, header, expected",
    [
        (SHOP, SHOP, None, (SHOP,)),
        ("", SHOP, None, (SHOP,)),
        (SHOP, None, SHOP, (SHOP,)),
        (SHOP, f"{SHOP}:8732", None, (f"{SHOP}:8732",)),
        (SHOP, "Shop.Example", None, (SHOP,)),
        (SHOP, SHOP, SHOP, (SHOP, 400)),
        (SHOP, SHOP, INTRANET, (400, 421)),
        (SHOP, INTRANET, SHOP, (400, 421)),
        ("", SHOP, INTRANET, (400, 421)),
        ("", INTRANET, SHOP, (400, 421)),
        (SHOP, INTRANET, None, (421,)),
        ("other.example", SHOP, None, (421,)),
        (SHOP, None, None, (400, 421)),
    ],
)
def test_and_likewise_with_http2(named, sni, authority, header, expected):
    headers = [(":method", "GET"), (":scheme", "https"), (":path", "/")]
    headers += [(":authority", authority)] if authority else []
    headers += [("host", header)] if header else []
    assert told(named[0].ask_http2(headers, sni)) in expected


@pytest.mark.parametrize("forged", FORGED)
def test_what_a_caller_says_of_itself_does_not_reach_the_upstream(named, forged):
    host, _names = named
    lines = ["GET / HTTP/1.1", f"Host: {SHOP}"]
    # By the header Connection a caller asks a proxy to take out headers, and here those that the endpoint sets.
    for more in ([forged], [forged, forged], ["Connection: X-Esync-Peer, X-Forwarded-Host, Host", forged]):
        status, body = host.ask([*lines, *more], name=SHOP)
        if status == 400:
            continue
        assert_only_ours(status, json.loads(body), host.settings.port)


@pytest.mark.parametrize(
    "lines, expected",
    [
        (["GET / HTTP/1.1", "Host: Any.example:99"], "Any.example:99"),
        (["GET / HTTP/1.1", "Host: any.example."], "any.example."),
        (["GET / HTTP/1.1", "Host: [::1]:8732"], "[::1]:8732"),
        (["GET https://any.example:99/ HTTP/1.1", "Host: Any.example"], "Any.example"),
        (["GET https://any.example/admin HTTP/1.1", "Host: other.example"], 421),
        (["GET https://any.example/admin HTTP/1.1", "Host: any.example.other"], 421),
        (["GET https://any.example/admin HTTP/1.1", "Host: any.example:x"], 421),
    ],
)
def test_the_upstream_of_an_endpoint_without_a_name_is_told_one_name_whatever_it_is(unnamed, lines, expected):
    assert told(unnamed[0].ask([*lines, "X-Esync-Peer: c"], name="a")) == expected


@pytest.mark.parametrize("more", [[], ["X-Forwarded-Host: other.example"]])
def test_and_is_told_none_if_the_caller_gives_none(unnamed, more):
    status, body = unnamed[0].ask(["GET / HTTP/1.0", *more])
    assert (status, json.loads(body).keys() & {"host", "x-forwarded-host"}) == (200, set())
    assert unnamed[0].ask(["GET http://other.example/ HTTP/1.0", *more])[0] == 421


@pytest.fixture(scope="module")
def unnamed(tmp_path_factory):
    """The real nginx with an endpoint that is served under any name."""
    root = tmp_path_factory.mktemp("unnamed")
    root.chmod(0o755)
    yield from _serving(root, ())


def test_the_files_of_a_site(real_host, tmp_path):
    (tmp_path / "content").mkdir(mode=0o755)
    (tmp_path / "content" / "file").write_text("content")
    one = site("shop", real_host.settings.port, root=str(tmp_path / "content"))
    bring_up(NginxEndpoint, replace(real_host.settings, sites=(one,)))
    assert real_host.ask(["GET /file HTTP/1.1", "Host: a"]) == (200, "content")
    assert json.loads(real_host.ask(["GET /esync/health HTTP/1.1", "Host: a"])[1])["site"] == "shop"
