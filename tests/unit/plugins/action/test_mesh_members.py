# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

JUDGE = {"name": "Judge", "esync.mesh.mesh_members": {}, "register": "r_judged", "run_once": True}


def test_values_are_templated_for_each_host_and_the_group_counts_not_the_run(play):
    hosts = {
        "a": {"esync_port": "{{ 9000 + 1 }}", "esync_directory": "/x/{{ inventory_hostname }}"},
        "b": {"esync_server_name": "B-{{ 1 + 1 }}", "ansible_host": "10.0.0.2", "esync_directory": "/x/b"},
        "c": {
            "esync_address": "{{ ansible_host }}",
            "ansible_host": "c.example",
            "esync_discard_existing": "{{ inventory_hostname == 'c' }}",
            "esync_cluster": {"name": "web", "address": "lb.{{ ansible_host }}"},
        },
    }
    run = play([JUDGE], hosts, ["--limit", "a"])
    assert run.code == 0, run.output
    judged = run.results["a"]["r_judged"]
    web = {"name": "web", "address": "lb.c.example", "port": 8732}
    assert judged["members"] == [
        {
            "host": "b",
            "name": "B-2",
            "address": "10.0.0.2",
            "port": 8732,
            "directory": "/x/b",
            "cluster": None,
            "sites": [],
        },
        {"host": "a", "name": "a", "address": "a", "port": 9001, "directory": "/x/a", "cluster": None, "sites": []},
        {
            "host": "c",
            "name": "c",
            "address": "c.example",
            "port": 8732,
            "directory": "/etc/esync",
            "cluster": web,
            "sites": [],
        },
    ]
    assert judged["clusters"] == [{**web, "members": ["c"]}]
    assert judged["discarding"] == ["c"]


def test_all_offenders_at_once_with_host_and_variable(play):
    hosts = {
        "a": {"esync_port": "{{ nothing }}"},
        "b": {"esync_server_name": "-b"},
        "c": {"esync_address": "{{ 1 / 0 }}"},
        "d": {"esync_port": "many"},
        "e": {"esync_directory": "/srv/www/esync"},
        "f": {"esync_directory": "/x/{{ nothing }}"},
        "g": {"esync_port": None},
        "h": {},
        "i": {},
        "j": {"esync_cluster": {"name": "web"}},
        "k": {"esync_cluster": {"name": "web", "address": "x", "port": "many"}},
        "l": {"esync_cluster": "web"},
        "m": {"esync_cluster": {"name": "web", "address": "x", "members": ["a"]}},
        "n": {"esync_cluster": {"name": "web", "address": "{{ nothing }}"}},
        "o": {"esync_cluster": {"name": "-", "address": "x"}},
    }
    run = play([{**JUDGE, "ignore_errors": True}], hosts)
    failed = run.results["a"]["r_judged"]
    assert failed["failed"]
    found = {(error["server"], error["kind"]) for error in failed["errors"]}
    assert found == {
        ("a", "bad_variable"),
        ("b", "bad_name"),
        ("c", "bad_variable"),
        ("d", "bad_variable"),
        ("e", "under_web_root"),
        ("f", "bad_variable"),
        ("g", "bad_variable"),
        ("-b", "duplicate_directory"),
        ("j", "bad_variable"),
        ("k", "bad_variable"),
        ("l", "bad_variable"),
        ("m", "bad_variable"),
        ("n", "bad_variable"),
        ("o", "bad_cluster"),
    }
    assert "a: the variable esync_port" in failed["msg"]


def test_sites_are_chosen_for_each_server_and_unknown_ones_are_told(play):
    nginx = {"esync_endpoint": "nginx", "esync_directory": "/x/{{ inventory_hostname }}"}
    shop, news = {"name": "shop", "port": "{{ 8000 + 443 }}"}, {"name": "news", "server_name": "news.example"}
    hosts = {
        "a": {**nginx, "esync_endpoint_sites": [shop, news], "esync_site": "news"},
        "b": {**nginx, "esync_endpoint_sites": [news, shop]},
        "c": {"esync_directory": "/x/c"},
    }
    run = play([JUDGE], hosts)
    assert run.code == 0, run.output
    members = {member["name"]: member for member in run.results["a"]["r_judged"]["members"]}
    names = {name: [site["name"] for site in member["sites"]] for name, member in members.items()}
    assert names == {"a": ["news"], "b": ["news", "shop"], "c": []}
    assert [site["port"] for site in members["b"]["sites"]] == [8732, 8443]
    assert members["a"]["port"] == 8732
    run = play([{**JUDGE, "ignore_errors": True}], hosts, ["-e", "esync_site=blog"])
    failed = run.results["a"]["r_judged"]
    assert [(error["server"], error["kind"]) for error in failed["errors"]] == [
        ("a", "unknown_site"),
        ("b", "unknown_site"),
    ]
    assert "the known ones are shop, news" in failed["msg"]


def test_one_trust_model_and_one_passphrase_for_all_and_the_passphrase_is_never_shown(play):
    secret = "Very-Secret-Passphrase"
    over = {
        "esync_trust_model": "shared_keys",
        "esync_pfx_passphrase": secret,
        "esync_address": "{{ inventory_hostname }}",
    }
    separate = {name: {**over, "esync_directory": f"/x/{name}"} for name in "ab"}
    judge = {**JUDGE, "ignore_errors": True}
    sound = play([judge], separate, ["-vvv"])
    assert not sound.results["a"]["r_judged"].get("failed"), sound.output
    separate["b"]["esync_pfx_passphrase"] = secret + " other"
    mixed = play([judge], separate, ["-vvv"])
    assert mixed.results["a"]["r_judged"]["error"]["kind"] == "mixed_pfx_passphrases"
    del separate["b"]["esync_pfx_passphrase"]
    none = play([judge], separate, ["-vvv"])
    assert none.results["a"]["r_judged"]["error"]["kind"] == "no_pfx_passphrase"
    separate["b"]["esync_trust_model"] = "pinned"
    models = play([judge], separate, ["-vvv"])
    assert models.results["a"]["r_judged"]["error"]["kind"] == "mixed_trust_models"
    assert not any(secret in run.output for run in (sound, mixed, none, models))


def test_a_passphrase_and_debug_mode_do_not_go_together(play, monkeypatch):
    hosts = {name: {"esync_directory": f"/x/{name}", "esync_pfx_passphrase": "Very-Secret"} for name in "ab"}
    for setting in ("ANSIBLE_DEBUG", "ANSIBLE_KEEP_REMOTE_FILES"):
        with monkeypatch.context() as patched:
            patched.setenv(setting, "1")
            run = play([{**JUDGE, "ignore_errors": True}], hosts)
        assert run.results["a"]["r_judged"]["error"]["kind"] == "debugging"
        assert setting in run.results["a"]["r_judged"]["msg"]
        assert "Very-Secret" not in run.output
