# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Put a trust in force: written complete in a folder of its own, then switched to by the rename of a link."""

from __future__ import annotations

import base64
import contextlib
import hashlib
from dataclasses import dataclass
from typing import Dict, List, Mapping, Optional, Sequence, Tuple

from ansible_collections.esync.mesh.plugins.module_utils._core import names
from ansible_collections.esync.mesh.plugins.module_utils._core.certificate import Certificate, in_pem
from ansible_collections.esync.mesh.plugins.module_utils._core.errors import EsyncError
from ansible_collections.esync.mesh.plugins.module_utils._core.folders import Folder
from ansible_collections.esync.mesh.plugins.module_utils._core.libraries import require
from ansible_collections.esync.mesh.plugins.module_utils._crypto.certificates import parse_certificate
from ansible_collections.esync.mesh.plugins.module_utils._store import indexed_folder as indexed
from ansible_collections.esync.mesh.plugins.module_utils._store.distrust import Distrust, memory_digest
from ansible_collections.esync.mesh.plugins.module_utils._store.indexed_folder import digest_of
from ansible_collections.esync.mesh.plugins.module_utils._store.trust_folder import (
    INDEX,
    Trust,
    TrustEntry,
    derived_files,
    model_of,
    read,
)


@dataclass(frozen=True)
class TrustChange:
    """What putting a trust in force changed.

    :param added: entries that are new. :param removed: entries that went.
    :param distrusted: what the server remembers to distrust after it.
    """

    changed: bool
    digest: str
    added: Tuple[TrustEntry, ...]
    removed: Tuple[TrustEntry, ...]
    distrusted: Tuple[Distrust, ...] = ()


def apply(
    base: Folder,
    server: str,
    entries: Sequence[TrustEntry],
    pems: Sequence[str],
    folder_name: str,
    allow_empty: bool = False,
    check: bool = False,
    distrusted: Sequence[Distrust] = (),
) -> TrustChange:
    """Put exactly ``entries`` in force; call it under the lock of ``base``.

    :param pems: the certificates that may be missing on the host; the others are taken from the trust in force.
    :param folder_name: the name of the new folder.
    :param allow_empty: whether trusting nobody is intended.
    :param distrusted: certificates to distrust for ever, besides those that the server remembers.
    :raises EsyncError: an entry that it was told to distrust (kind ``distrusted_certificate``), the server itself among
        the entries with another certificate than a client's, an empty trust that was not requested, or a certificate
        that is missing (kind ``missing_certificates``); the trust in force then stays as it is.
    """
    wanted = tuple(sorted(entries))
    # It accepts its own client certificates where it shares them with its peers (esync_trust_model: shared_keys).
    if any(entry.peer.lower() == server.lower() and entry.role != names.CLIENT for entry in wanted):
        raise EsyncError(
            "a server never trusts itself as a peer", "Give every server another name", kind="own_name", server=server
        )
    if not wanted and not allow_empty:
        raise EsyncError(
            "the new trust would be empty, and every peer would be refused",
            "Run establish over the whole group; to take a server out use the remove playbook",
            kind="empty_trust",
            server=server,
        )
    try:
        before = read(base, server)
    except EsyncError:
        before = None  # public data: written again
    old = set(before.entries) if before else set()
    told = before.distrusted if before else ()
    known = {one.fingerprint for one in told}
    remembered = tuple(sorted([*told, *(one for one in distrusted if one.fingerprint not in known)]))
    change = TrustChange(
        changed=before is None or bool(before.damaged) or before.entries != wanted or remembered != told,
        digest=digest_of(wanted),
        added=tuple(sorted(set(wanted) - old)),
        removed=tuple(sorted(old - set(wanted))),
        distrusted=remembered,
    )
    if not change.changed:
        return change
    certificates = _collect(base, server, wanted, pems, before)
    _refuse_distrusted(server, wanted, certificates, remembered)
    if not check:
        _write(base, server, wanted, certificates, folder_name, before, remembered)
    return change


def _refuse_distrusted(
    server: str,
    wanted: Sequence[TrustEntry],
    certificates: Mapping[str, Certificate],
    remembered: Sequence[Distrust],
) -> None:
    """What was ever withdrawn stays withdrawn, whatever a control node has forgotten."""
    by = {key: one for one in remembered for key in (one.fingerprint, one.key) if key}
    for entry in wanted:
        one = by.get(entry.fingerprint) or by.get(certificates[entry.fingerprint].key)
        if one:
            raise EsyncError(
                f"it is to trust the {entry.role} certificate {entry.fingerprint} of {entry.peer}, and was told to "
                f"distrust {one}",
                "Bring the newest ledger back; if the ledger is right, "
                f"run establish over the whole group with -e esync_discard_existing={entry.peer}",
                kind="distrusted_certificate",
                server=server,
            )


def _collect(
    base: Folder, server: str, wanted: Sequence[TrustEntry], pems: Sequence[str], before: Optional[Trust]
) -> Dict[str, Certificate]:
    """Every wanted certificate by fingerprint, each parsed and validated."""
    require()
    found: Dict[str, Certificate] = {}
    for number, pem in enumerate(pems, 1):
        data = pem.encode("ascii", "replace")
        certificate = parse_certificate(data, _called(data, wanted) or f"certificate {number} of those sent")
        found[certificate.fingerprint] = certificate
    unsent = {entry.fingerprint for entry in wanted} - set(found)
    if before and unsent:
        with base.child(names.REMOTE) as top, top.child(before.folder) as inside:
            for entry in before.entries:
                if entry.fingerprint in unsent:
                    path = f"{inside.path}/{entry.file_name}"
                    try:
                        certificate = parse_certificate(inside.read(entry.file_name), path, entry.role)
                    except EsyncError:
                        continue  # reported below, by its fingerprint
                    found[certificate.fingerprint] = certificate
    missing = [entry for entry in wanted if entry.fingerprint not in found]
    if missing:
        raise EsyncError(
            "these certificates are neither on the host nor were they sent: "
            + ", ".join(f"{entry.file_name} ({entry.fingerprint})" for entry in missing),
            "Run establish again",
            kind="missing_certificates",
            server=server,
        )
    for entry in wanted:
        certificate = found[entry.fingerprint]
        if certificate.role != entry.role:
            raise EsyncError(
                f"the {entry.role} certificate of {entry.peer} is a {certificate.role} certificate",
                "Correct the ledger",
                kind="wrong_role",
                server=server,
            )
    return found


def _called(pem: bytes, wanted: Sequence[TrustEntry]) -> Optional[str]:
    """Whose certificate was sent, for messages, before anything of it is parsed."""
    with contextlib.suppress(ValueError):
        fingerprint = hashlib.sha256(base64.b64decode(in_pem(pem) or b"")).hexdigest()
        return next((f"the certificate {one.file_name}" for one in wanted if one.fingerprint == fingerprint), None)
    return None


def _write(
    base: Folder,
    server: str,
    wanted: Sequence[TrustEntry],
    certificates: Mapping[str, Certificate],
    folder_name: str,
    before: Optional[Trust],
    remembered: Sequence[Distrust],
) -> None:
    in_force = (base.link_target(names.TRUSTED) or "").rpartition("/")[2]
    with base.ensure_child(names.REMOTE, 0o755) as top:
        top.set_mode(0o755)
        # Services read what is in force, damaged or not, until the link is switched.
        indexed.clear(top, keep={in_force})
        with top.make_child(folder_name, 0o755) as inside:
            _fill(inside, top, wanted, certificates, before)
            for name, text in derived_files(
                {entry: certificates[entry.fingerprint].der for entry in wanted}, server
            ).items():
                inside.write(name, text, 0o644)
            indexed.write_index(
                inside,
                INDEX,
                server,
                wanted,
                map(vars, wanted),
                model=model_of(server, wanted),
                distrusted=[vars(one) for one in remembered],
                distrusted_digest=memory_digest(remembered),
            )
            inside.sync()
        top.sync()
        base.set_link(names.TRUSTED, f"{names.REMOTE}/{folder_name}")
        indexed.clear(top, keep={folder_name})


def _fill(
    inside: Folder,
    top: Folder,
    wanted: Sequence[TrustEntry],
    certificates: Mapping[str, Certificate],
    before: Optional[Trust],
) -> None:
    """Write the certificates; those that lie in the trust in force are linked, so only the difference is written."""
    there: Dict[str, str] = {}
    if before:
        # A file with a wrong mode is copied: its second name would have the same mode.
        there = {
            entry.fingerprint: entry.file_name for entry in before.entries if entry.file_name not in before.damaged
        }
    linked: List[str] = []
    if before:
        with top.child(before.folder) as old:
            for entry in wanted:
                name = there.get(entry.fingerprint)
                sound = name and old.read(name) == certificates[entry.fingerprint].der
                if name and sound and inside.hardlink(old, name, entry.file_name):
                    linked.append(entry.file_name)
    for entry in wanted:
        if entry.file_name not in linked:
            inside.write(entry.file_name, certificates[entry.fingerprint].der, 0o644)
