# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""``mesh.html``: one file that needs nothing else, neither a network nor a server.

What a reader must see without a script (the verdict, what is wrong, what is pending, the servers) is made here; the
matrix and the list of pairs are drawn by ``assets/page.js`` from what page_data.py makes. Whatever comes from outside
is text: escaped here, and only ever set as ``textContent`` there. The content security policy allows the page's own
script and style by their digests, and nothing else at all.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import time
from collections.abc import Iterable, Sequence
from functools import lru_cache
from html import escape
from pathlib import Path
from typing import Any

from ansible_collections.esync.mesh.plugins.module_utils._connection.cause_table import CAUSES
from ansible_collections.esync.mesh.plugins.plugin_utils._inventory.clusters import (
    ClusterCall,
    call_groups,
    cluster_counts,
)
from ansible_collections.esync.mesh.plugins.plugin_utils._report.findings import Problem
from ansible_collections.esync.mesh.plugins.plugin_utils._report.grouping import (
    CauseGroup,
    ProblemGroup,
    WrongAcceptance,
    cause_groups,
    group_problems,
    wrong_acceptances,
)
from ansible_collections.esync.mesh.plugins.plugin_utils._report.history import Change
from ansible_collections.esync.mesh.plugins.plugin_utils._report.model import (
    CODES,
    FAILED,
    NOT_REFUSED,
    OK,
    OUTSIDE,
    SELF,
    UNTESTED,
    Mesh,
    ReportServer,
    verdict,
)
from ansible_collections.esync.mesh.plugins.plugin_utils._report.page_data import page_data
from ansible_collections.esync.mesh.plugins.plugin_utils._report.problem_kinds import FAULT, KINDS, NOT_CHECKED, NOTE
from ansible_collections.esync.mesh.plugins.plugin_utils._report.prometheus import seconds_of
from ansible_collections.esync.mesh.plugins.plugin_utils._report.terminal import cost_lines
from ansible_collections.esync.mesh.plugins.plugin_utils._wording import (
    REPLACED_CONTROLS,
    abbreviated,
    pair_command,
    with_options,
)

ASSETS = Path(__file__).with_name("assets")
DAY = 86400
WARN_DAYS = 31
"""A certificate that ends within a month is shown as such."""

_STATES = {
    "ok": "took part",
    "unreachable": "unreachable",
    "failed": "failed earlier",
    "not_in_run": "not in this run",
    "unreadable": "keys not readable",
}
SEEN_LIMIT = 8
DOCUMENTS = "https://github.com/esync-mesh/esync.mesh/blob/main/docs/"
"""Where the page's links lead: it is mailed around, so that nothing beside it can be linked to."""
_SEVERITIES = {FAULT: "failed", NOTE: "late", NOT_CHECKED: "untested"}


def text(mesh: Mesh, generated_at: str, _before: str = "") -> str:
    """The content of ``mesh.html``.

    :param generated_at: UTC; what expires soon is counted from it.
    """
    style, script = (_asset(name) for name in ("page.css", "page.js"))
    groups = cause_groups(mesh)
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
            f"<title>{escape(_figures(verdict(mesh)))} {escape(_name(mesh))}</title>",
            f"<style>{style}</style>",
            "</head>",
            "<body>",
            _SYMBOLS,
            _head(mesh, generated_at, now),
            "<main>",
            *(f'<p class="cost">{escape(line)}</p>' for line in cost_lines(mesh)),
            _causes(mesh, groups),
            _asset("matrix.html"),
            _clusters(mesh),
            _pending(mesh),
            _history(mesh),
            _servers(mesh, now),
            "</main>",
            f'<script type="application/json" id="data">{_json(page_data(mesh, groups))}</script>',
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
    return f"<bdi>{escape(REPLACED_CONTROLS.sub(chr(0xFFFD), text))}</bdi>"


def _figures(text: str) -> str:
    """A text of ours with its large numbers as everywhere else on the page."""
    return re.sub(r"\d{4,}", lambda match: f"{int(match[0]):,}", text)


def _time(moment: str) -> str:
    return f'<time datetime="{escape(moment)}">{escape(moment[:16].replace("T", " "))}</time>'


def _name(mesh: Mesh) -> str:
    return REPLACED_CONTROLS.sub(chr(0xFFFD), mesh.name) or "eSync mesh"


def _sign(kind: str) -> str:
    if not kind:
        return ""
    return f'<svg class="sign {kind}" aria-hidden="true"><use href="#sign-{kind}"/></svg>'


# -- what stands in the page without a script -----------------------------------------------------------------

# The shapes of the matrix, once: a verdict has its own shape as well as its colour.
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
    bad = mesh.wrong_at or mesh.wrongly_accepted or mesh.wrong_connections or mesh.proved_nothing
    kind = "failed" if bad else kind
    shown = generated_at.replace("T", " ").replace("Z", " UTC")
    late = sum(_ends_soon(server, now) for server in mesh.servers)
    outside = mesh.pairs.count(OUTSIDE)
    figures = [
        ("servers", len(mesh.servers), ""),
        ("pairs ok", mesh.count(OK), "ok"),
        ("failed", mesh.count(FAILED), "failed"),
        ("untested", mesh.count(UNTESTED) - outside, "untested"),
        ("not in this run", outside, "outside"),
        ("calls to clusters not ok", len(mesh.wrong_connections), "failed"),
        ("accepted what they must refuse", len({refusal.target for refusal in mesh.wrongly_accepted}), "failed"),
        ("with problems", len({problem.server for problem in mesh.problems}), "late"),
        ("with pending updates", len({update.server for update in mesh.pending}), ""),
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
            f'<p class="kicker">eSync mesh <b>{_text(mesh.name)}</b> <span>tested <time '
            f'datetime="{escape(generated_at)}">{escape(shown)}</time></span></p>',
            f"<h1>{escape(_figures(verdict(mesh)))}</h1>",
            f"<dl>{''.join(cells)}</dl>",
            "</header>",
        ]
    )


def _causes(mesh: Mesh, groups: Sequence[CauseGroup]) -> str:
    accepted, calls = wrong_acceptances(mesh), mesh.wrong_connections
    if not groups and not accepted and not calls:
        return ""
    items = [_wrong_acceptance(one) for one in accepted] + [_wrong_calls(mesh, group) for group in call_groups(calls)]
    items += [_cause(mesh, index, group) for index, group in enumerate(groups)]
    return "\n".join(
        [
            '<section aria-labelledby="causes-title" id="causes">',
            '<h2 id="causes-title">What is wrong</h2>',
            "<ol>",
            *items,
            "</ol>",
            "</section>",
        ]
    )


def _explained(title: str, keys: Iterable[str], seen: Iterable[str], remedy: str, command: str = "") -> list[str]:
    """The lines that say of something wrong what it is, what was seen, and what to do.

    :param seen: as HTML. :param command: the command that does what the remedy says; may be empty.
    """
    names = ", ".join(map(_key, keys))
    return [
        f'<p class="title">{_text(title)} <span class="key">{names}</span></p>',
        *seen,
        f'<p class="remedy"><b>What to do</b> {_text(remedy)}</p>' if remedy else "",
        f'<p class="command"><b>Command</b> <span class="copied"><code>{_text(command)}</code>'
        '<button type="button" class="copy" hidden>Copy</button></span></p>'
        if command
        else "",
    ]


def _key(key: str) -> str:
    """The key of a cause or of a kind of problem, with a link to what the documents say of it."""
    shown = f"<code>{_text(key)}</code>"
    place = f"diagnosis.md#{key}" if key in CAUSES else "check.md#problems-of-servers" if key in KINDS else ""
    return f'<a href="{DOCUMENTS}{place}" target="_blank" rel="noopener noreferrer">{shown}</a>' if place else shown


def _detail(text: str) -> list[str]:
    return [f"<p>{_text(text)}</p>" if text else ""]


def _wrong_acceptance(one: WrongAcceptance) -> str:
    return "\n".join(
        [
            "<li>",
            f"<h3>{_sign('failed')}<span>{_text(one.server)}</span></h3>",
            *_explained(CAUSES[NOT_REFUSED].title, [NOT_REFUSED], _detail(one.detail), one.remedy),
            "</li>",
        ]
    )


def _wrong_calls(mesh: Mesh, group: Sequence[ClusterCall]) -> str:
    """What is wrong with a cluster, however many servers call it."""
    first = group[0]
    kind = "failed" if any(one.verdict == FAILED for one in group) else "untested"
    callers = _text(abbreviated([one.source for one in group], most=3))
    who = f"{callers} <span class=arrow>→</span> cluster {_text(first.cluster)}"
    many = f' <span class="many">{len(group):,} callers</span>' if len(group) > 1 else ""
    return "\n".join(
        [
            "<li>",
            f"<h3>{_sign(kind)}<span>{who}</span>{many}</h3>",
            *_explained(
                first.title,
                [first.cause or first.verdict],
                _detail(first.detail),
                first.remedy,
                with_options(pair_command(first), mesh.options),
            ),
            "</li>",
        ]
    )


def _clusters(mesh: Mesh) -> str:
    if not mesh.clusters:
        return ""
    rows = []
    for count in cluster_counts(mesh.clusters, mesh.connections):
        cluster, counts = count.cluster, count.answered
        place = f"[{cluster.address}]" if ":" in cluster.address else cluster.address
        who = ", ".join(f"{_text(name)} {answers:,}" for name, answers in counts.items() if answers)
        silent = f"{_sign('late')}{', '.join(_text(name) for name in count.silent)}" if count.silent else ""
        rows.append(
            f"<tr><th scope=row>{_text(cluster.name)}</th><td>{_text(f'{place}:{cluster.port}')}</td>"
            f"<td>{', '.join(_text(name) for name in cluster.members)}</td><td>{who}</td><td>{silent}</td>"
            f"<td class=number>{count.ok} of {len(count.connections)}</td></tr>"
        )
    return "\n".join(
        [
            '<section aria-labelledby="clusters-title" id="clusters">',
            '<h2 id="clusters-title">Load-balanced clusters</h2>',
            '<p class="hint">Called through their load balancers by every server outside of them, several times each. '
            "A load balancer need not use every member; each member is proved by itself in the matrix.</p>",
            '<div class="table"><table><thead><tr><th scope=col>Cluster</th><th scope=col>Load balancer</th>'
            "<th scope=col>Members</th><th scope=col>Answered</th><th scope=col>Never answered</th>"
            "<th scope=col class=number>Callers ok</th></tr></thead><tbody>",
            *rows,
            "</tbody></table></div>",
            "</section>",
        ]
    )


def _since(mesh: Mesh, group: CauseGroup) -> list[str]:
    """Since when the pairs of a cause fail, if that is longer than since this run."""
    if mesh.history is None or len(mesh.history.runs) < 2:
        return []
    times = {mesh.history.failing.get((one.source, one.target, one.site or "")) for one in group.pairs} - {None}
    begins = sorted(str(one) for one in times)
    if not begins:
        return []
    if begins[0] == mesh.history.runs[-1].at:
        return ['<p class="since">Since this run</p>']
    most = f", the last of them since {_time(begins[-1])}" if len(begins) > 1 else ""
    return [f'<p class="since">Since {_time(begins[0])} UTC{most}</p>']


def _cause(mesh: Mesh, index: int, group: CauseGroup) -> str:
    first = group.first
    count = len(group.pairs)
    if count == 1:
        who = f"{_text(first.source)} <span class=arrow>→</span> {_text(first.place)}"
    else:
        who = _text(abbreviated(group.servers, most=3))
    many = f' <span class="many">{count:,} pairs</span>' if count > 1 else ""
    return "\n".join(
        [
            "<li>",
            f"<h3>{_sign('failed' if group.failed else 'untested')}<span>{who}</span>{many}</h3>",
            *_explained(
                first.title,
                group.causes,
                [*_detail(first.detail), *_since(mesh, group)],
                first.remedy,
                with_options(pair_command(first), mesh.options),
            ),
            f'<button type="button" data-cause="{index}">Show in the matrix</button>',
            "</li>",
        ]
    )


def _pending(mesh: Mesh) -> str:
    if not mesh.pending:
        return ""
    servers: dict[str, list[str]] = {}
    for update in mesh.pending:
        servers.setdefault(update.text, []).append(update.server)
    rows = [
        f"<tr><th scope=row>{', '.join(_text(name) for name in names)}</th><td>{_text(text)}</td></tr>"
        for text, names in servers.items()
    ]
    return "\n".join(
        [
            '<section aria-labelledby="pending-title" id="pending">',
            '<h2 id="pending-title">Pending updates</h2>',
            '<p class="hint">Changes that servers which could not be reached have still to receive; the next run over '
            "the entire group delivers them.</p>",
            '<div class="table"><table><thead><tr><th scope=col>Server</th><th scope=col>Pending</th></tr></thead>'
            "<tbody>",
            *rows,
            "</tbody></table></div>",
            "</section>",
        ]
    )


def _servers(mesh: Mesh, now: int) -> str:
    number = {server.name: index for index, server in enumerate(mesh.servers)}
    own: dict[str, list[Problem]] = {}
    for problem in mesh.problems:
        own.setdefault(problem.server, []).append(problem)
    heading = "<th scope=col>Problems</th>" if own else ""
    order = sorted(mesh.servers, key=lambda server: (seconds_of(server.expires_at) or 1 << 60, server.name))
    rows = []
    for server in order:
        place = f"[{server.address}]" if ":" in server.address else server.address
        away = "" if server.state in ("ok", "not_in_run") else _sign("untested")
        calls, called = mesh.pairs.row(number[server.name]), mesh.pairs.called(number[server.name])
        cell = f"<td>{_kinds(own.get(server.name, []))}</td>" if own else ""
        rows.append(
            f"<tr><th scope=row>{_text(server.name)}{_sites(server)}</th><td>{_text(f'{place}:{server.port}')}</td>"
            f"<td>{_expiry(server, now)}</td>"
            f"<td>{away}{_text(_STATES.get(server.state, server.state))}</td>{cell}"
            f'<td class=number data-label="calls ok">{_ok_of(calls)}</td>'
            f'<td class=number data-label="called ok">{_ok_of(called)}</td></tr>'
        )
    return "\n".join(
        [
            '<section aria-labelledby="servers-title" id="servers">',
            '<h2 id="servers-title">Servers</h2>',
            *_problems(mesh),
            _timeline(mesh, now),
            '<p class="hint">By the end of their certificates, the soonest first.</p>',
            '<div class="table"><table><thead><tr><th scope=col>Server</th><th scope=col>Address</th>'
            f"<th scope=col>Certificates end</th><th scope=col>This run</th>{heading}"
            "<th scope=col class=number>Calls ok</th><th scope=col class=number>Called ok</th></tr></thead><tbody>",
            *rows,
            "</tbody></table></div>",
            "</section>",
        ]
    )


def _ok_of(codes: bytearray) -> str:
    return f"{codes.count(CODES[OK].encode())} of {len(codes) - codes.count(SELF.encode())}"


def _sites(server: ReportServer) -> str:
    """The sites that certificates apply to, below the server's name."""
    if not server.sites:
        return ""
    return f" <small>{', '.join(_text(site) for site in server.sites)}</small>"


def _problems(mesh: Mesh) -> list[str]:
    """What is wrong with servers themselves, the same on several once."""
    if not mesh.problems:
        return []
    return ['<ol id="problems">', *(_problem(group) for group in group_problems(mesh.problems)), "</ol>"]


def _problem(group: ProblemGroup) -> str:
    first = group.first
    seen = list(dict.fromkeys((one.server, one.path, one.evidence) for one in group.problems))
    several = len(group.servers) > 1
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
            f"<h3>{_sign(_SEVERITIES[first.severity])}<span>{_text(abbreviated(group.servers, most=3))}</span></h3>",
            *_explained(first.cause, [first.kind], rows, first.remedy, first.command),
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


RECENT = 10
"""So many runs are shown at once."""
SLOTS = 60
"""The columns of the timeline, whatever the mesh."""
_EXPIRED = -2
"""The column of what has expired: left of today."""


def _timeline(mesh: Mesh, now: int) -> str:
    """When certificates end: a column for each part of the time, as high as so many servers."""
    ends = sorted((end, one.name) for one in mesh.servers for end in [seconds_of(one.expires_at)] if end is not None)
    if not ends or not now:
        return ""
    last, warned = ends[-1][0], WARN_DAYS * DAY
    span = max(last - now, warned * 2)
    columns: dict[int, list[tuple[int, str]]] = {}
    for end, name in ends:
        slot = _EXPIRED if end <= now else min(SLOTS - 1, (end - now) * SLOTS // span)
        columns.setdefault(slot, []).append((end, name))
    begin = -_EXPIRED if _EXPIRED in columns else 0
    most = max(map(len, columns.values()))
    bars = []
    for slot, ending in columns.items():
        kind = "past" if slot < 0 else "soon" if slot * span // SLOTS < warned else "later"
        # A single server of many is seen, too.
        height = max(28 * len(ending) / most, 3)
        bars.append(
            f'<rect class="{kind}" x="{slot + begin + 0.1:g}" y="{30 - height:.1f}" width=".8" height="{height:.1f}">'
            f"<title>{escape(REPLACED_CONTROLS.sub(chr(0xFFFD), _ending(ending)))}</title></rect>"
        )
    late = sum(_ends_soon(server, now) for server in mesh.servers)
    label = (
        f"Certificates end from {_day(ends[0][0])} to {_day(last)}; {late:,} of {len(ends):,} servers within "
        f"{WARN_DAYS} days"
    )
    return "\n".join(
        [
            f'<figure id="timeline"><svg viewBox="0 0 {SLOTS + begin} 30" preserveAspectRatio="none" role="img" '
            f'aria-label="{escape(label)}">',
            f'<rect class="span" x="{begin}" y="0" width="{min(warned * SLOTS / span, SLOTS):.2f}" height="30"/>',
            *bars,
            "</svg>",
            f"<figcaption><span>{'expired, ' if begin else ''}today</span><span>{_day(now + span // 2)}</span>"
            f"<span>{_day(now + span)}</span></figcaption>",
            f'<p class="hint">When certificates end; the shaded part is the next {WARN_DAYS} days.</p></figure>',
        ]
    )


def _ending(ending: Sequence[tuple[int, str]]) -> str:
    """The servers of a column in words. :param ending: when each ends, and its name, the first ones first."""
    first, names = _day(ending[0][0]), [name for _end, name in ending]
    return f"{len(names):,} from {first}: {abbreviated(names, most=3)}" if len(names) > 1 else f"{names[0]}: {first}"


def _day(moment: int) -> str:
    return time.strftime("%Y-%m-%d", time.gmtime(moment))


def _history(mesh: Mesh) -> str:
    """The last runs, the newest first, with what each changed."""
    if mesh.history is None:
        return ""
    rows = []
    for run in reversed(mesh.history.runs):
        wrong = run.failed + run.untested
        kind = "failed" if wrong else "ok" if run.ok else "outside"
        counts = [f"{run.ok:,} ok"]
        counts += [
            f"{count:,} {what}"
            for count, what in (
                (run.failed, "failed"),
                (run.untested, "untested"),
                (run.not_in_run, "not in the run"),
            )
            if count
        ]
        changes = [
            f'<p><b class="{way}">{what}</b> {_changed(change)}</p>'
            for what, change, way in (
                ("began to fail", run.began, "worse"),
                ("recovered", run.recovered, "better"),
                ("certificates replaced", run.replaced, ""),
                ("joined", run.added, ""),
                ("left", run.removed, ""),
            )
            if change.count
        ]
        rows.append(
            f"<tr><th scope=row>{_time(run.at)}</th><td>{_text(run.operation)}</td>"
            f"<td class=number data-label=servers>{run.servers:,}</td>"
            f"<td>{_sign(kind)}{', '.join(counts)}</td>"
            f"<td>{''.join(changes) or '<span class=hint>nothing</span>'}</td></tr>"
        )
    head = (
        '<div class="table"><table><thead><tr><th scope=col>Run</th><th scope=col>Playbook</th>'
        "<th scope=col class=number>Servers</th><th scope=col>Pairs</th><th scope=col>Changed</th></tr></thead><tbody>"
    )
    earlier = rows[RECENT:]
    return "\n".join(
        [
            '<section aria-labelledby="history-title" id="history">',
            '<h2 id="history-title">The last runs</h2>',
            '<p class="hint">Every run that tested pairs, the newest first, and what changed since the one before it. '
            "Times are UTC.</p>",
            head,
            *rows[:RECENT],
            "</tbody></table></div>",
            *([f"<details><summary>{len(earlier)} earlier</summary>", head, *earlier] if earlier else []),
            *(["</tbody></table></div></details>"] if earlier else []),
            "</section>",
        ]
    )


def _changed(change: Change) -> str:
    names = ", ".join(_text(name.replace(" -> ", " → ")) for name in change.names)
    rest = change.count - len(change.names)
    return f"{names} and {rest:,} more" if rest else names
