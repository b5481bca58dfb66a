# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is withdrawn stays withdrawn, whatever becomes of the ledger, and whatever a host says."""

from __future__ import annotations

import copy
import dataclasses
from typing import Any

import pytest

from ansible_collections.esync.mesh.plugins.module_utils._core.errors import EsyncError
from ansible_collections.esync.mesh.plugins.plugin_utils._planning.observed import mesh_of

from .model_mesh import Model

FOREIGN = {
    "peer": "b",
    "role": "server",
    "fingerprint": "ab" * 32,
    "key": "cd" * 32,
    "since": "2027-01-01T00:00:00Z",
    "why": "compromised",
}


def all_ok(run: Any) -> bool:
    mesh = mesh_of(run)
    return not (mesh.wrong or run.failures)


@pytest.fixture
def compromised(established: Model) -> Model:
    """Three servers, of which c was compromised and has new certificates."""
    before = copy.deepcopy(established.ledger)
    old = copy.deepcopy(established.hosts["c"].generations)
    run = established.run("regenerate", compromised=["c"])
    assert all_ok(run)
    established.before, established.stolen = before, old  # type: ignore[attr-defined]
    return established


def test_every_server_remembers_what_it_was_told_to_distrust(compromised: Model) -> None:
    gone = {one.fingerprint for one in compromised.ledger["c"].distrusted}
    assert len(gone) == 2
    for host in compromised.hosts.values():
        assert {one["fingerprint"] for one in host.remembered} == gone
    again = compromised.run("establish")
    assert all_ok(again)
    assert not again.written


def test_an_old_ledger_stops_the_run_and_names_what_it_lacks(compromised: Model) -> None:
    trust = {name: host.trust for name, host in compromised.hosts.items()}
    compromised.ledger = compromised.before  # type: ignore[attr-defined]
    with pytest.raises(EsyncError) as caught:
        compromised.run("establish")
    assert caught.value.kind == "ledger_knows_less"
    assert "c's client certificate" in str(caught.value)
    assert "esync_recover_distrusted=true" in str(caught.value)
    assert {name: host.trust for name, host in compromised.hosts.items()} == trust


@pytest.mark.parametrize("operation", ["establish", "regenerate", "remove", "repair", "apply"])
def test_no_operation_that_writes_trust_goes_on_with_an_old_ledger(compromised: Model, operation: str) -> None:
    compromised.ledger = compromised.before  # type: ignore[attr-defined]
    options: dict[str, Any] = {"remove": ["b"], "leaving": ["b"]} if operation == "remove" else {}
    compromised.settings["esync_folder"] = "/in"
    with pytest.raises(EsyncError, match="distrusts certificates that the ledger does not know"):
        compromised.run(operation, **options)


@pytest.mark.parametrize("lost", [False, True])
def test_the_ledger_learns_what_the_servers_were_told(compromised: Model, lost: bool) -> None:
    gone = {(one.fingerprint, one.key, one.why) for one in compromised.ledger["c"].distrusted}
    compromised.ledger = {} if lost else compromised.before  # type: ignore[attr-defined]
    said: list[str] = []
    start = compromised.start("establish", recover_distrusted=True)
    run = compromised.stages(start, lambda run, plan: said.extend(run.said))
    assert all_ok(run)
    assert {(one.fingerprint, one.key, one.why) for one in compromised.ledger["c"].distrusted} == gone
    assert any(line.startswith("Recovered from the servers: c's client certificate") for line in said)
    # The stolen certificates are refused still.
    compromised.hosts["c"].generations = compromised.stolen  # type: ignore[attr-defined]
    run = compromised.run("establish", accept_changed=["c"])
    assert [one["kind"] for one in run.servers["c"].errors] == ["distrusted_certificate"]


def test_a_removed_server_does_not_come_back_under_another_name(established: Model, generation: Any) -> None:
    files = copy.deepcopy(established.hosts["c"].generations)
    established.hosts["c"].dead = True
    established.run("remove", leaving=["c"], remove=["c"])
    model = Model(generation, ("a", "b", "d"), established.endpoint, ledger=established.ledger)
    model.hosts.update({name: established.hosts[name] for name in ("a", "b")})
    model.hosts["d"].generations = files
    run = model.run("establish")
    assert [one["kind"] for one in run.servers["d"].errors] == ["wrong_name"]
    assert "d" not in model.ledger
    assert all(entry["peer"] != "d" for name in ("a", "b") for entry in model.hosts[name].trust or ())


def test_a_single_server_cannot_stop_the_others_by_what_it_says(established: Model) -> None:
    established.hosts["c"].remembered = [dict(FOREIGN)]
    run = established.run("establish")
    assert [one["kind"] for one in run.servers["c"].errors] == ["ledger_knows_less"]
    assert {name: server.state for name, server in run.servers.items()} == {"a": "ok", "b": "ok", "c": "failed"}
    run = established.run("establish", recover_distrusted=True)
    assert [one["kind"] for one in run.servers["c"].errors] == ["ledger_knows_less"]
    assert established.ledger["b"].distrusted == ()


def test_discarding_brings_back_no_trust(compromised: Model) -> None:
    """A host that says it made new certificates, and presents the stolen ones."""
    host = compromised.hosts["c"]
    host.certificate_set = lambda options: False  # type: ignore[method-assign]
    host.generations = compromised.stolen  # type: ignore[attr-defined]
    run = compromised.run("establish", discard=["c"])
    assert [one["kind"] for one in run.servers["c"].errors] == ["distrusted_certificate"]


def test_a_server_that_returns_a_copy_is_refused_and_named(established: Model) -> None:
    established.hosts["c"].generations = copy.deepcopy(established.hosts["b"].generations)
    before = copy.deepcopy(established.ledger)
    run = established.run("establish", accept_changed=["c"])
    [error] = run.servers["c"].errors
    assert error["kind"] == "wrong_name"
    assert "is issued to 'b', not to 'c'" in error["cause"]
    assert established.ledger["b"].generations == before["b"].generations
    assert established.ledger["c"].generations == before["c"].generations


# -- what a host would have a run do --------------------------------------------------------------------------------


def test_no_host_turns_a_rotation_into_a_change_of_the_trust_model(established: Model) -> None:
    host = established.hosts["c"]
    own = {"peer": "c", "role": "client", "state": "current", "fingerprint": "ab" * 32}
    host.trust = [*(host.trust or ()), own]
    host.shared = {"digest": "", "withdrawn": False, "entries": [{**own, "peer": "b"}]}
    seen: list[str] = []
    run = established.stages(established.start("regenerate", only_due=True), lambda run, plan: seen.extend(run.said))
    assert run.rotation is not None and not run.rotation["changes_model"]
    assert run.rotation["rotating"] == ()


def test_what_is_compromised_has_no_say_in_how_that_is_answered(established: Model) -> None:
    host = established.hosts["c"]
    host.rotation = {"holder": "root@elsewhere process 1 started 1", "since": "2027-01-01T00:00:00Z"}
    host.shared = {
        "digest": "",
        "withdrawn": False,
        "entries": [{"peer": "b", "state": "current", "fingerprint": "ab" * 32}],
    }
    established.ledger = {name: dataclasses.replace(one, model=None) for name, one in established.ledger.items()}
    run = established.run("regenerate", compromised=["c"])
    assert {one.why for one in established.ledger["c"].distrusted} == {"compromised"}
    assert run.rotation is not None and not run.rotation["changes_model"]


def test_no_host_stops_a_removal_by_what_it_says_of_its_trust_model(generation: Any) -> None:
    model = Model(generation, ("a", "b", "c", "d"))
    model.run("establish")
    host = model.hosts["c"]
    own = host.generations["current"]["client"]["fingerprint"]
    host.trust = [*(host.trust or ()), {"peer": "c", "role": "client", "state": "current", "fingerprint": own}]
    run = model.run("remove", leaving=["d"], remove=["d"])
    assert [one["kind"] for one in run.servers["c"].errors] == ["other_trust_model"]
    assert model.ledger["d"].removed_at
    assert all(one["peer"] != "d" for name in ("a", "b") for one in model.hosts[name].trust or ())


def test_no_single_word_has_the_ledger_withdraw_what_another_presents(generation: Any) -> None:
    model = Model(generation, ["a", "c"], "nginx")
    model.run("establish")
    facts = model.hosts["a"].generations["current"]["server"]
    before, row = model.ledger["a"], {**FOREIGN, "peer": "a", "fingerprint": facts["fingerprint"]}
    model.hosts["c"].remembered = [row]
    with pytest.raises(EsyncError, match="c distrusts certificates"):
        model.run("establish", recover_distrusted=True)
    assert model.ledger["a"] == before
    # Two that say the same are believed, and so is whoever it is about.
    model.hosts["a"].remembered = [row]
    model.run("establish", recover_distrusted=True)
    assert [one.fingerprint for one in model.ledger["a"].distrusted] == [facts["fingerprint"]]


def test_what_is_compromised_cannot_stop_the_answer_by_what_it_remembers(generation: Any) -> None:
    model = Model(generation, ["a", "c"], "nginx")
    model.run("establish")
    model.hosts["c"].remembered = [FOREIGN]
    model.run("regenerate", compromised=["c"])
    assert len(model.ledger["c"].distrusted) == 2
