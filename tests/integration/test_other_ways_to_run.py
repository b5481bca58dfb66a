# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What runs playbooks besides ansible-playbook: ansible-runner, as in AWX, ansible-pull, execution environments."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import ansible_runner
import yaml
from local_mesh import ANSIBLE, ROOT
from secret_scanner import Secret, everything_below, leaks, secrets_of

PASSPHRASE = "a passphrase that the user gave: Ym2cD7rFg5"


def test_with_ansible_runner_a_mesh_is_made_and_nothing_secret_is_in_its_records(make_mesh: Any) -> None:
    mesh = make_mesh("a", "b", esync_pfx_passphrase=PASSPHRASE)
    folder = mesh.root / "runner"
    (folder / "project").mkdir(parents=True)
    environment = {
        **{name: value for name, value in mesh.environment().items() if name.startswith("ANSIBLE_")},
        "ANSIBLE_COLLECTIONS_PATH": str(ROOT / "playbooks" / "collections"),
    }

    def run(playbook: str) -> Any:
        return ansible_runner.run(
            private_data_dir=str(folder),
            playbook=f"esync.mesh.{playbook}",
            inventory=str(mesh.root / "hosts.json"),
            envvars={**environment, "PATH": f"{ANSIBLE.parent}:{os.environ['PATH']}"},
            verbosity=3,
            quiet=True,
            ident=playbook,
        )

    made = run("establish")
    assert (made.status, made.rc) == ("successful", 0), made.stdout.read()
    assert "2 of 2 pairs ok." in made.stdout.read()
    # Programs get the verdict as data.
    [report] = [
        event["event_data"]["res"]
        for event in made.events
        if event["event"] == "runner_on_ok" and event["event_data"].get("task") == "Report"
    ]
    assert report["summary"]["ok"] == 2 and report["path"].endswith("mesh.html")
    (mesh.host("b") / "trusted" / "clients.pem").unlink()
    failed = run("verify")
    assert (failed.status, failed.rc) == ("failed", 2) and "clients.pem" in failed.stdout.read()
    secrets = [*secrets_of([mesh.root / "hosts"]), Secret("the given passphrase", PASSPHRASE.encode())]
    records = list(everything_below(folder / "artifacts"))
    assert len(records) > 20
    assert leaks(secrets, records) == []


def test_with_ansible_pull_each_host_is_told_that_this_makes_no_mesh(make_mesh: Any, tmp_path: Path) -> None:
    mesh = make_mesh("a", "b")
    repository = tmp_path / "repository"
    repository.mkdir()
    inventory = json.loads((mesh.root / "hosts.json").read_text())
    for name in ("esync_ledger", "esync_report_directory"):
        del inventory["esync"]["vars"][name]
    (repository / "hosts.json").write_text(json.dumps(inventory))
    (repository / "local.yml").write_text(json.dumps([{"import_playbook": "esync.mesh.establish"}]))
    identity = ["-c", "user.name=nobody", "-c", "user.email=nobody@example.org"]
    for words in (["init", "-q", "-b", "main"], ["add", "."], [*identity, "commit", "-qm", "Begin"]):
        subprocess.run(["git", "-C", str(repository), *words], check=True, capture_output=True)
    for name in "ab":
        done = subprocess.run(
            [
                str(ANSIBLE.with_name("ansible-pull")),
                *(
                    "--url",
                    repository.as_uri(),
                    "--checkout",
                    "main",
                    "--directory",
                    str(tmp_path / f"checkout-{name}"),
                ),
                *("--inventory", "hosts.json", "--limit", f"{name},localhost", "local.yml"),
            ],
            cwd=tmp_path,
            env={**mesh.environment(), "ANSIBLE_COLLECTIONS_PATH": str(ROOT / "playbooks" / "collections")},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        assert "ansible-pull" in " ".join(done.stdout.split()) and "Nothing was proved" in done.stdout, done.stdout
    # Nobody was harmed: one run for all makes the mesh.
    mesh.succeed("establish")
    assert mesh.report()["summary"]["ok"] == 2


def test_ansible_builder_reads_what_an_execution_environment_needs(tmp_path: Path) -> None:
    collection = tmp_path / "ansible_collections" / "esync" / "mesh"
    collection.mkdir(parents=True)
    shutil.copytree(ROOT / "meta", collection / "meta")
    shutil.copy(ROOT / "galaxy.yml", collection)
    command = [str(ANSIBLE.with_name("ansible-builder")), "introspect", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path)
    needed = yaml.safe_load(done.stdout)
    assert [one.split()[0] for one in needed["python"]] == ["cryptography>=3.3"]
    assert any(one.startswith("openssh-client ") for one in needed["system"])
