# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The four files of a report tell the same, of a sound mesh and of one with a dead host."""

from __future__ import annotations

import json
import re
import stat
import xml.etree.ElementTree as ET
from typing import Any

from local_mesh import Mesh

FILES = {"mesh.html", "mesh.json", "mesh.prom", "mesh.xml"}


def told(mesh: Mesh) -> dict[str, Any]:
    """What each file says of the pairs: how many are ok, failed and untested."""
    folder = mesh.root / "report"
    assert {path.name for path in folder.iterdir()} == FILES | {"history.json"}
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o644}
    html = (folder / "mesh.html").read_text()
    codes = "".join(json.loads(html.partition('id="data">')[2].partition("</script>")[0])["codes"])
    suites = [one for one in ET.parse(folder / "mesh.xml").getroot() if not str(one.get("name")).startswith("(")]
    tests, failures, errors = (
        sum(int(suite.get(name) or 0) for suite in suites) for name in ("tests", "failures", "errors")
    )
    figures = re.findall(
        r'^esync_pairs\{server="\w+",verdict="(\w+)"\} (\d+)$', (folder / "mesh.prom").read_text(), re.M
    )
    summary = mesh.report()["summary"]
    return {
        "mesh.html": tuple(codes.count(code) for code in "+x?"),
        "mesh.json": tuple(summary[verdict] for verdict in ("ok", "failed", "untested")),
        "mesh.prom": tuple(
            sum(int(count) for verdict, count in figures if verdict == kind) for kind in ("ok", "failed", "untested")
        ),
        "mesh.xml": (tests - failures - errors, failures, errors),
    }


def verified(mesh: Mesh) -> dict[str, str]:
    text = (mesh.root / "report" / "mesh.prom").read_text()
    return dict(re.findall(r'^esync_last_verified_timestamp_seconds\{server="(\w+)"\} (\d+)$', text, re.M))


def test_the_files_agree_and_a_dead_host_keeps_its_last_time(mesh: Mesh) -> None:
    assert told(mesh) == dict.fromkeys(FILES, (6, 0, 0))
    before = verified(mesh)
    assert set(before) == {"a", "b", "c"}
    mesh.host_settings["c"] = {"ansible_connection": "ssh", "ansible_host": "127.0.0.1", "ansible_port": 9}
    mesh.write()
    result = mesh.fail("verify")
    assert told(mesh) == dict.fromkeys(FILES, (2, 0, 4))
    after = verified(mesh)
    assert after["c"] == before["c"]
    assert after["a"] > before["a"]
    # The failure repeats what is wrong, not the matrix.
    assert result.output.count("from / to") == 1
    assert "2 of 6 pairs ok, 4 untested." in result.output.splitlines()


def recap(output: str, column: str) -> dict[str, int]:
    return {host: int(count) for host, count in re.findall(rf"^(\S+)\s+: .*?\b{column}=(\d+)", output, re.M)}


def test_a_verdict_is_the_control_nodes_and_no_server_counts_as_failed(mesh: Mesh) -> None:
    mesh.host_settings["c"] = {"esync_endpoint": "external"}
    mesh.write()
    result = mesh.fail("verify")
    assert recap(result.output, "failed") == {"a": 0, "b": 0, "c": 0, "localhost": 1}
    told, _last, rest = result.output.partition("of 6 pairs ok, ")
    assert "fatal" not in told and rest.count("fatal: ") == 1
    # The command is that of this run, and the last thing is where the report lies.
    assert f"ansible-playbook -i {mesh.root / 'hosts.json'} esync.mesh.repair".replace(f"{mesh.root}/", "") in told
    assert f"The report is {mesh.root / 'report' / 'mesh.html'}" in rest
    assert recap(mesh.fail("verify", "--limit", "c").output, "failed") == {"c": 1}


def test_a_refusal_before_any_host_is_touched_is_the_control_nodes(mesh: Mesh) -> None:
    result = mesh.fail("establish", "-e", "esync_prot=1")
    assert recap(result.output, "failed") == {"localhost": 1}


def test_a_run_says_what_changed_since_the_one_before(mesh: Mesh) -> None:
    mesh.succeed("verify")
    mesh.host_settings["c"] = {"esync_endpoint": "external"}
    mesh.write()
    mesh.fail("verify")
    mesh.host_settings["c"] = {}
    mesh.write()
    mesh.succeed("regenerate")
    runs = json.loads((mesh.root / "report" / "history.json").read_text())["runs"]
    assert [run["operation"] for run in runs][-3:] == ["verify", "verify", "regenerate"]
    assert runs[-2]["began"]["names"] == ["a -> c", "b -> c"]
    assert runs[-1]["recovered"]["names"] == ["a -> c", "b -> c"]
    assert runs[-1]["replaced"]["names"] == ["a", "b", "c"]
    assert runs[-2]["replaced"]["count"] == 0


def test_a_run_that_goes_well_is_short(mesh: Mesh) -> None:
    output = mesh.succeed("establish").output
    # Ansible prints a line for each host and visit, two for each task, and the recap; nothing else is long.
    assert len(output.splitlines()) <= 45
    assert "_lines" not in output and '"lines"' not in output
    assert "6 of 6 pairs ok." in output.splitlines()
