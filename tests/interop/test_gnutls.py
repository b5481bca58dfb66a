# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""GnuTLS reads what we write. It has no reader of PVK files."""

from __future__ import annotations

import base64

import pytest
from conftest import Material, Run, blocks


def test_certificate(material: Material, run: Run) -> None:
    for suffix in ("cer", "crt", "client.cer", "client.crt"):
        form = ("--inder",) if suffix.endswith("cer") else ()
        found = run("certtool", "--certificate-info", *form, "--infile", material.path(suffix), "--outder")
        assert found == material.certificate(suffix)


def test_key(material: Material, run: Run) -> None:
    found = blocks(run("certtool", "--key-info", "--infile", material.path("key")))
    check_key(material, found)
    command = ("certtool", "--load-privkey", material.path("key"), "--pubkey-info", "--outder")
    assert run(*command) == material.spki


@pytest.mark.parametrize("encryption", ["modern", "compat"])
def test_pfx(encryption: str, material: Material, run: Run) -> None:
    check_pfx(encryption, material, run)


@pytest.mark.parametrize("encryption", ["modern", "compat"])
def test_pfx_with_a_passphrase_outside_ascii(encryption: str, other_passphrase: Material, run: Run) -> None:
    check_pfx(encryption, other_passphrase, run)


def check_pfx(encryption: str, material: Material, run: Run) -> None:
    command = ("certtool", "--p12-info", "--inder", "--infile", material.pfx(encryption))
    found = blocks(run(*command, "--password", material.passphrase))
    assert set(found) == {"ENCRYPTED PRIVATE KEY", "CERTIFICATE"}
    assert run("certtool", "--certificate-info", "--outder", stdin=found["CERTIFICATE"]) == material.der
    # The key comes out as it lies in the file; only this step opens it.
    command = ("certtool", "--key-info", "--pkcs8", "--password", material.passphrase)
    check_key(material, blocks(run(*command, stdin=found["ENCRYPTED PRIVATE KEY"])))


def check_key(material: Material, found: dict[str, bytes]) -> None:
    (pem,) = found.values()
    if material.name.startswith("ecdsa"):
        # It writes the key without the name of its curve, so the number itself is looked for.
        der = base64.b64decode(b"".join(pem.splitlines()[1:-1]))
        size = material.key.key_size // 8
        assert material.key.private_numbers().private_value.to_bytes(size, "big") in der
    else:
        # Ed25519 it encrypts again if it was given a passphrase.
        assert material.holds(pem)
