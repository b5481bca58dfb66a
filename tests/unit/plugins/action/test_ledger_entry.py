# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json

from .conftest import documented


def record(register, **options):
    """A task that records something of a server."""
    task = {"name": register, "esync.mesh.ledger_entry": options, "register": register, "ignore_errors": True}
    return {**task, "check_mode": True} if register.endswith("_planned") else task


def test_the_life_of_a_record(play, tmp_path, generation):
    ledger = str(tmp_path / "ledger")
    shown = {"ledger": ledger, "name": "web-1", "address": "10.0.0.1", "port": 9000}
    first = {**shown, "generations": [generation("web-1")]}
    rebuilt = {**shown, "generations": [generation("web-1", number=2)]}
    rotating = {**shown, "generations": [generation("web-1", number=2), generation("web-1", "next", 3)]}
    run = play(
        [
            record("r_nothing", ledger=ledger, name="web-1"),
            record("r_nowhere", ledger=ledger, name="web-1", generations=first["generations"]),
            record("r_first_planned", **first),
            record("r_first", **first),
            record("r_again", **first),
            record("r_short", ledger=ledger, name="web-1", generations=first["generations"]),
            record("r_changed", **rebuilt),
            record("r_accepted", **rebuilt, accept_changed=True),
            record("r_unannounced", **rotating),
            record("r_announced", **rotating, rotation=True),
            record("r_struck_planned", ledger=ledger, name="web-1", state="distrusted"),
            record("r_struck", ledger=ledger, name="web-1", state="distrusted"),
            record("r_back", **rebuilt),
            record("r_removed", ledger=ledger, name="web-1", state="removed"),
            record("r_removed_again", ledger=ledger, name="web-1", state="removed"),
            record("r_stranger", ledger=ledger, name="web-2", state="removed"),
            record("r_bad_name", **{**first, "name": "../web-1"}),
            record("r_bad_facts", **{**first, "generations": [{**generation("web-1"), "state": "x"}]}),
            {"name": "Missing options", **record("r_missing", name="web-1")},
        ],
        {"a": {}},
        ["--diff"],
    )
    assert run.code == 0, run.output
    found = run.results["a"]

    def kind(register):
        assert found[register]["failed"]
        return found[register]["error"]["kind"]

    path = f"{ledger}/web-1.json"
    assert not found["r_nothing"]["changed"]
    assert kind("r_nowhere") == "missing_option"
    assert found["r_first_planned"]["changed"] and found["r_first"]["changed"]
    assert found["r_first_planned"]["diff"] == found["r_first"]["diff"]
    assert found["r_first"]["diff"]["before"] == ""
    assert generation("web-1")["server"]["fingerprint"] in found["r_first"]["diff"]["after"]
    assert "BEGIN" not in found["r_first"]["diff"]["after"]
    assert found["r_first"]["path"] == path
    assert documented("ledger_entry") <= set(found["r_first"])
    assert not found["r_again"]["changed"] and not found["r_short"]["changed"]
    assert kind("r_changed") == "changed_certificate"
    for number in (1, 2):
        assert generation("web-1", number=number)["server"]["fingerprint"] in found["r_changed"]["msg"]
    assert "esync_accept_changed=web-1" in found["r_changed"]["msg"]
    assert found["r_accepted"]["changed"]
    assert not found["r_unannounced"]["changed"]
    assert found["r_announced"]["changed"]
    assert found["r_struck_planned"]["changed"] and found["r_struck"]["changed"]
    assert kind("r_back") == "distrusted_certificate"
    assert found["r_removed"]["changed"] and not found["r_removed_again"]["changed"]
    assert not found["r_stranger"]["changed"]
    assert found["r_stranger"]["warnings"] == [
        "The ledger does not know web-2, so there is nothing to take back. It knows web-1."
    ]
    assert kind("r_bad_name") == "bad_name"
    assert kind("r_bad_facts") == "damaged_ledger"
    assert found["r_missing"]["failed"] and "ledger" in found["r_missing"]["msg"]
    data = json.loads((tmp_path / "ledger" / "web-1.json").read_text())
    assert (data["address"], data["port"], data["generations"]) == ("10.0.0.1", 9000, [])
    assert data["removed_at"]
    struck = {one["fingerprint"] for one in data["distrusted"]}
    shown_last = [generation("web-1", number=2), generation("web-1", "next", 3)]
    assert struck == {one[role]["fingerprint"] for one in shown_last for role in ("server", "client")}
    assert [one.name for one in (tmp_path / "ledger").iterdir()] == ["web-1.json"]
    assert not (tmp_path / "web-1.json").exists()


def test_hosts_record_at_once(play, tmp_path, generation):
    hosts = {
        f"web-{number}": {"shown": [generation(f"web-{number}")], "ansible_host": f"10.0.0.{number}"}
        for number in range(1, 6)
    }
    task = record(
        "r_shown",
        ledger=str(tmp_path / "ledger"),
        name="{{ inventory_hostname }}",
        address="{{ ansible_host }}",
        port="{{ 8732 }}",
        generations="{{ shown }}",
    )
    run = play([task], hosts, ["--forks", "5"])
    assert run.code == 0, run.output
    for name, variables in hosts.items():
        assert run.results[name]["r_shown"]["changed"]
        data = json.loads((tmp_path / "ledger" / f"{name}.json").read_text())
        assert (data["name"], data["address"], data["port"]) == (name, variables["ansible_host"], 8732)
        assert data["generations"][0]["server"] == variables["shown"][0]["server"]
