# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""PKCS#12 files (RFC 7292) with one key and one certificate.

Written here, not by the library, of which only newer versions let the encryption be chosen, and several write a MAC
that one iteration protects. Read by the library, once it is known how long that can take.
"""

from __future__ import annotations

import hashlib
import hmac
import os
from dataclasses import dataclass
from typing import Any, Callable, Iterator, Tuple

from ansible_collections.esync.mesh.plugins.module_utils._core import layout
from ansible_collections.esync.mesh.plugins.module_utils._core.errors import EsyncError
from ansible_collections.esync.mesh.plugins.module_utils._core.libraries import triple_des, unsupported
from ansible_collections.esync.mesh.plugins.module_utils._crypto import der
from ansible_collections.esync.mesh.plugins.module_utils._crypto.certificates import pkcs8_of

try:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
    from cryptography.hazmat.primitives.serialization import pkcs12
except ImportError:
    # libraries.require() says so before any of this is used.
    pass

MODERN, COMPAT = layout.MODERN, layout.COMPAT

MAX_BYTES = 64 * 1024

ITERATIONS = layout.PFX_ITERATIONS
"""Of each key derivation, MAC included: about 0.05 s to write; a passphrase that is made here needs none of it."""

MAX_ITERATIONS = 1_000_000
"""The most that is computed for a file of others: about 2 s for each of its three derivations."""

_SALT_BYTES = 16

# Object identifiers (RFC 7292, RFC 8018, RFC 5652, RFC 2985, NIST's CSOR).
_DATA = "1.2.840.113549.1.7.1"
_ENCRYPTED_DATA = "1.2.840.113549.1.7.6"
_SHROUDED_KEY_BAG = "1.2.840.113549.1.12.10.1.2"
_SAFE_CONTENTS_BAG = "1.2.840.113549.1.12.10.1.6"
_CERTIFICATE_BAG = "1.2.840.113549.1.12.10.1.3"
_X509_CERTIFICATE = "1.2.840.113549.1.9.22.1"
_FRIENDLY_NAME = "1.2.840.113549.1.9.20"
_LOCAL_KEY_ID = "1.2.840.113549.1.9.21"
_PBES2 = "1.2.840.113549.1.5.13"
_PBKDF2 = "1.2.840.113549.1.5.12"
_HMAC_SHA_256 = "1.2.840.113549.2.9"
_AES_256_CBC = "2.16.840.1.101.3.4.1.42"
_PBE_3DES = "1.2.840.113549.1.12.1.3"
_SHA_1 = "1.3.14.3.2.26"
_SHA_256 = "2.16.840.1.101.3.4.2.1"

# What the key of RFC 7292, appendix B.3, is for.
_FOR_CIPHER, _FOR_IV, _FOR_MAC = 1, 2, 3

# How the identifiers of key derivations begin, DER: PKCS#5 (PBES1, PBKDF2) and PKCS#12. Their parameters are a SEQUENCE
# whose first INTEGER counts the iterations.
_DERIVATIONS = (bytes.fromhex("2a864886f70d0105"), bytes.fromhex("2a864886f70d010c01"))
_MAX_DEPTH = 32


@dataclass(frozen=True)
class _Form:
    """How a file is encrypted.

    :param encrypt: ``(data, passphrase)`` to the algorithm identifier, DER, and what is encrypted by it.
    :param digest: the MAC's hash, as hashlib names it. :param digest_oid: the same as an object identifier.
    :param cipher_oid: what identifies the cipher in a file.
    """

    encrypt: Callable[[bytes, str], Tuple[bytes, bytes]]
    cipher_oid: str
    digest: str
    digest_oid: str


# -- writing -------------------------------------------------------------------------------------------------------


def write_pfx(friendly_name: str, key: Any, certificate_der: bytes, passphrase: bytes, encryption: str) -> bytes:
    """A PKCS#12 file.

    :param friendly_name: how Windows shows the entry.
    :param passphrase: UTF-8, not empty.
    :param encryption: ``modern`` (AES-256, SHA-256 MAC) or ``compat`` (3DES, SHA-1 MAC; Server 2016 and older, Mono).
    :raises EsyncError: kind ``bad_passphrase``, or ``unsupported_algorithm`` on a host without the cipher.
    """
    text = _passphrase_text(passphrase)
    form = _FORMS[encryption]
    # Readers find the certificate of a key by these.
    attributes = der.set_of(
        der.sequence(der.oid(_FRIENDLY_NAME), der.set_of(der.bmp(friendly_name))),
        der.sequence(der.oid(_LOCAL_KEY_ID), der.set_of(der.octets(hashlib.sha1(certificate_der).digest()))),
    )
    certificate = der.sequence(der.oid(_X509_CERTIFICATE), der.explicit(0, der.octets(certificate_der)))
    certificates = _bag(_CERTIFICATE_BAG, certificate, attributes)
    try:
        algorithm, hidden_certificates = form.encrypt(certificates, text)
        key_algorithm, hidden_key = form.encrypt(pkcs8_of(key), text)
    except UnsupportedAlgorithm:
        raise unsupported(f"cipher of the encryption {encryption}", "Choose another esync_pfx_encryption") from None
    # The encrypted octets are an implicit [0], primitive.
    content = der.sequence(der.oid(_DATA), algorithm, der.element(0x80, hidden_certificates))
    encrypted = der.sequence(der.integer(0), content)
    key_bag = _bag(_SHROUDED_KEY_BAG, der.sequence(key_algorithm, der.octets(hidden_key)), attributes)
    safe = der.sequence(
        der.sequence(der.oid(_ENCRYPTED_DATA), der.explicit(0, encrypted)),
        der.sequence(der.oid(_DATA), der.explicit(0, der.octets(key_bag))),
    )
    return der.sequence(
        der.integer(3),
        der.sequence(der.oid(_DATA), der.explicit(0, der.octets(safe))),
        _mac(form, safe, text),
    )


def _passphrase_text(passphrase: bytes) -> str:
    if not passphrase:
        raise EsyncError(
            "a .pfx file cannot be made with an empty passphrase",
            "Set esync_pfx_passphrase, or remove the setting to have one created",
            kind="bad_passphrase",
        )
    try:
        text = passphrase.decode("utf-8")
    except UnicodeDecodeError:
        text = "\0"
    if "\0" in text:
        raise EsyncError(
            "the passphrase of a .pfx file must be text in UTF-8 without a zero byte, where many programs would cut it",
            "Set another esync_pfx_passphrase, or remove the setting to have one created",
            kind="bad_passphrase",
        )
    return text


def _bag(kind: str, value: bytes, attributes: bytes) -> bytes:
    """SafeContents with one bag (RFC 7292, 4.2)."""
    return der.sequence(der.sequence(der.oid(kind), der.explicit(0, value), attributes))


def _mac(form: _Form, safe: bytes, passphrase: str) -> bytes:
    salt = os.urandom(_SALT_BYTES)
    size = hashlib.new(form.digest).digest_size
    key = derive(form.digest, passphrase, salt, ITERATIONS, _FOR_MAC, size)
    digest = hmac.new(key, safe, form.digest).digest()
    algorithm = der.sequence(der.oid(form.digest_oid), der.null())
    return der.sequence(der.sequence(algorithm, der.octets(digest)), der.octets(salt), der.integer(ITERATIONS))


def _encrypt_modern(data: bytes, passphrase: str) -> Tuple[bytes, bytes]:
    """PBES2 (RFC 8018, 6.2): AES-256-CBC, PBKDF2 with HMAC-SHA-256; its passphrase is UTF-8."""
    salt, iv = os.urandom(_SALT_BYTES), os.urandom(16)
    key = hashlib.pbkdf2_hmac("sha256", passphrase.encode("utf-8"), salt, ITERATIONS, 32)
    derivation = der.sequence(
        der.oid(_PBKDF2),
        der.sequence(der.octets(salt), der.integer(ITERATIONS), der.sequence(der.oid(_HMAC_SHA_256), der.null())),
    )
    cipher = der.sequence(der.oid(_AES_256_CBC), der.octets(iv))
    algorithm = der.sequence(der.oid(_PBES2), der.sequence(derivation, cipher))
    return algorithm, _cbc(algorithms.AES(key), iv, data)


def _encrypt_compat(data: bytes, passphrase: str) -> Tuple[bytes, bytes]:
    """pbeWithSHAAnd3-KeyTripleDES-CBC (RFC 7292, appendix C)."""
    # Some old readers know salts of eight bytes only.
    salt = os.urandom(8)
    key = derive("sha1", passphrase, salt, ITERATIONS, _FOR_CIPHER, 24)
    iv = derive("sha1", passphrase, salt, ITERATIONS, _FOR_IV, 8)
    algorithm = der.sequence(der.oid(_PBE_3DES), der.sequence(der.octets(salt), der.integer(ITERATIONS)))
    return algorithm, _cbc(triple_des(key), iv, data)


def _cbc(cipher: Any, iv: bytes, data: bytes) -> bytes:
    missing = len(iv) - len(data) % len(iv)
    encryptor = Cipher(cipher, modes.CBC(iv)).encryptor()
    hidden: bytes = encryptor.update(data + bytes((missing,)) * missing) + encryptor.finalize()
    return hidden


def derive(digest: str, passphrase: str, salt: bytes, iterations: int, purpose: int, size: int) -> bytes:
    """The key derivation of RFC 7292, appendix B.2; the passphrase is a BMPString that ends in two zero bytes.

    :param digest: as hashlib names it.
    :param purpose: 1 for a key of a cipher, 2 for its initialisation vector, 3 for a MAC.
    :param size: bytes wanted.
    """
    block = hashlib.new(digest).block_size
    mixed = _filled(salt, block) + _filled(passphrase.encode("utf-16-be") + b"\0\0", block)
    found = b""
    while len(found) < size:
        one = bytes((purpose,)) * block + mixed
        for _round in range(iterations):
            one = hashlib.new(digest, one).digest()
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


_FORMS = {
    MODERN: _Form(_encrypt_modern, _AES_256_CBC, "sha256", _SHA_256),
    COMPAT: _Form(_encrypt_compat, _PBE_3DES, "sha1", _SHA_1),
}
ENCRYPTIONS = tuple(_FORMS)


# -- reading -------------------------------------------------------------------------------------------------------


def read_pfx(data: bytes, path: str, passphrase: bytes) -> Tuple[Any, bytes]:
    """The key and the certificate (DER) of a PKCS#12 file.

    :param path: where the data comes from, for messages.
    :raises EsyncError: kind ``damaged_file``, or ``too_many_iterations`` before any is computed; never with a text of
        the library.
    """
    if not data:
        raise _damaged(path, "it is empty")
    if len(data) > MAX_BYTES:
        raise _damaged(path, f"it has {len(data)} bytes, more than one key and one certificate need ({MAX_BYTES})")
    try:
        # Strictly, because versions of the library differ in what they ignore.
        most = max(_iterations(data))
    except ValueError:
        raise _damaged(path, "its length is not what its header says, or it is no PKCS#12 file in DER") from None
    if most > MAX_ITERATIONS:
        raise EsyncError(
            f"its key derivation counts {most} iterations, and more than {MAX_ITERATIONS} are not computed",
            "Write it again with fewer",
            kind="too_many_iterations",
            path=path,
        )
    try:
        key, certificate, others = pkcs12.load_key_and_certificates(data, passphrase)
    except Exception:
        # Neither the library nor the format distinguishes a wrong passphrase from a damaged file.
        raise _damaged(path, "its passphrase is another one, or the file is damaged") from None
    if key is None or certificate is None or others:
        raise _damaged(path, "it must hold exactly one key and one certificate")
    return key, certificate.public_bytes(serialization.Encoding.DER)


def encryption_of(data: bytes) -> str:
    """Which form a file has, by its algorithms: ``modern``, ``compat`` or ``unknown``."""
    traits = {
        name: (der.oid(form.cipher_oid) in data, any(one in data for one in _digest_identifiers(form)))
        for name, form in _FORMS.items()
    }
    found = [name for name, (cipher, digest) in traits.items() if cipher or digest]
    return found[0] if len(found) == 1 and all(traits[found[0]]) else "unknown"


def _digest_identifiers(form: _Form) -> Tuple[bytes, bytes]:
    # The complete algorithm identifier, without and with the parameter NULL: nothing else protects that part of a file.
    digest = der.oid(form.digest_oid)
    return der.sequence(digest), der.sequence(digest, der.null())


def _iterations(data: bytes) -> Iterator[int]:
    """How often each key derivation of a file repeats its hash; what is encrypted is not seen.

    :raises ValueError: it is no PKCS#12 file of version 3 with a MAC, in DER, with nothing after it. What cannot be
        followed to its derivations is refused, or it could hide one.
    """
    version, content, mac = der.open_sequence(data, der.INTEGER, der.SEQUENCE, der.SEQUENCE)
    if version.content != b"\3":
        raise ValueError("another version")
    digest, salt, *counted = der.open_sequence(mac.encoded)
    if salt.tag != der.OCTET_STRING or [one.tag for one in counted] not in ([], [der.INTEGER]):
        raise ValueError("no MAC")
    yield _number(counted[0]) if counted else 1
    yield from _counts(digest, _MAX_DEPTH)
    for info in der.open_sequence(_data(content)):
        kind, wrapped = der.open_sequence(info.encoded, der.OBJECT_IDENTIFIER, der.CONTEXT)
        if kind.encoded == der.oid(_ENCRYPTED_DATA):
            yield from _counts(wrapped, _MAX_DEPTH)
        else:
            yield from _counts_of_bags(_data(info), _MAX_DEPTH)


def _data(info: der.Element) -> bytes:
    """What is in a ContentInfo of the kind data (RFC 5652, 3 and 4)."""
    kind, wrapped = der.open_sequence(info.encoded, der.OBJECT_IDENTIFIER, der.CONTEXT)
    (octets,) = der.elements(wrapped.content)
    if kind.encoded != der.oid(_DATA) or octets.tag != der.OCTET_STRING:
        raise ValueError("another kind of content")
    return octets.content


def _counts_of_bags(contents: bytes, depth: int) -> Iterator[int]:
    for bag in der.open_sequence(contents):
        kind, wrapped, *_attributes = der.open_sequence(bag.encoded)
        if kind.encoded == der.oid(_SAFE_CONTENTS_BAG) and depth:
            yield from _counts_of_bags(wrapped.content, depth - 1)
        else:
            yield from _counts(wrapped, depth)


def _counts(element: der.Element, depth: int) -> Iterator[int]:
    """The iterations of every algorithm identifier in an element; octet strings are not opened."""
    if not element.tag & 0x20:
        return
    if not depth:
        raise ValueError("nested too deeply")
    parts = der.elements(element.content)
    if len(parts) > 1 and parts[0].tag == der.OBJECT_IDENTIFIER and parts[0].content.startswith(_DERIVATIONS):
        numbers = der.elements(parts[1].content) if parts[1].tag == der.SEQUENCE else []
        yield from [_number(one) for one in numbers if one.tag == der.INTEGER][:1]
    for part in parts:
        yield from _counts(part, depth - 1)


def _number(element: der.Element) -> int:
    return int.from_bytes(element.content, "big")


def _damaged(path: str, cause: str) -> EsyncError:
    return EsyncError(cause, "Restore it, or have the set created again", kind="damaged_file", path=path)
