# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Write and read every format under the Python and the cryptography of one host.

    files.py write FOLDER          keys of the other types than RSA, in every format that they can have
    files.py read FOLDER [...]     print what is in the files of sets, as JSON: path to hashes of certificate and key

It runs where the collection's modules run, so it is as old a Python as they are.
"""

from __future__ import annotations

import datetime
import hashlib
import json
import sys
from pathlib import Path
from typing import Any, Dict, List, Optional

from cryptography import x509
from cryptography.hazmat.primitives import serialization

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "playbooks" / "collections"))

from ansible_collections.esync.mesh.plugins.module_utils._crypto import certificates, pkcs12, pvk

PASSPHRASE = "pfx.passphrase"
OTHERS = {"p256": ("ecdsa", 256), "p384": ("ecdsa", 384), "ed25519": ("ed25519", None)}


def write(folder: Path) -> None:
    """The sets of a mesh are RSA, in both encryptions: here are the other types."""
    now = datetime.datetime.now(datetime.timezone.utc)
    passphrase = b"7Hq2-kTz9-wB4x-Lm0s"
    folder.mkdir(parents=True)
    (folder / PASSPHRASE).write_bytes(passphrase)
    for name, (key_type, size) in OTHERS.items():
        key = certificates.generate_key(key_type, size)
        profile = certificates.Profile(name, (name, "192.0.2.1"), key_type, size, 365)
        made = certificates.self_sign(key, "server", profile, now)
        (folder / f"{name}.key").write_bytes(certificates.key_to_pem(key))
        (folder / f"{name}.cer").write_bytes(made.der)
        (folder / f"{name}.crt").write_text(made.pem)
        (folder / f"{name}.pfx").write_bytes(pkcs12.write_pfx(name, key, made.der, passphrase, pkcs12.MODERN))


def read(path: Path) -> List[Optional[str]]:
    """The hash of the certificate in a file, and that of the public key."""
    data, key, der = path.read_bytes(), None, None
    if path.suffix == ".pfx":
        key, der = pkcs12.read_pfx(data, str(path), path.with_name(PASSPHRASE).read_bytes().rstrip())
    elif path.suffix == ".pvk":
        key = pvk.read_pvk(data, str(path))
    elif path.suffix == ".key":
        key = certificates.key_from_pem(data, str(path))
    else:
        # As the library has it, so that its view is compared, too.
        load = x509.load_pem_x509_certificate if path.suffix == ".crt" else x509.load_der_x509_certificate
        der = load(data).public_bytes(serialization.Encoding.DER)
        assert certificates.parse_certificate(data, str(path)).der == der
    public = key.public_key() if key else x509.load_der_x509_certificate(der or b"").public_key()
    return [_hash(der) if der else None, _hash(_spki(public))]


def _spki(public: Any) -> bytes:
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    data: bytes = public.public_bytes(serialization.Encoding.DER, form)
    return data


def _hash(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def main() -> None:
    if sys.argv[1] == "write":
        write(Path(sys.argv[2]))
        return
    found: Dict[str, List[Optional[str]]] = {}
    for folder in sys.argv[2:]:
        for path in sorted(Path(folder).iterdir()):
            if path.suffix in (".cer", ".crt", ".key", ".pfx", ".pvk") and not path.is_symlink():
                found[str(path)] = read(path)
    sys.stdout.write(json.dumps(found))


if __name__ == "__main__":
    main()
