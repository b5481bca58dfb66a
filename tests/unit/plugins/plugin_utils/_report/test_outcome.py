# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest
from probed_meshes import NAMES, all_ok, failed, ok, problem, ring, servers

from ansible_collections.esync.mesh.plugins.plugin_utils._report.builder import assemble
from ansible_collections.esync.mesh.plugins.plugin_utils._report.outcome import broken, facts, outcome_of, worse_than

WORKS = assemble(servers(*NAMES), all_ok(NAMES), "temporary")
BROKEN = assemble(servers(*NAMES), {**all_ok(NAMES), "a": [failed("b"), ok("c")]}, "temporary")
NOTHING = assemble(servers(*NAMES, **dict.fromkeys("abc", "not_in_run")), {}, "temporary")


def test_what_fails_the_play() -> None:
    assert not outcome_of(WORKS).failed
    assert outcome_of(BROKEN).failed
    assert "a -> b: connection_timed_out." in outcome_of(BROKEN).message


def test_a_run_that_proved_nothing_fails_and_says_so() -> None:
    assert outcome_of(NOTHING, must_prove=True).failed
    *why, last = outcome_of(NOTHING, must_prove=True).message.splitlines()
    assert last == "Nothing was proved: 0 of 6 pairs were tested."
    assert "without --limit" in " ".join(why)


@pytest.mark.parametrize(("before", "worse"), [(["a -> c"], 1), (["a -> b"], 0), ([], 1)])
def test_only_what_worked_before_can_be_worse(before: list[str], worse: int) -> None:
    assert len(worse_than(BROKEN, before)) == worse


def test_a_fault_of_a_server_counts_only_if_asked_for() -> None:
    mesh = assemble(servers(*NAMES), all_ok(NAMES), "temporary", problems=[problem("a")])
    assert not outcome_of(mesh).failed
    assert outcome_of(mesh, servers_count=True).failed


def test_a_wrongly_accepted_caller_fails_the_play_whatever_worked_before() -> None:
    mesh = assemble(servers(*NAMES), all_ok(NAMES), "temporary", refusals=ring(none="failed"))
    assert outcome_of(mesh).failed
    assert [one["present"] for one in facts(mesh)["wrongly_accepted"]] == ["none"]


def test_what_does_not_work() -> None:
    assert broken(WORKS) == []
    assert broken(BROKEN) == ["a -> b"]
