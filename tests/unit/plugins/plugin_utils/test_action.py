# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest
from ansible import constants
from ansible.errors import AnsibleActionFail, AnsibleConnectionFailure

from ansible_collections.esync.mesh.plugins.module_utils._core.errors import EsyncError
from ansible_collections.esync.mesh.plugins.plugin_utils._action import guarded, plain, show


def test_what_goes_well_is_passed_on():
    assert guarded(lambda: {"changed": True})() == {"changed": True}


def test_an_error_becomes_a_failed_result():
    def run():
        raise EsyncError("bad", "repair it", kind="k", server="a")

    result = guarded(run)()
    assert result["failed"]
    assert result["msg"] == "a: bad. repair it."
    assert result["error"]["kind"] == "k"


def test_the_text_of_a_foreign_exception_is_never_shown():
    def run():
        raise ValueError("hunter2")

    result = guarded(run)()
    assert result["failed"]
    assert "hunter2" not in str(result)
    assert "ValueError at test_action.py" in result["msg"]


@pytest.mark.parametrize("error", [AnsibleConnectionFailure, AnsibleActionFail])
def test_what_ansible_must_see_itself_is_passed_on(error):
    def run():
        raise error("no way to the host")

    with pytest.raises(error):
        guarded(run)()


def test_plain_makes_json_types():
    class Text(str):
        pass

    found = plain({"a": [Text("x")], Text("b"): (1, None)})
    assert found == {"a": ["x"], "b": [1, None]}
    assert not isinstance(found["a"][0], Text)


@pytest.mark.parametrize(
    ("callback", "stream"),
    [("default", "out"), ("ansible.builtin.minimal", "out"), ("json", "err"), ("ansible.posix.jsonl", "err")],
)
def test_what_people_read_is_printed_beside_an_output_for_programs(capsys, monkeypatch, callback, stream):
    monkeypatch.setattr(constants.config, "get_config_value", lambda name, *more, **rest: callback)
    show(["1 of 2 pairs ok."])
    assert "1 of 2 pairs ok." in getattr(capsys.readouterr(), stream)
