# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.esync.mesh.plugins.plugin_utils._inventory.membership import Cluster
from ansible_collections.esync.mesh.plugins.plugin_utils._planning.repair import NOTHING, action_for_file, plan_repair
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


def problem(server: str, kind: str, severity: str = FAULT, path: str | None = None) -> Problem:
    return Problem(server, kind, severity, path, "What it is", "What was seen.", "What to do.")


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
        ("damaged_file", KEY, "renew", "own set", "the private keys and certificates of both of its sets"),
        ("mismatch", KEY, "renew", "own set", "the private keys"),
        ("expired", None, "renew", "own set", "the private keys"),
        ("damaged_file", KEY.replace(".key", ".cer"), "restore", "own set", "nothing"),
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


@pytest.mark.parametrize(
    ("name", "action"),
    [
        (KEY, "renew"),
        (KEY.replace(".key", ".pvk"), "renew"),
        (KEY.rpartition("/")[0], "renew"),
        ("/etc/esync/current/b_SyncServer.key", "renew"),
        (KEY.replace(".key", ".crt"), "restore"),
        (KEY.replace("b_SyncServer.key", "server.key"), "restore"),
        (KEY.replace("b_SyncServer.key", "client.crt"), "restore"),
        ("/etc/esync/current", "by_hand"),
        ("/etc/esync/generations", "by_hand"),
        ("/etc/esync", "by_hand"),
        (None, "by_hand"),
    ],
)
def test_only_a_lost_private_key_is_renewed(name: str | None, action: str) -> None:
    assert action_for_file("b", name) == action


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


@pytest.mark.parametrize("kind", ["unexpected_file", "wrong_owner", "expires_soon", "clock_skew", "rotation_pending"])
def test_what_needs_a_decision_is_left_with_its_remedy(kind: str) -> None:
    plan = plan_repair(mesh([problem("b", kind)]), ["b"])
    assert plan.servers == {}
    assert plan.not_repaired == (f"b: {kind}. What it is. What was seen. What to do.",)
    assert plan.lines[1].startswith("Not repaired: b: ")


@pytest.mark.parametrize("severity", [NOTE, NOT_CHECKED])
def test_what_is_no_fault_is_not_touched(severity: str) -> None:
    assert plan_repair(mesh([problem("b", "damaged_file", severity, KEY)]), ["b"]).servers == {}


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
    assert (plan.servers, plan.not_repaired) == ({"c": ("renew",)}, ())


def test_an_endpoint_that_cannot_be_restarted_is_left_to_its_owner() -> None:
    plan = plan_repair(mesh(failing=[("a", "c", "not_tls")]), ["a"])
    assert plan.servers == {}
    assert "esync_stop_command" in plan.not_repaired[0] and plan.not_repaired[0].startswith("c: ")


def test_a_network_that_does_not_lead_there_is_left() -> None:
    plan = plan_repair(mesh(failing=[("a", "c", "connection_timed_out")]), ["a", "c"])
    assert plan.servers == {}
    assert plan.not_repaired == ("a -> c: connection_timed_out. Seen. Do.",)


def test_nothing_is_made_from_a_ledger_in_doubt() -> None:
    found = [problem("b", "ledger_missing"), problem("a", "trust_missing"), problem("c", "damaged_file", path=KEY)]
    plan = plan_repair(mesh([*found, problem("c", "wrong_mode")]), ["a", "b", "c"])
    assert plan.servers == {"c": ("restore",)}
    assert sum("First settle what the ledger has of b" in text for text in plan.not_repaired) == 2


REFUSED = {"to": "b", "present": "none", "verdict": "failed", "cause": "not_refused", "detail": "In.", "remedy": "Do."}


def test_a_server_that_accepts_whom_it_must_refuse_is_left_and_named_once() -> None:
    (text,) = plan_repair(mesh(refusals=[REFUSED]), ["b"]).not_repaired
    assert text == "a -> b: not_refused. b accepted a, which presented no certificate. Do."
    # A pair that fails for another cause does not report it.
    both = plan_repair(mesh(failing=[("a", "b", "version_mismatch")], refusals=[REFUSED]), ["b"]).not_repaired
    assert [one.partition(".")[0] for one in both] == ["a -> b: version_mismatch", "b: not_refused"]


def test_a_site_is_named_in_what_is_left_and_in_why() -> None:
    sites = ("shop", "news")
    failing = mesh(failing=[("a", "b", "endpoint_not_listening", "shop")], sites=sites)
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
    stopped = plan_repair(mesh(failing=[("a", "b", "endpoint_not_listening")], **clustered), ["b"])
    assert (stopped.servers, stopped.not_repaired) == ({"b": ("restart",)}, ())


def test_a_plan_moves_no_cursor() -> None:
    found = Problem("b", "wrong_owner", FAULT, "/x\x1b[2J", "What", "Seen.", "Do.")
    assert plan_repair(mesh([found]), []).not_repaired == ("b: wrong_owner. What: /x?[2J: Seen. Do.",)
