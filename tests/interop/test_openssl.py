# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""OpenSSL reads everything we write, and writes PVK files that we read."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import pytest
from conftest import Material, Run, blocks

from ansible_collections.esync.mesh.plugins.module_utils._crypto import certificates as x509
from ansible_collections.esync.mesh.plugins.module_utils._crypto import pkcs12, pvk

LEGACY = ("-provider", "legacy", "-provider", "default")
# RC4 is in the legacy provider.
FORMS = {"none": (), "weak": LEGACY, "strong": LEGACY}
DESCRIPTIONS = {
    "modern": ["MAC: sha256,", "PBES2, PBKDF2, AES-256-CBC", "PRF hmacWithSHA256"],
    "compat": ["MAC: sha1,", "pbeWithSHA1And3-KeyTripleDES-CBC"],
}


@pytest.mark.parametrize("suffix", ["cer", "crt", "client.cer", "client.crt"])
def test_certificate(suffix: str, material: Material, run: Run) -> None:
    form = "DER" if suffix.endswith("cer") else "PEM"
    found = run("openssl", "x509", "-inform", form, "-in", material.path(suffix), "-outform", "DER")
    assert found == material.certificate(suffix)


def test_key(material: Material, run: Run) -> None:
    assert b"Key is valid" in run("openssl", "pkey", "-in", material.path("key"), "-check", "-noout")
    assert material.holds(run("openssl", "pkey", "-in", material.path("key"), "-outform", "DER"))
    assert run("openssl", "pkey", "-in", material.path("key"), "-pubout", "-outform", "DER") == material.spki


@pytest.mark.parametrize("encryption", ["modern", "compat"])
def test_pfx(encryption: str, material: Material, run: Run) -> None:
    check_pfx(encryption, material, run)


@pytest.mark.parametrize("encryption", ["modern", "compat"])
def test_pfx_with_a_passphrase_outside_ascii(encryption: str, other_passphrase: Material, run: Run) -> None:
    check_pfx(encryption, other_passphrase, run)


def check_pfx(encryption: str, material: Material, run: Run) -> None:
    command = ("openssl", "pkcs12", "-in", material.pfx(encryption), "-passin", f"pass:{material.passphrase}")
    found = blocks(run(*command, "-nodes"))
    assert set(found) == {"PRIVATE KEY", "CERTIFICATE"}
    assert material.holds(found["PRIVATE KEY"])
    assert run("openssl", "x509", "-outform", "DER", stdin=found["CERTIFICATE"]) == material.der


@pytest.mark.parametrize(
    "options",
    [
        (),
        ("-legacy",),
        ("-legacy", "-certpbe", "PBE-SHA1-RC2-128", "-keypbe", "PBE-SHA1-RC2-40"),
        ("-keypbe", "AES-128-CBC", "-certpbe", "AES-192-CBC", "-macalg", "sha512", "-iter", "100000"),
        ("-keypbe", "DES-EDE3-CBC", "-certpbe", "NONE", "-nomaciter"),
        ("-keypbe", "NONE", "-certpbe", "NONE"),
    ],
)
def test_pfx_of_openssl_is_read(options: tuple[str, ...], material: Material, run: Run, tmp_path: Path) -> None:
    path = tmp_path / "theirs.pfx"
    files = ("-inkey", material.path("key"), "-in", material.path("crt"), "-out", path)
    run("openssl", "pkcs12", "-export", *files, "-passout", "pass:geheim", *options)
    key, certificate = pkcs12.read_pfx(path.read_bytes(), str(path), b"geheim")
    assert certificate == material.der
    assert material.holds(x509.pkcs8_of(key))


@pytest.mark.parametrize("encryption", ["modern", "compat"])
def test_pfx_is_encrypted_as_it_should_be(encryption: str, material: Material, run: Run) -> None:
    path = material.path(f"{encryption}.pfx")
    command = ("openssl", "pkcs12", "-in", path, "-passin", f"pass:{material.passphrase}", "-info", "-noout")
    # OpenSSL tells this on its standard error.
    told = run("sh", "-c", 'exec "$@" 2>&1', "sh", *command).decode()
    lines = [line for line in told.splitlines() if line.startswith(("MAC: ", "PKCS7 Encrypted", "Shrouded"))]
    assert len(lines) == 3
    for description in DESCRIPTIONS[encryption][1:]:
        assert all(description in line for line in lines[1:]), told
    assert DESCRIPTIONS[encryption][0] in lines[0]
    # The MAC too: some versions of cryptography write it with one iteration.
    assert all(f"Iteration {pkcs12.ITERATIONS}" in line for line in lines), told
    # By these two a reader finds the certificate of the key, and a user finds both.
    bags = run(*command[:-2], "-nodes").decode()
    assert bags.count(f"friendlyName: {material.name}\n") == 2
    local = re.findall("localKeyID: (.+?) *\n", bags)
    assert local == [hashlib.sha1(material.der).digest().hex(" ").upper()] * 2


# Nothing but RSA has a PVK form.
def test_pvk(rsa_material: Material, run: Run) -> None:
    command = ("openssl", "rsa", "-inform", "PVK", "-pvk-none", "-in", rsa_material.path("pvk"), "-outform", "DER")
    assert rsa_material.holds(run(*command))


@pytest.mark.parametrize("form", FORMS)
def test_pvk_of_openssl(form: str, rsa_material: Material, run: Run, tmp_path: Path) -> None:
    path = tmp_path / "openssl.pvk"
    command = ("openssl", "rsa", *FORMS[form], "-in", rsa_material.path("key"), "-outform", "PVK", f"-pvk-{form}")
    run(*command, "-passout", "pass:geheim", "-out", str(path))
    data = path.read_bytes()
    key = pvk.read_pvk(data, str(path), None if form == "none" else b"geheim")
    assert key.private_numbers() == rsa_material.key.private_numbers()
    # Unencrypted there is one way to write it, and ours is the same to the byte.
    same = data == Path(rsa_material.path("pvk")).read_bytes()
    assert same == (form == "none")


def test_it_serves_its_purpose_and_no_other(material: Material, run: Run) -> None:
    def verify(purpose: str, suffix: str) -> None:
        # -CAfile is the pin; x509_strict turns on the checks of RFC 5280.
        options = ("-x509_strict", "-partial_chain", "-purpose", purpose, "-CAfile", material.path(suffix))
        run("openssl", "verify", *options, material.path(suffix))

    verify("sslserver", "crt")
    verify("sslclient", "client.crt")
    with pytest.raises(AssertionError, match="(?i)unsuitable certificate purpose"):
        verify("sslclient", "crt")
    with pytest.raises(AssertionError, match="(?i)unsuitable certificate purpose"):
        verify("sslserver", "client.crt")


@pytest.mark.parametrize("order", [1, -1])
def test_old_and_new_of_one_subject_are_told_apart(
    order: int, key_name: str, materials: dict[tuple[str, str], Material], run: Run, tmp_path: Path
) -> None:
    # In a rotation both are trusted. Without the authority key identifier a verifier takes the first of that subject.
    both = [Path(material.path("crt")) for (_writer, name), material in materials.items() if name == key_name]
    assert len(both) == 2
    bundle = tmp_path / "bundle.pem"
    bundle.write_bytes(b"".join(path.read_bytes() for path in both[::order]))
    for path in both:
        run("openssl", "verify", "-partial_chain", "-purpose", "sslserver", "-CAfile", str(bundle), str(path))
