# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The one rendering of what is wrong, and the words that messages have in common.

Terminal, page, JUnit and the plan of a repair use ``pair_line`` and ``problem_line``, which take anything with the
attributes named by the protocols, so that nobody needs the report's own classes. The gate and the calls to external
peers, which make no report, use ``result_line``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from ansible_collections.esync.mesh.plugins.module_utils._connection.cause_table import CAUSES

REPLACED_CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")
"""What a browser would drop, change or obey in a text; the script of the page does the same to its texts."""


class PairLike(Protocol):
    """What ``pair_line`` reads of a pair, or of the calls to a cluster.

    :param label: who calls what, such as ``a -> b [shop]``; ``pair_label`` makes it.
    :param cause: a key of the table of causes; None: the verdict stands in its place.
    """

    @property
    def label(self) -> str: ...

    @property
    def source(self) -> str: ...

    @property
    def target(self) -> str: ...

    @property
    def verdict(self) -> str: ...

    @property
    def cause(self) -> str | None: ...

    @property
    def detail(self) -> str: ...

    @property
    def remedy(self) -> str: ...


class ProblemLike(Protocol):
    """What ``problem_line`` reads of a problem of a server."""

    @property
    def server(self) -> str: ...

    @property
    def kind(self) -> str: ...

    @property
    def path(self) -> str | None: ...

    @property
    def cause(self) -> str: ...

    @property
    def evidence(self) -> str: ...

    @property
    def remedy(self) -> str: ...

    @property
    def command(self) -> str: ...


def place_of(server: str, site: str | None) -> str:
    """What is called: the server, with the site if one of its sites is meant."""
    return f"{server} [{site}]" if site else server


def pair_label(source: str, target: str, site: str | None = None) -> str:
    """A pair in messages, such as ``a -> b [shop]``."""
    return f"{source} -> {place_of(target, site)}"


def cluster_label(source: str, cluster: str) -> str:
    """The calls of a server to a cluster in messages; no pair looks like it."""
    return f"{source} -> [cluster {cluster}]"


def statement(place: str, cause: str, detail: str = "", remedy: str = "", command: str = "") -> str:
    """What is wrong, in one line: where, the key of the cause, the evidence, what to do, and the command for it."""
    parts = [f"{place}: {cause}.", ended(detail), ended(remedy), f"Command: {command}" if command else ""]
    return printable(" ".join(part for part in parts if part))


def pair_line(pair: PairLike, place: str = "", causes: Sequence[str] = ()) -> str:
    """A pair in one line: ``a -> b: cause. detail remedy Command: ...``.

    :param place: what stands in the place of the label, for many pairs of one cause.
    :param causes: all keys, where one remedy removes several causes.
    """
    keys = ", ".join(causes) or pair.cause or pair.verdict
    return statement(place or pair.label, keys, pair.detail, pair.remedy, pair_command(pair))


def result_line(source: str, result: Mapping[str, Any], external: bool = False) -> str:
    """What a probe returned of one peer, in the same line as :func:`pair_line`.

    :param source: whose probe it was. :param external: whether the peer is none of this mesh, on which no command of
        ours has any effect.
    """
    target, cause, remedy = str(result["to"]), result.get("cause"), str(result.get("remedy") or "")
    label = pair_label(source, target, result.get("site"))
    command = "" if external else _command(cause, remedy, source, target)
    return statement(label, str(cause or result["verdict"]), str(result.get("detail") or ""), remedy, command)


def pair_command(pair: PairLike) -> str:
    """The command that does what the remedy says; empty if there is none, or the remedy is not that of the table."""
    return _command(pair.cause, pair.remedy, pair.source, pair.target)


def _command(cause: str | None, remedy: str, caller: str, peer: str) -> str:
    row = CAUSES.get(cause or "")
    if row is None or not row.command or remedy != row.remedy:
        return ""
    return row.command.format(caller=caller, peer=peer)


_COMMAND = "ansible-playbook esync.mesh."


def with_options(text: str, options: str) -> str:
    """A text whose commands can be copied: with the inventory of this run, and what else it was started with.

    :param options: as a shell reads them; empty: there are none.
    """
    return text.replace(_COMMAND, _COMMAND.replace(" ", f" {options} ", 1)) if options else text


def not_tested(source: str, target: str) -> str:
    """That a pair should have been tested and was not, where nothing says why."""
    return f"{pair_label(source, target)}: not tested."


def problem_line(problem: ProblemLike, place: str = "", example: str = "") -> str:
    """A problem of a server in one line: ``a: kind. cause: path: evidence remedy Command: ...``.

    :param place: what stands in the place of the server, for many servers with the same.
    :param example: what stands in the place of cause and path, for many of the same kind.
    """
    where = f"{problem.cause}: {problem.path}: " if problem.path else f"{problem.cause}. "
    detail = problem.evidence if example else f"{where}{problem.evidence}"
    kind = f"{problem.kind} ({example})" if example else problem.kind
    return statement(place or problem.server, kind, detail.strip(" :"), problem.remedy, problem.command)


def ended(text: str) -> str:
    """A text with its full stop; an empty one stays empty. It may begin with a name, so its first letter stays."""
    text = text.strip()
    return text if not text or text[-1] in ".!?" else text + "."


def sentence(text: str) -> str:
    """A text as a sentence: with a capital letter and a full stop; an empty one stays empty."""
    text = ended(text)
    return text[:1].upper() + text[1:]


def more(count: int, what: str) -> str:
    """The last line of a list that was cut."""
    return f"... and {count:,} more {what}; see mesh.html"


def abbreviated(names: Sequence[str], most: int = 5) -> str:
    """The first names, and how many more there are.

    :param names: never empty.
    :param most: so many are named if there are at least two more.
    """
    named = [*names[:most], f"{len(names) - most} more"] if len(names) > most + 1 else list(names)
    return " and ".join([", ".join(named[:-1]), named[-1]]) if len(named) > 1 else named[0]


def printable(text: str) -> str:
    """A text that moves no cursor: what a peer answered may be part of it."""
    return "".join(character if character.isprintable() else "?" for character in text)
