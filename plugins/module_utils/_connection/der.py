# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The dates and the subject of a certificate that a peer served, from its DER (ITU-T X.690; RFC 5280, section 4.1).

Only what the diagnosis mentions is read, and nothing is verified; so the test needs no cryptography.
"""

from __future__ import annotations

import datetime
from typing import Iterator, List, Optional, Tuple

from ansible_collections.esync.mesh.plugins.module_utils._core.certificate import Validity

_VERSION = 0xA0
_UTC_TIME, _GENERALIZED_TIME = 0x17, 0x18
_COMMON_NAME = bytes.fromhex("550403")
# Of the strings that a name may consist of; UTF8String, PrintableString and IA5String are read as UTF-8.
_ENCODINGS = {0x1E: "utf-16-be", 0x1C: "utf-32-be", 0x14: "latin-1"}
_TEXT = (0x0C, 0x13, 0x16, *_ENCODINGS)


def validity(der: bytes) -> Optional[Validity]:
    """From when to when a certificate is valid; None if it cannot be read."""
    try:
        times = [_time(tag, value) for tag, value in _values(_fields(der)[3])]
        return Validity(times[0], times[1])
    except (ValueError, IndexError):
        return None


def common_name(der: bytes) -> Optional[str]:
    """The common name that a certificate is issued to; None if it has none, or cannot be read."""
    try:
        for _tag, attributes in _values(_fields(der)[4]):
            for _kind, attribute in _values(attributes):
                (_identifier, kind), (tag, text) = _values(attribute)
                if kind == _COMMON_NAME and tag in _TEXT:
                    return text.decode(_ENCODINGS.get(tag, "utf-8"))
    except (ValueError, IndexError):
        pass
    return None


def _fields(der: bytes) -> List[bytes]:
    """Serial number, signature algorithm, issuer, validity, subject and what follows, without the version."""
    (_tag, certificate), *_rest = _values(der)
    (_tag, signed), *_rest = _values(certificate)
    fields = [(tag, value) for tag, value in _values(signed)]
    return [value for number, (tag, value) in enumerate(fields) if number or tag != _VERSION]


def _values(data: bytes) -> Iterator[Tuple[int, bytes]]:
    """The values that stand one after the other: tag and content.

    :raises ValueError: a length that does not fit.
    """
    at = 0
    while at < len(data):
        tag, size, start = data[at], data[at + 1], at + 2
        if size & 0x80:
            start += size & 0x7F
            size = int.from_bytes(data[at + 2 : start], "big")
        if start + size > len(data):
            raise ValueError
        yield tag, data[start : start + size]
        at = start + size


def _time(tag: int, value: bytes) -> datetime.datetime:
    text = value.decode("ascii")
    if tag == _UTC_TIME:
        # Two digits are of the years 1950 to 2049 (RFC 5280, section 4.1.2.5.1).
        text = ("20" if int(text[:2]) < 50 else "19") + text
    elif tag != _GENERALIZED_TIME:
        raise ValueError
    if len(text) != 15 or text[-1] != "Z":
        raise ValueError
    numbers = [int(text[:4]), *(int(text[at : at + 2]) for at in range(4, 14, 2))]
    return datetime.datetime(*numbers, tzinfo=datetime.timezone.utc)  # type: ignore[arg-type, misc]
