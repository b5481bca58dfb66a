# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Kill visits, control processes and hosts in every stage, check what is left, run again, and demand convergence.

The stages come from the tables of the operations: each scenario is run once undisturbed, which tells what its stages
do, and then kills are dealt evenly over all stages of all scenarios. How many there are of each kind, and the seed,
are options. A failure is printed with what repeats it (--replay). Needs root, for namespaces and file systems.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import random
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from chain import Kill
from members import HERE
from scenarios import SCENARIOS

from ansible_collections.esync.mesh.plugins.plugin_utils._planning.operations import OPERATIONS

# A chain whose run took another way than the undisturbed one did not come to its kill: it is dealt again.
ATTEMPTS = 4


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--visits", type=int, default=300, help="kills of visits and their endpoints (%(default)s)")
    parser.add_argument("--control", type=int, default=100, help="kills of the control process (%(default)s)")
    parser.add_argument("--hosts", type=int, default=50, help="power cuts of hosts (%(default)s)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=2, help="meshes at the same time (%(default)s)")
    parser.add_argument("--chain", type=int, default=4, help="at most so many kills before convergence (%(default)s)")
    parser.add_argument("--scenario", action="append", choices=list(SCENARIOS), help="only this one; may be repeated")
    parser.add_argument("--log", type=Path, help="note results there; what it holds already is not done again")
    parser.add_argument("--folder", type=Path, help="keep there what scenarios begin with, to use it again")
    parser.add_argument("--replay", help="one chain, as a failure printed it")
    arguments = parser.parse_args()
    if os.geteuid() != 0:
        parser.error("namespaces and file systems of its own need root")
    if arguments.folder:
        return Harness(arguments.folder, arguments).run()
    with tempfile.TemporaryDirectory(prefix="esync-chaos-") as folder:
        return Harness(Path(folder), arguments).run()


class Harness:
    """All chains, some at the same time."""

    def __init__(self, folder: Path, arguments: argparse.Namespace) -> None:
        self.folder, self.options = folder, arguments
        self.random = random.Random(arguments.seed)
        self.log: dict[str, Any] = {}
        if arguments.log and arguments.log.exists():
            for line in arguments.log.read_text().splitlines():
                self.log.update(json.loads(line))
        for name in ("mesh", "bases"):
            (folder / name).mkdir(parents=True, exist_ok=True)

    def run(self) -> int:
        if self.options.replay:
            chains = [json.loads(self.options.replay)]
            self._prepare([chain["scenario"] for chain in chains])
        else:
            names = self.options.scenario or list(SCENARIOS)
            self._prepare(names)
            measured = dict(self._all({name: {"scenario": name} for name in names}))
            wanted = {kind: getattr(self.options, kind) for kind in ("visits", "control", "hosts")}
            chains = deal({name: measured[name] for name in names}, wanted, self.options.chain, self.random)
        return self._report(self._chains(chains))

    def _prepare(self, names: Sequence[str]) -> None:
        bases = sorted({SCENARIOS[name].base for name in names})
        bases = [name for name in bases if not (self.folder / "bases" / name).exists()]
        dict(self._all({f"base {name}": {"base": name} for name in bases}, log=False))

    def _chains(self, chains: Sequence[dict[str, Any]]) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
        """Each chain and its outcome; kills that it did not come to are dealt again."""
        for attempt in range(ATTEMPTS):
            again = []
            named = {f"{attempt} {json.dumps(chain, sort_keys=True)}": chain for chain in chains}
            for name, outcome in self._all(named):
                yield named[name], outcome
                for one, hit in zip(named[name]["kills"], outcome["hit"]):
                    if not hit:
                        kill = replace(Kill(**one), call=one["call"] and self.random.randint(1, one["call"]))
                        kill = replace(kill, delay=kill.delay * self.random.random())
                        again.append({"scenario": named[name]["scenario"], "kills": [asdict(kill)]})
            chains = again

    def _all(self, requests: Mapping[str, dict[str, Any]], log: bool = True) -> Iterator[tuple[str, Any]]:
        known = {name: self.log[name] for name in requests if log and name in self.log}
        yield from known.items()
        pool = ThreadPoolExecutor(self.options.jobs)
        running = {pool.submit(self._one, request): name for name, request in requests.items() if name not in known}
        try:
            for done in as_completed(running):
                name, result = running[done], done.result()
                if log and self.options.log:
                    with self.options.log.open("a") as stream:
                        stream.write(json.dumps({name: result}) + "\n")
                yield name, result
        finally:
            # Else a chain that fails by itself is told only when hours of others have run for nothing.
            pool.shutdown(cancel_futures=True)

    def _one(self, request: dict[str, Any]) -> Any:
        """One chain in a network, processes and mounts of its own, which end with it."""
        apart = ["unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
        done = subprocess.run(
            [*apart, sys.executable, str(HERE / "chain.py"), str(self.folder), json.dumps(request)],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            raise RuntimeError(f"the harness itself failed in {json.dumps(request)}:\n{done.stdout}\n{done.stderr}")
        return json.loads(done.stdout.splitlines()[-1])

    def _report(self, results: Iterator[tuple[dict[str, Any], dict[str, Any]]]) -> int:
        hits: dict[str, int] = dict.fromkeys(("visit", "listener", "control", "host"), 0)
        covered = set()
        broken = faults = unconverged = count = 0
        for chain, outcome in results:
            count += 1
            for one, hit in zip(chain["kills"], outcome["hit"]):
                hits[one["what"]] += hit
                covered |= {one["stage"]} if hit else set()
            broken += len(outcome["broken"])
            faults += len(outcome["faults"])
            unconverged += bool(outcome["unconverged"])
            done = ", ".join(f"{one['what']} {one['stage']}" for one in chain["kills"])
            print(f"{sum(hits.values())} ({outcome['seconds']:.0f} s) {chain['scenario']}: {done}", flush=True)
            problems = [*outcome["broken"], *outcome["faults"], *outcome["unconverged"]]
            if problems:
                print(outcome["output"])
                print(*(f"FAILED: {one}" for one in problems), sep="\n")
                print(f"To repeat it: tests/chaos/run.py --replay {shell(json.dumps(chain))}", flush=True)
        self._say_uncovered(covered)
        done = sum(hits.values())
        print(
            f"{hits['visit'] + hits['listener']} visits ({hits['listener']} by their endpoint), {hits['control']} "
            f"control processes and {hits['host']} hosts were killed, in {count} chains"
        )
        print(
            f"{done} kill points, {broken} broken pairs, {unconverged} not converged, {faults} other faults, "
            f"seed {self.options.seed}"
        )
        wanted = self.options.visits + self.options.control + self.options.hosts
        short = not self.options.replay and done < wanted
        if short:
            print(f"FAILED: {wanted} kills were wanted, so {wanted - done} did not happen")
        return 1 if short or not done or broken or unconverged or faults else 0

    def _say_uncovered(self, covered: set[str]) -> None:
        operations = sorted({scenario.operation for scenario in SCENARIOS.values()})
        for operation in operations:
            for position, stage in enumerate(OPERATIONS[operation].stages):
                if f"{operation}-{position}" not in covered:
                    print(f"No kill in: {operation}, stage {position}, {stage.title}")


def deal(
    measured: Mapping[str, Any], wanted: Mapping[str, int], longest: int, chance: random.Random
) -> list[dict[str, Any]]:
    """Kills, evenly over the operations and all of their stages, in chains within one scenario.

    :param measured: scenario to what its undisturbed run was like. :param longest: kills in a chain.
    """
    places: dict[str, list[str]] = {}
    for name, one in measured.items():
        for stage in one["stages"]:
            places.setdefault(stage, []).append(name)
    by_scenario: dict[str, list[Kill]] = {name: [] for name in measured}
    ways = itertools.cycle(("visit", "mesh_plan", "inside", "write"))
    for kind, count in wanted.items():
        for stage in itertools.islice(in_turn(sorted(places), chance), count):
            # A long run shows nothing in this stage that a short one does not.
            short = min(places[stage], key=lambda name: len(measured[name]["stages"]))
            name = chance.choice([short, chance.choice(places[stage])])
            found = measured[name]["stages"]
            if kind == "visits":
                kill = visit_kill(stage, found[stage], chance)
            elif kind == "control":
                kill = control_kill(stage, found, next(ways), chance)
            else:
                member = chance.choice(sorted(found[stage]["members"]))
                kill = Kill("host", stage, member, delay=chance.uniform(0, found[stage]["seconds"]))
            by_scenario[name].append(kill)
    chains = []
    for name, kills in by_scenario.items():
        chance.shuffle(kills)
        while kills:
            length = chance.randint(1, longest)
            # In the order of the stages, so that the run after a kill comes to the next one.
            chosen = sorted(kills[:length], key=lambda one: int(one.stage.rpartition("-")[2]))
            del kills[:length]
            chains.append({"scenario": name, "kills": [asdict(one) for one in chosen]})
    chance.shuffle(chains)
    return chains


def in_turn(stages: Sequence[str], chance: random.Random) -> Iterator[str]:
    """All stages again and again, as many of one operation as of another."""
    operations: dict[str, list[str]] = {}
    for stage in stages:
        operations.setdefault(stage.partition("-")[0], []).append(stage)
    for one in operations.values():
        chance.shuffle(one)
    for turn in zip(*(itertools.cycle(one) for one in operations.values())):
        yield from turn


def visit_kill(stage: str, found: Mapping[str, Any], chance: random.Random) -> Kill:
    member = chance.choice(sorted(found["members"]))
    one = found["members"][member]
    if one["waits"] and chance.random() < 0.2:
        return Kill("listener", stage, member, "accept4", chance.randint(1, one["waits"]))
    position = chance.randrange(len(one["calls"]))
    name = one["calls"][position]
    # strace counts the calls of each name by themselves.
    return Kill("visit", stage, member, name, one["calls"][: position + 1].count(name))


def control_kill(stage: str, found: Mapping[str, Any], way: str, chance: random.Random) -> Kill:
    survive = chance.random() < 0.5
    names = list(found)
    before = found[names[names.index(stage) - 1]]["writes"] if names.index(stage) else 0
    if way == "write" and found[stage]["writes"] > before:
        return Kill("control", stage, call=chance.randint(before + 1, found[stage]["writes"]), survive=survive)
    if way == "inside":
        return Kill("control", stage, delay=chance.uniform(0, found[stage]["seconds"]), survive=survive)
    return Kill("control", stage, part="visit" if way == "visit" else "mesh_plan", survive=survive)


def shell(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"


if __name__ == "__main__":
    sys.exit(main())
