# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Encryption by a passphrase, as PKCS#12 files have it (RFC 7292, appendices B and C; RFC 8018): derived and undone.

How long a derivation takes is up to whoever wrote the file, so all of them are counted before one is computed.
"""

from __future__ import annotations

import hashlib
import hmac
from typing import Any, Callable, Dict, Iterator, Tuple

from ansible_collections.esync.mesh.plugins.module_utils._core.libraries import triple_des
from ansible_collections.esync.mesh.plugins.module_utils._crypto import der, rc2

try:
    from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
except ImportError:
    # libraries.require() says so before any of this is used.
    pass

# Object identifiers (RFC 7292, RFC 8018, RFC 9579, NIST's CSOR).
PBES2 = "1.2.840.113549.1.5.13"
PBKDF2 = "1.2.840.113549.1.5.12"
PBMAC1 = "1.2.840.113549.1.5.14"
HMAC_SHA_256 = "1.2.840.113549.2.9"
AES_256_CBC = "2.16.840.1.101.3.4.1.42"
PBE_3DES = "1.2.840.113549.1.12.1.3"
SHA_1 = "1.3.14.3.2.26"
SHA_256 = "2.16.840.1.101.3.4.2.1"

# What the key of RFC 7292, appendix B.3, is for.
FOR_CIPHER, FOR_IV, FOR_MAC = 1, 2, 3

_HASHES = {
    der.oid(SHA_1): "sha1",
    der.oid("2.16.840.1.101.3.4.2.4"): "sha224",
    der.oid(SHA_256): "sha256",
    der.oid("2.16.840.1.101.3.4.2.2"): "sha384",
    der.oid("2.16.840.1.101.3.4.2.3"): "sha512",
}
_HMACS = {
    der.oid("1.2.840.113549.2.7"): "sha1",
    der.oid("1.2.840.113549.2.8"): "sha224",
    der.oid(HMAC_SHA_256): "sha256",
    der.oid("1.2.840.113549.2.10"): "sha384",
    der.oid("1.2.840.113549.2.11"): "sha512",
}

# How the identifiers of key derivations begin, DER: PKCS#5 (PBES1, PBKDF2) and PKCS#12. Their parameters are a SEQUENCE
# whose first INTEGER counts the iterations.
_DERIVATIONS = (bytes.fromhex("2a864886f70d0105"), bytes.fromhex("2a864886f70d010c01"))
_MAX_DEPTH = 32


class UnknownEncryptionError(ValueError):
    """Something is encrypted, or derived, in a way that is not read here."""


def cbc(cipher: Any, iv: bytes) -> Any:
    """A cipher of the library in the mode of every form here."""
    return Cipher(cipher, modes.CBC(iv))


# -- deriving ------------------------------------------------------------------------------------------------------


def derive(digest: str, passphrase: str, salt: bytes, iterations: int, purpose: int, size: int) -> bytes:
    """The key derivation of RFC 7292, appendix B.2; the passphrase is a BMPString that ends in two zero bytes.

    :param digest: as hashlib names it.
    :param purpose: 1 for a key of a cipher, 2 for its initialisation vector, 3 for a MAC.
    :param size: bytes wanted.
    """
    hashed = getattr(hashlib, digest)
    block = hashed().block_size
    mixed = _filled(salt, block) + _filled(passphrase.encode("utf-16-be") + b"\0\0", block)
    found = b""
    while len(found) < size:
        one = bytes((purpose,)) * block + mixed
        for _round in range(iterations):
            one = hashed(one).digest()
        found += one
        step = int.from_bytes(_filled(one, block), "big") + 1
        parts = (mixed[start : start + block] for start in range(0, len(mixed), block))
        mixed = b"".join(
            ((int.from_bytes(part, "big") + step) % (1 << 8 * block)).to_bytes(block, "big") for part in parts
        )
    return found[:size]


def _filled(data: bytes, block: int) -> bytes:
    """The data again and again, up to the next multiple of a block; no data stays none."""
    size = block * -(-len(data) // block)
    return (data * (size // len(data) + 1))[:size] if data else b""


def _pbkdf2(element: der.Element, passphrase: str, size: int) -> bytes:
    """A key by the algorithm identifier of PBKDF2 (RFC 8018, A.2)."""
    kind, parameters = der.open_sequence(element.encoded, der.OBJECT_IDENTIFIER, der.SEQUENCE)
    if kind.encoded != der.oid(PBKDF2):
        raise UnknownEncryptionError
    salt, count, *others = der.open_sequence(parameters.encoded)
    sizes = [number(one) for one in others if one.tag == der.INTEGER]
    functions = [one.encoded for one in others if one.tag == der.SEQUENCE]
    if (salt.tag, count.tag) != (der.OCTET_STRING, der.INTEGER) or sizes not in ([], [size]) or len(functions) > 1:
        raise UnknownEncryptionError
    digest = _named(functions[0], _HMACS) if functions else "sha1"
    return hashlib.pbkdf2_hmac(digest, passphrase.encode("utf-8"), salt.content, number(count), size)


def _named(identifier: bytes, names: Dict[bytes, str]) -> str:
    """The hash that an algorithm identifier, DER, names."""
    kind, *parameters = der.open_sequence(identifier)
    if kind.encoded not in names or [one.encoded for one in parameters] not in ([], [der.null()]):
        raise UnknownEncryptionError
    return names[kind.encoded]


# -- undoing -------------------------------------------------------------------------------------------------------


def decrypt(algorithm: der.Element, data: bytes, passphrase: str) -> bytes:
    """What an algorithm identifier, DER, says how to decrypt.

    :raises ValueError: the passphrase is another one, or it is damaged.
    :raises UnknownEncryptionError: it is none of PBES2 with PBKDF2 and AES or 3DES in CBC, and 3DES and RC2 of PKCS#12.
    :raises EsyncError: kind ``unsupported_algorithm``. :raises Exception: the library offers the cipher no more.
    """
    kind, parameters = der.open_sequence(algorithm.encoded, der.OBJECT_IDENTIFIER, der.SEQUENCE)
    if kind.encoded == der.oid(PBES2):
        derivation, scheme = der.open_sequence(parameters.encoded, der.SEQUENCE, der.SEQUENCE)
        cipher, iv = der.open_sequence(scheme.encoded, der.OBJECT_IDENTIFIER, der.OCTET_STRING)
        if cipher.encoded not in _PBES2_CIPHERS:
            raise UnknownEncryptionError
        size, block, undo = _PBES2_CIPHERS[cipher.encoded]
        _demand_blocks(data, block, iv.content)
        return _unpadded(undo(_pbkdf2(derivation, passphrase, size), iv.content, data), block)
    if kind.encoded not in _PKCS12_CIPHERS:
        raise UnknownEncryptionError
    size, undo = _PKCS12_CIPHERS[kind.encoded]
    salt, count = der.open_sequence(parameters.encoded, der.OCTET_STRING, der.INTEGER)
    _demand_blocks(data, 8)
    key = derive("sha1", passphrase, salt.content, number(count), FOR_CIPHER, size)
    vector = derive("sha1", passphrase, salt.content, number(count), FOR_IV, 8)
    return _unpadded(undo(key, vector, data), 8)


def _undo_cbc(cipher: Callable[[bytes], Any]) -> Callable[[bytes, bytes, bytes], bytes]:
    def undo(key: bytes, iv: bytes, data: bytes) -> bytes:
        decryptor = cbc(cipher(key), iv).decryptor()
        clear: bytes = decryptor.update(data) + decryptor.finalize()
        return clear

    return undo


def _aes(key: bytes) -> Any:
    return algorithms.AES(key)


# The identifier to bytes of the key, bytes of a block, and what decrypts.
_PBES2_CIPHERS: Dict[bytes, Tuple[int, int, Callable[[bytes, bytes, bytes], bytes]]] = {
    der.oid("2.16.840.1.101.3.4.1.2"): (16, 16, _undo_cbc(_aes)),
    der.oid("2.16.840.1.101.3.4.1.22"): (24, 16, _undo_cbc(_aes)),
    der.oid(AES_256_CBC): (32, 16, _undo_cbc(_aes)),
    der.oid("1.2.840.113549.3.7"): (24, 8, _undo_cbc(triple_des)),
}
_PKCS12_CIPHERS: Dict[bytes, Tuple[int, Callable[[bytes, bytes, bytes], bytes]]] = {
    der.oid(PBE_3DES): (24, _undo_cbc(triple_des)),
    der.oid("1.2.840.113549.1.12.1.5"): (16, rc2.decrypt_cbc),
    der.oid("1.2.840.113549.1.12.1.6"): (5, rc2.decrypt_cbc),
}


def _demand_blocks(data: bytes, block: int, iv: bytes = b"") -> None:
    if not data or len(data) % block or len(iv) not in (0, block):
        raise ValueError("no whole blocks")


def _unpadded(clear: bytes, block: int) -> bytes:
    count = clear[-1]
    if not 1 <= count <= block or clear[-count:] != bytes((count,)) * count:
        raise ValueError("no padding")
    return clear[:-count]


def accepts(mac: der.Element, content: bytes, passphrase: str) -> bool:
    """Whether the MAC of a PKCS#12 file (MacData: RFC 7292, section 4; RFC 9579) is that of its content.

    :raises ValueError: it is malformed, or by an algorithm that is not read here.
    """
    digest_info, salt, *counted = der.open_sequence(mac.encoded)
    algorithm, digest = der.open_sequence(digest_info.encoded, der.SEQUENCE, der.OCTET_STRING)
    kind, *_parameters = der.open_sequence(algorithm.encoded)
    if kind.encoded == der.oid(PBMAC1):
        _kind, parameters = der.open_sequence(algorithm.encoded, der.OBJECT_IDENTIFIER, der.SEQUENCE)
        derivation, function = der.open_sequence(parameters.encoded, der.SEQUENCE, der.SEQUENCE)
        name = _named(function.encoded, _HMACS)
        key = _pbkdf2(derivation, passphrase, len(digest.content))
    else:
        name = _named(algorithm.encoded, _HASHES)
        count = number(counted[0]) if counted else 1
        key = derive(name, passphrase, salt.content, count, FOR_MAC, hashlib.new(name).digest_size)
    return hmac.compare_digest(hmac.new(key, content, name).digest(), digest.content)


# -- counting ------------------------------------------------------------------------------------------------------


def counts(element: der.Element, depth: int = _MAX_DEPTH) -> Iterator[int]:
    """The iterations of every algorithm identifier in an element; octet strings are not opened.

    :raises ValueError: it is not DER, or nested too deeply.
    """
    if not element.tag & 0x20:
        return
    if not depth:
        raise ValueError("nested too deeply")
    parts = der.elements(element.content)
    if len(parts) > 1 and parts[0].tag == der.OBJECT_IDENTIFIER and parts[0].content.startswith(_DERIVATIONS):
        numbers = der.elements(parts[1].content) if parts[1].tag == der.SEQUENCE else []
        yield from [number(one) for one in numbers if one.tag == der.INTEGER][:1]
    for part in parts:
        yield from counts(part, depth - 1)


def number(element: der.Element) -> int:
    """A number that is not negative, as every count is."""
    return int.from_bytes(element.content, "big")
