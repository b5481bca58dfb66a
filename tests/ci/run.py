# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Run the parts of the test, all of them or those named, and end with the summary lines of their own runners.

A part that fails does not keep the others from running; a part that ran no test has failed.
"""

from __future__ import annotations

import argparse
import io
import os
import re
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

ROOT = Path(__file__).resolve().parents[2]
BIN = ROOT / ".venv" / "bin"
CODE = ["plugins", "tests", "molecule"]


@dataclass(frozen=True)
class Part:
    """A part of the test.

    :param commands: run one after the other.
    :param summary: the line by which a runner says what it did; one for each match of ``count`` must be there.
    :param count: how many summary lines there must be.
    :param packages: files that list the Debian packages it needs.
    :param seconds: after this time it is ended, and has failed.
    :param takes: about how many seconds it takes beside another; what takes longest begins first.
    """

    commands: Sequence[Sequence[str]]
    summary: str
    count: int = 1
    packages: Sequence[str] = ()
    seconds: int = 1800
    takes: int = 30


PYTEST = r"\b[1-9]\d* passed\b"

# Molecule's scenarios, and about how many seconds each takes beside another part.
SCENARIOS = {
    "default": 40,
    "endpoint": 220,
    "regenerate": 700,
    "remove": 60,
    "diagnosis": 480,
    "apply": 120,
    "sites": 120,
    "cluster": 130,
    "shared_keys": 180,
}

PARTS = {
    "lint": Part(
        [
            [f"{BIN}/ruff", "check", "--no-cache", "."],
            [f"{BIN}/ruff", "format", "--no-cache", "--check", "."],
            [f"{BIN}/ansible-lint", "--offline", "--profile", "production"],
        ],
        r"^(All checks passed|\d+ files already formatted|Passed: 0 failure).*",
        count=3,
    ),
    "types": Part(
        [[f"{BIN}/mypy", "--cache-dir", "/dev/null", "-p", "ansible_collections.esync.mesh.plugins"]],
        r"^Success: no issues found.*",
    ),
    "unit": Part(
        [[f"{BIN}/pytest", "-p", "no:cacheprovider", "-q", "tests/unit"]],
        PYTEST,
        # Whoever is not root runs what needs them only if they are there.
        packages=["tests/unit/packages.txt"] if os.geteuid() == 0 else [],
        takes=220,
    ),
    "interop": Part(
        [[f"{BIN}/pytest", "-p", "no:cacheprovider", "-q", "tests/interop"]],
        PYTEST,
        packages=["tests/interop/packages.txt"],
    ),
    "fuzz": Part(
        [[f"{BIN}/python", "tests/fuzz/run.py", "--executions", "200000", "--jobs", "2"]],
        r"^fuzz: [1-9]\d* executions over [1-9]\d* readers, seed \d+, \d+ findings$",
        takes=90,
    ),
    "browser": Part(
        [[f"{BIN}/pytest", "-p", "no:cacheprovider", "-q", "tests/browser"]],
        PYTEST,
        packages=["tests/browser/packages.txt"],
    ),
    "integration": Part(
        [[f"{BIN}/pytest", "-p", "no:cacheprovider", "-q", "tests/integration"]],
        PYTEST,
        packages=["tests/integration/packages.txt"],
        seconds=2700,
        takes=1300,
    ),
    # The real servers that attached services are tried with.
    "services": Part(
        [[f"{BIN}/pytest", "-p", "no:cacheprovider", "-q", "tests/services"]],
        PYTEST,
        packages=["tests/services/packages.txt"],
        takes=250,
    ),
    "distributions": Part(
        [[f"{BIN}/pytest", "-p", "no:cacheprovider", "-q", "tests/distributions"]],
        PYTEST,
        packages=["molecule/shared/packages.txt"],
        takes=100,
    ),
    # Five kinds of hosts; `make matrix-hosts` tries them all.
    "compat": Part(
        [[f"{BIN}/pytest", "-p", "no:cacheprovider", "-q", "tests/compat"]],
        PYTEST,
        packages=["tests/compat/packages.txt"],
        takes=150,
    ),
    # The oldest and the newest of `make matrix-control`.
    "control": Part(
        [[f"{BIN}/python", "tests/compat/control_nodes.py", "--sample"]],
        r"^control nodes: [1-9]\d* of [1-9]\d* cells passed$",
        takes=100,
    ),
    # A short, fixed sample of `make chaos`.
    "chaos": Part(
        [
            [
                *(f"{BIN}/python", "tests/chaos/run.py", "--scenario", "establish, one joins"),
                *("--visits", "4", "--control", "2", "--hosts", "1", "--seed", "1", "--chain", "7"),
            ]
        ],
        r"^[1-9]\d* kill points, \d+ broken pairs, .*",
        packages=["tests/chaos/packages.txt"],
        takes=100,
    ),
    "sanity": Part(
        [["tests/ci/sanity.sh", str(BIN)]],
        r"^sanity: \d+ tests, no failure.*",
        packages=["tests/ci/packages-sanity.txt"],
        takes=90,
    ),
    # The tools by which Galaxy, the community and distributions check a collection.
    "community": Part(
        [["tests/ci/community.sh", str(BIN)]],
        r"^community: [1-9]\d* checks, no finding$",
        takes=60,
    ),
    # The documents, the plugins and the role as one site.
    "docs-site": Part(
        [[f"{BIN}/python", "docs/site.py"]],
        r"^site: [1-9]\d* pages, [1-9]\d* internal links, none broken: .*",
    ),
    # Every command of the tutorial, in a mesh of its own; for root in a network of its own.
    "tutorial": Part(
        [[f"{BIN}/python", "docs/run_tutorial.py"]],
        r"^tutorial: [1-9]\d* commands, their outputs as shown$",
        packages=["tests/ci/packages-tutorial.txt"] if os.geteuid() == 0 else [],
        takes=60,
    ),
    "tarball": Part([[f"{BIN}/pytest", "-p", "no:cacheprovider", "-q", "tests/ci/test_tarball.py"]], PYTEST),
    **{
        f"molecule-{name}": Part(
            [[f"{BIN}/molecule", "test", "-s", name]],
            PYTEST,
            packages=["molecule/shared/packages.txt"],
            seconds=1800,
            takes=takes,
        )
        for name, takes in SCENARIOS.items()
    },
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"one of: {' '.join(PARTS)}; all if none is named")
    parser.add_argument("--list", action="store_true", help="print the names of the parts")
    parser.add_argument("--jobs", type=int, default=2, help="how many parts to run at the same time (%(default)s)")
    arguments = parser.parse_args()
    if arguments.list:
        print(" ".join(PARTS))
        return 0
    unknown = [name for name in arguments.parts if name not in PARTS]
    if unknown:
        parser.error(f"no part is called {', '.join(unknown)}; there are {', '.join(PARTS)}")
    chosen = arguments.parts or list(PARTS)
    installed = install([path for name in chosen for path in PARTS[name].packages])
    results = run_all(chosen, arguments.jobs) if installed else []
    print("\n===== summary =====")
    for result in results:
        for line in result.lines:
            print(f"{result.name}: {line}")
    for result in results:
        print(f"{'ok    ' if result.ok else 'FAILED'} {result.name} ({result.seconds:.0f} s){result.why}")
    passed = sum(result.ok for result in results)
    print(f"{passed} of {len(chosen)} parts passed")
    return 0 if passed == len(chosen) else 1


@dataclass(frozen=True)
class Result:
    """What became of a part."""

    name: str
    ok: bool
    seconds: float
    lines: Sequence[str]
    why: str = ""


def run_all(names: Sequence[str], jobs: int) -> list[Result]:
    """Run the parts, some at the same time; the output of one is shown as it comes, of several when each has ended."""
    if jobs == 1 or len(names) == 1:
        return [run(name, PARTS[name], sys.stdout) for name in names]
    longest_first = sorted(names, key=lambda name: -PARTS[name].takes)
    with ThreadPoolExecutor(max_workers=jobs) as pool:
        running = {name: pool.submit(run_apart, name) for name in longest_first}
        return [running[name].result() for name in names]


def run_apart(name: str) -> Result:
    """Run one part beside others, and show its output at its end."""
    print(f"----- {name} begins", flush=True)
    output = io.StringIO()
    result = run(name, PARTS[name], output)
    print(output.getvalue(), end="", flush=True)
    print(f"----- {name} ended after {result.seconds:.0f} s: {'ok' if result.ok else 'FAILED'}", flush=True)
    return result


def run(name: str, part: Part, output: TextIO) -> Result:
    """Run one part, and write what it says."""
    print(f"\n===== {name} =====", file=output, flush=True)
    started = time.monotonic()
    lines: list[str] = []
    why = ""
    for command in part.commands:
        code = stream(command, part, lines, output)
        if code != 0:
            why = f": {Path(command[0]).name} ended with {code}"
            break
    if not why and len(lines) < part.count:
        why = f": {part.count} summary lines were expected, {len(lines)} came, so something ran no test"
    return Result(name, not why, time.monotonic() - started, lines, why)


def stream(command: Sequence[str], part: Part, lines: list[str], output: TextIO) -> int:
    """Run a command, pass its output on, and keep its summary lines."""
    environment = {**os.environ, "NO_COLOR": "1", "ANSIBLE_NOCOLOR": "1", "PY_COLORS": "0", "ANSIBLE_FORCE_COLOR": "0"}
    environment["PATH"] = f"{BIN}:{environment['PATH']}"
    environment["PYTHONUNBUFFERED"] = "1"
    environment["MOLECULE_GLOB"] = "molecule/*/molecule.yml"
    process = subprocess.Popen(
        ["timeout", "--kill-after=30", str(part.seconds), *command],
        cwd=ROOT,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    )
    assert process.stdout is not None
    for line in process.stdout:
        print(line, end="", file=output, flush=True)
        plain = re.sub(r"\x1b\[[0-9;]*m", "", line).strip()
        if re.search(part.summary, plain):
            lines.append(plain)
    return process.wait()


def install(files: Sequence[str]) -> bool:
    """Install the Debian packages that the parts need, if any is missing."""
    wanted = sorted({word for path in files for word in (ROOT / path).read_text().split()})
    missing = [name for name in wanted if not _installed(name)]
    if not missing:
        return True
    if os.geteuid() != 0:
        print(f"These Debian packages are needed: {' '.join(missing)}. Install them, or run as root.", file=sys.stderr)
        return False
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    apt = ["apt-get", "-q", "-y", "-o", "Acquire::Retries=5", "-o", "DPkg::Lock::Timeout=300"]
    for attempt in range(1, 4):
        steps = ([*apt, "update"], [*apt, "install", "--no-install-recommends", *missing])
        if all(subprocess.run(step, env=environment, check=False).returncode == 0 for step in steps):
            return True
        print(f"apt-get failed (attempt {attempt} of 3)", file=sys.stderr)
        time.sleep(10 * attempt)
    return False


def _installed(name: str) -> bool:
    found = subprocess.run(
        ["dpkg-query", "-W", "-f", "${db:Status-Status}", name], capture_output=True, text=True, check=False
    )
    return found.stdout == "installed"


if __name__ == "__main__":
    sys.exit(main())
