# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import datetime

import pytest

from ansible_collections.esync.mesh.plugins.module_utils._core import certificate
from ansible_collections.esync.mesh.plugins.module_utils._core.errors import EsyncError

MOMENT = datetime.datetime(2026, 11, 23, 20, 0, 1, tzinfo=datetime.timezone.utc)


def test_times_come_back_as_they_were_written() -> None:
    assert certificate.timestamp(MOMENT) == "2026-11-23T20:00:01Z"
    assert certificate.moment_of("2026-11-23T20:00:01Z") == MOMENT


@pytest.mark.parametrize(
    "text", ["", "2026-11-23", "2026-11-23T20:00:01", "2026-13-23T20:00:01Z", "2026-11-23T20:00:01+0"]
)
def test_what_is_no_time(text: str) -> None:
    with pytest.raises(ValueError):
        certificate.moment_of(text)


@pytest.mark.parametrize(
    ("names", "normal"),
    [
        (("alpha", "alpha", "10.0.0.1"), (("dns", "alpha"), ("ip", "10.0.0.1"))),
        (("fe80::1%eth0", "FE80:0::1"), (("ip", "fe80::1"),)),
        (("straße.example", "xn--strae-oqa.example"), None),
        (("web-",), (("dns", "web-"),)),
    ],
)
def test_names_as_a_certificate_holds_them(names: tuple[str, ...], normal: tuple[tuple[str, str], ...] | None) -> None:
    found = certificate.alt_name_kinds(names)
    if normal is not None:
        assert found == normal
    assert certificate.normal_alt_names(names) == tuple(text for _kind, text in found)
    assert all(text.isascii() for _kind, text in found)


@pytest.mark.parametrize("name", ["a b", "", "300.1.1.1", "a/b"])
def test_what_is_neither_a_name_nor_an_address(name: str) -> None:
    with pytest.raises(EsyncError) as caught:
        certificate.alt_name_kinds((name,))
    assert caught.value.kind == "bad_name"
