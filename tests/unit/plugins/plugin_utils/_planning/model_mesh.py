# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A model of a mesh, on which plans are tried: what each step does to a host, in a few lines, with real certificates.

A pair works in it exactly if the caller presents a certificate that the peer trusts, and meets one that it expects.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.esync.mesh.plugins.module_utils._core.names import CURRENT, NEXT, PREVIOUS, STATES
from ansible_collections.esync.mesh.plugins.module_utils._store.indexed_folder import digest_of
from ansible_collections.esync.mesh.plugins.module_utils._store.trust_folder import entries_from
from ansible_collections.esync.mesh.plugins.plugin_utils._ledger.records import LedgerRecord
from ansible_collections.esync.mesh.plugins.plugin_utils._planning.engine import Plan, Visited, advance, begin, conclude
from ansible_collections.esync.mesh.plugins.plugin_utils._planning.rotation import LockHolder
from ansible_collections.esync.mesh.plugins.plugin_utils._planning.run import Control, Run, Server

ME = LockHolder("me@here", 1, 1)
SETTINGS: dict[str, Any] = {
    "esync_endpoint": "temporary",
    "esync_endpoint_sites": [],
    "esync_cluster": {},
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
}
MESH: dict[str, Any] = {
    "esync_trust_model": "pinned",
    "esync_allow_shrink": False,
    "esync_accept_changed": [],
    "esync_max_clock_skew": 300,
    "esync_reload_batch": "25%",
    "esync_regenerate": [],
    "esync_only_due": False,
    "esync_offline": "stop",
    "esync_compromised": [],
    "esync_take_over_lock": False,
    "esync_announce_only": False,
    "esync_remove": [],
    "discarding": [],
}


class Broken(Exception):
    """A step that fails on a host."""

    def __init__(self, kind: str) -> None:
        super().__init__(kind)
        self.error = {"kind": kind, "cause": f"{kind} there", "remedy": "Repair it", "server": None, "path": None}


@dataclass
class Host:
    """One host: state to generation, the trust in force, what its endpoint took up, and what it refuses to do."""

    name: str
    make: Callable[[str, str, int], dict[str, Any]]
    numbers: list[int]
    generations: dict[str, dict[str, Any]] = field(default_factory=dict)
    trust: list[dict[str, Any]] | None = None
    served: str | None = None
    accepted: frozenset[str] = frozenset()
    rotation: dict[str, Any] | None = None
    due: list[str] = field(default_factory=list)
    breaks: dict[str, str] = field(default_factory=dict)
    dead: bool = False

    def read(self) -> dict[str, Any]:
        entries = self.trust
        return {
            "generations": [
                {**self.generations[state], "state": state} for state in STATES if state in self.generations
            ],
            "reasons": [],
            "due": self.due,
            "trust": entries and {"digest": digest_of(entries_from(entries)), "entries": entries},
            "shared": None,
            "rotation": self.rotation,
            "product_version": None,
            "readable": True,
            "problems": [],
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
            self.rotation = {key: lock[key] for key in ("holder", "since", "id")}
        if state == "present":
            if options.get("discard_existing"):
                self.generations.clear()
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
            self.trust = None
        return before != self.generations

    def listen(self, serve: str = CURRENT) -> None:
        self.served = self.generations[serve]["server"]["fingerprint"]
        self.accepted = frozenset(one["fingerprint"] for one in self.trust or () if one["role"] == "client")


@dataclass
class Model:
    """Hosts, a ledger, and the operations run on them."""

    make: Callable[[str, str, int], dict[str, Any]]
    names: Sequence[str]
    endpoint: str = "temporary"
    ledger: dict[str, LedgerRecord] = field(default_factory=dict)
    hosts: dict[str, Host] = field(default_factory=dict)
    calls: dict[str, int] = field(default_factory=dict)
    titles: list[str] = field(default_factory=list)
    now: int = 0

    def __post_init__(self) -> None:
        numbers = [0]
        self.hosts = {name: Host(name, self.make, numbers) for name in self.names}

    def start(
        self, operation: str, check: bool = False, leaving: Sequence[str] = (), only: Any = None, **mesh: Any
    ) -> Run:
        """A run before its first stage."""
        settings = {**SETTINGS, "esync_endpoint": self.endpoint}
        servers = {
            name: Server(name, name, f"{name}.example", 8732, name not in leaving, settings=dict(settings))
            for name in self.names
        }
        run = Run(operation, {**MESH, **{f"esync_{key}": value for key, value in mesh.items()}}, servers, check=check)
        run.mesh["discarding"] = mesh.get("discard", [])
        begin(run, only or self.names, only or self.names)
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
                return run
            self.titles.append(plan.title)
            if before_stage:
                before_stage(run, plan)
            visited = {host: self.visit(host, steps, plan) for host, steps in plan.visits.items()}
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

    def visit(self, name: str, steps: Sequence[Mapping[str, Any]], plan: Plan) -> Visited:
        """What a host does with its steps."""
        host = self.hosts[name]
        if host.dead:
            return Visited("unreachable")
        self.calls[name] += 1
        results: list[dict[str, Any]] = []
        changed = False
        for step in steps:
            when = step.get("when") or {}
            trust = next((one["trust"] for one in reversed(results) if "trust" in one), None)
            if (when.get("unchanged") and changed) or (
                "trust" in when and (trust or {}).get("digest") != when["trust"]
            ):
                results.append({"step": step["step"], "skipped": True})
                continue
            try:
                result = self._do(host, step, plan.check or step.get("check", False))
            except Broken as broken:
                return Visited("failed", results, [broken.error])
            changed = changed or result["changed"]
            results.append({"step": step["step"], **result, **({"tag": step["tag"]} if "tag" in step else {})})
        return Visited("ok", results)

    def _do(self, host: Host, step: Mapping[str, Any], check: bool) -> dict[str, Any]:
        options = step["options"]
        kind = host.breaks.get(step["step"]) or host.breaks.get(f"{step['step']} {options.get('state', '')}")
        if kind:
            raise Broken(kind)
        if step["step"] == "certificate_set":
            if check:
                return {"changed": False, **host.read()}
            changed = host.certificate_set(options)
            return {"changed": changed, **host.read()}
        if step["step"] == "certificate_info":
            return {"changed": False, **host.read()}
        if step["step"] == "peer_trust":
            changed = host.trust != options["entries"]
            if not check:
                host.trust = list(options["entries"])
            return {"changed": changed, "digest": digest_of(entries_from(options["entries"]))}
        if step["step"] == "endpoint":
            if options["state"] == "present" and not check:
                host.listen()
            return {"changed": False, "reasons": [], "served": host.served, "sites": {}}
        if step["step"] == "probe_listener":
            host.listen(options["serve"])
            return {"changed": True}
        assert step["step"] == "peer_probe", step
        return {
            "changed": False,
            "results": [self.pair(host, peer, options) for peer in options["peers"]],
            "refusals": [],
            "clusters": [],
        }

    def pair(self, caller: Host, peer: Mapping[str, Any], options: Mapping[str, Any]) -> dict[str, Any]:
        """One connection."""
        called = self.hosts[peer["name"]]
        presented = caller.generations[options["present"]]["client"]["fingerprint"]
        expected = {key: state for key, state in (peer["expected"] or {}).items() if state in options["require"]}
        met = called.served in expected and not called.dead
        let_in = met and presented in called.accepted
        ok = not let_in if options["expect"] == "refused" else let_in
        cause = (
            None
            if ok
            else "not_refused"
            if let_in
            else "client_certificate_refused"
            if met
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
                trusted = {entry["fingerprint"] for entry in one.trust or ()}
                accepted = {entry["fingerprint"] for entry in other.trust or ()}
                if (
                    other.generations[CURRENT]["server"]["fingerprint"] in trusted
                    and one.generations[CURRENT]["client"]["fingerprint"] in accepted
                ):
                    found.add((one.name, other.name))
        return found


def names(text: str) -> list[str]:
    """``abc`` as a list of names."""
    return list(text)
