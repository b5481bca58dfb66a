# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""No service at all: a listener of ours serves the port only while a run tests (the module probe_listener)."""

from __future__ import annotations

from typing import Optional

from ansible_collections.esync.mesh.plugins.module_utils._endpoints.contract import NO_PRODUCT, Endpoint, Observed
from ansible_collections.esync.mesh.plugins.module_utils._endpoints.in_force import InForce
from ansible_collections.esync.mesh.plugins.module_utils._endpoints.places import Place


class TemporaryEndpoint(Endpoint):
    """Nothing serves between runs, so there is nothing to configure, to reload or to prove."""

    name = "temporary"
    is_resident = False
    remedy = "Nothing serves between runs"
    product = NO_PRODUCT

    def observe(self) -> Observed:
        return Observed(missing=None, configuration=None, processes=frozenset())

    def render(self, in_force: InForce) -> str:
        return ""

    def configure(self, text: str) -> None:
        """There is no configuration."""

    def validate(self) -> None:
        """There is no configuration."""

    def reload(self) -> None:
        """Each test starts a listener, which reads its files then."""

    def restart(self) -> None:
        """As for a reload."""

    def served(self, place: Place) -> Optional[str]:
        return None

    def undo(self, before: Observed, loaded: bool) -> None:
        """Nothing was changed."""

    def remove(self) -> None:
        """Nothing was written."""
