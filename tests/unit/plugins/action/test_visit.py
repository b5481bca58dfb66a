# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The control node's half of a visit, by one play of the real ansible-playbook."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
from ansible.release import __version__

from ansible_collections.esync.mesh.plugins.action import visit

from .conftest import run_play

SECRET = "Very-Secret-Passphrase"
READ = {"step": "certificate_info", "options": {}}


def plan(folder: Any, *steps: Any, operation: str = "verify", hosts: Any = ("a", "dead"), **changes: Any) -> Any:
    """What mesh_plan returns of a stage, as far as a visit reads it."""
    one = {
        "name": "a",
        "directory": str(folder / "esync"),
        "install": False,
        "packages": [],
        "endpoint_packages": [],
        "steps": list(steps) or [READ],
    }
    made = {"stage": f"{operation} 0", "title": "x", "timeout": 60, "batch": 0, "keep": False, "check": False}
    visits = {host: {**one, "name": host} for host in hosts}
    return {**made, "visits": visits, "state": {"operation": operation, "payloads": {}}, **changes}


@pytest.fixture(scope="module")
def played(tmp_path_factory: Any) -> Any:
    """One play for all: the registered results of each host, and the output."""
    folder = tmp_path_factory.mktemp("visits")
    closed = {"refuse": "the gate is closed here", "errors": [{"kind": "gate_closed", "cause": "x", "remedy": "y"}]}
    broken = {"step": "certificate_set", "options": {"state": "switched", "no_such": 1}}
    slow = {"step": "certificate_info", "options": {"product_version": ["sleep", "20"], "product_version_timeout": 30}}
    made = {
        "step": "certificate_set",
        "options": {"key_type": "ecdsa", "address": "a", "formats": ["pfx"]},
        "tag": "made",
    }
    plans = {
        "read": plan(folder),
        "checked": plan(folder, made, check=True),
        "made": plan(folder, made, READ),
        "refused": plan(folder, closed, operation="gate"),
        "outside": plan(folder, operation="gate", hosts=("dead",)),
        "broken": plan(folder, broken),
        "kept": plan(folder, broken, keep=True),
        "late": plan(folder, slow, timeout=2),
    }
    tasks = [
        {
            "name": name,
            "esync.mesh.visit": {"plan": f"plan_{name}", "pfx_passphrase": SECRET},
            "register": f"r_{name}",
            "ignore_errors": True,
            "ignore_unreachable": True,
            **({"timeout": 2} if name == "late" else {}),
        }
        for name in plans
    ]
    variables = {f"plan_{name}": value for name, value in plans.items()}
    dead = {"ansible_connection": "ssh", "ansible_host": "127.0.0.1", "ansible_port": 1}
    return run_play(folder, tasks, {"a": {}, "b": {}, "dead": dead}, ["-vvv"], vars=variables)


def test_the_steps_are_done_and_come_back_as_records(played: Any) -> None:
    found = played.results["a"]["r_made"]
    assert (found["state"], found["errors"], found["changed"], found["stage"]) == ("ok", [], True, "verify 0")
    assert [one["step"] for one in found["steps"]] == ["certificate_set", "certificate_info"]
    assert found["steps"][0]["tag"] == "made"
    assert [one["state"] for one in found["steps"][1]["generations"]] == ["current"]


def test_a_host_without_a_part_in_the_stage_waits(played: Any) -> None:
    for name in ("read", "made", "late"):
        found = played.results["b"][f"r_{name}"]
        assert (found["state"], found["steps"], found["changed"], found.get("failed", False)) == (
            "ok",
            [],
            False,
            False,
        )


def test_a_plan_says_whether_a_visit_changes_anything(played: Any) -> None:
    found = played.results["a"]["r_checked"]
    assert found["state"] == "ok" and found["steps"][0]["generations"] == []


def test_nobody_passes_a_gate_that_was_not_tested_at_it(played: Any) -> None:
    assert played.results["a"]["r_refused"]["msg"] == "the gate is closed here"
    for host in "ab":
        found = played.results[host]["r_outside"]
        assert found["failed"] and found["errors"][0]["kind"] == "gate_closed"
        assert f"{host}: it is not in the inventory group" in found["msg"]
    assert "dead: the control node cannot reach it, so the gate is closed" in played.output


def test_a_failure_ends_the_part_of_a_host_unless_it_is_kept(played: Any) -> None:
    broken, kept = played.results["a"]["r_broken"], played.results["a"]["r_kept"]
    assert broken["failed"] and not kept["failed"]
    assert broken["state"] == kept["state"] == "failed"
    assert broken["errors"] == kept["errors"] != [] and broken["msg"]


def test_a_host_that_hangs_is_a_failed_host(played: Any) -> None:
    [error] = played.results["a"]["r_late"]["errors"]
    assert error["kind"] == "host_frozen" and "within 2 seconds" in error["cause"]


def test_the_passphrase_is_never_shown(played: Any) -> None:
    assert SECRET not in played.output and SECRET not in repr(played.results)


# -- what is wrong with the Python of a host ---------------------------------------------------------------------------

PACKAGES = """
import json, sys
with open(sys.argv[1]) as stream, open({1!r}, "w") as asked:
    json.dump(json.load(stream)["name"], asked)
print(json.dumps({0!r}))
"""


def interpreter(folder: Path, *lines: str) -> str:
    """A program that stands for the Python of a host."""
    path = folder / "interpreter"
    path.write_text("\n".join(["#!/bin/sh", *lines, ""]))
    path.chmod(0o755)
    return str(path)


def visited(
    folder: Path,
    python: str,
    installer: dict[str, Any] | None = None,
    packages: Any = ("extra",),
    manager: str = "packager",
    piped: bool = False,
) -> Any:
    """What comes back from a visit to a host with this Python, and what Ansible printed.

    :param installer: what the package manager of the host answers; None: nothing is installed.
    :param packages: esync_dependencies. :param manager: the module of the package manager.
    :param piped: with pipelining, as in the role.
    """
    (folder / "library").mkdir()
    # Written for whatever Python the host has: it needs nothing of Ansible's.
    (folder / "library" / "packager.py").write_text(
        "#!/usr/bin/python\n# WANT_JSON\n" + PACKAGES.format(installer, str(folder / "asked"))
    )
    visit = plan(folder)
    for mine in visit["visits"].values():
        mine.update(install=installer is not None, packages=list(packages))
    tasks = [
        {"name": "Choose", "ansible.builtin.set_fact": {"pkg_mgr": manager, "cacheable": True}},
        {"name": "Visit", "esync.mesh.visit": {"plan": "the_plan"}, "register": "r_it", "ignore_errors": True},
    ]
    host = {"ansible_python_interpreter": python, "ansible_pipelining": piped}
    return run_play(folder, tasks, {"a": host}, vars={"the_plan": visit})


def test_a_module_that_is_piped_is_read_at_once(tmp_path: Path) -> None:
    noted = tmp_path / "noted"
    python = interpreter(tmp_path, f'printf "%s" "$*" >>{noted}', f'exec {sys.executable} "$@"')
    [step] = visited(tmp_path, python, piped=True).results["a"]["r_it"]["steps"]
    assert step["step"] == READ["step"]
    # With no argument Python would read its program from its input by itself, which takes ten times as long.
    assert noted.read_text() == f"-c {visit._START}"


SENT = """
import collections, inspect, json
compiled = collections.Counter()
sys.addaudithook(lambda event, told: compiled.update([str(told[1])]) if event == "compile" else None)
sys.path.insert(0, {archive!r})
import part.deep.module
print(json.dumps({{
    "compiled": compiled,
    "file": part.deep.module.__file__,
    "package": part.deep.__file__,
    "path": list(part.deep.__path__),
    "source": inspect.getsource(part.deep.module.function),
}}))
"""


@pytest.mark.parametrize(("name", "times"), [("ansible_visit_payload.zip", 1), ("other.zip", 2)])
def test_only_what_ansible_sends_is_compiled_once_and_says_where_it_is_from(
    tmp_path: Path, name: str, times: int
) -> None:
    own = tmp_path / name
    with zipfile.ZipFile(own, "w") as archive:
        archive.writestr("part/__init__.py", "")
        archive.writestr("part/deep/__init__.py", "")
        archive.writestr("part/deep/module.py", "def function():\n    return 1\n")
    run = subprocess.run(
        [sys.executable, "-c", visit._START],
        input=SENT.format(archive=str(own)),
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    found = json.loads(run.stdout)
    for key, place in (("file", "part/deep/module.py"), ("package", "part/deep/__init__.py")):
        assert found[key] == f"{own}/{place}"
        assert found["compiled"][f"{own}/{place}"] == times
    assert found["path"] == [f"{own}/part/deep"]
    assert found["source"] == "def function():\n    return 1\n"


def test_an_old_python_is_named_with_its_version(tmp_path: Path) -> None:
    said = "SyntaxError: future feature annotations is not defined"
    release = 'ID=rocky; ID_LIKE="rhel centos fedora"; VERSION_ID=8.9'
    told = f"""printf '3.6.15\\n{release.replace("; ", chr(92) + "n")}\\n'"""
    python = interpreter(tmp_path, f'[ "$1" = -c ] && {told} && exit 0; echo "{said}" >&2; exit 1')
    run = visited(tmp_path, python)
    [error] = run.results["a"]["r_it"]["errors"]
    assert (error["kind"], error["server"]) == ("old_python", "a")
    assert f"{python}, is 3.6.15, and 3.8 or later is needed" in error["cause"]
    assert error["remedy"].startswith("Install the package python3.11-cryptography ")
    assert "/usr/bin/python3.11 -m venv " in error["remedy"]


@pytest.mark.parametrize(
    "said",
    [
        "Ansible requires Python 3.9 or newer on the target. Current version: {0} (default, May  9 2026)",
        "ansible-core requires a minimum of Python version 3.9. Current version: {0} (default, May  9 2026)",
    ],
    ids=["2.20", "2.18"],
)
@pytest.mark.parametrize(
    ("version", "cause"),
    [
        ("3.8.18", f"its Python is 3.8.18, and ansible-core {__version__} on the control node needs 3.9 or later"),
        ("3.7.16", "is 3.7.16, and 3.8 or later is needed"),
    ],
    ids=["3.8", "3.7"],
)
def test_a_python_that_ansible_does_not_reach_is_named_with_whose_limit_it_is(
    tmp_path: Path, said: str, version: str, cause: str
) -> None:
    ended = json.dumps({"failed": True, "msg": said.format(version)})
    run = visited(
        tmp_path, interpreter(tmp_path, f"[ \"$1\" = -c ] && echo {version} && exit 0; echo '{ended}'; exit 1")
    )
    [error] = run.results["a"]["r_it"]["errors"]
    assert (error["kind"], error["server"]) == ("old_python", "a")
    assert cause in error["cause"] and "ansible_python_interpreter" in error["remedy"]


def test_what_a_new_python_cannot_compile_is_not_blamed_on_its_age(tmp_path: Path) -> None:
    run = visited(tmp_path, interpreter(tmp_path, '[ "$1" = -c ] && echo 3.12.1; echo "SyntaxError: odd" >&2; exit 1'))
    [error] = run.results["a"]["r_it"]["errors"]
    assert error["kind"] == "no_result" and "SyntaxError: odd" in error["cause"]


def with_old_library(folder: Path) -> str:
    """A Python whose cryptography is too old."""
    (folder / "cryptography").mkdir()
    (folder / "cryptography" / "__init__.py").write_text('__version__ = "1.2"')
    return interpreter(folder, f'PYTHONPATH={folder} exec {sys.executable} "$@"')


@pytest.mark.parametrize(
    ("installer", "said"),
    [
        (None, f"Install it for that Python ({sys.executable} -m pip install cryptography); or "),
        ({"changed": False}, "The packages extra are installed, but too old, or for another Python; "),
        ({"failed": True, "msg": "no network"}, "extra could not be installed (no network). Install them by hand; or "),
    ],
)
def test_what_is_missing_is_named_with_version_and_python_whatever_installing_did(
    tmp_path: Path, installer: Any, said: str
) -> None:
    run = visited(tmp_path, with_old_library(tmp_path), installer)
    [error] = run.results["a"]["r_it"]["errors"]
    assert error["kind"] == "missing_dependency"
    assert f"is needed for {sys.executable}, which is Python " in error["cause"]
    assert f"version 1.2 was found at {tmp_path}/cryptography" in error["cause"]
    ways = ("set ansible_python_interpreter to another Python", f"{sys.executable} -m venv /opt/esync-python")
    for text in (said, *ways):
        assert text in error["remedy"] and text in run.results["a"]["r_it"]["msg"]


def test_a_package_manager_without_a_module_is_told_as_other_failures_are(tmp_path: Path) -> None:
    run = visited(tmp_path, with_old_library(tmp_path), {"changed": False}, manager="no_such_manager")
    [error] = run.results["a"]["r_it"]["errors"]
    assert error["kind"] == "missing_dependency" and "version 1.2 was found" in error["cause"]
    assert "extra could not be installed (Could not find a " in error["remedy"] and "no_such_manager" in error["remedy"]


NAMED = """
import json
print(json.dumps({"failed": True, "msg": "x", "error": {
    "kind": "missing_dependency", "cause": "c", "remedy": "r; or s", "package": PACKAGE}}))
"""


@pytest.mark.parametrize(
    ("package", "setting", "installed"),
    [
        ("python3.12-cryptography", [], ["python3.12-cryptography"]),
        ("python3-cryptography", ["mine"], ["mine"]),
        # A Python that no package of the distribution is for, or a host that returns anything.
        ("", [], None),
        ("--root=/ python3-cryptography", [], None),
    ],
)
def test_the_package_that_the_host_names_is_installed_unless_the_setting_names_others(
    tmp_path: Path, package: Any, setting: Any, installed: Any
) -> None:
    answer = tmp_path / "answer.py"
    answer.write_text(NAMED.replace("PACKAGE", repr(package)))
    python = interpreter(tmp_path, f'case "$1" in *_visit.py) set -- {answer};; esac; exec {sys.executable} "$@"')
    run = visited(tmp_path, python, {"changed": True}, setting)
    asked = tmp_path / "asked"
    assert (json.loads(asked.read_text()) if asked.exists() else None) == installed, run.output
