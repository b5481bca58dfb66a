# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The configuration of HAProxy that is ours: all of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Dict, List, Sequence

from ansible_collections.esync.mesh.plugins.module_utils._core.errors import EsyncError
from ansible_collections.esync.mesh.plugins.module_utils._endpoints import haproxy_callers
from ansible_collections.esync.mesh.plugins.module_utils._endpoints.contract import EndpointSettings, Site
from ansible_collections.esync.mesh.plugins.module_utils._endpoints.health import (
    ANNOUNCED_AT_MOST,
    REMOVED_HEADERS,
    health_of,
)
from ansible_collections.esync.mesh.plugins.module_utils._endpoints.in_force import InForce
from ansible_collections.esync.mesh.plugins.module_utils._endpoints.values import check_values, target_of

_PEER = "%[var(sess.esync_peer)]"
_HTTP_LOG = f'"%ci - {_PEER} [%t] %{{+Q}}r %ST %B %sslv"'
_TCP_LOG = f'"%ci - {_PEER} [%t] %ft %B %ts %sslv"'


_INSPECT_DELAY = "2s"
"""How long a caller of a service that is not HTTP may take to say anything, before the service is connected to."""


@dataclass(frozen=True)
class Listening:
    """How it can listen here. :param ipv6: on IPv6. :param root: as root. :param journal: with a log of its own."""

    ipv6: bool
    root: bool
    journal: bool


def render(settings: EndpointSettings, in_force: InForce, listening: Listening) -> str:
    """The complete file: a frontend for each port, and a backend for each site.

    :param settings: without sites there is one of each, for the eSync port.
    :raises EsyncError: kind ``bad_setting``.
    """
    check_values(settings)
    by_port: Dict[int, List[Site]] = {}
    for site in settings.all_sites:
        by_port.setdefault(site.port, []).append(site)
    lines = [*_head(settings, listening), ""]
    for port, sites in by_port.items():
        schemes = {_scheme(site, settings) for site in sites}
        if "http" in schemes and len(schemes) > 1:
            shared = " and ".join(site.name for site in sites)
            raise EsyncError(
                f"the sites {shared} have the same port {port}, and not all of them are HTTP",
                "Correct esync_endpoint_sites: give them ports of their own, or upstreams of one kind",
                kind="bad_setting",
                server=settings.name,
            )
        speaks_http = "http" in schemes
        more = " alpn http/1.1" if speaks_http else ""
        lines += [f"frontend esync_{port}", *_bind(port, settings, in_force, listening, more)]
        lines += _http(sites, settings, in_force) if speaks_http else _tcp(port, sites)
        if not speaks_http:
            lines += [f"backend esync_health_{port}", "    mode http"]
            for site in sites:
                lines += _health(site, settings, in_force, f"ssl_fc_sni -i {site.server_name}")
            lines += ["    http-request return status 421", ""]
        for site in sites:
            lines += _backend(site, settings)
    lines += haproxy_callers.TABLE
    return "\n".join(lines)


def _scheme(site: Site, settings: EndpointSettings) -> str:
    return target_of(settings.upstream_of(site))[0] or "http"


def _head(settings: EndpointSettings, listening: Listening) -> List[str]:
    log = settings.access_log != "off" and (listening.journal or settings.access_log != "stdout")
    return [
        f"# The eSync endpoint of {settings.name}, written by the collection esync.mesh: changes made here are lost.",
        "global",
        *(["    user haproxy", "    group haproxy"] if listening.root else []),
        *([f"    log {settings.access_log} format raw daemon"] if log else []),
        "    # The key lies beside the certificate: server.crt and server.key.",
        "    ssl-load-extra-files key",
        "    ssl-load-extra-del-ext",
        "    # A resumed session would outlive the trust that it was made under.",
        "    tune.ssl.cachesize 0",
        "",
        "defaults",
        *(["    log global"] if log else []),
        "    timeout connect 10s",
        "    timeout client 60s",
        "    timeout server 60s",
    ]


def _bind(port: int, settings: EndpointSettings, in_force: InForce, listening: Listening, more: str) -> List[str]:
    """Who is accepted, and what is announced to callers. :param more: further options."""
    bundle = f"{settings.directory}/trusted/clients.pem"
    own = f"{settings.directory}/current/server.crt"
    lines = []
    if 0 < in_force.peers <= ANNOUNCED_AT_MOST:
        verify = f"ca-file {bundle}"
    else:
        lines += [
            "    # The names of too many peers do not fit into the announcement to callers; our own server certificate",
            "    # accepts nobody, because it is none of a client.",
        ]
        verify = f"ca-file {own}" + (f" ca-verify-file {bundle}" if in_force.peers else "")
    options = f"ssl crt {own} {verify} verify required ssl-min-ver TLSv1.2 no-tls-tickets{more}"
    for address in [f":{port}", *([f"[::]:{port} v6only"] if listening.ipv6 else [])]:
        lines.append(f"    bind {address} {options}")
    if in_force.peers:
        lines += [
            "    # Who calls. The bundle accepts only the pinned peers; this says which of them it is.",
            "    tcp-request session set-var(sess.esync_peer) ssl_c_sha1,hex,lower"
            f",map_str({settings.directory}/trusted/clients.map),word(1,'\\\";')",
        ]
    lines += ["    tcp-request session reject unless { var(sess.esync_peer) -m found }"]
    return [*lines, *haproxy_callers.NOTING]


# -- any protocol ---------------------------------------------------------------------------------------------


def _tcp(port: int, sites: Sequence[Site]) -> List[str]:
    """By the name in the handshake, if sites have one; the test of the mesh is answered here.

    It speaks HTTP, and many a service would hang up on it without an answer. A service that speaks first has its caller
    wait for the delay.
    """
    is_test = "{ req.payload(0,17) -m str 'GET /esync/health' }"
    return [
        "    mode tcp",
        f"    log-format {_TCP_LOG}",
        "    timeout client 1h",
        f"    tcp-request inspect-delay {_INSPECT_DELAY}",
        f"    tcp-request content set-var(sess.esync_test) bool(true) if {is_test}",
        f"    tcp-request content switch-mode http if {is_test}",
        "    tcp-request content accept if { req.len gt 0 }",
        "    tcp-request content accept if WAIT_END",
        f"    use_backend esync_health_{port} if {{ var(sess.esync_test) -m bool }}",
        *[f"    use_backend {_name(one)} if {{ ssl_fc_sni -i {one.server_name} }}" for one in sites if one.server_name],
        *[f"    default_backend {_name(one)}" for one in sites if not one.server_name],
        "",
    ]


# -- HTTP -----------------------------------------------------------------------------------------------------


def _http(sites: Sequence[Site], settings: EndpointSettings, in_force: InForce) -> List[str]:
    named = [site for site in sites if site.server_name]
    lines = ["    mode http", f"    log-format {_HTTP_LOG}", "    timeout http-request 30s"]
    lines += ["    http-request set-var(txn.esync_port) req.hdr(host),field(2,:)"]
    for site in named:
        lines += _asked_for(site)
    if len(named) == len(sites):
        lines += ["    http-request return status 421 unless { var(txn.esync_site) -m found }"]
    for site in sites:
        lines += _health(site, settings, in_force, f"var(txn.esync_site) -m str {site.name}")
    lines += [
        "    http-response del-header X-Esync-Peer",
        f"    http-after-response set-header X-Esync-Peer {_PEER}",
        "    # What a caller says of itself, its way here and the name that it asks for is replaced or taken out.",
        "    # A header with an underscore is another spelling of one with a hyphen for many upstreams.",
        "    http-request del-header [^A-Za-z0-9-] -m reg",
        *[f"    http-request del-header {header}" for header in REMOVED_HEADERS],
        f"    http-request set-header X-Esync-Peer {_PEER}",
        "    http-request set-header X-Forwarded-For %[src]",
        "    http-request del-header X-Forwarded-Host",
        "    http-request set-header X-Forwarded-Host %[req.hdr(host)] if { req.hdr(host) -m found }",
        "    http-request set-header X-Forwarded-Port %[dst_port]",
        "    http-request set-header X-Forwarded-Proto https",
        "    http-request set-header X-Real-IP %[src]",
        "    http-request set-uri %[pathq] if !{ url_beg / } { pathq -m found }",
    ]
    lines += [
        f"    use_backend {_name(one)} if {{ var(txn.esync_site) -m str {one.name} }}"
        if one.server_name
        else f"    default_backend {_name(one)}"
        for one in sites
    ]
    return [*lines, ""]


def _asked_for(site: Site) -> List[str]:
    """The name by which a site is requested: the only one that its upstream can receive.

    A caller can give up to three: in the handshake, in a request line with a URL, and in the header Host. HAProxy
    itself refuses a request whose last two differ.
    """
    pattern = str(site.server_name).replace(".", r"\.")
    host = f"{{ req.hdr(host) -m reg -i '^{pattern}\\.?(:[0-9]*)?$' }}"
    handshake = f"{{ ssl_fc_has_sni }} !{{ ssl_fc_sni -i {site.server_name} }}"
    is_it = f"{{ var(txn.esync_site) -m str {site.name} }}"
    return [
        f"    http-request set-var(txn.esync_site) str({site.name}) if {host}",
        f"    http-request return status 421 if {is_it} {handshake}",
        f"    http-request set-header Host {site.server_name} if {is_it}",
        f"    http-request set-header Host {site.server_name}:%[var(txn.esync_port)] if {is_it} "
        "{ var(txn.esync_port) -m len gt 0 }",
    ]


def _health(site: Site, settings: EndpointSettings, in_force: InForce, asked_for: str) -> List[str]:
    """The answer that says who serves and who asked. :param asked_for: by what it is known that a site is asked for."""
    text = health_of(settings, in_force, site.name or None, _PEER, _quoted)
    only = f" {{ {asked_for} }}" if site.server_name else ""
    return [
        "    http-request return status 200 content-type application/json "
        f"lf-string '{text}' if {{ path /esync/health }}{only}"
    ]


def _quoted(text: str) -> str:
    """JSON for a string in single quotes of HAProxy, where only its end and what begins a variable mean something."""
    return text.replace("'", "\\u0027").replace("%", "%%")


# -- upstreams ------------------------------------------------------------------------------------------------


def _name(site: Site) -> str:
    return f"esync_site_{site.name}" if site.name else "esync_upstream"


def _backend(site: Site, settings: EndpointSettings) -> List[str]:
    scheme, host, port = target_of(settings.upstream_of(site))
    lines = [f"backend {_name(site)}"]
    if not scheme:
        return [*lines, "    mode http", "    http-request return status 404", ""]
    mode = "http" if scheme == "http" else "tcp"
    lines += [f"    mode {mode}", *(["    timeout server 1h"] if mode == "tcp" else [])]
    # The name in that header is the subject of the certificate, which is the name of its server.
    proxy = " send-proxy-v2-ssl-cn" if scheme == "proxy" else ""
    return [*lines, f"    server upstream {f'[{host}]' if ':' in host else host}:{port}{proxy}", ""]
