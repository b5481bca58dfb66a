# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which values of the settings may enter the configuration of a product.

A value that holds a quote, a brace or a line break could say something else there than the setting means.
"""

from __future__ import annotations

import os
import re
from typing import Iterator, List, Optional

from ansible_collections.esync.mesh.plugins.module_utils._connection.tls import sni_of
from ansible_collections.esync.mesh.plugins.module_utils._core import names
from ansible_collections.esync.mesh.plugins.module_utils._core.errors import EsyncError, raise_all
from ansible_collections.esync.mesh.plugins.module_utils._endpoints.contract import EndpointSettings, Site

# What needs no quotes in any configuration, and means nothing there.
_PLAIN_PATH = re.compile(r"/[A-Za-z0-9/._@%+~-]*\Z")
_WORD = re.compile(r"[^\s\"'`;{}#\\\x00-\x1f\x7f-\x9f]+\Z")
_URL = re.compile(r"https?://(?=[^/])")
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
    if not _PLAIN_PATH.match(settings.directory):
        yield ["esync_directory", _not_plain("the directory", settings.directory)]
    if not (settings.configuration.startswith("/") and _WORD.match(settings.configuration)):
        yield [
            "esync_endpoint_configuration",
            f"the configuration {settings.configuration!r} is no absolute path, or {_MEANS_SOMETHING}",
        ]
    if not _WORD.match(settings.access_log):
        yield ["esync_endpoint_access_log", f"the access log {settings.access_log!r}: {_MEANS_SOMETHING}"]
    if settings.upstream and not _is_url(settings.upstream):
        yield ["esync_endpoint_upstream", _no_url("the upstream", settings.upstream)]
    for site in settings.sites:
        for problem in _problems_of(site, settings.directory):
            yield ["esync_endpoint_sites", f"the site {site.name!r}: {problem}"]


def _problems_of(site: Site, directory: str) -> Iterator[str]:
    yield from (f"its name: {problem}" for problem in names.problems(site.name))
    if not 1 <= site.port <= 65535:
        yield f"its port: {site.port} is none"
    if site.server_name is not None and sni_of(site.server_name) is None:
        yield f"its server_name {site.server_name!r} is no DNS name"
    if site.upstream and not _is_url(site.upstream):
        yield _no_url("its upstream", site.upstream)
    if site.root and not _PLAIN_PATH.match(site.root):
        yield _not_plain("its root", site.root)
    elif site.root and _overlap(site.root, directory):
        yield f"its root {site.root} and our folder {directory} overlap, so that private keys could be read there"


def _overlap(one: str, other: str) -> bool:
    """Whether one folder lies in the other, wherever links lead."""
    paths = [os.path.realpath(path) for path in (one, other)]
    return os.path.commonpath(paths) in paths


def _is_url(text: str) -> bool:
    return bool(_URL.match(text) and _WORD.match(text))


def _no_url(what: str, text: str) -> str:
    return f"{what} {text!r} is no URL with http or https, or {_MEANS_SOMETHING}"


def _not_plain(what: str, path: Optional[str]) -> str:
    return f"{what} must be an absolute path of letters, digits and / . _ @ % + ~ -, not {path!r}"
