# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A host with a Python that is too old gets a sentence: what it compiles first must be old enough itself."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

PLUGINS = Path(__file__).resolve().parents[4] / "plugins"
COLLECTIONS = PLUGINS.parent / "playbooks" / "collections"
MODULES = sorted(
    path.stem for path in (PLUGINS / "modules").glob("*.py") if "\ndef main(" in path.read_text(encoding="utf-8")
)
FIRST = [PLUGINS / "module_utils" / "_interpreter.py", *(PLUGINS / "modules" / f"{name}.py" for name in MODULES)]

PROGRAM = """
import runpy, sys
sys.path.insert(0, sys.argv[1])
sys.version_info = tuple(int(part) for part in sys.argv[3].split(".")) + ("final", 0)
try:
    runpy.run_module("ansible_collections.esync.mesh.plugins.modules." + sys.argv[2], run_name="__main__")
finally:
    print(sorted(name for name in sys.modules if name.startswith("ansible_collections.esync.mesh.plugins.module")))
"""


def test_there_are_modules() -> None:
    assert "visit" in MODULES and len(MODULES) > 5


@pytest.mark.parametrize("path", FIRST, ids=lambda path: path.stem)
def test_what_a_host_compiles_first_is_python_3_6(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"), feature_version=(3, 6))
    # No syntax to ast.parse, but to the compiler of Python 3.6.
    assert not [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module == "__future__"]


@pytest.mark.parametrize("module", MODULES)
@pytest.mark.parametrize("version", ["3.6.15", "3.7.16"])
def test_an_old_python_is_refused_before_anything_newer_is_imported(module: str, version: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(COLLECTIONS), module, version],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    answer, imported = done.stdout.splitlines()
    found = json.loads(answer)
    assert found["failed"] and found["error"]["kind"] == "old_python"
    assert f"{sys.executable}, is {version}, and 3.8 or later is needed" in found["msg"]
    assert "ansible_python_interpreter" in found["error"]["remedy"]
    own = [name for name in ast.literal_eval(imported) if name.rpartition(".")[2] not in ("module_utils", "modules")]
    assert own == ["ansible_collections.esync.mesh.plugins.module_utils._interpreter"]
