# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The few forms of DER (X.690) that keys, certificates and PKCS#12 files consist of, written and read.

The same bytes whatever version of cryptography a host has, so that a file can be compared byte for byte.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import List

INTEGER = 0x02
BIT_STRING = 0x03
OCTET_STRING = 0x04
NULL = 0x05
OBJECT_IDENTIFIER = 0x06
BMP_STRING = 0x1E
SEQUENCE = 0x30
SET = 0x31
CONTEXT = 0xA0
"""The tag of ``[0]``, constructed; add the number for another one."""


@dataclass(frozen=True)
class Element:
    """One element.

    :param tag: its first byte.
    :param content: what is in it.
    :param encoded: all of it.
    """

    tag: int
    content: bytes
    encoded: bytes


# -- writing -------------------------------------------------------------------------------------------------------


def element(tag: int, content: bytes) -> bytes:
    """An element with its shortest length."""
    size = len(content)
    if size < 0x80:
        return bytes((tag, size)) + content
    octets = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes((tag, 0x80 | len(octets))) + octets + content


def sequence(*parts: bytes) -> bytes:
    """A SEQUENCE of elements."""
    return element(SEQUENCE, b"".join(parts))


def set_of(*parts: bytes) -> bytes:
    """A SET OF elements, in the order that DER demands."""
    return element(SET, b"".join(sorted(parts)))


def explicit(number: int, content: bytes) -> bytes:
    """An element in a tag ``[number]``."""
    return element(CONTEXT + number, content)


def integer(number: int) -> bytes:
    """An INTEGER that is not negative."""
    return element(INTEGER, number.to_bytes(number.bit_length() // 8 + 1, "big"))


def octets(content: bytes) -> bytes:
    """An OCTET STRING."""
    return element(OCTET_STRING, content)


def bits(content: bytes) -> bytes:
    """A BIT STRING of bytes without unused bits."""
    return element(BIT_STRING, b"\0" + content)


def null() -> bytes:
    """NULL."""
    return element(NULL, b"")


def bmp(text: str) -> bytes:
    """A BMPString; characters beyond 16 bits become surrogate pairs, as every reader takes them."""
    return element(BMP_STRING, text.encode("utf-16-be"))


def oid(dotted: str) -> bytes:
    """An OBJECT IDENTIFIER from its dotted form."""
    first, second, *others = (int(arc) for arc in dotted.split("."))
    content = b""
    for arc in (40 * first + second, *others):
        digits = [arc & 0x7F]
        while arc > 0x7F:
            arc >>= 7
            digits.append(0x80 | arc & 0x7F)
        content += bytes(reversed(digits))
    return element(OBJECT_IDENTIFIER, content)


# -- reading -------------------------------------------------------------------------------------------------------


def elements(data: bytes) -> List[Element]:
    """The elements that the data consists of, none of them opened.

    :raises ValueError: anything but DER: an indefinite length, one that could be shorter or reaches too far, or a tag
        of more than one byte.
    """
    found = []
    position = 0
    while position < len(data):
        start = position
        if len(data) - start < 2 or data[start] & 0x1F == 0x1F:
            raise ValueError("no element")
        size = data[start + 1]
        position = start + 2
        if size >= 0x80:
            count = size & 0x7F
            size = int.from_bytes(data[position : position + count], "big")
            if not 1 <= count <= 4 or size < max(0x80, 1 << 8 * (count - 1)):
                raise ValueError("no length")
            position += count
        end = position + size
        if end > len(data):
            raise ValueError("too short")
        found.append(Element(data[start], data[position:end], data[start:end]))
        position = end
    return found


def open_sequence(data: bytes, *tags: int) -> List[Element]:
    """The elements of exactly one SEQUENCE with nothing after it.

    :param tags: the tags that its elements must have; without any, all are accepted.
    :raises ValueError: it is something else.
    """
    outer = elements(data)
    if len(outer) != 1 or outer[0].tag != SEQUENCE:
        raise ValueError("not one sequence")
    inner = elements(outer[0].content)
    if tags and tuple(one.tag for one in inner) != tags:
        raise ValueError("not the elements expected")
    return inner
