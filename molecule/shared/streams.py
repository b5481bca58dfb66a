# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Answers that never end, a byte a second, from one server to another; the upstream is molecule/regenerate/files."""

from __future__ import annotations

from hosts import address, connect

_OWN = "/etc/esync/current/client"


def stream(source: str, target: str, count: int) -> None:
    """Begin so many answers, each over a connection of its own."""
    numbers = " ".join(str(number) for number in range(count))
    connect(source).check_output(
        f"for number in {numbers}; do setsid curl --silent --no-buffer --insecure --cert {_OWN}.crt --key {_OWN}.key"
        f" --output /root/stream-{target}-$number https://{address(target)}:8732/endless > /dev/null 2>&1 < /dev/null &"
        " done"
    )


def streamed(source: str, target: str) -> list[int]:
    """How many bytes each of them has brought."""
    sizes = connect(source).run(f"stat --format %s /root/stream-{target}-*").stdout.split()
    return [int(size) for size in sizes]


def end_streams(source: str) -> None:
    """End all of them."""
    connect(source).run("pkill curl; rm -f /root/stream-*")
