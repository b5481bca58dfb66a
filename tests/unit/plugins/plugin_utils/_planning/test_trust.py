# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import dataclasses

import pytest

from ansible_collections.esync.mesh.plugins.module_utils._core.errors import EsyncError
from ansible_collections.esync.mesh.plugins.module_utils._store.trust_folder import TrustEntry, digest_of
from ansible_collections.esync.mesh.plugins.plugin_utils._ledger.pending import (
    digests_of,
    expected_digests,
    pending_updates_of,
)
from ansible_collections.esync.mesh.plugins.plugin_utils._ledger.records import (
    PresentedSets,
    read_generations,
    recorded,
    withdrawn,
)
from ansible_collections.esync.mesh.plugins.plugin_utils._planning.trust import (
    plan_trust,
    refuse_external_peers,
    refuse_other_model,
)

NOW = "2026-11-23T00:00:00Z"
MEMBERS = ("a", "b", "c")


@pytest.fixture
def ledger(generation):
    return {name: record(name, generation(name)) for name in MEMBERS}


def record(name, *generations):
    return recorded(None, PresentedSets(name, "x", 1, read_generations(generations, "t"), rotation=True), NOW)


def peers(plan):
    return {entry.peer for entry in plan.entries}


def test_everybody_else_and_never_oneself(ledger):
    plan = plan_trust("a", MEMBERS, ledger, None)
    assert peers(plan) == {"b", "c"}
    assert len(plan.entries) == 4
    assert plan.changed
    assert set(plan.send) == {entry.fingerprint for entry in plan.entries}
    assert plan.digest == digest_of(plan.entries)


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


def test_what_a_known_peer_has_retired_goes(ledger, generation):
    known = plan_trust("a", MEMBERS, ledger, None).entries
    ledger["b"] = record("b", generation("b", "current", 2))
    plan = plan_trust("a", MEMBERS, ledger, known)
    assert {entry.fingerprint for entry in plan.removed} == {
        generation("b")[role]["fingerprint"] for role in ("server", "client")
    }


def test_a_member_never_reached_is_owed_and_stops_nobody(ledger):
    del ledger["c"]
    plan = plan_trust("a", MEMBERS, ledger, None)
    assert peers(plan) == {"b"}
    assert plan.unrecorded == ("c",)


def test_a_member_missing_in_the_ledger_keeps_its_trust(ledger):
    known = plan_trust("a", MEMBERS, ledger, None).entries
    del ledger["c"]
    plan = plan_trust("a", MEMBERS, ledger, known)
    assert not plan.changed
    assert plan.unrecorded == ("c",)
    # Nor is it a server outside the mesh, by any setting.
    plan = plan_trust("a", MEMBERS, ledger, known, allow_shrink=True)
    assert plan.entries == known
    assert plan.kept == ()


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


def test_certificates_that_lost_trust_go_and_do_not_come_back(ledger):
    known = plan_trust("a", MEMBERS, ledger, None).entries
    ledger["c"] = withdrawn(ledger["c"], "removed", NOW)
    assert peers(plan_trust("a", ("a", "b"), ledger, known)) == {"b"}


def test_distrusted_servers_go_even_if_the_ledger_never_knew_them(ledger):
    known = (*plan_trust("a", MEMBERS, ledger, None).entries, TrustEntry("ghost", "server", "current", "0" * 64))
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
    ledger["b"] = withdrawn(ledger["b"], "compromised", NOW)
    plan = plan_trust("a", ("a", "b"), ledger, known, distrust=("b",))
    assert plan.entries == ()
    assert plan.changed


def test_what_is_asked_changes_with_the_ledger(ledger, generation):
    before = expected_digests("a", digests_of(MEMBERS, ledger))
    ledger["b"] = record("b", generation("b", number=2))
    assert expected_digests("a", digests_of(MEMBERS, ledger)) != before
    assert expected_digests("a", digests_of(("a",), ledger)) == {}


def test_a_trust_that_is_not_whole_is_written_anew(ledger):
    known = plan_trust("a", MEMBERS, ledger, None).entries
    plan = plan_trust("a", MEMBERS, ledger, known, intact=False)
    assert plan.changed
    assert plan.added == plan.removed == plan.send == ()


def test_certificates_that_lost_trust_leave_nobody_and_that_is_no_accident(ledger):
    # A key compromise was recorded in the ledger, then the run was killed: the next run is told nothing of it.
    known = plan_trust("a", ("a", "b"), ledger, None).entries
    ledger["b"] = withdrawn(ledger["b"], "compromised", NOW)
    plan = plan_trust("a", ("a", "b"), ledger, known)
    assert plan.entries == ()
    assert plan.unrecorded == ("b",)


def test_a_removed_server_goes_whole_even_what_the_ledger_never_saw_of_it(ledger):
    known = (*plan_trust("a", MEMBERS, ledger, None).entries, TrustEntry("c", "server", "next", "0" * 64))
    ledger["c"] = withdrawn(ledger["c"], "removed", NOW)
    assert peers(plan_trust("a", ("a", "b"), ledger, tuple(sorted(known)))) == {"b"}


def test_a_removed_server_that_is_in_the_group_again_is_owed(ledger):
    ledger["c"] = withdrawn(ledger["c"], "removed", NOW)
    assert plan_trust("a", MEMBERS, ledger, None).unrecorded == ("c",)


def test_a_compromised_server_with_new_certificates_is_trusted_again(ledger, generation):
    known = plan_trust("a", MEMBERS, ledger, None).entries
    gone = withdrawn(ledger["b"], "compromised", NOW)
    new = PresentedSets("b", "x", 1, read_generations([generation("b", number=2)], "t"))
    ledger["b"] = recorded(gone, new, NOW)
    plan = plan_trust("a", MEMBERS, ledger, known, distrust=("b",))
    assert {entry.fingerprint for entry in plan.entries if entry.peer == "b"} == ledger["b"].fingerprints


def test_a_peer_of_former_times_under_this_servers_name_is_not_trusted(ledger):
    known = (*plan_trust("a", MEMBERS, ledger, None).entries, TrustEntry("A", "server", "current", "0" * 64))
    assert peers(plan_trust("a", MEMBERS, ledger, tuple(sorted(known)))) == {"b", "c"}


def received(ledger, name):
    ledger[name] = dataclasses.replace(ledger[name], trust=expected_digests(name, digests_of(MEMBERS, ledger)))


def test_no_debts_where_everybody_received_everything(ledger):
    for name in MEMBERS:
        received(ledger, name)
    assert pending_updates_of(MEMBERS, ledger) == []


def test_who_was_absent_when_another_changed_is_owed_that(ledger, generation):
    for name in MEMBERS:
        received(ledger, name)
    ledger["b"] = dataclasses.replace(record("b", generation("b", number=2)), trust=ledger["b"].trust)
    received(ledger, "a")
    (debt,) = pending_updates_of(MEMBERS, ledger)
    assert (debt.server, debt.kind, debt.missing) == ("c", "trust", ("b",))
    assert "the certificates of b" in debt.text


def test_who_never_received_anything_lacks_all(ledger):
    assert [debt.missing for debt in pending_updates_of(MEMBERS, ledger)] == [("b", "c"), ("a", "c"), ("a", "b")]


def test_the_news_that_one_lost_trust_is_owed(ledger):
    for name in MEMBERS:
        received(ledger, name)
    ledger["b"] = withdrawn(ledger["b"], "compromised", NOW)
    received(ledger, "c")
    found = {debt.server: debt for debt in pending_updates_of(MEMBERS, ledger)}
    assert set(found) == {"a", "b"}
    assert "the message that b is distrusted" in found["a"].text
    assert found["b"].kind == "certificates"


def test_why_a_server_s_certificates_are_not_known(ledger):
    ledger["c"] = withdrawn(ledger["c"], "removed", NOW)
    for name in ("a", "b"):
        received(ledger, name)
    (debt,) = pending_updates_of(MEMBERS, ledger)
    assert (debt.server, debt.kind) == ("c", "certificates")
    assert "it was removed and has not joined again" in debt.text


def test_a_server_that_the_ledger_does_not_know(ledger):
    del ledger["c"]
    for name in ("a", "b"):
        received(ledger, name)
    (debt,) = pending_updates_of(MEMBERS, ledger)
    assert (debt.server, debt.kind, debt.missing) == ("c", "certificates", ("a", "b"))


def test_a_long_debt_is_told_in_short(generation):
    names = [f"s{number}" for number in range(12)]
    ledger = {name: record(name, generation("a")) for name in names}
    text = pending_updates_of(names, ledger)[0].text
    assert text == "it has still to receive the certificates of s1, s2, s3, s4, s5 and 6 more"


# -- the trust model -------------------------------------------------------------------------------------------


def accepted(plan):
    return {(entry.peer, entry.role) for entry in plan.entries}


def test_shared_keys_accepts_its_own_client_certificates_only(ledger):
    plan = plan_trust("a", MEMBERS, ledger, None, model="shared_keys")
    assert accepted(plan) == {("a", "client"), ("b", "server"), ("c", "server")}


def test_both_accepts_the_clients_of_both_models(ledger):
    plan = plan_trust("a", MEMBERS, ledger, None, model="both")
    assert accepted(plan) == {("a", "client"), *((peer, role) for peer in "bc" for role in ("client", "server"))}


def test_no_client_certificate_of_the_other_model_is_kept(ledger):
    known = plan_trust("a", MEMBERS, ledger, None).entries
    # c is not known any more, and what is trusted of it is kept.
    del ledger["c"]
    plan = plan_trust("a", MEMBERS, ledger, known, model="shared_keys")
    assert accepted(plan) == {("a", "client"), ("b", "server"), ("c", "server")}


@pytest.mark.parametrize("found", ["pinned", "shared_keys", "both"])
@pytest.mark.parametrize("wanted", ["pinned", "shared_keys"])
def test_a_trust_of_another_model_is_refused(ledger, found, wanted):
    known = plan_trust("a", MEMBERS, ledger, None, model=found).entries
    if found == wanted:
        refuse_other_model("a", known, wanted)
        return
    with pytest.raises(EsyncError) as caught:
        refuse_other_model("a", known, wanted)
    assert caught.value.kind == "other_trust_model"
    assert "regenerate" in str(caught.value)


def test_without_a_trust_any_model_will_do():
    refuse_other_model("a", None, "shared_keys")
    refuse_other_model("a", (), "pinned")


def test_guests_stop_a_change_of_the_model(ledger):
    ledger["c"] = dataclasses.replace(ledger["c"], origin="applied")
    refuse_external_peers(MEMBERS, ledger)
    with pytest.raises(EsyncError) as caught:
        refuse_external_peers(("a", "b"), ledger)
    assert caught.value.kind == "external_peers_of_other_model"
    assert "external peers (c)" in str(caught.value)


def test_a_guest_is_pinned_as_a_server_only_where_client_sets_are_shared_keys(ledger):
    ledger["c"] = dataclasses.replace(ledger["c"], origin="applied")
    plan = plan_trust("a", ("a", "b"), ledger, None, model="shared_keys")
    assert {(entry.peer, entry.role) for entry in plan.entries} == {("a", "client"), ("b", "server"), ("c", "server")}
