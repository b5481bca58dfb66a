# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A public certificate as a record, and the names in it. Nothing here needs cryptography."""

from __future__ import annotations

import base64
import datetime
import hashlib
import re
from dataclasses import dataclass
from typing import Any, Dict, List, Optional, Tuple

from ansible_collections.esync.mesh.plugins.module_utils._core.errors import EsyncError

FINGERPRINT = re.compile(r"[0-9a-f]{64}\Z")
"""SHA-256, lower-case hex."""

TIMESTAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ\Z")
"""What :func:`timestamp` writes."""

IP_ADDRESS = "ip"
HOST_NAME = "dns"

# A server name may be no proper host name (it may end in a hyphen), and still stands in its certificate.
_HOST_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,252}\Z")
# A mistyped address must not become a host name.
_DOTTED_NUMBERS = re.compile(r"[0-9]+(?:\.[0-9]+){3}\Z")


MAX_DER = 16 * 1024
"""Bytes that a certificate may have at the most; real ones have less than a tenth of it."""

MAX_SUBJECT = 1024
"""Bytes of the name that it is issued to, DER. A service names all that it accepts to every caller, and has room for
64 KB of such names altogether (OpenSSL)."""


@dataclass(frozen=True)
class Certificate:
    """A public certificate as it was made or read.

    :param role: ``server`` or ``client``.
    :param fingerprint: SHA-256 of the DER, lower-case hex.
    :param not_before: UTC. :param not_after: UTC.
    :param alt_names: host names (A-labels) and addresses in the order of the extension.
    :param key_type: a key of KEY_TYPES (key_types.py), or ``other``.
    :param key_size: bits; 0 if its type has one size only.
    :param public_key: SubjectPublicKeyInfo, DER.
    """

    role: str
    der: bytes
    pem: str
    fingerprint: str
    subject: str
    not_before: datetime.datetime
    not_after: datetime.datetime
    alt_names: Tuple[str, ...]
    key_type: str
    key_size: int
    public_key: bytes

    @property
    def key(self) -> str:
        """SHA-256 of the public key, lower-case hex, by which it is recognised in another certificate."""
        return hashlib.sha256(self.public_key).hexdigest()

    def facts(self) -> Dict[str, Any]:
        """The certificate for results and the ledger; public data only."""
        return {
            "role": self.role,
            "fingerprint": self.fingerprint,
            "subject": self.subject,
            "not_before": timestamp(self.not_before),
            "not_after": timestamp(self.not_after),
            "alt_names": list(self.alt_names),
            "pem": self.pem,
        }


def timestamp(moment: datetime.datetime) -> str:
    """A UTC time as text, to the second: ``2026-11-23T20:00:00Z``."""
    return moment.astimezone(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


@dataclass(frozen=True)
class Validity:
    """From when to when a certificate is valid, UTC."""

    not_before: datetime.datetime
    not_after: datetime.datetime


def moment_of(text: str) -> datetime.datetime:
    """The time that :func:`timestamp` wrote, UTC.

    :raises ValueError: it is no such time.
    """
    if len(text) != 20 or text[-1] != "Z":
        raise ValueError
    # strptime would load the locales first.
    return datetime.datetime.fromisoformat(text[:-1]).replace(tzinfo=datetime.timezone.utc)


def pem_of(der: bytes) -> bytes:
    """A certificate in PEM (RFC 7468)."""
    text = base64.b64encode(der)
    lines = b"\n".join(text[start : start + 64] for start in range(0, len(text), 64))
    return b"-----BEGIN CERTIFICATE-----\n" + lines + b"\n-----END CERTIFICATE-----\n"


def spelled(fingerprint: str) -> str:
    """A fingerprint in groups of four digits."""
    return " ".join(fingerprint[start : start + 4] for start in range(0, len(fingerprint), 4))


def fingerprint_line(name: str, role: str, state: str, fingerprint: str) -> str:
    """One certificate of a server, to be compared by telephone."""
    return f"{name} {role} ({state}): {spelled(fingerprint)}"


def in_pem(data: bytes, label: bytes = b"CERTIFICATE") -> Optional[bytes]:
    """What is between the first and the last line of exactly one block in PEM, with nothing but white space around it.

    A regular expression for this would need time that grows with a power of the length.

    :returns: not decoded; None if it is something else.
    """
    block = data.strip()
    first, last = b"-----BEGIN " + label + b"-----", b"-----END " + label + b"-----"
    if len(block) < len(first) + len(last) or block.count(b"-----") != 4:
        return None
    return block[len(first) : -len(last)] if block.startswith(first) and block.endswith(last) else None


# -- names ----------------------------------------------------------------------------------------------------


def normal_alt_names(alt_names: Tuple[str, ...]) -> Tuple[str, ...]:
    """Names as a certificate holds them: A-labels and canonical addresses, each once, in their order.

    :raises EsyncError: kind ``bad_name`` for what is neither a host name nor an address.
    """
    return tuple(text for _kind, text in alt_name_kinds(alt_names))


def alt_name_kinds(alt_names: Tuple[str, ...]) -> Tuple[Tuple[str, str], ...]:
    """The same, each with what it is: IP_ADDRESS or HOST_NAME.

    :raises EsyncError: kind ``bad_name``.
    """
    found: List[Tuple[str, str]] = []
    for text in alt_names:
        name = _alt_name(text)
        if name not in found:
            found.append(name)
    return tuple(found)


def _alt_name(text: str) -> Tuple[str, str]:
    import ipaddress

    try:
        # From the packed form, because a certificate holds no zone of a link-local address (fe80::1%eth0).
        return IP_ADDRESS, str(ipaddress.ip_address(ipaddress.ip_address(text).packed))
    except ValueError:
        pass
    try:
        encoded = text if text.isascii() else text.encode("idna").decode("ascii")
    except UnicodeError:
        encoded = ""
    if not _HOST_NAME.match(encoded) or _DOTTED_NUMBERS.match(encoded):
        raise EsyncError(
            f"{text!r} is neither a host name nor an IP address",
            "Correct it in esync_server_name, esync_address, esync_subject_alt_names or esync_cluster",
            kind="bad_name",
        )
    return HOST_NAME, encoded
