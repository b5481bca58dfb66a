# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import xml.etree.ElementTree as ET

from clustered_mesh import with_clusters

from ansible_collections.esync.mesh.plugins.plugin_utils._report.builder import assemble
from ansible_collections.esync.mesh.plugins.plugin_utils._report.findings import FAULT, NOT_CHECKED, NOTE, Problem
from ansible_collections.esync.mesh.plugins.plugin_utils._report.junit import text as document
from ansible_collections.esync.mesh.plugins.plugin_utils._report.model import ReportServer, summary

NOW = "2026-11-23T19:00:00Z"


def ok(to):
    return {"to": to, "verdict": "ok", "handshake_ms": 12.5, "tls": "TLSv1.3"}


def failed(to, detail="No answer."):
    return {"to": to, "verdict": "failed", "cause": "connection_timed_out", "detail": detail, "remedy": "Look at it."}


def mixed():
    """a calls b, c is dead, d is not in the run: each outcome of a pair is there."""
    states = {"a": "ok", "b": "ok", "c": "unreachable", "d": "not_in_run"}
    servers = [ReportServer(name, f"{name}.example", 8732, state) for name, state in states.items()]
    return assemble(servers, {"a": [failed("b")], "b": [ok("a")]}, "temporary")


def counts(element):
    return {name: int(element.get(name)) for name in ("tests", "failures", "errors", "skipped")}


def test_the_counts_agree_with_the_summary_and_with_the_cases():
    mesh = mixed()
    top = ET.fromstring(document(mesh, NOW))
    total = summary(mesh)
    assert counts(top) == {"tests": 12, "failures": 1, "errors": 4, "skipped": 6}
    assert total["failed"] == 1
    assert total["untested"] == 4 + 6
    suites = top.findall("testsuite")
    assert [suite.get("name") for suite in suites] == ["a", "b", "c", "d"]
    for element in (top, *suites):
        assert counts(element) == {
            "tests": len(list(element.iter("testcase"))),
            "failures": len(list(element.iter("failure"))),
            "errors": len(list(element.iter("error"))),
            "skipped": len(list(element.iter("skipped"))),
        }
    assert {suite.get("timestamp") for suite in suites} == {"2026-11-23T19:00:00"}


def test_a_case_for_each_pair_with_cause_detail_and_remedy():
    top = ET.fromstring(document(mixed(), NOW))
    cases = {case.get("name"): case for case in top.iter("testcase")}
    assert len(cases) == 12
    assert list(cases["b -> a"]) == []
    assert cases["b -> a"].get("time") == "0.0125"
    assert cases["b -> a"].get("classname") == "b"
    (failure,) = cases["a -> b"]
    assert failure.tag == "failure"
    assert failure.get("type") == "connection_timed_out"
    assert failure.get("message") == "The peer does not answer the connection"
    assert failure.text.split("\n") == ["connection_timed_out", "No answer.", "Look at it."]
    (error,) = cases["a -> c"]
    assert error.tag == "error"
    assert error.get("type") == "host_unreachable"
    (skipped,) = cases["a -> d"]
    assert skipped.tag == "skipped"
    assert "took no part" in skipped.get("message")


def test_what_xml_cannot_hold_is_replaced():
    hostile = "]]></failure><x a='&\"'>\x00\x01\x1b\x7f\ud800\ufffe\U0001f600\u202e\n\ttext"
    servers = [ReportServer(name, "x", 1, "ok") for name in ("a", "b<&\x08")]
    mesh = assemble(servers, {"a": [failed("b<&\x08", hostile)]}, "temporary")
    text = document(mesh, NOW)
    text.encode("utf-8")
    top = ET.fromstring(text)
    assert top[1].get("name") == "b<&\ufffd"
    (failure,) = top.iter("failure")
    shown = "]]></failure><x a='&\"'>\ufffd\ufffd\ufffd\x7f\ufffd\ufffd\U0001f600\u202e\n\ttext"
    assert failure.text.split("\n", 1)[1] == f"{shown}\nLook at it."


def test_it_says_its_encoding():
    assert document(mixed(), NOW).startswith('<?xml version="1.0" encoding="UTF-8"?>\n<testsuites ')


def problem(server, severity, kind="expired"):
    return Problem(server, kind, severity, "/etc/esync", "They have expired", "They ended.", "Renew.")


def suite_of(mesh, name):
    return next((suite for suite in ET.fromstring(document(mesh, NOW)) if suite.get("name") == name), None)


def test_a_case_for_each_server_where_servers_were_checked():
    servers = [ReportServer(name, "x", 1, "ok") for name in "abcd"] + [ReportServer("e", "x", 1, "unreachable")]
    problems = [problem("b", NOTE), problem("b", FAULT), problem("c", NOT_CHECKED, "no_permission")]
    mesh = assemble(servers, {}, "temporary", problems=problems, servers_checked=True)
    suite = suite_of(mesh, "(servers)")
    assert counts(suite) == {"tests": 5, "failures": 1, "errors": 0, "skipped": 2}
    cases = {case.get("name"): list(case) for case in suite}
    assert cases["a"] == cases["d"] == []
    (failure,) = cases["b"]
    assert (failure.tag, failure.get("type"), failure.get("message")) == ("failure", "expired", "They have expired")
    for part in ("expired", "/etc/esync", "They ended.", "Renew."):
        assert part in failure.text
    assert [element.tag for element in cases["c"]] == ["skipped"]
    assert [element.tag for element in cases["e"]] == ["skipped"]
    assert counts(ET.fromstring(document(mesh, NOW)))["tests"] == 20 + 5


def test_no_suites_for_what_was_not_looked_at():
    assert suite_of(mixed(), "(servers)") is None
    assert suite_of(mixed(), "(refusals)") is None


def test_a_case_for_each_attempt_that_had_to_be_refused():
    refused = {"to": "b", "present": "none", "verdict": "ok"}
    accepted = {
        "to": "b",
        "present": "plain",
        "verdict": "failed",
        "cause": "not_refused",
        "detail": "In.",
        "remedy": "Shut.",
    }
    untested = {"to": "b", "present": "stranger", "verdict": "untested", "detail": "Nobody there."}
    servers = [ReportServer(name, "x", 1, "ok") for name in "ab"]
    suite = suite_of(assemble(servers, {}, "temporary", refusals={"a": [refused, accepted, untested]}), "(refusals)")
    assert counts(suite) == {"tests": 3, "failures": 1, "errors": 0, "skipped": 1}
    cases = {case.get("name"): list(case) for case in suite}
    assert cases["b refuses a, presenting no certificate"] == []
    (failure,) = cases["b refuses a, presenting nothing, because it spoke without TLS"]
    assert (failure.get("type"), failure.text) == ("not_refused", "not_refused\nIn.\nShut.")


def test_a_case_for_each_site():
    servers = [ReportServer("a", "a.example", 1, "ok"), ReportServer("b", "b.example", 1, "ok", sites=("shop", "news"))]
    results = {"a": [{**ok("b"), "site": "shop"}, {**failed("b"), "site": "news"}], "b": [ok("a")]}
    refusals = {"a": [{"to": "b", "site": "shop", "present": "none", "verdict": "ok"}]}
    top = ET.fromstring(document(assemble(servers, results, "nginx", refusals=refusals), NOW))
    names = {case.get("name"): [one.tag for one in case] for case in top.iter("testcase")}
    assert names == {
        "a -> b [shop]": [],
        "a -> b [news]": ["failure"],
        "b -> a": [],
        "b [shop] refuses a, presenting no certificate": [],
    }


def test_a_case_for_each_server_that_calls_a_cluster():
    top = ET.fromstring(document(with_clusters(), NOW))
    [suite] = [one for one in top if one.get("name") == "(clusters)"]
    assert counts(suite) == {"tests": 4, "failures": 1, "errors": 1, "skipped": 1}
    cases = {case.get("name"): list(case) for case in suite}
    [failure] = cases["a -> [cluster web]"]
    assert (failure.tag, failure.get("type")) == ("failure", "not_tls")
    assert failure.get("message") == "What listens there does not speak TLS"
    assert failure.text == "not_tls\n<Seen>.\nRepair it."
    assert cases["a -> [cluster solo]"] == []
    assert [one.tag for one in cases["c -> [cluster web]"]] == ["skipped"]
    assert [one.tag for one in cases["b -> [cluster solo]"]] == ["error"]


def test_beyond_two_hundred_servers_there_is_a_case_for_each_server_with_its_own_causes():
    names = [f"s{number:03}" for number in range(201)]
    dead, bad = names[3], names[7]
    servers = [ReportServer(name, "x", 1, "unreachable" if name == dead else "ok") for name in names]
    results = {
        source: [failed(name) if name == bad else ok(name) for name in names if name not in (source, dead)]
        for source in names
        if source != dead
    }
    top = ET.fromstring(document(assemble(servers, results, "temporary"), NOW))
    [suite] = top
    assert suite.get("name") == "(pairs)"
    assert counts(suite) == {"tests": 201, "failures": 1, "errors": 1, "skipped": 0}
    wrong = {case.get("name"): (case[0].tag, case[0].get("type")) for case in suite if len(case)}
    assert wrong == {dead: ("error", "host_unreachable"), bad: ("failure", "connection_timed_out")}
