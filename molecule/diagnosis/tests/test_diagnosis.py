# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Every row of the diagnosis, by a fault that is really there; everything else goes on working."""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from faults import BRAVO, FAULTS, FROM_BRAVO, TO_BRAVO, Fault
from hosts import connect, pairs
from runs import Result, fail, report, succeed

ROOT = Path(os.environ["MOLECULE_PROJECT_DIRECTORY"])
sys.path.insert(0, str(ROOT / "playbooks" / "collections"))

from ansible_collections.esync.mesh.plugins.module_utils._connection.causes import CAUSES  # noqa: E402

TOGETHER = {
    "stale_generation_served": "test_services_that_were_not_reloaded_are_told_from_both_ends",
    "client_certificate_refused": "test_services_that_were_not_reloaded_are_told_from_both_ends",
    "server_certificate_expired": "test_times_that_are_over_and_times_that_have_not_begun",
    "client_certificate_expired": "test_times_that_are_over_and_times_that_have_not_begun",
    "server_certificate_not_yet_valid": "test_times_that_are_over_and_times_that_have_not_begun",
    "clock_skew": "test_a_slow_clock_is_told_from_certificates_that_are_too_new",
}
"""Rows that need more than a command on one host: to the test that proves them."""
ELSEWHERE = {
    # Only a defect brings it about: a probe that succeeds and leaves out a peer.
    "not_tested": ("tests/unit/plugins/plugin_utils/_report/test_model.py", "test_a_server_without_result_is_wrong"),
    # There are no sites here.
    "another_site_answers": (
        "molecule/sites/tests/test_sites.py",
        "test_a_site_that_is_not_served_is_told_by_its_name",
    ),
    # Nor are client sets shared.
    "not_handed": ("tests/integration/test_shared_keys.py", "test_damage_is_told_and_repaired"),
    # All hosts here have one OpenSSL policy.
    "certificate_too_weak": (
        "tests/unit/plugins/module_utils/_connection/test_probe.py",
        "test_a_certificate_of_ones_own_that_is_too_weak_is_not_damaged",
    ),
}
BUT_BRAVO = {"esync_discard_existing": "{{ inventory_hostname == 'bravo' }}", "esync_accept_changed": ["bravo"]}


def test_every_row_of_the_table_has_a_fault() -> None:
    here = Path(__file__).read_text(encoding="utf-8")
    for name in TOGETHER.values():
        assert f"def {name}(" in here
    for path, name in ELSEWHERE.values():
        assert f"def {name}(" in (ROOT / path).read_text(encoding="utf-8"), f"there is no {name} in {path}"
    assert {fault.cause for fault in FAULTS} | set(TOGETHER) | set(ELSEWHERE) == set(CAUSES)


def fingerprint(name: str, role: str) -> str:
    """The first digits of the fingerprint of a server's current certificate, by its own file."""
    found = connect(name).check_output(f"openssl x509 -noout -fingerprint -sha256 -in /etc/esync/current/{role}.crt")
    return str(found.partition("=")[2].replace(":", "").lower()[:16])


@contextmanager
def caused(fault: Fault) -> Iterator[None]:
    host = connect(fault.host)
    host.check_output(f"set -e; {fault.do}")
    try:
        yield
    finally:
        host.check_output(fault.undo)


def told(result: Result) -> dict[str, dict[str, Any]]:
    """The last report's pairs, after a run that failed as a run should."""
    for words in ("Unexpected ", "MODULE FAILURE", "Traceback", "non-zero return code"):
        assert words not in result.output, result.output
    found = {f"{pair['from']} {pair['to']}": pair for pair in report()["pairs"]}
    assert len(found) == len(pairs())
    for pair in found.values():
        assert (pair["cause"] is None) == (pair["verdict"] == "ok"), pair
        assert pair["verdict"] == "ok" or (pair["detail"] and pair["remedy"]), pair
    return found


def causes(found: dict[str, dict[str, Any]]) -> dict[str, str]:
    return {label: pair["cause"] for label, pair in found.items() if pair["verdict"] != "ok"}


@pytest.mark.parametrize("fault", FAULTS, ids=[fault.name.replace(" ", "_") for fault in FAULTS])
def test_a_fault_is_told_by_its_key(fault: Fault) -> None:
    with caused(fault):
        result = fail("verify")
    found = told(result)
    assert causes(found) == dict.fromkeys(fault.pairs, fault.cause), json.dumps(found, indent=1)
    for label in fault.pairs:
        for words in fault.says:
            wanted = re.sub(r"\{(\w+)\.(\w+)\}", lambda match: fingerprint(match[1], match[2]), words)
            assert wanted in found[label]["detail"]
        assert fault.remedy in found[label]["remedy"]
        # The terminal tells it too.
        assert fault.cause in result.output


def options(**values: Any) -> tuple[str, str]:
    return "-e", json.dumps(values)


def python(name: str, host: str) -> str:
    return f"{{{{ '/usr/local/bin/python-{name}' if inventory_hostname == '{host}' else '/usr/bin/python3' }}}}"


def test_services_that_were_not_reloaded_are_told_from_both_ends() -> None:
    """Certificates and trust change on all disks, and no service takes anything up."""
    before = fingerprint("bravo", "server")
    fail("establish", *options(**BUT_BRAVO, esync_endpoint="external", esync_reload_command=["false"]))
    found = told(fail("verify"))
    assert causes(found) == {
        **dict.fromkeys(TO_BRAVO, "stale_generation_served"),
        **dict.fromkeys(FROM_BRAVO, "client_certificate_refused"),
    }
    for label in TO_BRAVO:
        current = fingerprint("bravo", "server")
        assert f"bravo itself serves it, but has {current}... as its current certificate" in found[label]["detail"]
        assert f"{BRAVO} serves {before}" in found[label]["detail"]
        assert "Reload the peer's service" in found[label]["remedy"]
    for label in FROM_BRAVO:
        peer = label.split()[1]
        assert f"the client certificate {fingerprint('bravo', 'client')}... of bravo" in found[label]["detail"]
        assert f"The trust on the disk of {peer} has this certificate" in found[label]["detail"]
        assert f"Reload the service of {peer}" in found[label]["remedy"]
    succeed("establish")


def test_certificates_made_anew_without_an_exchange_are_told_from_both_ends() -> None:
    ledger = Path(os.environ["MOLECULE_EPHEMERAL_DIRECTORY"]) / "ledger"
    before = fingerprint("bravo", "client")
    shutil.copytree(ledger, ledger.with_name("kept"))
    fail("establish", "--limit", "bravo", *options(**BUT_BRAVO))
    # Nobody has heard of it.
    shutil.rmtree(ledger)
    ledger.with_name("kept").rename(ledger)
    found = told(fail("verify"))
    assert causes(found) == {
        **dict.fromkeys(TO_BRAVO, "server_certificate_unknown"),
        **dict.fromkeys(FROM_BRAVO, "client_certificate_refused"),
    }
    for label in TO_BRAVO:
        assert f"{BRAVO} serves {fingerprint('bravo', 'server')}" in found[label]["detail"]
        assert "It is the current certificate on the disk of bravo" in found[label]["detail"]
        assert "esync_accept_changed=bravo" in found[label]["remedy"]
    for label in FROM_BRAVO:
        peer = label.split()[1]
        assert (
            f"This certificate is missing in the trust on the disk of {peer}: it has {before}..."
            in found[label]["detail"]
        )
        assert "esync_accept_changed=bravo" in found[label]["remedy"]
    succeed("establish", "-e", "esync_accept_changed=bravo")


def test_times_that_are_over_and_times_that_have_not_begun() -> None:
    for clock, serving, calling, words in (
        ("past", "server_certificate_expired", "client_certificate_expired", "expired"),
        ("fast", "server_certificate_not_yet_valid", "clock_skew", "not valid"),
    ):
        by_it = {"ansible_python_interpreter": python(clock, "bravo"), "esync_max_clock_skew": 10**9}
        fail("establish", *options(**BUT_BRAVO, **by_it))
        found = told(fail("verify"))
        assert causes(found) == {**dict.fromkeys(TO_BRAVO, serving), **dict.fromkeys(FROM_BRAVO, calling)}
        for label in TO_BRAVO:
            assert f"The certificate {fingerprint('bravo', 'server')}... that {BRAVO} serves" in found[label]["detail"]
            assert words in found[label]["detail"] and "clock" in found[label]["detail"]
        for label in FROM_BRAVO:
            assert f"the client certificate {fingerprint('bravo', 'client')}... of bravo" in found[label]["detail"]
    # What the remedy says, over ssh.
    succeed("establish", *options(**BUT_BRAVO))


def test_a_slow_clock_is_told_from_certificates_that_are_too_new() -> None:
    found = told(fail("verify", *options(ansible_python_interpreter=python("slow", "alpha"))))
    assert causes(found) == dict.fromkeys(("alpha bravo", "alpha charlie"), "clock_skew")
    for label in causes(found):
        assert "By the clock of alpha neither its own certificate nor that of" in found[label]["detail"]
        assert "timedatectl" in found[label]["remedy"]


def test_afterwards_every_pair_works() -> None:
    succeed("verify")
    assert report()["summary"]["ok"] == len(pairs())
