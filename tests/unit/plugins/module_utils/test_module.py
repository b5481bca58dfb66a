# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, Callable

import pytest
from ansible.module_utils.testing import patch_module_args

from ansible_collections.esync.mesh.plugins.module_utils import _module as adapter
from ansible_collections.esync.mesh.plugins.module_utils._core.errors import EsyncError

COLLECTIONS = Path(__file__).resolve().parents[4] / "playbooks" / "collections"
SECRET = "very-secret-passphrase"


def call(capsys: pytest.CaptureFixture[str], action: Callable[[Any], Any], **arguments: Any) -> tuple[int, Any, str]:
    """Run a module in this process: its exit code, its result, and everything it printed."""
    with patch_module_args(arguments), pytest.raises(SystemExit) as ended:
        adapter.run({"name": {"type": "str"}, "passphrase": {"type": "str", "no_log": True}}, action)
    printed = capsys.readouterr()
    assert isinstance(ended.value.code, int)
    return ended.value.code, json.loads(printed.out), printed.out + printed.err


def test_a_result(capsys: pytest.CaptureFixture[str]) -> None:
    code, result, _printed = call(capsys, lambda module: {"changed": True, "seen": module.params["name"]}, name="web-1")
    assert code == 0
    assert result["changed"] is True
    assert result["seen"] == "web-1"
    assert "failed" not in result


def test_check_mode_reaches_the_action(capsys: pytest.CaptureFixture[str]) -> None:
    code, result, _printed = call(capsys, lambda module: {"check": module.check_mode}, _ansible_check_mode=True)
    assert (code, result["check"]) == (0, True)


def test_an_error_of_ours_becomes_a_failure_with_its_parts(capsys: pytest.CaptureFixture[str]) -> None:
    def action(_module: Any) -> Any:
        raise EsyncError("it is empty", "Restore it", kind="damaged_file", server="web-1", path="/x")

    code, result, _printed = call(capsys, action)
    assert code == 1
    assert result["failed"] is True
    assert result["msg"] == "web-1: /x: it is empty. Restore it."
    assert result["error"]["kind"] == "damaged_file"


def test_a_foreign_exception_never_shows_its_text(capsys: pytest.CaptureFixture[str]) -> None:
    def action(module: Any) -> Any:
        # Upper case is what no_log does not find.
        raise ValueError("bad passphrase " + module.params["passphrase"].upper())

    code, result, printed = call(capsys, action, passphrase=SECRET)
    assert code == 1
    assert result["failed"] is True
    assert result["error"] == {"kind": "unexpected"}
    assert "ValueError" in result["msg"]
    assert "test_module.py:" in result["msg"]
    assert SECRET.upper() not in printed.upper()


@pytest.mark.parametrize("raised", ["ValueError(secret)", "EsyncError('it is empty', 'Restore it')"])
def test_not_even_where_the_user_asks_for_tracebacks(raised: str) -> None:
    # ANSIBLE_DISPLAY_TRACEBACK=error travels in _ansible_tracebacks_for, and is kept for the life of a process.
    program = f"""
import sys
sys.path.insert(0, sys.argv[1])
from ansible.module_utils.testing import patch_module_args
from ansible_collections.esync.mesh.plugins.module_utils import _module as adapter
from ansible_collections.esync.mesh.plugins.module_utils._core.errors import EsyncError

def action(module):
    secret = module.params["passphrase"].upper()
    try:
        raise RuntimeError(secret)
    except RuntimeError:
        raise {raised}

with patch_module_args({{"passphrase": {SECRET!r}, "_ansible_tracebacks_for": ["error"]}}):
    adapter.run({{"passphrase": {{"type": "str", "no_log": True}}}}, action)
"""
    run = subprocess.run(
        [sys.executable, "-c", program, str(COLLECTIONS)], capture_output=True, text=True, timeout=60, check=False
    )
    assert run.returncode == 1, run.stderr
    result = json.loads(run.stdout)
    assert result["failed"] is True
    assert "Traceback" in result["exception"], "the setting did not arrive, so this proved nothing"
    assert SECRET.upper() not in (run.stdout + run.stderr).upper()


def test_a_step_gets_its_options_and_how_it_is_to_be_done(capsys: pytest.CaptureFixture[str]) -> None:
    def step(options: Any, context: Any) -> Any:
        context.warn("mind this")
        return {"seen": [options["name"], context.check, context.diff]}

    arguments = {"name": "web-1", "_ansible_check_mode": True, "_ansible_diff": True}
    with patch_module_args(arguments), pytest.raises(SystemExit) as ended:
        adapter.run_module({"name": {"type": "str"}}, step)
    printed = capsys.readouterr()
    result = json.loads(printed.out)
    assert ended.value.code == 0
    assert result["seen"] == ["web-1", True, True]
    # Where Ansible's own display was loaded before, by another test, the warning goes there.
    assert "mind this" in str(result.get("warnings")) + printed.err


def test_another_user_is_refused_before_the_step_begins(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = {"name": {"type": "str"}, "directory": {"type": "path"}}
    arguments = {"name": "web-1", "directory": str(tmp_path)}
    monkeypatch.setattr(os, "geteuid", lambda: 54321)
    with patch_module_args(arguments), pytest.raises(SystemExit) as ended:
        adapter.run_module(spec, lambda *_unused: pytest.fail("it was done"))
    result = json.loads(capsys.readouterr().out)
    assert ended.value.code == 1 and result["error"]["kind"] == "other_user" and result["error"]["server"] == "web-1"
    assert "ansible_become: true" in result["msg"]
