# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest

from ansible_collections.esync.mesh.plugins.module_utils._connection.causes import CAUSES
from ansible_collections.esync.mesh.plugins.plugin_utils._report import untested as absence


@pytest.mark.parametrize("state", absence.AWAY)
def test_who_is_away_is_named(state):
    why = absence.away("alpha", state)
    assert why.cause in CAUSES
    assert "alpha" in why.detail and why.remedy
    assert "{}" in absence.AWAY[state].detail


def test_who_said_nothing_is_named():
    why = absence.no_result("alpha")
    assert why.cause in CAUSES
    assert why.detail == "alpha returned no result for it."
    assert why.remedy
