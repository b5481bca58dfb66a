# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A mesh whose servers hand their client sets to each other (esync_trust_model: handed_over)."""

from __future__ import annotations

from conftest import Mesh

PASSPHRASE = "the passphrase of the mesh: Jt4hVq8sLw2n"


def handed_mesh(make_mesh, *names: str, **settings) -> Mesh:
    return make_mesh(*names, esync_trust_model="handed_over", esync_pfx_passphrase=PASSPHRASE, **settings)


def test_establish_hands_over_and_again_changes_nothing(make_mesh) -> None:
    mesh = handed_mesh(make_mesh, "a", "b", "c")
    mesh.succeed("establish")
    assert mesh.report()["summary"]["ok"] == 6
    before = mesh.snapshot()
    again = mesh.succeed("establish")
    assert set(again.changed.values()) == {0}
    assert mesh.snapshot() == before
    verified = mesh.succeed("verify")
    assert set(verified.changed.values()) == {0}
