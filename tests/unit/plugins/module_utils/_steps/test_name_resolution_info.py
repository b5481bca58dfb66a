# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from typing import Any


def test_what_this_host_resolves_is_made_and_what_it_does_not_ends_there(host: Any) -> None:
    alpha = host("alpha")
    asked = {"step": "name_resolution_info", "options": {"addresses": ["127.0.0.1", "localhost"], "timeout": 5}}
    make = {"step": "certificate_set", "options": {"key_type": "ecdsa", "formats": []}, "when": {"resolved": True}}
    hidden = {**asked, "options": {"addresses": ["localhost", "bravo..invalid"], "timeout": 5}}
    found, skipped = alpha.visit(hidden, make)["results"]
    assert list(found["unresolved"]) == ["bravo..invalid"] and skipped["skipped"]
    assert not alpha.directory.exists()
    found, made = alpha.visit(asked, make)["results"]
    assert found["unresolved"] == {} and made["changed"]
