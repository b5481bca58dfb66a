# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The mesh's certificates: made by one profile, read strictly (docs/formats.md).

The profile works in every consumer tried: OpenSSL, nginx, GnuTLS, NSS, Java, Mono. The authority key identifier equals
the subject key identifier, because without it a verifier cannot distinguish the old and the new one.
"""

from __future__ import annotations

import base64
import datetime
import hashlib
import ipaddress
import re
from dataclasses import dataclass
from typing import Any, List, Optional, Tuple

from ansible_collections.esync.mesh.plugins.module_utils._core import libraries
from ansible_collections.esync.mesh.plugins.module_utils._core.certificate import (
    IP_ADDRESS,
    MAX_DER,
    MAX_SUBJECT,
    Certificate,
    alt_name_kinds,
    in_pem,
    normal_alt_names,
    timestamp,
)
from ansible_collections.esync.mesh.plugins.module_utils._core.errors import EsyncError
from ansible_collections.esync.mesh.plugins.module_utils._core.names import CLIENT, ROLES, SERVER
from ansible_collections.esync.mesh.plugins.module_utils._crypto import der as asn1
from ansible_collections.esync.mesh.plugins.module_utils._crypto import key_types

try:
    from cryptography import x509
    from cryptography.hazmat.primitives import serialization
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
except ImportError:
    # libraries.require() says so before any of this is used.
    pass

__all__ = [
    "CLIENT",
    "ROLES",
    "SERVER",
    "Certificate",
    "Profile",
    "generate_key",
    "key_from_pem",
    "key_to_pem",
    "normal_alt_names",
    "parse_certificate",
    "public_key_of",
    "self_sign",
    "signed_by_itself",
    "timestamp",
]

BACKDATED = datetime.timedelta(hours=24)
"""How far notBefore is set back, so that a host whose clock is behind accepts a new certificate."""

MAX_BYTES = 64 * 1024
"""The largest file with a certificate or a key that is read."""

_PEM_KEY = re.compile(rb"\s*-----BEGIN [A-Z ]*PRIVATE KEY-----[^-]+-----END [A-Z ]*PRIVATE KEY-----\s*")
# Ten times what anybody should choose, and far from the last year that a certificate can name.
_MAX_DAYS = 36500


@dataclass(frozen=True)
class Profile:
    """What a certificate is made from.

    :param name: the server name; subject and issuer, 1 to 64 characters.
    :param alt_names: host names and IP addresses, all of them.
    :param key_type: a key of KEY_TYPES.
    :param key_size: one of its sizes; None for its default.
    :param valid_days: days from now to the end.
    """

    name: str
    alt_names: Tuple[str, ...]
    key_type: str
    key_size: Optional[int]
    valid_days: int


def generate_key(key_type: str, key_size: Optional[int]) -> Any:
    """A new private key.

    :param key_size: None for the type's default.
    :raises EsyncError: kind ``bad_key_type``, or ``unsupported_algorithm`` on a host that cannot make such a key.
    """
    return key_types.generate(key_type, key_size)


def self_sign(key: Any, role: str, profile: Profile, now: datetime.datetime) -> Certificate:
    """A self-signed certificate by the mesh's profile.

    :param now: the time to count from, with a time zone.
    :raises EsyncError: kind ``bad_name`` or ``bad_valid_days``: no certificate can hold it.
    """
    if not 1 <= len(profile.name) <= 64 or "\0" in profile.name:
        raise EsyncError("the common name must have 1 to 64 characters", "Choose a shorter name", kind="bad_name")
    if not 1 <= profile.valid_days <= _MAX_DAYS:
        raise EsyncError(
            f"a certificate cannot be valid for {profile.valid_days} days",
            f"Set esync_valid_days to 1 to {_MAX_DAYS}",
            kind="bad_valid_days",
        )
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, profile.name)])
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    usage = ExtendedKeyUsageOID.SERVER_AUTH if role == SERVER else ExtendedKeyUsageOID.CLIENT_AUTH
    key_type = key_types.KEY_TYPES[key_types.type_and_size(key.public_key())[0]]
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - BACKDATED)
        .not_valid_after(now + datetime.timedelta(days=profile.valid_days))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(
            x509.KeyUsage(
                digital_signature=True,
                content_commitment=False,
                key_encipherment=key_type.key_encipherment,
                data_encipherment=False,
                key_agreement=False,
                key_cert_sign=False,
                crl_sign=False,
                encipher_only=False,
                decipher_only=False,
            ),
            critical=True,
        )
        .add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
        .add_extension(x509.SubjectAlternativeName(_general_names(profile.alt_names)), critical=False)
        .add_extension(identifier, critical=False)
        .add_extension(x509.AuthorityKeyIdentifier(identifier.digest, None, None), critical=False)
        .sign(key, key_type.signature_hash(key.public_key()))
    )
    return _view(certificate, role)


def parse_certificate(data: bytes, path: str, role: Optional[str] = None) -> Certificate:
    """Read one certificate, DER or PEM, strictly: nothing may stand before or after it.

    :param path: where the data comes from, for messages.
    :param role: the role it must have; None takes what it says of itself.
    :raises EsyncError: kind ``damaged_file``, ``wrong_role``, or ``too_large``.
    """
    if len(data) > MAX_BYTES:
        raise _damaged(path, f"it has {len(data)} bytes, more than any certificate of the mesh ({MAX_BYTES})")
    if not data:
        raise _damaged(path, "it is empty")
    try:
        der = data
        if data.lstrip().startswith(b"-----BEGIN"):
            block = in_pem(data)
            if block is None:
                raise _damaged(path, "it must hold exactly one PEM certificate and nothing else")
            # Decoded here, because up to version 3.4 the library passes over what stands after the certificate.
            der = base64.b64decode(b"".join(block.split()), validate=True)
        certificate = x509.load_der_x509_certificate(der)
        # Some versions of the library pass over what stands after it, and over lengths that DER forbids.
        if certificate.public_bytes(serialization.Encoding.DER) != der:
            raise _damaged(path, "it is not exactly one certificate in DER")
        found = _view(certificate, _role_of(certificate, path, role))
        name = len(certificate.subject.public_bytes())
    except EsyncError:
        raise
    except Exception:
        # The library raises many types on damaged input; none of their texts helps a user.
        raise _damaged(path, "it is no X.509 certificate of the mesh, or damaged") from None
    for what, size, most in (("it", len(found.der), MAX_DER), ("the name that it is issued to", name, MAX_SUBJECT)):
        if size > most:
            raise EsyncError(
                f"{what} has {size} bytes, and {most} are the most that services take in one of many certificates",
                "Create it again with fewer names and extensions",
                kind="too_large",
                path=path,
            )
    return found


def signed_by_itself(der: bytes) -> bool:
    """Is a certificate signed by its own key, and no bit outside of what is signed changed?"""
    try:
        signed, algorithm, signature = asn1.open_sequence(der, asn1.SEQUENCE, asn1.SEQUENCE, asn1.BIT_STRING)
        # What the signature does not cover: its algorithm stands inside too (RFC 5280, 4.1.1.2), and the count of
        # unused bits before it is 0. Older versions of the library pass over both.
        _version, _serial, inner, *_others = asn1.open_sequence(signed.encoded)
        if inner.encoded != algorithm.encoded or not signature.content.startswith(b"\0"):
            return False
        certificate = x509.load_der_x509_certificate(der)
        key_types.verify(
            certificate.public_key(), signature.content[1:], signed.encoded, certificate.signature_hash_algorithm
        )
    except Exception:
        # InvalidSignature, but also whatever a library makes of an algorithm that a flipped bit named.
        return False
    return True


def key_to_pem(key: Any) -> bytes:
    """A private key as unencrypted PKCS#8 PEM; the same bytes whatever version of the library wrote them."""
    text = base64.b64encode(pkcs8_of(key))
    lines = [text[start : start + 64] for start in range(0, len(text), 64)]
    return b"\n".join([b"-----BEGIN PRIVATE KEY-----", *lines, b"-----END PRIVATE KEY-----", b""])


def pkcs8_of(key: Any) -> bytes:
    """A private key as PKCS#8, DER, unencrypted; also of a type that is never made here."""
    found = key_types.pkcs8(key)
    if found is None:
        found = key.private_bytes(
            serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    data: bytes = found
    return data


def key_from_pem(data: bytes, path: str) -> Any:
    """Read an unencrypted private key.

    :raises EsyncError: kind ``damaged_file``; never with a text of the library, which could hold key material.
    """
    if not data:
        raise _damaged(path, "it is empty")
    if len(data) > MAX_BYTES:
        raise _damaged(path, f"it has {len(data)} bytes, more than any key of the mesh ({MAX_BYTES})")
    if not _PEM_KEY.fullmatch(data):
        raise _damaged(path, "it must hold exactly one PEM private key and nothing else")
    try:
        # Every reader compares a key with the certificate's public key, so the slow test of the primes is omitted.
        return libraries.load_pem_key(data)
    except Exception:
        raise _damaged(path, "it is no private key in PEM, or damaged") from None


def public_key_of(key: Any) -> bytes:
    """The public half of a private key: SubjectPublicKeyInfo, DER."""
    return _spki(key.public_key())


def _view(certificate: Any, role: str) -> Certificate:
    der = certificate.public_bytes(serialization.Encoding.DER)
    names = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    key_type, key_size = key_types.type_and_size(certificate.public_key())
    not_before, not_after = libraries.validity(certificate)
    return Certificate(
        role=role,
        der=der,
        pem=certificate.public_bytes(serialization.Encoding.PEM).decode("ascii"),
        fingerprint=hashlib.sha256(der).hexdigest(),
        subject=str(names[0].value) if names else "",
        not_before=not_before,
        not_after=not_after,
        alt_names=_alt_names(certificate),
        key_type=key_type,
        key_size=key_size,
        public_key=_spki(certificate.public_key()),
    )


def _spki(public_key: Any) -> bytes:
    der: bytes = public_key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return der


def _role_of(certificate: Any, path: str, wanted: Optional[str]) -> str:
    try:
        usages = list(certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value)
    except x509.ExtensionNotFound:
        usages = []
    roles = {ExtendedKeyUsageOID.SERVER_AUTH: SERVER, ExtendedKeyUsageOID.CLIENT_AUTH: CLIENT}
    found = [roles[usage] for usage in usages if usage in roles]
    if len(usages) != 1 or len(found) != 1 or (wanted and found[0] != wanted):
        place = wanted or "server or client"
        shown = " and ".join(found) or "neither"
        raise EsyncError(
            f"its place is that of a {place} certificate, but its extended key usage says {shown}",
            "Put the right file there, or have the set created again",
            kind="wrong_role",
            path=path,
        )
    return found[0]


def _alt_names(certificate: Any) -> Tuple[str, ...]:
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return ()
    return tuple(str(name.value) for name in names)


def _general_names(alt_names: Tuple[str, ...]) -> List[Any]:
    """The names as the library takes them.

    :raises EsyncError: kind ``bad_name``.
    """
    return [
        x509.IPAddress(ipaddress.ip_address(text)) if kind == IP_ADDRESS else x509.DNSName(text)
        for kind, text in alt_name_kinds(alt_names)
    ]


def _damaged(path: str, cause: str) -> EsyncError:
    return EsyncError(cause, "Restore it, or have the set created again", kind="damaged_file", path=path)
