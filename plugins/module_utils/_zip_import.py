# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Compile what Ansible sends only once: to import from a zip archive, Python compiles every module twice.

``importlib`` asks the loader of a module for its file name, and ``zipimporter.get_filename`` compiles the module to
find out. A host spends more of its time on that than on everything that a visit without changes does.
"""

from __future__ import annotations

import sys
import zipimport


class _Importer(zipimport.zipimporter):
    """Tells the name of a file without compiling it. Ansible sends nothing but sources."""

    def get_filename(self, fullname: str) -> str:
        name = fullname.rpartition(".")[2] + ("/__init__" if self.is_package(fullname) else "")
        return f"{self.archive}/{self.prefix}{name}.py"


def compile_once() -> None:
    """Do so for all packages of this module's archive of which nothing is imported yet; nothing if there is none."""
    own = globals().get("__loader__")
    if not isinstance(own, zipimport.zipimporter):
        return
    archive = own.archive

    def hook(path: str) -> _Importer:
        if not path.startswith(f"{archive}/"):
            raise ImportError(path)
        return _Importer(path)

    sys.path_hooks.insert(0, hook)
