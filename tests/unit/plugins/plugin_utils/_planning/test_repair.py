# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest

from ansible_collections.esync.mesh.plugins.plugin_utils._planning.repair import plan_repair


def problem(server, kind, severity="fault", path=None):
    return {
        "server": server,
        "kind": kind,
        "severity": severity,
        "path": path,
        "cause": "What it is.",
        "evidence": "What was seen.",
        "remedy": "What to do.",
    }


def pair(source, target, cause, verdict="failed"):
    return {"from": source, "to": target, "verdict": verdict, "cause": cause, "detail": "Seen.", "remedy": "Do."}


def report(problems=(), pairs=(), refusals=()):
    return {"problems": list(problems), "pairs": list(pairs), "refusals": list(refusals)}


def test_nothing_is_done_to_a_sound_mesh():
    plan = plan_repair(report(pairs=[pair("a", "b", None, "ok")]), ["a", "b"])
    assert (plan.servers, plan.left) == ({}, ())
    assert plan.lines == ("Nothing is wrong that can be mended from here.",)


@pytest.mark.parametrize(
    ("kind", "action"),
    [
        ("damaged_file", "renew"),
        ("mismatch", "renew"),
        ("expired", "renew"),
        ("wrong_mode", "restore"),
        ("damaged_trust", "exchange"),
        ("trust_missing", "exchange"),
        ("no_certificates", "exchange"),
        ("endpoint_not_listening", "restart"),
        ("another_certificate_served", "restart"),
    ],
)
def test_each_fault_has_its_smallest_remedy(kind, action):
    plan = plan_repair(report([problem("b", kind, path="/etc/esync/x")]), ["b"])
    assert plan.servers == {"b": (action,)}
    assert plan.left == ()
    assert plan.lines[0].startswith("b: ") and "/etc/esync/x" in plan.lines[0]


@pytest.mark.parametrize("kind", ["unexpected_file", "wrong_owner", "expires_soon", "clock_skew", "rotation_pending"])
def test_what_needs_a_decision_is_left_with_its_remedy(kind):
    plan = plan_repair(report([problem("b", kind)]), ["b"])
    assert plan.servers == {}
    assert plan.left == ("b: What it is. What was seen. What to do.",)


@pytest.mark.parametrize("severity", ["note", "not_judged"])
def test_what_is_no_fault_is_not_touched(severity):
    assert plan_repair(report([problem("b", "damaged_file", severity)]), ["b"]).servers == {}


def test_several_faults_of_one_server_are_mended_in_their_order():
    found = [problem("b", "another_certificate_served"), problem("b", "wrong_mode"), problem("b", "trust_missing")]
    assert plan_repair(report(found), ["b"]).servers == {"b": ("restore", "exchange", "restart")}


@pytest.mark.parametrize("cause", ["not_tls", "no_answer_after_handshake", "client_certificate_refused"])
def test_an_endpoint_that_answers_wrongly_is_stopped_and_started_once(cause):
    plan = plan_repair(report(pairs=[pair("a", "c", cause), pair("b", "c", cause)]), ["a", "b", "c"])
    assert plan.servers == {"c": ("restart",)}
    assert len(plan.lines) == 1


def test_what_follows_from_a_fault_is_not_a_fault_of_its_own():
    found = report(
        [problem("c", "expired")], [pair("a", "c", "server_certificate_expired"), pair("c", "a", "host_failed")]
    )
    plan = plan_repair(found, ["a", "c"])
    assert (plan.servers, plan.left) == ({"c": ("renew",)}, ())


def test_an_endpoint_that_is_not_ours_is_left_to_its_owner():
    plan = plan_repair(report(pairs=[pair("a", "c", "not_tls")]), ["a"])
    assert plan.servers == {}
    assert "esync_stop_command" in plan.left[0] and plan.left[0].startswith("c: ")


def test_a_network_that_does_not_lead_there_is_left():
    plan = plan_repair(report(pairs=[pair("a", "c", "connection_timed_out")]), ["a", "c"])
    assert plan.servers == {}
    assert plan.left == ("a -> c: connection_timed_out. Seen. Do.",)


def test_nothing_is_made_from_a_ledger_in_doubt():
    found = [problem("b", "ledger_missing"), problem("a", "trust_missing"), problem("c", "damaged_file")]
    plan = plan_repair(report([*found, problem("c", "wrong_mode")]), ["a", "b", "c"])
    assert plan.servers == {"c": ("restore",)}
    assert sum("First settle what the ledger has of b" in text for text in plan.left) == 2


def test_a_server_that_lets_somebody_in_is_left_and_named():
    refusal = {"to": "b", "verdict": "failed", "cause": "not_refused", "detail": "It answered.", "remedy": "Do."}
    assert plan_repair(report(refusals=[refusal]), ["b"]).left == ("b: not_refused. It answered. Do.",)


def test_a_site_is_named_in_what_is_left_and_in_why():
    failing = {**pair("a", "b", "endpoint_not_listening"), "site": "shop"}
    assert "a -> b [shop]: endpoint_not_listening" in plan_repair(report(pairs=[failing]), ["b"]).lines[0]
    other = {**pair("a", "b", "another_site_answers"), "site": "shop"}
    refusal = {
        "to": "b",
        "site": "news",
        "verdict": "failed",
        "cause": "not_refused",
        "detail": "In.",
        "remedy": "Close.",
    }
    left = plan_repair(report(pairs=[other], refusals=[refusal]), ["b"]).left
    assert [text.partition(": ")[0] for text in left] == ["a -> b [shop]", "b [news]"]


def test_a_balancer_is_left_and_what_a_member_does_wrong_is_mended_there():
    call = {"from": "a", "verdict": "failed", "cause": "not_tls", "detail": "Seen.", "remedy": "Do."}
    cluster = {"name": "web", "members": ["b", "c"], "connections": [call, {**call, "from": "d", "verdict": "ok"}]}
    plan = plan_repair({**report(), "clusters": [cluster]}, ["a", "b"])
    assert (plan.servers, plan.left) == ({}, ("a -> [cluster web]: not_tls. Seen. Do.",))
    stopped = {**report(pairs=[pair("a", "b", "endpoint_not_listening")]), "clusters": [cluster]}
    assert (plan_repair(stopped, ["b"]).servers, plan_repair(stopped, ["b"]).left) == ({"b": ("restart",)}, ())
