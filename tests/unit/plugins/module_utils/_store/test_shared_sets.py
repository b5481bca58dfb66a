# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import dataclasses
import datetime
import itertools
import json
import os
import stat
from functools import lru_cache, partial
from pathlib import Path

import pytest
from other_users import acls, let_in

from ansible_collections.esync.mesh.plugins.module_utils._core.errors import EsyncError
from ansible_collections.esync.mesh.plugins.module_utils._core.folders import TEMPORARY, Folder
from ansible_collections.esync.mesh.plugins.module_utils._crypto import certificates as x509
from ansible_collections.esync.mesh.plugins.module_utils._crypto import pkcs12
from ansible_collections.esync.mesh.plugins.module_utils._store import shared_set_writer as writer
from ansible_collections.esync.mesh.plugins.module_utils._store import untrusted
from ansible_collections.esync.mesh.plugins.module_utils._store.indexed_folder import digest_of
from ansible_collections.esync.mesh.plugins.module_utils._store.shared_set_writer import apply
from ansible_collections.esync.mesh.plugins.module_utils._store.shared_sets import SharedKey, entries_from, read

from ..conftest import killed

PASSPHRASE = b"the passphrase of the mesh"


def made(peer, role="client", number=1):
    """A set: its certificate, its key, and its .pfx file."""
    return _made(peer, role, number)


@lru_cache(maxsize=None)
def _made(peer, role, number):
    profile = x509.Profile(peer, (peer,), "ecdsa", 256, 300 + number)
    key = x509.generate_key("ecdsa", 256)
    certificate = x509.self_sign(key, role, profile, datetime.datetime.now(datetime.timezone.utc))
    return certificate, key, pkcs12.write_pfx(peer, key, certificate.der, PASSPHRASE, "modern")


def entry(peer, number=1, state="current"):
    return SharedKey(peer, state, made(peer, number=number)[0].fingerprint)


def sent(*peers, number=1):
    return {made(peer, number=number)[0].fingerprint: made(peer, number=number)[2] for peer in peers}


def take(base, entries, pfx=None, name="one", **options):
    return apply(base, "a", entries, pfx or {}, PASSPHRASE, name, **options)


@pytest.fixture
def base(tmp_path):
    with Folder.open(str(tmp_path / "esync"), create_mode=0o755) as folder:
        yield folder


def modes(base):
    top = os.path.join(base.path, "handed")
    found = {"..": stat.S_IMODE(os.stat(top).st_mode)}
    for folder in os.listdir(top):
        found["."] = stat.S_IMODE(os.stat(os.path.join(top, folder)).st_mode)
        for name in os.listdir(os.path.join(top, folder)):
            found[name] = stat.S_IMODE(os.stat(os.path.join(top, folder, name)).st_mode)
    return found


def file(base, name):
    return os.path.join(base.path, "handed-over", name)


def test_sets_are_written_whole_and_narrow(base):
    change = take(base, [entry("b")], sent("b"))
    assert change.changed
    assert change.added == (entry("b"),)
    assert modes(base) == {
        "..": 0o700,
        ".": 0o700,
        "shared.json": 0o600,
        "b_SyncClient.crt": 0o644,
        "b_SyncClient.key": 0o600,
        "b_SyncClient.pfx": 0o600,
    }
    assert os.readlink(os.path.join(base.path, "handed-over")) == "handed/one"
    with open(file(base, "b_SyncClient.pfx"), "rb") as stream:
        assert stream.read() == made("b")[2], "the original file"
    found = read(base, "a")
    assert (found.entries, found.damaged, found.withdrawn) == ((entry("b"),), (), False)
    assert found.digest == digest_of([entry("b")])


def test_a_group_may_read_the_keys(base):
    gid = os.getegid()
    take(base, [entry("b")], sent("b"), gid=gid)
    found = modes(base)
    assert (found[".."], found["."], found["b_SyncClient.key"], found["shared.json"]) == (0o750, 0o750, 0o640, 0o640)
    assert not read(base, "a", gid).damaged
    assert read(base, "a").damaged, "without the group these modes are too wide"


@pytest.mark.parametrize("name", [".", "..", "b_SyncClient.key"])
def test_an_access_control_list_is_noticed_and_gone_after_the_next_run(base, name):
    gid = os.getegid()
    take(base, [entry("b")], sent("b"), gid=gid)
    folder = Path(base.path, "handed-over").resolve()
    let_in({".": folder, "..": folder.parent}.get(name, folder / name), 4)
    let_in(Path(base.path), 7, inherited=True)
    assert read(base, "a", gid).damaged == (name,)
    take(base, [entry("b")], sent("b"), name="two", gid=gid)
    assert not read(base, "a", gid).damaged
    folder = Path(base.path, "handed-over").resolve()
    assert [acls(path) for path in (folder.parent, folder, *folder.iterdir())] == [[]] * (2 + len(modes(base)) - 2)


def untrusted_in(base):
    with open(file(base, "shared.json"), encoding="ascii") as stream:
        return json.load(stream)["untrusted"]


def test_each_peer_has_an_untrusted_certificate_as_long_valid_as_its_latest(base):
    take(base, [entry("b"), entry("b", 2, "next"), entry("c")], {**sent("b"), **sent("b", number=2), **sent("c")})
    kept = untrusted_in(base)
    assert untrusted.is_complete(kept, ["b", "c"])
    for peer, number in (("b", 2), ("c", 1)):
        pem, end, _key = untrusted.pem_of(kept, peer).partition(b"-----END CERTIFICATE-----\n")
        certificate = x509.parse_certificate(pem + end, "x", "client")
        assert certificate.not_after == made(peer, number=number)[0].not_after
        assert certificate.fingerprint not in (entry(peer).fingerprint, entry(peer, 2).fingerprint)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"version": 1}', "[" * 10_000, '{"version": ' + "1" * 5000 + "}"])
def test_an_index_that_cannot_be_read(base, text):
    take(base, [entry("b")], sent("b"))
    with open(file(base, "shared.json"), "w", encoding="ascii") as stream:
        stream.write(text)
    with pytest.raises(EsyncError) as caught:
        read(base, "a")
    assert caught.value.kind == "damaged_shared_keys"


@pytest.mark.parametrize("kept", [None, {}, [], {"b_SyncClient": {"pem": "x", "sha256": "0"}}])
def test_untrusted_certificates_that_are_missing_or_damaged_are_made_again(base, kept):
    take(base, [entry("b")], sent("b"))
    with open(file(base, "shared.json"), "r+", encoding="ascii") as stream:
        said = {**json.load(stream), "untrusted": kept}
        stream.seek(0)
        stream.truncate()
        json.dump(said, stream)
    found = read(base, "a", deep=False)
    assert (found.entries, found.damaged, found.digest) == ((entry("b"),), ("shared.json",), "")
    assert take(base, [entry("b")], name="two").changed
    assert not read(base, "a").damaged
    assert untrusted.is_complete(untrusted_in(base), ["b"])


def test_none_yet(base):
    assert read(base, "a") is None
    assert not take(base, []).changed


def test_the_same_again_changes_nothing(base):
    take(base, [entry("b")], sent("b"))
    assert not take(base, [entry("b")], name="two").changed
    assert os.listdir(os.path.join(base.path, "handed")) == ["one"]


def test_what_is_there_needs_not_be_sent_also_under_another_state(base):
    take(base, [entry("b"), entry("b", 2, "next")], {**sent("b"), **sent("b", number=2)})
    change = take(base, [entry("b", 2), entry("b", 1, "previous")], name="two")
    assert change.changed
    assert read(base, "a").entries == (entry("b", 2), entry("b", 1, "previous"))
    assert os.listdir(os.path.join(base.path, "handed")) == ["two"], "nothing of the old folder is left"


def test_check_writes_nothing(base):
    assert take(base, [entry("b")], sent("b"), check=True).changed
    assert base.entries() == []


def test_never_a_set_of_its_own(base):
    with pytest.raises(EsyncError) as caught:
        apply(base, "B", [entry("b")], sent("b"), PASSPHRASE, "one")
    assert caught.value.kind == "own_name"


BAD = {
    "another passphrase": ({made("b")[0].fingerprint: made("b")[2]}, b"another", "does not open"),
    "another certificate": ({made("b")[0].fingerprint: made("b", number=2)[2]}, PASSPHRASE, "the ledger has"),
    "damaged": ({made("b")[0].fingerprint: made("b")[2][:-1]}, PASSPHRASE, "does not open"),
}


@pytest.mark.parametrize("how", BAD)
def test_what_is_not_the_peers_set_is_rejected_and_the_others_are_held(base, how):
    pfx, passphrase, said = BAD[how]
    change = apply(base, "a", [entry("b")], pfx, passphrase, "one")
    assert (change.changed, change.entries) == (False, ())
    [error] = change.rejected.values()
    assert (error.kind, error.server) == ("bad_shared_set", "a")
    assert said in str(error)
    assert base.entries() == []
    if passphrase == PASSPHRASE:
        change = take(base, [entry("b"), entry("c")], {**sent("c"), **pfx})
        assert change.entries == read(base, "a").entries == (entry("c"),)
        assert list(change.rejected) == [entry("b").fingerprint]


def test_a_server_certificate_is_no_client_set(base):
    certificate, _key, pfx = made("b", "server")
    change = take(base, [SharedKey("b", "current", certificate.fingerprint)], {certificate.fingerprint: pfx})
    assert [error.kind for error in change.rejected.values()] == ["bad_shared_set"]
    assert base.entries() == []


def test_a_missing_set_is_named_and_what_is_in_force_stays(base):
    take(base, [entry("b")], sent("b"))
    with pytest.raises(EsyncError) as caught:
        take(base, [entry("b"), entry("c")], name="two")
    assert caught.value.kind == "missing_shared_client_sets"
    assert "c_SyncClient" in str(caught.value)
    assert read(base, "a").entries == (entry("b"),)


def wide(path):
    os.chmod(path, 0o640)


def emptied(path):
    with open(path, "wb"):
        pass


def flipped(path):
    with open(path, "r+b") as stream:
        stream.seek(60)
        byte = stream.read(1)
        stream.seek(60)
        stream.write(bytes([byte[0] ^ 1]))


DAMAGE = [
    ("b_SyncClient.key", os.unlink),
    ("b_SyncClient.key", emptied),
    ("b_SyncClient.key", flipped),
    ("b_SyncClient.crt", flipped),
    ("b_SyncClient.pfx", flipped),
    ("b_SyncClient.key", wide),
    ("b_SyncClient.pfx", wide),
]


@pytest.mark.parametrize(("name", "spoil"), DAMAGE)
def test_damage_is_found_and_mended_by_what_is_sent_again(base, name, spoil):
    take(base, [entry("b"), entry("c")], sent("b", "c"))
    spoil(file(base, name))
    found = read(base, "a")
    assert found.damaged == (name,)
    assert found.digest == ""
    assert entry("c") in found.entries
    assert take(base, [entry("b"), entry("c")], sent("b"), name="two").changed
    assert not read(base, "a").damaged


def test_a_key_of_another_certificate_is_found_even_if_the_index_agrees(base):
    take(base, [entry("b"), entry("c")], sent("b", "c"))
    with open(file(base, "shared.json"), encoding="ascii") as stream:
        index = json.load(stream)
    with open(file(base, "c_SyncClient.key"), "rb") as stream:
        other = stream.read()
    with open(file(base, "b_SyncClient.key"), "wb") as stream:
        stream.write(other)
    index["entries"][0]["files"]["key"] = index["entries"][1]["files"]["key"]
    with open(file(base, "shared.json"), "w", encoding="ascii") as stream:
        json.dump(index, stream)
    assert read(base, "a").damaged == ("b_SyncClient.key",)


def test_a_unexpected_file_and_a_folder_that_a_killed_run_left_are_found(base):
    take(base, [entry("b")], sent("b"))
    with open(file(base, "stranger"), "wb"):
        pass
    os.mkdir(os.path.join(base.path, "handed", "left"))
    assert read(base, "a").damaged == ("..", "stranger")
    take(base, [entry("b")], name="two")
    assert not read(base, "a").damaged


def test_a_damaged_index_is_named_and_everything_written_anew(base):
    take(base, [entry("b")], sent("b"))
    with open(file(base, "shared.json"), "wb") as stream:
        stream.write(b"{")
    with pytest.raises(EsyncError) as caught:
        read(base, "a")
    assert caught.value.kind == "damaged_shared_keys"
    assert caught.value.path.endswith("handed-over/shared.json")
    take(base, [entry("b")], sent("b"), name="two")
    assert read(base, "a").entries == (entry("b"),)


def test_what_is_withdrawn_stays_until_it_is_destroyed(base):
    assert not writer.withdraw(base)
    take(base, [entry("b")], sent("b"))
    assert writer.withdraw(base, check=True)
    assert writer.withdraw(base)
    assert sorted(base.entries()) == ["handed", "handed-before"]
    found = read(base, "a")
    assert (found.entries, found.withdrawn) == ((entry("b"),), True)
    assert take(base, [entry("b")], name="two").changed, "taken into use again, and nothing had to be sent"
    assert sorted(base.entries()) == ["handed", "handed-over"]
    writer.withdraw(base)
    assert take(base, []).changed
    assert base.entries() == []


def test_keys_are_overwritten_before_they_are_removed(base):
    take(base, [entry("b")], sent("b"))
    # An open descriptor still sees what became of the file.
    with open(file(base, "b_SyncClient.key"), "rb") as stream:
        writer.destroy(base)
        assert not stream.read().strip(b"\0")


CHANGES = {
    "first": (None, [entry("b"), entry("c")], sent("b", "c")),
    "more": ([entry("b")], [entry("b"), entry("c")], sent("c")),
    "switched": ([entry("b")], [entry("b", 1, "previous")], {}),
    "less": ([entry("b"), entry("c")], [entry("c")], {}),
    "none": ([entry("b")], [], {}),
}


@pytest.mark.parametrize("name", CHANGES)
def test_killed_between_any_two_system_calls(tmp_path, name):
    before, after, pfx = CHANGES[name]
    for moment in itertools.count(1):
        with Folder.open(str(tmp_path / str(moment)), create_mode=0o755) as base:
            if before is not None:
                take(base, before, sent("b", "c"))
            if not killed(moment, partial(take, base, after, pfx, "two")):
                break
            found = read(base, "a")
            if found and found.folder:
                assert found.entries in (tuple(sorted(before or ())), tuple(sorted(after))), moment
                assert set(found.damaged) <= {".."}, moment
            # A temporary link in the directory itself is left to certificate_set, which every run begins with.
            left = [one for one in base.entries() if not one.startswith("handed")]
            assert all(one.startswith(TEMPORARY) for one in left)
            take(base, after, sent("b", "c"), "three")
            again = read(base, "a")
            assert (again.entries if again else ()) == tuple(sorted(after))
            assert not again or not again.damaged, "no key that a killed run left is kept"
            assert not take(base, after, name="four").changed
    assert moment > 3


# -- handing out ---------------------------------------------------------------------------------------------------


def test_a_server_packs_the_sets_that_are_asked_for(fresh):
    alpha = fresh("pfx")
    settings = {"passphrase": PASSPHRASE}
    for state in ("present", "next"):
        alpha.do(state, settings=settings)
    prints = {
        state: generation.certificates["client"].fingerprint
        for state, generation in alpha.inspect(**settings).generations.items()
    }
    with Folder.open(str(alpha.path)) as base:
        assert writer.pack(base, "alpha", PASSPHRASE, []) == {}
        packed = writer.pack(base, "alpha", PASSPHRASE, [prints["next"], "0" * 64])
        assert packed == {prints["next"]: alpha.file("client", "pfx", "next").read_bytes()}
        with pytest.raises(EsyncError) as caught:
            writer.pack(base, "alpha", b"another", prints.values())
    assert caught.value.kind == "pfx_passphrase_differs"
    assert caught.value.path.endswith("alpha_SyncClient.pfx")


def test_a_pfx_file_with_another_certificate_is_not_handed_out(fresh):
    alpha = fresh("pfx")
    alpha.do("present", settings={"passphrase": PASSPHRASE})
    fingerprint = alpha.inspect().generations["current"].certificates["client"].fingerprint
    alpha.file("client", "pfx").write_bytes(alpha.file("server", "pfx").read_bytes())
    with Folder.open(str(alpha.path)) as base, pytest.raises(EsyncError) as caught:
        writer.pack(base, "alpha", PASSPHRASE, [fingerprint])
    assert caught.value.kind == "mismatch"


@pytest.mark.parametrize("change", [{"peer": "../x"}, {"state": "later"}, {"fingerprint": "0" * 63}])
def test_malformed_entries(change):
    with pytest.raises(EsyncError):
        entries_from([dataclasses.asdict(dataclasses.replace(entry("b"), **change))])


def test_doubled_entries():
    with pytest.raises(EsyncError):
        entries_from([dataclasses.asdict(one) for one in (entry("b"), entry("b", 2))])


def test_a_set_that_was_carried_in_a_folder_is_judged_like_one_that_was_sent(base):
    certificate, key, _pfx = made("c")
    theirs = pkcs12.write_pfx("c", key, certificate.der, b"of another mesh", "modern")
    carried = writer.FolderKeys({certificate.fingerprint: theirs}, b"of another mesh")
    assert "another" not in repr(carried)
    change = take(base, [entry("b"), entry("c")], sent("b"), carried=carried)
    assert change.added == (entry("b"), entry("c"))
    assert read(base, "a").entries == (entry("b"), entry("c"))
    wrong = writer.FolderKeys({entry("d").fingerprint: theirs}, b"of another mesh")
    with pytest.raises(EsyncError) as caught:
        take(base, [entry("b"), entry("c"), entry("d")], name="two", carried=wrong)
    assert caught.value.kind == "bad_shared_set"
    assert read(base, "a").entries == (entry("b"), entry("c"))
