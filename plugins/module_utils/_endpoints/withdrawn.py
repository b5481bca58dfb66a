# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Connections that were opened with a certificate which is not trusted any more: they end, and no others do.

A reload refuses such a certificate from then on, but whoever is connected stays connected, as long as he likes. Which
connection was opened with which certificate, only the product knows; for one that notes nothing, the address of a
withdrawn server has to do. The kernel ends them, one by one, so that the product need not be stopped.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import time
from dataclasses import dataclass
from typing import Dict, FrozenSet, Iterable, List, Optional, Set, Tuple

from ansible_collections.esync.mesh.plugins.module_utils._connection.resolution import NotResolved, resolve
from ansible_collections.esync.mesh.plugins.module_utils._core import connections, layout, processes
from ansible_collections.esync.mesh.plugins.module_utils._core.connections import Connection
from ansible_collections.esync.mesh.plugins.module_utils._core.errors import EsyncError
from ansible_collections.esync.mesh.plugins.module_utils._endpoints.contract import Caller, Endpoint
from ansible_collections.esync.mesh.plugins.module_utils._endpoints.in_force import trusted_clients


@dataclass(frozen=True)
class Ended:
    """What became of the open connections.

    :param ended: how many were ended. :param spared: how many go on. :param seconds: how long it took.
    :param restarted: whether the product had to be stopped for it, with all of its connections.
    """

    ended: int
    spared: int
    seconds: float
    restarted: bool = False


def end_now(endpoint: Endpoint) -> Ended:
    """End the connections of those that are not trusted any more, whatever that takes.

    :raises EsyncError: kind ``connections_left``: neither the kernel nor a restart ended them.
    """
    began = time.monotonic()
    wrong, others = _sorted(endpoint)
    if not wrong:
        return Ended(0, len(others), time.monotonic() - began)
    said = connections.end(wrong)
    restarted = bool(_left(wrong))
    if restarted:
        # Everybody's connections end then, which is better than those of an attacker going on.
        endpoint.restart()
        if not processes.wait_until(lambda: not _left(wrong), min(1, endpoint.settings.timeout)):
            left = _left(wrong)
            raise EsyncError(
                f"{len(left)} connections that were opened with certificates which are not trusted any more go on, "
                f"such as that of {left[0].peer} port {left[0].peer_port}"
                + (f"; the kernel does not end them: {said}" if said else ""),
                "Restart the service by hand, and run again; or give the user of the run the right CAP_NET_ADMIN",
                kind="connections_left",
                server=endpoint.settings.name,
            )
    return Ended(len(wrong), 0 if restarted else len(others), time.monotonic() - began, restarted)


def end_after(endpoint: Endpoint) -> Ended:
    """The same for what was replaced as planned: it may go on for a while after the reload, and nothing is stopped."""
    began = time.monotonic()
    wrong, _others = _sorted(endpoint)
    processes.wait_until(lambda: not _left(wrong), _time_left(endpoint))
    # Once more, because who had not asked for anything yet was not known.
    wrong, others = _sorted(endpoint)
    connections.end(wrong)
    left = _left(wrong)
    return Ended(len(wrong) - len(left), len(others) + len(left), time.monotonic() - began)


def _time_left(endpoint: Endpoint) -> float:
    """Seconds until they end: the note of what is loaded is as old as the last reload."""
    try:
        loaded = os.stat(os.path.join(endpoint.settings.directory, layout.LOADED)).st_mtime
    except OSError:
        return 0
    drain = endpoint.settings.drain
    # A clock that was set meanwhile makes nobody wait longer.
    return min(drain, max(0.0, loaded + drain - time.time()))


def _sorted(endpoint: Endpoint) -> Tuple[List[Connection], List[Connection]]:
    """The open connections that have to end, and the others through the ports of the endpoint."""
    settings = endpoint.settings
    ports = {place.port for place in settings.places}
    found = connections.open_connections()
    calls = [one for one in found if one.port in ports]
    places = {(one, port) for name, port in settings.withdrawn for one in _addresses_of(name, settings.timeout)}
    away = {address for address, _port in places}
    known = _known(endpoint, calls) if calls else {}
    is_trusted = {one: known.get(_caller(one), one.peer not in away) for one in calls}
    # Opened by services of this host, to a server that is withdrawn.
    own = [one for one in found if one.port not in ports and (one.peer, one.peer_port) in places]
    return [*(one for one in calls if not is_trusted[one]), *own], [one for one in calls if is_trusted[one]]


def _known(endpoint: Endpoint, calls: List[Connection]) -> Dict[Caller, bool]:
    """Whether the certificates are trusted now that opened connections, as far as the product has noted it."""
    noted = endpoint.noted()
    if noted is None:
        return {}
    found = {}
    if endpoint.settings.withdrawn:
        # Who has connected and was not noted yet would have until the time-out of a process that has the old trust.
        leaving = _sockets_of(endpoint.leaving())
        found = {_caller(one): False for one in calls if leaving is None or f"socket:[{one.inode}]" in leaving}
    trusted = {hashlib.sha1(der).hexdigest() for der in trusted_clients(endpoint.settings.directory)}
    # A port is used again and again, so the last one counts.
    found.update((one.caller, one.certificate in trusted) for one in noted.presented)
    return found


def _caller(one: Connection) -> Caller:
    return one.port, one.peer, one.peer_port


def _sockets_of(pids: Iterable[int]) -> Optional[FrozenSet[str]]:
    """What these processes have open; None if that cannot be seen here."""
    found: Set[str] = set()
    for pid in pids:
        if processes.hides_files(pid):
            return None
        with contextlib.suppress(OSError):
            found.update(processes.open_files(pid))
    return frozenset(found)


def _addresses_of(name: str, waited: float) -> FrozenSet[str]:
    try:
        return frozenset(connections.plain(str(one[4][0]).partition("%")[0]) for one in resolve(name, 0, waited))
    except NotResolved:
        return frozenset()


def _left(wrong: List[Connection]) -> List[Connection]:
    now: FrozenSet[Connection] = frozenset(connections.open_connections())
    return [one for one in wrong if one in now]
