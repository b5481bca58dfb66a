# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from ansible_collections.esync.mesh.plugins.module_utils._core.errors import EsyncError
from ansible_collections.esync.mesh.plugins.plugin_utils._inventory.settings import Reader

ROLE = Path(__file__).resolve().parents[5] / "roles" / "esync"


def reader(**variables: Any) -> Reader:
    """The reader of one host with these variables; templates are not evaluated."""
    specs = yaml.safe_load((ROLE / "meta" / "argument_specs.yml").read_text(encoding="utf-8"))
    wanted = {name: specs["argument_specs"]["main"]["options"][name] for name in ("esync_key_size", "esync_port")}
    return Reader(wanted, {"esync_port": 8732}, {}, lambda _host: variables, lambda value, _context: value)


@pytest.mark.parametrize(("variables", "expected"), [({}, {}), ({"esync_key_size": "384"}, {"esync_key_size": 384})])
def test_a_size(variables: Any, expected: Any) -> None:
    assert reader(**variables).settings("a") == {"esync_port": 8732, **expected}


def test_null_takes_back_the_size_of_a_group() -> None:
    assert reader(esync_key_size=None).settings("a") == {"esync_port": 8732, "esync_key_size": None}


@pytest.mark.parametrize("variables", [{"esync_port": None}, {"esync_key_size": 512}, {"esync_key_size": ""}])
def test_what_is_refused(variables: Any) -> None:
    with pytest.raises(EsyncError) as caught:
        reader(**variables).settings("a")
    assert caught.value.kind == "bad_variable"
    assert str(next(iter(variables))) in str(caught.value)
