# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A host gets another esync_server_name: the way is told, and it works."""

from __future__ import annotations

import json

from control_half import ControlNode, public_files
from local_mesh import Mesh

FIRST, SECOND = "esync_discard_existing=bravo", "esync_remove=b"


def test_a_renamed_server_is_refused_and_the_way_that_is_told_works(mesh: Mesh) -> None:
    before = public_files(mesh, "b")
    mesh.host_settings["b"] = {"esync_server_name": "bravo"}
    mesh.write()
    node = ControlNode(mesh)
    for operation in ("establish", "check", "regenerate"):
        refused = node.run(operation)
        assert not refused.ok and not refused.unexpected, refused.output
        assert FIRST in refused.output, refused.output
        # No half of a rotation, and no key that is gone: what served before goes on serving.
        assert public_files(mesh, "b") == before
        assert not [name for name in mesh.names if (mesh.host(name) / "rotation.json").exists()]
    # The old name is named with it; check has only what the host itself knows.
    assert SECOND in node.run("establish").output and SECOND in node.run("regenerate").output

    renamed = node.run("establish", esync_discard_existing="bravo")
    assert renamed.ok and mesh.report()["summary"]["ok"] == 6, renamed.output
    removed = node.run("remove", esync_remove=["b"])
    assert removed.ok, removed.output
    assert mesh.trusted("a") == {"bravo", "c"} and mesh.trusted("c") == {"a", "bravo"}
    assert json.loads((mesh.ledger / "b.json").read_text())["removed_at"]
    for operation in ("check", "regenerate", "check"):
        assert node.run(operation).ok
