# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A model of a mesh, on which plans are tried: what each step does to a host, in a few lines, with real certificates.

A pair works in it exactly if the caller presents a certificate that the peer trusts, and meets one that it expects. A
temporary endpoint listens from the visit that starts it to the end of the next test. What a host returns passes through
records.parse, as it does in a run.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.esync.mesh.plugins.module_utils._core.errors import EsyncError
from ansible_collections.esync.mesh.plugins.module_utils._core.names import (
    CLIENT,
    CURRENT,
    NEXT,
    PREVIOUS,
    SERVER,
    SHARED_KEYS,
    STATES,
)
from ansible_collections.esync.mesh.plugins.module_utils._store.indexed_folder import digest_of
from ansible_collections.esync.mesh.plugins.module_utils._store.shared_sets import entries_from as shared_entries
from ansible_collections.esync.mesh.plugins.module_utils._store.trust_folder import entries_from
from ansible_collections.esync.mesh.plugins.plugin_utils._ledger.records import LedgerRecord
from ansible_collections.esync.mesh.plugins.plugin_utils._planning import records
from ansible_collections.esync.mesh.plugins.plugin_utils._planning.engine import Plan, Visited, advance, begin, conclude
from ansible_collections.esync.mesh.plugins.plugin_utils._planning.rotation import LockHolder
from ansible_collections.esync.mesh.plugins.plugin_utils._planning.run import (
    FROZEN,
    Control,
    Run,
    Server,
    errors_of,
)

ME = LockHolder("me@here", 1, 1)
OWN_CLIENT = "own_client"
LINE = "{} server (current): " + " ".join(["abab"] * 16)
"""What a host returns of the fingerprints in a folder."""
SETTINGS: dict[str, Any] = {
    "esync_endpoint": "temporary",
    "esync_endpoint_sites": [],
    "esync_cluster": {"name": None, "address": None, "port": None},
    "esync_subject_alt_names": [],
    "esync_valid_days": 365,
    "esync_web_roots": [],
    "esync_renew_before_days": 30,
    "esync_listen_address": "0.0.0.0",
    "esync_listen_seconds": 120,
    "esync_port": 8732,
    "esync_probe_concurrency": 16,
    "esync_connect_timeout": 10,
    "esync_answer_timeout": 15,
    "esync_gate_peers": [],
    "esync_stop_command": [],
    "esync_start_command": [],
    **{f"esync_endpoint_{name}": "" for name in ("configuration", "service", "upstream", "access_log")},
    "esync_endpoint_timeout": 30,
    "esync_reload_command": [],
    "esync_reload_jitter": 0,
    "esync_drain_seconds": 60,
}
MESH: dict[str, Any] = {
    "esync_trust_model": "pinned",
    "esync_allow_shrink": False,
    "esync_accept_changed": [],
    "esync_recover_distrusted": False,
    "esync_max_clock_skew": 300,
    "esync_reload_batch": "25%",
    "esync_visit_timeout": 120,
    "esync_regenerate": [],
    "esync_only_due": False,
    "esync_offline": "stop",
    "esync_compromised": [],
    "esync_take_over_lock": False,
    "esync_announce_only": False,
    "esync_retire_timeout": 0,
    "esync_retire_stragglers": "retire",
    "esync_remove": [],
    "discarding": [],
}


NO_CONNECTIONS = {"ended": 0, "spared": 0, "seconds": 0, "restarted": False}


class Broken(Exception):
    """A step that fails on a host."""

    def __init__(self, kind: str) -> None:
        super().__init__(kind)
        self.error = {"kind": kind, "cause": f"{kind} there", "remedy": "Repair it", "server": None, "path": None}


@dataclass
class Host:
    """One host.

    :param resident: whether its endpoint is there also while nothing is tested.
    :param generations: state to generation.
    :param trust: the entries in force. :param remembered: what it was told to distrust.
    :param shared: the client sets of its peers that it holds.
    :param served: the fingerprint that its endpoint presents. :param accepted: whom the endpoint lets in.
    :param listening: whether a temporary endpoint listens. :param folder: the sets that lie in its exchange folder.
    :param breaks: step, or step and state, or ``*``, to the kind of the error by which it fails.
    :param dead: whether nobody can reach it. :param deaf: whether its endpoint hangs. :param wrong: problems to return.
    :param cannot_resolve: the addresses that its resolver does not know.
    :param lost: whether none of its private keys is left.
    :param noted: what its endpoint is noted to have loaded. :param reloads: whether its reload does anything.
    :param frozen: ``before``: it accepts the connection and does nothing; ``after``: it does everything, and does not
        answer any more.
    """

    name: str
    make: Callable[[str, str, int], dict[str, Any]]
    numbers: list[int]
    resident: bool = False
    generations: dict[str, dict[str, Any]] = field(default_factory=dict)
    trust: list[dict[str, Any]] | None = None
    remembered: list[dict[str, Any]] = field(default_factory=list)
    shared: dict[str, Any] | None = None
    served: str | None = None
    accepted: frozenset[str] = frozenset()
    listening: bool = False
    folder: list[dict[str, Any]] = field(default_factory=list)
    rotation: dict[str, Any] | None = None
    due: list[str] = field(default_factory=list)
    breaks: dict[str, str] = field(default_factory=dict)
    dead: bool = False
    deaf: bool = False
    frozen: str = ""
    readable: bool = True
    cannot_resolve: tuple[str, ...] = ()
    lost: bool = False
    noted: tuple[str, frozenset[str]] | None = None
    reloads: bool = True
    wrong: list[dict[str, Any]] = field(default_factory=list)

    def read(self) -> dict[str, Any]:
        entries = self.trust
        return {
            "generations": [
                {**self.generations[state], "state": state} for state in STATES if state in self.generations
            ],
            "reasons": [],
            "due": self.due,
            "trust": None
            if entries is None
            else {
                "digest": digest_of(entries_from(entries)),
                "entries": [dict(one) for one in entries],
                "distrusted": self.remembered,
            },
            "shared": self.shared,
            "rotation": self.rotation,
            "product_version": None,
            "readable": self.readable,
            "problems": self.wrong,
        }

    def generate(self, state: str, lock: Mapping[str, Any] | None) -> None:
        self.numbers[0] += 1
        made = self.make(self.name, state, self.numbers[0])
        suffix = f"-{lock['id']}" if lock else ""
        self.generations[state] = {**made, "id": f"{self.numbers[0]}{suffix}"}

    def certificate_set(self, options: Mapping[str, Any]) -> bool:
        before = dict(self.generations)
        state, lock = options.get("state", "present"), options.get("lock")
        if lock:
            self.rotation = {key: lock[key] for key in ("holder", "since")}
        if state == "present":
            if options.get("discard_existing") or (options.get("repair") and self.lost):
                self.generations.clear()
                self.lost = False
            if options.get("generation") == NEXT:
                if NEXT not in self.generations and PREVIOUS not in self.generations:
                    self.generate(NEXT, lock)
            elif CURRENT not in self.generations:
                self.generate(CURRENT, lock)
        elif state == "switched" and NEXT in self.generations:
            self.generations[PREVIOUS] = self.generations[CURRENT]
            self.generations[CURRENT] = self.generations.pop(NEXT)
        elif state == "rolled_back" and PREVIOUS in self.generations:
            self.generations[NEXT] = self.generations[CURRENT]
            self.generations[CURRENT] = self.generations.pop(PREVIOUS)
        elif state == "retired":
            self.generations.pop(PREVIOUS, None)
            self.rotation = None
        elif state == "absent":
            self.generations.clear()
            self.trust = self.shared = None
            self.remembered = []
        return before != self.generations

    def in_force(self, serve: str = CURRENT) -> tuple[str, frozenset[str]]:
        accepted = frozenset(one["fingerprint"] for one in self.trust or () if one["role"] == CLIENT)
        return self.generations[serve][SERVER]["fingerprint"], accepted

    def listen(self, serve: str = CURRENT) -> None:
        self.served, self.accepted = self.in_force(serve)
        self.listening = True

    def shared_client_sets(self, options: Mapping[str, Any], payloads: Mapping[str, str]) -> dict[str, Any]:
        state, wanted = options["state"], [dict(one) for one in options["entries"]]
        if state == "fetched":
            own = {one[CLIENT]["fingerprint"] for one in self.generations.values()}
            if not {one["fingerprint"] for one in wanted} <= own:
                raise Broken("not_own")
            return {"changed": False, "sets": {one["fingerprint"]: f"keys of {self.name}" for one in wanted}}
        before = self.shared
        if state == "withdrawn":
            self.shared = self.shared and {**self.shared, "withdrawn": True}
        elif state == "absent":
            self.shared = None
        else:
            here = {one["fingerprint"] for one in (self.shared or {}).get("entries", ())}
            if options.get("folder"):
                here |= {one[CLIENT]["fingerprint"] for item in self.folder for one in item["generations"]}
            rejected = {
                one["fingerprint"]: "it does not open"
                for one in wanted
                if one["fingerprint"] not in here and payloads.get(one["fingerprint"]) != f"keys of {one['peer']}"
            }
            wanted = [one for one in wanted if one["fingerprint"] not in rejected]
            digest = digest_of(shared_entries(wanted))
            self.shared = {"digest": digest, "withdrawn": False, "entries": wanted} if wanted else None
            return {"changed": self.shared != before, "rejected": rejected}
        return {"changed": self.shared != before}

    def holds(self, peer: str, state: str) -> str | None:
        """The fingerprint of a client set of a peer that it holds."""
        held = (self.shared or {}).get("entries", ())
        return next((one["fingerprint"] for one in held if (one["peer"], one["state"]) == (peer, state)), None)

    def presents(self, peer: str, present: str, model: str) -> str | None:
        """What it presents in a test."""
        if present == OWN_CLIENT:
            present, model = CURRENT, "pinned"
        if model == SHARED_KEYS:
            return self.holds(peer, present) or (self.holds(peer, CURRENT) if present == NEXT else None)
        return str(self.generations[present][CLIENT]["fingerprint"]) if present in self.generations else None


@dataclass
class Model:
    """Hosts, a ledger, and the operations run on them.

    :param stragglers: caller and called to what is particular about it, of those that still present a previous
        certificate. :param mute: the servers whose endpoint does not note what is presented.
    """

    make: Callable[[str, str, int], dict[str, Any]]
    names: Sequence[str]
    endpoint: str | Mapping[str, str] = "temporary"
    ledger: dict[str, LedgerRecord] = field(default_factory=dict)
    hosts: dict[str, Host] = field(default_factory=dict)
    outside: dict[str, Host] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    reached: set[tuple[str, int]] = field(default_factory=set)
    payloads: dict[str, str] = field(default_factory=dict)
    calls: dict[str, int] = field(default_factory=dict)
    titles: list[str] = field(default_factory=list)
    pems: dict[str, str] = field(default_factory=dict)
    connections: dict[str, Any] = field(default_factory=lambda: {**NO_CONNECTIONS})
    stragglers: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict)
    mute: tuple[str, ...] = ()
    now: int = 0

    def __post_init__(self) -> None:
        numbers = [0]
        self.hosts = {
            name: Host(name, self.make, numbers, self.endpoint_of(name) != "temporary") for name in self.names
        }

    def endpoint_of(self, name: str) -> str:
        return self.endpoint if isinstance(self.endpoint, str) else self.endpoint[name]

    def start(
        self,
        operation: str,
        check: bool = False,
        leaving: Sequence[str] = (),
        only: Any = None,
        batch: Any = None,
        **mesh: Any,
    ) -> Run:
        """A run before its first stage.

        :param only: the hosts of the play. :param batch: those whose turn it is.
        """
        servers = {
            name: Server(
                name,
                name,
                f"{name}.example",
                8732,
                name not in leaving,
                settings={**SETTINGS, **self.settings, "esync_endpoint": self.endpoint_of(name)},
            )
            for name in self.names
        }
        run = Run(operation, {**MESH, **{f"esync_{key}": value for key, value in mesh.items()}}, servers, check=check)
        run.mesh["discarding"] = mesh.get("discard", [])
        begin(run, only or self.names, batch or only or self.names)
        return run

    def stages(self, run: Run, before_stage: Callable[[Run, Plan], None] | None = None) -> Run:
        """Run an operation to its end; ``before_stage`` may break things before each visit."""
        visited: dict[str, Visited] = {}
        alive = set(self.names)
        self.titles, self.calls = [], dict.fromkeys(self.names, 0)
        while True:
            run = self._through_json(run)
            plan = advance(run, visited, alive)
            self._write(run)
            if not plan.visits:
                assert not run.payloads
                return run
            self.titles.append(plan.title)
            self.reached.add((run.operation, run.position))
            self.payloads = dict(run.payloads)
            if before_stage:
                before_stage(run, plan)
            listening = {host.name for host in self.hosts.values() if host.listening}
            visited = {host: self.visit(host, steps, plan, listening) for host, steps in plan.visits.items()}
            self._end_listeners(plan)
            if not plan.keep:
                alive -= {host for host, found in visited.items() if found.state == "failed"}
            if plan.last:
                run = self._through_json(run)
                conclude(run, visited, alive)
                self._write(run)
                return run

    def run(self, operation: str, **options: Any) -> Run:
        """Start an operation and run it to its end."""
        return self.stages(self.start(operation, **options))

    def _through_json(self, run: Run) -> Run:
        self.now += 1
        found = Run.from_json(run.to_json())
        found.control = Control(ME, lambda holder: False, f"2027-01-01T00:{self.now // 60:02d}:{self.now % 60:02d}Z")
        found.ledger = dict(self.ledger)
        return found

    def _write(self, run: Run) -> None:
        if not run.check:
            self.ledger.update(run.written)

    def _end_listeners(self, plan: Plan) -> None:
        """A temporary endpoint ends when it was tested."""
        for host in self.hosts.values():
            if any(step.get("step") == "peer_probe" for made in plan.visits.values() for step in made):
                host.listening = host.listening and host.resident

    def visit(
        self, name: str, steps: Sequence[Mapping[str, Any]], plan: Plan, listening: Collection[str] | None = None
    ) -> Visited:
        """What a host does with its steps.

        :param listening: the hosts that listened before this stage; None: those that do now.
        """
        host = self.hosts[name]
        if host.dead:
            return Visited("unreachable")
        self.calls[name] += 1
        if "refuse" in steps[0]:
            return Visited("failed", [], list(steps[0]["errors"]))
        if listening is None:
            listening = {one.name for one in self.hosts.values() if one.listening}
        results, error = self._results(host, steps, plan, listening) if host.frozen != "before" else ([], None)
        if host.frozen:
            return Visited("failed", [], [Broken(FROZEN).error])
        reply = {"results": results, **({"error": error} if error else {})}
        try:
            found, errors = records.parse(name, steps, reply)
        except EsyncError as error:
            return Visited("failed", [], errors_of(error))
        for step, one in zip(steps, found):
            if "tag" in step:
                one["tag"] = step["tag"]
        return Visited("failed" if errors else "ok", found, errors)

    def _results(
        self, host: Host, steps: Sequence[Mapping[str, Any]], plan: Plan, listening: Collection[str]
    ) -> tuple[list[dict[str, Any]], dict[str, Any] | None]:
        results: list[dict[str, Any]] = []
        changed = False
        for step in steps:
            when = step.get("when") or {}
            readable = next((one["readable"] for one in reversed(results) if "readable" in one), True)
            trust = next((one["trust"] for one in reversed(results) if "trust" in one), None)
            if (
                (when.get("unchanged") and changed)
                or ("trust" in when and (trust or {}).get("digest") != when["trust"])
                or (when.get("readable") and not readable)
                or (when.get("resolved") and any(one.get("unresolved") for one in results))
            ):
                results.append({"step": step["step"], "skipped": True})
                continue
            try:
                result = self._do(host, step, plan.check or step.get("check", False), listening)
            except Broken as broken:
                return results, broken.error
            changed = changed or result["changed"]
            results.append({"step": step["step"], **result})
        return results, None

    def _do(self, host: Host, step: Mapping[str, Any], check: bool, listening: Collection[str]) -> dict[str, Any]:
        options = step["options"]
        for key in ("*", step["step"], f"{step['step']} {options.get('state', '')}"):
            if key in host.breaks:
                raise Broken(host.breaks[key])
        if step["step"] == "shared_client_sets":
            if check:
                return {"changed": True}
            given = {one: self.payloads[one] for one in step.get("payloads") or ()}
            return host.shared_client_sets(options, given)
        if step["step"].startswith("exchange_folder"):
            lines = [LINE.format(one["name"]) for one in host.folder]
            return {"changed": False, "folder": options["folder"], "fingerprints": lines, "sets": host.folder}
        if step["step"] == "name_resolution_info":
            unknown = [one for one in options["addresses"] if one in host.cannot_resolve]
            return {"changed": False, "unresolved": dict.fromkeys(unknown, "Name or service not known")}
        if step["step"] == "certificate_set":
            if check:
                return {"changed": False, **host.read()}
            changed = host.certificate_set(options)
            return {"changed": changed, **host.read()}
        if step["step"] == "certificate_info":
            return {"changed": False, **host.read()}
        if step["step"] == "peer_trust":
            changed = host.trust != options["entries"] or bool(options["distrusted"])
            gone = {one["fingerprint"] for one in (*host.remembered, *options["distrusted"])}
            if gone & {one["fingerprint"] for one in options["entries"]}:
                raise Broken("distrusted_certificate")
            here = {one["fingerprint"] for one in host.trust or ()}
            sent = {self.fingerprint_of.get(pem) for pem in options["certificates"]}
            if not check and not {one["fingerprint"] for one in options["entries"]} <= here | sent:
                raise Broken("missing_certificates")
            if not (options["entries"] or options["allow_empty"]):
                raise Broken("empty_trust")
            if not check:
                host.trust = [dict(one) for one in options["entries"]]
                host.remembered = [*host.remembered, *options["distrusted"]]
            return {"changed": changed, "digest": digest_of(entries_from(options["entries"]))}
        if step["step"] == "endpoint":
            return self._endpoint(host, options, check)
        if step["step"] == "probe_listener":
            assert not check
            if not any(one["role"] == CLIENT for one in host.trust or ()):
                raise Broken("empty_trust")
            host.listen(options["serve"])
            return {"changed": True}
        assert step["step"] == "peer_probe", step
        assert not check
        ring = [{"to": name, "present": "none", "verdict": "ok"} for name in options["refusals"]]
        found = [self.pair(host, peer, options, listening) for peer in options["peers"]]
        return {"changed": False, "results": [one for one in found if one], "refusals": ring, "clusters": []}

    def _endpoint(self, host: Host, options: Mapping[str, Any], check: bool) -> dict[str, Any]:
        if options["state"] == "watched":
            return {"changed": False, "reasons": [], **self._watched(host, options)}
        assert host.resident, "only a resident endpoint has anything to take up"
        if options["state"] == "absent":
            if not check:
                host.served, host.accepted, host.listening = None, frozenset(), False
            return {"changed": True, "reasons": ["present"]}
        if CURRENT not in host.generations:
            return {"changed": False, "reasons": ["no_certificate"], "served": None, "sites": {}}
        if options["state"] == "forgotten":
            known, host.noted = host.noted, None
            return {"changed": known is not None, "reasons": ["noted"] if known else []}
        if options["state"] == "drained":
            return {"changed": False, "reasons": [], "connections": {**self.connections}}
        differs = host.noted != host.in_force() or not host.listening
        observed = check or options["state"] == "observed"
        if not observed and (differs or options["restart"]):
            host.deaf = host.deaf and not options["restart"]
            host.noted = host.in_force()
            # What serves another certificate is noticed at once; whether the trust was loaded, only the test shows.
            host.served, host.listening = host.noted[0], True
            host.accepted = host.noted[1] if host.reloads or not host.accepted else host.accepted
        reasons = ["differs"] if differs and observed else []
        served = {"served": host.served, "sites": {}} if observed else {}
        ended = {} if observed or options["spare"] or not differs else {"connections": {**self.connections}}
        return {"changed": differs and not observed, "reasons": reasons, **served, **ended}

    def _watched(self, host: Host, options: Mapping[str, Any]) -> dict[str, Any]:
        """Who presents what is about to be retired, each from a port that is the number of his place in the mesh."""
        calls = [
            {"address": f"192.0.2.{self.port_of(caller)}", "port": self.port_of(caller), "called": 8732, "process": who}
            for (caller, _called), one in self.stragglers.items()
            for who in [one.get("process")]
            if who and caller == host.name
        ]
        if not host.resident or host.name in self.mute:
            return {"presented": None, "calls": calls}
        presented = [
            {
                "fingerprint": self.hosts[one.get("owner", caller)].generations[PREVIOUS][CLIENT]["fingerprint"],
                "address": f"192.0.2.{self.port_of(caller)}",
                "seconds_ago": 0.5,
                "longest_gap": 1.0,
                "renewed_ago": None,
                "connections": 3,
                "calls": [[self.port_of(caller), 8732]],
                **{key: value for key, value in one.items() if key not in ("process", "owner")},
            }
            for (caller, called), one in self.stragglers.items()
            if called == host.name
        ]
        assert {one["fingerprint"] for one in presented} <= set(options["retired"])
        return {"presented": presented, "calls": calls}

    def port_of(self, name: str) -> int:
        """The port from which a server calls."""
        return 1 + list(self.names).index(name)

    @property
    def fingerprint_of(self) -> dict[str, str]:
        """Of every certificate that the ledger ever knew, by its PEM text."""
        self.pems.update(
            {
                facts["pem"]: facts["fingerprint"]
                for record in self.ledger.values()
                for one in record.generations
                for facts in one.certificates.values()
            }
        )
        return self.pems

    def pair(
        self,
        caller: Host,
        peer: Mapping[str, Any],
        options: Mapping[str, Any],
        listening: Collection[str],
    ) -> dict[str, Any]:
        """One connection."""
        called = self.hosts.get(peer["name"]) or self.outside[peer["name"]]
        presented = caller.presents(called.name, options["present"], options["trust_model"])
        known = peer["expected"]
        if known is None:
            known = {
                one["fingerprint"]: one["state"]
                for one in caller.trust or ()
                if (one["peer"], one["role"]) == (called.name, SERVER)
            }
        expected = {key: state for key, state in known.items() if state in options["require"]}
        there = called.resident or called.name in listening
        there = there and called.listening and not (called.dead or called.deaf or called.frozen)
        met = there and presented is not None and called.served in expected
        let_in = met and presented in called.accepted
        # A caller that met nobody it knows has proved nothing, not that it is refused either.
        ok = met and not let_in if options["expect"] == "refused" else let_in
        cause = (
            None
            if ok
            else "not_refused"
            if let_in
            else "client_certificate_refused"
            if met
            else "endpoint_not_listening"
            if not there
            else "server_certificate_unknown"
        )
        return {
            "to": called.name,
            "site": None,
            "verdict": "ok" if ok else "failed",
            "cause": cause,
            "detail": "" if ok else f"{caller.name} and {called.name}.",
            "remedy": "",
            "server_fingerprint": called.served,
            "client_fingerprint": presented,
        }

    def works(self) -> set[tuple[str, str]]:
        """The pairs of which each end, by what it has now, accepts the other's current certificates."""
        found = set()
        for one in self.hosts.values():
            for other in self.hosts.values():
                if one is other or CURRENT not in one.generations or CURRENT not in other.generations:
                    continue
                trusted = {entry["fingerprint"] for entry in one.trust or () if entry["role"] == SERVER}
                accepted = {entry["fingerprint"] for entry in other.trust or () if entry["role"] == CLIENT}
                # Callers use what they were handed, as long as it is in force.
                held = one.holds(other.name, CURRENT) if one.shared and not one.shared["withdrawn"] else None
                presented = held or one.generations[CURRENT][CLIENT]["fingerprint"]
                if other.generations[CURRENT][SERVER]["fingerprint"] in trusted and presented in accepted:
                    found.add((one.name, other.name))
        return found


class Killed(Exception):
    """The control node was killed."""


def killed(make: Callable[[], Model], begin: Callable[[Model], Run], least: int) -> Iterator[Model]:
    """A mesh for every moment at which a run can be killed: before each visit, in the middle of it, and after it.

    :param make: a mesh before that run. :param begin: the run. :param least: how many moments there have to be.
    """
    count = 0
    for stop_at in range(100):
        ended = False
        for share in (0.0, 0.5, 1.0):
            model = make()
            position = 0

            def kill(run: Run, plan: Plan, model: Model = model, stop_at: int = stop_at, share: float = share) -> None:
                nonlocal position
                if position == stop_at:
                    for host in list(plan.visits)[: round(len(plan.visits) * share)]:
                        model.visit(host, plan.visits[host], plan)
                    raise Killed
                position += 1

            try:
                model.stages(begin(model), kill)
                ended = True
            except Killed:
                count += 1
                yield model
        if ended:
            break
    assert count >= least
