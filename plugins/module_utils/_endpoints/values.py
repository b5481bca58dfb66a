# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which values of the settings may enter the configuration of a product.

A value that holds a quote, a brace or a line break could say something else there than the setting means.
"""

from __future__ import annotations

import os
import re
from typing import Callable, Dict, Iterator, List, Optional, Tuple

from ansible_collections.esync.mesh.plugins.module_utils._connection.tls import sni_of
from ansible_collections.esync.mesh.plugins.module_utils._core import names
from ansible_collections.esync.mesh.plugins.module_utils._core.errors import EsyncError, raise_all
from ansible_collections.esync.mesh.plugins.module_utils._endpoints.contract import (
    EndpointSettings,
    Product,
    Site,
)

# What needs no quotes in any configuration, and means nothing there.
_PLAIN_PATH = re.compile(r"/[A-Za-z0-9/._@%+~-]*\Z")
_WORD = re.compile(r"[^\s\"'`;{}#\\\x00-\x1f\x7f-\x9f]+\Z")
# systemd.unit(5); what begins with a hyphen would be an option of systemctl.
_UNIT = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9:_.@-]|\\x[0-9a-f]{2})*\Z")
_URL = re.compile(r"(?:https?|tcp|proxy)://(?=[^/])")
# A host with a port and nothing else; an IPv6 address stands in brackets.
_TARGET = re.compile(r"(http|tcp|proxy)://(?:([A-Za-z0-9._-]+)|\[([0-9A-Fa-f:.]+)\]):([0-9]{1,5})/?\Z")
_MEANS_SOMETHING = "it must have no space, quote, semicolon, brace, backslash, # or control character"


def check_values(settings: EndpointSettings) -> None:
    """Refuse what may not enter a configuration, all of it at once.

    :raises EsyncError: kind ``bad_setting``, naming the setting.
    """
    found = [
        EsyncError(problem, f"Correct {setting}", kind="bad_setting", server=settings.name)
        for setting, problem in _problems(settings)
    ]
    raise_all(found)


def _problems(settings: EndpointSettings) -> Iterator[List[str]]:
    """Each setting that is refused, with what is wrong with it."""
    for problem in names.problems(settings.name):
        yield ["esync_server_name", f"the name {settings.name!r}: {problem}"]
    if not 1 <= settings.port <= 65535:
        yield ["esync_port", f"{settings.port} is no port"]
    values = {
        "esync_directory": settings.directory,
        "esync_endpoint_configuration": settings.configuration,
        "esync_endpoint_access_log": settings.access_log,
        "esync_endpoint_upstream": settings.upstream,
        "esync_endpoint_service": settings.service,
    }
    for setting, value in values.items():
        found = CHECKS[setting](value)
        if found:
            yield [setting, found]
    for site in settings.sites:
        for problem in _problems_of(site, settings.directory):
            yield ["esync_endpoint_sites", f"the site {site.name!r}: {problem}"]


def _problems_of(site: Site, directory: str) -> Iterator[str]:
    yield from (f"its name: {problem}" for problem in names.problems(site.name))
    if not 1 <= site.port <= 65535:
        yield f"its port: {site.port} is none"
    if site.server_name is not None and sni_of(site.server_name) is None:
        yield f"its server_name {site.server_name!r} is no DNS name"
    upstream = url_problem("its upstream", site.upstream or "")
    if upstream:
        yield upstream
    root = path_problem("its root", site.root) if site.root else None
    if root:
        yield root
    elif site.root and _overlap(site.root, directory):
        yield f"its root {site.root} and our folder {directory} overlap, so that private keys could be read there"


def _overlap(one: str, other: str) -> bool:
    """Whether one folder lies in the other, wherever links lead."""
    paths = [os.path.realpath(path) for path in (one, other)]
    return os.path.commonpath(paths) in paths


def check_product(name: str, product: Product, settings: EndpointSettings) -> None:
    """Refuse what the product of a driver cannot do.

    :param name: that of the driver.
    :raises EsyncError: kind ``bad_setting``, naming the setting.
    """
    found = []
    for site in settings.all_sites:
        setting = "esync_endpoint_sites" if site.name else "esync_endpoint_upstream"
        for problem in product_problems(name, product, settings.upstream_of(site), site.root, site.server_name):
            cause = f"the site {site.name!r}: {problem}" if site.name else problem
            remedy = f"Correct {setting}, or set another esync_endpoint"
            found.append(EsyncError(cause, remedy, kind="bad_setting", server=settings.name))
    raise_all(found)


# -- one value ------------------------------------------------------------------------------------------------


def path_problem(what: str, path: str) -> Optional[str]:
    """What keeps a path from being written without quotes; None if nothing does. :param what: how to call it."""
    if _PLAIN_PATH.match(path):
        return None
    return f"{what} must be an absolute path of letters, digits and / . _ @ % + ~ -, not {path!r}"


def url_problem(what: str, url: str) -> Optional[str]:
    """The same for where requests are passed to; empty: nowhere."""
    if not url or (_URL.match(url) and _WORD.match(url)):
        return None
    return f"{what} {url!r} is no URL with http, https, tcp or proxy, or {_MEANS_SOMETHING}"


def target_of(url: str) -> Tuple[str, str, str]:
    """Scheme, host and port of the URL of a plain upstream; all of them empty if there is none."""
    found = _TARGET.match(url)
    return (found.group(1), found.group(2) or found.group(3), found.group(4)) if found else ("", "", "")


def product_problems(
    name: str, product: Product, upstream: str, root: Optional[str] = None, server_name: Optional[str] = None
) -> Iterator[str]:
    """What a product cannot do of what is asked of it.

    :param name: that of the driver. :param upstream: the URL; empty: there is none.
    :param root: that of a site. :param server_name: that of a site.
    """
    schemes = " or ".join(f"{scheme}://" for scheme in product.schemes)
    plain = "HOST:PORT" if product.plain_upstream else "..."
    if root and not product.serves_files:
        yield f"{name} serves no files: it has an upstream, and no root"
    elif upstream.partition("://")[0] not in product.schemes if upstream else product.needs_upstream:
        yield f"{name} needs an upstream with {schemes}{plain}, not {upstream!r}"
    elif upstream and product.plain_upstream and not target_of(upstream)[0]:
        yield f"{name} needs an upstream that is a host and a port only, with {schemes}{plain}, not {upstream!r}"
    if server_name and not product.shares_ports:
        yield f"{name} knows no names of sites: it has a port of its own, and no server_name"


def _directory(path: str) -> Optional[str]:
    return path_problem("the directory", path)


def _configuration(path: str) -> Optional[str]:
    if path.startswith("/") and _WORD.match(path):
        return None
    return f"the configuration {path!r} is no absolute path, or {_MEANS_SOMETHING}"


def _access_log(words: str) -> Optional[str]:
    return None if _WORD.match(words) else f"the access log {words!r}: {_MEANS_SOMETHING}"


def _upstream(url: str) -> Optional[str]:
    return url_problem("the upstream", url)


def _service(name: str) -> Optional[str]:
    return None if _UNIT.match(name) else f"the service {name!r} is no name of a unit"


CHECKS: Dict[str, Callable[[str], Optional[str]]] = {
    "esync_directory": _directory,
    "esync_endpoint_configuration": _configuration,
    "esync_endpoint_access_log": _access_log,
    "esync_endpoint_upstream": _upstream,
    "esync_endpoint_service": _service,
}
"""By setting: what is wrong with its value; None if nothing is."""
