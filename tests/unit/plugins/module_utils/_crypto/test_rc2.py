# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest

from ansible_collections.esync.mesh.plugins.module_utils._crypto import rc2


@pytest.mark.parametrize(
    ("key", "clear", "hidden"),
    [
        # RFC 2268, section 5: those whose effective bits are all the bits of the key.
        ("ffffffffffffffff", "ffffffffffffffff", "278b27e42e2f0d49"),
        ("3000000000000000", "1000000000000001", "30649edf9be7d2c2"),
        # As OpenSSL encrypts it.
        ("88bca90e90875a7f0f9c384627bafeb2", "0000000000000000", "bfd0886fdc24a2a1"),
    ],
)
def test_the_vectors_of_the_standard(key: str, clear: str, hidden: str) -> None:
    found = rc2.decrypt_cbc(bytes.fromhex(key), bytes(8), bytes.fromhex(hidden) * 2)
    assert found[:8].hex() == clear
    # The second block is mixed with the first one before it.
    assert bytes(one ^ other for one, other in zip(found[8:], bytes.fromhex(hidden))).hex() == clear
