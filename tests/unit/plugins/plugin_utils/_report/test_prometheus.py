# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import re

import pytest
from clustered_mesh import with_clusters

from ansible_collections.esync.mesh.plugins.plugin_utils._ledger.pending import PendingUpdate
from ansible_collections.esync.mesh.plugins.plugin_utils._report.builder import assemble
from ansible_collections.esync.mesh.plugins.plugin_utils._report.findings import FAULT, NOT_CHECKED, NOTE, Problem
from ansible_collections.esync.mesh.plugins.plugin_utils._report.model import ReportServer
from ansible_collections.esync.mesh.plugins.plugin_utils._report.prometheus import seconds_of, text

NOW = "2026-11-23T19:00:00Z"
SECONDS = 1795460400
SAMPLE = re.compile(r'^(?P<name>[a-z_]+)(?:\{(?P<labels>(?:[a-z]+="(?:[^"\\\n]|\\[\\"n])*",?)+)\})? (?P<value>-?\d+)$')


def mesh(names=("a", "b", "c"), dead=(), ends=None, pending=(), failing=()):
    servers = [
        ReportServer(
            name, "x", 1, "unreachable" if name in dead else "ok", (ends or {}).get(name, "2026-11-24T19:00:00Z")
        )
        for name in names
    ]
    alive = [name for name in names if name not in dead]
    results = {
        source: [
            {"to": target, "verdict": "failed" if (source, target) in failing else "ok"}
            for target in alive
            if target != source
        ]
        for source in alive
    }
    return assemble(servers, results, "temporary", pending)


def samples(content):
    """Name and labels to value; anything that is neither a sample nor a comment fails."""
    found = {}
    for line in content.splitlines():
        if not line.startswith("# "):
            match = SAMPLE.match(line)
            assert match, line
            key = (match["name"], match["labels"] or "")
            assert key not in found
            found[key] = int(match["value"])
    return found


def test_figures_for_each_server():
    content = text(mesh(dead=("c",), failing=(("a", "b"),), pending=[PendingUpdate("c", "trust", (), "changes")]), NOW)
    found = samples(content)
    assert found["esync_report_timestamp_seconds", ""] == SECONDS
    assert found["esync_servers", ""] == 3
    for server, counts in {"a": (0, 1, 1), "b": (1, 0, 1), "c": (0, 0, 2)}.items():
        for verdict, count in zip(("ok", "failed", "untested"), counts):
            assert found["esync_pairs", f'server="{server}",verdict="{verdict}"'] == count
    assert [found["esync_pending_updates", f'server="{name}"'] for name in "abc"] == [0, 0, 1]
    assert found["esync_certificate_expiry_timestamp_seconds", 'server="a"'] == SECONDS + 86400
    assert found["esync_certificate_expiry_seconds", 'server="a"'] == 86400


def test_every_family_is_described_once_before_its_samples():
    content = text(mesh(), NOW)
    families = re.findall(r"^# TYPE (\S+) gauge$", content, re.M)
    assert len(families) == len(set(families)) == 9
    assert families == re.findall(r"^# HELP (\S+) \S.*\.$", content, re.M)
    names = [line.split("{")[0].split(" ")[0] for line in content.splitlines() if not line.startswith("#")]
    assert list(dict.fromkeys(names)) == families
    assert content.endswith("\n")


def test_the_number_of_figures_grows_with_the_servers_not_with_the_pairs():
    small, large = (len(samples(text(mesh([f"s{one}" for one in range(count)]), NOW))) for count in (10, 40))
    assert large - small == 30 * ((small - 2) // 10)


def test_an_expired_certificate_and_an_unknown_one():
    found = samples(text(mesh(ends={"a": "2026-11-22T19:00:00Z", "b": None, "c": "soon"}), NOW))
    assert found["esync_certificate_expiry_seconds", 'server="a"'] == -86400
    assert {labels for name, labels in found if name == "esync_certificate_expiry_timestamp_seconds"} == {'server="a"'}


def test_labels_are_escaped():
    found = samples(text(mesh(names=('q"uote', "back\\slash", "line\nbreak")), NOW))
    labels = {labels for name, labels in found if name == "esync_pending_updates"}
    assert labels == {'server="q\\"uote"', 'server="back\\\\slash"', 'server="line\\nbreak"'}


def verified(content):
    return {labels: value for (name, labels), value in samples(content).items() if name.startswith("esync_last")}


def test_when_a_server_was_last_verified_is_remembered():
    names = ("a", "b", 'c"\\')
    first = text(mesh(names), NOW)
    assert verified(first) == {'server="a"': SECONDS, 'server="b"': SECONDS, 'server="c\\"\\\\"': SECONDS}
    second = text(mesh(names, dead=names[2:]), "2026-11-23T20:00:00Z", first)
    assert verified(second) == {
        'server="a"': SECONDS + 3600,
        'server="b"': SECONDS + 3600,
        'server="c\\"\\\\"': SECONDS,
    }
    third = text(mesh(names, dead=names), "2026-11-23T21:00:00Z", second)
    assert verified(third) == verified(second)
    assert 'c\\"' not in str(verified(text(mesh(("a", "b")), "2026-11-23T22:00:00Z", third)))


def test_never_verified_is_no_figure():
    assert verified(text(mesh(dead=("a", "b", "c")), NOW)) == {}


@pytest.mark.parametrize(
    "before",
    [
        "\x00\ufffd",
        'esync_last_verified_timestamp_seconds{server="c"} 12x',
        'esync_last_verified_timestamp_seconds{server="c"} 1\x0b2',
        'esync_last_verified_timestamp_seconds{server="c"',
    ],
)
def test_a_damaged_file_of_before_is_no_memory(before):
    assert 'server="c"' not in verified(text(mesh(dead=("c",)), NOW, before))


def test_seconds():
    assert seconds_of("1970-01-02T00:00:01Z") == 86401
    assert seconds_of(None) is None
    assert seconds_of("tomorrow") is None


def test_problems_of_servers_and_who_accepted_whom_it_must_refuse():
    servers = [ReportServer(name, "x", 1, "ok") for name in "abc"]
    problems = [
        Problem(server, "expired", severity, None, "Cause", "", "Remedy.")
        for server, severity in (("a", FAULT), ("a", NOTE), ("a", NOT_CHECKED), ("b", NOT_CHECKED))
    ]
    tried = [{"to": "c", "present": present, "verdict": "failed"} for present in ("none", "plain")]
    tried.append({"to": "c", "present": "stranger", "verdict": "ok"})
    found = samples(text(assemble(servers, {}, "temporary", problems=problems, refusals={"b": tried}), NOW))
    assert [found["esync_server_problems", f'server="{name}"'] for name in "abc"] == [2, 0, 0]
    assert [found["esync_wrongly_accepted_callers", f'server="{name}"'] for name in "abc"] == [0, 0, 2]


def test_clusters_by_the_server_that_calls_them():
    found = samples(text(with_clusters(), NOW))
    calls = {key[1]: value for key, value in found.items() if key[0] == "esync_cluster_connections" and value}
    assert calls == {
        'server="a",verdict="ok"': 1,
        'server="a",verdict="failed"': 1,
        'server="b",verdict="untested"': 1,
        'server="c",verdict="untested"': 1,
    }
    assert "esync_cluster" not in text(mesh(), NOW)
