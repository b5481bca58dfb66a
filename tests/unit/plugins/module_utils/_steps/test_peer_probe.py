# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import contextlib
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.esync.mesh.plugins.module_utils._connection.listener import lock_path


@pytest.fixture
def pair(host: Any) -> Any:
    """Alpha and bravo, who trust each other; bravo listens: alpha, and where bravo is."""
    alpha, bravo = host("alpha"), host("bravo")
    made = [server.make() for server in (alpha, bravo)]
    alpha.trust(made[1])
    bravo.trust(made[0])
    started = bravo.do("probe_listener", address="127.0.0.1", port=0, lifetime=60)
    yield alpha, {"name": "bravo", "address": "127.0.0.1", "port": started["port"]}
    with contextlib.suppress(ProcessLookupError):
        os.kill(started["pid"], signal.SIGKILL)
    Path(lock_path(str(bravo.directory))).unlink(missing_ok=True)


def test_what_a_peer_may_serve_is_taken_from_the_trust(pair: Any) -> None:
    alpha, bravo = pair
    [found] = alpha.do("peer_probe", peers=[bravo])["results"]
    assert (found["verdict"], found["served"], found["detail"]) == ("ok", "current", "")
    [given] = alpha.do("peer_probe", peers=[{**bravo, "expected": {found["server_fingerprint"]: "next"}}])["results"]
    assert (given["verdict"], given["served"]) == ("ok", "next")


@pytest.mark.parametrize("expected", [{}, {"0" * 64: "current"}])
def test_what_is_given_counts_and_not_the_trust(pair: Any, expected: Any) -> None:
    alpha, bravo = pair
    [found] = alpha.do("peer_probe", peers=[{**bravo, "expected": expected}])["results"]
    assert found["verdict"] == "failed"


def test_a_peer_that_the_trust_does_not_know(pair: Any) -> None:
    alpha, bravo = pair
    [found] = alpha.do("peer_probe", peers=[{**bravo, "name": "charlie"}])["results"]
    assert (found["verdict"], found["cause"]) == ("failed", "another_server_answers")


def test_without_a_trust_every_peer_says_so(pair: Any) -> None:
    alpha, bravo = pair
    (alpha.directory / "trusted").unlink()
    [found] = alpha.do("peer_probe", peers=[bravo])["results"]
    assert (found["verdict"], found["cause"]) == ("failed", "no_trust")


def test_refusals_without_the_untrusted_certificates_are_untested_with_a_remedy(pair: Any) -> None:
    alpha, bravo = pair
    found = alpha.do("peer_probe", peers=[bravo], refusals=["bravo"])["refusals"]
    assert found and {one["verdict"] for one in found} == {"ok"}
    (alpha.directory / "current" / "manifest.json").unlink()
    found = {one["present"]: one for one in alpha.do("peer_probe", peers=[bravo], refusals=["bravo"])["refusals"]}
    for present in ("stranger", "stranger_same_subject"):
        assert (found[present]["verdict"], found[present]["cause"]) == ("untested", "no_certificate")
        assert "establish" in found[present]["remedy"]
    assert found["none"]["verdict"] == "ok"


def test_nothing_in_check_mode(pair: Any) -> None:
    alpha, bravo = pair
    assert alpha.do("peer_probe", peers=[bravo], check=True)["results"] == []
