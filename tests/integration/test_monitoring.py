# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The examples for a schedule and for alerts: a real Prometheus reads mesh.prom of real meshes with real faults."""

from __future__ import annotations

import contextlib
import functools
import http.server
import json
import shutil
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from local_mesh import ROOT, Mesh, free_ports

EXAMPLES = ROOT / "examples"
RULES = EXAMPLES / "monitoring" / "esync-alerts.yml"
QUICK = {"esync_key_type": "ecdsa", "esync_key_size": 256, "esync_formats": ["cer"]}


def test_the_rules_are_valid() -> None:
    done = subprocess.run(["promtool", "check", "rules", str(RULES)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "SUCCESS" in done.stdout


@pytest.mark.parametrize("unit", sorted(path.name for path in (EXAMPLES / "schedule").glob("esync-*")))
def test_a_unit_is_valid(unit: str) -> None:
    done = subprocess.run(
        ["systemd-analyze", "verify", str(EXAMPLES / "schedule" / unit)], capture_output=True, text=True, check=False
    )
    # The user and ansible-playbook are those of the control node.
    said = [line for line in done.stderr.splitlines() if "is not executable" not in line]
    assert not [line for line in said if "esync-" in line]


def test_every_unit_is_an_example_of_two() -> None:
    units = {path.stem: path.suffix for path in (EXAMPLES / "schedule").glob("esync-*.timer")}
    assert units == {"esync-check": ".timer", "esync-renew": ".timer"}


@contextlib.contextmanager
def serving(folder: Path) -> Iterator[int]:
    """Serve files by HTTP, as node_exporter does what lies in its folder; yields the port."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        extensions_map = {".prom": "text/plain; version=0.0.4"}

        def log_message(self, *_unused: Any) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(folder))) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield server.server_address[1]
        server.shutdown()
        thread.join(5)


@contextlib.contextmanager
def prometheus(folder: Path, port: int, meshes: list[str]) -> Iterator[str]:
    """A real Prometheus that looks every second; yields its address."""
    (own,) = free_ports(1)
    jobs = [
        {
            "job_name": name,
            "metrics_path": f"/{name}.prom",
            "static_configs": [{"targets": [f"127.0.0.1:{port}"], "labels": {"mesh": name}}],
        }
        for name in meshes
    ]
    every = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    (folder / "prometheus.yml").write_text(
        json.dumps({"global": every, "rule_files": [str(RULES)], "scrape_configs": jobs})
    )
    process = subprocess.Popen(
        [
            "prometheus",
            f"--config.file={folder}/prometheus.yml",
            f"--storage.tsdb.path={folder}/data",
            f"--web.listen-address=127.0.0.1:{own}",
        ],
        stdout=subprocess.DEVNULL,
        stderr=(folder / "log").open("w"),
    )
    try:
        yield f"http://127.0.0.1:{own}/api/v1"
    finally:
        process.terminate()
        process.wait(30)


def asked(address: str) -> Any:
    """What it answers; None while it does not."""
    with contextlib.suppress(OSError, urllib.error.URLError), urllib.request.urlopen(address, timeout=5) as answer:
        return json.load(answer)["data"]
    return None


def alerts(address: str, meshes: list[str]) -> dict[str, set[str]]:
    """The alerts that fire, by mesh, once all of the figures were read and the rules evaluated."""
    end = time.monotonic() + 60
    while time.monotonic() < end:
        read = asked(f"{address}/query?query=count(esync_servers)by(mesh)")
        if read and {one["metric"]["mesh"] for one in read["result"]} == set(meshes):
            break
        time.sleep(0.5)
    else:
        raise AssertionError("Prometheus has not read every mesh.prom")
    time.sleep(3)
    found: dict[str, set[str]] = {name: set() for name in meshes}
    for one in asked(f"{address}/alerts")["alerts"]:
        assert one["state"] == "firing" and one["annotations"]["summary"] and one["annotations"]["description"]
        found[one["labels"]["mesh"]].add(one["labels"]["alertname"])
    return found


def test_faults_fire_their_alerts_and_nothing_else_does(established: Mesh, make_mesh: Any, tmp_path: Path) -> None:
    broken = make_mesh("a", "b", **QUICK)
    broken.succeed("establish")
    # Nobody listens there.
    broken.host_settings["b"] = {"esync_address": "127.0.0.2"}
    broken.write()
    broken.fail("verify")
    ending = make_mesh("a", "b", **QUICK, esync_valid_days=10, esync_renew_before_days=5)
    ending.succeed("establish")
    forgotten = make_mesh("a", "b", **QUICK)
    forgotten.succeed("establish", prefix=("faketime", "-f", "-3d"))
    meshes = {"sound": established, "broken": broken, "ending": ending, "forgotten": forgotten}
    files = tmp_path / "files"
    files.mkdir()
    for name, mesh in meshes.items():
        shutil.copy(mesh.root / "report" / "mesh.prom", files / f"{name}.prom")
    with serving(files) as port, prometheus(tmp_path, port, list(meshes)) as address:
        found = alerts(address, list(meshes))
    assert found == {
        "sound": set(),
        # Its certificate does not have the new address either.
        "broken": {"EsyncPairFails", "EsyncServerProblem"},
        "ending": {"EsyncCertificateEnds"},
        "forgotten": {"EsyncNotVerified", "EsyncNoReport"},
    }
