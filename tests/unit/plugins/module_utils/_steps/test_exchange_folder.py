# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What one server exports is what another one reads: both steps of a folder that is carried by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ansible_collections.esync.mesh.plugins.module_utils._core.errors import EsyncError

PLACE = {"address": "127.0.0.1", "port": 8732}


def test_exported_and_read(host: Any, tmp_path: Path) -> None:
    alpha, folder = host("alpha"), str(tmp_path / "out")
    alpha.make()
    assert alpha.do("exchange_folder", folder=folder, check=True, **PLACE)["changed"]
    assert not Path(folder).exists()
    done = alpha.do("exchange_folder", folder=folder, **PLACE)
    assert (done["changed"], done["private"]) == (True, [])
    assert not alpha.do("exchange_folder", folder=folder, **PLACE)["changed"]
    found = host("bravo").do("exchange_folder_info", folder=folder)
    assert [one["name"] for one in found["sets"]] == ["alpha"]
    assert found["fingerprints"] == done["fingerprints"]


def test_private_keys_are_warned_of_on_both_sides(host: Any, tmp_path: Path) -> None:
    alpha, bravo, folder = host("alpha"), host("bravo"), str(tmp_path / "out")
    alpha.make(secrets={"pfx_passphrase": "of the mesh"})
    done = alpha.do(
        "exchange_folder", folder=folder, shared_keys=True, secrets={"pfx_passphrase": "of the mesh"}, **PLACE
    )
    assert done["private"] == ["alpha_SyncClient.pfx"]
    assert "alpha_SyncClient.pfx" in alpha.warnings[0]
    secrets = {"folder_passphrase": "of the mesh"}
    found = bravo.do("exchange_folder_info", folder=folder, shared_keys=True, secrets=secrets)
    assert found["client_sets"] == ["alpha_SyncClient.pfx"]
    assert "alpha_SyncClient.pfx" in bravo.warnings[0]


@pytest.mark.parametrize("theirs", [True, False], ids=["shared_keys", "pinned"])
def test_a_folder_of_a_mesh_by_the_other_trust_model_is_refused_by_that_name(
    host: Any, tmp_path: Path, theirs: bool
) -> None:
    alpha, bravo, folder = host("alpha"), host("bravo"), str(tmp_path / "out")
    alpha.make(secrets={"pfx_passphrase": "of the mesh"})
    alpha.do("exchange_folder", folder=folder, shared_keys=theirs, secrets={"pfx_passphrase": "of the mesh"}, **PLACE)
    with pytest.raises(EsyncError) as caught:
        bravo.do(
            "exchange_folder_info",
            folder=folder,
            shared_keys=not theirs,
            secrets={"folder_passphrase": "of the mesh"},
        )
    [error] = caught.value.to_result().get("errors") or [caught.value.to_result()["error"]]
    assert error["kind"] == "other_trust_model" and error["path"].endswith("alpha_Sync.json")
    models = ("shared_keys", "pinned") if theirs else ("pinned", "shared_keys")
    assert f"exported with esync_trust_model: {models[0]}, and this mesh has {models[1]}" in error["cause"]
    # Nobody is told to destroy keys, neither there nor here.
    assert "destroy" not in str(caught.value) and not [one for one in bravo.warnings if "destroy" in one]


def test_nothing_to_export(host: Any, tmp_path: Path) -> None:
    with pytest.raises(EsyncError, match="no certificates yet"):
        host("alpha").do("exchange_folder", folder=str(tmp_path / "out"), **PLACE)
