# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""An upstream on 127.0.0.1 that takes its time: a body comes in 20 pieces over five seconds, or never ends.

Its port is the argument.
"""

import http.server
import sys
import time


class Slow(http.server.BaseHTTPRequestHandler):
    """Answers every GET."""

    def do_GET(self):
        self.send_response(200)
        if self.path == "/endless":
            self.send_header("X-Accel-Buffering", "no")
            self.end_headers()
            while True:
                self.wfile.write(b"x")
                time.sleep(1)
        self.send_header("Content-Length", "2000")
        self.end_headers()
        for _piece in range(20):
            self.wfile.write(b"x" * 100)
            self.wfile.flush()
            time.sleep(0.25)


http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Slow).serve_forever()
