# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Before the previous certificates are retired: who still presents them, whether to wait, and what follows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ansible_collections.esync.mesh.plugins.module_utils._core.names import CLIENT, PREVIOUS
from ansible_collections.esync.mesh.plugins.plugin_utils._planning import rotating, stages, steps
from ansible_collections.esync.mesh.plugins.plugin_utils._planning.run import Run, Server, names_of
from ansible_collections.esync.mesh.plugins.plugin_utils._planning.stages import Visits
from ansible_collections.esync.mesh.plugins.plugin_utils._wording import abbreviated

STOP = "stop"
_LET_IT = (
    "Let that program read its certificate files for each connection, or reload it after a rotation "
    "(docs/regenerate.md, what your own programs must do)"
)


@dataclass(frozen=True)
class Straggler:
    """A caller that presented a previous certificate, and for all that is known would do so again.

    :param owner: the server whose certificate it is. :param called: the server that was called.
    :param caller: the server that he is, or nothing if that is not known.
    :param address: where he called from. :param process: who that was there; empty: it was not seen.
    :param connections: how many he opened with it. :param seconds_ago: when the last one was.
    """

    owner: str
    called: str
    caller: str
    address: str
    process: str
    connections: int
    seconds_ago: float


# -- the stage ------------------------------------------------------------------------------------------------------


def waits(run: Run) -> bool:
    """Whether the run looks, and may wait, before it decides. Else it looks in the visit that retires them."""
    return rotating.retires(run) and _is_watched(run) and (_seconds(run) > 0 or _stops(run))


def watch(run: Run) -> Visits:
    """Let each server wait, all at the same time, until nobody presents the previous certificates any more."""
    if not any(one.serves for one in run.present):
        return {}  # nobody is called between two runs
    return stages.visits_of(run, run.present, lambda server: _watched(run, server, _seconds(run)))


def decide(run: Run) -> None:
    """Stop if somebody still presents them and that was asked for; the mesh accepts both then."""
    seconds = _seconds(run)
    silent = [one for one in run.present if one.serves and one.watched and one.watched["presented"] is None]
    found = _taken(run)
    if silent:
        run.notes.append(
            f"Which certificates callers present is not known of the endpoint of {abbreviated(names_of(silent))}: what "
            f"listens there does not note it (docs/endpoint.md). The run waited the whole {seconds:g} seconds for them."
        )
    if found and _stops(run):
        # In a change to the model pinned the ledger has let go of them already: what hosts trust stays as it is then.
        run.ended, run.keeps_previous = run.retiring, not run.retiring
        run.failures.append(
            f"The previous certificates are not retired, because somebody still presents them: {_sentences(found)} "
            f"Every server accepts both. {_LET_IT}, and run the playbook again: it goes on from here. With "
            "-e esync_retire_stragglers=retire they are retired all the same."
        )
    else:
        _report_retired(run, found)


def keeps(run: Run) -> bool:
    """Whether the run stops with both certificates accepted."""
    return run.keeps_previous


def end(run: Run) -> None:
    """Nobody has anything to receive, so nothing is pending but the rotation."""
    stages.note_received(run)
    run.ended = True


def look_first(run: Run, visits: Visits) -> Visits:
    """Look in the visit that retires them, if the run has not looked before: that costs no call."""
    if waits(run) or not _is_watched(run):
        return visits
    for server in run.present:
        if server.serves and server.name in visits:
            visits[server.name] = [*_watched(run, server, 0), *visits[server.name]]
    return visits


def report(run: Run) -> None:
    """Name those that were seen in the visit that retired them."""
    _report_retired(run, _taken(run))


def _is_watched(run: Run) -> bool:
    # In a removal, what the removed servers hold of the others is retired, and they are not waited for.
    return run.operation == "regenerate"


def _seconds(run: Run) -> float:
    return float(run.mesh["esync_retire_timeout"])


def _stops(run: Run) -> bool:
    return bool(run.mesh["esync_retire_stragglers"] == STOP)


def _watched(run: Run, server: Server, seconds: float) -> list[steps.Step]:
    retired = sorted(str(one.generations[PREVIOUS][CLIENT]["fingerprint"]) for one in run.members if one.has(PREVIOUS))
    return [steps.watched(run, server, retired, seconds)] if retired else []


def _report_retired(run: Run, found: list[Straggler]) -> None:
    if found:
        run.notes.append(
            f"Somebody still presented previous certificates when they were retired, and is refused from then on: "
            f"{_sentences(found)} {_LET_IT}, or give it more time with esync_retire_timeout, which is "
            f"{_seconds(run):g} (seconds)."
        )


# -- who it is ------------------------------------------------------------------------------------------------------


def _taken(run: Run) -> list[Straggler]:
    """What the visits returned, which is needed once."""
    found = stragglers(run.members)
    for server in run.members:
        server.watched = None
    return found


def stragglers(servers: Iterable[Server]) -> list[Straggler]:
    """Who presented a previous certificate, and has not gone over to another since, as far as servers know it."""
    servers = list(servers)
    owners = {str(one.generations[PREVIOUS][CLIENT]["fingerprint"]): one for one in servers if one.has(PREVIOUS)}
    processes: dict[tuple[str, str, int, int], str] = {}
    for server in servers:
        for call in (server.watched or {}).get("calls") or ():
            processes[server.name, call["address"], call["port"], call["called"]] = call["process"]
    found = []
    for server in servers:
        for one in (server.watched or {}).get("presented") or ():
            if has_moved(one):
                continue
            owner = owners[str(one["fingerprint"])]
            # A shared client key belongs to the server that is called, and any peer may use it.
            callers = [owner] if owner is not server else [peer for peer in servers if peer is not server]
            caller, process = _process_of(one, callers, processes)
            found.append(
                Straggler(
                    owner.name,
                    server.name,
                    caller or (owner.name if owner is not server else ""),
                    one["address"],
                    process,
                    int(one["connections"]),
                    one["seconds_ago"],
                )
            )
    return found


def has_moved(one: Mapping[str, Any]) -> bool:
    """Whether a caller presents another certificate by now.

    Several programs may call from one address. So it does not do that one of them presented another: the previous one
    must not have come for longer than it ever stayed away while it was in use.
    """
    renewed_ago = one["renewed_ago"]
    return renewed_ago is not None and renewed_ago < one["seconds_ago"] and one["seconds_ago"] > one["longest_gap"]


def _process_of(
    one: Mapping[str, Any], callers: Iterable[Server], processes: Mapping[tuple[str, str, int, int], str]
) -> tuple[str, str]:
    """The server and the process that opened one of these connections; empty if nobody saw it."""
    for caller in callers:
        for call in one["calls"]:
            process = processes.get((caller.name, one["address"], *call))
            if process:
                return caller.name, process
    return "", ""


# -- words ----------------------------------------------------------------------------------------------------------


def _sentences(found: Iterable[Straggler]) -> str:
    """One sentence for each program, whatever it called."""
    by_program: dict[tuple[str, str, str, str], list[Straggler]] = {}
    for one in found:
        # The owner of a shared client key is another one at each endpoint.
        owner = one.owner if one.owner != one.called else ""
        by_program.setdefault((one.caller, owner, one.address, one.process), []).append(one)
    return " ".join(_sentence(*key, ones) for key, ones in sorted(by_program.items()))


def _sentence(caller: str, owner: str, address: str, process: str, found: list[Straggler]) -> str:
    count = sum(one.connections for one in found)
    seen = f"that was {process}" if process else "which process that was, was not seen"
    return (
        f"{caller or 'a caller'} presented {'its' if owner else 'the'} previous "
        f"{'client certificate' if owner else 'shared client key'} to "
        f"{abbreviated([one.called for one in found])} from {address}, "
        f"{f'{count:,} times' if count > 1 else 'once'}, the last time {min(one.seconds_ago for one in found):.1f} "
        f"seconds before it was looked up; {seen}."
    )
