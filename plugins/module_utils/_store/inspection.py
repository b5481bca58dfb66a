# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Read everything in a generation and compare it with itself: certificates, keys, and what holds both.

This is what needs cryptography; local_sets.py asks for it where the manifest does not settle it.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import hashlib
import re
from dataclasses import replace
from typing import Any, Dict, List, Mapping, Optional, Tuple

from ansible_collections.esync.mesh.plugins.module_utils._core import layout, names
from ansible_collections.esync.mesh.plugins.module_utils._core.errors import EsyncError
from ansible_collections.esync.mesh.plugins.module_utils._core.folders import Folder
from ansible_collections.esync.mesh.plugins.module_utils._crypto import certificates as x509
from ansible_collections.esync.mesh.plugins.module_utils._crypto import key_types, pkcs12, pvk
from ansible_collections.esync.mesh.plugins.module_utils._store import manifest
from ansible_collections.esync.mesh.plugins.module_utils._store.local_generation import (
    DISCARD,
    PFX_DIFFERS,
    PFX_OPENS,
    PFX_UNKNOWN,
    Expected,
    Findings,
    LocalGeneration,
    Restoration,
)
from ansible_collections.esync.mesh.plugins.module_utils._store.restoration import Evidence, plan

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
        unexpected = tuple(name for name in entries if name not in (layout.MANIFEST, layout.PASSPHRASE))
        findings.restorations[identity] = Restoration(findings.expected.name, keys=unexpected)
        return None
    checker = _Checker(folder, stem, entries, state, findings, _manifest_of(folder, identity, stem))
    certificates = {role: checker.certificate(role) for role in names.ROLES}
    checker.everything_else(certificates)
    for name in checker.files:
        findings.mode((*place, name), folder, name, layout.file_mode(name, gid), layout.file_gid(name, gid))
    sound = {role: certificate for role, certificate in certificates.items() if certificate}
    if len(findings.problems) > before or len(sound) != len(names.ROLES):
        findings.restorations[identity] = plan(replace(checker.evidence, encryptions=checker.encryptions))
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


def _manifest_of(folder: Folder, identity: str, stem: str) -> Optional[manifest.Manifest]:
    """The manifest, if any of the files is the one that it names; else it is damaged, or another generation's."""
    found = manifest.load(folder, identity)
    for name, digest in (found.files if found and found.generation.name == stem else {}).items():
        with contextlib.suppress(EsyncError):
            if hashlib.sha256(folder.read(name)).hexdigest() == digest:
                return found
    return None


class _Checker:
    def __init__(
        self,
        folder: Folder,
        stem: str,
        entries: List[str],
        state: str,
        findings: Findings,
        noted: Optional[manifest.Manifest],
    ) -> None:
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
        # Where the user gives the passphrase no file for it is needed.
        made_here = noted is not None and layout.PASSPHRASE in noted.files and findings.expected.passphrase is None
        self.has_passphrase = layout.PASSPHRASE in self.entries or made_here
        if self.has_passphrase and "pfx" in self.formats:
            self.files.append(layout.PASSPHRASE)
        if layout.MANIFEST in self.entries:
            # Whatever it is or says: it can be written again at any time.
            self.files.append(layout.MANIFEST)
        self.pfx: Optional[str] = None
        self.encryptions: Tuple[str, ...] = ()
        self.noted = noted
        self.evidence = Evidence(folder, stem)

    def _name(self, role: str, suffix: str) -> str:
        return f"{names.set_name(self.stem, role)}.{suffix}"

    def _path(self, name: str) -> str:
        return f"{self.folder.path}/{name}"

    def _wrong(self, name: str, cause: str, kind: str) -> None:
        self._problem(name, EsyncError(cause, DISCARD, kind=kind, path=self._path(name)))

    def _problem(self, name: str, error: EsyncError) -> None:
        self.evidence.kinds.setdefault(name, error.kind)
        self.findings.problem(self.state, error)

    def _read(self, name: str) -> Optional[bytes]:
        try:
            data = self.folder.read(name)
        except EsyncError as error:
            self._problem(name, error)
            return None
        if not data:
            self._wrong(name, "it is empty", "damaged_file")
            return None
        return data

    def certificate(self, role: str) -> Optional[x509.Certificate]:
        """The role's certificate, with which the rest is compared; None if no file holds one that can be read."""
        suffixes = ("crt", "cer") if "cer" in self.formats else ("crt",)
        read = {name: self._certificate(name, role) for name in (self._name(role, suffix) for suffix in suffixes)}
        found = {name: certificate for name, certificate in read.items() if certificate}
        noted = self._noted_certificate(role)
        reference = self._reference(role, [*found.values(), *([noted] if noted else [])])
        if reference is None:
            return None
        different = [name for name, certificate in found.items() if certificate.der != reference.der]
        for name in different:
            other = next((one for one in found if one not in different), layout.MANIFEST)
            self._wrong(name, f"it holds another certificate than {other}", "mismatch")
        if reference == noted or (noted is None and not different):
            self.evidence.certain[role] = reference
        return reference

    def _noted_certificate(self, role: str) -> Optional[x509.Certificate]:
        with contextlib.suppress(EsyncError):
            if self.noted:
                der = self.noted.generation.certificates[role].der
                return x509.parse_certificate(der, self._path(layout.MANIFEST), role)
        return None

    def _reference(self, role: str, candidates: List[x509.Certificate]) -> Optional[x509.Certificate]:
        """The certificate to which a private key beside it belongs; else the first one."""
        if len({one.der for one in candidates}) > 1:
            keys = {self._public_key(self._name(role, suffix)) for suffix in ("key", "pvk")}
            # That of the manifest, which is the last one, before others.
            candidates = [one for one in reversed(candidates) if one.public_key in keys] or candidates
        return candidates[0] if candidates else None

    def _public_key(self, name: str) -> Optional[bytes]:
        with contextlib.suppress(EsyncError):
            return x509.public_key_of(self._load(name, self.folder.read(name)))
        return None

    def _certificate(self, name: str, role: str) -> Optional[x509.Certificate]:
        data = self._read(name)
        if data is None:
            return None
        try:
            if name.endswith(".crt"):
                _check_pem(data, self._path(name))
            certificate = x509.parse_certificate(data, self._path(name), role)
        except EsyncError as error:
            self._problem(name, error)
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
                self._problem(name, error)
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
        try:
            key = self._load(name, data)
        except EsyncError as error:
            self._problem(name, error)
            return
        self._compare(name, key, certificate)

    def _load(self, name: str, data: bytes) -> Any:
        """The private key in a file.

        :raises EsyncError: there is none that can be read.
        """
        path = self._path(name)
        if not name.endswith(".key"):
            return pvk.read_pvk(data, path)
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
        return key

    def _compare(self, name: str, key: Any, certificate: Optional[x509.Certificate]) -> None:
        if not key_types.consistent(key):
            self._wrong(name, "the parts of its private key do not fit each other, so it is damaged", "damaged_file")
            return
        self.evidence.keys[name] = key
        if certificate and x509.public_key_of(key) != certificate.public_key:
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
                    self._problem(name, error)
                else:
                    closed.append((name, error))
                continue
            self.evidence.passphrase = passphrase
            certificate = certificates[role]
            if certificate and der != certificate.der:
                self._wrong(name, f"it holds another certificate than {self._name(role, 'crt')}", "mismatch")
                self.evidence.keys[name] = key
            else:
                self._compare(name, key, certificate)
        self.encryptions = tuple(sorted(set(encryptions)))
        if stored is None:
            # By another passphrase than the given one they may open.
            self.evidence.closed = tuple(readable) if passphrase is None else tuple(name for name, _error in closed)
        self.evidence.passphrase = self.evidence.passphrase or passphrase
        self.pfx = self._pfx_verdict(stored, given, readable, closed)

    def _passphrase(self) -> Optional[bytes]:
        """The passphrase that was made here: one line, so that it reads well and ``-passin file:`` takes it."""
        line = self._read(layout.PASSPHRASE) if self.has_passphrase else None
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
