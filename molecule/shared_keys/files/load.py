# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Calls every peer again and again, over a new connection each time, until /run/load.stop exists: NAME=ADDRESS...

It presents what a caller must present (docs/shared-keys.md): the client set that the peer shares if there is one, else
its own. A line for each request goes to /run/load.log: the peer, whose set was shown, the HTTP status, what went wrong.
"""

import http.client
import os
import ssl
import sys
import threading
import time

SHARED, OWN = "handed", "own"


def credentials(name):
    folder = os.path.realpath("/etc/esync/handed-over")
    stem = f"{folder}/{name}_SyncClient"
    if os.path.exists(f"{stem}.crt"):
        return SHARED, f"{stem}.crt", f"{stem}.key"
    own = os.path.realpath("/etc/esync/current")
    return OWN, f"{own}/client.crt", f"{own}/client.key"


def connect(name, address, attempts=3):
    context = ssl.create_default_context(cafile="/etc/esync/trusted/servers.pem")
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    whose, certificate, key = credentials(name)
    try:
        context.load_cert_chain(certificate, key)
    except OSError:
        if attempts == 1:
            raise
        # The link was switched between two looks at it: look again.
        return connect(name, address, attempts - 1)
    return whose, http.client.HTTPSConnection(address, 8732, timeout=30, context=context)


def call(name, address):
    whose, status, said = "none", 0, ""
    try:
        whose, connection = connect(name, address)
        connection.request("GET", "/esync/health")
        answer = connection.getresponse()
        answer.read()
        status = answer.status
        connection.close()
    except (OSError, http.client.HTTPException) as error:
        said = repr(error)
    with open("/run/load.log", "a", encoding="utf-8") as stream:
        stream.write(f"{name} {whose} {status} {said}\n")


def again(name, address):
    while not os.path.exists("/run/load.stop"):
        call(name, address)
        time.sleep(1)


for path in ("/run/load.stop", "/run/load.log"):
    if os.path.exists(path):
        os.unlink(path)
for word in sys.argv[1:]:
    threading.Thread(target=again, args=word.split("=")).start()
