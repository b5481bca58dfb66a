# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json

from ansible_collections.esync.mesh.plugins.plugin_utils._ledger.records import (
    Ledger,
    PresentedSets,
    read_generations,
    recorded,
)

from .conftest import documented

NOW = "2026-11-23T12:00:00Z"
MEMBERS = [
    {"name": name, "host": f"host-{name}", "address": f"10.0.0.{number}", "port": 8732}
    for number, name in enumerate("abc", 1)
]


def remember(folder, generation, names="abc"):
    """A ledger that knows these servers."""
    ledger = Ledger(folder)
    for name in names:
        shown = read_generations([generation(name), generation(name, "next", 2)], "x")
        with ledger.lock():
            ledger.write(recorded(None, PresentedSets(name, "10.0.0.1", 8732, shown, rotation=True), NOW))
    return ledger


def trusting(register, members, **options):
    """A task that lets server a trust these members."""
    options.setdefault("trust", {})
    options["members"] = [one for one in MEMBERS if one["name"] in members]
    task = {"name": register, "esync.mesh.peer_trust": {"name": "a", **options}, "register": register}
    task["ignore_errors"] = True
    return {**task, "check_mode": True} if register.endswith("_planned") else task


def test_the_life_of_a_trust(play, tmp_path, generation):
    ledger = remember(tmp_path / "ledger", generation)
    directory = tmp_path / "esync"
    common = {"ledger": str(tmp_path / "ledger"), "directory": str(directory)}
    # Where this leads nobody may write, so a remote call would fail.
    nowhere = {**common, "directory": "/proc/nowhere"}
    damaged = f"{directory}/trusted/b_SyncServer.cer"
    run = play(
        [
            trusting("r_planned", "ab", **common),
            {"name": "Look", "ansible.builtin.stat": {"path": str(directory)}, "register": "r_none"},
            trusting("r_first", "ab", **common),
            trusting("r_same", "ab", **nowhere, trust="{{ r_first.trust }}"),
            {"name": "Damage", "ansible.builtin.copy": {"content": "x", "dest": damaged, "mode": "0644"}},
            trusting("r_more", "abc", **common, trust="{{ r_first.trust }}"),
            trusting("r_kept", "ab", **nowhere, trust="{{ r_more.trust }}"),
            trusting("r_shrunk_planned", "ab", **nowhere, trust="{{ r_more.trust }}", allow_shrink=True),
            trusting("r_shrunk", "ab", **common, trust="{{ r_more.trust }}", allow_shrink=True),
            trusting("r_empty", "a", **common, trust="{{ r_shrunk.trust }}", allow_shrink=True),
            trusting("r_broken", "ab", **common, trust="{{ r_shrunk.trust | combine({'digest': ''}) }}"),
            trusting("r_failing", "abc", **nowhere, trust="{{ r_shrunk.trust }}"),
            trusting("r_served", "abc", **common, trust="{{ r_shrunk.trust }}", web_roots=[str(tmp_path)]),
            trusting("r_gone", "a", **common, trust="{{ r_shrunk.trust }}", distrust=["b"]),
            trusting("r_alone", "a", **nowhere, trust={}),
        ],
        {"host-a": {}},
        ["--diff"],
    )
    assert run.code == 0, run.output
    found = run.results["host-a"]
    files = {f"b_Sync{role}{state}.cer" for role in ("Server", "Client") for state in ("", ".next")}

    assert found["r_planned"]["changed"] and not found["r_none"]["stat"]["exists"]
    assert set(found["r_planned"]["added"]) == set(found["r_first"]["added"]) == files
    assert found["r_first"]["changed"]
    assert documented("peer_trust") <= set(found["r_first"])
    assert found["r_first"]["digest"] == found["r_planned"]["digest"] == found["r_first"]["trust"]["digest"]
    [peer] = found["r_first"]["peers"]
    expected = {generation("b")["server"]["fingerprint"]: "current"}
    expected[generation("b", "next", 2)["server"]["fingerprint"]] = "next"
    assert peer == {**MEMBERS[1], "expected": expected, "site": None, "server_name": None}
    assert found["r_first"]["known"][generation("c")["client"]["fingerprint"]] == "c client current"
    assert found["r_first"]["diff"]["before"] == ""
    assert len(found["r_first"]["diff"]["after"].splitlines()) == 4
    assert not found["r_same"]["changed"]
    assert {key: found["r_same"][key] for key in ("digest", "peers")} == {
        key: found["r_first"][key] for key in ("digest", "peers")
    }
    # A file that was damaged after it had been read is sent again.
    assert found["r_more"]["changed"], found["r_more"]
    assert {name[0] for name in found["r_more"]["added"]} == {"c"}
    assert (found["r_kept"]["changed"], found["r_kept"]["kept"]) == (False, ["c"])
    assert found["r_shrunk_planned"]["changed"]
    assert {name[0] for name in found["r_shrunk"]["removed"]} == {"c"}
    assert found["r_shrunk"]["trust"] == found["r_first"]["trust"]
    assert found["r_empty"]["error"]["kind"] == "empty_trust"
    # Not whole: written anew, though no entry differs.
    assert found["r_broken"]["changed"]
    assert found["r_failing"]["failed"] and "/proc/nowhere" in found["r_failing"]["msg"]
    assert found["r_served"]["error"]["kind"] == "web_root"
    assert found["r_gone"]["changed"] and found["r_gone"]["trust"]["entries"] == []
    assert (found["r_alone"]["changed"], found["r_alone"]["peers"]) == (False, [])
    index = json.loads((directory / "trusted" / "trust.json").read_text())
    assert index["entries"] == []
    assert "PRIVATE" not in run.output
    # What it received is noted, for its debts are computed from that; the failed task is not taken for a delivery.
    assert ledger.read("a").trust == {}
    assert ledger.read("b").trust is None


def test_members_whose_certificates_are_not_known_yet_are_owed(play, tmp_path, generation):
    remember(tmp_path / "ledger", generation, "ab")
    run = play(
        [trusting("r_trust", "abc", ledger=str(tmp_path / "ledger"), directory=str(tmp_path / "esync"))], {"host-a": {}}
    )
    assert run.code == 0, run.output
    found = run.results["host-a"]["r_trust"]
    assert found["owed"] == ["c"]
    assert [(one["name"], len(one["expected"])) for one in found["peers"]] == [("b", 2), ("c", 0)]


def test_a_peer_with_sites_comes_once_for_each(play, tmp_path, generation):
    remember(tmp_path / "ledger", generation)
    sites = [
        {"name": "shop", "port": 8443, "server_name": "shop.example"},
        {"name": "news", "port": 1, "server_name": None},
    ]
    options = {"ledger": str(tmp_path / "ledger"), "directory": str(tmp_path / "esync"), "trust": {}, "name": "a"}
    options["members"] = [MEMBERS[0], {**MEMBERS[1], "sites": sites}]
    run = play(
        [{"name": "Plan", "esync.mesh.peer_trust": options, "register": "r_sites", "check_mode": True}], {"a": {}}
    )
    assert run.code == 0, run.output
    peers = run.results["a"]["r_sites"]["peers"]
    places = [(peer["name"], peer["site"], peer["port"], peer["server_name"], len(peer["expected"])) for peer in peers]
    assert places == [("b", "shop", 8443, "shop.example", 2), ("b", "news", 1, None, 2)]
