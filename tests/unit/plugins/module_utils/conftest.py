# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Directories with certificate sets, made once and copied."""

from __future__ import annotations

import datetime
import shutil
import stat
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.esync.mesh.plugins.module_utils import generations, names
from ansible_collections.esync.mesh.plugins.module_utils.files import Folder

NOW = datetime.datetime.now(datetime.timezone.utc)
PLAIN = generations.Settings("alpha", ("alpha", "127.0.0.1"), "ecdsa", formats=("cer",))
FORMS = {
    "ecdsa": PLAIN,
    "pfx": replace(PLAIN, formats=("cer", "pfx")),
    "rsa": replace(PLAIN, key_type="rsa", key_size=2048, formats=("cer", "pvk")),
}
"""What the tests' sets look like: quick to judge, with .pfx files, and with RSA keys, hence .pvk files."""


class Server:
    """The directory of one server and its settings, with what nearly every test asks of it."""

    def __init__(self, path: Path, settings: generations.Settings) -> None:
        self.path = path
        self.settings = settings

    def sets(self, base: Folder, now: datetime.datetime = NOW, **changes: Any) -> generations.Sets:
        """What generations.py makes of an open directory."""
        check = changes.pop("check", False)
        return generations.Sets(base, replace(self.settings, **changes), now, check)

    def do(self, state: str, *arguments: Any, now: datetime.datetime = NOW, **options: Any) -> generations.Outcome:
        """Bring it into a state: ``do("present", renew=True)``; ``settings`` and ``check`` may be among the options."""
        changes = options.pop("settings", {})
        with Folder.open(str(self.path), 0o755) as base:
            sets = self.sets(base, now, check=options.pop("check", False), **changes)
            outcome: generations.Outcome = getattr(sets, state)(*arguments, **options)
        return outcome

    def inspect(self, **changes: Any) -> Any:
        """What inspection.py finds in it."""
        with Folder.open(str(self.path)) as base:
            return self.sets(base, **changes).found

    def file(self, role: str, suffix: str, state: str = names.CURRENT) -> Path:
        """A file of a set, by its real path."""
        return (self.path / state).resolve() / f"{names.set_name(self.settings.name, role)}.{suffix}"

    def links(self) -> dict[str, str]:
        """State to generation, as the links say."""
        return {
            state: (self.path / state).readlink().name for state in names.STATES if (self.path / state).is_symlink()
        }

    def contents(self) -> dict[str, Any]:
        """Everything that lies there: path to mode and content or target."""
        found: dict[str, Any] = {}
        for path in sorted(self.path.rglob("*")):
            mode = path.lstat().st_mode
            if stat.S_ISLNK(mode):
                found[str(path)] = str(path.readlink())
            else:
                found[str(path)] = stat.S_IMODE(mode), path.read_bytes() if stat.S_ISREG(mode) else None
        return found


@pytest.fixture(scope="session")
def _made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A directory with a current and a next generation for each form."""
    found = {}
    for form, settings in FORMS.items():
        server = Server(tmp_path_factory.mktemp("made") / form, settings)
        server.do("present")
        server.do("next")
        found[form] = server.path
    return found


@pytest.fixture
def server(tmp_path: Path, _made: dict[str, Path]) -> Any:
    """Gives directories that have generations already: ``server("ecdsa", "current", "next")``.

    Of what is not named there is nothing; with ``previous`` it is as after a switch.
    """

    def copy(form: str, *states: str, path: Path = tmp_path / "esync") -> Server:
        shutil.copytree(_made[form], path, symlinks=True)
        made = Server(path, FORMS[form])
        if names.NEXT not in states and names.PREVIOUS not in states:
            shutil.rmtree(made.file("server", "crt", names.NEXT).parent)
            (path / names.NEXT).unlink()
        elif names.PREVIOUS in states:
            made.do("switched")
        return made

    return copy


@pytest.fixture
def fresh(tmp_path: Path) -> Any:
    """Gives a server that has nothing yet, its directory neither: ``fresh("ecdsa")``."""

    def make(form: str, path: Path = tmp_path / "esync") -> Server:
        return Server(path, FORMS[form])

    return make
