# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How a step is carried out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Callable


def _ignore(_message: str) -> None:
    """Nobody reads the warnings."""


@dataclass(frozen=True)
class Context:
    """What a step has to know besides its options.

    :param check: whether the step only says what it would do.
    :param diff: whether the result holds what changed.
    :param warn: called with each warning for the user.
    """

    check: bool = False
    diff: bool = False
    warn: Callable[[str], None] = _ignore
