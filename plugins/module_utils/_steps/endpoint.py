# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The step endpoint: what listens on the eSync port, or on the ports of sites, serves what is in force now."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import Any, Callable, Dict, List, Mapping, Tuple, Type

from ansible_collections.esync.mesh.plugins.module_utils._core.errors import EsyncError
from ansible_collections.esync.mesh.plugins.module_utils._core.folders import Folder
from ansible_collections.esync.mesh.plugins.module_utils._core.names import ESYNC_PORT, HTTP, SERVICES
from ansible_collections.esync.mesh.plugins.module_utils._endpoints import in_force, retiring
from ansible_collections.esync.mesh.plugins.module_utils._endpoints.attached import AttachedServices
from ansible_collections.esync.mesh.plugins.module_utils._endpoints.contract import Endpoint, EndpointSettings, Site
from ansible_collections.esync.mesh.plugins.module_utils._endpoints.places import served
from ansible_collections.esync.mesh.plugins.module_utils._endpoints.procedure import (
    EndpointOutcome,
    bring_up,
    drain,
    take_down,
)
from ansible_collections.esync.mesh.plugins.module_utils._endpoints.registry import ENDPOINTS
from ansible_collections.esync.mesh.plugins.module_utils._steps.context import (
    PROTOCOL,
    SERVER,
    SITE,
    Context,
    difference,
)
from ansible_collections.esync.mesh.plugins.module_utils._store.run_lock import locked

_WORDS: Dict[str, Any] = {"type": "list", "elements": "str", "default": []}

WATCH: Dict[str, Any] = {
    "retired": {"type": "list", "elements": "str", "default": []},
    "since": {"type": "float", "default": 0},
    "wait": {"type": "float", "default": 0},
    "peer_ports": {"type": "list", "elements": "int", "default": []},
}
"""What is no setting of an endpoint, but said about the certificates that are about to be retired."""

SPEC: Dict[str, Any] = {
    **SERVER,
    "driver": {"type": "str", "choices": list(ENDPOINTS), "default": "temporary"},
    "state": {
        "type": "str",
        "choices": ["present", "absent", "observed", "forgotten", "drained", "watched"],
        "default": "present",
    },
    "port": {"type": "int", "default": 8732},
    "address": {"type": "str"},
    "sites": {
        "type": "list",
        "elements": "dict",
        "default": [],
        "options": {**SITE, "root": {"type": "path"}, "upstream": {"type": "str"}, "reload": _WORDS},
    },
    "services": {
        "type": "list",
        "elements": "dict",
        "default": [],
        "options": {**SITE, "reload": _WORDS, "protocol": PROTOCOL, "owner": {"type": "str"}},
    },
    "configuration": {"type": "path"},
    "service": {"type": "str"},
    "upstream": {"type": "str", "default": ""},
    "access_log": {"type": "str"},
    "product_version": {"type": "str"},
    "reload_command": _WORDS,
    "stop_command": _WORDS,
    "start_command": _WORDS,
    "restart": {"type": "bool", "default": False},
    "jitter": {"type": "float", "default": 0},
    "timeout": {"type": "float", "default": 30},
    "spare": {"type": "bool", "default": False},
    "withdrawn": {
        "type": "list",
        "elements": "dict",
        "default": [],
        "options": {"address": {"type": "str", "required": True}, "port": {"type": "int", "required": True}},
    },
    "drain": {"type": "float", "default": 0},
    **WATCH,
}

_SERVES_NO_SITE = "serves_no_site"
_NO_OWNER = "no_service_needs_copies"
_PRESENT = "present"
_NOTED = "noted"


def run(options: Mapping[str, Any], context: Context) -> Dict[str, Any]:
    """Bring the endpoint of this server into a state.

    :param options: by SPEC.
    :returns: ``changed``, ``reasons`` (why something was done, or would be), ``diff`` in diff mode if the
        configuration differs, ``connections`` (ended, spared, seconds, restarted) if they were looked at, when it is
        only observed ``served`` and ``sites``, the certificates served now, and when it is watched ``presented`` and
        ``calls``.
    :raises EsyncError: kinds ``missing_dependency``, ``no_certificate``, ``bad_setting``, ``port_taken``,
        ``configuration_refused``, ``start_failed``, ``stop_failed``, ``reload_command_failed``,
        ``reload_refused``, ``connections_left``, or files that cannot be used.
    """
    driver, settings, state = ENDPOINTS[options["driver"]], settings_of(options), options["state"]
    if state == "observed":
        return _observed(driver, settings)
    if state == "watched":
        return _watched(driver, settings, options, context.check)
    outcomes = _STATES[state](driver, settings, context.check)
    reasons = list(dict.fromkeys(reason for outcome in outcomes for reason in outcome.reasons))
    result: Dict[str, Any] = {"changed": bool(reasons), "reasons": reasons}
    differing = [outcome for outcome in outcomes if outcome.before != outcome.after]
    if context.diff and differing:
        path = ", ".join(outcome.path for outcome in differing)
        before, after = ("".join(getattr(one, side) for one in differing) for side in ("before", "after"))
        result["diff"] = difference(path, before, after)
    looked = [asdict(outcome.ended) for outcome in outcomes if outcome.ended]
    if looked:
        result["connections"] = {key: sum(one[key] for one in looked) for key in ("ended", "spared", "seconds")}
        result["connections"]["restarted"] = any(one["restarted"] for one in looked)
    return result


def _observed(driver: Type[Endpoint], settings: EndpointSettings) -> Dict[str, Any]:
    """What ``present`` would do and why, and what is served; whatever keeps that from being known is a reason too."""
    try:
        reasons = [reason for outcome in _present(driver, settings, check=True) for reason in outcome.reasons]
    except EsyncError as error:
        reasons = [error.kind]
    served_now = _served(settings) if driver.is_resident else {}
    return {"changed": False, "reasons": list(dict.fromkeys(reasons)), **served_now}


def _served(settings: EndpointSettings) -> Dict[str, Any]:
    """The fingerprint of what is served now on the port, or at each of the sites; None if nothing is."""
    sites = {str(place.site): served(place, settings.address) for place in settings.places if place.site}
    attached = _attached(settings, settings.services).places if settings.services else ()
    services = {str(place.site): served(place, settings.address) for place in attached}
    if sites or _is_replaced(settings):
        return {"served": None, "sites": {**sites, **services}}
    own = served(settings.places[0], settings.address)
    return {"served": own, "sites": {ESYNC_PORT: own, **services} if services else {}}


def _watched(
    driver: Type[Endpoint], settings: EndpointSettings, options: Mapping[str, Any], check: bool
) -> Dict[str, Any]:
    """Who still presents what is about to be retired, and what this host calls; it changes nothing."""
    # What a service of the user's own is presented, nobody knows.
    unknown = settings.services or (driver is not ENDPOINTS["external"] and _shared_out(settings.sites)[1])
    presented, calls = retiring.watch(
        None if unknown else driver(settings),
        retiring.Watch(
            frozenset(options["retired"]),
            options["since"],
            0 if check else options["wait"],
            frozenset(options["peer_ports"]),
        ),
    )
    found = None if presented is None else [asdict(one) for one in presented]
    return {"changed": False, "reasons": [], "presented": found, "calls": [asdict(one) for one in calls]}


def settings_of(options: Mapping[str, Any]) -> EndpointSettings:
    """The settings that the options ask for; what is empty is as the product has it."""
    apart = ("driver", "state", "sites", "services", "withdrawn", *WATCH)
    given = {name: value for name, value in options.items() if name not in apart}
    for name in ("reload_command", "stop_command", "start_command"):
        given[name] = tuple(given[name])
    product = ENDPOINTS[options["driver"]].product
    for name in ("configuration", "service", "access_log"):
        given[name] = given[name] or getattr(product, name)
    return EndpointSettings(
        sites=tuple(_site_of(site) for site in options["sites"]),
        services=tuple(_site_of(service) for service in options["services"]),
        withdrawn=tuple((one["address"], one["port"]) for one in options["withdrawn"]),
        **given,
    )


def _site_of(site: Mapping[str, Any]) -> Site:
    return Site(
        name=site["name"],
        port=site["port"],
        # nginx compares it with a name in lower case.
        server_name=site["server_name"].lower() if site["server_name"] else None,
        root=site.get("root"),
        upstream=site.get("upstream"),
        reload=tuple(site["reload"]),
        protocol=site.get("protocol", HTTP),
        owner=site.get("owner"),
    )


# -- the states -----------------------------------------------------------------------------------------------

_Outcomes = List[EndpointOutcome]


def _present(driver: Type[Endpoint], settings: EndpointSettings, check: bool) -> _Outcomes:
    return [*_endpoint(driver, settings, check), *_services(settings, check)]


def _endpoint(driver: Type[Endpoint], settings: EndpointSettings, check: bool) -> _Outcomes:
    """Sites with a command of their own are served by a service of the user's, the others by the driver."""
    if not driver.is_resident:
        return []
    external = ENDPOINTS["external"]
    if _is_replaced(settings):
        return [take_down(driver, settings, _SERVES_NO_SITE, check)] if driver is not external else []
    if driver is external:
        return [bring_up(driver, settings, check)]
    own, others = _shared_out(settings.sites)
    outcomes = []
    if own or not others:
        outcomes.append(bring_up(driver, replace(settings, sites=own), check))
    else:
        outcomes.append(take_down(driver, settings, _SERVES_NO_SITE, check))
    if others:
        outcomes.append(bring_up(external, replace(settings, sites=others), check))
    return outcomes


def _is_replaced(settings: EndpointSettings) -> bool:
    """Whether an attached service listens on the eSync port, in the place of the endpoint."""
    return not settings.sites and any(one.port == settings.port for one in settings.services)


def _services(settings: EndpointSettings, check: bool) -> _Outcomes:
    outcomes = [bring_up(AttachedServices, _attached(settings, settings.services), check)] if settings.services else []
    if not any(one.owner for one in settings.services):
        outcomes.append(take_down(AttachedServices, _attached(settings, ()), _NO_OWNER, check))
    return outcomes


def _attached(settings: EndpointSettings, services: Tuple[Site, ...]) -> EndpointSettings:
    """The settings of the attached services: they are its sites, and its configuration is the folder of the copies."""
    return replace(settings, sites=services, configuration=f"{settings.directory}/{SERVICES}")


def _shared_out(sites: Tuple[Site, ...]) -> Tuple[Tuple[Site, ...], Tuple[Site, ...]]:
    return tuple(site for site in sites if not site.reload), tuple(site for site in sites if site.reload)


def _absent(driver: Type[Endpoint], settings: EndpointSettings, check: bool) -> _Outcomes:
    services = take_down(AttachedServices, _attached(settings, ()), _PRESENT, check)
    return [services, take_down(driver, settings, _PRESENT, check)]


def _forgotten(_driver: Type[Endpoint], settings: EndpointSettings, check: bool) -> _Outcomes:
    """Take the note away, so that the next run reloads: a later proof showed that the last reload did nothing."""
    base = Folder.find(settings.directory)
    if base is None:
        return []
    with base, locked(base, check=check):
        if not in_force.has_note(base):
            return []
        if not check:
            in_force.forget_all(base)
    return [EndpointOutcome((_NOTED,), "", "")]


def _drained(driver: Type[Endpoint], settings: EndpointSettings, check: bool) -> _Outcomes:
    # Of connections to services of the user's own nobody knows which certificate opened them.
    return [drain(driver, settings, check)]


_STATES: Dict[str, Callable[[Type[Endpoint], EndpointSettings, bool], _Outcomes]] = {
    "present": _present,
    "absent": _absent,
    "forgotten": _forgotten,
    "drained": _drained,
}
