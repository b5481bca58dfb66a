# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from endpoint_hosts import make_certificate, trust

from ansible_collections.esync.mesh.plugins.module_utils._core.errors import EsyncError
from ansible_collections.esync.mesh.plugins.module_utils._core.folders import Folder
from ansible_collections.esync.mesh.plugins.module_utils._endpoints import in_force
from ansible_collections.esync.mesh.plugins.module_utils._store import trust_folder

COLLECTIONS = Path(__file__).resolve().parents[5] / "playbooks" / "collections"


def test_what_lies_on_the_disk(directory, tmp_path):
    assert in_force.read_in_force(str(directory)) == in_force.InForce(None, None, None, 0)
    fingerprint = make_certificate(directory / "current")
    for peer in ("b", "c"):
        make_certificate(tmp_path / peer, peer, "client")
    trust(directory, tmp_path / "b", tmp_path / "c")
    found = in_force.read_in_force(str(directory))
    with Folder.open(str(directory)) as base:
        known = trust_folder.read(base, "a")
    assert found == in_force.InForce(fingerprint, known.digest, known.folder, 2)


def test_a_peer_counts_once_whatever_its_generations(directory, tmp_path):
    generations = [tmp_path / "b", tmp_path / "b.next"]
    for folder in generations:
        make_certificate(folder, "b", "client")
    trust(directory, *generations)
    assert in_force.read_in_force(str(directory)).peers == 1


@pytest.mark.parametrize("damaged", ["trusted/trust.json", "current/server.crt"])
def test_what_is_damaged_is_told(directory, tmp_path, damaged):
    make_certificate(directory / "current")
    make_certificate(tmp_path / "b", "b", "client")
    trust(directory, tmp_path / "b")
    (directory / damaged).write_text("nothing")
    with pytest.raises(EsyncError) as caught:
        in_force.read_in_force(str(directory))
    assert caught.value.kind == "damaged_file"


def test_cryptography_is_not_needed():
    program = """
import sys
sys.path.insert(0, sys.argv[1])
sys.modules["cryptography"] = None
from ansible_collections.esync.mesh.plugins.module_utils._steps import endpoint
print(sorted(endpoint.ENDPOINTS))
"""
    done = subprocess.run(
        [sys.executable, "-c", program, str(COLLECTIONS)], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.stdout == "['external', 'haproxy', 'nginx', 'stunnel', 'temporary']\n", done.stderr


# -- the note -------------------------------------------------------------------------------------------------

THIS = in_force.InForce("cc", "dd", "one", 2)


def test_the_note_differs_whenever_something_has_to_be_loaded():
    note = in_force.note_of("nginx", THIS, ["shop"], "text")
    others = [
        in_force.note_of("nginx", replace(THIS, certificate="ee"), ["shop"], "text"),
        in_force.note_of("nginx", replace(THIS, trust="ee"), ["shop"], "text"),
        # The same trust, written again because something in it was damaged.
        in_force.note_of("nginx", replace(THIS, trust_folder="two"), ["shop"], "text"),
        in_force.note_of("nginx", THIS, ["shop", "news"], "text"),
        in_force.note_of("nginx", THIS, [], "text"),
        in_force.note_of("nginx", THIS, ["shop"], "other"),
        in_force.note_of("external", THIS, ["shop"], "text"),
    ]
    assert len({note, *others}) == len(others) + 1
    assert in_force.note_of("nginx", THIS, ["shop"], "text") == note


def test_each_driver_has_a_line_of_its_own(directory):
    note, other = in_force.note_of("nginx", THIS, [], "text"), in_force.note_of("external", THIS, [], "")
    with Folder.open(str(directory)) as base:
        assert not in_force.is_noted(base, note)
        in_force.write_note(base, "nginx", note)
        in_force.write_note(base, "external", other)
        assert in_force.is_noted(base, note)
        assert in_force.is_noted(base, other)
        assert (directory / "endpoint.loaded").stat().st_mode & 0o777 == 0o644
        in_force.forget_note(base, "nginx")
        assert not in_force.is_noted(base, note)
        assert in_force.is_noted(base, other)
        in_force.forget_note(base, "external")
        assert not in_force.has_note(base)
        in_force.forget_note(base, "external")
    assert not in_force.is_noted(None, note)


def test_what_is_no_note_of_ours_is_replaced(directory):
    (directory / "endpoint.loaded").write_text("trust dd, certificate cc\n\x00\n")
    with Folder.open(str(directory)) as base:
        in_force.write_note(base, "nginx", "nginx: this")
    assert (directory / "endpoint.loaded").read_text() == "nginx: this\n"
