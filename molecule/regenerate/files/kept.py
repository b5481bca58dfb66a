# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Calls a peer every second over one connection, as long as it holds, until /run/load.stop exists: kept.py ADDRESS.

As HTTP clients do (RFC 9112, 9.3.1), a request is sent once more, over a new connection, if the old one was closed
before a byte of the answer came; the new connection takes the certificate that is current then.
"""

import http.client
import os
import ssl
import sys
import time


def connect(address):
    own = os.path.realpath("/etc/esync/current")
    context = ssl.create_default_context(cafile="/etc/esync/trusted/servers.pem")
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    context.load_cert_chain(f"{own}/client.crt", f"{own}/client.key")
    return http.client.HTTPSConnection(address, 8732, timeout=60, context=context)


def ask(connection):
    connection.request("GET", "/esync/health")
    answer = connection.getresponse()
    answer.read()
    return answer.status


def main(address):
    connection = None
    while not os.path.exists("/run/load.stop"):
        status, said = 0, ""
        try:
            if connection:
                try:
                    status = ask(connection)
                except (http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError):
                    connection.close()
                    connection = None
            if not connection:
                connection = connect(address)
                status = ask(connection)
        except (OSError, http.client.HTTPException) as error:
            said = repr(error)
            connection = None
        with open("/run/load.log", "a", encoding="utf-8") as stream:
            stream.write(f"kept {address} {status} 0 {said}\n")
        time.sleep(1)


main(sys.argv[1])
