# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import dataclasses
import datetime
import hashlib
import time
import warnings
from typing import Any

import pytest
from cryptography import x509 as library
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.ciphers import algorithms
from cryptography.hazmat.primitives.serialization import pkcs12 as library_pkcs12

from ansible_collections.esync.mesh.plugins.module_utils._core import layout
from ansible_collections.esync.mesh.plugins.module_utils._core.errors import EsyncError
from ansible_collections.esync.mesh.plugins.module_utils._crypto import certificates as x509
from ansible_collections.esync.mesh.plugins.module_utils._crypto import der, pkcs12

PLACE = "/etc/esync/web-1_SyncServer.pfx"
PASSPHRASE = b"a long and random passphrase"


@pytest.fixture(scope="module")
def made(ecdsa_key: Any) -> x509.Certificate:
    return certificate(ecdsa_key)


def certificate(key: Any) -> x509.Certificate:
    profile = x509.Profile("web-1", ("web-1",), "ecdsa", 256, 365)
    return x509.self_sign(key, "server", profile, datetime.datetime.now(datetime.timezone.utc))


def refused(data: bytes, passphrase: bytes = PASSPHRASE) -> EsyncError:
    with pytest.raises(EsyncError) as caught:
        pkcs12.read_pfx(data, PLACE, passphrase)
    error = caught.value
    assert (error.kind, error.path) == ("damaged_file", PLACE)
    assert error.__cause__ is None
    assert error.__context__ is None or error.__suppress_context__
    assert passphrase.decode(errors="replace") not in str(error) or not passphrase
    return error


def test_what_users_are_offered_is_what_there_is() -> None:
    assert pkcs12.ENCRYPTIONS == layout.ENCRYPTIONS


@pytest.mark.parametrize("encryption", pkcs12.ENCRYPTIONS)
@pytest.mark.parametrize("key_type", ["rsa", "ecdsa", "p384", "ed25519"])
def test_what_is_written_is_read_back(encryption: str, key_type: str, request: pytest.FixtureRequest) -> None:
    key = request.getfixturevalue(f"{key_type}_key")
    made = certificate(key)
    data = pkcs12.write_pfx("web-1 SyncServer", key, made.der, PASSPHRASE, encryption)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found, der = pkcs12.read_pfx(data, PLACE, PASSPHRASE)
    assert x509.pkcs8_of(found) == x509.pkcs8_of(key)
    assert der == made.der
    assert pkcs12.encryption_of(data) == encryption


@pytest.mark.parametrize("encryption", pkcs12.ENCRYPTIONS)
def test_nothing_in_it_is_in_clear(encryption: str, made: x509.Certificate, ecdsa_key: Any) -> None:
    data = pkcs12.write_pfx("web-1", ecdsa_key, made.der, PASSPHRASE, encryption)
    secret = ecdsa_key.private_numbers().private_value.to_bytes(32, "big")
    for hidden in (secret, made.public_key[-32:], b"web-1", PASSPHRASE):
        assert hidden not in data
    assert data != pkcs12.write_pfx("web-1", ecdsa_key, made.der, PASSPHRASE, encryption)


@pytest.mark.parametrize("encryption", pkcs12.ENCRYPTIONS)
def test_the_friendly_name_is_kept(encryption: str, made: x509.Certificate, ecdsa_key: Any) -> None:
    data = pkcs12.write_pfx("web-1 in München", ecdsa_key, made.der, PASSPHRASE, encryption)
    entry = library_pkcs12.load_pkcs12(data, PASSPHRASE)
    assert entry.cert is not None
    assert entry.cert.friendly_name == "web-1 in München".encode()


@pytest.mark.parametrize("encryption", pkcs12.ENCRYPTIONS)
@pytest.mark.parametrize("text", ["Schlüssel-und-Schloß", "key-🗝-and-🔑", "x", "long " * 100])
def test_other_passphrases(encryption: str, text: str, made: x509.Certificate, ecdsa_key: Any) -> None:
    data = pkcs12.write_pfx("web-1", ecdsa_key, made.der, text.encode(), encryption)
    assert pkcs12.read_pfx(data, PLACE, text.encode())[1] == made.der


@pytest.mark.parametrize(
    ("passphrase", "salt", "purpose", "iterations", "expected"),
    [
        # The test data of OpenSSL for this derivation.
        ("smeg", "0a58cf64530d823f", 1, 1, "8aaae6297b6cb04642ab5b077851284eb7128f1a2a7fbca3"),
        ("smeg", "0a58cf64530d823f", 2, 1, "79993dfe048d3b76"),
        ("smeg", "3d83c0e4546ac140", 3, 1, "8d967d88f6caa9d714800ab3d48051d63f73a312"),
        ("queeg", "05dec959acff72f7", 1, 1000, "ed2034e36328830ff09df1e1a07dd357185dac0d4f9eb3d4"),
        ("queeg", "05dec959acff72f7", 2, 1000, "11dedad7758d4860"),
        ("queeg", "263216fcc2fab31c", 3, 1000, "5ec4c7a80df652294c3925b6489a7ab857c83476"),
    ],
)
def test_the_key_derivation(passphrase: str, salt: str, purpose: int, iterations: int, expected: str) -> None:
    size = len(expected) // 2
    found = pkcs12.pbe.derive("sha1", passphrase, bytes.fromhex(salt), iterations, purpose, size)
    assert found.hex() == expected


def test_every_derivation_repeats_its_hash(made: x509.Certificate, ecdsa_key: Any) -> None:
    for encryption in pkcs12.ENCRYPTIONS:
        data = pkcs12.write_pfx("web-1", ecdsa_key, made.der, PASSPHRASE, encryption)
        # The MAC, the certificate, the key.
        assert list(pkcs12._iterations(data)) == [20000] * 3


@pytest.mark.parametrize("encryption", pkcs12.ENCRYPTIONS)
@pytest.mark.parametrize("place", [0, 1, 2])
@pytest.mark.parametrize("count", [2_000_001, 9_000_000_000, 2**64])
def test_too_many_iterations_are_refused_before_any(
    encryption: str,
    place: int,
    count: int,
    made: x509.Certificate,
    ecdsa_key: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    real = der.integer
    written: list[int] = []

    def integer(number: int) -> bytes:
        if number != pkcs12.ITERATIONS:
            return real(number)
        # In the order of their writing: certificate, key, MAC.
        written.append(number)
        return real(count if len(written) - 1 == place else number)

    monkeypatch.setattr(der, "integer", integer)
    data = pkcs12.write_pfx("web-1", ecdsa_key, made.der, PASSPHRASE, encryption)
    assert len(written) == 3

    def never(*_arguments: Any) -> None:
        pytest.fail("it was opened")

    monkeypatch.setattr(pkcs12.pbe, "accepts", never)
    with pytest.raises(EsyncError) as caught:
        pkcs12.read_pfx(data, PLACE, PASSPHRASE)
    assert (caught.value.kind, caught.value.path) == ("too_many_iterations", PLACE)
    assert str(count + 2 * pkcs12.ITERATIONS) in caught.value.cause


def test_the_most_iterations_are_computed(made: x509.Certificate, ecdsa_key: Any, monkeypatch: Any) -> None:
    data = pkcs12.write_pfx("web-1", ecdsa_key, made.der, PASSPHRASE, "modern")
    monkeypatch.setattr(pkcs12, "MAX_ITERATIONS", 3 * pkcs12.ITERATIONS)
    assert pkcs12.read_pfx(data, PLACE, PASSPHRASE)[1] == made.der
    monkeypatch.setattr(pkcs12, "MAX_ITERATIONS", 3 * pkcs12.ITERATIONS - 1)
    with pytest.raises(EsyncError, match="iterations"):
        pkcs12.read_pfx(data, PLACE, PASSPHRASE)


def rebuilt(data: bytes, change: Any) -> bytes:
    """A file whose inner content (AuthenticatedSafe, DER) was replaced; its MAC no longer fits."""
    version, content, mac = der.open_sequence(data)
    kind, wrapped = der.open_sequence(content.encoded)
    safe = der.elements(wrapped.content)[0].content
    inner = der.sequence(kind.encoded, der.explicit(0, der.octets(change(safe))))
    return der.sequence(version.encoded, inner, mac.encoded)


def nested(depth: int) -> bytes:
    found = der.null()
    for _level in range(depth):
        found = der.sequence(found)
    return found


@pytest.mark.parametrize(
    "change",
    [
        # BER, which some versions of the library read: it could hide how much there is to compute.
        lambda safe: b"\x30\x80" + der.elements(safe)[0].content + b"\0\0",
        lambda safe: safe + b"\0\0",
        lambda safe: safe[:-1],
        lambda _safe: b"",
        lambda _safe: der.octets(b"x"),
        lambda _safe: nested(1000),
        lambda _safe: der.sequence(der.sequence(der.oid("1.2.840.113549.1.7.6"), der.explicit(0, nested(1000)))),
        # Another kind of content (signedData).
        lambda _safe: der.sequence(der.sequence(der.oid("1.2.840.113549.1.7.2"), der.explicit(0, der.null()))),
    ],
)
def test_what_cannot_be_followed_is_not_opened(
    change: Any, made: x509.Certificate, ecdsa_key: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = pkcs12.write_pfx("web-1", ecdsa_key, made.der, PASSPHRASE, "modern")
    assert rebuilt(data, lambda safe: safe) == data

    def never(*_arguments: Any) -> None:
        pytest.fail("it was opened")

    monkeypatch.setattr(pkcs12.pbe, "accepts", never)
    assert "DER" in refused(rebuilt(data, change)).cause


def test_bags_within_bags_are_counted(made: x509.Certificate, ecdsa_key: Any) -> None:
    data = pkcs12.write_pfx("web-1", ecdsa_key, made.der, PASSPHRASE, "modern")

    def wrap(safe: bytes) -> bytes:
        hidden, clear = der.open_sequence(safe)
        kind, wrapped = der.open_sequence(clear.encoded)
        contents = der.elements(wrapped.content)[0].content
        bag = der.sequence(der.oid("1.2.840.113549.1.12.10.1.6"), der.explicit(0, contents))
        outer = der.sequence(kind.encoded, der.explicit(0, der.octets(der.sequence(bag))))
        return der.sequence(hidden.encoded, outer)

    assert list(pkcs12._iterations(rebuilt(data, wrap))) == [20000] * 3


# -- files that somebody wrote to keep a reader busy ---------------------------------------------------------------

# Mersenne primes: larger than those of any key that is used, and no test of primes ends early.
PRIMES = (2**9689 - 1, 2**9941 - 1)


def encrypted(contents: bytes, count: int = 1000) -> bytes:
    """A part of a file that is encrypted; if it would take too long to compute, with something wrong in it."""
    salt, iv = bytes(16), bytes(16)
    key = hashlib.pbkdf2_hmac("sha256", PASSPHRASE, salt, min(count, 1000), 32)
    hidden = pkcs12._hidden(algorithms.AES(key), iv, contents)
    content = der.sequence(der.oid(pkcs12._DATA), pbes2(pbkdf2(salt, count), iv), der.element(0x80, hidden))
    return der.sequence(der.oid(pkcs12._ENCRYPTED_DATA), der.explicit(0, der.sequence(der.integer(0), content)))


def pbkdf2(salt: bytes, count: int, *more: bytes) -> bytes:
    hmac_sha_256 = der.sequence(der.oid("1.2.840.113549.2.9"), der.null())
    parameters = der.sequence(der.octets(salt), der.integer(count), *more, hmac_sha_256)
    return der.sequence(der.oid("1.2.840.113549.1.5.12"), parameters)


def pbes2(derivation: bytes, iv: bytes = bytes(16)) -> bytes:
    cipher = der.sequence(der.oid("2.16.840.1.101.3.4.1.42"), der.octets(iv))
    return der.sequence(der.oid("1.2.840.113549.1.5.13"), der.sequence(derivation, cipher))


def in_clear(contents: bytes) -> bytes:
    return der.sequence(der.oid(pkcs12._DATA), der.explicit(0, der.octets(contents)))


def certificate_bag(made: x509.Certificate) -> bytes:
    content = der.sequence(der.oid(pkcs12._X509_CERTIFICATE), der.explicit(0, der.octets(made.der)))
    return pkcs12._bag(pkcs12._CERTIFICATE_BAG, content, b"")


def shrouded(algorithm: bytes, hidden: bytes = bytes(64)) -> bytes:
    return pkcs12._bag(pkcs12._SHROUDED_KEY_BAG, der.sequence(algorithm, der.octets(hidden)), b"")


def packed(*parts: bytes) -> bytes:
    """A file with a right MAC."""
    safe = der.sequence(*parts)
    return der.sequence(der.integer(3), in_clear(safe), pkcs12._mac(pkcs12._FORMS["modern"], safe, PASSPHRASE.decode()))


def refused_soon(data: bytes, kind: str) -> str:
    began = time.process_time()
    with pytest.raises(EsyncError) as caught:
        pkcs12.read_pfx(data, PLACE, PASSPHRASE)
    assert time.process_time() - began < 2
    assert (caught.value.kind, caught.value.path) == (kind, PLACE)
    return caught.value.cause


def test_iterations_of_all_parts_count_together(made: x509.Certificate) -> None:
    parts = [encrypted(certificate_bag(made), 100_000)] * 40
    assert "4020000 iterations" in refused_soon(packed(*parts), "too_many_iterations")


def test_iterations_that_only_decryption_brings_to_light(made: x509.Certificate) -> None:
    hidden = encrypted(shrouded(pbes2(pbkdf2(bytes(16), 9_000_000_000))))
    assert "9000021000 iterations" in refused_soon(packed(hidden), "too_many_iterations")


def test_derivations_that_are_not_counted_in_iterations(made: x509.Certificate) -> None:
    scrypt = der.sequence(
        der.oid("1.3.6.1.4.1.11591.4.11"),
        der.sequence(der.octets(b"salt"), der.integer(1 << 17), der.integer(1), der.integer(1 << 17)),
    )
    data = packed(encrypted(certificate_bag(made)), in_clear(shrouded(pbes2(scrypt))))
    assert "AES" in refused_soon(data, "damaged_file")


def test_a_length_of_the_key_that_its_cipher_does_not_have(made: x509.Certificate) -> None:
    long = pbes2(pbkdf2(bytes(16), 1, der.integer(1 << 40)))
    data = packed(encrypted(certificate_bag(made)), in_clear(shrouded(long)))
    assert "AES" in refused_soon(data, "damaged_file")


def test_primes_that_would_be_tested_for_minutes(made: x509.Certificate) -> None:
    p, q = PRIMES
    numbers = der.sequence(*(der.integer(number) for number in (0, p * q, 65537, 3, p, q, 3, 3, 3)))
    algorithm = der.sequence(der.oid("1.2.840.113549.1.1.1"), der.null())
    pkcs8 = der.sequence(der.integer(0), algorithm, der.octets(numbers))
    key = pkcs12._bag(pkcs12._KEY_BAG, pkcs8, b"")
    data = packed(encrypted(certificate_bag(made)), in_clear(key))
    assert "RSA 8192" in refused_soon(data, "damaged_file")


def test_every_cipher_that_programs_write(made: x509.Certificate, ecdsa_key: Any) -> None:
    mine = library.load_der_x509_certificate(made.der)
    pbes = library_pkcs12.PBES
    for cipher in (pbes.PBESv2SHA256AndAES256CBC, pbes.PBESv1SHA1And3KeyTripleDESCBC):
        for mac in (hashes.SHA1(), hashes.SHA256(), hashes.SHA512()):
            builder = serialization.PrivateFormat.PKCS12.encryption_builder().key_cert_algorithm(cipher).hmac_hash(mac)
            encryption = builder.build(PASSPHRASE)
            data = library_pkcs12.serialize_key_and_certificates(b"x", ecdsa_key, mine, None, encryption)
            assert pkcs12.read_pfx(data, PLACE, PASSPHRASE)[1] == made.der


def test_files_of_the_library_are_read(made: x509.Certificate, ecdsa_key: Any) -> None:
    mine = library.load_der_x509_certificate(made.der)
    encryption = serialization.BestAvailableEncryption(PASSPHRASE)
    data = library_pkcs12.serialize_key_and_certificates(b"x", ecdsa_key, mine, None, encryption)
    assert pkcs12.read_pfx(data, PLACE, PASSPHRASE)[1] == made.der
    assert len(list(pkcs12._iterations(data))) == 3


@pytest.mark.parametrize("passphrase", [b"\xff\xfe", b"cut\0here"])
def test_passphrases_that_are_no_text(passphrase: bytes, made: x509.Certificate, ecdsa_key: Any) -> None:
    with pytest.raises(EsyncError) as caught:
        pkcs12.write_pfx("web-1", ecdsa_key, made.der, passphrase, "modern")
    assert caught.value.kind == "bad_passphrase"
    assert "esync_pfx_passphrase" in str(caught.value)


def test_a_host_without_the_cipher(made: x509.Certificate, ecdsa_key: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def encrypt(_data: bytes, _passphrase: str) -> Any:
        raise UnsupportedAlgorithm("by policy")

    form = dataclasses.replace(pkcs12._FORMS["compat"], encrypt=encrypt)
    monkeypatch.setitem(pkcs12._FORMS, "compat", form)
    with pytest.raises(EsyncError) as caught:
        pkcs12.write_pfx("web-1", ecdsa_key, made.der, PASSPHRASE, "compat")
    assert caught.value.kind == "unsupported_algorithm"
    assert "esync_pfx_encryption" in str(caught.value)


def test_an_empty_passphrase_is_refused(made: x509.Certificate, ecdsa_key: Any) -> None:
    with pytest.raises(EsyncError) as caught:
        pkcs12.write_pfx("web-1", ecdsa_key, made.der, b"", "modern")
    assert caught.value.kind == "bad_passphrase"
    assert "esync_pfx_passphrase" in str(caught.value)


@pytest.mark.parametrize("encryption", pkcs12.ENCRYPTIONS)
@pytest.mark.parametrize("passphrase", [b"", b"geheim", PASSPHRASE + b" ", b"\xff\xfe"])
def test_another_passphrase(encryption: str, passphrase: bytes, made: x509.Certificate, ecdsa_key: Any) -> None:
    data = pkcs12.write_pfx("web-1", ecdsa_key, made.der, PASSPHRASE, encryption)
    assert "passphrase" in refused(data, passphrase).cause


def test_what_is_no_file_of_ours(made: x509.Certificate, ecdsa_key: Any) -> None:
    data = pkcs12.write_pfx("web-1", ecdsa_key, made.der, PASSPHRASE, "modern")
    assert "empty" in refused(b"").cause
    for wrong in (b"hello", b"0", b"0\x80\0\0", b"0\xff" + data[2:], made.der, data + b"\0", data * 2, b"\0" + data):
        refused(wrong)
    for length in range(1, len(data), 7):
        refused(data[:length])
    assert str(pkcs12.MAX_BYTES) in refused(data + bytes(pkcs12.MAX_BYTES)).cause


@pytest.mark.filterwarnings("ignore:PKCS#12 bundle could not be parsed as DER")
@pytest.mark.parametrize("encryption", pkcs12.ENCRYPTIONS)
def test_no_flipped_bit_passes_unseen(encryption: str, made: x509.Certificate, ecdsa_key: Any) -> None:
    data = pkcs12.write_pfx("web-1", ecdsa_key, made.der, PASSPHRASE, encryption)
    for position in range(len(data)):
        for bit in sorted({0, position % 8}):
            broken = bytearray(data)
            broken[position] ^= 1 << bit
            if pkcs12.encryption_of(bytes(broken)) == encryption:
                refused(bytes(broken))


def test_exactly_one_key_and_one_certificate(made: x509.Certificate, ecdsa_key: Any, rsa_key: Any) -> None:
    encryption = serialization.BestAvailableEncryption(PASSPHRASE)
    mine = library.load_der_x509_certificate(made.der)
    other = library.load_der_x509_certificate(certificate(rsa_key).der)
    for entry in ((ecdsa_key, None, None), (None, mine, None), (ecdsa_key, mine, [other])):
        data = library_pkcs12.serialize_key_and_certificates(b"x", *entry, encryption)
        assert "exactly one" in refused(data).cause


def test_other_forms_are_unknown(made: x509.Certificate, ecdsa_key: Any) -> None:
    mine = library.load_der_x509_certificate(made.der)

    def written(cipher: Any, mac: Any) -> bytes:
        builder = serialization.PrivateFormat.PKCS12.encryption_builder().key_cert_algorithm(cipher).hmac_hash(mac)
        return library_pkcs12.serialize_key_and_certificates(b"x", ecdsa_key, mine, None, builder.build(PASSPHRASE))

    pbes = library_pkcs12.PBES
    assert pkcs12.encryption_of(written(pbes.PBESv2SHA256AndAES256CBC, hashes.SHA256())) == "modern"
    assert pkcs12.encryption_of(written(pbes.PBESv1SHA1And3KeyTripleDESCBC, hashes.SHA1())) == "compat"
    # Not every Mono and Windows reads a 3DES file with a SHA-256 MAC.
    assert pkcs12.encryption_of(written(pbes.PBESv1SHA1And3KeyTripleDESCBC, hashes.SHA256())) == "unknown"
    assert pkcs12.encryption_of(written(pbes.PBESv2SHA256AndAES256CBC, hashes.SHA1())) == "unknown"
    clear = library_pkcs12.serialize_key_and_certificates(b"x", ecdsa_key, mine, None, serialization.NoEncryption())
    for data in (clear, b"", b"hello", made.der):
        assert pkcs12.encryption_of(data) == "unknown"
