# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""With the real HAProxy and the real stunnel: what is the same for every product that runs for us alone."""

from __future__ import annotations

import os
import socket
from dataclasses import replace

import pytest
from endpoint_hosts import free_port, site, upstream

from ansible_collections.esync.mesh.plugins.module_utils._core import processes
from ansible_collections.esync.mesh.plugins.module_utils._core.errors import EsyncError
from ansible_collections.esync.mesh.plugins.module_utils._endpoints import places, procedure

HEALTH = ["GET / HTTP/1.1", "Host: a"]
FIRST = ("configuration_differs", "not_loaded", "not_running")

both = pytest.mark.parametrize("own_host", ["haproxy", "stunnel"], indirect=True)


@pytest.fixture
def host(own_host):
    """The host, with an upstream."""
    with upstream() as behind:
        own_host.settings = replace(own_host.settings, upstream=f"tcp://127.0.0.1:{behind}")
        yield own_host


@both
def test_its_life(host):
    assert host.present().reasons == FIRST
    assert places.served(host.settings.port) == host.fingerprint
    assert host.ask(HEALTH)[0] == 200
    assert host.note.startswith(f"{host.driver.name}: trust ")
    assert host.present().reasons == ()
    main = host.main
    host.trust("b", "c")
    assert host.present().reasons == ("not_loaded",)
    assert host.ask(HEALTH, peer="c")[0] == 200
    new = host.renew()
    assert "another_certificate_served" in host.present().reasons
    assert places.served(host.settings.port) == new
    assert host.main == main
    assert host.present(restart=True).reasons == ("restart_asked_for",)
    assert host.main not in (None, main)
    host.stop()
    assert host.present().reasons == ("not_running",)
    assert host.absent().reasons == ("present",)
    assert host.main is None
    assert not host.configuration.exists() and not host.note
    assert host.absent().reasons == ()
