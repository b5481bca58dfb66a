# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The one way to bring an endpoint up and to take it down, whatever its product.

Up: find out why something has to be done, configure, validate, forget the note, reload or restart, prove by the
certificate that is read back, write the note. What fails on the way is undone, and the old configuration serves on.
"""

from __future__ import annotations

import contextlib
import functools
from dataclasses import dataclass, replace
from typing import FrozenSet, List, Optional, Tuple, Type

from ansible_collections.esync.mesh.plugins.module_utils._connection.listener import end_older
from ansible_collections.esync.mesh.plugins.module_utils._core import processes
from ansible_collections.esync.mesh.plugins.module_utils._core.errors import EsyncError
from ansible_collections.esync.mesh.plugins.module_utils._core.folders import Folder
from ansible_collections.esync.mesh.plugins.module_utils._endpoints import in_force as notes
from ansible_collections.esync.mesh.plugins.module_utils._endpoints import values
from ansible_collections.esync.mesh.plugins.module_utils._endpoints.contract import (
    Endpoint,
    EndpointSettings,
    Observed,
)
from ansible_collections.esync.mesh.plugins.module_utils._endpoints.in_force import InForce
from ansible_collections.esync.mesh.plugins.module_utils._endpoints.places import Place, describe, other_protocol
from ansible_collections.esync.mesh.plugins.module_utils._endpoints.withdrawn import Ended, end_after, end_now
from ansible_collections.esync.mesh.plugins.module_utils._store.run_lock import locked

RESTART_ASKED_FOR = "restart_asked_for"
CONFIGURATION_DIFFERS = "configuration_differs"
NOT_LOADED = "not_loaded"
NOT_RUNNING = "not_running"
ANOTHER_SERVED = "another_certificate_served"
CONNECTIONS_ENDED = "connections_ended"


@dataclass(frozen=True)
class EndpointOutcome:
    """What was done, or would be.

    :param reasons: why; empty if nothing was.
    :param before: the configuration that was there.
    :param after: the one that is there now. :param path: where it lies.
    :param ended: what became of open connections; None: they were not looked at.
    """

    reasons: Tuple[str, ...]
    before: str
    after: str
    path: str = ""
    ended: Optional[Ended] = None


_SOON = 2.0
"""Seconds after which it is looked at what else may be spoken on a port that does not serve the certificate."""

NOTHING = EndpointOutcome((), "", "")


def bring_up(driver: Type[Endpoint], settings: EndpointSettings, check: bool = False) -> EndpointOutcome:
    """Let an endpoint serve the current certificate, with the trust in force.

    :param check: change nothing, and say why something would be done.
    :raises EsyncError: kinds ``missing_dependency``, ``no_certificate``, ``bad_setting``, ``port_taken``,
        ``configuration_refused``, ``start_failed``, ``stop_failed``, ``reload_command_failed``,
        ``reload_refused``, ``connections_left``, or files that cannot be used.
    """
    if not driver.is_resident:
        return NOTHING
    endpoint = driver(settings)
    if check:
        with contextlib.ExitStack() as stack:
            base = Folder.find(settings.directory)
            return _plan(endpoint, stack.enter_context(base) if base else None, check).outcome
    missing = endpoint.observe().missing
    if missing:
        raise missing
    notes.current_fingerprint(settings.directory)
    with Folder.open(settings.directory) as folder, locked(folder):
        plan = _plan(endpoint, folder, check)
        if not plan.outcome.reasons:
            return plan.outcome
        return replace(plan.outcome, ended=_load(endpoint, folder, plan))


def drain(driver: Type[Endpoint], settings: EndpointSettings, check: bool = False) -> EndpointOutcome:
    """End the connections that were opened with certificates which were replaced, once they had their time."""
    if check or not driver.is_resident:
        return NOTHING
    ended = end_after(driver(settings))
    return replace(NOTHING, reasons=(CONNECTIONS_ENDED,) if ended.ended else (), ended=ended)


def take_down(driver: Type[Endpoint], settings: EndpointSettings, reason: str, check: bool = False) -> EndpointOutcome:
    """Take away what is ours of an endpoint; its product goes on with whatever else it does.

    :param reason: why, as the outcome says it.
    :raises EsyncError: kinds ``configuration_refused``, ``reload_refused``; everything is back in place then.
    """
    endpoint = driver(settings)
    before = endpoint.observe()
    if before.configuration is None:
        return NOTHING
    if not check:
        with contextlib.ExitStack() as stack:
            base = Folder.find(settings.directory)
            if base:
                stack.enter_context(base)
                stack.enter_context(locked(base))
            _unload(endpoint, base, before)
    return EndpointOutcome((reason,), before.configuration, "", settings.configuration)


# -- up -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Plan:
    """What is to be done, and for what.

    :param wanted: the fingerprint of the certificate that is to be served; None: it is not known.
    :param note: what is noted once it is proved.
    """

    outcome: EndpointOutcome
    observed: Observed
    wanted: Optional[str]
    note: str


def _plan(endpoint: Endpoint, base: Optional[Folder], check: bool) -> _Plan:
    observed = endpoint.observe()
    before, path = observed.configuration or "", endpoint.settings.configuration
    try:
        in_force = notes.read_in_force(endpoint.settings.directory)
    except EsyncError as error:
        # A step before this one repairs it, but not in check mode.
        if not check or error.kind != "damaged_file":
            raise
        return _Plan(EndpointOutcome((NOT_LOADED,), before, before, path), observed, None, "")
    values.check_product(endpoint.name, endpoint.product, endpoint.settings)
    text = endpoint.render(in_force)
    note = notes.note_of(endpoint.name, in_force, [site.name for site in endpoint.settings.sites], text)
    reasons = _reasons(endpoint, observed, in_force, text, notes.is_noted(base, note))
    return _Plan(EndpointOutcome(tuple(reasons), before, text, path), observed, in_force.certificate, note)


def _reasons(endpoint: Endpoint, observed: Observed, in_force: InForce, text: str, noted: bool) -> List[str]:
    """Why something has to be done; empty if nothing has."""
    if observed.missing:
        return [f"{endpoint.name}_is_missing"]
    if in_force.certificate is None:
        return [NOT_LOADED]
    reasons = [RESTART_ASKED_FOR] if endpoint.settings.restart else []
    if text and observed.configuration != text:
        reasons.append(CONFIGURATION_DIFFERS)
    if not noted:
        reasons.append(NOT_LOADED)
    if not observed.is_running:
        reasons.append(NOT_RUNNING)
    elif any(endpoint.served(place) != in_force.certificate for place in endpoint.settings.places):
        reasons.append(ANOTHER_SERVED)
    return reasons


def _load(endpoint: Endpoint, base: Folder, plan: _Plan) -> Optional[Ended]:
    if plan.observed.processes is not None:
        _claim_ports(endpoint.settings, plan.observed.processes)
    loaded = False
    try:
        endpoint.configure(plan.outcome.after)
        endpoint.validate()
        notes.forget_note(base, endpoint.name)
        if endpoint.settings.restart:
            endpoint.restart()
        else:
            processes.spread(endpoint.settings.jitter if plan.observed.is_running else 0)
            endpoint.reload()
        loaded = True
        for place in endpoint.settings.places:
            _prove(endpoint, place, plan)
    except BaseException:
        endpoint.undo(plan.observed, loaded)
        raise
    # Not undone if it fails: what is in force is right. Nor noted, so that the next run tries again.
    ended = None if endpoint.settings.spare else end_now(endpoint)
    for place in endpoint.settings.places if ended and ended.restarted else ():
        _prove(endpoint, place, plan)
    notes.write_note(base, endpoint.name, plan.note)
    return ended


def _claim_ports(settings: EndpointSettings, ours: FrozenSet[int]) -> None:
    """Make sure that nobody else listens on the ports; a temporary endpoint that a test left is ended.

    :raises EsyncError: kind ``port_taken``, naming the process.
    """
    ports = sorted({place.port for place in settings.places})
    taken: List[int] = []
    for end in (end_older, None):
        taken = [port for port in ports if any(other.pid not in ours for other in processes.holders(port))]
        if not taken:
            return
        if end:
            end(settings.directory)
    raise processes.port_taken(taken[0], settings.name)


def _prove(endpoint: Endpoint, place: Place, plan: _Plan) -> None:
    """Read back what is served until it is what it should be.

    :raises EsyncError: kind ``reload_refused``, naming both certificates, or ``not_tls``.
    """
    settings = endpoint.settings
    proved = functools.partial(_serves, endpoint, place, plan.wanted)
    if processes.wait_until(proved, min(_SOON, settings.timeout)):
        return
    # What begins in another protocol will not begin with TLS later.
    spoken = other_protocol(place.port, settings.address) if settings.timeout > _SOON else None
    if spoken:
        raise EsyncError(
            f"what listens on {place} does not begin with TLS: {spoken}",
            "If it is PostgreSQL, attach it with protocol: postgresql in esync_services (docs/services.md). Otherwise "
            "set esync_endpoint to stunnel, haproxy or nginx, and let the service use the same files on a port of its "
            "own; or correct the port",
            kind="not_tls",
            server=settings.name,
        )
    if not processes.wait_until(proved, max(0, settings.timeout - _SOON)):
        raise EsyncError(
            f"{place} {describe(endpoint.served(place))} {settings.timeout:g} seconds after the reload, "
            f"and should serve {plan.wanted}",
            endpoint.remedy,
            kind="reload_refused",
            server=settings.name,
            path=settings.configuration if plan.outcome.after else None,
        )


def _serves(endpoint: Endpoint, place: Place, wanted: Optional[str]) -> bool:
    return endpoint.served(place) == wanted


# -- down -----------------------------------------------------------------------------------------------------


def _unload(endpoint: Endpoint, base: Optional[Folder], before: Observed) -> None:
    try:
        endpoint.remove()
        if not before.missing:
            endpoint.validate()
        if base:
            notes.forget_note(base, endpoint.name)
        if before.is_running and not before.missing:
            processes.spread(endpoint.settings.jitter)
            endpoint.reload()
    except BaseException:
        endpoint.undo(before, loaded=False)
        raise
