# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a server costs in a small and in a large mesh: make bench.

Meshes of several sizes are established, run again and verified, all servers on this machine. For each run it prints the
remote calls, the bytes sent and the CPU seconds for one server, as a ratio to the smallest mesh of the same run of the
benchmark. A ratio says how the cost grows, and means the same on a slow machine and on a fast one.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import random
import resource
import socket
import subprocess
import sys
import tempfile
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
RUNS = {"establish": "establish", "again, no change": "establish", "verify": "verify"}


@dataclass(frozen=True)
class Cost:
    """What one run cost for each server: remote calls, bytes sent to it, CPU seconds of all processes."""

    calls: float
    sent: float
    cpu: float


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sizes", nargs="*", type=int, default=[3, 6, 12], help="numbers of servers (3 6 12)")
    sizes = sorted(set(parser.parse_args().sizes))
    if len(sizes) < 2 or sizes[0] < 2:
        parser.error("give at least two different sizes, each of two servers or more")
    adopt_orphans()
    costs: dict[str, dict[int, Cost]] = {name: {} for name in RUNS}
    for size in sizes:
        with tempfile.TemporaryDirectory(prefix="esync-bench-") as folder:
            inventory(Path(folder), size)
            for name, playbook in RUNS.items():
                print(f"{size} servers: {name}", file=sys.stderr, flush=True)
                costs[name][size] = measure(Path(folder), playbook, size)
    print(table(costs, sizes))
    return 0


def inventory(folder: Path, size: int) -> None:
    """A mesh of servers on this machine. Keys are ecdsa, for how long an RSA key takes to make is a matter of luck."""
    variables = {
        "ansible_connection": "counted",
        "ansible_python_interpreter": sys.executable,
        "esync_address": "127.0.0.1",
        "esync_listen_address": "127.0.0.1",
        "esync_directory": f"{folder}/hosts/{{{{ inventory_hostname }}}}",
        "esync_ledger": f"{folder}/ledger",
        "esync_report_directory": f"{folder}/report",
        "esync_install_dependencies": False,
        "esync_key_type": "ecdsa",
        "esync_formats": ["cer", "pfx"],
    }
    hosts: dict[str, Any] = {f"server{number}": {"esync_port": port} for number, port in enumerate(free_ports(size), 1)}
    (folder / "hosts").mkdir()
    (folder / "hosts.json").write_text(json.dumps({"esync": {"vars": variables, "hosts": hosts}}), encoding="utf-8")


def free_ports(count: int) -> list[int]:
    """Ports that nobody uses now, below those that the kernel gives to outgoing connections (ip(7))."""
    found: list[int] = []
    with ExitStack() as taken:
        for port in random.sample(range(20000, 32000), 2000):
            one = taken.enter_context(socket.socket())
            with suppress(OSError):
                one.bind(("127.0.0.1", port))
                found.append(port)
            if len(found) == count:
                break
    return found


def measure(folder: Path, playbook: str, size: int) -> Cost:
    """Run a playbook to the end of its last process.

    :raises SystemExit: the run failed; then its output is shown, for what failed must not count as cheap.
    """
    notes = folder / "calls"
    notes.write_text("", encoding="ascii")
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        [
            Path(sys.executable).with_name("ansible-playbook"),
            ROOT / "playbooks" / f"{playbook}.yml",
            "--inventory",
            folder / "hosts.json",
        ],
        env={
            **os.environ,
            "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
            "ANSIBLE_CONNECTION_PLUGINS": str(ROOT / "benchmarks" / "connection"),
            "ANSIBLE_LOCAL_TEMP": str(folder / "tmp"),
            "ESYNC_BENCH_CALLS": str(notes),
        },
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    wait_for_orphans()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        raise SystemExit(f"{done.stdout}\n{playbook} with {size} servers ended with {done.returncode}")
    sent = [int(line) for line in notes.read_text(encoding="ascii").split()]
    if not sent:
        raise SystemExit(f"no call of {playbook} was counted")
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Cost(len(sent) / size, sum(sent) / size, cpu / size)


def adopt_orphans() -> None:
    """Become the parent of processes whose own has ended, so that what the listeners used counts (prctl(2))."""
    set_child_subreaper = 36
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(set_child_subreaper, 1, 0, 0, 0) != 0:
        raise SystemExit(f"prctl: {os.strerror(ctypes.get_errno())}")


def wait_for_orphans() -> None:
    """A listener ends when every peer was served."""
    while True:
        try:
            os.wait()
        except ChildProcessError:
            return


def table(costs: dict[str, dict[int, Cost]], sizes: list[int]) -> str:
    """Markdown: the smallest mesh in figures, the others as ratios to it."""
    lines = [
        f"| run | for one server | {' | '.join(f'{size} servers' for size in sizes)} |",
        f"| --- | --- | {' | '.join('---' for _size in sizes)} |",
    ]
    for name, found in costs.items():
        smallest = found[sizes[0]]
        for label, value, base in (
            ("remote calls", [found[size].calls for size in sizes], f"{smallest.calls:.0f}"),
            ("bytes sent", [found[size].sent for size in sizes], f"{smallest.sent / 1024:.0f} KiB"),
            ("CPU time", [found[size].cpu for size in sizes], f"{smallest.cpu:.2f} s"),
        ):
            ratios = " | ".join(f"x {one / value[0]:.2f}" for one in value[1:])
            lines.append(f"| {name} | {label} | {base} | {ratios} |")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
