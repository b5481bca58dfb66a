# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Untrusted certificates with their keys, for the connection test to present (docs/files-on-the-host.md).

No peer trusts them, so every peer must refuse them; their keys open nothing. They are made together with a server's own
sets, so that the test itself needs no cryptography.

There is one without any server's name, one with this server's own, and, where client keys are shared, one with the
name of each peer, because there a peer expects its own name in the certificates of its callers.
"""

from __future__ import annotations

import datetime
import hashlib
import re
import stat
from typing import Iterable, Optional, Tuple

from ansible_collections.esync.mesh.plugins.module_utils._core import names
from ansible_collections.esync.mesh.plugins.module_utils._core.certificate import moment_of, timestamp
from ansible_collections.esync.mesh.plugins.module_utils._core.errors import EsyncError
from ansible_collections.esync.mesh.plugins.module_utils._core.folders import TEMPORARY, Folder, temporary_name
from ansible_collections.esync.mesh.plugins.module_utils._core.libraries import require

NOBODY = "untrusted"
"""To whom the one without a server's name is issued."""

FOLDER_MODE = 0o700
FILE_MODE = 0o600

_VALID_DAYS = 3650
_RENEW_BEFORE = datetime.timedelta(days=365)
# What stands before the PEM blocks, where readers of PEM skip it (RFC 7468, section 2).
_HEADER = re.compile(rb"Untrusted, for tests only, until ([0-9TZ:-]{20}), SHA-256 of the rest: ([0-9a-f]{64})\n")


def file_name(server: Optional[str] = None) -> str:
    """The file of the certificate with a server's name, or of the one without any.

    :param server: the name; None: without any.
    """
    return f"{names.set_name(server, names.CLIENT) if server else NOBODY}.pem"


def missing(base: Folder, servers: Iterable[str], now: datetime.datetime) -> Tuple[str, ...]:
    """The files that are not there, damaged, open to others, or out of their time soon.

    :param base: the directory of the mesh. :param servers: by whose names certificates have to be there.
    """
    wanted = _wanted(servers)
    try:
        if base.status(names.PROBE) is None:
            return wanted
        with base.child(names.PROBE) as folder:
            status = folder.status()
            if status is None or stat.S_IMODE(status.st_mode) != FOLDER_MODE:
                return wanted
            return tuple(name for name in wanted if not _is_sound(folder, name, now))
    except EsyncError:
        return wanted


def is_intact(data: bytes) -> bool:
    """Whether a file is as it was written."""
    header = _HEADER.match(data)
    return header is not None and hashlib.sha256(data[header.end() :]).hexdigest() == header[2].decode("ascii")


def make(base: Folder, files: Iterable[str], now: datetime.datetime) -> None:
    """Make the certificates that are missing; call it under the lock of ``base``.

    :param files: as :func:`missing` returned them. :param now: the host's time, with a time zone.
    :raises EsyncError: kind ``missing_dependency``, or the disk fails or is full.
    """
    require()
    _make_way(base)
    if base.status(names.PROBE) is None:
        base.make_child(names.PROBE, FOLDER_MODE).close()
    with base.child(names.PROBE) as folder:
        folder.set_mode(FOLDER_MODE)
        # What a killed run left half written.
        for name in folder.entries():
            if name.startswith(TEMPORARY):
                folder.remove_tree(name, wipe=True)
        for name in files:
            status = folder.status(name)
            if status and not stat.S_ISREG(status.st_mode):
                folder.remove_tree(name)
            folder.write(name, _certificate(name, now), FILE_MODE)


def _wanted(servers: Iterable[str]) -> Tuple[str, ...]:
    return (file_name(), *(file_name(server) for server in dict.fromkeys(servers)))


def _is_sound(folder: Folder, name: str, now: datetime.datetime) -> bool:
    try:
        data = folder.read(name)
        status = folder.status(name)
        header = _HEADER.match(data)
        timely = header is not None and moment_of(header[1].decode("ascii")) > now + _RENEW_BEFORE
    except (EsyncError, ValueError):
        return False
    return timely and is_intact(data) and status is not None and stat.S_IMODE(status.st_mode) == FILE_MODE


def _make_way(base: Folder) -> None:
    """Put aside what stands in the place of the folder, or belongs to somebody else."""
    status = base.status(names.PROBE)
    if status and not (stat.S_ISDIR(status.st_mode) and status.st_uid == base.owner):
        aside = temporary_name()
        base.rename(names.PROBE, aside)
        base.remove_tree(aside, wipe=True)


def _certificate(name: str, now: datetime.datetime) -> bytes:
    from ansible_collections.esync.mesh.plugins.module_utils._crypto import certificates as x509

    server = name[: -len(".pem")]
    suffix = names.set_name("", names.CLIENT)
    subject = server[: -len(suffix)] if server.endswith(suffix) else server
    key = x509.generate_key("ecdsa", 256)
    profile = x509.Profile(subject, (subject,), "ecdsa", 256, _VALID_DAYS)
    certificate = x509.self_sign(key, names.CLIENT, profile, now)
    body = certificate.pem.encode("ascii") + x509.key_to_pem(key)
    until = timestamp(certificate.not_after)
    header = f"Untrusted, for tests only, until {until}, SHA-256 of the rest: {hashlib.sha256(body).hexdigest()}\n"
    return header.encode("ascii") + body
