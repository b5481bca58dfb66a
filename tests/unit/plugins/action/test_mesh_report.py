# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The end of an operation, as an action, on runs of the model of a mesh; one play for all of them."""

from __future__ import annotations

import json
import stat
from pathlib import Path
from typing import Any

import pytest
from plugin_utils._planning.meshes import fresh
from plugin_utils._planning.model_mesh import Model

from ansible_collections.esync.mesh.plugins.plugin_utils._ledger.records import Ledger

from .conftest import documented, run_play


def ended(model: Model, operation: str, folder: Path, name: str, **options: Any) -> dict[str, Any]:
    """What mesh_plan returns at the end of a run."""
    run = model.run(operation, **options)
    run.mesh.update(esync_ledger=str(folder / "ledger"), esync_report_directory=str(folder / name))
    return {"stage": f"{operation} {run.position}", "visits": {}, "state": run.to_json()}


def scenarios(folder: Path, generation: Any) -> dict[str, Any]:
    good = fresh(generation)()
    ledger = Ledger(folder / "ledger")
    with ledger.lock():
        for record in good.ledger.values():
            ledger.write(record)
    found = {name: ended(good, "verify", folder, name) for name in ("good", "checked", "unwritable")}
    found["unwritable"]["state"]["mesh"]["esync_report_directory"] = "/proc/nowhere"
    found["checked"]["state"]["check"] = True
    found["limited"] = ended(good, "verify", folder, "limited", only=["a", "b"])
    found["failures"] = ended(good, "verify", folder, "failures")
    found["failures"]["state"]["failures"] = ["What else went wrong."]
    found["noted"] = ended(good, "verify", folder, "noted")
    found["noted"]["state"]["notes"] = ["Something to know."]
    dead = fresh(generation)()
    dead.hosts["c"].dead = True
    found["unreached"] = ended(dead, "verify", folder, "unreached")
    deaf = fresh(generation, endpoint="nginx")()
    deaf.hosts["c"].deaf = True
    found["bad"] = ended(deaf, "verify", folder, "bad")
    found["bad_and_unwritable"] = ended(deaf, "verify", folder, "bad_and_unwritable")
    found["bad_and_unwritable"]["state"]["mesh"]["esync_report_directory"] = "/proc/nowhere"
    found["never"] = ended(deaf, "verify", folder, "never")
    found["never"]["state"]["report_mode"] = "never"
    found["unjudged"] = ended(deaf, "verify", folder, "unjudged")
    found["unjudged"]["state"]["report_mode"] = ""
    return found


@pytest.fixture(scope="module")
def reports(tmp_path_factory: Any, generation: Any) -> Any:
    """Name to the result and the content of mesh.json; and the output."""
    folder = tmp_path_factory.mktemp("reports")
    plans = scenarios(folder, generation)
    tasks = [
        {
            "name": name,
            "esync.mesh.mesh_report": {"plan": f"plan_{name}"},
            "register": f"r_{name}",
            "run_once": True,
            "ignore_errors": True,
        }
        for name in plans
    ]
    variables = {f"plan_{name}": plan for name, plan in plans.items()}
    done = run_play(folder, tasks, {name: {} for name in "abc"}, vars=variables)
    assert done.code == 0, done.output
    files = {name: folder / name / "mesh.json" for name in plans}
    meshes = {name: json.loads(path.read_text()) if path.exists() else None for name, path in files.items()}
    return {name: (done.results["a"][f"r_{name}"], meshes[name]) for name in plans}, done.output, folder


def test_a_mesh_that_holds(reports: Any) -> None:
    found, mesh = reports[0]["good"]
    assert not found.get("failed") and not found["changed"]
    assert documented("mesh_report") <= set(found)
    expected = {"servers": 3, "expected": 6, "ok": 6, "failed": 0, "untested": 0}
    assert mesh["summary"] | expected == mesh["summary"] == found["summary"]
    assert found["path"].endswith("good/mesh.html")
    assert "6 of 6 pairs ok" in reports[1]
    for name in ("mesh.json", "mesh.html", "mesh.xml", "mesh.prom"):
        assert stat.S_IMODE((reports[2] / "good" / name).stat().st_mode) == 0o644


def test_a_failed_pair_fails_the_run_and_names_it(reports: Any) -> None:
    found, mesh = reports[0]["bad"]
    assert found["failed"] and found["msg"].startswith("4 of 6 pairs ok, 2 failed. The report is ")
    assert "endpoint_not_listening" in reports[1] and "endpoint_not_listening" not in found["msg"]
    assert mesh["summary"]["failed"] == 2
    found, mesh = reports[0]["never"]
    assert not found.get("failed") and mesh["summary"]["failed"] == 2


def test_a_server_that_cannot_be_reached_fails_the_run(reports: Any) -> None:
    found, mesh = reports[0]["unreached"]
    assert found["failed"] and "c" in found["msg"]
    assert mesh["summary"] | {"ok": 2, "failed": 0, "untested": 4} == mesh["summary"]


def test_pairs_outside_a_limited_run_fail_nothing(reports: Any) -> None:
    found, mesh = reports[0]["limited"]
    assert not found.get("failed") and mesh["summary"] | {"ok": 2, "untested": 4} == mesh["summary"]


def test_what_a_stage_found_fails_the_run_beside_a_sound_report(reports: Any) -> None:
    found, mesh = reports[0]["failures"]
    assert found["failed"] and found["msg"] == "What else went wrong." and mesh["summary"]["ok"] == 6
    found, _mesh = reports[0]["noted"]
    assert found["notes"] == ["Something to know."] and "Something to know." in reports[1]


def test_a_report_that_cannot_be_written_is_told(reports: Any) -> None:
    found, _mesh = reports[0]["unwritable"]
    assert found["failed"] and "/proc/nowhere" in found["msg"] and "esync_report_directory" in found["msg"]
    # What was found is not lost: it stands on the terminal, and in the result.
    assert found["summary"]["ok"] == 6
    found, _mesh = reports[0]["bad_and_unwritable"]
    assert found["failed"] and "4 of 6 pairs ok, 2 failed." in found["msg"] and "/proc/nowhere" in found["msg"]


def test_what_tests_nothing_reports_nothing(reports: Any) -> None:
    found, mesh = reports[0]["checked"]
    assert "check mode" in found["msg"] and mesh is None
    found, mesh = reports[0]["unjudged"]
    assert not found.get("failed") and mesh is None
