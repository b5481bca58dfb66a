# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Why something that this run should have tested was not: who kept it from that, and what to do."""

from __future__ import annotations

from typing import NamedTuple


class Reason(NamedTuple):
    """The reason. :param cause: a key of the diagnosis table."""

    cause: str
    detail: str
    remedy: str


AWAY = {
    "unreachable": Reason(
        "host_unreachable",
        "The control node could not reach {}.",
        "Bring the server back (power, network, ssh), and run again.",
    ),
    "failed": Reason(
        "host_failed", "{} failed earlier in this run.", "Its error is shown above; remove its cause and run again."
    ),
}
"""The states in which a server neither tests nor answers."""

TITLES = {
    "host_unreachable": "The control node cannot reach the server",
    "host_failed": "The server failed earlier in this run",
    "not_tested": "The server returned no result",
}
"""What the causes mean if nothing was tested, a few words."""


def away(server: str, state: str) -> Reason:
    """A server took no more part. :param state: a key of AWAY."""
    why = AWAY[state]
    return why._replace(detail=why.detail.format(server))


def no_result(server: str) -> Reason:
    """A server took part to the end, and returned nothing for it."""
    return Reason("not_tested", f"{server} returned no result for it.", "Read what went wrong before, and run again.")
