# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from ansible_collections.esync.mesh.plugins.module_utils._connection.cause_table import CAUSES
from ansible_collections.esync.mesh.plugins.plugin_utils._wording import (
    abbreviated,
    cluster_label,
    not_tested,
    pair_label,
    pair_line,
    place_of,
    printable,
    problem_line,
    result_line,
    statement,
)


@pytest.mark.parametrize(
    ("names", "most", "text"),
    [
        ("a", 3, "a"),
        ("ab", 3, "a and b"),
        ("abcd", 3, "a, b, c and d"),
        ("abcde", 3, "a, b, c and 2 more"),
        ("abcdef", 5, "a, b, c, d, e and f"),
        ("abcdefg", 5, "a, b, c, d, e and 2 more"),
    ],
)
def test_some_names_are_named_and_the_rest_is_counted(names: str, most: int, text: str) -> None:
    assert abbreviated(list(names), most) == text


def test_labels() -> None:
    assert (place_of("a", None), place_of("a", "shop")) == ("a", "a [shop]")
    assert (pair_label("a", "b"), pair_label("a", "b", "shop")) == ("a -> b", "a -> b [shop]")
    assert cluster_label("a", "web") == "a -> [cluster web]"


def pair(**changes: Any) -> Any:
    """Plain attributes; none of the report's own classes is needed."""
    plain = {"label": "a -> b", "source": "a", "target": "b", "verdict": "failed", "cause": "not_tls"}
    return SimpleNamespace(**{**plain, "detail": "b said nothing", "remedy": "Look.", **changes})


def problem(**changes: Any) -> Any:
    plain = {"server": "a", "kind": "expired", "path": None, "cause": "They have expired", "evidence": "Seen."}
    return SimpleNamespace(**{**plain, "remedy": "Renew.", "command": "", **changes})


def test_a_pair_in_one_line() -> None:
    assert pair_line(pair()) == "a -> b: not_tls. b said nothing. Look."
    assert pair_line(pair(cause=None, verdict="untested", detail="", remedy="")) == "a -> b: untested."
    assert pair_line(pair(), "b (9 pairs)", ["x", "y"]) == "b (9 pairs): x, y. b said nothing. Look."


def test_the_command_of_the_table_is_given_only_with_the_remedy_of_the_table() -> None:
    row = CAUSES["server_certificate_unknown"]
    line = pair_line(pair(cause="server_certificate_unknown", remedy=row.remedy))
    assert line.endswith("Command: ansible-playbook esync.mesh.establish -e esync_accept_changed=b")
    assert "Command" not in pair_line(pair(cause="server_certificate_unknown", remedy="Something better."))
    assert "Command" not in pair_line(pair(cause="connection_timed_out", remedy=CAUSES["connection_timed_out"].remedy))


def test_what_a_probe_returned_reads_like_a_pair() -> None:
    remedy = CAUSES["server_certificate_unknown"].remedy
    found = {"to": "b", "site": "shop", "verdict": "failed", "cause": "server_certificate_unknown", "detail": "It"}
    line = result_line("a", {**found, "remedy": remedy})
    assert line == pair_line(
        pair(label="a -> b [shop]", cause="server_certificate_unknown", detail="It", remedy=remedy)
    )
    assert line.endswith("Command: ansible-playbook esync.mesh.establish -e esync_accept_changed=b")
    # No playbook of this mesh does anything on a server of another one.
    assert "Command" not in result_line("a", {**found, "remedy": remedy}, external=True)
    assert result_line("a", {"to": "b", "verdict": "untested", "cause": None}) == "a -> b: untested."
    assert not_tested("a", "b") == "a -> b: not tested."


def test_a_problem_in_one_line() -> None:
    assert problem_line(problem()) == "a: expired. They have expired. Seen. Renew."
    assert problem_line(problem(path="/x", command="run it")) == (
        "a: expired. They have expired: /x: Seen. Renew. Command: run it"
    )
    assert problem_line(problem(path="/x", evidence="")) == "a: expired. They have expired: /x. Renew."
    assert problem_line(problem(), "a and b", "2 of them") == "a and b: expired (2 of them). Seen. Renew."


def test_a_line_moves_no_cursor_and_a_name_keeps_its_small_letter() -> None:
    assert printable("a\x1b[2J\r\u202e") == "a?[2J??"
    assert statement("a\n", "x", "b is off", "do it") == "a?: x. b is off. do it."
