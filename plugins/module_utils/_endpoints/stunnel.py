# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""stunnel as the endpoint: a service of ours, with any TCP service behind it (docs/endpoint-stunnel.md)."""

from __future__ import annotations

import re
import signal
import tempfile
from typing import List, Optional, Tuple

from ansible_collections.esync.mesh.plugins.module_utils._core import processes
from ansible_collections.esync.mesh.plugins.module_utils._core.errors import EsyncError
from ansible_collections.esync.mesh.plugins.module_utils._core.regular_file import read_file
from ansible_collections.esync.mesh.plugins.module_utils._endpoints import places, systemd
from ansible_collections.esync.mesh.plugins.module_utils._endpoints.contract import (
    Endpoint,
    EndpointSettings,
    Observed,
    Product,
    Site,
)
from ansible_collections.esync.mesh.plugins.module_utils._endpoints.health import ANNOUNCED_AT_MOST
from ansible_collections.esync.mesh.plugins.module_utils._endpoints.in_force import InForce
from ansible_collections.esync.mesh.plugins.module_utils._endpoints.own_service import (
    OwnService,
    Program,
    pid_file_of,
)
from ansible_collections.esync.mesh.plugins.module_utils._endpoints.places import Place
from ansible_collections.esync.mesh.plugins.module_utils._endpoints.values import check_values, target_of

_LIMIT = 4 << 20
_SUCCESS = "Configuration successful"
_COMPLAINT = re.compile(r"^(?:\S+ \S+ )?(?:LOG[0-3]\[\S*\]: |\[!\] )(?!Configuration failed)(.+)$", re.MULTILINE)

_TRIAL = tuple(
    (re.compile(f"^{setting} = .*$", re.MULTILINE), f"{setting} = {value}")
    for setting, value in (
        # A place that nobody can listen on.
        ("accept", "/dev/null/esync"),
        ("foreground", "yes"),
        ("pid", ""),
        ("output", "/dev/null"),
        ("debug", "notice"),
    )
)
"""By what each line of these settings is replaced, so that a configuration is read and nothing is done by it."""


class StunnelEndpoint(Endpoint):
    """A stunnel of ours: one process, which a reload makes close the port for a moment."""

    name = "stunnel"
    is_resident = True
    remedy = "Look into its log (journalctl -u esync-stunnel), correct what it names, and run again"
    product = Product(
        packages=("stunnel",),
        configuration="/etc/stunnel/esync-mesh.cfg",
        service="esync-stunnel",
        access_log="stdout",
        schemes=("tcp", "proxy"),
        plain_upstream=True,
        needs_upstream=True,
        serves_files=False,
        shares_ports=False,
    )

    def __init__(self, settings: EndpointSettings) -> None:
        super().__init__(settings)
        self._binary = processes.find_program("stunnel")
        command = [settings.configuration]
        self._service = OwnService(
            settings,
            Program(
                name=self.name,
                label="stunnel",
                binary=self._binary,
                # Before it, stunnel cannot be kept from resuming sessions.
                oldest=(5, 60),
                otherwise="haproxy",
                foreground=command,
                background=command,
                reload=signal.SIGHUP,
                capabilities="CAP_NET_BIND_SERVICE CAP_DAC_READ_SEARCH",
                words_of=words_of,
            ),
        )

    def observe(self) -> Observed:
        return self._service.observe()

    def render(self, in_force: InForce) -> str:
        return self._service.with_unit(render(self.settings, in_force, places.has_ipv6(), systemd.is_here()))

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

    def undo(self, before: Observed, loaded: bool) -> None:
        self._service.undo(before, loaded)

    def remove(self) -> None:
        self._service.remove()

    def _version(self) -> Optional[Tuple[int, ...]]:
        _status, output, said = processes.run_command([str(self._binary), "-version"], self.settings.timeout)
        found = re.search(r"^stunnel (\d+)\.(\d+)", output + said, re.MULTILINE)
        return tuple(map(int, found.groups())) if found else None

    def _refusal(self) -> Optional[str]:
        # It has no option that only tests. So it reads the same configuration with a place that nobody can listen on,
        # which it notices last.
        text = read_file(self.settings.configuration, _LIMIT).decode("utf-8", "replace")
        for line, other in _TRIAL:
            text = line.sub(other, text)
        with tempfile.NamedTemporaryFile("w", encoding="utf-8") as trial:
            trial.write(text)
            trial.flush()
            command = [str(self._binary), trial.name]
            status, output, said = processes.run_command(command, self.settings.timeout)
        if _SUCCESS in output + said:
            return None
        return words_of(output + said) or processes.outcome_of(status, self.settings.timeout)


# -- its configuration ----------------------------------------------------------------------------------------


def render(settings: EndpointSettings, in_force: InForce, ipv6: bool, foreground: bool) -> str:
    """The complete file: a service for each site, and for each family of addresses.

    :param settings: without sites there is one service, on the eSync port.
    :param foreground: whether it is run by systemd, and says what it has to say to the journal.
    :raises EsyncError: kind ``bad_setting``.
    """
    check_values(settings)
    if in_force.peers > ANNOUNCED_AT_MOST:
        raise EsyncError(
            f"stunnel announces the names of all peers to callers, and those of {in_force.peers} peers do not fit",
            "Set esync_endpoint to haproxy or nginx",
            kind="bad_setting",
            server=settings.name,
        )
    lines = [
        f"; The eSync endpoint of {settings.name}, written by the collection esync.mesh: changes made here are lost.",
        f"foreground = {'yes' if foreground else 'no'}",
        f"pid = {pid_file_of(settings)}",
        "syslog = no",
        *([f"output = {settings.access_log}"] if settings.access_log not in ("off", "stdout") else []),
        f"debug = {'warning' if settings.access_log == 'off' else 'info'}",
        "socket = l:TCP_NODELAY=1",
        "socket = r:TCP_NODELAY=1",
    ]
    for site in settings.all_sites:
        for family in (False, True) if ipv6 else (False,):
            lines += ["", *_service(site, settings, in_force, family)]
    return "\n".join([*lines, ""])


def _service(site: Site, settings: EndpointSettings, in_force: InForce, ipv6: bool) -> List[str]:
    scheme, host, port = target_of(settings.upstream_of(site))
    # One for IPv4 and one for IPv6: what listens on both calls an IPv4 address by another name (RFC 4291, 2.5.5.2).
    name = "-".join(["esync", *(["ipv6"] if ipv6 else []), *(["site", site.name] if site.name else [])])
    trusted = "trusted/clients.pem" if in_force.peers else "current/server.crt"
    return [
        f"[{name}]",
        f"accept = {':::' if ipv6 else ''}{site.port}",
        *(["socket = a:IPV6_V6ONLY=yes"] if ipv6 else []),
        f"connect = {host}:{port}",
        *(["protocol = proxy"] if scheme == "proxy" else []),
        f"cert = {settings.directory}/current/server.crt",
        f"key = {settings.directory}/current/server.key",
        "sslVersionMin = TLSv1.2",
        "; A resumed session would outlive the trust that it was made under.",
        "sessionResume = no",
        "; A valid certificate, and exactly one of those in the bundle.",
        "verifyChain = yes",
        "verifyPeer = yes",
        *([] if in_force.peers else ["; There is no peer; our own server certificate is none of a client."]),
        f"CAfile = {settings.directory}/{trusted}",
    ]


def words_of(said: str) -> str:
    """What stunnel complains of: its own lines if there are any, else the last one."""
    found = _COMPLAINT.findall(said)
    # With some errors it does not say what it was doing.
    done = [
        line[line.index("Loading ") :] for line in said.splitlines() if "Loading " in line and "from file: " in line
    ]
    return processes.last_words("; ".join([*found, *done[-1:]]) if found else said)
