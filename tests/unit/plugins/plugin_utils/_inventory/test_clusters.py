# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import dataclasses

from ansible_collections.esync.mesh.plugins.plugin_utils._inventory.clusters import (
    call_groups,
    call_line,
    cluster_counts,
    connect,
    to_json,
)
from ansible_collections.esync.mesh.plugins.plugin_utils._inventory.membership import Cluster

WEB = Cluster("web", "lb.example", 8732, ("a", "b"))
SOLO = Cluster("solo", "lb.example", 9000, ("c",))
STATES = dict.fromkeys("abcd", "ok")


def ok(cluster, **answered):
    return {"cluster": cluster, "verdict": "ok", "cause": None, "detail": "", "remedy": "", "answered": answered}


def failed(cluster, cause="not_tls", **answered):
    return {**ok(cluster, **answered), "verdict": "failed", "cause": cause, "detail": "Seen.", "remedy": "Repair it."}


FOUND = {
    "a": [ok("solo", c=2)],
    "b": [ok("solo", c=2)],
    "c": [ok("web", a=3, b=1)],
    "d": [failed("web", a=1), ok("solo", c=2)],
}


def lines(clusters, connections):
    return [str(count) for count in cluster_counts(clusters, connections)]


def verdicts(connections):
    return {(one.source, one.cluster): (one.verdict, one.cause, one.wrong) for one in connections}


def test_everybody_outside_a_cluster_calls_it_and_no_member_does():
    found = connect([WEB, SOLO], STATES, FOUND, both_ends=True)
    assert verdicts(found) == {
        ("c", "web"): ("ok", None, False),
        ("d", "web"): ("failed", "not_tls", True),
        ("a", "solo"): ("ok", None, False),
        ("b", "solo"): ("ok", None, False),
        ("d", "solo"): ("ok", None, False),
    }
    assert found[0].label == "c -> [cluster web]"
    assert found[0].answered == (("a", 3), ("b", 1))
    assert found[1].title == "What listens there does not speak TLS"


def test_a_resident_cluster_is_in_scope_where_the_caller_is():
    states = {**STATES, "b": "not_in_run", "d": "not_in_run", "c": "ok"}
    assert verdicts(connect([WEB], states, {}, both_ends=False)) == {
        ("c", "web"): ("untested", "not_tested", True),
        ("d", "web"): ("untested", None, False),
    }


def test_a_temporary_one_only_where_all_members_are_in_the_run():
    states = {**STATES, "b": "not_in_run"}
    found = connect([WEB], states, {}, both_ends=True)
    assert set(verdicts(found).values()) == {("untested", None, False)}
    assert "b took no part" in found[0].detail
    for state, cause in (("unreachable", "host_unreachable"), ("failed", "host_failed")):
        found = connect([WEB], {**STATES, "b": state}, {}, both_ends=True)
        assert set(verdicts(found).values()) == {("untested", cause, True)}
        assert "b" in found[0].detail and found[0].remedy
    # A member's keys that may not be read keep it from listening, which is told by name already.
    assert not any(one.wrong for one in connect([WEB], {**STATES, "a": "unreadable"}, {}, both_ends=True))


def test_a_dead_member_of_a_resident_cluster_is_the_business_of_the_balancer():
    found = connect([WEB], {**STATES, "b": "unreachable"}, FOUND, both_ends=False)
    assert [one.verdict for one in found] == ["ok", "failed"]


def test_json_as_designed():
    [web, solo] = to_json([WEB, SOLO], connect([WEB, SOLO], STATES, FOUND, both_ends=True))
    assert {key: web[key] for key in ("name", "address", "port", "members")} == {
        "name": "web",
        "address": "lb.example",
        "port": 8732,
        "members": ["a", "b"],
    }
    assert web["connections"] == [
        {"from": "c", "verdict": "ok", "cause": None, "detail": "", "remedy": "", "answered": {"a": 3, "b": 1}},
        {
            "from": "d",
            "verdict": "failed",
            "cause": "not_tls",
            "detail": "Seen.",
            "remedy": "Repair it.",
            "answered": {"a": 1},
        },
    ]
    assert [one["from"] for one in solo["connections"]] == ["a", "b", "d"]


def test_who_answered_and_who_never_did():
    found = connect([WEB, SOLO], STATES, FOUND, both_ends=True)
    assert lines([WEB, SOLO], found) == [
        "cluster web: 1 of 2 callers ok; answered a 4, b 1.",
        "cluster solo: 3 of 3 callers ok; answered c 6.",
    ]
    one_sided = connect([WEB], STATES, {"c": [ok("web", a=4)], "d": [ok("web", a=4)]}, both_ends=True)
    assert lines([WEB], one_sided) == ["cluster web: 2 of 2 callers ok; answered a 8; never b."]
    assert cluster_counts([WEB], one_sided)[0].silent == ("b",)
    # That nobody was reached is told as a failure, not as the silence of each member.
    nothing = connect([WEB], STATES, {}, both_ends=True)
    assert lines([WEB], nothing) == ["cluster web: 0 of 2 callers ok."]
    assert lines([dataclasses.replace(WEB, members=tuple("abcd"))], []) == [
        "cluster web: no server outside of it calls it."
    ]


def test_the_same_cause_of_many_callers_is_one_line():
    found = connect([WEB], STATES, {name: [failed("web")] for name in "cd"}, both_ends=True)
    assert [call_line(group) for group in call_groups(found)] == [
        "cluster web (2 callers, such as c -> [cluster web]): not_tls. Seen. Repair it."
    ]
    different = [*found[:1], dataclasses.replace(found[1], cause="tls_failed")]
    assert len(call_groups(different)) == 2
    assert call_line(call_groups(different)[1]) == "d -> [cluster web]: tls_failed. Seen. Repair it."
