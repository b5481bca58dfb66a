# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Public certificates of a few servers, made once."""

from __future__ import annotations

import datetime
from functools import lru_cache
from typing import Any

import pytest

from ansible_collections.esync.mesh.plugins.module_utils import x509


@lru_cache(maxsize=None)
def _facts(name: str, role: str, number: int) -> dict[str, Any]:
    key = x509.generate_key("ecdsa", 0)
    profile = x509.Profile(name, (name,), "ecdsa", 256, 300 + number)
    return x509.self_sign(key, role, profile, datetime.datetime.now(datetime.timezone.utc)).facts()


@pytest.fixture
def generation() -> Any:
    """Makes generations as certificate_set returns them: ``generation("a", "current", 1)``, the same for a number."""

    def make(name: str, state: str = "current", number: int = 1) -> dict[str, Any]:
        return {
            "id": f"{number}",
            "state": state,
            "server": _facts(name, "server", number),
            "client": _facts(name, "client", number),
        }

    return make
