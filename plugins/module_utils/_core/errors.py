# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The one family of errors: every failure says where, why and what to do."""

from __future__ import annotations

import os
import traceback
from typing import Any, Dict, Optional, Sequence, Tuple


class EsyncError(Exception):
    """A failure that a user can act on.

    :param cause: what is wrong, in plain words; never derived from key material or a passphrase.
    :param remedy: what to do about it.
    :param kind: a stable key for machines, such as ``damaged_file``.
    :param server: the server name concerned, if any.
    :param path: the file or folder concerned, if any.
    """

    def __init__(
        self,
        cause: str,
        remedy: str,
        *,
        kind: str = "error",
        server: Optional[str] = None,
        path: Optional[str] = None,
    ) -> None:
        super().__init__(cause)
        self.cause = cause
        self.remedy = remedy
        self.kind = kind
        self.server = server
        self.path = path

    def __str__(self) -> str:
        place = ": ".join(part for part in (self.server, self.path) if part)
        message = f"{place}: {self.cause}" if place else self.cause
        return f"{_sentence(message)} {_sentence(self.remedy)}".strip()

    def to_result(self) -> Dict[str, Any]:
        """The error as a module result: ``msg`` and its parts, without ``failed``."""
        return {
            "msg": str(self),
            "error": {
                "kind": self.kind,
                "cause": self.cause,
                "remedy": self.remedy,
                "server": self.server,
                "path": self.path,
            },
        }


class EsyncErrors(EsyncError):
    """Several failures reported at once, so that nobody has to run again to learn of the next one.

    :param errors: at least one error.
    """

    def __init__(self, errors: Sequence[EsyncError]) -> None:
        self.errors: Tuple[EsyncError, ...] = tuple(errors)
        first = self.errors[0]
        super().__init__(first.cause, first.remedy, kind=first.kind, server=first.server, path=first.path)

    def __str__(self) -> str:
        return "\n".join(str(error) for error in self.errors)

    def to_result(self) -> Dict[str, Any]:
        result = super().to_result()
        result["errors"] = [error.to_result()["error"] for error in self.errors]
        return result


def raise_all(errors: Sequence[EsyncError]) -> None:
    """Raise what was collected: nothing, the one error, or all of them together."""
    if len(errors) == 1:
        raise errors[0]
    if errors:
        raise EsyncErrors(errors)


def unexpected(error: BaseException) -> str:
    """A fixed text for an exception nobody foresaw: its type and place, never its message.

    The message of an unexpected exception may hold key material (see the security document), so it is not shown.
    """
    frames = traceback.extract_tb(error.__traceback__)
    place = "an unknown place"
    if frames:
        last = frames[-1]
        place = f"{os.path.basename(last.filename)}:{last.lineno} in {last.name}"
    return (
        f"Unexpected {type(error).__name__} at {place}. "
        "The error's own text is not shown, because it could hold a secret. "
        "Run again; if it comes back, report this line."
    )


def _sentence(text: str) -> str:
    text = text.strip()
    return text if not text or text[-1] in ".!?" else text + "."
