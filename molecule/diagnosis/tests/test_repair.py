# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Repair on real endpoints: what is planned is what is done, and to nobody else."""

from __future__ import annotations

import json

import pytest
from hosts import connect, members
from runs import fail, report, succeed

DIRECTORY = "/etc/esync"
COMMANDS = json.dumps(
    {"esync_stop_command": ["systemctl", "stop", "haproxy"], "esync_start_command": ["systemctl", "start", "haproxy"]}
)
FAULTS = {
    "stopped": ("bravo", "systemctl stop nginx"),
    "hanging": ("alpha", "pkill -STOP nginx"),
    "stopped and external": ("charlie", "systemctl stop haproxy"),
}


def plan(output: str) -> str:
    return output.partition("The repair:")[2].partition("TASK [")[0]


def started(name: str) -> str:
    """When the endpoint was started."""
    unit = "haproxy" if name == "charlie" else "nginx"
    found: str = connect(name).check_output(f"systemctl show --property ActiveEnterTimestampMonotonic {unit}")
    return found


def current(name: str) -> str:
    found: str = connect(name).check_output(f"readlink {DIRECTORY}/current")
    return found


@pytest.mark.parametrize("fault", FAULTS)
def test_an_endpoint_that_is_stopped_or_hangs_is_started_anew(fault: str) -> None:
    name, do = FAULTS[fault]
    before = {one: (started(one), current(one)) for one in members()}
    connect(name).check_output(do)
    shown = succeed("repair", "--check", "-e", COMMANDS)
    assert f"{name}: stop its endpoint, then start it" in plan(shown.output)
    assert plan(shown.output).count("stop its endpoint") == 1
    result = succeed("repair", "-e", COMMANDS)
    assert plan(result.output) == plan(shown.output)
    assert report()["summary"]["ok"] == 6
    for one in members():
        assert current(one) == before[one][1]
        assert (started(one) != before[one][0]) == (one == name)


def test_endpoints_that_were_not_reloaded_are_started_anew() -> None:
    # bravo gets new certificates, and no service takes anything up.
    options = {
        "esync_endpoint": "external",
        "esync_reload_command": ["true"],
        "esync_discard_existing": "{{ inventory_hostname == 'bravo' }}",
        "esync_accept_changed": ["bravo"],
    }
    fail("establish", "-e", json.dumps(options))
    made = current("bravo")
    result = succeed("repair", "-e", COMMANDS)
    assert "bravo: stop its endpoint, then start it" in plan(result.output)
    assert "destroy" not in plan(result.output)
    assert current("bravo") == made
    assert report()["summary"]["ok"] == 6


def test_an_external_endpoint_without_commands_is_left_to_its_owner() -> None:
    connect("charlie").check_output("systemctl stop haproxy")
    result = fail("repair")
    assert "charlie" in plan(result.output) and "esync_stop_command" in plan(result.output)
    assert not connect("charlie").service("haproxy").is_running
    connect("charlie").check_output("systemctl start haproxy")


def test_a_damaged_set_is_restored_with_its_key() -> None:
    before = {one: current(one) for one in members()}
    file = f"{DIRECTORY}/current/bravo_SyncServer.key"
    bravo = connect("bravo")
    digest = bravo.check_output(f"sha256sum {file}")
    bravo.check_output(f"truncate -s 0 {file} && rm {DIRECTORY}/current/server.crt")
    result = succeed("repair")
    assert "bravo: write what is damaged or missing again" in plan(result.output)
    assert bravo.check_output(f"sha256sum {file}") == digest
    assert {one: current(one) for one in members()} == before
    assert report()["summary"]["ok"] == 6
    assert set(succeed("check").changed.values()) == {0}
