# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the report of a mesh of N servers costs: python benchmarks/report.py 1000.

One server is dead, one serves a stale generation, one has expired. The results of each server are made when the
builder takes them, and parsed from JSON as those of a host are, so that the input is never held as a whole. Printed is
JSON: the seconds (with the making of the input), the peak memory of the process in MB (resource.getrusage, ru_maxrss),
the bytes of each file, and the lines of the terminal text.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import resource
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "playbooks" / "collections"))

from ansible_collections.esync.mesh.plugins.module_utils._connection.cause_table import CAUSES
from ansible_collections.esync.mesh.plugins.plugin_utils._report.builder import ReportBuilder
from ansible_collections.esync.mesh.plugins.plugin_utils._report.conclusions import View
from ansible_collections.esync.mesh.plugins.plugin_utils._report.findings import FAULT, Problem
from ansible_collections.esync.mesh.plugins.plugin_utils._report.formats import write_reports
from ansible_collections.esync.mesh.plugins.plugin_utils._report.model import Mesh, ReportServer, summary
from ansible_collections.esync.mesh.plugins.plugin_utils._report.terminal import terminal

NOW, FAR, PAST = "2026-11-23T19:00:00Z", "2027-11-20T19:00:00Z", "2026-11-21T07:30:00Z"
PRESENTED = ("none", "stranger", "stranger_same_subject", "server", "plain")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("servers", type=int, nargs="?", default=1000, help="how many (1000)")
    count = parser.parse_args().servers
    if count < 4:
        parser.error("give four servers or more")
    with tempfile.TemporaryDirectory(prefix="esync-report-") as folder:
        begin = time.monotonic()
        mesh = build(count)
        built = time.monotonic() - begin
        write_reports(mesh, Path(folder), NOW)
        lines = terminal(mesh)
        figures = {
            "servers": count,
            "pairs": mesh.expected,
            "seconds": round(time.monotonic() - begin, 2),
            "of_which_building": round(built, 2),
            # In KiB on Linux.
            "peak_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1),
            "peak_of": "ru_maxrss",
            "bytes": {path.name: path.stat().st_size for path in sorted(Path(folder).iterdir())},
            "terminal_lines": len(lines),
            "summary": summary(mesh),
        }
    print(json.dumps(figures, indent=1))
    return 0


def build(count: int) -> Mesh:
    """The mesh, from the results of one server after the other."""
    names = [f"server{number:04}" for number in range(1, count + 1)]
    dead, stale, expired = names[count // 3], names[count // 2], names[-2]
    servers = [
        ReportServer(
            name,
            f"10.{number // 62500}.{number // 250 % 250}.{number % 250 + 1}",
            8732,
            "unreachable" if name == dead else "ok",
            PAST if name == expired else FAR,
        )
        for number, name in enumerate(names)
    ]
    builder = ReportBuilder(servers, "temporary")
    present = [name for name in names if name != dead]
    for number, name in enumerate(present):
        problems = []
        if name == expired:
            remedy = "Run the regenerate playbook."
            problems.append(Problem(name, "expired", FAULT, None, "Its certificates have expired", "", remedy))
        view = View(
            {fingerprint(f"client {peer}"): str(peer) for peer in names if peer != name},
            {fingerprint(name): "current"},
            looked=True,
            served=fingerprint("old " + name if name == stale else name),
        )
        tried = [{"to": present[number - 1], "present": one, "verdict": "ok"} for one in PRESENTED]
        builder.add(name, results(name, present, stale, expired), tried, view=view, problems=problems)
    return builder.finish(name="esync of hosts.yml", servers_checked=True)


def results(source: str, present: list[str], stale: str, expired: str) -> Iterator[dict[str, Any]]:
    """What one server found of its peers; parsed, as it comes from the host."""
    for target in present:
        if target == source:
            continue
        found: dict[str, Any] = {
            "to": target,
            "site": None,
            "verdict": "ok",
            "cause": None,
            "detail": "",
            "remedy": "",
            "handshake_ms": 2.5 + (len(source) * hash(target)) % 40 / 10,
            "tls": "TLSv1.3",
            "server_fingerprint": fingerprint(target),
            "client_fingerprint": fingerprint(f"client {source}"),
        }
        if target == stale:
            text = f"{target} (10.0.0.9:8732) serves its previous certificate; {source} requires the current one."
            found.update(failed("stale_generation_served", text))
        elif target == expired:
            text = f"The certificate that {target} (10.0.0.27:8732) serves has expired; {source} saw it."
            found.update(failed("server_certificate_expired", text))
        elif source == expired:
            text = f"{target} refused the client certificate of {source}; it expired at {PAST}."
            found.update(failed("client_certificate_expired", text))
        # As parsed from JSON: no text is shared.
        yield json.loads(json.dumps(found))


def failed(cause: str, detail: str) -> dict[str, Any]:
    return {"verdict": "failed", "cause": cause, "detail": detail, "remedy": CAUSES[cause].remedy}


_FINGERPRINTS: dict[str, str] = {}


def fingerprint(text: str) -> str:
    if text not in _FINGERPRINTS:
        _FINGERPRINTS[text] = hashlib.sha256(text.encode()).hexdigest()
    return _FINGERPRINTS[text]


if __name__ == "__main__":
    sys.exit(main())
