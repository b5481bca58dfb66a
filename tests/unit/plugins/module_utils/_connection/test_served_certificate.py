# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import datetime
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509.oid import NameOID

from ansible_collections.esync.mesh.plugins.module_utils._connection import served_certificate

UTC = datetime.timezone.utc


def made(key: Any, *names: x509.NameAttribute, start: int = 2026, end: int = 2027) -> bytes:
    """A certificate with this subject and these years."""
    name = x509.Name(names)
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(x509.Name([])).public_key(key.public_key())
    builder = builder.serial_number(1 << 150).not_valid_before(datetime.datetime(start, 2, 3, 4, 5, 6))
    certificate = builder.not_valid_after(datetime.datetime(end, 12, 31, 23, 59, 59)).sign(key, hashes.SHA256())
    return certificate.public_bytes(serialization.Encoding.DER)


@pytest.mark.parametrize(("start", "end"), [(1950, 1999), (2026, 2049), (2049, 2050), (2050, 9999)])
def test_dates(ecdsa_key: Any, start: int, end: int) -> None:
    found = served_certificate.validity(made(ecdsa_key, start=start, end=end))
    assert found is not None
    assert found.not_before == datetime.datetime(start, 2, 3, 4, 5, 6, tzinfo=UTC)
    assert found.not_after == datetime.datetime(end, 12, 31, 23, 59, 59, tzinfo=UTC)


def test_the_size_of_an_rsa_key(ecdsa_key: Any, rsa_key: Any) -> None:
    assert served_certificate.rsa_bits(made(rsa_key)) == 2048
    assert served_certificate.rsa_bits(made(ecdsa_key)) is None
    assert served_certificate.rsa_bits(made(rsa_key)[:300]) is served_certificate.rsa_bits(b"") is None


CN, ORG, UNIT = NameOID.COMMON_NAME, NameOID.ORGANIZATION_NAME, NameOID.ORGANIZATIONAL_UNIT_NAME


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ([], None),
        ([x509.NameAttribute(ORG, "an organisation")], None),
        ([x509.NameAttribute(CN, "alpha")], "alpha"),
        (
            [x509.NameAttribute(ORG, "x" * 64), x509.NameAttribute(CN, "straße"), x509.NameAttribute(UNIT, "y")],
            "straße",
        ),
        ([x509.NameAttribute(CN, "first"), x509.NameAttribute(CN, "second")], "first"),
        ([x509.NameAttribute(CN, "straße", x509.name._ASN1Type.BMPString)], "straße"),
    ],
)
def test_subjects(ecdsa_key: Any, names: Any, expected: Any) -> None:
    assert served_certificate.common_name(made(ecdsa_key, *names)) == expected


def test_a_long_rsa_certificate(rsa_key: Any) -> None:
    data = made(rsa_key, x509.NameAttribute(CN, "alpha"))
    assert served_certificate.common_name(data) == "alpha"
    assert served_certificate.validity(data) is not None


def test_whatever_is_damaged_raises_nothing(ecdsa_key: Any) -> None:
    data = made(ecdsa_key, x509.NameAttribute(CN, "alpha"))
    intact = served_certificate.validity(data)
    for length in range(len(data)):
        assert served_certificate.validity(data[:length]) is None
        assert served_certificate.common_name(data[:length]) is None
    different = 0
    for at in range(len(data)):
        for value in (0, 0x80, 0xFF, data[at] ^ 1):
            changed = data[:at] + bytes([value]) + data[at + 1 :]
            different += served_certificate.validity(changed) != intact
            served_certificate.common_name(changed)
    assert different > 20
    assert served_certificate.validity(b"nothing") is None
