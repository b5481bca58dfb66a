# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Passphrases that a user gave, in whichever option of whichever step."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from ansible_collections.esync.mesh.plugins.module_utils._core.errors import EsyncError
from ansible_collections.esync.mesh.plugins.module_utils._core.passphrases import passphrase_of

STEPS = Path(__file__).resolve().parents[5] / "plugins" / "module_utils" / "_steps"
_READ = re.compile(r"""(passphrase_of\(options, |options\[|options\.get\()"([a-z]+_passphrase)\"""")


def test_a_passphrase_is_taken_as_it_is_or_is_none() -> None:
    assert passphrase_of({"p": " g\u00fc "}, "p") == " g\u00fc ".encode()
    assert passphrase_of({"p": ""}, "p") is None and passphrase_of({"p": None}, "p") is None


def test_no_step_reads_a_passphrase_in_another_way() -> None:
    found = {name: _READ.findall(path.read_text()) for path in STEPS.glob("*.py") for name in [path.stem]}
    read = {(name, option) for name, ways in found.items() for _way, option in ways}
    assert {option for _name, option in read} == {"pfx_passphrase", "folder_passphrase"} and len(read) > 4
    assert not [(name, way) for name, ways in found.items() for way, _option in ways if "passphrase_of" not in way]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\0"])
def test_a_line_break_is_refused_and_the_passphrase_is_not_shown(end: str) -> None:
    with pytest.raises(EsyncError) as caught:
        passphrase_of({"p": "Very-Secret" + end, "name": "alpha"}, "p")
    assert (caught.value.kind, caught.value.server) == ("bad_passphrase", "alpha")
    assert "Very-Secret" not in str(caught.value) and str(caught.value).startswith("alpha: p has a line break")
