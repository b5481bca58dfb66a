# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""With the real HAProxy: what only it does."""

from __future__ import annotations

import json
import socket
import subprocess
from dataclasses import replace

import pytest
from endpoint_hosts import call, mirror, site

from ansible_collections.esync.mesh.plugins.module_utils._endpoints import haproxy
from ansible_collections.esync.mesh.plugins.module_utils._endpoints.in_force import read_in_force

own = pytest.mark.parametrize("own_host", ["haproxy"], indirect=True)


def answer(host, name=None):
    """What a service behind it gets from the caller b, which says only: end."""
    with call(host.settings.port, host.root / "peers" / "b", name=name) as connection:
        connection.sendall(b"end")
        return connection.recv(4096)


@own
def test_a_service_of_any_protocol_learns_who_calls_by_the_proxy_protocol(own_host):
    with mirror() as behind:
        own_host.present(upstream=f"tcp://127.0.0.1:{behind}")
        assert answer(own_host) == b"end"
        # The test of the mesh is answered whatever is behind.
        status, body = own_host.ask(["GET /esync/health HTTP/1.1", "Host: a"])
        assert (status, json.loads(body)["peer"]) == (200, "b")
        own_host.present(upstream=f"proxy://127.0.0.1:{behind}")
        header = answer(own_host)
    # Version 2 of the protocol: its signature, and the common name of the certificate (PP2_SUBTYPE_SSL_CN, 0x22).
    assert header.startswith(b"\r\n\r\n\x00\r\nQUIT\n")
    assert b"\x22\x00\x01b" in header and header.endswith(b"end")


@own
def test_sites_of_any_protocol_share_a_port_by_their_names(own_host):
    port = own_host.settings.port
    with mirror() as one, mirror() as two:
        sites = (
            site("one", port, server_name="one.example", upstream=f"tcp://127.0.0.1:{one}"),
            site("two", port, server_name="two.example", upstream=f"proxy://127.0.0.1:{two}"),
        )
        own_host.present(sites=sites)
        assert answer(own_host, "one.example") == b"end"
        assert answer(own_host, "two.example").startswith(b"\r\n\r\n")
        assert answer(own_host, "three.example") == answer(own_host) == b""
        for name, expected in (("one.example", 200), ("two.example", 200), ("three.example", 421), ("", 421)):
            status, body = own_host.ask(["GET /esync/health HTTP/1.1", "Host: a"], name=name)
            assert status == expected
            assert status == 421 or json.loads(body)["site"] == name.partition(".")[0]


@own
def test_a_service_that_speaks_first_is_heard_after_a_moment(own_host):
    with socket.create_server(("127.0.0.1", 0)) as server:
        own_host.present(upstream=f"tcp://127.0.0.1:{server.getsockname()[1]}")
        with call(own_host.settings.port, own_host.root / "peers" / "b") as connection:
            behind, _address = server.accept()
            with behind:
                behind.sendall(b"220 ready")
                assert connection.recv(4096) == b"220 ready"


@own
def test_more_peers_than_can_be_announced_are_accepted_all_the_same(own_host):
    endpoint = own_host.driver(replace(own_host.settings, upstream="http://127.0.0.1:1"))
    accepted = {}
    for peers in (500, 501):
        endpoint.configure(endpoint.render(replace(read_in_force(str(own_host.directory)), peers=peers)))
        endpoint.validate()
        endpoint.reload()
        status, _body = own_host.ask(["GET /esync/health HTTP/1.1", "Host: a"])
        accepted[peers] = status
        # What is announced is none of a caller's, so nobody is misled by it.
        command = ["openssl", "s_client", "-connect", f"127.0.0.1:{own_host.settings.port}"]
        said = subprocess.run(command, input="", capture_output=True, text=True, check=False).stdout
        assert ("CN = b" in said.partition("Acceptable client certificate CA names")[2]) == (peers == 500)
    assert accepted == {500: 200, 501: 200}


@pytest.mark.parametrize(
    "said, words",
    [
        (
            "[NOTICE]   (1) : haproxy version is 2.6.12\n"
            "[ALERT]    (1) : config : parsing [x.cfg:10] : 'bind :1' in section 'frontend' : \n"
            "  unable to load private key from file 'x.key'.\n"
            "   'x.key' is present but cannot be read or parsed'.\n"
            "[ALERT]    (1) : config : Fatal errors found in configuration.\n",
            "config : parsing [x.cfg:10] : 'bind :1' in section 'frontend' : unable to load private key from file "
            "'x.key'. 'x.key' is present but cannot be read or parsed'.",
        ),
        ("[ALERT] 331/010203 (1) : parsing [x.cfg:1] : unknown keyword\n", "parsing [x.cfg:1] : unknown keyword"),
        ("something else\n", "something else"),
        ("", ""),
    ],
)
def test_its_own_words_are_found(said, words):
    assert haproxy.words_of(said) == words
