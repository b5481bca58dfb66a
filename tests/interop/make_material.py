# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Write every file that the readers are tried on: make_material.py FOLDER.

A program of its own, for it runs under two Pythons: that of the tests, with the newest cryptography, and that of the
distribution, whose older cryptography is what hosts have. The two write different bytes.
"""

from __future__ import annotations

import datetime
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "playbooks" / "collections"))

from ansible_collections.esync.mesh.plugins.module_utils import pkcs12, pvk, x509

PASSPHRASE = "7Hq2-kTz9-wB4x-Lm0s"
KEYS = {"rsa2048": ("rsa", 2048), "rsa3072": ("rsa", 3072), "ecdsa": ("ecdsa", 256)}


def main(folder: Path) -> None:
    now = datetime.datetime.now(datetime.timezone.utc)
    for name, (key_type, key_size) in KEYS.items():
        key = x509.generate_key(key_type, key_size)
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
        if key_type == "rsa":
            files["pvk"] = pvk.write_pvk(key)
        for suffix, data in files.items():
            (folder / f"{name}.{suffix}").write_bytes(data)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
