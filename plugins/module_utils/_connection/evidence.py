# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is known of a pair before it is tested, and what was found out; causes.py turns one into the other."""

from __future__ import annotations

import datetime
from dataclasses import dataclass, field
from typing import Mapping, Optional, Tuple

from ansible_collections.esync.mesh.plugins.module_utils._connection.cause_table import CAUSES
from ansible_collections.esync.mesh.plugins.module_utils._core.names import STATES


@dataclass(frozen=True)
class Diagnosis:
    """What was found out about a pair.

    :param cause: a key of CAUSES. :param detail: the evidence in words, with names, addresses and fingerprints.
    :param remedy: what to do; that of the table unless something better is known.
    """

    cause: str
    detail: str
    remedy: str = ""

    def __post_init__(self) -> None:
        if not self.remedy:
            object.__setattr__(self, "remedy", CAUSES[self.cause].remedy)


@dataclass(frozen=True)
class PairEvidence:
    """One directed pair, and what is known before the test.

    :param server: the caller's name. :param peer: the peer's name.
    :param address: a name or an address. :param port: TCP.
    :param expected: the peer's server certificates: fingerprint to state.
    :param require: the states that the peer may serve.
    :param known: every other fingerprint of the mesh: to ``NAME role state``.
    :param own: the caller's own certificates: fingerprint to ``role state``.
    :param site: the site of the peer that is meant; None: it has none.
    :param cluster: the name of the cluster whose balancer is called; until it is known which member
        answers, the peer is called so, too. :param members: the cluster's members: name to what is expected of each.
    """

    server: str
    peer: str
    address: str
    port: int
    expected: Mapping[str, str]
    require: Tuple[str, ...] = STATES
    known: Mapping[str, str] = field(default_factory=dict)
    own: Mapping[str, str] = field(default_factory=dict)
    site: Optional[str] = None
    cluster: str = ""
    members: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    @property
    def place(self) -> str:
        """Peer, address and port for messages."""
        address = f"[{self.address}]" if ":" in self.address else self.address
        return f"{self.called} ({address}:{self.port})"

    @property
    def called(self) -> str:
        """The peer for messages."""
        if not self.cluster:
            return f"{self.peer} [{self.site}]" if self.site else self.peer
        return f"the cluster {self.cluster}" if self.peer == self.cluster else f"{self.peer} of cluster {self.cluster}"

    @property
    def wanted(self) -> str:
        """The certificates that the peer may serve, for messages."""
        if self.members and self.peer == self.cluster:
            return f"one of the {len(self.expected)} certificates of its members"
        found = [f"{fingerprint} ({state})" for fingerprint, state in self.expected.items() if state in self.require]
        return ", ".join(found) or "none, because no certificate of it is known"


def short(fingerprint: Optional[str]) -> str:
    """A fingerprint that can be recognised and still be read."""
    return f"{fingerprint[:16]}..." if fingerprint else "none"


def utc_text(moment: datetime.datetime) -> str:
    """A time as messages have it, such as ``2027-11-23T19:00:00Z``."""
    return moment.astimezone(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
