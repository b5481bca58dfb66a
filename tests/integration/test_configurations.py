# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Ansible's own configuration as people have it: forks, callbacks, fact caches, native templates, merged hashes."""

from __future__ import annotations

import json
import sys

import pytest
from local_mesh import Mesh
from secret_scanner import leaks, secrets_of


@pytest.mark.parametrize(
    ("forks", "environment"),
    [
        ("1", {"ANSIBLE_CALLBACK_RESULT_FORMAT": "yaml"}),
        ("50", {"ANSIBLE_JINJA2_NATIVE": "1", "ANSIBLE_HASH_BEHAVIOUR": "merge"}),
    ],
)
def test_the_result_is_the_same(
    make_mesh, monkeypatch: pytest.MonkeyPatch, forks: str, environment: dict[str, str]
) -> None:
    # A number as a name, and settings as templates: native templates make no text of what is one.
    mesh = make_mesh("a", "1", esync_valid_days="{{ 17 * 10 }}", esync_formats="{{ ['cer', 'pfx'] }}")
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    mesh.succeed("establish", "--forks", forks)
    before = mesh.snapshot()
    result = mesh.succeed("establish", "--forks", forks)
    assert "2 of 2 pairs ok" in result.output and set(result.changed.values()) == {0}
    assert mesh.snapshot() == before and mesh.trusted("a") == {"1"}


@pytest.mark.parametrize("callback", ["minimal", "oneline"])
def test_other_callbacks_show_the_verdict_and_no_secret(
    mesh: Mesh, monkeypatch: pytest.MonkeyPatch, callback: str
) -> None:
    monkeypatch.setenv("ANSIBLE_STDOUT_CALLBACK", callback)
    mesh.names.append("d")
    mesh.write()
    result = mesh.succeed("establish", "--diff")
    assert "12 of 12 pairs ok." in result.output
    assert leaks(secrets_of([mesh.root / "hosts"]), [("output", result.output.encode())]) == []


def test_nothing_of_ours_is_in_a_fact_cache(mesh: Mesh, monkeypatch: pytest.MonkeyPatch) -> None:
    facts = mesh.root / "facts"
    monkeypatch.setenv("ANSIBLE_CACHE_PLUGIN", "jsonfile")
    monkeypatch.setenv("ANSIBLE_CACHE_PLUGIN_CONNECTION", str(facts))
    # What Ansible finds out itself is cached, else this would look at nothing.
    mesh.settings["ansible_python_interpreter"] = "auto_silent"
    mesh.settings["ansible_interpreter_python_fallback"] = [sys.executable]
    mesh.write()
    mesh.succeed("regenerate")
    # ansible-core 2.19 and later put the format's version before the name.
    cached = {path.name.rpartition("_")[2]: json.loads(path.read_text()) for path in facts.iterdir()}
    assert set(cached) == {"a", "b", "c"}
    for found in cached.values():
        # There the facts are a text in it, too.
        kept = json.loads(found["__payload__"]) if "__payload__" in found else found
        assert set(kept) == {"discovered_interpreter_python"}, kept
