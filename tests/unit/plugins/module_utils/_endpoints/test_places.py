# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import socket
import ssl

import pytest
from endpoint_hosts import free_port, make_certificate, serving

from ansible_collections.esync.mesh.plugins.module_utils._endpoints import places


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize("demand", [False, True])
def test_the_served_certificate_is_read_also_where_one_is_demanded(directory, version, demand):
    fingerprint = make_certificate(directory / "current")
    with serving(directory / "current", version, demand) as port:
        assert places.served(places.Place(port)) == fingerprint


def test_nothing_is_served_where_nobody_listens():
    assert places.served(places.Place(free_port()), "127.0.0.1") is None


def test_what_is_not_tls_serves_nothing():
    with socket.create_server(("127.0.0.1", 0)) as server:
        # It takes the connection, and never says anything.
        assert places.served(places.Place(server.getsockname()[1]), timeout=0.2) is None


def test_a_site_is_asked_for_by_its_name(directory):
    fingerprint, asked = make_certificate(directory / "current"), []
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(str(directory / "current" / "server.crt"), str(directory / "current" / "server.key"))

    def note(_connection, name, _context):
        asked.append(name)

    context.sni_callback = note
    with serving(directory / "current", context=context) as port:
        assert places.served(places.Place(port, None, "shop.example")) == fingerprint
        assert places.served(places.Place(port)) == fingerprint
    assert asked == ["shop.example", None]


def test_places_in_words():
    assert str(places.Place(1)) == "port 1"
    assert str(places.Place(2, "shop", "s.example")) == "site shop, port 2 (s.example)"
    assert str(places.Place(3, "news")) == "site news, port 3"
    assert (places.describe(None), places.describe("ff")) == ("serves no certificate", "serves the certificate ff")
