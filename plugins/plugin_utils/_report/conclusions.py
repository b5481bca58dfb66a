# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What only both ends of a pair together can prove: what the caller saw, and what is on the peer's disk.

A caller that is refused cannot know whether it is missing in the peer's trust or the peer's service was not reloaded.
The control node knows, because the first call of the run read both disks.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ansible_collections.esync.mesh.plugins.module_utils._connection.causes import CAUSES, short
from ansible_collections.esync.mesh.plugins.module_utils._core.names import CLIENT, CURRENT, SERVER

Result = dict[str, Any]

_NETWORK = ("host_unreachable", "connection_timed_out", "endpoint_not_listening")


@dataclass(frozen=True)
class View:
    """What a server has on its own disk, and serves by its own word.

    :param clients: the client certificates that its trust holds: fingerprint to peer; None if that is not known, or
        may have changed since it was read.
    :param own: its own server certificates: fingerprint to state.
    :param looked: whether its own port was looked at. :param served: the fingerprint that was found there, if any.
    :param sites: of a server with sites, that of each of them.
    """

    clients: Mapping[str, str] | None = None
    own: Mapping[str, str] = field(default_factory=dict)
    looked: bool = False
    served: str | None = None
    sites: Mapping[str, str | None] = field(default_factory=dict)


def view_of(read: Mapping[str, Any], trust: Mapping[str, Any], settled: bool = True) -> View:
    """The view of one server.

    :param read: the result of the run's first call, C(certificate_set) or C(certificate_info).
    :param trust: the result of C(peer_trust), which may have changed the trust since.
    :param settled: whether the trust was read in this run and changed by nothing else than that.
    """
    in_force = trust.get("trust") if trust.get("changed") else read.get("trust")
    observed = read.get("observed") or {}
    return View(
        {
            sys.intern(str(entry["fingerprint"])): sys.intern(str(entry["peer"]))
            for entry in _entries(in_force)
            if entry["role"] == CLIENT
        }
        if settled
        else None,
        {str(one[SERVER]["fingerprint"]): str(one["state"]) for one in read.get("generations") or ()},
        bool(observed),
        observed.get("served"),
        observed.get("sites") or {},
    )


def _entries(trust: Mapping[str, Any] | None) -> Sequence[Mapping[str, Any]]:
    return (trust or {}).get("entries") or ()


def conclude(caller: str, result: Result, attempts: Iterable[Mapping[str, Any]], view: View | None) -> Result:
    """The result of one pair, with what the refusals and the peer's view add.

    :param attempts: what the peer, at this site, accepted of this caller and had to refuse.
    :param view: what is on the peer's disk; None if it took no part in the run.
    """
    return _with_view(caller, _with_attempts(result, list(attempts)), view)


def _with_attempts(result: Result, attempts: Sequence[Mapping[str, Any]]) -> Result:
    """A pair is not ok if its peer accepts what it must refuse."""
    if not attempts or result["verdict"] == "failed":
        return result
    detail = " ".join(str(one.get("detail") or "") for one in attempts).strip()
    first = {key: attempts[0].get(key) for key in ("cause", "remedy")}
    return {**result, "verdict": "failed", **first, "detail": detail}


def _with_view(caller: str, result: Result, view: View | None) -> Result:
    if view is None or not result.get("cause"):
        return result
    if result.get("site"):
        # What was found on the port of another site says nothing of this one.
        site = str(result["site"])
        view = replace(view, looked=view.looked and site in view.sites, served=view.sites.get(site))
    peer, cause = str(result["to"]), result["cause"]
    if cause == "client_certificate_refused":
        return _refused(caller, peer, result, view)
    if cause == "server_certificate_unknown":
        return _unknown(peer, result, view)
    if cause in _NETWORK and view.looked:
        return _unreached(peer, result, view)
    return result


def _refused(caller: str, peer: str, result: Result, view: View) -> Result:
    shown = result.get("client_fingerprint")
    if view.clients is None or not shown:
        return result
    if shown in view.clients:
        return _adding(
            result,
            f"The trust on the disk of {peer} has this certificate, so its endpoint has not loaded that trust.",
            f"Reload the service of {peer}, and read what the reload reports; if that does not help, stop it, then "
            "start it.",
        )
    # Its own one, where it shares that with its callers.
    who = next((name for name in (caller, peer) if name in view.clients.values()), caller)
    others = [short(fingerprint) for fingerprint, owner in view.clients.items() if owner == who]
    has = f"it has {' and '.join(others)} of {who}" if others else f"it has none of {who}"
    return _adding(
        result,
        f"This certificate is missing in the trust on the disk of {peer}: {has}.",
        f"Run establish for both. If the certificates of {caller} were regenerated without an exchange, and on "
        f"purpose, with esync_accept_changed={caller}.",
    )


def _unknown(peer: str, result: Result, view: View) -> Result:
    seen = result.get("server_fingerprint")
    if not seen:
        return result
    if seen in view.own:
        return _adding(
            result,
            f"It is the {view.own[seen]} certificate on the disk of {peer}: it was regenerated without an exchange.",
            f"Run establish over the entire group. If that refuses the change and you made it, with "
            f"esync_accept_changed={peer}; otherwise find out who did it before you trust it.",
        )
    if view.served == seen:
        return _served_elsewhere(peer, result, view)
    if view.served:
        return _adding(
            result,
            f"On {peer} itself its port serves {short(view.served)}, so something else answers at its address.",
            f"Correct esync_address and esync_port of {peer}, and find out what answers there.",
        )
    return result


def _served_elsewhere(peer: str, result: Result, view: View) -> Result:
    """The peer itself serves a certificate that is none of its live ones."""
    current = next((one for one, state in view.own.items() if state == CURRENT), None)
    detail = f"{peer} itself serves it, but has {short(current)} as its current certificate on its disk."
    if result.get("served_subject") == peer:
        return {**_adding(result, detail, CAUSES["stale_generation_served"].remedy), "cause": "stale_generation_served"}
    return _adding(
        result, detail, f"Point the service of {peer} at current/server.crt and current/server.key, and reload it."
    )


def _unreached(peer: str, result: Result, view: View) -> Result:
    if view.served:
        return _adding(
            result,
            f"On {peer} itself its endpoint answers, so the cause lies between the two, or it listens on another "
            "address.",
        )
    port = f"the port of {result['site']}" if result.get("site") else "its eSync port"
    return _adding(result, f"On {peer} itself nothing answers on {port} either.")


def _adding(result: Result, detail: str, remedy: str | None = None) -> Result:
    return {
        **result,
        "detail": f"{result.get('detail') or ''} {detail}".strip(),
        "remedy": remedy or result.get("remedy") or "",
    }
