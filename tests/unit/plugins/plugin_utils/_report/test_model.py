# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import dataclasses
import json

import pytest

from ansible_collections.esync.mesh.plugins.module_utils._connection.causes import CAUSES
from ansible_collections.esync.mesh.plugins.module_utils._connection.probe import MUST_BE_REFUSED, OWN_CLIENT
from ansible_collections.esync.mesh.plugins.plugin_utils._inventory.membership import Cluster
from ansible_collections.esync.mesh.plugins.plugin_utils._planning.trust import PendingUpdate
from ansible_collections.esync.mesh.plugins.plugin_utils._report.findings import FAULT, NOT_JUDGED, Problem
from ansible_collections.esync.mesh.plugins.plugin_utils._report.model import (
    DEBT_LIMIT,
    PROBLEM_LIMIT,
    SHOWN,
    SHOWN_TOO,
    TROUBLE_LIMIT,
    ReportServer,
    assemble,
    findings,
    problem_lines,
    terminal,
    title_of,
    to_json,
    trouble_lines,
    troubles_of,
    verdict,
)


def servers(*names, **states):
    return [ReportServer(name, f"{name}.example", 8732, states.get(name, "ok")) for name in names]


def ok(to):
    return {"to": to, "verdict": "ok", "handshake_ms": 1.5, "tls": "TLSv1.3", "server_fingerprint": "aa"}


def failed(to, cause="connection_timed_out"):
    return {"to": to, "verdict": "failed", "cause": cause, "detail": "No answer.", "remedy": f"Mend the {cause}."}


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
    mesh = assemble(servers(*NAMES), all_ok(NAMES), "temporary", [PendingUpdate("c", "trust", ("a",), "changes")])
    data = json.loads(json.dumps(to_json(mesh, "2026-11-23T00:00:00Z")))
    keys = "version generated_at servers pairs summary debts refusals problems trust_model clusters"
    assert list(data) == keys.split()
    assert data["trust_model"] == "pinned"
    assert set(data["servers"][0]) == {"name", "address", "port", "expires_at", "state", "sites"}
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
        "site",
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
    assert lines[4].strip() == "x failed, ? untested"
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
    lines = terminal(
        assemble(servers(*NAMES), all_ok(NAMES), "temporary", [PendingUpdate("c", "trust", ("a",), "news")])
    )
    assert "Owed to c: news" in lines


def numbered(count):
    return [f"s{number:03}" for number in range(count)]


def judged(names, judge, **states):
    """Every pair of those that take part, as ``judge`` decides: a cause, or None."""
    present = [name for name in names if states.get(name, "ok") == "ok"]
    results = {
        source: [
            failed(target, judge(source, target)) if judge(source, target) else ok(target)
            for target in present
            if target != source
        ]
        for source in present
    }
    return assemble(servers(*names, **states), results, "temporary")


def test_a_bad_day_of_thirty_fits_a_screen():
    names = numbered(30)
    dead, stale, expired = names[3], names[10], names[20]

    def judge(source, target):
        if target == stale:
            return "stale_generation_served"
        return "expired" if expired in (source, target) else None

    lines = terminal(judged(names, judge, **{dead: "unreachable"}))
    assert len(lines) <= 40
    assert max(len(line) for line in lines[:33]) <= 79
    troubles = [line for line in lines if " pairs, such as " in line]
    assert [line.split(" ")[0] for line in troubles] == [dead, expired, stale]
    assert all("Mend the" in line or "Bring the server back" in line for line in troubles)
    assert lines[-1] == "729 of 870 pairs ok, 83 failed, 58 untested."


def test_both_directions_of_one_remedy_are_one_trouble():
    def judge(source, target):
        return {"s001": "expired"}.get(target)

    mesh = judged(numbered(5), judge)
    other = [pair for pair in mesh.pairs if pair.source == "s001"]
    both = [
        *mesh.wrong,
        *(dataclasses.replace(mesh.wrong[0], source="s001", target=p.target, cause="x") for p in other),
    ]
    (trouble,) = troubles_of(both)
    assert trouble.servers == ("s001",)
    assert trouble.causes == ("expired", "x")
    assert len(trouble.pairs) == 8


def test_different_remedies_are_different_troubles():
    names = numbered(6)
    mesh = judged(names, lambda source, target: {"s001": "refused"}.get(target) or {"s001": "silent"}.get(source))
    assert [(trouble.servers, trouble.causes, len(trouble.pairs)) for trouble in troubles_of(mesh.wrong)] == [
        (("s001",), ("refused",), 5),
        (("s001",), ("silent",), 5),
    ]


@pytest.mark.parametrize("count", [31, 200])
def test_everything_failed_is_one_line(count):
    lines = terminal(judged(numbered(count), lambda source, target: "silent"))
    assert len(lines) == 2
    assert f"({count * (count - 1)} pairs, such as s000 -> s001): silent. No answer. Mend the silent." in lines[0]
    assert "s000, s001, s002 and" in lines[0]
    assert lines[1] == f"0 of {count * (count - 1)} pairs ok, {count * (count - 1)} failed."


def test_every_wrong_pair_is_in_one_trouble():
    names = numbered(40)
    mesh = judged(names, lambda source, target: "abc"[int(source[1:]) % 3] if int(target[1:]) % 7 == 0 else None)
    found = troubles_of(mesh.wrong)
    labels = [pair.label for trouble in found for pair in trouble.pairs]
    assert sorted(labels) == sorted(pair.label for pair in mesh.wrong)
    assert [len(trouble.pairs) for trouble in found] == sorted((len(trouble.pairs) for trouble in found), reverse=True)


def test_more_troubles_than_a_screen_are_counted():
    names = numbered(60)
    pairs = judged(names, lambda source, target: f"cause {target}" if source == "s000" else None).wrong
    lines = trouble_lines(pairs)
    assert len(lines) == TROUBLE_LIMIT + 1
    assert lines[-1] == f"{59 - TROUBLE_LIMIT} more causes concern {59 - TROUBLE_LIMIT} pairs; the report has them all."


def test_a_single_pair_is_named_as_such():
    results = all_ok(NAMES)
    results["a"] = [failed("b"), ok("c")]
    lines = findings(assemble(servers(*NAMES), results, "temporary"))
    assert lines[0] == "a -> b: connection_timed_out. No answer. Mend the connection_timed_out."


def test_a_limited_run_tells_who_was_not_in_it():
    lines = terminal(assemble(servers(*NAMES, c="not_in_run"), {"a": [ok("b")], "b": [ok("a")]}, "temporary"))
    assert [line.split()[2:] for line in lines[1:4]] == [["-", "+", "."], ["+", "-", "."], [".", ".", "-"]]
    assert lines[4].strip() == ". not in this run"
    assert lines[5:] == ["2 of 6 pairs ok, 4 untested."]


def test_equal_debts_share_a_line_and_many_are_counted():
    names = numbered(40)
    same = [PendingUpdate(name, "trust", ("z",), "it lacks z") for name in names]
    lines = findings(assemble(servers(*names), all_ok(names), "temporary", same))
    assert lines[0] == "Owed to s000, s001, s002 and 37 more, each: it lacks z"
    assert len(lines) == 2
    different = [PendingUpdate(name, "trust", (), f"it lacks {name}") for name in names]
    lines = findings(assemble(servers(*names), all_ok(names), "temporary", different))
    assert len(lines) == DEBT_LIMIT + 2
    assert lines[-2] == f"{40 - DEBT_LIMIT} more debts; the report has them all."


def test_what_a_peer_answered_moves_no_cursor():
    results = {"a": [{**failed("b"), "detail": "It said \x1b[2J\r\u202eand more"}], "b": [ok("a")]}
    text = "\n".join(terminal(assemble(servers("a", "b"), results, "temporary")))
    assert "It said ?[2J??and more" in text
    assert text.replace("\n", "").isprintable()


def test_a_cause_has_a_title():
    mesh = assemble(servers("a", "b", "c", b="unreachable", c="failed"), {}, "temporary")
    titles = {(pair.source, pair.target): title_of(pair) for pair in mesh.pairs}
    assert titles["a", "b"] == "The control node cannot reach the server"
    assert titles["a", "c"] == "The server failed earlier in this run"
    results = {"a": [failed("b", "host_unreachable"), ok("c")], "b": [failed("a", "unheard_of"), ok("c")]}
    mesh = assemble(servers(*NAMES), results, "temporary")
    assert [title_of(pair) for pair in mesh.pairs[:3]] == [CAUSES["host_unreachable"].title, "", "unheard_of"]
    assert title_of(mesh.pairs[4]) == "The server returned no result"


# -- versions -------------------------------------------------------------------------------------------------


def test_two_versions_that_are_known_and_differ_fail_the_pair():
    mesh = assemble(servers(*NAMES), all_ok(NAMES), "temporary", versions={"a": "8.2", "b": "8.3"})
    assert {pair.label: (pair.cause, pair.detail) for pair in mesh.wrong} == {
        "a -> b": ("version_mismatch", "b runs '8.3', a runs '8.2'."),
        "b -> a": ("version_mismatch", "a runs '8.2', b runs '8.3'."),
    }
    assert all(pair.remedy for pair in mesh.wrong)
    # The certificates of these pairs work: a rotation may go on, and must not lose them.
    assert all(pair.proved for pair in mesh.pairs)


def test_an_endpoint_that_does_not_know_the_new_version_yet_fails_nothing():
    results = {**all_ok(NAMES), "a": [failed("b", "version_mismatch"), ok("c")]}
    assert assemble(servers(*NAMES), results, "nginx", versions=dict.fromkeys(NAMES, "8.3")).wrong == ()
    assert len(assemble(servers(*NAMES), results, "nginx", versions={"a": "8.3"}).wrong) == 1


def test_versions_change_nothing_about_what_failed_otherwise():
    results = {**all_ok(NAMES, without="c"), "a": [failed("b")]}
    mesh = assemble(servers(*NAMES, c="unreachable"), results, "nginx", versions={"a": "1", "b": "2", "c": "3"})
    causes = {pair.label: pair.cause for pair in mesh.pairs}
    assert causes["a -> b"] == "connection_timed_out"
    assert causes["c -> a"] == "host_unreachable"
    assert not next(pair for pair in mesh.pairs if pair.label == "a -> b").proved


# -- refusals -------------------------------------------------------------------------------------------------


def tried(to, **verdicts):
    return [
        {
            "to": to,
            "present": present,
            "verdict": verdicts.get(present, "ok"),
            "cause": "not_refused" if verdicts.get(present) == "failed" else None,
            "detail": "It answered." if present in verdicts else "",
            "remedy": "Close it." if present in verdicts else "",
        }
        for present in MUST_BE_REFUSED
    ]


def ring(**of_b):
    return {"a": tried("b", **of_b), "b": tried("c"), "c": tried("a")}


def test_everything_that_must_be_refused_has_words():
    assert list(SHOWN) == list(MUST_BE_REFUSED)
    assert list(SHOWN_TOO) == [OWN_CLIENT]


def test_what_was_refused_is_in_the_report_and_says_nothing():
    mesh = assemble(servers(*NAMES), all_ok(NAMES), "temporary", refusals=ring())
    assert mesh.let_in == ()
    assert findings(mesh) == ["6 of 6 pairs ok."]
    rows = to_json(mesh, "2026-11-23T00:00:00Z")["refusals"]
    assert len(rows) == 15
    assert set(rows[0]) == {"from", "to", "present", "verdict", "cause", "detail", "remedy", "site"}


def test_a_server_that_lets_somebody_in_is_named_once():
    mesh = assemble(servers(*NAMES), all_ok(NAMES), "temporary", refusals=ring(none="failed", stranger="failed"))
    assert [(one.target, one.present) for one in mesh.let_in] == [("b", "none"), ("b", "stranger")]
    assert findings(mesh) == [
        "b: not_refused. It let in a, showing no certificate; an unknown certificate. Close it.",
        "6 of 6 pairs ok.",
    ]


def test_a_pair_that_tells_it_already_is_not_told_twice():
    results = {**all_ok(NAMES), "a": [failed("b", "not_refused"), ok("c")]}
    lines = findings(assemble(servers(*NAMES), results, "temporary", refusals=ring(plain="failed")))
    assert lines[0].startswith("a -> b: not_refused. b let in a, showing nothing, for it spoke without TLS.")
    assert len(lines) == 2


def test_what_could_not_be_tried_fails_nothing_and_is_told_where_the_server_was_there():
    mesh = assemble(servers(*NAMES), all_ok(NAMES), "temporary", refusals=ring(none="untested"))
    assert mesh.let_in == ()
    assert findings(mesh)[0] == "b: not seen to refuse no certificate: It answered."
    dead = {name: [failed(to) if to == "b" else ok(to) for to in NAMES if to != name] for name in NAMES}
    lines = findings(assemble(servers(*NAMES), dead, "temporary", refusals=ring(none="untested")))
    assert not [line for line in lines if "not seen to refuse" in line]


# -- problems of servers --------------------------------------------------------------------------------------


def problem(server, kind="expired", severity=FAULT, path=None, evidence="They ended.", remedy="Renew."):
    return Problem(server, kind, severity, path, "Its certificates have expired", evidence, remedy)


def test_problems_stand_in_the_report_and_before_the_verdict():
    mesh = assemble(servers(*NAMES), all_ok(NAMES), "temporary", problems=[problem("b")])
    assert findings(mesh) == ["b: expired. Its certificates have expired. They ended. Renew.", "6 of 6 pairs ok."]
    assert mesh.wrong == ()
    assert [one.server for one in mesh.faults] == ["b"]
    assert to_json(mesh, "2026-11-23T00:00:00Z")["problems"] == [
        {
            "server": "b",
            "kind": "expired",
            "severity": "fault",
            "path": None,
            "cause": "Its certificates have expired",
            "evidence": "They ended.",
            "remedy": "Renew.",
        }
    ]


def test_a_problem_with_a_file_names_it():
    (line,) = problem_lines([problem("b", path="/etc/esync/current/b.key")])
    assert line == "b: expired. Its certificates have expired: /etc/esync/current/b.key: They ended. Renew."


def test_many_of_one_kind_on_one_server_are_one_line():
    (line,) = problem_lines([problem("b", path=f"/etc/esync/{number}") for number in range(5)])
    assert line == "b: expired (5 of them, such as /etc/esync/0). They ended. Renew."


def test_the_same_on_many_servers_is_one_line():
    assert len(problem_lines([problem(f"s{number}") for number in range(3)])) == 3
    (line,) = problem_lines([problem(f"s{number}") for number in range(9)])
    assert line.startswith("s0, s1, s2 and 6 more: expired (9 of them, such as s0: ")


def test_faults_come_first_and_a_screen_is_enough():
    mixed = [problem("a", "no_permission", NOT_JUDGED, remedy="-"), problem("b", remedy="-")]
    assert [line[:10] for line in problem_lines(mixed)] == ["b: expired", "a: no_perm"]
    many = problem_lines([problem(f"s{number}", remedy=f"{number}") for number in range(60)])
    assert len(many) == PROBLEM_LIMIT + 1
    assert many[-1] == f"{60 - PROBLEM_LIMIT} more problems of servers; the report has them all."


def test_a_server_whose_keys_are_closed_to_us_is_out_of_scope():
    mesh = assemble(servers(*NAMES, c="unreadable"), all_ok(NAMES, without="c"), "temporary")
    assert mesh.wrong == ()
    assert {pair.label for pair in mesh.pairs if pair.verdict == "untested"} == {"a -> c", "b -> c", "c -> a", "c -> b"}
    assert all("on c may not read the keys" in pair.detail for pair in mesh.pairs if pair.verdict == "untested")
    resident = assemble(servers(*NAMES, c="unreadable"), all_ok(NAMES), "nginx")
    assert resident.count("untested") == 0


# -- sites ----------------------------------------------------------------------------------------------------


def sited(results):
    """a and c call b, which has two sites; c is called as a whole."""
    some = servers(*NAMES)
    some[1] = dataclasses.replace(some[1], sites=("shop", "news"))
    return assemble(some, results, "nginx")


SITED = {
    "a": [{**ok("b"), "site": "shop"}, {**ok("b"), "site": "news"}, ok("c")],
    "b": [ok("a"), ok("c")],
    "c": [ok("a"), {**ok("b"), "site": "shop"}, {**failed("b"), "site": "news"}],
}


def test_each_site_is_a_pair():
    mesh = sited(SITED)
    labels = [pair.label for pair in mesh.pairs]
    assert labels == [
        "a -> b [shop]",
        "a -> b [news]",
        "a -> c",
        "b -> a",
        "b -> c",
        "c -> a",
        "c -> b [shop]",
        "c -> b [news]",
    ]
    assert (mesh.expected, len(mesh.pairs)) == (8, 8)
    assert [pair.label for pair in mesh.wrong] == ["c -> b [news]"]
    rows = [(row["from"], row["to"], row["site"]) for row in to_json(mesh, "x")["pairs"]]
    assert rows[:3] == [("a", "b", "shop"), ("a", "b", "news"), ("a", "c", None)]
    assert findings(mesh)[0].startswith("c -> b [news]: connection_timed_out.")


def test_a_cell_of_the_matrix_shows_the_worst_of_the_sites():
    lines = terminal(sited(SITED))
    assert [line.split()[2:] for line in lines[1:4]] == [["-", "+", "+"], ["+", "-", "+"], ["+", "x", "-"]]


def test_a_site_that_nobody_tested_is_untested_and_wrong():
    mesh = sited({**SITED, "c": [ok("a"), {**ok("b"), "site": "shop"}]})
    assert [(pair.label, pair.verdict, pair.cause) for pair in mesh.wrong] == [
        ("c -> b [news]", "untested", "not_tested")
    ]
    # What was tested without a site says nothing of one.
    assert len(sited({**SITED, "a": [ok("b"), ok("c")]}).wrong) == 3


def test_a_site_that_lets_somebody_in_is_named():
    tried = {"to": "b", "present": "none", "remedy": "Close it."}
    refusals = {
        "a": [
            {**tried, "site": "shop", "verdict": "ok"},
            {**tried, "site": "news", "verdict": "failed", "cause": "not_refused"},
        ]
    }
    some = [dataclasses.replace(one, sites=("shop", "news") if one.name == "b" else ()) for one in servers(*NAMES)]
    mesh = assemble(some, {**SITED, "c": [ok("a"), *SITED["a"][:2]]}, "nginx", refusals=refusals)
    assert findings(mesh)[0] == "b [news]: not_refused. It let in a, showing no certificate. Close it."


def test_what_handing_over_costs_is_said_and_nothing_of_the_default():
    mesh = assemble(servers(*NAMES), all_ok(NAMES), "temporary", trust_model="shared_keys")
    assert to_json(mesh, "2026-11-23T00:00:00Z")["trust_model"] == "shared_keys"
    assert [line for line in terminal(mesh) if "can pose as any other" in line]
    assert not any("pose" in line for line in terminal(assemble(servers(*NAMES), all_ok(NAMES), "temporary")))


WEB = Cluster("web", "lb.example", 8732, ("a", "b"))
NO_BALANCER = {
    "cluster": "web",
    "verdict": "failed",
    "cause": "endpoint_not_listening",
    "detail": "Seen\x1b.",
    "remedy": "Start it.",
    "answered": {},
}


def with_cluster(result):
    return assemble(
        servers(*NAMES), all_ok(NAMES), "nginx", clusters=[WEB], connections={"c": [result]} if result else {}
    )


def test_a_cluster_that_holds():
    mesh = with_cluster({**NO_BALANCER, "verdict": "ok", "cause": None, "answered": {"a": 4}})
    assert mesh.wrong_connections == ()
    assert findings(mesh) == ["cluster web: 1 of 1 callers ok; answered a 4; never b.", "6 of 6 pairs ok."]
    assert to_json(mesh, "x")["clusters"][0]["connections"][0]["answered"] == {"a": 4}
    assert to_json(mesh, "x")["summary"] == {"servers": 3, "expected": 6, "ok": 6, "failed": 0, "untested": 0}


def test_a_cluster_that_does_not_hold_is_told_though_every_pair_does():
    mesh = with_cluster(NO_BALANCER)
    assert mesh.wrong == () and len(mesh.wrong_connections) == 1
    assert findings(mesh) == [
        "c -> [cluster web]: endpoint_not_listening. Seen?. Start it.",
        "cluster web: 0 of 1 callers ok.",
        "6 of 6 pairs ok, 1 of 1 calls to clusters not ok.",
    ]
    assert with_cluster(None).wrong_connections[0].cause == "not_tested"
