# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Finds key material and passphrases wherever a run could have left them, in every form that a leak takes."""

from __future__ import annotations

import base64
import binascii
import contextlib
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

SHORTEST = 16
"""Bytes of a secret that must be found for a leak; less could be chance."""


@dataclass(frozen=True)
class Secret:
    """Something that may be nowhere but in its own file.

    :param name: what it is, for the message. :param value: its bytes.
    """

    name: str
    value: bytes


def secrets_of(folders: Iterable[Path]) -> list[Secret]:
    """The private numbers of every key, and every passphrase, below some folders."""
    found = []
    for folder in folders:
        for path in sorted(folder.rglob("*")):
            if path.is_symlink() or not path.is_file():
                continue
            if path.name == "pfx.passphrase":
                found.append(Secret(f"{path.parent.name}/{path.name}", path.read_bytes().strip()))
            elif path.suffix == ".key" and path.stat().st_size:
                found += _of_key(path)
    assert found, "nothing to look for"
    return found


def _of_key(path: Path) -> Iterator[Secret]:
    pem = path.read_bytes()
    body = b"".join(line for line in pem.splitlines() if not line.startswith(b"-----"))
    der = base64.b64decode(body)
    key = serialization.load_pem_private_key(pem, None)
    if isinstance(key, rsa.RSAPrivateKey):
        yield Secret(f"{path.name} as DER", der)
        numbers = key.private_numbers()
        for part in ("d", "p", "q"):
            value = getattr(numbers, part)
            length = (value.bit_length() + 7) // 8
            yield Secret(f"{path.name} {part}", value.to_bytes(length, "big"))
            yield Secret(f"{path.name} {part}, little-endian", value.to_bytes(length, "little"))
    elif isinstance(key, ec.EllipticCurvePrivateKey):
        value = key.private_numbers().private_value.to_bytes(32, "big")
        # What follows is the public key, which stands in every certificate.
        yield Secret(f"{path.name} as DER", der[: der.index(value) + len(value)])
        yield Secret(f"{path.name} d", value)


def needles(secret: Secret) -> Iterator[bytes]:
    """The pieces whose appearance betrays a secret: raw, hex, and base64 at each of its three alignments."""
    # The middle of a key: its ends are the same in every key of a kind.
    middle = len(secret.value) // 2
    start = max(0, min(middle, len(secret.value) - SHORTEST - 3))
    piece = secret.value[start : start + SHORTEST + 3]
    yield piece[:SHORTEST]
    yield piece[:SHORTEST].hex().encode()
    yield piece[:SHORTEST].hex(":").encode()
    if len(secret.value) <= SHORTEST + 3:
        yield base64.b64encode(secret.value).rstrip(b"=")
        return
    for shift in range(3):
        # Whole groups of three bytes, counted from the start of the secret, shifted.
        first = start + (shift - start) % 3
        whole = secret.value[first : first + SHORTEST // 3 * 3]
        yield base64.b64encode(whole)


def leaks(secrets: Iterable[Secret], texts: Iterable[tuple[str, bytes]]) -> list[str]:
    """Which secret stands where.

    :param texts: name and content of everything that was written.
    """
    wanted = [(secret.name, needle) for secret in secrets for needle in needles(secret)]
    found = []
    for place, text in texts:
        for layer in layers(text):
            lowered = layer.lower()
            for name, needle in wanted:
                if needle in layer or (_is_hex(needle) and needle.lower() in lowered):
                    found.append(f"{name} in {place}")
            if b"PRIVATE KEY" in layer:
                found.append(f"a PEM private key in {place}")
    return found


def layers(text: bytes, depth: int = 2) -> Iterator[bytes]:
    """A text, the same without what folds it, and what is encoded in it (a PEM file in base64, as slurp gives it)."""
    yield text
    # Line breaks, escapes and indentation do not hide a secret; case does not hide a hexadecimal one.
    folded = re.sub(rb"\\[nrt]|[\s\"',\\]", b"", text)
    yield folded
    if depth:
        for source in (text, folded):
            for blob in set(re.findall(rb"[A-Za-z0-9+/]{64,}", source)):
                with contextlib.suppress(binascii.Error):
                    yield from layers(base64.b64decode(blob + b"=" * (-len(blob) % 4)), depth - 1)


def _is_hex(needle: bytes) -> bool:
    return not set(needle) - set(b"0123456789abcdef:")


def everything_below(folder: Path) -> Iterator[tuple[str, bytes]]:
    """Every file below a folder."""
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not path.is_symlink():
            yield str(path), path.read_bytes()
