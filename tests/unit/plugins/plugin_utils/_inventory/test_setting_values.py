# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest

from ansible_collections.esync.mesh.plugins.module_utils._core.errors import EsyncError
from ansible_collections.esync.mesh.plugins.plugin_utils._inventory.setting_values import (
    address_problem,
    canonical,
    comparable,
    directory_problem,
    setting_problems,
)


@pytest.mark.parametrize(
    ("address", "form"),
    [
        ("0:0:0:0:0:0:0:1", "::1"),
        ("2001:DB8::000A", "2001:db8::a"),
        ("::FFFF:10.0.0.1", "10.0.0.1"),
        ("10.0.0.1", "10.0.0.1"),
        ("Alpha.Example.", "alpha.example"),
        ("B\u00dcCHER.example", "xn--bcher-kva.example"),
    ],
)
def test_the_form_in_which_addresses_are_compared(address: str, form: str) -> None:
    assert canonical(address) == comparable(address) == form
    assert canonical(form) == form
    assert address_problem(address) is None


@pytest.mark.parametrize("address", ["", ".", "a b", "a'b", "a; }", "[::1]", "10.0.0.256"])
def test_what_has_none_is_told_so(address: str) -> None:
    with pytest.raises(EsyncError):
        canonical(address)
    assert comparable(address) == address
    assert "neither a host name nor an IP address" in (address_problem(address) or "")


def test_an_address_that_is_completed_by_the_system_is_told_with_its_meaning() -> None:
    assert "would be read as 127.0.0.1" in (address_problem("127.1") or "")


def test_settings_that_a_host_does_not_have_are_not_missed() -> None:
    assert list(setting_problems("a", {})) == []
    (error,) = setting_problems("a", {"esync_endpoint_upstream": "http://x; }"})
    assert (error.server, error.kind) == ("a", "bad_setting")
    assert "esync_endpoint_upstream" in str(error)


def test_all_alternative_names_that_are_none_are_told() -> None:
    found = list(setting_problems("a", {"esync_subject_alt_names": ["a.example", "b'", "::1", "c; }"]}))
    assert [error.kind for error in found] == ["bad_name", "bad_name"]
    assert "b'" in str(found[0]) and "c; }" in str(found[1])


def test_what_a_folder_may_be_called_depends_on_who_is_told_of_it() -> None:
    assert directory_problem("/srv/our mesh", "external") is None
    assert directory_problem("/srv/our mesh", "nginx")
    assert directory_problem("/srv/a;b", "external")
