# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the modules about a server's own sets have in common: their options, and how results look."""

from __future__ import annotations

import datetime
import grp
from typing import Any, Dict, List, Mapping, Optional

from ansible_collections.esync.mesh.plugins.module_utils import endpoint, layout, pkcs12, trust, x509
from ansible_collections.esync.mesh.plugins.module_utils.errors import EsyncError
from ansible_collections.esync.mesh.plugins.module_utils.files import Folder
from ansible_collections.esync.mesh.plugins.module_utils.generations import Settings

SPEC: Dict[str, Any] = {
    "directory": {"type": "path", "default": "/etc/esync"},
    "name": {"type": "str", "required": True},
    "address": {"type": "str"},
    "subject_alt_names": {"type": "list", "elements": "str", "default": []},
    "key_type": {"type": "str", "choices": ["rsa", "ecdsa"], "default": "rsa"},
    "key_size": {"type": "int", "choices": [2048, 3072, 4096], "default": 3072},
    "renew_before_days": {"type": "int", "default": 30},
    "formats": {"type": "list", "elements": "str", "choices": list(layout.FORMATS), "default": list(layout.FORMATS)},
    "pfx_passphrase": {"type": "str", "no_log": True},
    "pfx_encryption": {"type": "str", "choices": list(pkcs12.ENCRYPTIONS), "default": pkcs12.MODERN},
    "file_group": {"type": "str"},
    "observe": {
        "type": "dict",
        "options": {
            "files": {"type": "list", "elements": "path", "default": []},
            "port": {"type": "int"},
            "address": {"type": "str"},
        },
    },
}


def settings_of(options: Mapping[str, Any]) -> Settings:
    """The settings that the options ask for.

    :raises EsyncError: kind ``unknown_group``.
    """
    passphrase = options["pfx_passphrase"]
    named = [options["name"], options["address"], *options["subject_alt_names"]]
    return Settings(
        name=options["name"],
        alt_names=tuple(name for name in named if name),
        key_type=options["key_type"],
        key_size=options["key_size"],
        valid_days=options.get("valid_days", 365),
        renew_before_days=options["renew_before_days"],
        formats=tuple(suffix for suffix in layout.FORMATS if suffix in options["formats"]),
        passphrase=passphrase.encode("utf-8") if passphrase else None,
        pfx_encryption=options["pfx_encryption"],
        gid=_gid(options["file_group"], options["name"]),
    )


def _gid(group: Optional[str], server: str) -> Optional[int]:
    if not group:
        return None
    try:
        return grp.getgrnam(group).gr_gid
    except KeyError:
        raise EsyncError(
            f"there is no group {group} on this host",
            "Make it, or correct esync_file_group",
            kind="unknown_group",
            server=server,
        ) from None


def trust_of(base: Optional[Folder], server: str, warnings: List[str]) -> Optional[Dict[str, Any]]:
    """The trust in force as the control node needs it; None if there is none, or it is damaged (with a warning)."""
    if base is None:
        return None
    try:
        found = trust.read(base, server)
    except EsyncError as error:
        warnings.append(str(error))
        return None
    return {"digest": found.digest, "entries": [vars(entry) for entry in found.entries]} if found else None


def observed(options: Mapping[str, Any]) -> Optional[Dict[str, Any]]:
    """What is to be known of the endpoint, read in the same call; None if it was not asked for."""
    return endpoint.observe(**options["observe"]) if options["observe"] else None


def clock() -> datetime.datetime:
    """The host's time, UTC."""
    return datetime.datetime.now(datetime.timezone.utc)


def check_clock(now: datetime.datetime, control: Optional[float], limit: int, server: str) -> None:
    """Refuse to issue anything by a clock that is far from the control node's.

    :param control: the control node's time in seconds since the epoch; None: not compared. :param limit: seconds.
    :raises EsyncError: kind ``clock_skew``, naming both times.
    """
    if control is None:
        return
    there = datetime.datetime.fromtimestamp(control, datetime.timezone.utc)
    skew = abs((now - there).total_seconds())
    if skew > limit:
        raise EsyncError(
            f"its clock says {x509.timestamp(now)}, the control node's says {x509.timestamp(there)}: "
            f"they differ by {skew:.0f} s, and {limit} s are allowed",
            "Synchronise both clocks (chrony, systemd-timesyncd)",
            kind="clock_skew",
            server=server,
        )
