# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""nginx as the endpoint: one file of ours, tested, loaded, and proved to be in force (docs/endpoint.md).

A reload of nginx that fails keeps the old configuration and says nothing. It counts as taken only when every worker
process that was there before is gone or shutting down, and the certificate that is served was read back.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
from functools import cached_property
from typing import FrozenSet, Iterator, Optional

from ansible_collections.esync.mesh.plugins.module_utils._core import connections, processes
from ansible_collections.esync.mesh.plugins.module_utils._core.errors import EsyncError
from ansible_collections.esync.mesh.plugins.module_utils._core.regular_file import read_end, read_file
from ansible_collections.esync.mesh.plugins.module_utils._endpoints import (
    nginx_configuration,
    places,
    systemd,
)
from ansible_collections.esync.mesh.plugins.module_utils._endpoints.contract import (
    Endpoint,
    EndpointSettings,
    Noted,
    Observed,
    Presented,
    Product,
    configuration_refused,
    not_installed,
)
from ansible_collections.esync.mesh.plugins.module_utils._endpoints.in_force import InForce
from ansible_collections.esync.mesh.plugins.module_utils._endpoints.our_file import OurFile
from ansible_collections.esync.mesh.plugins.module_utils._endpoints.places import Place

_MASTER = "nginx: master process"
_MAIN_LIMIT = 1 << 20
_WORKER = "nginx: worker process"
_LEAVING = "is shutting down"

_NOTED = re.compile(
    rb"^([0-9a-f]{40}) ([0-9a-fA-F.:]{2,45}) (\d{1,5}) (\d{1,5})(?: (\d{1,12}\.\d{3}) (\d{1,9}\.\d{3}))?$", re.MULTILINE
)
"""A line of the log of connections: SHA-1 of the caller's certificate, his address and port, the port he called, when
the line was written, and how long the request took until then; an older version noted no time."""
_NOTED_LIMIT = 32 << 20


class NginxEndpoint(Endpoint):
    """The nginx of this host, with one more file in its configuration."""

    name = "nginx"
    is_resident = True
    remedy = "nginx says why only in its error log (as a rule /var/log/nginx/error.log): fix that, and run again"
    product = Product(
        packages=("nginx",),
        configuration="/etc/nginx/conf.d/esync-mesh.conf",
        service="nginx",
        access_log="/var/log/nginx/esync-mesh.access.log",
        schemes=("http", "https"),
        plain_upstream=False,
        needs_upstream=False,
        serves_files=True,
        shares_ports=True,
    )

    def __init__(self, settings: EndpointSettings) -> None:
        super().__init__(settings)
        self._unit = systemd.Unit(settings.service, settings.timeout)
        self._file = OurFile(settings.configuration, settings.name)

    # -- the contract --

    def observe(self) -> Observed:
        missing = None if self._binary else not_installed(self.name, self.settings.name)
        master = self._master()
        ours = frozenset([master, *processes.children_of(master)]) if master else frozenset()
        return Observed(missing, self._file.read(), ours)

    def render(self, in_force: InForce) -> str:
        notes = "http_auth_request_module" in self._built
        return nginx_configuration.render(self.settings, in_force, places.has_ipv6(), notes)

    def configure(self, text: str) -> None:
        self._file.write(text)

    def validate(self) -> None:
        words = self._refusal()
        if words:
            raise configuration_refused(self.name, words, self.settings)

    def reload(self) -> None:
        master = self._master()
        if master is None:
            self._start()
        elif not self._reload(master):
            raise EsyncError(
                f"nginx did not take up the new configuration within {self.settings.timeout:g} seconds: "
                "its old worker processes go on with the old configuration",
                self.remedy,
                kind="reload_refused",
                server=self.settings.name,
                path=self.settings.configuration,
            )

    def restart(self) -> None:
        # Not in one step: what hangs may survive a restart, and its successor would find the port taken.
        self._stop()
        self._start()

    def served(self, place: Place) -> Optional[str]:
        return places.served(place)

    def noted(self) -> Optional[Noted]:
        path = nginx_configuration.connections_log(self.settings)
        if not path or path not in (self._file.read() or ""):
            return None
        return Noted(0, _noted(path))

    def leaving(self) -> FrozenSet[int]:
        master = self._master()
        children = processes.children_of(master) if master else ()
        return frozenset(pid for pid in children if _LEAVING in processes.title_of(pid))

    def undo(self, before: Observed, loaded: bool) -> None:
        if before.configuration is None:
            self.remove()
        else:
            self.configure(before.configuration)
        master = self._master() if loaded else None
        if master is not None:
            # How it ends does not matter: the error that led here is what is reported.
            os.kill(master, signal.SIGHUP)

    def remove(self) -> None:
        self._file.remove()

    def _refusal(self) -> Optional[str]:
        """Why nginx refuses its configuration, all of it, in its own words; None if it does not."""
        timeout, path = self.settings.timeout, self.settings.configuration
        status, output, said = processes.run_command([str(self._binary), "-T", "-q"], timeout)
        if status != 0:
            return words_of(said) or f"nginx -t {processes.outcome_of(status, timeout)}"
        # Asked for here: a file that nginx does not read would only be noticed by a port that nobody listens on.
        if os.path.lexists(path) and f"# configuration file {path}:" not in output:
            return f"nginx does not read {path}: no include of its configuration covers it"
        return None

    # -- its processes --

    @cached_property
    def _binary(self) -> Optional[str]:
        return processes.find_program("nginx")

    @cached_property
    def _built(self) -> str:
        """How it was built, in its own words."""
        return processes.run_command([self._binary, "-V"], 10)[2] if self._binary else ""

    @cached_property
    def _pid_file(self) -> str:
        return pid_file_of(self._built) if self._binary else ""

    def _master(self) -> Optional[int]:
        """The master process, or None if it does not run."""
        try:
            pid = int(read_file(self._pid_file, 64))
        except (OSError, ValueError):
            return None
        return pid if processes.title_of(pid).startswith(_MASTER) else None

    def _start(self) -> None:
        command = self._unit.start_command if systemd.is_here() else [str(self._binary)]
        status, _output, said = processes.run_command(command, self.settings.timeout)
        if status != 0 or not processes.wait_until(lambda: bool(self._master()), self.settings.timeout):
            words = words_of(self._unit.log() if systemd.is_here() else said)
            raise EsyncError(
                f"nginx did not start: {' '.join(command)} {processes.outcome_of(status, self.settings.timeout)}"
                + (f" and said: {words}" if words else ""),
                "Look into its error log and start it by hand; then run again",
                kind="start_failed",
                server=self.settings.name,
            )

    def _reload(self, master: int) -> bool:
        """Reload it; returns whether new workers run, and none of the old ones takes a new connection."""
        before = _workers(master)
        if not self._unit.is_active():
            os.kill(master, signal.SIGHUP)
        elif not self._unit.reload():
            return False
        return processes.wait_until(lambda: _is_replaced(master, before), self.settings.timeout)

    def _stop(self) -> None:
        """Stop it, with all of its sites."""
        master = self._master()
        if master is None:
            return
        if not self._unit.is_active():
            os.kill(master, signal.SIGTERM)
        else:
            self._unit.stop()
        if not processes.wait_until(lambda: not processes.title_of(master), self.settings.timeout):
            raise EsyncError(
                f"nginx (process {master}) did not end within {self.settings.timeout:g} seconds",
                "End it by hand, and run again",
                kind="stop_failed",
                server=self.settings.name,
            )


def _workers(master: int) -> FrozenSet[int]:
    """The worker processes that take new connections."""
    titles = {pid: processes.title_of(pid) for pid in processes.children_of(master)}
    return frozenset(pid for pid, title in titles.items() if title.startswith(_WORKER) and _LEAVING not in title)


def _noted(path: str) -> Iterator[Presented]:
    """What stands in the log of connections, and in the one before it."""
    for name in (f"{path}.1", path):
        with contextlib.suppress(OSError):
            for line in _NOTED.finditer(read_end(name, _NOTED_LIMIT)):
                certificate, address, port, called, end, took = (part.decode("ascii") for part in line.groups(b""))
                with contextlib.suppress(ValueError):
                    caller = (int(called), connections.plain(address), int(port))
                    yield Presented(certificate, caller, float(end) - float(took) if end else 0.0)


def _is_replaced(master: int, before: FrozenSet[int]) -> bool:
    now = _workers(master)
    return bool(now) and not now & before


def pid_file_of(words: str) -> str:
    """Where the master process notes its number: as the main configuration says, else as nginx was built."""
    built = dict(re.findall(r"--(prefix|conf-path|pid-path)=(\S+)", words))
    prefix = built.get("prefix", "/usr/local/nginx")
    path = built.get("pid-path", "logs/nginx.pid")
    main = os.path.join(prefix, built.get("conf-path", "conf/nginx.conf"))
    with contextlib.suppress(OSError):
        text = read_file(main, _MAIN_LIMIT).decode("utf-8", "replace")
        found = re.search(r"^[ \t]*pid[ \t]+\"?([^\";\s]+)\"?[ \t]*;", text, re.MULTILINE)
        path = found.group(1) if found else path
    return os.path.join(prefix, path)


# On the error channel itself, or as a line of the error log, where nginx was built to log to that channel.
_COMPLAINT = re.compile(
    r"^(?:nginx: |\d{4}/\d\d/\d\d \S+ )\[(?:emerg|alert|crit|error)\] (?:\d+#\d+: )?(.+)$", re.MULTILINE
)


def words_of(said: str) -> str:
    """What nginx complains of: its own lines if there are any, else the last one."""
    return processes.last_words("; ".join(_COMPLAINT.findall(said)) or said)
