# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a server was told to distrust: remembered with its trust, and refused for ever."""

from __future__ import annotations

import dataclasses
import hashlib
import json

import pytest

from ansible_collections.esync.mesh.plugins.module_utils._core.errors import EsyncError
from ansible_collections.esync.mesh.plugins.module_utils._core.folders import Folder
from ansible_collections.esync.mesh.plugins.module_utils._store.distrust import Distrust, distrust_from, memory_digest
from ansible_collections.esync.mesh.plugins.module_utils._store.trust_folder import read
from ansible_collections.esync.mesh.plugins.module_utils._store.trust_writer import apply

from .test_trust_folder import both, certificate, entry, pems

SINCE = "2026-11-26T00:00:00Z"


def distrust(peer, role, number=1, key=True):
    found = certificate(peer, role, number)
    digest = hashlib.sha256(found.public_key).hexdigest() if key else ""
    return Distrust(peer, role, found.fingerprint, digest, SINCE, "compromised")


@pytest.fixture
def base(tmp_path):
    with Folder.open(str(tmp_path / "esync"), create_mode=0o755) as folder:
        yield folder


def test_it_is_remembered_and_adds_up(base):
    one, two = distrust("c", "server"), distrust("d", "client")
    entries, sent = both("b"), pems("b")
    first = apply(base, "a", entries, sent, "one", distrusted=[one])
    assert first.changed
    assert read(base, "a").distrusted == (one,)
    assert not apply(base, "a", entries, [], "same", distrusted=[one]).changed
    assert not apply(base, "a", entries, [], "same").changed, "who says nothing of it takes nothing away"
    second = apply(base, "a", entries, [], "two", distrusted=[two])
    assert second.changed
    assert second.added == second.removed == ()
    assert read(base, "a").distrusted == tuple(sorted([one, two])) == second.distrusted
    apply(base, "a", [*entries, *both("e")], pems("e"), "three")
    assert read(base, "a").distrusted == tuple(sorted([one, two]))


@pytest.mark.parametrize("key", [True, False])
@pytest.mark.parametrize("name", ["c", "d"])
def test_it_is_refused_whoever_asks_for_it_under_whichever_name(base, key, name):
    apply(base, "a", both("b"), pems("b"), "one", distrusted=[distrust("c", "server", key=key)])
    wanted = dataclasses.replace(entry("c", "server"), peer=name)
    with pytest.raises(EsyncError) as caught:
        apply(base, "a", [*both("b"), wanted], pems("c"), "two")
    assert (caught.value.kind, caught.value.server) == ("distrusted_certificate", "a")
    assert f"c's server certificate {certificate('c', 'server').fingerprint} (compromised, since {SINCE})" in str(
        caught.value
    )
    assert read(base, "a").folder == "one"


def test_another_certificate_with_its_key_is_refused(base):
    gone = dataclasses.replace(distrust("c", "server"), fingerprint="0" * 64)
    apply(base, "a", both("b"), pems("b"), "one", distrusted=[gone])
    with pytest.raises(EsyncError) as caught:
        apply(base, "a", [*both("b"), *both("c")], pems("c"), "two")
    assert caught.value.kind == "distrusted_certificate"


def test_what_is_told_and_asked_for_at_once_is_refused_too(base):
    with pytest.raises(EsyncError) as caught:
        apply(base, "a", both("b"), pems("b"), "one", distrusted=[distrust("b", "client")])
    assert caught.value.kind == "distrusted_certificate"


def test_a_memory_that_was_changed_is_damage(base, tmp_path):
    apply(base, "a", both("b"), pems("b"), "one", distrusted=[distrust("c", "server")])
    index = tmp_path / "esync" / "remote" / "one" / "trust.json"
    said = json.loads(index.read_text())
    for damaged in ({**said, "distrusted": []}, {**said, "distrusted": [{"peer": "c"}]}):
        index.write_text(json.dumps(damaged))
        with pytest.raises(EsyncError) as caught:
            read(base, "a")
        assert caught.value.kind == "damaged_trust"


def test_a_trust_of_the_first_edition_remembers_nothing(base, tmp_path):
    apply(base, "a", both("b"), pems("b"), "one")
    index = tmp_path / "esync" / "remote" / "one" / "trust.json"
    said = json.loads(index.read_text())
    del said["distrusted"], said["distrusted_digest"]
    index.write_text(json.dumps(said))
    assert read(base, "a").distrusted == ()


@pytest.mark.parametrize(
    "changed",
    [{"peer": "../x"}, {"role": "both"}, {"fingerprint": "x"}, {"key": "0"}, {"since": "yesterday"}, {"why": "so"}],
)
def test_what_is_malformed(changed):
    row = {**vars(distrust("c", "server")), **changed}
    with pytest.raises(EsyncError) as caught:
        distrust_from([row])
    assert caught.value.kind == "bad_entry"


def test_the_digest_covers_every_field():
    one = distrust("c", "server")
    others = [dataclasses.replace(one, **{name: "x"}) for name in vars(one)]
    assert len({memory_digest([each]) for each in (one, *others)}) == len(others) + 1
