# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A call that has nothing to make, the listener and the test work where importing cryptography fails.

Each runs in a process of its own, because this one has imported it long ago.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.esync.mesh.plugins.module_utils._connection.listener import lock_path

from ._steps.conftest import SET, Host

COLLECTIONS = Path(__file__).resolve().parents[4] / "playbooks" / "collections"
SECRETS = {"pfx_passphrase": "very-secret"}

PROGRAM = """
import json, sys

class Refuses:
    def find_spec(self, name, *_unused):
        if name.split(".")[0] == "cryptography":
            raise RuntimeError("cryptography was imported")

sys.meta_path.insert(0, Refuses())
sys.path.insert(0, sys.argv[1])
from ansible_collections.esync.mesh.plugins.module_utils._core.errors import EsyncError
from ansible_collections.esync.mesh.plugins.module_utils._steps import visit
from ansible_collections.esync.mesh.plugins.module_utils._steps.context import Context

try:
    result = visit.run(json.loads(sys.argv[2]), Context(False, True, print))
except EsyncError as error:
    result = error.to_result()
print(json.dumps(result))
"""


def without(host: Host, *steps: dict[str, Any]) -> dict[str, Any]:
    """What a visit returns where nothing may import cryptography."""
    given = [{"options": {}, "when": None, "check": False, **step} for step in steps]
    options = {"name": host.name, "directory": str(host.directory), "steps": given, "secrets": SECRETS}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(COLLECTIONS), json.dumps(options)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


KEEP = {"step": "certificate_set", "options": SET}
LOOK = {"step": "certificate_info", "options": {**SET, "deep": False}}


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Host, Host]:
    """Alpha and bravo, who trust each other, and share their client sets."""
    servers = Host("alpha", tmp_path / "alpha"), Host("bravo", tmp_path / "bravo")
    made = [server.make(secrets=SECRETS) for server in servers]
    facts = [one["generations"][0]["client"] for one in made]
    entries = [
        {"peer": server.name, "state": "current", "fingerprint": one["fingerprint"]}
        for server, one in zip(servers, facts)
    ]
    sets = [
        server.do("shared_client_sets", state="fetched", entries=[entry], secrets=SECRETS)["sets"]
        for server, entry in zip(servers, entries)
    ]
    for number, server in enumerate(servers):
        server.trust(made[1 - number])
        secrets = {**SECRETS, "payload": json.dumps(sets[1 - number])}
        server.do("shared_client_sets", entries=[entries[1 - number]], secrets=secrets)
    return servers


def test_a_call_with_nothing_to_make(pair: Any) -> None:
    alpha, _bravo = pair
    with_it = alpha.visit(KEEP, LOOK, secrets=SECRETS)["results"]
    found = without(alpha, KEEP, LOOK)
    assert found["changed"] is False
    for here, there in zip(with_it, found["results"]):
        same = set(here) - {"clock"}
        assert {name: there[name] for name in same} == {name: here[name] for name in same}
    assert found["results"][0]["shared"]["digest"] and found["results"][0]["trust"]["digest"]


def test_a_trust_that_is_the_same(pair: Any) -> None:
    alpha, _bravo = pair
    entries = alpha.make(secrets=SECRETS)["trust"]["entries"]
    assert without(alpha, {"step": "peer_trust", "options": {"entries": entries}})["changed"] is False


@pytest.mark.parametrize(
    ("wanted", "due"),
    [
        ({"key_size": 256}, []),
        ({"key_size": 384}, ["key_differs"]),
        ({"key_type": "ed25519"}, ["key_differs"]),
        ({"key_type": "rsa"}, ["key_differs"]),
    ],
)
def test_another_key_is_wanted(pair: Any, wanted: Any, due: Any) -> None:
    step = {"step": "certificate_info", "options": {**SET, "deep": False, **wanted}}
    [found] = without(pair[0], step)["results"]
    assert found["due"] == due


@pytest.mark.parametrize(
    "step",
    [
        {"step": "certificate_set", "options": {**SET, "deep": True}},
        {"step": "certificate_info", "options": {**SET, "deep": True}},
        {"step": "certificate_set", "options": {**SET, "generation": "next"}},
    ],
)
def test_where_something_has_to_be_parsed_or_made_it_is_imported(pair: Any, step: Any) -> None:
    # Otherwise the other tests would prove nothing.
    result = without(pair[0], step)
    assert result["error"]["kind"] == "unexpected"
    assert "RuntimeError" in result["msg"]


def test_the_listener_and_the_test(pair: Any) -> None:
    alpha, bravo = pair
    listen = {"step": "probe_listener", "options": {"address": "127.0.0.1", "port": 0, "lifetime": 60}}
    started = without(bravo, listen)["results"][0]
    try:
        peers = [{"name": "bravo", "address": "127.0.0.1", "port": started["port"]}]
        options = {"peers": peers, "refusals": ["bravo"]}
        [found] = without(alpha, {"step": "peer_probe", "options": options})["results"]
        assert [one["verdict"] for one in found["results"]] == ["ok"]
        assert len(found["refusals"]) > 4 and {one["verdict"] for one in found["refusals"]} == {"ok"}
        # What a peer serves that nobody expects is told with its dates and its subject.
        options = {"peers": [{**peers[0], "name": "charlie"}], "trust_model": "shared_keys"}
        [found] = without(alpha, {"step": "peer_probe", "options": options})["results"]
        assert [one["cause"] for one in found["results"]] == ["not_handed"]
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(started["pid"], signal.SIGKILL)
        Path(lock_path(str(bravo.directory))).unlink(missing_ok=True)
