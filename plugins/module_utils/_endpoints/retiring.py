# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Who still presents a certificate that is about to be retired: looked up, and waited for within one visit.

Two ends know a part of it each: the endpoint which certificate came from which address and port, and the host of the
caller which process called from there. The control node puts them together.
"""

from __future__ import annotations

import contextlib
import hashlib
import time
from dataclasses import dataclass
from typing import Dict, FrozenSet, List, Mapping, Optional, Sequence, Tuple

from ansible_collections.esync.mesh.plugins.module_utils._connection import tls
from ansible_collections.esync.mesh.plugins.module_utils._core import connections, names, processes
from ansible_collections.esync.mesh.plugins.module_utils._core.errors import EsyncError
from ansible_collections.esync.mesh.plugins.module_utils._endpoints.contract import Endpoint, Presented
from ansible_collections.esync.mesh.plugins.module_utils._endpoints.in_force import trusted_clients

CALLS = 200
"""How many connections of a caller, and of this host, are returned at the most: the last ones."""

LEAST = 15.0
"""Seconds for which a host looks at what it calls before its wait may end early. Whom its own processes still present
something to, its endpoint cannot know: it may be quiet here while they call others."""

_POLL = 0.05
_SHARE = 9
"""How many times as long as a look at the connections keeps the processor busy nothing is done after it."""


@dataclass(frozen=True)
class Watch:
    """What is looked for.

    :param retired: the SHA-256 fingerprints of the client certificates that are about to be retired.
    :param since: from when on nobody should present them any more, by the clock of this host.
    :param seconds: they may be retired once nobody has presented them for so long; it is waited for this time at most.
    :param ports: those of the endpoints that this host calls.
    """

    retired: FrozenSet[str]
    since: float
    seconds: float
    ports: FrozenSet[int]


@dataclass(frozen=True)
class Caller:
    """A caller that has presented a certificate that is about to be retired.

    :param fingerprint: that of the certificate, SHA-256. :param address: where he called from.
    :param seconds_ago: when he presented it for the last time.
    :param longest_gap: the longest time between two connections with it, in seconds; 0: there was only one.
    :param renewed_ago: when another certificate of the same server came from there for the last time; None: none did.
    :param connections: how many he has opened with it.
    :param calls: his port, and the port that he called, of the last of these.
    """

    fingerprint: str
    address: str
    seconds_ago: float
    longest_gap: float
    renewed_ago: Optional[float]
    connections: int
    calls: Tuple[Tuple[int, int], ...]


@dataclass(frozen=True)
class Call:
    """A connection that this host has opened to an endpoint.

    :param address: of this end. :param port: of this end. :param called: the port of the endpoint.
    :param process: who has opened it.
    """

    address: str
    port: int
    called: int
    process: str


def watch(endpoint: Optional[Endpoint], wanted: Watch) -> Tuple[Optional[List[Caller]], List[Call]]:
    """Look who presents what is about to be retired, until nobody did for a while.

    Where the endpoint does not note what is presented, the whole time passes.

    :param endpoint: None: what is presented here is not known.
    :returns: the callers that presented it since then; None: the endpoint does not note it. And what this host called
        meanwhile.
    """
    began = time.monotonic()
    calls = _Calls(wanted.ports)
    until = began
    while True:
        calls.look()
        if time.monotonic() >= until:
            found = _found(endpoint, wanted)
            at_most = began + wanted.seconds
            until = min(at_most, max(began + LEAST, time.monotonic() + found.quiet_in)) if found else at_most
            if time.monotonic() >= until:
                return (found.callers if found else None), calls.found
        calls.pause(until - time.monotonic())


@dataclass(frozen=True)
class _Found:
    """:param quiet_in: after how many seconds it was not presented for long enough, if nobody does."""

    callers: List[Caller]
    quiet_in: float


def _found(endpoint: Optional[Endpoint], wanted: Watch) -> Optional[_Found]:
    now = time.time()
    noted = endpoint.noted() if endpoint else None
    if endpoint is None or noted is None:
        return None
    try:
        owners = _owners(endpoint.settings.directory)
    except (EsyncError, OSError):
        return None
    retired = {certificate for certificate, owner in owners.items() if owner[1] in wanted.retired}
    since = min(wanted.since, now - wanted.seconds)
    presented = [one for one in noted.presented if one.at >= since]
    last = max([noted.since, *(one.at for one in presented if one.certificate in retired)])
    # A clock that was set meanwhile makes nobody wait longer.
    quiet_in = min(wanted.seconds, max(0.0, last + wanted.seconds - now))
    return _Found(callers_of(presented, owners, wanted, now), quiet_in)


def _owners(directory: str) -> Dict[str, Tuple[str, str]]:
    """SHA-1 fingerprint of each client certificate that is accepted to the name of its owner and the SHA-256 one."""
    peers = {one.fingerprint: one.peer for one in tls.read_trust(directory).entries if one.role == names.CLIENT}
    found = {}
    for der in trusted_clients(directory):
        fingerprint = hashlib.sha256(der).hexdigest()
        found[hashlib.sha1(der).hexdigest()] = (peers.get(fingerprint, ""), fingerprint)
    return found


def callers_of(
    presented: Sequence[Presented], owners: Mapping[str, Tuple[str, str]], wanted: Watch, now: float
) -> List[Caller]:
    """Put together what callers presented.

    :param presented: as the endpoint has noted it. :param owners: SHA-1 fingerprint of each accepted certificate to its
        owner and its SHA-256 fingerprint. :param now: the time, by the same clock.
    """
    old: Dict[Tuple[str, str], List[Presented]] = {}
    renewed: Dict[Tuple[str, str], float] = {}
    for one in presented:
        if one.at < wanted.since or one.certificate not in owners:
            continue
        owner, fingerprint = owners[one.certificate]
        caller = (owner, one.caller[1])
        if fingerprint in wanted.retired:
            old.setdefault(caller, []).append(one)
        else:
            renewed[caller] = max(one.at, renewed.get(caller, 0.0))
    found = []
    for caller, uses in sorted(old.items()):
        uses.sort(key=lambda use: use.at)
        times = [one.at for one in uses]
        calls = list(dict.fromkeys((one.caller[2], one.caller[0]) for one in uses))
        found.append(
            Caller(
                fingerprint=owners[uses[-1].certificate][1],
                address=caller[1],
                seconds_ago=max(0.0, now - times[-1]),
                longest_gap=max((later - earlier for earlier, later in zip(times, times[1:])), default=0.0),
                renewed_ago=max(0.0, now - renewed[caller]) if caller in renewed else None,
                connections=len(calls),
                calls=tuple(calls[-CALLS:]),
            )
        )
    return found


class _Calls:
    """The connections that this host opens, as far as they last long enough to be seen, and by whom."""

    def __init__(self, ports: FrozenSet[int]) -> None:
        self._ports = ports
        self._seen: FrozenSet[connections.Connection] = frozenset()
        self._took = 0.0
        self._found: Dict[Tuple[str, int, int], str] = {}

    @property
    def found(self) -> List[Call]:
        """The last ones."""
        return [Call(*key, process) for key, process in list(self._found.items())[-CALLS:]]

    def look(self) -> None:
        """Look at what is open now."""
        began = time.process_time()
        now = frozenset(connections.open_connections(self._ports))
        new = {f"socket:[{one.inode}]": one for one in now - self._seen}
        self._seen = now
        with contextlib.suppress(OSError):
            for name, process in processes.openers(new.keys()).items():
                one = new[name]
                self._found[one.local, one.port, one.peer_port] = str(process)
        self._took = time.process_time() - began

    def pause(self, at_most: float) -> None:
        """Leave the processor to others for a while."""
        time.sleep(max(0.0, min(at_most, max(_POLL, _SHARE * self._took))))
