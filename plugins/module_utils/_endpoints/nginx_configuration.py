# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The file of ours in nginx's configuration."""

from __future__ import annotations

import json
from typing import Any, Dict, List

from ansible_collections.esync.mesh.plugins.module_utils._endpoints.contract import EndpointSettings, Site
from ansible_collections.esync.mesh.plugins.module_utils._endpoints.in_force import InForce
from ansible_collections.esync.mesh.plugins.module_utils._endpoints.values import check_values

_ANNOUNCED_AT_MOST = 500
"""Peers whose names fit into the announcement of accepted authorities (RFC 8446, section 4.2.4: 64 KiB)."""

_LOG_FORMAT = r"""
log_format esync_mesh '$remote_addr - $esync_peer [$time_local] "$request" $status $body_bytes_sent '
                      '$ssl_protocol $ssl_client_verify';
"""

_PROXY = """\
        proxy_http_version 1.1;
        proxy_set_header Host HOST;
        proxy_set_header X-Forwarded-For $remote_addr;
        proxy_set_header X-Forwarded-Proto https;
        # What the caller says of itself is overwritten, and so is what the upstream answers.
        proxy_set_header X-Esync-Peer $esync_peer;
        proxy_hide_header X-Esync-Peer;
        # How large content may be is for the upstream to say.
        client_max_body_size 0;"""


def render(settings: EndpointSettings, in_force: InForce, ipv6: bool) -> str:
    """The complete file: who calls, then one server block for each site.

    :param settings: without sites there is one block, on the eSync port.
    :param ipv6: whether nginx can listen on IPv6 here.
    :raises EsyncError: kind ``bad_setting``.
    """
    check_values(settings)
    sites = settings.sites or (Site("", settings.port, None, None, None, ()),)
    head = [
        f"# The eSync endpoint of {settings.name}, written by the collection esync.mesh: changes made here are lost.",
        "",
        "# Who calls. The bundle below accepts only the pinned peers; this says which of them it is.",
        "map $ssl_client_fingerprint $esync_peer {",
        '    default "";',
    ]
    head += [f"    include {settings.directory}/trusted/clients.map;"] if in_force.peers > 0 else []
    head += ["}"]
    log = "" if settings.access_log == "off" else _LOG_FORMAT
    blocks = [_block(site, settings, in_force, ipv6) for site in sites]
    return "\n".join(head) + "\n" + log + "\n" + "\n".join(blocks)


def _block(site: Site, settings: EndpointSettings, in_force: InForce, ipv6: bool) -> str:
    upstream = site.upstream or ("" if site.root else settings.upstream)
    lines = [f"# Site {site.name}"] if site.name else []
    lines += ["server {"]
    lines += _listen(site, settings, ipv6)
    lines += _certificates(settings)
    lines += _callers(settings, in_force)
    lines += _asked_for(site, bool(upstream))
    lines += _health(site, settings, in_force)
    lines += ["    location / {"]
    if site.root:
        lines += [f"        root {site.root};", "        autoindex off;"]
    elif upstream:
        host = "$esync_host" if site.server_name else "$http_host"
        lines += [f"        proxy_pass {upstream};", _PROXY.replace("HOST", host)]
    else:
        lines += ["        return 404;"]
    return "\n".join([*lines, "    }", "}", ""])


def _listen(site: Site, settings: EndpointSettings, ipv6: bool) -> List[str]:
    default = "" if site.server_name else " default_server"
    log_format = "" if settings.access_log == "off" else " esync_mesh"
    return [
        f"    listen {site.port} ssl{default};",
        *([f"    listen [::]:{site.port} ssl{default};"] if ipv6 else []),
        f"    server_name {site.server_name or '_'};",
        "    server_tokens off;",
        f"    access_log {settings.access_log}{log_format};",
        "",
    ]


def _certificates(settings: EndpointSettings) -> List[str]:
    return [
        f"    ssl_certificate {settings.directory}/current/server.crt;",
        f"    ssl_certificate_key {settings.directory}/current/server.key;",
        "    ssl_protocols TLSv1.2 TLSv1.3;",
        "    # A resumed session would outlive the trust that it was made under.",
        "    ssl_session_tickets off;",
        "    ssl_session_cache off;",
        "",
    ]


def _callers(settings: EndpointSettings, in_force: InForce) -> List[str]:
    """Who is accepted, and what is announced to callers."""
    bundle = f"{settings.directory}/trusted/clients.pem;"
    lines = ["    ssl_verify_client on;", "    ssl_verify_depth 0;"]
    lines += [f"    ssl_trusted_certificate {bundle}"] if in_force.peers > 0 else []
    if 0 < in_force.peers <= _ANNOUNCED_AT_MOST:
        lines += [
            "    # Announced to callers, some of which (Java, Windows) choose their certificate by it.",
            f"    ssl_client_certificate {bundle}",
        ]
    else:
        lines += [
            "    # The names of too many peers do not fit into the announcement, and nginx wants a file: our own "
            "server certificate",
            "    # accepts nobody, because it is none of a client.",
            f"    ssl_client_certificate {settings.directory}/current/server.crt;",
        ]
    return [*lines, "", '    if ($esync_peer = "") {', "        return 403;", "    }"]


def _asked_for(site: Site, has_upstream: bool) -> List[str]:
    """The name by which a site is requested, and what its upstream receives of it."""
    if not site.server_name:
        return ["    add_header X-Esync-Peer $esync_peer always;", ""]
    lines = [
        "    # Asked for another name, nginx takes the first site of the port: none answers for another.",
        f"    if ($host != {site.server_name}) {{",
        "        return 421;",
        "    }",
    ]
    if has_upstream:
        pattern = site.server_name.replace(".", r"\.")
        lines += [
            "    # What the upstream receives: the name that was checked, with the port if the caller gave one. The",
            "    # header Host itself may hold another name, where the request line has a URL.",
            f"    set $esync_host {site.server_name};",
            f'    if ($http_host ~* "^{pattern}(:[0-9]+)$") {{',
            f"        set $esync_host {site.server_name}$1;",
            "    }",
        ]
    return [*lines, "    add_header X-Esync-Peer $esync_peer always;", ""]


def _health(site: Site, settings: EndpointSettings, in_force: InForce) -> List[str]:
    """The answer that says who serves and who asked."""
    health: Dict[str, Any] = {
        "server": settings.name,
        "generation": in_force.certificate or "none yet",
        "product_version": settings.product_version,
        **({"site": site.name} if site.name else {}),
    }
    return [
        "    location = /esync/health {",
        "        default_type application/json;",
        f'        return 200 \'{_quoted(json.dumps(health)[:-1])}, "peer": "$esync_peer"}}\';',
        "    }",
        "",
    ]


def _quoted(text: str) -> str:
    """JSON for a string in single quotes of nginx.

    A backslash becomes two, and what nginx would take for the end of the string or for a variable is an escape of JSON.
    """
    return text.replace("\\", "\\\\").replace("'", r"\\u0027").replace("$", r"\\u0024")
