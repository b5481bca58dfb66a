# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Read and judge what lies in the directory; nothing is changed here."""

from __future__ import annotations

import base64
import binascii
import json
import re
import stat
from dataclasses import dataclass, field
from typing import Any, Dict, List, Mapping, Optional, Tuple

from ansible_collections.esync.mesh.plugins.module_utils._core import layout, names
from ansible_collections.esync.mesh.plugins.module_utils._core.errors import EsyncError
from ansible_collections.esync.mesh.plugins.module_utils._core.folders import TEMPORARY, Folder, kind_of
from ansible_collections.esync.mesh.plugins.module_utils._crypto import certificates as x509
from ansible_collections.esync.mesh.plugins.module_utils._crypto import key_types, pkcs12, pvk

DISCARD = (
    "Restore it from a backup, or have all of this server's sets replaced by new ones: "
    "run establish with -e esync_discard_existing=NAME"
)
PFX_OPENS = "opens"
PFX_DIFFERS = "differs"
PFX_UNKNOWN = "unknown"

_SET_FILE = re.compile(r"(?P<stem>.+)_Sync(?:Server|Client)\.(?:crt|key|cer|pfx|pvk)\Z")
_PEM = re.compile(rb"-----BEGIN ([A-Z ]+)-----\n((?:[A-Za-z0-9+/=]{1,64}\n)+)-----END \1-----\n\Z")
# What no reader of ours can decide by looking at the content keeps its own remedy.
_OTHER_REMEDY = frozenset(["no_permission", "io_error", "read_only", "missing_dependency", "locked"])


@dataclass(frozen=True)
class Expected:
    """What the judgement needs to know.

    :param name: the server name.
    :param passphrase: of the ``.pfx`` files, if the user gave one.
    :param gid: the group that may read the keys, if any.
    :param any_group: accept the modes with and without a group, for readers who were not told.
    """

    name: str
    passphrase: Optional[bytes] = field(default=None, repr=False)
    gid: Optional[int] = None
    any_group: bool = False


@dataclass(frozen=True)
class LocalGeneration:
    """A sound pair of sets.

    :param name: the server name in its file names.
    :param certificates: role to certificate.
    :param formats: which of cer, pfx and pvk it has.
    :param pfx: whether the ``.pfx`` files open with the passphrase wanted; None without such files.
    :param encryptions: how the ``.pfx`` files are encrypted.
    """

    id: str
    name: str
    certificates: Mapping[str, x509.Certificate]
    formats: Tuple[str, ...]
    pfx: Optional[str] = None
    encryptions: Tuple[str, ...] = ()

    def facts(self, state: str) -> Dict[str, Any]:
        """The generation as modules return it; public data only."""
        facts: Dict[str, Any] = {"id": self.id, "state": state}
        facts.update((role, self.certificates[role].facts()) for role in names.ROLES)
        return facts


@dataclass(frozen=True)
class Mode:
    """A mode or group to be mended.

    :param place: the names of the folders and the file below the directory; empty for the directory itself.
    """

    place: Tuple[str, ...]
    found: int
    wanted: int
    gid: Optional[int]


@dataclass(frozen=True)
class SetProblem:
    """What makes it impossible to go on without a decision of the user.

    :param state: the generation concerned (current, next, previous); None for what concerns all.
    """

    state: Optional[str]
    error: EsyncError


@dataclass(frozen=True)
class Inspection:
    """Everything that was found.

    :param links: state to generation id, as far as the links themselves are sound.
    :param generations: state to generation, as far as they are sound.
    :param modes: what has to be mended; no problem.
    :param orphans: generations that no link names; never used, or retired by a run that was killed.
    :param adopt: the generation that ``current`` has to name: a run was killed between making it and linking it.
    :param leftovers: unfinished entries of the directory that a killed run left.
    :param unfinished: such entries of ``generations``.
    :param foreign: entries of the directory that are not ours.
    :param strangers: entries of ``generations`` that are not ours.
    :param rotation: who rotates, since when, and which rotation; ``holder`` is empty if the note cannot be read.
    """

    links: Mapping[str, str] = field(default_factory=dict)
    generations: Mapping[str, LocalGeneration] = field(default_factory=dict)
    problems: Tuple[SetProblem, ...] = ()
    modes: Tuple[Mode, ...] = ()
    orphans: Tuple[str, ...] = ()
    adopt: Optional[str] = None
    leftovers: Tuple[str, ...] = ()
    unfinished: Tuple[str, ...] = ()
    foreign: Tuple[str, ...] = ()
    strangers: Tuple[str, ...] = ()
    rotation: Optional[Mapping[str, str]] = None

    def errors(self, *states: Optional[str]) -> List[EsyncError]:
        """The problems of these states (None: what concerns all), or all of them; each file once."""
        found: Dict[Tuple[Optional[str], str], EsyncError] = {}
        for problem in self.problems:
            if not states or problem.state in states:
                found.setdefault((problem.error.path, problem.error.cause), problem.error)
        return list(found.values())


class _Findings:
    """Collects while reading; becomes an Inspection."""

    def __init__(self, expected: Expected) -> None:
        self.expected = expected
        self.problems: List[SetProblem] = []
        self.modes: List[Mode] = []

    def problem(self, state: Optional[str], error: EsyncError) -> None:
        remedy = error.remedy
        if "esync_discard_existing" not in remedy and error.kind not in _OTHER_REMEDY:
            remedy = DISCARD
        self.problems.append(
            SetProblem(
                state,
                EsyncError(error.cause, remedy, kind=error.kind, server=self.expected.name, path=error.path),
            )
        )

    def mode(
        self, place: Tuple[str, ...], folder: Folder, name: Optional[str], wanted: int, gid: Optional[int]
    ) -> None:
        status = folder.status(name)
        if status is None or status.st_uid != folder.owner or stat.S_ISREG(status.st_mode) != bool(name):
            return  # told elsewhere, or to be told: it cannot be mended
        found = stat.S_IMODE(status.st_mode)
        wrong_group = gid is not None and status.st_gid != gid
        # A group's modes have exactly the group's read (and search) bits more.
        if self.expected.any_group and found & ~0o050 == wanted & ~0o050:
            return
        if found != wanted or wrong_group:
            self.modes.append(Mode(place, found, wanted, gid))


def inspect(base: Folder, expected: Expected) -> Inspection:
    """Read and judge all generations below the directory.

    Nothing is raised for what is wrong with them: it is in ``problems``, everything at once.
    """
    findings = _Findings(expected)
    findings.mode((), base, None, layout.BASE_MODE, None)
    entries = base.entries()
    links = _links(base, findings)
    ids: Tuple[str, ...] = ()
    unfinished: Tuple[str, ...] = ()
    strangers: Tuple[str, ...] = ()
    sound: Dict[str, LocalGeneration] = {}
    adopt = None
    if names.GENERATIONS in entries:
        try:
            with base.child(names.GENERATIONS) as folder:
                findings.mode((names.GENERATIONS,), folder, None, layout.BASE_MODE, None)
                ids, unfinished, strangers = _sort_out(folder, findings)
                for state, identity in links.items():
                    if identity in ids:
                        twin = next((other for other in sound if links[other] == identity), None)
                        found = sound[twin] if twin else _judge_child(folder, identity, state, findings)
                        if found:
                            sound[state] = found
                adopt = _adoptable(folder, base, links, ids, findings)
        except EsyncError as error:
            findings.problem(None, error)
    _judge_links(base, links, ids, findings)
    return Inspection(
        links=links,
        generations=sound,
        problems=tuple(findings.problems),
        modes=tuple(findings.modes),
        orphans=tuple(name for name in ids if name not in links.values() and name != adopt),
        adopt=adopt,
        leftovers=tuple(name for name in entries if name.startswith(TEMPORARY)),
        unfinished=unfinished,
        foreign=tuple(name for name in entries if not is_ours(name)),
        strangers=strangers,
        rotation=_rotation(base, links),
    )


def is_ours(name: str) -> bool:
    """Does an entry of the directory belong to this collection?"""
    return name in OURS or name.startswith(TEMPORARY)


OURS = frozenset(
    [
        *(*names.STATES, names.GENERATIONS, names.REMOTE, names.TRUSTED),
        *(names.SHARED, names.HANDED_OVER, names.HANDED_BEFORE),
        *(layout.ROTATION, layout.LOADED, layout.LISTENER),
    ]
)


def _links(base: Folder, findings: _Findings) -> Dict[str, str]:
    links = {}
    for state in names.STATES:
        try:
            target = base.link_target(state)
        except EsyncError as error:
            findings.problem(state, error)
            continue
        if target is None:
            continue
        match = layout.LINK_TARGET.match(target)
        if match and layout.GENERATION_ID.match(match["id"]):
            links[state] = match["id"]
        else:
            findings.problem(
                state,
                EsyncError(
                    f"the link points to {target!r}, which is no generation",
                    DISCARD,
                    kind="unexpected_link",
                    path=f"{base.path}/{state}",
                ),
            )
    return links


def _sort_out(folder: Folder, findings: _Findings) -> Tuple[Tuple[str, ...], Tuple[str, ...], Tuple[str, ...]]:
    ids, unfinished, strangers = [], [], []
    for name in folder.entries():
        status = folder.status(name)
        if name.startswith(TEMPORARY):
            unfinished.append(name)
        elif status and layout.GENERATION_ID.match(name) and stat.S_ISDIR(status.st_mode):
            ids.append(name)
        elif status:
            strangers.append(name)
            findings.problem(
                None,
                EsyncError(
                    f"{kind_of(status)} that is none of ours lies among the generations",
                    "Move it elsewhere, or have it destroyed with everything else here: "
                    "run establish with -e esync_discard_existing=NAME",
                    kind="unexpected_file",
                    path=f"{folder.path}/{name}",
                ),
            )
    return tuple(ids), tuple(unfinished), tuple(strangers)


def _judge_child(folder: Folder, identity: str, state: str, findings: _Findings) -> Optional[LocalGeneration]:
    try:
        with folder.child(identity) as generation:
            return judge_generation(generation, identity, state, findings)
    except EsyncError as error:
        findings.problem(state, error)
        return None


def _adoptable(
    folder: Folder, base: Folder, links: Mapping[str, str], ids: Tuple[str, ...], findings: _Findings
) -> Optional[str]:
    # The very first generation is renamed into place before current is linked; a run can be killed in between.
    # Anything else without a current is nobody's crash, and guessing could destroy the keys in use.
    if names.CURRENT in links or not ids or any(problem.state == names.CURRENT for problem in findings.problems):
        return None
    if not links and len(ids) == 1:
        return ids[0] if _judge_child(folder, ids[0], names.CURRENT, findings) else None
    return None


def _judge_links(base: Folder, links: Mapping[str, str], ids: Tuple[str, ...], findings: _Findings) -> None:
    known_bad = {problem.state for problem in findings.problems}
    for state, identity in links.items():
        if identity not in ids and None not in known_bad:
            findings.problem(
                state,
                EsyncError(
                    f"the link points to the generation {identity}, which does not exist",
                    DISCARD,
                    kind="missing_file",
                    path=f"{base.path}/{state}",
                ),
            )
    if names.CURRENT not in links and names.CURRENT not in known_bad and (links or len(ids) > 1):
        findings.problem(
            names.CURRENT,
            EsyncError(
                f"the link is missing, although there are generations ({', '.join(ids) or 'none'})",
                f"Set it again to the one in use (ln -s {names.GENERATIONS}/ID current), "
                "or have all of this server's sets replaced by new ones with -e esync_discard_existing=NAME",
                kind="missing_file",
                path=f"{base.path}/{names.CURRENT}",
            ),
        )


def _rotation(base: Folder, links: Mapping[str, str]) -> Optional[Dict[str, str]]:
    try:
        if base.status(layout.ROTATION) is None:
            return None
        found = json.loads(base.read(layout.ROTATION, limit=4096))
        rotation = {key: found[key] for key in ("holder", "since")}
        if "id" in found:
            rotation["id"] = found["id"]
        if not all(isinstance(value, str) for value in rotation.values()):
            raise ValueError
    except (EsyncError, ValueError, KeyError, TypeError):
        return {"holder": "", "since": ""}
    pending = names.NEXT in links or names.PREVIOUS in links
    done = "id" not in rotation or links.get(names.CURRENT, "").endswith("-" + rotation["id"])
    # A run that was killed after it had retired leaves the note; the rotation is over here all the same.
    return None if done and not pending else rotation


# -- one generation ------------------------------------------------------------------------------------------------


def judge_generation(folder: Folder, identity: str, state: str, findings: _Findings) -> Optional[LocalGeneration]:
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
    judge = _Checker(folder, stem, entries, state, findings)
    certificates = {role: judge.certificate(role) for role in names.ROLES}
    judge.everything_else(certificates)
    for name in judge.files:
        findings.mode((*place, name), folder, name, layout.file_mode(name, gid), layout.file_gid(name, gid))
    sound = {role: certificate for role, certificate in certificates.items() if certificate}
    if len(findings.problems) > before or len(sound) != len(names.ROLES):
        return None
    return LocalGeneration(identity, stem, sound, judge.formats, judge.pfx, judge.encryptions)


def check_generation(folder: Folder, identity: str, expected: Expected) -> LocalGeneration:
    """Judge a generation that was just made, before it is put to use.

    :raises EsyncError: kind ``io_error``, if what lies there is not what was meant.
    """
    findings = _Findings(expected)
    found = judge_generation(folder, identity, names.NEXT, findings)
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
    def __init__(self, folder: Folder, stem: str, entries: List[str], state: str, findings: _Findings) -> None:
        self.folder = folder
        self.stem = stem
        self.entries = frozenset(entries)
        self.state = state
        self.findings = findings
        # A format that one role has and the other lacks was lost; one that both lack was never asked for.
        self.formats = tuple(
            suffix for suffix in layout.FORMATS if any(self._name(role, suffix) in self.entries for role in names.ROLES)
        )
        self.files = [self._name(role, suffix) for role in names.ROLES for suffix in (*layout.PEM_FILES, *self.formats)]
        if layout.PASSPHRASE in self.entries and "pfx" in self.formats:
            self.files.append(layout.PASSPHRASE)
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
        # A damaged file and a wrong passphrase look the same. What tells them apart is the other role's file.
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
