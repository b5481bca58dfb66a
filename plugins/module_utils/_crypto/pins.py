# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whether a certificate of somebody else may be pinned, by what it says itself; on hosts and on the control node."""

from __future__ import annotations

import datetime
from typing import Iterator, Optional, Tuple

from ansible_collections.esync.mesh.plugins.module_utils._crypto import key_types
from ansible_collections.esync.mesh.plugins.module_utils._crypto.certificates import (
    Certificate,
    signed_by_itself,
    timestamp,
)

try:
    from cryptography import x509
except ImportError:
    # libraries.require() says so before any of this is used.
    pass


# RFC 5280, 4.2.1: the extensions of subjectKeyIdentifier, keyUsage, subjectAltName, basicConstraints,
# authorityKeyIdentifier, extendedKeyUsage.
_OURS = frozenset(f"2.5.29.{number}" for number in (14, 15, 17, 19, 35, 37))


def unfit(certificate: Certificate, now: Optional[datetime.datetime] = None) -> Iterator[Tuple[str, str]]:
    """Why a certificate cannot be pinned: kind and cause.

    :param now: UTC; None: whether it is valid at present does not matter.
    """
    if now and now > certificate.not_after:
        yield "expired", f"it expired at {timestamp(certificate.not_after)}"
    if now and now < certificate.not_before:
        yield "not_yet_valid", f"it is valid from {timestamp(certificate.not_before)} on only"
    kind = key_types.KEY_TYPES.get(certificate.key_type)
    if kind and certificate.key_size < kind.weak_below:
        yield "weak_key", f"its key has {certificate.key_size} bits, and fewer than {kind.weak_below} are refused"
    if not signed_by_itself(certificate.der):
        yield "not_self_signed", "it is not signed by its own key, or damaged"
    if _may_issue(certificate.der):
        yield "authority", "whoever has its key can issue further certificates, which would be trusted too"


def unlike_ours(certificate: Certificate) -> Iterator[Tuple[str, str]]:
    """Why a certificate was not made by this collection: kind and cause.

    OpenSSL looks a caller's certificate up by its subject and its key identifiers (RFC 5280, 4.2.1.1 and 4.2.1.2), so a
    false one could stand in the way of another server's.
    """
    found = x509.load_der_x509_certificate(certificate.der)
    if found.issuer != found.subject or len(list(found.subject)) != 1:
        yield "wrong_name", "its subject or its issuer holds more than the server's name"
    key = x509.SubjectKeyIdentifier.from_public_key(found.public_key()).digest
    try:
        own = found.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest
        authority = found.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value.key_identifier
        matches = own == key == authority
    except x509.ExtensionNotFound:
        matches = False
    if not matches:
        yield "wrong_identifier", "its key identifiers are not those of its key"
    # What one version of the library takes, another refuses, and with it a host all that it is to trust.
    if not 0 < found.serial_number < 1 << 159:
        yield "wrong_serial", "its serial number is none that is ever given here"
    if {one.oid.dotted_string for one in found.extensions} - _OURS:
        yield "wrong_extension", "it has an extension that no certificate of the mesh has"


def _may_issue(der: bytes) -> bool:
    """Whether a verifier can take a certificate for an authority, which no pin may be (RFC 5280, 4.2.1.9)."""
    certificate = x509.load_der_x509_certificate(der)
    if certificate.version is not x509.Version.v3:
        return True  # OpenSSL takes a self-signed one of version 1 for an authority
    try:
        if certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca:
            return True
    except x509.ExtensionNotFound:
        pass
    try:
        return bool(certificate.extensions.get_extension_for_class(x509.KeyUsage).value.key_cert_sign)
    except x509.ExtensionNotFound:
        return False
