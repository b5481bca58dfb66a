# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The boundary: whatever a host returns becomes records of that host, or one error, and never anything else."""

from __future__ import annotations

import copy
import datetime
import json
import random
from collections.abc import Mapping
from typing import Any

import pytest

from ansible_collections.esync.mesh.plugins.module_utils._core.errors import EsyncError
from ansible_collections.esync.mesh.plugins.module_utils._crypto import certificates as x509
from ansible_collections.esync.mesh.plugins.module_utils._store.indexed_folder import digest_of
from ansible_collections.esync.mesh.plugins.module_utils._store.trust_folder import entries_from
from ansible_collections.esync.mesh.plugins.plugin_utils._planning import records

FINGERPRINT = "ab" * 32
PAIR = {"to": "b", "verdict": "ok", "cause": None, "handshake_ms": 1.5, "server_fingerprint": FINGERPRINT}


def made(name: str, role: str) -> Any:
    """A certificate and what belongs to it, as a host returns it, with facts of its own invention."""
    key = x509.generate_key("ecdsa", 256)
    now = datetime.datetime(2026, 1, 1, tzinfo=datetime.timezone.utc)
    found = x509.self_sign(key, role, x509.Profile(name, (name, f"{name}.example"), "ecdsa", 256, 365), now)
    return {**found.facts(), "key_type": "ecdsa"}


CERTIFICATES = {role: made("a", role) for role in ("server", "client")}
GENERATION = {"id": "1-x", "state": "current", **CERTIFICATES}
ENTRY = {"peer": "b", "role": "server", "state": "current", "fingerprint": FINGERPRINT}
SET = {
    "changed": False,
    "name": "a",
    "generations": [GENERATION, {**GENERATION, "state": "next", "id": "2"}],
    "due": ["expires_soon"],
    "trust": {"digest": "cd" * 32, "entries": [ENTRY, {**ENTRY, "role": "client"}]},
    "shared": {"digest": "ef" * 32, "withdrawn": False, "entries": [{k: ENTRY[k] for k in ENTRY if k != "role"}]},
    "rotation": {"holder": "me@here process 1 started 1", "since": "2026-01-01", "id": "20260101"},
    "clock": 1.0,
    "problems": [{"kind": "wrong_mode", "cause": "x", "remedy": "y", "server": "a", "path": "/etc/esync"}],
    "modes": {"/etc/esync/current": {"found": "0755", "wanted": "0700"}},
    "readable": True,
    "clock_skew": None,
}
CALLER: Mapping[str, Any] = {
    "fingerprint": FINGERPRINT,
    "address": "192.0.2.1",
    "seconds_ago": 0.5,
    "longest_gap": 3.0,
    "renewed_ago": None,
    "connections": 2,
    "calls": [[50000, 8732], [50001, 8732]],
}
REPLIES: Mapping[str, Any] = {
    "certificate_set": {key: SET[key] for key in SET if key not in ("problems", "modes", "readable", "clock_skew")},
    "certificate_info": SET,
    "peer_trust": {
        "changed": True,
        "digest": digest_of(entries_from([ENTRY])),
        "added": ["b_SyncServer.cer"],
        "removed": [],
    },
    "endpoint": {
        "changed": False,
        "reasons": ["x"],
        "served": FINGERPRINT,
        "sites": {"shop": None, "esync": FINGERPRINT, "db": FINGERPRINT},
        "presented": [CALLER],
        "calls": [{"address": "::1", "port": 50000, "called": 8732, "process": "python3 (process 4711)"}],
    },
    "name_resolution_info": {"changed": False, "unresolved": {"b.example": "Name or service not known"}},
    "probe_listener": {"changed": True, "pid": 12, "address": "::", "port": 8732, "fingerprint": FINGERPRINT},
    "peer_probe": {
        "changed": False,
        "results": [PAIR, {**PAIR, "to": "c", "verdict": "failed", "cause": "not_tls", "detail": "x", "remedy": "y"}],
        "refusals": [{"to": "b", "verdict": "ok", "present": "none"}],
        "clusters": [{"cluster": "web", "verdict": "ok", "answered": {"b": 3}}],
    },
    "shared_client_sets": {"changed": False, "sets": {FINGERPRINT: "cGF5bG9hZA=="}},
    "exchange_folder_info": {
        "changed": False,
        "folder": "/srv/x",
        "sets": [{"name": "x", "address": None, "port": None, "generations": [GENERATION]}],
    },
    "exchange_folder": {
        "changed": True,
        "folder": "/srv/x",
        "fingerprints": ["x server (current): " + " ".join(["abab"] * 16)],
    },
}


def reply_of(*names: str, **changes: Any) -> dict[str, Any]:
    return {"results": [{"step": name, **copy.deepcopy(REPLIES[name]), **changes} for name in names]}


# What each step was sent, as far as what it returns is held against it.
SENT: Mapping[str, Any] = {
    "peer_trust": {"entries": [ENTRY]},
    "endpoint": {"sites": [{"name": "shop"}], "services": [{"name": "db"}], "retired": [FINGERPRINT]},
    "peer_probe": {
        "peers": [{"name": "b", "site": None}, {"name": "c", "site": None}],
        "refusals": ["b"],
        "clusters": [{"name": "web", "members": ["b", "c"]}],
    },
    "name_resolution_info": {"addresses": ["b.example", "c.example"]},
    "shared_client_sets": {"entries": [{"fingerprint": FINGERPRINT}]},
    "exchange_folder_info": {"folder": "/srv/x"},
    "exchange_folder": {"folder": "/srv/x"},
}


def sent(*names: str) -> list[dict[str, Any]]:
    return [{"step": name, "options": SENT.get(name, {})} for name in names]


def parse(reply: Any, *names: str) -> Any:
    return records.parse("a", sent(*names), reply)


def refused(reply: Any, *names: str) -> str:
    """The text of the error by which a reply is refused."""
    with pytest.raises(EsyncError) as caught:
        parse(reply, *names)
    assert (caught.value.kind, caught.value.server) == ("malformed_result", "a")
    return str(caught.value)


def test_every_step_has_an_example_here() -> None:
    assert set(REPLIES) == set(records.STEPS)


@pytest.mark.parametrize("name", sorted(REPLIES))
def test_what_is_sound_is_taken_in_and_what_is_unknown_is_dropped(name: str) -> None:
    reply = reply_of(name, ansible_facts={"esync_ledger": "/tmp"}, _ansible_no_log=True, anything=[1])
    [found], errors = parse(reply, name)
    assert errors == []
    assert not {"ansible_facts", "_ansible_no_log", "anything", "key_type"} & set(str(found).replace("'", " ").split())
    assert {"step", "changed"} <= set(found)
    # Taking it in a second time changes nothing.
    assert parse({"results": [found]}, name) == ([found], [])


def test_a_step_that_was_skipped_has_no_other_word() -> None:
    found, _errors = parse({"results": [{"step": "endpoint", "skipped": True, "served": 5}]}, "endpoint")
    assert found == [{"step": "endpoint", "skipped": True}]


def test_results_are_those_of_the_steps_in_their_order() -> None:
    assert "endpoint is not where it belongs" in refused(reply_of("peer_trust", "endpoint"), "endpoint", "peer_trust")
    assert "more results than steps" in refused(reply_of("endpoint", "endpoint"), "endpoint")
    assert "results are missing" in refused(reply_of("endpoint"), "endpoint", "endpoint")
    assert "results are missing" in refused({}, "endpoint")
    failed = {**reply_of("endpoint"), "error": {"kind": "io_error", "cause": "x", "remedy": "y"}}
    assert [one["kind"] for one in parse(failed, "endpoint", "endpoint")[1]] == ["io_error"]


def test_an_error_that_nobody_foresaw_has_the_message_of_the_result() -> None:
    reply = {"failed": True, "msg": "Unexpected KeyError at x:1", "error": {"kind": "unexpected"}}
    [error] = parse(reply, "endpoint")[1]
    assert error == {"kind": "unexpected", "cause": "Unexpected KeyError at x:1", "remedy": ""}
    assert records.message_of(error) == "Unexpected KeyError at x:1."


def test_several_errors_at_once() -> None:
    one = {"kind": "x", "cause": "a b", "remedy": "c", "server": "a", "path": "/x"}
    found = parse({"errors": [one, {**one, "msg": "dropped"}], "error": one}, "endpoint")[1]
    assert found == [one, one]
    assert records.message_of(one) == "a: /x: a b. c."


@pytest.mark.parametrize("bad", ["\x1b[31m", "\x00", "\r", "\u202e", "\u2066", "\u2028", "\x9b", "\ud800", "\x7f"])
def test_what_a_terminal_or_a_file_would_choke_on_becomes_a_question_mark(bad: str) -> None:
    reply = reply_of("certificate_set", reasons=[f"a{bad}b"])
    [found], _errors = parse(reply, "certificate_set")
    assert found["reasons"][0].startswith("a?") and found["reasons"][0].endswith("b")
    found["reasons"][0].encode("utf-8")


@pytest.mark.parametrize("value", [True, float("nan"), float("inf"), -float("inf"), 10**400, "1", None, [1], 1e300])
def test_what_is_no_finite_number_is_refused(value: Any) -> None:
    assert "clock: a number is expected" in refused(reply_of("certificate_set", clock=value), "certificate_set")


@pytest.mark.parametrize("value", [0, 1, "yes", None, []])
def test_what_is_neither_true_nor_false_is_refused(value: Any) -> None:
    assert "true or false" in refused(reply_of("endpoint", changed=value), "endpoint")


@pytest.mark.parametrize("peer", ["../../etc", "", "a/b", "x" * 200, ".hidden"])
def test_names_in_an_index_are_names_of_servers(peer: str) -> None:
    trust = {"digest": "x", "entries": [{**ENTRY, "peer": peer}]}
    assert refused(reply_of("certificate_set", trust=trust), "certificate_set")
    shared = {"digest": "x", "entries": [{**ENTRY, "peer": peer}]}
    assert refused(reply_of("certificate_set", shared=shared), "certificate_set")


def test_nothing_is_there_twice() -> None:
    twice = {"digest": "x", "entries": [ENTRY, {**ENTRY, "fingerprint": "cd" * 32}]}
    assert "none of them twice" in refused(reply_of("certificate_set", trust=twice), "certificate_set")
    two = [GENERATION, {**GENERATION, "id": "2"}]
    assert "one generation of each state" in refused(reply_of("certificate_set", generations=two), "certificate_set")


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("certificate_set", ("generations",)),
        ("certificate_set", ("generations", 0, "client")),
        ("certificate_set", ("generations", 0, "server", "pem")),
        ("certificate_set", ("generations", 0, "id")),
        ("certificate_set", ("trust", "digest")),
        ("certificate_set", ("trust", "entries", 0, "role")),
        ("certificate_info", ("problems", 0, "cause")),
        ("certificate_info", ("modes", "/etc/esync/current", "wanted")),
        ("peer_trust", ("digest",)),
        ("peer_probe", ("results", 0, "to")),
        ("peer_probe", ("results", 0, "verdict")),
        ("peer_probe", ("refusals", 0, "present")),
        ("endpoint", ("presented", 0, "renewed_ago")),
        ("endpoint", ("calls", 0, "process")),
        ("exchange_folder_info", ("sets", 0, "port")),
    ],
)
def test_what_later_stages_need_has_to_be_there(name: str, path: Any) -> None:
    reply = reply_of(name)
    place = reply["results"][0]
    for key in path[:-1]:
        place = place[key]
    del place[path[-1]]
    assert refused(reply, name)


@pytest.mark.parametrize(
    "changes",
    [{"fingerprint": "0" * 64}, {"address": "a b"}, {"calls": [["50000", 8732]]}, {"seconds_ago": float("nan")}],
)
def test_who_presents_what_is_retired_is_of_what_was_asked_for(changes: Any) -> None:
    assert refused(reply_of("endpoint", presented=[{**CALLER, **changes}]), "endpoint")


def test_a_verdict_without_words_has_empty_ones() -> None:
    results = [{"to": "b", "verdict": "failed"}, {"to": "c", "verdict": "ok", "detail": None}]
    [found], _errors = parse(reply_of("peer_probe", results=results), "peer_probe")
    assert [(one["cause"], one["detail"], one["remedy"]) for one in found["results"]] == [(None, "", "")] * 2


def test_a_text_of_a_secret_is_never_in_the_error() -> None:
    secret = "-----BEGIN PRIVATE KEY-----"
    for name, changes in (
        ("endpoint", {"reasons": secret}),
        ("shared_client_sets", {"sets": {secret: secret}}),
        ("certificate_set", {"generations": [{**GENERATION, "state": secret}]}),
    ):
        assert secret not in refused(reply_of(name, **changes), name)


def test_sizes_are_bounded() -> None:
    assert refused(reply_of("certificate_set", reasons=["x"] * 101), "certificate_set")
    assert refused(reply_of("certificate_set", reasons=["x" * 101]), "certificate_set")
    assert refused(reply_of("certificate_set", generations=[GENERATION] * 4), "certificate_set")
    assert refused(reply_of("shared_client_sets", sets={FINGERPRINT: "x" * 200_001}), "shared_client_sets")
    many = [{"to": "b", "verdict": "ok"}] * 100_001
    assert refused(reply_of("peer_probe", results=many), "peer_probe")


def nested(depth: int) -> Any:
    value: Any = "x"
    for level in range(depth):
        value = [value] if level % 2 else {"x": value}
    return value


def test_deep_nesting_is_dropped_or_refused_and_never_followed() -> None:
    deep = nested(100_000)
    [found], _errors = parse(reply_of("endpoint", unknown=deep), "endpoint")
    assert "unknown" not in found
    for key in ("reasons", "served", "sites", "changed"):
        assert refused(reply_of("endpoint", **{key: deep}), "endpoint")
    for reply in ({"results": deep}, {"results": [deep]}, {"error": deep}, {"errors": deep}):
        refused(reply, "endpoint")


def test_keys_that_are_no_texts() -> None:
    assert refused(reply_of("endpoint", sites={1: None}), "endpoint")
    assert refused(reply_of("certificate_info", modes={None: {"found": "1", "wanted": "2"}}), "certificate_info")
    [found], _errors = parse(reply_of("endpoint", **{"sites": {}}) | {1: 2, None: 3}, "endpoint")
    assert set(found) == {"step", *REPLIES["endpoint"]}


def test_diffs_are_texts_and_nothing_else() -> None:
    diff = {"before": "a\x1b[31m\n", "after": "b\n", "before_header": "/x", "after_header": "/x", "prepared": "y"}
    shown = records.diffs(reply_of("endpoint", diff=diff))
    assert shown == [{"before": "a?[31m\n", "after": "b\n", "before_header": "/x", "after_header": "/x"}]
    for bad in ({"before": 1, "after": ""}, {"before": "x"}, "text", ["x"], {**diff, "after": "x" * 300_000}):
        assert records.diffs(reply_of("endpoint", diff=bad)) == []


# -- whatever may come ----------------------------------------------------------------------------------------------

CASES = 4000
ODD: list[Any] = [
    *(None, True, False, 0, -1, 1.5, float("nan"), 10**400, "", "x", "x" * 5000, "\ud800", "../..", b"x"),
    *([], {}, [[]], [None], [{}], {"x": {}}, {1: 2}, {None: None}, (1, 2), {"step": "endpoint"}, nested(50)),
]


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The path of everything in a reply."""
    found = [path] if path else []
    # What was made very deep by a mutation before is deep enough.
    nested = len(path) < 50
    items = value.items() if nested and isinstance(value, dict) else ()
    items = enumerate(value) if nested and isinstance(value, list) else items
    for key, one in items:
        found += places(one, (*path, key))
    return found


def mutate(reply: dict[str, Any], dice: random.Random) -> None:
    """Change one thing in a reply: another value, nothing at all, a key more, or a copy of itself."""
    path = dice.choice(places(reply) or [("results",)])
    place: Any = reply
    for key in path[:-1]:
        place = place[key]
    key = path[-1]
    how = dice.randrange(4)
    if how == 0 and reply:
        del place[key]
    elif how == 1 and isinstance(place, list) and place:
        place.append(copy.deepcopy(place[key]))
    elif how == 2 and isinstance(place, dict):
        place[dice.choice(["ansible_facts", "x", 5, None, "step"])] = dice.choice(ODD)
    else:
        place[key] = dice.choice(ODD)


def test_whatever_comes_back_is_records_or_one_error() -> None:
    dice = random.Random(20270101)
    taken_in = rejected = 0
    for _case in range(CASES):
        names = dice.sample(sorted(REPLIES), dice.randint(1, 3))
        reply = reply_of(*names)
        if dice.random() < 0.2:
            reply["error"] = {"kind": "x", "cause": "y", "remedy": "z", "server": None, "path": None}
        for _time in range(dice.randint(1, 3)):
            mutate(reply, dice)
        try:
            found, errors = records.parse("a", sent(*names), reply)
        except EsyncError as error:
            assert error.kind == "malformed_result" and len(str(error)) < 600
            rejected += 1
            continue
        taken_in += 1
        assert "ansible_facts" not in repr(found)
        assert [one["step"] for one in found] == names[: len(found)] and (errors or len(found) == len(names))
        # What is handed on is JSON that any file can hold.
        json.dumps([found, errors], allow_nan=False).encode("utf-8")
        for one in errors:
            records.message_of(one)
    assert taken_in > CASES / 20 and rejected > CASES / 4


@pytest.mark.parametrize(
    ("name", "changed"),
    [
        ("peer_probe", {"results": [{**PAIR, "to": "d"}]}),
        ("peer_probe", {"results": [PAIR, PAIR]}),
        ("peer_probe", {"results": [{**PAIR, "site": "shop"}]}),
        ("peer_probe", {"refusals": [{"to": "c", "verdict": "ok", "present": "none"}]}),
        ("peer_probe", {"clusters": [{"cluster": "another", "verdict": "ok"}]}),
        ("peer_probe", {"clusters": [{"cluster": "web", "verdict": "ok", "answered": {"d": 1}}]}),
        ("peer_trust", {"digest": "cd" * 32}),
        ("endpoint", {"sites": {"another": None}}),
        ("name_resolution_info", {"unresolved": {"another.example": "no"}}),
        ("shared_client_sets", {"sets": {"cd" * 32: "x"}}),
        ("shared_client_sets", {"rejected": {"cd" * 32: "x"}}),
        ("exchange_folder", {"fingerprints": ["x trust me"]}),
        ("exchange_folder_info", {"sets": [{**REPLIES["exchange_folder_info"]["sets"][0], "name": "/../../x/**/*"}]}),
        ("exchange_folder_info", {"sets": [{**REPLIES["exchange_folder_info"]["sets"][0], "address": "x; }"}]}),
        ("exchange_folder_info", {"sets": [{**REPLIES["exchange_folder_info"]["sets"][0], "port": 99999}]}),
    ],
)
def test_only_what_was_asked_for_is_a_result(name: str, changed: Any) -> None:
    assert refused(reply_of(name, **changed), name)


def test_where_a_folder_lies_is_what_was_asked_for() -> None:
    [found], _errors = parse(reply_of("exchange_folder_info", folder="/etc"), "exchange_folder_info")
    assert found["folder"] == "/srv/x"


def test_the_facts_of_a_certificate_are_read_from_it() -> None:
    reply = reply_of("certificate_info")
    reply["results"][0]["generations"][0]["server"].update(
        subject="PRIVATE KEY", not_after="9999-99-99", alt_names=[{"x": 1}], fingerprint="0" * 64
    )
    [found], _errors = parse(reply, "certificate_info")
    assert found["generations"][0]["server"] == {
        key: value for key, value in CERTIFICATES["server"].items() if key != "key_type"
    }


def test_what_is_no_certificate_names_its_place() -> None:
    reply = reply_of("certificate_info")
    reply["results"][0]["generations"][0]["server"]["pem"] = CERTIFICATES["client"]["pem"]
    assert "generations: server: its place is that of a server certificate" in refused(reply, "certificate_info")
