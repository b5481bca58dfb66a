# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The data of ``mesh.html`` from which its script draws the matrix and the list of pairs."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from ansible_collections.esync.mesh.plugins.plugin_utils._report.grouping import CauseGroup
from ansible_collections.esync.mesh.plugins.plugin_utils._report.model import CODES, OK, OUTSIDE, SELF, Mesh, ReportPair
from ansible_collections.esync.mesh.plugins.plugin_utils._wording import REPLACED_CONTROLS

_FROM, _TO, _PLACE = "\x01", "\x02", "\x03"
# What can be a name or an address, without the full stop of the sentence.
_NAME = re.compile(r"[\w-]+(?:\.+[\w-]+)*")


def page_data(mesh: Mesh, groups: Sequence[CauseGroup]) -> dict[str, Any]:
    """All pairs in little room: 200 servers have 39,800, 1,000 have 999,000.

    A pair is a character of ``codes``. Texts stand once each, with the names of the pair taken out. What most pairs of
    a server have in common (its fingerprints, the TLS version) stands once; a pair only has a record if it differs, and
    pairs with equal records share one. The pairs of a server's sites are in one cell, which has the worst code;
    ``sites`` has them all. Beyond 200 servers there are no times, and records only of pairs that fail the run.
    ``assets/page.js`` reads it back.
    """
    names = [server.name for server in mesh.servers]
    place = {name: index for index, name in enumerate(names)}
    data = _Data(mesh, groups)
    for row in range(len(names)):
        data.add_row(row)
    return {
        "names": names,
        "places": [server.address for server in mesh.servers],
        "codes": data.codes,
        "times": data.times,
        "tls": data.number(data.usual_tls),
        "serves": [data.number(one) for one in data.usual_served],
        "presents": [data.number(one) for one in data.usual_presented],
        "sites": data.sites,
        "records": [[*record, _steps(where)] for record, where in data.records.items()],
        "blamed": sorted({place[name] for group in groups for name in group.servers}),
        "strings": list(data.strings),
    }


class _Data:
    """Collects the data row by row."""

    def __init__(self, mesh: Mesh, groups: Sequence[CauseGroup]) -> None:
        self.mesh = mesh
        self.size = len(mesh.servers)
        self.strings: dict[str, int] = {"": 0}
        self.codes: list[str] = []
        self.times: list[list[float]] = []
        self.sites: list[list[Any]] = []
        self.records: dict[tuple[int, ...], list[int]] = {}
        table, width, text = mesh.pairs.table, mesh.pairs.width, mesh.pairs.table.strings
        special = list(mesh.wrong_at.values())
        served = [Counter[int]() for _server in mesh.servers]
        for number, column in enumerate(table.columns):
            served[column.target].update(table.served[number::width])
        presented = [Counter(table.presented[row * width : (row + 1) * width]) for row in range(self.size)]
        self.usual_tls = _usual(Counter(table.tls), text, [pair.tls for pair in special])
        # Of a server with which nothing is ok, what is seen in what failed.
        seen: dict[str, list[str | None]] = {}
        shown: dict[str, list[str | None]] = {}
        for pair in special:
            seen.setdefault(pair.target, []).append(pair.server_fingerprint)
            shown.setdefault(pair.source, []).append(pair.client_fingerprint)
        names = [server.name for server in mesh.servers]
        self.usual_served = [_usual(one, text, seen.get(name, ())) for name, one in zip(names, served)]
        self.usual_presented = [_usual(one, text, shown.get(name, ())) for name, one in zip(names, presented)]
        group_of = {id(pair): index for index, group in enumerate(groups) for pair in group.pairs}
        self.group_at = {index: group_of.get(id(pair), -1) for index, pair in mesh.wrong_at.items()}

    def number(self, text: str | None) -> int:
        return self.strings.setdefault(text or "", len(self.strings))

    def add_row(self, row: int) -> None:
        """The pairs that a server calls."""
        pairs = self.mesh.pairs
        codes, width = pairs.row(row), pairs.width
        simple = width == self.size
        if simple:
            self.codes.append(codes.decode())
        else:
            self.codes.append(
                "".join(pairs.cell(row, target) if target != row else SELF for target in range(self.size))
            )
        times: list[float] = []
        self.times.append(times)
        cells = set()
        for place, column in enumerate(pairs.table.columns):
            code = chr(codes[place])
            if code == SELF or (self.mesh.large and code in (CODES[OK], OUTSIDE) and column.site is None):
                continue
            pair = pairs.at(row * width + place)
            if column.target not in cells and not self.mesh.large:
                times.append(_short(pair.handshake_ms))
            cells.add(column.target)
            self._add(pair, row, column.target, self.group_at.get(row * width + place, -1))

    def _add(self, pair: ReportPair, row: int, target: int, group: int) -> None:
        strip = _stripper(pair.source, pair.target, self.mesh.servers[target].address)
        record = (
            self.number(pair.cause),
            self.number(pair.title),
            self.number(strip(pair.detail)),
            self.number(strip(pair.remedy)),
            self._unless(self.usual_tls, pair.tls),
            self._unless(self.usual_served[target], pair.server_fingerprint),
            self._unless(self.usual_presented[row], pair.client_fingerprint),
            group,
        )
        where = row * self.size + target
        if pair.site:
            self.sites.append([where, self.number(pair.site), pair.code, _short(pair.handshake_ms), *record])
        elif record != (0, 0, 0, 0, -1, -1, -1, -1):
            self.records.setdefault(record, []).append(where)

    def _unless(self, usual: str | None, text: str | None) -> int:
        return -1 if text == usual else self.number(text)


def _usual(counts: Counter[int], text: Sequence[str | None], others: Iterable[str | None]) -> str | None:
    """What most have. :param counts: numbers of texts. :param others: more of them."""
    found: Counter[str | None] = Counter(others)
    for number, count in counts.items():
        found[text[number]] += count
    found.pop(None, None)
    return max(found, key=lambda one: found[one], default=None)


def _short(milliseconds: float | None) -> float:
    """-1 for none; an integer without its point."""
    if milliseconds is None:
        return -1
    return int(milliseconds) if milliseconds == int(milliseconds) else round(milliseconds, 1)


def _steps(numbers: Sequence[int]) -> list[int]:
    return [number - before for before, number in zip([0, *numbers], numbers)]


def _stripper(source: str, target: str, address: str) -> Callable[[str], str]:
    """Takes the pair's own names out of a text, so that the texts of most pairs are the same."""
    marks: Mapping[str, str] = {address: _PLACE, target: _TO, source: _FROM}

    def strip(text: str) -> str:
        if any(mark in text for mark in (_FROM, _TO, _PLACE)):
            # A text that holds a mark itself would come back as another; this one stays, its marks made visible.
            return REPLACED_CONTROLS.sub(chr(0xFFFD), text)
        if ":" in address:
            text = text.replace(address, _PLACE)
        return _NAME.sub(lambda match: marks.get(match[0], match[0]), text)

    return strip
