# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The steps of visits: every one is what the step of that name takes, with what this server lacks."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator

from ansible_collections.esync.mesh.plugins.module_utils._steps.visit import SECRETS, STEPS
from ansible_collections.esync.mesh.plugins.module_utils._steps.visit import SPEC as VISIT
from ansible_collections.esync.mesh.plugins.plugin_utils._inventory.sites import Site, places
from ansible_collections.esync.mesh.plugins.plugin_utils._planning import records, stages, steps
from ansible_collections.esync.mesh.plugins.plugin_utils._planning.run import Run, Server

from .meshes import ABC, FOLDER, applied
from .model_mesh import MESH, SETTINGS, Model

CLUSTER = {"name": "web", "address": "lb", "port": 1, "members": ["a", "b"]}


def all_steps(generation: Any, endpoint: str) -> list[Any]:
    """The steps of many runs."""
    found: list[Any] = []

    def collect(run: Any, plan: Any) -> None:
        found.extend(step for made in plan.visits.values() for step in made if "step" in step)

    shared: Any = {"trust_model": "shared_keys"}
    model = Model(generation, ABC, endpoint)
    model.stages(model.start("establish"), collect)
    model.settings = FOLDER
    for operation in ("establish", "verify", "check", "gate", "export", "regenerate"):
        model.stages(model.start(operation), collect)
    model.stages(model.start("regenerate", compromised=["b"]), collect)
    model.stages(model.start("regenerate", **shared), collect)
    model.stages(model.start("remove", leaving=["c"], remove=["c"], **shared), collect)
    model = applied(generation, endpoint)
    model.stages(model.start("apply"), collect)
    return found


@pytest.mark.parametrize("endpoint", ["temporary", "nginx"])
def test_every_step_of_every_plan_is_one_that_hosts_know(generation: Any, endpoint: str) -> None:
    found = all_steps(generation, endpoint)
    told = {"name": "a", "directory": "/etc/esync"}
    for one in found:
        step = {key: one[key] for key in ("step", "options", "when", "check") if key in one}
        result = ArgumentSpecValidator(VISIT).validate({**told, "steps": [step], "secrets": {}})
        assert not result.error_messages, one
        result = ArgumentSpecValidator(STEPS[one["step"]]().spec).validate({**told, **one["options"]})
        assert not result.error_messages, (one["step"], result.error_messages)
        assert not set(one["options"]) & set(SECRETS)
    expected = set(STEPS) - ({"endpoint"} if endpoint == "temporary" else {"probe_listener"})
    assert {one["step"] for one in found} == expected


def test_hosts_and_the_control_node_know_the_same_steps() -> None:
    assert set(STEPS) == set(records.STEPS)


def test_only_what_a_server_lacks_is_sent(established: Model) -> None:
    sent: list[Any] = []

    def collect(run: Any, plan: Any) -> None:
        sent.extend(one for one in plan.visits.get("a", ()) if one["step"] == "peer_trust")

    established.hosts["b"].generations.clear()
    established.stages(established.start("establish", accept_changed=["b"]), collect)
    [step] = sent
    pems = {established.hosts["b"].generations["current"][role]["pem"] for role in ("server", "client")}
    assert set(step["options"]["certificates"]) == pems and len(step["options"]["entries"]) == 4


def test_a_damaged_trust_is_sent_as_a_whole(established: Model) -> None:
    run = established.run("verify")
    run.ledger = dict(established.ledger)
    server = run.servers["a"]
    server.read["trust"]["digest"] = "damaged"
    plan = steps.trust_of(run, server)
    assert plan.changed
    assert len(steps.peer_trust(run, server, plan)["options"]["certificates"]) == 4


def test_the_names_in_certificates_do_not_depend_on_the_site_that_is_chosen(established: Model) -> None:
    server = established.start("establish").servers["a"]
    server.settings.update(
        esync_subject_alt_names=["x"],
        esync_cluster={"name": "web", "address": "lb"},
        esync_endpoint_sites=[{"name": "shop", "server_name": "Shop.Example"}, {"name": "news", "server_name": None}],
    )
    assert steps.alt_names(server) == ["x", "web", "lb", "shop.example"]


def test_a_peer_with_sites_is_called_on_each(established: Model) -> None:
    run = established.start("verify")
    run.servers["b"].sites = [
        Site("shop", 1, "shop.example").facts(),
        Site("news", 2).facts(),
    ]
    found = steps.peers_of(run, run.servers["a"], ["b", "c"], ())
    assert [(one["name"], one["site"], one["port"]) for one in found] == [
        ("b", "shop", 1),
        ("b", "news", 2),
        ("c", None, 8732),
    ]


DATABASE = Site("db", 5432, reload=("true",), protocol="postgresql", attached=True, owner="postgres")


def test_a_peer_with_attached_services_is_called_on_its_port_too(established: Model) -> None:
    run = established.start("verify")
    run.servers["b"].sites = [one.facts() for one in places((), (DATABASE,), 8732)]
    found = steps.peers_of(run, run.servers["a"], ["b"], ())
    assert [(one["site"], one["port"], one["protocol"]) for one in found] == [
        ("esync", 8732, "http"),
        ("db", 5432, "postgresql"),
    ]
    # To the endpoint it is no site, and the services are said apart.
    options = steps.endpoint(run.servers["b"])["options"]
    assert options["sites"] == []
    service = {"name": "db", "port": 5432, "reload": ["true"], "protocol": "postgresql", "owner": "postgres"}
    assert options["services"] == [service]


def test_attached_services_load_what_changed_whatever_the_endpoint_is(established: Model) -> None:
    run = established.run("verify")
    server = run.servers["b"]
    server.changed = True
    assert [one["step"] for one in stages.endpoint_steps(run, server)] == ["endpoint"] * server.resident
    server.sites = [one.facts() for one in places((), (DATABASE,), 8732)]
    assert [one["step"] for one in stages.endpoint_steps(run, server)] == ["endpoint"]


@pytest.mark.parametrize(("port", "listens"), [(5432, True), (8732, False)])
def test_nothing_of_ours_listens_where_an_attached_service_does(established: Model, port: int, listens: bool) -> None:
    run = established.run("verify")
    server = run.servers["b"]
    server.settings["esync_endpoint"] = "temporary"
    server.sites = [one.facts() for one in places((), (replace(DATABASE, port=port),), 8732)]
    assert server.resident is not listens
    server.listening = False
    assert bool(stages.listener_steps(run, server)) is listens


def test_clusters_are_called_by_those_outside_that_can_reach_all_members(established: Model) -> None:
    run = established.start("verify")
    run.clusters = [CLUSTER]

    def called(name: str, peers: str) -> Any:
        probe = steps.peer_probe(run, run.servers[name], [{"name": one} for one in peers])
        return [one["name"] for one in probe["options"]["clusters"]]

    assert called("c", "ab") == ["web"]
    assert called("c", "b") == [] and called("a", "bc") == []
    refused = steps.peer_probe(run, run.servers["c"], [{"name": "a"}, {"name": "b"}], refused=True)
    assert refused["options"]["clusters"] == [] and refused["options"]["expect"] == "refused"


def test_next_is_presented_where_there_is_one(established: Model) -> None:
    run = established.run("verify")
    server, peers = run.servers["a"], [{"name": "b"}]

    def presented(**options: Any) -> Any:
        return steps.peer_probe(run, server, peers, "next", **options)["options"]["present"]

    assert (presented(), presented(model="shared_keys")) == ("current", "next")
    server.read["generations"] = [{**server.read["generations"][0], "state": "next"}]
    assert presented() == "next"


def test_refusals_are_tried_at_a_peer_that_is_there(established: Model) -> None:
    run = established.start("verify")
    run.servers["b"].state = "unreachable"
    probe = steps.peer_probe(run, run.servers["a"], [{"name": "b"}, {"name": "c"}], refusals=True)
    assert probe["options"]["refusals"] == ["c"]


@pytest.mark.parametrize(("peers", "clusters", "refusals", "seconds"), [(1, 0, 0, 35), (33, 1, 1, (3 + 2 + 6) * 35)])
def test_a_visit_may_take_what_its_probes_may_take(peers: int, clusters: int, refusals: int, seconds: float) -> None:
    options = {"concurrency": 16, "connect_timeout": 10, "answer_timeout": 15}
    probe = steps.step("peer_probe", peers=[{}] * peers, clusters=[{}] * clusters, refusals=["b"] * refusals, **options)
    loaded, drained = (steps.step("endpoint", state=state, drain=60) for state in ("present", "drained"))
    assert steps.waiting_seconds([{"refuse": "x"}, loaded, probe]) == seconds
    assert steps.waiting_seconds([drained, probe]) == seconds + 60


@pytest.mark.parametrize(
    ("endpoint", "commands", "expected"),
    [("temporary", True, False), ("nginx", False, True), ("external", False, False), ("external", True, True)],
)
def test_whose_endpoint_can_be_restarted(generation: Any, endpoint: str, commands: bool, expected: bool) -> None:
    model = Model(generation, ("a", "b"), endpoint)
    model.settings = {f"esync_{name}_command": ["x"] * commands for name in ("stop", "start")}
    assert steps.can_restart(model.start("repair").servers["a"]) is expected


def test_what_is_not_given_is_left_out() -> None:
    assert steps.step("x", a=None, b=0) == {"step": "x", "options": {"b": 0}}
    assert steps.step("x", check=True, when={"unchanged": True})["when"] == {"unchanged": True}


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, {}),
        ({"esync_key_type": "ed25519", "esync_key_size": None}, {"key_type": "ed25519"}),
        ({"esync_key_type": "ecdsa", "esync_key_size": 384}, {"key_type": "ecdsa", "key_size": 384}),
    ],
)
def test_a_size_that_is_null_is_left_out(settings: Any, expected: Any) -> None:
    server = Server("a", "a", "a.example", 8732, True, settings={**SETTINGS, **settings})
    run = Run("establish", dict(MESH), {"a": server})
    for made in (steps.certificate_set(run, server), steps.certificate_info(server)):
        assert {name: value for name, value in made["options"].items() if name.startswith("key_")} == expected
