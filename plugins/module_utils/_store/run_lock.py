# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The lock that keeps two runs on one host apart."""

from __future__ import annotations

import contextlib
import stat
from typing import Iterator, Optional

from ansible_collections.esync.mesh.plugins.module_utils._core import layout, names
from ansible_collections.esync.mesh.plugins.module_utils._core.errors import EsyncError
from ansible_collections.esync.mesh.plugins.module_utils._core.folders import Folder


@contextlib.contextmanager
def locked(base: Folder, make: bool = False, check: bool = False, wait: float = 60.0) -> Iterator[None]:
    """Keep other runs out of the directory of the mesh.

    The lock is that of its folder of generations: anybody can open the directory itself, and hold its lock for ever.
    Where there are no generations there is nothing that two runs could spoil.

    :param make: make that folder if it is missing; left empty it is removed again.
    :param check: nothing is changed, hence no lock is needed.
    :param wait: seconds to wait for another run to finish.
    :raises EsyncError: kind ``locked``.
    """
    made = make and not check and _make(base)
    folder = None if check else _folder(base)
    if folder is None:
        yield
        return
    with contextlib.ExitStack() as stack:
        stack.enter_context(folder)
        try:
            stack.enter_context(folder.lock(wait))
        except EsyncError:
            # An older version left it open to others. Who holds its lock is named, and cannot do so again.
            folder.set_mode(layout.GENERATIONS_MODE)
            raise
        try:
            yield
        finally:
            if made and not folder.entries():
                base.remove_tree(names.GENERATIONS)


def _make(base: Folder) -> bool:
    """Make the folder. :returns: ``False`` if it is there already."""
    if base.status(names.GENERATIONS) is not None:
        return False
    try:
        base.make_child(names.GENERATIONS, layout.GENERATIONS_MODE).close()
    except EsyncError:
        if base.status(names.GENERATIONS) is None:
            raise
        return False  # another run has just made it
    return True


def _folder(base: Folder) -> Optional[Folder]:
    status = base.status(names.GENERATIONS)
    # Whatever else is there will be reported, or destroyed where that was asked for.
    sound = status is not None and stat.S_ISDIR(status.st_mode) and status.st_uid == base.owner
    return base.child(names.GENERATIONS) if sound else None
