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
from collections.abc import Collection, Iterable, Mapping
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
from ansible_collections.esync.mesh.plugins.plugin_utils._shapes import (
    flag,
    items,
    mapping,
    matching,
    record,
    text,
    whole,
)
from ansible_collections.esync.mesh.plugins.plugin_utils._wording import pair_label

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
    failing = {key: before.failing.get(key, now) for key in wrong}
    # What was known of a pair that this run was not to test stays.
    failing.update({key: before.failing[key] for key in _not_in_run(mesh, before.failing)})
    certificates = {
        server.name: mesh.certificates.get(server.name) or before.certificates.get(server.name, "")
        for server in mesh.servers
    }
    outside = mesh.pairs.count(OUTSIDE)
    run = PastRun(
        now,
        mesh.operation,
        len(mesh.servers),
        mesh.count(OK),
        mesh.count(FAILED),
        mesh.count(UNTESTED) - outside,
        outside,
        # A first run has nothing to be compared with.
        **_changes(before, certificates, wrong, failing) if before.runs else {},
    )
    return History(
        (*before.runs, run)[-RUN_LIMIT:],
        certificates,
        dict(list(failing.items())[:FAILING_LIMIT]),
        len(failing) <= FAILING_LIMIT,
    )


def _changes(
    before: History, certificates: Mapping[str, str], wrong: Iterable[Key], failing: Collection[Key]
) -> dict[str, Change]:
    """What a run found that the one before did not.

    :param certificates: as this run knows them. :param wrong: the pairs that failed. :param failing: with those that it
        was not to test.
    """
    # What is not remembered completely cannot be compared.
    began = [key for key in wrong if key not in before.failing] if before.complete else []
    # A pair of a server that is no longer there did not recover.
    recovered = [key for key in before.failing if key not in failing and {*key[:2]} <= certificates.keys()]
    replaced = [name for name, one in certificates.items() if before.certificates.get(name, one) not in ("", one)]
    return {
        "began": _change([pair_label(*key) for key in began]),
        "recovered": _change([pair_label(*key) for key in recovered]),
        "replaced": _change(sorted(replaced)),
        "added": _change(sorted(certificates.keys() - before.certificates.keys())),
        "removed": _change(sorted(before.certificates.keys() - certificates.keys())),
    }


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

_NAME = text(2 * _TEXT_LIMIT)
_AT = matching(_TIME, "a time")
_COUNT = whole(0, 1 << 40, "a count")
_CHANGE = record("count names", count=_COUNT, names=items(_NAME, NAMED_LIMIT))
_COUNTS = ("servers", "ok", "failed", "untested", "not_in_run")
_CHANGES = ("began", "recovered", "replaced", "added", "removed")
_RUN = record(
    " ".join(("at", "operation", *_COUNTS, *_CHANGES)),
    at=_AT,
    operation=_NAME,
    **dict.fromkeys(_COUNTS, _COUNT),
    **dict.fromkeys(_CHANGES, _CHANGE),
)
_FILE = record(
    "version runs certificates failing failing_complete",
    version=whole(VERSION, VERSION, "this version"),
    runs=items(_RUN, RUN_LIMIT),
    certificates=mapping(_NAME, _NAME),
    failing=items(record("since pairs", since=_AT, pairs=items(items(_NAME, 3), FAILING_LIMIT)), FAILING_LIMIT),
    failing_complete=flag,
)


def parse(text: str | None, path: str) -> History:
    """What the file holds.

    :param text: None: there is none yet.
    :raises EsyncError: kind ``control_node_file``.
    """
    if text is None:
        return History()
    try:
        return _history(_FILE(json.loads(text)))
    except (ValueError, RecursionError):
        raise EsyncError(
            "it is no history of runs as this collection writes it, so this run is not added to it",
            "Correct it, or move it away to begin a new one; nothing else depends on it",
            kind="control_node_file",
            path=path,
        ) from None


def _history(data: Mapping[str, Any]) -> History:
    failing: dict[Key, str] = {}
    for one in data["failing"]:
        for source, target, site in one["pairs"]:
            failing[source, target, site] = one["since"]
    if len(failing) > FAILING_LIMIT:
        raise ValueError("too much")
    return History(tuple(map(_run, data["runs"])), data["certificates"], failing, data["failing_complete"])


def _run(data: Mapping[str, Any]) -> PastRun:
    changes = {name: Change(data[name]["count"], tuple(data[name]["names"])) for name in _CHANGES}
    return PastRun(**{**data, **changes})
