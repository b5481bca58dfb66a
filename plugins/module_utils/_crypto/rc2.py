# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""RC2 (RFC 2268), for reading PKCS#12 files of old programs only; nothing is ever protected with it here.

Written here, because most versions of the library have no name for it.
"""

from __future__ import annotations

import struct
from typing import List, Tuple

BLOCK = 8

# PITABLE of RFC 2268, section 2.
_TABLE = bytes.fromhex(
    "d978f9c419ddb5ed28e9fd794aa0d89dc67e37832b76538e624c6488448bfba2179a59f587b34f1361456d8d09817d32"
    "bd8f40eb86b77b0bf09521225c6b4e8254d66593ce60b21c7356c014a78cf1dc1275ca1f3bbee4d1423dd430a33cb626"
    "6fbf0eda4669075727f21d9bbc944303f811c7f690ef3ee706c3d52fc8661ed708e8eade8052eef784aa72ac354d6a2a"
    "961ad2715a1549744b9fd05e0418a4ecc2e0416e0f51cbcc2491af50a1f47039997c3a8523b8b47afc02365b25559731"
    "2d5dfa98e38a92ae05df2910676cbac9d300e6cfe19ea82c6316013f58e289a90d38341bab33ffb0bb480c5fb9b1cd2e"
    "c5f3db47e5a59c770aa62068fe7fc1ad"
)
_SHIFTS = (1, 2, 3, 5)


def decrypt_cbc(key: bytes, iv: bytes, data: bytes) -> bytes:
    """Whole blocks, decrypted; the padding is still there. Every bit of the key counts ("effective key bits")."""
    words = _expanded(key)
    clear = bytearray()
    for start in range(0, len(data), BLOCK):
        block = data[start : start + BLOCK]
        clear += bytes(one ^ other for one, other in zip(_block(words, block), iv))
        iv = block
    return bytes(clear)


def _expanded(key: bytes) -> Tuple[int, ...]:
    size = len(key)
    found = bytearray(key)
    for at in range(size, 128):
        found.append(_TABLE[(found[at - 1] + found[at - size]) & 255])
    found[128 - size] = _TABLE[found[128 - size]]
    for at in range(127 - size, -1, -1):
        found[at] = _TABLE[found[at + 1] ^ found[at + size]]
    return struct.unpack("<64H", found)


def _block(words: Tuple[int, ...], block: bytes) -> bytes:
    parts = list(struct.unpack("<4H", block))
    at = 63
    for rounds in (5, 6, 5):
        for _round in range(rounds):
            at = _unmix(parts, words, at)
        if at >= 0:
            for one in (3, 2, 1, 0):
                parts[one] = (parts[one] - words[parts[one - 1] & 63]) & 0xFFFF
    return struct.pack("<4H", *parts)


def _unmix(parts: List[int], words: Tuple[int, ...], at: int) -> int:
    for one in (3, 2, 1, 0):
        shift = _SHIFTS[one]
        turned = (parts[one] >> shift | parts[one] << 16 - shift) & 0xFFFF
        before, second, third = parts[one - 1], parts[one - 2], parts[one - 3]
        parts[one] = (turned - words[at] - (before & second) - (~before & third)) & 0xFFFF
        at -= 1
    return at
