# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Hosts for the endpoints."""

from __future__ import annotations

from pathlib import Path
from typing import Iterator

import pytest
from endpoint_hosts import REAL_NGINX, NginxHost, OwnHost, free_port, require

from ansible_collections.esync.mesh.plugins.module_utils._endpoints import haproxy_callers, own_service, systemd


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """The directory of a server, with nothing in it."""
    folder = tmp_path / "esync"
    folder.mkdir(mode=0o755)
    return folder


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[NginxHost]:
    """A host with the stand-in for nginx: programs of its names that behave as it does."""
    made = NginxHost(tmp_path, free_port())
    monkeypatch.setenv("PATH", f"{tmp_path}/bin", prepend=":")
    monkeypatch.setattr(systemd, "RUNNING", str(tmp_path / "no-systemd"))
    yield made
    made.stop()


@pytest.fixture
def real_host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[NginxHost]:
    """A host with the real nginx, which serves in a folder of the test."""
    if not REAL_NGINX:
        pytest.skip("there is no nginx")
    made = NginxHost(tmp_path, free_port(), REAL_NGINX)
    monkeypatch.setenv("PATH", f"{tmp_path}/bin", prepend=":")
    monkeypatch.setattr(systemd, "RUNNING", str(tmp_path / "no-systemd"))
    yield made
    made.stop()


@pytest.fixture
def own_host(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[OwnHost]:
    """A host with a real product that runs for us alone; its driver is the parameter."""
    made = _own_host(request.param, tmp_path, monkeypatch)
    yield made
    made.stop()


@pytest.fixture
def resident_host(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[NginxHost | OwnHost]:
    """A host with a real product; its driver is the parameter."""
    if request.param == "nginx":
        yield request.getfixturevalue("real_host")
    else:
        made = _own_host(request.param, tmp_path, monkeypatch)
        yield made
        made.stop()


def _own_host(driver: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> OwnHost:
    require(driver)
    monkeypatch.setattr(systemd, "RUNNING", str(tmp_path / "no-systemd"))
    monkeypatch.setattr(own_service, "RUN", str(tmp_path / "run"))
    monkeypatch.setattr(haproxy_callers, "FOLDER", str(tmp_path / "run"))
    (tmp_path / "run").mkdir()
    tmp_path.chmod(0o755)
    return OwnHost(tmp_path, free_port(), driver)
