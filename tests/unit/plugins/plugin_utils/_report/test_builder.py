# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One server after the other, in any order, each from a generator."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from probed_meshes import NAMES, all_ok, failed, ok, problem, servers, tried

from ansible_collections.esync.mesh.plugins.plugin_utils._report.builder import ReportBuilder, assemble
from ansible_collections.esync.mesh.plugins.plugin_utils._report.conclusions import View
from ansible_collections.esync.mesh.plugins.plugin_utils._report.model import ReportServer


def test_the_order_of_the_servers_does_not_matter_and_their_results_may_be_generators() -> None:
    results = {**all_ok(NAMES), "a": [failed("b"), ok("c")]}
    builder = ReportBuilder(servers(*NAMES), "temporary")
    for name in reversed(NAMES):
        builder.add(name, (one for one in results[name]))
    mesh = builder.finish()
    assert list(mesh.pairs) == list(assemble(servers(*NAMES), results, "temporary").pairs)
    assert [pair.label for pair in mesh.wrong] == ["a -> b"]


def test_only_one_result_is_held_at_a_time() -> None:
    alive = []

    class Result(dict):  # type: ignore[type-arg]
        def __init__(self, *values: Any) -> None:
            super().__init__(*values)
            alive.append(1)

        def __del__(self) -> None:
            alive.pop()

    def generate() -> Iterator[Result]:
        for number in range(1, 50):
            yield Result(ok(f"s{number}"))
            assert len(alive) <= 2

    builder = ReportBuilder(servers(*(f"s{number}" for number in range(50))), "temporary")
    builder.add("s0", generate())
    assert not alive
    assert builder.finish().count("ok") == 49


def test_the_view_of_the_called_server_may_come_after_the_result() -> None:
    refused = {**failed("b", "client_certificate_refused"), "client_fingerprint": "ff", "server_fingerprint": None}
    builder = ReportBuilder(servers("a", "b"), "temporary")
    builder.add("a", [refused])
    builder.add("b", [ok("a")], view=View({"ff": "a"}))
    (pair,) = builder.finish().wrong
    assert "The trust on the disk of b has this certificate" in pair.detail
    assert pair.remedy.startswith("Reload the service of b")


def test_state_version_and_problems_come_with_the_server() -> None:
    builder = ReportBuilder([ReportServer(name, "x", 1, "not_in_run") for name in NAMES], "temporary")
    builder.add("a", [ok("b")], state="ok", version="8.2", problems=[problem("a")])
    builder.add("b", [ok("a")], state="ok", version="8.3")
    mesh = builder.finish(problems=[problem("c")], name="esync of hosts")
    assert [server.state for server in mesh.servers] == ["ok", "ok", "not_in_run"]
    assert {pair.cause for pair in mesh.wrong} == {"version_mismatch"}
    assert [one.server for one in mesh.problems] == ["a", "c"]
    assert (mesh.expected, mesh.count("untested"), mesh.name) == (6, 4, "esync of hosts")


@pytest.mark.parametrize("key", ["verdict", "site"])
def test_what_is_no_pair_of_the_mesh_is_ignored_and_an_unknown_verdict_is_a_failure(key: str) -> None:
    strange = [ok("a"), ok("nobody"), {**ok("b"), key: "strange"}, {"verdict": "ok"}]
    mesh = assemble(servers("a", "b"), {"a": strange}, "temporary")
    assert [(pair.label, pair.verdict) for pair in mesh.pairs] == [
        ("a -> b", "failed" if key == "verdict" else "untested"),
        ("b -> a", "untested"),
    ]


def test_the_last_of_two_results_counts() -> None:
    mesh = assemble(servers("a", "b"), {"a": [failed("b"), ok("b")], "b": [ok("a"), failed("a")]}, "temporary")
    assert [pair.verdict for pair in mesh.pairs] == ["ok", "failed"]


def test_a_site_that_accepts_whom_it_must_refuse_fails_its_own_pair_only() -> None:
    some = [ReportServer("a", "x", 1, "ok"), ReportServer("b", "x", 1, "ok", sites=("shop", "news"))]
    results = {"a": [{**ok("b"), "site": "shop"}, {**ok("b"), "site": "news"}]}
    refusals = {"a": [{**one, "site": "shop"} for one in tried("b", none="failed")]}
    mesh = assemble(some, results, "nginx", refusals=refusals)
    assert [(pair.label, pair.cause) for pair in mesh.pairs][:2] == [
        ("a -> b [shop]", "not_refused"),
        ("a -> b [news]", None),
    ]
