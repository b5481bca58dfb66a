# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import os

from ansible_collections.esync.mesh.plugins.plugin_utils._ledger.records import Ledger

PASSPHRASE = "the passphrase of the mesh: Kq8"
HOSTS = {"a": {}, "b": {}}
MEMBERS = [{"name": name, "host": name, "address": "127.0.0.1", "port": number} for number, name in enumerate("ab", 1)]


def tasks(folder, **more):
    """What the role does, for two members on this machine."""
    common = {
        "directory": f"{folder}/{{{{ inventory_hostname }}}}",
        "name": "{{ inventory_hostname }}",
    }
    sets = {"key_type": "ecdsa", "formats": ["pfx"], "pfx_passphrase": PASSPHRASE}
    shared = {**common, "members": MEMBERS, "ledger": f"{folder}/ledger", "pfx_passphrase": PASSPHRASE}
    return {
        "make": [
            {
                "name": "Make",
                "esync.mesh.certificate_set": {**common, **sets},
                "register": "__esync_set",
                "check_mode": False,
            },
            {
                "name": "Record",
                "esync.mesh.ledger_entry": {
                    **common,
                    "ledger": f"{folder}/ledger",
                    "address": "127.0.0.1",
                    "port": 1,
                    "generations": "{{ __esync_set.generations }}",
                },
                "check_mode": False,
            },
        ],
        "fetch": {
            "name": "Fetch",
            "esync.mesh.shared_client_sets": {**shared, "state": "fetched", "hosts": ["a", "b"]},
            "register": "__esync_fetched",
            "no_log": True,
            **more,
        },
        "take": {"name": "Take", "esync.mesh.shared_client_sets": {**shared}, "register": "__esync_handed"},
        "withdraw": {
            "name": "Withdraw",
            "esync.mesh.shared_client_sets": {**shared, "state": "withdrawn"},
            "register": "__esync_handed",
        },
        "destroy": {
            "name": "Destroy",
            "esync.mesh.shared_client_sets": {**shared, "state": "absent"},
            "register": "__esync_handed",
        },
    }


def kept(task, name):
    """A task and another that keeps its result under a name that the test is given."""
    copy = {
        "name": "Keep",
        "ansible.builtin.set_fact": {name: f"{{{{ {task['register']} }}}}"},
    }
    probe = {"name": "Show", "ansible.builtin.debug": {"var": name}, "register": f"r_{name}"}
    return [task, copy, probe]


def test_the_life_of_shared_client_sets(play, tmp_path, monkeypatch):
    monkeypatch.setenv("ANSIBLE_PIPELINING", "1")
    one = tasks(tmp_path)
    run = play(
        [
            *one["make"],
            {**one["take"], "check_mode": True},
            *kept(one["take"], "owed"),
            # Nobody but the hosts that are named is looked at, so that what others lack is not fetched in vain.
            {
                **one["fetch"],
                "esync.mesh.shared_client_sets": {**one["fetch"]["esync.mesh.shared_client_sets"], "hosts": ["a"]},
            },
            {"name": "Count", "ansible.builtin.set_fact": {"alone": "{{ __esync_fetched.sets | length }}"}},
            {"name": "Show", "ansible.builtin.debug": {"var": "alone"}, "register": "r_alone"},
            one["fetch"],
            {"name": "Count", "ansible.builtin.set_fact": {"fetched": "{{ __esync_fetched.sets | length }}"}},
            {"name": "Show", "ansible.builtin.debug": {"var": "fetched"}, "register": "r_fetched"},
            *kept(one["take"], "taken"),
            one["fetch"],
            {"name": "Count", "ansible.builtin.set_fact": {"again": "{{ __esync_fetched.sets | length }}"}},
            {"name": "Show", "ansible.builtin.debug": {"var": "again"}, "register": "r_again"},
            *kept(one["take"], "same"),
            *kept(one["withdraw"], "withdrawn"),
            *kept(one["destroy"], "destroyed"),
            *kept(one["destroy"], "gone"),
        ],
        hosts=HOSTS,
        arguments=["-vvvv", "--diff"],
    )
    assert run.code == 0, run.output
    found = {key.removeprefix("r_"): value[key.removeprefix("r_")] for key, value in run.results["a"].items()}
    assert found["owed"]["owed"] == ["b"]
    assert not found["owed"]["changed"]
    assert (found["alone"], found["fetched"], found["again"]) == (0, 1, 0)
    assert run.results["b"]["r_alone"]["alone"] == 1
    assert found["taken"]["changed"]
    assert found["taken"]["added"] == ["b_SyncClient"]
    (entry,) = found["taken"]["handed"]["entries"]
    (known,) = [one for one in Ledger(tmp_path / "ledger").read_all() if one.name == "b"]
    assert entry["fingerprint"] == known.generations[0].certificates["client"]["fingerprint"]
    assert not found["same"]["changed"]
    assert found["withdrawn"]["changed"]
    assert found["withdrawn"]["handed"]["withdrawn"]
    assert found["destroyed"]["changed"]
    assert found["destroyed"]["handed"] is None
    assert not found["gone"]["changed"]
    assert not os.path.lexists(tmp_path / "a" / "handed")
    assert PASSPHRASE not in run.output
    assert "PRIVATE KEY" not in run.output


def test_what_would_write_or_print_the_sets_is_refused(play, tmp_path, monkeypatch):
    one = tasks(tmp_path)
    show = {"name": "Show", "ansible.builtin.debug": {"var": "__esync_fetched.problem"}, "register": "r_problem"}
    steps = [*one["make"], one["fetch"], show]
    said = {}
    for setting in ("ANSIBLE_KEEP_REMOTE_FILES", "ANSIBLE_DEBUG"):
        with monkeypatch.context() as patched:
            patched.setenv(setting, "1")
            patched.setenv("ANSIBLE_PIPELINING", "1")
            said[setting] = play(steps, hosts=HOSTS).results["a"]["r_problem"]["__esync_fetched.problem"]
    assert "pipelining" in said["ANSIBLE_KEEP_REMOTE_FILES"]
    assert "ANSIBLE_DEBUG" in said["ANSIBLE_DEBUG"]
    monkeypatch.setenv("ANSIBLE_PIPELINING", "0")
    run = play([*steps, {**one["fetch"], "no_log": False}, {**show, "register": "r_printed"}], hosts=HOSTS)
    assert "without pipelining" in run.results["a"]["r_problem"]["__esync_fetched.problem"]
    assert "no_log" in run.results["a"]["r_printed"]["__esync_fetched.problem"]
    assert not list(tmp_path.rglob("handed*"))


def test_a_host_takes_the_client_set_of_a_guest_from_its_own_folder(play, tmp_path, monkeypatch):
    # Without pipelining, for nothing private is sent.
    monkeypatch.setenv("ANSIBLE_PIPELINING", "0")
    one = tasks(tmp_path)
    ledger, folder = f"{tmp_path}/ledger", f"{tmp_path}/folder"
    # Host b plays the external peer: of the mesh, only a is a member.
    take = {**one["take"]["esync.mesh.shared_client_sets"], "members": MEMBERS[:1]}
    carried = {**take, "folder": folder, "folder_passphrase": PASSPHRASE}
    run = play(
        [
            *one["make"],
            {
                "name": "Export",
                "esync.mesh.exchange_folder": {
                    "name": "b",
                    "directory": f"{tmp_path}/b",
                    "folder": folder,
                    "address": "127.0.0.1",
                    "port": 1,
                    "shared_keys": True,
                    "pfx_passphrase": PASSPHRASE,
                },
                "when": "inventory_hostname == 'b'",
            },
            {
                "name": "Judge",
                "esync.mesh.exchange_folder_info": {
                    "name": "a",
                    "directory": f"{tmp_path}/a",
                    "folder": folder,
                    "shared_keys": True,
                    "passphrase": PASSPHRASE,
                },
                "register": "__esync_folder",
                "when": "inventory_hostname == 'a'",
            },
            {
                "name": "Forget the member b",
                "ansible.builtin.file": {"path": f"{ledger}/b.json", "state": "absent"},
                "run_once": True,
            },
            {
                "name": "Know the external peer b",
                "esync.mesh.ledger_external_peers": {"ledger": ledger, "members": MEMBERS[:1], "hosts": ["a"]},
                "run_once": True,
            },
            *kept({**one["take"], "esync.mesh.shared_client_sets": take, "when": "inventory_hostname == 'a'"}, "owed"),
            *kept(
                {**one["take"], "esync.mesh.shared_client_sets": carried, "when": "inventory_hostname == 'a'"}, "taken"
            ),
            *kept({**one["take"], "esync.mesh.shared_client_sets": take, "when": "inventory_hostname == 'a'"}, "same"),
        ],
        hosts=HOSTS,
        arguments=["-vvvv", "--diff"],
    )
    assert run.code == 0, run.output
    found = {key.removeprefix("r_"): value[key.removeprefix("r_")] for key, value in run.results["a"].items()}
    assert (found["owed"]["changed"], found["owed"]["owed"]) == (False, ["b"])
    assert (found["taken"]["changed"], found["taken"]["owed"]) == (True, [])
    assert found["taken"]["added"] == ["b_SyncClient"]
    assert not found["same"]["changed"]
    own = tmp_path / "b" / "current" / "b_SyncClient.key"
    assert (tmp_path / "a" / "handed-over" / "b_SyncClient.key").read_bytes() == own.read_bytes()
    assert PASSPHRASE not in run.output
    assert "PRIVATE KEY" not in run.output
