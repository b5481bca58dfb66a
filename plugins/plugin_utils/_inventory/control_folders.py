# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Where the ledger and the reports lie: never where Ansible reads them as a part of the inventory."""

from __future__ import annotations

import os
from collections.abc import Iterable

from ansible.inventory.manager import IGNORED

_HIDDEN = "."


def settled(name: str, folder: str, sources: Iterable[str]) -> tuple[str, list[str]]:
    """The folder that is used for a setting, and what the user is told of it.

    The defaults begin with a dot, because Ansible reads everything else in an inventory folder as inventory. A folder
    that an earlier version made without the dot is used as long as there is no other.

    :param name: of the setting. :param folder: its value. :param sources: the inventories of this run.
    """
    warnings = []
    parent, base = os.path.split(folder.rstrip("/"))
    before = os.path.join(parent, base[len(_HIDDEN) :])
    if base.startswith(f"{_HIDDEN}esync-") and os.path.isdir(before):
        if os.path.isdir(folder):
            return folder, [f"{name} is {folder}; {before} is no longer used. Remove it: rm -r {before}"]
        warnings.append(f"{name}: {before} is used, as an earlier version made it. Rename it: mv {before} {folder}")
        folder = before
    inventory = next((source for source in sources if is_read(folder, source)), None)
    if inventory:
        parent, base = os.path.split(folder.rstrip("/"))
        warnings.append(
            f"{name} is {folder}, which Ansible reads as a part of the inventory {inventory}: its files become hosts "
            f"and groups there. Choose a name that begins with a dot, and mv {folder} {parent}/{_HIDDEN}{base}"
        )
    return folder, warnings


def is_read(folder: str, source: str) -> bool:
    """Whether Ansible reads the files of a folder as a part of an inventory source, which may be a folder."""
    top, below = os.path.realpath(source), os.path.realpath(folder)
    if not os.path.isdir(top) or os.path.commonpath([top, below]) != top:
        return False
    return not any(IGNORED.search(os.fsencode(part)) for part in os.path.relpath(below, top).split("/"))
