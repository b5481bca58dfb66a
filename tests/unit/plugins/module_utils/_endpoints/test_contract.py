# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import dataclasses

import pytest
from endpoint_hosts import settings, site

from ansible_collections.esync.mesh.plugins.module_utils._endpoints.contract import Observed
from ansible_collections.esync.mesh.plugins.module_utils._endpoints.places import Place


def test_the_sites_are_served_in_the_place_of_the_port(directory):
    assert settings(directory, 1).places == (Place(1),)
    sites = (site("shop", 2, server_name="shop.example"), site("news", 3))
    assert settings(directory, 1, sites=sites).places == (Place(2, "shop", "shop.example"), Place(3, "news"))


def test_without_sites_there_is_one_without_a_name(directory):
    assert settings(directory, 1).all_sites == (site("", 1),)
    sites = (site("shop", 2),)
    assert settings(directory, 1, sites=sites).all_sites == sites


def test_where_the_requests_of_a_site_go(directory):
    common = settings(directory, 1, upstream="http://common")
    assert common.upstream_of(site("", 1)) == "http://common"
    assert common.upstream_of(site("shop", 1, upstream="http://own")) == "http://own"
    assert common.upstream_of(site("files", 1, root="/srv")) == ""
    assert common.upstream_of(site("both", 1, root="/srv", upstream="http://own")) == "http://own"


def test_what_cannot_be_known_is_taken_to_run():
    assert Observed(None, None, None).is_running
    assert Observed(None, None, frozenset([1])).is_running
    assert not Observed(None, None, frozenset()).is_running


def test_settings_cannot_change(directory):
    with pytest.raises(dataclasses.FrozenInstanceError):
        settings(directory, 1).port = 2
