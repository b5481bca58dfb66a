# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a server remembers of the certificates that nobody may trust any more, whatever becomes of the ledger."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import Any, Dict, Iterable, Mapping, Tuple

from ansible_collections.esync.mesh.plugins.module_utils._core import names
from ansible_collections.esync.mesh.plugins.module_utils._core.certificate import FINGERPRINT, TIMESTAMP
from ansible_collections.esync.mesh.plugins.module_utils._core.errors import EsyncError

REMOVED, COMPROMISED = "removed", "compromised"

_FIELDS = ("peer", "role", "fingerprint", "key", "since", "why", "not_after")


@dataclass(frozen=True, order=True)
class Distrust:
    """A certificate that nobody may trust any more, under whichever name.

    :param peer: the server that it was of. :param fingerprint: SHA-256, lower-case hex.
    :param key: SHA-256 of its public key (SubjectPublicKeyInfo, DER); empty if it was not noted.
    :param since: when it lost trust, UTC. :param why: ``removed`` or ``compromised``.
    :param not_after: when it ends by itself, UTC, for people to see: it is distrusted for ever. Empty: not noted.
    """

    peer: str
    role: str
    fingerprint: str
    key: str
    since: str
    why: str
    not_after: str = ""

    def __str__(self) -> str:
        return f"{self.peer}'s {self.role} certificate {self.fingerprint} ({self.why}, since {self.since})"


def distrust_from(items: Iterable[Mapping[str, Any]]) -> Tuple[Distrust, ...]:
    """From JSON, validated; sorted, and no certificate twice.

    :raises EsyncError: kind ``bad_entry``.
    """
    found: Dict[str, Distrust] = {}
    for item in items:
        one = Distrust(*(str(item.get(key, "")) for key in _FIELDS))
        if (
            names.problems(one.peer)
            or one.role not in names.ROLES
            or not FINGERPRINT.match(one.fingerprint)
            or not (one.key == "" or FINGERPRINT.match(one.key))
            or not TIMESTAMP.match(one.since)
            or one.why not in (REMOVED, COMPROMISED)
            or not (one.not_after == "" or TIMESTAMP.match(one.not_after))
        ):
            raise EsyncError(
                "the entry of a distrusted certificate is malformed",
                "Run establish over the whole group",
                kind="bad_entry",
            )
        found.setdefault(one.fingerprint, one)
    return tuple(sorted(found.values()))


def memory_digest(remembered: Iterable[Distrust]) -> str:
    """SHA-256 over all of it, by which a file that was damaged is recognised."""
    rows = [list(vars(one).values()) for one in sorted(remembered)]
    return hashlib.sha256(json.dumps(rows, separators=(",", ":")).encode("ascii")).hexdigest()
