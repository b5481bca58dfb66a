# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Servers with networks of their own: a network namespace each, joined by a bridge to that of the control node.

All of it lies in namespaces of one process, with a mount namespace for /run/netns and /etc/hosts: nothing of it can be
seen outside, and nothing is left when that process ends.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

_APART = ["unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
_BRIDGE = """
mkdir -p /run/netns
mount -t tmpfs none /run/netns
ip link set lo up
ip link add bridge type bridge
ip link set bridge up
ip address add 10.99.0.1/24 dev bridge
ip -6 address add fd00:99::1/64 dev bridge nodad
"""
_SERVER = """
ip netns add {name}
ip link add up{number} type veth peer name eth0 netns {name}
ip link set up{number} master bridge up
ip -n {name} link set lo up
ip -n {name} link set eth0 up
"""
_PYTHON = """\
#!/bin/sh
# Whether a server has a file of hosts of its own is looked up at every call.
if [ -e {hosts} ]; then
    set -- unshare --mount sh -c 'mount --bind {hosts} /etc/hosts && exec "$@"' sh {python} "$@"
else
    set -- {python} "$@"
fi
exec nsenter --net=/run/netns/{name} "$@"
"""


@dataclass
class Network:
    """Some servers on a bridge.

    :param prefix: runs a command where the control node is.
    """

    folder: Path
    prefix: Sequence[str]

    def run(self, script: str) -> str:
        """Run lines of shell where the control node is."""
        command = [*self.prefix, "sh", "-euc", f"exec 2>&1\n{script}"]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
        assert done.returncode == 0, done.stdout
        return done.stdout

    def python(self, name: str) -> str:
        """The interpreter of a server."""
        return str(self.folder / f"python-{name}")

    def hosts(self, lines: Mapping[str, Sequence[str]], server: str = "") -> None:
        """The file of hosts, address to names: of one server, or of everything that has none of its own."""
        path = self.folder / (f"hosts-{server}" if server else "hosts")
        path.write_text("127.0.0.1 localhost\n" + "".join(f"{key} {' '.join(names)}\n" for key, names in lines.items()))
        if not server:
            self.run(f"umount /etc/hosts 2>/dev/null || true; mount --bind {path} /etc/hosts")


@contextmanager
def network(folder: Path, servers: Mapping[str, Sequence[str]]) -> Iterator[Network]:
    """A network for the length of a test.

    :param servers: name to its addresses, such as ``10.99.0.2/24`` or ``fd00:99::2/64``.
    """
    folder.mkdir(exist_ok=True)
    holder = subprocess.Popen(
        [*_APART, "sh", "-c", "echo ready; exec sleep infinity"], stdout=subprocess.PIPE, text=True
    )
    try:
        assert holder.stdout is not None and holder.stdout.readline() == "ready\n"
        children = Path(f"/proc/{holder.pid}/task/{holder.pid}/children").read_text().split()
        made = Network(folder, ["nsenter", "--target", children[0], "--net", "--mount", "--pid"])
        made.run(_BRIDGE)
        for number, (name, addresses) in enumerate(servers.items()):
            made.run(_SERVER.format(name=name, number=number))
            for address in addresses:
                nodad = " nodad" if ":" in address else ""
                made.run(f"ip -n {name} address add {address} dev eth0{nodad}")
            interpreter = Path(made.python(name))
            interpreter.write_text(_PYTHON.format(hosts=folder / f"hosts-{name}", name=name, python=sys.executable))
            interpreter.chmod(0o755)
        made.hosts({})
        yield made
    finally:
        holder.kill()
        holder.wait()
