# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A product that runs for the mesh alone: a process, a file and a unit of ours, beside whatever else it does here.

The distribution's own service of the product is neither changed nor needed, so nothing in its configuration keeps ours
from being loaded, and stopping ours stops nothing else. Where systemd does not run, the product is started in the
background and found by the file in which it notes its process.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
from dataclasses import dataclass
from typing import Callable, FrozenSet, Optional, Sequence, Tuple

from ansible_collections.esync.mesh.plugins.module_utils._core import processes
from ansible_collections.esync.mesh.plugins.module_utils._core.errors import EsyncError
from ansible_collections.esync.mesh.plugins.module_utils._core.regular_file import read_file
from ansible_collections.esync.mesh.plugins.module_utils._endpoints import systemd
from ansible_collections.esync.mesh.plugins.module_utils._endpoints.contract import (
    EndpointSettings,
    Observed,
    configuration_refused,
    not_installed,
)
from ansible_collections.esync.mesh.plugins.module_utils._endpoints.our_file import OurFile

RUN = "/run"

_HIDDEN = "hidden"
_OURS = re.compile(r"esync-[A-Za-z0-9_-]+\Z")

_UNIT = """\
# Written by the collection esync.mesh: changes made here are lost.
[Unit]
Description=The eSync endpoint of {server} ({product})
Wants=network-online.target
After=network-online.target

[Service]
ExecStart={start}
ExecReload=/bin/kill -{reload} $MAINPID
KillMode=mixed
Restart=always
SuccessExitStatus=143
LimitNOFILE=65536
CapabilityBoundingSet={capabilities}
NoNewPrivileges=true
PrivateTmp=true
ProtectHome=read-only
ProtectSystem=full

[Install]
WantedBy=multi-user.target
"""


@dataclass(frozen=True)
class Program:
    """How a product is run for us.

    :param name: what it is called, and its package is. :param label: what people call it.
    :param binary: its path; None: it is not installed.
    :param oldest: the version that it has to have.
    :param otherwise: the endpoint for whoever has no such version.
    :param foreground: the command that runs it, without its path, for systemd.
    :param background: the command that leaves it running.
    :param reload: the signal by which it reads its files again.
    :param capabilities: what it may do, as capabilities(7) calls it.
    :param words_of: what it complains of, out of all that it said.
    """

    name: str
    label: str
    binary: Optional[str]
    oldest: Tuple[int, int]
    otherwise: str
    foreground: Sequence[str]
    background: Sequence[str]
    reload: signal.Signals
    capabilities: str
    words_of: Callable[[str], str]


class OwnService:
    """The process, the file and the unit."""

    def __init__(self, settings: EndpointSettings, program: Program) -> None:
        self._settings = settings
        self._program = program
        self._file = OurFile(settings.configuration, settings.name)
        self._unit_file = OurFile(f"{systemd.UNITS}/{settings.service}.service", settings.name)
        self._unit = systemd.Unit(settings.service, settings.timeout)

    def validate(self, version: Callable[[], Optional[Tuple[int, ...]]], refusal: Callable[[], Optional[str]]) -> None:
        """Let the product test its configuration, if there is one.

        :param version: returns the first two numbers of its version; None if it does not say.
        :param refusal: returns why it refuses the configuration, in its own words; None if it does not.
        :raises EsyncError: kind ``configuration_refused``.
        """
        if not os.path.lexists(self._settings.configuration):
            return
        program, found = self._program, version()
        if found and found < program.oldest:
            this, needed = (".".join(map(str, one)) for one in (found, program.oldest))
            raise configuration_refused(
                program.label,
                f"it is version {this}, and {needed} or newer is needed",
                self._settings,
                f"Install a newer one, or set esync_endpoint to {program.otherwise}",
            )
        words = refusal()
        if words is not None:
            raise configuration_refused(program.label, words, self._settings)

    # -- its files: both are one text --

    def observe(self) -> Observed:
        """What there is of it."""
        missing = None if self._program.binary else not_installed(self._program.name, self._settings.name)
        texts = [self._file.read(), self._unit_file.read() if systemd.is_here() else ""]
        found = None if texts == [None, None] or texts == [None, ""] else self._joined(texts[0] or "", texts[1] or "")
        main = self.main
        ours = self.workers | {main} if main else frozenset()
        return Observed(missing, found, ours)

    def with_unit(self, configuration: str) -> str:
        """A configuration, and the unit that goes with it where systemd runs.

        :raises EsyncError: kind ``bad_setting``: the unit would be somebody else's.
        """
        program = self._program
        if not _OURS.match(self._settings.service):
            raise EsyncError(
                f"{program.name} runs in a unit of this collection, and {self._settings.service!r} may be another one",
                "Correct esync_endpoint_service: it is a name that begins with esync-, without .service",
                kind="bad_setting",
                server=self._settings.name,
            )
        unit = _UNIT.format(
            server=self._settings.name,
            product=program.name,
            # What means something there, as systemd.service(5) says, stands for itself if it is written twice.
            start=" ".join([str(program.binary), *program.foreground]).replace("%", "%%").replace("$", "$$"),
            reload=program.reload.name[3:],
            capabilities=program.capabilities,
        )
        return self._joined(configuration, unit if systemd.is_here() else "")

    def configure(self, text: str) -> None:
        """Write both files, and let the service start at every boot."""
        configuration, _separator, unit = text.partition(self._separator)
        self._file.write(configuration)
        if unit and self._unit_file.write(unit):
            self._unit.enable()

    def remove(self) -> None:
        """Take both files away."""
        if systemd.is_here() and self._unit_file.read() is not None:
            self._unit.disable()
            self._unit_file.remove()
        self._file.remove()

    @property
    def _separator(self) -> str:
        return f"\n# {self._unit_file.path}\n"

    def _joined(self, configuration: str, unit: str) -> str:
        return configuration + (self._separator + unit if unit else "")

    # -- its processes --

    @property
    def main(self) -> Optional[int]:
        """Its main process, or None if it does not run."""
        try:
            pid = int(read_file(pid_file_of(self._settings), 64))
        except (OSError, ValueError):
            return None
        words = processes.title_of(pid).split()
        return pid if self._settings.configuration in words else None

    @property
    def workers(self) -> FrozenSet[int]:
        """The processes that its main process has begun."""
        main = self.main
        return frozenset(processes.children_of(main)) if main else frozenset()

    @property
    def leaving(self) -> FrozenSet[int]:
        """Those of them that take no new connection."""
        main = self.main
        return self.workers - {pid for pid, _socket in self._listening(main)} if main else frozenset()

    def reload(self) -> None:
        """Let it read its files again; start it if it does not run, and stop it if its file is gone.

        A product that finds a fault then goes on with what it had and tells nobody. It counts as taken only when none
        of the sockets that listened before is open in the process that had it.

        :raises EsyncError: kinds ``reload_refused``, ``start_failed``, ``stop_failed``.
        """
        main = self.main
        if self._file.read() is None:
            self.stop()
            return
        if main is None:
            self._start()
            return
        before = self._listening(main)
        os.kill(main, self._program.reload)
        if not processes.wait_until(lambda: self._is_replaced(before), self._settings.timeout):
            raise EsyncError(
                f"{self._program.name} did not take up the new configuration within {self._settings.timeout:g} "
                "seconds, and goes on with the old one",
                f"Look into its log (journalctl -u {self._settings.service}), correct what it names, and run again",
                kind="reload_refused",
                server=self._settings.name,
                path=self._settings.configuration,
            )

    def restart(self) -> None:
        """Stop it, then start it."""
        # Not in one step: what hangs may survive a restart, and its successor would find the port taken.
        self.stop()
        self._start()

    def undo(self, before: Observed, loaded: bool) -> None:
        """Put back both files, and let the service take them up if it had taken up the others."""
        if before.configuration is None:
            self.remove()
            self.stop()
            return
        self.configure(before.configuration)
        main = self.main if loaded else None
        if main is not None:
            # How it ends does not matter: the error that led here is what is reported.
            os.kill(main, self._program.reload)

    def stop(self) -> None:
        """End it, with all of its connections.

        :raises EsyncError: kind ``stop_failed``.
        """
        main = self.main
        # The unit is stopped also if it starts its process again and again without success.
        if systemd.is_here():
            self._unit.stop()
            if self._unit_file.read() is None:
                self._unit.forget()
        if main is None:
            return
        if processes.title_of(main):
            with contextlib.suppress(ProcessLookupError):
                os.kill(main, signal.SIGTERM)
        if not processes.wait_until(lambda: not processes.title_of(main), self._settings.timeout):
            raise EsyncError(
                f"{self._program.name} (process {main}) did not end within {self._settings.timeout:g} seconds",
                "End it by hand, and run again",
                kind="stop_failed",
                server=self._settings.name,
            )

    def _start(self) -> None:
        if systemd.is_here():
            command: Sequence[str] = self._unit.start_command
        else:
            command = [str(self._program.binary), *self._program.background]
        status, output, said = processes.run_command(command, self._settings.timeout)
        if status != 0 or not processes.wait_until(self._listens, self._settings.timeout):
            words = self._program.words_of(self._unit.log() if systemd.is_here() else output + said)
            raise EsyncError(
                f"{self._program.name} did not start: {' '.join(command)} "
                f"{processes.outcome_of(status, self._settings.timeout)}" + (f" and said: {words}" if words else ""),
                "Correct what it names, and run again",
                kind="start_failed",
                server=self._settings.name,
            )

    # -- its sockets --

    def _listens(self) -> bool:
        main = self.main
        return main is not None and bool(self._listening(main))

    def _listening(self, main: int) -> FrozenSet[Tuple[int, str]]:
        """The sockets that it listens with, each with its process; of a process that hides them only the process.

        A main process that has others work for it only keeps the sockets for them.
        """
        ours = frozenset(processes.children_of(main)) or frozenset([main])
        ports = [port for port in {place.port for place in self._settings.places} if processes.is_listened_on(port)]
        hidden = [(pid, _HIDDEN) for pid in ours if ports and processes.hides_files(pid)]
        return frozenset([*hidden, *(one for port in ports for one in processes.listeners(port) if one[0] in ours)])

    def _is_replaced(self, before: FrozenSet[Tuple[int, str]]) -> bool:
        main = self.main
        now = self._listening(main) if main else frozenset()
        # Of a process that hides its sockets it cannot be known whether it only finishes what it began.
        return bool(now - before) and all(socket == _HIDDEN for _pid, socket in now & before)


def pid_file_of(settings: EndpointSettings) -> str:
    """Where the product notes its main process."""
    return f"{RUN}/{settings.service}.pid"
