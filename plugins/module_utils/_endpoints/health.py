# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What every product that speaks HTTP for us says and hides, whatever its configuration looks like."""

from __future__ import annotations

import json
from typing import Any, Callable, Dict, Optional

from ansible_collections.esync.mesh.plugins.module_utils._endpoints.contract import EndpointSettings
from ansible_collections.esync.mesh.plugins.module_utils._endpoints.in_force import InForce

ANNOUNCED_AT_MOST = 500
"""Peers whose names fit into the announcement of accepted authorities (RFC 8446, section 4.2.4: 64 KiB)."""

REMOVED_HEADERS = (
    # Of where it comes from and which way (RFC 7239, and the headers before it).
    "Forwarded",
    "X-Client-IP",
    "X-Forwarded-Prefix",
    "X-Forwarded-Server",
    # Of what it asks for; some frameworks prefer these to the request.
    "X-Host",
    "X-Original-Host",
    "X-Original-URL",
    "X-Rewrite-URL",
    # Of its certificate (RFC 9440, Envoy).
    "Client-Cert",
    "Client-Cert-Chain",
    "X-Forwarded-Client-Cert",
)
"""Headers in which an upstream may look for what the endpoint does not say."""


def health_of(
    settings: EndpointSettings, in_force: InForce, site: Optional[str], peer: str, quoted: Callable[[str], str]
) -> str:
    """The answer that says who serves and who asked, as the product's configuration has it.

    :param peer: what the product puts the name of the caller in the place of. :param quoted: what makes JSON a string
        of that configuration.
    """
    health: Dict[str, Any] = {
        "server": settings.name,
        "generation": in_force.certificate or "none yet",
        "product_version": settings.product_version,
        **({"site": site} if site else {}),
    }
    return f'{quoted(json.dumps(health)[:-1])}, "peer": "{peer}"}}'
