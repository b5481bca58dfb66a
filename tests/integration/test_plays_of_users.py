# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The role in a play of the user's own: strategies, batches, and hosts that are no members."""

from __future__ import annotations

import itertools
import json
from typing import Any

import pytest
from local_mesh import ROOT, Mesh

ENTRIES = ("establish", "verify", "check", "regenerate", "remove", "repair", "apply", "export", "gate")


def play(mesh: Mesh, *entries: str, **keywords: Any) -> str:
    """A playbook that includes entry points of the role; its path as Mesh.run takes it."""
    tasks = [
        {"name": "Run it", "ansible.builtin.include_role": {"name": "esync.mesh.esync", "tasks_from": entry}}
        for entry in entries
    ]
    path = mesh.root / "play.yml"
    path.write_text(json.dumps([{"hosts": "esync", "gather_facts": False, **keywords, "tasks": tasks}]))
    return str(path.with_suffix(""))


@pytest.fixture(autouse=True)
def collections(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANSIBLE_COLLECTIONS_PATH", str(ROOT / "playbooks" / "collections"))


def folder(mesh: Mesh) -> list[str]:
    return ["-e", f"esync_folder={mesh.root}/folder-{{{{ inventory_hostname }}}}"]


@pytest.mark.parametrize(("entry", "strategy"), list(zip(ENTRIES, itertools.cycle(["free", "host_pinned"]))))
def test_strategies_without_barriers_are_refused_by_name_everywhere(make_mesh, entry: str, strategy: str) -> None:
    mesh = make_mesh("a", "b")
    result = mesh.fail(play(mesh, entry, strategy=strategy), *folder(mesh), "-e", "esync_remove=a")
    assert f"the strategy {strategy} lets hosts run ahead of each other" in result.prose
    assert list((mesh.root / "hosts").iterdir()) == [] and not mesh.ledger.exists()


def test_pairs_outside_of_a_batch_are_untested_and_fail_nothing(make_mesh) -> None:
    mesh = make_mesh("a", "b", "c", "d")
    result = mesh.succeed(play(mesh, "establish", serial=1))
    assert "no trust in force" not in result.prose
    # Each batch learns of those before it; the next run tells the others.
    assert mesh.trusted("d") == {*"abc"} and mesh.report()["summary"]["untested"] == 12
    mesh.succeed("establish")
    result = mesh.succeed(play(mesh, "verify", serial="50%"))
    assert result.output.count("2 of 12 pairs ok, 10 untested.") == 2
    assert mesh.report()["summary"]["failed"] == 0
    result = mesh.fail(play(mesh, "regenerate", serial=2))
    assert "is not part of this run" in result.prose
    assert not list(mesh.root.glob("hosts/*/next")), "nothing is made"


def test_the_only_server_that_is_left_is_told_why_nothing_is_proved(make_mesh) -> None:
    mesh = make_mesh("a", "b")
    mesh.host_settings["b"] = {"ansible_python_interpreter": "/bin/false"}
    mesh.write()
    result = mesh.fail("establish")
    assert "no trust in force" not in result.prose
    assert "b (2 pairs, such as a -> b): host_failed" in result.prose


def test_on_a_host_outside_of_the_group_nothing_is_ever_made(make_mesh) -> None:
    mesh = make_mesh("b", "c", "d")
    # It is the first of the play, knows nothing of the group, and says whenever it is touched.
    python = mesh.root / "python"
    python.write_text(f"#!/bin/sh\ntouch {mesh.root}/touched\nexit 1\n")
    python.chmod(0o755)
    inventory = json.loads((mesh.root / "hosts.json").read_text())
    members = inventory.pop("esync")
    members["vars"]["esync_group"] = "members"
    outside = {"ansible_connection": "local", "ansible_python_interpreter": str(python)}
    outside["esync_directory"] = f"{mesh.root}/hosts/a"
    inventory["all"] = {"children": {"before": {"hosts": {"a": outside}}, "members": members}}
    (mesh.root / "hosts.json").write_text(json.dumps(inventory))
    book = play(mesh, "establish", "check", "export", hosts="all")
    result = mesh.succeed(book, *folder(mesh))
    assert result.output.count("6 of 6 pairs ok.") >= 2
    mesh.succeed(play(mesh, "remove", hosts="all"), "-e", "esync_remove=d")
    assert "a: it is not in the inventory group" in mesh.fail(play(mesh, "gate", hosts="all")).prose
    assert not (mesh.root / "touched").exists() and not mesh.host("a").exists()
    assert not (mesh.root / "folder-a").exists() and not (mesh.ledger / "a.json").exists()
