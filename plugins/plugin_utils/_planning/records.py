# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a host returns, made into records of that host alone: the one place where it enters the control node.

Every step has a shape. What the shape does not name is dropped, whatever it is called; what it names has to be of its
type, within its size, or the whole visit counts as failed. Nothing here depends on what other hosts say.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ansible_collections.esync.mesh.plugins.module_utils._core.errors import EsyncError
from ansible_collections.esync.mesh.plugins.module_utils._core.names import CLIENT, ROLES, SERVER, STATES

Shape = Callable[[Any], Any]

_LIMIT = 100_000
"""Items of one list or mapping: a server of a mesh of some ten thousand returns less."""
_TEXT = 4096
_PEM = 24_000
_PAYLOAD = 200_000
_FINGERPRINT = re.compile(r"[0-9a-f]{64}\Z")
_ID = re.compile(r"[A-Za-z0-9-]{1,100}\Z")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


class Malformed(ValueError):
    """A value that is not of its shape. The text names the place, never the value."""


def text(limit: int = _TEXT) -> Shape:
    """A text; control characters in it become question marks, for it is printed."""

    def parse(value: Any) -> str:
        if not isinstance(value, str) or len(value) > limit:
            raise Malformed(f"a text of at most {limit} characters is expected")
        return _CONTROL.sub("?", value)

    return parse


def matching(pattern: re.Pattern[str], what: str) -> Shape:
    """A text of one form."""

    def parse(value: Any) -> str:
        if not isinstance(value, str) or not pattern.match(value):
            raise Malformed(f"{what} is expected")
        return value

    return parse


def flag(value: Any) -> bool:
    """True or false."""
    if not isinstance(value, bool):
        raise Malformed("true or false is expected")
    return value


def number(value: Any) -> float:
    """A finite number."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise Malformed("a number is expected")
    return value


def one_of(*choices: str) -> Shape:
    """One of these texts."""

    def parse(value: Any) -> str:
        if not isinstance(value, str) or value not in choices:
            raise Malformed(f"one of {', '.join(choices)} is expected")
        return value

    return parse


def optional(shape: Shape) -> Shape:
    """This, or nothing."""
    return lambda value: None if value is None else shape(value)


def items(shape: Shape, limit: int = _LIMIT) -> Shape:
    """A list of these."""

    def parse(value: Any) -> list[Any]:
        if not isinstance(value, Sequence) or isinstance(value, (str, bytes)) or len(value) > limit:
            raise Malformed(f"a list of at most {limit} is expected")
        return [shape(one) for one in value]

    return parse


def mapping(key: Shape, shape: Shape, limit: int = _LIMIT) -> Shape:
    """A mapping of these keys to these values."""

    def parse(value: Any) -> dict[Any, Any]:
        if not isinstance(value, Mapping) or len(value) > limit:
            raise Malformed(f"a mapping of at most {limit} is expected")
        return {key(name): shape(one) for name, one in value.items()}

    return parse


def record(**shapes: Shape) -> Shape:
    """A mapping with these keys, each of its shape, and no other; what is not there is left out."""

    def parse(value: Any) -> dict[str, Any]:
        if not isinstance(value, Mapping):
            raise Malformed("a mapping is expected")
        found = {}
        for name, shape in shapes.items():
            if name in value:
                try:
                    found[name] = shape(value[name])
                except Malformed as error:
                    raise Malformed(f"{name}: {error}") from None
        return found

    return parse


fingerprint = matching(_FINGERPRINT, "a SHA-256 fingerprint")
_STATE = one_of(*STATES)
_ROLE = one_of(*ROLES)
_ERROR = record(kind=text(100), cause=text(), remedy=text(), server=optional(text(100)), path=optional(text()))
_CERTIFICATE = record(
    role=_ROLE,
    fingerprint=fingerprint,
    subject=text(200),
    not_before=text(40),
    not_after=text(40),
    alt_names=items(text(300), 1000),
    pem=text(_PEM),
)
# A PEM text has line ends, which stay; facts beyond those that the ledger knows are of no use here.
_GENERATION = record(
    id=matching(_ID, "the id of a generation"), state=_STATE, **{SERVER: _CERTIFICATE, CLIENT: _CERTIFICATE}
)
_TRUST = record(
    digest=text(64),
    entries=items(record(peer=text(100), role=_ROLE, state=_STATE, fingerprint=fingerprint)),
)
_SHARED = record(
    digest=text(64),
    withdrawn=flag,
    entries=items(record(peer=text(100), state=_STATE, fingerprint=fingerprint)),
)
_SET = {
    "changed": flag,
    "generations": items(_GENERATION, 3),
    "reasons": items(text(100), 100),
    "due": items(text(100), 100),
    "repaired": items(text(), 1000),
    "trust": optional(_TRUST),
    "shared": optional(_SHARED),
    "clock": number,
    "rotation": optional(record(holder=text(300), since=text(60), id=text(60))),
    "product_version": optional(text(200)),
    "product_version_problem": optional(_ERROR),
}
_RESULT = {
    "to": text(100),
    "site": optional(text(100)),
    "verdict": one_of("ok", "failed", "untested"),
    "cause": optional(text(100)),
    "detail": optional(text()),
    "remedy": optional(text()),
}
_PAIR = record(
    **_RESULT,
    handshake_ms=optional(number),
    tls=optional(text(40)),
    server_fingerprint=optional(fingerprint),
    client_fingerprint=optional(fingerprint),
    served_subject=optional(text(300)),
)

STEPS: Mapping[str, Shape] = {
    "certificate_set": record(**_SET),
    "certificate_info": record(
        **_SET,
        problems=items(_ERROR, 10_000),
        modes=mapping(text(), record(found=text(10), wanted=text(10)), 10_000),
        readable=flag,
        clock_skew=optional(number),
        directory=text(),
    ),
    "peer_trust": record(changed=flag, digest=text(64), added=items(text(200)), removed=items(text(200))),
    "endpoint": record(
        changed=flag,
        reasons=items(text(200), 100),
        served=optional(fingerprint),
        sites=mapping(text(100), optional(fingerprint), 1000),
    ),
    "probe_listener": record(changed=flag, pid=number, address=text(100), port=number, fingerprint=fingerprint),
    "peer_probe": record(
        changed=flag,
        results=items(_PAIR),
        refusals=items(record(**_RESULT, present=text(60))),
        clusters=items(
            record(
                cluster=text(100),
                answered=mapping(text(100), number, 1000),
                **{key: shape for key, shape in _RESULT.items() if key not in ("to", "site")},
            ),
            10_000,
        ),
    ),
    "shared_client_sets": record(changed=flag, sets=mapping(fingerprint, text(_PAYLOAD), 10)),
    "exchange_folder_info": record(
        changed=flag,
        folder=text(),
        fingerprints=items(text()),
        sets=items(
            record(
                name=text(100), address=optional(text(300)), port=optional(number), generations=items(_GENERATION, 3)
            )
        ),
    ),
    "exchange_folder": record(changed=flag, folder=text(), fingerprints=items(text())),
}
"""Step to the shape of what it returns."""


def parse(
    server: str, asked: Sequence[str], reply: Mapping[str, Any]
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """What one host returned from a visit.

    :param server: its server name.
    :param asked: the steps that it was sent, in order.
    :param reply: the module's result.
    :returns: the results of its steps, each with ``step``; and the errors by which the visit ended, if it did.
    :raises EsyncError: kind ``malformed_result``: what came back is not what a visit returns.
    """
    results = reply.get("results") or []
    try:
        if not isinstance(results, Sequence) or len(results) > len(asked):
            raise Malformed("there are more results than steps")
        found = []
        for step, result in zip(asked, results):
            if not isinstance(result, Mapping) or result.get("step") != step:
                raise Malformed(f"the result of {step} is not where it belongs")
            if result.get("skipped") is True:
                found.append({"step": step, "skipped": True})
                continue
            try:
                found.append({"step": step, **STEPS[step](result)})
            except Malformed as error:
                raise Malformed(f"{step}: {error}") from None
        errors = items(_ERROR, 10_000)(reply.get("errors") or ([reply["error"]] if reply.get("error") else []))
    except Malformed as error:
        raise EsyncError(
            f"what it returned is not what a visit returns ({error}), so nothing of it is used",
            "Check the host: something on it changes the results of modules. If it is sound, report this line",
            kind="malformed_result",
            server=server,
        ) from None
    return found, errors


def told(error: Mapping[str, Any]) -> str:
    """One error as a host returned it, as a sentence."""
    place = ": ".join(str(error[key]) for key in ("server", "path") if error.get(key))
    cause = f"{place}: {error.get('cause', '')}" if place else str(error.get("cause", ""))
    return f"{cause.rstrip('.')}. {str(error.get('remedy', '')).rstrip('.')}.".replace(" .", "").strip()
