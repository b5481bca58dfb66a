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
    unsupported,
)
from ansible_collections.esync.mesh.plugins.plugin_utils._inventory.sites import Site


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


@pytest.mark.parametrize(("key_type", "size"), [("rsa", 512), ("rsa", 384), ("ecdsa", 3072), ("ed25519", 256)])
def test_a_key_size_that_the_type_does_not_have_is_refused_before_a_host_is_touched(key_type: str, size: int) -> None:
    (error,) = setting_problems("a", {"esync_key_type": key_type, "esync_key_size": size})
    assert (error.server, error.kind) == ("a", "bad_key_type")
    assert "esync_key_size" in error.cause and str(size) in error.cause and "esync_key_size" in error.remedy
    assert list(setting_problems("a", {"esync_key_type": key_type})) == []


def test_all_alternative_names_that_are_none_are_told() -> None:
    found = list(setting_problems("a", {"esync_subject_alt_names": ["a.example", "b'", "::1", "c; }"]}))
    assert [error.kind for error in found] == ["bad_name", "bad_name"]
    assert "b'" in str(found[0]) and "c; }" in str(found[1])


def test_what_a_folder_may_be_called_depends_on_who_is_told_of_it() -> None:
    assert directory_problem("/srv/our mesh", "external") is None
    assert directory_problem("/srv/our mesh", "nginx")
    assert directory_problem("/srv/a;b", "external")


def test_what_is_empty_is_as_the_product_has_it() -> None:
    names = ("configuration", "service", "access_log", "upstream")
    assert list(setting_problems("a", {f"esync_endpoint_{name}": "" for name in names})) == []


@pytest.mark.parametrize(
    ("endpoint", "upstream", "said"),
    [
        ("temporary", "", None),
        ("external", "", None),
        ("nginx", "", None),
        ("nginx", "https://127.0.0.1/path", None),
        ("nginx", "tcp://127.0.0.1:873", "nginx needs an upstream with http:// or https://"),
        ("haproxy", "", None),
        ("haproxy", "http://127.0.0.1:8080", None),
        ("haproxy", "http://product:8080/", None),
        ("haproxy", "proxy://[::1]:873", None),
        ("haproxy", "https://127.0.0.1:8080", "haproxy needs an upstream with http://"),
        ("haproxy", "http://127.0.0.1:8080/path", "that is a host and a port only"),
        ("haproxy", "http://127.0.0.1", "that is a host and a port only"),
        ("stunnel", "", "stunnel needs an upstream with tcp://"),
        ("stunnel", "tcp://127.0.0.1:873", None),
        ("stunnel", "http://127.0.0.1:873", "stunnel needs an upstream with tcp://"),
        # That is told by the setting itself.
        ("stunnel", "127.0.0.1:873", None),
    ],
)
def test_an_upstream_that_the_product_cannot_have(endpoint: str, upstream: str, said: str | None) -> None:
    settings = {"esync_endpoint": endpoint, "esync_endpoint_upstream": upstream}
    found = list(unsupported("a", settings, ()))
    assert [(error.server, error.kind) for error in found] == ([("a", "bad_setting")] if said else [])
    assert not said or (said in str(found[0]) and "esync_endpoint_upstream" in found[0].remedy)
    # The upstream of a site counts, and if it has none that of the server.
    for site, common in ((Site("shop", 1, upstream=upstream or None), upstream), (Site("shop", 1), upstream)):
        found = list(unsupported("a", {**settings, "esync_endpoint_upstream": common}, (site,)))
        assert [error.kind for error in found] == (["bad_site"] if said else [])


def test_a_site_that_the_product_cannot_serve() -> None:
    files = Site("shop", 1, "shop.example", root="/srv/shop")
    own = Site("own", 2, "own.example", reload=("true",))
    for endpoint, said in (
        ("nginx", []),
        ("external", ["external serves no files"]),
        ("haproxy", ["haproxy serves no files"]),
        ("stunnel", ["stunnel serves no files", "stunnel knows no names of sites"]),
    ):
        found = list(unsupported("a", {"esync_endpoint": endpoint, "esync_endpoint_upstream": ""}, (files, own)))
        assert len(found) == len(said), endpoint
        for error, words in zip(found, said):
            assert error.kind == "bad_site" and f"the site 'shop': {words}" in str(error)
