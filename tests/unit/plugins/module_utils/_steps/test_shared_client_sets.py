# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
from typing import Any

import pytest

from ansible_collections.esync.mesh.plugins.module_utils._core.errors import EsyncError

SECRETS = {"pfx_passphrase": "of the mesh"}


@pytest.fixture
def entry(host: Any) -> Any:
    """Bravo's client set: what names it, and what travels."""
    bravo = host("bravo")
    facts = bravo.make(secrets=SECRETS)["generations"][0]["client"]
    named = {"peer": "bravo", "state": "current", "fingerprint": facts["fingerprint"]}
    return named, bravo.do("shared_client_sets", state="fetched", entries=[named], secrets=SECRETS)["sets"]


def test_taken_in_kept_withdrawn_and_destroyed(host: Any, entry: Any) -> None:
    named, sets = entry
    alpha = host("alpha")
    alpha.make()
    secrets = {**SECRETS, "payload": json.dumps(sets)}
    planned = alpha.do("shared_client_sets", entries=[named], secrets=secrets, check=True, diff=True)
    done = alpha.do("shared_client_sets", entries=[named], secrets=secrets, diff=True)
    assert done == planned
    assert (done["changed"], done["added"], done["removed"]) == (True, ["bravo_SyncClient"], [])
    assert done["diff"]["after"] == f"bravo_SyncClient {named['fingerprint']}\n"
    # The peer has to refuse its own name, too.
    assert untrusted_in(alpha) == ["bravo_SyncClient"]
    assert sorted(path.name for path in alpha.directory.iterdir()) == [
        *("current", "generations", "handed", "handed-over")
    ]
    for deep in (False, True):
        kept = alpha.make(deep=deep)
        assert (kept["changed"], kept["shared"]) == (False, done["shared"])
    assert not alpha.do("shared_client_sets", entries=[named])["changed"]
    assert alpha.do("shared_client_sets", state="withdrawn")["changed"]
    assert alpha.make()["shared"]["withdrawn"] is True
    assert alpha.do("shared_client_sets", state="absent")["removed"] == ["bravo_SyncClient"]
    assert alpha.make()["shared"] is None


def untrusted_in(alpha: Any) -> list[str]:
    """Which untrusted certificates of peers it has."""
    return sorted(json.loads((alpha.directory / "handed-over" / "shared.json").read_bytes())["untrusted"])


def test_the_untrusted_certificate_of_a_peer_is_made_again_with_the_sets(host: Any, entry: Any) -> None:
    named, sets = entry
    alpha = host("alpha")
    alpha.make()
    alpha.do("shared_client_sets", entries=[named], secrets={**SECRETS, "payload": json.dumps(sets)})
    path = alpha.directory / "handed-over" / "shared.json"
    said = json.loads(path.read_bytes())
    path.write_text(json.dumps({**said, "untrusted": {}}))
    # No digest: what lies there is not what was put in force.
    assert (alpha.make()["shared"]["digest"], alpha.make()["shared"]["entries"]) == ("", [named])
    again = alpha.do("shared_client_sets", entries=[named])
    assert (again["changed"], again["added"], again["removed"]) == (True, [], [])
    assert untrusted_in(alpha) == ["bravo_SyncClient"]
    assert alpha.make()["shared"] == again["shared"]


def test_what_is_damaged_on_its_way_is_refused(host: Any, entry: Any) -> None:
    named, _sets = entry
    alpha = host("alpha")
    alpha.make()
    for payload in ("{", "[" * 10_000):
        with pytest.raises(EsyncError) as caught:
            alpha.do("shared_client_sets", entries=[named], secrets={**SECRETS, "payload": payload})
        assert caught.value.to_result()["error"]["kind"] == "bad_shared_set"
    payload = json.dumps({named["fingerprint"]: "AAAA"})
    found = alpha.do("shared_client_sets", entries=[named], secrets={**SECRETS, "payload": payload})
    assert (found["changed"], found["shared"], list(found["rejected"])) == (False, None, [named["fingerprint"]])
    assert not (alpha.directory / "handed").exists()
