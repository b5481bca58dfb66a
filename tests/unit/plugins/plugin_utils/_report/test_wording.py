# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest

from ansible_collections.esync.mesh.plugins.plugin_utils._report.wording import few, place_of


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
def test_some_names_are_told_and_the_number_of_the_rest(names, most, text):
    assert few(list(names), most) == text


def test_a_site_stands_after_its_server():
    assert (place_of("a", None), place_of("a", "shop")) == ("a", "a [shop]")
