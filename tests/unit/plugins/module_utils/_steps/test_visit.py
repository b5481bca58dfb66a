# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import os
import signal
import time
from typing import Any

import pytest

from ansible_collections.esync.mesh.plugins.module_utils._core.errors import EsyncError
from ansible_collections.esync.mesh.plugins.module_utils._steps import visit

from .conftest import SET

MAKE = {"step": "certificate_set", "options": SET}
LOOK = {"step": "certificate_info"}


def test_steps_are_done_in_their_order(host: Any) -> None:
    alpha = host("alpha")
    done = alpha.visit(LOOK, MAKE, LOOK)
    assert [one["step"] for one in done["results"]] == ["certificate_info", "certificate_set", "certificate_info"]
    assert [len(one["generations"]) for one in done["results"]] == [0, 1, 1]
    assert [one["changed"] for one in done["results"]] == [False, True, False]
    assert done["changed"] is True
    assert alpha.visit(LOOK, MAKE)["changed"] is False


def test_a_visit_in_check_mode_changes_nothing(host: Any) -> None:
    alpha = host("alpha")
    done = alpha.visit(MAKE, check=True, diff=True)
    assert done["changed"] is True
    assert done["results"][0]["diff"]["after"] == "new certificates (absent)\n"
    assert not alpha.directory.exists()


def test_a_step_that_is_only_checked(host: Any) -> None:
    alpha = host("alpha")
    done = alpha.visit({**MAKE, "check": True}, {**LOOK, "when": {"unchanged": True}})
    first, second = done["results"]
    assert (first["changed"], first["checked"]) == (True, True)
    # It would have changed something, which is what the next one depends on; but nothing did change.
    assert second == {"step": "certificate_info", "skipped": True, "changed": False}
    assert done["changed"] is False
    assert not alpha.directory.exists()


def test_only_if_nothing_has_changed(host: Any) -> None:
    alpha = host("alpha")
    last = {**LOOK, "when": {"unchanged": True}}
    assert alpha.visit(MAKE, last)["results"][1]["skipped"] is True
    assert "skipped" not in alpha.visit(MAKE, last)["results"][1]


def test_only_if_the_trust_is_the_one_expected(host: Any) -> None:
    alpha = host("alpha")
    alpha.make()

    def is_done(digest: str | None) -> bool:
        when = {"trust": digest}
        return "skipped" not in alpha.visit(MAKE, {**LOOK, "when": when})["results"][1]

    assert is_done(None)
    assert not is_done("0" * 64), "there is no trust yet"
    digest = alpha.trust(host("bravo").make())["digest"]
    assert is_done(digest)
    assert not is_done("0" * 64)
    # Nobody said which trust is in force.
    assert alpha.visit({**LOOK, "when": {"trust": digest}})["results"][0]["skipped"] is True


def test_the_first_failure_ends_the_visit(host: Any) -> None:
    alpha = host("alpha")
    with pytest.raises(visit.VisitError) as caught:
        alpha.visit(MAKE, {"step": "peer_trust", "options": {"entries": []}}, LOOK)
    result = caught.value.to_result()
    assert (result["error"]["kind"], result["error"]["server"]) == ("empty_trust", "alpha")
    assert result["msg"] == str(caught.value)
    assert (result["step"], result["changed"]) == ("peer_trust", True)
    assert [one["step"] for one in result["results"]] == ["certificate_set"]


def test_all_errors_of_a_step_are_passed_on(host: Any) -> None:
    alpha = host("alpha")
    alpha.make()
    for name in ("server.key", "client.key"):
        (alpha.directory / "current" / name).write_bytes(b"")
    with pytest.raises(visit.VisitError) as caught:
        alpha.visit(MAKE)
    assert [error["kind"] for error in caught.value.to_result()["errors"]] == ["damaged_file", "damaged_file"]


def test_the_text_of_an_unexpected_exception_is_not_passed_on(host: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(_options: Any, _context: Any) -> Any:
        raise ValueError("BEGIN PRIVATE KEY")

    monkeypatch.setitem(visit.STEPS, "certificate_info", lambda: visit.Step(visit.SPEC, fails))
    monkeypatch.setitem(visit.SPEC["steps"], "required", False)
    with pytest.raises(visit.VisitError) as caught:
        host("alpha").visit(MAKE, LOOK)
    result = caught.value.to_result()
    assert result["error"] == {"kind": "unexpected"}
    assert "ValueError" in result["msg"] and "PRIVATE" not in str(result)
    assert len(result["results"]) == 1


@pytest.mark.parametrize(
    "options", [{"key_type": "dsa"}, {"nonsense": 1}, {"renew_before_days": "soon"}, {"formats": ["txt"]}]
)
def test_options_are_validated_as_those_of_the_module(host: Any, options: Any) -> None:
    alpha = host("alpha")
    with pytest.raises(visit.VisitError) as caught:
        alpha.visit(LOOK, {"step": "certificate_set", "options": options})
    error = caught.value.to_result()["error"]
    assert (error["kind"], error["server"]) == ("bad_step_options", "alpha")
    assert "certificate_set" in error["cause"]
    assert len(caught.value.results) == 1
    assert not alpha.directory.exists()


def test_texts_become_what_the_options_say(host: Any) -> None:
    alpha = host("alpha")
    assert alpha.make(renew_before_days="400", formats="cer,pfx")["due"] == []
    assert alpha.make(renew_before_days="400", renew="no")["due"] == ["expires_soon"]


def test_secrets_reach_the_steps_that_have_them(host: Any) -> None:
    alpha = host("alpha")
    secrets = {"pfx_passphrase": "very-secret", "payload": "{}"}
    done = alpha.visit(MAKE, LOOK, secrets=secrets)
    assert not (alpha.directory / "current" / "pfx.passphrase").exists()
    assert "very-secret" not in str(done)
    assert alpha.visit(MAKE, secrets={"pfx_passphrase": "another"})["results"][0]["reasons"] == [
        "pfx_passphrase_differs"
    ]


@pytest.mark.parametrize(
    ("step", "secrets"),
    [
        ({"step": "certificate_set", "options": {"pfx_passphrase": "very-secret"}}, {}),
        ({"step": "certificate_info"}, {"password": "very-secret"}),
    ],
)
def test_secrets_where_they_do_not_belong_are_refused_before_anything_is_done(
    host: Any, step: Any, secrets: Any
) -> None:
    alpha = host("alpha")
    with pytest.raises(EsyncError) as caught:
        alpha.visit(MAKE, step, secrets=secrets)
    assert caught.value.kind == "bad_step_options"
    assert "very-secret" not in str(caught.value)
    assert not alpha.directory.exists()


# -- a host that was frozen -----------------------------------------------------------------------------------------


def test_a_visit_that_was_stopped_in_the_middle_does_not_go_on_after_its_time(
    host: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    alpha, spec = host("alpha"), visit.STEPS["certificate_info"]().spec

    def freezes(_options: Any, _context: Any) -> Any:
        os.kill(os.getpid(), signal.SIGSTOP)
        return {}

    monkeypatch.setitem(visit.STEPS, "certificate_info", lambda: visit.Step(spec, freezes))
    child = os.fork()
    if not child:
        try:
            alpha.visit(LOOK, MAKE, time_limit=1)
        finally:
            os._exit(0)
    assert os.WIFSTOPPED(os.waitpid(child, os.WUNTRACED)[1])
    time.sleep(1.1)
    os.kill(child, signal.SIGCONT)
    status = os.waitpid(child, 0)[1]
    assert os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGALRM
    assert not alpha.directory.exists()


def test_a_visit_that_ends_in_time_leaves_no_alarm(host: Any) -> None:
    host("alpha").visit(LOOK, time_limit=60)
    assert signal.alarm(0) == 0


def test_what_was_given_up_before_it_began_is_not_begun(host: Any) -> None:
    alpha = host("alpha")
    alpha.visit(LOOK, not_after=time.time() + 60)
    with pytest.raises(visit.VisitError) as caught:
        alpha.visit(MAKE, not_after=time.time() - 1)
    assert caught.value.to_result()["error"]["kind"] == "too_late"
    assert not alpha.directory.exists()


def test_every_secret_of_a_step_is_one_of_a_visit() -> None:
    seen = set()
    for step in visit.STEPS.values():
        seen |= {name for name, option in step().spec.items() if option.get("no_log")}
    assert seen == set(visit.SECRETS)


def test_every_step_has_a_module_of_its_name() -> None:
    assert len(visit.STEPS) > 7
    for name, step in visit.STEPS.items():
        assert step().run.__module__.endswith(f"._steps.{name}")
        assert {"name", "directory"} <= set(step().spec)


def test_another_user_is_told_what_is_public_and_may_do_nothing_else(host: Any, monkeypatch: Any) -> None:
    alpha = host("alpha")
    alpha.make()
    monkeypatch.setattr(os, "geteuid", lambda: 54321)
    listen = {"step": "probe_listener", "options": {"address": "127.0.0.1", "port": 1}}
    assert alpha.visit(LOOK)["results"][0]["generations"]
    for step in (MAKE, listen):
        with pytest.raises(EsyncError) as caught:
            alpha.visit(LOOK, step)
        assert caught.value.to_result()["error"]["kind"] == "other_user"
