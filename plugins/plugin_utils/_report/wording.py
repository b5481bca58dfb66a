# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Words that several messages have in common."""

from __future__ import annotations

from collections.abc import Sequence


def place_of(server: str, site: str | None) -> str:
    """What is called: the server, with the site if one of its sites is meant."""
    return f"{server} [{site}]" if site else server


def few(names: Sequence[str], most: int = 5) -> str:
    """A few names, and how many more there are.

    :param names: never empty. :param most: so many are told if there are at least two more.
    """
    shown = [*names[:most], f"{len(names) - most} more"] if len(names) > most + 1 else list(names)
    return " and ".join([", ".join(shown[:-1]), shown[-1]]) if len(shown) > 1 else shown[0]
