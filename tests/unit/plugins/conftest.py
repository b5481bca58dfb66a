# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Keys, made once: making an RSA key is the slowest thing that a unit test does."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.esync.mesh.plugins.module_utils import x509


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
