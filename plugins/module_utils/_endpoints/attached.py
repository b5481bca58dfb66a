# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Services that the user runs beside the endpoint, or in its place (esync_services; docs/services.md)."""

from __future__ import annotations

from typing import List, Tuple

from ansible_collections.esync.mesh.plugins.module_utils._endpoints.contract import Observed
from ansible_collections.esync.mesh.plugins.module_utils._endpoints.copies import Copies
from ansible_collections.esync.mesh.plugins.module_utils._endpoints.external import ExternalEndpoint
from ansible_collections.esync.mesh.plugins.module_utils._endpoints.in_force import InForce


class AttachedServices(ExternalEndpoint):
    """No driver that can be chosen: it is there besides whichever is. Its sites are the services."""

    name = "services"
    remedy = (
        "Look into the service's log; let it use current/server.crt, current/server.key and trusted/clients.pem, or "
        "its copies below services if it has an owner, and correct its port, protocol and reload in esync_services"
    )

    def observe(self) -> Observed:
        return Observed(missing=None, configuration=self._copies.found() or None, processes=None)

    def render(self, in_force: InForce) -> str:
        return self._copies.wanted()

    def configure(self, text: str) -> None:
        self._copies.write()

    def remove(self) -> None:
        self._copies.remove()

    def restart(self) -> None:
        self.reload()

    @property
    def _copies(self) -> Copies:
        return Copies(self.settings.directory, self.settings.name, self.settings.sites)

    def _reload_commands(self) -> List[Tuple[str, ...]]:
        return list(dict.fromkeys(site.reload for site in self.settings.sites if site.reload))
