# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json

import pytest

from ansible_collections.esync.mesh.plugins.plugin_utils.matrix import (
    Server,
    assemble,
    terminal,
    to_json,
    verdict,
)
from ansible_collections.esync.mesh.plugins.plugin_utils.plan import Debt


def servers(*names, **states):
    return [Server(name, f"{name}.example", 8732, states.get(name, "ok")) for name in names]


def ok(to):
    return {"to": to, "verdict": "ok", "handshake_ms": 1.5, "tls": "TLSv1.3", "server_fingerprint": "aa"}


def failed(to, cause="connection_timed_out"):
    return {"to": to, "verdict": "failed", "cause": cause, "detail": "No answer.", "remedy": "Look at it."}


def all_ok(names, without=()):
    return {name: [ok(to) for to in names if to not in (name, *without)] for name in names if name not in without}


NAMES = ("a", "b", "c")


def test_every_pair_is_there():
    mesh = assemble(servers(*NAMES), all_ok(NAMES), "temporary")
    assert mesh.expected == 6
    assert len(mesh.pairs) == 6
    assert mesh.wrong == ()
    assert verdict(mesh) == "6 of 6 pairs ok."


def test_json_as_designed():
    mesh = assemble(servers(*NAMES), all_ok(NAMES), "temporary", [Debt("c", "trust", ("a",), "changes")])
    data = json.loads(json.dumps(to_json(mesh, "2026-11-23T00:00:00Z")))
    assert list(data) == ["version", "generated_at", "servers", "pairs", "summary", "debts"]
    assert set(data["servers"][0]) == {"name", "address", "port", "expires_at", "state"}
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
    }
    assert data["summary"] == {"servers": 3, "expected": 6, "ok": 6, "failed": 0, "untested": 0}
    assert data["debts"] == [{"server": "c", "kind": "trust", "missing": ["a"], "text": "changes"}]


def test_a_failed_pair_is_wrong():
    results = all_ok(NAMES)
    results["a"] = [failed("b"), ok("c")]
    mesh = assemble(servers(*NAMES), results, "temporary")
    assert [pair.label for pair in mesh.wrong] == ["a -> b"]
    assert verdict(mesh) == "5 of 6 pairs ok, 1 failed."


def test_a_dead_server_leaves_untested_pairs_that_are_wrong():
    mesh = assemble(servers(*NAMES, c="unreachable"), all_ok(NAMES, without="c"), "temporary")
    assert len(mesh.pairs) == 6
    assert {pair.label for pair in mesh.wrong} == {"a -> c", "b -> c", "c -> a", "c -> b"}
    assert {pair.verdict for pair in mesh.wrong} == {"untested"}


def test_a_server_that_failed_earlier():
    mesh = assemble(servers(*NAMES, c="failed"), all_ok(NAMES, without="c"), "temporary")
    assert {pair.cause for pair in mesh.wrong} == {"host_failed"}


@pytest.mark.parametrize("endpoint", ["temporary", "nginx", "external"])
def test_out_of_scope_is_untested_and_fails_nothing(endpoint):
    mesh = assemble(servers(*NAMES, c="not_in_run"), all_ok(NAMES, without="c"), endpoint)
    outside = [pair for pair in mesh.pairs if "c" in (pair.source, pair.target)]
    assert {pair.verdict for pair in outside} == {"untested"}
    assert all("took no part" in pair.detail for pair in outside if pair.source == "c" or endpoint == "temporary")
    wrong = {pair.label for pair in mesh.wrong}
    # A resident endpoint outside the run can be called, so not having called it is wrong.
    assert wrong == (set() if endpoint == "temporary" else {"a -> c", "b -> c"})


def test_a_resident_endpoint_outside_the_run_is_tested():
    results = {"a": [ok("b"), ok("c")], "b": [ok("a"), ok("c")]}
    mesh = assemble(servers(*NAMES, c="not_in_run"), results, "nginx")
    assert mesh.wrong == ()


def test_a_server_without_result_is_wrong():
    results = all_ok(NAMES)
    del results["a"]
    mesh = assemble(servers(*NAMES), results, "temporary")
    assert {pair.cause for pair in mesh.wrong} == {"not_tested"}


def test_the_matrix_at_a_glance():
    results = all_ok(NAMES)
    results["a"] = [failed("b"), ok("c")]
    lines = terminal(assemble(servers(*NAMES, c="unreachable"), {"a": results["a"][:1], "b": [ok("a")]}, "temporary"))
    assert lines[0].split() == ["from", "/", "to", "1", "2", "3"]
    assert lines[1].split() == ["1", "a", "-", "x", "?"]
    assert lines[2].split() == ["2", "b", "+", "-", "?"]
    assert lines[3].split() == ["3", "c", "?", "?", "-"]
    assert lines[-1] == "1 of 6 pairs ok, 1 failed, 4 untested."


def test_one_dead_server_of_a_hundred_is_one_line():
    names = [f"server-{number:03}" for number in range(100)]
    dead = names[50]
    mesh = assemble(servers(*names, **{dead: "unreachable"}), all_ok(names, without=(dead,)), "temporary")
    lines = terminal(mesh)
    assert len(lines) == 2
    assert lines[0].startswith(f"{dead} (198 pairs")
    assert "host_unreachable" in lines[0]
    assert lines[1] == "9702 of 9900 pairs ok, 198 untested."


def test_causes_are_grouped_by_the_server_that_has_most_of_them():
    names = [f"s{number}" for number in range(6)]
    results = {name: [failed(to) if to == "s3" else ok(to) for to in names if to != name] for name in names}
    lines = terminal(assemble(servers(*names), results, "temporary"))
    troubles = [line for line in lines if "connection_timed_out" in line]
    assert len(troubles) == 1
    assert troubles[0].startswith("s3 (5 pairs")


def test_debts_are_told():
    lines = terminal(assemble(servers(*NAMES), all_ok(NAMES), "temporary", [Debt("c", "trust", ("a",), "news")]))
    assert "Owed to c: news" in lines
