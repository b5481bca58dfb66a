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
import os
import random
import socket
import sys
import tempfile
from contextlib import ExitStack, suppress
from pathlib import Path

from costs import ROOT, Cost, measure, write_inventory

RUNS = {"establish": "establish", "again, no change": "establish", "verify": "verify"}


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
                costs[name][size] = measure(
                    Path(folder),
                    ROOT / "playbooks" / f"{playbook}.yml",
                    size,
                    connection="local",
                    at_end=wait_for_orphans,
                )
    print(table(costs, sizes))
    return 0


def inventory(folder: Path, size: int) -> None:
    """Write the inventory of a mesh on this machine. Keys are ecdsa: how long an RSA key takes is a matter of luck."""
    variables = {
        "ansible_python_interpreter": sys.executable,
        "esync_address": "127.0.0.1",
        "esync_listen_address": "127.0.0.1",
        "esync_directory": f"{folder}/hosts/{{{{ inventory_hostname }}}}",
        "esync_install_dependencies": False,
        "esync_key_type": "ecdsa",
        "esync_formats": ["cer", "pfx"],
    }
    (folder / "hosts").mkdir()
    write_inventory(
        folder, variables, {f"server{number}": {"esync_port": port} for number, port in enumerate(free_ports(size), 1)}
    )


def free_ports(count: int) -> list[int]:
    """Find ports that are free now, below those that the kernel gives to outgoing connections (ip(7))."""
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


def adopt_orphans() -> None:
    """Become the parent of processes whose own has ended, so that the CPU time of listeners counts (prctl(2))."""
    set_child_subreaper = 36
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(set_child_subreaper, 1, 0, 0, 0) != 0:
        raise SystemExit(f"prctl: {os.strerror(ctypes.get_errno())}")


def wait_for_orphans() -> None:
    """Wait for the listeners, each of which ends when every peer was served."""
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
