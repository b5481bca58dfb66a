# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import base64
import dataclasses
import datetime
import hashlib
from types import SimpleNamespace
from typing import Any

import cryptography
import pytest
from cryptography import x509 as library
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ed448
from cryptography.x509.oid import ExtendedKeyUsageOID, ExtensionOID, NameOID

from ansible_collections.esync.mesh.plugins.module_utils._core.certificate import pem_of
from ansible_collections.esync.mesh.plugins.module_utils._core.errors import EsyncError
from ansible_collections.esync.mesh.plugins.module_utils._crypto import certificates as x509

NOW = datetime.datetime(2026, 11, 23, 20, 0, 0, tzinfo=datetime.timezone.utc)
PROFILE = x509.Profile("web-1", ("web-1", "web-1.example.org", "192.0.2.1", "2001:db8::1"), "ecdsa", 256, 365)
PLACE = "/etc/esync/somewhere"
USAGES = {"server": ExtendedKeyUsageOID.SERVER_AUTH, "client": ExtendedKeyUsageOID.CLIENT_AUTH}


@pytest.fixture(scope="module")
def made(ecdsa_key: Any) -> x509.Certificate:
    return x509.self_sign(ecdsa_key, "server", PROFILE, NOW)


def profile(**changes: Any) -> x509.Profile:
    return dataclasses.replace(PROFILE, **changes)


def foreign(key: Any, usages: list[Any] | None) -> bytes:
    """A self-signed certificate of somebody else, DER."""
    name = library.Name([library.NameAttribute(NameOID.COMMON_NAME, "stranger")])
    builder = (
        library.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(NOW)
        .not_valid_after(NOW + datetime.timedelta(days=1))
    )
    if usages is not None:
        builder = builder.add_extension(library.ExtendedKeyUsage(usages), critical=False)
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.DER)


def refused(kind: str, function: Any, *arguments: Any) -> EsyncError:
    """The error that a reader must raise: named, and without a trace of the library's own."""
    with pytest.raises(EsyncError) as caught:
        function(*arguments)
    error = caught.value
    assert error.kind == kind
    assert error.remedy
    assert error.__cause__ is None
    assert error.__context__ is None or error.__suppress_context__
    return error


# -- making ----------------------------------------------------------------------------------------------------------


def padded(key: Any, size: int, *name: str) -> bytes:
    """A certificate with an extension of about this many bytes, and with more in its name."""
    parts = [library.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, one) for one in name]
    subject = library.Name([library.NameAttribute(NameOID.COMMON_NAME, "web-1"), *parts])
    return (
        library.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(NOW)
        .not_valid_after(NOW + datetime.timedelta(days=1))
        .add_extension(library.ExtendedKeyUsage([USAGES["client"]]), critical=False)
        .add_extension(library.UnrecognizedExtension(library.ObjectIdentifier("1.2.3"), bytes(size)), critical=False)
        .sign(key, hashes.SHA256())
        .public_bytes(serialization.Encoding.DER)
    )


@pytest.mark.parametrize("form", ["DER", "PEM"])
def test_a_certificate_has_a_size_that_services_can_take(form: str, ecdsa_key: Any) -> None:
    def read(data: bytes) -> Any:
        return x509.parse_certificate(pem_of(data) if form == "PEM" else data, PLACE, "client")

    assert len(read(padded(ecdsa_key, 15_000)).der) > 15_000
    assert len(read(padded(ecdsa_key, 0, *["x" * 60] * 10)).der) > 600
    for size in (17_000, 40_000):
        assert "16384" in refused("too_large", read, padded(ecdsa_key, size)).cause
    assert "1024" in refused("too_large", read, padded(ecdsa_key, 0, *["x" * 60] * 20)).cause


@pytest.mark.parametrize("key_type", ["rsa", "ecdsa", "p384", "ed25519"])
@pytest.mark.parametrize("role", ["server", "client"])
def test_the_profile(role: str, key_type: str, request: pytest.FixtureRequest) -> None:
    key = request.getfixturevalue(f"{key_type}_key")
    made = x509.self_sign(key, role, PROFILE, NOW)
    found = library.load_der_x509_certificate(made.der)
    name = library.Name([library.NameAttribute(NameOID.COMMON_NAME, "web-1")])
    assert found.version == library.Version.v3
    assert (found.subject, found.issuer) == (name, name)
    algorithm = found.signature_hash_algorithm
    # As strong as the curve; Ed25519 has its own.
    assert (algorithm and algorithm.name) == {"p384": "sha384", "ed25519": None}.get(key_type, "sha256")
    # Each extension once, with the criticality that every consumer accepts.
    assert {extension.oid: extension.critical for extension in found.extensions} == {
        ExtensionOID.BASIC_CONSTRAINTS: True,
        ExtensionOID.KEY_USAGE: True,
        ExtensionOID.EXTENDED_KEY_USAGE: False,
        ExtensionOID.SUBJECT_ALTERNATIVE_NAME: False,
        ExtensionOID.SUBJECT_KEY_IDENTIFIER: False,
        ExtensionOID.AUTHORITY_KEY_IDENTIFIER: False,
    }
    value = {extension.oid: extension.value for extension in found.extensions}
    constraints: Any = value[ExtensionOID.BASIC_CONSTRAINTS]
    assert (constraints.ca, constraints.path_length) == (False, None)
    usage: Any = value[ExtensionOID.KEY_USAGE]
    allowed = (
        "digital_signature content_commitment key_encipherment data_encipherment key_agreement key_cert_sign crl_sign"
    )
    expected = ["digital_signature"] + ["key_encipherment"] * (key_type != "ed25519")
    assert [use for use in allowed.split() if getattr(usage, use)] == expected
    extended: Any = value[ExtensionOID.EXTENDED_KEY_USAGE]
    assert list(extended) == [USAGES[role]]
    subject_key: Any = value[ExtensionOID.SUBJECT_KEY_IDENTIFIER]
    authority: Any = value[ExtensionOID.AUTHORITY_KEY_IDENTIFIER]
    assert authority.key_identifier == subject_key.digest
    assert (authority.authority_cert_issuer, authority.authority_cert_serial_number) == (None, None)
    assert subject_key == library.SubjectKeyIdentifier.from_public_key(key.public_key())


@pytest.mark.skipif(int(cryptography.__version__.split(".")[0]) < 50, reason="the verifier came later")
@pytest.mark.parametrize("key_type", ["rsa", "ecdsa", "p384", "ed25519"])
@pytest.mark.parametrize("role", ["server", "client"])
def test_a_strict_verifier_takes_it(role: str, key_type: str, request: pytest.FixtureRequest) -> None:
    from cryptography.x509.verification import PolicyBuilder, Store

    key = request.getfixturevalue(f"{key_type}_key")
    found = library.load_der_x509_certificate(x509.self_sign(key, role, PROFILE, NOW).der)
    policy = PolicyBuilder().store(Store([found])).time(NOW)
    if role == "server":
        assert policy.build_server_verifier(library.DNSName("web-1.example.org")).verify(found, []) == [found]
    else:
        assert policy.build_client_verifier().verify(found, []).chain == [found]


def test_what_is_told_of_it(made: x509.Certificate, ecdsa_key: Any) -> None:
    assert made.role == "server"
    assert made.subject == "web-1"
    assert made.not_before == NOW - datetime.timedelta(hours=24)
    assert made.not_after == NOW + datetime.timedelta(days=365)
    assert made.not_before.tzinfo is datetime.timezone.utc
    assert made.alt_names == PROFILE.alt_names
    assert (made.key_type, made.key_size) == ("ecdsa", 256)
    assert made.public_key == x509.public_key_of(ecdsa_key)
    assert made.fingerprint == hashlib.sha256(made.der).hexdigest()
    assert made.facts() == {
        "role": "server",
        "fingerprint": made.fingerprint,
        "subject": "web-1",
        "not_before": "2026-11-22T20:00:00Z",
        "not_after": "2027-11-23T20:00:00Z",
        "alt_names": list(PROFILE.alt_names),
        "pem": made.pem,
    }


def test_serials_are_random_and_large(ecdsa_key: Any) -> None:
    serials = [
        library.load_der_x509_certificate(x509.self_sign(ecdsa_key, "server", PROFILE, NOW).der).serial_number
        for _number in range(5)
    ]
    assert len(set(serials)) == len(serials)
    assert all(0 < serial < 2**159 for serial in serials)
    assert max(serials) > 2**128


def test_another_time_zone_is_the_same_moment(ecdsa_key: Any) -> None:
    zone = datetime.timezone(datetime.timedelta(hours=5, minutes=30))
    assert x509.self_sign(ecdsa_key, "server", PROFILE, NOW.astimezone(zone)).not_after == NOW + datetime.timedelta(365)
    assert x509.timestamp(NOW.astimezone(zone)) == "2026-11-23T20:00:00Z"


def test_names_become_what_a_certificate_holds(ecdsa_key: Any) -> None:
    given = (
        "Web_1",
        "münchen.example",
        "münchen.example",
        "192.0.2.7",
        "2001:DB8:0::0001",
        "fe80::1%eth0",
        "a-",
        "1.2",
    )
    expected = ("Web_1", "xn--mnchen-3ya.example", "192.0.2.7", "2001:db8::1", "fe80::1", "a-", "1.2")
    assert x509.normal_alt_names(given) == expected
    made = x509.self_sign(ecdsa_key, "client", profile(alt_names=given), NOW)
    assert made.alt_names == expected
    names = library.load_der_x509_certificate(made.der).extensions.get_extension_for_class(
        library.SubjectAlternativeName
    )
    assert [type(name).__name__ for name in names.value] == ["DNSName"] * 2 + ["IPAddress"] * 3 + ["DNSName"] * 2
    # What is made and what is read of it is the same, or a set would be renewed for ever.
    assert x509.parse_certificate(made.der, PLACE).alt_names == x509.normal_alt_names(made.alt_names)


@pytest.mark.parametrize(
    "name",
    ["", " ", "a b", "*.example.org", ".example.org", "-a", "a/b", "a\0b", "a\n", "mün..chen", "ü" * 64]
    + ["192.0.2.256", "192.0.2.1/24", "a:8732", "a" * 254, "user@example.org", "https://a"],
)
def test_what_is_no_name(name: str, ecdsa_key: Any) -> None:
    error = refused("bad_name", x509.self_sign, ecdsa_key, "server", profile(alt_names=("web-1", name)), NOW)
    assert repr(name) in str(error)


def test_the_common_name_has_its_limit(ecdsa_key: Any) -> None:
    assert x509.self_sign(ecdsa_key, "server", profile(name="a" * 64), NOW).subject == "a" * 64
    for name in ("", "a" * 65, "a\0b"):
        refused("bad_name", x509.self_sign, ecdsa_key, "server", profile(name=name), NOW)


def test_days_have_their_limits(ecdsa_key: Any) -> None:
    for days in (1, 36500):
        made = x509.self_sign(ecdsa_key, "server", profile(valid_days=days), NOW)
        assert made.not_after == NOW + datetime.timedelta(days=days)
    for days in (-1, 0, 36501, 10**9):
        error = refused("bad_valid_days", x509.self_sign, ecdsa_key, "server", profile(valid_days=days), NOW)
        assert "esync_valid_days" in str(error)


@pytest.mark.parametrize(("key_type", "size"), [("rsa", 1024), ("rsa", 2047), ("rsa", 0), ("dsa", 2048), ("", 2048)])
def test_keys_that_are_not_made(key_type: str, size: int) -> None:
    assert "esync_key_size" in str(refused("bad_key_type", x509.generate_key, key_type, size))


def test_keys_that_are_made(rsa_key: Any, ecdsa_key: Any) -> None:
    assert rsa_key.private_numbers().public_numbers.e == 65537
    assert ecdsa_key.curve.name == "secp256r1"
    assert x509.generate_key("ecdsa", None).curve.name == "secp256r1"
    assert x509.generate_key("ecdsa", 384).curve.name == "secp384r1"


# -- reading a certificate -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("role", [None, "server"])
def test_both_forms_are_read_back_whole(role: str | None, made: x509.Certificate) -> None:
    assert x509.parse_certificate(made.der, PLACE, role) == made
    assert x509.parse_certificate(made.pem.encode(), PLACE, role) == made
    assert x509.parse_certificate(made.pem.replace("\n", "\r\n").encode(), PLACE, role) == made


def test_the_role_must_be_the_one_of_its_place(made: x509.Certificate) -> None:
    error = refused("wrong_role", x509.parse_certificate, made.der, PLACE, "client")
    assert error.path == PLACE
    assert "client" in error.cause
    assert "server" in error.cause


@pytest.mark.parametrize(
    ("usages", "said"),
    [
        (None, "neither"),
        ([ExtendedKeyUsageOID.CODE_SIGNING], "neither"),
        ([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH], "server and client"),
        ([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CODE_SIGNING], "server"),
    ],
)
@pytest.mark.parametrize("role", [None, "server"])
def test_exactly_one_usage(usages: list[Any] | None, said: str, role: str | None, ecdsa_key: Any) -> None:
    error = refused("wrong_role", x509.parse_certificate, foreign(ecdsa_key, usages), PLACE, role)
    assert said in error.cause


def shaped(form: str, der: bytes) -> bytes:
    """A certificate as a file holds it."""
    if form == "der":
        return der
    return b"-----BEGIN CERTIFICATE-----\n" + base64.encodebytes(der) + b"-----END CERTIFICATE-----\n"


@pytest.mark.parametrize("form", ["der", "pem"])
def test_what_an_older_library_passes_over_is_refused(
    form: str, made: x509.Certificate, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As versions up to 3.4 do: OpenSSL reads a certificate, and nobody looks at what stands after it.
    load = library.load_der_x509_certificate
    lax = SimpleNamespace(**{name: getattr(library, name) for name in dir(library) if not name.startswith("_")})
    lax.load_der_x509_certificate = lambda data: load(data[: len(made.der)])
    lax.load_pem_x509_certificate = lambda data: load(
        base64.b64decode(b"".join(data.split(b"-----")[2].split()))[: len(made.der)]
    )
    monkeypatch.setattr(x509, "x509", lax)
    assert x509.parse_certificate(shaped(form, made.der), PLACE).der == made.der
    for extra in (b"\0", b"\0" * 7, made.der):
        refused("damaged_file", x509.parse_certificate, shaped(form, made.der + extra), PLACE)


@pytest.mark.parametrize("form", ["der", "pem"])
def test_no_bit_of_a_certificate_can_be_changed_unnoticed(form: str, made: x509.Certificate) -> None:
    for bit in range(len(made.der) * 8):
        changed = bytearray(made.der)
        changed[bit // 8] ^= 1 << bit % 8
        try:
            found = x509.parse_certificate(shaped(form, bytes(changed)), PLACE)
        except EsyncError:
            continue
        assert found.der == bytes(changed) and not x509.signed_by_itself(found.der), f"bit {bit}"


def test_what_is_not_one_certificate(made: x509.Certificate, ecdsa_key: Any) -> None:
    pem = made.pem.encode()
    inner = base64.encodebytes(made.der + b"\0\0")
    cases = {
        "empty": b"",
        "blank": b"\n",
        "text": b"hello",
        "bytes after DER": made.der + b"\0",
        "a newline after DER": made.der + b"\n",
        "DER twice": made.der * 2,
        "bytes before DER": b"\0" + made.der,
        "PEM twice": pem * 2,
        "text after PEM": pem + b"x",
        "text before PEM": b"x\n" + pem,
        "a key after PEM": pem + x509.key_to_pem(ecdsa_key),
        "a key": x509.key_to_pem(ecdsa_key),
        "bytes after the DER in PEM": b"-----BEGIN CERTIFICATE-----\n" + inner + b"-----END CERTIFICATE-----\n",
        "PEM cut off": pem[:-30],
        "DER cut off": made.der[:-1],
        "too large": made.der + bytes(x509.MAX_BYTES),
        "too large PEM": pem + b"\n" * x509.MAX_BYTES,
    }
    for what, data in cases.items():
        try:
            error = refused("damaged_file", x509.parse_certificate, data, PLACE)
        except pytest.fail.Exception:
            pytest.fail(f"accepted: {what}")
        assert error.path == PLACE


@pytest.mark.filterwarnings("ignore:Parsed a")
def test_no_damage_passes_unseen_or_ends_in_a_foreign_exception(made: x509.Certificate) -> None:
    refusals = 0
    for position in range(len(made.der)):
        data = bytearray(made.der)
        data[position] ^= 1 << (position % 8)
        try:
            found = x509.parse_certificate(bytes(data), PLACE, "server")
        except EsyncError as error:
            assert error.path == PLACE
            refusals += 1
        else:
            assert found.fingerprint != made.fingerprint
    assert refusals > 20
    for length in range(len(made.der)):
        refused("damaged_file", x509.parse_certificate, made.der[:length], PLACE)


@pytest.mark.filterwarnings("ignore:Parsed a")
@pytest.mark.parametrize("key_type", ["rsa", "ecdsa", "p384", "ed25519"])
def test_a_signature_covers_every_bit(key_type: str, request: pytest.FixtureRequest) -> None:
    key = request.getfixturevalue(f"{key_type}_key")
    der = x509.self_sign(key, "server", PROFILE, NOW).der
    assert x509.signed_by_itself(der)
    for position in range(len(der)):
        data = bytearray(der)
        data[position] ^= 1 << (position % 8)
        assert not x509.signed_by_itself(bytes(data)), position
    for wrong in (b"", der + b"\0", der[:-1]):
        assert not x509.signed_by_itself(wrong)


def test_a_certificate_that_another_key_signed(ecdsa_key: Any) -> None:
    name = library.Name([library.NameAttribute(NameOID.COMMON_NAME, "web-1")])
    builder = (
        library.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(ecdsa_key.public_key())
        .serial_number(1)
        .not_valid_before(NOW)
        .not_valid_after(NOW + datetime.timedelta(days=1))
    )
    for key, expected in ((ecdsa_key, True), (x509.generate_key("ecdsa", 256), False)):
        der = builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.DER)
        assert x509.signed_by_itself(der) is expected


# -- keys ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("key_type", ["rsa", "ecdsa", "p384", "ed25519"])
def test_a_key_is_read_back(key_type: str, request: pytest.FixtureRequest) -> None:
    key = request.getfixturevalue(f"{key_type}_key")
    pem = x509.key_to_pem(key)
    assert pem.startswith(b"-----BEGIN PRIVATE KEY-----\n")
    found = x509.key_from_pem(pem, PLACE)
    assert x509.key_to_pem(found) == pem
    assert x509.public_key_of(found) == x509.public_key_of(key)
    # To the byte as the library writes it.
    assert pem == key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def test_a_key_that_is_never_made_here_is_written_by_the_library() -> None:
    key = ed448.Ed448PrivateKey.generate()
    assert x509.public_key_of(x509.key_from_pem(x509.key_to_pem(key), PLACE)) == x509.public_key_of(key)


def test_other_forms_of_a_key_are_read(ecdsa_key: Any) -> None:
    traditional = ecdsa_key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    )
    assert x509.key_from_pem(traditional, PLACE).private_numbers() == ecdsa_key.private_numbers()


def test_what_is_not_one_key(made: x509.Certificate, ecdsa_key: Any, other_rsa_key: Any) -> None:
    pem = x509.key_to_pem(ecdsa_key)
    encrypted = ecdsa_key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"passphrase"),
    )
    cases = {
        "empty": b"",
        "text": b"hello",
        "a certificate": made.pem.encode(),
        "twice": pem + x509.key_to_pem(other_rsa_key),
        "text after": pem + b"x",
        "text before": b"x\n" + pem,
        "a certificate after": pem + made.pem.encode(),
        "encrypted": encrypted,
        "cut off": pem[:-40],
        "hollow": b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
        "too large": pem + b"\n" * x509.MAX_BYTES,
    }
    for what, data in cases.items():
        try:
            error = refused("damaged_file", x509.key_from_pem, data, PLACE)
        except pytest.fail.Exception:
            pytest.fail(f"accepted: {what}")
        assert error.path == PLACE


def test_no_damage_of_a_key_ends_in_a_foreign_exception_or_shows_it(ecdsa_key: Any) -> None:
    pem = x509.key_to_pem(ecdsa_key)
    lines = pem.decode().splitlines()[1:-1]
    refusals = 0
    for position in range(len(pem)):
        data = bytearray(pem)
        data[position] ^= 1 << (position % 8)
        try:
            x509.key_from_pem(bytes(data), PLACE)
        except EsyncError as error:
            refusals += 1
            assert error.kind == "damaged_file"
            assert not any(line[:16] in str(error) for line in lines)
    # A flipped bit can make another sound key, which comparing with the certificate finds.
    assert refusals > len(pem) // 4
