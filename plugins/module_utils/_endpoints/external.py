# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A service of the user's own, which he installed and configured; all that is known of it are its commands."""

from __future__ import annotations

from typing import List, Optional, Sequence, Tuple

from ansible_collections.esync.mesh.plugins.module_utils._core import processes
from ansible_collections.esync.mesh.plugins.module_utils._core.errors import EsyncError
from ansible_collections.esync.mesh.plugins.module_utils._endpoints import places
from ansible_collections.esync.mesh.plugins.module_utils._endpoints.contract import NO_PRODUCT, Endpoint, Observed
from ansible_collections.esync.mesh.plugins.module_utils._endpoints.in_force import InForce
from ansible_collections.esync.mesh.plugins.module_utils._endpoints.places import Place


class ExternalEndpoint(Endpoint):
    """The only proof is the certificate that is served: whether the trust was loaded shows in the pairs."""

    name = "external"
    is_resident = True
    remedy = (
        "Look into the service's log; let it use current/server.crt, current/server.key and trusted/clients.pem, "
        "and esync_reload_command (or reload of the site) make it read them again"
    )
    product = NO_PRODUCT

    def observe(self) -> Observed:
        return Observed(missing=None, configuration=None, processes=None)

    def render(self, in_force: InForce) -> str:
        return ""

    def configure(self, text: str) -> None:
        """The configuration is the user's."""

    def validate(self) -> None:
        """The configuration is the user's."""

    def reload(self) -> None:
        for command in self._reload_commands():
            self._run(command)

    def restart(self) -> None:
        if not (self.settings.stop_command and self.settings.start_command):
            self.reload()
            return
        self._run(self.settings.stop_command)
        self._run(self.settings.start_command)

    def served(self, place: Place) -> Optional[str]:
        return places.served(place, self.settings.address)

    def undo(self, before: Observed, loaded: bool) -> None:
        """What a command of the user's did is not known."""

    def remove(self) -> None:
        """Nothing was written."""

    def _reload_commands(self) -> List[Tuple[str, ...]]:
        """What is to be run, in its order; a command that several sites have in common once."""
        common = self.settings.reload_command
        commands = [site.reload or common for site in self.settings.sites] or [common]
        return [command for command in dict.fromkeys(commands) if command]

    def _run(self, command: Sequence[str]) -> None:
        seconds = self.settings.timeout
        status, _output, said = processes.run_command(command, seconds)
        if status != 0:
            words = processes.last_words(said)
            raise EsyncError(
                f"the command {' '.join(command)} {processes.outcome_of(status, seconds)}"
                + (f" and said: {words}" if words else ""),
                "Correct esync_reload_command (esync_stop_command, esync_start_command, or reload of a site), or what "
                "it reports",
                kind="reload_command_failed",
                server=self.settings.name,
            )
