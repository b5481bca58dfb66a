# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The parts that operations have in common: the ledger, exchange, shared keys, tests and proofs of refusal."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.esync.mesh.plugins.plugin_utils._planning import stages
from ansible_collections.esync.mesh.plugins.plugin_utils._planning.run import Run

from .meshes import applied, fresh
from .model_mesh import Model


def after(model: Model, operation: str = "establish", **options: Any) -> Run:
    """A run as it is at its end, with the ledger of that moment."""
    run = model.run(operation, **options)
    run.ledger, run.written, run.ended = dict(model.ledger), {}, False
    return run


# -- the ledger -----------------------------------------------------------------------------------------------------


def test_a_server_that_shows_what_nobody_announced_is_out_and_the_others_are_recorded(established: Model) -> None:
    run = after(established)
    made = established.make("b", "current", 900)
    run.servers["b"].read["generations"] = [made]
    run.servers["c"].read["generations"] = [{**established.make("c", "current", 901)}]
    stages.record_sets(run, run.present, accept=["c"])
    assert [one.name for one in run.present] == ["a", "c"] and list(run.written) == ["c"]
    assert run.servers["b"].errors[0]["kind"] == "changed_certificate"


def test_a_certificate_that_is_not_what_is_beside_it_is_out_too(established: Model) -> None:
    run = after(established)
    wrong = established.make("b", "current", 900)
    wrong["server"] = {**wrong["server"], "fingerprint": "ab" * 32}
    run.servers["b"].read["generations"] = [wrong]
    stages.record_sets(run, run.present)
    assert run.servers["b"].state == "failed" and run.written == {}


def test_what_was_received_is_noted_only_where_it_is_in_force(established: Model) -> None:
    run = after(established)
    for name, record in run.ledger.items():
        run.ledger[name] = record.__class__(**{**vars(record), "trust": {}})
    run.servers["b"].read["trust"]["entries"].pop()
    stages.note_received(run)
    assert sorted(run.written) == ["a", "c"]
    run.written, run.check = {}, True
    stages.note_received(run)
    assert run.written == {}


def test_a_server_of_another_trust_model_does_not_end_the_run_of_all(established: Model) -> None:
    run = after(established)
    run.mesh["esync_trust_model"] = "shared_keys"
    stages.note_received(run)
    assert run.written == {} and stages.exchange(run) == {}
    assert len(run.failures) == 3


# -- exchange -------------------------------------------------------------------------------------------------------


def test_nothing_is_sent_where_nothing_differs(established: Model) -> None:
    run = after(established)
    for server in run.servers.values():
        server.listening = True
        server.endpoint = {"reasons": []}
    assert stages.exchange(run) == {}
    run.servers["a"].endpoint = {"reasons": ["it serves another certificate"]}
    run.servers["b"].listening = False
    found = {name: [step["step"] for step in made] for name, made in stages.exchange(run).items()}
    assert found == ({"a": ["endpoint"]} if established.endpoint == "nginx" else {"b": ["probe_listener"]})


def test_trust_goes_before_the_endpoint_and_the_endpoint_before_the_test(generation: Any) -> None:
    for endpoint, expected in (("nginx", ["peer_trust", "endpoint"]), ("temporary", ["peer_trust", "probe_listener"])):
        run = after(fresh(generation, endpoint=endpoint)())
        run.servers["a"].read["trust"] = None
        assert [step["step"] for step in stages.exchange(run)["a"]] == expected
        run.servers["a"].changed = False
        assert [step["step"] for step in stages.exchange(run, listen=False)["a"]][:1] == ["peer_trust"]


def test_a_trust_that_would_become_empty_costs_one_server_its_part(established: Model) -> None:
    run = after(established)
    run.mesh["esync_allow_shrink"] = True
    run.ledger = {}
    stranger = [{**one, "peer": "former"} for one in run.servers["b"].read["trust"]["entries"][:2]]
    run.servers["b"].read["trust"] = {"digest": "x", "entries": stranger}
    for ask in (stages.exchange, stages.prove):
        run.servers["b"].state, run.servers["b"].errors = "ok", []
        ask(run)
        assert run.servers["b"].state == "failed" and run.servers["a"].state == "ok"
        assert run.servers["b"].errors[0]["kind"] == "empty_trust"
    run.servers["b"].state = "ok"
    stages.prove_refused(run, [run.servers["b"]], "current", "pinned", lambda server: ["a"])
    assert run.servers["b"].state == "failed"


# -- tests ----------------------------------------------------------------------------------------------------------


def test_nothing_is_tested_in_check_mode_or_where_something_went_wrong(established: Model) -> None:
    run = after(established)
    run.servers["a"].errors = [{"kind": "x"}]
    run.servers["b"].read["readable"] = False
    assert set(stages.prove(run)) == {"c"}
    run.check = True
    assert stages.prove(run) == {}
    assert stages.prove_refused(run, run.present, "current", "pinned", lambda server: run.names) == {}


@pytest.mark.parametrize("results", [None, [], [{"to": "a", "verdict": "ok"}]])
def test_a_refusal_that_was_not_seen_at_every_peer_fails_the_server(established: Model, results: Any) -> None:
    run = after(established)
    stages.prove_refused(run, [run.servers["c"]], "current", "pinned", lambda server: run.names)
    run.servers["c"].refused = results
    stages.demand_refused(run, "the retired certificate", "Again")
    [failure] = run.failures
    assert "c: the retired certificate was not seen refused everywhere." in failure
    assert "c -> b: not tested." in failure and ("c -> a" in failure) == (not results)
    # It is concluded once.
    run.servers["c"].state, run.failures = "ok", []
    stages.demand_refused(run, "the retired certificate", "Again")
    assert run.failures == []


def test_external_peers_are_told_or_fail_the_run(generation: Any) -> None:
    model = applied(generation)
    run = after(model, "verify")
    assert run.failures and run.notes == []
    run.failures = []
    stages.report_external(run, must_answer=False)
    assert run.failures == [] and "a -> x: endpoint_not_listening" in run.notes[0]


# -- shared keys ----------------------------------------------------------------------------------------------------


def test_a_host_speaks_for_its_own_keys_alone(generation: Any) -> None:
    shared: Any = {"trust_model": "shared_keys"}
    model = Model(generation, ("a", "b", "c"))
    seen: list[Any] = []

    def lie(run: Any, plan: Any) -> None:
        """The host b returns a set in the name of c as well, which does not return its own."""
        if plan.title == stages.HOLD.title:
            seen.append(dict(run.payloads))

    fetch = model.hosts["b"].shared_client_sets

    def forged(options: Any, payloads: Any) -> Any:
        found = fetch(options, payloads)
        if options["state"] == "fetched":
            found["sets"][model.hosts["c"].generations["current"]["client"]["fingerprint"]] = "keys of b"
        return found

    model.hosts["b"].shared_client_sets = forged  # type: ignore[method-assign]
    run = model.stages(model.start("establish", **shared), lie)
    own = {name: host.generations["current"]["client"]["fingerprint"] for name, host in model.hosts.items()}
    assert seen == [{own[name]: f"keys of {name}" for name in ("a", "c")}]
    assert [one["kind"] for one in run.servers["b"].errors] == ["malformed_result"]


def test_rubbish_from_one_host_keeps_nobody_from_the_keys_of_the_others(generation: Any) -> None:
    model = Model(generation, ("a", "b", "c"))
    host = model.hosts["b"]
    fetch = host.shared_client_sets

    def rubbish(options: Any, payloads: Any) -> Any:
        found = fetch(options, payloads)
        return {**found, "sets": dict.fromkeys(found["sets"], "rubbish")} if options["state"] == "fetched" else found

    host.shared_client_sets = rubbish  # type: ignore[method-assign]
    run = model.run("establish", trust_model="shared_keys")
    held = {name: {one["peer"] for one in (each.shared or {}).get("entries", ())} for name, each in model.hosts.items()}
    assert held == {"a": {"c"}, "b": {"a", "c"}, "c": {"a"}}
    assert [text.partition(" does not hold")[0] for text in run.failures] == ["a", "c"]
    assert all("(b: it does not open)" in text for text in run.failures)


def test_only_what_travels_is_sent_to_a_host(generation: Any) -> None:
    shared: Any = {"trust_model": "shared_keys"}
    model = fresh(generation, **shared)()
    model.hosts["a"].shared["entries"].pop()
    sent: list[Any] = []

    def collect(run: Any, plan: Any) -> None:
        sent.extend(
            (host, step["payloads"]) for host, made in plan.visits.items() for step in made if "payloads" in step
        )

    model.stages(model.start("establish", **shared), collect)
    assert sent == [("a", [model.hosts["c"].generations["current"]["client"]["fingerprint"]])]
