# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The file of ours in nginx's configuration."""

from __future__ import annotations

from typing import List

from ansible_collections.esync.mesh.plugins.module_utils._endpoints.contract import EndpointSettings, Site
from ansible_collections.esync.mesh.plugins.module_utils._endpoints.health import (
    ANNOUNCED_AT_MOST,
    REMOVED_HEADERS,
    health_of,
)
from ansible_collections.esync.mesh.plugins.module_utils._endpoints.in_force import InForce
from ansible_collections.esync.mesh.plugins.module_utils._endpoints.values import check_values

_LOG_FORMAT = r"""
log_format esync_mesh '$remote_addr - $esync_peer [$time_local] "$request" $status $body_bytes_sent '
                      '$ssl_protocol $ssl_client_verify';
"""

_CONNECTIONS = r"""
# Who has opened which connection, and when its first request began: at the first time, less the second.
log_format esync_connection '$ssl_client_fingerprint $remote_addr $remote_port $server_port $msec $request_time';
map $connection_requests $esync_is_first {
    default "";
    1 1;
}
"""

_PROXY = """\
        proxy_http_version 1.1;
        proxy_set_header Host HOST;
        # What a caller says of itself, of its way here and of the name that it asks for is replaced or taken out.
        proxy_set_header X-Esync-Peer $esync_peer;
        proxy_set_header X-Forwarded-For $remote_addr;
        proxy_set_header X-Forwarded-Host HOST;
        proxy_set_header X-Forwarded-Port $server_port;
        proxy_set_header X-Forwarded-Proto https;
        proxy_set_header X-Real-IP $remote_addr;
REMOVED
        # So is what the upstream answers.
        proxy_hide_header X-Esync-Peer;
        # How large content may be is for the upstream to say.
        client_max_body_size 0;"""

_ANY_NAME = r"^(?:_ $|(\S+) \1\.?(?::[0-9]*)?$)"
"""nginx's ``$host`` and the header Host hold the same name; or neither the request line nor a header holds one."""


def connections_log(settings: EndpointSettings) -> str:
    """The file in which nginx notes who has opened which connection; empty if there is none."""
    path = settings.access_log
    return f"{path.rpartition('/')[0]}/esync-mesh.connections.log" if path.startswith("/") else ""


def render(settings: EndpointSettings, in_force: InForce, ipv6: bool, notes: bool) -> str:
    """The complete file: who calls, then one server block for each site.

    :param settings: without sites there is one block, on the eSync port.
    :param ipv6: whether nginx can listen on IPv6 here.
    :param notes: whether nginx can note who has opened a connection, as long as it is open.
    :raises EsyncError: kind ``bad_setting``.
    """
    check_values(settings)
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
    noted = connections_log(settings) if notes else ""
    log += _CONNECTIONS if noted else ""
    blocks = [_block(site, settings, in_force, ipv6, noted) for site in settings.all_sites]
    return "\n".join(head) + "\n" + log + "\n" + "\n".join(blocks)


def _block(site: Site, settings: EndpointSettings, in_force: InForce, ipv6: bool, noted: str) -> str:
    upstream = settings.upstream_of(site)
    lines = [f"# Site {site.name}"] if site.name else []
    lines += ["server {"]
    lines += _listen(site, settings, ipv6)
    lines += _noting(noted) if noted else []
    lines += _certificates(settings)
    lines += _callers(settings, in_force)
    lines += _asked_for(site)
    lines += _health(site, settings, in_force)
    lines += ["    location / {"]
    if site.root:
        lines += [f"        root {site.root};", "        autoindex off;"]
    elif upstream:
        host = "$esync_host" if site.server_name else "$http_host"
        removed = "\n".join(f'        proxy_set_header {name} "";' for name in REMOVED_HEADERS)
        lines += [f"        proxy_pass {upstream};", _PROXY.replace("HOST", host).replace("REMOVED", removed)]
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
        "    # A header with an underscore is another spelling of one with a hyphen for many upstreams.",
        "    underscores_in_headers off;",
        "    ignore_invalid_headers on;",
        f"    access_log {settings.access_log}{log_format};",
        "",
    ]


def _noting(path: str) -> List[str]:
    """Note who has opened a connection: before its first answer, because that may go on for as long as it likes."""
    log = f"access_log {path} esync_connection if=$esync_is_first;"
    return [
        "    # Noted so that a connection can be ended whose certificate is not trusted any more: here at the end of",
        "    # an answer, and below before its beginning.",
        f"    {log}",
        "    auth_request /esync/connection;",
        "    location = /esync/connection {",
        "        internal;",
        "        log_subrequest on;",
        f"        {log}",
        "        return 204;",
        "    }",
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
    if 0 < in_force.peers <= ANNOUNCED_AT_MOST:
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


def _asked_for(site: Site) -> List[str]:
    """The name by which a site is requested: the only one that its upstream can receive.

    A caller can give up to three: in the handshake, in a request line with a URL, and in the header Host. nginx chooses
    the site by one of them, and takes the first site of the port if it does not know it.
    """
    if site.server_name:
        pattern = site.server_name.replace(".", r"\.")
        lines = [
            "    # Served under its name only, wherever the caller gives one: in the handshake, in a request line with",
            "    # a URL, in the header Host. The upstream receives this name, with the port if the caller gave one.",
            '    set $esync_asked "$ssl_server_name $host $http_host";',
            '    set $esync_host "";',
            f'    if ($esync_asked ~* "^(?:{pattern})? {pattern} {pattern}\\.?(|:[0-9]*)$") {{',
            f"        set $esync_host {site.server_name}$1;",
            "    }",
            '    if ($esync_host = "") {',
            "        return 421;",
            "    }",
        ]
    else:
        lines = [
            "    # Served under any name, but under one: a request line with a URL may not hold another one than Host.",
            '    set $esync_asked "$host $http_host";',
            f'    if ($esync_asked !~* "{_ANY_NAME}") {{',
            "        return 421;",
            "    }",
        ]
    return [*lines, "    add_header X-Esync-Peer $esync_peer always;", ""]


def _health(site: Site, settings: EndpointSettings, in_force: InForce) -> List[str]:
    """The answer that says who serves and who asked."""
    text = health_of(settings, in_force, site.name or None, "$esync_peer", _quoted)
    return [
        "    location = /esync/health {",
        "        default_type application/json;",
        f"        return 200 '{text}';",
        "    }",
        "",
    ]


def _quoted(text: str) -> str:
    """JSON for a string in single quotes of nginx.

    A backslash becomes two, and what nginx would take for the end of the string or for a variable is an escape of JSON.
    """
    return text.replace("\\", "\\\\").replace("'", r"\\u0027").replace("$", r"\\u0024")
