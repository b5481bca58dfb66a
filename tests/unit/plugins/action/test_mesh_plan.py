# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The plan of a stage, as an action; what it plans is tested without Ansible."""

from __future__ import annotations

from typing import Any

from .conftest import documented

SECRET = "Very-Secret-Passphrase"


def task(name: str, operation: str = "establish", **more: Any) -> dict[str, Any]:
    action = {"esync.mesh.mesh_plan": {"operation": operation}}
    return {"name": name, **action, "register": f"r_{name}", "run_once": True, "ignore_errors": True, **more}


def hosts(folder: Any, *names: str, **over: Any) -> dict[str, Any]:
    common = {"esync_ledger": str(folder / "ledger"), "esync_report_directory": str(folder / "report")}
    own = {name: {"esync_directory": str(folder / name), "esync_address": f"{name}.example"} for name in names}
    return {name: {**common, **one, **over.get(name, {})} for name, one in own.items()}


def test_a_stage_is_planned_for_the_group_whichever_hosts_are_in_the_run(play: Any, tmp_path: Any) -> None:
    over = {"b": {"esync_port": "{{ 9000 + 1 }}", "esync_pfx_passphrase": SECRET, "esync_regenerate": "a, c"}}
    over = {**over, "a": {"esync_regenerate": "a, c"}, "c": {"esync_regenerate": ["a", "c"]}}
    tasks = [
        task("plan"),
        task("wide", vars={"esync_valid_days": 17}),
        task("haproxy", vars={"esync_endpoint": "haproxy"}),
        task("own", vars={"esync_endpoint": "haproxy", "esync_endpoint_packages": ["haproxy27"]}),
        task("gate", "gate"),
        task("verify", "verify"),
        task("nobody", "remove"),
        task("unknown", vars={"esync_accept_changed": "c, delta"}),
        task("nearly", vars={"esync_prot": 5}),
    ]
    run = play(tasks, hosts(tmp_path, "a", "b", "c", **over), ["--limit", "a,b", "-vv"])
    found = run.results["a"]
    plan = found["r_plan"]
    assert documented("mesh_plan") <= set(plan)
    assert (plan["part"], plan["stage"], plan["batch"], plan["keep"], plan["check"]) == (
        "stage",
        "establish 1",
        0,
        False,
        False,
    )
    assert set(plan["visits"]) == {"a", "b"} and plan["visits"]["a"]["install"] is True
    states = {name: server["state"] for name, server in plan["state"]["servers"].items()}
    assert states == {"a": "ok", "b": "ok", "c": "not_in_run"}
    assert plan["state"]["servers"]["b"]["port"] == 9001
    assert plan["state"]["mesh"]["esync_regenerate"] == ["a", "c"]
    days = {
        host: [step["options"]["valid_days"] for step in visit["steps"] if step["step"] == "certificate_set"]
        for host, visit in found["r_wide"]["visits"].items()
    }
    assert days == {"a": [17], "b": [17]}
    # Of what listens there: nothing, the product's own package, the user's.
    packages = {host: visit["endpoint_packages"] for host, visit in found["r_haproxy"]["visits"].items()}
    assert packages == {"a": ["haproxy"], "b": ["haproxy"]}
    assert plan["visits"]["a"]["endpoint_packages"] == []
    own = found["r_own"]["visits"]["a"]["endpoint_packages"]
    assert own == ["haproxy27"]
    assert found["r_gate"]["part"] == "last" and found["r_gate"]["visits"]["a"]["steps"][0]["refuse"]
    # What only reads installs nothing.
    assert found["r_verify"]["visits"]["a"]["install"] is False
    assert found["r_nobody"]["error"]["kind"] == "missing_option"
    assert found["r_unknown"]["error"]["kind"] == "unknown_server" and "delta" in found["r_unknown"]["msg"]
    assert not (tmp_path / "ledger").exists() or not list((tmp_path / "ledger").glob("*.json"))
    assert SECRET not in run.output


def test_a_strategy_that_lets_hosts_run_ahead_is_refused_by_name(play: Any, tmp_path: Any) -> None:
    run = play([task("plan")], hosts(tmp_path, "a", "b"), strategy="free")
    assert run.results["a"]["r_plan"]["error"]["kind"] == "bad_strategy"
    assert "the strategy free" in run.results["a"]["r_plan"]["msg"]


def test_check_mode_and_serial(play: Any, tmp_path: Any) -> None:
    run = play([task("plan")], hosts(tmp_path, "a", "b"), ["--check"], serial=1)
    for host, other in ("ab", "ba"):
        plan = run.results[host]["r_plan"]
        assert plan["check"] is True and set(plan["visits"]) == {host}
        assert plan["state"]["servers"][other]["state"] == "not_in_run"
    assert not (tmp_path / "ledger").exists()
