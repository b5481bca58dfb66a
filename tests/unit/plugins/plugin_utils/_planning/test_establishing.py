# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Establish, verify, check, export and apply, stage by stage, on the model of a mesh."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.esync.mesh.plugins.module_utils._core.certificate import fingerprint_line
from ansible_collections.esync.mesh.plugins.module_utils._core.errors import EsyncError
from ansible_collections.esync.mesh.plugins.plugin_utils._planning.observed import mesh_of

from .meshes import ABC, ALL, FOLDER, applied, assert_settled, let_in, ok
from .model_mesh import LINE, Model


def test_establish_makes_exchanges_and_proves(model: Model) -> None:
    run = model.run("establish")
    assert (ok(run), run.failures) == (6, [])
    assert model.works() == ALL
    assert set(model.calls.values()) == {3}


def test_establish_again_prepares_the_test_in_the_first_visit(established: Model) -> None:
    run = established.run("establish")
    assert (ok(run), run.failures, run.written) == (6, [], {})
    assert set(established.calls.values()) == {2}


def test_verify_and_check_take_no_more_visits_than_they_need(established: Model) -> None:
    for operation in ("verify", "check"):
        run = established.run(operation)
        assert (ok(run), run.failures) == (6, [])
        assert set(established.calls.values()) == ({1} if established.endpoint == "nginx" else {2})


def test_sets_are_destroyed_only_where_that_was_asked_for(established: Model) -> None:
    before = {name: host.generations["current"]["id"] for name, host in established.hosts.items()}
    run = established.run("establish", discard=["b"])
    assert_settled(established, run)
    changed = [name for name, host in established.hosts.items() if host.generations["current"]["id"] != before[name]]
    assert changed == ["b"]


def test_the_warning_counts_the_pairs_that_are_down(established: Model) -> None:
    seen: list[str] = []
    established.stages(established.start("establish", discard=["b"]), lambda run, plan: seen.extend(run.said))
    warning = " ".join(seen)
    assert "WARNING: all keys and certificates of b are destroyed" in warning
    assert "4 of 6 pairs are down" in warning and "Not in this run" not in warning


def test_nothing_is_destroyed_for_a_name_outside_this_run(established: Model) -> None:
    before = established.hosts["b"].generations
    seen: list[str] = []
    run = established.start("establish", discard=["b"], only=["a", "c"])
    established.stages(run, lambda run, plan: seen.extend(run.said))
    assert "Not in this run: b. Nothing is destroyed." in seen
    assert established.hosts["b"].generations == before and established.works() == ALL


@pytest.mark.parametrize("discard", [[], ["a", "b", "c"]])
def test_a_wrong_clock_on_one_host_stops_the_run_before_anything_is_destroyed(
    established: Model, discard: list[str]
) -> None:
    before = {name: host.generations for name, host in established.hosts.items()}
    established.hosts["b"].breaks = {"certificate_set present": "clock_skew", "certificate_set ": "clock_skew"}
    with pytest.raises(EsyncError, match="The run stops here for all servers") as caught:
        established.run("establish", discard=discard)
    assert caught.value.kind == "clock_skew" and "b: clock_skew there" in str(caught.value)
    assert {name: host.generations for name, host in established.hosts.items()} == before
    assert established.works() == ALL


def test_an_address_that_peers_cannot_resolve_stops_the_run_before_anything_is_recorded(model: Model) -> None:
    for name, unknown in (("a", ("b.example", "c.example")), ("b", ("c.example",))):
        model.hosts[name].cannot_resolve = unknown
    with pytest.raises(EsyncError) as caught:
        model.run("establish")
    text = str(caught.value)
    assert "b: its esync_address b.example cannot be resolved by a (Name or service not known)" in text
    assert "c: its esync_address c.example cannot be resolved by a and b" in text
    assert "Set esync_address" in text and "a.example" not in text
    assert model.ledger == {} and not model.hosts["a"].generations and not model.hosts["b"].generations
    for host in model.hosts.values():
        host.cannot_resolve = ()
    assert ok(model.run("establish")) == 6 and set(model.calls.values()) == {3}


def test_one_server_that_resolves_nothing_does_not_hold_up_the_others(model: Model) -> None:
    model.hosts["a"].cannot_resolve = ("b.example", "c.example")
    run = model.run("establish")
    assert ok(run) == 2 and sorted(model.ledger) == ["b", "c"]
    [failure] = run.failures
    assert failure.startswith("a: it cannot resolve b.example (b) and c.example (c)") and "resolv.conf" in failure
    assert not model.hosts["a"].generations


def test_an_established_mesh_does_not_depend_on_its_resolvers(established: Model) -> None:
    for host in established.hosts.values():
        host.cannot_resolve = ("a.example", "b.example", "c.example")
    run = established.run("establish")
    assert (ok(run), run.failures) == (6, []) and set(established.calls.values()) == {2}


def test_a_server_outside_the_run_is_not_looked_up(model: Model) -> None:
    model.hosts["a"].cannot_resolve = ("c.example",)
    run = model.run("establish", only=["a", "b"])
    assert (ok(run), run.failures) == (2, [])


def test_a_server_that_is_away_is_reported_and_the_others_are_tested(established: Model) -> None:
    established.hosts["c"].dead = True
    for operation in ("establish", "verify", "check"):
        mesh = mesh_of(established.run(operation))
        assert mesh.count("ok") == 2
        assert {server.name: server.state for server in mesh.servers}["c"] == "unreachable"
        assert mesh.wrong


def test_a_check_keeps_what_went_wrong_for_its_report(established: Model) -> None:
    established.hosts["c"].breaks = {"certificate_info": "io_error"}
    run = established.run("check")
    mesh = mesh_of(run)
    assert run.report_mode == "all_and_fail" and mesh.faults
    assert ["o_error there" in problem.evidence for problem in mesh.faults if problem.server == "c"] == [True]


def test_a_host_whose_keys_may_not_be_read_tests_nothing(established: Model) -> None:
    established.hosts["c"].readable = False
    mesh = mesh_of(established.run("check"))
    assert {server.name: server.state for server in mesh.servers}["c"] == "unreadable"
    assert not [pair for pair in mesh.pairs if pair.source == "c" and pair.verdict == "ok"]


def test_a_damaged_endpoint_does_not_keep_a_check_from_testing(established: Model) -> None:
    established.hosts["c"].breaks = {"endpoint observed": "missing_dependency"}
    mesh = mesh_of(established.run("check"))
    assert mesh.count("ok") == 6
    assert bool(mesh.faults) == (established.endpoint == "nginx")


def test_one_server_of_another_trust_model_does_not_keep_the_others_from_being_verified(established: Model) -> None:
    host = established.hosts["c"]
    own = {"peer": "c", "role": "client", "state": "current"}
    own["fingerprint"] = host.generations["current"]["client"]["fingerprint"]
    host.trust = [one for one in host.trust or () if one["role"] == "server"] + [own]
    run = established.run("verify")
    [failure] = run.failures
    assert failure.startswith("c: its trust is by the model shared_keys")
    assert mesh_of(run).count("ok") >= 2


def test_a_limited_run_and_a_batch_change_nothing_of_the_others(established: Model) -> None:
    before = {name: host.trust for name, host in established.hosts.items()}
    for who in ({"only": ["a"]}, {"batch": ["a"]}):
        run = established.run("establish", **who)
        assert (run.failures, established.calls["b"]) == ([], 0)
        assert {name: host.trust for name, host in established.hosts.items()} == before
        mesh = mesh_of(run)
        assert {server.state for server in mesh.servers if server.name != "a"} == {"not_in_run"}
        assert not mesh.wrong
    with pytest.raises(EsyncError, match="is not part of this run"):
        established.run("regenerate", batch=["a", "b"])


def test_a_mesh_established_batch_by_batch_ends_up_whole(model: Model) -> None:
    for name in ABC:
        model.run("establish", batch=[name])
    run = model.run("establish")
    assert_settled(model, run)


def test_a_single_server_that_knows_nobody_has_received_all_there_is(model: Model) -> None:
    model.run("establish", only=["a"])
    assert model.ledger["a"].trust == {}


@pytest.mark.parametrize("endpoint", ["temporary", "nginx"])
def test_external_peers_are_applied_called_verified_and_removed(generation: Any, endpoint: str) -> None:
    model = applied(generation, endpoint)
    assert model.ledger["x"].origin == "applied"
    assert all({"x"} <= {one["peer"] for one in host.trust} for host in model.hosts.values())
    run = model.run("apply")
    assert run.failures == [] and "a -> x: endpoint_not_listening" in " ".join(run.notes)
    assert "Not every external peer" in model.run("verify").failures[0]
    let_in(model)
    run = model.run("verify")
    assert (run.failures, run.notes) == ([], ["Every external peer answered as it should."])
    assert ok(run) == 6
    assert_settled(model, model.run("regenerate"))
    run = model.run("remove", remove=["x"])
    assert run.failures == [] and not any("x" in {one["peer"] for one in host.trust} for host in model.hosts.values())


def test_the_versions_of_external_peers_are_not_compared(generation: Any) -> None:
    model = applied(generation)
    seen: list[Any] = []
    model.stages(model.start("verify"), lambda run, plan: seen.extend(plan.visits["a"]))
    [probe] = [one for one in seen if one.get("tag") == "external"]
    assert "product_version" not in probe["options"] and probe["options"]["clusters"] == []


def test_the_fingerprints_that_are_shown_are_those_of_what_is_taken_in(generation: Any) -> None:
    model = applied(generation)
    seen: list[str] = []
    model.stages(model.start("apply"), lambda run, plan: seen.extend(run.said))
    own = model.hosts["a"].folder[0]["generations"][0]["server"]["fingerprint"]
    assert f"a: {fingerprint_line('x', 'server', 'current', own)}" in seen
    assert not any("abab" in line for line in seen), "what a host would have us print"


def test_one_bad_folder_stops_the_apply_for_all_and_one_absent_host_does_not(generation: Any) -> None:
    model = applied(generation)
    model.hosts["b"].folder = [{**model.hosts["b"].folder[0], "generations": [generation("x", "current", 501)]}]
    with pytest.raises(EsyncError, match="it holds x at x.example port 8732 with"):
        model.run("apply", accept_changed=["x"])
    model.hosts["b"].breaks = {"exchange_folder_info": "damaged_file"}
    assert "b could not do its part" in model.run("apply").failures[0]
    model.hosts["b"].breaks, model.hosts["b"].dead = {}, True
    run = model.run("apply")
    assert run.failures == [] and run.notes[-1].startswith("Not reached: b.")


def test_client_sets_of_external_peers_come_from_the_folder_and_those_of_members_from_them(generation: Any) -> None:
    shared: Any = {"trust_model": "shared_keys"}
    model = applied(generation, **shared)
    model.hosts["a"].shared = None
    model.run("apply", **shared)
    entries = model.hosts["a"].shared["entries"]
    assert [one["peer"] for one in entries] == ["b", "c", "x"]
    # A server whose folder is gone says what it is missing.
    model.hosts["a"].shared, model.hosts["a"].folder = None, []
    seen: list[str] = []
    model.stages(model.start("establish", **shared), lambda run, plan: seen.extend(run.said))
    assert "a cannot call x of another mesh" in " ".join(seen)


def test_export_shows_fingerprints_and_one_failure_stops_nobody(established: Model) -> None:
    with pytest.raises(EsyncError, match="no folder is named"):
        established.run("export")
    established.settings = FOLDER
    established.hosts["a"].folder = [{"name": "a", "address": None, "port": None, "generations": []}]
    run = established.run("export")
    assert (run.failures, run.report_mode) == ([], "")
    assert run.servers["a"].folder == {"folder": "/srv/exchange", "changed": False, "fingerprints": [LINE.format("a")]}
    established.hosts["b"].breaks, established.hosts["c"].dead = {"*": "io_error"}, True
    run = established.run("export")
    assert run.servers["b"].state == "failed" and run.servers["a"].folder
    assert run.failures == ["c: the control node cannot reach it, so nothing is exported."]


def test_expired_certificates_are_said_to_be_expired_and_not_to_be_sound(established: Model) -> None:
    established.hosts["a"].due, established.hosts["b"].due = ["expired"], ["expires_soon"]
    said: list[str] = []
    established.stages(established.start("establish"), lambda run, plan: said.extend(run.said))
    (expired,) = [line for line in said if line.startswith("a: ")]
    assert "have expired" in expired and "sound" not in expired and "without an outage" not in expired
    (soon,) = [line for line in said if line.startswith("b: ")]
    assert "sound, but due" in soon
