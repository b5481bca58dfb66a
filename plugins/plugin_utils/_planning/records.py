# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a host returns, made into records of that host alone: the one place where it enters the control node.

Every step has a shape. What the shape does not name is dropped, whatever it is called; what it names has to be of its
type, within its size, or the entire visit counts as failed. Nothing here depends on what other hosts say.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from ansible_collections.esync.mesh.plugins.module_utils._core.certificate import FINGERPRINT
from ansible_collections.esync.mesh.plugins.module_utils._core.errors import EsyncError
from ansible_collections.esync.mesh.plugins.module_utils._core.names import (
    CLIENT,
    ESYNC_PORT,
    ROLES,
    SERVER,
    STATES,
    problems,
)
from ansible_collections.esync.mesh.plugins.module_utils._store.distrust import distrust_from
from ansible_collections.esync.mesh.plugins.module_utils._store.indexed_folder import digest_of
from ansible_collections.esync.mesh.plugins.module_utils._store.shared_sets import entries_from as shared_entries
from ansible_collections.esync.mesh.plugins.module_utils._store.trust_folder import entries_from as trust_entries
from ansible_collections.esync.mesh.plugins.plugin_utils._ledger.admission import certificate_of
from ansible_collections.esync.mesh.plugins.plugin_utils._shapes import (
    Malformed,
    Shape,
    flag,
    items,
    mapping,
    matching,
    number,
    one_of,
    optional,
    port,
    record,
    text,
)

_PEM = 24_000
_PAYLOAD = 200_000
_ID = re.compile(r"[A-Za-z0-9-]{1,100}\Z")
_ADDRESS = re.compile(r"[A-Za-z0-9_.:%-]{1,253}\Z")

fingerprint = matching(FINGERPRINT, "a SHA-256 fingerprint")


def _each_once(shape: Shape) -> Shape:
    """Generations, each state at the most once."""

    def parse(value: Any) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = shape(value)
        if len({one["state"] for one in found}) < len(found):
            raise Malformed("one generation of each state is expected")
        return found

    return parse


_STATE = one_of(*STATES)
_ROLE = one_of(*ROLES)
_ERROR = record(
    "kind cause remedy",
    kind=text(100),
    cause=text(),
    remedy=text(),
    server=optional(text(100)),
    path=optional(text()),
)


def _certificate(role: str) -> Shape:
    """A certificate: of what a host says of it only the PEM text counts, and the facts are read from that."""

    def parse(value: Any) -> dict[str, Any]:
        pem = record("pem", pem=text(_PEM))(value)["pem"]
        try:
            return certificate_of(pem, role).facts()
        except EsyncError as error:
            raise Malformed(error.cause) from None

    return parse


_CERTIFICATES = {role: _certificate(role) for role in ROLES}
_GENERATION = record(
    f"id state {SERVER} {CLIENT}", id=matching(_ID, "the id of a generation"), state=_STATE, **_CERTIFICATES
)
# What comes in a folder was made elsewhere and has no id here.
_FOLDER_GENERATION = record(f"state {SERVER} {CLIENT}", state=_STATE, **_CERTIFICATES)


def _entries(read: Shape) -> Shape:
    """The rows of an index, as the host's own reader accepts them: sound names, and nothing twice."""
    rows = items(
        record("peer state fingerprint", peer=text(100), role=_ROLE, state=_STATE, fingerprint=fingerprint),
    )

    def parse(value: Any) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = rows(value)
        try:
            read(found)
        except (EsyncError, KeyError):
            raise Malformed("entries with sound names, none of them twice, are expected") from None
        return found

    return parse


def _remembered(value: Any) -> list[dict[str, Any]]:
    """What a host remembers to distrust."""
    rows = items(mapping(text(20), text(100), 10), 10_000)(value)
    try:
        return [vars(one) for one in distrust_from(rows)]
    except EsyncError as error:
        raise Malformed(error.cause) from None


_TRUST = record("digest entries", digest=text(64), entries=_entries(trust_entries), distrusted=_remembered)
_SHARED = record("digest entries", digest=text(64), withdrawn=flag, entries=_entries(shared_entries))
_SET = {
    "changed": flag,
    "generations": _each_once(items(_GENERATION, 3)),
    "reasons": items(text(100), 100),
    "due": items(text(100), 100),
    "repaired": items(text(), 1000),
    "trust": optional(_TRUST),
    "shared": optional(_SHARED),
    "clock": number,
    "rotation": optional(record(holder=optional(text(300)), since=optional(text(60)))),
    "product_version": optional(text(200)),
    "product_version_problem": optional(_ERROR),
}


def _explained(shape: Shape) -> Shape:
    """A verdict, with the words for it even if a host left them out."""

    def parse(value: Any) -> dict[str, Any]:
        found: dict[str, Any] = shape(value)
        return {**found, **{key: found.get(key) or default for key, default in _WORDS.items()}}

    return parse


_WORDS: Mapping[str, Any] = {"cause": None, "detail": "", "remedy": ""}
_RESULT = {
    "to": text(100),
    "site": optional(text(100)),
    "verdict": one_of("ok", "failed", "untested"),
    "cause": optional(text(100)),
    "detail": optional(text()),
    "remedy": optional(text()),
}
_PAIR = record(
    "to verdict",
    **_RESULT,
    handshake_ms=optional(number),
    tls=optional(text(40)),
    server_fingerprint=optional(fingerprint),
    client_fingerprint=optional(fingerprint),
    served_subject=optional(text(300)),
)

_IP_ADDRESS = matching(_ADDRESS, "an address")
_CALLER = record(
    "fingerprint address seconds_ago longest_gap renewed_ago connections calls",
    fingerprint=fingerprint,
    address=_IP_ADDRESS,
    seconds_ago=number,
    longest_gap=number,
    renewed_ago=optional(number),
    connections=number,
    calls=items(items(port, 2), 200),
)
_CALL = record("address port called process", address=_IP_ADDRESS, port=port, called=port, process=text(100))

_LINE = matching(re.compile(r"[A-Za-z0-9._-]{1,53} \w+ \(\w+\): [0-9a-f ]{79}\Z"), "a certificate's fingerprint")

STEPS: Mapping[str, Shape] = {
    "certificate_set": record("generations", **_SET),
    "certificate_info": record(
        "generations",
        **_SET,
        problems=items(_ERROR, 10_000),
        modes=mapping(text(), record("found wanted", found=text(10), wanted=text(10)), 10_000),
        restorable=items(text(), 1000),
        keys=items(text(300), 1000),
        stale_manifests=items(text(), 100),
        readable=flag,
        clock_skew=optional(number),
        directory=text(),
    ),
    "peer_trust": record("digest", changed=flag, digest=text(64), added=items(text(200)), removed=items(text(200))),
    "endpoint": record(
        changed=flag,
        reasons=items(text(200), 100),
        served=optional(fingerprint),
        sites=mapping(text(100), optional(fingerprint), 1000),
        connections=record(
            "ended spared seconds restarted", ended=number, spared=number, seconds=number, restarted=flag
        ),
        presented=optional(items(_CALLER, 10_000)),
        calls=items(_CALL, 200),
    ),
    "name_resolution_info": record("unresolved", changed=flag, unresolved=mapping(text(300), text(300))),
    "probe_listener": record(changed=flag, pid=number, address=text(100), port=number, fingerprint=fingerprint),
    "peer_probe": record(
        "results",
        changed=flag,
        results=items(_explained(_PAIR)),
        refusals=items(_explained(record("to verdict present", **_RESULT, present=text(60)))),
        clusters=items(
            record(
                "cluster verdict",
                cluster=text(100),
                answered=mapping(text(100), number, 1000),
                **{key: shape for key, shape in _RESULT.items() if key not in ("to", "site")},
            ),
            10_000,
        ),
    ),
    "shared_client_sets": record(
        changed=flag, sets=mapping(fingerprint, text(_PAYLOAD), 10), rejected=mapping(fingerprint, text(500))
    ),
    "exchange_folder_info": record(
        "folder",
        changed=flag,
        folder=text(),
        sets=items(
            record(
                "name address port generations",
                name=text(100),
                address=optional(matching(_ADDRESS, "a host name or an address")),
                port=optional(port),
                generations=_each_once(items(_FOLDER_GENERATION, 3)),
            )
        ),
    ),
    "exchange_folder": record("folder", changed=flag, folder=text(), fingerprints=items(_LINE, 1000)),
}
"""Step to the shape of what it returns."""

DIFF = record("before after", before=text(_PAYLOAD), after=text(_PAYLOAD), before_header=text(), after_header=text())
"""What a step returns in diff mode, to be printed."""


# -- what was asked ---------------------------------------------------------------------------------------------------


def _within(found: Sequence[Any], allowed: Collection[Any], what: str) -> None:
    """Only what was asked for, and nothing twice."""
    if len(set(found)) < len(found) or not set(found) <= set(allowed):
        raise Malformed(f"{what} that were not asked for, or one of them twice")


def _probe_as_asked(options: Mapping[str, Any], found: dict[str, Any]) -> None:
    peers = [(str(peer["name"]), peer.get("site")) for peer in options["peers"]]
    _within([(one["to"], one.get("site")) for one in found["results"]], peers, "results")
    refusals = found.get("refusals") or ()
    _within(list({one["to"] for one in refusals}), options.get("refusals") or (), "refusals")
    clusters = {str(one["name"]): one["members"] for one in options.get("clusters") or ()}
    _within([one["cluster"] for one in found.get("clusters") or ()], clusters, "clusters")
    for one in found.get("clusters") or ():
        _within(list(one.get("answered") or ()), clusters[one["cluster"]], "members of a cluster")


def _trust_as_asked(options: Mapping[str, Any], found: dict[str, Any]) -> None:
    if found["digest"] != digest_of(trust_entries(options["entries"])):
        raise Malformed("the digest is not that of the entries that were sent")


def _endpoint_as_asked(options: Mapping[str, Any], found: dict[str, Any]) -> None:
    presented = {one["fingerprint"] for one in found.get("presented") or ()}
    _within(list(presented), options.get("retired") or (), "certificates")
    asked = [str(site["name"]) for key in ("sites", "services") for site in options.get(key) or ()]
    _within(list(found.get("sites") or ()), [ESYNC_PORT, *asked], "sites")


def _resolution_as_asked(options: Mapping[str, Any], found: dict[str, Any]) -> None:
    _within(list(found["unresolved"]), options["addresses"], "addresses")


def _shared_as_asked(options: Mapping[str, Any], found: dict[str, Any]) -> None:
    for key in ("sets", "rejected"):
        _within(list(found.get(key) or ()), [str(entry["fingerprint"]) for entry in options["entries"]], key)


def _folder_as_asked(options: Mapping[str, Any], found: dict[str, Any]) -> None:
    found["folder"] = str(options["folder"])
    names = [str(one["name"]).lower() for one in found.get("sets") or ()]
    if any(problems(name) for name in names) or len(set(names)) < len(names):
        raise Malformed("sets with sound names, none of them twice, are expected")


_AS_ASKED: Mapping[str, Callable[[Mapping[str, Any], dict[str, Any]], None]] = {
    "peer_probe": _probe_as_asked,
    "peer_trust": _trust_as_asked,
    "endpoint": _endpoint_as_asked,
    "name_resolution_info": _resolution_as_asked,
    "shared_client_sets": _shared_as_asked,
    "exchange_folder_info": _folder_as_asked,
    "exchange_folder": _folder_as_asked,
}


def _result(step: Mapping[str, Any], result: Mapping[str, Any]) -> dict[str, Any]:
    """What one step returned, of its shape, and within what it was sent to do."""
    name = str(step["step"])
    try:
        found: dict[str, Any] = STEPS[name](result)
        if name in _AS_ASKED:
            _AS_ASKED[name](step["options"], found)
    except Malformed as error:
        raise Malformed(f"{name}: {error}") from None
    return {"step": name, **found}


def malformed(server: str, why: str) -> EsyncError:
    """The error by which a host fails that returned something else than a visit returns."""
    return EsyncError(
        f"what it returned is not what a visit returns ({why}), so nothing of it is used",
        "Check the host: something on it changes the results of modules. If it is sound, report this line",
        kind="malformed_result",
        server=server,
    )


def parse(
    server: str, sent_steps: Sequence[Mapping[str, Any]], reply: Mapping[str, Any]
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """What one host returned from a visit.

    :param server: its server name.
    :param sent_steps: the steps that it was sent, in order, each with its options.
    :param reply: the module's result.
    :returns: the results of its steps, each with ``step``; and the errors by which the visit ended, if it did.
    :raises EsyncError: kind ``malformed_result``: what came back is not what a visit returns.
    """
    results = reply.get("results") or []
    try:
        if not isinstance(results, Sequence) or len(results) > len(sent_steps):
            raise Malformed("there are more results than steps")
        found = []
        for step, result in zip(sent_steps, results):
            if not isinstance(result, Mapping) or result.get("step") != step["step"]:
                raise Malformed(f"the result of {step['step']} is not where it belongs")
            if result.get("skipped") is True:
                found.append({"step": step["step"], "skipped": True})
            else:
                found.append(_result(step, result))
        errors = items(_error_of(reply), 10_000)(_said(reply))
        if not errors and len(results) < len(sent_steps):
            raise Malformed("results are missing, and no error says why")
    except Malformed as error:
        raise malformed(server, str(error)) from None
    return found, errors


def _said(reply: Mapping[str, Any]) -> Any:
    return reply.get("errors") or ([reply["error"]] if reply.get("error") else [])


def _error_of(reply: Mapping[str, Any]) -> Shape:
    """An error; of an unexpected one a host returns only its kind, and what it is in the message of the result."""

    def parse(value: Any) -> dict[str, Any]:
        known = {"cause": reply.get("msg") or "it ended with an error", "remedy": ""}
        found: dict[str, Any] = _ERROR({**known, **value} if isinstance(value, Mapping) else value)
        return found

    return parse


def diffs(reply: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What the steps of a visit would show in diff mode, as :func:`parse` has accepted their results."""
    found = []
    for one in reply.get("results") or ():
        if isinstance(one.get("diff"), Mapping):
            with contextlib.suppress(Malformed):
                found.append(DIFF(one["diff"]))
    return found


def message_of(error: Mapping[str, Any]) -> str:
    """One error as a host returned it, as a sentence."""
    place = ": ".join(str(error[key]) for key in ("server", "path") if error.get(key))
    cause = f"{place}: {error.get('cause', '')}" if place else str(error.get("cause", ""))
    return f"{cause.rstrip('.')}. {str(error.get('remedy', '')).rstrip('.')}.".replace(" .", "").strip()
