# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""nginx as the resident endpoint: one file of ours, tested, loaded, and proved to be in force (docs/endpoint.md).

A reload of nginx that fails keeps the old configuration and says nothing. It counts as taken only when every worker
process that was there before is gone or shutting down, and the certificate that is served was read back.
"""

from __future__ import annotations

import contextlib
import functools
import os
import re
import shutil
import signal
from dataclasses import dataclass
from typing import FrozenSet, Iterator, List, Optional, Tuple

from ansible_collections.esync.mesh.plugins.module_utils._connection.listener import end_older
from ansible_collections.esync.mesh.plugins.module_utils._core import layout
from ansible_collections.esync.mesh.plugins.module_utils._core.errors import EsyncError
from ansible_collections.esync.mesh.plugins.module_utils._core.folders import Folder
from ansible_collections.esync.mesh.plugins.module_utils._endpoints import base as endpoint

_FOLDERS = "/usr/sbin:/usr/local/sbin:/sbin"
_SYSTEMD = "/run/systemd/system"
_MASTER = "nginx: master process"
_WORKER = "nginx: worker process"
_LEAVING = "is shutting down"
_OLD_WORKERS = "its old worker processes go on with the old configuration"
_LIMIT = 4 << 20
_MODE = 0o644


@dataclass(frozen=True)
class NginxSettings:
    """What nginx is to do.

    :param content: the configuration. :param path: the file that it goes into, which nginx includes.
    :param loaded: what to note once the configuration, the certificate and the trust are proved to be in force.
    :param jitter: at most so many seconds to wait before a reload. :param timeout: seconds for each proof.
    :param reload: reload even if nothing differs. :param restart: stop it and start it, whatever it does now.
    :param service: the name of nginx's unit, where systemd runs.
    :param sites: the sites that are served, in the place of the port.
    :param note: whether to note ``loaded``; if not, another endpoint of this server has still to take it up.
    """

    name: str
    directory: str
    path: str
    content: str
    port: int
    loaded: str = ""
    jitter: float = 0
    timeout: float = 30
    reload: bool = False
    restart: bool = False
    service: str = "nginx"
    sites: Tuple[endpoint.Place, ...] = ()
    note: bool = True

    @property
    def places(self) -> Tuple[endpoint.Place, ...]:
        """Everything that is served."""
        return self.sites or (endpoint.Place(self.port),)


@dataclass(frozen=True)
class NginxOutcome:
    """What was done, or would be.

    :param reasons: why; empty if nothing was. :param before: the configuration that was there.
    :param after: the one that is there now.
    """

    reasons: Tuple[str, ...]
    before: str
    after: str


class Nginx:
    """The nginx of this host.

    :param binary: its path.
    """

    def __init__(self, binary: str, settings: NginxSettings) -> None:
        self.binary = binary
        self.settings = settings
        self._pid_file = _pid_file(binary)

    # -- its processes --

    def master(self) -> Optional[int]:
        """The master process, or None if it does not run."""
        try:
            with open(self._pid_file, encoding="ascii") as stream:
                pid = int(stream.read().strip())
        except (OSError, ValueError):
            return None
        return pid if endpoint.title_of(pid).startswith(_MASTER) else None

    def workers(self, master: int) -> FrozenSet[int]:
        """The worker processes that take new connections."""
        titles = {pid: endpoint.title_of(pid) for pid in endpoint.children_of(master)}
        return frozenset(pid for pid, title in titles.items() if title.startswith(_WORKER) and _LEAVING not in title)

    def holds_port(self, master: Optional[int]) -> None:
        """Make sure that nobody but this nginx listens on the ports; an endpoint that a test left is ended.

        :raises EsyncError: kind ``port_taken``, naming the process.
        """
        ours = {master, *(endpoint.children_of(master) if master else ())}
        for attempt in range(2):
            ports = {place.port for place in self.settings.places}
            taken = [port for port in sorted(ports) if any(other.pid not in ours for other in endpoint.holders(port))]
            if not taken:
                return
            if attempt == 0:
                end_older(self.settings.directory)
        raise endpoint.port_taken(taken[0], self.settings.name)

    # -- what it does --

    def refusal(self, with_ours: bool) -> Optional[str]:
        """Test the configuration, all of it.

        :param with_ours: whether our file has to be part of it.
        :returns: why nginx refuses it, in its own words; None if it does not.
        """
        status, output, said = endpoint.run_command([self.binary, "-T", "-q"], self.settings.timeout)
        if status != 0:
            return _words_of(said) or f"nginx -t {endpoint.outcome_of(status, self.settings.timeout)}"
        # Asked for here, for a file that nginx does not read would only show in a port that nobody listens on.
        if with_ours and f"# configuration file {self.settings.path}:" not in output:
            return f"nginx does not read {self.settings.path}: no include of its configuration covers it"
        return None

    def start(self) -> None:
        """Start it, and under systemd let it start at every boot.

        :raises EsyncError: kind ``start_failed``.
        """
        command = [self.binary]
        if _under_systemd():
            command = ["systemctl", "--quiet", "enable", "--now", self.settings.service]
        status, _output, said = endpoint.run_command(command, self.settings.timeout)
        if status != 0 or not endpoint.wait_until(lambda: bool(self.master()), self.settings.timeout):
            if _under_systemd():
                unit = ["journalctl", "--quiet", "--no-pager", "--output=cat", "--lines=20", "--unit"]
                said = endpoint.run_command([*unit, self.settings.service], self.settings.timeout)[1]
            words = _words_of(said)
            raise EsyncError(
                f"nginx did not start: {' '.join(command)} {endpoint.outcome_of(status, self.settings.timeout)}"
                + (f" and said: {words}" if words else ""),
                "Look into its error log and start it by hand; then run again",
                kind="start_failed",
                server=self.settings.name,
            )

    def reload(self, master: int) -> bool:
        """Make it read its configuration and the certificates anew.

        :returns: whether it did: new workers run, and none of the old ones takes a new connection.
        """
        before = self.workers(master)
        endpoint.spread(self.settings.jitter)
        if _under_systemd() and self._is_active():
            status, _output, _said = endpoint.run_command(
                ["systemctl", "reload", self.settings.service], self.settings.timeout
            )
            if status != 0:
                return False
        else:
            os.kill(master, signal.SIGHUP)
        return endpoint.wait_until(lambda: self._replaced(master, before), self.settings.timeout)

    def stop(self) -> None:
        """Stop it, with all of its sites.

        :raises EsyncError: kind ``stop_failed``.
        """
        master = self.master()
        if master is None:
            return
        if _under_systemd() and self._is_active():
            endpoint.run_command(["systemctl", "stop", self.settings.service], self.settings.timeout)
        else:
            os.kill(master, signal.SIGTERM)
        if not endpoint.wait_until(lambda: not endpoint.title_of(master), self.settings.timeout):
            raise EsyncError(
                f"nginx (process {master}) did not end within {self.settings.timeout:g} seconds",
                "End it by hand, and run again",
                kind="stop_failed",
                server=self.settings.name,
            )

    def hang_up(self) -> None:
        """Send it back to the file that was restored; what follows is told by the error that led here."""
        master = self.master()
        if master is not None:
            os.kill(master, signal.SIGHUP)

    def _replaced(self, master: int, before: FrozenSet[int]) -> bool:
        now = self.workers(master)
        return bool(now) and not now & before

    def _is_active(self) -> bool:
        """Does systemd know it? Somebody may have started it by hand."""
        return endpoint.run_command(["systemctl", "is-active", self.settings.service], self.settings.timeout)[0] == 0


# -- the two states -------------------------------------------------------------------------------------------


def present(settings: NginxSettings, check: bool = False) -> NginxOutcome:
    """Let nginx serve the eSync port with this configuration, the current certificate and the trust in force.

    Whatever is refused leaves the old file in place, and the old configuration serving.

    :raises EsyncError: kinds ``missing_dependency``, ``port_taken``, ``configuration_refused``, ``start_failed``,
        ``reload_refused``, or files that cannot be used.
    """
    binary = find()
    if binary is None:
        if check:
            return NginxOutcome(("nginx_is_missing",), "", settings.content)
        raise EsyncError(
            "nginx is not installed",
            "Install the host's own package nginx, or set esync_install_dependencies to true",
            kind="missing_dependency",
            server=settings.name,
        )
    if check and not endpoint.has_current(settings.directory):
        return NginxOutcome(("not_loaded",), "", settings.content)
    wanted = endpoint.current_fingerprint(settings.directory)
    with _folders(settings) as (base, folder):
        nginx = Nginx(binary, settings)
        name = os.path.basename(settings.path)
        before = _read(folder, name)
        reasons = _reasons(nginx, base, before, wanted)
        if reasons and not check:
            nginx.holds_port(nginx.master())
            if before != settings.content:
                folder.write(name, settings.content.encode("utf-8"), _MODE)
            taken = False
            try:
                _take_up(nginx)
                taken = True
                _prove(nginx, wanted)
            except BaseException:
                _restore(folder, name, before)
                if taken:
                    nginx.hang_up()
                raise
            if settings.note:
                endpoint.note_loaded(base, settings.loaded)
    return NginxOutcome(tuple(reasons), before or "", settings.content)


def absent(settings: NginxSettings, check: bool = False) -> NginxOutcome:
    """Take our file out of nginx, which goes on with whatever else it does.

    :raises EsyncError: kinds ``configuration_refused``, ``reload_refused``; the file is back in place then.
    """
    directory = os.path.dirname(settings.path)
    folder = Folder.find(directory)
    if folder is None:
        return NginxOutcome((), "", "")
    name = os.path.basename(settings.path)
    with folder:
        before = _read(folder, name)
        if before is None or check:
            return NginxOutcome((), "", "") if before is None else NginxOutcome(("present",), before, "")
        folder.remove(name)
        folder.sync()
        binary = find()
        if binary:
            try:
                _unload(Nginx(binary, settings))
            except BaseException:
                _restore(folder, name, before)
                raise
    base = Folder.find(settings.directory)
    if base:
        with base:
            base.remove(layout.LOADED)
    return NginxOutcome(("present",), before, "")


def find() -> Optional[str]:
    """The path of nginx, which is not always on the path of those who are not root."""
    return shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:{_FOLDERS}")


def _reasons(nginx: Nginx, base: Folder, before: Optional[str], wanted: str) -> List[str]:
    """Why something has to be done; empty if nothing has."""
    settings = nginx.settings
    reasons = ["reload_asked_for"] * settings.reload + ["restart_asked_for"] * settings.restart
    if before != settings.content:
        reasons.append("configuration_differs")
    if not endpoint.is_loaded(base, settings.loaded):
        reasons.append("not_loaded")
    if nginx.master() is None:
        reasons.append("not_running")
    elif any(_served(place) != wanted for place in settings.places):
        reasons.append("another_certificate_served")
    return reasons


def _take_up(nginx: Nginx) -> None:
    """Test the configuration, then start nginx or let it reload.

    :raises EsyncError: see :func:`present`.
    """
    _demand_accepted(nginx, with_ours=True)
    if nginx.settings.restart:
        # Not in one step: what hangs may survive a restart, and its successor would find the port taken.
        nginx.stop()
    master = nginx.master()
    if master is None:
        nginx.start()
    elif not nginx.reload(master):
        raise _reload_refused(nginx.settings, _OLD_WORKERS)


def _prove(nginx: Nginx, wanted: str) -> None:
    """Read back the certificate that is served.

    :raises EsyncError: kind ``reload_refused``, naming both certificates.
    """
    settings = nginx.settings
    for place in settings.places:
        if not endpoint.wait_until(functools.partial(_serves, place, wanted), settings.timeout):
            raise _reload_refused(settings, f"{place} {endpoint.shown(_served(place))}, and should serve {wanted}")


def _served(place: endpoint.Place) -> Optional[str]:
    return endpoint.served(place.port, server_name=place.server_name)


def _serves(place: endpoint.Place, wanted: str) -> bool:
    return _served(place) == wanted


def _unload(nginx: Nginx) -> None:
    _demand_accepted(nginx, with_ours=False)
    master = nginx.master()
    if master is not None and not nginx.reload(master):
        raise _reload_refused(nginx.settings, _OLD_WORKERS)


def _demand_accepted(nginx: Nginx, with_ours: bool) -> None:
    words = nginx.refusal(with_ours)
    if words:
        raise EsyncError(
            f"nginx refuses its configuration: {words}",
            "Correct what it names; until then it goes on with what it had, and our file is left as it was",
            kind="configuration_refused",
            server=nginx.settings.name,
            path=nginx.settings.path,
        )


def _reload_refused(settings: NginxSettings, cause: str) -> EsyncError:
    return EsyncError(
        f"nginx did not take up the new configuration within {settings.timeout:g} seconds: {cause}",
        "nginx says why only in its error log (as a rule /var/log/nginx/error.log): mend that, and run again",
        kind="reload_refused",
        server=settings.name,
        path=settings.path,
    )


def _restore(folder: Folder, name: str, before: Optional[str]) -> None:
    """Put the file back, so that the next start of nginx finds what works."""
    if before is None:
        folder.remove(name)
        folder.sync()
    elif _read(folder, name) != before:
        folder.write(name, before.encode("utf-8"), _MODE)


# -- parts ----------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def _folders(settings: NginxSettings) -> Iterator[Tuple[Folder, Folder]]:
    """The folder of the mesh, locked, and that of the configuration."""
    with Folder.open(settings.directory) as base, base.lock(), Folder.open(os.path.dirname(settings.path)) as folder:
        yield base, folder


def _read(folder: Folder, name: str) -> Optional[str]:
    if folder.status(name) is None:
        return None
    return folder.read(name, _LIMIT).decode("utf-8", "replace")


def _under_systemd() -> bool:
    return os.path.isdir(_SYSTEMD) and shutil.which("systemctl") is not None


def _pid_file(binary: str) -> str:
    """Where the master process notes its number: as the main configuration says, else as nginx was built."""
    _status, _output, said = endpoint.run_command([binary, "-V"], 10)
    built = dict(re.findall(r"--(prefix|conf-path|pid-path)=(\S+)", said))
    prefix = built.get("prefix", "/usr/local/nginx")
    path = built.get("pid-path", "logs/nginx.pid")
    main = os.path.join(prefix, built.get("conf-path", "conf/nginx.conf"))
    with contextlib.suppress(OSError), open(main, encoding="utf-8", errors="replace") as stream:
        found = re.search(r"^\s*pid\s+\"?([^\";\s]+)\"?\s*;", stream.read(), re.MULTILINE)
        path = found.group(1) if found else path
    return os.path.join(prefix, path)


# On the error channel itself, or as a line of the error log, where nginx was built to log to that channel.
_COMPLAINT = re.compile(
    r"^(?:nginx: |\d{4}/\d\d/\d\d \S+ )\[(?:emerg|alert|crit|error)\] (?:\d+#\d+: )?(.+)$", re.MULTILINE
)


def _words_of(said: str) -> str:
    """What nginx complains of: its own lines if there are any, else the last one."""
    return endpoint.last_words("; ".join(_COMPLAINT.findall(said)) or said)
