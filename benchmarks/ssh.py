# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Measure runs over ssh, in units of a ping play: as root, .venv/bin/python benchmarks/ssh.py [SIZE ...]

Servers are containers with sshd on this machine (molecule/shared/packages.txt lists what that needs). A mesh of each
size is established, established again, verified and regenerated, with a ping play before each. One ping play is one
remote call on each server, so a figure in its units says how many calls a run is worth, on any machine.

The result is JSON on stdout, progress goes to stderr. Containers and network are removed at the end, also after an
interrupt.
"""

from __future__ import annotations

import argparse
import configparser
import fcntl
import json
import math
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from costs import ROOT, Cost, measure, write_inventory

sys.path.insert(0, str(ROOT / "molecule" / "shared"))
import lab  # noqa: E402  (the containers of the Molecule scenarios; a script, not a package)

PING = ROOT / "benchmarks" / "ping.yml"
PLAYBOOKS = {"establish": "establish", "again": "establish", "verify": "verify", "regenerate": "regenerate"}
SUITE = "bookworm"
# No Molecule scenario has this network.
NETWORK = "10.123.60"
FIRST_ADDRESS = 11
MOST = 254 - FIRST_ADDRESS
# Without systemd a host starts in a fraction of a second, and takes less memory.
INIT = ["sh", "-c", "mkdir -p /run/sshd && exec /usr/sbin/sshd -D"]
# All containers share the kernel's table of neighbours, which holds 1,024 by default (arp(7)).
NEIGHBOURS = Path("/proc/sys/net/ipv4/neigh/default")
NEIGHBOUR_LIMITS = {"gc_thresh3": 80000, "gc_thresh2": 40000, "gc_thresh1": 20000}
MOST_WITH_DEFAULT_LIMITS = 40


def main() -> int:
    options = arguments()
    remove_when_interrupted()
    meshes = []
    with only_one(), neighbour_limits(options.sizes[-1]):
        for size in options.sizes:
            with hosts(servers(size)) as folder:
                meshes.append(measure_mesh(folder, size, options))
    result: dict[str, Any] = {
        "cores": os.cpu_count(),
        "forks": options.forks,
        "key_type": options.key_type,
        "repeat": options.repeat,
        "meshes": meshes,
    }
    if len(meshes) > 1:
        result["exponent_of_again"] = exponent(meshes[0], meshes[-1])
    print(json.dumps(result, indent=1))
    return 0


def arguments() -> argparse.Namespace:
    configuration = configparser.ConfigParser()
    configuration.read(ROOT / "ansible.cfg", encoding="utf-8")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sizes", nargs="*", type=int, default=[20], help="numbers of servers (20)")
    parser.add_argument("--repeat", type=int, default=3, help="meshes of each size; medians are printed (3)")
    parser.add_argument("--key-type", choices=["ecdsa", "rsa", "ed25519"], default="ecdsa", help="(ecdsa)")
    parser.add_argument("--forks", type=int, default=configuration.getint("defaults", "forks"), help="(%(default)s)")
    options = parser.parse_args()
    options.sizes = sorted(set(options.sizes))
    if options.sizes[0] < 2 or options.sizes[-1] > MOST or options.repeat < 1 or options.forks < 1:
        parser.error(f"a mesh has 2 to {MOST} servers; --repeat and --forks are at least 1")
    if os.geteuid() != 0:
        parser.error("root is needed to start the containers")
    return options


def measure_mesh(folder: Path, size: int, options: argparse.Namespace) -> dict[str, Any]:
    """Measure all runs ``--repeat`` times, each on servers without certificates.

    :returns: ``servers``, ``ping_seconds``, and ``runs``: for each run the medians of its costs.
    """
    variables = {
        **reached_by_ssh(folder),
        "esync_key_type": options.key_type,
        # Only an RSA key fits into a .pvk file.
        "esync_formats": ["cer", "pfx", "pvk"] if options.key_type == "rsa" else ["cer", "pfx"],
    }
    platforms = servers(size)
    write_inventory(folder, variables, {one["name"]: {"ansible_host": one["address"]} for one in platforms})
    environment = {"ANSIBLE_FORKS": str(options.forks), "ANSIBLE_SSH_CONTROL_PATH_DIR": str(control_folder(folder))}
    usage = cpu_of_containers([lab.container(one) for one in platforms], control_folder(folder))

    def run(playbook: Path) -> Cost:
        return measure(folder, playbook, size, connection="ssh", environment=environment, cpu_elsewhere=usage)

    costs: dict[str, list[Cost]] = {name: [] for name in PLAYBOOKS}
    units: list[float] = []
    for number in range(1, options.repeat + 1):
        wipe(folder, platforms)
        # The shared ssh connections exist from here on, as they do for everybody who runs one playbook after another.
        run(PING)
        pings: list[float] = []
        for name, playbook in PLAYBOOKS.items():
            # A single ping play is too short to be a unit on a machine that does other work, too.
            pings.append(run(PING).seconds)
            costs[name].append(run(ROOT / "playbooks" / f"{playbook}.yml"))
            seconds = f"ping {pings[-1]:.1f} s, {name} {costs[name][-1].seconds:.1f} s"
            note(f"{size} servers, {number} of {options.repeat}: {seconds}")
        units.append(statistics.median(pings))
    return {
        "servers": size,
        "ping_seconds": round(statistics.median(units), 2),
        "runs": {name: summary(found, units) for name, found in costs.items()},
    }


def summary(costs: list[Cost], units: list[float]) -> dict[str, float]:
    """Medians over the repetitions; each run is compared with the ping plays of its own repetition."""

    def median(values: Iterator[float], digits: int) -> float:
        return round(statistics.median(values), digits)

    return {
        "pings": median((one.seconds / unit for one, unit in zip(costs, units)), 2),
        "seconds": median((one.seconds for one in costs), 2),
        "calls_per_server": median((one.calls for one in costs), 2),
        "kib_sent_per_server": median((one.sent / 1024 for one in costs), 1),
        "cpu_seconds_per_server": median((one.cpu for one in costs), 2),
    }


def exponent(first: dict[str, Any], last: dict[str, Any]) -> float | None:
    """Tell how the time of a run without changes grows with the number of servers, beyond that of a ping play.

    :returns: e in time ~ servers ** e; None if a run was no slower than a ping play.
    """
    small, large = (mesh["runs"]["again"]["seconds"] - mesh["ping_seconds"] for mesh in (first, last))
    if small <= 0 or large <= 0:
        return None
    return round(math.log(large / small) / math.log(last["servers"] / first["servers"]), 2)


def servers(size: int) -> list[dict[str, Any]]:
    """The hosts, as lab.py describes platforms."""
    return [
        {"name": f"server{number + 1}", "address": f"{NETWORK}.{FIRST_ADDRESS + number}", "suite": SUITE, "init": INIT}
        for number in range(size)
    ]


def remove_when_interrupted() -> None:
    """Let an interrupt end this process as an error does: what was started is removed on the way out."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        # Under nohup a hangup stays ignored.
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, lambda caught, _frame: sys.exit(128 + caught))


def reached_by_ssh(folder: Path) -> dict[str, str]:
    """How Ansible reaches the hosts. :param folder: that of :func:`hosts`."""
    return {
        "ansible_user": "root",
        "ansible_ssh_private_key_file": f"{folder}/id_ed25519",
        "ansible_ssh_common_args": "-o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR",
        "ansible_python_interpreter": "/usr/bin/python3",
    }


@contextmanager
def hosts(platforms: list[dict[str, Any]]) -> Iterator[Path]:
    """Start the hosts, yield a folder with the ssh key for them, and remove all of it at the end."""
    with tempfile.TemporaryDirectory(prefix="esync-bench-") as name:
        folder = Path(name)
        control_folder(folder).mkdir()
        containers_conf = folder / "containers.conf"
        containers_conf.write_text(lab.CONTAINERS_CONF, encoding="utf-8")
        os.environ["CONTAINERS_CONF"] = str(containers_conf)
        try:
            # What a run that was killed left behind.
            remove_hosts(platforms)
            note(f"{len(platforms)} servers: starting containers")
            lab.create(platforms, folder)
            yield folder
        finally:
            with uninterrupted():
                note("removing containers and network")
                close_connections(folder)
                remove_hosts(platforms)


def remove_hosts(platforms: list[dict[str, Any]]) -> None:
    """Remove all containers of the network of these hosts, by name, and the network; no scenario of Molecule has it."""
    network = lab.network(platforms[0])
    listed = subprocess.run(
        ["podman", "ps", "--all", "--quiet", "--filter", f"name=^{network}-"],
        capture_output=True,
        text=True,
        check=True,
    )
    if listed.stdout.split():
        lab.run("podman", "rm", "--force", "--time", "0", "--volumes", *listed.stdout.split())
    lab.quiet("podman", "network", "rm", network)


def wipe(folder: Path, platforms: list[dict[str, Any]]) -> None:
    """Remove all certificates from the hosts, and what the control node knows of them."""
    for one in platforms:
        lab.run("podman", "exec", lab.container(one), "rm", "-rf", "/etc/esync")
    for name in ("ledger", "report"):
        shutil.rmtree(folder / name, ignore_errors=True)


def control_folder(folder: Path) -> Path:
    """The folder for the sockets of shared ssh connections."""
    return folder / "cp"


def close_connections(folder: Path) -> None:
    for socket in control_folder(folder).glob("*"):
        lab.quiet("ssh", "-o", f"ControlPath={socket}", "-O", "exit", "-")


def cpu_of_containers(names: list[str], sockets: Path) -> Callable[[], float]:
    """Find where the kernel counts the CPU time of containers.

    :param sockets: the folder with the sockets of shared ssh connections.
    :returns: a function that returns the CPU seconds used so far by the containers and by the shared connections.
    """
    accounts = [cpu_account(name) for name in names]

    def used() -> float:
        return sum(read() for read in accounts) + cpu_of_shared_connections(sockets)

    return used


def cpu_account(container: str) -> Callable[[], float]:
    """Find the CPU account of a container's control group (cgroups(7))."""
    shown = subprocess.run(
        ["podman", "inspect", "--format", "{{.State.Pid}}", container], capture_output=True, text=True, check=True
    )
    for line in Path(f"/proc/{shown.stdout.strip()}/cgroup").read_text(encoding="ascii").splitlines():
        _number, controllers, path = line.split(":", 2)
        if "cpuacct" in controllers.split(","):
            usage = Path(f"/sys/fs/cgroup/cpuacct{path}/cpuacct.usage")
            return lambda: int(usage.read_text(encoding="ascii")) / 1e9
        statistic = Path(f"/sys/fs/cgroup{path}/cpu.stat")
        if not controllers and statistic.exists():
            return lambda: int(statistic.read_text(encoding="ascii").split()[1]) / 1e6
    raise SystemExit(f"{container}: its CPU time is not found below /sys/fs/cgroup")


def cpu_of_shared_connections(sockets: Path) -> float:
    """CPU seconds used so far by the processes that hold shared ssh connections (proc(5)).

    They are not children of this process, and go on between runs. Their titles end with the socket and ``[mux]``.
    """
    ticks = 0
    for process in Path("/proc").glob("[0-9]*"):
        try:
            title = (process / "cmdline").read_bytes()
            if bytes(sockets) in title and b"[mux]" in title:
                fields = (process / "stat").read_text(encoding="ascii").rpartition(")")[2].split()
                ticks += int(fields[11]) + int(fields[12])
        except OSError:
            # It has ended meanwhile.
            continue
    return ticks / os.sysconf("SC_CLK_TCK")


@contextmanager
def only_one() -> Iterator[None]:
    """Keep a second run of this benchmark away from the hosts of the first."""
    with open(f"{tempfile.gettempdir()}/{lab.network(servers(1)[0])}.lock", "w", encoding="ascii") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise SystemExit("this benchmark is running already") from None
        yield


@contextmanager
def neighbour_limits(size: int) -> Iterator[None]:
    """Raise the limits of the kernel's neighbour table while many hosts call each other, and set them back."""
    before: dict[str, str] = {}
    try:
        if size > MOST_WITH_DEFAULT_LIMITS:
            for name, wanted in NEIGHBOUR_LIMITS.items():
                found = (NEIGHBOURS / name).read_text(encoding="ascii").strip()
                if int(found) < wanted:
                    before[name] = found
                    (NEIGHBOURS / name).write_text(str(wanted), encoding="ascii")
                    note(f"raised net.ipv4.neigh.default.{name} from {found} to {wanted} until the end of this run")
        yield
    finally:
        with uninterrupted():
            for name, value in reversed(before.items()):
                (NEIGHBOURS / name).write_text(value, encoding="ascii")
                note(f"set net.ipv4.neigh.default.{name} back to {value}")


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Ignore signals that would end this process, and keep them from the processes that it starts."""
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    earlier = {number: signal.signal(number, signal.SIG_IGN) for number in numbers}
    try:
        yield
    finally:
        for number, handler in earlier.items():
            signal.signal(number, handler)


def note(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
