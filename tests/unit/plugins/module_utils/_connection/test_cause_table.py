# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The table says everything of every cause; nothing of a row is left to a default that nobody chose."""

from __future__ import annotations

import re

import pytest

from ansible_collections.esync.mesh.plugins.module_utils._connection.cause_table import (
    AS_DIRECT,
    BY_HAND,
    CAUSES,
    FOLLOWS_FROM_SERVER,
    NO_COMMAND,
    REPAIRS,
    RESTART_PEER,
    BehindBalancer,
    Cause,
)


def test_no_field_has_a_default() -> None:
    assert Cause._field_defaults == BehindBalancer._field_defaults == {}
    assert len(CAUSES) > 20


@pytest.mark.parametrize("key", CAUSES)
def test_a_row_says_what_why_what_to_do_by_which_command_and_what_repair_does(key: str) -> None:
    row = CAUSES[key]
    assert re.fullmatch(r"[a-z_]+", key)
    for text in (row.title, row.cause, row.remedy):
        assert text[0].isupper()
    assert not row.title.endswith(".")
    assert row.cause.endswith(".") and row.remedy.endswith(".")
    assert row.repair in REPAIRS
    assert row.command == NO_COMMAND or row.command.startswith("ansible-playbook esync.mesh.")
    assert set(re.findall(r"{(\w+)}", row.command)) <= {"caller", "peer"}
    for behind in (row.balancer, row.member):
        assert isinstance(behind, BehindBalancer)
        assert behind == AS_DIRECT or behind.remedy.endswith(".")


def test_what_repair_restarts_and_what_it_repairs_at_a_server() -> None:
    by_repair = {repair: {key for key, row in CAUSES.items() if row.repair == repair} for repair in REPAIRS}
    assert {"endpoint_not_listening", "not_tls", "stale_generation_served"} <= by_repair[RESTART_PEER]
    assert {"server_certificate_expired", "damaged_file"} <= by_repair[FOLLOWS_FROM_SERVER]
    assert {"name_not_resolved", "connection_timed_out", "not_refused"} <= by_repair[BY_HAND]


def test_two_causes_have_two_titles() -> None:
    titles = [row.title for row in CAUSES.values()]
    assert len(set(titles)) == len(titles)
