# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""verify tells apart why a pair fails, as docs/diagnosis.md promises."""

from __future__ import annotations

import pytest
from local_mesh import Mesh


def test_a_service_that_is_not_started_is_named(mesh: Mesh) -> None:
    # b goes on listening on 127.0.0.1, so that nothing listens where the others look for it.
    mesh.host_settings["b"] = {"esync_address": "127.0.0.77"}
    mesh.write()
    result = mesh.fail("verify")
    causes = {(pair["from"], pair["to"]): pair["cause"] for pair in mesh.report()["pairs"]}
    refused = {"a", "c"}
    assert causes == {
        (source, target): "endpoint_not_listening" if target == "b" and source in refused else None
        for source in "abc"
        for target in "abc"
        if source != target
    }
    assert f"b (127.0.0.77:{mesh.ports['b']}) refused the connection of" in result.prose
    assert "Start the service on the peer" in result.prose


@pytest.mark.parametrize("playbook", ["verify", "check"])
def test_a_run_that_can_test_no_pair_has_proved_nothing(mesh: Mesh, playbook: str) -> None:
    result = mesh.fail(playbook, "--limit", "a")
    assert "Nothing was proved: 0 of 6 pairs were tested." in result.prose
    assert "without --limit" in result.prose
    assert "ok." not in [line[-3:] for line in result.output.splitlines() if "pairs" in line]
    assert mesh.report()["summary"] == {"servers": 3, "expected": 6, "ok": 0, "failed": 0, "untested": 6}
