# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

from ansible_collections.esync.mesh.plugins.module_utils import _zip_import

PROGRAM = """
import collections, json, sys
compiled = collections.Counter()
sys.addaudithook(lambda event, told: compiled.update([str(told[1])]) if event == "compile" else None)
sys.path[:0] = sys.argv[1:]
import whole.start
import whole.part.deep.module, other.part.module
import inspect
found = whole.part.deep.module
print(json.dumps({
    "compiled": compiled,
    "file": found.__file__,
    "package": whole.part.deep.__file__,
    "path": list(whole.part.deep.__path__),
    "other": type(other.part.module.__loader__).__name__,
    "source": inspect.getsource(found.function),
}))
"""


def imported(folder: Path) -> tuple[Path, dict[str, Any]]:
    """An archive with what is tested, which imports a package from it and one from another archive."""
    own, other = folder / "own.zip", folder / "other.zip"
    with zipfile.ZipFile(own, "w") as archive:
        archive.write(_zip_import.__file__, "whole/zip_import.py")
        archive.writestr("whole/__init__.py", "")
        archive.writestr("whole/start.py", "from whole.zip_import import compile_once\ncompile_once()\n")
        archive.writestr("whole/part/__init__.py", "")
        archive.writestr("whole/part/deep/__init__.py", "")
        archive.writestr("whole/part/deep/module.py", "def function():\n    return 1\n")
    with zipfile.ZipFile(other, "w") as archive:
        for name in ("other/__init__.py", "other/part/__init__.py", "other/part/module.py"):
            archive.writestr(name, "")
    run = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(own), str(other)], stdout=subprocess.PIPE, text=True, check=True
    )
    return own, json.loads(run.stdout)


def test_a_module_of_the_archive_is_compiled_once_and_says_where_it_is_from(tmp_path: Path) -> None:
    own, found = imported(tmp_path)
    for name, place in (("file", "whole/part/deep/module.py"), ("package", "whole/part/deep/__init__.py")):
        assert found[name] == f"{own}/{place}"
        assert found["compiled"][f"{own}/{place}"] == 1
    assert found["path"] == [f"{own}/whole/part/deep"]
    assert found["source"] == "def function():\n    return 1\n"


def test_another_archive_is_left_to_python(tmp_path: Path) -> None:
    _own, found = imported(tmp_path)
    assert found["other"] == "zipimporter"


def test_without_an_archive_nothing_is_changed() -> None:
    before = list(sys.path_hooks)
    _zip_import.compile_once()
    assert sys.path_hooks == before
