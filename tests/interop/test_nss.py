# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""NSS reads what we write. It has no reader of PVK files, and none of bare keys."""

from __future__ import annotations

from pathlib import Path

import pytest
from conftest import Material, Run, blocks


@pytest.fixture
def database(tmp_path: Path, run: Run) -> str:
    run("certutil", "-N", "-d", f"sql:{tmp_path}", "--empty-password")
    return f"sql:{tmp_path}"


UNKNOWN = "ed25519"
"""A type that NSS 3.87 does not know; should it ever, the tables in docs/formats.md have to be changed."""


def test_certificate(material: Material, database: str, run: Run) -> None:
    if material.name == UNKNOWN:
        with pytest.raises(AssertionError, match="SEC_ERROR_ADDING_CERT"):
            run("certutil", "-A", "-d", database, "-n", "x", "-t", ",,", "-i", material.path("cer"))
        return
    for suffix in ("cer", "crt", "client.cer", "client.crt"):
        options = ("-a",) if suffix.endswith("crt") else ()
        run("certutil", "-A", "-d", database, "-n", suffix, "-t", ",,", "-i", material.path(suffix), *options)
        assert run("certutil", "-L", "-d", database, "-n", suffix, "-r") == material.certificate(suffix)
        run("certutil", "-D", "-d", database, "-n", suffix)


@pytest.mark.parametrize("encryption", ["modern", "compat"])
def test_pfx(encryption: str, material: Material, database: str, run: Run, tmp_path: Path) -> None:
    if material.name == UNKNOWN:
        with pytest.raises(AssertionError, match="SEC_ERROR_PKCS12_UNABLE_TO_IMPORT_KEY"):
            run("pk12util", "-d", database, "-i", material.pfx(encryption), "-W", material.passphrase)
        return
    check_pfx(encryption, material, database, run, tmp_path)


@pytest.mark.parametrize("encryption", ["modern", "compat"])
def test_pfx_with_a_passphrase_outside_ascii(
    encryption: str, other_passphrase: Material, database: str, run: Run, tmp_path: Path
) -> None:
    check_pfx(encryption, other_passphrase, database, run, tmp_path)


def check_pfx(encryption: str, material: Material, database: str, run: Run, tmp_path: Path) -> None:
    source, copy = material.pfx(encryption), str(tmp_path / "copy.pfx")
    run("pk12util", "-d", database, "-i", source, "-W", material.passphrase)
    # The friendly name has become the nickname.
    assert run("certutil", "-L", "-d", database, "-n", material.name, "-r") == material.der
    # NSS shows no key. It is exported again, and OpenSSL opens that.
    run("pk12util", "-d", database, "-o", copy, "-n", material.name, "-W", "other")
    found = blocks(run("openssl", "pkcs12", "-in", copy, "-passin", "pass:other", "-nodes"))
    assert material.holds(found["PRIVATE KEY"])
    assert run("openssl", "x509", "-outform", "DER", stdin=found["CERTIFICATE"]) == material.der
