# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""PKCS#12 files (RFC 7292) with one key and one certificate.

Written here, not by the library, of which only newer versions let the encryption be chosen, and several write a MAC
that one iteration protects. Read here, too, because the library first derives keys and tests primes, for as long as
whoever wrote the file wants, and then reports what is wrong.
"""

from __future__ import annotations

import hashlib
import hmac
import os
from dataclasses import dataclass
from typing import Any, Callable, Iterable, Iterator, List, Tuple

from ansible_collections.esync.mesh.plugins.module_utils._core import layout
from ansible_collections.esync.mesh.plugins.module_utils._core.errors import EsyncError
from ansible_collections.esync.mesh.plugins.module_utils._core.libraries import load_der_key, triple_des, unsupported
from ansible_collections.esync.mesh.plugins.module_utils._crypto import der, key_types, pbe
from ansible_collections.esync.mesh.plugins.module_utils._crypto.certificates import pkcs8_of

try:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.ciphers import algorithms
except ImportError:
    # libraries.require() says so before any of this is used.
    pass

MODERN, COMPAT = layout.MODERN, layout.COMPAT

MAX_BYTES = 64 * 1024

ITERATIONS = layout.PFX_ITERATIONS
"""Of each key derivation, MAC included: about 0.05 s to write; a passphrase that is made here needs none of it."""

MAX_ITERATIONS = 2_000_000
"""The most that is computed for a file of others, all of its derivations together: a few seconds."""

MAX_KEY_BITS = 8192
"""The largest RSA key that is read: libraries test its primes, and that takes minutes for much larger ones."""

_SALT_BYTES = 16

# Object identifiers (RFC 7292, RFC 5652, RFC 2985).
_DATA = "1.2.840.113549.1.7.1"
_ENCRYPTED_DATA = "1.2.840.113549.1.7.6"
_KEY_BAG = "1.2.840.113549.1.12.10.1.1"
_SHROUDED_KEY_BAG = "1.2.840.113549.1.12.10.1.2"
_SAFE_CONTENTS_BAG = "1.2.840.113549.1.12.10.1.6"
_CERTIFICATE_BAG = "1.2.840.113549.1.12.10.1.3"
_X509_CERTIFICATE = "1.2.840.113549.1.9.22.1"
_FRIENDLY_NAME = "1.2.840.113549.1.9.20"
_LOCAL_KEY_ID = "1.2.840.113549.1.9.21"

# The encrypted octets are an implicit [0], primitive.
_HIDDEN = 0x80
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
    content = der.sequence(der.oid(_DATA), algorithm, der.element(_HIDDEN, hidden_certificates))
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
    key = pbe.derive(form.digest, passphrase, salt, ITERATIONS, pbe.FOR_MAC, size)
    digest = hmac.new(key, safe, form.digest).digest()
    algorithm = der.sequence(der.oid(form.digest_oid), der.null())
    return der.sequence(der.sequence(algorithm, der.octets(digest)), der.octets(salt), der.integer(ITERATIONS))


def _encrypt_modern(data: bytes, passphrase: str) -> Tuple[bytes, bytes]:
    """PBES2 (RFC 8018, 6.2): AES-256-CBC, PBKDF2 with HMAC-SHA-256; its passphrase is UTF-8."""
    salt, iv = os.urandom(_SALT_BYTES), os.urandom(16)
    key = hashlib.pbkdf2_hmac("sha256", passphrase.encode("utf-8"), salt, ITERATIONS, 32)
    derivation = der.sequence(
        der.oid(pbe.PBKDF2),
        der.sequence(der.octets(salt), der.integer(ITERATIONS), der.sequence(der.oid(pbe.HMAC_SHA_256), der.null())),
    )
    cipher = der.sequence(der.oid(pbe.AES_256_CBC), der.octets(iv))
    algorithm = der.sequence(der.oid(pbe.PBES2), der.sequence(derivation, cipher))
    return algorithm, _hidden(algorithms.AES(key), iv, data)


def _encrypt_compat(data: bytes, passphrase: str) -> Tuple[bytes, bytes]:
    """pbeWithSHAAnd3-KeyTripleDES-CBC (RFC 7292, appendix C)."""
    # Some old readers know salts of eight bytes only.
    salt = os.urandom(8)
    key = pbe.derive("sha1", passphrase, salt, ITERATIONS, pbe.FOR_CIPHER, 24)
    iv = pbe.derive("sha1", passphrase, salt, ITERATIONS, pbe.FOR_IV, 8)
    algorithm = der.sequence(der.oid(pbe.PBE_3DES), der.sequence(der.octets(salt), der.integer(ITERATIONS)))
    return algorithm, _hidden(triple_des(key), iv, data)


def _hidden(cipher: Any, iv: bytes, data: bytes) -> bytes:
    missing = len(iv) - len(data) % len(iv)
    encryptor = pbe.cbc(cipher, iv).encryptor()
    hidden: bytes = encryptor.update(data + bytes((missing,)) * missing) + encryptor.finalize()
    return hidden


_FORMS = {
    MODERN: _Form(_encrypt_modern, pbe.AES_256_CBC, "sha256", pbe.SHA_256),
    COMPAT: _Form(_encrypt_compat, pbe.PBE_3DES, "sha1", pbe.SHA_1),
}
ENCRYPTIONS = tuple(_FORMS)


# -- reading -------------------------------------------------------------------------------------------------------


def read_pfx(data: bytes, path: str, passphrase: bytes) -> Tuple[Any, bytes]:
    """The key and the certificate (DER) of a PKCS#12 file.

    :param path: where the data comes from, for messages.
    :raises EsyncError: kind ``damaged_file``, ``unsupported_algorithm``, or ``too_many_iterations`` before any is
        computed; never with a text of the library.
    """
    if not data:
        raise _damaged(path, "it is empty")
    if len(data) > MAX_BYTES:
        raise _damaged(path, f"it has {len(data)} bytes, more than one key and one certificate need ({MAX_BYTES})")
    try:
        _version, content, mac = _outer(data)
        safe = _data(content)
        # Strictly, because versions of the library differ in what they ignore.
        wanted = sum(_iterations(data))
    except ValueError:
        raise _damaged(path, "its length is not what its header says, or it is no PKCS#12 file in DER") from None
    _demand_few(wanted, path)
    try:
        text = passphrase.decode("utf-8")
        if not pbe.accepts(mac, safe, text):
            # The format does not distinguish a wrong passphrase from a damaged file.
            raise ValueError
        bags = list(_all_bags(safe, text, wanted, path))
        keys = [pkcs8 for one in bags for pkcs8 in _keys_in(one, text)]
        certificates = [certificate for one in bags for certificate in _certificates_in(one)]
    except pbe.UnknownEncryptionError:
        raise _damaged(
            path, "it is encrypted in a way that is not read here, which is neither AES, 3DES nor RC2 by a passphrase"
        ) from None
    except EsyncError:
        raise
    except Exception:
        # UnsupportedAlgorithm of the library among others; none of their texts helps a user.
        raise _damaged(path, "its passphrase is another one, or the file is damaged") from None
    if len(keys) != 1 or len(certificates) != 1:
        raise _damaged(path, "it must hold exactly one key and one certificate")
    return _loaded_key(keys[0], path), certificates[0]


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


def _demand_few(iterations: int, path: str) -> None:
    if iterations > MAX_ITERATIONS:
        raise EsyncError(
            f"its key derivations count {iterations} iterations, and more than {MAX_ITERATIONS} are not computed",
            "Write it again with fewer",
            kind="too_many_iterations",
            path=path,
        )


def _outer(data: bytes) -> List[der.Element]:
    """Version, content and MAC of a file (PFX: RFC 7292, 4).

    :raises ValueError: it is no PKCS#12 file of version 3 with a MAC, in DER, with nothing after it.
    """
    found = der.open_sequence(data, der.INTEGER, der.SEQUENCE, der.SEQUENCE)
    if found[0].content != b"\3":
        raise ValueError("another version")
    return found


def _iterations(data: bytes) -> Iterator[int]:
    """How often each key derivation of a file repeats its hash; what is encrypted is not seen.

    :raises ValueError: what cannot be followed to its derivations is refused, or it could hide one.
    """
    _version, content, mac = _outer(data)
    digest, salt, *counted = der.open_sequence(mac.encoded)
    if salt.tag != der.OCTET_STRING or [one.tag for one in counted] not in ([], [der.INTEGER]):
        raise ValueError("no MAC")
    yield pbe.number(counted[0]) if counted else 1
    yield from pbe.counts(digest)
    for info in der.open_sequence(_data(content)):
        kind, wrapped = der.open_sequence(info.encoded, der.OBJECT_IDENTIFIER, der.CONTEXT)
        if kind.encoded == der.oid(_ENCRYPTED_DATA):
            yield from pbe.counts(wrapped)
        else:
            yield from _counts_of_bags(_bags(_data(info)))


def _counts_of_bags(bags: Iterable[_Bag]) -> Iterator[int]:
    for bag in bags:
        yield from pbe.counts(bag.value)


def _data(info: der.Element) -> bytes:
    """What is in a ContentInfo of the kind data (RFC 5652, 3 and 4)."""
    kind, wrapped = der.open_sequence(info.encoded, der.OBJECT_IDENTIFIER, der.CONTEXT)
    (octets,) = der.elements(wrapped.content)
    if kind.encoded != der.oid(_DATA) or octets.tag != der.OCTET_STRING:
        raise ValueError("another kind of content")
    return octets.content


@dataclass(frozen=True)
class _Bag:
    """One bag. :param kind: its object identifier, DER. :param value: what is in it, in its tag ``[0]``."""

    kind: bytes
    value: der.Element


def _bags(contents: bytes, depth: int = _MAX_DEPTH) -> Iterator[_Bag]:
    """The bags of SafeContents, and those within bags (RFC 7292, 4.2)."""
    if not depth:
        raise ValueError("nested too deeply")
    for bag in der.open_sequence(contents):
        kind, value, *_attributes = der.open_sequence(bag.encoded)
        if kind.encoded == der.oid(_SAFE_CONTENTS_BAG):
            yield from _bags(value.content, depth - 1)
        else:
            yield _Bag(kind.encoded, value)


def _all_bags(safe: bytes, passphrase: str, wanted: int, path: str) -> Iterator[_Bag]:
    """The bags of a file, those that are encrypted too.

    :param wanted: the iterations that were counted already; those that only now come to light are added.
    """
    for info in der.open_sequence(safe):
        kind, wrapped = der.open_sequence(info.encoded, der.OBJECT_IDENTIFIER, der.CONTEXT)
        if kind.encoded == der.oid(_ENCRYPTED_DATA):
            _version, content = der.open_sequence(wrapped.content, der.INTEGER, der.SEQUENCE)
            inner, algorithm, hidden = der.open_sequence(content.encoded)
            if inner.encoded != der.oid(_DATA) or hidden.tag != _HIDDEN:
                raise ValueError("another kind of content")
            bags = list(_bags(pbe.decrypt(algorithm, hidden.content, passphrase)))
            wanted += sum(_counts_of_bags(bags))
            _demand_few(wanted, path)
        else:
            bags = list(_bags(_data(info)))
        yield from bags


def _keys_in(bag: _Bag, passphrase: str) -> Iterator[bytes]:
    """PKCS#8, DER."""
    if bag.kind == der.oid(_KEY_BAG):
        yield bag.value.content
    elif bag.kind == der.oid(_SHROUDED_KEY_BAG):
        algorithm, hidden = der.open_sequence(bag.value.content, der.SEQUENCE, der.OCTET_STRING)
        yield pbe.decrypt(algorithm, hidden.content, passphrase)


def _certificates_in(bag: _Bag) -> Iterator[bytes]:
    if bag.kind == der.oid(_CERTIFICATE_BAG):
        kind, wrapped = der.open_sequence(bag.value.content, der.OBJECT_IDENTIFIER, der.CONTEXT)
        (octets,) = der.elements(wrapped.content)
        if kind.encoded == der.oid(_X509_CERTIFICATE) and octets.tag == der.OCTET_STRING:
            yield octets.content


def _loaded_key(pkcs8: bytes, path: str) -> Any:
    try:
        if not key_types.is_bounded(pkcs8, MAX_KEY_BITS):
            raise _damaged(
                path, f"its private key is larger than RSA {MAX_KEY_BITS}, or the parts of it do not fit each other"
            )
        return load_der_key(pkcs8)
    except EsyncError:
        raise
    except Exception:
        raise _damaged(path, "its private key is damaged, or of no known type") from None


def _damaged(path: str, cause: str) -> EsyncError:
    return EsyncError(cause, "Restore it, or have the set created again", kind="damaged_file", path=path)
