# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What one member says of the trust model, or of shared keys that it holds, changes nothing for the others."""

from __future__ import annotations

import copy
import dataclasses
from typing import Any

import pytest

from ansible_collections.esync.mesh.plugins.module_utils._store.indexed_folder import digest_of
from ansible_collections.esync.mesh.plugins.module_utils._store.trust_folder import entries_from

from .model_mesh import Host, Model


def say(host: Host, **words: Any) -> None:
    """Let a host say this instead of what is true."""
    honest = host.read
    host.read = lambda: {**honest(), **words}  # type: ignore[method-assign]


def say_that_keys_are_shared(host: Host) -> None:
    entries = [{"peer": host.name, "role": "client", "state": "current", "fingerprint": "ee" * 32}]
    say(host, trust={"digest": digest_of(entries_from(entries)), "entries": entries, "distrusted": []})


def say_that_keys_are_held(host: Host) -> None:
    entries = [{"peer": "a", "role": "client", "state": "current", "fingerprint": "ee" * 32}]
    say(host, shared={"digest": "", "withdrawn": False, "entries": entries})


LIES = (say_that_keys_are_shared, say_that_keys_are_held)


def in_a_rotation(model: Model) -> None:
    for name, record in model.ledger.items():
        model.ledger[name] = dataclasses.replace(record, rotation="20270101T000000Z")


def never_served(model: Model) -> None:
    model.ledger["c"] = dataclasses.replace(model.ledger["c"], model=None)


def of_the_first_edition(model: Model) -> None:
    for name, record in model.ledger.items():
        model.ledger[name] = dataclasses.replace(record, model=None)


@pytest.mark.parametrize("ledger", [in_a_rotation, never_served, of_the_first_edition])
@pytest.mark.parametrize("lie", LIES)
def test_it_neither_stops_the_answer_to_a_key_compromise_nor_rotates_anybody(
    established: Model, lie: Any, ledger: Any
) -> None:
    ledger(established)
    lie(established.hosts["c"])
    before = copy.deepcopy(established.hosts["a"].generations)
    assert not established.run("regenerate", only_due=True).changes_model
    assert established.hosts["a"].generations == before
    run = established.run("regenerate", compromised=["b"])
    assert established.ledger["b"].distrusted
    assert ("a", "b") in established.works()
    assert not run.changes_model
    assert established.hosts["a"].generations == before


@pytest.mark.parametrize("away", [False, True])
def test_a_removal_rotates_nobody_and_waits_for_nobody(established: Model, away: bool) -> None:
    say_that_keys_are_held(established.hosts["c"])
    established.hosts["a"].dead = away
    before = copy.deepcopy(established.hosts["a"].generations)
    established.run("remove", remove=["b"], leaving=["b"])
    assert established.ledger["b"].removed_at
    assert established.hosts["a"].generations == before


@pytest.mark.parametrize(("old", "new"), [("pinned", "shared_keys"), ("shared_keys", "pinned")])
def test_a_mesh_whose_ledger_was_lost_changes_its_model_all_the_same(generation: Any, old: str, new: str) -> None:
    model = Model(generation, ("a", "b", "c"), "nginx")
    model.run("establish", trust_model=old)
    of_the_first_edition(model)
    run = model.run("regenerate", trust_model=new)
    assert run.changes_model and not run.failures
    assert {record.model for record in model.ledger.values()} == {new}
    assert len(model.works()) == 6
