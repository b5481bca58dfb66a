# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What one step does for a host, whoever serves its sites."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import ssl
import time
from dataclasses import replace
from pathlib import Path
from typing import Any, Iterator

import pytest
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from endpoint_hosts import NginxHost, free_port, make_certificate, serving

from ansible_collections.esync.mesh.plugins.module_utils._core import processes
from ansible_collections.esync.mesh.plugins.module_utils._core.errors import EsyncError
from ansible_collections.esync.mesh.plugins.module_utils._endpoints import retiring, systemd
from ansible_collections.esync.mesh.plugins.module_utils._endpoints.contract import EndpointSettings, Site
from ansible_collections.esync.mesh.plugins.module_utils._endpoints.registry import ENDPOINTS
from ansible_collections.esync.mesh.plugins.module_utils._steps import endpoint
from ansible_collections.esync.mesh.plugins.module_utils._steps.context import Context


def how(check: bool = False, diff: bool = False) -> Context:
    """How the step is called; it warns of nothing."""
    return Context(check, diff, pytest.fail)


DO = how()


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[NginxHost]:
    """A host with the stand-in for nginx."""
    made = NginxHost(tmp_path, free_port())
    monkeypatch.setenv("PATH", f"{tmp_path}/bin", prepend=":")
    monkeypatch.setattr(systemd, "RUNNING", str(tmp_path / "no-systemd"))
    yield made
    made.stop()


def run(host: NginxHost, context: Context = DO, **options: Any) -> dict[str, Any]:
    """The step with these options, the others by their defaults."""
    common = {
        "name": "a",
        "directory": str(host.directory),
        "driver": "nginx",
        "port": host.settings.port,
        "configuration": str(host.configuration),
        "timeout": 5,
    }
    validated = ArgumentSpecValidator(endpoint.SPEC).validate({**common, **options})
    assert not validated.error_messages
    return endpoint.run(validated.validated_parameters, context)


def reasons(host: NginxHost, context: Context = DO, **options: Any) -> list[str]:
    """The reasons, and whether they agree with what is said to have changed."""
    result = run(host, context, **options)
    assert result["changed"] == bool(result["reasons"])
    found: list[str] = result["reasons"]
    return found


def test_every_setting_and_every_part_of_a_site_can_be_given() -> None:
    fields = {field.name for field in dataclasses.fields(EndpointSettings)}
    assert set(endpoint.SPEC) == fields | {"driver", "state", *endpoint.WATCH}
    parts = {*endpoint.SPEC["sites"]["options"], *endpoint.SPEC["services"]["options"]}
    assert parts == {field.name for field in dataclasses.fields(Site)}
    assert endpoint.SPEC["driver"]["choices"] == list(ENDPOINTS)


def test_nginx(host: NginxHost) -> None:
    assert reasons(host) == ["configuration_differs", "not_loaded", "not_running"]
    assert reasons(host) == []
    assert reasons(host, state="absent") == ["present"]
    assert reasons(host, state="absent") == []


def test_the_diff_is_the_configuration(host: NginxHost) -> None:
    planned = run(host, how(check=True, diff=True))
    assert not host.configuration.exists()
    done = run(host, how(diff=True))
    text = host.configuration.read_text()
    header = str(host.configuration)
    ended = done.pop("connections")
    assert (ended["ended"], ended["restarted"]) == (0, False)
    assert planned == done
    assert done["diff"] == {"before": "", "after": text, "before_header": header, "after_header": header}
    assert "diff" not in run(host, how(diff=True))
    assert "diff" not in run(host, upstream="http://127.0.0.1:1")
    assert run(host, how(diff=True), state="absent")["diff"]["after"] == ""


def test_observed_says_why_and_changes_nothing(host: NginxHost) -> None:
    expected = {"changed": False, "reasons": ["configuration_differs", "not_loaded", "not_running"]}
    assert run(host, how(diff=True), state="observed") == {**expected, "served": None, "sites": {}}
    assert not host.configuration.exists()
    run(host)
    found = run(host, state="observed")
    assert found.pop("served")
    assert found == {"changed": False, "reasons": [], "sites": {}}


def test_what_is_forgotten_is_loaded_again(host: NginxHost) -> None:
    assert reasons(host, state="forgotten") == []
    run(host)
    assert reasons(host, how(check=True), state="forgotten") == ["noted"]
    assert host.note
    assert reasons(host, state="forgotten") == ["noted"]
    assert not host.note
    assert reasons(host, state="forgotten") == []
    assert reasons(host) == ["not_loaded"]
    assert host.reloads == 1
    assert reasons(host, directory=str(host.root / "nowhere"), state="forgotten") == []


def test_a_site_with_a_command_is_served_by_a_service_of_the_users_own(host: NginxHost) -> None:
    count = ["sh", "-c", f"echo run >> {host.root}/count"]
    with serving(host.directory / "current") as port:
        sites = [{"name": "shop", "port": host.settings.port}, {"name": "own", "port": port, "reload": count}]
        assert reasons(host, sites=sites) == ["configuration_differs", "not_loaded", "not_running"]
        text = host.configuration.read_text()
        assert "# Site shop" in text
        assert "# Site own" not in text
        assert sorted(line.partition(":")[0] for line in host.note.splitlines()) == ["external", "nginx"]
        assert reasons(host, sites=sites) == []
        # What only nginx has to load makes the other service reload nothing.
        assert reasons(host, sites=sites, upstream="http://127.0.0.1:1") == ["configuration_differs", "not_loaded"]
        assert (host.root / "count").read_text() == "run\n"
        # A new trust is for both.
        host.trust("c")
        assert reasons(host, sites=sites, upstream="http://127.0.0.1:1") == ["not_loaded"]
        assert (host.root / "count").read_text() == "run\n" * 2
        # No site is left for nginx.
        (host.root / "conf.d" / "other.conf").write_text("other\n")
        assert run(host, state="observed", sites=sites[1:])["reasons"] == ["serves_no_site"]
        assert reasons(host, sites=sites[1:]) == ["serves_no_site"]
        assert not host.configuration.exists()
        assert reasons(host, sites=sites[1:]) == []


def test_where_another_site_fails_nginx_need_not_reload_again(host: NginxHost) -> None:
    sites = [
        {"name": "shop", "port": host.settings.port},
        {"name": "own", "port": free_port(), "reload": ["true"]},
    ]
    with pytest.raises(EsyncError) as caught:
        run(host, sites=sites, timeout=0.3)
    assert "site own" in str(caught.value)
    assert run(host, sites=sites, state="observed")["reasons"] == ["not_loaded", "another_certificate_served"]
    assert host.note.startswith("nginx: ")


def test_the_name_of_a_site_is_compared_in_lower_case(host: NginxHost) -> None:
    run(host, sites=[{"name": "shop", "port": host.settings.port, "server_name": "Shop.Example"}])
    assert "server_name shop.example;" in host.configuration.read_text()
    assert "Shop.Example" not in host.configuration.read_text()


def test_an_external_service(host: NginxHost) -> None:
    with serving(host.directory / "current") as port:
        options = {"driver": "external", "port": port, "reload_command": ["touch", f"{host.root}/ran"]}
        assert reasons(host, **options) == ["not_loaded"]
        assert (host.root / "ran").exists()
        assert reasons(host, **options) == []
        assert reasons(host, **options, state="absent") == []
        assert reasons(host, **options, state="forgotten") == ["noted"]
        assert reasons(host, **options) == ["not_loaded"]
    assert os.listdir(host.root / "conf.d") == []


def test_who_presents_what_is_retired(host: NginxHost) -> None:
    log = host.root / "esync-mesh.connections.log"
    host.settings = replace(host.settings, access_log=str(host.root / "access.log"))
    host.configuration.write_text(f"access_log {log} esync_connection;")
    pem = (host.root / "peers" / "b" / "client.crt").read_text()
    one, other = (kind(ssl.PEM_cert_to_DER_cert(pem)).hexdigest() for kind in (hashlib.sha1, hashlib.sha256))
    log.write_text(f"{one} 192.0.2.1 50000 8732 {time.time():.3f} 0.100\n")
    options: Any = {"state": "watched", "access_log": host.settings.access_log, "retired": [other]}
    found = run(host, **options)
    assert (found["changed"], found["reasons"], found["calls"]) == (False, [], [])
    assert [(caller["address"], caller["calls"]) for caller in found["presented"]] == [("192.0.2.1", ((50000, 8732),))]
    assert run(host, **{**options, "retired": []})["presented"] == []
    # A site whose service notes nothing.
    sites = [{"name": "shop", "port": 8732}, {"name": "own", "port": 8733, "reload": ["true"]}]
    assert run(host, sites=sites, **options)["presented"] is None
    began = time.monotonic()
    run(host, how(check=True), wait=60, **options)
    assert time.monotonic() - began < 30


@pytest.mark.parametrize(
    "beside",
    [
        {"sites": [{"name": "shop", "port": 8732}, {"name": "own", "port": 8733, "reload": ["true"]}]},
        {"services": [{"name": "db", "port": 5432}]},
    ],
)
def test_where_something_notes_nothing_the_whole_time_passes(
    host: NginxHost, monkeypatch: pytest.MonkeyPatch, beside: Any
) -> None:
    monkeypatch.setattr(retiring, "LEAST", 0.0)
    host.configuration.write_text(f"access_log {host.root}/esync-mesh.connections.log esync_connection;")
    options: Any = {"state": "watched", "access_log": str(host.root / "access.log"), "wait": 1}
    # nginx itself has been quiet for long enough.
    assert run(host, **options)["presented"] == []
    began = time.monotonic()
    assert run(host, **options, **beside)["presented"] is None
    assert time.monotonic() - began >= 1


def test_the_sites_of_an_external_service(host: NginxHost) -> None:
    with serving(host.directory / "current") as port:
        sites = [{"name": "one", "port": port}, {"name": "two", "port": port, "reload": ["touch", f"{host.root}/two"]}]
        common = ["touch", f"{host.root}/one"]
        assert reasons(host, driver="external", sites=sites, reload_command=common) == ["not_loaded"]
    assert (host.root / "one").exists()
    assert (host.root / "two").exists()


@pytest.mark.parametrize("state", ["present", "absent", "observed", "forgotten"])
def test_the_temporary_endpoint_has_nothing_to_do(host: NginxHost, state: str) -> None:
    before = sorted(os.listdir(host.directory))
    assert reasons(host, driver="temporary", state=state, restart=True) == []
    assert sorted(os.listdir(host.directory)) == before


def test_without_nginx(host: NginxHost, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(host.root))
    monkeypatch.setattr(processes, "PROGRAM_FOLDERS", str(host.root))
    with pytest.raises(EsyncError) as caught:
        run(host)
    assert caught.value.kind == "missing_dependency"
    assert run(host, state="observed")["reasons"] == ["nginx_is_missing"]


def test_a_new_certificate_is_found_by_the_step_itself(host: NginxHost) -> None:
    run(host)
    make_certificate(host.directory / "current")
    assert reasons(host) == ["configuration_differs", "not_loaded", "another_certificate_served"]
    assert reasons(host) == []
