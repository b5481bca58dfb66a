# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Removal as an administrator runs it: of a server that can be reached, and of one that no longer exists."""

from __future__ import annotations

import pytest
from hosts import address, connect, power
from runs import fail, ledger, report, succeed

DIRECTORY = "/etc/esync"
STAY = ("alpha", "bravo")


def call(source: str, target: str, credentials: str) -> str:
    """The HTTP status that a caller gets with a certificate and key of its own choice; 000 without an answer."""
    found: str = (
        connect(source)
        .run(
            f"curl --silent --max-time 20 --output /dev/null --write-out '%{{http_code}}' --insecure"
            f" --cert {credentials}/client.crt --key {credentials}/client.key https://{address(target)}:8732/esync/health"
        )
        .stdout
    )
    return found


def fingerprints(name: str) -> set[str]:
    (current,) = [one for one in ledger(name)["generations"] if one["state"] == "current"]
    return {current[role]["fingerprint"] for role in ("server", "client")}


@pytest.fixture(scope="module")
def kept() -> str:
    """What somebody copied from charlie while it was a member; it was accepted then."""
    connect("charlie").check_output(f"cp -rL {DIRECTORY}/current /root/kept")
    for target in STAY:
        assert call("charlie", target, "/root/kept") == "200"
    return "/root/kept"


def test_a_removed_server_is_refused_by_all_and_loses_its_keys(kept: str) -> None:
    before = fingerprints("charlie")
    succeed("remove", "-e", "esync_remove=charlie")
    for target in STAY:
        assert call("charlie", target, kept) != "200"
        assert "charlie" not in connect(target).check_output(f"ls {DIRECTORY}/trusted/")
    host = connect("charlie")
    assert host.run(f"find {DIRECTORY} -name '*.key' -o -name '*.pfx' -o -name '*.pvk' | grep .").rc != 0
    assert not host.file("/etc/nginx/conf.d/esync-mesh.conf").exists
    assert host.service("nginx").is_running, "the other sites of a removed server go on"
    assert host.run("ss -Hltn sport = :8732 | grep .").rc != 0
    record = ledger("charlie")
    assert record["generations"] == []
    assert before <= {one["fingerprint"] for one in record["distrusted"]}
    assert all(one["not_after"] > one["since"] and one["why"] == "removed" for one in record["distrusted"])
    assert report()["summary"] == {"servers": 2, "expected": 2, "ok": 2, "failed": 0, "untested": 0}


def test_removing_it_again_changes_nothing(kept: str) -> None:
    assert set(succeed("remove", "-e", "esync_remove=charlie").changed.values()) == {0}


def test_it_may_join_again_with_new_certificates_and_the_old_ones_stay_refused(kept: str) -> None:
    lost = {one["fingerprint"] for one in ledger("charlie")["distrusted"]}
    succeed("establish")
    assert report()["summary"]["ok"] == 6
    assert not lost & fingerprints("charlie")
    for target in STAY:
        assert call("charlie", target, f"{DIRECTORY}/current") == "200"
        assert call("charlie", target, kept) != "200"
    assert set(succeed("establish").changed.values()) == {0}


def test_a_server_that_no_longer_exists_is_removed(kept: str) -> None:
    old = fingerprints("charlie")
    connect("charlie").check_output(f"rm -rf /root/kept && cp -rL {DIRECTORY}/current /root/kept")
    power("charlie", on=False)
    try:
        assert "charlie" in succeed("remove", "-e", "esync_remove=charlie").output
        assert "charlie" in fail("verify").output, "it is still in the group, and owed to join again"
    finally:
        power("charlie", on=True)
    # It comes back with its old certificates, and is refused.
    for target in STAY:
        assert call("charlie", target, "/root/kept") != "200"
        assert "charlie" not in connect(target).check_output(f"ls {DIRECTORY}/trusted/")
    assert old <= {one["fingerprint"] for one in ledger("charlie")["distrusted"]}
    assert "is distrusted" in fail("establish").output


def test_without_a_name_nothing_is_removed() -> None:
    assert "No server is named to be removed" in fail("remove").output
