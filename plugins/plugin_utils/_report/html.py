# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""``mesh.html``: one file that needs nothing else, neither a network nor a server.

What a reader must see without a script (the verdict, what is wrong, what is owed, the servers) is made here; the matrix
and the list of pairs are drawn by ``assets/page.js`` from data that stand in the page. Whatever comes from outside is
text: escaped here, and only ever set as ``textContent`` there. The content security policy allows the page's own script
and style by their digests, and nothing else at all.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from html import escape
from pathlib import Path
from typing import Any

from ansible_collections.esync.mesh.plugins.module_utils._connection.causes import CAUSES
from ansible_collections.esync.mesh.plugins.plugin_utils._inventory.clusters import ClusterCall, tallies, wrong_groups
from ansible_collections.esync.mesh.plugins.plugin_utils._report.findings import FAULT, NOT_JUDGED, NOTE, Problem
from ansible_collections.esync.mesh.plugins.plugin_utils._report.model import (
    FAILED,
    NOT_REFUSED,
    OK,
    UNTESTED,
    CauseGroup,
    Mesh,
    ProblemGroup,
    ReportServer,
    WrongAcceptance,
    ailments_of,
    cost_lines,
    let_in_of,
    title_of,
    troubles_of,
    verdict,
)
from ansible_collections.esync.mesh.plugins.plugin_utils._report.prometheus import seconds_of
from ansible_collections.esync.mesh.plugins.plugin_utils._report.wording import few

ASSETS = Path(__file__).with_name("assets")
DAY = 86400
WARN_DAYS = 31
"""A certificate that ends within a month is shown as such."""

_CODES = {OK: "+", FAILED: "x", UNTESTED: "?"}
_OUTSIDE, _SELF = ".", "-"
_WORST = "x?.+"
_STATES = {
    "ok": "took part",
    "unreachable": "unreachable",
    "failed": "failed earlier",
    "not_in_run": "not in this run",
    "unreadable": "keys not readable",
}
SEEN_LIMIT = 8
_SEVERITIES = {FAULT: "failed", NOTE: "late", NOT_JUDGED: "untested"}
# What a browser would drop, change or obey in a text; the script does the same to its texts.
_CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")


def document(mesh: Mesh, generated_at: str) -> str:
    """The content of ``mesh.html``.

    :param generated_at: UTC; what ends soon is judged by it.
    """
    style, script = (_asset(name) for name in ("page.css", "page.js"))
    troubles = troubles_of(mesh.wrong)
    policy = (
        f"default-src 'none'; style-src '{_digest(style)}'; script-src '{_digest(script)}'; "
        "base-uri 'none'; form-action 'none'"
    )
    now = seconds_of(generated_at) or 0
    return "\n".join(
        [
            "<!DOCTYPE html>",
            '<html lang="en">',
            "<head>",
            '<meta charset="utf-8">',
            f'<meta http-equiv="Content-Security-Policy" content="{policy}">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            '<meta name="referrer" content="no-referrer">',
            '<meta name="color-scheme" content="light dark">',
            f"<title>{escape(verdict(mesh))} eSync mesh</title>",
            f"<style>{style}</style>",
            "</head>",
            "<body>",
            _SYMBOLS,
            _head(mesh, generated_at, now),
            "<main>",
            *(f'<p class="cost">{escape(line)}</p>' for line in cost_lines(mesh)),
            _troubles(troubles, let_in_of(mesh), mesh.wrong_connections),
            _asset("matrix.html"),
            _clusters(mesh),
            _debts(mesh),
            _servers(mesh, now),
            "</main>",
            f'<script type="application/json" id="data">{_json(_data(mesh, troubles))}</script>',
            f"<script>{script}</script>",
            "</body>",
            "</html>",
            "",
        ]
    )


@lru_cache(maxsize=None)
def _asset(name: str) -> str:
    return (ASSETS / name).read_text(encoding="utf-8")


def _digest(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode('utf-8')).digest()).decode('ascii')}"


def _json(data: Any) -> str:
    # In a script element only "<" can do harm; without ">" and "&" it stays safe wherever somebody copies it to.
    # Everything beyond ASCII is escaped already, U+2028 and U+2029 and lone surrogates among it.
    text = json.dumps(data, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _text(text: str) -> str:
    """A text from outside: shown as it is, and unable to turn the text around it (bidirectional marks)."""
    return f"<bdi>{escape(_CONTROLS.sub(chr(0xFFFD), text))}</bdi>"


def _sign(kind: str) -> str:
    if not kind:
        return ""
    return f'<svg class="sign {kind}" aria-hidden="true"><use href="#sign-{kind}"/></svg>'


# -- what stands in the page without a script -----------------------------------------------------------------

# The shapes of the matrix, once: a verdict is told by its shape as well as by its colour.
_SYMBOLS = """<svg width="0" height="0" class="symbols" aria-hidden="true">
<symbol id="sign-ok" viewBox="0 0 10 10"><circle class="fill" cx="5" cy="5" r="2.4"/></symbol>
<symbol id="sign-failed" viewBox="0 0 10 10"><rect class="fill" x=".5" y=".5" width="9" height="9" rx="1"/>\
<path class="line" d="M3 3L7 7M7 3L3 7"/></symbol>
<symbol id="sign-untested" viewBox="0 0 10 10"><path class="fill" d="M5 .3L9.7 5L5 9.7L.3 5Z"/></symbol>
<symbol id="sign-outside" viewBox="0 0 10 10"><rect class="fill" x="2.5" y="4.4" width="5" height="1.2"/></symbol>
<symbol id="sign-late" viewBox="0 0 10 10"><path class="fill" d="M5 .6L9.8 9.4H.2Z"/>\
<path class="line" d="M5 3.6V6.4M5 7.6V8.4"/></symbol>
</svg>"""


def _head(mesh: Mesh, generated_at: str, now: int) -> str:
    # Neither good nor bad: what was tested works, but a part of the mesh was not in the run.
    kind = "ok" if mesh.count(OK) == mesh.expected and not mesh.faults else "part"
    kind = "failed" if mesh.wrong or mesh.let_in or mesh.wrong_connections else kind
    shown = generated_at.replace("T", " ").replace("Z", " UTC")
    late = sum(_ends_soon(server, now) for server in mesh.servers)
    outside = sum(not pair.in_scope for pair in mesh.pairs)
    figures = [
        ("servers", len(mesh.servers), ""),
        ("pairs ok", mesh.count(OK), "ok"),
        ("failed", mesh.count(FAILED), "failed"),
        ("untested", mesh.count(UNTESTED) - outside, "untested"),
        ("not in this run", outside, "outside"),
        ("calls to clusters not ok", len(mesh.wrong_connections), "failed"),
        ("let somebody in", len({refusal.target for refusal in mesh.let_in}), "failed"),
        ("with problems", len({problem.server for problem in mesh.problems}), "late"),
        ("with debts", len({debt.server for debt in mesh.debts}), ""),
        (f"end within {WARN_DAYS} days", late, "late"),
    ]
    always = ("servers", "pairs ok", "failed", "untested")
    cells = [
        f'<div class="{"" if count else "zero"}"><dt>{_sign(sign)}{label}</dt><dd>{count:,}</dd></div>'
        for label, count, sign in figures
        if count or label in always
    ]
    return "\n".join(
        [
            f'<header class="{kind}">',
            f'<p class="kicker">eSync mesh <span>tested <time datetime="{escape(generated_at)}">{escape(shown)}'
            "</time></span></p>",
            f"<h1>{escape(verdict(mesh))}</h1>",
            f"<dl>{''.join(cells)}</dl>",
            "</header>",
        ]
    )


def _troubles(
    troubles: Sequence[CauseGroup], let_in: Sequence[WrongAcceptance], calls: Sequence[ClusterCall] = ()
) -> str:
    if not troubles and not let_in and not calls:
        return ""
    items = [_let_in(one) for one in let_in] + [_wrong_calls(group) for group in wrong_groups(calls)]
    items += [_trouble(index, trouble) for index, trouble in enumerate(troubles)]
    return "\n".join(
        [
            '<section aria-labelledby="troubles-title" id="troubles">',
            '<h2 id="troubles-title">What is wrong</h2>',
            "<ol>",
            *items,
            "</ol>",
            "</section>",
        ]
    )


def _explained(title: str, keys: Iterable[str], told: Iterable[str], remedy: str) -> list[str]:
    """The lines that say of something wrong what it is, what was seen, and what to do.

    :param told: what was seen, as HTML.
    """
    names = ", ".join(f"<code>{_text(key)}</code>" for key in keys)
    return [
        f'<p class="title">{_text(title)} <span class="key">{names}</span></p>',
        *told,
        f'<p class="remedy"><b>What to do</b> {_text(remedy)}</p>' if remedy else "",
    ]


def _detail(text: str) -> list[str]:
    return [f"<p>{_text(text)}</p>" if text else ""]


def _let_in(one: WrongAcceptance) -> str:
    return "\n".join(
        [
            "<li>",
            f"<h3>{_sign('failed')}<span>{_text(one.server)}</span></h3>",
            *_explained(CAUSES[NOT_REFUSED].title, [NOT_REFUSED], _detail(one.detail), one.remedy),
            "</li>",
        ]
    )


def _wrong_calls(group: Sequence[ClusterCall]) -> str:
    """A trouble of a cluster, however many call it."""
    first = group[0]
    kind = "failed" if any(one.verdict == FAILED for one in group) else "untested"
    callers = _text(few([one.source for one in group], most=3))
    who = f"{callers} <span class=arrow>→</span> cluster {_text(first.cluster)}"
    many = f' <span class="many">{len(group):,} callers</span>' if len(group) > 1 else ""
    return "\n".join(
        [
            "<li>",
            f"<h3>{_sign(kind)}<span>{who}</span>{many}</h3>",
            *_explained(first.title, [first.cause or first.verdict], _detail(first.detail), first.remedy),
            "</li>",
        ]
    )


def _clusters(mesh: Mesh) -> str:
    if not mesh.clusters:
        return ""
    rows = []
    for tally in tallies(mesh.clusters, mesh.connections):
        cluster, counts = tally.cluster, tally.answered
        place = f"[{cluster.address}]" if ":" in cluster.address else cluster.address
        who = ", ".join(f"{_text(name)} {count:,}" for name, count in counts.items() if count)
        silent = f"{_sign('late')}{', '.join(_text(name) for name in tally.silent)}" if tally.silent else ""
        rows.append(
            f"<tr><th scope=row>{_text(cluster.name)}</th><td>{_text(f'{place}:{cluster.port}')}</td>"
            f"<td>{', '.join(_text(name) for name in cluster.members)}</td><td>{who}</td><td>{silent}</td>"
            f"<td class=number>{tally.ok} of {len(tally.connections)}</td></tr>"
        )
    return "\n".join(
        [
            '<section aria-labelledby="clusters-title" id="clusters">',
            '<h2 id="clusters-title">Load-balanced clusters</h2>',
            '<p class="hint">Called through their balancers by every server outside of them, several times each. '
            "That a member never answered may be the balancer's way; it is proved by itself in the matrix.</p>",
            '<div class="table"><table><thead><tr><th scope=col>Cluster</th><th scope=col>Balancer</th>'
            "<th scope=col>Members</th><th scope=col>Answered</th><th scope=col>Never answered</th>"
            "<th scope=col class=number>Callers ok</th></tr></thead><tbody>",
            *rows,
            "</tbody></table></div>",
            "</section>",
        ]
    )


def _trouble(index: int, trouble: CauseGroup) -> str:
    first = trouble.pairs[0]
    kind = "failed" if any(pair.verdict == FAILED for pair in trouble.pairs) else "untested"
    count = len(trouble.pairs)
    if count == 1:
        who = f"{_text(first.source)} <span class=arrow>→</span> {_text(first.place)}"
    else:
        who = _text(few(trouble.servers, most=3))
    many = f' <span class="many">{count:,} pairs</span>' if count > 1 else ""
    return "\n".join(
        [
            "<li>",
            f"<h3>{_sign(kind)}<span>{who}</span>{many}</h3>",
            *_explained(title_of(first), trouble.causes, _detail(first.detail), first.remedy),
            f'<button type="button" data-trouble="{index}">Show in the matrix</button>',
            "</li>",
        ]
    )


def _debts(mesh: Mesh) -> str:
    if not mesh.debts:
        return ""
    servers: dict[str, list[str]] = {}
    for debt in mesh.debts:
        servers.setdefault(debt.text, []).append(debt.server)
    rows = [
        f"<tr><th scope=row>{', '.join(_text(name) for name in names)}</th><td>{_text(text)}</td></tr>"
        for text, names in servers.items()
    ]
    return "\n".join(
        [
            '<section aria-labelledby="debts-title" id="debts">',
            '<h2 id="debts-title">What is owed</h2>',
            '<p class="hint">Changes that servers which could not be reached have still to receive; the next run over '
            "the whole group delivers them.</p>",
            '<div class="table"><table><thead><tr><th scope=col>Server</th><th scope=col>Owed</th></tr></thead><tbody>',
            *rows,
            "</tbody></table></div>",
            "</section>",
        ]
    )


def _servers(mesh: Mesh, now: int) -> str:
    calls = Counter((pair.source, pair.verdict) for pair in mesh.pairs)
    called = Counter((pair.target, pair.verdict) for pair in mesh.pairs)
    calls_of = Counter(pair.source for pair in mesh.pairs)
    called_of = Counter(pair.target for pair in mesh.pairs)
    own: dict[str, list[Problem]] = {}
    for problem in mesh.problems:
        own.setdefault(problem.server, []).append(problem)
    heading = "<th scope=col>Problems</th>" if own else ""
    order = sorted(mesh.servers, key=lambda server: (seconds_of(server.expires_at) or 1 << 60, server.name))
    rows = []
    for server in order:
        place = f"[{server.address}]" if ":" in server.address else server.address
        trouble = "" if server.state in ("ok", "not_in_run") else _sign("untested")
        cell = f"<td>{_kinds(own.get(server.name, []))}</td>" if own else ""
        rows.append(
            f"<tr><th scope=row>{_text(server.name)}{_sites(server)}</th><td>{_text(f'{place}:{server.port}')}</td>"
            f"<td>{_expiry(server, now)}</td>"
            f"<td>{trouble}{_text(_STATES.get(server.state, server.state))}</td>{cell}"
            f"<td class=number>{calls[server.name, OK]} of {calls_of[server.name]}</td>"
            f"<td class=number>{called[server.name, OK]} of {called_of[server.name]}</td></tr>"
        )
    return "\n".join(
        [
            '<section aria-labelledby="servers-title" id="servers">',
            '<h2 id="servers-title">Servers</h2>',
            *_problems(mesh),
            '<p class="hint">By the end of their certificates, the soonest first.</p>',
            '<div class="table"><table><thead><tr><th scope=col>Server</th><th scope=col>Address</th>'
            f"<th scope=col>Certificates end</th><th scope=col>This run</th>{heading}"
            "<th scope=col class=number>Calls ok</th><th scope=col class=number>Called ok</th></tr></thead><tbody>",
            *rows,
            "</tbody></table></div>",
            "</section>",
        ]
    )


def _sites(server: ReportServer) -> str:
    """The sites that certificates apply to, below the server's name."""
    if not server.sites:
        return ""
    return f" <small>{', '.join(_text(site) for site in server.sites)}</small>"


def _problems(mesh: Mesh) -> list[str]:
    """What is wrong with servers themselves, the same on several once."""
    if not mesh.problems:
        return []
    return ['<ol id="problems">', *(_ailment(ailment) for ailment in ailments_of(mesh.problems)), "</ol>"]


def _ailment(ailment: ProblemGroup) -> str:
    first = ailment.first
    seen = list(dict.fromkeys((one.server, one.path, one.evidence) for one in ailment.problems))
    several = len(ailment.servers) > 1
    rows = []
    for server, path, evidence in seen[:SEEN_LIMIT]:
        parts = [f"<b>{_text(server)}</b>"] if several else []
        parts += [f"<code>{_text(path)}</code>"] if path else []
        parts += [_text(evidence)] if evidence else []
        if parts:
            rows.append(f"<p>{' '.join(parts)}</p>")
    rest = len(seen) - SEEN_LIMIT
    rows.append(f"<p>and {rest:,} more; mesh.json has them all</p>" if rest > 0 else "")
    return "\n".join(
        [
            f'<li class="{first.severity}">',
            f"<h3>{_sign(_SEVERITIES[first.severity])}<span>{_text(few(ailment.servers, most=3))}</span></h3>",
            *_explained(first.cause, [first.kind], rows, first.remedy),
            "</li>",
        ]
    )


def _kinds(problems: Sequence[Problem]) -> str:
    """The kinds of a server's problems, in the row of the server."""
    kinds = {problem.kind: problem.severity for problem in problems}
    return "<br>".join(f"{_sign(_SEVERITIES[severity])}<code>{_text(kind)}</code>" for kind, severity in kinds.items())


def _seconds_left(server: ReportServer, now: int) -> int | None:
    end = seconds_of(server.expires_at)
    return None if end is None else end - now


def _ends_soon(server: ReportServer, now: int) -> bool:
    left = _seconds_left(server, now)
    return left is not None and left < WARN_DAYS * DAY


def _expiry(server: ReportServer, now: int) -> str:
    left = _seconds_left(server, now)
    if left is None:
        return _text(server.expires_at or "not known")
    days = abs(left) // DAY
    span = f"{days} day{'' if days == 1 else 's'}"
    date = f'<time datetime="{escape(server.expires_at or "")}">{escape((server.expires_at or "")[:10])}</time>'
    if left <= 0:
        ago = f"{span} ago" if days else "today"
        return f'<span class="late past">{_sign("failed")}{date} <b>expired {ago}</b></span>'
    if _ends_soon(server, now):
        return f'<span class="late">{_sign("late")}{date} <b>{f"in {span}" if days else "today"}</b></span>'
    return f"{date} <small>in {span}</small>"


# -- the data of the script -----------------------------------------------------------------------------------

_FROM, _TO, _PLACE = "\x01", "\x02", "\x03"
# What can be a name or an address, without the full stop of the sentence.
_NAME = re.compile(r"[\w-]+(?:\.+[\w-]+)*")


def _data(mesh: Mesh, troubles: Sequence[CauseGroup]) -> dict[str, Any]:
    """All pairs in little room: 200 servers have 39,800.

    Texts stand once each, with the names of the pair taken out. What most pairs of a server have in common (its
    fingerprints, the TLS version) stands once; a pair only has a record if it differs, and pairs with equal records
    share one. The pairs of a server's sites are in one cell, which shows the worst; ``sites`` has them all.
    ``assets/page.js`` reads it back.
    """
    names = [server.name for server in mesh.servers]
    place = {name: index for index, name in enumerate(names)}
    by_name = {server.name: server for server in mesh.servers}
    strings: dict[str, int] = {"": 0}
    trouble_of = {id(pair): index for index, trouble in enumerate(troubles) for pair in trouble.pairs}
    usual_tls = _usual((0, pair.tls) for pair in mesh.pairs).get(0)
    usual_server = _usual((pair.target, pair.server_fingerprint) for pair in mesh.pairs)
    usual_client = _usual((pair.source, pair.client_fingerprint) for pair in mesh.pairs)

    def number(text: str | None) -> int:
        return strings.setdefault(text or "", len(strings))

    def unless(usual: str | None, text: str | None) -> int:
        return -1 if text == usual else number(text)

    codes = [[_SELF] * len(names) for _name in names]
    times: list[list[float]] = [[] for _name in names]
    records: dict[tuple[int, ...], list[int]] = {}
    sites: list[list[Any]] = []
    for pair in mesh.pairs:
        row, column = place[pair.source], place[pair.target]
        code = _CODES[pair.verdict] if pair.in_scope else _OUTSIDE
        first = codes[row][column] == _SELF
        codes[row][column] = code if first else min(code, codes[row][column], key=_WORST.index)
        if first:
            times[row].append(_short(pair.handshake_ms))
        strip = _stripper(pair.source, pair.target, by_name[pair.target].address)
        record = (
            number(pair.cause),
            number(title_of(pair)),
            number(strip(pair.detail)),
            number(strip(pair.remedy)),
            unless(usual_tls, pair.tls),
            unless(usual_server.get(pair.target), pair.server_fingerprint),
            unless(usual_client.get(pair.source), pair.client_fingerprint),
            trouble_of.get(id(pair), -1),
        )
        if pair.site:
            where = row * len(names) + column
            sites.append([where, number(pair.site), code, _short(pair.handshake_ms), *record])
        elif record != (0, 0, 0, 0, -1, -1, -1, -1):
            records.setdefault(record, []).append(row * len(names) + column)
    return {
        "names": names,
        "places": [server.address for server in mesh.servers],
        "codes": ["".join(row) for row in codes],
        "times": times,
        "tls": number(usual_tls),
        "serves": [number(usual_server.get(name)) for name in names],
        "shows": [number(usual_client.get(name)) for name in names],
        "sites": sites,
        "records": [[*record, _steps(where)] for record, where in records.items()],
        "blamed": sorted({place[name] for trouble in troubles for name in trouble.servers}),
        "strings": list(strings),
    }


def _usual(values: Iterable[tuple[Any, str | None]]) -> dict[Any, str]:
    """What most have: key to the most frequent value."""
    counts: dict[Any, Counter[str]] = {}
    for key, value in values:
        if value is not None:
            counts.setdefault(key, Counter())[value] += 1
    return {key: counter.most_common(1)[0][0] for key, counter in counts.items()}


def _short(milliseconds: float | None) -> float:
    """-1 for none; a whole number without its point."""
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
            # A text that holds a mark itself would come back as another; this one stays whole, its marks made visible.
            return _CONTROLS.sub(chr(0xFFFD), text)
        if ":" in address:
            text = text.replace(address, _PLACE)
        return _NAME.sub(lambda match: marks.get(match[0], match[0]), text)

    return strip
