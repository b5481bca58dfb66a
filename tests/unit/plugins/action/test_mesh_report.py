# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
import stat

import pytest

from ansible_collections.esync.mesh.plugins.plugin_utils._ledger.records import (
    Ledger,
    PresentedSets,
    read_generations,
    recorded,
)

from .conftest import documented, run_play

NAMES = "abc"
MEMBERS = [{"name": f"server-{host}", "host": host, "address": f"10.0.0.{host}", "port": 8732} for host in NAMES]


def result(to, **changes):
    """What a probe found of a peer."""
    good = {
        "to": f"server-{to}",
        "verdict": "ok",
        "cause": None,
        "detail": "",
        "remedy": "",
        "handshake_ms": 1.5,
        "tls": "TLSv1.3",
        "server_fingerprint": "ab" * 32,
        "client_fingerprint": "cd" * 32,
        "served": "current",
    }
    return {**good, **changes}


def host(name, results=None, **changes):
    """What a host registered that tested all others."""
    found = {other: result(other) for other in NAMES if other != name}
    found.update(changes)
    return {"probe": {"results": list(found.values()) if results is None else results}, "set": {"generations": []}}


GOOD = {name: host(name) for name in NAMES}
FAILED = result("c", verdict="failed", cause="endpoint_not_listening", detail="Seen so.", remedy="Start it.")
BAD = {**GOOD, "a": host("a", c=FAILED)}
UNREACHED = {
    "a": host("a", [result("b")]),
    "b": host("b", [result("a")]),
    "c": {"probe": {}, "set": {"unreachable": True}},
}
BEFORE = [f"server-{one} -> server-{other}" for one in "bc" for other in NAMES if one != other]
WEB = {"name": "web", "address": "lb", "port": 8732, "members": ["server-a", "server-b"]}


def calling(**changes):
    """All pairs are ok, and c called the cluster of the other two."""
    call = {"cluster": "web", "verdict": "ok", "cause": None, "detail": "", "remedy": "", "answered": {"server-a": 4}}
    return {**GOOD, "c": {**GOOD["c"], "probe": {**GOOD["c"]["probe"], "clusters": [{**call, **changes}]}}}


CALLING = calling()
BAD_CALL = calling(verdict="failed", cause="not_tls", detail="Seen so.", remedy="Mend it.", answered={})
# The last one has two sites, and one of them does not work for one caller.
SITED_MEMBERS = [*MEMBERS[:2], {**MEMBERS[2], "sites": [{"name": "shop"}, {"name": "news"}]}]
SITED = {
    "a": host("a", [result("b"), result("c", site="shop"), {**FAILED, "site": "news"}]),
    "b": host("b", [result("a"), result("c", site="shop"), result("c", site="news")]),
    "c": GOOD["c"],
}
SCENARIOS = {
    # What the hosts registered, and the options.
    "good": (GOOD, {"title": "After the test"}),
    "bad": (BAD, {}),
    "may_fail": (BAD, {"fail": False}),
    "bad_before": (BAD, {"baseline": BEFORE}),
    "worse": (BAD, {"baseline": ["server-a -> server-c"]}),
    "unreached": (UNREACHED, {}),
    "cluster_ok": (CALLING, {"clusters": [WEB], "fail": False}),
    "cluster_bad": (BAD_CALL, {"clusters": [WEB]}),
    "cluster_worse": (BAD_CALL, {"clusters": [WEB], "baseline": ["server-c -> [cluster web]"]}),
    "cluster_bad_before": (BAD_CALL, {"clusters": [WEB], "baseline": BEFORE}),
    "sites": (SITED, {"members": SITED_MEMBERS, "endpoint": "nginx", "baseline": ["server-a -> server-c [news]"]}),
    "nothing": ({**GOOD, "c": host("c", [])}, {}),
    "nothing_proved": ({name: host(name, []) for name in NAMES}, {}),
    "unwritable": (GOOD, {"report_directory": "/proc/nowhere"}),
}


def reporting(folder, name, options):
    """The tasks that report a scenario."""
    common = {"members": MEMBERS, "ledger": str(folder / "ledger"), "report_directory": str(folder / name)}
    facts = {key: "{{ lookup('vars', '" + name + "')." + part + " }}" for key, part in REGISTERED.items()}
    task = {"name": name, "esync.mesh.mesh_report": {**common, **options}, "register": f"r_{name}"}
    return [
        {"name": "Set", "ansible.builtin.set_fact": facts},
        {**task, "run_once": True, "ignore_errors": True},
    ]


REGISTERED = {"__esync_probe": "probe", "__esync_set": "set"}


@pytest.fixture(scope="module")
def reports(tmp_path_factory, generation):
    """One play for all scenarios: name to the result and the content of mesh.json; and its output and folder."""
    folder = tmp_path_factory.mktemp("reports")
    write_ledger(folder / "ledger", generation)
    hosts = {one: {name: registered[one] for name, (registered, _options) in SCENARIOS.items()} for one in NAMES}
    tasks = [task for name, (_all, options) in SCENARIOS.items() for task in reporting(folder, name, options)]
    done = run_play(folder, tasks, hosts)
    assert done.code == 0, done.output
    found = {}
    for name in SCENARIOS:
        path = folder / name / "mesh.json"
        found[name] = done.results["a"][f"r_{name}"], json.loads(path.read_text()) if path.exists() else None
    return found, done.output, folder


def write_ledger(folder, generation):
    """A ledger that knows all members."""
    ledger = Ledger(folder)
    for name in NAMES:
        shown = read_generations([generation(f"server-{name}")], "x")
        with ledger.lock():
            ledger.write(
                recorded(None, PresentedSets(f"server-{name}", f"10.0.0.{name}", 8732, shown), "2026-01-01T00:00:00Z")
            )


def test_a_mesh_that_holds(reports):
    found, mesh = reports[0]["good"]
    assert not found.get("failed") and not found["changed"]
    assert (mesh["version"], mesh["pairs_complete"]) == (2, True)
    assert mesh["mesh"] == "esync of inventory.json"
    assert mesh["generated_at"].endswith("Z")
    assert [pair["verdict"] for pair in mesh["pairs"]] == ["ok"] * 6
    labels = [(pair["from"], pair["to"]) for pair in mesh["pairs"]]
    assert labels == [(f"server-{one}", f"server-{other}") for one in NAMES for other in NAMES if one != other]
    keys = "from to verdict cause detail remedy handshake_ms tls server_fingerprint client_fingerprint"
    assert set(keys.split()) <= set(mesh["pairs"][0])
    expected = {"servers": 3, "expected": 6, "ok": 6, "failed": 0, "untested": 0}
    assert mesh["summary"] | expected == mesh["summary"]
    assert [server["name"] for server in mesh["servers"]] == ["server-a", "server-b", "server-c"]
    assert all(server["expires_at"] and server["state"] == "ok" for server in mesh["servers"])
    assert documented("mesh_report") <= set(found)
    assert "After the test:" in reports[1] and "6 of 6 pairs ok" in reports[1]
    for name in ("mesh.json", "mesh.html", "mesh.xml", "mesh.prom"):
        assert stat.S_IMODE((reports[2] / "good" / name).stat().st_mode) == 0o644


def test_a_failed_pair_fails_the_run_and_is_told_with_cause_and_remedy(reports):
    found, mesh = reports[0]["bad"]
    assert found["failed"]
    assert "server-a -> server-c" in found["msg"]
    assert "Start it." in found["msg"]
    assert mesh["summary"]["failed"] == 1
    [pair] = [one for one in mesh["pairs"] if one["verdict"] == "failed"]
    assert (pair["from"], pair["to"], pair["cause"]) == ("server-a", "server-c", "endpoint_not_listening")


def test_a_failed_pair_of_a_report_that_does_not_fail(reports):
    found, mesh = reports[0]["may_fail"]
    assert not found.get("failed")
    assert mesh["summary"]["failed"] == 1
    assert len(found["worked"]) == 5 and "server-a -> server-c" not in found["worked"]


def test_only_what_worked_before_can_be_worse_now(reports):
    found, mesh = reports[0]["bad_before"]
    assert not found.get("failed")
    assert (found["worse"], mesh["summary"]["failed"]) == ([], 1)
    found, _mesh = reports[0]["worse"]
    assert found["failed"]
    assert found["worse"] == ["server-a -> server-c: endpoint_not_listening. Seen so."]


def test_each_site_is_reported_and_compared_by_itself(reports):
    found, mesh = reports[0]["sites"]
    assert [server["sites"] for server in mesh["servers"]] == [[], [], ["shop", "news"]]
    assert mesh["summary"] | {"expected": 8, "ok": 7, "failed": 1} == mesh["summary"]
    assert found["failed"]
    assert found["worse"] == ["server-a -> server-c [news]: endpoint_not_listening. Seen so."]


def test_a_server_that_could_not_be_reached_fails_the_run(reports):
    found, mesh = reports[0]["unreached"]
    assert found["failed"] and "server-c" in found["msg"]
    assert mesh["summary"] | {"ok": 2, "failed": 0, "untested": 4} == mesh["summary"]
    assert {server["name"]: server["state"] for server in mesh["servers"]}["server-c"] == "unreachable"


def test_a_host_that_returned_nothing_fails_the_run(reports):
    found, mesh = reports[0]["nothing"]
    assert found["failed"]
    lost = {(pair["from"], pair["cause"]) for pair in mesh["pairs"] if pair["verdict"] == "untested"}
    assert lost == {("server-c", "not_tested")}


def test_a_run_that_proved_nothing_fails_and_says_so(reports):
    found, mesh = reports[0]["nothing_proved"]
    assert found["failed"]
    assert found["msg"].endswith("Nothing was proved: 0 of 6 pairs were tested.")
    assert mesh["summary"] == {"servers": 3, "expected": 6, "ok": 0, "failed": 0, "untested": 6}


def test_a_report_that_cannot_be_written_is_told(reports):
    found, _mesh = reports[0]["unwritable"]
    assert found["failed"]
    assert found["error"]["kind"] == "control_node_file"
    assert "/proc/nowhere" in found["msg"]


def test_pairs_outside_a_limited_run_fail_nothing(play, tmp_path, generation):
    write_ledger(tmp_path / "ledger", generation)
    hosts = {name: {key: GOOD[name][part] for key, part in REGISTERED.items()} for name in NAMES}
    [_set, task] = reporting(tmp_path, "limited", {})
    run = play([task, {**task, "register": "r_checked", "check_mode": True}], hosts, ["--limit", "a,b"])
    assert run.code == 0, run.output
    found = run.results["a"]["r_limited"]
    assert not found.get("failed")
    mesh = json.loads((tmp_path / "limited" / "mesh.json").read_text())
    assert mesh["summary"]["expected"] == 6
    untested = {(pair["from"], pair["to"]) for pair in mesh["pairs"] if pair["verdict"] == "untested"}
    # What c registered in an earlier step says nothing.
    assert {pair for pair in untested if "server-c" in pair} == untested
    assert mesh["summary"]["untested"] == len(untested) >= 2
    # In check mode nothing is tested, so nothing is reported.
    assert "check mode" in run.results["a"]["r_checked"]["msg"]
    assert "matrix" not in run.results["a"]["r_checked"]


def test_a_call_to_a_cluster_counts_as_a_pair_does(reports):
    found, mesh = reports[0]["cluster_ok"]
    assert not found.get("failed")
    assert "server-c -> [cluster web]" in found["worked"] and len(found["worked"]) == 7
    [cluster] = mesh["clusters"]
    assert {**cluster, "connections": []} == {**WEB, "connections": []}
    [call] = cluster["connections"]
    assert (call["from"], call["verdict"], call["answered"]) == ("server-c", "ok", {"server-a": 4})
    assert mesh["summary"]["expected"] == 6
    found, _mesh = reports[0]["cluster_bad"]
    assert found["failed"]
    assert "server-c -> [cluster web]: not_tls. Seen so. Mend it." in found["msg"]


def test_a_call_to_a_cluster_that_worked_before_can_get_worse(reports):
    found, _mesh = reports[0]["cluster_worse"]
    assert found["failed"] and found["worse"] == ["server-c -> [cluster web]: not_tls. Seen so."]
    assert found["msg"] == "server-c -> [cluster web]: not_tls. Seen so. Mend it."
    assert not reports[0]["cluster_bad_before"][0].get("failed")
