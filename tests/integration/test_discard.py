# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The keys of one server are destroyed and made anew by one run, as the tools on these servers do it."""

from __future__ import annotations

import sys
from pathlib import Path

from local_mesh import Mesh

OPTION = "esync_discard_existing"


def generations(mesh: Mesh) -> dict[str, Path]:
    return {name: mesh.current(name).resolve() for name in mesh.names}


def test_one_run_discards_one_server_and_the_run_after_that_changes_nothing(mesh: Mesh) -> None:
    before = mesh.snapshot()
    refused = mesh.fail("establish", "-e", f"{OPTION}=b,nobody").prose
    assert "nobody: esync_discard_existing names it" in refused and "the servers are a, b, c" in refused
    shown = mesh.succeed("establish", "--check", "-e", f"{OPTION}=b")
    assert "Check mode: what follows would be done, nothing is." in shown.prose
    assert shown.changed["b"] == 1
    assert mesh.snapshot() == before

    wrapper = mesh.root / "python"
    wrapper.write_text(f'#!/bin/sh\nexec faketime -f -400s {sys.executable} "$@"\n')
    wrapper.chmod(0o755)
    mesh.host_settings["c"] = {"ansible_python_interpreter": str(wrapper)}
    mesh.write()
    assert "The run stops here for all servers." in mesh.fail("establish", "-e", f"{OPTION}=b").prose
    assert mesh.snapshot() == before
    mesh.host_settings.clear()
    mesh.write()

    old = generations(mesh)
    (old["b"] / "b_SyncServer.key").write_bytes(b"")
    result = mesh.succeed("establish", "-e", f"{OPTION}=b")
    warning = result.prose.index("WARNING: all keys and certificates of b are destroyed")
    assert warning < result.prose.index(
        "TASK [esync.mesh.esync : Generate the certificates on each host, or keep them]"
    )
    assert "4 of 6 pairs are down from that moment" in result.prose
    assert "6 of 6 pairs ok." in result.output
    new = generations(mesh)
    assert {name for name in mesh.names if new[name] != old[name]} == {"b"}
    assert not old["b"].exists()

    again = mesh.succeed("establish")
    assert set(again.changed.values()) == {0}
    assert "WARNING: all keys" not in again.prose
    assert generations(mesh) == new


def test_with_a_limit_it_says_what_stays_owed(mesh: Mesh) -> None:
    result = mesh.succeed("establish", "--limit", "b", "-e", f"{OPTION}=true")
    assert "Not in this run: a, c. What they have stays as it is" in result.prose
    assert {debt["server"] for debt in mesh.report()["pending"]} == {"a", "c"}
    old = generations(mesh)
    assert (
        "Not in this run: b. Nothing is destroyed." in mesh.run("establish", "--limit", "a", "-e", f"{OPTION}=b").prose
    )
    mesh.succeed("establish")
    assert generations(mesh) == old
    assert mesh.report()["summary"]["ok"] == 6
    assert mesh.report()["pending"] == []
