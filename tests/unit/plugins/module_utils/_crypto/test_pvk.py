# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import hashlib
import struct
from typing import Any

import pytest

from ansible_collections.esync.mesh.plugins.module_utils._core.errors import EsyncError
from ansible_collections.esync.mesh.plugins.module_utils._crypto import pvk

PLACE = "/etc/esync/web-1_SyncServer.pvk"
PASSPHRASE = b"a long and random passphrase"
SALT = bytes(range(16))


@pytest.fixture(scope="module")
def written(rsa_key: Any) -> bytes:
    return pvk.write_pvk(rsa_key)


def encrypted(data: bytes, weak: bool = False, passphrase: bytes = PASSPHRASE) -> bytes:
    """The encrypted form of an unencrypted file, by the format's description."""
    key = hashlib.sha1(SALT + passphrase).digest()[:16]
    if weak:
        key = key[:5] + bytes(11)
    header = struct.pack("<6I", 0xB0B5F11E, 0, 1, 1, 16, len(data) - 24)
    return header + SALT + data[24:32] + pvk._rc4(key, data[32:])


def refused(data: bytes, passphrase: bytes | None = None, kind: str = "damaged_file") -> EsyncError:
    with pytest.raises(EsyncError) as caught:
        pvk.read_pvk(data, PLACE, passphrase)
    error = caught.value
    assert (error.kind, error.path) == (kind, PLACE)
    assert error.__cause__ is None
    assert error.__context__ is None or error.__suppress_context__
    return error


def test_every_field(written: bytes, rsa_key: Any) -> None:
    private = rsa_key.private_numbers()
    public = private.public_numbers
    assert struct.unpack_from("<6I", written) == (0xB0B5F11E, 0, 1, 0, 0, 20 + 9 * 2048 // 16)
    assert struct.unpack_from("<BBHI4sII", written, 24) == (7, 2, 0, 0xA400, b"RSA2", 2048, public.e)
    fields = [
        (public.n, 256),
        (private.p, 128),
        (private.q, 128),
        (private.dmp1, 128),
        (private.dmq1, 128),
        (private.iqmp, 128),
        (private.d, 256),
    ]
    offset = 44
    for value, length in fields:
        assert written[offset : offset + length] == value.to_bytes(length, "little")
        offset += length
    assert len(written) == offset


def test_what_is_written_is_read_back(written: bytes, rsa_key: Any) -> None:
    assert pvk.read_pvk(written, PLACE).private_numbers() == rsa_key.private_numbers()
    # A passphrase that is not needed does no harm.
    assert pvk.read_pvk(written, PLACE, PASSPHRASE).private_numbers() == rsa_key.private_numbers()


def test_a_signature_key_is_read_and_a_mixture_is_not(written: bytes, rsa_key: Any) -> None:
    signature = bytearray(written)
    signature[8:12] = struct.pack("<I", 2)
    refused(bytes(signature))
    signature[28:32] = struct.pack("<I", 0x2400)
    assert pvk.read_pvk(bytes(signature), PLACE).private_numbers() == rsa_key.private_numbers()
    signature[8:12] = struct.pack("<I", 3)
    refused(bytes(signature))


def test_other_keys_have_no_such_file(ecdsa_key: Any) -> None:
    with pytest.raises(EsyncError) as caught:
        pvk.write_pvk(ecdsa_key)
    assert caught.value.kind == "bad_key_type"
    assert "esync_formats" in str(caught.value)
    assert "esync_key_type" in str(caught.value)


@pytest.mark.parametrize("weak", [False, True])
def test_both_encrypted_forms(weak: bool, written: bytes, rsa_key: Any) -> None:
    data = encrypted(written, weak)
    assert pvk.read_pvk(data, PLACE, PASSPHRASE).private_numbers() == rsa_key.private_numbers()
    for wrong in (b"", b"geheim", PASSPHRASE + b"\0"):
        error = refused(data, wrong)
        assert "passphrase" in error.cause
        assert not wrong or wrong.decode() not in str(error)
    assert "passphrase" in str(refused(data, None, "passphrase_needed"))


@pytest.mark.parametrize(
    ("key", "text", "expected"),
    [
        (b"Key", b"Plaintext", "bbf316e8d940af0ad3"),
        (b"Wiki", b"pedia", "1021bf0420"),
        (b"Secret", b"Attack at dawn", "45a01f645fc35b383552544b9bf5"),
        # RFC 6229: 40 bits, and 128 bits, at offset 0.
        (bytes([1, 2, 3, 4, 5]), bytes(16), "b2396305f03dc027ccc3524a0a1118a8"),
        (bytes(range(1, 17)), bytes(16), "9ac7cc9a609d1ef7b2932899cde41b97"),
    ],
)
def test_rc4_by_published_examples(key: bytes, text: bytes, expected: str) -> None:
    assert pvk._rc4(key, text).hex() == expected


def test_every_flipped_bit_of_the_headers_is_seen(written: bytes) -> None:
    for position in range(44):
        for bit in range(8):
            broken = bytearray(written)
            broken[position] ^= 1 << bit
            refused(bytes(broken), PASSPHRASE)


def test_every_flipped_byte_of_the_numbers_is_seen(written: bytes) -> None:
    for position in range(44, len(written)):
        broken = bytearray(written)
        broken[position] ^= 1 << (position % 8)
        refused(bytes(broken))


def test_the_length_must_be_exact(written: bytes) -> None:
    assert "empty" in refused(b"").cause
    for length in range(1, len(written)):
        refused(written[:length])
    for more in (written + b"\0", written * 2, b"\0" + written):
        refused(more)


@pytest.mark.parametrize("length", [0, 1, 19, 20, 21, 0x7FFFFFFF, 0xFFFFFFFF])
@pytest.mark.parametrize("salt", [0, 16, 15, 0xFFFFFFFF])
@pytest.mark.parametrize("flag", [0, 1, 2])
def test_lengths_that_lie(length: int, salt: int, flag: int) -> None:
    header = struct.pack("<6I", 0xB0B5F11E, 0, 1, flag, salt, length)
    refused(header, PASSPHRASE)
    # As many bytes as the header says, as far as that is not absurd.
    if length < 100 and salt < 100:
        refused(header + bytes(salt + length), PASSPHRASE)


@pytest.mark.parametrize("bits", [0, 8, 496, 2040, 16400, 2**32 - 16])
def test_sizes_that_no_key_has(bits: int) -> None:
    body = bytes(min(9 * bits // 16, 20000))
    blob = struct.pack("<BBHI4sII", 7, 2, 0, 0xA400, b"RSA2", bits, 65537) + body
    refused(struct.pack("<6I", 0xB0B5F11E, 0, 1, 0, 0, len(blob)) + blob)


def test_numbers_that_are_no_key() -> None:
    for fill in (b"\0", b"\1", b"\xff"):
        blob = struct.pack("<BBHI4sII", 7, 2, 0, 0xA400, b"RSA2", 2048, 65537) + fill * (9 * 2048 // 16)
        refused(struct.pack("<6I", 0xB0B5F11E, 0, 1, 0, 0, len(blob)) + blob)
