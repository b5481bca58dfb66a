# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Where the ledger and the reports lie, and what Ansible itself reads there."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from ansible.inventory.manager import InventoryManager
from ansible.parsing.dataloader import DataLoader

from ansible_collections.esync.mesh.plugins.plugin_utils._inventory.control_folders import is_read, settled

DEFAULTS = Path(__file__).resolve().parents[5] / "roles" / "esync" / "defaults" / "main.yml"


def inventory(folder: Path) -> Path:
    folder.mkdir()
    (folder / "hosts.yml").write_text("esync: {hosts: {alpha: , bravo: }}\n")
    return folder


def with_files(folder: Path) -> Path:
    """A folder with what Ansible takes for an inventory, if it looks."""
    folder.mkdir(parents=True)
    (folder / "alpha.json").write_text(json.dumps({"trust": {"hosts": {"oops": {}}}}))
    return folder


def hosts_of(source: Path) -> set[str]:
    """The hosts that Ansible finds."""
    return set(InventoryManager(loader=DataLoader(), sources=[str(source)]).hosts)


@pytest.mark.parametrize("name", ["esync_ledger", "esync_report_directory"])
def test_ansible_does_not_read_the_defaults_as_inventory(tmp_path: Path, name: str) -> None:
    source = inventory(tmp_path / "prod")
    base = yaml.safe_load(DEFAULTS.read_text())[name].rpartition("/")[2]
    folder = with_files(source / base)
    assert not is_read(str(folder), str(source)) and hosts_of(source) == {"alpha", "bravo"}
    assert settled(name, str(folder), [str(source)]) == (str(folder), [])


@pytest.mark.parametrize("base", ["ledger", ".ledger", "ledger.bak", "group_vars", "deep/ledger", ".deep/ledger", "x~"])
def test_what_is_read_is_what_ansible_reads(tmp_path: Path, base: str) -> None:
    source = inventory(tmp_path / "prod")
    folder = with_files(source / base)
    assert is_read(str(folder), str(source)) == ("oops" in hosts_of(source))
    chosen, warnings = settled("esync_ledger", str(folder), [str(source)])
    assert chosen == str(folder) and bool(warnings) == ("oops" in hosts_of(source))


def test_a_folder_elsewhere_or_beside_a_file_is_no_inventory(tmp_path: Path) -> None:
    source = inventory(tmp_path / "prod")
    for folder, one in ((tmp_path / "production", source), (source / "ledger", source / "hosts.yml")):
        assert settled("esync_ledger", str(folder), [str(one), "a,b,"]) == (str(folder), [])


def test_the_folder_of_an_earlier_version_is_used_as_long_as_it_is_the_only_one(tmp_path: Path) -> None:
    source = inventory(tmp_path / "prod")
    before, now = with_files(source / "esync-ledger"), source / ".esync-ledger"
    chosen, warnings = settled("esync_ledger", str(now), [str(source / "hosts.yml")])
    assert chosen == str(before) and [f"mv {before} {now}" in one for one in warnings] == [True]
    now.mkdir()
    chosen, warnings = settled("esync_ledger", str(now), [str(source / "hosts.yml")])
    assert chosen == str(now) and [f"rm -r {before}" in one for one in warnings] == [True]
