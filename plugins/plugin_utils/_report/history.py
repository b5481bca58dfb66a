# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The last runs: what each changed against the one before, and since when each failing pair fails.

``history.json`` lies with the reports and not in the ledger: every run that tests pairs changes it, and the ledger is
made to be committed to git. It holds at most RUN_LIMIT runs and FAILING_LIMIT failing pairs, however large the mesh.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from ansible_collections.esync.mesh.plugins.module_utils._core.errors import EsyncError
from ansible_collections.esync.mesh.plugins.plugin_utils._report.model import (
    FAILED,
    OK,
    OUTSIDE,
    UNTESTED,
    Mesh,
)

FILE = "history.json"
VERSION = 1
RUN_LIMIT = 50
FAILING_LIMIT = 4000
"""More failing pairs are counted, and not remembered: one dead server of 1,000 has 1,998."""
NAMED_LIMIT = 10
"""So many names of a change are kept; all are counted."""
BYTE_LIMIT = 4 << 20

_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ\Z")
_TEXT_LIMIT = 300

Key = tuple[str, str, str]
"""Caller, called server and its site, which is empty if it has none."""


@dataclass(frozen=True)
class Change:
    """Some servers or pairs. :param count: how many. :param names: the first of them."""

    count: int = 0
    names: tuple[str, ...] = ()


@dataclass(frozen=True)
class PastRun:
    """One run. :param at: UTC. :param began: pairs that fail since it. :param replaced: whose certificates are new."""

    at: str
    operation: str
    servers: int
    ok: int
    failed: int
    untested: int
    not_in_run: int
    began: Change = Change()
    recovered: Change = Change()
    replaced: Change = Change()
    added: Change = Change()
    removed: Change = Change()


@dataclass(frozen=True)
class History:
    """What is remembered.

    :param runs: the newest last. :param certificates: of the last run: server to what identifies its certificates.
    :param failing: pair to when it began to fail. :param complete: whether those are all.
    """

    runs: tuple[PastRun, ...] = ()
    certificates: Mapping[str, str] = field(default_factory=dict)
    failing: Mapping[Key, str] = field(default_factory=dict)
    complete: bool = True


def after(before: History, mesh: Mesh, now: str) -> History:
    """The history with one more run.

    :param now: UTC.
    """
    wrong = [(pair.source, pair.target, pair.site or "") for pair in mesh.wrong]
    # What was known of a pair that this run was not to test stays.
    still = {key: before.failing[key] for key in _not_in_run(mesh, before.failing)}
    failing = {key: before.failing.get(key, now) for key in wrong}
    known = {server.name for server in mesh.servers}
    # A pair of a server that is no longer there did not recover.
    gone = [key for key in before.failing if key not in failing and key not in still]
    recovered = [_label(key) for key in gone if {key[0], key[1]} <= known]
    # What is not remembered completely cannot be compared, and a first run has nothing to be compared with.
    first = not before.runs
    began = [_label(key) for key in wrong if key not in before.failing] if before.complete and not first else []
    kept = {**failing, **still}
    certificates = {name: mesh.certificates.get(name) or before.certificates.get(name, "") for name in known}
    replaced = sorted(name for name, one in certificates.items() if before.certificates.get(name, one) not in ("", one))
    outside = mesh.pairs.count(OUTSIDE)
    run = PastRun(
        now,
        mesh.operation,
        len(mesh.servers),
        mesh.count(OK),
        mesh.count(FAILED),
        mesh.count(UNTESTED) - outside,
        outside,
        _change(began),
        _change(recovered),
        _change(replaced),
        _change([] if first else sorted(known - set(before.certificates))),
        _change([] if first else sorted(set(before.certificates) - known)),
    )
    return History(
        (*before.runs, run)[-RUN_LIMIT:],
        certificates,
        dict(list(kept.items())[:FAILING_LIMIT]),
        len(kept) <= FAILING_LIMIT,
    )


def _not_in_run(mesh: Mesh, keys: Iterable[Key]) -> list[Key]:
    """Those of the pairs that this run was not to test."""
    names = [server.name for server in mesh.servers]
    rows = {name: number for number, name in enumerate(names)}
    columns = mesh.pairs.table.columns
    places = {(names[column.target], column.site or ""): place for place, column in enumerate(columns)}
    found = []
    for key in keys:
        row, place = rows.get(key[0]), places.get(key[1:])
        if row is not None and place is not None and mesh.pairs.row(row)[place] == ord(OUTSIDE):
            found.append(key)
    return found


def _label(key: Key) -> str:
    source, target, site = key
    return f"{source} -> {target} [{site}]" if site else f"{source} -> {target}"


def _change(names: list[str]) -> Change:
    return Change(len(names), tuple(names[:NAMED_LIMIT]))


def render(history: History) -> str:
    """The content of the file: a line for each run and for each time since when pairs fail."""
    since: dict[str, list[Key]] = {}
    for key, when in history.failing.items():
        since.setdefault(when, []).append(key)
    lines = [
        f' "version": {VERSION}',
        f' "runs": {_lines([asdict(run) for run in history.runs])}',
        f' "certificates": {_dump(dict(history.certificates))}',
        f' "failing": {_lines([{"since": when, "pairs": keys} for when, keys in since.items()])}',
        f' "failing_complete": {_dump(history.complete)}',
    ]
    return "{\n" + ",\n".join(lines) + "\n}\n"


def _lines(values: list[Any]) -> str:
    return "[\n  " + ",\n  ".join(map(_dump, values)) + "\n ]" if values else "[]"


def _dump(value: Any) -> str:
    return json.dumps(value)


# -- reading, with the suspicion that every file of the control node deserves -------------------------------------


def parse(text: str | None, path: str) -> History:
    """What the file holds.

    :param text: None: there is none yet.
    :raises EsyncError: kind ``control_node_file``.
    """
    if text is None:
        return History()
    try:
        return _history(json.loads(text))
    except (ValueError, KeyError, TypeError, RecursionError):
        raise EsyncError(
            "it is no history of runs as this collection writes it, so this run is not added to it",
            "Correct it, or move it away to begin a new one; nothing else depends on it",
            kind="control_node_file",
            path=path,
        ) from None


def _history(data: Any) -> History:
    if data["version"] != VERSION:
        raise ValueError("another version")
    failing = {
        _key(pair): _time(one["since"]) for one in _list(data["failing"], FAILING_LIMIT) for pair in _list(one["pairs"])
    }
    if len(failing) > FAILING_LIMIT or not isinstance(data["failing_complete"], bool):
        raise ValueError("too much")
    certificates = {_text(name): _text(one) for name, one in dict(data["certificates"]).items()}
    return History(tuple(map(_run, _list(data["runs"], RUN_LIMIT))), certificates, failing, data["failing_complete"])


def _run(data: Any) -> PastRun:
    return PastRun(**{name: read(data[name]) for name, read in _FIELDS.items()})


def _read_change(data: Any) -> Change:
    return Change(_count(data["count"]), tuple(map(_text, _list(data["names"], NAMED_LIMIT))))


def _key(value: Any) -> Key:
    source, target, site = _list(value, 3)
    return _text(source), _text(target), _text(site)


def _list(value: Any, limit: int = FAILING_LIMIT) -> list[Any]:
    if not isinstance(value, list) or len(value) > limit:
        raise ValueError("no list")
    return value


def _text(value: Any) -> str:
    if not isinstance(value, str) or len(value) > 2 * _TEXT_LIMIT:
        raise ValueError("no text")
    return value


def _time(value: Any) -> str:
    if not _TIME.match(_text(value)):
        raise ValueError("no time")
    return str(value)


def _count(value: Any) -> int:
    # True and false are integers, too.
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= 1 << 40:
        raise ValueError("no number")
    return value


_FIELDS: Mapping[str, Callable[[Any], Any]] = {
    "at": _time,
    "operation": _text,
    **dict.fromkeys(("servers", "ok", "failed", "untested", "not_in_run"), _count),
    **dict.fromkeys(("began", "recovered", "replaced", "added", "removed"), _read_change),
}
"""What the file has of a run, and how each of it is read."""
