# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest
from probed_meshes import NAMES, all_ok, failed, ok, problem, ring, servers

from ansible_collections.esync.mesh.plugins.plugin_utils._report.builder import assemble
from ansible_collections.esync.mesh.plugins.plugin_utils._report.ending import verdict_of
from ansible_collections.esync.mesh.plugins.plugin_utils._report.outcome import broken, facts, fails, worse_than
from ansible_collections.esync.mesh.plugins.plugin_utils._report.terminal import findings

WORKS = assemble(servers(*NAMES), all_ok(NAMES), "temporary")
BROKEN = assemble(servers(*NAMES), {**all_ok(NAMES), "a": [failed("b"), ok("c")]}, "temporary")
NOTHING = assemble(servers(*NAMES, **dict.fromkeys("abc", "not_in_run")), {}, "temporary")


def test_what_fails_the_play() -> None:
    assert not fails(WORKS)
    assert fails(BROKEN)


def test_a_run_that_proved_nothing_fails_and_says_so() -> None:
    assert fails(NOTHING, must_prove=True) and not fails(NOTHING)
    *why, last = findings(NOTHING)
    assert last == "Nothing was proved: 0 of 6 pairs were tested."
    assert "without --limit" in " ".join(why)


def test_the_message_of_a_failure_does_not_repeat_what_stands_above_it() -> None:
    found = verdict_of(BROKEN, "all", "/report/mesh.html")
    assert found.failed and any("a -> b: connection_timed_out." in line for line in found.lines)
    assert found.message == "5 of 6 pairs ok, 1 failed. The report is /report/mesh.html"


@pytest.mark.parametrize(("before", "worse"), [(["a -> c"], 1), (["a -> b"], 0), ([], 1)])
def test_only_what_worked_before_can_be_worse(before: list[str], worse: int) -> None:
    assert len(worse_than(BROKEN, before)) == worse


def test_a_fault_of_a_server_counts_only_if_asked_for() -> None:
    mesh = assemble(servers(*NAMES), all_ok(NAMES), "temporary", problems=[problem("a")])
    assert not fails(mesh)
    assert fails(mesh, servers_count=True)


def test_a_wrongly_accepted_caller_fails_the_play_whatever_worked_before() -> None:
    mesh = assemble(servers(*NAMES), all_ok(NAMES), "temporary", refusals=ring(none="failed"))
    assert fails(mesh)
    assert [one["present"] for one in facts(mesh)["wrongly_accepted"]] == ["none"]


def test_what_does_not_work() -> None:
    assert broken(WORKS) == []
    assert broken(BROKEN) == ["a -> b"]
