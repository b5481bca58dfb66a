# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import getpass
import os
import re
import socket

from .conftest import documented


def generation(state, number):
    """A generation as certificate_info returns it, as far as it matters here."""
    return {"state": state, "id": number, "client": {"fingerprint": f"{state} client"}}


CURRENT = [generation("current", "20260101T000000Z-00000000")]
NEXT = [*CURRENT, generation("next", "20261101T000000Z-00000001-20261101T000000Z")]
PLACE = f"{getpass.getuser()}@{socket.gethostname()}"
DEAD = {"holder": f"{PLACE} process 999999999 started 1", "since": "2026-11-01T00:00:00Z", "id": "20261101T000000Z"}
ELSEWHERE = {**DEAD, "holder": "root@elsewhere process 1 started 1"}


def members(*hosts):
    """Members as mesh_members returns them; a server's name is not its host's."""
    return [{"name": f"server-{host}", "host": host, "address": host, "port": 8732} for host in hosts]


def planned(register, *hosts, **options):
    """A task that plans a rotation of these."""
    task = {"esync.mesh.rotation_plan": {"members": members(*hosts), **options}, "register": register}
    return {"name": register, **task, "ignore_errors": True, "run_once": True}


def test_a_plan_from_what_the_hosts_registered(play):
    hosts = {
        "a": {"__esync_set": {"generations": CURRENT, "due": [], "rotation": None}},
        "b": {"__esync_set": {"generations": CURRENT, "due": ["expires_soon"], "rotation": None}},
        "c": {"__esync_set": {"unreachable": True, "generations": CURRENT}},
        "d": {},
        "e": {"other": {"generations": CURRENT, "due": ["expired"]}},
        "f": {"__esync_set": {"generations": NEXT, "due": [], "rotation": DEAD}},
        "g": {"__esync_set": {"generations": NEXT, "due": [], "rotation": ELSEWHERE}},
        "h": {"__esync_set": {"generations": [], "due": []}},
        # What they were handed by f.
        "i": {"__esync_set": {"generations": CURRENT, "handed": {"entries": [{"fingerprint": "current client"}]}}},
        "k": {"__esync_set": {"generations": CURRENT, "handed": {"entries": [{"fingerprint": "next client"}]}}},
    }
    run = play(
        [
            planned("r_all", "a", "b"),
            planned("r_due", "a", "b", only_due=True),
            planned("r_named", "a", "b", regenerate=["server-a"]),
            planned("r_unknown", "a", "b", regenerate=["a", "z"]),
            planned("r_offline", "a", "c", "d"),
            planned("r_deferred", "a", "c", "d", offline="defer"),
            planned("r_variable", "e", variable="other", only_due=True),
            planned("r_continued", "a", "f"),
            planned("r_locked", "a", "g"),
            planned("r_taken", "a", "g", take_over=True),
            planned("r_compromised", "a", "b", compromised=["server-a"]),
            planned("r_new", "a", "h"),
            planned("r_handed", "f", "i"),
            planned("r_pinned", "f", "k"),
            planned("r_checked", "a", "b") | {"check_mode": True},
        ],
        hosts,
    )
    assert run.code == 0, run.output
    found = run.results["a"]

    def errors(register):
        assert found[register]["failed"]
        told = found[register].get("errors") or [found[register]["error"]]
        return {(one["server"], one["kind"]) for one in told}

    plan = found["r_all"]
    assert not plan["changed"]
    assert plan["make"] == plan["rotating"] == ["server-a", "server-b"]
    assert (plan["offline"], plan["take_over"]) == ([], False)
    assert re.fullmatch(r"\d{8}T\d{6}Z", plan["id"])
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", plan["since"])
    assert re.fullmatch(re.escape(PLACE) + r" process \d+ started [1-9]\d*", plan["holder"])
    assert documented("rotation_plan") <= set(plan)
    # The playbook's own process, not the one that runs a task and ends with it.
    assert {found[one]["holder"] for one in ("r_due", "r_named", "r_checked")} == {plan["holder"]}
    assert f"process {os.getpid()} " not in plan["holder"]
    assert found["r_due"]["make"] == ["server-b"]
    assert "server-b: make the next certificates (expires_soon)" in found["r_due"]["lines"][0]
    assert found["r_named"]["make"] == ["server-a"]
    assert errors("r_unknown") == {("a", "unknown_server"), ("z", "unknown_server")}
    assert errors("r_offline") == {("server-c", "offline"), ("server-d", "offline")}
    assert (found["r_deferred"]["make"], found["r_deferred"]["offline"]) == (["server-a"], ["server-c", "server-d"])
    assert found["r_variable"]["make"] == ["server-e"]
    assert (found["r_continued"]["id"], found["r_continued"]["since"]) == (DEAD["id"], DEAD["since"])
    assert found["r_continued"]["rotating"] == ["server-a", "server-f"]
    assert errors("r_locked") == {("server-g", "locked")}
    assert found["r_taken"]["take_over"] is True
    assert found["r_compromised"]["make"] == []
    assert found["r_handed"]["changes_model"]
    assert errors("r_pinned") == {("server-f", "pending_and_model")}
    assert errors("r_new") == {("server-h", "not_established")}
    assert found["r_checked"]["make"] == plan["make"]
