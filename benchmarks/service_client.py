# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One caller of one service, which speaks its protocol by hand. It runs on the hosts of services.py; prints JSON.

    service_client.py MODE PROTOCOL ADDRESS CERTIFICATE KEY    ("-" is no certificate)

    once   whether a request is answered
    plain  the same without TLS
    hold   one connection, a request every 0.1 s until it ends
    knock  a new connection every 0.1 s, until 20 s long none succeeded
    load   new connections with the host's own files as they are now, whatever certificate is given

hold and load also end when /run/service-client.stop is there.
"""

from __future__ import annotations

import json
import os
import socket
import ssl
import struct
import sys
import time
from collections import Counter

PORT = 8732
STOP = "/run/service-client.stop"
PAUSE = 0.1
PATIENCE = 20.0


def http(connection: socket.socket) -> None:
    connection.sendall(b"GET /esync/health HTTP/1.1\r\nHost: mesh\r\n\r\n")
    head, _end, body = read_until(connection, b"\r\n\r\n").partition(b"\r\n\r\n")
    demand(head.startswith(b"HTTP/1.1 200 "), head)
    wanted = int(next(line for line in head.lower().splitlines() if line.startswith(b"content-length:")).split(b":")[1])
    while len(body) < wanted:
        body += piece_of(connection)


def echo(connection: socket.socket) -> None:
    connection.sendall(b"ping\n")
    demand(read_until(connection, b"\n") == b"ping\n", b"no echo")


def redis(connection: socket.socket) -> None:
    connection.sendall(b"PING\r\n")
    answer = read_until(connection, b"\r\n")
    demand(answer == b"+PONG\r\n", answer)


def postgresql(connection: socket.socket) -> None:
    """A query; ends with ReadyForQuery."""
    query = b"select 42\0"
    connection.sendall(b"Q" + struct.pack(">I", len(query) + 4) + query)
    ready(connection)


def ready(connection: socket.socket) -> None:
    """Read messages of PostgreSQL up to ReadyForQuery."""
    data = b""
    while True:
        while len(data) < 5 or len(data) < 1 + struct.unpack(">I", data[1:5])[0]:
            data += piece_of(connection)
        end = 1 + struct.unpack(">I", data[1:5])[0]
        demand(data[:1] != b"E", data[5:end])
        if data[:1] == b"Z":
            return
        data = data[end:]


ASK = {"http": http, "echo": echo, "redis": redis, "postgresql": postgresql}


def connected(protocol: str, address: str, context: ssl.SSLContext | None) -> socket.socket:
    """A connection that is ready for requests. :param context: None: without TLS."""
    connection = socket.create_connection((address, PORT), 10)
    try:
        if protocol == "postgresql" and context:
            connection.sendall(struct.pack(">II", 8, 80877103))
            demand(connection.recv(1) == b"S", b"no TLS")
        if context:
            connection = context.wrap_socket(connection)
        if protocol == "postgresql":
            words = f"user\0{socket.gethostname()}\0database\0postgres\0\0".encode()
            connection.sendall(struct.pack(">II", len(words) + 8, 196608) + words)
            ready(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def read_until(connection: socket.socket, end: bytes) -> bytes:
    data = b""
    while end not in data:
        data += piece_of(connection)
    return data


def piece_of(connection: socket.socket) -> bytes:
    piece = connection.recv(4096)
    demand(bool(piece), b"closed")
    return piece


def demand(holds: bool, otherwise: bytes) -> None:
    if not holds:
        raise OSError(otherwise.decode("utf-8", "replace")[:200])


def context_of(certificate: str, key: str, trust: str = "") -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if trust:
        context.verify_mode = ssl.CERT_REQUIRED
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        context.load_verify_locations(trust)
    if certificate != "-":
        context.load_cert_chain(certificate, key)
    return context


def once(protocol: str, address: str, context: ssl.SSLContext | None) -> dict[str, object]:
    try:
        with connected(protocol, address, context) as connection:
            ASK[protocol](connection)
            served = connection.getpeercert(binary_form=True) if isinstance(connection, ssl.SSLSocket) else None
    except (OSError, ValueError, StopIteration) as error:
        return {"answered": False, "why": str(error)}
    return {"answered": True, "served": ssl.DER_cert_to_PEM_cert(served) if served else ""}


def hold(protocol: str, address: str, context: ssl.SSLContext) -> dict[str, object]:
    answers, last, why, ended = 0, 0.0, "", False
    try:
        with connected(protocol, address, context) as connection:
            while not os.path.exists(STOP):
                ASK[protocol](connection)
                answers, last = answers + 1, time.time()
                time.sleep(PAUSE)
    except (OSError, ValueError, StopIteration) as error:
        why, ended = str(error), True
    return {"answers": answers, "last": last, "ended": ended, "why": why}


def knock(protocol: str, address: str, context: ssl.SSLContext) -> dict[str, object]:
    answers, last = 0, time.time()
    while time.time() - last < PATIENCE:
        if once(protocol, address, context)["answered"]:
            answers, last = answers + 1, time.time()
        time.sleep(PAUSE)
    return {"answers": answers, "last": last}


def load(protocol: str, address: str) -> dict[str, object]:
    requests, failed = 0, Counter[str]()
    while not os.path.exists(STOP):
        own, trusted = (os.path.realpath(f"/etc/esync/{name}") for name in ("current", "trusted"))
        context = context_of(f"{own}/client.crt", f"{own}/client.key", f"{trusted}/servers.pem")
        found = once(protocol, address, context)
        requests += 1
        if not found["answered"]:
            failed[str(found["why"])] += 1
    return {"requests": requests, "failed": sum(failed.values()), "why": failed}


def main() -> None:
    mode, protocol, address, certificate, key = sys.argv[1:]
    if mode == "load":
        found = load(protocol, address)
    elif mode == "plain":
        found = once(protocol, address, None)
    else:
        found = {"once": once, "hold": hold, "knock": knock}[mode](protocol, address, context_of(certificate, key))
    print(json.dumps(found))


if __name__ == "__main__":
    main()
