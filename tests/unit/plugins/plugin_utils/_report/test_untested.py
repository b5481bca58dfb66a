# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest

from ansible_collections.esync.mesh.plugins.module_utils._connection.cause_table import CAUSES
from ansible_collections.esync.mesh.plugins.plugin_utils._report import untested as reasons


@pytest.mark.parametrize("state", reasons.AWAY)
def test_who_is_away_is_named(state):
    why = reasons.away("alpha", state)
    assert why.cause in CAUSES
    assert "alpha" in why.detail and why.remedy
    assert "{}" in reasons.AWAY[state].detail


def test_who_said_nothing_is_named():
    why = reasons.no_result("alpha")
    assert why.cause in CAUSES
    assert why.detail == "alpha returned no result for it."
    assert why.remedy
