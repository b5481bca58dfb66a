# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Files that people bring in the place of a certificate: taken if the certificate is in there, or told what they are.

Only for files that come from elsewhere. What this collection wrote itself is compared byte for byte.
"""

from __future__ import annotations

import base64
import re
import shlex
from typing import List, NamedTuple, Optional

from ansible_collections.esync.mesh.plugins.module_utils._core.errors import EsyncError
from ansible_collections.esync.mesh.plugins.module_utils._crypto import der

_BLOCK = re.compile(rb"-----BEGIN CERTIFICATE-----([A-Za-z0-9+/=\s]+)-----END CERTIFICATE-----")
_LABEL = re.compile(rb"-----BEGIN ([A-Z0-9 ]{1,40})-----")
_SIGNED_DATA = der.oid("1.2.840.113549.1.7.2")
_PFX_VERSION = der.integer(3)
_MARKS = ((b"\xef\xbb\xbf", "utf-8"), (b"\xff\xfe", "utf-16-le"), (b"\xfe\xff", "utf-16-be"))


class FileKind(NamedTuple):
    """What a file is.

    :param what: in words. :param remedy: how it becomes what is needed, with ``{file}`` and ``{wanted}`` for the paths.
    """

    what: str
    remedy: str


_CONVERT = "openssl x509 -outform DER -out {wanted}"
CERTIFICATE = FileKind("a certificate", "Rename it: mv {file} {wanted}")
_PKCS7 = "a PKCS#7 file (.p7b), a bundle of certificates and not one of them"
_TAKE_OUT = "Take the right one out of it: openssl pkcs7 -in {file}%s -print_certs | " + _CONVERT
PKCS7_DER = FileKind(_PKCS7, _TAKE_OUT % " -inform DER")
PKCS7_PEM = FileKind(_PKCS7, _TAKE_OUT % "")
PKCS12 = FileKind("a PKCS#12 file (.pfx), which holds a private key too", "Copy the .cer file of the set in its place")
PRIVATE_KEY = FileKind(
    "a private key, which never has to leave its server", "Destroy it here, and copy the .cer file of the set"
)
REQUEST = FileKind("a certificate request, and no certificate", "Copy the .cer file of the set")
TRUSTED = FileKind("a certificate with trust settings of OpenSSL", "Convert it: openssl x509 -in {file} | " + _CONVERT)
SEVERAL = FileKind(
    "several certificates in one file, and a set has exactly one in each",
    "Keep the right one: openssl x509 -in {file} -outform DER -out {wanted} takes the first",
)
BASE64 = FileKind(
    "base64 without the lines BEGIN CERTIFICATE and END CERTIFICATE",
    "Convert it: openssl base64 -d -A -in {file} -out {wanted}",
)
_LABELS = {
    b"PKCS7": PKCS7_PEM,
    b"CMS": PKCS7_PEM,
    b"CERTIFICATE REQUEST": REQUEST,
    b"NEW CERTIFICATE REQUEST": REQUEST,
    b"TRUSTED CERTIFICATE": TRUSTED,
    b"X509 CERTIFICATE": TRUSTED,
}


def bare_certificate(data: bytes) -> bytes:
    """The certificate without what programs and people put around it in a text file: byte order marks and prose.

    :returns: the data as it is if that is no text with exactly one certificate.
    """
    data = _text(data)
    blocks: List[bytes] = _BLOCK.findall(data)
    if len(blocks) != 1 or data.count(b"-----BEGIN") != 1:
        return data
    return b"-----BEGIN CERTIFICATE-----" + blocks[0] + b"-----END CERTIFICATE-----\n"


def refuse_other_kind(data: bytes, file: str) -> None:
    """Refuse what is recognised as something else than one certificate, and say what it is.

    :param file: its path. :raises EsyncError: kind ``not_a_certificate``.
    """
    kind = kind_of(data)
    if kind and kind is not CERTIFICATE:
        raise EsyncError(
            f"it is {kind.what}", remedy_of(kind, file, f"{file}.new"), kind="not_a_certificate", path=file
        )


def remedy_of(kind: FileKind, file: str, wanted: str) -> str:
    """How a file of a kind becomes a certificate. :param wanted: the path of that."""
    return kind.remedy.format(file=shlex.quote(file), wanted=shlex.quote(wanted))


def kind_of(data: bytes) -> Optional[FileKind]:
    """What a file is; None if it is nothing that is known."""
    data = _text(data)
    labels = _LABEL.findall(data)
    if labels:
        if any(label.endswith(b"PRIVATE KEY") for label in labels):
            return PRIVATE_KEY
        if set(labels) != {b"CERTIFICATE"}:
            return next((_LABELS[label] for label in labels if label in _LABELS), None)
        if len(labels) > 1:
            return SEVERAL
        # Some programs put a bundle between the lines of a certificate.
        kind = _of_der(_decoded(b"".join(_BLOCK.findall(data))))
        return PKCS7_PEM if kind is PKCS7_DER else kind
    kind = _of_der(data)
    return BASE64 if kind is None and _of_der(_decoded(data)) is CERTIFICATE else kind


def _of_der(data: bytes) -> Optional[FileKind]:
    try:
        inner = der.open_sequence(data)
    except ValueError:
        return None
    if inner and inner[0].encoded == _SIGNED_DATA:
        return PKCS7_DER
    if inner and inner[0].encoded == _PFX_VERSION:
        return PKCS12
    tags = [one.tag for one in inner]
    return CERTIFICATE if tags == [der.SEQUENCE, der.SEQUENCE, der.BIT_STRING] else None


def _text(data: bytes) -> bytes:
    """The data in UTF-8 without a byte order mark."""
    for mark, encoding in _MARKS:
        if data.startswith(mark):
            text: str = data[len(mark) :].decode(encoding, "replace")
            return text.encode("utf-8")
    return data


def _decoded(text: bytes) -> bytes:
    try:
        return base64.b64decode(b"".join(text.split()), validate=True)
    except ValueError:
        return b""
