# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest

from ansible_collections.esync.mesh.plugins.module_utils.errors import EsyncError
from ansible_collections.esync.mesh.plugins.module_utils.trust import Entry, digest_of
from ansible_collections.esync.mesh.plugins.plugin_utils.ledger import Shown, read_generations, recorded, struck_out
from ansible_collections.esync.mesh.plugins.plugin_utils.plan import asked_digest, plan_trust

NOW = "2026-11-23T00:00:00Z"
MEMBERS = ("a", "b", "c")


@pytest.fixture
def ledger(generation):
    return {name: record(name, generation(name)) for name in MEMBERS}


def record(name, *generations):
    return recorded(None, Shown(name, "x", 1, read_generations(generations, "t"), rotation=True), NOW)


def peers(plan):
    return {entry.peer for entry in plan.entries}


def test_everybody_else_and_never_oneself(ledger):
    plan = plan_trust("a", MEMBERS, ledger, None)
    assert peers(plan) == {"b", "c"}
    assert len(plan.entries) == 4
    assert plan.changed
    assert set(plan.send) == {entry.fingerprint for entry in plan.entries}
    assert plan.digest == asked_digest("a", MEMBERS, ledger)


def test_nothing_differs(ledger):
    known = plan_trust("a", MEMBERS, ledger, None).entries
    plan = plan_trust("a", MEMBERS, ledger, known)
    assert not plan.changed
    assert plan.send == plan.added == plan.removed == ()


def test_only_the_difference_is_sent(ledger, generation):
    known = plan_trust("a", ("a", "b"), ledger, None).entries
    plan = plan_trust("a", MEMBERS, ledger, known)
    assert set(plan.send) == {generation("c")["server"]["fingerprint"], generation("c")["client"]["fingerprint"]}


def test_all_live_generations(ledger, generation):
    ledger["b"] = record("b", generation("b"), generation("b", "next", 2))
    plan = plan_trust("a", MEMBERS, ledger, None)
    assert {entry.state for entry in plan.entries if entry.peer == "b"} == {"current", "next"}


def test_a_member_never_reached_is_owed_and_stops_nobody(ledger):
    del ledger["c"]
    plan = plan_trust("a", MEMBERS, ledger, None)
    assert peers(plan) == {"b"}
    assert plan.owed == ("c",)


def test_a_member_missing_in_the_ledger_keeps_its_trust(ledger):
    known = plan_trust("a", MEMBERS, ledger, None).entries
    del ledger["c"]
    plan = plan_trust("a", MEMBERS, ledger, known)
    assert not plan.changed
    assert plan.owed == ("c",)


def test_a_server_that_left_the_group_keeps_its_trust(ledger):
    known = plan_trust("a", MEMBERS, ledger, None).entries
    plan = plan_trust("a", ("a", "b"), ledger, known)
    assert not plan.changed
    assert plan.kept == ("c",)


def test_unless_shrinking_is_allowed(ledger):
    known = plan_trust("a", MEMBERS, ledger, None).entries
    plan = plan_trust("a", ("a", "b"), ledger, known, allow_shrink=True)
    assert peers(plan) == {"b"}
    assert {entry.peer for entry in plan.removed} == {"c"}


def test_struck_certificates_go_and_do_not_come_back(ledger):
    known = plan_trust("a", MEMBERS, ledger, None).entries
    ledger["c"] = struck_out(ledger["c"], "removed", NOW, removed=True)
    assert peers(plan_trust("a", ("a", "b"), ledger, known)) == {"b"}


def test_distrusted_servers_go_even_if_the_ledger_never_knew_them(ledger):
    known = (*plan_trust("a", MEMBERS, ledger, None).entries, Entry("ghost", "server", "current", "0" * 64))
    plan = plan_trust("a", MEMBERS, ledger, tuple(sorted(known)), distrust=("ghost",))
    assert peers(plan) == {"b", "c"}


def test_an_emptied_ledger_does_not_empty_the_trust(ledger):
    known = plan_trust("a", MEMBERS, ledger, None).entries
    assert not plan_trust("a", MEMBERS, {}, known).changed


def test_nobody_left_is_an_error(ledger):
    known = plan_trust("a", ("a", "b"), ledger, None).entries
    with pytest.raises(EsyncError) as caught:
        plan_trust("a", ("a",), {}, known, allow_shrink=True)
    assert caught.value.kind == "empty_trust"


def test_nobody_left_on_purpose(ledger):
    known = plan_trust("a", ("a", "b"), ledger, None).entries
    ledger["b"] = struck_out(ledger["b"], "compromised", NOW, removed=False)
    plan = plan_trust("a", ("a", "b"), ledger, known, distrust=("b",))
    assert plan.entries == ()
    assert plan.changed


def test_the_asked_digest_changes_with_the_ledger(ledger, generation):
    before = asked_digest("a", MEMBERS, ledger)
    ledger["b"] = record("b", generation("b", number=2))
    assert asked_digest("a", MEMBERS, ledger) != before
    assert asked_digest("a", ("a",), ledger) == digest_of([])
