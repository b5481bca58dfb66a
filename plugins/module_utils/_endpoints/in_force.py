# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What lies on the disk to be served, and the note of what each endpoint was proved to have loaded of it.

The note has one line for each driver, so that an endpoint that failed makes no other one reload. It is taken away
before a reload is tried, and written after the proof: a run that is killed between the two is completed by the next
one, and a reload that did nothing is repeated.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import ssl
from dataclasses import dataclass
from typing import List, Optional, Sequence

from ansible_collections.esync.mesh.plugins.module_utils._connection import tls
from ansible_collections.esync.mesh.plugins.module_utils._core import layout, names
from ansible_collections.esync.mesh.plugins.module_utils._core.errors import EsyncError
from ansible_collections.esync.mesh.plugins.module_utils._core.folders import Folder
from ansible_collections.esync.mesh.plugins.module_utils._core.regular_file import read_file
from ansible_collections.esync.mesh.plugins.module_utils._store.indexed_folder import digest_of

_LINE = re.compile(r"[a-z]+: .+\Z")
_PEM = re.compile("-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)
_BUNDLE_LIMIT = 64 << 20


@dataclass(frozen=True)
class InForce:
    """What an endpoint has to serve and to accept now.

    :param certificate: SHA-256 fingerprint of the current server certificate; None: there is none yet.
    :param trust: the digest of the trust; None: there is none yet.
    :param trust_folder: the name of its folder, which is another one whenever the trust was written.
    :param peers: how many peers may call, each counted once, whatever its generations.
    """

    certificate: Optional[str]
    trust: Optional[str]
    trust_folder: Optional[str]
    peers: int


def read_in_force(directory: str) -> InForce:
    """Read what lies in the directory of the mesh.

    :raises EsyncError: kind ``damaged_file``.
    """
    certificate = None
    # In check mode nobody may have made them yet.
    if os.path.isdir(os.path.join(directory, names.CURRENT)):
        certificate = current_fingerprint(directory)
    try:
        trust = tls.read_trust(directory)
    except EsyncError as error:
        if error.kind != "no_trust":
            raise
        return InForce(certificate, None, None, 0)
    peers = {entry.peer for entry in trust.entries if entry.role == names.CLIENT}
    return InForce(certificate, digest_of(trust.entries), os.path.basename(trust.folder), len(peers))


def current_fingerprint(directory: str) -> str:
    """The fingerprint of the server certificate that an endpoint has to serve.

    :raises EsyncError: kinds ``no_certificate``, ``damaged_file``.
    """
    return tls.read_credential(directory, names.CURRENT, names.SERVER).fingerprint


def trusted_clients(directory: str) -> List[bytes]:
    """The client certificates that are accepted, DER.

    :raises OSError: the bundle cannot be read.
    """
    pem = read_file(os.path.join(directory, names.TRUSTED, "clients.pem"), _BUNDLE_LIMIT).decode("ascii", "replace")
    return [ssl.PEM_cert_to_DER_cert(found) for found in _PEM.findall(pem)]


# -- the note -------------------------------------------------------------------------------------------------


def note_of(driver: str, in_force: InForce, sites: Sequence[str], configuration: str) -> str:
    """What is noted of an endpoint that has loaded all of this.

    :param driver: the name of the driver.
    :param sites: the names of the sites that it serves.
    :param configuration: the text of its configuration; empty: it has none of ours.
    """
    parts = [f"trust {in_force.trust} in {in_force.trust_folder}", f"certificate {in_force.certificate}"]
    parts += [f"sites {' '.join(sites)}"] if sites else []
    digest = hashlib.sha256(configuration.encode("utf-8")).hexdigest()
    parts += [f"configuration {digest}"] if configuration else []
    return f"{driver}: {', '.join(parts)}"


def is_noted(base: Optional[Folder], note: str) -> bool:
    """Whether exactly this was noted. :param base: the directory of the mesh; None: it does not exist."""
    return base is not None and note in _lines(base)


def write_note(base: Folder, driver: str, note: str) -> None:
    """Note what a driver was proved to have loaded."""
    _write(base, [*_others(base, driver), note])


def forget_note(base: Folder, driver: str) -> None:
    """Take away what was noted of a driver."""
    _write(base, _others(base, driver))


def has_note(base: Folder) -> bool:
    """Whether anything is noted."""
    return base.status(layout.LOADED) is not None


def forget_all(base: Folder) -> None:
    """Take away what was noted of all drivers."""
    base.remove(layout.LOADED)
    base.sync()


def _others(base: Folder, driver: str) -> List[str]:
    return [line for line in _lines(base) if not line.startswith(f"{driver}: ")]


def _lines(base: Folder) -> List[str]:
    """The lines of the note; none if it cannot be used."""
    with contextlib.suppress(EsyncError):
        if has_note(base):
            text = base.read(layout.LOADED).decode("utf-8", "replace")
            return [line for line in text.splitlines() if _LINE.match(line)]
    return []


def _write(base: Folder, lines: Sequence[str]) -> None:
    if lines:
        base.write(layout.LOADED, "".join(f"{line}\n" for line in lines).encode("utf-8"), layout.PUBLIC_MODE)
    elif has_note(base):
        forget_all(base)
