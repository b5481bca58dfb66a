# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is known in the middle of a run: who is in the mesh, what was requested, and what every server returned.

One stage hands it to the next as JSON. The ledger is no part of it: every stage reads that from its files.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

from ansible_collections.esync.mesh.plugins.module_utils._core.errors import EsyncError
from ansible_collections.esync.mesh.plugins.module_utils._core.names import (
    BOTH,
    CLIENT,
    CURRENT,
    MODELS,
    NEXT,
    PREVIOUS,
    SERVER,
    SHARED_KEYS,
)
from ansible_collections.esync.mesh.plugins.module_utils._store.distrust import Distrust, distrust_from
from ansible_collections.esync.mesh.plugins.module_utils._store.indexed_folder import digest_of
from ansible_collections.esync.mesh.plugins.module_utils._store.trust_folder import TrustEntry, entries_from
from ansible_collections.esync.mesh.plugins.plugin_utils._inventory.sites import Site
from ansible_collections.esync.mesh.plugins.plugin_utils._ledger.records import LedgerRecord
from ansible_collections.esync.mesh.plugins.plugin_utils._planning.rotation import LockHolder, RotationPlan

OK, UNREACHABLE, FAILED, NOT_IN_RUN = "ok", "unreachable", "failed", "not_in_run"
FROZEN = "host_frozen"
"""The kind of error of a host that did not end its visit in time."""
TEMPORARY, EXTERNAL = "temporary", "external"


@dataclass
class Server:
    """One server, as the inventory describes it and as this run found it.

    :param member: False for a server that is being removed.
    :param sites: where it is called, the sites that the certificates apply to and attached services; none: on its port
        only. :param settings: the role's variables, but no secret one.
    :param state: ``ok``, ``unreachable``, ``failed`` or ``not_in_run``.
    :param read: what certificate_set or certificate_info last returned.
    :param changed: whether anything that its endpoint uses changed since the endpoint took it up.
    :param sent: the trust that was last sent there and may not have arrived yet, as JSON. :param told: likewise what it
        is to remember to distrust, besides what it remembers.
    :param sent_keys: likewise the shared client keys, by name and fingerprint only.
    :param listening: whether its temporary endpoint was started for the test that comes next.
    :param endpoint: what its endpoint has to take up, and serves, as the step ``endpoint`` observed.
    :param connections: ``ended``, how many were ended because the certificate that opened them is not trusted any more;
        ``spared``, how many others there were then; ``restarted``, how often the endpoint was restarted for it.
    :param watched: who presented to it what is about to be retired, and what it called meanwhile, until that was
        concluded.
    :param results: of its last test of the pairs. :param refusals: of what must be refused.
    :param calls: to clusters. :param external: to external peers.
    :param refused: of the test that it is refused, until that was concluded.
    :param refused_by: how many servers were seen to refuse it when it was removed.
    :param to_refuse: the names of the peers that have to refuse it in that test.
    :param folder: what exchange_folder_info or exchange_folder returned.
    :param unresolved: the addresses of peers that it cannot resolve, of those that it was asked for, and why.
    :param clock_ahead: by how many seconds its clock is ahead of the control node's, at the most; None: not known yet.
    :param errors: why it takes no more part, as EsyncError.to_result has it.
    """

    name: str
    host: str
    address: str
    port: int
    member: bool = True
    sites: list[dict[str, Any]] = field(default_factory=list)
    settings: dict[str, Any] = field(default_factory=dict)
    state: str = OK
    read: dict[str, Any] = field(default_factory=dict)
    changed: bool = False
    sent: list[dict[str, Any]] | None = None
    told: list[dict[str, Any]] = field(default_factory=list)
    sent_keys: dict[str, Any] | None = None
    listening: bool = False
    endpoint: dict[str, Any] | None = None
    connections: dict[str, int] = field(default_factory=dict)
    watched: dict[str, Any] | None = None
    results: list[dict[str, Any]] = field(default_factory=list)
    refusals: list[dict[str, Any]] = field(default_factory=list)
    calls: list[dict[str, Any]] = field(default_factory=list)
    external: list[dict[str, Any]] = field(default_factory=list)
    refused: list[dict[str, Any]] | None = None
    refused_by: int = 0
    to_refuse: list[str] = field(default_factory=list)
    folder: dict[str, Any] | None = None
    unresolved: dict[str, str] = field(default_factory=dict)
    clock_ahead: float | None = None
    errors: list[dict[str, Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._parsed: tuple[Any, tuple[TrustEntry, ...]] | None = None

    @property
    def resident(self) -> bool:
        """Whether its endpoint, or an attached service in its place, is there also while nothing is tested."""
        replaced = any(site["attached"] and site["port"] == self.port for site in self.sites)
        return bool(self.settings["esync_endpoint"] != TEMPORARY or replaced)

    @property
    def places(self) -> list[dict[str, Any]]:
        """Where it is called, at least one."""
        return self.sites or [Site("", self.port).facts() | {"name": None}]

    @property
    def serves(self) -> bool:
        """Whether anything of it has to load what changed: its endpoint, or a service that is attached to it."""
        return self.resident or any(site["attached"] for site in self.sites)

    @property
    def away(self) -> bool:
        """Whether it cannot be reached, or hangs."""
        return self.state == UNREACHABLE or any(error.get("kind") == FROZEN for error in self.errors)

    @property
    def trust(self) -> tuple[TrustEntry, ...] | None:
        """The trust in force; None if there is none, or it could not be read."""
        found = self.read.get("trust")
        if not found:
            return None
        # It is asked for again and again, and its entries grow with the mesh: they are parsed once.
        if self._parsed is None or self._parsed[0] is not found["entries"]:
            self._parsed = found["entries"], entries_from(found["entries"])
        return self._parsed[1]

    @property
    def remembered(self) -> tuple[Distrust, ...]:
        """What it was told to distrust for ever."""
        return distrust_from((self.read.get("trust") or {}).get("distrusted") or ())

    @property
    def accepts_nobody(self) -> bool:
        """Whether its trust, as it was read or is being sent, has no caller at all: then nothing can listen with it."""
        entries = self.sent if self.sent is not None else (self.read.get("trust") or {}).get("entries")
        return entries is not None and not any(one["role"] == CLIENT for one in entries)

    @property
    def trust_is_intact(self) -> bool:
        """Whether no file of the trust is damaged: the host returns the digest of its entries then."""
        found = self.read.get("trust")
        return not found or found["digest"] == digest_of(self.trust or ())

    @property
    def generations(self) -> dict[str, dict[str, Any]]:
        """State to what the host returned of that generation."""
        return {str(one["state"]): one for one in self.read.get("generations") or ()}

    def has(self, state: str) -> bool:
        """Whether it holds certificates in this state."""
        return state in self.generations

    @property
    def served(self) -> str | None:
        """The fingerprint of its current server certificate."""
        current = self.generations.get(CURRENT)
        return str(current[SERVER]["fingerprint"]) if current else None

    @property
    def installed_keys(self) -> list[dict[str, Any]]:
        """The shared client keys of its peers that it holds: peer, state and fingerprint of each."""
        return list((self.read.get("shared") or {}).get("entries") or ())


@dataclass(frozen=True)
class Control:
    """What a stage has to know of the control node.

    :param holder: the process that runs it. :param alive: returns whether such a process of this node still runs.
    :param now: UTC, such as ``2027-11-23T19:00:00Z``.
    """

    holder: LockHolder = LockHolder("nobody@nowhere", 0, 0)
    alive: Callable[[LockHolder], bool] = lambda holder: False
    now: str = "1970-01-01T00:00:00Z"


@dataclass
class Run:
    """One run of one operation.

    :param operation: its name. :param position: of the stage whose visits come back next, in the operation's table.
    :param check: whether nothing may change. :param mesh: the settings that are one value for the whole mesh.
    :param clusters: the load-balanced clusters, as mesh_members returns them.
    :param servers: name to server; those that are being removed too.
    :param rotation: what regenerate plans, once it did. :param baseline: the labels of what did not work before.
    :param worse: what got worse since, in words. :param failures: what fails the run besides the pairs, in words.
    :param notes: what is reported at the end. :param repairs: server name to what repair does there.
    :param disputed: the servers that present what the ledger does not have; what others trust of them stays as it is.
    :param payloads: shared client keys on their way, encrypted: fingerprint to base64.
    :param report_mode: what the report says of servers: ``in_part``, ``all``, ``all_and_fail``;
        ``never``: it fails nothing; empty: nothing is reported.
    :param tests_in_check_mode: whether visits read and test in check mode too.
    :param retiring: whether the retirement of the previous certificates has begun. :param rotated: whether the planned
        rotation is over. :param pending: whether the rotation was begun by an earlier run.
    :param switched_at: since when nobody should present the previous certificates any more, by the clock of the control
        node, in seconds.
    :param keeps_previous: whether the previous certificates are not retired, because somebody still presents them.
    :param ended: whether no further stage takes place.
    """

    operation: str
    mesh: dict[str, Any]
    servers: dict[str, Server]
    clusters: list[dict[str, Any]] = field(default_factory=list)
    position: int = -1
    check: bool = False
    rotation: dict[str, Any] | None = None
    baseline: list[str] | None = None
    worse: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    repairs: dict[str, list[str]] = field(default_factory=dict)
    disputed: list[str] = field(default_factory=list)
    payloads: dict[str, str] = field(default_factory=dict)
    report_mode: str = "in_part"
    tests_in_check_mode: bool = False
    retiring: bool = False
    rotated: bool = False
    pending: bool = False
    switched_at: float = 0
    keeps_previous: bool = False
    ended: bool = False

    def __post_init__(self) -> None:
        self.ledger: dict[str, LedgerRecord] = {}
        self.written: dict[str, LedgerRecord] = {}
        self.said: list[str] = []
        self.control = Control()

    # -- JSON ---------------------------------------------------------------------------------------------------

    def to_json(self) -> dict[str, Any]:
        """What the next stage is given."""
        # What asdict does too, without a copy of everything that hosts returned.
        return {**_values(self), "servers": {name: _values(one) for name, one in self.servers.items()}}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Run:
        """What :meth:`to_json` returned."""
        known = {one.name for one in fields(cls)}
        values = {key: value for key, value in data.items() if key in known}
        values["servers"] = {name: Server(**one) for name, one in data["servers"].items()}
        return cls(**values)

    # -- what ---------------------------------------------------------------------------------------------------

    @property
    def tests(self) -> bool:
        """Whether pairs are tested: in check mode only by operations that look before they change anything."""
        return not self.check or self.tests_in_check_mode

    # -- who ----------------------------------------------------------------------------------------------------

    @property
    def members(self) -> list[Server]:
        return [one for one in self.servers.values() if one.member]

    @property
    def leaving(self) -> list[Server]:
        """The servers of the inventory that are being removed."""
        return [one for one in self.servers.values() if not one.member]

    @property
    def names(self) -> list[str]:
        """The members' names."""
        return [one.name for one in self.members]

    @property
    def present(self) -> list[Server]:
        """The members that still take part."""
        return [one for one in self.members if one.state == OK]

    def counterparts(self, server: Server) -> list[Server]:
        """The peers that a server can test: if either endpoint is temporary, only those that take part."""
        others = [one for one in self.members if one.name != server.name]
        return [one for one in others if (server.resident and one.resident) or self.takes_part(one)]

    @staticmethod
    def takes_part(server: Server) -> bool:
        """Whether a server can be tested from, and can listen for the test."""
        return server.state == OK and bool(server.read.get("readable", True))

    @property
    def all_resident(self) -> bool:
        """Whether no endpoint has to be started for a test, so that it can follow what is read in the same visit."""
        return all(one.resident for one in self.members)

    # -- the ledger ---------------------------------------------------------------------------------------------

    def record(self, entry: LedgerRecord) -> None:
        """Note what the ledger is to hold of a server."""
        if self.ledger.get(entry.name) != entry:
            self.ledger[entry.name] = entry
            self.written[entry.name] = entry

    def fail(self, server: Server, error: EsyncError) -> None:
        """End a server's part of the run; the others go on, and the report fails."""
        server.state = FAILED
        server.errors = errors_of(error)
        self.failures.append(str(error))

    # -- words --------------------------------------------------------------------------------------------------

    def say(self, *lines: str) -> None:
        """Report something now."""
        self.said += lines

    # -- the trust model ----------------------------------------------------------------------------------------

    @property
    def model(self) -> str:
        return str(self.mesh["esync_trust_model"])

    @property
    def rotation_plan(self) -> RotationPlan:
        """What regenerate planned."""
        if self.rotation is None:
            raise AssertionError("no rotation was planned")
        return RotationPlan(**{key: _tuples(value) for key, value in self.rotation.items()})

    @property
    def rotation_id(self) -> str | None:
        """The id of the rotation that takes place."""
        return str(self.rotation["id"]) if self.rotation else None

    @property
    def changes_model(self) -> bool:
        """Whether this run goes from one trust model to the other."""
        return bool(self.rotation and self.rotation["changes_model"])

    @property
    def accepts(self) -> str:
        """Whose client certificates the endpoints accept until the old ones are retired."""
        return BOTH if self.changes_model and not self.retiring else self.model

    @property
    def old_model(self) -> str:
        """The model that is given up; the one in force if none is."""
        return next(one for one in MODELS if one != self.model) if self.changes_model else self.model

    @property
    def shares_keys(self) -> bool:
        """Whether shared client keys have to be distributed or destroyed."""
        return self.model == SHARED_KEYS or any(one.read.get("shared") is not None for one in self.members)

    def rotates(self, server: Server) -> bool:
        """Whether a server passes through the stages of the rotation."""
        return bool(self.rotation and server.name in self.rotation["rotating"])

    def retired_of(self, server: Server) -> list[str]:
        """The peers whose shared client keys a rotation retires on this server: where the model changes, all."""
        state = CURRENT if self.changes_model and self.old_model == SHARED_KEYS else PREVIOUS
        return [str(one["peer"]) for one in server.installed_keys if one["state"] == state]

    def presents_retired(self, server: Server) -> bool:
        """Whether a server can still present what the rotation retires."""
        return bool(self.retired_of(server)) if self.old_model == SHARED_KEYS else server.has(PREVIOUS)

    def serves(self, server: Server, wanted: str) -> str:
        """The generation that a server presents where ``wanted`` is requested and it may have none."""
        return NEXT if wanted == NEXT and server.has(NEXT) else CURRENT


def _values(record: Server | Run) -> dict[str, Any]:
    return {one.name: getattr(record, one.name) for one in fields(record)}


def at_least_half(said: int, heard: int) -> bool:
    """Whether so many servers of those that were heard are enough to be believed about more than themselves."""
    return 2 * said >= heard


def errors_of(error: EsyncError) -> list[dict[str, Any]]:
    """An error, or several at once, as hosts return them."""
    result = error.to_result()
    return list(result.get("errors") or [result["error"]])


def names_of(servers: Iterable[Server]) -> list[str]:
    """Their names, in their order."""
    return [one.name for one in servers]


def next_in_ring(name: str, others: Collection[str]) -> str:
    """The one of the others to which a server presents what must be refused, so that each is tried once."""
    ring = sorted({*others, name})
    return ring[(ring.index(name) + 1) % len(ring)]


def _tuples(value: Any) -> Any:
    return tuple(value) if isinstance(value, Sequence) and not isinstance(value, str) else value
