# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a history says of the runs, how large it can get, and what is taken for one."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from probed_meshes import all_ok, servers

from ansible_collections.esync.mesh.plugins.module_utils._core.errors import EsyncError
from ansible_collections.esync.mesh.plugins.plugin_utils._report.builder import assemble
from ansible_collections.esync.mesh.plugins.plugin_utils._report.history import (
    BYTE_LIMIT,
    FAILING_LIMIT,
    RUN_LIMIT,
    History,
    after,
    parse,
    render,
)
from ansible_collections.esync.mesh.plugins.plugin_utils._report.model import Mesh, ReportServer

MONDAY, TUESDAY, WEDNESDAY = (f"2026-11-{day}T02:00:00Z" for day in (23, 24, 25))


def mesh(names: str = "abc", failing: Any = (), certificates: Any = "x", **states: str) -> Mesh:
    """Every pair works but those that fail, as ``ab``. :param states: of servers, ok unless they are here."""
    members = [replace(server, state=states.get(server.name, "ok")) for server in servers(*names)]
    here = [one.name for one in members if one.state == "ok"]
    results = {name: list(found) for name, found in all_ok(here).items()}
    for source, target in failing:
        results[source] = [
            {**one, "verdict": "failed", "cause": "tls_failed"} if one["to"] == target else one
            for one in results[source]
        ]
    found = assemble(members, results, "temporary")
    return replace(found, operation="verify", certificates=dict.fromkeys(names, certificates))


def last(*meshes: Mesh) -> History:
    known = History()
    for when, one in zip((MONDAY, TUESDAY, WEDNESDAY), meshes):
        known = parse(render(after(known, one, when)), "history.json")
    return known


def test_a_pair_keeps_the_time_since_when_it_fails_until_it_works() -> None:
    known = last(mesh(), mesh(failing=["ab"]), mesh(failing=["ab", "ba"]))
    assert known.failing == {("a", "b", ""): TUESDAY, ("b", "a", ""): WEDNESDAY}
    assert known.runs[1].began.names == ("a -> b",)
    assert known.runs[2].began.names == ("b -> a",)
    known = last(mesh(), mesh(failing=["ab"]), mesh())
    assert known.failing == {}
    assert known.runs[2].recovered.names == ("a -> b",)


def test_what_a_run_did_not_test_stays_as_it_was() -> None:
    known = last(mesh(failing=["ab"]), mesh(b="not_in_run"))
    assert known.failing == {("a", "b", ""): MONDAY}
    assert (known.runs[1].recovered.count, known.runs[1].not_in_run) == (0, 4)


def test_an_unreachable_server_fails_since_the_run_that_missed_it() -> None:
    known = last(mesh(), mesh(c="unreachable"))
    assert set(known.failing) == {("a", "c", ""), ("b", "c", ""), ("c", "a", ""), ("c", "b", "")}
    assert (known.runs[1].began.count, known.runs[1].untested) == (4, 4)


def test_servers_come_and_go_and_their_certificates_are_replaced() -> None:
    known = last(mesh("ab", failing=["ab"]), mesh("acd"), mesh("acd", certificates="y"))
    assert (known.runs[1].added.names, known.runs[1].removed.names) == (("c", "d"), ("b",))
    # What left the mesh did not recover, and whoever joined has replaced nothing.
    assert (known.runs[1].recovered.count, known.runs[1].replaced.count) == (0, 0)
    assert known.runs[2].replaced.names == ("a", "c", "d")
    assert not known.runs[0].added.count


def test_a_server_without_known_certificates_keeps_those_that_were_known() -> None:
    known = last(mesh(), mesh(certificates=""), mesh())
    assert [run.replaced.count for run in known.runs] == [0, 0, 0]


def test_it_stays_small_whatever_fails_and_however_often() -> None:
    names = [f"server-{number:04}.of-some-length.example" for number in range(1000)]
    members = [ReportServer(name, name, 8732, "unreachable") for name in names]
    dead = replace(assemble(members, {}, "temporary"), certificates=dict.fromkeys(names, "0123456789abcdef " * 2))
    known = History()
    for _run in range(RUN_LIMIT + 5):
        known = after(known, dead, MONDAY)
    assert (len(known.runs), len(known.failing), known.complete) == (RUN_LIMIT, FAILING_LIMIT, False)
    text = render(known)
    assert len(text) < 500_000 < BYTE_LIMIT
    assert parse(text, "history.json") == known
    # Of what is not remembered completely nobody can say that it is new.
    assert known.runs[-1].began.count == 0


GOOD = json.loads(render(last(mesh(), mesh(failing=["ab"]))))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "null",
        "{",
        "[" * 100_000,
        json.dumps({**GOOD, "version": 2}),
        json.dumps({**GOOD, "runs": GOOD["runs"] * RUN_LIMIT}),
        json.dumps({**GOOD, "runs": [{**GOOD["runs"][0], "ok": "6"}]}),
        json.dumps({**GOOD, "runs": [{**GOOD["runs"][0], "ok": True}]}),
        json.dumps({**GOOD, "runs": [{**GOOD["runs"][0], "at": "yesterday"}]}),
        json.dumps({**GOOD, "runs": [{**GOOD["runs"][0], "operation": "x" * 10_000}]}),
        json.dumps({**GOOD, "certificates": [1]}),
        json.dumps(
            {
                **GOOD,
                "failing": [
                    {"since": when, "pairs": [["a", f"{when}-{number}", ""] for number in range(FAILING_LIMIT)]}
                    for when in (MONDAY, TUESDAY)
                ],
            }
        ),
        json.dumps({**GOOD, "failing": [{"since": MONDAY, "pairs": [["a", "b"]]}]}),
        json.dumps({**GOOD, "failing": [{"since": MONDAY, "pairs": [["a", "b", None]]}]}),
    ],
)
def test_what_is_no_history_is_refused_by_its_path(text: str) -> None:
    with pytest.raises(EsyncError) as caught:
        parse(text, "/r/history.json")
    assert (caught.value.kind, caught.value.path) == ("control_node_file", "/r/history.json")


def test_there_is_none_at_first() -> None:
    assert parse(None, "history.json") == History()
