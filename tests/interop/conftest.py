# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The files to be read by other programs, and how to run these. A program that is missing fails the test."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Callable

import pytest

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[1] / "playbooks" / "collections"))

from cryptography.hazmat.primitives import serialization
from make_material import KEYS, OTHER_PASSPHRASES, PASSPHRASE, WITH_OTHER_PASSPHRASES

# Who wrote the files: the Python of the tests, and the distribution's, whose cryptography is older.
WRITERS = {"newest": sys.executable, "distribution": "/usr/bin/python3"}
_PEM = re.compile(rb"-----BEGIN ([A-Z0-9 ]+)-----.+?-----END \1-----\n", re.DOTALL)

Run = Callable[..., bytes]


@dataclass(frozen=True)
class Material:
    """The files of one key, and what is in them.

    :param stem: the common part of the files' paths.
    :param key: the private key.
    :param der: the server certificate. :param client_der: the client certificate of the same key.
    :param passphrase: of the PKCS#12 files. :param label: what their names have besides, with this passphrase.
    """

    writer: str
    name: str
    stem: Path
    key: Any
    der: bytes
    client_der: bytes
    passphrase: str = PASSPHRASE
    label: str = ""

    def path(self, suffix: str) -> str:
        """The path of one of the files."""
        return f"{self.stem}.{suffix}"

    def pfx(self, encryption: str) -> str:
        """The path of a PKCS#12 file under this passphrase."""
        return self.path(f"{encryption}{self.label}.pfx")

    def certificate(self, suffix: str) -> bytes:
        """The certificate, DER, that the file of this suffix holds."""
        return self.client_der if suffix.startswith("client.") else self.der

    @property
    def spki(self) -> bytes:
        """The public key, DER."""
        return self.key.public_key().public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )

    def holds(self, key_data: bytes) -> bool:
        """Is this (PEM or DER) the very private key? If it is encrypted, then with the passphrase."""
        load = serialization.load_pem_private_key if b"-----BEGIN" in key_data else serialization.load_der_private_key
        passphrase = self.passphrase.encode("utf-8") if b"-----BEGIN ENCRYPTED" in key_data else None
        return self.is_key(load(key_data, passphrase))

    def is_key(self, key: Any) -> bool:
        """Is this loaded key the very private key?"""
        form = (serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        return key.private_bytes(*form) == self.key.private_bytes(*form)


def blocks(text: bytes) -> dict[str, bytes]:
    """The PEM blocks in a program's output by their labels; two of one kind are an error."""
    found: dict[str, bytes] = {}
    for match in _PEM.finditer(text):
        label = match[1].decode()
        assert label not in found, f"two blocks {label}"
        found[label] = match[0]
    return found


@pytest.fixture(scope="session")
def run() -> Run:
    """Runs a program and returns its standard output; it must be there, and must succeed, or the error quotes it."""

    def _run(*command: str, stdin: bytes = b"") -> bytes:
        if shutil.which(command[0]) is None:
            pytest.fail(f"{command[0]} is missing; install the packages of {HERE / 'packages.txt'}")
        done = subprocess.run(command, input=stdin, capture_output=True, timeout=120, check=False)
        shown = (done.stdout[-1000:] + done.stderr[-1000:]).decode(errors="replace")
        assert done.returncode == 0, f"{' '.join(command[:3])} ... ended with {done.returncode}: {shown}"
        return done.stdout

    return _run


@pytest.fixture(scope="session")
def materials(tmp_path_factory: pytest.TempPathFactory, run: Run) -> dict[tuple[str, str], Material]:
    """All files, by writer and key."""
    found = {}
    for writer, python in WRITERS.items():
        folder = tmp_path_factory.mktemp(writer)
        run(python, str(HERE / "make_material.py"), str(folder))
        for name in KEYS:
            stem = folder / name
            key = serialization.load_pem_private_key(Path(f"{stem}.key").read_bytes(), None)
            ders = (Path(f"{stem}.{suffix}").read_bytes() for suffix in ("cer", "client.cer"))
            found[writer, name] = Material(writer, name, stem, key, *ders)
    return found


@pytest.fixture(params=list(KEYS))
def key_name(request: pytest.FixtureRequest) -> str:
    """Each kind of key."""
    name: str = request.param
    return name


@pytest.fixture(params=[name for name, (key_type, _size) in KEYS.items() if key_type != "rsa"])
def other_name(request: pytest.FixtureRequest) -> str:
    """Each key of another type than RSA."""
    name: str = request.param
    return name


@pytest.fixture(params=[name for name, (key_type, _size) in KEYS.items() if key_type == "rsa"])
def rsa_name(request: pytest.FixtureRequest) -> str:
    """Each RSA key: what a PVK file and Mono can hold."""
    name: str = request.param
    return name


@pytest.fixture(params=list(WRITERS))
def writer(request: pytest.FixtureRequest) -> str:
    """Each writer."""
    name: str = request.param
    return name


@pytest.fixture
def material(materials: dict[tuple[str, str], Material], writer: str, key_name: str) -> Material:
    """The files of each writer and key."""
    return materials[writer, key_name]


@pytest.fixture
def rsa_material(materials: dict[tuple[str, str], Material], writer: str, rsa_name: str) -> Material:
    """The files of each writer and RSA key."""
    return materials[writer, rsa_name]


@pytest.fixture(params=list(OTHER_PASSPHRASES))
def passphrase_label(request: pytest.FixtureRequest) -> str:
    """Each passphrase outside of ASCII."""
    label: str = request.param
    return label


@pytest.fixture
def other_passphrase(materials: dict[tuple[str, str], Material], writer: str, passphrase_label: str) -> Material:
    """The files of one key under a passphrase outside of ASCII: ``modern.pfx`` is ``modern.LABEL.pfx`` there."""
    material = materials[writer, WITH_OTHER_PASSPHRASES]
    return replace(material, passphrase=OTHER_PASSPHRASES[passphrase_label], label=f".{passphrase_label}")
