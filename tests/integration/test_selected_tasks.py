# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Tags, --start-at-task and --step: a run is complete, or touches no host."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml
from local_mesh import ROOT, Mesh

OUR_PLAYBOOKS = sorted(path for path in ROOT.glob("playbooks/*.yml") if "import_role" in path.read_text())


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Mesh:
    """A mesh of which no host was touched yet; the refusals leave it so."""
    return Mesh(tmp_path_factory.mktemp("fresh"), ["a", "b"])


def refused(mesh: Mesh, *arguments: str, prefix: Any = (), **environment: str) -> str:
    """What a run says that touches no host. :param environment: of the run, besides."""
    result = mesh.fail("establish", *arguments, prefix=["env", *(f"{k}={v}" for k, v in environment.items()), *prefix])
    assert list((mesh.root / "hosts").iterdir()) == [] and not mesh.ledger.exists()
    return result.prose


def test_tags_that_leave_out_what_a_playbook_is_for_are_refused_by_name(fresh: Mesh) -> None:
    assert "--tags trust,verify leaves out" in refused(fresh, "--tags", "verify,trust")
    assert "--tags nginx leaves out" in refused(fresh, ANSIBLE_RUN_TAGS="nginx")
    assert "--skip-tags untagged leaves out" in refused(fresh, "--skip-tags", "untagged")


def test_a_run_that_begins_in_the_middle_is_refused(fresh: Mesh) -> None:
    for task in ("Plan the next stage", "*__esync_plan.title*"):
        assert "was left out" in refused(fresh, "--start-at-task", task)


def test_a_run_in_which_each_task_can_be_left_out_is_refused(fresh: Mesh) -> None:
    # Whatever is answered: all tasks, or all but those that validate and plan.
    for answer in ("y", "n\\nn\\ny"):
        prefix = ["sh", "-c", f'{{ printf "{answer}\\n"; yes; }} | "$@"', "sh"]
        assert "without --step" in refused(fresh, "--step", prefix=prefix)


def test_every_playbook_of_ours_asks_whatever_the_tags_are() -> None:
    assert len(OUR_PLAYBOOKS) == 8
    for path in OUR_PLAYBOOKS:
        (play,) = yaml.safe_load(path.read_text())
        assert [task["tags"] for task in play["tasks"]] == [["always"]], path


def test_a_run_that_leaves_out_nothing_is_accepted(mesh: Mesh) -> None:
    assert "6 of 6 pairs ok" in mesh.succeed("verify", "--tags", "untagged,nginx", "--skip-tags", "nginx").output
    assert "6 of 6 pairs ok" in mesh.succeed("verify", "--start-at-task", "Plan the first stage").output


def test_tags_of_a_play_of_the_users_select_the_complete_role_or_nothing_of_it(
    mesh: Mesh, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ANSIBLE_COLLECTIONS_PATH", str(ROOT / "playbooks" / "collections"))
    role = {"name": "esync.mesh.esync", "tasks_from": "verify"}
    plays: list[dict[str, Any]] = [
        {"tasks": [{"import_role": role, "tags": "mesh"}]},
        {"tasks": [{"include_role": {**role, "apply": {"tags": "mesh"}}, "tags": "mesh"}]},
        {"tasks": [{"include_role": role}], "tags": "mesh"},
    ]
    book = mesh.root / "play.yml"
    book.write_text(json.dumps([{"hosts": "esync", "gather_facts": False, **play} for play in plays]))
    result = mesh.succeed(str(book.with_suffix("")), "--tags", "mesh")
    assert result.output.count("6 of 6 pairs ok") == len(plays)
    # Ansible itself validates the role's arguments whatever the tags are.
    assert "Plan the first stage" not in mesh.succeed(str(book.with_suffix("")), "--tags", "nginx").output


def test_a_play_of_the_users_may_run_the_role_whatever_the_tags_are(
    mesh: Mesh, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ANSIBLE_COLLECTIONS_PATH", str(ROOT / "playbooks" / "collections"))
    role = {"name": "esync.mesh.esync", "tasks_from": "verify"}
    tasks = [{"import_role": role, "tags": ["always"]}]
    book = mesh.root / "play.yml"
    book.write_text(json.dumps([{"hosts": "esync", "gather_facts": False, "tasks": tasks}]))
    assert "6 of 6 pairs ok" in mesh.succeed(str(book.with_suffix("")), "--tags", "nginx").output
