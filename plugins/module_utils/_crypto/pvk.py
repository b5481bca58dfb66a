# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Microsoft PVK files: a header and a PRIVATEKEYBLOB, all little-endian (docs/formats.md has the table).

Written unencrypted, because the format's only cipher is RC4 and it has no checksum; the file's mode protects it.
"""

from __future__ import annotations

import hashlib
import struct
from typing import Any, Optional, Tuple

from ansible_collections.esync.mesh.plugins.module_utils._core.errors import EsyncError
from ansible_collections.esync.mesh.plugins.module_utils._core.libraries import rsa_key
from ansible_collections.esync.mesh.plugins.module_utils._crypto import key_types

try:
    from cryptography.hazmat.primitives.asymmetric import rsa
except ImportError:
    # libraries.require() says so before any of this is used.
    pass

_MAGIC = 0xB0B5F11E
_KEY_EXCHANGE = 1
_SIGNATURE = 2
_HEADER = struct.Struct("<6I")
_BLOB_HEADER = struct.Struct("<BBHI")
_RSA_HEADER = struct.Struct("<4sII")
# Key type of the header, and the algorithm that goes with it in the blob (CALG_RSA_KEYX, CALG_RSA_SIGN).
_ALGORITHMS = {_KEY_EXCHANGE: 0xA400, _SIGNATURE: 0x2400}
_MAX_BITS = 16384
_MIN_BLOB = _BLOB_HEADER.size + _RSA_HEADER.size
_MAX_BLOB = _MIN_BLOB + 9 * _MAX_BITS // 16
_SALT_BYTES = 16
# The weak form (for export, once) keeps five bytes of the key and fills up with zeros.
_WEAK_BYTES = 5


def write_pvk(key: Any) -> bytes:
    """An RSA private key as an unencrypted PVK file.

    :raises EsyncError: kind ``bad_key_type`` for any other key, or a size that the format cannot hold.
    """
    row = key_types.type_of(key.public_key())
    if row is None or key_types.PVK not in row.formats or key.key_size % 16:
        raise EsyncError(
            "a .pvk file can only be made from an RSA key whose bits are a multiple of 16",
            "Take pvk out of esync_formats, or set esync_key_type to rsa",
            kind="bad_key_type",
        )
    numbers = key.private_numbers()
    size = key.key_size
    full, half = size // 8, size // 16
    blob = (
        _BLOB_HEADER.pack(7, 2, 0, _ALGORITHMS[_KEY_EXCHANGE])
        + _RSA_HEADER.pack(b"RSA2", size, numbers.public_numbers.e)
        + numbers.public_numbers.n.to_bytes(full, "little")
        + b"".join(
            part.to_bytes(half, "little") for part in (numbers.p, numbers.q, numbers.dmp1, numbers.dmq1, numbers.iqmp)
        )
        + numbers.d.to_bytes(full, "little")
    )
    data: bytes = _HEADER.pack(_MAGIC, 0, _KEY_EXCHANGE, 0, 0, len(blob)) + blob
    return data


def read_pvk(data: bytes, path: str, passphrase: Optional[bytes] = None) -> Any:
    """Read a PVK file, encrypted or not, strictly: every length must be exact.

    The format has no checksum: whoever reads a key compares its public half with the certificate.

    :param path: where the data comes from, for messages.
    :param passphrase: for an encrypted file.
    :raises EsyncError: kind ``damaged_file`` or ``passphrase_needed``; never with a text derived from the key.
    """
    key_type, blob = _blob(data, path, passphrase)
    kind, version, reserved, algorithm = _BLOB_HEADER.unpack_from(blob)
    magic, bits, exponent = _RSA_HEADER.unpack_from(blob, _BLOB_HEADER.size)
    if (kind, version, reserved) != (7, 2, 0) or algorithm != _ALGORITHMS.get(key_type) or magic != b"RSA2":
        raise _damaged(path, "it holds no RSA private key, or its passphrase is another one")
    if not 512 <= bits <= _MAX_BITS or bits % 16 or len(blob) != 20 + 9 * bits // 16:
        raise _damaged(path, "its length does not fit the size of its key")
    full, half = bits // 8, bits // 16
    numbers = []
    offset = 20
    for length in (full, half, half, half, half, half, full):
        numbers.append(int.from_bytes(blob[offset : offset + length], "little"))
        offset += length
    n, p, q, dmp1, dmq1, iqmp, d = numbers
    if not key_types.rsa_numbers_fit(n, exponent, d, p, q, dmp1, dmq1, iqmp):
        raise _damaged(path, "its numbers are no RSA key")
    try:
        # They fit, which catches every flipped bit, so the slow test of the primes is omitted.
        return rsa_key(rsa.RSAPrivateNumbers(p, q, d, dmp1, dmq1, iqmp, rsa.RSAPublicNumbers(exponent, n)))
    except Exception:
        raise _damaged(path, "its numbers are no RSA key") from None


def _blob(data: bytes, path: str, passphrase: Optional[bytes]) -> Tuple[int, bytes]:
    """The key type and the blob in clear, with every length in the header exact."""
    if not data:
        raise _damaged(path, "it is empty")
    if len(data) < _HEADER.size:
        raise _damaged(path, "it is too short to be a PVK file")
    magic, reserved, key_type, encrypted, salt_length, key_length = _HEADER.unpack_from(data)
    if magic != _MAGIC or reserved != 0:
        raise _damaged(path, "it is no PVK file")
    if encrypted not in (0, 1) or salt_length not in (0, _SALT_BYTES) or (encrypted and not salt_length):
        raise _damaged(path, "its header contradicts itself")
    if not _MIN_BLOB <= key_length <= _MAX_BLOB or len(data) != _HEADER.size + salt_length + key_length:
        raise _damaged(path, "its length is not what its header says")
    salt = data[_HEADER.size : _HEADER.size + salt_length]
    blob = data[_HEADER.size + salt_length :]
    if not encrypted:
        return key_type, blob
    if passphrase is None:
        raise EsyncError("it is encrypted", "Give its passphrase", kind="passphrase_needed", path=path)
    return key_type, _decrypt(blob, salt, passphrase)


def _decrypt(blob: bytes, salt: bytes, passphrase: bytes) -> bytes:
    clear, hidden = blob[:8], blob[8:]
    strong = hashlib.sha1(salt + passphrase).digest()[:16]
    for key in (strong, strong[:_WEAK_BYTES] + bytes(16 - _WEAK_BYTES)):
        found = _rc4(key, hidden)
        if found.startswith(b"RSA2"):
            return clear + found
    return clear + hidden


def _rc4(key: bytes, data: bytes) -> bytes:
    """RC4, for reading files of other programs only; nothing is ever protected with it here."""
    state = list(range(256))
    j = 0
    for i in range(256):
        j = (j + state[i] + key[i % len(key)]) & 255
        state[i], state[j] = state[j], state[i]
    out = bytearray()
    i = j = 0
    for byte in data:
        i = (i + 1) & 255
        j = (j + state[i]) & 255
        state[i], state[j] = state[j], state[i]
        out.append(byte ^ state[(state[i] + state[j]) & 255])
    return bytes(out)


def _damaged(path: str, cause: str) -> EsyncError:
    return EsyncError(cause, "Restore it, or have the set created again", kind="damaged_file", path=path)
