# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a rotation has to do, planned from what lies on the hosts (docs/regenerate.md)."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from ansible_collections.esync.mesh.plugins.module_utils._core import layout
from ansible_collections.esync.mesh.plugins.module_utils._core.errors import EsyncError, raise_all
from ansible_collections.esync.mesh.plugins.module_utils._core.names import (
    BOTH,
    CURRENT,
    MODELS,
    NEXT,
    PINNED,
    PREVIOUS,
    SHARED_KEYS,
)

_HOLDER = re.compile(r"(?P<place>.+) process (?P<pid>\d+) started (?P<started>\d+)\Z")


@dataclass(frozen=True)
class LockHolder:
    """The control process that runs a rotation.

    :param place: ``user@node``.
    :param pid: the process of ansible-playbook.
    :param started: when it started, in clock ticks since boot, so that a reused pid is recognised.
    """

    place: str
    pid: int
    started: int

    def __str__(self) -> str:
        return f"{self.place} process {self.pid} started {self.started}"

    @classmethod
    def parse(cls, text: str) -> LockHolder | None:
        """The holder that ``str()`` wrote, or None for a text of another origin."""
        match = _HOLDER.match(text)
        return cls(match["place"], int(match["pid"]), int(match["started"])) if match else None


@dataclass(frozen=True)
class RotationServer:
    """What was found on one server of the mesh.

    :param name: the server name.
    :param reached: whether the control node could read it in this run.
    :param generations: state (current, next, previous) to generation id.
    :param due: why its current certificates should be rotated; empty if they should not.
    :param lock: the rotation in progress there: ``holder`` and ``since``; None without one.
    :param clients: state to the fingerprint of its client certificate.
    :param holds: the fingerprints of the client sets that its peers share with it.
    :param model: by which trust model its trust in force is, ``both`` in a change; None if it trusts nobody yet.
    """

    name: str
    reached: bool
    generations: Mapping[str, str]
    due: tuple[str, ...] = ()
    lock: Mapping[str, str] | None = None
    model: str | None = None
    clients: Mapping[str, str] = field(default_factory=dict)
    holds: frozenset[str] = frozenset()


@dataclass(frozen=True)
class RotationRequest:
    """What the user requested.

    :param names: the servers to rotate; empty means all.
    :param only_due: rotate only those whose certificates are due.
    :param compromised: servers whose old certificates lose trust first.
    :param defer: go on although servers cannot be reached.
    :param take_over: take over another control node's lock.
    :param model: the trust model that the mesh is to have.
    """

    names: tuple[str, ...] = ()
    only_due: bool = False
    compromised: tuple[str, ...] = ()
    defer: bool = False
    take_over: bool = False
    model: str = PINNED


@dataclass(frozen=True)
class RotationPlan:
    """The rotation: ``make`` get a next generation, ``rotating`` pass through the stages.

    :param id: the rotation's id, which its generations carry.
    :param since: when it began, as the user should read it.
    :param make: servers that need a next generation.
    :param rotating: servers with or about to have a next or a previous generation.
    :param offline: members that this run does not reach.
    :param take_over: whether locks found on the hosts are to be replaced.
    :param lines: the plan in words.
    :param compromised: servers whose old certificates lose trust first.
    :param changes_model: whether the mesh goes from one trust model to the other in this rotation.
    :param model_before: the trust model by which its pairs work before anything is made.
    """

    id: str
    since: str
    make: tuple[str, ...]
    rotating: tuple[str, ...]
    offline: tuple[str, ...]
    take_over: bool
    lines: tuple[str, ...]
    compromised: tuple[str, ...] = ()
    changes_model: bool = False
    model_before: str = PINNED


def plan_rotation(
    servers: Sequence[RotationServer],
    request: RotationRequest,
    me: LockHolder,
    new_id: str,
    now: str,
    alive: Callable[[LockHolder], bool],
    begun: str | None = None,
) -> RotationPlan:
    """Decide what to rotate; refuse, naming every offender, before anything is made.

    :param servers: every member of the mesh, reached or not.
    :param request: what the user requested.
    :param me: the process that plans.
    :param new_id: the id of a new rotation, if none is pending.
    :param now: the time to give a new rotation.
    :param alive: returns whether a holder on this node still runs.
    :param begun: the id of a rotation that the ledger says was begun and has not ended.
    :raises EsyncError: somebody else's lock, unreachable servers, or servers without certificates.
    """
    # What is compromised has no say in how that is answered.
    servers = [
        replace(server, lock=None, model=None, holds=frozenset()) if server.name in request.compromised else server
        for server in servers
    ]
    changes, before = _model_change(servers, request)
    if changes:
        # What was made for one model is not used in the other: there, others may hold its keys, or cannot open them.
        request = replace(request, names=(), only_due=False)
    # By the settings too: after a killed response to a key compromise no trust may record the model.
    shares_keys = request.model == SHARED_KEYS or any(server.model in (SHARED_KEYS, BOTH) for server in servers)
    if request.compromised and shares_keys:
        request = replace(request, names=(), compromised=tuple(server.name for server in servers))
    locks = [server for server in servers if server.lock]
    _refuse_locked(locks, request, me, alive)
    offline = tuple(server.name for server in servers if not server.reached)
    _refuse_offline(offline, request)
    reached = [server for server in servers if server.reached]
    raise_all(
        [
            EsyncError(
                "it has no certificates yet, so there is nothing to rotate",
                "Run the establish playbook first",
                kind="not_established",
                server=server.name,
            )
            for server in reached
            if CURRENT not in server.generations and server.name not in request.compromised
        ]
    )

    # No host says which rotation it is: by its id others would count as renewed already.
    pending = bool(locks) or any({NEXT, PREVIOUS} & set(server.generations) for server in reached)
    rotation_id = begun if pending and begun else new_id
    make = tuple(server.name for server in reached if _needs_next(server, request, rotation_id))
    rotating = tuple(
        server.name
        for server in reached
        if server.name in make or NEXT in server.generations or PREVIOUS in server.generations
    )
    return RotationPlan(
        id=rotation_id,
        since=now,
        make=make,
        rotating=rotating,
        offline=offline,
        take_over=any((server.lock or {}).get("holder") != str(me) for server in locks),
        lines=(
            *([_words_of_change(request)] if changes else []),
            *([_ALL_COMPROMISED] if request.compromised and shares_keys else []),
            *_words(reached, make, rotating, offline, request, bool(locks)),
        ),
        compromised=request.compromised,
        changes_model=changes,
        model_before=before,
    )


_ALL_COMPROMISED = (
    "The servers share their client keys (esync_trust_model: shared_keys), so a key compromise on one compromises all."
)


def _model_change(servers: Sequence[RotationServer], request: RotationRequest) -> tuple[bool, str]:
    """Whether the trust model changes, and by which one all pairs can work now; a killed run may have left a mixture.

    :raises EsyncError: kinds ``breach_and_model``, ``pending_and_model``.
    """
    found = [server.model for server in servers if server.model]
    # Shared client keys are destroyed last of all, and only after they were presented once more.
    left = request.model == PINNED and any(server.holds for server in servers)
    changes = left or any(model != request.model for model in found)
    other = next(model for model in MODELS if model != request.model)
    if changes and request.compromised:
        raise EsyncError(
            f"the trust model is to change to {request.model}, and a key compromise is to be handled: "
            "that takes two runs",
            f"Handle the key compromise first, with esync_trust_model: {other}",
            kind="breach_and_model",
        )
    if request.model == PINNED:
        _refuse_sets_that_others_hold(servers)
    return changes, other if changes and all(model in (other, BOTH) for model in found) else request.model


def _refuse_sets_that_others_hold(servers: Sequence[RotationServer]) -> None:
    """What a pending rotation has shared with others must not become what the peers pin."""
    installed = {fingerprint for server in servers for fingerprint in server.holds}
    raise_all(
        [
            EsyncError(
                "a rotation is pending, and its peers hold the key that it would keep under the trust model pinned",
                "End that rotation first: run the regenerate playbook with esync_trust_model: shared_keys",
                kind="pending_and_model",
                server=server.name,
            )
            for server in servers
            if (NEXT in server.generations or PREVIOUS in server.generations)
            and server.clients.get(NEXT if NEXT in server.generations else CURRENT) in installed
        ]
    )


def _words_of_change(request: RotationRequest) -> str:
    return (
        f"The trust model changes to {request.model}. All servers get new certificates; until the old ones are retired "
        "every endpoint accepts callers by both models."
    ) + (
        " From then on every server holds the client keys of all others, and whoever breaks into one can pose as any."
        if request.model == SHARED_KEYS
        else " The shared client keys are destroyed after it was proved that they are refused."
    )


def _needs_next(server: RotationServer, request: RotationRequest, rotation_id: str) -> bool:
    if server.name in request.compromised or NEXT in server.generations or PREVIOUS in server.generations:
        return False
    if server.generations[CURRENT].endswith("-" + rotation_id):
        return False  # switched and retired by the run that is being continued
    if request.names and server.name not in request.names:
        return False
    if request.compromised and not request.names:
        return False  # a key compromise is handled by itself; the others are rotated only if named
    return bool(server.due) or not request.only_due


def _refuse_locked(
    locks: Sequence[RotationServer], request: RotationRequest, me: LockHolder, alive: Callable[[LockHolder], bool]
) -> None:
    if request.take_over:
        return
    errors = []
    for server in locks:
        lock = server.lock or {}
        if not _is_readable(lock):
            errors.append(
                EsyncError(
                    f"its note of a rotation ({layout.ROTATION} in its directory) is damaged, so nobody knows who has "
                    "been rotating it",
                    "See that no other run works on it, and take the lock over with -e esync_take_over_lock=true",
                    kind="locked",
                    server=server.name,
                )
            )
            continue
        text = str(lock["holder"])
        holder = LockHolder.parse(text)
        if holder == me or (holder and holder.place == me.place and not alive(holder)):
            continue  # ours, or left by a run of ours that was killed: this run continues it
        errors.append(
            EsyncError(
                f"{text} has been rotating it since {lock['since']}",
                "Wait until that run has ended; if it was killed, continue it from there, "
                "or take the lock over with -e esync_take_over_lock=true",
                kind="locked",
                server=server.name,
            )
        )
    raise_all(errors)


def _is_readable(lock: Mapping[str, str] | None) -> bool:
    return bool(lock and lock.get("holder") and lock.get("since"))


def _refuse_offline(offline: Sequence[str], request: RotationRequest) -> None:
    if request.defer or request.compromised:
        return  # after a key compromise nobody waits for an absent server; the others must stop trusting at once
    raise_all(
        [
            EsyncError(
                "it could not be reached, or is not part of this run, so it cannot learn the new certificates",
                "Bring it back (and run without --limit; esync_regenerate chooses servers), "
                "take it out of the mesh with the remove playbook, or go on without it with -e esync_offline=defer",
                kind="offline",
                server=name,
            )
            for name in offline
        ]
    )


def _words(
    reached: Sequence[RotationServer],
    make: Sequence[str],
    rotating: Sequence[str],
    offline: Sequence[str],
    request: RotationRequest,
    continued: bool,
) -> list[str]:
    lines = []
    if request.compromised:
        lines.append(
            f"Compromised: {', '.join(request.compromised)}. First everybody stops trusting their old certificates, "
            "because whoever holds the keys could use them until then; only then are new ones made and exchanged. "
            "Their pairs are down meanwhile, the others' are not."
        )
    if continued:
        lines.append("A rotation that was begun was not finished; this run continues it.")
    for server in reached:
        if server.name in make:
            why = ", ".join(server.due) or "asked for"
            lines.append(f"{server.name}: make the next certificates ({why}), then switch, then retire the old ones.")
        elif NEXT in server.generations:
            lines.append(f"{server.name}: the next certificates are made; switch, then retire the old ones.")
        elif server.name in rotating:
            lines.append(f"{server.name}: switched; retire the previous certificates.")
    if offline:
        lines.append(
            f"Not reached: {', '.join(offline)}. Their pending updates are recorded, "
            "and no certificate that they may still need is retired until they are back."
        )
    if not lines:
        lines.append("Nothing is due, and no rotation is pending.")
    return lines
