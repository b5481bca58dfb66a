# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import dataclasses

import pytest

from ansible_collections.esync.mesh.plugins.module_utils._store.shared_sets import SharedKey, digest_of
from ansible_collections.esync.mesh.plugins.plugin_utils._ledger.records import (
    PresentedSets,
    read_generations,
    recorded,
    withdrawn,
)
from ansible_collections.esync.mesh.plugins.plugin_utils._planning.shared_keys import InstalledKeys, plan_shared_keys

NOW = "2026-11-23T00:00:00Z"
MEMBERS = ("a", "b", "c")


def record(name, *generations):
    return recorded(None, PresentedSets(name, "x", 1, read_generations(generations, "t"), rotation=True), NOW)


@pytest.fixture
def ledger(generation):
    return {name: record(name, generation(name)) for name in MEMBERS}


def client(generation, name, state="current", number=1):
    return SharedKey(name, state, generation(name, state, number)["client"]["fingerprint"])


def said(*entries, **changes):
    found = {"entries": [dataclasses.asdict(entry) for entry in entries], "digest": digest_of(entries)}
    return {**found, "withdrawn": False, **changes}


def test_the_client_sets_of_all_others(ledger, generation):
    plan = plan_shared_keys("a", MEMBERS, ledger, InstalledKeys())
    assert plan.wanted == plan.missing == (client(generation, "b"), client(generation, "c"))


def test_nothing_differs(ledger):
    wanted = plan_shared_keys("a", MEMBERS, ledger, InstalledKeys()).wanted
    plan = plan_shared_keys("a", MEMBERS, ledger, InstalledKeys.read(said(*wanted)))
    assert plan.missing == ()
    assert not plan.changes(plan.obtainable([]))


@pytest.mark.parametrize("change", [{"digest": ""}, {"withdrawn": True}])
def test_what_is_damaged_or_out_of_use_is_written_anew(ledger, change):
    wanted = plan_shared_keys("a", MEMBERS, ledger, InstalledKeys()).wanted
    plan = plan_shared_keys("a", MEMBERS, ledger, InstalledKeys.read(said(*wanted, **change)))
    assert plan.missing == ()
    assert plan.changes(plan.obtainable([]))


def test_a_set_that_was_not_fetched_is_left_out(ledger, generation):
    plan = plan_shared_keys("a", MEMBERS, ledger, InstalledKeys.read(said(client(generation, "b"))))
    assert plan.missing == (client(generation, "c"),)
    assert plan.obtainable([]) == (client(generation, "b"),)
    assert plan.obtainable([client(generation, "c").fingerprint]) == plan.wanted


def test_a_switched_generation_is_only_filed_anew(ledger, generation):
    ledger["b"] = record("b", generation("b", "current", 2), generation("b", "previous", 1))
    held = InstalledKeys.read(
        said(client(generation, "b"), client(generation, "b", "next", 2), client(generation, "c"))
    )
    plan = plan_shared_keys("a", MEMBERS, ledger, held)
    assert plan.missing == ()
    assert plan.changes(plan.obtainable([]))


def test_what_a_known_peer_has_retired_goes(ledger, generation):
    held = InstalledKeys.read(said(client(generation, "b"), client(generation, "c")))
    ledger["b"] = record("b", generation("b", "current", 2))
    plan = plan_shared_keys("a", MEMBERS, ledger, held)
    assert plan.wanted == (client(generation, "b", "current", 2), client(generation, "c"))


def test_only_the_newest_while_the_model_changes(ledger, generation):
    ledger["b"] = record("b", generation("b"), generation("b", "next", 2))
    plan = plan_shared_keys("a", MEMBERS, ledger, InstalledKeys(), newest=True)
    assert [(entry.peer, entry.state) for entry in plan.wanted] == [("b", "next"), ("c", "current")]


def test_a_server_outside_the_mesh_is_kept_until_it_is_removed_or_the_mesh_may_shrink(ledger, generation):
    held = InstalledKeys.read(said(client(generation, "b"), client(generation, "c")))
    plan = plan_shared_keys("a", ("a", "b"), ledger, held)
    assert plan.wanted == held.entries
    assert not plan.changes(plan.obtainable([]))
    assert plan_shared_keys("a", ("a", "b"), ledger, held, allow_shrink=True).wanted == (client(generation, "b"),)
    ledger["c"] = withdrawn(ledger["c"], "removed", NOW)
    assert plan_shared_keys("a", ("a", "b"), ledger, held).wanted == (client(generation, "b"),)


def test_what_the_ledger_does_not_know_is_kept_but_not_what_lost_trust(ledger, generation):
    held = InstalledKeys.read(said(client(generation, "b"), client(generation, "c")))
    # The ledger was lost, also with external peers in it.
    assert plan_shared_keys("a", MEMBERS, {}, held).wanted == held.entries
    assert plan_shared_keys("a", ("a", "b"), {}, held).wanted == held.entries
    del ledger["b"]
    ledger["c"] = withdrawn(ledger["c"], "compromised", NOW)
    plan = plan_shared_keys("a", MEMBERS, ledger, held)
    assert plan.wanted == (client(generation, "b"),)
    assert plan.missing == ()


def test_a_guest_is_held_like_a_member_and_not_dropped(ledger, generation):
    ledger["c"] = dataclasses.replace(ledger["c"], origin="applied")
    plan = plan_shared_keys(
        "a", ("a", "b"), ledger, InstalledKeys.read(said(client(generation, "b"), client(generation, "c")))
    )
    assert plan.wanted == (client(generation, "b"), client(generation, "c"))
    assert plan.missing == ()
    assert not plan.changes(plan.obtainable([]))
    # What it was never given is owed, and what it has stays.
    plan = plan_shared_keys("a", ("a", "b"), ledger, InstalledKeys.read(said(client(generation, "b"))))
    assert plan.missing == (client(generation, "c"),)
    assert plan.obtainable([]) == (client(generation, "b"),)
