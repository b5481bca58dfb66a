# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import time

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


@pytest.mark.parametrize("pump", ["\n", " ", "\n ", "A\n", "-", "-----BEGIN CERTIFICATE-----\n"])
def test_a_text_that_would_keep_a_regular_expression_busy(pump):
    began = time.process_time()
    for text in (pump * 100_000, f"-----BEGIN CERTIFICATE-----\n{pump * 100_000}x"):
        with pytest.raises(EsyncError, match="here"):
            fingerprint_of(text, "here")
    assert time.process_time() - began < 2


def test_white_space_and_line_ends_of_other_systems(generation):
    facts = generation("a")["server"]
    assert fingerprint_of("\n " + facts["pem"].replace("\n", "\r\n") + "\n", "here") == facts["fingerprint"]


def test_two_certificates_are_refused(generation):
    with pytest.raises(EsyncError):
        fingerprint_of(generation("a")["server"]["pem"] * 2, "here")


@pytest.mark.parametrize("role", ["server", "client"])
def test_the_role(generation, role):
    pem = generation("a")[role]["pem"]
    assert [has_role(pem, name, "test") for name in ("server", "client")] == [role == "server", role == "client"]
