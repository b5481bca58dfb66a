# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""An attacker who is root on one member lies to the control node: it fails by its name, and nothing else happens.

What has to hold in every case, whatever was returned, is in hostile.py.
"""

from __future__ import annotations

import json
import re
import shutil
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from control_half import ControlNode, Lie, Outcome, public_files
from hostile import (
    CANARY,
    RAW,
    Before,
    Case,
    Meshes,
    Scenario,
    facts,
    generation,
    ledger_of,
    made_up,
    made_up_generations,
    run_many,
    run_one,
    violations,
)
from hostile_interpreter import RAW as RAW_JSON
from hostile_interpreter import Edit, edit
from local_mesh import Mesh, Result

from ansible_collections.esync.mesh.plugins.module_utils._connection.cause_table import CAUSES

EVIL = "a"
ESCAPE = "\x1b[2J\x1b]0;owned\x07\x9b31m\u202e" + CANARY
MALFORMED = "what it returned is not what a visit returns"
FACTS = {
    "esync_server_name": "b",
    "esync_directory": "/tmp/elsewhere",
    "esync_discard_existing": "b",
    "esync_accept_changed": ["a", "b"],
    "esync_compromised": ["b"],
    "esync_remove": ["b"],
    "__esync_judge": False,
    "__esync_plan": {"part": "report", "visits": {}},
    "ansible_play_hosts": [],
}


@pytest.fixture(scope="module")
def meshes(tmp_path_factory: pytest.TempPathFactory) -> Meshes:
    return Meshes(tmp_path_factory.mktemp("hostile"))


def lying(*edits: Edit) -> Lie:
    """The evil member edits all its replies."""
    return lambda name, _steps, reply: edit(reply, edits) if name == EVIL else reply


def run(meshes: Meshes, scenario: Scenario, *edits: Edit) -> Outcome:
    """One run; nothing of what may never happen has happened."""
    bad, outcome = run_one(meshes, scenario, EVIL, lying(*edits))
    assert not bad, "\n".join([*bad, outcome.output])
    return outcome


def fails_by_name(outcome: Outcome, said: str = "") -> None:
    assert not outcome.ok, outcome.output
    named = re.search(rf"\b{EVIL}(: | \(| ->)|\bon {EVIL}\b", outcome.output)
    assert named and said in outcome.output, outcome.output


# -- with the real ansible-playbook ---------------------------------------------------------------------------------


@pytest.fixture
def evil(mesh: Mesh) -> Iterator[Any]:
    """Lets the member lie: ``evil(edits)``; at the end nothing lies where it should not."""
    before = Before.of(mesh)
    victim = mesh.root / "victim" / "x.json.y"

    def lie(*edits: Edit, raw: Any = ()) -> None:
        helper = Path(__file__).with_name("hostile_interpreter.py")
        wrapper, lies = mesh.root / "python", mesh.root / "lies.json"
        lies.write_text(json.dumps({"edits": edits, "raw": list(raw)}))
        wrapper.write_text(f'#!/bin/sh\nexec {sys.executable} {helper} {lies} "$@"\n')
        wrapper.chmod(0o755)
        victim.parent.mkdir(exist_ok=True)
        victim.write_text("of somebody else")
        mesh.host_settings[EVIL] = {"ansible_python_interpreter": str(wrapper)}
        mesh.write()

    yield lie
    assert victim.read_text() == "of somebody else"
    ours = {"hosts", "ledger", "report", "hosts.json", "python", "lies.json", "victim", "tmp", "remote-tmp"}
    assert {path.name for path in mesh.root.iterdir()} <= ours
    assert not violations(mesh, Case(EVIL), _without_rest(mesh, before), Outcome())


def _without_rest(mesh: Mesh, before: Before) -> Before:
    """The same; the files of the lie itself, and of Ansible, are no concern."""
    now = Before.of(mesh)
    return Before(before.public, before.ledger, before.trust, now.rest, before.files)


def shows_no_escape(result: Result) -> None:
    assert not RAW.search(result.output.replace("\t", " ")), [RAW.search(result.output)]


def test_facts_and_variables_in_results_are_nobodys_decision(mesh: Mesh, evil: Any, tmp_path: Path) -> None:
    folders = {"esync_ledger": str(tmp_path / "elsewhere"), "esync_report_directory": str(tmp_path / "elsewhere")}
    facts = {**FACTS, **folders}
    everywhere = ("reply", "certificate_info", "certificate_set", "probe_listener", "peer_probe")
    evil(
        *((f"{one}.ansible_facts", facts) for one in everywhere),
        *((f"{one}.{name}", value) for one in everywhere for name, value in facts.items()),
        ("reply.reasons", ["discard_existing"]),
        ("certificate_set.reasons", ["discard_existing"]),
        ("reply._ansible_no_log", True),
        ("reply.add_host", {"host_name": "b", "groups": [], "host_vars": facts}),
        ("reply.add_group", "esync"),
    )
    before = ledger_of(mesh)
    assert mesh.succeed("establish").changed == {"a": 0, "b": 0, "c": 0, "localhost": 0}
    # Only dates of renewal in a nightly run; nobody is compromised because a member says so.
    mesh.succeed("regenerate", "-e", "esync_only_due=true")
    assert ledger_of(mesh) == before and not (tmp_path / "elsewhere").exists()
    assert mesh.report()["summary"]["ok"] == 6

    # A pair that is really broken breaks the run, whatever is said. Nothing listens on that address.
    mesh.host_settings["b"] = {"esync_address": "127.0.0.2"}
    mesh.write()
    result = mesh.fail("verify")
    assert {(one["from"], one["to"]) for one in mesh.report()["pairs"] if one["verdict"] == "failed"} == {
        ("a", "b"),
        ("c", "b"),
    }, result.output


def test_texts_are_printed_without_what_a_terminal_obeys(mesh: Mesh, evil: Any) -> None:
    error = {"kind": ESCAPE, "cause": ESCAPE, "remedy": ESCAPE, "server": "b" + ESCAPE, "path": "/" + ESCAPE}
    diff = dict.fromkeys(("before", "after", "before_header", "after_header"), ESCAPE)
    pair = {"verdict": "failed", "cause": ESCAPE[:90], "detail": ESCAPE, "remedy": ESCAPE}
    texts = (
        ("reply.warnings", [ESCAPE]),
        ("reply.deprecations", [{"msg": ESCAPE, "version": "9"}]),
        ("reply.msg", ESCAPE),
        ("certificate_info.problems", [{**error, "kind": "x"}]),
        ("certificate_info.directory", ESCAPE),
        ("certificate_info.product_version", ESCAPE),
        ("certificate_info.diff", diff),
        *((f"peer_probe.results.*.{key}", value) for key, value in pair.items()),
    )
    for playbook, edits in (("check", texts), ("verify", (*texts, ("reply.error", error), ("reply.failed", True)))):
        evil(*edits)
        result = mesh.fail(playbook, "--diff", "-v")
        shows_no_escape(result)
        assert "fatal: [a]" in result.output or "a (" in result.output
        assert all(one["verdict"] == "ok" for one in mesh.report()["pairs"] if EVIL not in (one["from"], one["to"])), (
            result.output
        )
        for path in (mesh.root / "report").iterdir():
            assert not RAW.search(path.read_text()), path


@pytest.mark.parametrize(
    "said", ["[" * 10_000 + "]" * 10_000, '"' + "x" * 30_000_000 + '"'], ids=["10,000 deep", "30 MB"]
)
def test_what_json_allows_and_nobody_expects_fails_that_member_alone(mesh: Mesh, evil: Any, said: str) -> None:
    evil(("certificate_info.clock_skew", {RAW_JSON: said}), raw=[said])
    result = mesh.fail("verify")
    assert "Unexpected" not in result.prose and len(result.output) < 100_000
    assert {(one["from"], one["to"]): one["verdict"] for one in mesh.report()["pairs"]} == {
        (source, target): "untested" if EVIL in (source, target) else "ok"
        for source in "abc"
        for target in "abc"
        if source != target
    }
    assert next(one["state"] for one in mesh.report()["servers"] if one["name"] == EVIL) == "failed"


def test_a_member_cannot_present_itself_as_another(mesh: Mesh, evil: Any) -> None:
    true = ledger_of(mesh)["b"]["generations"][0]
    own = generation(facts(made_up("b", "server"), "server"), facts(made_up("b", "client"), "client"), "next")
    evil(
        ("reply.ansible_facts", FACTS),
        ("certificate_set.name", "b"),
        ("certificate_set.reasons", ["discard_existing"]),
        ("certificate_set.generations", [generation(true["server"], true["client"]), own]),
    )
    result = mesh.fail("establish")
    assert "a: " in result.prose
    assert {one["verdict"] for one in mesh.report()["pairs"] if EVIL not in (one["from"], one["to"])} == {"ok"}


# -- values that are not what they have to be -----------------------------------------------------------------------

NAN = float("nan")
PAIR = {"to": "b", "verdict": "ok", "site": None}
MALFORMED_VALUES: dict[str, Edit] = {
    "verdict": ("peer_probe.results.0.verdict", "weird"),
    "no number": ("peer_probe.results.0.handshake_ms", NAN),
    "infinite": ("peer_probe.results.0.handshake_ms", float("inf")),
    "mapping for a number": ("peer_probe.results.0.handshake_ms", {"a": 1}),
    "text for a number": ("certificate_info.clock_skew", "abc"),
    "mapping for a text": ("peer_probe.results.0.detail", {"a": [1]}),
    "long text": ("peer_probe.results.0.detail", "x" * 1_000_000),
    "no fingerprint": ("peer_probe.results.0.server_fingerprint", "../" * 10),
    "huge list": ("peer_probe.results", [PAIR] * 200_000),
    "list for a mapping": ("certificate_info.trust", []),
    "huge trust": ("certificate_info.trust.entries", [{"peer": "b"}] * 200_000),
    "unknown state": ("certificate_info.generations.0.state", "weird"),
    "state twice": ("certificate_info.generations", lambda old: [*old, *old]),
    "no generations": ("certificate_info.generations", None),
    "id with slashes": ("certificate_info.generations.0.id", "../../victim"),
    "name with globs": ("certificate_info.trust.entries.0.peer", "../../victim/**/*"),
    "results no list": ("reply.results", {"a": 1}),
    "no results": ("reply.results", []),
    "a step that was not sent": ("peer_probe.step", "exchange_folder_info"),
    "error no mapping": ("reply.error", 5),
    "mode no mapping": ("certificate_info.modes", {"/etc": 7}),
}


@pytest.mark.parametrize(
    ("operation", "what"),
    [*(("verify", what) for what in MALFORMED_VALUES), *(("check", what) for what in list(MALFORMED_VALUES)[::5])],
)
def test_one_malformed_value_fails_that_member_and_the_report_is_intact(
    meshes: Meshes, operation: str, what: str
) -> None:
    fails_by_name(run(meshes, Scenario(operation), MALFORMED_VALUES[what]))


PAIRS_OF_OTHERS: dict[str, Edit] = {
    "of a server that is none": ("peer_probe.results", lambda old: [*old, {**PAIR, "to": "mallory"}]),
    "of itself": ("peer_probe.results", lambda old: [*old, {**PAIR, "to": "a"}]),
    "twice": ("peer_probe.results", lambda old: [*old, {**old[0], "verdict": "failed", "cause": "not_tls"}]),
    "of one peer only": ("peer_probe.results", lambda old: [old[0]] * len(old)),
    "of a site": ("peer_probe.results", lambda old: [*old, {**PAIR, "site": "shop"}]),
    "a name with globs": ("peer_probe.results.0.to", "../../victim/**/*"),
    "none at all": ("peer_probe.results", []),
    "refusals of others": (
        "peer_probe.refusals",
        [{"to": "c", "verdict": "failed", "present": "none"}, {"to": "d", "verdict": "ok", "present": "x"}],
    ),
    "clusters": ("peer_probe.clusters", [{"cluster": "web", "verdict": "ok", "answered": {"b": 1}}]),
    "nothing at all": ("reply.results", lambda old: [{**old[0], "skipped": True}] + old[1:]),
}


@pytest.mark.parametrize("what", PAIRS_OF_OTHERS)
def test_results_count_for_what_was_asked(meshes: Meshes, what: str) -> None:
    fails_by_name(run(meshes, Scenario("verify"), PAIRS_OF_OTHERS[what]))


# -- certificates ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("start", ["established", "nothing"])
@pytest.mark.parametrize("what", made_up_generations(EVIL))
def test_certificates_that_no_server_may_present_are_refused(meshes: Meshes, start: str, what: str) -> None:
    made = made_up_generations(EVIL)[what]
    scenario = Scenario("establish", start=start, renews=start == "nothing")
    fails_by_name(run(meshes, scenario, ("certificate_set.generations", [made])))
    recorded = ledger_of(meshes.mesh).get(EVIL, {"generations": []})["generations"]
    for one in recorded:
        for role in ("server", "client"):
            if one[role]["fingerprint"] == made[role]["fingerprint"]:
                # A new server may come with any sound certificate, and what it says of it is not what counts.
                assert "expired" in what and one[role]["not_after"] < "2027" and one[role]["subject"] == EVIL


@pytest.mark.parametrize("state", ["current", "next", "previous"])
def test_the_certificates_of_another_server_are_refused(meshes: Meshes, state: str) -> None:
    meshes.fresh(Scenario("establish"))
    true = ledger_of(meshes.mesh)["b"]["generations"][0]
    stolen = generation(true["server"], true["client"], state)
    own: Any = [] if state == "current" else ledger_of(meshes.mesh)[EVIL]["generations"]
    made = [{"id": "1", **one} for one in own] + [stolen]
    outcome = run(meshes, Scenario("establish"), ("certificate_set.generations", made))
    record = json.dumps(ledger_of(meshes.mesh)[EVIL])
    assert true["server"]["fingerprint"] not in record and true["client"]["fingerprint"] not in record
    if state == "current":
        fails_by_name(outcome)


def test_what_is_said_of_a_certificate_does_not_count(meshes: Meshes) -> None:
    lies = {
        "subject": "b",
        "not_before": "1970-01-01T00:00:00Z",
        "not_after": "9999-99-99T99:99:99Z",
        "alt_names": [{"a": [None]}, ESCAPE],
        "fingerprint": "ab" * 32,
        "role": "client",
    }
    edits = [
        (f"certificate_set.generations.*.{role}.{key}", lie)
        for role in ("server", "client")
        for key, lie in lies.items()
    ]
    meshes.fresh(Scenario("establish"))
    before = ledger_of(meshes.mesh)
    outcome = run(meshes, Scenario("establish"), *edits)
    assert ledger_of(meshes.mesh)[EVIL]["generations"] == before[EVIL]["generations"]
    if not outcome.ok:
        fails_by_name(outcome, MALFORMED)


# -- rotations ------------------------------------------------------------------------------------------------------

ROTATIONS: dict[str, list[Edit]] = {
    "an id that is none": [("certificate_info.rotation", {"holder": "x", "since": "2020", "id": "no id"})],
    "another holder": [
        ("certificate_info.rotation", {"holder": "x@y process 1 started 1", "since": "2020", "id": "20200101T000000Z"})
    ],
    "an id that renews nobody": [
        ("certificate_info.rotation", {"holder": "root@vm process 1 started 1", "since": "2020", "id": "309d99b3"}),
        ("certificate_info.generations.0.id", "20260101T000000Z-309d99b3"),
    ],
    "due for everything": [("certificate_info.due", ["name_differs", "expired", ESCAPE])],
}


@pytest.mark.parametrize("what", ROTATIONS)
def test_a_member_does_not_say_which_rotation_it_is(meshes: Meshes, what: str) -> None:
    scenario = Scenario("regenerate", renews=True)
    meshes.fresh(scenario)
    before = {name: public_files(meshes.mesh, name) for name in "bcd"}
    outcome = run(meshes, scenario, *ROTATIONS[what])
    renewed = [name for name in "bcd" if public_files(meshes.mesh, name) != before[name]]
    if outcome.ok:
        assert renewed == ["b", "c", "d"]
    else:
        fails_by_name(outcome)
        assert not renewed
    # Nothing of it is left: when the member is honest again, the mesh rotates.
    again = ControlNode(meshes.mesh).run("regenerate", esync_take_over_lock=True)
    assert again.ok, again.output
    assert all(public_files(meshes.mesh, name) != before[name] for name in "bcd")


# -- folders of another mesh ----------------------------------------------------------------------------------------


def folder_of(meshes: Meshes, *names: str) -> Path:
    """A folder with the certificates of servers of another mesh."""
    folder = meshes.mesh.root.parent / "exchange"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(mode=0o755)
    for name in names:
        for role in ("Server", "Client"):
            path = folder / f"{name}_Sync{role}.cer"
            path.write_bytes(made_up(name, role.lower()))
            path.chmod(0o644)
    return folder


def applied_set(name: str, label: str = "") -> dict[str, Any]:
    made = generation(*(facts(made_up(name, role, label), role) for role in ("server", "client")))
    return {"name": name, "address": None, "port": None, "generations": [made]}


def _glob(old: Any) -> Any:
    return [*old, {**applied_set("mallory"), "name": "/../../victim/**/*"}]


FOLDERS: dict[str, Any] = {
    "a name with globs": _glob,
    "one more server": lambda old: [*old, applied_set("mallory")],
    "one server less": lambda old: [],
    "other certificates": lambda old: [applied_set("x", "other")],
    "a member": lambda old: [*old, applied_set("b")],
    "a removed state": lambda old: [{**old[0], "generations": []}],
    "an address with globs": lambda old: [{**old[0], "address": "../*", "port": -1}],
}


@pytest.mark.parametrize("what", FOLDERS)
def test_an_external_peer_is_taken_in_if_all_say_the_same(meshes: Meshes, what: str) -> None:
    folder = folder_of(meshes, "x")
    scenario = Scenario("apply", extra={"esync_folder": str(folder)})
    mesh = meshes.fresh(scenario)
    before = Before.of(mesh)
    node = ControlNode(mesh, lying(("exchange_folder_info.sets", FOLDERS[what])))
    outcome = node.run("apply", **scenario.extra)
    bad = violations(mesh, Case(EVIL, outside=frozenset({"x"})), before, outcome)
    assert not bad, "\n".join([*bad, outcome.output])
    fails_by_name(outcome)
    record = ledger_of(mesh).get("x", {"generations": []})
    assert {one["server"]["fingerprint"] for one in record["generations"]} <= {
        facts(made_up("x", "server"), "server")["fingerprint"]
    }
    # All honest: it is taken in.
    assert ControlNode(mesh).run("apply", **scenario.extra).ok
    assert mesh.trusted("b") == {"a", "c", "d", "x"}


# -- shared client keys ---------------------------------------------------------------------------------------------

RUBBISH = "cnViYmlzaA=="


@pytest.mark.parametrize("whose", ["own", "of another", "of both"])
def test_shared_keys_are_taken_from_their_owner(tmp_path: Path, whose: str) -> None:
    passphrase = "the passphrase of the mesh: Jt4hVq8sLw2n"
    mesh = Mesh(tmp_path, list("abc"), {"esync_trust_model": "shared_keys", "esync_pfx_passphrase": passphrase})

    def sets(old: Any) -> Any:
        [theirs] = [one["client"]["fingerprint"] for one in ledger_of(mesh)["b"]["generations"]]
        own = dict.fromkeys(old, RUBBISH) if whose != "of another" else old
        return {**own, **({theirs: RUBBISH} if whose != "own" else {})}

    outcome = ControlNode(mesh, lying(("shared_client_sets.sets", sets))).run("establish")
    assert not outcome.unexpected, outcome.output
    pairs = {(one["from"], one["to"]): one["verdict"] for one in mesh.report()["pairs"]}
    assert (pairs["b", "c"], pairs["c", "b"]) == ("ok", "ok"), outcome.output
    if whose == "of another":
        assert outcome.ok or f"{EVIL}: " in outcome.output
    else:
        fails_by_name(outcome)
    # The honest ones hold each other's keys, and whoever lied is the only one that is missing.
    for name, other in (("b", "c"), ("c", "b")):
        assert list((mesh.host(name) / "handed-over").glob(f"{other}_SyncClient*.crt"))


# -- repair ---------------------------------------------------------------------------------------------------------


INVENTED = {
    "unknown kinds": ["ledger_lacks", ESCAPE[:50]],
    "kinds of hosts": ["damaged_file", "missing_file", "damaged_trust"],
    "kinds that the control node finds": ["left_group", "trust_missing", "other_trust_model", "rotation_pending"],
    "a dispute with the ledger": ["ledger_missing", "ledger_unexpected"],
}


@pytest.mark.parametrize("what", INVENTED)
def test_a_member_that_lies_keeps_nobody_else_from_being_repaired(meshes: Meshes, what: str) -> None:
    about = {"cause": ESCAPE, "remedy": ESCAPE, "server": "b", "path": "/etc/esync/current"}
    invented = [{**about, "kind": kind} for kind in INVENTED[what]]
    mesh = meshes.fresh(Scenario("repair"))
    before = Before.of(mesh)
    damaged = mesh.host("b") / "trusted" / "clients.pem"
    sound = damaged.read_bytes()
    damaged.unlink()
    node = ControlNode(mesh, lying(("certificate_info.problems", invented), ("certificate_info.ledger_lacks", ["b"])))
    outcome = node.run("repair")
    assert damaged.exists() and damaged.read_bytes() == sound, outcome.output
    bad = violations(mesh, Case(EVIL, reports=True), before, outcome)
    assert not bad, "\n".join([*bad, outcome.output])
    fails_by_name(outcome)


def failed_by(named: Mapping[str, str]) -> Any:
    """What makes every verdict a failure. :param named: peer to cause."""

    def change(old: Any) -> Any:
        changed = {"verdict": "failed", "detail": ESCAPE, "remedy": ESCAPE}
        return [{**one, **changed, "cause": named.get(one["to"], "x")} for one in old]

    return change


def test_no_verdict_of_a_member_destroys_the_keys_of_another(meshes: Meshes) -> None:
    causes = sorted(CAUSES)
    assert len(causes) > 20
    for start in range(0, len(causes), 3):
        verdicts = failed_by(dict(zip("bcd", causes[start : start + 3])))
        fails_by_name(run(meshes, Scenario("repair"), ("peer_probe.results", verdicts)))


# -- anything -------------------------------------------------------------------------------------------------------


def test_random_changes(tmp_path: Path) -> None:
    assert list(run_many(tmp_path, runs=30, seed=20261126)) == []
