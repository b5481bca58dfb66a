# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which client certificates HAProxy was shown: it keeps them in a table, and shows that at the socket of its master.

Every worker process has a table of its own. One that a reload has replaced has those connections in it that it holds.
"""

from __future__ import annotations

import re
import socket
import time
from typing import Iterable, List, Optional

from ansible_collections.esync.mesh.plugins.module_utils._core import connections
from ansible_collections.esync.mesh.plugins.module_utils._endpoints.contract import Noted, Presented

FOLDER = "/var/lib/haproxy"
"""Where its packages let it have sockets, also under SELinux."""

_TABLE = "esync_callers"
_AT_MOST = 100_000
"""How many connections are kept: those that are open, and the last ones of the others."""

NOTING = [
    "    # Who has opened which connection, and when; kept so that it can be ended when its certificate is withdrawn.",
    "    tcp-request session set-var(sess.esync_address) src",
    "    tcp-request session set-var(sess.esync_port) src_port",
    "    tcp-request session set-var(sess.esync_called) dst_port",
    "    tcp-request session set-var(sess.esync_at) date(0,ms)",
    "    tcp-request session track-sc0 ssl_c_sha1,hex,lower,concat(-,sess.esync_address),concat(-,sess.esync_port)"
    f",concat(-,sess.esync_called),concat(-,sess.esync_at) table {_TABLE}",
]
"""What a frontend does with a caller that it has accepted."""

TABLE = [f"backend {_TABLE}", f"    stick-table type string len 127 size {_AT_MOST} expire 1d", ""]

_HEAD = re.compile(rf"^# table: {_TABLE}, .*\bused:(\d+)", re.MULTILINE)
_LINE = re.compile(r"\bkey=([0-9a-f]{40})-([0-9a-fA-F.:]{2,45})-(\d{1,5})-(\d{1,5})-(\d{1,12})(\d{3}) ")
_UPTIME = re.compile(r"^Uptime_sec: (\d+)$", re.MULTILINE)


def noted(path: str, workers: Iterable[int], timeout: float) -> Optional[Noted]:
    """What the tables of all workers hold.

    :param path: the socket of the master. :param timeout: seconds for each question.
    :returns: None: they cannot be asked, or there were more connections than a table keeps.
    """
    since: List[float] = []
    found: List[Presented] = []
    try:
        for worker in workers:
            answer = _ask(path, f"@!{worker} show table {_TABLE}", timeout)
            head, uptime = _HEAD.search(answer), _UPTIME.search(_ask(path, f"@!{worker} show info", timeout))
            if not head or not uptime:
                continue  # it has ended meanwhile, with its connections
            if int(head.group(1)) > 0.99 * _AT_MOST:
                return None
            since.append(time.time() - int(uptime.group(1)))
            found += map(_presented, _LINE.findall(answer))
    except OSError:
        return None
    return Noted(max(since), sorted(found, key=lambda one: one.at)) if since else None


def _presented(fields: Iterable[str]) -> Presented:
    certificate, address, port, called, seconds, thousandths = fields
    caller = (int(called), connections.plain(address), int(port))
    return Presented(certificate, caller, float(f"{seconds}.{thousandths}"))


def _ask(path: str, command: str, timeout: float) -> str:
    with socket.socket(socket.AF_UNIX) as link:
        link.settimeout(timeout)
        link.connect(path)
        link.sendall(f"{command}\n".encode("ascii"))
        link.shutdown(socket.SHUT_WR)
        pieces = []
        while True:
            pieces.append(link.recv(1 << 16))
            if not pieces[-1]:
                return b"".join(pieces).decode("ascii", "replace")
