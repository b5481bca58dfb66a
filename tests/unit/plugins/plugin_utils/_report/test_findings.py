# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import inspect
import re
from dataclasses import replace
from typing import Any

import pytest

from ansible_collections.esync.mesh.plugins.module_utils._store.generations import SetSettings, due_reasons
from ansible_collections.esync.mesh.plugins.plugin_utils._ledger.records import LedgerRecord, read_generations
from ansible_collections.esync.mesh.plugins.plugin_utils._report.findings import (
    KINDS,
    SEVERITIES,
    ServerFindings,
    problems_of,
)

NOW = "2026-11-23T00:00:00Z"
SOON = "2026-12-23T00:00:00Z"


@pytest.fixture
def sound(generation: Any) -> ServerFindings:
    """A server with which nothing is wrong, with a resident endpoint."""
    current = generation("a")
    read = {
        "directory": "/etc/esync",
        "generations": [current],
        "problems": [],
        "modes": {},
        "readable": True,
        "due": [],
        "trust": {"digest": "1", "entries": []},
        "clock_skew": 0.4,
        "rotation": None,
        "observed": {"served": current["server"]["fingerprint"], "files": {}},
        "product_version_problem": None,
    }
    record = LedgerRecord("a", "10.0.0.1", 8732, read_generations([current], "here"))
    return ServerFindings("a", read, {"added": [], "removed": [], "kept": []}, record, now=NOW, soon=SOON)


def told(known: ServerFindings, planned: Any = None, **read: Any) -> Any:
    """Kind, severity, path and evidence of each problem, after changes of what was read and planned."""
    found = problems_of(replace(known, read={**known.read, **read}, planned={**known.planned, **(planned or {})}))
    for problem in found:
        assert problem.server == "a"
        assert problem.severity in SEVERITIES
        assert problem.cause
        assert problem.remedy.endswith("."), problem
    return [(problem.kind, problem.severity, problem.path, problem.evidence) for problem in found]


def error(kind: str, path: str | None = "/etc/esync/current/a_SyncServer.key", cause: str = "it is empty") -> Any:
    return {"kind": kind, "path": path, "cause": cause, "remedy": "Restore it", "server": "a"}


def test_nothing_is_wrong_with_a_sound_server(sound: ServerFindings) -> None:
    assert told(sound) == []


@pytest.mark.parametrize(
    "kind", ["damaged_file", "missing_file", "mismatch", "unexpected_file", "wrong_owner", "unheard_of"]
)
def test_the_errors_of_files_keep_their_kind_path_and_remedy(sound: ServerFindings, kind: str) -> None:
    assert told(sound, problems=[error(kind)], generations=[]) == [
        (kind, "fault", "/etc/esync/current/a_SyncServer.key", "It is empty.")
    ]
    (problem,) = problems_of(replace(sound, read={**sound.read, "problems": [error(kind)]}))
    assert problem.remedy == "Restore it."


def test_what_may_not_be_read_is_not_checked_and_no_fault(sound: ServerFindings) -> None:
    closed = error("no_permission", "/etc/esync/generations/1", "cannot open the folder: permission denied")
    assert told(sound, problems=[closed], generations=[], readable=False) == [
        ("no_permission", "not_checked", "/etc/esync/generations/1", "Cannot open the folder: permission denied.")
    ]


def test_of_closed_files_the_ledger_tells_when_they_end_and_the_endpoint_is_judged(sound: ServerFindings) -> None:
    closed = {"problems": [error("no_permission")], "generations": [], "readable": False}
    end = min(str(facts["not_after"]) for facts in sound.record.generations[0].certificates.values())  # type: ignore
    for kind, now, soon in (("expired", end, end), ("expires_soon", NOW, end)):
        found = told(replace(sound, now=now, soon=soon), **closed)
        assert (kind, "fault", None, f"By the ledger the first of them ends at {end}.") in found
    kinds = [kind for kind, *_rest in told(sound, **closed, observed={"served": "ff"})]
    assert kinds == ["no_permission", "another_certificate_served"]


def test_a_wrong_mode_is_told_with_both(sound: ServerFindings) -> None:
    modes = {"/etc/esync/generations/1/a.key": {"found": "0644", "wanted": "0600"}}
    assert told(sound, modes=modes) == [
        ("wrong_mode", "fault", "/etc/esync/generations/1/a.key", "Its mode is 0644, and must be 0600.")
    ]


def test_no_certificates(sound: ServerFindings) -> None:
    fresh = told(replace(sound, record=None), generations=[], observed=None)
    assert fresh == [("no_certificates", "fault", "/etc/esync", "")]


def test_a_test_that_finds_no_certificates_says_the_same_once(sound: ServerFindings) -> None:
    failure = error("no_certificate", "/etc/esync/current", "there is no current generation")
    (problem,) = problems_of(ServerFindings("a", failures=[failure]))
    assert (problem.kind, problem.path) == ("no_certificates", "/etc/esync/current")
    assert problem.command == "ansible-playbook esync.mesh.establish"
    known = replace(sound, record=None, failures=[failure])
    assert told(known, generations=[], observed=None) == [("no_certificates", "fault", "/etc/esync", "")]


@pytest.mark.parametrize("changes", [{}, {"at_rest": False}])
def test_a_test_that_contradicts_what_was_read_is_reported(sound: ServerFindings, changes: Any) -> None:
    failure = error("no_certificate", "/etc/esync/current", "there is no current generation")
    assert [kind for kind, *_rest in told(replace(sound, failures=[failure], **changes))] == ["test_failed"]


def test_certificates_that_the_ledger_has_are_gone(sound: ServerFindings) -> None:
    failure = error("no_certificate", "/etc/esync/current", "there is no current generation")
    emptied = {**sound.read, "generations": [], "trust": None}
    planned = {"added": ["b_SyncServer.cer"]}
    for known in (replace(sound, read={}, failures=[failure]), replace(sound, read=emptied, planned=planned)):
        (problem,) = problems_of(known)
        assert problem.kind == "certificates_gone"
        assert problem.command == "ansible-playbook esync.mesh.establish -e esync_accept_changed=a"


def test_every_reason_to_renew_has_a_kind(sound: ServerFindings, generation: Any) -> None:
    end = min(sound.read["generations"][0][role]["not_after"] for role in ("server", "client"))
    assert told(sound, due=["expires_soon"]) == [("expires_soon", "fault", None, f"The first of them ends at {end}.")]
    assert told(sound, due=["expired"])[0][:2] == ("expired", "fault")
    assert told(sound, due=["not_yet_valid"])[0][3].startswith("They begin at 20")
    assert told(sound, due=["subject_alt_names_differ"]) == [("subject_alt_names_differ", "note", None, "They have a.")]


def test_the_table_knows_every_reason_that_a_host_can_give() -> None:
    reasons = re.findall(r'^        "(\w+)": ', inspect.getsource(due_reasons), re.M)
    assert "expired" in reasons
    assert set(reasons) <= set(KINDS)
    assert SetSettings("a", ()).renew_before_days == 30


def test_trust_that_differs_from_the_ledger(sound: ServerFindings) -> None:
    planned = {"added": ["b_SyncServer.cer", "b_SyncClient.cer"], "removed": ["x_SyncClient.cer"]}
    assert told(sound, planned) == [
        ("trust_missing", "fault", None, "Missing: b_SyncServer.cer and b_SyncClient.cer."),
        ("trust_unexpected", "fault", None, "It has x_SyncClient.cer."),
    ]
    assert told(sound, planned, trust=None) == [
        ("no_trust", "fault", None, "The ledger has b_SyncServer.cer and b_SyncClient.cer for it.")
    ]


def test_a_damaged_file_of_the_trust_is_told_once(sound: ServerFindings) -> None:
    damage = error("damaged_trust", "/etc/esync/remote/1/b_SyncServer.cer", "it is damaged")
    found = told(sound, {"added": ["b_SyncServer.cer"]}, problems=[damage])
    assert found == [("damaged_trust", "fault", "/etc/esync/remote/1/b_SyncServer.cer", "It is damaged.")]
    # Nor does it hide what else there is to compare.
    assert "ledger_missing" in [kind for kind, *_rest in told(replace(sound, record=None), problems=[damage])]


def test_peers_that_left_the_group(sound: ServerFindings) -> None:
    assert told(sound, {"kept": ["old"]}) == [("left_group", "fault", None, "It trusts old.")]


def test_the_ledger_knows_another_certificate(sound: ServerFindings, generation: Any) -> None:
    other = generation("a", "current", 2)
    found = told(sound, generations=[other], observed=None)
    assert [kind for kind, *_rest in found] == ["ledger_missing", "ledger_missing"]
    assert other["server"]["fingerprint"] in found[0][3]
    assert sound.read["generations"][0]["server"]["fingerprint"] in found[0][3]


def test_the_ledger_has_a_generation_more(sound: ServerFindings, generation: Any) -> None:
    both = read_generations([generation("a"), generation("a", "next", 2)], "here")
    found = told(replace(sound, record=replace(sound.record, generations=both)))  # type: ignore
    assert [kind for kind, *_rest in found] == ["ledger_unexpected", "ledger_unexpected"]


def test_a_rotation_that_is_pending(sound: ServerFindings) -> None:
    rotation = {"holder": "root on control", "since": "2026-11-22T00:00:00Z", "id": "1"}
    assert told(sound, rotation=rotation) == [
        ("rotation_pending", "fault", None, "root on control has been rotating it since 2026-11-22T00:00:00Z.")
    ]
    (found,) = problems_of(replace(sound, read={**sound.read, "rotation": {"holder": "", "since": ""}}))
    assert found.kind == "rotation_unreadable" and found.path and found.path.endswith("/rotation.json")
    assert found.command == "ansible-playbook esync.mesh.regenerate -e esync_take_over_lock=true"


@pytest.mark.parametrize(("skew", "words"), [(301.2, "301 s ahead of"), (-400, "400 s behind")])
def test_a_clock_that_is_off(sound: ServerFindings, skew: float, words: str) -> None:
    ((kind, severity, _path, evidence),) = told(sound, clock_skew=skew)
    assert (kind, severity) == ("clock_skew", "fault")
    assert words in evidence
    assert "300 s are allowed" in evidence


@pytest.mark.parametrize("skew", [None, 300, -300])
def test_a_clock_within_the_limit_or_not_compared(sound: ServerFindings, skew: Any) -> None:
    assert told(sound, clock_skew=skew) == []


def test_an_endpoint_that_serves_something_else_or_nothing(sound: ServerFindings) -> None:
    current = sound.read["generations"][0]["server"]["fingerprint"]
    assert told(sound, observed={"served": "ff"}) == [
        ("another_certificate_served", "fault", None, f"It serves ff, and the current one is {current}.")
    ]
    assert told(sound, observed={"served": None}) == [
        ("endpoint_not_listening", "fault", None, "Looked for on the host itself.")
    ]
    assert told(sound, observed=None) == []


def test_a_version_that_is_not_known(sound: ServerFindings) -> None:
    problem = error("product_version_unknown", None, "the command x ended with 3")
    assert told(sound, product_version_problem=problem) == [
        ("product_version_unknown", "fault", None, "The command x ended with 3.")
    ]


def test_what_ended_the_run_of_a_host(sound: ServerFindings) -> None:
    failures = [error("damaged_trust"), error("port_taken", None, "port 8732 is taken by x")]
    found = problems_of(replace(sound, read={}, planned={}, failures=failures))
    assert [(one.kind, one.evidence) for one in found] == [
        ("damaged_trust", "It is empty."),
        ("port_taken", "Port 8732 is taken by x."),
    ]


def test_after_a_change_only_what_still_holds_is_judged(sound: ServerFindings) -> None:
    known = replace(sound, at_rest=False, record=None)
    differing = {
        "clock_skew": 900,
        "rotation": {"holder": "x", "since": "y"},
        "observed": {"served": "ff"},
        "trust": None,
    }
    planned = {"added": ["b_SyncServer.cer"], "kept": ["old"]}
    kinds = [kind for kind, *_rest in told(known, planned, due=["expires_soon"], **differing)]
    assert kinds == ["expires_soon", "left_group"]


def test_a_server_of_which_nothing_is_known_has_no_problems() -> None:
    assert problems_of(ServerFindings("a")) == []
    assert problems_of(ServerFindings("a", {"unreachable": True, "msg": "no route"})) == []


def test_each_site_is_judged_by_itself(sound: ServerFindings) -> None:
    good = sound.read["observed"]["served"]
    sites = {"shop": good, "news": None, "blog": "ff"}
    assert told(sound, observed={"served": None, "sites": sites}) == [
        ("endpoint_not_listening", "fault", None, "Its site news was looked for on the host itself."),
        ("another_certificate_served", "fault", None, f"Its site blog serves ff, and the current one is {good}."),
    ]
    assert told(sound, observed={"served": None, "sites": {"shop": good}}) == []


def test_client_sets_that_were_shared_keys(sound: ServerFindings) -> None:
    assert told(replace(sound, shared_keys_missing=["b_SyncClient"])) == [
        ("shared_keys_missing", "fault", None, "Missing: b_SyncClient.")
    ]
    assert told(replace(sound, shared_keys_unexpected=["c_SyncClient"])) == [
        ("shared_keys_unexpected", "fault", None, "It has c_SyncClient.")
    ]
    closed = error("no_permission", "/etc/esync/handed")
    found = told(replace(sound, shared_keys_missing=["b_SyncClient"]), problems=[closed], readable=False)
    assert "shared_keys_missing" not in [kind for kind, *_rest in found], "what may not be read is not judged"
    damage = error("damaged_shared_keys", "/etc/esync/handed/1/b_SyncClient.key")
    found = told(replace(sound, shared_keys_missing=["b_SyncClient"]), problems=[damage])
    assert found == [("damaged_shared_keys", "fault", "/etc/esync/handed/1/b_SyncClient.key", "It is empty.")]


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/etc/esync/trusted/clients.pem", "damaged_trust"),
        ("/etc/esync/remote/1/b_SyncServer.cer", "damaged_trust"),
        ("/etc/esync/handed/1/b_SyncClient.key", "damaged_shared_keys"),
        ("/srv/remote/esync/generations/1/a_SyncServer.key", "missing_file"),
        ("/etc/esync/current/server.key", "missing_file"),
        (None, "missing_file"),
    ],
)
def test_where_a_missing_file_is_decides_of_what_kind_it_is(sound: ServerFindings, path: str | None, kind: str) -> None:
    missing = error("missing_file", path, "cannot open the file: it does not exist")
    # However the host came upon it: by reading its files, or because its endpoint could not start.
    for known in (replace(sound, read={}, failures=[missing]), replace(sound, read={"problems": [missing]})):
        (found,) = problems_of(known)
        assert (found.kind, found.path) == (kind, path)
        assert (found.remedy == "Restore it.") == (kind == "missing_file")
        assert found.command.startswith("ansible-playbook esync.mesh.establish")


def test_what_the_test_could_not_use_is_told_once_by_the_file_that_is_damaged(sound: ServerFindings) -> None:
    damaged = error("mismatch", "/etc/esync/generations/1/a_SyncServer.crt", "it is another one")
    failures = [error("key_mismatch", "/etc/esync/generations/1/server.key"), error("locked", "/etc/esync")]
    known = replace(sound, read={**sound.read, "problems": [damaged]}, failures=failures)
    assert [(one.kind, one.path) for one in problems_of(known)] == [
        ("test_failed", "/etc/esync"),
        ("mismatch", damaged["path"]),
    ]


@pytest.mark.parametrize("kind", KINDS)
def test_a_host_may_report_any_kind(sound: ServerFindings, kind: str) -> None:
    """Also one that only the control node finds: its command is filled with what is known here."""
    (problem,) = problems_of(replace(sound, read={**sound.read, "problems": [error(kind)]}))
    assert "{" not in problem.command
