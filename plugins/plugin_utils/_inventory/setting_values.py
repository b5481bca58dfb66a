# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Addresses, and values that enter certificates, configurations and commands: validated before any host is touched.

What enters the configuration of a product is also validated on the host, by the same rules (_endpoints/values.py).
"""

from __future__ import annotations

import contextlib
import ipaddress
import re
import socket
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ansible_collections.esync.mesh.plugins.module_utils._core.certificate import normal_alt_names
from ansible_collections.esync.mesh.plugins.module_utils._core.errors import EsyncError
from ansible_collections.esync.mesh.plugins.module_utils._crypto.key_types import wanted_size
from ansible_collections.esync.mesh.plugins.module_utils._endpoints.registry import ENDPOINTS
from ansible_collections.esync.mesh.plugins.module_utils._endpoints.values import (
    CHECKS,
    product_problems,
    url_problem,
)
from ansible_collections.esync.mesh.plugins.plugin_utils._inventory.sites import Site

# A space is no problem where no driver writes the directory into a configuration.
_UNSAFE = re.compile(r"[\"'`;{}$\\\x00-\x1f\x7f-\x9f]")


def canonical(address: str) -> str:
    """The one form of an address or a host name by which two of them can be compared.

    An IPv4 address that is written as an IPv6 address is the same one.

    :raises EsyncError: kind ``bad_name`` for what is neither.
    """
    with contextlib.suppress(ValueError):
        found = ipaddress.ip_address(address)
        return str(getattr(found, "ipv4_mapped", None) or found)
    return normal_alt_names((address.lower().rstrip("."),))[0]


def comparable(address: str) -> str:
    """The same of what need not be an address, because it is refused elsewhere."""
    try:
        return canonical(address)
    except EsyncError:
        return address.lower()


def is_ip_address(address: str) -> bool:
    """Whether an address needs no resolver."""
    with contextlib.suppress(ValueError):
        ipaddress.ip_address(address)
        return True
    return False


def is_loopback(address: str) -> bool:
    """Whether an address leads every host to itself."""
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(comparable(address)).is_loopback
    return comparable(address).partition(".")[0] == "localhost"


def address_problem(address: str) -> str | None:
    """What keeps a text from being an address to connect to; None if it can be one."""
    try:
        name = canonical(address)
    except EsyncError:
        return f"{address!r} is neither a host name nor an IP address"
    with contextlib.suppress(ValueError):
        found = ipaddress.ip_address(name)
        if "%" in name or (found.version == 6 and found.is_link_local):
            return (
                f"{address!r} is a link-local address or has a zone, which counts on one host only: use a global or "
                "unique local address (fd...), or a name"
            )
        if found.is_unspecified or found.is_multicast or name == "255.255.255.255":
            return f"{address!r} is the address of no single server"
    with contextlib.suppress(OSError):
        number = socket.inet_ntoa(socket.inet_aton(name))
        if number != name:
            return f"{address!r} is no address in full, and would be read as {number}"
    return None


def directory_problem(directory: str, endpoint: str) -> str | None:
    """What keeps a path from being our folder. :param endpoint: esync_endpoint."""
    if ENDPOINTS[endpoint].product.configuration:
        return CHECKS["esync_directory"](directory)
    if _UNSAFE.search(directory):
        return f"the directory {directory!r} must have no quote, semicolon, brace, backslash, $ or control character"
    return None


LEAST = {
    "esync_valid_days": 1,
    "esync_renew_before_days": 0,
    "esync_visit_timeout": 1,
    "esync_max_clock_skew": 1,
    "esync_endpoint_timeout": 1,
    "esync_listen_seconds": 1,
    "esync_probe_concurrency": 1,
    "esync_connect_timeout": 0.1,
    "esync_answer_timeout": 0.1,
    "esync_reload_jitter": 0,
    "esync_drain_seconds": 0,
    "esync_retire_timeout": 0,
}
"""By setting: the smallest number that makes sense."""

# Clocks can be wrong by many years.
_MOST = 1_000_000_000


def setting_problems(host: str, settings: Mapping[str, Any]) -> Iterator[EsyncError]:
    """What is wrong with the values of a host's other settings, of those that are given."""
    for setting, find in CHECKS.items():
        value = str(settings.get(setting) or "")
        # What is empty is as the product has it.
        problem = find(value) if value and setting != "esync_directory" else None
        if problem:
            yield EsyncError(problem, f"Correct {setting} of this host", kind="bad_setting", server=host)
    for setting, least in LEAST.items():
        # Not the other way round: a float can be no number at all.
        if setting in settings and not least <= settings[setting] <= _MOST:
            cause = f"{setting} is {settings[setting]}, and has to be a number from {least} to {_MOST}"
            yield EsyncError(cause, f"Correct {setting} of this host", kind="bad_setting", server=host)
    listening = str(settings.get("esync_listen_address") or "::")
    if not is_ip_address(listening):
        cause = f"esync_listen_address is {listening!r}, which is no IP address"
        yield EsyncError(cause, "Correct esync_listen_address of this host", kind="bad_setting", server=host)
    if "esync_key_type" in settings:
        try:
            wanted_size(settings["esync_key_type"], settings.get("esync_key_size"))
        except EsyncError as error:
            yield EsyncError(error.cause, error.remedy, kind=error.kind, server=host)
    for name in settings.get("esync_subject_alt_names") or ():
        try:
            normal_alt_names((name,))
        except EsyncError as error:
            remedy = "Correct esync_subject_alt_names of this host"
            yield EsyncError(error.cause, remedy, kind="bad_name", server=host)


def unsupported(host: str, settings: Mapping[str, Any], sites: Sequence[Site]) -> Iterator[EsyncError]:
    """What the product of a host's endpoint cannot do of what its settings, and those of its sites, ask of it."""
    endpoint = str(settings["esync_endpoint"])
    common = str(settings["esync_endpoint_upstream"] or "")
    # What a service of the user's own serves is no business of the product's.
    asked = [(site, site.upstream or ("" if site.root else common)) for site in sites if not site.reload]
    for site, upstream in asked if sites else [(None, common)]:
        if url_problem("", upstream):
            continue
        names = (site.root, site.server_name) if site else ()
        for problem in product_problems(endpoint, ENDPOINTS[endpoint].product, upstream, *names):
            setting = "esync_endpoint_sites" if site else "esync_endpoint_upstream"
            remedy = f"Correct {setting} of this host, or set another esync_endpoint"
            cause = f"the site {site.name!r}: {problem}" if site else problem
            yield EsyncError(cause, remedy, kind="bad_site" if site else "bad_setting", server=host)
