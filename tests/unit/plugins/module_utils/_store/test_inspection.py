# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whatever was done to the files: the one file is named with its cause, and nothing is changed."""

from __future__ import annotations

import datetime
import json
import os
import socket
from pathlib import Path
from typing import Any, Callable

import pytest
from cryptography import x509 as library
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed448
from cryptography.hazmat.primitives.serialization.pkcs12 import serialize_key_and_certificates
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from ansible_collections.esync.mesh.plugins.module_utils._core import layout, names
from ansible_collections.esync.mesh.plugins.module_utils._core.errors import EsyncError
from ansible_collections.esync.mesh.plugins.module_utils._core.folders import TEMPORARY, Folder
from ansible_collections.esync.mesh.plugins.module_utils._crypto import certificates as x509
from ansible_collections.esync.mesh.plugins.module_utils._crypto import pkcs12
from ansible_collections.esync.mesh.plugins.module_utils._store import inspection
from ansible_collections.esync.mesh.plugins.module_utils._store.local_generation import (
    PFX_DIFFERS,
    PFX_OPENS,
    PFX_UNKNOWN,
    Expected,
)
from ansible_collections.esync.mesh.plugins.module_utils._store.local_sets import Inspection, inspect

ROOT = os.geteuid() == 0
PASSPHRASE = "pfx.passphrase"
NOW = datetime.datetime.now(datetime.timezone.utc)
FILES = [(form, suffix) for form, suffixes in (("pfx", "cer pfx"), ("rsa", "cer pvk")) for suffix in suffixes.split()]
FILES += [(form, suffix) for form in ("ecdsa", "p384", "ed25519") for suffix in ("crt", "key")] + [("rsa", "key")]


def paths(found: Any) -> set[str]:
    """The files that the problems name."""
    return {str(error.path) for error in found.errors()}


def one(found: Any) -> EsyncError:
    """The only problem."""
    errors = found.errors()
    assert len(errors) == 1, [str(error) for error in errors]
    error: EsyncError = errors[0]
    return error


# -- what is sound ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("form", "formats"),
    [("ecdsa", ("cer",)), ("p384", ("cer",)), ("ed25519", ("cer",)), ("pfx", ("cer", "pfx")), ("rsa", ("cer", "pvk"))],
)
def test_sound_sets(server: Any, form: str, formats: tuple[str, ...]) -> None:
    alpha = server(form, "current", "next")
    found = alpha.inspect()
    assert found.errors() == []
    assert (found.modes, found.orphans, found.adopt, found.leftovers, found.unfinished) == ((), (), None, (), ())
    assert set(found.links) == {"current", "next"}
    current = found.generations["current"]
    assert (current.name, current.formats) == ("alpha", formats)
    assert current.id == alpha.links()["current"]
    assert current.certificates["server"].public_key != current.certificates["client"].public_key
    facts = current.facts("current")
    assert (facts["id"], facts["state"]) == (current.id, "current")
    assert facts["client"]["pem"] == alpha.file("client", "crt").read_text()
    assert "PRIVATE" not in json.dumps(facts)


def test_the_two_generations_of_one_server_share_nothing_but_the_name(server: Any) -> None:
    found = server("ecdsa", "current", "next").inspect().generations
    keys = {certificate.public_key for one in found.values() for certificate in one.certificates.values()}
    prints = {certificate.fingerprint for one in found.values() for certificate in one.certificates.values()}
    assert (len(keys), len(prints)) == (4, 4)
    assert found["current"].id != found["next"].id


def test_nothing_yet(tmp_path: Path) -> None:
    with Folder.open(str(tmp_path / "esync"), 0o755) as base:
        assert inspect(base, Expected("alpha")) == Inspection()


# -- damage ----------------------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:Parsed a serial number")
@pytest.mark.parametrize("role", names.ROLES)
@pytest.mark.parametrize(("form", "suffix"), FILES)
def test_one_byte_flipped_anywhere_names_the_file(server: Any, form: str, suffix: str, role: str) -> None:
    alpha = server(form, "current")
    file = alpha.file(role, suffix)
    data = file.read_bytes()
    # A .pfx takes a hundred times as long to open, and its own test flips every bit.
    step = {"pfx": 23, "rsa": 5}.get(form, 1)
    with Folder.open(str(alpha.path)) as base, file.open("r+b", buffering=0) as stream:
        for position in range(0, len(data), step):
            flipped = data[position] ^ 1 << position % 8
            os.pwrite(stream.fileno(), bytes([flipped]), position)
            found = inspect(base, alpha.settings.expected)
            assert paths(found) == {str(file)}, f"byte {position}"
            assert found.generations == {}
            os.pwrite(stream.fileno(), data[position : position + 1], position)
        assert inspect(base, alpha.settings.expected).errors() == []


def test_the_one_byte_that_no_signature_covers(server: Any) -> None:
    # The count of unused bits can only be flipped unseen where the signature ends in so many zeros.
    alpha = server("ecdsa", "current")
    while alpha.file("server", "cer").read_bytes()[-1] & 1:
        alpha.do("present", discard=True)
    der = bytearray(alpha.file("server", "cer").read_bytes())
    start = len(der) - len(library.load_der_x509_certificate(bytes(der)).signature)
    assert der[start - 1] == 0
    der[start - 1] = 1
    flipped = library.load_der_x509_certificate(bytes(der))
    alpha.file("server", "cer").write_bytes(der)
    assert paths(alpha.inspect()) == {str(alpha.file("server", "cer"))}
    alpha.file("server", "crt").write_bytes(flipped.public_bytes(serialization.Encoding.PEM))
    assert paths(alpha.inspect()) == {str(alpha.file("server", suffix)) for suffix in ("crt", "cer")}


def test_one_byte_flipped_in_the_passphrase_names_it(server: Any) -> None:
    alpha = server("pfx", "current")
    file = alpha.file("server", "pfx").with_name(PASSPHRASE)
    data = file.read_bytes()
    for position in (0, 7, len(data) - 2, len(data) - 1):
        file.write_bytes(data[:position] + bytes([data[position] ^ 1]) + data[position + 1 :])
        error = one(alpha.inspect())
        assert (error.path, error.kind) == (str(file), "mismatch")
        assert data.decode().strip() not in str(error)


def emptied(file: Path) -> None:
    file.write_bytes(b"")


def halved(file: Path) -> None:
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def doubled(file: Path) -> None:
    file.write_bytes(file.read_bytes() * 2)


def with_a_tail(file: Path) -> None:
    file.write_bytes(file.read_bytes() + b"\n")


def huge(file: Path) -> None:
    os.truncate(file, (1 << 20) + 1)


def gone(file: Path) -> None:
    file.unlink()


def linked(file: Path) -> None:
    elsewhere = file.parents[3] / "elsewhere"
    file.rename(elsewhere)
    file.symlink_to(elsewhere)


def a_fifo(file: Path) -> None:
    file.unlink()
    os.mkfifo(file, 0o600)


def a_folder(file: Path) -> None:
    file.unlink()
    file.mkdir(0o700)


def a_socket(file: Path) -> None:
    file.unlink()
    here = Path.cwd()
    # The name of a socket has at most 108 bytes.
    os.chdir(file.parent)
    try:
        with socket.socket(socket.AF_UNIX) as listening:
            listening.bind(file.name)
    finally:
        os.chdir(here)


def given_away(file: Path) -> None:
    os.chown(file, 12345, -1)


DAMAGE = [
    (emptied, "damaged_file", "it is empty"),
    (halved, "damaged_file", ""),
    (doubled, "damaged_file", ""),
    (with_a_tail, "damaged_file", ""),
    (huge, "too_large", "larger than"),
    (gone, "missing_file", "does not exist"),
    (linked, "not_a_file", "a link in the place of a file"),
    (a_fifo, "not_a_file", "a FIFO"),
    (a_folder, "not_a_file", "a folder"),
    (a_socket, "not_a_file", "a socket"),
    pytest.param(
        given_away,
        "wrong_owner",
        "12345",
        marks=pytest.mark.skipif(not ROOT, reason="only root can give files away"),
    ),
]


@pytest.mark.parametrize(("form", "suffix"), FILES)
@pytest.mark.parametrize(("spoil", "kind", "said"), DAMAGE)
def test_a_damaged_file_is_named_and_nothing_is_changed(
    server: Any, spoil: Callable[[Path], None], kind: str, said: str, form: str, suffix: str
) -> None:
    alpha = server(form, "current")
    file = alpha.file("client", suffix)
    spoil(file)
    before = alpha.contents()
    error = one(alpha.inspect())
    assert (error.server, error.path, error.kind) == ("alpha", str(file), kind)
    assert said in error.cause
    again = {"/".join((str(alpha.path), *place)) for place in alpha.inspect().restorable}
    assert again <= {str(file)}
    assert ("repair" if again else "esync_discard_existing") in error.remedy
    for state, options in (("present", {}), ("present", {"renew": True}), ("next", {}), ("switched", {})):
        with pytest.raises(EsyncError) as caught:
            alpha.do(state, **options)
        assert (caught.value.path, caught.value.kind) == (str(file), kind)
    assert alpha.contents() == before
    outcome = alpha.do("present", discard=True)
    assert outcome.reasons == ("discard_existing",)
    assert outcome.inspection.errors() == []
    assert not alpha.do("present").changed


def test_every_damaged_file_is_named_at_once(server: Any) -> None:
    alpha = server("rsa", "current")
    spoilt = [alpha.file("server", "key"), alpha.file("server", "pvk"), alpha.file("client", "crt")]
    for file in spoilt:
        emptied(file)
    with pytest.raises(EsyncError) as caught:
        alpha.do("present")
    assert paths(alpha.inspect()) == {str(file) for file in spoilt}
    for file in spoilt:
        assert f"alpha: {file}: it is empty." in str(caught.value)


def test_a_lost_passphrase(server: Any) -> None:
    alpha = server("pfx", "current")
    file = alpha.file("server", "pfx").with_name(PASSPHRASE)
    file.unlink()
    error = one(alpha.inspect())
    assert (error.kind, error.path) == ("missing_file", str(file))
    # Without the manifest nothing tells that there was one.
    file.with_name(layout.MANIFEST).unlink()
    found = alpha.inspect()
    assert found.errors() == []
    assert found.generations["current"].pfx == PFX_UNKNOWN


@pytest.mark.parametrize("suffix", ["key", "pvk"])
def test_keys_swapped_between_the_two_sets(server: Any, suffix: str) -> None:
    alpha = server("rsa", "current")
    files = [alpha.file(role, suffix) for role in names.ROLES]
    contents = [file.read_bytes() for file in files]
    for file, content in zip(files, reversed(contents)):
        file.write_bytes(content)
    errors = alpha.inspect().errors()
    assert [(error.path, error.kind) for error in errors] == [(str(file), "mismatch") for file in files]
    for error, role in zip(errors, names.ROLES):
        assert f"{names.set_name('alpha', role)}.crt" in error.cause


def test_pfx_files_swapped_between_the_two_sets(server: Any) -> None:
    alpha = server("pfx", "current")
    files = [alpha.file(role, "pfx") for role in names.ROLES]
    contents = [file.read_bytes() for file in files]
    for file, content in zip(files, reversed(contents)):
        file.write_bytes(content)
    errors = alpha.inspect().errors()
    assert [(error.path, error.kind) for error in errors] == [(str(file), "mismatch") for file in files]
    assert "another certificate" in errors[0].cause


@pytest.mark.parametrize("form", ["ecdsa", "pfx", "rsa"])
def test_server_and_client_files_swapped(server: Any, form: str) -> None:
    alpha = server(form, "current")
    suffixes = [*layout.PEM_FILES, *alpha.settings.formats]
    for suffix in suffixes:
        file, other, aside = alpha.file("server", suffix), alpha.file("client", suffix), alpha.path.parent / "aside"
        file.rename(aside)
        other.rename(file)
        aside.rename(other)
    errors = alpha.inspect().errors()
    expected = {str(alpha.file(role, suffix)) for role in names.ROLES for suffix in ("crt", "cer")}
    assert {str(error.path) for error in errors if error.kind == "wrong_role"} == expected


@pytest.mark.parametrize(
    ("suffix", "than"),
    [("crt", "alpha_SyncServer.cer"), ("key", "alpha_SyncServer.crt"), ("cer", "alpha_SyncServer.crt")],
)
def test_a_file_of_the_other_generation(server: Any, suffix: str, than: str) -> None:
    alpha = server("ecdsa", "current", "next")
    alpha.file("server", suffix).write_bytes(alpha.file("server", suffix, "next").read_bytes())
    error = one(alpha.inspect())
    assert (error.path, error.kind) == (str(alpha.file("server", suffix)), "mismatch")
    assert than in error.cause


def test_a_certificate_of_another_server(server: Any) -> None:
    alpha = server("ecdsa", "current")
    profile = x509.Profile("bravo", ("bravo",), "ecdsa", 256, 10)
    other = x509.self_sign(x509.generate_key("ecdsa", 256), "server", profile, NOW)
    alpha.file("server", "crt").write_text(other.pem)
    alpha.file("server", "cer").write_bytes(other.der)
    errors = {error.path: error for error in alpha.inspect().errors()}
    for suffix in ("crt", "cer"):
        error = errors[str(alpha.file("server", suffix))]
        assert error.kind == "wrong_name"
        assert "'bravo', not to 'alpha'" in error.cause


def test_sets_of_another_name_are_sound_and_due(server: Any) -> None:
    # esync_server_name was changed: the files keep the name that they were made with.
    found = server("ecdsa", "current").inspect(name="other")
    assert found.errors() == []
    assert found.generations["current"].name == "alpha"


def test_a_format_that_only_one_role_has(server: Any) -> None:
    alpha = server("rsa", "current")
    alpha.file("client", "pvk").unlink()
    error = one(alpha.inspect())
    assert (error.kind, error.path) == ("missing_file", str(alpha.file("client", "pvk")))
    alpha.file("server", "pvk").unlink()
    found = alpha.inspect()
    assert found.errors() == []
    assert found.generations["current"].formats == ("cer",)


OTHER_KINDS = {
    "ed448": ed448.Ed448PrivateKey.generate(),
    "p521": ec.generate_private_key(ec.SECP521R1()),
    # As many bits as P-256.
    "secp256k1": ec.generate_private_key(ec.SECP256K1()),
}


@pytest.mark.parametrize("kind", OTHER_KINDS)
def test_a_key_of_another_kind(server: Any, kind: str) -> None:
    alpha = server("ecdsa", "current")
    alpha.file("server", "key").write_bytes(
        OTHER_KINDS[kind].private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    error = one(alpha.inspect())
    assert (error.kind, error.path) == ("damaged_file", str(alpha.file("server", "key")))
    assert "not of the kind" in error.cause


@pytest.mark.parametrize("form", ["p384", "ed25519"])
def test_a_key_of_another_type_that_is_made_here(server: Any, form: str, tmp_path: Path) -> None:
    alpha, other = server("ecdsa", "current"), server(form, "current", path=tmp_path / "other")
    alpha.file("server", "key").write_bytes(other.file("server", "key").read_bytes())
    error = one(alpha.inspect())
    assert (error.kind, error.path) == ("mismatch", str(alpha.file("server", "key")))


def test_a_pfx_with_too_many_iterations(server: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    alpha = server("pfx", "current")
    # Its manifest would settle it otherwise.
    (alpha.path / "current" / layout.MANIFEST).unlink()
    monkeypatch.setattr(pkcs12, "MAX_ITERATIONS", 3 * pkcs12.ITERATIONS - 1)
    errors = alpha.inspect().errors()
    # Not taken for another passphrase.
    assert [(error.path, error.kind) for error in errors] == [
        (str(alpha.file(role, "pfx")), "too_many_iterations") for role in names.ROLES
    ]


@pytest.mark.parametrize("kind", OTHER_KINDS)
def test_a_set_of_another_kind(server: Any, kind: str) -> None:
    alpha = server("pfx", "current")
    key = OTHER_KINDS[kind]
    name = library.Name([library.NameAttribute(NameOID.COMMON_NAME, "alpha")])
    certificate = (
        library.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(NOW)
        .not_valid_after(NOW + datetime.timedelta(days=1))
        .add_extension(library.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .sign(key, None if kind == "ed448" else hashes.SHA256())
    )
    file = alpha.file("server", "pfx")
    passphrase = file.with_name(PASSPHRASE).read_bytes().strip()
    der = certificate.public_bytes(serialization.Encoding.DER)
    file.write_bytes(pkcs12.write_pfx("alpha", key, der, passphrase, pkcs12.MODERN))
    assert paths(alpha.inspect()) == {str(file)}
    alpha.file("server", "cer").write_bytes(der)
    assert paths(alpha.inspect()) == {str(file), str(alpha.file("server", "cer"))}


@pytest.mark.parametrize(
    "damage",
    [
        (b"\n", b"\r\n"),
        (b"-----BEGIN", b"a comment\n-----BEGIN"),
        (b"-----BEGIN", b"\n-----BEGIN"),
        (b"-----END", b"\n-----END"),
        (b"-----\n", b"----- \n"),
    ],
)
@pytest.mark.parametrize("suffix", ["crt", "key"])
def test_pem_in_another_way_of_writing(server: Any, suffix: str, damage: tuple[bytes, bytes]) -> None:
    alpha = server("ecdsa", "current")
    file = alpha.file("client", suffix)
    file.write_bytes(file.read_bytes().replace(*damage))
    error = one(alpha.inspect())
    assert (error.kind, error.path) == ("damaged_file", str(file))


@pytest.mark.parametrize("suffix", ["crt", "key"])
def test_pem_with_lines_of_another_length(server: Any, suffix: str) -> None:
    alpha = server("ecdsa", "current")
    file = alpha.file("client", suffix)
    first, *body, last = file.read_text().splitlines()
    text = "".join(body)
    file.write_text("\n".join([first, *(text[start : start + 32] for start in range(0, len(text), 32)), last, ""]))
    error = one(alpha.inspect())
    assert (error.kind, error.path) == ("damaged_file", str(file))


def test_an_encrypted_key(server: Any, ecdsa_key: Any) -> None:
    alpha = server("ecdsa", "current")
    alpha.file("server", "key").write_bytes(
        ecdsa_key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"very-secret"),
        )
    )
    error = one(alpha.inspect())
    assert (error.kind, error.path) == ("damaged_file", str(alpha.file("server", "key")))


# -- links inside a generation, and what does not belong there -------------------------------------------------


@pytest.mark.parametrize("name", ["server.crt", "server.key", "client.crt", "client.key"])
def test_the_stable_links(server: Any, name: str) -> None:
    alpha = server("ecdsa", "current")
    link = alpha.path / "current" / name
    target = link.readlink()
    link.unlink()
    assert (one(alpha.inspect()).kind, one(alpha.inspect()).path) == ("missing_file", str(link.parent.resolve() / name))
    link.symlink_to("/etc/passwd")
    error = one(alpha.inspect())
    assert (error.kind, error.path) == ("unexpected_link", str(link.parent.resolve() / name))
    assert "/etc/passwd" in error.cause and str(target) in error.cause
    link.unlink()
    link.write_text("x")
    assert one(alpha.inspect()).kind == "not_a_link"


@pytest.mark.parametrize("name", ["notes.txt", "alpha_SyncServer.key.bak", "bravo_SyncServer.crt", TEMPORARY + "12"])
def test_a_unexpected_file_in_a_generation(server: Any, name: str) -> None:
    alpha = server("ecdsa", "current")
    file = alpha.file("server", "crt").with_name(name)
    file.write_text("x")
    error = one(alpha.inspect())
    assert (error.kind, error.path) == ("unexpected_file", str(file))
    assert file.read_text() == "x"


def test_more_files_of_another_server_than_of_this_one(server: Any) -> None:
    alpha = server("ecdsa", "current")
    folder = alpha.file("server", "crt").parent
    foreign = [folder / f"bravo_Sync{role}.{suffix}" for role in ("Server", "Client") for suffix in layout.FORMATS]
    foreign += [folder / "bravo_SyncServer.crt"]
    for file in foreign:
        file.write_text("x")
    assert paths(alpha.inspect()) == {str(file) for file in foreign}


def test_a_generation_without_anything(server: Any) -> None:
    alpha = server("ecdsa", "current")
    folder = alpha.file("server", "crt").parent
    for file in folder.iterdir():
        file.unlink()
    error = one(alpha.inspect())
    assert (error.kind, error.path) == ("missing_file", str(folder))


# -- the .pfx files and their passphrase -----------------------------------------------------------------------


def test_the_verdict_on_the_passphrase(server: Any) -> None:
    alpha = server("pfx", "current")
    stored = alpha.file("server", "pfx").with_name(PASSPHRASE).read_bytes().strip()

    def verdict(**changes: Any) -> Any:
        found = alpha.inspect(**changes)
        assert found.errors() == []
        return found.generations["current"].pfx

    assert verdict() == PFX_OPENS
    assert verdict(passphrase=stored) == PFX_OPENS
    assert verdict(passphrase=b"another") == PFX_DIFFERS
    assert alpha.inspect().generations["current"].encryptions == ("modern",)
    # Where the user gives it, no file for it is needed.
    alpha.file("server", "pfx").with_name(PASSPHRASE).unlink()
    assert verdict(passphrase=stored) == PFX_OPENS
    assert verdict(passphrase=b"another") == PFX_DIFFERS
    assert alpha.inspect(passphrase=stored).generations["current"].encryptions == ("modern",)


def test_a_pfx_of_another_program(server: Any, ecdsa_key: Any) -> None:
    alpha = server("pfx", "current")
    file = alpha.file("server", "pfx")
    file.write_bytes(
        serialize_key_and_certificates(b"alpha", ecdsa_key, None, None, serialization.NoEncryption()),
    )
    error = one(alpha.inspect())
    assert (error.kind, error.path) == ("damaged_file", str(file))
    assert "no PKCS#12 file of this collection" in error.cause


def test_a_damaged_pfx_is_told_from_another_passphrase_by_the_other_role(server: Any) -> None:
    alpha = server("pfx", "current")
    stored = alpha.file("server", "pfx").with_name(PASSPHRASE).read_bytes().strip()
    alpha.file("server", "pfx").with_name(PASSPHRASE).unlink()
    file = alpha.file("client", "pfx")
    data = file.read_bytes()
    file.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    error = one(alpha.inspect(passphrase=stored))
    assert (error.kind, error.path) == ("damaged_file", str(file))
    assert stored.decode() not in str(error)


# -- the links to generations ----------------------------------------------------------------------------------


@pytest.mark.parametrize("target", ["generations", "generations/../x", "/etc", "generations/a", "remote/a", "."])
def test_a_link_that_leads_elsewhere(server: Any, target: str) -> None:
    alpha = server("ecdsa", "current")
    (alpha.path / "current").unlink()
    (alpha.path / "current").symlink_to(target)
    error = one(alpha.inspect())
    assert (error.kind, error.path) == ("unexpected_link", str(alpha.path / "current"))
    assert repr(target) in error.cause


@pytest.mark.parametrize("state", ["current", "next"])
def test_a_link_to_a_generation_that_is_gone(server: Any, state: str) -> None:
    alpha = server("ecdsa", "current", "next")
    identity = alpha.links()[state]
    (alpha.path / "generations" / identity).rename(alpha.path.parent / "away")
    error = one(alpha.inspect())
    assert (error.kind, error.path) == ("missing_file", str(alpha.path / state))
    assert identity in error.cause


def test_all_generations_are_gone(server: Any) -> None:
    alpha = server("ecdsa", "current")
    (alpha.path / "generations").rename(alpha.path.parent / "away")
    assert one(alpha.inspect()).path == str(alpha.path / "current")


@pytest.mark.parametrize("state", names.STATES)
def test_something_else_in_the_place_of_a_link(server: Any, state: str) -> None:
    alpha = server("ecdsa", "current")
    (alpha.path / state).unlink(missing_ok=True)
    (alpha.path / state).mkdir()
    error = one(alpha.inspect())
    assert (error.kind, error.path) == ("not_a_link", str(alpha.path / state))


def test_a_missing_current_is_not_guessed_where_guessing_could_destroy_keys(server: Any) -> None:
    alpha = server("ecdsa", "current", "next")
    (alpha.path / "current").unlink()
    error = one(alpha.inspect())
    assert (error.kind, error.path) == ("missing_file", str(alpha.path / "current"))
    (alpha.path / "next").unlink()
    found = alpha.inspect()
    assert found.adopt is None
    assert one(found).path == str(alpha.path / "current")


def test_the_very_first_generation_is_adopted_if_it_is_sound(server: Any) -> None:
    alpha = server("ecdsa", "current")
    identity = alpha.links()["current"]
    (alpha.path / "current").unlink()
    found = alpha.inspect()
    assert (found.adopt, found.orphans, found.errors()) == (identity, (), [])
    file = alpha.path / "generations" / identity / "alpha_SyncServer.key"
    file.write_bytes(b"")
    found = alpha.inspect()
    assert found.adopt is None
    assert paths(found) == {str(file)}


@pytest.mark.skipif(not ROOT, reason="only root can give files away")
@pytest.mark.parametrize("name", ["generations", "current", "next"])
def test_what_belongs_to_somebody_else(server: Any, name: str) -> None:
    alpha = server("ecdsa", "current", "next")
    os.lchown(alpha.path / name, 12345, -1)
    errors = alpha.inspect().errors()
    assert str(alpha.path / name) in {error.path for error in errors if error.kind == "wrong_owner"}


def test_a_file_in_the_place_of_the_generations(server: Any) -> None:
    alpha = server("ecdsa", "current")
    (alpha.path / "generations").rename(alpha.path.parent / "away")
    (alpha.path / "generations").write_text("x")
    error = one(alpha.inspect())
    assert (error.kind, error.path) == ("not_a_folder", str(alpha.path / "generations"))


# -- what else lies there --------------------------------------------------------------------------------------


def test_what_a_killed_run_left_and_what_is_not_ours(server: Any) -> None:
    alpha = server("ecdsa", "current", "next")
    (alpha.path / "next").unlink()
    (alpha.path / (TEMPORARY + "1")).write_text("x")
    (alpha.path / "generations" / (TEMPORARY + "2")).mkdir()
    (alpha.path / "notes.txt").write_text("x")
    found = alpha.inspect()
    assert found.errors() == []
    assert len(found.orphans) == 1
    assert found.leftovers == (TEMPORARY + "1",)
    assert found.unfinished == (TEMPORARY + "2",)
    assert found.unexpected == ("notes.txt",)


@pytest.mark.parametrize("name", ["notes.txt", "20261123T120000Z-0123abcd"])
def test_strangers_among_the_generations(server: Any, name: str) -> None:
    alpha = server("ecdsa", "current")
    file = alpha.path / "generations" / name
    file.write_text("x")
    found = alpha.inspect()
    assert found.unexpected_generations == (name,)
    assert (one(found).kind, one(found).path) == ("unexpected_file", str(file))
    assert "Move it elsewhere" in one(found).remedy


# -- modes -----------------------------------------------------------------------------------------------------


def test_wrong_modes_are_listed_and_no_problem(server: Any) -> None:
    alpha = server("rsa", "current")
    folder = alpha.file("server", "key").parent
    wrong = [alpha.file("server", "key"), alpha.file("client", "pvk"), alpha.file("client", "crt"), folder]
    for path in (*wrong, alpha.path / "generations", alpha.path):
        path.chmod(0o777)
    found = alpha.inspect()
    assert found.errors() == []
    places = {"/".join((str(alpha.path), *mode.place)): (mode.found, mode.wanted, mode.gid) for mode in found.modes}
    wanted = [0o600, 0o600, 0o644, 0o700, 0o711, 0o755]
    everything = (*wrong, alpha.path / "generations", alpha.path)
    assert places == {str(path): (0o777, mode, None) for path, mode in zip(everything, wanted)}


def test_with_a_group_that_may_read_the_keys(server: Any) -> None:
    alpha = server("rsa", "current")
    gid = os.getegid()
    found = alpha.inspect(gid=gid)
    folder = alpha.file("server", "key").parent
    listed = {"/".join((str(alpha.path), *mode.place)): mode.wanted for mode in found.modes}
    secret = [alpha.file(role, suffix) for role in names.ROLES for suffix in ("key", "pvk")]
    secret.append(folder / "manifest.json")
    assert listed == {str(folder): 0o750, **{str(file): 0o640 for file in secret}}
    with Folder.open(str(alpha.path)) as base:
        assert inspect(base, Expected("alpha", any_group=True)).modes == ()
        folder.chmod(0o750)
        for file in secret:
            file.chmod(0o640)
        assert inspect(base, Expected("alpha", gid=gid)).modes == ()
        assert inspect(base, Expected("alpha", any_group=True)).modes == ()
        secret[0].chmod(0o660)
        assert len(inspect(base, Expected("alpha", any_group=True)).modes) == 1


@pytest.mark.skipif(not ROOT, reason="only root can give files to any group")
def test_a_wrong_group_is_listed(server: Any) -> None:
    alpha = server("ecdsa", "current")
    for path in (alpha.file("server", "key").parent, *alpha.path.rglob("*.key"), *alpha.path.rglob("manifest.json")):
        os.chown(path, -1, 4321)
        path.chmod(0o750 if path.is_dir() else 0o640)
    assert alpha.inspect(gid=4321).modes == ()
    os.chown(alpha.file("client", "key"), -1, 1234)
    found = alpha.inspect(gid=4321)
    assert [mode.place[-1] for mode in found.modes] == ["alpha_SyncClient.key"]


# -- the note of a rotation ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "{}", '{"holder": 1, "since": "x"}', '{"holder": "x"}', "x" * 5000, "[" * 2000 + "]" * 2000],
)
def test_a_note_that_cannot_be_read_still_holds(server: Any, text: str) -> None:
    alpha = server("ecdsa", "current")
    (alpha.path / "rotation.json").write_text(text)
    assert alpha.inspect().rotation == {"holder": "", "since": ""}


def test_the_note_of_a_rotation(server: Any) -> None:
    alpha = server("ecdsa", "current")
    note = {"holder": "root@node", "since": "2026-11-23T12:00:00Z", "id": "r1"}
    (alpha.path / "rotation.json").write_text(json.dumps(note))
    assert alpha.inspect().rotation == note


def test_the_note_of_a_rotation_that_is_over_here(server: Any) -> None:
    # A run that was killed after it had retired leaves the note behind.
    alpha = server("ecdsa", "current", "next")
    note = {"holder": "root@node", "since": "2026-11-23T12:00:00Z", "id": alpha.links()["current"].rpartition("-")[2]}
    (alpha.path / "rotation.json").write_text(json.dumps(note))
    assert alpha.inspect().rotation == note
    (alpha.path / "next").unlink()
    assert alpha.inspect().rotation is None


# -- a generation that was just made ---------------------------------------------------------------------------


@pytest.mark.parametrize("wrong", ["content", "mode"])
def test_a_new_generation_is_read_back(server: Any, wrong: str) -> None:
    alpha = server("ecdsa", "current")
    file = alpha.file("client", "key")
    with Folder.open(str(alpha.path)) as base, base.child("generations") as top, top.child(file.parent.name) as folder:
        found = inspection.check_generation(folder, "x", alpha.settings.expected)
        assert (found.id, set(found.certificates)) == ("x", set(names.ROLES))
        if wrong == "mode":
            file.chmod(0o640)
        else:
            file.write_bytes(alpha.file("server", "key").read_bytes())
        with pytest.raises(EsyncError) as caught:
            inspection.check_generation(folder, "x", alpha.settings.expected)
    assert caught.value.kind == "io_error"
    assert str(caught.value.path).startswith(str(file.parent))
