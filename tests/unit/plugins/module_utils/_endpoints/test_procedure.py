# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The order of what is done, with an endpoint that writes down what it is asked for; the other tests have real ones."""

from __future__ import annotations

import os
import socket
from dataclasses import replace

import pytest
from endpoint_hosts import free_port, make_certificate, settings, trust

from ansible_collections.esync.mesh.plugins.module_utils._core.errors import EsyncError
from ansible_collections.esync.mesh.plugins.module_utils._endpoints import procedure
from ansible_collections.esync.mesh.plugins.module_utils._endpoints.contract import NO_PRODUCT, Endpoint, Observed

UP = ["configure new", "validate", "reload"]


class Recorded(Endpoint):
    """It serves a certificate, and fails where a test says so."""

    name = "recorded"
    is_resident = True
    remedy = "Look into its log"
    product = NO_PRODUCT

    calls: list = []
    failing = ""
    missing = None
    configuration = None
    processes = frozenset([1])
    serves = None

    def _call(self, what):
        noted = os.path.exists(os.path.join(self.settings.directory, "endpoint.loaded"))
        self.calls.append(what + (" with a note" if noted else ""))
        if self.failing and what.startswith(self.failing):
            raise EsyncError(f"{what} failed", "Try again", kind="reload_refused")

    def observe(self):
        return Observed(self.missing, self.configuration, self.processes)

    def render(self, in_force):
        return "new"

    def configure(self, text):
        self._call(f"configure {text}")
        type(self).configuration = text

    def validate(self):
        self._call("validate")

    def reload(self):
        self._call("reload")

    def restart(self):
        self._call("restart")

    def served(self, place):
        return self.serves

    def undo(self, before, loaded):
        self.calls.append(f"undo {before.configuration} {loaded}")
        type(self).configuration = before.configuration

    def remove(self):
        self._call("remove")
        type(self).configuration = None


@pytest.fixture
def driver(directory):
    class Driver(Recorded):
        calls: list = []
        serves = make_certificate(directory / "current")

    return Driver


@pytest.fixture
def asked(directory):
    return settings(directory, free_port(), timeout=0.1)


def failure(act, *arguments):
    with pytest.raises(EsyncError) as caught:
        act(*arguments)
    return caught.value


def test_the_order_of_a_first_run_and_then_nothing_differs(driver, asked):
    outcome = procedure.bring_up(driver, asked)
    assert (outcome.ended.ended, outcome.ended.restarted) == (0, False)
    expected = procedure.EndpointOutcome(("configuration_differs", "not_loaded"), "", "new", asked.configuration)
    assert replace(outcome, ended=None) == expected
    assert driver.calls == UP
    assert procedure.bring_up(driver, asked) == procedure.EndpointOutcome((), "new", "new", asked.configuration)
    assert driver.calls == UP


def test_the_note_is_gone_when_the_reload_is_tried(driver, asked):
    procedure.bring_up(driver, asked)
    driver.calls.clear()
    assert procedure.bring_up(driver, replace(asked, restart=True)).reasons == ("restart_asked_for",)
    assert driver.calls == ["configure new with a note", "validate with a note", "restart"]
    assert os.path.exists(os.path.join(asked.directory, "endpoint.loaded"))


def test_a_reload_that_failed_is_repeated(driver, asked):
    procedure.bring_up(driver, asked)
    driver.failing = "restart"
    failure(procedure.bring_up, driver, replace(asked, restart=True))
    assert procedure.bring_up(driver, asked).reasons == ("not_loaded",)


def test_what_was_refused_before_the_reload_leaves_the_note(driver, asked):
    procedure.bring_up(driver, asked)
    driver.failing = "validate"
    failure(procedure.bring_up, driver, replace(asked, restart=True))
    assert procedure.bring_up(driver, asked).reasons == ()


@pytest.mark.parametrize("failing, loaded", [("configure", False), ("validate", False), ("reload", False)])
def test_what_fails_is_undone(driver, asked, failing, loaded):
    driver.configuration, driver.failing = "old", failing
    assert f"{failing}" in str(failure(procedure.bring_up, driver, asked))
    assert driver.calls[-1] == f"undo old {loaded}"
    assert not os.path.exists(os.path.join(asked.directory, "endpoint.loaded"))


def test_what_is_not_proved_is_undone_and_told_with_both_certificates(driver, asked):
    wanted, driver.serves = driver.serves, "ff"
    error = failure(procedure.bring_up, driver, asked)
    assert driver.calls == [*UP, "undo None True"]
    assert (error.kind, error.remedy, error.path) == ("reload_refused", driver.remedy, asked.configuration)
    assert f"serves the certificate ff 0.1 seconds after the reload, and should serve {wanted}" in str(error)
    assert not os.path.exists(os.path.join(asked.directory, "endpoint.loaded"))


def test_another_trust_or_certificate_makes_it_reload(driver, asked, directory, tmp_path):
    procedure.bring_up(driver, asked)
    make_certificate(tmp_path / "b", "b", "client")
    trust(directory, tmp_path / "b")
    assert procedure.bring_up(driver, asked).reasons == ("not_loaded",)
    assert procedure.bring_up(driver, asked).reasons == ()
    driver.serves = make_certificate(directory / "current")
    assert procedure.bring_up(driver, asked).reasons == ("not_loaded",)
    assert procedure.bring_up(driver, asked).reasons == ()


def test_what_does_not_run(driver, asked):
    driver.processes = frozenset()
    assert procedure.bring_up(driver, asked, check=True).reasons[-1] == "not_running"


def test_check_only_looks(driver, asked, directory):
    assert procedure.bring_up(driver, asked, check=True).reasons == ("configuration_differs", "not_loaded")
    assert procedure.bring_up(driver, replace(asked, directory=f"{directory}/none"), True).reasons == ("not_loaded",)
    driver.configuration = "old"
    assert procedure.take_down(driver, asked, "present", check=True).reasons == ("present",)
    (directory / "current" / "server.crt").write_text("damaged")
    damaged = procedure.bring_up(driver, asked, check=True)
    assert damaged == procedure.EndpointOutcome(("not_loaded",), "old", "old", asked.configuration)
    assert driver.calls == []
    assert failure(procedure.bring_up, driver, asked).kind == "damaged_file"


def test_what_is_missing_is_told(driver, asked):
    driver.missing = EsyncError("not installed", "Install it", kind="missing_dependency")
    assert procedure.bring_up(driver, asked, check=True).reasons == ("recorded_is_missing",)
    assert failure(procedure.bring_up, driver, asked) is driver.missing
    assert driver.calls == []


def test_a_port_that_another_process_holds(driver, asked):
    with socket.create_server(("127.0.0.1", asked.port)):
        error = failure(procedure.bring_up, driver, asked)
        assert error.kind == "port_taken"
        assert f"(process {os.getpid()})" in str(error)
        assert driver.calls == []
        # Unless it is its own, or nobody can know.
        driver.processes = frozenset([os.getpid()])
        procedure.bring_up(driver, asked)
        driver.processes = None
        procedure.bring_up(driver, replace(asked, restart=True))


def test_taking_it_down(driver, asked):
    procedure.bring_up(driver, asked)
    driver.calls.clear()
    outcome = procedure.take_down(driver, asked, "present")
    assert outcome == procedure.EndpointOutcome(("present",), "new", "", asked.configuration)
    assert driver.calls == ["remove with a note", "validate with a note", "reload"]
    assert not os.path.exists(os.path.join(asked.directory, "endpoint.loaded"))
    assert procedure.take_down(driver, asked, "present") == procedure.NOTHING


@pytest.mark.parametrize("change", [{"processes": frozenset()}, {"missing": EsyncError("not installed", "")}])
def test_what_does_not_run_is_not_started_by_taking_it_down(driver, asked, change):
    driver.configuration = "old"
    for name, value in change.items():
        setattr(driver, name, value)
    procedure.take_down(driver, asked, "present")
    assert "reload" not in driver.calls


def test_what_cannot_be_taken_down_stays(driver, asked):
    procedure.bring_up(driver, asked)
    driver.failing = "validate"
    failure(procedure.take_down, driver, asked, "present")
    assert driver.calls[-1] == "undo new False"
    assert procedure.bring_up(driver, asked).reasons == ()


def test_it_is_taken_down_without_a_directory_of_the_mesh(driver, asked, directory):
    driver.configuration = "old"
    gone = replace(asked, directory=f"{directory}/none")
    assert procedure.take_down(driver, gone, "present").reasons == ("present",)
