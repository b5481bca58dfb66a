# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Java's keytool reads what we write. It has no reader of PVK files, and none of bare keys."""

from __future__ import annotations

from pathlib import Path

import pytest
from conftest import Material, Run, blocks
from make_material import KEYS

from ansible_collections.esync.mesh.plugins.module_utils._crypto import pkcs12


@pytest.mark.parametrize("encryption", ["modern", "compat"])
def test_pfx(encryption: str, material: Material, run: Run, tmp_path: Path) -> None:
    # keytool shows no key. It opens the entry and writes it into a store of its own, which is read here.
    copy = tmp_path / "copy.p12"
    source = ("-srckeystore", material.path(f"{encryption}.pfx"), "-srcstoretype", "PKCS12")
    target = ("-destkeystore", str(copy), "-deststoretype", "PKCS12", "-deststorepass", "another")
    run("keytool", "-importkeystore", *source, "-srcstorepass", material.passphrase, *target)
    key, der = pkcs12.read_pfx(copy.read_bytes(), str(copy), b"another")
    assert material.is_key(key)
    assert der == material.der


@pytest.mark.parametrize("encryption", ["modern", "compat"])
def test_a_passphrase_outside_ascii_opens_nothing(encryption: str, other_passphrase: Material, run: Run) -> None:
    # So it is with files of the library too. Should this ever pass, docs/formats.md has to be changed.
    source = ("-keystore", other_passphrase.pfx(encryption), "-storetype", "PKCS12")
    with pytest.raises(AssertionError, match="keystore password was incorrect"):
        run("keytool", "-list", *source, "-storepass", other_passphrase.passphrase)


@pytest.mark.parametrize("suffix", ["cer", "crt", "client.cer", "client.crt"])
def test_certificate(
    suffix: str, writer: str, materials: dict[tuple[str, str], Material], run: Run, tmp_path: Path
) -> None:
    # One start of Java for a writer's certificates: keytool prints all that are in the file.
    chosen = [material for material in materials.values() if material.writer == writer]
    together = tmp_path / "together"
    together.write_bytes(b"".join(Path(material.path(suffix)).read_bytes() for material in chosen))
    printed = run("keytool", "-printcert", "-rfc", "-file", str(together))
    found = [b"-----BEGIN" + part for part in printed.split(b"-----BEGIN")[1:]]
    assert len(found) == len(chosen) == len(KEYS)
    for material, part in zip(chosen, found):
        pem = blocks(part.replace(b"\r\n", b"\n"))["CERTIFICATE"]
        assert run("openssl", "x509", "-outform", "DER", stdin=pem) == material.certificate(suffix)
