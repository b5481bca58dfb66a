# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The web sites of a server, and to which of them the certificates apply (docs/sites.md)."""

from __future__ import annotations

import posixpath
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ansible_collections.esync.mesh.plugins.module_utils._connection.tls import sni_of
from ansible_collections.esync.mesh.plugins.module_utils._core.errors import EsyncError
from ansible_collections.esync.mesh.plugins.module_utils._core.names import ESYNC_PORT, HTTP, problems
from ansible_collections.esync.mesh.plugins.module_utils._endpoints.values import path_problem, url_problem
from ansible_collections.esync.mesh.plugins.plugin_utils._inventory.settings import is_command_line, nearest, words_of

ALL = "all"
KEYS = ("name", "port", "server_name", "root", "upstream", "reload")
_RESERVED = {ALL: "stands for all sites", ESYNC_PORT: "stands for the endpoint on the eSync port"}


@dataclass(frozen=True)
class Site:
    """One web site of a server.

    :param port: 1 to 65535. :param server_name: the DNS name by which it is requested, where sites share a port.
    :param root: the folder that is served. :param upstream: where requests are passed to.
    :param reload: the command that makes a service of the user's own, which serves it, take up new certificates.
    :param protocol: what is spoken there, a key of PROTOCOLS.
    :param attached: whether it is no site but an attached service. :param restarts: whether its command restarts it.
    :param owner: the user that gets files of its own to read.
    """

    name: str
    port: int
    server_name: str | None = None
    root: str | None = None
    upstream: str | None = None
    reload: tuple[str, ...] = ()
    protocol: str = HTTP
    attached: bool = False
    restarts: bool = False
    owner: str | None = None

    def facts(self) -> dict[str, Any]:
        """The site as the role gets it."""
        return {**vars(self), "reload": list(self.reload)}


def read(host: str, value: Any, port: int) -> tuple[Site, ...]:
    """The sites of a host, as the inventory has them.

    :param value: the value of esync_endpoint_sites. :param port: that of a site that names none.
    :raises EsyncError: kind ``bad_site``; names, ports and the like are validated later, all together.
    """
    if not isinstance(value, (list, tuple)):
        raise _bad(host, "esync_endpoint_sites is no list of sites")
    return tuple(_read_one(host, index, site, port) for index, site in enumerate(value, 1))


def read_services(host: str, value: Sequence[Mapping[str, Any]]) -> tuple[Site, ...]:
    """The attached services of a host. :param value: the value of esync_services, typed.

    :raises EsyncError: kind ``bad_service``; names and ports are validated later, all together.
    """
    found = []
    for given in value:
        name = str(given["name"])
        commands = {key: tuple(given.get(key) or ()) for key in ("reload", "restart")}
        if all(commands.values()):
            raise _bad_service(host, f"the service {name} has both reload and restart, and can have one")
        for key, command in commands.items():
            if is_command_line(command):
                meant = ", ".join(" ".join(command).split())
                raise _bad_service(host, f"{key} of the service {name} is a list of words such as [{meant}]")
        found.append(
            Site(
                name,
                given["port"],
                reload=commands["reload"] or commands["restart"],
                protocol=str(given["protocol"]),
                attached=True,
                restarts=bool(commands["restart"]),
                owner=given.get("owner") or None,
            )
        )
    return tuple(found)


def places(sites: Sequence[Site], services: Sequence[Site], port: int) -> tuple[Site, ...]:
    """Where a server is called. :param sites: those that certificates apply to. :param port: the eSync port.

    :returns: empty: on the eSync port only.
    """
    if not services:
        return tuple(sites)
    own = () if sites or any(one.port == port for one in services) else (Site(ESYNC_PORT, port),)
    return (*sites, *own, *services)


def validate_services(host: str, sites: Sequence[Site], services: Sequence[Site]) -> Iterator[EsyncError]:
    """What is wrong with the attached services of one server."""
    for one in services:
        for problem in _common_problems(one, "service"):
            yield _bad_service(host, f"the service {one.name!r}: {problem}")
        if one.owner and not _USER.match(one.owner):
            yield _bad_service(host, f"the service {one.name}: {one.owner!r} is no name of a user")
        others = [other for other in (*sites, *services) if other is not one]
        if any(other.name.lower() == one.name.lower() for other in others):
            yield _bad_service(host, f"another site or service has the name {one.name} (whatever the case), too")
        if any(other.port == one.port for other in others):
            yield _bad_service(host, f"another site or service has the port {one.port} of the service {one.name}, too")


_USER = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,63}\$?\Z")


def _bad_service(host: str, cause: str) -> EsyncError:
    return EsyncError(cause, "Correct esync_services of this host", kind="bad_service", server=host)


def _read_one(host: str, index: int, site: Any, port: int) -> Site:
    if not isinstance(site, Mapping) or not site.get("name"):
        raise _bad(host, f"site {index} of esync_endpoint_sites has no name")
    name = str(site["name"])
    unknown = [str(key) for key in site if key not in KEYS]
    if unknown:
        raise _bad(host, f"the site {name} has {', '.join(unknown)}, and a site may have {', '.join(KEYS)}")
    given = port if site.get("port") is None else site["port"]
    try:
        number = int(str(given))
    except ValueError:
        raise _bad(host, f"the site {name} has the port {given!r}, which is none") from None
    reload = site.get("reload") or ()
    if isinstance(reload, (str, Mapping)):
        raise _bad(host, f"reload of the site {name} is no list of words")
    return Site(
        name,
        number,
        str(site["server_name"]).lower() if site.get("server_name") else None,
        str(site["root"]) if site.get("root") else None,
        str(site["upstream"]) if site.get("upstream") else None,
        tuple(str(word) for word in reload),
    )


def requested(value: Any) -> tuple[str, ...] | None:
    """The names in esync_site: one, several with commas, or a list; None for all sites."""
    words = words_of(value) if isinstance(value, str) else value if isinstance(value, (list, tuple)) else [value]
    names = tuple(dict.fromkeys(str(word).strip() for word in words if str(word).strip()))
    return None if ALL in names else names


def chosen(sites: Sequence[Site], names: Sequence[str] | None) -> tuple[Site, ...]:
    """The sites that certificates apply to, in their order. :param names: as :func:`requested` returns them."""
    return tuple(site for site in sites if names is None or site.name in names)


def validate(
    host: str, sites: Sequence[Site], names: Sequence[str] | None, directory: str, endpoint: str
) -> Iterator[EsyncError]:
    """What is wrong with the sites of one server.

    :param names: as :func:`requested` returns them. :param directory: the folder of ours.
    :param endpoint: esync_endpoint.
    """
    if not sites:
        return
    if endpoint == "temporary":
        yield EsyncError(
            "it has sites (esync_endpoint_sites), and the temporary endpoint serves only esync_port",
            "Set esync_endpoint to nginx, haproxy or stunnel, or to external if services of your own serve all sites",
            kind="sites_need_endpoint",
            server=host,
        )
    for site in sites:
        for problem in _problems(site, directory, endpoint):
            yield _bad(host, f"the site {site.name!r}: {problem}")
    yield from _duplicates(host, sites)
    if names is None:
        return
    known = [site.name for site in sites]
    missing = [name for name in names if name not in known]
    if missing:
        yield _unknown(host, missing, known)
    if not names:
        yield EsyncError(
            f"esync_site names no site; its sites are {', '.join(known)}",
            f"Set esync_site to {ALL}, to one of them, or to several",
            kind="unknown_site",
            server=host,
        )


def unknown_to_all(mesh: Mapping[str, tuple[Sequence[Site], Sequence[str] | None]]) -> Iterator[EsyncError]:
    """The names that esync_site requests of a server without sites, and that none of the others knows.

    :param mesh: host to its sites and the names that esync_site requests.
    """
    known = sorted({site.name for sites, _names in mesh.values() for site in sites})
    named = {name for sites, names in mesh.values() if sites for name in names or ()}
    seen: set[str] = set()
    for host, (sites, names) in mesh.items():
        missing = [name for name in names or () if not sites and name not in {*known, *named, *seen}]
        seen.update(missing)
        if missing:
            yield _unknown(host, missing, known)


def _problems(site: Site, directory: str, endpoint: str) -> Iterator[str]:
    yield from _common_problems(site, "site")
    if site.server_name and sni_of(site.server_name) is None:
        yield f"its server_name {site.server_name!r} is no DNS name"
    if site.root and site.upstream:
        yield "it has both a root and an upstream, and can have one"
    if (site.reload or endpoint == "external") and (site.root or site.upstream):
        yield "it is served by a service of its own, so root and upstream mean nothing"
    upstream = url_problem("its upstream", site.upstream or "")
    if upstream:
        yield upstream
    if site.root:
        yield from _root_problems(site.root, directory)


def _common_problems(place: Site, what: str) -> Iterator[str]:
    """What is wrong with the name and the port of a site or a service. :param what: which of them it is."""
    for problem in problems(place.name):
        yield f"that is no name of a {what}: {problem}"
    if place.name.lower() in _RESERVED:
        yield f"{place.name.lower()} {_RESERVED[place.name.lower()]} and cannot be the name of one"
    if not 1 <= place.port <= 65535:
        yield f"{place.port} is no port"


def _root_problems(root: str, directory: str) -> Iterator[str]:
    problem = path_problem("its root", root)
    if problem:
        yield problem
        return
    ours, theirs = (posixpath.normpath(path).rstrip("/") + "/" for path in (directory, root))
    if ours.startswith(theirs) or theirs.startswith(ours):
        yield f"its root {root} and our folder {directory} lie in each other, so that private keys could be served"


def _duplicates(host: str, sites: Sequence[Site]) -> Iterator[EsyncError]:
    by_name: dict[str, list[Site]] = defaultdict(list)
    by_place: dict[tuple[int, str | None], list[Site]] = defaultdict(list)
    by_port: dict[int, list[Site]] = defaultdict(list)
    for site in sites:
        by_name[site.name.lower()].append(site)
        by_place[site.port, site.server_name].append(site)
        by_port[site.port].append(site)
    for same in by_name.values():
        if len(same) > 1:
            yield _bad(host, f"the sites {_listed(same)} have the same name (upper and lower case count as the same)")
    for (port, server_name), same in by_place.items():
        if len(same) > 1:
            what = f"server_name {server_name}" if server_name else "no server_name"
            yield _bad(host, f"the sites {_listed(same)} have the same port {port} and {what}")
    for port, same in by_port.items():
        if len({bool(site.reload) for site in same}) > 1:
            yield _bad(
                host,
                f"the sites {_listed(same)} have the same port {port}, and some have a service of their own",
            )


def _listed(sites: Sequence[Site]) -> str:
    return " and ".join(site.name for site in sites)


def _bad(host: str, cause: str) -> EsyncError:
    return EsyncError(cause, "Correct esync_endpoint_sites of this host", kind="bad_site", server=host)


def _unknown(host: str, missing: Sequence[str], known: Sequence[str]) -> EsyncError:
    those = f"the known ones are {', '.join(known)}" if known else "no server of the mesh has sites"
    named = ", ".join(name + nearest(name, known) for name in missing)
    return EsyncError(
        f"esync_site asks for {named}, which is none of its sites: {those}",
        f"Set esync_site to {ALL} or to names that are known, or add the site to esync_endpoint_sites",
        kind="unknown_site",
        server=host,
    )
