# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A file among those of a product that is ours, all of it."""

from __future__ import annotations

import contextlib
import os
from typing import Iterator, Optional, Tuple

from ansible_collections.esync.mesh.plugins.module_utils._core.errors import EsyncError
from ansible_collections.esync.mesh.plugins.module_utils._core.folders import Folder

_LIMIT = 4 << 20
_MODE = 0o644


class OurFile:
    """One file, which everybody may read.

    :param server: the name of this server, for errors.
    """

    def __init__(self, path: str, server: str) -> None:
        self.path = path
        self._server = server

    def read(self) -> Optional[str]:
        """What it holds; None if there is none."""
        with contextlib.suppress(_NoFolder), self._folder() as (folder, name):
            if folder.status(name) is not None:
                return folder.read(name, _LIMIT).decode("utf-8", "replace")
        return None

    def write(self, text: str) -> bool:
        """Let it hold this; returns whether it held anything else.

        :raises EsyncError: kind ``missing_folder``.
        """
        if self.read() == text:
            return False
        with self._folder() as (folder, name):
            folder.write(name, text.encode("utf-8"), _MODE)
        return True

    def remove(self) -> None:
        """Take it away, if there is one."""
        with contextlib.suppress(_NoFolder), self._folder() as (folder, name):
            folder.remove(name)
            folder.sync()

    @contextlib.contextmanager
    def _folder(self) -> Iterator[Tuple[Folder, str]]:
        """Its folder, and its name in it."""
        path, name = os.path.split(self.path)
        folder = Folder.find(path)
        if folder is None:
            raise _NoFolder(
                "the folder does not exist",
                "Create it, or correct esync_endpoint_configuration",
                kind="missing_folder",
                server=self._server,
                path=path,
            )
        with folder:
            yield folder, name


class _NoFolder(EsyncError):
    """Where our file should be there is not even a folder."""
