# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What servers were told to distrust, held against the ledger: one that was lost, or is old, knows less."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace

from ansible_collections.esync.mesh.plugins.module_utils._core.errors import EsyncError
from ansible_collections.esync.mesh.plugins.module_utils._store.distrust import REMOVED, Distrust
from ansible_collections.esync.mesh.plugins.plugin_utils._ledger.admission import identities
from ansible_collections.esync.mesh.plugins.plugin_utils._ledger.records import LedgerRecord, read_generations
from ansible_collections.esync.mesh.plugins.plugin_utils._planning.run import Run, Server, at_least_half
from ansible_collections.esync.mesh.plugins.plugin_utils._planning.trust import distrusted_by
from ansible_collections.esync.mesh.plugins.plugin_utils._wording import abbreviated


def hold_against_ledger(run: Run) -> None:
    """Refuse to go on with servers that know of withdrawn certificates of which the ledger knows nothing.

    What a server says counts for itself alone, so a single one cannot stop the others. If at least half of them say
    so, the ledger is the one that is wrong, and nobody goes on.

    :raises EsyncError: kind ``ledger_knows_less``.
    """
    unknown = _unknown(run)
    if unknown and run.mesh["esync_recover_distrusted"]:
        _recover(run, unknown)
        unknown = _unknown(run)
    if not unknown:
        return
    if at_least_half(len(unknown), len(_remembering(run))):
        raise _knows_less(sorted(unknown), {one for rows in unknown.values() for one in rows})
    for name, rows in unknown.items():
        run.fail(run.servers[name], _knows_less([name], rows))


def _heard(run: Run) -> list[Server]:
    """Those whose word counts: what is compromised has no say in how that is answered."""
    return [server for server in run.present if server.name not in run.mesh["esync_compromised"]]


def _remembering(run: Run) -> list[Server]:
    return [server for server in _heard(run) if server.trust is not None]


def _unknown(run: Run) -> dict[str, frozenset[Distrust]]:
    """Server name to what it remembers and the ledger does not."""
    known = {one.fingerprint for one in distrusted_by(run.ledger)}
    found = {
        server.name: frozenset(one for one in server.remembered if one.fingerprint not in known)
        for server in _heard(run)
    }
    return {name: rows for name, rows in found.items() if rows}


def _recover(run: Run, unknown: Mapping[str, Collection[Distrust]]) -> None:
    """Take into the ledger what at least half of the servers say alike, but no single one of what another presents."""
    heard = len(_remembering(run))
    said: dict[Distrust, list[str]] = {}
    for name, rows in unknown.items():
        for one in rows:
            said.setdefault(one, []).append(name)
    shown = {
        each: server.name
        for server in _heard(run)
        for each in identities(read_generations(server.read.get("generations") or (), server.name))
    }

    def alone(one: Distrust, by: list[str]) -> bool:
        owners = {shown[each] for each in (one.fingerprint, one.key) if each in shown}
        return len(by) == 1 and bool(owners - {*by})

    agreed = [one for one, by in said.items() if at_least_half(len(by), heard) and not alone(one, by)]
    for peer in sorted({one.peer for one in agreed}):
        rows = sorted(one for one in agreed if one.peer == peer)
        run.record(_recovered(run.ledger.get(peer), run.servers.get(peer), rows))
        run.say(f"Recovered from the servers: {abbreviated([str(one) for one in rows])}.")


def _recovered(known: LedgerRecord | None, server: Server | None, rows: Collection[Distrust]) -> LedgerRecord:
    peer = next(iter(rows)).peer
    before = known or LedgerRecord(peer, server.address if server else "", server.port if server else 0)
    gone = {key for one in rows for key in (one.fingerprint, one.key) if key}
    removed = before.removed_at
    if known is None and server is None:
        removed = next((one.since for one in rows if one.why == REMOVED), None)
    return replace(
        before,
        generations=tuple(one for one in before.generations if gone.isdisjoint(identities([one]))),
        distrusted=(*before.distrusted, *rows),
        removed_at=removed,
    )


def _knows_less(servers: Collection[str], rows: Collection[Distrust]) -> EsyncError:
    return EsyncError(
        f"{abbreviated(list(servers))} distrusts certificates that the ledger does not know: "
        f"{abbreviated([str(one) for one in sorted(rows)])}. The ledger is older than that, or was lost",
        "Bring the newest ledger back (git pull, a backup). If there is none, let it learn what most of the servers "
        "were told: -e esync_recover_distrusted=true",
        kind="ledger_knows_less",
        server=next(iter(servers)) if len(servers) == 1 else None,
    )
