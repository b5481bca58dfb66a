# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The mesh's certificates: made by one profile, read strictly (docs/formats.md).

The profile works in every consumer tried: OpenSSL, nginx, GnuTLS, NSS, Java, Mono. The authority key identifier equals
the subject key identifier, for without it a verifier cannot tell the old from the new certificate of one subject.
"""

from __future__ import annotations

import datetime
import hashlib
import ipaddress
import re
from dataclasses import dataclass
from typing import Any, List, Optional, Tuple

from ansible_collections.esync.mesh.plugins.module_utils._core.certificate import (
    IP_ADDRESS,
    Certificate,
    alt_name_kinds,
    normal_alt_names,
    timestamp,
)
from ansible_collections.esync.mesh.plugins.module_utils._core.errors import EsyncError
from ansible_collections.esync.mesh.plugins.module_utils._core.names import CLIENT, ROLES, SERVER

try:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec, rsa
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
except ImportError:
    # requirements.require() says so before any of this is used.
    pass

__all__ = [
    "CLIENT",
    "ROLES",
    "SERVER",
    "Certificate",
    "Profile",
    "generate_key",
    "key_from_pem",
    "key_kind",
    "key_to_pem",
    "normal_alt_names",
    "parse_certificate",
    "public_key_of",
    "self_sign",
    "timestamp",
]

BACKDATED = datetime.timedelta(hours=24)
"""How far notBefore is set back, so that a host whose clock is behind accepts a new certificate."""

MAX_BYTES = 64 * 1024
"""The largest certificate or key file that is read; real ones have less than a tenth of it."""

_PEM = re.compile(rb"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----\s*", re.DOTALL)
_PEM_KEY = re.compile(rb"\s*-----BEGIN [A-Z ]*PRIVATE KEY-----[^-]+-----END [A-Z ]*PRIVATE KEY-----\s*")
# Ten times what anybody should choose, and far from the last year that a certificate can name.
_MAX_DAYS = 36500


@dataclass(frozen=True)
class Profile:
    """What a certificate is made from.

    :param name: the server name; subject and issuer, 1 to 64 characters.
    :param alt_names: host names and IP addresses, all of them.
    :param key_type: ``rsa`` or ``ecdsa``.
    :param key_size: bits of an RSA key.
    :param valid_days: days from now to the end.
    """

    name: str
    alt_names: Tuple[str, ...]
    key_type: str
    key_size: int
    valid_days: int


def generate_key(key_type: str, key_size: int) -> Any:
    """A new private key.

    :raises EsyncError: an unknown type or a size that is not 2048, 3072 or 4096 bits.
    """
    if key_type == "ecdsa":
        return ec.generate_private_key(ec.SECP256R1())
    if key_type == "rsa" and key_size in (2048, 3072, 4096):
        return rsa.generate_private_key(public_exponent=65537, key_size=key_size)
    raise EsyncError(
        f"a key of type {key_type} with {key_size} bits cannot be made",
        "Use esync_key_type rsa with esync_key_size 2048, 3072 or 4096, or esync_key_type ecdsa",
        kind="bad_key_type",
    )


def self_sign(key: Any, role: str, profile: Profile, now: datetime.datetime) -> Certificate:
    """A self-signed certificate by the mesh's profile.

    :param now: the time to count from, with a time zone.
    :raises EsyncError: kind ``bad_name`` or ``bad_valid_days``, for what no certificate can hold.
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
                key_encipherment=True,
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
        .sign(key, hashes.SHA256())
    )
    return _view(certificate, role)


def parse_certificate(data: bytes, path: str, role: Optional[str] = None) -> Certificate:
    """Read one certificate, DER or PEM, strictly: nothing may stand before or after it.

    :param path: where the data comes from, for messages.
    :param role: the role it must have; None takes what it says of itself.
    :raises EsyncError: kind ``damaged_file``, or ``wrong_role``.
    """
    if len(data) > MAX_BYTES:
        raise _damaged(path, f"it has {len(data)} bytes, more than any certificate of the mesh ({MAX_BYTES})")
    if not data:
        raise _damaged(path, "it is empty")
    try:
        if data.lstrip().startswith(b"-----BEGIN"):
            if not _PEM.fullmatch(data.lstrip()) or data.count(b"-----BEGIN") != 1:
                raise _damaged(path, "it must hold exactly one PEM certificate and nothing else")
            certificate = x509.load_pem_x509_certificate(data)
        else:
            certificate = x509.load_der_x509_certificate(data)
            if len(certificate.public_bytes(serialization.Encoding.DER)) != len(data):
                raise _damaged(path, "there are bytes after the certificate")
        return _view(certificate, _role_of(certificate, path, role))
    except EsyncError:
        raise
    except Exception:
        # The library raises many types on damaged input; none of their texts helps a user.
        raise _damaged(path, "it is no X.509 certificate of the mesh, or damaged") from None


def key_to_pem(key: Any) -> bytes:
    """A private key as unencrypted PKCS#8 PEM."""
    pem: bytes = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return pem


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
        # Whoever reads a key compares it with the certificate's public key, so the slow test of the primes is left out.
        try:
            return serialization.load_pem_private_key(data, None, unsafe_skip_rsa_key_validation=True)
        except TypeError:
            return serialization.load_pem_private_key(data, None)
    except Exception:
        raise _damaged(path, "it is no private key in PEM, or damaged") from None


def public_key_of(key: Any) -> bytes:
    """The public half of a private key: SubjectPublicKeyInfo, DER."""
    return _spki(key.public_key())


def key_kind(public_key: Any) -> Tuple[str, int]:
    """Type and bits of a public key, such as ``("rsa", 3072)``."""
    if isinstance(public_key, rsa.RSAPublicKey):
        return "rsa", public_key.key_size
    if isinstance(public_key, ec.EllipticCurvePublicKey):
        return "ecdsa", public_key.key_size
    return "other", 0


def _view(certificate: Any, role: str) -> Certificate:
    der = certificate.public_bytes(serialization.Encoding.DER)
    names = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    key_type, key_size = key_kind(certificate.public_key())
    return Certificate(
        role=role,
        der=der,
        pem=certificate.public_bytes(serialization.Encoding.PEM).decode("ascii"),
        fingerprint=hashlib.sha256(der).hexdigest(),
        subject=str(names[0].value) if names else "",
        not_before=_utc(certificate, "not_valid_before"),
        not_after=_utc(certificate, "not_valid_after"),
        alt_names=_alt_names(certificate),
        key_type=key_type,
        key_size=key_size,
        public_key=_spki(certificate.public_key()),
    )


def _utc(certificate: Any, name: str) -> datetime.datetime:
    # cryptography 42 brought times with a zone and deprecated those without.
    found = getattr(certificate, name + "_utc", None)
    if found is None:
        found = getattr(certificate, name).replace(tzinfo=datetime.timezone.utc)
    moment: datetime.datetime = found
    return moment


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
            "Put the right file there, or let the set be made anew",
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
    return EsyncError(cause, "Restore it, or let the set be made anew", kind="damaged_file", path=path)
