# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Real hosts on this machine: containers with systemd and sshd, on a network of their own, reached over ssh.

    lab.py create STATE < platforms.json
    lab.py destroy STATE < platforms.json

STATE is a folder for the ssh key. Images are made with mmdebstrap from the machine's own Debian mirror, so no container
registry is needed; they are kept in podman's storage under a name that holds a hash of their recipe.

Scenarios can run side by side: network and containers are named for the network that the platforms' addresses lie in.
A platform has name, address and suite, and may have: packages (further ones), without (packages to remove again), and
init (the command to run instead of systemd).
"""

from __future__ import annotations

import fcntl
import hashlib
import ipaddress
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

PREFIX = "esync-lab"
PACKAGES = [
    "ca-certificates",
    "curl",
    "dbus",
    "iproute2",
    "nginx",
    "openssh-server",
    "openssl",
    "procps",
    "python3",
    "python3-apt",
    "python3-cryptography",
    "systemd",
    "systemd-sysv",
]
# The package stays in apt's cache, so that a host that lacks it can install it without a network.
CUSTOMIZE = [
    'chroot "$1" apt-get -y install --reinstall --download-only python3-cryptography',
    'chroot "$1" systemctl disable nginx.service apt-daily.timer apt-daily-upgrade.timer',
    'mkdir -p "$1/etc/ssh/sshd_config.d"',
    'echo "MaxStartups 100:30:200" > "$1/etc/ssh/sshd_config.d/lab.conf"',
    'mkdir -m 0700 -p "$1/root/.ssh"',
]
CONTAINERS_CONF = """\
[engine]
runtime = "runc"
[containers]
default_ulimits = ["nofile=4096:4096", "nproc=4096:4096"]
"""


def main() -> int:
    action, state = sys.argv[1], Path(sys.argv[2])
    platforms = json.load(sys.stdin)
    state.mkdir(parents=True, exist_ok=True)
    # A developer's own podman settings stay as they are.
    config = state / "containers.conf"
    config.write_text(CONTAINERS_CONF)
    os.environ["CONTAINERS_CONF"] = str(config)
    destroy(platforms)
    if action == "create":
        create(platforms, state)
    return 0


def create(platforms: Sequence[dict[str, Any]], state: Path) -> None:
    """Make the images that are missing, the network, and the hosts; return when every one takes ssh connections."""
    images = {key: image(*key) for key in sorted({recipe(platform) for platform in platforms})}
    key = state / "id_ed25519"
    key.unlink(missing_ok=True)
    run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", PREFIX, "-f", str(key))
    run("podman", "network", "create", "--internal", "--subnet", str(subnet(platforms[0])), network(platforms[0]))
    for platform in platforms:
        name = container(platform)
        run(
            *("podman", "run", "--detach", "--name", name, "--hostname", platform["name"]),
            *("--systemd", "false" if "init" in platform else "always"),
            *("--network", network(platform), "--ip", platform["address"]),
            *platform.get("options", []),
            *("--cap-add", "NET_ADMIN", images[recipe(platform)], *platform.get("init", ["/sbin/init"])),
        )
    public = key.with_suffix(".pub").read_text()
    for platform in platforms:
        name = container(platform)
        if "init" not in platform:
            wait(lambda name=name: running(name), f"systemd on {name}")
        run("podman", "exec", "-i", name, "sh", "-c", "cat > /root/.ssh/authorized_keys", text=public)
        if platform.get("without"):
            run("podman", "exec", name, "apt-get", "-q", "-y", "remove", *platform["without"])
        wait(lambda platform=platform: listening(platform["address"]), f"sshd on {name}")


def power(platform: dict[str, Any], on: bool) -> None:
    """Cut a host's power, as it were, or switch it on again; what lies on its disk stays."""
    run("podman", *(("start",) if on else ("stop", "--time", "0")), container(platform))
    if on and "init" not in platform:
        wait(lambda: running(container(platform)), f"systemd on {platform['name']}")
    if on:
        wait(lambda: listening(platform["address"]), f"sshd on {platform['name']}")


def destroy(platforms: Sequence[dict[str, Any]]) -> None:
    """Remove the hosts and the network, by name, also those that an interrupted run left behind."""
    for platform in platforms:
        quiet("podman", "rm", "--force", "--time", "0", "--volumes", container(platform))
    quiet("podman", "network", "rm", network(platforms[0]))


def subnet(platform: dict[str, Any]) -> ipaddress.IPv4Network:
    """The network that a host lies in: one a scenario."""
    return ipaddress.IPv4Network(f"{platform['address']}/24", strict=False)


def network(platform: dict[str, Any]) -> str:
    return f"{PREFIX}-{str(subnet(platform).network_address).replace('.', '-')}"


def container(platform: dict[str, Any]) -> str:
    return f"{network(platform)}-{platform['name']}"


def recipe(platform: dict[str, Any]) -> tuple[str, ...]:
    """What an image is made from: the suite, and packages besides PACKAGES."""
    return (platform["suite"], *sorted(platform.get("packages", [])))


def image(suite: str, *further: str) -> str:
    """The image of a Debian suite, made if need be."""
    packages = [*PACKAGES, *further]
    digest = hashlib.sha256(json.dumps([suite, packages, CUSTOMIZE]).encode()).hexdigest()
    name = f"localhost/{PREFIX}:{suite}-{digest[:12]}"
    # Scenarios that run side by side want the same images.
    with open(f"{tempfile.gettempdir()}/{PREFIX}-{suite}-{digest[:12]}.lock", "w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not quiet("podman", "image", "exists", name):
            make_image(name, suite, packages)
    return name


def make_image(name: str, suite: str, packages: Sequence[str]) -> None:
    """Make an image from Debian's own packages."""
    hooks = [f"--customize-hook={command}" for command in CUSTOMIZE]
    with tempfile.TemporaryDirectory() as folder:
        archive = f"{folder}/rootfs.tar"
        for attempt in range(1, 4):
            made = subprocess.run(
                [
                    *("mmdebstrap", "--quiet", "--variant=minbase", f"--include={','.join(packages)}"),
                    *('--aptopt=Acquire::Retries "5"', "--skip=cleanup/apt", *hooks, suite, archive),
                ],
                check=False,
                stdout=sys.stderr,
            )
            if made.returncode == 0:
                break
            print(f"mmdebstrap failed (attempt {attempt} of 3)", file=sys.stderr)
            time.sleep(10 * attempt)
        else:
            raise SystemExit(f"the image of {suite} could not be made")
        run("podman", "import", "--quiet", archive, name)


def running(name: str) -> bool:
    done = subprocess.run(
        ["podman", "exec", name, "systemctl", "is-system-running"], capture_output=True, text=True, check=False
    )
    return done.stdout.strip() in ("running", "degraded")


def listening(address: str) -> bool:
    try:
        with socket.create_connection((address, 22), timeout=2) as connection:
            return connection.recv(4).startswith(b"SSH-")
    except OSError:
        return False


def wait(ready: Any, what: str, seconds: float = 120) -> None:
    """Wait until something is ready, or fail and say what was not."""
    deadline = time.monotonic() + seconds
    while not ready():
        if time.monotonic() > deadline:
            raise SystemExit(f"{what} did not come up within {seconds:g} s")
        time.sleep(0.2)


def run(*command: str, text: str | None = None) -> None:
    """Run a command; its output is shown only if it fails."""
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout}{done.stderr}")


def quiet(*command: str) -> bool:
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


if __name__ == "__main__":
    sys.exit(main())
