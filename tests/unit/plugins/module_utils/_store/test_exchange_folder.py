# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import base64
import json
import os
from dataclasses import replace
from pathlib import Path

import hostile_folders
import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.hazmat.primitives.serialization.pkcs7 import serialize_certificates
from cryptography.x509 import load_der_x509_certificate
from hostile_folders import CASES, NOW, PASSPHRASE, Hostile, certificate, key, told
from other_users import OTHER, acls, as_other, let_in, needs_root

from ansible_collections.esync.mesh.plugins.module_utils._core import names
from ansible_collections.esync.mesh.plugins.module_utils._core.errors import EsyncError
from ansible_collections.esync.mesh.plugins.module_utils._crypto import pkcs12, pvk
from ansible_collections.esync.mesh.plugins.module_utils._store import exchange_folder as folder

OWN = certificate("here", "server")


def asked(passphrase: str | None = None) -> folder.FolderRequest:
    return folder.FolderRequest("here", frozenset([OWN.fingerprint]), NOW, passphrase.encode() if passphrase else None)


def read(path: Path, passphrase: str | None = None, web_roots: tuple[str, ...] = ()) -> folder.FolderContent:
    return folder.read(str(path), asked(passphrase), web_roots)


def refusals(path: Path, passphrase: str | None = None, web_roots: tuple[str, ...] = ()) -> set[tuple[str, str]]:
    """What is said about a folder: kind and file."""
    with pytest.raises(EsyncError) as caught:
        read(path, passphrase, web_roots)
    errors = getattr(caught.value, "errors", [caught.value])
    assert all(error.server == "here" and error.cause and error.remedy for error in errors)
    assert "PRIVATE" not in str(caught.value)
    return {(error.kind, (error.path or "").replace(str(path), "").strip("/")) for error in errors}


def state_of(path: Path) -> object:
    return sorted((str(one), one.lstat().st_mode, one.lstat().st_mtime_ns) for one in path.parent.rglob("*"))


@pytest.fixture
def hostile(tmp_path: Path) -> Hostile:
    return Hostile(tmp_path / "in", "here", OWN.der)


def test_there_are_many() -> None:
    assert len(CASES) >= 30


@pytest.mark.parametrize("title", CASES)
def test_hostile_folders_are_refused_by_file_and_reason(title: str, hostile: Hostile) -> None:
    CASES[title][0](hostile)
    before = state_of(hostile.path)
    passphrase = PASSPHRASE if "store" in title else None
    assert refusals(hostile.path, passphrase) == told(title, "here")
    assert state_of(hostile.path) == before


def test_all_offenders_are_told_at_once(hostile: Hostile) -> None:
    hostile_folders.a_text(hostile)
    hostile_folders.expired(hostile)
    hostile_folders.the_own_name(hostile)
    hostile.add("third")
    hostile.drop("third_SyncClient.cer")
    assert refusals(hostile.path) == {
        *told("a_text", "here"),
        *told("expired", "here"),
        *told("the_own_name", "here"),
        ("incomplete_set", ""),
    }


def test_a_folder_under_a_web_root_is_refused_also_by_a_link(hostile: Hostile, tmp_path: Path) -> None:
    assert refusals(hostile.path, web_roots=(str(tmp_path),)) == {("web_root", "")}
    (tmp_path / "www").symlink_to(hostile.path)
    assert refusals(hostile.path, web_roots=(str(tmp_path / "www"),)) == {("web_root", "")}


def test_a_parent_that_others_may_write_to_is_refused(tmp_path: Path) -> None:
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o777)
    spoilt = Hostile(tmp_path / "open" / "in", "here", OWN.der)
    assert refusals(spoilt.path) == {("unsafe_parent", "")}


def test_sound_sets_are_read_with_and_without_keys(hostile: Hostile) -> None:
    hostile.add("other", form="rsa")
    hostile.put("other_SyncServer.pvk", pvk.write_pvk(key("otherserver", "rsa")))
    hostile_folders.pfx(hostile, "", PASSPHRASE)
    for passphrase in (None, PASSPHRASE):
        found = read(hostile.path, passphrase)
        assert [one.name for one in found.sets] == ["guest", "other"]
        assert found.keys == ("guest_SyncServer.pfx", "other_SyncServer.pvk")
        facts = found.sets[0].facts()
        assert facts["generations"][0]["server"]["fingerprint"] == certificate("guest", "server").fingerprint
        assert facts["address"] is None
        assert "PRIVATE" not in json.dumps([one.facts() for one in found.sets])


def test_a_certificate_may_be_in_pem(hostile: Hostile) -> None:
    hostile.put("guest_SyncServer.cer", certificate("guest", "server").pem.encode())
    assert read(hostile.path).sets[0].name == "guest"


def pkcs7_of(*roles: str) -> bytes:
    """A .p7b file, DER, as openssl crl2pkcs7 and Windows make it."""
    certificates = [load_der_x509_certificate(certificate("guest", role).der) for role in roles]
    return serialize_certificates(certificates, Encoding.DER)


def test_what_others_put_around_a_certificate_is_passed_over(hostile: Hostile) -> None:
    pem = certificate("guest", "server").pem
    prose = f"Bag Attributes\n    friendlyName: guest\nsubject=CN = guest\n{pem}\nSent from my phone\n"
    for text in ("\ufeff" + pem, "\n" + pem.replace("\n", "\r\n"), prose, "\ufeff" + prose):
        for encoding in ("utf-8", "utf-16-le") if text[0] == "\ufeff" else ("utf-8",):
            hostile.put("guest_SyncServer.cer", text.encode(encoding))
            found = read(hostile.path).sets[0].generations["current"]["server"]
            assert found.der == certificate("guest", "server").der


def test_what_is_no_certificate_is_told_what_it_is(hostile: Hostile) -> None:
    bundle = pkcs7_of("server", "client")
    lines = base64.encodebytes(bundle).decode()
    one = certificate("guest", "server")
    for data, what, how in (
        (bundle, "PKCS#7", "openssl pkcs7 -in {} -inform DER -print_certs"),
        (
            f"-----BEGIN PKCS7-----\n{lines}-----END PKCS7-----\n".encode(),
            "PKCS#7",
            "openssl pkcs7 -in {} -print_certs",
        ),
        # Certificate services of Windows call it so.
        (f"-----BEGIN CERTIFICATE-----\n{lines}-----END CERTIFICATE-----\n".encode(), "PKCS#7", "openssl pkcs7 -in {}"),
        (base64.b64encode(one.der), "base64 without", "openssl base64 -d -A -in {}"),
        ((one.pem * 2).encode(), "several certificates", "openssl x509 -in {}"),
    ):
        hostile.put("guest_SyncServer.cer", data)
        with pytest.raises(EsyncError, match=what) as caught:
            read(hostile.path)
        assert caught.value.kind == "not_a_certificate"
        assert how.format(hostile.path / "guest_SyncServer.cer") in caught.value.remedy
    hostile_folders.pfx(hostile, "", PASSPHRASE)
    hostile.put("guest_SyncServer.cer", (hostile.path / "guest_SyncServer.pfx").read_bytes())
    hostile.drop("guest_SyncServer.pfx")
    with pytest.raises(EsyncError, match="PKCS#12 file"):
        read(hostile.path)


def test_a_file_of_a_set_under_another_suffix_is_told_how_it_becomes_one(hostile: Hostile) -> None:
    hostile.drop("guest_SyncServer.cer")
    wanted = f"{hostile.path}/guest_SyncServer.cer"
    for suffix, data, how in (
        ("p7b", pkcs7_of("server"), f"-print_certs | openssl x509 -outform DER -out {wanted}"),
        ("crt", certificate("guest", "server").pem.encode(), f"mv {hostile.path}/guest_SyncServer.crt {wanted}"),
    ):
        hostile.put(f"guest_SyncServer.{suffix}", data)
        with pytest.raises(EsyncError, match=r"a certificate of a set is called guest_SyncServer\.cer") as caught:
            read(hostile.path)
        assert how in str(caught.value)
        hostile.drop(f"guest_SyncServer.{suffix}")


def exported(path: Path, endpoint: str = "nginx", label: str = "") -> folder.RemoteSet:
    generations = {
        state: {role: certificate("here", role, f"{label}{state}") for role in names.ROLES}
        for state in (names.CURRENT, names.NEXT)
    }
    return folder.RemoteSet("here", generations, "here.example.org", 8732, endpoint)


def test_what_is_exported_can_be_applied(tmp_path: Path) -> None:
    one = exported(tmp_path)
    assert folder.write(str(tmp_path / "out"), one, ())
    assert (tmp_path / "out").stat().st_mode & 0o777 == 0o755
    assert {path.stat().st_mode & 0o777 for path in (tmp_path / "out").iterdir()} == {0o644}
    assert b"PRIVATE" not in b"".join(path.read_bytes() for path in (tmp_path / "out").iterdir())
    found = folder.read(str(tmp_path / "out"), folder.FolderRequest("there", frozenset(), NOW), ())
    assert found.sets == (one,)
    assert found.sets[0].facts()["port"] == 8732
    assert [path.name for path in tmp_path.iterdir()] == ["out"], "nothing unfinished is left"


def test_a_temporary_endpoint_cannot_be_reached_from_elsewhere(tmp_path: Path) -> None:
    facts = exported(tmp_path, "temporary").facts()
    assert facts["address"] is facts["port"] is None


def test_an_unchanged_export_stays_or_is_replaced(tmp_path: Path) -> None:
    path = str(tmp_path / "out")
    folder.write(path, exported(tmp_path), ())
    before = state_of(tmp_path / "out")
    assert not folder.write(path, exported(tmp_path), ())
    assert folder.write(path, exported(tmp_path, label="new"), (), check=True)
    assert state_of(tmp_path / "out") == before
    assert folder.write(path, exported(tmp_path, label="new"), ())
    assert not folder.write(path, exported(tmp_path, label="new"), ())


@pytest.mark.parametrize("change", ["empty", "more", "less", "other", "file", "link"])
def test_anything_else_in_its_place_is_refused(change: str, tmp_path: Path) -> None:
    path = tmp_path / "out"
    if change == "empty":
        path.mkdir()
    elif change == "file":
        path.write_bytes(b"mine")
    else:
        folder.write(str(path), exported(tmp_path), ())
    if change == "more":
        (path / "notes.txt").write_bytes(b"")
    elif change == "less":
        (path / "here_SyncClient.cer").unlink()
    elif change == "other":
        (path / "here_SyncClient.cer").write_bytes(b"x")
    elif change == "link":
        path.rename(tmp_path / "real")
        path.symlink_to("/etc")
    before = state_of(path)
    with pytest.raises(EsyncError) as caught:
        folder.write(str(path), exported(tmp_path, label="new"), ())
    assert (caught.value.kind, caught.value.path) == ("exists", str(path))
    assert state_of(path) == before


def test_no_export_under_a_web_root_or_where_others_may_write(tmp_path: Path) -> None:
    for roots, mode, kind in (((str(tmp_path),), 0o755, "web_root"), ((), 0o775, "unsafe_parent")):
        (tmp_path / kind).mkdir()
        os.chmod(tmp_path / kind, mode)
        with pytest.raises(EsyncError) as caught:
            folder.write(str(tmp_path / kind / "out"), exported(tmp_path), roots)
        assert caught.value.kind == kind
        assert not (tmp_path / kind / "out").exists()


@needs_root
@pytest.mark.parametrize("change", ["owner", "group", "list"])
def test_no_folder_where_another_user_could_replace_it(tmp_path: Path, hostile: Hostile, change: str) -> None:
    place = tmp_path / "place"
    place.mkdir(mode=0o755)
    hostile.path.rename(place / "in")
    folder.write(str(place / "out"), exported(tmp_path), ())
    read(place / "in")
    if change == "owner":
        os.chown(place, OTHER, -1)
    elif change == "group":
        os.chown(place, -1, OTHER)
        place.chmod(0o775)
    else:
        let_in(place, 7)
    before = state_of(place / "out")
    with pytest.raises(EsyncError) as caught:
        folder.write(str(place / "out"), exported(tmp_path, label="new"), ())
    assert caught.value.kind == "unsafe_parent"
    assert refusals(place / "in") == {("unsafe_parent", "")}
    assert state_of(place / "out") == before


def test_folders_that_are_links_to_a_data_disk(tmp_path: Path, hostile: Hostile) -> None:
    (tmp_path / "data").mkdir(mode=0o755)
    (tmp_path / "here").symlink_to(hostile.path)
    (tmp_path / "out").symlink_to("data/out")
    assert read(tmp_path / "here").sets[0].name == "guest"
    for label in ("", "new"):
        assert folder.write(str(tmp_path / "out"), exported(tmp_path, label=label), ())
        assert not folder.write(str(tmp_path / "out"), exported(tmp_path, label=label), ())
    assert (tmp_path / "out").is_symlink()
    assert [path.name for path in (tmp_path / "data").iterdir()] == ["out"]


@needs_root
def test_where_everybody_may_make_folders_nobody_can_replace_ours(tmp_path: Path) -> None:
    (tmp_path / "sticky").mkdir()
    (tmp_path / "sticky").chmod(0o1777)
    one = replace(exported(tmp_path), client_sets={"current": b"key"})
    assert folder.write(str(tmp_path / "sticky" / "out"), one, ())
    assert not as_other(tmp_path / "sticky", lambda: os.rename("out", "gone"))
    assert not as_other(tmp_path / "sticky", lambda: os.listdir("out"))
    for name, make in (("link", lambda: os.symlink("out", "link")), ("theirs", lambda: os.mkdir("theirs"))):
        assert as_other(tmp_path / "sticky", make)
        with pytest.raises(EsyncError) as caught:
            folder.write(str(tmp_path / "sticky" / name), exported(tmp_path), ())
        assert caught.value.kind in ("unsafe_parent", "exists")
    assert refusals(tmp_path / "sticky" / "theirs") == {("wrong_owner", "")}


def test_private_keys_inherit_no_access_control_list(tmp_path: Path) -> None:
    let_in(tmp_path, 7, inherited=True)
    folder.write(str(tmp_path / "out"), replace(exported(tmp_path), client_sets={"current": b"key"}), ())
    assert [acls(path) for path in (tmp_path / "out", *(tmp_path / "out").iterdir())] == [[]] * 7


def packed(name: str, label: str = "") -> bytes:
    """A client set as it is shared."""
    mine = certificate(name, "client", label)
    return pkcs12.write_pfx(name, key(f"{name}client{label}"), mine.der, PASSPHRASE.encode(), pkcs12.MODERN)


def shared_keys(path: Path, passphrase: str | None = PASSPHRASE) -> folder.FolderContent:
    return folder.read(str(path), replace(asked(passphrase), shared_keys=True), ())


def refused(path: Path, passphrase: str | None = PASSPHRASE) -> set[tuple[str, str]]:
    with pytest.raises(EsyncError) as caught:
        shared_keys(path, passphrase)
    assert PASSPHRASE not in str(caught.value)
    return {
        (error.kind, str(error.path).replace(str(path), "").strip("/"))
        for error in getattr(caught.value, "errors", [caught.value])
    }


def test_where_client_sets_are_shared_keys_each_must_be_there_and_open(hostile: Hostile) -> None:
    hostile.add("guest", names.NEXT, label="new")
    entries = ("guest_SyncClient.pfx", "guest_SyncClient.next.pfx")
    assert refused(hostile.path) == {("missing_client_set", entry) for entry in entries}
    for entry, label in zip(entries, ("", "new")):
        hostile.put(entry, packed("guest", label=label))
    assert refused(hostile.path, None) == {("passphrase_needed", entry) for entry in entries}
    assert refused(hostile.path, "another") == {("damaged_file", entry) for entry in entries}
    found = shared_keys(hostile.path)
    assert found.client_sets == tuple(sorted(entries))
    assert found.keys == ()
    # Elsewhere they are not needed, and those of another generation have no place.
    assert refusals(hostile.path) == {("duplicate_file", entries[1])}


@pytest.mark.parametrize(("name", "label"), [("guest", "old"), ("other", "")])
def test_a_client_set_that_does_not_fit_is_refused(name: str, label: str, hostile: Hostile) -> None:
    hostile.put("guest_SyncClient.pfx", packed(name, label))
    assert refused(hostile.path) == {("mismatch", "guest_SyncClient.pfx")}


def test_the_client_sets_of_a_folder_by_fingerprint(hostile: Hostile) -> None:
    hostile.put("guest_SyncClient.pfx", packed("guest"))
    hostile.put("other_SyncClient.pfx", packed("other"))
    found = folder.read_client_sets(str(hostile.path), "here", ["guest", "missing"], PASSPHRASE.encode(), ())
    data = (hostile.path / "guest_SyncClient.pfx").read_bytes()
    assert found == {certificate("guest", "client").fingerprint: data}
    with pytest.raises(EsyncError) as caught:
        folder.read_client_sets(str(hostile.path), "here", ["guest"], b"another", ())
    assert (caught.value.kind, caught.value.path) == ("damaged_file", f"{hostile.path}/guest_SyncClient.pfx")


def handing(path: Path, label: str = "") -> folder.RemoteSet:
    one = exported(path, label=label)
    return replace(one, client_sets={state: packed("here", label=f"{label}{state}") for state in one.generations})


def test_client_sets_are_exported_for_nobody_but_the_owner_and_can_be_applied(tmp_path: Path) -> None:
    path = tmp_path / "out"
    one = handing(tmp_path)
    assert folder.write(str(path), one, ())
    assert path.stat().st_mode & 0o777 == 0o700
    assert {entry.stat().st_mode & 0o777 for entry in path.iterdir()} == {0o600}
    assert set(one.private) == {"here_SyncClient.pfx", "here_SyncClient.next.pfx"}
    assert json.loads((path / "here_Sync.json").read_text())["private_keys"] == one.private
    assert not folder.write(str(path), one, ())
    (path / "here_SyncClient.pfx").chmod(0o644)
    assert folder.write(str(path), one, ()), "what others could read is made anew"
    assert (path / "here_SyncClient.pfx").stat().st_mode & 0o777 == 0o600
    there = folder.FolderRequest("there", frozenset(), NOW, PASSPHRASE.encode(), shared_keys=True)
    assert folder.read(str(path), there, ()).sets == (one,)
    # The manifest tells a key file that was exchanged on its way.
    (path / "here_SyncClient.pfx").write_bytes(packed("here", label="current"))
    with pytest.raises(EsyncError) as caught:
        folder.read(str(path), there, ())
    assert caught.value.kind == "manifest_differs"
    with pytest.raises(EsyncError) as caught:
        folder.write(str(path), handing(tmp_path, "new"), ())
    assert caught.value.kind == "exists"


def test_the_passphrase_is_in_no_text() -> None:
    assert "secret" not in repr(asked("secret"))
