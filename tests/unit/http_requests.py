# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Requests of callers that name a site, or say something of themselves, and what every product makes of them."""

from __future__ import annotations

import json
from typing import Any

SHOP, INTRANET = "shop.example", "intranet.example"


def told(answer: tuple[int, str]) -> Any:
    """What the upstream was told of the name that is asked for; the status if it was not asked."""
    status, body = answer
    if status != 200:
        return status
    got = json.loads(body)
    assert got["x-esync-peer"] == ["b"]
    assert got["x-forwarded-host"] == got["host"]
    (host,) = got["host"]
    return host


def assert_only_ours(status: int, got: dict[str, list[str]], port: int) -> None:
    """An upstream of the site SHOP got what the endpoint on a port says of the caller b, and nothing else."""
    assert (status, got["x-esync-peer"], got["host"]) == (200, ["b"], [SHOP])
    assert got["x-forwarded-for"] == got["x-real-ip"] == ["127.0.0.1"]
    assert (got["x-forwarded-host"], got["x-forwarded-proto"]) == ([SHOP], ["https"])
    assert got["x-forwarded-port"] == [str(port)]
    assert set(got) <= {
        ":path", "connection", "host", "x-esync-peer", "x-real-ip",
        "x-forwarded-for", "x-forwarded-host", "x-forwarded-port", "x-forwarded-proto",
    }  # fmt: skip


REQUESTS = [
    # The name in the handshake, the target, the header Host, and what the upstream is told of it.
    (SHOP, "/", SHOP, SHOP),
    (SHOP, "/", f"{SHOP}:8732", f"{SHOP}:8732"),
    (SHOP, "/", "Shop.EXAMPLE", SHOP),
    (SHOP, "/", "Shop.EXAMPLE:1", f"{SHOP}:1"),
    (SHOP, "/", f"{SHOP}.", SHOP),
    ("Shop.Example", "/", SHOP, SHOP),
    ("", "/", SHOP, SHOP),
    ("", "/", f"{SHOP}:8732", f"{SHOP}:8732"),
    (SHOP, f"https://{SHOP}/", SHOP, SHOP),
    (SHOP, f"https://{SHOP}/", f"{SHOP}:8732", f"{SHOP}:8732"),
    (SHOP, f"https://{SHOP}:8732/", SHOP, SHOP),
    (INTRANET, "/", INTRANET, INTRANET),
    ("", f"https://{INTRANET}/", INTRANET, INTRANET),
    # The request line and the header differ.
    (SHOP, f"https://{SHOP}/admin", INTRANET, 421),
    ("", f"https://{SHOP}/admin", INTRANET, 421),
    (SHOP, f"https://{SHOP}:8732/admin", f"{INTRANET}:8080", 421),
    (SHOP, f"https://{SHOP}/admin", f"x{SHOP}:1", 421),
    (SHOP, f"https://{SHOP}/admin", f"{SHOP}.x", 421),
    (SHOP, f"https://{SHOP}/admin", "shopxexample:1", 421),
    (SHOP, f"https://{SHOP}/admin", f"{SHOP}:1.{INTRANET}", 421),
    (SHOP, f"https://{SHOP}/admin", f"{SHOP}:{INTRANET}", 421),
    (SHOP, f"https://{SHOP}/admin", f"{SHOP} {SHOP}", (400, 421)),
    (SHOP, f"https://{INTRANET}/", SHOP, 421),
    ("", f"https://{INTRANET}/", SHOP, 421),
    # The handshake and the request differ.
    (SHOP, "/", INTRANET, 421),
    (INTRANET, "/", SHOP, 421),
    (SHOP, f"https://{INTRANET}/", INTRANET, 421),
    (INTRANET, f"https://{SHOP}/", SHOP, 421),
    ("other.example", "/", SHOP, 421),
    (f"x{SHOP}", "/", SHOP, 421),
    # A site of somebody else.
    ("own.example", "/", SHOP, 421),
    # Nothing that is the site's name.
    (SHOP, "/", "shop%2eexample", 421),
    (SHOP, "/", "127.0.0.1", 421),
    (SHOP, "/", "[::1]:8732", 421),
    (SHOP, "/", "", (400, 421)),
    ("", "/", "other.example", 421),
]

FORGED = [
    "X-Esync-Peer: c",
    "x-esync-peer: c",
    "X_Esync_Peer: c",
    "X-Esync_Peer: c",
    "X.Esync.Peer: c",
    "X-Esync-Peer\t: c",
    "X-Forwarded-For: 10.9.8.7",
    "X-Forwarded-Host: intranet.example",
    "X-Forwarded-Port: 1",
    "X-Forwarded-Proto: http",
    "X_Forwarded_Host: intranet.example",
    "X-Real-IP: 10.9.8.7",
    "X-Client-IP: 10.9.8.7",
    "X-Forwarded-Server: intranet.example",
    "X-Forwarded-Prefix: /admin",
    "X-Host: intranet.example",
    "X-Original-Host: intranet.example",
    "X-Original-URL: /admin",
    "X-Rewrite-URL: /admin",
    "Forwarded: for=10.9.8.7;host=intranet.example",
    "Client-Cert: :AAAA:",
    "Client-Cert-Chain: :AAAA:",
    "X-Forwarded-Client-Cert: By=c",
]
