# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json

import pytest
from endpoint_hosts import settings

from ansible_collections.esync.mesh.plugins.module_utils._endpoints.health import health_of
from ansible_collections.esync.mesh.plugins.module_utils._endpoints.in_force import InForce

HERE = settings("/etc/esync", 8732, product_version='9 "x"')


@pytest.mark.parametrize("site", [None, "shop"])
def test_who_serves_and_who_asked(site):
    text = health_of(HERE, InForce("ab", "dd", "one", 1), site, "b", str)
    expected = {"server": "a", "generation": "ab", "product_version": '9 "x"', "peer": "b"}
    assert json.loads(text) == {**expected, **({"site": site} if site else {})}


def test_only_what_is_not_the_products_is_quoted():
    text = health_of(HERE, InForce(None, None, None, 0), None, "$peer", lambda quoted: quoted.replace("$", "-"))
    assert '"none yet"' in text
    assert text.endswith(', "peer": "$peer"}')
