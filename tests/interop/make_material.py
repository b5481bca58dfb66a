# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Write every file that the readers are tried on: make_material.py FOLDER.

A program of its own, for it runs under two Pythons: that of the tests, with the newest cryptography, and that of the
distribution, whose older cryptography is what hosts have. The two write different bytes.
"""

from __future__ import annotations

import datetime
import itertools
import math
import sys
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric import rsa

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "playbooks" / "collections"))

from ansible_collections.esync.mesh.plugins.module_utils._crypto import certificates as x509
from ansible_collections.esync.mesh.plugins.module_utils._crypto import pkcs12, pvk

PASSPHRASE = "7Hq2-kTz9-wB4x-Lm0s"
SHORT = "rsa2048-short"
# Passphrases outside of ASCII, and beyond the 16 bits of a BMPString's characters; one key has files with these too.
OTHER_PASSPHRASES = {"umlauts": "Schlüssel-für-Übergabe-ß", "emoji": "key-🗝-and-🔑"}
WITH_OTHER_PASSPHRASES = "rsa2048"
KEYS = {
    "rsa2048": ("rsa", 2048),
    "rsa3072": ("rsa", 3072),
    SHORT: ("rsa", 2048),
    "ecdsa": ("ecdsa", 256),
    "ecdsa384": ("ecdsa", 384),
    "ed25519": ("ed25519", None),
}


def short_key() -> Any:
    """An RSA key of 2048 bits whose d begins with a zero byte, as one key of 256 does: some programs stumble there.

    Tried are all pairs of the primes of some keys, for each prime costs more time than all its products.
    """
    primes: list[int] = []
    while True:
        made = rsa.generate_private_key(public_exponent=65537, key_size=2048).private_numbers()
        fresh = [made.p, made.q]
        for p, q in itertools.product(fresh, primes):
            d = pow(65537, -1, (p - 1) * (q - 1) // math.gcd(p - 1, q - 1))
            if (p * q).bit_length() == 2048 and d.bit_length() <= 2040:
                public = rsa.RSAPublicNumbers(65537, p * q)
                numbers = rsa.RSAPrivateNumbers(p, q, d, d % (p - 1), d % (q - 1), pow(q, -1, p), public)
                return numbers.private_key()
        primes += fresh


def main(folder: Path) -> None:
    now = datetime.datetime.now(datetime.timezone.utc)
    for name, (key_type, key_size) in KEYS.items():
        key = short_key() if name == SHORT else x509.generate_key(key_type, key_size)
        profile = x509.Profile(name, (name, "münchen.example", "192.0.2.1", "2001:db8::1"), key_type, key_size, 365)
        server = x509.self_sign(key, "server", profile, now)
        # The same subject with another role: what stands beside it in a bundle.
        client = x509.self_sign(key, "client", profile, now)
        files = {
            "key": x509.key_to_pem(key),
            "crt": server.pem.encode("ascii"),
            "cer": server.der,
            "client.crt": client.pem.encode("ascii"),
            "client.cer": client.der,
        }
        for encryption in pkcs12.ENCRYPTIONS:
            files[f"{encryption}.pfx"] = pkcs12.write_pfx(name, key, server.der, PASSPHRASE.encode("ascii"), encryption)
            for label, other in OTHER_PASSPHRASES.items() if name == WITH_OTHER_PASSPHRASES else ():
                files[f"{encryption}.{label}.pfx"] = pkcs12.write_pfx(
                    name, key, server.der, other.encode("utf-8"), encryption
                )
        if key_type == "rsa":
            files["pvk"] = pvk.write_pvk(key)
        for suffix, data in files.items():
            (folder / f"{name}.{suffix}").write_bytes(data)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
