# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The types of keys that a set can have: KEY_TYPES, a row for each. Nothing else in the collection distinguishes types.

A new type is a row here, its test, and its line in docs/formats.md. Sizes are bits; 0 stands for "it has none".

Names, sizes and formats are needed by every call, so cryptography is imported only where a key is at hand.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Callable, Mapping, Optional, Tuple

from ansible_collections.esync.mesh.plugins.module_utils._core.errors import EsyncError
from ansible_collections.esync.mesh.plugins.module_utils._core.libraries import unsupported
from ansible_collections.esync.mesh.plugins.module_utils._crypto import der

CER = "cer"
PFX = "pfx"
PVK = "pvk"


@dataclass(frozen=True)
class KeyType:
    """A type of key. No field has a default: who adds a row answers every question.

    :param name: as ``esync_key_type`` names it.
    :param sizes: what ``esync_key_size`` may be; empty for a type of one size.
    :param default_size: the size if the user names none; 0 without sizes.
    :param weak_below: sizes below this are refused in certificates of others; 0 for no such limit.
    :param formats: those of cer, pfx and pvk that can hold it.
    :param key_encipherment: whether its certificates allow keyEncipherment besides digitalSignature.
    :param generate: size to a new private key.
    :param is_public: whether a public key of the library is of this type.
    :param size_of: the size of a public key; 0 for a curve that is never made here.
    :param signature_hash: the hash that a certificate of this public key is signed with; None if the type has its own.
    :param verify: ``(public key, signature, signed bytes, hash)``; raises InvalidSignature.
    :param consistent: whether the parts of a private key fit each other.
    :param pkcs8: a private key as the one DER of PKCS#8 that is written and accepted; None if it is not made here.
    """

    name: str
    sizes: Tuple[int, ...]
    default_size: int
    weak_below: int
    formats: Tuple[str, ...]
    key_encipherment: bool
    generate: Callable[[int], Any]
    is_public: Callable[[Any], bool]
    size_of: Callable[[Any], int]
    signature_hash: Callable[[Any], Any]
    verify: Callable[[Any, bytes, bytes, Any], None]
    consistent: Callable[[Any], bool]
    pkcs8: Callable[[Any], Optional[bytes]]


# -- RSA (RFC 8017) ------------------------------------------------------------------------------------------------

_EXPONENT = 65537
_RSA_ENCRYPTION = "1.2.840.113549.1.1.1"


def _rsa_generate(size: int) -> Any:
    from cryptography.hazmat.primitives.asymmetric import rsa

    return rsa.generate_private_key(public_exponent=_EXPONENT, key_size=size)


def _rsa_is_public(key: Any) -> bool:
    from cryptography.hazmat.primitives.asymmetric import rsa

    return isinstance(key, rsa.RSAPublicKey)


def _sha256(_key: Any) -> Any:
    from cryptography.hazmat.primitives import hashes

    return hashes.SHA256()


def rsa_numbers_fit(n: int, e: int, d: int, p: int, q: int, dmp1: int, dmq1: int, iqmp: int) -> bool:
    """Whether the numbers of an RSA key fit each other, without testing its primes, which is slow.

    The relations of RFC 8017, 3.2, catch every flipped bit; only a forger could pass composite "primes", and to
    what end? Keys are read from a folder of the same user.
    """
    if p < 3 or q < 3:
        return False
    return (
        p * q == n
        and e * d % (p - 1) == 1
        and e * d % (q - 1) == 1
        and (dmp1, dmq1) == (d % (p - 1), d % (q - 1))
        and iqmp * q % p == 1
    )


def _rsa_numbers(key: Any) -> Tuple[int, ...]:
    """n, e, d, p, q, d mod p-1, d mod q-1, q^-1 mod p: the order of RFC 8017, A.1.2."""
    private = key.private_numbers()
    public = private.public_numbers
    return public.n, public.e, private.d, private.p, private.q, private.dmp1, private.dmq1, private.iqmp


def _rsa_consistent(key: Any) -> bool:
    return rsa_numbers_fit(*_rsa_numbers(key))


def _rsa_verify(key: Any, signature: bytes, data: bytes, algorithm: Any) -> None:
    from cryptography.hazmat.primitives.asymmetric import padding

    key.verify(signature, data, padding.PKCS1v15(), algorithm)


def _rsa_pkcs8(key: Any) -> bytes:
    numbers = der.sequence(*(der.integer(number) for number in (0, *_rsa_numbers(key))))
    return _private_key_info(der.sequence(der.oid(_RSA_ENCRYPTION), der.null()), numbers)


# -- ECDSA (RFC 5480, RFC 5915) ------------------------------------------------------------------------------------

_CURVES = {256: ("secp256r1", "1.2.840.10045.3.1.7"), 384: ("secp384r1", "1.3.132.0.34")}
"""Size to the library's name of the curve and its object identifier."""


def _ecdsa_generate(size: int) -> Any:
    from cryptography.hazmat.primitives.asymmetric import ec

    return ec.generate_private_key({256: ec.SECP256R1, 384: ec.SECP384R1}[size]())


def _ecdsa_is_public(key: Any) -> bool:
    from cryptography.hazmat.primitives.asymmetric import ec

    return isinstance(key, ec.EllipticCurvePublicKey)


def _ecdsa_size(key: Any) -> int:
    return next((size for size, (name, _oid) in _CURVES.items() if name == key.curve.name), 0)


def _ecdsa_hash(key: Any) -> Any:
    from cryptography.hazmat.primitives import hashes

    # As strong as the curve: TLS 1.3 (RFC 8446, 4.2.3) has no signature scheme of P-384 with SHA-256.
    return hashes.SHA384() if _ecdsa_size(key) == 384 else hashes.SHA256()


def _ecdsa_verify(key: Any, signature: bytes, data: bytes, algorithm: Any) -> None:
    from cryptography.hazmat.primitives.asymmetric import ec

    key.verify(signature, data, ec.ECDSA(algorithm))


def _ecdsa_consistent(key: Any) -> bool:
    from cryptography.hazmat.primitives.asymmetric import ec

    numbers = key.private_numbers()
    derived = ec.derive_private_key(numbers.private_value, key.curve)
    return bool(derived.public_key().public_numbers() == numbers.public_numbers)


def _ecdsa_pkcs8(key: Any) -> Optional[bytes]:
    from cryptography.hazmat.primitives import serialization

    size = _ecdsa_size(key.public_key())
    if not size:
        return None
    point = key.public_key().public_bytes(serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint)
    value = key.private_numbers().private_value.to_bytes(size // 8, "big")
    inner = der.sequence(der.integer(1), der.octets(value), der.explicit(1, der.bits(point)))
    return _private_key_info(der.sequence(der.oid("1.2.840.10045.2.1"), der.oid(_CURVES[size][1])), inner)


# -- Ed25519 (RFC 8410) --------------------------------------------------------------------------------------------


def _ed25519_generate(_size: int) -> Any:
    from cryptography.hazmat.primitives.asymmetric import ed25519

    return ed25519.Ed25519PrivateKey.generate()


def _ed25519_is_public(key: Any) -> bool:
    from cryptography.hazmat.primitives.asymmetric import ed25519

    return isinstance(key, ed25519.Ed25519PublicKey)


def _ed25519_verify(key: Any, signature: bytes, data: bytes, _algorithm: Any) -> None:
    key.verify(signature, data)


def _ed25519_pkcs8(key: Any) -> bytes:
    from cryptography.hazmat.primitives import serialization

    seed = key.private_bytes(serialization.Encoding.Raw, serialization.PrivateFormat.Raw, serialization.NoEncryption())
    return _private_key_info(der.sequence(der.oid("1.3.101.112")), der.octets(seed))


def _private_key_info(algorithm: bytes, key: bytes) -> bytes:
    # Version 0 and no attributes (RFC 5208; RFC 5958 is the same without a public key).
    return der.sequence(der.integer(0), algorithm, der.octets(key))


# -- the registry --------------------------------------------------------------------------------------------------

_ROWS = (
    KeyType(
        name="rsa",
        sizes=(2048, 3072, 4096),
        default_size=3072,
        weak_below=2048,
        formats=(CER, PFX, PVK),
        key_encipherment=True,
        generate=_rsa_generate,
        is_public=_rsa_is_public,
        size_of=lambda key: int(key.key_size),
        signature_hash=_sha256,
        verify=_rsa_verify,
        consistent=_rsa_consistent,
        pkcs8=_rsa_pkcs8,
    ),
    KeyType(
        name="ecdsa",
        sizes=tuple(_CURVES),
        default_size=256,
        weak_below=0,
        formats=(CER, PFX),
        # RFC 5480 gives it no meaning here; every program tried accepts it, and certificates in use have it.
        key_encipherment=True,
        generate=_ecdsa_generate,
        is_public=_ecdsa_is_public,
        size_of=_ecdsa_size,
        signature_hash=_ecdsa_hash,
        verify=_ecdsa_verify,
        consistent=_ecdsa_consistent,
        pkcs8=_ecdsa_pkcs8,
    ),
    KeyType(
        name="ed25519",
        sizes=(),
        default_size=0,
        weak_below=0,
        formats=(CER, PFX),
        # RFC 8410, 5, allows signatures only.
        key_encipherment=False,
        generate=_ed25519_generate,
        is_public=_ed25519_is_public,
        size_of=lambda _key: 0,
        signature_hash=lambda _key: None,
        verify=_ed25519_verify,
        # The public key is derived from the seed, which is all that is stored.
        consistent=lambda _key: True,
        pkcs8=_ed25519_pkcs8,
    ),
)

KEY_TYPES: Mapping[str, KeyType] = {row.name: row for row in _ROWS}

SIZES: Tuple[int, ...] = tuple(sorted({size for row in _ROWS for size in row.sizes}))
"""Every size that some type has."""

DEFAULT = "rsa"


def type_of(public_key: Any) -> Optional[KeyType]:
    """The type of a public key of the library; None for one that is never made here."""
    return next((row for row in KEY_TYPES.values() if row.is_public(public_key)), None)


def type_and_size(public_key: Any) -> Tuple[str, int]:
    """What a public key is: ``("rsa", 3072)``, ``("ed25519", 0)``; ``("other", 0)`` for a type never made here."""
    row = type_of(public_key)
    return (row.name, row.size_of(public_key)) if row else ("other", 0)


def wanted_size(key_type: str, key_size: Optional[int]) -> int:
    """The size that is meant: that given, or the type's default; 0 for a type without sizes.

    :raises EsyncError: kind ``bad_key_type``: an unknown type, or a size that the type does not have.
    """
    row = KEY_TYPES.get(key_type)
    if row is None:
        raise EsyncError(
            f"{key_type!r} is no key type (esync_key_type)",
            f"Set esync_key_type to one of {', '.join(KEY_TYPES)}, and esync_key_size to a size that it has",
            kind="bad_key_type",
        )
    if key_size is None:
        return row.default_size
    if key_size not in row.sizes:
        allowed = ", ".join(str(size) for size in row.sizes)
        raise EsyncError(
            f"a key of the type {key_type} (esync_key_type) cannot have the size {key_size} (esync_key_size)",
            f"Set esync_key_size to one of {allowed}, or do not set it" if row.sizes else "Do not set esync_key_size",
            kind="bad_key_type",
        )
    return key_size


def demand_formats(key_type: str, formats: Tuple[str, ...]) -> None:
    """Refuse formats that cannot hold a key of this type.

    :raises EsyncError: kind ``bad_key_type``.
    """
    for suffix in formats:
        if suffix not in KEY_TYPES[key_type].formats:
            able = [row.name for row in KEY_TYPES.values() if suffix in row.formats]
            raise EsyncError(
                f"a .{suffix} file cannot hold a key of the type {key_type}, only {' or '.join(able)}",
                f"Take {suffix} out of esync_formats, or set esync_key_type to {' or '.join(able)}",
                kind="bad_key_type",
            )


def generate(key_type: str, key_size: Optional[int]) -> Any:
    """A new private key.

    :param key_size: None for the type's default.
    :raises EsyncError: kind ``bad_key_type``, or ``unsupported_algorithm`` on a host that cannot make such a key.
    """
    from cryptography.exceptions import UnsupportedAlgorithm

    size = wanted_size(key_type, key_size)
    try:
        return KEY_TYPES[key_type].generate(size)
    except UnsupportedAlgorithm:
        raise unsupported(f"keys of the type {key_type}", "Choose another esync_key_type") from None


def consistent(key: Any) -> bool:
    """Do the parts of a private key fit each other? Readers skip this because testing the primes of RSA is slow."""
    row = type_of(key.public_key())
    # Of a type that is never made here: its public half proves that it is none of ours.
    return row is None or row.consistent(key)


def pkcs8(key: Any) -> Optional[bytes]:
    """The one form in which a private key is written and accepted, DER; None for a type or curve not made here."""
    row = type_of(key.public_key())
    return row.pkcs8(key) if row else None


def is_bounded(private_key_info: bytes, most: int) -> bool:
    """Whether a private key in PKCS#8, DER, can be loaded in a moment, whatever a library tests in doing so.

    :param most: bits of the modulus of an RSA key, the only type with numbers of any size whose primes are tested.
    :raises ValueError: it is not DER.
    """
    _version, algorithm, key, *_attributes = der.open_sequence(private_key_info)
    if der.oid(_RSA_ENCRYPTION) not in algorithm.content:
        return True
    numbers = [int.from_bytes(one.content, "big") for one in der.open_sequence(key.content)][1:]
    return len(numbers) == 8 and numbers[0].bit_length() <= most and rsa_numbers_fit(*numbers)


def verify(public_key: Any, signature: bytes, data: bytes, algorithm: Any) -> None:
    """Verify a signature.

    :param algorithm: the hash; None for a type that has its own.
    :raises Exception: InvalidSignature, or whatever the library makes of an algorithm that does not fit.
    """
    row = type_of(public_key)
    if row is None:
        raise ValueError("a key of this type is never made here")
    row.verify(public_key, signature, data, algorithm)
