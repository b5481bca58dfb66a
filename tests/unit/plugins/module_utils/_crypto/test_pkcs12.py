# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import datetime
import warnings
from typing import Any

import pytest
from cryptography import x509 as library
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.serialization import pkcs12 as library_pkcs12

from ansible_collections.esync.mesh.plugins.module_utils._core.errors import EsyncError
from ansible_collections.esync.mesh.plugins.module_utils._crypto import certificates as x509
from ansible_collections.esync.mesh.plugins.module_utils._crypto import pkcs12

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


@pytest.mark.parametrize("encryption", pkcs12.ENCRYPTIONS)
@pytest.mark.parametrize("key_type", ["rsa", "ecdsa"])
def test_what_is_written_is_read_back(encryption: str, key_type: str, request: pytest.FixtureRequest) -> None:
    key = request.getfixturevalue(f"{key_type}_key")
    made = certificate(key)
    data = pkcs12.write_pfx("web-1 SyncServer", key, made.der, PASSPHRASE, encryption)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found, der = pkcs12.read_pfx(data, PLACE, PASSPHRASE)
    assert found.private_numbers() == key.private_numbers()
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


def test_a_passphrase_outside_ascii(made: x509.Certificate, ecdsa_key: Any) -> None:
    passphrase = "Schlüssel-und-Schloß".encode()
    data = pkcs12.write_pfx("web-1", ecdsa_key, made.der, passphrase, "modern")
    assert pkcs12.read_pfx(data, PLACE, passphrase)[1] == made.der


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
