# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest

from ansible_collections.esync.mesh.plugins.module_utils._core.errors import EsyncError
from ansible_collections.esync.mesh.plugins.plugin_utils._ledger.pem import fingerprint_of, has_role


def test_the_fingerprint_is_that_of_the_library(generation):
    facts = generation("a")["server"]
    assert fingerprint_of(facts["pem"], "test") == facts["fingerprint"]


@pytest.mark.parametrize("text", ["", "x", "-----BEGIN CERTIFICATE-----\nAAA\n-----END CERTIFICATE-----\n"])
def test_anything_else_is_refused(text):
    with pytest.raises(EsyncError, match="here"):
        fingerprint_of(text, "here")


def test_two_certificates_are_refused(generation):
    with pytest.raises(EsyncError):
        fingerprint_of(generation("a")["server"]["pem"] * 2, "here")


@pytest.mark.parametrize("role", ["server", "client"])
def test_the_role(generation, role):
    pem = generation("a")[role]["pem"]
    assert [has_role(pem, name, "test") for name in ("server", "client")] == [role == "server", role == "client"]
