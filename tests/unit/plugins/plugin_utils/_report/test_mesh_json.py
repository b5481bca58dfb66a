# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json

import pytest
from probed_meshes import NAMES, SITED, all_ok, decided, numbered, problem, ring, servers, sited

from ansible_collections.esync.mesh.plugins.plugin_utils._ledger.pending import PendingUpdate
from ansible_collections.esync.mesh.plugins.plugin_utils._report.builder import assemble
from ansible_collections.esync.mesh.plugins.plugin_utils._report.mesh_json import PAIR_LIMIT, text, to_json


def test_json_as_designed():
    mesh = assemble(servers(*NAMES), all_ok(NAMES), "temporary", [PendingUpdate("c", "trust", ("a",), "changes")])
    data = json.loads(json.dumps(to_json(mesh, "2026-11-23T00:00:00Z")))
    keys = (
        "version generated_at mesh servers pairs pairs_complete summary pending problems refusals clusters trust_model"
    )
    assert list(data) == keys.split()
    assert (data["version"], data["pairs_complete"]) == (2, True)
    assert data["trust_model"] == "pinned"
    assert set(data["servers"][0]) == {"name", "address", "port", "expires_at", "state", "sites"}
    assert set(data["pairs"][0]) == {
        "from",
        "to",
        "verdict",
        "cause",
        "detail",
        "remedy",
        "handshake_ms",
        "tls",
        "server_fingerprint",
        "client_fingerprint",
        "site",
    }
    assert data["summary"] == {"servers": 3, "expected": 6, "ok": 6, "failed": 0, "untested": 0}
    assert data["pending"] == [{"server": "c", "kind": "trust", "missing": ["a"], "text": "changes"}]


def test_the_file_holds_the_same_and_has_a_line_for_each_entry():
    mesh = assemble(servers(*NAMES), all_ok(NAMES), "temporary", name="esync of hosts.yml")
    written = text(mesh, "2026-11-23T00:00:00Z")
    assert json.loads(written) == json.loads(json.dumps(to_json(mesh, "2026-11-23T00:00:00Z")))
    assert json.loads(written)["mesh"] == "esync of hosts.yml"
    assert sum(line.startswith('  {"from"') for line in written.splitlines()) == 6


def test_fields_of_problems_and_refusals_and_pairs_of_sites():
    mesh = assemble(servers(*NAMES), all_ok(NAMES), "temporary", refusals=ring(), problems=[problem("b")])
    data = to_json(mesh, "2026-11-23T00:00:00Z")
    assert len(data["refusals"]) == 15
    assert set(data["refusals"][0]) == {"from", "to", "present", "verdict", "cause", "detail", "remedy", "site"}
    assert data["problems"] == [
        {
            "server": "b",
            "kind": "expired",
            "severity": "fault",
            "path": None,
            "cause": "Its certificates have expired",
            "evidence": "They ended.",
            "remedy": "Renew.",
            "command": "",
            "repair": "",
        }
    ]
    rows = [(row["from"], row["to"], row["site"]) for row in to_json(sited(SITED), "x")["pairs"]]
    assert rows[:3] == [("a", "b", "shop"), ("a", "b", "news"), ("a", "c", None)]


@pytest.mark.parametrize(("count", "complete"), [(200, True), (201, False)])
def test_beyond_two_hundred_servers_only_what_is_not_ok_is_listed(count, complete):
    names = numbered(count)
    mesh = decided(names, lambda source, target: "silent" if target == "s007" else None, s003="unreachable")
    data = to_json(mesh, "2026-11-23T00:00:00Z")
    assert data["pairs_complete"] == complete
    assert data["summary"]["expected"] == count * (count - 1)
    not_ok = [pair for pair in data["pairs"] if pair["verdict"] != "ok"]
    assert len(not_ok) == data["summary"]["failed"] + data["summary"]["untested"] == (count - 2) + 2 * (count - 1)
    assert len(data["pairs"]) == (count * (count - 1) if complete else len(not_ok))


def test_too_many_pairs_that_are_not_ok_are_cut_the_worst_first():
    names = numbered(260)
    outside = dict.fromkeys(names[3:], "not_in_run")
    mesh = decided(names, lambda source, target: "silent" if target == "s002" else None, **outside)
    data = to_json(mesh, "2026-11-23T00:00:00Z")
    assert len(data["pairs"]) == PAIR_LIMIT < data["summary"]["untested"]
    assert [(pair["from"], pair["to"], pair["verdict"]) for pair in data["pairs"][:3]] == [
        ("s000", "s002", "failed"),
        ("s001", "s002", "failed"),
        ("s000", "s003", "untested"),
    ]
