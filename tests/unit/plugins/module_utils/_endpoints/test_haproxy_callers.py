# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""With the real HAProxy: what its tables tell of who has called, and from when on."""

from __future__ import annotations

import hashlib
import ssl
import stat
import time
from dataclasses import replace

import pytest
from endpoint_hosts import call, mirror

from ansible_collections.esync.mesh.plugins.module_utils._endpoints import haproxy_callers

pytestmark = pytest.mark.parametrize("own_host", ["haproxy"], indirect=True)

HEALTH = ["GET /esync/health HTTP/1.1", "Host: a"]


def noted(host, **changes):
    return host.driver(replace(host.settings, **changes)).noted()


def test_who_called_from_where_is_told_in_the_order_of_the_calls(own_host):
    own_host.present()
    before = time.time()
    with own_host.connect("b") as one, own_host.connect("b", source="127.0.0.2") as two:
        callers = [(own_host.settings.port, *end.getsockname()) for end in (one, two)]
        found = [pair for pair in noted(own_host).presented if pair.caller in callers]
    pem = (own_host.root / "peers" / "b" / "client.crt").read_text()
    assert [one.caller for one in found] == callers
    assert {one.certificate for one in found} == {hashlib.sha1(ssl.PEM_cert_to_DER_cert(pem)).hexdigest()}
    assert all(before - 0.01 <= one.at <= time.time() for one in found)


def test_callers_of_a_service_of_any_protocol_are_noted_too(own_host):
    with mirror() as behind:
        own_host.present(upstream=f"tcp://127.0.0.1:{behind}")
        with call(own_host.settings.port, own_host.root / "peers" / "b") as connection:
            caller = (own_host.settings.port, *connection.getsockname())
            assert caller in [one.caller for one in noted(own_host).presented]


def test_who_is_refused_is_not_noted(own_host):
    # The bundle accepts it, and nobody knows whose it is.
    (own_host.directory / "trusted" / "clients.map").write_text("")
    own_host.present()
    for peer in ("b", "c"):
        with pytest.raises((ValueError, IndexError, OSError)):
            own_host.ask(HEALTH, peer)
    assert noted(own_host).presented == []


def test_what_a_process_of_before_a_reload_has_noted_of_closed_connections_is_gone(own_host):
    own_host.present()
    assert own_host.ask(HEALTH)[0] == 200
    time.sleep(1.1)
    reloaded = time.time()
    own_host.trust("b", "c")
    own_host.present()
    found = noted(own_host)
    assert reloaded - 0.01 <= found.since <= time.time()
    assert all(one.at >= reloaded for one in found.presented)


def test_more_callers_than_are_kept_are_not_known(own_host, monkeypatch):
    own_host.present()
    assert own_host.ask(HEALTH)[0] == 200
    monkeypatch.setattr(haproxy_callers, "_AT_MOST", 1)
    assert noted(own_host) is None


def test_what_cannot_be_asked_is_not_known(own_host):
    assert noted(own_host) is None
    own_host.present()
    assert noted(own_host) is not None
    (own_host.root / "run" / "esync-test.sock").unlink()
    assert noted(own_host) is None


def test_only_root_may_ask_and_nothing_is_left_of_the_socket(own_host):
    own_host.present()
    path = own_host.root / "run" / "esync-test.sock"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    own_host.absent()
    assert not path.exists()
