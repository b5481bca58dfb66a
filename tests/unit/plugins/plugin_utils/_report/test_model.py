# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest
from probed_meshes import NAMES, SITED, all_ok, decided, failed, numbered, ok, servers, sited

from ansible_collections.esync.mesh.plugins.module_utils._connection.cause_table import CAUSES
from ansible_collections.esync.mesh.plugins.module_utils._connection.probe import MUST_BE_REFUSED, OWN_CLIENT
from ansible_collections.esync.mesh.plugins.plugin_utils._report.builder import assemble
from ansible_collections.esync.mesh.plugins.plugin_utils._report.model import (
    PRESENTED,
    PRESENTED_WITH_SHARED_KEYS,
    verdict,
)


def test_every_pair_is_there():
    mesh = assemble(servers(*NAMES), all_ok(NAMES), "temporary")
    assert mesh.expected == 6
    assert len(mesh.pairs) == 6
    assert mesh.wrong == ()
    assert verdict(mesh) == "6 of 6 pairs ok."


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


def test_a_cause_has_a_title():
    mesh = assemble(servers("a", "b", "c", b="unreachable", c="failed"), {}, "temporary")
    titles = {(pair.source, pair.target): pair.title for pair in mesh.pairs}
    assert titles["a", "b"] == "The control node cannot reach the server"
    assert titles["a", "c"] == "The server failed earlier in this run"
    results = {"a": [failed("b", "host_unreachable"), ok("c")], "b": [failed("a", "unheard_of"), ok("c")]}
    mesh = assemble(servers(*NAMES), results, "temporary")
    assert [pair.title for pair in mesh.pairs[:3]] == [CAUSES["host_unreachable"].title, "", "unheard_of"]
    assert mesh.pairs[4].title == "The server returned no result"


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


def test_everything_that_must_be_refused_has_words():
    assert list(PRESENTED) == list(MUST_BE_REFUSED)
    assert list(PRESENTED_WITH_SHARED_KEYS) == [OWN_CLIENT]


def test_a_server_whose_keys_are_closed_to_us_is_out_of_scope():
    mesh = assemble(servers(*NAMES, c="unreadable"), all_ok(NAMES, without="c"), "temporary")
    assert mesh.wrong == ()
    assert {pair.label for pair in mesh.pairs if pair.verdict == "untested"} == {"a -> c", "b -> c", "c -> a", "c -> b"}
    assert all("on c may not read the keys" in pair.detail for pair in mesh.pairs if pair.verdict == "untested")
    resident = assemble(servers(*NAMES, c="unreadable"), all_ok(NAMES), "nginx")
    assert resident.count("untested") == 0


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


def test_a_site_that_nobody_tested_is_untested_and_wrong():
    mesh = sited({**SITED, "c": [ok("a"), {**ok("b"), "site": "shop"}]})
    assert [(pair.label, pair.verdict, pair.cause) for pair in mesh.wrong] == [
        ("c -> b [news]", "untested", "not_tested")
    ]
    # What was tested without a site says nothing of one.
    assert len(sited({**SITED, "a": [ok("b"), ok("c")]}).wrong) == 3


# -- many pairs -----------------------------------------------------------------------------------------------


def test_pairs_that_are_ok_or_were_not_tested_are_made_when_they_are_looked_at():
    names = numbered(40)
    mesh = decided(names, lambda source, target: "silent" if target == "s007" else None, s003="unreachable")
    assert len(mesh.pairs) == len(list(mesh.pairs)) == 40 * 39
    assert mesh.pairs[0] == mesh.pairs[0] and mesh.pairs[0] is not mesh.pairs[0]
    assert (mesh.count("ok"), mesh.count("failed"), mesh.count("untested")) == (1444, 38, 78)
    assert [pair for pair in mesh.pairs if pair.wrong] == list(mesh.wrong)
    assert [mesh.pairs.at(index) for index in mesh.pairs.find("x?.")] == [p for p in mesh.pairs if p.verdict != "ok"]


def test_the_counts_of_a_row_and_a_column_are_those_of_the_pairs():
    mesh = sited(SITED)
    for number, server in enumerate(mesh.servers):
        calls = [pair.code for pair in mesh.pairs if pair.source == server.name]
        called = [pair.code for pair in mesh.pairs if pair.target == server.name]
        assert sorted(mesh.pairs.row(number).decode().replace("-", "")) == sorted(calls)
        assert sorted(mesh.pairs.called(number).decode().replace("-", "")) == sorted(called)


@pytest.mark.parametrize("states", [{}, {"a": "not_in_run", "b": "not_in_run"}, dict.fromkeys("abc", "unreadable")])
def test_a_run_that_proved_nothing_says_so(states):
    mesh = assemble(servers(*NAMES, **states), {}, "temporary")
    assert mesh.proved_nothing
    assert verdict(mesh) == "Nothing was proved: 0 of 6 pairs were tested."


def test_a_mesh_of_one_has_nothing_to_prove_and_a_failed_pair_was_tested():
    assert not assemble(servers("a"), {}, "temporary").proved_nothing
    assert not assemble(servers("a", "b"), {"a": [failed("b")]}, "temporary").proved_nothing
