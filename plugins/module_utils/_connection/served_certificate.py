# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The dates and the subject of a certificate that a peer served, from its DER (ITU-T X.690; RFC 5280, section 4.1).

Only what the diagnosis mentions is read, and nothing is verified; so the test needs no cryptography.
"""

from __future__ import annotations

import datetime
from typing import List, Optional

from ansible_collections.esync.mesh.plugins.module_utils._core.certificate import Validity
from ansible_collections.esync.mesh.plugins.module_utils._crypto.der import (
    CONTEXT,
    OBJECT_IDENTIFIER,
    Element,
    elements,
)

_UTC_TIME, _GENERALIZED_TIME = 0x17, 0x18
_COMMON_NAME = bytes.fromhex("550403")
_RSA_ENCRYPTION = bytes.fromhex("2a864886f70d010101")
# Of the strings that a name may consist of; UTF8String, PrintableString and IA5String are read as UTF-8.
_ENCODINGS = {0x1E: "utf-16-be", 0x1C: "utf-32-be", 0x14: "latin-1"}
_TEXT = (0x0C, 0x13, 0x16, *_ENCODINGS)


def validity(der: bytes) -> Optional[Validity]:
    """From when to when a certificate is valid; None if it cannot be read."""
    try:
        times = [_time(one) for one in elements(_fields(der)[3].content)]
        return Validity(times[0], times[1])
    except (ValueError, IndexError):
        return None


def common_name(der: bytes) -> Optional[str]:
    """The common name that a certificate is issued to; None if it has none, or cannot be read."""
    try:
        for attributes in elements(_fields(der)[4].content):
            for attribute in elements(attributes.content):
                kind, text = elements(attribute.content)
                if (kind.tag, kind.content) == (OBJECT_IDENTIFIER, _COMMON_NAME) and text.tag in _TEXT:
                    return text.content.decode(_ENCODINGS.get(text.tag, "utf-8"))
    except (ValueError, IndexError):
        pass
    return None


def rsa_bits(der: bytes) -> Optional[int]:
    """The bits of the modulus of a certificate's RSA key; None if it has another key, or cannot be read."""
    try:
        algorithm, key = elements(_fields(der)[5].content)
        if elements(algorithm.content)[0].content != _RSA_ENCRYPTION:
            return None
        # A BIT STRING without unused bits, in it a SEQUENCE of modulus and exponent (RFC 8017, appendix A.1.1).
        modulus = elements(elements(key.content[1:])[0].content)[0]
        return int.from_bytes(modulus.content, "big").bit_length()
    except (ValueError, IndexError):
        return None


def _fields(der: bytes) -> List[Element]:
    """Serial number, signature algorithm, issuer, validity, subject and what follows, without the version."""
    signed = elements(elements(der)[0].content)[0]
    fields = elements(signed.content)
    return fields[1:] if fields[0].tag == CONTEXT else fields


def _time(element: Element) -> datetime.datetime:
    text = element.content.decode("ascii")
    if element.tag == _UTC_TIME:
        # Two digits are of the years 1950 to 2049 (RFC 5280, section 4.1.2.5.1).
        text = ("20" if int(text[:2]) < 50 else "19") + text
    elif element.tag != _GENERALIZED_TIME:
        raise ValueError
    if len(text) != 15 or text[-1] != "Z":
        raise ValueError
    numbers = [int(text[:4]), *(int(text[at : at + 2]) for at in range(4, 14, 2))]
    return datetime.datetime(*numbers, tzinfo=datetime.timezone.utc)  # type: ignore[arg-type, misc]
