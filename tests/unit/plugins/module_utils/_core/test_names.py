# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest

from ansible_collections.esync.mesh.plugins.module_utils._core import names


@pytest.mark.parametrize("name", ["a", "0", "web-1", "Web_1.Example.ORG", "a" * 53, "console", "com10", "a-", "x.con"])
def test_good_names(name: str) -> None:
    assert names.problems(name) == []


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("", "1 to 53"),
        ("a" * 54, "1 to 53"),
        ("-a", "start with"),
        (".a", "start with"),
        ("a b", "A-Z"),
        ("a/b", "A-Z"),
        ("../a", "A-Z"),
        ("a\n", "A-Z"),
        ("a\0", "A-Z"),
        ("münchen", "A-Z"),
        ("a.", "end in a dot"),
        ("con", "Windows"),
        ("NUL", "Windows"),
        ("Lpt1.example.org", "Windows"),
        ("com0", "Windows"),
    ],
)
def test_bad_names(name: str, said: str) -> None:
    (problem,) = names.problems(name)
    assert said in problem


def test_every_problem_is_told_at_once() -> None:
    assert len(names.problems("con." + "x" * 60 + ".")) == 3


def test_file_names() -> None:
    assert names.set_name("web-1", names.SERVER) == "web-1_SyncServer"
    assert names.set_name("web-1", names.CLIENT) == "web-1_SyncClient"
    assert names.remote_file("web-1", names.SERVER, names.CURRENT) == "web-1_SyncServer.cer"
    assert names.remote_file("web-1", names.CLIENT, names.NEXT) == "web-1_SyncClient.next.cer"
    assert names.remote_file("web-1", names.CLIENT, names.PREVIOUS) == "web-1_SyncClient.previous.cer"


def test_the_longest_name_fits_a_common_name_and_its_file_name() -> None:
    longest = names.set_name("a" * 53, names.SERVER)
    assert len(longest) == 64
