# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations


class ModuleDocFragment:
    """The options that say what a server's own sets are to be."""

    DOCUMENTATION = r"""
options:
  address:
    description: Where the other servers connect to; it stands in the certificates.
    type: str
  subject_alt_names:
    description: Names and addresses in the certificates, besides O(name) and O(address).
    type: list
    elements: str
    default: []
  key_type:
    description: The type of the keys; a C(.pvk) file can hold V(rsa) only.
    type: str
    choices: [rsa, ecdsa, ed25519]
    default: rsa
  key_size:
    description:
      - Bits of a key; V(2048), V(3072) or V(4096) with V(rsa), V(256) (P-256) or V(384) (P-384) with V(ecdsa).
      - By default 3072 with V(rsa), 256 with V(ecdsa). Keys of the type V(ed25519) have one size; do not set it.
    type: int
    choices: [256, 384, 2048, 3072, 4096]
  renew_before_days:
    description: How many days before its end a certificate counts as due.
    type: int
    default: 30
  formats:
    description: The files of a set besides PEM, which is always written.
    type: list
    elements: str
    choices: [cer, pfx, pvk]
    default: [cer, pfx, pvk]
  pfx_passphrase:
    description: The passphrase of the C(.pfx) files; by default the host creates one and keeps it in C(pfx.passphrase).
    type: str
  pfx_encryption:
    description: V(modern) is AES-256 with SHA-256; V(compat) is 3DES with SHA-1, for Windows Server 2016 and Mono.
    type: str
    choices: [modern, compat]
    default: modern
  file_group:
    description: A group that may read the private keys, for services that do not start as root.
    type: str
  product_version:
    description:
      - The product's version on this host, a text, or a list of words, the command that prints it.
      - The command is run in check mode too, with the rights of the module; its first line counts.
    type: raw
  product_version_timeout:
    description: Seconds that the command of O(product_version) may take.
    type: float
    default: 10
  control_clock:
    description: The control node's time, in seconds since the epoch; by default the clocks are not compared.
    type: float
"""
