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

from ansible_collections.esync.mesh.plugins.module_utils._core.errors import EsyncError
from ansible_collections.esync.mesh.plugins.module_utils._endpoints import systemd
from ansible_collections.esync.mesh.plugins.module_utils._endpoints.in_force import InForce
from ansible_collections.esync.mesh.plugins.module_utils._endpoints.nginx import NginxEndpoint
from ansible_collections.esync.mesh.plugins.module_utils._endpoints.nginx_configuration import render
from ansible_collections.esync.mesh.plugins.module_utils._endpoints.procedure import bring_up

EXPECTED = Path(__file__).parent / "configurations"
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
    assert render(*CASES[case]) == (EXPECTED / f"{case}.conf").read_text()


def test_every_expected_text_is_compared():
    assert {path.stem for path in EXPECTED.iterdir()} == set(CASES)


def test_the_names_of_peers_are_announced_as_long_as_they_fit():
    announced = "ssl_client_certificate /etc/esync/trusted/clients.pem;"
    assert announced in render(PLAIN, replace(THIS, peers=500), True)
    assert announced not in render(PLAIN, replace(THIS, peers=501), True)


def test_nothing_is_rendered_from_what_is_refused():
    with pytest.raises(EsyncError) as caught:
        render(replace(PLAIN, upstream="http://x; }"), THIS, True)
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


SHOP, INTRANET = "shop.example", "intranet.example"
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


def told(answer):
    """What the upstream was told of the name that is asked for; the status if it was not asked."""
    status, body = answer
    if status != 200:
        return status
    got = json.loads(body)
    assert got["x-esync-peer"] == ["b"]
    assert got["x-forwarded-host"] == got["host"]
    (host,) = got["host"]
    return host


REQUESTS = [
    # The name in the handshake, the target, the header Host, and what the upstream is told of it.
    (SHOP, "/", SHOP, SHOP),
    (SHOP, "/", f"{SHOP}:8732", f"{SHOP}:8732"),
    (SHOP, "/", "Shop.EXAMPLE", SHOP),
    (SHOP, "/", "Shop.EXAMPLE:1", f"{SHOP}:1"),
    (SHOP, "/", f"{SHOP}.", SHOP),
    ("Shop.Example", "/", SHOP, SHOP),
    ("", "/", SHOP, SHOP),
    ("", "/", f"{SHOP}:8732", f"{SHOP}:8732"),
    (SHOP, f"https://{SHOP}/", SHOP, SHOP),
    (SHOP, f"https://{SHOP}/", f"{SHOP}:8732", f"{SHOP}:8732"),
    (SHOP, f"https://{SHOP}:8732/", SHOP, SHOP),
    (INTRANET, "/", INTRANET, INTRANET),
    ("", f"https://{INTRANET}/", INTRANET, INTRANET),
    # The request line and the header differ.
    (SHOP, f"https://{SHOP}/admin", INTRANET, 421),
    ("", f"https://{SHOP}/admin", INTRANET, 421),
    (SHOP, f"https://{SHOP}:8732/admin", f"{INTRANET}:8080", 421),
    (SHOP, f"https://{SHOP}/admin", f"x{SHOP}:1", 421),
    (SHOP, f"https://{SHOP}/admin", f"{SHOP}.x", 421),
    (SHOP, f"https://{SHOP}/admin", "shopxexample:1", 421),
    (SHOP, f"https://{SHOP}/admin", f"{SHOP}:1.{INTRANET}", 421),
    (SHOP, f"https://{SHOP}/admin", f"{SHOP}:{INTRANET}", 421),
    (SHOP, f"https://{SHOP}/admin", f"{SHOP} {SHOP}", (400, 421)),
    (SHOP, f"https://{INTRANET}/", SHOP, 421),
    ("", f"https://{INTRANET}/", SHOP, 421),
    # The handshake and the request differ.
    (SHOP, "/", INTRANET, 421),
    (INTRANET, "/", SHOP, 421),
    (SHOP, f"https://{INTRANET}/", INTRANET, 421),
    (INTRANET, f"https://{SHOP}/", SHOP, 421),
    ("other.example", "/", SHOP, 421),
    (f"x{SHOP}", "/", SHOP, 421),
    # A site of somebody else.
    ("own.example", "/", SHOP, 421),
    # Nothing that is the site's name.
    (SHOP, "/", "shop%2eexample", 421),
    (SHOP, "/", "127.0.0.1", 421),
    (SHOP, "/", "[::1]:8732", 421),
    (SHOP, "/", "", (400, 421)),
    ("", "/", "other.example", 421),
]


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


FORGED = [
    "X-Esync-Peer: c",
    "x-esync-peer: c",
    "X_Esync_Peer: c",
    "X-Esync_Peer: c",
    "X.Esync.Peer: c",
    "X-Esync-Peer\t: c",
    "X-Forwarded-For: 10.9.8.7",
    "X-Forwarded-Host: intranet.example",
    "X-Forwarded-Port: 1",
    "X-Forwarded-Proto: http",
    "X_Forwarded_Host: intranet.example",
    "X-Real-IP: 10.9.8.7",
    "X-Client-IP: 10.9.8.7",
    "X-Forwarded-Server: intranet.example",
    "X-Forwarded-Prefix: /admin",
    "X-Host: intranet.example",
    "X-Original-Host: intranet.example",
    "X-Original-URL: /admin",
    "X-Rewrite-URL: /admin",
    "Forwarded: for=10.9.8.7;host=intranet.example",
    "Client-Cert: :AAAA:",
    "Client-Cert-Chain: :AAAA:",
    "X-Forwarded-Client-Cert: By=c",
]


@pytest.mark.parametrize("forged", FORGED)
def test_what_a_caller_says_of_itself_does_not_reach_the_upstream(named, forged):
    host, _names = named
    lines = ["GET / HTTP/1.1", f"Host: {SHOP}"]
    # By the header Connection a caller asks a proxy to take out headers, and here those that the endpoint sets.
    for more in ([forged], [forged, forged], ["Connection: X-Esync-Peer, X-Forwarded-Host, Host", forged]):
        status, body = host.ask([*lines, *more], name=SHOP)
        if status == 400:
            continue
        got = json.loads(body)
        assert (status, got["x-esync-peer"], got["host"]) == (200, ["b"], [SHOP])
        assert got["x-forwarded-for"] == got["x-real-ip"] == ["127.0.0.1"]
        assert (got["x-forwarded-host"], got["x-forwarded-proto"]) == ([SHOP], ["https"])
        assert got["x-forwarded-port"] == [str(host.settings.port)]
        assert set(got) <= {
            ":path", "connection", "host", "x-esync-peer", "x-real-ip",
            "x-forwarded-for", "x-forwarded-host", "x-forwarded-port", "x-forwarded-proto",
        }  # fmt: skip


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
