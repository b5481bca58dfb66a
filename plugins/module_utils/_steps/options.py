# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the steps about a server's own sets have in common: their options, and how results look."""

from __future__ import annotations

import datetime
import grp
from typing import Any, Dict, List, Mapping, Optional, Tuple

from ansible_collections.esync.mesh.plugins.module_utils._core import layout, names
from ansible_collections.esync.mesh.plugins.module_utils._core.certificate import timestamp
from ansible_collections.esync.mesh.plugins.module_utils._core.errors import EsyncError
from ansible_collections.esync.mesh.plugins.module_utils._core.folders import Folder
from ansible_collections.esync.mesh.plugins.module_utils._core.passphrases import passphrase_of
from ansible_collections.esync.mesh.plugins.module_utils._crypto import key_types
from ansible_collections.esync.mesh.plugins.module_utils._steps.context import SERVER
from ansible_collections.esync.mesh.plugins.module_utils._store import trust_folder as trust
from ansible_collections.esync.mesh.plugins.module_utils._store.generations import SetSettings

SPEC: Dict[str, Any] = {
    **SERVER,
    "address": {"type": "str"},
    "subject_alt_names": {"type": "list", "elements": "str", "default": []},
    "key_type": {"type": "str", "choices": list(key_types.KEY_TYPES), "default": key_types.DEFAULT},
    "key_size": {"type": "int", "choices": list(key_types.SIZES)},
    "renew_before_days": {"type": "int", "default": 30},
    "formats": {"type": "list", "elements": "str", "choices": list(layout.FORMATS), "default": list(layout.FORMATS)},
    "pfx_passphrase": {"type": "str", "no_log": True},
    "pfx_encryption": {"type": "str", "choices": list(layout.ENCRYPTIONS), "default": layout.MODERN},
    "file_group": {"type": "str"},
    "product_version": {"type": "raw"},
    "product_version_timeout": {"type": "float", "default": 10},
    "control_clock": {"type": "float"},
}
"""Without ``deep``, whose default differs: a reader checks everything by default."""

_SHARED_FOLDERS = (names.SHARED, names.HANDED_OVER, names.HANDED_BEFORE)
_VERSION_LIMIT = 200


def settings_of(options: Mapping[str, Any]) -> SetSettings:
    """The settings that the options ask for.

    :raises EsyncError: kind ``unknown_group``.
    """
    passphrase = passphrase_of(options, "pfx_passphrase")
    named = [options["name"], options["address"], *options["subject_alt_names"]]
    return SetSettings(
        name=options["name"],
        alt_names=tuple(name for name in named if name),
        key_type=options["key_type"],
        key_size=options["key_size"],
        valid_days=options.get("valid_days", 365),
        renew_before_days=options["renew_before_days"],
        formats=tuple(suffix for suffix in layout.FORMATS if suffix in options["formats"]),
        passphrase=passphrase,
        pfx_encryption=options["pfx_encryption"],
        gid=gid_of(options["file_group"], options["name"]),
    )


def gid_of(group: Optional[str], server: str) -> Optional[int]:
    """The number of the group that may read the keys, if there is to be one.

    :raises EsyncError: kind ``unknown_group``.
    """
    if not group:
        return None
    try:
        return grp.getgrnam(group).gr_gid
    except KeyError:
        raise EsyncError(
            f"there is no group {group} on this host",
            "Create it, or correct esync_file_group",
            kind="unknown_group",
            server=server,
        ) from None


def trust_of(base: Optional[Folder], server: str, warnings: List[str]) -> Optional[Dict[str, Any]]:
    """The trust in force as the control node needs it; None if there is none, or it is damaged (with a warning)."""
    found, errors = read_trust(base, server)
    warnings += [str(error) for error in errors if found is None]
    return found


def read_trust(base: Optional[Folder], server: str) -> Tuple[Optional[Dict[str, Any]], List[EsyncError]]:
    """The trust in force, and what is wrong with its files; without trust if there is none, or its index is damaged."""
    try:
        found = trust.read(base, server) if base else None
    except EsyncError as error:
        return None, [error]
    if base is None or found is None:
        return None, []
    errors = [
        EsyncError(
            "it is damaged, missing or unexpected, or its mode is not the one it was created with",
            "Run establish: it is public data and is written again from the ledger",
            kind="damaged_trust",
            server=server,
            path=f"{base.path}/{names.REMOTE}/{found.folder}" + ("" if name == "." else f"/{name}"),
        )
        for name in found.damaged
    ]
    return {
        "digest": found.digest,
        "entries": [vars(entry) for entry in found.entries],
        "distrusted": [vars(one) for one in found.distrusted],
    }, errors


def shared_keys_of(
    base: Optional[Folder], server: str, gid: Optional[int], deep: bool = True
) -> Tuple[Optional[Dict[str, Any]], List[EsyncError]]:
    """The client sets that the peers share with this server, names and fingerprints only, and what is wrong with them.

    :param deep: parse every certificate and key, too.
    :raises EsyncError: kind ``missing_dependency``.
    """
    if base is None:
        return None, []
    try:
        if all(base.status(name) is None for name in _SHARED_FOLDERS):
            return None, []
        # Only here, because most meshes share no keys.
        from ansible_collections.esync.mesh.plugins.module_utils._store import shared_sets

        found = shared_sets.read(base, server, gid, deep)
    except EsyncError as error:
        if error.kind == "missing_dependency":
            raise
        # Not known, but something lies there: the control node has it written again.
        return {"digest": "", "withdrawn": False, "entries": []}, [error]
    if found is None:
        return None, []
    errors = [
        EsyncError(
            "it is damaged, missing or unexpected, or its mode is not the one it was created with",
            "Run establish, which distributes the peer's shared client key again",
            kind="damaged_shared_keys",
            server=server,
            path=f"{base.path}/{names.SHARED}"
            + {".": f"/{found.folder}", "..": ""}.get(name, f"/{found.folder}/{name}"),
        )
        for name in found.damaged
    ]
    entries = [vars(entry) for entry in found.entries]
    return {"digest": found.digest, "withdrawn": found.withdrawn, "entries": entries}, errors


def product_version(options: Mapping[str, Any]) -> Tuple[Optional[str], Optional[Dict[str, Any]]]:
    """The product's version on this host, given or printed by a command; None if it is not known.

    :returns: the version, and why it is not known, as an error of ours; a mesh works without it.
    """
    wanted = options["product_version"]
    if wanted is None or wanted == "" or wanted == []:
        return None, None
    if not isinstance(wanted, (list, tuple)):
        return str(wanted).strip(), None
    # Only here, because few have a command.
    from ansible_collections.esync.mesh.plugins.module_utils._core import processes

    words = [str(word) for word in wanted]
    seconds = options["product_version_timeout"]
    status, output, said = processes.run_command(words, seconds)
    lines = output.strip().splitlines()
    shown = lines[0].strip() if lines else ""
    why = None
    if status != 0:
        spoken = processes.last_words(said)
        why = processes.outcome_of(status, seconds) + (f" and said: {spoken}" if spoken else "")
    elif not shown:
        why = "printed nothing"
    elif len(shown) > _VERSION_LIMIT or not shown.isprintable():
        why = f"printed no version: its first line must be at most {_VERSION_LIMIT} printable characters"
    if why is None:
        return shown, None
    error = EsyncError(
        f"the command {' '.join(words)} {why}",
        "Correct esync_product_version, or what the command reports",
        kind="product_version_unknown",
        server=options["name"],
    )
    found: Dict[str, Any] = error.to_result()["error"]
    return None, found


def skew_of(now: datetime.datetime, control: Optional[float]) -> Optional[float]:
    """By how many seconds the host's clock is ahead of the control node's; None if that one is unknown."""
    return None if control is None else round(now.timestamp() - control, 3)


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
            f"its clock says {timestamp(now)}, the control node's says {timestamp(there)}: "
            f"they differ by {skew:.0f} s, and {limit} s are allowed",
            "Synchronise both clocks (chrony, systemd-timesyncd)",
            kind="clock_skew",
            server=server,
        )
