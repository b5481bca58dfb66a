# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Feed every reader of what others may have written with mutated files, guided by the code that they reach (atheris).

A finding is any exception but EsyncError, and any execution that takes too much time or memory. Each is printed with
what repeats it: ``run.py --reader NAME --repeat BASE64``.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import json
import mmap
import os
import resource
import struct
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

# Of one execution. Seconds of the processor, so that a busy machine finds nothing that is not there.
SECONDS = 2.0
GROWTH = 128 << 20
# Of one process: what waits, instead of computing, is ended by libFuzzer, and what wants more memory than that fails.
WALL_SECONDS = 60
MEMORY = 3 << 30
MAX_BYTES = 16 << 10
_ROUND = 1_000_000
_COUNT = struct.Struct("<Q")


@dataclass(frozen=True)
class Task:
    """One process. :param runs: executions. :param seed: of libFuzzer, above 0."""

    reader: str
    runs: int
    seed: int


# -- one reader, in a process of its own ---------------------------------------------------------------------------


class Executions:
    """Runs a reader, counts, and notes findings, each kind of them once."""

    def __init__(self, read: Any, folder: Path) -> None:
        self.read = read
        self.folder = folder
        self.seen: set[str] = set()
        with (folder / "count").open("wb+") as stream:
            stream.write(bytes(_COUNT.size))
            stream.flush()
            self.count = mmap.mmap(stream.fileno(), _COUNT.size)
        self.number = 0

    def __call__(self, data: bytes) -> None:
        from ansible_collections.esync.mesh.plugins.module_utils._core.errors import EsyncError

        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        began = time.process_time()
        try:
            self.read(data)
        except EsyncError as error:
            # A message can be printed, whatever was read.
            str(error).encode("utf-8", "surrogateescape")
        except Exception as error:
            frames = traceback.extract_tb(error.__traceback__)
            self.note(f"{type(error).__name__} at {Path(frames[-1].filename).name}:{frames[-1].lineno}", data, error)
        spent = time.process_time() - began
        if spent > SECONDS:
            self.note("time", data, detail=f"{spent:.1f} s")
        grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - peak) << 10
        if grown > GROWTH:
            self.note("memory", data, detail=f"{grown >> 20} MB")
        self.number += 1
        self.count[:] = _COUNT.pack(self.number)

    def note(self, kind: str, data: bytes, error: BaseException | None = None, detail: str = "") -> None:
        if kind in self.seen:
            return
        self.seen.add(kind)
        if error is not None:
            detail = "".join(traceback.format_exception(error))[-2000:]
        found = {"kind": kind, "detail": detail, "data": base64.b64encode(data).decode("ascii")}
        name = hashlib.sha256(kind.encode("utf-8")).hexdigest()[:16]
        (self.folder / f"finding-{name}.json").write_text(json.dumps(found), encoding="utf-8")


def be_one(task: Task, folder: Path) -> None:
    """Fuzz one reader; libFuzzer ends the process."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    import atheris

    with atheris.instrument_imports(include=["ansible_collections.esync.mesh"], enable_loader_override=False):
        import readers
    reader = readers.READERS[task.reader]()
    corpus = folder / "corpus"
    corpus.mkdir()
    for number, data in enumerate(reader.seeds()):
        (corpus / f"{number:03}").write_bytes(data)
    options = {
        "runs": task.runs,
        "seed": task.seed,
        "max_len": MAX_BYTES,
        "timeout": WALL_SECONDS,
        "report_slow_units": WALL_SECONDS,
        "rss_limit_mb": 0,
        "print_final_stats": 0,
        "verbosity": 0,
        "artifact_prefix": f"{folder}/crash-",
    }
    atheris.Setup(
        [sys.argv[0], str(corpus), *(f"-{key}={value}" for key, value in options.items())],
        Executions(reader.read, folder),
    )
    atheris.Fuzz()


def repeat(name: str, data: bytes) -> None:
    """Read some bytes once, and show what happens."""
    import readers

    began = time.process_time()
    try:
        readers.READERS[name]().read(data)
        print("nothing was raised")
    except readers.EsyncError as error:
        print(f"EsyncError, as it should be: {error}")
    finally:
        print(f"{time.process_time() - began:.2f} s")


# -- all of them ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Outcome:
    """What became of a task."""

    task: Task
    executions: int
    findings: Sequence[str]


def run(task: Task) -> Outcome:
    """Run a task in a process of its own."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(prefix="esync-fuzz-", dir=memory if memory.is_dir() else None) as place:
        folder = Path(place)
        command = [sys.executable, __file__, "--reader", task.reader, "--executions", str(task.runs)]
        process = subprocess.run(
            [*command, "--seed", str(task.seed), "--in", place],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            check=False,
            env={**os.environ, "PYTHONHASHSEED": "0"},
        )
        count = folder / "count"
        done = _COUNT.unpack(count.read_bytes())[0] if count.exists() else 0
        findings = [_shown(task, json.loads(path.read_text())) for path in sorted(folder.glob("finding-*.json"))]
        for path in sorted(folder.glob("crash-*")):
            data = base64.b64encode(path.read_bytes()).decode("ascii")
            findings.append(_shown(task, {"kind": path.name.partition("-")[2], "detail": "", "data": data}))
        if process.returncode != 0 and not findings or done < task.runs and not findings:
            findings.append(f"{task.reader}: ended with {process.returncode} after {done}:\n{process.stdout[-3000:]}")
    print(f"{task.reader}: {done} executions, seed {task.seed}, {len(findings)} findings", flush=True)
    for finding in findings:
        print(finding, flush=True)
    return Outcome(task, done, findings)


def _shown(task: Task, found: dict[str, str]) -> str:
    again = f"run.py --reader {task.reader} --repeat {found['data']}"
    return f"FINDING {task.reader} (seed {task.seed}): {found['kind']}\n{found['detail']}\n  {again}"


def tasks(names: Sequence[tuple[str, int]], executions: int, seed: int, jobs: int) -> list[Task]:
    """Every reader again and again by the shares, so that whoever ends it early has tried all of them."""
    whole = sum(share for _name, share in names)
    rounds = max(jobs, -(-executions // _ROUND))
    found = []
    for number in range(rounds):
        for at, (name, share) in enumerate(names):
            runs = -(-executions * share // (whole * rounds))
            found.append(Task(name, runs, seed * 1000 + number * len(names) + at + 1))
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--executions", type=int, default=10_000_000, help="over all readers (%(default)s)")
    parser.add_argument("--seed", type=int, default=7, help="the same one does the same (%(default)s)")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes at once (%(default)s)")
    parser.add_argument("--reader", help="only this one")
    parser.add_argument("--repeat", metavar="BASE64", help="read this once with --reader, and show what happens")
    parser.add_argument("--in", dest="folder", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.folder:
        be_one(Task(arguments.reader, arguments.executions, arguments.seed), Path(arguments.folder))
        return 1  # libFuzzer has ended the process
    if arguments.repeat:
        repeat(arguments.reader, base64.b64decode(arguments.repeat))
        return 0
    import readers

    chosen = [(name, share) for name, share in readers.SHARES.items() if arguments.reader in (None, name)]
    with ThreadPoolExecutor(max_workers=arguments.jobs) as pool:
        outcomes = list(pool.map(run, tasks(chosen, arguments.executions, arguments.seed, arguments.jobs)))
    executions = sum(one.executions for one in outcomes)
    findings = sum(len(one.findings) for one in outcomes)
    idle = sorted({one.task.reader for one in outcomes if one.executions == 0})
    print(f"fuzz: {executions} executions over {len(chosen)} readers, seed {arguments.seed}, {findings} findings")
    if idle:
        print(f"nothing was run of: {', '.join(idle)}")
    return 1 if findings or idle or not outcomes else 0


if __name__ == "__main__":
    sys.exit(main())
