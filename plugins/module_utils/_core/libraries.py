# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The one library that hosts need, and what to say when it is missing or too old."""

from __future__ import annotations

from typing import Optional

from ansible_collections.esync.mesh.plugins.module_utils._core.errors import EsyncError

MINIMUM = 38
"""The oldest major version of cryptography that writes every PKCS#12 form (Debian 12 has it)."""

FOUND: Optional[str] = None
"""The version that is installed, empty if there is none; None as long as nobody asked, for importing it takes time."""

PLACE = ""


def require() -> None:
    """Make sure that cryptography can be used.

    :raises EsyncError: kind ``missing_dependency``, naming what was found and what to install.
    """
    version = _found()
    if _major(version) >= MINIMUM:
        return
    found = f"version {version} was found at {PLACE}" if version else "there is none"
    raise EsyncError(
        f"the Python library cryptography, version {MINIMUM} or later, is needed, and {found}",
        "Install the package python3-cryptography with the host's own package manager, "
        "for the Python that ansible_python_interpreter names, or set esync_install_dependencies to true",
        kind="missing_dependency",
    )


def _found() -> str:
    global FOUND, PLACE
    if FOUND is None:
        try:
            import cryptography

            FOUND, PLACE = cryptography.__version__, str(cryptography.__file__)
        except ImportError:
            FOUND = ""
    return FOUND


def _major(version: str) -> int:
    first = version.split(".")[0]
    return int(first) if first.isdigit() else 0
