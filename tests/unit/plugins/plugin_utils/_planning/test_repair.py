# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.esync.mesh.plugins.plugin_utils._inventory.membership import Cluster
from ansible_collections.esync.mesh.plugins.plugin_utils._planning.repair import NOTHING, plan_repair
from ansible_collections.esync.mesh.plugins.plugin_utils._report.builder import assemble
from ansible_collections.esync.mesh.plugins.plugin_utils._report.findings import (
    FAULT,
    NOT_CHECKED,
    NOTE,
    Problem,
    ServerFindings,
    problems_of,
)
from ansible_collections.esync.mesh.plugins.plugin_utils._report.model import Mesh, ReportServer

KEY = "/etc/esync/generations/20260101T000000Z-00000000/b_SyncServer.key"


def problem(server: str, kind: str, severity: str = FAULT, path: str | None = None, repair: str = "") -> Problem:
    return Problem(server, kind, severity, path, "What it is", "What was seen.", "What to do.", repair=repair)


def own(server: str = "b", path: str = KEY, kind: str = "damaged_file", **read: Any) -> list[Problem]:
    """The problems of a server with a damaged file.

    :param read: what its host found besides, ``restorable`` and ``keys``.
    """
    error = {"kind": kind, "path": path, "cause": "it is empty", "remedy": "Discard it by esync_discard_existing"}
    return problems_of(ServerFindings(server, {"problems": [error], "generations": [], **read}))


def mesh(
    problems: Any = (), failing: Any = (), refusals: Any = (), sites: Any = (), names: str = "abcd", **more: Any
) -> Mesh:
    """All pairs are ok but those in ``failing``: caller, called, cause, and perhaps the site."""
    servers = [ReportServer(name, "x", 1, "ok", sites=tuple(sites) if name == "b" else ()) for name in names]
    bad = {(source, target, (*site, None)[0]): cause for source, target, cause, *site in failing}
    results = {
        source.name: [
            result(target.name, site, bad.get((source.name, target.name, site)))
            for target in servers
            if target != source
            for site in target.sites or (None,)
        ]
        for source in servers
    }
    return assemble(servers, results, "nginx", problems=problems, refusals={"a": refusals}, **more)


def result(target: str, site: str | None, cause: str | None) -> dict[str, Any]:
    if cause is None:
        return {"to": target, "site": site, "verdict": "ok"}
    return {"to": target, "site": site, "verdict": "failed", "cause": cause, "detail": "Seen.", "remedy": "Do."}


def test_nothing_is_done_to_a_sound_mesh() -> None:
    plan = plan_repair(mesh(), ["a", "b"])
    assert (plan.servers, plan.not_repaired) == ({}, ())
    assert plan.lines == (NOTHING,)


@pytest.mark.parametrize(
    ("kind", "path", "action", "subject", "destroyed"),
    [
        ("wrong_mode", KEY, "restore", "own set", "nothing"),
        ("damaged_trust", "/etc/esync/trusted/clients.pem", "exchange", "trust", "nothing but what is damaged"),
        ("trust_missing", None, "exchange", "trust", "nothing"),
        ("damaged_shared_keys", "/etc/esync/handed/1/x.key", "exchange", "shared client keys", "nothing"),
        ("no_certificates", "/etc/esync", "exchange", "own set", "nothing"),
        ("endpoint_not_listening", None, "restart", "endpoint", "nothing; its connections end"),
        ("another_certificate_served", None, "restart", "endpoint", "nothing"),
    ],
)
def test_each_fault_has_its_smallest_action_and_the_plan_says_what_is_destroyed(
    kind: str, path: str | None, action: str, subject: str, destroyed: str
) -> None:
    plan = plan_repair(mesh([problem("b", kind, path=path)]), ["b"])
    assert plan.servers == {"b": (action,)}
    assert plan.not_repaired == ()
    (line,) = plan.lines
    assert line.startswith("b: ") and f"({subject}: " in line
    assert line.partition("Destroys: ")[2].startswith(destroyed)
    assert path is None or path in line


def test_a_file_that_is_sound_beside_it_is_restored_and_no_key_destroyed() -> None:
    for kind in ("damaged_file", "missing_file", "mismatch", "wrong_owner"):
        plan = plan_repair(mesh(own(kind=kind, restorable=[KEY], keys=["current server", "current client"])), ["b"])
        assert (plan.servers, plan.not_repaired) == ({"b": ("restore",)}, ())
        assert plan.lines[0].endswith("Destroys: nothing; its private keys stay.")
        assert KEY in plan.lines[0] and "(own set: " in plan.lines[0]


def test_sets_are_made_new_only_where_no_private_key_is_left() -> None:
    plan = plan_repair(mesh(own(keys=[])), ["b"])
    assert (plan.servers, plan.not_repaired) == ({"b": ("renew",)}, ())
    assert plan.lines[0].endswith("Destroys: its sets, of which no private key is left.")


@pytest.mark.parametrize("read", [{"keys": ["current client"]}, {}], ids=["another-key-is-sound", "nobody-looked"])
def test_a_sound_key_is_destroyed_only_by_the_option_that_names_the_server(read: Any) -> None:
    plan = plan_repair(mesh(own(**read)), ["b"])
    assert plan.servers == {}
    (text,) = plan.not_repaired
    assert "Command: ansible-playbook esync.mesh.establish -e esync_discard_existing=b" in text
    assert ("would destroy what is left: current client." in text) == bool(read)


def test_a_file_is_the_same_by_whichever_path_it_is_named() -> None:
    by_link = [{"kind": "damaged_file", "path": "/etc/esync/current/b_SyncServer.key", "cause": "it is empty"}]
    known = ServerFindings("b", {"restorable": [KEY], "keys": ["current server"]}, failures=by_link)
    assert plan_repair(mesh(problems_of(known)), ["b"]).servers == {"b": ("restore",)}


def test_a_manifest_is_written_again_although_it_is_only_a_note() -> None:
    path = KEY.rpartition("/")[0] + "/manifest.json"
    (found,) = problems_of(ServerFindings("b", {"stale_manifests": [path]}))
    assert (found.kind, found.severity, found.path) == ("stale_manifest", NOTE, path)
    assert plan_repair(mesh([found]), ["b"]).servers == {"b": ("restore",)}


def test_every_finding_of_a_server_is_named_or_counted() -> None:
    found = [problem("b", "damaged_file", path=f"{KEY}{number}", repair="restore") for number in range(5)]
    (line,) = plan_repair(mesh(found), ["b"]).lines
    assert [f"{KEY}{number}" in line for number in range(5)] == [True, True, True, False, False]
    assert "And 2 more." in line


@pytest.mark.parametrize("reported", ["problems", "failures"])
def test_a_missing_file_of_the_trust_never_costs_a_private_key(reported: str) -> None:
    """As a host reports that ``trusted/clients.pem`` was removed: while reading, or because its endpoint stopped."""
    error = {"kind": "missing_file", "path": "/etc/esync/trusted/clients.pem", "cause": "it does not exist"}
    known = ServerFindings(
        "b", **({"failures": [error]} if reported == "failures" else {"read": {"problems": [error]}})
    )
    plan = plan_repair(mesh(problems_of(known)), ["b"])
    assert plan.servers == {"b": ("exchange",)}
    assert "private keys" not in " ".join(plan.lines)


@pytest.mark.parametrize("kind", ["unexpected_file", "wrong_owner", "expired", "expires_soon", "clock_skew"])
def test_what_needs_a_decision_is_left_with_its_remedy(kind: str) -> None:
    plan = plan_repair(mesh([problem("b", kind)]), ["b"])
    assert plan.servers == {}
    assert plan.not_repaired == (f"b: {kind}. What it is. What was seen. What to do.",)
    assert plan.lines[1].startswith("Not repaired: b: ")


@pytest.mark.parametrize("severity", [NOTE, NOT_CHECKED])
def test_what_is_no_fault_is_not_touched(severity: str) -> None:
    assert plan_repair(mesh([problem("b", "damaged_file", severity, KEY, "restore")]), ["b"]).servers == {}


def test_several_faults_of_one_server_are_repaired_in_their_order() -> None:
    kinds = ("another_certificate_served", "wrong_mode", "trust_missing")
    plan = plan_repair(mesh([problem("b", kind) for kind in kinds]), ["b"])
    assert plan.servers == {"b": ("restore", "exchange", "restart")}


@pytest.mark.parametrize("cause", ["not_tls", "no_answer_after_handshake", "client_certificate_refused"])
def test_an_endpoint_that_answers_wrongly_is_stopped_and_started_once(cause: str) -> None:
    plan = plan_repair(mesh(failing=[("a", "c", cause), ("b", "c", cause)]), ["a", "b", "c"])
    assert plan.servers == {"c": ("restart",)}
    assert len(plan.lines) == 1


def test_what_follows_from_a_fault_is_not_a_fault_of_its_own() -> None:
    found = mesh([problem("c", "expired")], [("a", "c", "server_certificate_expired"), ("c", "a", "host_failed")])
    plan = plan_repair(found, ["a", "c"])
    assert (plan.servers, plan.not_repaired) == ({}, ("c: expired. What it is. What was seen. What to do.",))


def test_an_endpoint_that_cannot_be_restarted_is_left_to_its_owner() -> None:
    plan = plan_repair(mesh(failing=[("a", "c", "not_tls"), ("d", "c", "not_tls")]), ["a"])
    assert plan.servers == {}
    assert "esync_stop_command" in plan.not_repaired[0] and plan.not_repaired[0].startswith("c: ")


def test_a_network_that_does_not_lead_there_is_left() -> None:
    plan = plan_repair(mesh(failing=[("a", "c", "connection_timed_out")]), ["a", "c"])
    assert plan.servers == {}
    assert plan.not_repaired == ("a -> c: connection_timed_out. Seen. Do.",)


def test_nothing_is_made_from_a_ledger_in_doubt() -> None:
    found = [
        problem("b", "ledger_missing"),
        problem("c", "ledger_missing"),
        problem("a", "trust_missing"),
        problem("c", "damaged_file", repair="renew"),
    ]
    plan = plan_repair(mesh([*found, problem("c", "wrong_mode")]), ["a", "b", "c"])
    assert plan.servers == {"c": ("restore",)}
    assert sum("First settle what the ledger has of b, c" in text for text in plan.not_repaired) == 2


def test_one_that_presents_what_the_ledger_does_not_have_keeps_nobody_else_from_being_repaired() -> None:
    found = [problem("b", "ledger_missing"), problem("a", "trust_missing"), problem("b", "trust_missing")]
    plan = plan_repair(mesh(found), ["a", "b", "c"])
    assert (plan.servers, plan.disputed) == ({"a": ("exchange",)}, ("b",))
    assert sum("First settle what the ledger has of b" in text for text in plan.not_repaired) == 1


REFUSED = {"to": "b", "present": "none", "verdict": "failed", "cause": "not_refused", "detail": "In.", "remedy": "Do."}


def test_a_server_that_accepts_whom_it_must_refuse_is_left_and_named_once() -> None:
    (text,) = plan_repair(mesh(refusals=[REFUSED]), ["b"]).not_repaired
    assert text == "a -> b: not_refused. b accepted a, which presented no certificate. Do."
    # A pair that fails for another cause does not report it.
    both = plan_repair(mesh(failing=[("a", "b", "version_mismatch")], refusals=[REFUSED]), ["b"]).not_repaired
    assert [one.partition(".")[0] for one in both] == ["a -> b: version_mismatch", "b: not_refused"]


def test_a_site_is_named_in_what_is_left_and_in_why() -> None:
    sites = ("shop", "news")
    failing = mesh(failing=[(one, "b", "endpoint_not_listening", "shop") for one in "ac"], sites=sites)
    assert "a -> b [shop]: endpoint_not_listening" in plan_repair(failing, ["b"]).lines[0]
    refusal = {**REFUSED, "site": "news"}
    other = mesh(failing=[("a", "b", "another_site_answers", "shop")], refusals=[refusal], sites=sites)
    left = plan_repair(other, ["b"]).not_repaired
    assert [text.partition(": ")[0] for text in left] == ["a -> b [shop]", "a -> b [news]"]


def test_a_load_balancer_is_left_and_what_a_member_does_wrong_is_repaired_there() -> None:
    call = {"cluster": "web", "verdict": "failed", "cause": "not_tls", "detail": "Seen.", "remedy": "Do."}
    clustered = {"clusters": [Cluster("web", "lb", 1, ("b", "c"))], "connections": {"a": [call]}}
    ok = {"d": [{**call, "verdict": "ok", "cause": None}]}
    clustered["connections"] = {**clustered["connections"], **ok}  # type: ignore[dict-item]
    plan = plan_repair(mesh(**clustered), ["a", "b"])
    assert (plan.servers, plan.not_repaired) == ({}, ("a -> [cluster web]: not_tls. Seen. Do.",))
    stopped = plan_repair(mesh(failing=[(one, "b", "endpoint_not_listening") for one in "ac"], **clustered), ["b"])
    assert (stopped.servers, stopped.not_repaired) == ({"b": ("restart",)}, ())


def test_a_plan_moves_no_cursor() -> None:
    found = Problem("b", "wrong_owner", FAULT, "/x\x1b[2J", "What", "Seen.", "Do.")
    assert plan_repair(mesh([found]), []).not_repaired == ("b: wrong_owner. What: /x?[2J: Seen. Do.",)


def test_no_single_caller_has_an_endpoint_restarted_that_serves_the_others() -> None:
    alone = plan_repair(mesh(failing=[("c", "b", "endpoint_not_listening")]), "abcd")
    assert alone.servers == {} and alone.lines[0] == NOTHING
    assert any("c -> b" in text for text in alone.not_repaired)
    reloaded = plan_repair(mesh(failing=[("c", "b", "client_certificate_refused")]), "abcd")
    assert reloaded.servers == {"b": ("exchange",)}
    two = plan_repair(mesh(failing=[(one, "b", "endpoint_not_listening") for one in "ac"]), "abcd")
    assert two.servers == {"b": ("restart",)}
    only = plan_repair(mesh(failing=[("a", "b", "endpoint_not_listening")], names="ab"), "ab")
    assert only.servers == {"b": ("restart",)}
