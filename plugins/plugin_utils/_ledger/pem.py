# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Public certificates validated without any library: the control node needs none but Ansible."""

from __future__ import annotations

import base64
import hashlib
from functools import lru_cache

from ansible_collections.esync.mesh.plugins.module_utils._core.certificate import in_pem
from ansible_collections.esync.mesh.plugins.module_utils._core.errors import EsyncError
from ansible_collections.esync.mesh.plugins.module_utils._core.names import CLIENT, SERVER
from ansible_collections.esync.mesh.plugins.module_utils._crypto import der

# The extended key usages of RFC 5280, 4.2.1.12, as they stand in the DER. That they stand elsewhere by chance is less
# likely than a broken disk.
_USAGES = {SERVER: bytes.fromhex("06082b06010505070301"), CLIENT: bytes.fromhex("06082b06010505070302")}


def fingerprint_of(pem: str, path: str) -> str:
    """SHA-256 of the certificate's DER, lower-case hex.

    :param path: where the text comes from, for messages.
    :raises EsyncError: kind ``damaged_ledger`` if it is not exactly one certificate.
    """
    return hashlib.sha256(_der(pem, path)).hexdigest()


def has_role(pem: str, role: str, path: str) -> bool:
    """Whether a certificate is for exactly this role.

    :param path: where the text comes from, for messages.
    :raises EsyncError: kind ``damaged_ledger`` if it is not exactly one certificate.
    """
    data = _der(pem, path)
    return [name for name, usage in _USAGES.items() if usage in data] == [role]


@lru_cache(maxsize=4096)
def key_of(pem: str) -> str:
    """SHA-256 of the certificate's public key (SubjectPublicKeyInfo, DER), lower-case hex.

    :raises EsyncError: kind ``damaged_ledger`` if it is not exactly one certificate.
    """
    try:
        signed = der.open_sequence(_der(pem, ""))[0]
        fields = [one for one in der.elements(signed.content) if one.tag != der.CONTEXT]
        # RFC 5280, 4.1: serialNumber, signature, issuer, validity, subject, subjectPublicKeyInfo.
        return hashlib.sha256(fields[5].encoded).hexdigest()
    except (ValueError, IndexError):
        raise _damaged("") from None


def _der(pem: str, path: str) -> bytes:
    try:
        body = in_pem(pem.encode("ascii"))
        if body and body[:1].isspace():
            return base64.b64decode(b"".join(body.split()), validate=True)
    except ValueError:
        pass
    raise _damaged(path)


def _damaged(path: str) -> EsyncError:
    return EsyncError(
        "it holds something else where one certificate in PEM should be",
        "Restore it, or delete it and run establish over the whole group, which writes it again",
        kind="damaged_ledger",
        path=path,
    )
