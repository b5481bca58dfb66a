# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import dataclasses

import pytest
from probed_meshes import (
    NAMES,
    NO_BALANCER,
    SITED,
    all_ok,
    decided,
    failed,
    numbered,
    ok,
    problem,
    ring,
    servers,
    sited,
    tried,
    with_cluster,
)

from ansible_collections.esync.mesh.plugins.plugin_utils._inventory.membership import Cluster
from ansible_collections.esync.mesh.plugins.plugin_utils._ledger.pending import PendingUpdate
from ansible_collections.esync.mesh.plugins.plugin_utils._report.builder import assemble
from ansible_collections.esync.mesh.plugins.plugin_utils._report.findings import Problem
from ansible_collections.esync.mesh.plugins.plugin_utils._report.problem_kinds import FAULT, NOT_CHECKED, NOTE
from ansible_collections.esync.mesh.plugins.plugin_utils._report.terminal import (
    CAUSE_LIMIT,
    PENDING_LIMIT,
    PROBLEM_LIMIT,
    findings,
    problem_lines,
    terminal,
)


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


@pytest.mark.parametrize(("count", "shown"), [(10, True), (11, False)])
def test_the_matrix_of_a_sound_mesh_is_shown_while_it_says_more_than_the_verdict(count, shown):
    names = [f"s{number:02}" for number in range(count)]
    lines = terminal(assemble(servers(*names), all_ok(names), "temporary"))
    assert any(line.startswith("from / to") for line in lines) is shown


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
    causes = [line for line in lines if "connection_timed_out" in line]
    assert len(causes) == 1
    assert causes[0].startswith("s3 (5 pairs")


def test_pending_updates_are_listed():
    lines = terminal(
        assemble(servers(*NAMES), all_ok(NAMES), "temporary", [PendingUpdate("c", "trust", ("a",), "news")])
    )
    assert "Pending for c: news" in lines


def test_a_bad_day_of_thirty_fits_a_screen():
    names = numbered(30)
    dead, stale, expired = names[3], names[10], names[20]

    def decide(source, target):
        if target == stale:
            return "stale_generation_served"
        return "expired" if expired in (source, target) else None

    lines = terminal(decided(names, decide, **{dead: "unreachable"}))
    assert len(lines) <= 40
    assert max(len(line) for line in lines[:33]) <= 79
    causes = [line for line in lines if " pairs, such as " in line]
    assert [line.split(" ")[0] for line in causes] == [dead, expired, stale]
    assert all("Repair the" in line or "Bring the server back" in line for line in causes)
    assert lines[-1] == "729 of 870 pairs ok, 83 failed, 58 untested."


@pytest.mark.parametrize("count", [31, 200])
def test_everything_failed_is_one_line(count):
    lines = terminal(decided(numbered(count), lambda source, target: "silent"))
    assert len(lines) == 2
    assert f"({count * (count - 1)} pairs, such as s000 -> s001): silent. No answer. Repair the silent." in lines[0]
    assert "s000, s001, s002 and" in lines[0]
    assert lines[1] == f"0 of {count * (count - 1)} pairs ok, {count * (count - 1)} failed."


def test_more_causes_than_a_screen_are_counted():
    names = numbered(60)
    mesh = decided(names, lambda source, target: f"cause {target}" if source == "s000" else None)
    lines = findings(mesh)[:-1]
    assert len(lines) == CAUSE_LIMIT + 1
    assert lines[-1] == f"... and {59 - CAUSE_LIMIT} more causes ({59 - CAUSE_LIMIT} pairs); see mesh.html"


def test_a_single_pair_is_named_as_such():
    results = all_ok(NAMES)
    results["a"] = [failed("b"), ok("c")]
    lines = findings(assemble(servers(*NAMES), results, "temporary"))
    assert lines[0] == "a -> b: connection_timed_out. No answer. Repair the connection_timed_out."


def test_a_limited_run_tells_who_was_not_in_it():
    lines = terminal(assemble(servers(*NAMES, c="not_in_run"), {"a": [ok("b")], "b": [ok("a")]}, "temporary"))
    assert [line.split()[2:] for line in lines[1:4]] == [["-", "+", "."], ["+", "-", "."], [".", ".", "-"]]
    assert lines[4].strip() == ". not in this run"
    assert lines[5:] == ["2 of 6 pairs ok, 4 untested."]


def test_equal_pending_updates_share_a_line_and_many_are_counted():
    names = numbered(40)
    same = [PendingUpdate(name, "trust", ("z",), "it lacks z") for name in names]
    lines = findings(assemble(servers(*names), all_ok(names), "temporary", same))
    assert lines[0] == "Pending for s000, s001, s002 and 37 more, each: it lacks z"
    assert len(lines) == 2
    different = [PendingUpdate(name, "trust", (), f"it lacks {name}") for name in names]
    lines = findings(assemble(servers(*names), all_ok(names), "temporary", different))
    assert len(lines) == PENDING_LIMIT + 2
    assert lines[-2] == f"... and {40 - PENDING_LIMIT} more pending updates; see mesh.html"


def test_what_a_peer_answered_moves_no_cursor():
    results = {"a": [{**failed("b"), "detail": "It said \x1b[2J\r\u202eand more"}], "b": [ok("a")]}
    text = "\n".join(terminal(assemble(servers("a", "b"), results, "temporary")))
    assert "It said ?[2J??and more" in text
    assert text.replace("\n", "").isprintable()


def test_what_was_refused_is_in_the_report_and_says_nothing():
    mesh = assemble(servers(*NAMES), all_ok(NAMES), "temporary", refusals=ring())
    assert mesh.wrongly_accepted == ()
    assert findings(mesh) == ["6 of 6 pairs ok."]


def test_a_server_that_accepts_whom_it_must_refuse_is_named_once():
    mesh = assemble(servers(*NAMES), all_ok(NAMES), "temporary", refusals=ring(none="failed", stranger="failed"))
    assert [(one.target, one.present) for one in mesh.wrongly_accepted] == [("b", "none"), ("b", "stranger")]
    assert findings(mesh) == [
        "a -> b: not_refused. b accepted a, which presented no certificate; an untrusted certificate. Close it.",
        "5 of 6 pairs ok, 1 failed.",
    ]


def test_a_pair_that_tells_it_already_is_not_told_twice():
    results = {**all_ok(NAMES), "a": [failed("b", "not_refused"), ok("c")]}
    lines = findings(assemble(servers(*NAMES), results, "temporary", refusals=ring(plain="failed")))
    assert lines[0].startswith(
        "a -> b: not_refused. b accepted a, which presented nothing, because it spoke without TLS."
    )
    assert len(lines) == 2


def test_what_could_not_be_tried_fails_nothing_and_is_told_where_the_server_was_there():
    mesh = assemble(servers(*NAMES), all_ok(NAMES), "temporary", refusals=ring(none="untested"))
    assert mesh.wrongly_accepted == ()
    assert findings(mesh)[0] == "b: not seen to refuse no certificate: It answered."
    dead = {name: [failed(to) if to == "b" else ok(to) for to in NAMES if to != name] for name in NAMES}
    lines = findings(assemble(servers(*NAMES), dead, "temporary", refusals=ring(none="untested")))
    assert not [line for line in lines if "not seen to refuse" in line]


def test_problems_stand_in_the_report_and_before_the_verdict():
    mesh = assemble(servers(*NAMES), all_ok(NAMES), "temporary", problems=[problem("b")])
    assert findings(mesh) == ["b: expired. Its certificates have expired. They ended. Renew.", "6 of 6 pairs ok."]
    assert mesh.wrong == ()
    assert [one.server for one in mesh.faults] == ["b"]


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
    mixed = [problem("a", "no_permission", NOT_CHECKED, remedy="-"), problem("b", remedy="-")]
    assert [line[:10] for line in problem_lines(mixed)] == ["b: expired", "a: no_perm"]
    many = problem_lines([problem(f"s{number}", remedy=f"{number}") for number in range(60)])
    assert len(many) == PROBLEM_LIMIT + 1
    assert many[-1] == f"... and {60 - PROBLEM_LIMIT} more problems of servers; see mesh.html"


def test_a_cell_of_the_matrix_shows_the_worst_of_the_sites():
    lines = terminal(sited(SITED))
    assert [line.split()[2:] for line in lines[1:4]] == [["-", "+", "+"], ["+", "-", "+"], ["+", "x", "-"]]


def test_a_site_that_accepts_whom_it_must_refuse_is_named():
    tried = {"to": "b", "present": "none", "remedy": "Close it."}
    refusals = {
        "a": [
            {**tried, "site": "shop", "verdict": "ok"},
            {**tried, "site": "news", "verdict": "failed", "cause": "not_refused"},
        ]
    }
    some = [dataclasses.replace(one, sites=("shop", "news") if one.name == "b" else ()) for one in servers(*NAMES)]
    mesh = assemble(some, {**SITED, "c": [ok("a"), *SITED["a"][:2]]}, "nginx", refusals=refusals)
    assert (
        findings(mesh)[0]
        == "a -> b [news]: not_refused. b [news] accepted a, which presented no certificate. Close it."
    )


def test_what_shared_keys_costs_is_said_and_nothing_of_the_default():
    mesh = assemble(servers(*NAMES), all_ok(NAMES), "temporary", trust_model="shared_keys")
    assert [line for line in terminal(mesh) if "can pose as any other" in line]
    assert not any("pose" in line for line in terminal(assemble(servers(*NAMES), all_ok(NAMES), "temporary")))


def test_a_cluster_that_holds():
    mesh = with_cluster({**NO_BALANCER, "verdict": "ok", "cause": None, "answered": {"a": 4}})
    assert mesh.wrong_connections == ()
    assert findings(mesh) == ["cluster web: 1 of 1 callers ok; answered a 4; never b.", "6 of 6 pairs ok."]


def test_a_cluster_that_does_not_hold_is_told_though_every_pair_does():
    mesh = with_cluster(NO_BALANCER)
    assert mesh.wrong == () and len(mesh.wrong_connections) == 1
    assert findings(mesh) == [
        "c -> [cluster web]: endpoint_not_listening. Seen?. Start it.",
        "cluster web: 0 of 1 callers ok.",
        "6 of 6 pairs ok, 1 of 1 calls to clusters not ok.",
    ]
    assert with_cluster(None).wrong_connections[0].cause == "not_tested"


def test_an_acceptance_that_no_pair_reports_is_named_by_server():
    results = {**all_ok(NAMES), "a": [failed("b"), ok("c")]}
    lines = findings(assemble(servers(*NAMES), results, "temporary", refusals=ring(none="failed")))
    assert lines[0] == "b: not_refused. It accepted a, which presented no certificate. Close it."


def test_the_root_cause_stands_before_its_consequences():
    names = numbered(12)
    causes = {"s002": "server_certificate_expired", "s005": "not_tls"}
    mesh = decided(names, lambda source, target: None if source in ("s000", "s001") else causes.get(target))
    mesh = dataclasses.replace(mesh, problems=(problem("s002"), problem("s009", "key_differs", NOTE)))
    lines = findings(mesh)
    assert [line.split(" ")[0].rstrip(":") for line in lines[:4]] == ["s002", "s005", "s002", "s009"]
    assert lines[2].startswith("s002 (9 pairs")


def test_whatever_is_wrong_a_thousand_servers_fit_a_screen():
    names = [f"s{number:04}" for number in range(1000)]
    results = {"s0000": [failed(name, f"cause {name}") for name in names[1:900]], "s0001": [ok("s0002")]}
    results["s0000"] += [ok(name) for name in names[900:990]]
    refusals = {"s0000": [one for name in names[900:990] for one in tried(name, none="untested", plain="ok")]}
    mesh = assemble(
        servers(*names, s0999="unreachable", s0998="failed"),
        results,
        "external",
        [PendingUpdate(name, "trust", (), f"it lacks {name}") for name in names],
        refusals=refusals,
        problems=[
            problem(name, f"kind {name}", severity) for name in names[:30] for severity in (FAULT, NOTE, NOT_CHECKED)
        ],
        trust_model="shared_keys",
        clusters=[Cluster(f"c{number}", "lb", number + 1, (names[number],)) for number in range(20)],
        connections={
            "s0500": [{"cluster": f"c{number}", "verdict": "failed", "cause": "not_tls"} for number in range(20)]
        },
    )
    lines = terminal(mesh)
    assert len(lines) <= 40
    assert sum(line.startswith("... and ") for line in lines) == 7
    assert "pairs ok" in lines[-1]


def test_a_port_that_another_process_has_is_one_cause_told_once():
    """Whatever answers there says nothing of the server: neither of its certificates nor of what it refuses."""
    results = {"a": [failed("b", "not_tls"), ok("c")], "c": [failed("b", "no_answer_after_handshake"), ok("a")]}
    accepted = {**ok("b"), "present": "none", "verdict": "failed", "cause": "not_refused"}
    taken = Problem("b", "port_taken", FAULT, None, "Another process has it", "Port 8732 is taken by x.", "End it.")
    mesh = assemble(servers(*NAMES, b="failed"), results, "temporary", refusals={"a": [accepted]}, problems=[taken])
    assert [(pair.label, pair.cause) for pair in mesh.wrong] == [
        (label, "host_failed") for label in ("a -> b", "b -> a", "b -> c", "c -> b")
    ]
    assert findings(mesh) == [
        "b: port_taken. Another process has it. Port 8732 is taken by x. End it.",
        "2 of 6 pairs ok, 4 untested.",
    ]
