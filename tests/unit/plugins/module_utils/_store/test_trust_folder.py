# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import dataclasses
import datetime
import hashlib
import itertools
import json
import os
import stat
from functools import lru_cache, partial

import pytest

from ansible_collections.esync.mesh.plugins.module_utils._core.errors import EsyncError
from ansible_collections.esync.mesh.plugins.module_utils._core.folders import TEMPORARY, Folder
from ansible_collections.esync.mesh.plugins.module_utils._crypto import certificates as x509
from ansible_collections.esync.mesh.plugins.module_utils._store.indexed_folder import digest_of
from ansible_collections.esync.mesh.plugins.module_utils._store.trust_folder import (
    TrustEntry,
    entries_from,
    model_of,
    read,
    servers_in,
)
from ansible_collections.esync.mesh.plugins.module_utils._store.trust_writer import apply

from ..conftest import killed


def certificate(peer, role, number=1):
    return _certificate(peer, role, number)


@lru_cache(maxsize=None)
def _certificate(peer, role, number):
    profile = x509.Profile(peer, (peer,), "ecdsa", 256, 300 + number)
    return x509.self_sign(x509.generate_key("ecdsa", 256), role, profile, datetime.datetime.now(datetime.timezone.utc))


def entry(peer, role, number=1, state="current"):
    return TrustEntry(peer, role, state, certificate(peer, role, number).fingerprint)


def both(peer, number=1, state="current"):
    return [entry(peer, role, number, state) for role in ("server", "client")]


def pems(*peers, number=1):
    return [certificate(peer, role, number).pem for peer in peers for role in ("server", "client")]


@pytest.fixture
def base(tmp_path):
    with Folder.open(str(tmp_path / "esync"), create_mode=0o755) as folder:
        yield folder


def files(base):
    return sorted(os.listdir(os.path.join(base.path, "trusted")))


def test_a_trust_is_written_whole(base):
    change = apply(base, "a", both("b") + both("c"), pems("b", "c"), "one")
    assert change.changed
    assert len(change.added) == 4
    assert files(base) == [
        "b_SyncClient.cer",
        "b_SyncServer.cer",
        "c_SyncClient.cer",
        "c_SyncServer.cer",
        "clients.map",
        "clients.pem",
        "servers.pem",
        "trust.json",
    ]
    folder = os.path.join(base.path, "remote", "one")
    assert os.readlink(os.path.join(base.path, "trusted")) == "remote/one"
    assert stat.S_IMODE(os.stat(folder).st_mode) == 0o755
    assert {stat.S_IMODE(os.stat(os.path.join(folder, name)).st_mode) for name in os.listdir(folder)} == {0o644}
    with open(os.path.join(folder, "b_SyncServer.cer"), "rb") as stream:
        assert stream.read() == certificate("b", "server").der
    with open(os.path.join(folder, "clients.pem"), encoding="ascii") as stream:
        assert stream.read() == certificate("b", "client").pem + certificate("c", "client").pem


def test_it_is_read_back(base):
    apply(base, "a", both("b"), pems("b"), "one")
    trust = read(base, "a")
    assert trust.entries == tuple(sorted(both("b")))
    assert trust.digest == digest_of(both("b"))


def test_none_yet(base):
    assert read(base, "a") is None


def test_the_same_again_changes_nothing(base):
    apply(base, "a", both("b"), pems("b"), "one")
    assert not apply(base, "a", both("b"), [], "two").changed
    assert os.listdir(os.path.join(base.path, "remote")) == ["one"]


def test_only_the_difference_is_needed_and_the_rest_is_not_rewritten(base):
    apply(base, "a", both("b"), pems("b"), "one")
    path = os.path.join(base.path, "trusted", "b_SyncServer.cer")
    inode = os.stat(path).st_ino
    change = apply(base, "a", both("b") + both("c"), pems("c"), "two")
    assert {one.peer for one in change.added} == {"c"}
    assert os.stat(path).st_ino == inode
    assert os.listdir(os.path.join(base.path, "remote")) == ["two"]


def test_a_switched_generation_is_only_renamed(base):
    apply(base, "a", both("b") + both("b", 2, "next"), pems("b") + pems("b", number=2), "one")
    change = apply(base, "a", both("b", 2), [], "two")
    assert change.changed
    with open(os.path.join(base.path, "trusted", "b_SyncServer.cer"), "rb") as stream:
        assert stream.read() == certificate("b", "server", 2).der
    assert "b_SyncServer.next.cer" not in files(base)


def test_check_writes_nothing(base):
    change = apply(base, "a", both("b"), pems("b"), "one", check=True)
    assert change.changed
    assert base.entries() == []


def test_never_itself(base):
    with pytest.raises(EsyncError) as caught:
        apply(base, "A", both("a"), pems("a"), "one")
    assert caught.value.kind == "own_name"


def test_never_empty_by_accident(base):
    apply(base, "a", both("b"), pems("b"), "one")
    with pytest.raises(EsyncError) as caught:
        apply(base, "a", [], [], "two")
    assert caught.value.kind == "empty_trust"
    assert read(base, "a").entries
    assert apply(base, "a", [], [], "two", allow_empty=True).changed
    assert read(base, "a").entries == ()


def test_a_missing_certificate_is_named_and_nothing_changes(base):
    apply(base, "a", both("b"), pems("b"), "one")
    with pytest.raises(EsyncError) as caught:
        apply(base, "a", both("b") + both("c"), [], "two")
    assert caught.value.kind == "missing_certificates"
    assert "c_SyncServer.cer" in str(caught.value)
    assert os.readlink(os.path.join(base.path, "trusted")) == "remote/one"


def test_a_certificate_of_the_other_role_is_refused(base):
    wrong = TrustEntry("b", "server", "current", certificate("b", "client").fingerprint)
    with pytest.raises(EsyncError) as caught:
        apply(base, "a", [wrong], pems("b"), "one")
    assert caught.value.kind == "wrong_role"


def test_a_certificate_that_is_too_large_is_named_and_nothing_changes(base):
    key = x509.generate_key("ecdsa", 256)
    many = tuple(f"{number:03}-{'x' * 56}.example" for number in range(300))
    now = datetime.datetime.now(datetime.timezone.utc)
    large = x509.self_sign(key, "client", x509.Profile("c", many, "ecdsa", 256, 30), now)
    apply(base, "a", both("b"), pems("b"), "one")
    entries = [*both("b"), TrustEntry("c", "client", "current", large.fingerprint)]
    with pytest.raises(EsyncError, match="c_SyncClient.cer.* 16384 are the most"):
        apply(base, "a", entries, [large.pem], "two")
    assert read(base, "a").entries == tuple(sorted(both("b")))


def test_a_damaged_file_of_the_trust_is_missed_not_copied(base):
    apply(base, "a", both("b"), pems("b"), "one")
    path = os.path.join(base.path, "trusted", "b_SyncServer.cer")
    with open(path, "r+b") as stream:
        stream.write(b"x")
    with pytest.raises(EsyncError) as caught:
        apply(base, "a", both("b") + both("c"), pems("c"), "two")
    assert caught.value.kind == "missing_certificates"
    apply(base, "a", both("b") + both("c"), pems("b", "c"), "two")
    with open(path, "rb") as stream:
        assert stream.read() == certificate("b", "server").der


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"version": 1}', "[" * 10_000])
def test_a_damaged_index_is_named_and_written_anew(base, text):
    apply(base, "a", both("b"), pems("b"), "one")
    with open(os.path.join(base.path, "trusted", "trust.json"), "w", encoding="ascii") as stream:
        stream.write(text)
    with pytest.raises(EsyncError) as caught:
        read(base, "a")
    assert caught.value.kind == "damaged_trust"
    assert apply(base, "a", both("b"), pems("b"), "two").changed
    assert read(base, "a").entries == tuple(sorted(both("b")))


def spoilt(name, how):
    def spoil(folder):
        path = os.path.join(folder, name)
        how(path)

    return pytest.param(name, spoil, id=f"{how.__name__.strip('_')} {name}")


def gone(path):
    os.unlink(path)


def flipped(path):
    with open(path, "r+b") as stream:
        stream.seek(100)
        byte = stream.read(1)[0]
        stream.seek(100)
        stream.write(bytes([byte ^ 1]))


def emptied(path):
    os.truncate(path, 0)


def too_wide(path):
    os.chmod(path, 0o666)


def foreign(path):
    with open(path, "w", encoding="ascii") as stream:
        stream.write("x")
    os.chmod(path, 0o644)


def linked(path):
    os.rename(path, path + ".away")
    os.symlink(path + ".away", path)


@pytest.mark.parametrize(
    "name, spoil",
    [
        spoilt("b_SyncServer.cer", gone),
        spoilt("b_SyncServer.cer", flipped),
        spoilt("b_SyncClient.cer", emptied),
        spoilt("b_SyncClient.cer", linked),
        spoilt("servers.pem", gone),
        spoilt("clients.pem", flipped),
        spoilt("clients.pem", emptied),
        spoilt("clients.pem", too_wide),
        spoilt("clients.map", gone),
        spoilt("clients.map", emptied),
        spoilt("b_SyncServer.cer", too_wide),
        spoilt("x_SyncServer.cer", foreign),
    ],
)
def test_a_damaged_file_is_found_and_only_the_rest_is_kept(base, name, spoil):
    apply(base, "a", both("b") + both("c"), pems("b", "c"), "one")
    whole = read(base, "a")
    assert not whole.damaged and whole.digest == digest_of(whole.entries)
    before = {one: _content(base, one) for one in files(base)}
    spoil(os.path.join(base.path, "trusted"))
    trust = read(base, "a")
    assert name in trust.damaged
    assert trust.digest == ""
    assert {entry.peer for entry in trust.entries} >= {"c"}
    assert apply(base, "a", both("b") + both("c"), pems("b"), "two").changed
    assert {one: _content(base, one) for one in files(base)} == before
    assert read(base, "a") == dataclasses.replace(whole, folder="two")


def _content(base, name):
    with open(os.path.join(base.path, "trusted", name), "rb") as stream:
        return stream.read(), stat.S_IMODE(os.fstat(stream.fileno()).st_mode)


def test_the_bundles_are_what_the_library_writes(base):
    apply(base, "a", both("b"), pems("b"), "one")
    assert _content(base, "servers.pem")[0].decode("ascii") == certificate("b", "server").pem


def test_the_map_names_the_peer_of_every_client_certificate(base):
    apply(base, "a", both("b") + both("b", 2, "next") + both("c"), pems("b", "c") + pems("b", number=2), "one")
    wanted = {
        hashlib.sha1(certificate(peer, "client", number).der).hexdigest() + f' "{peer}";'
        for peer, number in (("b", 1), ("b", 2), ("c", 1))
    }
    lines = _content(base, "clients.map")[0].decode("ascii").splitlines()
    assert len(lines) == 3
    assert set(lines) == wanted


@pytest.mark.parametrize("target", ["elsewhere", "remote/../x", "remote/gone", "/etc"])
def test_a_link_that_leads_elsewhere(base, target):
    apply(base, "a", both("b"), pems("b"), "one")
    base.set_link("trusted", target)
    with pytest.raises(EsyncError) as caught:
        read(base, "a")
    assert caught.value.kind == "damaged_trust"
    apply(base, "a", both("b"), pems("b"), "two")
    assert os.listdir(os.path.join(base.path, "remote")) == ["two"]


def test_something_else_in_the_place_of_the_link_is_named_and_left(base):
    os.mkdir(os.path.join(base.path, "trusted"))
    with pytest.raises(EsyncError) as caught:
        apply(base, "a", both("b"), pems("b"), "one")
    assert caught.value.kind == "not_a_link"
    assert os.path.isdir(os.path.join(base.path, "trusted"))


def test_the_trust_of_another_server_is_not_ours(base):
    apply(base, "a", both("b"), pems("b"), "one")
    with pytest.raises(EsyncError):
        read(base, "x")


def test_what_a_killed_run_left_is_removed(base):
    apply(base, "a", both("b"), pems("b"), "one")
    os.mkdir(os.path.join(base.path, "remote", "half"))
    apply(base, "a", both("b") + both("c"), pems("c"), "two")
    assert os.listdir(os.path.join(base.path, "remote")) == ["two"]


CHANGES = {
    # What is trusted before, and then; None before the first trust.
    "first": (None, both("b") + both("c"), pems("b", "c")),
    "more": (both("b"), both("b") + both("c"), pems("c")),
    "switched": (both("b") + both("b", 2, "next"), both("b", 2) + both("b", 1, "previous"), []),
    "less": (both("b") + both("c"), both("c"), []),
    "none": (both("b"), [], []),
}


@pytest.mark.parametrize("name", CHANGES)
def test_killed_between_any_two_system_calls(tmp_path, name):
    before, after, sent = CHANGES[name]
    for moment in itertools.count(1):
        with Folder.open(str(tmp_path / str(moment)), create_mode=0o755) as base:
            if before is not None:
                apply(base, "a", before, pems("b") + pems("b", number=2) + pems("c"), "one")
            act = partial(apply, base, "a", after, sent, "two", allow_empty=True)
            if not killed(moment, act):
                break
            trust = read(base, "a")
            if before is not None or trust:
                assert not trust.damaged, moment
                assert trust.entries in (tuple(sorted(before or ())), tuple(sorted(after))), moment
            # A temporary link in the directory itself is left to certificate_set, which every run begins with.
            left = [entry for entry in base.entries() if entry not in ("remote", "trusted")]
            assert all(entry.startswith(TEMPORARY) for entry in left)
            done = trust is not None and trust.folder == "two"
            assert apply(base, "a", after, sent, "three", allow_empty=True).changed is not done
            assert read(base, "a").entries == tuple(sorted(after))
            assert not apply(base, "a", after, [], "four", allow_empty=True).changed
            folders = os.listdir(os.path.join(base.path, "remote"))
            assert set(folders) <= {"one", "two", "three"}
            if "one" in folders or len(folders) > 1:
                # What only the last step left is taken out by the next change.
                apply(base, "a", both("x"), pems("x"), "five")
                assert os.listdir(os.path.join(base.path, "remote")) == ["five"]
    assert moment > 15


@pytest.mark.parametrize(
    "change",
    [{"peer": "../x"}, {"role": "other"}, {"state": "old"}, {"fingerprint": "A" * 64}, {"fingerprint": "ab"}],
)
def test_malformed_entries(change):
    sound = {"peer": "b", "role": "server", "state": "current", "fingerprint": "a" * 64}
    assert len(entries_from([sound])) == 1
    with pytest.raises(EsyncError):
        entries_from([{**sound, **change}])


def test_doubled_entries():
    sound = {"peer": "b", "role": "server", "state": "current", "fingerprint": "a" * 64}
    with pytest.raises(EsyncError):
        entries_from([sound, {**sound, "fingerprint": "b" * 64}])


def test_the_index_says_what_lies_there(base):
    apply(base, "a", both("b"), pems("b"), "one")
    with open(os.path.join(base.path, "trusted", "trust.json"), encoding="ascii") as stream:
        index = json.load(stream)
    assert index["server"] == "a"
    assert index["digest"] == digest_of(both("b"))
    assert [one["peer"] for one in index["entries"]] == ["b", "b"]


def test_what_each_peer_may_serve_are_its_server_certificates():
    found = servers_in([*both("b"), entry("b", "server", 2, "next"), entry("c", "server"), entry("d", "client")])
    assert found == {
        "b": {entry("b", "server").fingerprint: "current", entry("b", "server", 2).fingerprint: "next"},
        "c": {entry("c", "server").fingerprint: "current"},
    }


# -- a server that shares its own client set with its peers --------------------------------------------------------


@pytest.mark.parametrize(
    ("entries", "model"),
    [
        (both("b"), "pinned"),
        ([entry("b", "server"), entry("a", "client")], "shared_keys"),
        ([*both("b"), entry("a", "client")], "both"),
        ([entry("b", "server")], None),
    ],
)
def test_the_model_is_told_by_whose_client_certificates_are_accepted(base, entries, model):
    assert model_of("a", entries) == model
    apply(base, "a", entries, pems("a", "b"), "one")
    assert read(base, "a").entries == tuple(sorted(entries))
    with open(os.path.join(base.path, "trusted", "trust.json"), encoding="ascii") as stream:
        assert json.load(stream)["model"] == model


def test_its_own_client_certificate_does_not_tell_who_calls(base):
    apply(base, "a", [*both("b"), entry("a", "client")], pems("a", "b"), "one")
    lines = dict(line.split(" ") for line in _content(base, "clients.map")[0].decode().splitlines())
    own = hashlib.sha1(certificate("a", "client").der).hexdigest()
    assert lines.pop(own) == '"-";'
    assert list(lines.values()) == ['"b";']
