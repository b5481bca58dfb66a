# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Mono, the only .NET that the distribution has, reads what we write, and writes PVK files that we read.

It stands in for the programs on Windows that these formats are for. It knows RSA keys only.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import HERE, Material, Run

from ansible_collections.esync.mesh.plugins.module_utils._crypto import pvk

Mono = Callable[..., dict[str, str]]
FORMS = {"none": (), "weak": ("geheim",), "strong": ("geheim",)}
# The two readers, and how each refuses an encryption that it does not know.
READERS = {
    "pfx": "ArgumentException: unsupported HMAC",
    "store": "CryptographicException: Unable to decode certificate",
}


@pytest.fixture(scope="session")
def mono(run: Run, tmp_path_factory: pytest.TempPathFactory) -> Mono:
    """Runs the reader, which is compiled once, and returns the digests that it prints."""
    program = str(tmp_path_factory.mktemp("mono") / "reader.exe")
    run("mcs", "-warnaserror", "-r:Mono.Security.dll", f"-out:{program}", str(HERE / "mono_reader.cs"))

    def _mono(*words: str) -> dict[str, str]:
        lines = run("mono", program, *words).decode("ascii").splitlines()
        found = dict(line.split() for line in lines)
        assert len(found) == len(lines)
        return found

    return _mono


def key_digest(material: Material) -> str:
    """What the reader prints of the key: SHA-256 over the eight numbers of RFC 8017 in hex, one a line."""
    key = material.key.private_numbers()
    public = key.public_numbers
    numbers = (public.n, public.e, key.d, key.p, key.q, key.dmp1, key.dmq1, key.iqmp)
    return hashlib.sha256("".join(f"{number:x}\n" for number in numbers).encode("ascii")).hexdigest()


def certificate_digest(material: Material) -> str:
    return hashlib.sha256(material.der).hexdigest()


@pytest.mark.parametrize("suffix", ["cer", "crt", "client.cer", "client.crt"])
def test_certificate(suffix: str, material: Material, mono: Mono) -> None:
    expected = hashlib.sha256(material.certificate(suffix)).hexdigest()
    assert mono("certificate", material.path(suffix)) == {"certificate": expected}


def test_key(rsa_material: Material, mono: Mono) -> None:
    assert mono("key", rsa_material.path("key")) == {"key": key_digest(rsa_material)}


def test_it_knows_no_other_keys(
    materials: dict[tuple[str, str], Material], writer: str, other_name: str, mono: Mono
) -> None:
    material = materials[writer, other_name]
    with pytest.raises(AssertionError, match="CryptographicException"):
        mono("key", material.path("key"))
    with pytest.raises(AssertionError, match="CryptographicException: Unknown private key format"):
        mono("pfx", material.path("compat.pfx"), material.passphrase)


@pytest.mark.parametrize("reader", READERS)
def test_compat_pfx(reader: str, rsa_material: Material, mono: Mono) -> None:
    expected = {"certificate": certificate_digest(rsa_material), "key": key_digest(rsa_material)}
    assert mono(reader, rsa_material.path("compat.pfx"), rsa_material.passphrase) == expected


def test_compat_pfx_with_a_passphrase_outside_ascii(other_passphrase: Material, mono: Mono) -> None:
    # Its own reader opens it; that of .NET programs does not, whoever wrote the file.
    expected = {"certificate": certificate_digest(other_passphrase), "key": key_digest(other_passphrase)}
    assert mono("pfx", other_passphrase.pfx("compat"), other_passphrase.passphrase) == expected
    with pytest.raises(AssertionError, match=READERS["store"]):
        mono("store", other_passphrase.pfx("compat"), other_passphrase.passphrase)


@pytest.mark.parametrize("reader", READERS)
def test_modern_pfx_is_refused(reader: str, rsa_material: Material, mono: Mono) -> None:
    # Hence esync_pfx_encryption: compat. Should this ever pass, the table in docs/formats.md has to be changed.
    with pytest.raises(AssertionError, match=READERS[reader]):
        mono(reader, rsa_material.path("modern.pfx"), rsa_material.passphrase)


@pytest.mark.parametrize("reader", READERS)
def test_another_passphrase_opens_nothing(reader: str, rsa_material: Material, mono: Mono) -> None:
    with pytest.raises(AssertionError, match="CryptographicException"):
        mono(reader, rsa_material.path("compat.pfx"), "another")


def test_pvk(rsa_material: Material, mono: Mono) -> None:
    assert mono("pvk", rsa_material.path("pvk")) == {"key": key_digest(rsa_material)}


@pytest.mark.parametrize("form", FORMS)
def test_pvk_of_mono(form: str, rsa_material: Material, mono: Mono, tmp_path: Path) -> None:
    path = tmp_path / "mono.pvk"
    assert mono("write", rsa_material.path("key"), form, str(path), *FORMS[form]) == {}
    key = pvk.read_pvk(path.read_bytes(), str(path), *[word.encode("ascii") for word in FORMS[form]])
    assert key.private_numbers() == rsa_material.key.private_numbers()
