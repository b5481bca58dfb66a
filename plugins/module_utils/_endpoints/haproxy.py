# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""HAProxy as the endpoint: a service of ours, with HTTP or any TCP service behind it (docs/endpoint-haproxy.md)."""

from __future__ import annotations

import contextlib
import os
import re
import signal
from typing import FrozenSet, Optional, Tuple

from ansible_collections.esync.mesh.plugins.module_utils._core import processes
from ansible_collections.esync.mesh.plugins.module_utils._endpoints import (
    haproxy_callers,
    haproxy_configuration,
    places,
    systemd,
)
from ansible_collections.esync.mesh.plugins.module_utils._endpoints.contract import (
    Endpoint,
    EndpointSettings,
    Noted,
    Observed,
    Product,
)
from ansible_collections.esync.mesh.plugins.module_utils._endpoints.in_force import InForce
from ansible_collections.esync.mesh.plugins.module_utils._endpoints.own_service import (
    OwnService,
    Program,
    pid_file_of,
)
from ansible_collections.esync.mesh.plugins.module_utils._endpoints.places import Place

# What it goes on to say stands in further lines, indented.
_COMPLAINT = re.compile(r"^\[(?:ALERT|EMERG)\] .*? : (.+(?:\n .*)*)$", re.MULTILINE)


class HaproxyEndpoint(Endpoint):
    """An HAProxy of ours: a master process, and a worker that a reload replaces without closing the port."""

    name = "haproxy"
    is_resident = True
    remedy = "Look into its log (journalctl -u esync-haproxy), correct what it names, and run again"
    product = Product(
        packages=("haproxy",),
        configuration="/etc/haproxy/esync-mesh.cfg",
        service="esync-haproxy",
        access_log="stdout",
        schemes=("http", "tcp", "proxy"),
        plain_upstream=True,
        needs_upstream=False,
        serves_files=False,
        shares_ports=True,
    )

    def __init__(self, settings: EndpointSettings) -> None:
        super().__init__(settings)
        self._binary = processes.find_program("haproxy")
        self._socket = f"{haproxy_callers.FOLDER}/{settings.service}.sock"
        common = ["-W", "-S", f"{self._socket},mode,600", "-f", settings.configuration, "-p", pid_file_of(settings)]
        self._service = OwnService(
            settings,
            Program(
                name=self.name,
                label="HAProxy",
                binary=self._binary,
                # Before it, HAProxy finds no key beside a certificate under the names that ours have.
                oldest=(2, 4),
                otherwise="nginx",
                foreground=common,
                background=[*common, "-D"],
                reload=signal.SIGUSR2,
                # To listen below port 1024, to become another user, to end its workers, to open enough connections.
                capabilities=(
                    "CAP_NET_BIND_SERVICE CAP_SETUID CAP_SETGID CAP_KILL CAP_SYS_RESOURCE CAP_DAC_READ_SEARCH"
                ),
                words_of=words_of,
            ),
        )

    def observe(self) -> Observed:
        return self._service.observe()

    def render(self, in_force: InForce) -> str:
        listening = haproxy_configuration.Listening(places.has_ipv6(), os.geteuid() == 0, systemd.is_here())
        return self._service.with_unit(haproxy_configuration.render(self.settings, in_force, listening))

    def configure(self, text: str) -> None:
        self._service.configure(text)

    def validate(self) -> None:
        self._service.validate(self._version, self._refusal)

    def reload(self) -> None:
        self._service.reload()

    def restart(self) -> None:
        self._service.restart()

    def served(self, place: Place) -> Optional[str]:
        return places.served(place)

    def noted(self) -> Optional[Noted]:
        return haproxy_callers.noted(self._socket, self._service.workers, self.settings.timeout)

    def leaving(self) -> FrozenSet[int]:
        return self._service.leaving

    def undo(self, before: Observed, loaded: bool) -> None:
        self._service.undo(before, loaded)

    def remove(self) -> None:
        self._service.remove()
        # It leaves that when it ends.
        with contextlib.suppress(OSError):
            os.unlink(self._socket)

    def _version(self) -> Optional[Tuple[int, ...]]:
        _status, output, _said = processes.run_command([str(self._binary), "-v"], self.settings.timeout)
        found = re.match(r"HA-?Proxy version (\d+)\.(\d+)", output)
        return tuple(map(int, found.groups())) if found else None

    def _refusal(self) -> Optional[str]:
        command = [str(self._binary), "-c", "-f", self.settings.configuration]
        status, output, said = processes.run_command(command, self.settings.timeout)
        if status == 0:
            return None
        return words_of(said or output) or processes.outcome_of(status, self.settings.timeout)


def words_of(said: str) -> str:
    """What HAProxy complains of: its first alert, else the last line."""
    found = _COMPLAINT.search(said)
    return processes.last_words(" ".join(found.group(1).split()) if found else said)
