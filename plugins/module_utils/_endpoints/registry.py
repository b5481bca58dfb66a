# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Every product that can be the endpoint of a server: one line each."""

from __future__ import annotations

from typing import Mapping, Type

from ansible_collections.esync.mesh.plugins.module_utils._endpoints.contract import Endpoint
from ansible_collections.esync.mesh.plugins.module_utils._endpoints.external import ExternalEndpoint
from ansible_collections.esync.mesh.plugins.module_utils._endpoints.haproxy import HaproxyEndpoint
from ansible_collections.esync.mesh.plugins.module_utils._endpoints.nginx import NginxEndpoint
from ansible_collections.esync.mesh.plugins.module_utils._endpoints.stunnel import StunnelEndpoint
from ansible_collections.esync.mesh.plugins.module_utils._endpoints.temporary import TemporaryEndpoint

ENDPOINTS: Mapping[str, Type[Endpoint]] = {
    "temporary": TemporaryEndpoint,
    "nginx": NginxEndpoint,
    "haproxy": HaproxyEndpoint,
    "stunnel": StunnelEndpoint,
    "external": ExternalEndpoint,
}
"""The setting esync_endpoint to the driver."""
