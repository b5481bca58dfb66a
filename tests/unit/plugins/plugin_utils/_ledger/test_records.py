# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import dataclasses
import json
import os
import re
import shutil
import stat

import pytest

from ansible_collections.esync.mesh.plugins.module_utils._core.errors import EsyncError
from ansible_collections.esync.mesh.plugins.module_utils._core.names import ROLES
from ansible_collections.esync.mesh.plugins.plugin_utils._ledger.pem import key_of
from ansible_collections.esync.mesh.plugins.plugin_utils._ledger.records import (
    Ledger,
    LedgerRecord,
    PresentedSets,
    is_news,
    read_generations,
    recorded,
    render,
    withdrawn,
)

NOW = "2026-11-23T00:00:00Z"


def shown(*generations, **options):
    return PresentedSets("a", "10.0.0.1", 8732, read_generations(generations, "test"), **options)


@pytest.fixture
def entry(generation):
    return recorded(None, shown(generation("a")), NOW)


def test_a_new_server_is_recorded(entry, generation):
    assert entry.fingerprints == {generation("a")["server"]["fingerprint"], generation("a")["client"]["fingerprint"]}
    assert (entry.address, entry.port, entry.removed_at) == ("10.0.0.1", 8732, None)


def test_the_same_again_is_the_same(entry, generation):
    assert recorded(entry, shown(generation("a")), NOW) == entry


def test_a_change_that_nobody_announced_is_refused_with_both_fingerprints(entry, generation):
    with pytest.raises(EsyncError) as caught:
        recorded(entry, shown(generation("a", number=2)), NOW)
    assert caught.value.kind == "changed_certificate"
    assert generation("a")["server"]["fingerprint"] in str(caught.value)
    assert generation("a", number=2)["server"]["fingerprint"] in str(caught.value)
    assert "esync_accept_changed=a" in str(caught.value)


def test_a_change_of_one_role_alone_is_refused(entry, generation):
    mixed = {**generation("a"), "client": generation("a", number=2)["client"]}
    with pytest.raises(EsyncError, match="client certificate that no rotation announced"):
        recorded(entry, shown(mixed), NOW)


def test_an_accepted_change(entry, generation):
    found = recorded(entry, shown(generation("a", number=2), accept_changed=True), NOW)
    assert generation("a", number=2)["server"]["fingerprint"] in found.fingerprints
    assert len(found.generations) == 1


def test_next_is_recorded_in_a_rotation_only(entry, generation):
    both = (generation("a"), generation("a", "next", 2))
    assert recorded(entry, shown(*both), NOW) == entry
    announced = recorded(entry, shown(*both, rotation=True), NOW)
    assert [one.state for one in announced.generations] == ["current", "next"]


def test_a_switch_is_known_and_a_retired_previous_does_not_come_back(entry, generation):
    announced = recorded(entry, shown(generation("a"), generation("a", "next", 2), rotation=True), NOW)
    both = (generation("a", "current", 2), generation("a", "previous", 1))
    switched = recorded(announced, shown(*both), NOW)
    assert [one.state for one in switched.generations] == ["current", "previous"]
    retired = recorded(switched, shown(both[0]), NOW)
    assert [one.state for one in retired.generations] == ["current"]
    assert recorded(retired, shown(*both), NOW) == retired


def test_certificates_that_lost_trust_are_refused_and_new_ones_join(entry, generation):
    gone = withdrawn(entry, "removed", NOW)
    assert gone.generations == ()
    assert gone.removed_at == NOW
    assert {one.fingerprint for one in gone.distrusted} == entry.fingerprints
    with pytest.raises(EsyncError) as caught:
        recorded(gone, shown(generation("a")), NOW)
    assert caught.value.kind == "distrusted_certificate"
    joined = recorded(gone, shown(generation("a", number=2)), NOW)
    assert joined.removed_at is None
    assert joined.distrusted == gone.distrusted


def test_what_a_removed_server_held_is_replaced_until_it_joins_again(tmp_path, entry, generation):
    gone = dataclasses.replace(withdrawn(entry, "removed", NOW), replaced=True)
    ledger = Ledger(tmp_path)
    ledger.write(gone)
    assert ledger.read("a").replaced
    assert withdrawn(gone, "removed", NOW).replaced
    assert not recorded(gone, shown(generation("a", number=2)), NOW).replaced


def test_what_lost_trust_is_never_forgotten_whatever_its_end(entry, generation):
    gone = withdrawn(entry, "removed", NOW)
    joined = recorded(gone, shown(generation("a", number=2)), "2999-01-01T00:00:00Z")
    assert joined.distrusted == gone.distrusted
    assert {one.key for one in gone.distrusted} == {key_of(generation("a")[role]["pem"]) for role in ROLES}


def test_what_was_replaced_is_remembered_until_it_ends(entry, generation):
    changed = recorded(entry, shown(generation("a", number=2), accept_changed=True), NOW)
    assert {one.fingerprint for one in changed.retired} == entry.fingerprints
    assert {one.key for one in changed.retired} == {key_of(generation("a")[role]["pem"]) for role in ROLES}
    later = recorded(changed, shown(generation("a", number=2)), "2999-01-01T00:00:00Z")
    assert later.retired == ()
    back = recorded(changed, shown(generation("a"), accept_changed=True), NOW)
    assert {one.fingerprint for one in back.retired} == changed.fingerprints, "what is in use again is not retired"


def test_a_rotation_is_noted_until_it_ends(entry, generation):
    both = shown(generation("a"), generation("a", "next", 2), rotation=True, rotation_id="20270101T000000Z")
    begun = recorded(entry, both, NOW)
    assert begun.rotation == "20270101T000000Z"
    assert recorded(begun, shown(generation("a", "current", 2), generation("a", "previous")), NOW).rotation
    assert withdrawn(begun, "compromised", NOW).rotation is None


def test_a_compromised_server_stays_a_member(entry):
    gone = withdrawn(entry, "compromised", NOW)
    assert gone.removed_at is None
    assert {one.why for one in gone.distrusted} == {"compromised"}


def test_it_is_written_whole_and_read_back(tmp_path, entry):
    ledger = Ledger(tmp_path / "ledger")
    with ledger.lock():
        assert ledger.write(entry)
        assert not ledger.write(entry)
    assert ledger.read("a") == entry
    assert list(ledger.read_all()) == [entry]
    assert os.listdir(ledger.folder) == ["a.json"]
    assert stat.S_IMODE(ledger.path("a").stat().st_mode) == 0o644


def test_what_a_killed_writer_left_is_removed(tmp_path, entry):
    ledger = Ledger(tmp_path)
    (tmp_path / ".a.json.abc").write_text("half")
    with ledger.lock():
        ledger.write(entry)
    assert os.listdir(tmp_path) == ["a.json"]


def test_unknown_server(tmp_path):
    assert Ledger(tmp_path / "none").read("a") is None
    assert list(Ledger(tmp_path / "none").read_all()) == []


def test_the_text_is_sorted_and_has_a_line_for_each_fact(entry):
    text = render(entry)
    assert json.loads(text)["name"] == "a"
    assert text == json.dumps(json.loads(text), indent=1, sort_keys=True) + "\n"


def _twice(text):
    data = json.loads(text)
    data["generations"] *= 2
    return json.dumps(data)


def _crossed(text):
    """Server and client exchanged, everything else right."""
    data = json.loads(text)
    one = data["generations"][0]
    one["server"], one["client"] = {**one["client"], "role": "server"}, {**one["server"], "role": "client"}
    return json.dumps(data)


LOST = {
    "fingerprint": "ab",
    "role": "server",
    "not_after": "2027-01-01T00:00:00Z",
    "since": "2026-11-23T00:00:00Z",
    "why": "removed",
}


@pytest.mark.parametrize(
    "spoil",
    [
        lambda text: text[:-10],
        lambda text: "",
        lambda text: "[]",
        lambda text: text.replace('"version": 1', '"version": 2'),
        lambda text: text.replace('"name": "a"', '"name": "b"'),
        lambda text: text.replace("BEGIN CERTIFICATE", "BEGIN PRIVATE KEY"),
        lambda text: text.replace('"fingerprint": "', '"fingerprint": "0'),
        lambda text: text.replace('"state": "current"', '"state": "other"'),
        lambda text: text.replace('"role": "server"', '"role": "client"'),
        lambda text: text.replace('"port": 8732', '"port": "x"'),
        lambda text: text.replace('"port": 8732', '"port": "8732"'),
        lambda text: text.replace('"address": "10.0.0.1"', '"address": null'),
        lambda text: text.replace('"distrusted": []', '"distrusted": [{"x": 1}]'),
        lambda text: text.replace('"trust": null', '"trust": "x"'),
        lambda text: text.replace('"removed_at": null', '"removed_at": "yesterday"'),
        lambda text: text.replace('"removed_at": null', '"removed_at": "2026-13"'),
        lambda text: text.replace('"distrusted": []', f'"distrusted": [{json.dumps({**LOST, "since": "today"})}]'),
        lambda text: text.replace('"distrusted": []', f'"distrusted": [{json.dumps({**LOST, "why": 7})}]'),
        lambda text: text.replace('"trust": null', '"trust": null, "retired": [{"fingerprint": "x"}]'),
        lambda text: text.replace('"trust": null', '"trust": null, "rotation": "../x"'),
        lambda text: text.replace('"trust": null', '"trust": null, "replaced": "yes"'),
        lambda text: text.replace('"trust": null', '"trust": {"b": 7}'),
        lambda text: re.sub('"not_after": "[^"]*"', '"not_after": "never"', text),
        _twice,
        _crossed,
        lambda text: "[" * 10_000,
        lambda text: text.replace('"port": ', '"port": ' + "1" * 5000),
    ],
)
def test_damage_is_named(tmp_path, entry, spoil):
    ledger = Ledger(tmp_path)
    text = render(entry)
    assert spoil(text) != text
    ledger.path("a").write_text(spoil(text))
    with pytest.raises(EsyncError) as caught:
        ledger.read("a")
    assert caught.value.kind == "damaged_ledger"
    assert str(ledger.path("a")) in str(caught.value)


def test_what_cannot_be_read_is_named(tmp_path, entry):
    ledger = Ledger(tmp_path)
    ledger.path("a").write_bytes(render(entry).encode() + b"\xff")
    with pytest.raises(EsyncError, match="no text in UTF-8"):
        ledger.read("a")
    for make, cause in (
        (ledger.path("a").mkdir, "a folder"),
        (lambda: os.mkfifo(ledger.path("a")), "a FIFO"),
        (lambda: ledger.path("a").symlink_to("nothing"), "a link to something that does not exist"),
    ):
        shutil.rmtree(ledger.path("a")) if ledger.path("a").is_dir() else ledger.path("a").unlink()
        make()
        with pytest.raises(EsyncError, match=cause) as caught:
            list(ledger.read_all())
        assert (caught.value.kind, caught.value.path) == ("damaged_ledger", str(ledger.path("a")))


@pytest.mark.parametrize("text", ["[" * 10_000, "[" * 10_000 + "]" * 10_000, '{"a":' * 10_000 + "1" + "}" * 10_000])
def test_what_is_nested_without_end_is_named(tmp_path, text):
    ledger = Ledger(tmp_path)
    ledger.path("a").write_text(text)
    with pytest.raises(EsyncError) as caught:
        list(ledger.read_all())
    assert (caught.value.kind, caught.value.path) == ("damaged_ledger", str(ledger.path("a")))


def test_what_lost_trust_is_read_back(tmp_path, entry):
    ledger = Ledger(tmp_path)
    gone = withdrawn(entry, "removed", NOW)
    ledger.write(gone)
    assert len(gone.distrusted) == 2
    found = ledger.read("a")
    assert (found.removed_at, set(found.distrusted)) == (gone.removed_at, set(gone.distrusted))


def test_an_unwritable_folder_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(EsyncError, match="file"), Ledger(tmp_path / "file").lock():
        pass


def test_an_entry_without_generations_shown_keeps_what_it_had(entry):
    assert recorded(entry, PresentedSets("a", "10.0.0.1", 8732, ()), NOW) == entry
    assert LedgerRecord("a", "x", 1).fingerprints == frozenset()


def test_what_is_shown_without_a_current_changes_nothing(entry, generation):
    assert recorded(entry, shown(generation("a", "next", 2)), NOW) == entry


def test_an_accepted_change_brings_no_trust_back(entry, generation):
    gone = withdrawn(entry, "removed", NOW)
    with pytest.raises(EsyncError) as caught:
        recorded(gone, shown(generation("a"), accept_changed=True), NOW)
    assert caught.value.kind == "distrusted_certificate"


def test_withdrawing_twice_is_the_same(entry):
    gone = withdrawn(entry, "removed", NOW)
    assert withdrawn(gone, "removed", "2026-11-24T00:00:00Z") == gone


@pytest.mark.parametrize("name", ["../a", "", "a/b", ".a"])
def test_names_that_could_lie_anywhere(tmp_path, name):
    with pytest.raises(EsyncError) as caught:
        Ledger(tmp_path).read(name)
    assert caught.value.kind == "bad_name"


def test_what_was_received_is_kept(tmp_path, entry, generation):
    received = dataclasses.replace(entry, trust={"b": "0123456789abcdef"})
    ledger = Ledger(tmp_path)
    with ledger.lock():
        ledger.write(received)
    assert ledger.read("a") == received
    assert recorded(received, shown(generation("a")), NOW).trust == received.trust
    assert withdrawn(received, "compromised", NOW).trust == received.trust
    assert withdrawn(received, "removed", NOW).trust is None


def test_a_note_of_what_was_received_is_no_news(generation):
    before = recorded(
        None, PresentedSets("a", "x", 1, read_generations([generation("a")], "x")), "2026-01-01T00:00:00Z"
    )
    assert is_news({}, {"a": before})
    assert not is_news({"a": before}, {"a": dataclasses.replace(before, trust={"b": "0"})})
    assert is_news({"a": before}, {"a": dataclasses.replace(before, port=2)})
