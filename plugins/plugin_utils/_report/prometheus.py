# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""``mesh.prom``: figures for the textfile collector of Prometheus' node_exporter, per server, never per pair.

The format: https://prometheus.io/docs/instrumenting/exposition_formats/#text-based-format
"""

from __future__ import annotations

import re
from calendar import timegm
from collections import Counter
from collections.abc import Iterable, Mapping
from time import strptime

from ansible_collections.esync.mesh.plugins.plugin_utils._report.model import CODES, FAILED, OK, OUTSIDE, UNTESTED, Mesh
from ansible_collections.esync.mesh.plugins.plugin_utils._report.problem_kinds import NOT_CHECKED

LAST_VERIFIED = "esync_last_verified_timestamp_seconds"
_SAMPLE = re.compile(rf'{LAST_VERIFIED}\{{server="(?P<server>(?:[^"\\\n]|\\["\\n])*)"\}} (?P<value>[0-9]{{1,12}})\Z')


def text(mesh: Mesh, generated_at: str, before: str = "") -> str:
    """The content of ``mesh.prom``.

    :param generated_at: UTC.
    :param before: what the file held until now: when a server that proves nothing now last did.
    """
    now = seconds_of(generated_at) or 0
    names = [server.name for server in mesh.servers]
    pairs = _pairs(mesh)
    pending = Counter(update.server for update in mesh.pending)
    problems = Counter(problem.server for problem in mesh.problems if problem.severity != NOT_CHECKED)
    accepted = Counter(refusal.target for refusal in mesh.wrongly_accepted)
    calls = Counter((one.source, one.verdict) for one in mesh.connections)
    callers = {one.source for one in mesh.connections}
    ends = {server.name: seconds_of(server.expires_at) for server in mesh.servers}
    expiry = {name: end for name, end in ends.items() if end is not None}
    families = [
        _family("esync_report_timestamp_seconds", "When this report was made.", [("", now)]),
        _family("esync_servers", "How many servers the mesh has.", [("", len(names))]),
        _family(
            "esync_pairs",
            "How many other servers, and sites of theirs, this one called, by verdict.",
            [
                (_labels(server=name, verdict=verdict), pairs[name, verdict])
                for name in names
                for verdict in (OK, FAILED, UNTESTED)
            ],
        ),
        _family(
            LAST_VERIFIED,
            "When this server last proved a pair as the caller.",
            [(_labels(server=name), when) for name, when in _verified(names, pairs, now, before).items()],
        ),
        _family(
            "esync_certificate_expiry_timestamp_seconds",
            "When the first of this server's current certificates ends.",
            [(_labels(server=name), end) for name, end in expiry.items()],
        ),
        _family(
            "esync_certificate_expiry_seconds",
            "How long the first of this server's current certificates lasted when the report was made.",
            [(_labels(server=name), end - now) for name, end in expiry.items()],
        ),
        _family(
            "esync_pending_updates",
            "How many changes this server has still to receive.",
            [(_labels(server=name), pending[name]) for name in names],
        ),
        _family(
            "esync_server_problems",
            "How many problems of this server itself the report lists, without what could not be checked.",
            [(_labels(server=name), problems[name]) for name in names],
        ),
        _family(
            "esync_wrongly_accepted_callers",
            "How many callers this server accepted that it must refuse.",
            [(_labels(server=name), accepted[name]) for name in names],
        ),
        _family(
            "esync_cluster_connections",
            "How many clusters this server called through their load balancers, by verdict.",
            [
                (_labels(server=name, verdict=verdict), calls[name, verdict])
                for name in names
                for verdict in (OK, FAILED, UNTESTED)
                if name in callers
            ],
        ),
    ]
    return "".join(families)


def _pairs(mesh: Mesh) -> dict[tuple[str, str], int]:
    """Caller and verdict to the number of pairs."""
    found = {}
    for number, server in enumerate(mesh.servers):
        row = mesh.pairs.row(number)
        counts = {verdict: row.count(code.encode()) for verdict, code in CODES.items()}
        counts[UNTESTED] += row.count(OUTSIDE.encode())
        found.update({(server.name, verdict): count for verdict, count in counts.items()})
    return found


def seconds_of(moment: str | None) -> int | None:
    """Seconds since 1970 of a time such as ``2027-11-23T19:00:00Z``; None if it is none."""
    try:
        return timegm(strptime(moment or "", "%Y-%m-%dT%H:%M:%SZ"))
    except ValueError:
        return None


def _verified(names: Iterable[str], pairs: Mapping[tuple[str, str], int], now: int, before: str) -> dict[str, int]:
    matches = (_SAMPLE.match(line) for line in before.split("\n"))
    earlier = {match["server"]: int(match["value"]) for match in matches if match}
    found = {}
    for name in names:
        # One pair is enough: with all of them one dead server would make every other one look unverified.
        if pairs.get((name, OK)):
            found[name] = now
        elif _escaped(name) in earlier:
            found[name] = earlier[_escaped(name)]
    return found


def _family(name: str, help_text: str, samples: Iterable[tuple[str, int]]) -> str:
    lines = [f"{name}{labels} {value}\n" for labels, value in samples]
    return "".join([f"# HELP {name} {help_text}\n# TYPE {name} gauge\n", *lines]) if lines else ""


def _labels(**labels: str) -> str:
    return "{" + ",".join(f'{key}="{_escaped(value)}"' for key, value in labels.items()) + "}"


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
