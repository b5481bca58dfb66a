# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The text of the configuration, byte for byte, and what the real nginx makes of it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from endpoint_hosts import free_port, settings, site, upstream

from ansible_collections.esync.mesh.plugins.module_utils._core.errors import EsyncError
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


@pytest.mark.parametrize(
    "target, header, told",
    [
        ("/", SHOP, SHOP),
        ("/", f"{SHOP}:8732", f"{SHOP}:8732"),
        ("/", "Shop.EXAMPLE", SHOP),
        ("/", "Shop.EXAMPLE:1", f"{SHOP}:1"),
        ("/", f"{SHOP}.", SHOP),
        (f"https://{SHOP}/", SHOP, SHOP),
        (f"https://{SHOP}/", f"{SHOP}:8732", f"{SHOP}:8732"),
        # The request line has a URL: it counts, whatever the header says.
        (f"https://{SHOP}/admin", INTRANET, SHOP),
        (f"https://{SHOP}:8732/admin", f"{INTRANET}:8080", SHOP),
        (f"https://{SHOP}/admin", f"x{SHOP}:1", SHOP),
        (f"https://{SHOP}/admin", "shopxexample:1", SHOP),
        (f"https://{SHOP}/admin", f"{SHOP}:1.{INTRANET}", SHOP),
        ("/", INTRANET, 421),
        (f"https://{INTRANET}/", SHOP, 421),
        (f"https://{INTRANET}/", INTRANET, 421),
    ],
)
def test_the_upstream_of_a_site_is_told_the_name_that_was_checked(named, target, header, told):
    status, body = named.ask([f"GET {target} HTTP/1.1", f"Host: {header}"], name=SHOP)
    if isinstance(told, int):
        assert status == told
    elif status == 400:
        pytest.fail(f"nginx refuses the header {header!r}: this proves nothing")
    else:
        assert (status, json.loads(body)["host"]) == (200, told)
        assert json.loads(body)["x-esync-peer"] == "b"


@pytest.fixture(scope="module")
def named(tmp_path_factory):
    """The real nginx with a site that has a name."""
    yield from _named(tmp_path_factory.mktemp("named"))


def _named(root):
    from endpoint_hosts import REAL_NGINX, NginxHost

    from ansible_collections.esync.mesh.plugins.module_utils._endpoints import systemd

    if not REAL_NGINX:
        pytest.skip("there is no nginx")
    root.chmod(0o755)
    host = NginxHost(root, free_port(), REAL_NGINX)
    with pytest.MonkeyPatch.context() as patched, upstream() as port:
        patched.setenv("PATH", f"{root}/bin", prepend=":")
        patched.setattr(systemd, "RUNNING", str(root / "no-systemd"))
        site_of = site("shop", host.settings.port, server_name=SHOP)
        bring_up(NginxEndpoint, replace(host.settings, sites=(site_of,), upstream=f"http://127.0.0.1:{port}"))
        yield host
        host.stop()


def test_the_upstream_of_an_endpoint_without_a_name_is_told_what_the_caller_said(real_host):
    with upstream() as port:
        bring_up(NginxEndpoint, replace(real_host.settings, upstream=f"http://127.0.0.1:{port}"))
        _status, body = real_host.ask(["GET / HTTP/1.1", "Host: Any.example:99", "X-Esync-Peer: c"])
    told = json.loads(body)
    assert (told["host"], told["x-esync-peer"]) == ("Any.example:99", "b")


def test_the_files_of_a_site(real_host, tmp_path):
    (tmp_path / "content").mkdir(mode=0o755)
    (tmp_path / "content" / "file").write_text("content")
    one = site("shop", real_host.settings.port, root=str(tmp_path / "content"))
    bring_up(NginxEndpoint, replace(real_host.settings, sites=(one,)))
    assert real_host.ask(["GET /file HTTP/1.1", "Host: a"]) == (200, "content")
    assert json.loads(real_host.ask(["GET /esync/health HTTP/1.1", "Host: a"])[1])["site"] == "shop"
