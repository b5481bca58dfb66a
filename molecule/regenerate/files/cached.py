# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Calls peers over new connections with a certificate that it holds in memory, until /run/load.stop exists.

cached.py SECONDS ADDRESS...: after so many seconds it reads its files again; the trust in servers it reads each time.
"""

import contextlib
import http.client
import os
import ssl
import sys
import tempfile
import time

OWN = "/etc/esync/current"


def read():
    """The client certificate and its key, of one generation."""
    own = os.path.realpath(OWN)
    with open(f"{own}/client.crt", encoding="ascii") as crt, open(f"{own}/client.key", encoding="ascii") as key:
        return crt.read() + key.read()


def call(address, held):
    """One request over a connection of its own, which is not closed at once."""
    context = ssl.create_default_context(cafile="/etc/esync/trusted/servers.pem")
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    with tempfile.NamedTemporaryFile("w", dir="/run") as file:
        file.write(held)
        file.flush()
        context.load_cert_chain(file.name)
    connection = http.client.HTTPSConnection(address, 8732, timeout=30, context=context)
    with contextlib.closing(connection):
        connection.request("GET", "/esync/health")
        answer = connection.getresponse()
        answer.read()
        time.sleep(0.2)
        return answer.status


def main(seconds, *addresses):
    for path in ("/run/load.stop", "/run/load.log"):
        with contextlib.suppress(FileNotFoundError):
            os.remove(path)
    held, since = read(), time.monotonic()
    while not os.path.exists("/run/load.stop"):
        if time.monotonic() - since > float(seconds):
            held, since = read(), time.monotonic()
        for address in addresses:
            status, said = 0, ""
            try:
                status = call(address, held)
            except (OSError, http.client.HTTPException) as error:
                said = repr(error)
            with open("/run/load.log", "a", encoding="utf-8") as stream:
                stream.write(f"cached {address} {status} 0 {said}\n")


main(*sys.argv[1:])
