# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a file is that somebody brought; how a folder of them is read is in the tests of the exchange folder."""

from __future__ import annotations

import pytest

from ansible_collections.esync.mesh.plugins.module_utils._core.errors import EsyncError
from ansible_collections.esync.mesh.plugins.module_utils._crypto import file_kinds

BLOCK = b"-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n"


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (b"-----BEGIN EC PRIVATE KEY-----\nx", file_kinds.PRIVATE_KEY),
        (BLOCK + b"-----BEGIN PRIVATE KEY-----\nx", file_kinds.PRIVATE_KEY),
        (b"-----BEGIN NEW CERTIFICATE REQUEST-----\nx", file_kinds.REQUEST),
        (b"\xef\xbb\xbf-----BEGIN TRUSTED CERTIFICATE-----\nx", file_kinds.TRUSTED),
        (b"-----BEGIN CMS-----\nx", file_kinds.PKCS7_PEM),
        (BLOCK * 2, file_kinds.SEVERAL),
        (BLOCK, None),
        (b"-----BEGIN PGP MESSAGE-----\nx", None),
        (b"hello", None),
        (b"", None),
        (b"\xff\xfe\x00", None),
    ],
)
def test_what_a_file_is(data: bytes, kind: file_kinds.FileKind | None) -> None:
    assert file_kinds.kind_of(data) is kind


def test_what_is_not_one_certificate_in_text_is_left_alone() -> None:
    for data in (
        b"",
        b"hello",
        BLOCK * 2,
        BLOCK + b"-----BEGIN PRIVATE KEY-----",
        BLOCK[:-30],
        b"\x30\x03\x02\x01\x00",
    ):
        assert file_kinds.bare_certificate(data) == data
    assert file_kinds.bare_certificate(b"prose\n" + BLOCK + b"more") == BLOCK


def test_a_path_in_a_command_is_quoted() -> None:
    with pytest.raises(EsyncError) as caught:
        file_kinds.refuse_other_kind(BLOCK * 2, "/x/a b; rm -r c")
    assert "-in '/x/a b; rm -r c' -outform DER -out '/x/a b; rm -r c.new'" in caught.value.remedy
    file_kinds.refuse_other_kind(b"hello", "/x")
