# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from ansible_collections.esync.mesh.plugins.module_utils._core import libraries as requirements
from ansible_collections.esync.mesh.plugins.module_utils._core.errors import EsyncError

COLLECTIONS = Path(__file__).resolve().parents[5] / "playbooks" / "collections"


def test_what_is_here_will_do() -> None:
    requirements.require()


@pytest.mark.parametrize("version", ["38", "38.0.4", "50.0.2", "100.0"])
def test_new_enough(version: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(requirements, "FOUND", version)
    requirements.require()


@pytest.mark.parametrize("version", ["37.0.4", "3.4.8", "2.9", "unknown"])
def test_too_old_names_what_was_found_and_where(version: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(requirements, "FOUND", version)
    monkeypatch.setattr(requirements, "PLACE", "/usr/lib/somewhere/cryptography/__init__.py")
    with pytest.raises(EsyncError) as caught:
        requirements.require()
    assert caught.value.kind == "missing_dependency"
    for part in (f"version {version} ", "/usr/lib/somewhere/cryptography", "38 or later", "python3-cryptography"):
        assert part in str(caught.value)


def test_without_the_library_everything_imports_and_says_what_to_install() -> None:
    program = """
import sys
sys.modules["cryptography"] = None
sys.path.insert(0, sys.argv[1])
from ansible_collections.esync.mesh.plugins.module_utils._crypto import pkcs12
from ansible_collections.esync.mesh.plugins.module_utils._crypto import pvk
from ansible_collections.esync.mesh.plugins.module_utils._core import libraries as requirements
from ansible_collections.esync.mesh.plugins.module_utils._crypto import certificates as x509
try:
    requirements.require()
except Exception as error:
    print(type(error).__name__, error.kind, error)
"""
    run = subprocess.run(
        [sys.executable, "-c", program, str(COLLECTIONS)], capture_output=True, text=True, timeout=60, check=False
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout.startswith("EsyncError missing_dependency ")
    assert "there is none" in run.stdout
    assert "python3-cryptography" in run.stdout
    assert "esync_install_dependencies" in run.stdout
