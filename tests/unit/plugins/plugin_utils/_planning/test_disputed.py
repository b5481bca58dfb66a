# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""An old checkout of the ledger breaks no pair that works."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from ansible_collections.esync.mesh.plugins.module_utils._core.errors import EsyncError

from .model_mesh import Model


@pytest.fixture
def rotated(established: Model) -> Model:
    """Three servers, of which a has certificates that are newer than those in the ledger."""
    before = copy.deepcopy(established.ledger)
    established.run("regenerate", regenerate=["a"])
    established.ledger = before
    return established


@pytest.mark.parametrize("operation", ["establish", "apply", "remove", "regenerate", "repair"])
def test_an_old_ledger_takes_no_newer_certificate_from_anybody(rotated: Model, operation: str) -> None:
    rotated.settings["esync_folder"] = "/in"
    # c is removed, or compromised, and not known to whoever takes no part.
    works = {pair for pair in rotated.works() if operation not in ("remove", "regenerate") or "c" not in pair}
    old = {one for record in rotated.ledger.values() for one in record.fingerprints if record.name == "a"}
    options: dict[str, Any] = {"remove": ["c"], "leaving": ["c"]} if operation == "remove" else {}
    options = {"compromised": ["c"]} if operation == "regenerate" else options
    rotated.run(operation, **options)
    assert works <= rotated.works()
    assert not any(one["fingerprint"] in old for host in rotated.hosts.values() for one in host.trust or ())


def test_a_server_that_is_accepted_again_is_in_dispute_no_more(rotated: Model) -> None:
    run = rotated.run("establish", accept_changed=["a"])
    assert (run.disputed, run.failures) == ([], [])
    assert len(rotated.works()) == 6
    again = rotated.run("establish")
    assert not again.written


def test_what_was_withdrawn_goes_also_from_a_server_in_dispute(rotated: Model) -> None:
    rotated.run("regenerate", compromised=["a"])
    assert not {one.fingerprint for one in rotated.ledger["a"].distrusted} & {
        one["fingerprint"] for host in rotated.hosts.values() for one in host.trust or ()
    }


def test_what_a_server_has_still_to_receive_is_not_noted_as_received(rotated: Model) -> None:
    rotated.ledger["b"] = rotated.ledger["b"].__class__(**{**vars(rotated.ledger["b"]), "trust": {"c": "0"}})
    rotated.run("establish")
    assert "a" not in (rotated.ledger["b"].trust or {})


def test_a_mesh_that_is_newer_altogether_is_refused_and_stays(established: Model) -> None:
    before = copy.deepcopy(established.ledger)
    established.run("regenerate")
    established.ledger = before
    try:
        established.run("establish")
    except EsyncError:
        pass
    assert len(established.works()) == 6


@pytest.mark.parametrize("operation", ["establish", "apply", "remove"])
def test_nor_a_shared_client_key(generation: Any, operation: str) -> None:
    model = Model(generation, ("a", "b", "c", "d"), "nginx")
    model.settings["esync_folder"] = "/in"
    model.run("establish", trust_model="shared_keys")
    before = copy.deepcopy(model.ledger)
    model.run("regenerate", trust_model="shared_keys", regenerate=["a"])
    works = {pair for pair in model.works() if operation != "remove" or "d" not in pair}
    assert len(model.works()) == 12
    model.ledger = before
    options: dict[str, Any] = {"remove": ["d"], "leaving": ["d"]} if operation == "remove" else {}
    model.run(operation, trust_model="shared_keys", **options)
    assert works <= model.works()
