# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Attached services beside an endpoint, or in its place."""

from __future__ import annotations

import getpass
from pathlib import Path
from typing import Any

from endpoint_hosts import free_port, make_certificate, serving, trust

from ansible_collections.esync.mesh.plugins.module_utils._steps import endpoint
from ansible_collections.esync.mesh.plugins.module_utils._steps.context import Context

CONTEXT = Context(check=False, diff=False, warn=print)


def options(directory: Path, port: int, **more: Any) -> dict[str, Any]:
    given = {name: one.get("default") for name, one in endpoint.SPEC.items()}
    return {**given, "name": "a", "directory": str(directory), "port": port, "timeout": 3, **more}


def service(port: int, directory: Path, **more: Any) -> dict[str, Any]:
    command = ["sh", "-c", f"echo run >> {directory}/count"]
    given = {"name": "db", "port": port, "reload": command, "protocol": "http", "owner": None, "server_name": None}
    return {**given, **more}


def run(directory: Path, port: int, **more: Any) -> list[str]:
    reasons: list[str] = endpoint.run(options(directory, port, **more), CONTEXT)["reasons"]
    return reasons


def test_its_command_runs_once_also_beside_the_temporary_endpoint(directory: Path) -> None:
    make_certificate(directory / "current")
    with serving(directory / "current") as port:
        services = [service(port, directory)]
        assert run(directory, free_port(), services=services) == ["not_loaded"]
        assert run(directory, free_port(), services=services) == []
        observed = endpoint.run(options(directory, free_port(), services=services, state="observed"), CONTEXT)
    assert (directory / "count").read_text() == "run\n"
    assert observed["reasons"] == []


def test_one_on_the_port_takes_the_place_of_the_endpoint(directory: Path) -> None:
    fingerprint = make_certificate(directory / "current")
    with serving(directory / "current") as port:
        both = {"services": [service(port, directory)], "driver": "external", "reload_command": ["false"]}
        assert run(directory, port, **both) == ["not_loaded"]
        observed = endpoint.run(options(directory, port, state="observed", **both), CONTEXT)
    assert (observed["served"], observed["sites"]) == (None, {"db": fingerprint})


def test_copies_are_written_before_its_command_and_destroyed_when_nobody_needs_them(
    directory: Path, tmp_path: Path
) -> None:
    for role in ("server", "client"):
        make_certificate(directory / "current", role=role)
    make_certificate(tmp_path / "b", "b", "client")
    trust(directory, tmp_path / "b")
    with serving(directory / "current") as port:
        command = ["test", "-s", f"{directory}/services/db/server.key"]
        services = [service(port, directory, owner=getpass.getuser(), reload=command)]
        assert run(directory, free_port(), services=services) == ["configuration_differs", "not_loaded"]
        assert run(directory, free_port(), services=services) == []
        assert run(directory, free_port(), services=services, state="absent") == ["present"]
        assert not (directory / "services").exists()
        assert run(directory, free_port(), services=services)
    assert run(directory, free_port()) == ["no_service_needs_copies"]
    assert run(directory, free_port()) == []
