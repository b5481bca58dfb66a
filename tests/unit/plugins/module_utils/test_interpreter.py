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

from ansible_collections.esync.mesh.plugins.module_utils import _interpreter

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


# -- the ways out ------------------------------------------------------------------------------------------------------

RELEASES = {
    "debian 12": 'PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\nID=debian\nVERSION_ID="12"\n',
    "ubuntu 20": 'ID=ubuntu\nID_LIKE=debian\nVERSION_ID="20.04"\n',
    "ubuntu 22": 'ID=ubuntu\nID_LIKE=debian\nVERSION_ID="22.04"\n',
    "rocky 8": 'ID="rocky"\nID_LIKE="rhel centos fedora"\nVERSION_ID="8.9"\n',
    "oracle 9": 'ID="ol"\nID_LIKE="fedora"\nVERSION_ID="9.4"\n',
    "amazon": 'ID="amzn"\nID_LIKE="fedora"\nVERSION_ID="2023"\n',
    "sles 15": 'ID="sles"\nID_LIKE="suse"\nVERSION_ID="15.5"\n',
    "leap 15": 'ID="opensuse-leap"\nID_LIKE="suse opensuse"\nVERSION_ID="15.6"\n',
    "unknown": 'ID=other\nVERSION_ID="1"\n',
    "silent": "",
}


@pytest.mark.parametrize(
    ("release", "version", "package"),
    [
        ("debian 12", "3.11", "python3-cryptography"),
        ("debian 12", "3.13", ""),
        ("ubuntu 20", "3.8", ""),  # its package is 2.8
        ("ubuntu 22", "3.10", "python3-cryptography"),
        ("rocky 8", "3.8", ""),  # likewise
        ("rocky 8", "3.9", "python39-cryptography"),
        ("rocky 8", "3.12", "python3.12-cryptography"),
        ("oracle 9", "3.9", "python3-cryptography"),
        ("oracle 9", "3.11", "python3.11-cryptography"),
        ("amazon", "3.9", "python3-cryptography"),
        ("sles 15", "3.11", "python311-cryptography"),
        ("leap 15", "3.11", "python311-cryptography"),
        ("unknown", "3.14", "python3-cryptography"),
        ("silent", "3.14", "python3-cryptography"),
    ],
)
def test_the_package_is_that_of_the_distribution_for_this_python(release: str, version: str, package: str) -> None:
    assert _interpreter.package_for(version, RELEASES[release]) == package


@pytest.mark.parametrize("release", RELEASES)
@pytest.mark.parametrize("packaged", [True, False])
@pytest.mark.parametrize("version", ["3.6.8", "3.7.3", "3.8.10", "3.11.2", "3.14.0"])
def test_there_are_three_ways_out_of_everything(release: str, packaged: bool, version: str) -> None:
    short = version.rpartition(".")[0]
    executable = f"/usr/bin/python{short}"
    first, other, own = _interpreter.ways_out(executable, short, packaged, RELEASES[release]).split("; or ")
    assert other == "set ansible_python_interpreter to another Python of the host that has cryptography"
    assert "-m venv /opt/esync-python && /opt/esync-python/bin/pip install cryptography" in own
    assert ("python3-venv" in own) == release.startswith(("debian", "ubuntu"))
    # Nobody can make one that is new enough with a Python that is not.
    assert (executable in own) == (version >= "3.8" or "3.1" in version)
    package = _interpreter.package_for(short, RELEASES[release])
    if version.startswith(("3.6", "3.7")):
        assert executable not in first
        assert "ansible_python_interpreter" in first or "no package" in first
    elif not packaged:
        assert first == f"Install it for that Python ({executable} -m pip install cryptography)"
    elif package:
        assert f"the package {package}" in first and "esync_install_dependencies" in first
    else:
        assert "to /usr/bin/python" in first or "no package" in first
    assert _interpreter.other_ways_out("; or ".join([first, other, own])) == f"{other}; or {own}"


@pytest.mark.parametrize("release", ["rocky 8", "sles 15", "amazon"])
def test_those_with_an_old_python_are_told_which_one_their_distribution_has(release: str) -> None:
    first = _interpreter.ways_out("/usr/bin/python3", "3.6.8", True, RELEASES[release]).split("; or ", maxsplit=1)[0]
    version = first.rpartition("python")[2]
    package = _interpreter.package_for(version, RELEASES[release])
    assert package and f"Install the package {package} " in first and first.endswith(f"to /usr/bin/python{version}")


def test_a_virtual_environment_has_no_packages_of_the_distribution(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(tmp_path / "venv")], check=True, timeout=60)
    program = "import runpy, sys; print(runpy.run_path(sys.argv[1])['is_packaged'](), sys.prefix != sys.base_prefix)"
    for python in (tmp_path / "venv" / "bin" / "python", Path("/usr/bin/python3")):
        done = subprocess.run([str(python), "-c", program, str(FIRST[0])], capture_output=True, text=True, check=True)
        assert done.stdout.split() == (["False", "True"] if "venv" in str(python) else ["True", "False"])
