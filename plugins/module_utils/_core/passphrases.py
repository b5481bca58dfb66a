# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Passphrases that a user gave: none is ever part of a message."""

from __future__ import annotations

from typing import Any, Mapping, Optional

from ansible_collections.esync.mesh.plugins.module_utils._core.errors import EsyncError

_IMPOSSIBLE = ("\n", "\r", "\0")


def passphrase_of(options: Mapping[str, Any], name: str) -> Optional[bytes]:
    """The passphrase that an option holds; None: it is empty.

    :raises EsyncError: kind ``bad_passphrase``.
    """
    given = options[name]
    refuse_bad_passphrase(given or "", name, options.get("name"))
    return given.encode("utf-8") if given else None


def refuse_bad_passphrase(passphrase: str, name: str, server: Optional[str]) -> None:
    """Refuse what nobody could type, and what programs that read a passphrase from a file cut off.

    :param name: of the setting or option. :raises EsyncError: kind ``bad_passphrase``.
    """
    if any(one in passphrase for one in _IMPOSSIBLE):
        raise EsyncError(
            f"{name} has a line break or a NUL in it, so that no other program would open what is encrypted with it",
            "Remove the line break: in YAML write the passphrase in quotes, or after |- instead of |",
            kind="bad_passphrase",
            server=server,
        )
