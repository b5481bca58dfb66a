# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One chain of kills in namespaces of its own: a run that is killed, the one that continues it killed too, and so on.

After each kill the disks are checked. After the last, the same playbook has to end well, and the run after it has to
change nothing. Run by run.py; what is to be done comes as JSON, and so does what happened.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import invariants
from members import ChaosMesh, Power, run, wait_for
from processes import kill, running
from scenarios import ALL, BASES, SCENARIOS, Scenario
from secret_scanner import Secret

# What changes anything that outlives the call, or that somebody else sees; the rest needs no kill of its own.
CALLS = (
    "?creat,write,?pwrite64,fsync,?fdatasync,?chmod,fchmod,?fchmodat,?fchmodat2,?chown,fchown,?fchownat,?rename,"
    "?renameat,?renameat2,?symlink,?symlinkat,?unlink,?unlinkat,?mkdir,?mkdirat,?rmdir,?link,?linkat,?ftruncate,"
    "connect,bind,listen,sendto,kill,?clone,?clone3,?fork,?vfork"
)
LIMIT = 400


@dataclass(frozen=True)
class Kill:
    """What is killed, and when.

    :param what: ``visit``, ``listener``, ``control`` or ``host``. :param stage: ``<operation>-<position>``.
    :param member: whose visit, or which host. :param name: of the system call in front of which a visit is killed.
    :param call: in front of which call of that name, or of which write of the control node's files.
    :param part: in front of which task of the control process (``visit``, ``mesh_plan``).
    :param delay: so many seconds after the stage began. :param survive: whether visits go on when the control process
        is killed, as they do over ssh.
    """

    what: str
    stage: str
    member: str = ""
    name: str = ""
    call: int = 0
    part: str = ""
    delay: float = 0
    survive: bool = False


@dataclass
class Outcome:
    """What became of a chain.

    :param hit: for each kill whether it came to that. :param broken: pairs and sets. :param faults: other invariants.
    :param unconverged: why it did not converge; empty if it did.
    """

    hit: list[bool] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    unconverged: list[str] = field(default_factory=list)
    output: str = ""
    seconds: float = 0


def main() -> None:
    folder, request = Path(sys.argv[1]), json.loads(sys.argv[2])
    run("ip", "link", "set", "lo", "up")
    run("mount", "--make-rshared", "/")
    # Of its own, so that paths, ports and locks are the same in every chain, and nothing is left behind.
    for place in (folder / "mesh", Path("/run")):
        run("mount", "-t", "tmpfs", "-o", "mode=0755", "none", str(place))
    if "base" in request:
        prepare(folder, request["base"])
        result: Any = {}
    elif "kills" in request:
        kills = [Kill(**one) for one in request["kills"]]
        result = asdict(Chain(folder, request["scenario"]).run(kills))
    else:
        result = Chain(folder, request["scenario"]).measure()
    print("\n" + json.dumps(result))


def prepare(folder: Path, name: str) -> None:
    """Make what scenarios begin with."""
    make, settings = BASES[name]
    mesh = ChaosMesh(folder / "mesh", list(ALL), dict(settings))
    make(mesh)
    half = folder / f"{name}.half"
    run("cp", "-a", str(mesh.root), str(half))
    half.rename(folder / "bases" / name)
    if mesh.current("a").exists():
        notice(mesh, str(settings.get("esync_pfx_passphrase", "")) or None)


def notice(mesh: ChaosMesh, passphrase: str | None) -> None:
    """Demand of the checks that they notice what they are for: each kind of damage is done, on files that nobody needs.

    :raises RuntimeError: one did not.
    """
    key, other = (mesh.current("a") / f"a_Sync{role}.key" for role in ("Server", "Client"))
    secret = Secret("the key", "".join(key.read_text().splitlines()[1:-1]).encode())
    sound = [
        *invariants.damaged_sets(mesh, "a", passphrase),
        *invariants.readable_keys(mesh),
        *invariants.leaked(mesh, [secret], ["nothing"]),
    ]
    key.chmod(0o640)
    readable = list(invariants.readable_keys(mesh))
    leaked = invariants.leaked(mesh, [secret], [f"x{secret.value.decode()}"])
    pairs = invariants.pairs(mesh, "ab")
    key.write_bytes(other.read_bytes())
    if sound or not (readable and leaked and ("a", "b") in pairs):
        raise RuntimeError(f"the checks are wrong: {sound}, {readable}, {leaked}, {pairs}")
    if not invariants.damaged_sets(mesh, "a", passphrase) or ("b", "a") in invariants.pairs(mesh, "ab"):
        raise RuntimeError("the checks do not notice a key of another certificate")


class Chain:
    """A scenario, on a copy of what it begins with."""

    def __init__(self, folder: Path, name: str) -> None:
        self.scenario: Scenario = SCENARIOS[name]
        run("cp", "-a", f"{folder / 'bases' / self.scenario.base}/.", str(folder / "mesh"))
        settings = {**self.scenario.settings}
        self.mesh = ChaosMesh(folder / "mesh", list(ALL), settings)
        for stale in ("stage", "events"):
            self.mesh.note(stale).unlink(missing_ok=True)
        if self.scenario.damage:
            self.scenario.damage(self.mesh)
        self.passphrase = settings.get("esync_pfx_passphrase")
        self.outcome = Outcome()
        self.outputs: list[str] = []
        self.secrets: list[Any] = []
        self.hosts: dict[str, Power] = {}

    # -- an undisturbed run -------------------------------------------------------------------------------------

    def measure(self) -> dict[str, Any]:
        """Which stages there are, who is visited in them, how many calls that takes, and how long."""
        self._be_away(True)
        code = self._end(self._start(self._killed_arguments(), {"CHAOS_COUNT": "1", "CHAOS_CALLS": CALLS}))
        disturbed = self.scenario.fails_at or self.scenario.absent
        if code != 0 and not disturbed:
            raise RuntimeError(f"the undisturbed run ended with {code}:\n{self.outputs[-1]}")
        events = self._events()
        stages: dict[str, Any] = {}
        for event, following in zip(events, events[1:]):
            if event["part"] == "visit" and event["stage"] != "none":
                stages[event["stage"]] = {
                    "seconds": following["at"] - event["at"],
                    "writes": event["writes"],
                    "members": {},
                }
        for path in sorted((self.mesh.root / "chaos" / "trace").iterdir()):
            stage, _dot, member = path.name.partition(".")
            stages[stage]["members"][member] = calls_of(path)
        # A stage that nobody was visited in: Ansible shows its task, and every host passes it.
        return {"stages": {name: one for name, one in stages.items() if one["members"]}, "writes": events[-1]["writes"]}

    # -- kills --------------------------------------------------------------------------------------------------

    def run(self, kills: Sequence[Kill]) -> Outcome:
        started = time.monotonic()
        before = invariants.pairs(self.mesh, ALL)
        self.demanded = [pair for pair in before if not set(pair) & set(self.scenario.excepted)]
        self.sound = [
            name
            for name in ALL
            if name not in self.scenario.excepted and not invariants.damaged_sets(self.mesh, name, self.passphrase)
        ]
        if before and not self.demanded and set(self.scenario.excepted) != set(ALL):
            raise RuntimeError("no pair is left to look at")
        for name in {one.member for one in kills if one.what == "host"}:
            self.hosts[name] = Power(self.mesh, name)
        for one in kills:
            self._kill(one)
        self._converge()
        self.outcome.faults += invariants.leaked(self.mesh, self.secrets, self.outputs)
        if self.outcome.broken or self.outcome.faults or self.outcome.unconverged:
            self.outcome.output = "\n".join(f"----- run {n}\n{text}" for n, text in enumerate(self.outputs, 1))
        self.outcome.seconds = time.monotonic() - started
        return self.outcome

    def _kill(self, one: Kill) -> None:
        for stale in ("stage", "events", "reached", "killed"):
            self.mesh.note(stale).unlink(missing_ok=True)
        self._be_away(True)
        process = self._start(self._killed_arguments(), environment_of(one))
        hit = False
        if one.what == "control":
            hit = self._kill_control(process, one)
        elif one.what == "host":
            hit = self._wait_for(process, one)
            if hit:
                self.hosts[one.member].cut()
        code = self._end(process)
        if one.what == "host" and hit:
            self.hosts[one.member].boot()
        if one.what in ("visit", "listener"):
            noted = self.mesh.note("killed")
            hit = noted.exists() and "killed by SIGKILL" in noted.read_text(errors="replace")
        self._be_away(False)
        self.outcome.hit.append(hit)
        self._check(f"{one.what} {one.stage} {one.member}".rstrip(), patient=one.survive)
        if code == 0:
            self.outcome.faults += [
                f"success was reported, but {what}" for what in self._unfinished(self.scenario.absent)
            ]

    def _be_away(self, away: bool) -> None:
        """Let the scenario's absent member be one that nobody answers for, or bring it back."""
        if self.scenario.absent:
            ssh = {"ansible_connection": "ssh", "ansible_host": "127.0.0.1", "ansible_port": 9}
            self.mesh.host_settings = {self.scenario.absent: ssh} if away else {}
            self.mesh.write()

    def _kill_control(self, process: subprocess.Popen[str], one: Kill) -> bool:
        if not self._wait_for(process, one):
            return False
        if one.survive:
            kill_control_alone()
            process.wait()
        else:
            kill(process)
        return True

    def _wait_for(self, process: subprocess.Popen[str], one: Kill) -> bool:
        """Wait until it is time to kill; False if the run ended before that."""
        stops = one.what == "control" and (one.part or one.call)
        while process.poll() is None:
            if stops and self.mesh.note("reached").exists():
                return True
            if not stops and any(e["part"] == "visit" and e["stage"] == one.stage for e in self._events()):
                time.sleep(one.delay)
                return process.poll() is None
            time.sleep(0.005)
        return False

    # -- what has to hold ---------------------------------------------------------------------------------------

    def _check(self, where: str, patient: bool) -> None:
        """I1, I2 and I3. :param patient: visits go on meanwhile, so what was read in their middle is read again."""
        self.secrets += invariants.secrets(self.mesh, self.passphrase)
        for attempt in range(5 if patient else 1):
            if attempt:
                time.sleep(1)
            broken, faults = self._broken(), list(invariants.readable_keys(self.mesh))
            if not broken and not faults:
                return
        self.outcome.broken += [f"{where}: {what}" for what in broken]
        self.outcome.faults += [f"{where}: {what}" for what in faults]

    def _broken(self) -> list[str]:
        found = [
            f"I2: {one} -> {other}" for one, other in self.demanded if not invariants.accepted(self.mesh, one, other)
        ]
        for name in self.sound:
            found += invariants.damaged_sets(self.mesh, name, self.passphrase)
        return found

    def _converge(self) -> None:
        for stale in ("stage", "events"):
            self.mesh.note(stale).unlink(missing_ok=True)
        code = self._end(self._start([self.scenario.operation, *self.scenario.arguments], {}))
        if code != 0:
            self.outcome.unconverged.append(f"the run after the kill ended with {code}")
            return
        self.outcome.unconverged += self._unfinished()
        members = [name for name in ALL if name not in self.scenario.removed]
        for name in members:
            self.outcome.unconverged += invariants.damaged_sets(self.mesh, name, self.passphrase)
        self.outcome.faults += invariants.readable_keys(self.mesh)
        self.secrets += invariants.secrets(self.mesh, self.passphrase)
        before = self.mesh.snapshot()
        playbook, *arguments = self.scenario.again or (self.scenario.operation, *self.scenario.arguments)
        code = self._end(self._start([playbook, *arguments], {}))
        after = self.mesh.snapshot()
        if code != 0:
            self.outcome.unconverged.append(f"the run after that ended with {code}")
        different = sorted(path for path in {**before, **after} if before.get(path) != after.get(path))
        if different:
            self.outcome.unconverged.append(f"the run after that changed {', '.join(different)}")

    def _unfinished(self, absent: str | None = None) -> list[str]:
        """What a run that succeeded has not done. :param absent: the member that it could do nothing about."""
        members = [name for name in ALL if name not in self.scenario.removed and name != absent]
        wanted = {(one, other) for one in members for other in members if one != other}
        missing = sorted(wanted - set(invariants.pairs(self.mesh, members)))
        found = [f"{one} -> {other} does not work" for one, other in missing]
        if self.scenario.operation != "apply":
            summary = self.mesh.report()["summary"]
            untested = summary["expected"] - len(wanted) if absent else 0
            if (summary["ok"], summary["failed"], summary["untested"]) != (len(wanted), 0, untested):
                found.append(f"the report says {summary}")
        return found

    # -- runs ---------------------------------------------------------------------------------------------------

    def _killed_arguments(self) -> list[str]:
        return [self.scenario.operation, *self.scenario.arguments, *self.scenario.killed_arguments]

    def _start(self, words: Sequence[str], environment: dict[str, str]) -> subprocess.Popen[str]:
        words = [word.replace("{root}", str(self.mesh.root)) for word in words]
        if self.scenario.fails_at and environment:
            environment["CHAOS_FAULT"] = self._fault()
        with (self.mesh.root / "output").open("w") as output:
            return subprocess.Popen(
                self.mesh.command(*words),
                cwd=self.mesh.root,
                env={**self.mesh.environment(), **environment},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                text=True,
                start_new_session=True,
            )

    def _fault(self) -> str:
        from ansible_collections.esync.mesh.plugins.plugin_utils._planning.operations import OPERATIONS

        title, member = self.scenario.fails_at or ("", "")
        stages = OPERATIONS[self.scenario.operation].stages
        position = next(number for number, stage in enumerate(stages) if stage.title == title)
        return f"{self.scenario.operation}-{position}/{member}"

    def _end(self, process: subprocess.Popen[str]) -> int:
        try:
            code = process.wait(timeout=LIMIT)
        except subprocess.TimeoutExpired:
            kill(process)
            self.outcome.unconverged.append(f"a run did not end within {LIMIT} seconds")
            code = -1
        self.outputs.append((self.mesh.root / "output").read_text(errors="replace"))
        return code

    def _events(self) -> list[dict[str, Any]]:
        path = self.mesh.note("events")
        lines = path.read_text().splitlines(keepends=True) if path.exists() else []
        return [json.loads(line) for line in lines if line.endswith("\n")]


def environment_of(one: Kill) -> dict[str, str]:
    """What tells callback and interpreter where the kill is to be."""
    if one.what in ("visit", "listener"):
        visit = f"{one.stage}/{one.member}"
        return {"CHAOS_VISIT": visit, "CHAOS_KILL_CALL": one.name, "CHAOS_KILL_AT": str(one.call)}
    if one.what == "control" and one.call:
        return {"CHAOS_WRITE": str(one.call)}
    if one.what == "control" and one.part:
        return {"CHAOS_STOP": f"{one.part} {one.stage}"}
    return {"CHAOS_VISIT": ""}


def calls_of(path: Path) -> dict[str, Any]:
    """The calls that a visit made by itself, and how many connections the endpoint that it started waited for."""
    lines = [line.split(None, 1) for line in path.read_text(errors="replace").splitlines()]
    # Not the signals ("---"), the ends ("+++"), and what goes on after something else ("<...").
    calls = [(pid, what.partition("(")[0]) for pid, what in lines if what[0] not in "-+<"]
    own = calls[0][0] if calls else ""
    waits: dict[str, int] = {}
    for pid, name in calls:
        if name == "accept4":
            waits[pid] = waits.get(pid, 0) + 1
    return {"calls": [name for pid, name in calls if pid == own], "waits": max(waits.values(), default=0)}


def kill_control_alone() -> None:
    """SIGKILL to ansible-playbook and its workers, and to nothing that they started."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().split(b"\0")
        except OSError:
            continue
        if any(word.endswith(b"/ansible-playbook") for word in words[:2]):
            found.append(int(path.parent.name))
    for number in (signal.SIGSTOP, signal.SIGKILL):
        for pid in found:
            try:
                os.kill(pid, number)
            except ProcessLookupError:
                pass
    wait_for(lambda: not any(running(pid) for pid in found), "what was killed does not go away")


if __name__ == "__main__":
    main()
