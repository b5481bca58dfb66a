# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from dataclasses import replace

import pytest

from ansible_collections.esync.mesh.plugins.module_utils._core.errors import EsyncError
from ansible_collections.esync.mesh.plugins.plugin_utils._planning.rotation import (
    LockHolder,
    RotationRequest,
    RotationServer,
    plan_rotation,
)

ME = LockHolder("root@control", 100, 5)


def plan(servers, wish=None, alive=lambda holder: False, begun=None):
    return plan_rotation(servers, wish or RotationRequest(), ME, "NEW", "2026-01-01T00:00:00Z", alive, begun)


def server(name, *, due=(), lock=None, reached=True, **generations):
    return RotationServer(name, reached, generations or {"current": f"one-{name}"}, due, lock)


def lock(holder=ME, since="2025-12-31T00:00:00Z"):
    return {"holder": str(holder), "since": since}


def test_all_rotate_by_default():
    found = plan([server("a"), server("b")])
    assert found.make == ("a", "b")
    assert found.rotating == ("a", "b")
    assert (found.id, found.since) == ("NEW", "2026-01-01T00:00:00Z")
    assert not found.take_over


def test_named_servers_only():
    assert plan([server("a"), server("b")], RotationRequest(names=("b",))).make == ("b",)


def test_only_due():
    found = plan([server("a"), server("b", due=("expires_soon",))], RotationRequest(only_due=True))
    assert found.make == ("b",)
    assert "expires_soon" in found.lines[0]


def test_nothing_due_is_an_empty_plan_that_says_so():
    found = plan([server("a"), server("b")], RotationRequest(only_due=True))
    assert found.rotating == ()
    assert found.lines == ("Nothing is due, and no rotation is pending.",)


def test_an_interrupted_rotation_is_continued_and_nobody_rotates_twice():
    servers = [
        server("done", current="2-OLD"),
        server("switched", current="2-OLD", previous="1", lock=lock()),
        server("made", current="1", next="2-OLD", lock=lock()),
        server("untouched", current="1"),
    ]
    found = plan(servers, begun="OLD")
    assert found.id == "OLD"
    assert found.make == ("untouched",)
    assert found.rotating == ("switched", "made", "untouched")
    assert "was not finished; this run continues it" in found.lines[0]


def test_a_pending_rotation_is_finished_even_if_nothing_is_due():
    servers = [server("a", current="2-OLD", previous="1", lock=lock()), server("b")]
    found = plan(servers, RotationRequest(only_due=True))
    assert found.make == ()
    assert found.rotating == ("a",)


def test_no_host_says_which_rotation_it_is():
    servers = [server("liar", current="2-OLD", lock={**lock(), "id": "OLD"}), server("done", current="2-OLD")]
    found = plan(servers)
    assert found.id == "NEW"
    assert found.make == ("liar", "done")


def test_a_note_of_a_rotation_that_nothing_is_left_of_means_nothing():
    assert plan([server("a", current="2-OLD")], begun="OLD").id == "NEW"


OTHER = LockHolder("root@elsewhere", 100, 5)
KILLED = LockHolder("root@control", 99, 5)


def test_another_node_holds_the_lock():
    with pytest.raises(EsyncError) as caught:
        plan([server("a", lock=lock(OTHER)), server("b")])
    assert caught.value.kind == "locked"
    assert "root@elsewhere" in str(caught.value)
    assert "2025-12-31T00:00:00Z" in str(caught.value)
    assert "esync_take_over_lock" in str(caught.value)


def test_a_lock_is_taken_over_when_asked():
    assert plan([server("a", lock=lock(OTHER)), server("b")], RotationRequest(take_over=True)).take_over


def test_a_killed_run_of_this_node_is_continued_unasked():
    assert plan([server("a", lock=lock(KILLED)), server("b")]).take_over


def test_a_living_run_of_this_node_is_not():
    with pytest.raises(EsyncError, match="process 99"):
        plan([server("a", lock=lock(KILLED)), server("b")], alive=lambda holder: holder == KILLED)


def test_an_offline_server_stops_the_run_by_name():
    with pytest.raises(EsyncError) as caught:
        plan([server("a"), server("gone", reached=False), server("lost", reached=False)])
    assert "gone: " in str(caught.value)
    assert "lost: " in str(caught.value)
    assert "esync_offline=defer" in str(caught.value)


def test_defer_goes_on_without_it():
    found = plan([server("a"), server("gone", reached=False)], RotationRequest(defer=True))
    assert found.make == ("a",)
    assert found.offline == ("gone",)
    assert "gone" in found.lines[-1]


def test_a_server_without_certificates_must_be_established_first():
    with pytest.raises(EsyncError, match="new: it has no certificates"):
        plan([server("a"), RotationServer("new", True, {})])


def test_a_breach_rotates_nobody_else_and_gives_the_order():
    found = plan([server("a"), server("b")], RotationRequest(compromised=("a",)))
    assert found.make == ()
    assert "First everybody stops trusting" in found.lines[0]


def test_a_breach_does_not_wait_for_an_offline_server():
    found = plan([server("a"), server("b"), server("gone", reached=False)], RotationRequest(compromised=("a",)))
    assert found.offline == ("gone",)


def test_holder_reads_back():
    assert LockHolder.parse(str(ME)) == ME
    assert LockHolder.parse("somebody") is None


# -- the trust model -------------------------------------------------------------------------------------------


def by(name, model, **options):
    return replace(server(name, **options), model=model)


def test_a_change_of_the_trust_model_rotates_all_whatever_was_asked_for():
    servers = [by("a", "pinned"), by("b", "pinned")]
    found = plan(servers, RotationRequest(names=("a",), only_due=True, model="shared_keys"))
    assert found.make == ("a", "b")
    assert (found.changes_model, found.model_before) == (True, "pinned")
    assert any("changes to shared_keys" in line and "can pose as any" in line for line in found.lines)
    back = plan([by("a", "shared_keys"), by("b", "shared_keys")], RotationRequest(model="pinned"))
    assert (back.changes_model, back.model_before) == (True, "shared_keys")
    assert any("destroyed" in line for line in back.lines)


@pytest.mark.parametrize(
    ("models", "before"),
    [
        (("pinned", "both"), "pinned"),
        (("both", "both"), "pinned"),
        # Some accept the new model only: a run was killed while the old one was withdrawn.
        (("shared_keys", "both"), "shared_keys"),
        (("pinned", None), "pinned"),
    ],
)
def test_a_killed_change_goes_on_by_the_model_that_all_accept(models, before):
    found = plan([by(name, model) for name, model in zip("ab", models)], RotationRequest(model="shared_keys"))
    assert (found.changes_model, found.model_before) == (True, before)


def test_nothing_changes_by_default():
    found = plan([by("a", "pinned"), by("b", None)], RotationRequest(only_due=True))
    assert (found.changes_model, found.model_before, found.make) == (False, "pinned", ())
    assert not any("model" in line for line in found.lines)


def test_a_breach_of_one_compromises_all_where_client_sets_are_shared_keys():
    servers = [by("a", "shared_keys"), by("b", "shared_keys")]
    found = plan(servers, RotationRequest(compromised=("a",), model="shared_keys"))
    assert found.compromised == ("a", "b")
    assert any("compromises all" in line for line in found.lines)
    assert plan([by("a", "pinned"), by("b", "pinned")], RotationRequest(compromised=("a",))).compromised == ("a",)


def test_a_breach_and_a_change_of_the_model_are_two_runs():
    with pytest.raises(EsyncError) as caught:
        plan([by("a", "pinned"), by("b", "pinned")], RotationRequest(compromised=("a",), model="shared_keys"))
    assert caught.value.kind == "breach_and_model"


@pytest.mark.parametrize(
    ("state", "generations"),
    [("next", {"current": "one", "next": "two"}), ("current", {"current": "two", "previous": "one"})],
)
def test_what_a_pending_rotation_has_handed_to_others_is_never_pinned(state, generations):
    holder = replace(by("b", "shared_keys"), holds=frozenset({"it"}))
    pending = replace(by("a", "shared_keys", **generations), clients={state: "it"})
    with pytest.raises(EsyncError, match="its peers hold the key") as caught:
        plan([pending, holder], RotationRequest(model="pinned"))
    assert (caught.value.kind, caught.value.server) == ("pending_and_model", "a")
    assert plan([pending, holder], RotationRequest(model="shared_keys")).make == ("b",)
    # A change that was begun goes on: what it made was shared with nobody.
    ours = replace(pending, clients={state: "other"})
    assert plan([ours, holder], RotationRequest(model="pinned")).changes_model


def test_a_change_to_pins_goes_on_until_nothing_that_was_shared_keys_is_left():
    servers = [replace(by("a", "pinned"), holds=frozenset({"f"})), by("b", "pinned")]
    found = plan(servers, RotationRequest(model="pinned"))
    assert (found.changes_model, found.model_before) == (True, "pinned")
    assert not plan(
        [replace(by("a", "shared_keys"), holds=frozenset({"f"}))], RotationRequest(model="shared_keys")
    ).changes_model


@pytest.mark.parametrize("damaged", [{"holder": "", "since": ""}, {"holder": "root@control"}, {"since": "x"}])
def test_a_note_that_cannot_be_read_is_named_and_taken_over_by_the_option_it_names(damaged):
    servers = [server("a", lock=damaged), server("b", lock=lock())]
    with pytest.raises(EsyncError) as caught:
        plan(servers)
    assert caught.value.server == "a"
    assert "(rotation.json in its directory) is damaged" in caught.value.cause
    assert "esync_take_over_lock=true" in caught.value.remedy
    found = plan(servers, RotationRequest(take_over=True))
    assert found.take_over and found.make == ("a", "b")
