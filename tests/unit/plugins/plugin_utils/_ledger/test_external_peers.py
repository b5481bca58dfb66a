# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest

from ansible_collections.esync.mesh.plugins.module_utils._core.errors import EsyncError
from ansible_collections.esync.mesh.plugins.module_utils._store.distrust import COMPROMISED, REMOVED
from ansible_collections.esync.mesh.plugins.plugin_utils._ledger.external_peers import AppliedSet, admit
from ansible_collections.esync.mesh.plugins.plugin_utils._ledger.pending import (
    digests_of,
    expected_digests,
    external_peers_of,
)
from ansible_collections.esync.mesh.plugins.plugin_utils._ledger.records import (
    APPLIED,
    INVENTORY,
    Ledger,
    PresentedSets,
    read_generations,
    recorded,
    render,
    withdrawn,
)
from ansible_collections.esync.mesh.plugins.plugin_utils._planning.trust import plan_trust

NOW = "2026-11-23T00:00:00Z"
MEMBERS = {"a": ("10.0.0.1", 8732), "b": ("10.0.0.2", 8732)}


@pytest.fixture
def ledger(generation):
    return {name: member(name, generation(name)) for name in MEMBERS}


def member(name, *generations):
    return recorded(None, PresentedSets(name, *MEMBERS[name], read_generations(generations, "t"), rotation=True), NOW)


def found(*generations, name="g", host="a", address="", port=0):
    item = {"name": name, "address": address, "port": port, "generations": generations}
    return AppliedSet.read(host, "/in", item)


def take(ledger, *folders, accepted=()):
    """Admit, and put it into the ledger; returns what changed."""
    entries = admit(folders, {one.host: one.path for one in folders}, MEMBERS, ledger, accepted, NOW)
    ledger.update((entry.name, entry) for entry in entries)
    return entries


def kinds(ledger, *folders, **options):
    before = dict(ledger)
    with pytest.raises(EsyncError) as caught:
        take(ledger, *folders, **options)
    assert ledger == before
    return [error.kind for error in getattr(caught.value, "errors", [caught.value])]


def test_a_guest_is_recorded_once_for_all_hosts(ledger, generation):
    folders = [found(generation("g"), host=host, address="g.example.org", port=8732) for host in MEMBERS]
    (entry,) = take(ledger, *folders)
    assert (entry.name, entry.origin, entry.trust, entry.port) == ("g", APPLIED, None, 8732)
    assert take(ledger, *folders) == []


def test_every_member_trusts_the_guest_and_keeps_it(ledger, generation):
    take(ledger, found(generation("g")))
    assert external_peers_of(list(MEMBERS), ledger) == ["g"]
    known = None
    for shrink in (False, True, False):
        plan = plan_trust("a", list(MEMBERS), ledger, known, allow_shrink=shrink)
        assert {entry.peer for entry in plan.entries} == {"b", "g"}
        assert plan.kept == plan.unrecorded == ()
        assert plan.changed is (known is None)
        known = plan.entries
    assert set(expected_digests("a", digests_of(list(MEMBERS), ledger))) == {"b", "g"}


def test_a_removed_guest_loses_trust_and_cannot_come_back_with_the_same_certificates(ledger, generation):
    take(ledger, found(generation("g")))
    known = plan_trust("a", list(MEMBERS), ledger, None).entries
    # In check mode the ledger still knows it.
    assert {entry.peer for entry in plan_trust("a", list(MEMBERS), ledger, known, distrust=["g"]).entries} == {"b"}
    ledger["g"] = withdrawn(ledger["g"], REMOVED, NOW)
    assert external_peers_of(list(MEMBERS), ledger) == []
    assert {entry.peer for entry in plan_trust("a", list(MEMBERS), ledger, known).entries} == {"b"}
    assert kinds(ledger, found(generation("g"))) == ["distrusted_certificate"]
    (entry,) = take(ledger, found(generation("g", number=2)))
    assert (entry.removed_at, entry.origin) == (None, APPLIED)


def test_a_guest_is_told_to_get_new_certificates_where_it_is_a_member(ledger, generation):
    take(ledger, found(generation("g")))
    ledger["g"] = withdrawn(ledger["g"], REMOVED, NOW)
    with pytest.raises(EsyncError) as caught:
        take(ledger, found(generation("g")))
    assert "by whoever runs it" in str(caught.value)
    assert "esync_discard_existing" not in str(caught.value)


def test_another_certificate_is_refused_until_it_is_accepted(ledger, generation):
    take(ledger, found(generation("g")))
    other = found(generation("g", number=2))
    assert kinds(ledger, other) == ["changed_certificate"]
    assert take(ledger, other, accepted=["g"])[0].fingerprints == {
        generation("g", number=2)[role]["fingerprint"] for role in ("server", "client")
    }


def test_a_rotation_announced_first_overlaps(ledger, generation):
    old, new = generation("g"), generation("g", "next", 2)
    take(ledger, found(old))
    take(ledger, found(old, new))
    assert [one.state for one in ledger["g"].generations] == ["current", "next"]
    assert take(ledger, found(old)) == [], "an older copy takes nothing away"
    take(ledger, found({**new, "state": "current"}, {**old, "state": "previous"}))
    assert [one.state for one in ledger["g"].generations] == ["current", "previous"]
    take(ledger, found({**new, "state": "current"}))
    assert [one.state for one in ledger["g"].generations] == ["current"]
    assert kinds(ledger, found(old)) == ["changed_certificate"], "the old folder, long after"


def test_members_that_the_ledger_knows_are_left_as_they_are(ledger, generation):
    ledger["b"] = member("b", generation("b"), generation("b", "next", 2))
    assert take(ledger, found(generation("b"), name="b")) == []
    assert kinds(ledger, found(generation("b", number=3), name="b")) == ["changed_certificate"]


def test_a_folder_retires_nothing_of_a_member_in_rotation(ledger, generation):
    old, new = generation("b"), generation("b", number=2)
    announced = member("b", old, {**new, "state": "next"})
    switched = read_generations([new, {**old, "state": "previous"}], "t")
    ledger["b"] = recorded(announced, PresentedSets("b", *MEMBERS["b"], switched), NOW)
    assert take(ledger, found(new, name="b")) == []


def test_a_member_that_was_never_reached_can_come_by_hand(ledger, generation):
    del ledger["b"]
    (entry,) = take(ledger, found(generation("b"), name="b", address="elsewhere", port=1))
    assert (entry.origin, entry.address, entry.port) == (INVENTORY, *MEMBERS["b"])


def test_a_guest_that_joins_the_inventory_is_none_any_more(ledger, generation):
    take(ledger, found(generation("g")))
    shown = PresentedSets("g", "10.0.0.3", 8732, read_generations([generation("g")], "t"))
    assert recorded(ledger["g"], shown, NOW).origin == INVENTORY
    assert external_peers_of([*MEMBERS, "g"], ledger) == []
    assert external_peers_of([*MEMBERS, "G"], ledger) == []


def test_a_known_address_survives_a_folder_without_a_manifest(ledger, generation):
    take(ledger, found(generation("g"), address="g.example.org", port=8732))
    assert take(ledger, found(generation("g"))) == []


def test_everything_wrong_is_told_at_once_and_nothing_is_taken(ledger, generation):
    sound = found(generation("g"))
    folders = [
        sound,
        found(generation("h"), name="h", host="a"),
        found(generation("h", number=2), name="h", host="b"),
        found(generation("B"), name="B"),
        found(generation("a"), name="i"),
        found(generation("b", number=2), name="b"),
    ]
    # What B is called in capitals counts as b, of which another folder has something else.
    assert set(kinds(ledger, *folders)) == {"differing_folders", "duplicate_name", "wrong_name"}


def test_what_one_host_alone_says_is_not_enough(ledger, generation):
    lonely = found(generation("g"), host="b")
    with pytest.raises(EsyncError) as caught:
        admit([lonely], {"a": "/in", "b": "/in"}, MEMBERS, ledger, (), NOW)
    assert "the set of g is not in it, but in the folder on b" in str(caught.value)
    # The set of a member lies in the folders of the others only.
    known = [found(generation("b"), name="b", host="a")]
    assert admit(known, {"a": "/in", "b": "/in"}, MEMBERS, ledger, (), NOW) == []


def test_where_a_guest_listens_is_not_for_one_host_to_say(ledger, generation):
    folders = [
        found(generation("g"), host="a", address="g.example.org", port=8732),
        found(generation("g"), host="b", address="evil.example.org", port=8732),
    ]
    assert kinds(ledger, *folders) == ["differing_folders"]


def test_a_key_of_a_member_is_no_guests(ledger, generation):
    assert kinds(ledger, found(generation("b"), name="g")) == ["wrong_name"]


def test_compromised_certificates_are_refused(ledger, generation):
    ledger["b"] = withdrawn(ledger["b"], COMPROMISED, NOW)
    assert kinds(ledger, found(generation("b"), name="b")) == ["distrusted_certificate"]


def test_the_origin_is_kept_in_the_file_of_guests_only(ledger, generation, tmp_path):
    (entry,) = take(ledger, found(generation("g")))
    files = Ledger(tmp_path)
    files.write(entry)
    assert files.read("g") == entry
    assert "origin" not in render(ledger["a"])
    path = tmp_path / "g.json"
    path.write_text(path.read_text().replace('"applied"', '"somewhere"'))
    with pytest.raises(EsyncError) as caught:
        files.read("g")
    assert caught.value.kind == "damaged_ledger"
