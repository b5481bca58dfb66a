# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest

from ansible_collections.esync.mesh.plugins.module_utils._endpoints import systemd

SYSTEMCTL = """#!/bin/sh
echo "$@" >> ROOT/said
[ "$1" != is-active ] || [ -e ROOT/active ]
"""


@pytest.fixture
def unit(tmp_path, monkeypatch):
    for name, text in (("systemctl", SYSTEMCTL), ("journalctl", "#!/bin/sh\necho its log\n")):
        (tmp_path / name).write_text(text.replace("ROOT", str(tmp_path)))
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.setattr(systemd, "RUNNING", str(tmp_path))
    return systemd.Unit("web", 5)


def test_what_is_asked_of_systemd(unit, tmp_path):
    assert systemd.is_here()
    assert not unit.is_active()
    (tmp_path / "active").touch()
    assert unit.is_active()
    assert unit.reload()
    assert unit.stop()
    assert unit.enable() and unit.disable() and unit.forget()
    assert (tmp_path / "said").read_text() == (
        "is-active web\nis-active web\nreload web\nstop web\n"
        "daemon-reload\nenable web\ndisable web\nreset-failed web\ndaemon-reload\n"
    )
    assert unit.log() == "its log\n"
    assert unit.start_command == ["systemctl", "--quiet", "enable", "--now", "web"]


def test_where_systemd_does_not_run_it_is_not_asked(unit, tmp_path, monkeypatch):
    (tmp_path / "active").touch()
    monkeypatch.setattr(systemd, "RUNNING", str(tmp_path / "none"))
    assert not unit.is_active()
    assert not (tmp_path / "said").exists()
