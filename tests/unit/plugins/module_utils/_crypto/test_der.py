# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest

from ansible_collections.esync.mesh.plugins.module_utils._crypto import der


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        # X.690, 8.3, 8.19 and annexes; RFC 8017 and RFC 5480 for the identifiers.
        (der.integer(0), "020100"),
        (der.integer(127), "02017f"),
        (der.integer(128), "02020080"),
        (der.integer(20000), "02024e20"),
        (der.integer(1 << 64), "0209010000000000000000"),
        (der.null(), "0500"),
        (der.octets(b"ab"), "04026162"),
        (der.bits(b"ab"), "0303006162"),
        (der.bmp("aü"), "1e04006100fc"),
        (der.bmp("🗝"), "1e04d83ddddd"),
        (der.oid("1.2.840.113549.1.1.1"), "06092a864886f70d010101"),
        (der.oid("1.2.840.10045.3.1.7"), "06082a8648ce3d030107"),
        (der.oid("1.3.132.0.34"), "06052b81040022"),
        (der.oid("2.16.840.1.101.3.4.1.42"), "060960864801650304012a"),
        (der.oid("1.3.101.112"), "06032b6570"),
        (der.sequence(), "3000"),
        (der.sequence(der.integer(1), der.null()), "30050201010500"),
        (der.set_of(der.integer(2), der.integer(1)), "3106020101020102"),
        (der.explicit(1, der.null()), "a1020500"),
        (der.element(0x80, b"x"), "800178"),
    ],
)
def test_what_is_written(written: bytes, expected: str) -> None:
    assert written.hex() == expected


@pytest.mark.parametrize(
    ("size", "header"), [(127, "047f"), (128, "048180"), (255, "0481ff"), (256, "04820100"), (70000, "0483011170")]
)
def test_lengths(size: int, header: str) -> None:
    written = der.octets(bytes(size))
    assert written.hex().startswith(header)
    (found,) = der.elements(written)
    assert (found.tag, len(found.content), found.encoded) == (der.OCTET_STRING, size, written)


def test_elements_are_read_one_after_the_other() -> None:
    assert der.elements(b"") == []
    parts = [der.integer(5), der.sequence(der.null()), der.octets(bytes(300))]
    assert [one.encoded for one in der.elements(b"".join(parts))] == parts
    assert [one.encoded for one in der.open_sequence(der.sequence(*parts))] == parts
    assert len(der.open_sequence(der.sequence(*parts), der.INTEGER, der.SEQUENCE, der.OCTET_STRING)) == 3


@pytest.mark.parametrize(
    "wrong",
    [
        "02",  # no length
        "0202",  # no content
        "020201",  # too short
        "3080020101 0000",  # an indefinite length
        "048101 61",  # a length that is shorter in one byte
        "04820080" + "00" * 128,  # a length that is shorter in two
        "0485000000000161",  # five bytes of length
        "04ff" + "00" * 200,
        "1f8101 00",  # a tag of more than one byte
        "020101 05",  # a beginning after it
    ],
)
def test_what_is_not_der(wrong: str) -> None:
    with pytest.raises(ValueError):
        der.elements(bytes.fromhex(wrong))


@pytest.mark.parametrize("wrong", ["", "020101", "3003020101 0500", "3103020101", "3003020101 00", "30030201"])
def test_what_is_not_one_sequence(wrong: str) -> None:
    with pytest.raises(ValueError):
        der.open_sequence(bytes.fromhex(wrong))


def test_the_elements_expected() -> None:
    for tags in ((der.INTEGER,), (der.NULL, der.INTEGER), (der.INTEGER, der.NULL, der.NULL)):
        with pytest.raises(ValueError):
            der.open_sequence(der.sequence(der.integer(1), der.null()), *tags)
