# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""PKCS#12 files (RFC 7292) with one key and one certificate."""

from __future__ import annotations

from typing import Any, Tuple

from ansible_collections.esync.mesh.plugins.module_utils._core import layout
from ansible_collections.esync.mesh.plugins.module_utils._core.errors import EsyncError

try:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.serialization import pkcs12
except ImportError:
    # requirements.require() says so before any of this is used.
    pass

MODERN, COMPAT, ENCRYPTIONS = layout.MODERN, layout.COMPAT, layout.ENCRYPTIONS

MAX_BYTES = 64 * 1024

# cryptography 38 and 41 write one iteration for the MAC whatever is asked, so a passphrase must be strong by itself.
_ROUNDS = 20000
# By these each form is told, DER: the object identifiers of its cipher, and the whole algorithm identifier of its MAC's
# hash, without and with the parameter NULL, for nothing else protects that part.
_AES_256_CBC = [bytes.fromhex("060960864801650304012a")]
_PBE_3DES = [bytes.fromhex("060a2a864886f70d010c0103")]
_SHA_256 = [bytes.fromhex("300b0609608648016503040201"), bytes.fromhex("300d06096086480165030402010500")]
_SHA_1 = [bytes.fromhex("300706052b0e03021a"), bytes.fromhex("300906052b0e03021a0500")]
_VERSION = bytes.fromhex("020103")


def write_pfx(friendly_name: str, key: Any, certificate_der: bytes, passphrase: bytes, encryption: str) -> bytes:
    """A PKCS#12 file.

    :param friendly_name: how Windows shows the entry.
    :param passphrase: not empty.
    :param encryption: ``modern`` (AES-256, SHA-256 MAC) or ``compat`` (3DES, SHA-1 MAC; Server 2016 and older, Mono).
    :raises EsyncError: kind ``bad_passphrase``.
    """
    if not passphrase:
        raise EsyncError(
            "a .pfx file cannot be made with an empty passphrase",
            "Set esync_pfx_passphrase, or leave it out to have one made",
            kind="bad_passphrase",
        )
    algorithms = {
        MODERN: (pkcs12.PBES.PBESv2SHA256AndAES256CBC, hashes.SHA256()),
        COMPAT: (pkcs12.PBES.PBESv1SHA1And3KeyTripleDESCBC, hashes.SHA1()),
    }
    cipher, mac = algorithms[encryption]
    builder = (
        serialization.PrivateFormat.PKCS12.encryption_builder()
        .kdf_rounds(_ROUNDS)
        .key_cert_algorithm(cipher)
        .hmac_hash(mac)
    )
    data: bytes = pkcs12.serialize_key_and_certificates(
        friendly_name.encode("utf-8"),
        key,
        x509.load_der_x509_certificate(certificate_der),
        None,
        builder.build(passphrase),
    )
    return data


def read_pfx(data: bytes, path: str, passphrase: bytes) -> Tuple[Any, bytes]:
    """The key and the certificate (DER) of a PKCS#12 file.

    :param path: where the data comes from, for messages.
    :raises EsyncError: kind ``damaged_file``; never with a text of the library.
    """
    if not data:
        raise _damaged(path, "it is empty")
    if len(data) > MAX_BYTES:
        raise _damaged(path, f"it has {len(data)} bytes, more than one key and one certificate need ({MAX_BYTES})")
    if not _is_framed(data):
        raise _damaged(path, "its length is not what its header says, or it is no PKCS#12 file")
    try:
        key, certificate, others = pkcs12.load_key_and_certificates(data, passphrase)
    except Exception:
        # The library tells a wrong passphrase and a damaged file apart as little as the format does.
        raise _damaged(path, "its passphrase is another one, or the file is damaged") from None
    if key is None or certificate is None or others:
        raise _damaged(path, "it must hold exactly one key and one certificate")
    return key, certificate.public_bytes(serialization.Encoding.DER)


def encryption_of(data: bytes) -> str:
    """Which form a file has, told by its algorithms: ``modern``, ``compat`` or ``unknown``."""
    found = tuple(
        any(identifier in data for identifier in identifiers)
        for identifiers in (_AES_256_CBC, _SHA_256, _PBE_3DES, _SHA_1)
    )
    if found == (True, True, False, False):
        return MODERN
    if found == (False, False, True, True):
        return COMPAT
    return "unknown"


def _is_framed(data: bytes) -> bool:
    """Is the data one DER sequence of version 3, and nothing after it? The library asks for neither."""
    if len(data) < 2 or data[0] != 0x30:
        return False
    octets = data[1] & 0x7F if data[1] & 0x80 else 0
    start = 2 + octets
    length = int.from_bytes(data[2:start], "big") if octets else data[1]
    return len(data) == start + length and data[start : start + len(_VERSION)] == _VERSION


def _damaged(path: str, cause: str) -> EsyncError:
    return EsyncError(cause, "Restore it, or let the set be made anew", kind="damaged_file", path=path)
