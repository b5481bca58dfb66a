# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Read everything in a generation and compare it with itself: certificates, keys, and what holds both.

This is what needs cryptography; local_sets.py asks for it where the manifest does not settle it.
"""

from __future__ import annotations

import base64
import binascii
import re
from typing import Any, Dict, List, Mapping, Optional, Tuple

from ansible_collections.esync.mesh.plugins.module_utils._core import layout, names
from ansible_collections.esync.mesh.plugins.module_utils._core.errors import EsyncError
from ansible_collections.esync.mesh.plugins.module_utils._core.folders import Folder
from ansible_collections.esync.mesh.plugins.module_utils._crypto import certificates as x509
from ansible_collections.esync.mesh.plugins.module_utils._crypto import key_types, pkcs12, pvk
from ansible_collections.esync.mesh.plugins.module_utils._store.local_generation import (
    DISCARD,
    PFX_DIFFERS,
    PFX_OPENS,
    PFX_UNKNOWN,
    Expected,
    Findings,
    LocalGeneration,
)

_SET_FILE = re.compile(r"(?P<stem>.+)_Sync(?:Server|Client)\.(?:crt|key|cer|pfx|pvk)\Z")
_PEM = re.compile(rb"-----BEGIN ([A-Z ]+)-----\n((?:[A-Za-z0-9+/=]{1,64}\n)+)-----END \1-----\n\Z")


def inspect_generation(folder: Folder, identity: str, state: str, findings: Findings) -> Optional[LocalGeneration]:
    """Read everything in a generation's folder and compare it with itself; None if anything is wrong."""
    before = len(findings.problems)
    place = (names.GENERATIONS, identity)
    gid = findings.expected.gid
    findings.mode(place, folder, None, layout.folder_mode(gid), gid)
    entries = folder.entries()
    stem = _stem(entries, findings.expected.name)
    if stem is None:
        findings.problem(
            state,
            EsyncError("it holds no certificate set", DISCARD, kind="missing_file", path=folder.path),
        )
        return None
    checker = _Checker(folder, stem, entries, state, findings)
    certificates = {role: checker.certificate(role) for role in names.ROLES}
    checker.everything_else(certificates)
    for name in checker.files:
        findings.mode((*place, name), folder, name, layout.file_mode(name, gid), layout.file_gid(name, gid))
    sound = {role: certificate for role, certificate in certificates.items() if certificate}
    if len(findings.problems) > before or len(sound) != len(names.ROLES):
        return None
    return LocalGeneration(identity, stem, sound, checker.formats, checker.pfx, checker.encryptions)


def check_generation(folder: Folder, identity: str, expected: Expected) -> LocalGeneration:
    """Check a generation that was just made, before it is put to use.

    :raises EsyncError: kind ``io_error``, if what lies there is not what was meant.
    """
    findings = Findings(expected)
    found = inspect_generation(folder, identity, names.NEXT, findings)
    if found is None or findings.modes:
        where = findings.problems[0].error.path if findings.problems else folder.path
        raise EsyncError(
            "the certificates that were just made cannot be read back as they were meant",
            "Check the disk, and run again",
            kind="io_error",
            server=expected.name,
            path=where,
        )
    return found


def _stem(entries: List[str], name: str) -> Optional[str]:
    counts: Dict[str, int] = {}
    for entry in entries:
        match = _SET_FILE.match(entry)
        if match and not names.problems(match["stem"]):
            counts[match["stem"]] = counts.get(match["stem"], 0) + 1
    if name in counts:
        return name
    return max(sorted(counts), key=lambda stem: counts[stem]) if counts else None


class _Checker:
    def __init__(self, folder: Folder, stem: str, entries: List[str], state: str, findings: Findings) -> None:
        self.folder = folder
        self.stem = stem
        self.entries = frozenset(entries)
        self.state = state
        self.findings = findings
        # A format that is missing in one role only was lost; one that is missing in both was never requested.
        self.formats = tuple(
            suffix for suffix in layout.FORMATS if any(self._name(role, suffix) in self.entries for role in names.ROLES)
        )
        self.files = [self._name(role, suffix) for role in names.ROLES for suffix in (*layout.PEM_FILES, *self.formats)]
        if layout.PASSPHRASE in self.entries and "pfx" in self.formats:
            self.files.append(layout.PASSPHRASE)
        if layout.MANIFEST in self.entries:
            # Whatever it is or says: it can be written again at any time.
            self.files.append(layout.MANIFEST)
        self.pfx: Optional[str] = None
        self.encryptions: Tuple[str, ...] = ()

    def _name(self, role: str, suffix: str) -> str:
        return f"{names.set_name(self.stem, role)}.{suffix}"

    def _path(self, name: str) -> str:
        return f"{self.folder.path}/{name}"

    def _wrong(self, name: str, cause: str, kind: str) -> None:
        self.findings.problem(self.state, EsyncError(cause, DISCARD, kind=kind, path=self._path(name)))

    def _read(self, name: str) -> Optional[bytes]:
        try:
            data = self.folder.read(name)
        except EsyncError as error:
            self.findings.problem(self.state, error)
            return None
        if not data:
            self._wrong(name, "it is empty", "damaged_file")
            return None
        return data

    def certificate(self, role: str) -> Optional[x509.Certificate]:
        """The role's certificate from its PEM file, or else from its DER file, so that the rest can be compared."""
        found = [self._certificate(self._name(role, "crt"), role)]
        if "cer" in self.formats:
            found.append(self._certificate(self._name(role, "cer"), role))
            if found[0] and found[1] and found[0].der != found[1].der:
                self._wrong(
                    self._name(role, "cer"),
                    f"it holds another certificate than {self._name(role, 'crt')}",
                    "mismatch",
                )
        return next((certificate for certificate in found if certificate), None)

    def _certificate(self, name: str, role: str) -> Optional[x509.Certificate]:
        data = self._read(name)
        if data is None:
            return None
        try:
            if name.endswith(".crt"):
                _check_pem(data, self._path(name))
            certificate = x509.parse_certificate(data, self._path(name), role)
        except EsyncError as error:
            self.findings.problem(self.state, error)
            return None
        if not x509.signed_by_itself(certificate.der):
            self._wrong(name, "its signature does not fit its content, so it is damaged", "damaged_file")
            return None
        if certificate.subject != self.stem:
            self._wrong(name, f"it is issued to {certificate.subject!r}, not to {self.stem!r}", "wrong_name")
            return None
        return certificate

    def everything_else(self, certificates: Mapping[str, Optional[x509.Certificate]]) -> None:
        """Keys, links, passphrase, and what does not belong here."""
        for role in names.ROLES:
            self._key(self._name(role, "key"), certificates[role])
            if "pvk" in self.formats:
                self._key(self._name(role, "pvk"), certificates[role])
        if "pfx" in self.formats:
            self._pfx(certificates)
        links = layout.stable_links(self.stem)
        for name, target in links.items():
            try:
                found = self.folder.link_target(name)
            except EsyncError as error:
                self.findings.problem(self.state, error)
                continue
            if found != target:
                shown = "the link is missing" if found is None else f"the link points to {found!r}"
                self._wrong(name, f"{shown}; it must point to {target}", "unexpected_link" if found else "missing_file")
        for name in sorted(self.entries - set(self.files) - set(links)):
            self._wrong(name, "it is none of the files of a certificate set", "unexpected_file")

    def _key(self, name: str, certificate: Optional[x509.Certificate]) -> None:
        data = self._read(name)
        if data is None:
            return
        path = self._path(name)
        try:
            if name.endswith(".key"):
                der = _check_pem(data, path)
                key = x509.key_from_pem(data, path)
                # Byte for byte: older versions of the library pass over versions, parameters and what follows.
                if key_types.pkcs8(key) != der:
                    raise EsyncError(
                        "its private key is not of the kind or in the form that is made here, or damaged",
                        DISCARD,
                        kind="damaged_file",
                        path=path,
                    )
            else:
                key = pvk.read_pvk(data, path)
        except EsyncError as error:
            self.findings.problem(self.state, error)
            return
        self._compare(name, key, certificate)

    def _compare(self, name: str, key: Any, certificate: Optional[x509.Certificate]) -> None:
        if not key_types.consistent(key):
            self._wrong(name, "the parts of its private key do not fit each other, so it is damaged", "damaged_file")
        elif certificate and x509.public_key_of(key) != certificate.public_key:
            self._wrong(
                name, f"its private key does not belong to the certificate {name.rpartition('.')[0]}.crt", "mismatch"
            )

    def _pfx(self, certificates: Mapping[str, Optional[x509.Certificate]]) -> None:
        stored = self._passphrase()
        given = self.findings.expected.passphrase
        passphrase = stored if stored is not None else given
        closed: List[Tuple[str, EsyncError]] = []
        readable = []
        encryptions = []
        for role in names.ROLES:
            name = self._name(role, "pfx")
            data = self._read(name)
            if data is None:
                continue
            encryption = pkcs12.encryption_of(data)
            if encryption == "unknown":
                self._wrong(name, "it is no PKCS#12 file of this collection, or damaged", "damaged_file")
                continue
            readable.append(name)
            encryptions.append(encryption)
            if passphrase is None:
                continue
            try:
                key, der = pkcs12.read_pfx(data, self._path(name), passphrase)
            except EsyncError as error:
                if error.kind == "too_many_iterations":
                    self.findings.problem(self.state, error)
                else:
                    closed.append((name, error))
                continue
            certificate = certificates[role]
            if certificate and der != certificate.der:
                self._wrong(name, f"it holds another certificate than {self._name(role, 'crt')}", "mismatch")
            else:
                self._compare(name, key, certificate)
        self.encryptions = tuple(sorted(set(encryptions)))
        self.pfx = self._pfx_verdict(stored, given, readable, closed)

    def _passphrase(self) -> Optional[bytes]:
        """The passphrase that was made here: one line, so that it reads well and ``-passin file:`` takes it."""
        line = self._read(layout.PASSPHRASE) if layout.PASSPHRASE in self.entries else None
        return line[:-1] if line and line.endswith(b"\n") else line

    def _pfx_verdict(
        self,
        stored: Optional[bytes],
        given: Optional[bytes],
        readable: List[str],
        closed: List[Tuple[str, EsyncError]],
    ) -> str:
        # A damaged file and a wrong passphrase look the same. The other role's file distinguishes them.
        neither_opens = len(closed) == len(names.ROLES)
        if neither_opens and stored is not None:
            self._wrong(layout.PASSPHRASE, "the passphrase in it opens neither of the .pfx files", "mismatch")
        elif closed and not (neither_opens and stored is None):
            for name, error in closed:
                self._wrong(name, f"it cannot be opened, while the other role's can: {error.cause}", "damaged_file")
        if stored is None and given is None:
            return PFX_UNKNOWN
        if neither_opens or (stored is not None and given is not None and stored != given):
            return PFX_DIFFERS
        return PFX_OPENS


def _check_pem(data: bytes, path: str) -> bytes:
    """Demand exactly one block in the one way of writing it, so that no flipped bit goes unseen.

    :returns: what is in it, DER.
    """
    match = _PEM.match(data)
    if match:
        text = match[2].replace(b"\n", b"")
        lines = match[2].split(b"\n")[:-1]
        try:
            der = base64.b64decode(text, validate=True)
        except binascii.Error:
            der = b""
        if base64.b64encode(der) == text and all(len(line) == 64 for line in lines[:-1]):
            return der
    raise EsyncError("it is not exactly one PEM block, or damaged", DISCARD, kind="damaged_file", path=path)
