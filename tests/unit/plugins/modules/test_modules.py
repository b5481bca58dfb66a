# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Every module that runs on hosts, as a process of its own with JSON for arguments, as Ansible runs it."""

from __future__ import annotations

import base64
import contextlib
import datetime
import importlib
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from ansible_collections.esync.mesh.plugins.module_utils._connection import listener
from ansible_collections.esync.mesh.plugins.module_utils._core.folders import Folder
from ansible_collections.esync.mesh.plugins.module_utils._crypto import certificates as x509
from ansible_collections.esync.mesh.plugins.module_utils._crypto import pkcs12
from ansible_collections.esync.mesh.plugins.module_utils._store import generations, trust_writer
from ansible_collections.esync.mesh.plugins.module_utils._store import trust_folder as trust

COLLECTIONS = Path(__file__).resolve().parents[4] / "playbooks" / "collections"
PLUGINS = COLLECTIONS / "ansible_collections" / "esync" / "mesh" / "plugins"
NOW = datetime.datetime.now(datetime.timezone.utc)
SECRET = "Very-Secret-Passphrase"
SET = {"key_type": "ecdsa", "formats": ["cer", "pfx"], "pfx_passphrase": SECRET}

NEEDS_A_SERVICE = {"endpoint"}
"""It needs something else that listens; the tests of its step have it."""

MODULES = sorted(
    path.stem
    for path in (PLUGINS / "modules").glob("*.py")
    # The others are the documentation of actions, and no host ever runs them.
    if "\ndef main(" in path.read_text(encoding="utf-8")
)


def settings(name: str) -> generations.SetSettings:
    """What the sets look like."""
    return generations.SetSettings(name, (name,), "ecdsa", formats=("cer",))


@pytest.fixture
def peer(tmp_path: Path) -> dict[str, Any]:
    """Bravo, with sets and a trust in alpha, and what alpha is to know of it."""
    found: dict[str, Any] = {}
    for name in ("alpha", "bravo"):
        with Folder.open(str(tmp_path / name), 0o755) as base:
            outcome = generations.Sets(base, settings(name), NOW).present()
        certificates = outcome.inspection.generations["current"].certificates
        found[name] = [trust.TrustEntry(name, role, "current", one.fingerprint) for role, one in certificates.items()]
        found[name + " pem"] = [one.pem for one in certificates.values()]
    for name, other in (("alpha", "bravo"), ("bravo", "alpha")):
        with Folder.open(str(tmp_path / name)) as base:
            trust_writer.apply(base, name, found[other], found[other + " pem"], "one")
    return found


@pytest.fixture
def arguments(tmp_path: Path, peer: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Arguments with which each module has something to do."""
    alpha, fresh = {"name": "alpha", "directory": str(tmp_path / "alpha")}, str(tmp_path / "fresh")
    expected = {entry.fingerprint: "current" for entry in peer["bravo"] if entry.role == "server"}
    (tmp_path / "copied").mkdir()
    for file in (tmp_path / "bravo" / "current").resolve().glob("*.cer"):
        shutil.copy(file, tmp_path / "copied")
    (tmp_path / "empty").mkdir()
    peers = [{"name": "bravo", "address": "127.0.0.1", "port": 1, "expected": expected}]
    return {
        "certificate_info": {**alpha, **SET},
        "certificate_set": {"name": "alpha", "directory": fresh, **SET},
        "endpoint": {**alpha, "driver": "external"},
        "exchange_folder": {**alpha, "folder": str(tmp_path / "exchange"), "address": "10.0.0.1", "port": 8732},
        "exchange_folder_info": {**alpha, "folder": str(tmp_path / "copied"), "folder_passphrase": SECRET},
        "shared_client_sets": handed_by_bravo(tmp_path, peer),
        "peer_probe": {**alpha, "peers": peers},
        "peer_trust": {
            "name": "alpha",
            "directory": str(tmp_path / "empty"),
            "entries": [vars(entry) for entry in peer["bravo"]],
            "certificates": peer["bravo pem"],
        },
        "name_resolution_info": {**alpha, "addresses": ["localhost", "bravo.invalid"], "timeout": 2},
        "probe_listener": {"name": "bravo", "directory": str(tmp_path / "bravo"), "address": "127.0.0.1", "port": 0},
        "visit": {
            "name": "alpha",
            "directory": str(tmp_path / "visited"),
            "steps": [
                {"step": "certificate_set", "options": {key: SET[key] for key in ("key_type", "formats")}},
                {"step": "certificate_info", "options": {"formats": SET["formats"], "deep": False}},
            ],
            "secrets": {"pfx_passphrase": SECRET},
        },
    }


def handed_by_bravo(tmp_path: Path, peer: dict[str, Any]) -> dict[str, Any]:
    """Arguments that give alpha the client set of bravo."""
    (entry,) = [entry for entry in peer["bravo"] if entry.role == "client"]
    folder = tmp_path / "bravo" / "current"
    key = x509.key_from_pem((folder / "client.key").read_bytes(), "")
    certificate = x509.parse_certificate((folder / "client.crt").read_bytes(), "")
    pfx = pkcs12.write_pfx("bravo", key, certificate.der, SECRET.encode(), "modern")
    return {
        "name": "alpha",
        "directory": str(tmp_path / "alpha"),
        "entries": [{"peer": "bravo", "state": "current", "fingerprint": entry.fingerprint}],
        "payload": json.dumps({entry.fingerprint: base64.b64encode(pfx).decode()}),
        "pfx_passphrase": SECRET,
    }


REQUIRED = {
    "exchange_folder": {"name", "folder", "address", "port"},
    "exchange_folder_info": {"name", "folder"},
    "name_resolution_info": {"name", "addresses"},
    "peer_probe": {"name", "peers"},
    "peer_trust": {"name", "entries"},
    "visit": {"name", "steps"},
}


@pytest.fixture
def execute(tmp_path: Path) -> Iterator[Any]:
    """Runs a module: ``execute("certificate_set", {...}, check=True)``; returns its exit code, result and output."""
    listening: list[int] = []

    def run(module: str, options: dict[str, Any], check: bool = False, **environment: str) -> tuple[int, Any, str]:
        internal = {"_ansible_check_mode": check, "_ansible_diff": True, "_ansible_tracebacks_for": ["error"]}
        paths = [environment.pop("first", ""), str(COLLECTIONS)]
        done = subprocess.run(
            [sys.executable, str(PLUGINS / "modules" / f"{module}.py")],
            input=json.dumps({"ANSIBLE_MODULE_ARGS": {**options, **internal}}),
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths)), **environment},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.stdout, done.stderr
        result = json.loads(done.stdout)
        if module == "probe_listener" and "pid" in result:
            listening.append(result["pid"])
        return done.returncode, result, done.stdout + done.stderr

    yield run
    for pid in listening:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    Path(listener.lock_path(str(tmp_path / "bravo"))).unlink(missing_ok=True)


def contents(tmp_path: Path) -> dict[str, Any]:
    """Everything below a folder."""
    return {
        str(path): path.read_bytes() if path.is_file() else path.is_symlink() and path.readlink()
        for path in sorted(tmp_path.rglob("*"))
    }


def returned(module: str) -> tuple[set[str], set[str]]:
    """The documented keys of a result: those that are always there, and all."""
    documented = yaml.safe_load(
        importlib.import_module(f"ansible_collections.esync.mesh.plugins.modules.{module}").RETURN
    )
    return {key for key, about in documented.items() if about["returned"] == "success"}, set(documented)


COMMON = {"changed", "invocation", "warnings", "deprecations", "diff"}
CHANGING = {"certificate_set", "exchange_folder", "shared_client_sets", "peer_trust", "probe_listener", "visit"}
IDEMPOTENT = CHANGING - {"probe_listener"}


def test_every_module_is_run_here(arguments: dict[str, Any]) -> None:
    assert len(MODULES) > 4
    assert set(arguments) == set(MODULES)


@pytest.mark.parametrize("module", [module for module in MODULES if module not in NEEDS_A_SERVICE])
def test_check_mode_then_a_run_then_another(
    module: str, arguments: dict[str, Any], execute: Any, tmp_path: Path
) -> None:
    always, documented = returned(module)
    before = contents(tmp_path)
    code, planned, output = execute(module, arguments[module], check=True)
    assert (code, planned["changed"]) == (0, module in CHANGING), output
    assert set(planned) - COMMON <= documented
    assert contents(tmp_path) == before
    code, done, output = execute(module, arguments[module])
    assert (code, done["changed"]) == (0, module in CHANGING), output
    assert always <= set(done) - COMMON <= documented
    assert planned.get("reasons") == done.get("reasons")
    for text in (SECRET, "PRIVATE KEY"):
        assert text.lower() not in output.lower()
    if module in IDEMPOTENT:
        assert contents(tmp_path) != before
        code, again, output = execute(module, arguments[module])
        assert (code, again["changed"]) == (0, False), output
        assert "diff" not in again
    elif module not in CHANGING:
        assert contents(tmp_path) == before


@pytest.mark.parametrize(
    "changes", [{"discard_existing": True}, {"generation": "next"}, {"state": "absent"}, {"subject_alt_names": ["x"]}]
)
def test_check_mode_where_there_are_sets_already(
    arguments: dict[str, Any], execute: Any, tmp_path: Path, changes: dict[str, Any]
) -> None:
    before = contents(tmp_path)
    options = {"name": "alpha", "directory": str(tmp_path / "alpha"), "key_type": "ecdsa", "formats": ["cer"]}
    code, planned, output = execute("certificate_set", {**options, **changes}, check=True)
    assert (code, planned["changed"]) == (0, True), output
    assert contents(tmp_path) == before


def test_check_mode_starts_no_endpoint(arguments: dict[str, Any], execute: Any) -> None:
    code, planned, output = execute("probe_listener", arguments["probe_listener"], check=True)
    assert (code, set(planned) - COMMON) == (0, set()), output


@pytest.mark.parametrize("module", [one for one in MODULES if one != "visit"])
def test_a_missing_option_is_named(module: str, execute: Any) -> None:
    code, result, _output = execute(module, {})
    assert (code, result["failed"]) == (1, True)
    assert all(option in result["msg"] for option in REQUIRED.get(module, {"name"}))
    assert "missing required arguments" in result["msg"]


RAISES = """
import os
from ansible_collections.esync.mesh.plugins.module_utils import _module as adapter
from ansible_collections.esync.mesh.plugins.module_utils._core.errors import EsyncError
real = adapter.run

def run(argument_spec, action, **options):
    def fails(module):
        try:
            raise ValueError(os.environ["SAID"])
        except ValueError as error:
            if "KIND" in os.environ:
                raise EsyncError("it is empty", "Restore it", kind=os.environ["KIND"], server="alpha", path="/x")
            raise RuntimeError(os.environ["SAID"]) from error
    real(argument_spec, fails, **options)

adapter.run = run
"""


@pytest.mark.parametrize("module", MODULES)
def test_the_text_of_a_foreign_exception_is_never_shown(
    module: str, arguments: dict[str, Any], execute: Any, tmp_path: Path
) -> None:
    (tmp_path / "first").mkdir()
    (tmp_path / "first" / "sitecustomize.py").write_text(RAISES)
    # Upper case, which no_log does not find.
    said = {"first": str(tmp_path / "first"), "SAID": SECRET.upper()}
    code, result, output = execute(module, arguments[module], **said)
    assert (code, result["failed"], result["error"]) == (1, True, {"kind": "unexpected"})
    assert "Unexpected RuntimeError at sitecustomize.py:" in result["msg"]
    assert SECRET.upper() not in output.upper()


def test_nor_is_the_text_of_one_that_an_error_of_ours_came_from(
    arguments: dict[str, Any], execute: Any, tmp_path: Path
) -> None:
    (tmp_path / "first").mkdir()
    (tmp_path / "first" / "sitecustomize.py").write_text(RAISES)
    said = {"first": str(tmp_path / "first"), "SAID": SECRET.upper(), "KIND": "damaged_file"}
    code, result, output = execute("certificate_info", arguments["certificate_info"], **said)
    assert (code, result["failed"], result["error"]["kind"]) == (1, True, "damaged_file")
    assert result["msg"] == "alpha: /x: it is empty. Restore it."
    assert SECRET.upper() not in output.upper()


def test_a_damaged_file_is_a_failure_or_a_finding(arguments: dict[str, Any], execute: Any, tmp_path: Path) -> None:
    key = (tmp_path / "alpha" / "current" / "server.key").resolve()
    key.write_bytes(b"")
    code, result, _output = execute("certificate_info", arguments["certificate_info"])
    assert (code, [one["path"] for one in result["problems"]]) == (0, [str(key)])
    code, result, _output = execute("certificate_set", {**arguments["certificate_info"]})
    assert (code, result["failed"]) == (1, True)
    assert (result["error"]["kind"], result["error"]["path"]) == ("damaged_file", str(key))
    assert str(key) in result["msg"]


@pytest.mark.parametrize(
    ("changes", "kind"),
    [
        ({"directory": "/var/www/esync"}, "web_root"),
        ({"name": "a/b"}, "bad_name"),
        ({"formats": ["pvk"]}, "bad_key_type"),
        ({"file_group": "no-such-group"}, "unknown_group"),
        ({"control_clock": "1000000"}, "clock_skew"),
        ({"generation": "next"}, "not_established"),
    ],
)
def test_what_certificate_set_refuses(
    arguments: dict[str, Any], execute: Any, tmp_path: Path, changes: dict[str, Any], kind: str
) -> None:
    code, result, output = execute("certificate_set", {**arguments["certificate_set"], **changes})
    assert (code, result.get("error", {}).get("kind")) == (1, kind), output
    assert not (tmp_path / "fresh" / "generations").exists()


def test_the_diff_shows_fingerprints_and_dates_and_no_key(arguments: dict[str, Any], execute: Any) -> None:
    _code, planned, _output = execute("certificate_set", arguments["certificate_set"], check=True)
    assert planned["diff"]["before"] == ""
    assert planned["diff"]["after"] == "new certificates (absent)\n"
    _code, done, _output = execute("certificate_set", arguments["certificate_set"])
    assert done["diff"]["before"] == ""
    for role in ("server", "client"):
        facts = done["generations"][0][role]
        assert f"current {role} {facts['fingerprint']} until {facts['not_after']}\n" in done["diff"]["after"]


def test_listener_and_probe_as_modules(arguments: dict[str, Any], execute: Any) -> None:
    code, started, output = execute("probe_listener", {**arguments["probe_listener"], "expected": ["alpha"]})
    assert code == 0, output
    [peer] = arguments["peer_probe"]["peers"]
    options = {**arguments["peer_probe"], "peers": [{**peer, "port": started["port"]}]}
    code, probed, output = execute("peer_probe", {**options, "refusals": ["bravo"]})
    assert [one["verdict"] for one in probed["results"]] == ["ok"], output
    assert probed["refusals"] and {one["verdict"] for one in probed["refusals"]} == {"ok"}
    documented = yaml.safe_load(
        importlib.import_module("ansible_collections.esync.mesh.plugins.modules.peer_probe").RETURN
    )
    assert set(probed["results"][0]) == set(documented["results"]["contains"])


def test_a_cluster_is_called_by_the_probe_as_a_module(arguments: dict[str, Any], execute: Any) -> None:
    code, started, output = execute("probe_listener", {**arguments["probe_listener"], "expected": ["alpha"]})
    assert code == 0, output
    [peer] = arguments["peer_probe"]["peers"]
    cluster = {"name": "web", "address": "127.0.0.1", "port": started["port"], "members": ["bravo", "somebody"]}
    empty = {**cluster, "name": "empty", "members": ["somebody"]}
    options = {**arguments["peer_probe"], "peers": [{**peer, "port": started["port"]}], "clusters": [cluster, empty]}
    code, probed, output = execute("peer_probe", options)
    assert [one["verdict"] for one in probed["results"]] == ["ok"], output
    [called] = probed["clusters"]
    assert (called["cluster"], called["verdict"], called["answered"]) == ("web", "ok", {"bravo": 2})
    documented = yaml.safe_load(
        importlib.import_module("ansible_collections.esync.mesh.plugins.modules.peer_probe").RETURN
    )
    assert set(called) == set(documented["clusters"]["contains"])
