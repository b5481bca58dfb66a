# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Keys, made once: making an RSA key is the slowest thing that a unit test does; and public certificates."""

from __future__ import annotations

import datetime
from functools import lru_cache
from typing import Any

import pytest

from ansible_collections.esync.mesh.plugins.module_utils._crypto import certificates as x509


@pytest.fixture(scope="session")
def rsa_key() -> Any:
    """An RSA key of 2048 bits."""
    return x509.generate_key("rsa", 2048)


@pytest.fixture(scope="session")
def other_rsa_key() -> Any:
    """Another one."""
    return x509.generate_key("rsa", 2048)


@pytest.fixture(scope="session")
def ecdsa_key() -> Any:
    """A key on P-256."""
    return x509.generate_key("ecdsa", 256)


@pytest.fixture(scope="session")
def p384_key() -> Any:
    """A key on P-384."""
    return x509.generate_key("ecdsa", 384)


@pytest.fixture(scope="session")
def ed25519_key() -> Any:
    """An Ed25519 key."""
    return x509.generate_key("ed25519", None)


@lru_cache(maxsize=None)
def _facts(name: str, role: str, number: int) -> dict[str, Any]:
    key = x509.generate_key("ecdsa", 256)
    profile = x509.Profile(name, (name,), "ecdsa", 256, 300 + number)
    return x509.self_sign(key, role, profile, datetime.datetime.now(datetime.timezone.utc)).facts()


@pytest.fixture(scope="session")
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
