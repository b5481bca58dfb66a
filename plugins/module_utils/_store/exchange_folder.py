# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The folder by which certificates go from one place to another by hand (docs/apply.md).

Private keys are in it only where client sets are shared (docs/shared-keys.md).

It comes from elsewhere, so nothing in it is believed: everything is validated, and all errors are reported at once.
"""

from __future__ import annotations

import contextlib
import datetime
import hashlib
import json
import re
import stat
from dataclasses import dataclass, field
from typing import Any, Dict, FrozenSet, List, Mapping, Optional, Sequence, Set, Tuple

from ansible_collections.esync.mesh.plugins.module_utils._core import json_text, names
from ansible_collections.esync.mesh.plugins.module_utils._core.certificate import fingerprint_line, spelled
from ansible_collections.esync.mesh.plugins.module_utils._core.errors import EsyncError, raise_all
from ansible_collections.esync.mesh.plugins.module_utils._core.folders import (
    Folder,
    kind_of,
    refuse_web_roots,
    temporary_name,
)
from ansible_collections.esync.mesh.plugins.module_utils._core.names import ENDPOINTS
from ansible_collections.esync.mesh.plugins.module_utils._crypto import certificates as x509
from ansible_collections.esync.mesh.plugins.module_utils._crypto import key_types, pins, pkcs12, pvk
from ansible_collections.esync.mesh.plugins.module_utils._crypto.file_kinds import (
    bare_certificate,
    refuse_other_kind,
    remedy_of,
)
from ansible_collections.esync.mesh.plugins.module_utils._crypto.file_kinds import kind_of as kind_of_file

VERSION = 1

_FILE = re.compile(
    r"(?P<name>.+)_Sync"
    r"(?:(?P<role>Server|Client)(?:\.(?P<state>next|previous))?\.(?P<suffix>cer|pfx|pvk)|\.(?P<manifest>json))\Z",
    re.IGNORECASE | re.DOTALL,
)
_MISNAMED = re.compile(
    r"(?P<stem>.+_Sync(?:Server|Client)(?:\.(?:next|previous))?)\.(?:p7b|p7c|crt|pem|der|p12)\Z",
    re.IGNORECASE | re.DOTALL,
)
_WRITABLE = 0o022
_COPY = "Copy the set again from the server that it comes from, or take it out of the folder"
_CHOOSE = "Choose another esync_folder"


@dataclass(frozen=True)
class FolderRequest:
    """What the validation needs to know.

    :param server: the server that the folder lies on; its own certificates have no place in it.
    :param own: fingerprints of the server's own certificates.
    :param now: the time, UTC.
    :param passphrase: of the ``.pfx`` and ``.pvk`` files, if it was given.
    :param shared_keys: whether every client set must come with its private key, to be presented to the server it is of.
    """

    server: str
    own: FrozenSet[str]
    now: datetime.datetime
    passphrase: Optional[bytes] = field(default=None, repr=False)
    shared_keys: bool = False


@dataclass(frozen=True)
class RemoteSet:
    """The certificates of one server.

    :param generations: state to role to certificate; the current one is always there.
    :param address: where it listens, None if no manifest says so.
    :param endpoint: what listens there, None if no manifest says so.
    :param client_sets: state to the client's ``.pfx`` file, of those that are to be shared.
    """

    name: str
    generations: Mapping[str, Mapping[str, x509.Certificate]]
    address: Optional[str] = None
    port: Optional[int] = None
    endpoint: Optional[str] = None
    client_sets: Mapping[str, bytes] = field(default_factory=dict, repr=False, compare=False)

    @property
    def private(self) -> Dict[str, str]:
        """The files of it that hold private keys, by name: SHA-256."""
        return {
            client_file(self.name, state): hashlib.sha256(data).hexdigest() for state, data in self.client_sets.items()
        }

    def facts(self) -> Dict[str, Any]:
        """The set as modules return it; public data only. A temporary endpoint cannot be reached from elsewhere."""
        resident = self.endpoint not in (None, "temporary")
        return {
            "name": self.name,
            "address": self.address if resident else None,
            "port": self.port if resident else None,
            "generations": [
                {"state": state, **{role: self.generations[state][role].facts() for role in names.ROLES}}
                for state in names.STATES
                if state in self.generations
            ],
        }

    def fingerprint_lines(self) -> List[str]:
        """A line for each certificate, to be compared by telephone."""
        return [
            fingerprint_line(self.name, role, state, self.generations[state][role].fingerprint)
            for state in names.STATES
            if state in self.generations
            for role in names.ROLES
        ]


@dataclass(frozen=True)
class FolderContent:
    """What a folder holds.

    :param keys: the files in it that hold private keys, which it does not need.
    :param client_sets: those that it needs.
    """

    sets: Tuple[RemoteSet, ...]
    keys: Tuple[str, ...]
    client_sets: Tuple[str, ...] = ()


# -- reading ---------------------------------------------------------------------------------------------------


def read(path: str, request: FolderRequest, web_roots: Sequence[str]) -> FolderContent:
    """Validate a folder with the sets of other servers.

    Private keys are read to be compared, and go nowhere.

    :raises EsyncError: everything that is wrong with it, at once.
    """
    with _opened(path, request.server, web_roots) as folder:
        reader = _Reader(folder, request)
        found = reader.read()
        raise_all(reader.errors)
    return found


def read_client_sets(
    path: str, server: str, peers: Sequence[str], passphrase: bytes, web_roots: Sequence[str]
) -> Dict[str, bytes]:
    """The client sets that some servers share in a folder: fingerprint to the ``.pfx`` file.

    Whoever installs one compares it with what it should be.

    :param server: the server that the folder lies on. :param passphrase: of the files.
    :raises EsyncError: the folder cannot be used, or a file in it does not open.
    """
    found: Dict[str, bytes] = {}
    with _opened(path, server, web_roots) as folder:
        entries = folder.entries()
        wanted = [client_file(peer, state) for peer in peers for state in names.STATES]
        for entry in sorted(set(wanted) & set(entries)):
            data = folder.read(entry, limit=x509.MAX_BYTES)
            try:
                _key, der = pkcs12.read_pfx(data, entry, passphrase)
            except EsyncError as error:
                raise EsyncError(
                    error.cause, _COPY, kind=error.kind, server=server, path=f"{folder.path}/{entry}"
                ) from None
            found[hashlib.sha256(der).hexdigest()] = data
    return found


def _opened(path: str, server: str, web_roots: Sequence[str]) -> Folder:
    try:
        refuse_web_roots(path, web_roots, server)
    except EsyncError as error:
        raise EsyncError(
            "it lies under a web root, where everybody can fetch what is in it, and the web server may write",
            _CHOOSE,
            kind=error.kind,
            server=server,
            path=path,
        ) from None
    try:
        folder = Folder.open(path)
    except EsyncError as error:
        raise EsyncError(
            error.cause,
            "Copy the sets into a folder that belongs to the user whom Ansible works as, as a rule root, and that "
            "nobody else may write to (chown, chmod go-w); where there is none, leave the host out (--limit)",
            kind=error.kind,
            server=server,
            path=path,
        ) from None
    status = folder.status()
    if status and status.st_mode & _WRITABLE:
        folder.close()
        raise EsyncError(
            f"others may write to it (mode {status.st_mode & 0o7777:04o}), so anybody may have put these files there",
            "Look where its files come from, take that right away (chmod go-w), and run again",
            kind="writable_by_others",
            server=server,
            path=path,
        )
    return folder


class _Reader:
    """Collects what is wrong while it reads."""

    def __init__(self, folder: Folder, request: FolderRequest) -> None:
        self.folder = folder
        self.request = request
        self.entries = folder.entries()
        self.errors: List[EsyncError] = []
        self.public: Dict[str, Dict[Tuple[str, str], str]] = {}
        self.keys: Dict[str, Dict[str, Tuple[str, str]]] = {}
        self.manifests: Dict[str, str] = {}

    def wrong(self, entry: Optional[str], cause: str, remedy: str, kind: str) -> None:
        place = self._place(entry) if entry else self.folder.path
        self.errors.append(EsyncError(cause, remedy, kind=kind, server=self.request.server, path=place))

    def _place(self, entry: str) -> str:
        return f"{self.folder.path}/{_printable(entry)}"

    def read(self) -> FolderContent:
        if not self.entries:
            self.wrong(None, "it is empty", "Copy the sets of other servers there", "empty_folder")
        for entry in self.entries:
            self._sort_in(entry)
        servers = sorted({*self.public, *self.keys, *self.manifests})
        self._duplicate_names(servers)
        sets = [self._set(name) for name in servers]
        found = tuple(one for one in sets if one)
        self._duplicate_certificates(found)
        keys = {entry for files in self.keys.values() for entry in files}
        needed = {client_file(one.name, state) for one in found for state in one.generations} & keys
        if not self.request.shared_keys:
            needed = set()
        return FolderContent(found, tuple(sorted(keys - needed)), tuple(sorted(needed)))

    def _sort_in(self, entry: str) -> None:
        match = _FILE.match(entry)
        if not match and self._misnamed(entry):
            return
        if not match:
            status = self.folder.status(entry)
            what = kind_of(status) if status else "something that vanished meanwhile"
            self.wrong(
                entry,
                f"it is {what} that belongs to no certificate set",
                "Take it out: only NAME_SyncServer, NAME_SyncClient (.cer, .pfx, .pvk) and NAME_Sync.json may be here",
                "unexpected_file",
            )
            return
        name = match["name"]
        role = names.CLIENT if (match["role"] or "").lower() == "client" else names.SERVER
        state = (match["state"] or names.CURRENT).lower()
        suffix = (match["suffix"] or "").lower()
        if match["manifest"]:
            spelling = manifest_file(name)
        elif suffix == "cer":
            spelling = names.remote_file(name, role, state)
        elif self.request.shared_keys and suffix == "pfx" and role == names.CLIENT:
            spelling = client_file(name, state)
        else:
            spelling = f"{names.set_name(name, role)}.{suffix}"
        if entry != spelling:
            if spelling in self.entries:
                cause, kind = f"it is there a second time, as {spelling}", "duplicate_file"
            else:
                cause, kind = f"such a file is called {_printable(spelling)}", "unexpected_file"
            self.wrong(entry, cause, "Keep the right one, under its right name", kind)
            return
        for problem in names.problems(name):
            self.wrong(entry, f"{_printable(name)!r} is no server name: {problem}", _COPY, "bad_name")
        if names.problems(name):
            return
        if name.lower() == self.request.server.lower():
            self.wrong(
                entry,
                "it belongs to this very server, which never trusts itself as a peer",
                "Take it out: a folder holds the sets of other servers",
                "own_name",
            )
            return
        if match["manifest"]:
            self.manifests[name] = entry
        elif suffix == "cer":
            self.public.setdefault(name, {})[state, role] = entry
        else:
            self.keys.setdefault(name, {})[entry] = state, role

    def _misnamed(self, entry: str) -> bool:
        """Say what is wrong with a file of a set that another program gave another suffix; False if it is none."""
        match = _MISNAMED.match(entry)
        data = self._content(entry) if match else None
        kind = kind_of_file(data) if data else None
        if not match or not kind:
            return False
        wanted = _printable(f"{match['stem']}.cer")
        remedy = remedy_of(kind, self._place(entry), self._place(wanted))
        self.wrong(entry, f"it is {kind.what}; a certificate of a set is called {wanted}", remedy, "unexpected_file")
        return True

    def _duplicate_names(self, servers: Sequence[str]) -> None:
        seen: Dict[str, str] = {}
        for name in servers:
            other = seen.setdefault(name.lower(), name)
            if other != name:
                self.wrong(
                    None,
                    f"it holds sets of {other} and of {name}, and upper and lower case count as the same",
                    "Find out which one is right, and take the other out",
                    "duplicate_name",
                )

    def _set(self, name: str) -> Optional[RemoteSet]:
        before = len(self.errors)
        files = self.public.get(name, {})
        states = [state for state in names.STATES if state == names.CURRENT or any(key[0] == state for key in files)]
        missing = [
            names.remote_file(name, role, state)
            for state in states
            for role in names.ROLES
            if (state, role) not in files
        ]
        if missing:
            self.wrong(
                None, f"the set of {name} is incomplete: {' and '.join(missing)} is missing", _COPY, "incomplete_set"
            )
        certificates = {key: self._certificate(name, key[1], entry) for key, entry in files.items()}
        for entry, key in self.keys.get(name, {}).items():
            self._key(entry, certificates.get(key))
        manifest = self._manifest(name, certificates) if name in self.manifests and not missing else None
        shared = manifest and (manifest["private_keys"] or (self.request.shared_keys and name in self.keys))
        if manifest and bool(shared) != self.request.shared_keys:
            self._other_model(self.manifests[name], name)
        elif self.request.shared_keys:
            self._client_sets(name, states)
        if len(self.errors) > before:
            return None
        sound = {key: certificate for key, certificate in certificates.items() if certificate}
        generations = {state: {role: sound[state, role] for role in names.ROLES} for state in states}
        if manifest:
            return RemoteSet(name, generations, manifest["address"], manifest["port"], manifest["endpoint"])
        return RemoteSet(name, generations)

    def _other_model(self, manifest: str, name: str) -> None:
        """Neither mesh would let the other's servers in."""
        theirs, ours = names.SHARED_KEYS, names.PINNED
        if self.request.shared_keys:
            theirs, ours = ours, theirs
        self.wrong(
            manifest,
            f"it was exported with esync_trust_model: {theirs}, and this mesh has {ours}: {name} would refuse the "
            "servers of this mesh, and they would refuse it",
            "Give both meshes the same esync_trust_model (the regenerate playbook changes it), and export the folder "
            "again",
            "other_trust_model",
        )

    def _client_sets(self, name: str, states: Sequence[str]) -> None:
        """Is there what this server is to present to the other one?"""
        for state in states:
            entry = client_file(name, state)
            if entry not in self.keys.get(name, {}):
                self.wrong(
                    entry,
                    f"it is missing: {name} accepts only callers that present its own client set "
                    "(esync_trust_model: shared_keys), and its private key is in that file",
                    f"Have it exported by {name}, by the export playbook with esync_trust_model: shared_keys, or copy "
                    "it by hand",
                    "missing_client_set",
                )
            elif self.request.passphrase is None:
                self.wrong(
                    entry,
                    "it cannot be opened without its passphrase, and this server needs the private key in it",
                    "Give the passphrase of the mesh that it comes from in esync_folder_passphrase",
                    "passphrase_needed",
                )

    def _content(self, entry: str) -> Optional[bytes]:
        try:
            data = self.folder.read(entry, limit=x509.MAX_BYTES)
        except EsyncError as error:
            self.wrong(entry, error.cause, _COPY, error.kind)
            return None
        status = self.folder.status(entry)
        if status and status.st_mode & _WRITABLE:
            self.wrong(
                entry,
                f"others may write to it (mode {status.st_mode & 0o7777:04o})",
                "Look where it comes from, take that right away (chmod go-w), and run again",
                "writable_by_others",
            )
        return data

    def _certificate(self, name: str, role: str, entry: str) -> Optional[x509.Certificate]:
        data = self._content(entry)
        if data is None:
            return None
        try:
            refuse_other_kind(data, self._place(entry))
            certificate = x509.parse_certificate(bare_certificate(data), entry, role)
        except EsyncError as error:
            self.wrong(entry, error.cause, error.remedy if error.kind == "not_a_certificate" else _COPY, error.kind)
            return None
        if certificate.subject != name:
            self.wrong(entry, f"it is issued to {certificate.subject!r}, not to {name!r}", _COPY, "wrong_name")
        if certificate.fingerprint in self.request.own:
            self.wrong(
                entry,
                f"it is this server's own {role} certificate, {certificate.fingerprint}",
                "Take it out: a folder holds the sets of other servers",
                "own_certificate",
            )
        for kind, cause in pins.unfit(certificate, self.request.now):
            self.wrong(entry, cause, "Have new sets made on the server that it belongs to, and copy those", kind)
        return certificate

    def _key(self, entry: str, certificate: Optional[x509.Certificate]) -> None:
        data = self._content(entry)
        if data is None:
            return
        passphrase = self.request.passphrase
        stored = None
        try:
            if not data:
                raise EsyncError("it is empty", _COPY, kind="damaged_file")
            if entry.endswith(".pvk"):
                key = pvk.read_pvk(data, entry, passphrase)
            elif passphrase is None:
                return  # it cannot be opened, and that was not requested
            else:
                key, stored = pkcs12.read_pfx(data, entry, passphrase)
        except EsyncError as error:
            needed = error.kind == "passphrase_needed"
            remedy = "Give its passphrase in esync_folder_passphrase, or take it out: it is not needed"
            self.wrong(entry, error.cause, remedy if needed else _COPY, error.kind)
            return
        if certificate is None:
            return  # reported already
        if stored is not None and stored != certificate.der:
            self.wrong(entry, "it holds another certificate than the .cer file beside it", _COPY, "mismatch")
        elif x509.public_key_of(key) != certificate.public_key or (
            self.request.shared_keys and not key_types.consistent(key)
        ):
            self.wrong(entry, "its private key does not belong to the .cer file beside it", _COPY, "mismatch")

    def _manifest(
        self, name: str, certificates: Mapping[Tuple[str, str], Optional[x509.Certificate]]
    ) -> Optional[Dict[str, Any]]:
        entry = self.manifests[name]
        data = self._content(entry)
        if data is None:
            return None
        manifest = parse_manifest(data)
        if manifest is None or manifest["name"] != name:
            self.wrong(entry, f"it is no manifest of {name}, or damaged", _COPY, "damaged_file")
            return None
        listed = manifest["fingerprints"]
        for key in sorted({*listed, *certificates}):
            certificate = certificates.get(key)
            if key in certificates and certificate is None:
                continue  # reported already
            there = certificate.fingerprint if certificate else "no such file"
            if listed.get(key) != there:
                state, role = key
                self.wrong(
                    names.remote_file(name, role, state),
                    f"its fingerprint is {there}, and {entry} says {listed.get(key, 'nothing of it')}",
                    _COPY,
                    "manifest_differs",
                )
        for key_file, digest in manifest["private_keys"].items():
            if (
                key_file in self.keys.get(name, {})
                and hashlib.sha256(self._content(key_file) or b"").hexdigest() != digest
            ):
                self.wrong(key_file, f"it is not the file that {entry} says it is", _COPY, "manifest_differs")
        return manifest

    def _duplicate_certificates(self, sets: Sequence[RemoteSet]) -> None:
        seen: Dict[str, str] = {}
        for one in sets:
            for state, certificates in one.generations.items():
                for role, certificate in certificates.items():
                    entry = names.remote_file(one.name, role, state)
                    other = seen.setdefault(certificate.fingerprint, entry)
                    if other != entry:
                        self.wrong(entry, f"it holds the same certificate as {other}", _COPY, "duplicate_certificate")


def _printable(text: str) -> str:
    return text if text.isprintable() else ascii(text)[1:-1]


# -- the manifest ----------------------------------------------------------------------------------------------


def manifest_file(name: str) -> str:
    """The name of a server's manifest; it has the server's name, so that several exports fit into one folder."""
    return f"{name}_Sync.json"


def client_file(name: str, state: str) -> str:
    """The file by which a server hands a client set over, private key included."""
    return f"{names.remote_stem(name, names.CLIENT, state)}.pfx"


def render_manifest(one: RemoteSet) -> bytes:
    """Who it is, where it listens, the fingerprints to be compared by telephone, and which files hold private keys."""
    manifest: Dict[str, Any] = {
        "version": VERSION,
        "name": one.name,
        "address": one.address,
        "port": one.port,
        "endpoint": one.endpoint,
        "generations": [
            {"state": state, **{role: spelled(one.generations[state][role].fingerprint) for role in names.ROLES}}
            for state in names.STATES
            if state in one.generations
        ],
    }
    if one.private:
        manifest["private_keys"] = one.private
    return (json.dumps(manifest, indent=1, sort_keys=True) + "\n").encode("ascii")


def parse_manifest(data: bytes) -> Optional[Dict[str, Any]]:
    """``name``, ``address``, ``port``, ``endpoint``, ``fingerprints`` by state and role, and ``private_keys``, the
    SHA-256 of each file that holds one; None if it is no manifest.
    """
    try:
        found = json_text.loads(data)
        address, port = found["address"], found["port"]
        sound = (
            found["version"] == VERSION
            and isinstance(found["name"], str)
            and isinstance(address, str)
            and isinstance(port, int)
            and not isinstance(port, bool)
            and 1 <= port <= 65535
            and found["endpoint"] in ENDPOINTS
        )
        if not sound:
            return None
        x509.normal_alt_names((address,))  # raises for what is neither a host name nor an address
        fingerprints = {
            (str(one["state"]), role): one[role].replace(" ", "")
            for one in found["generations"]
            for role in names.ROLES
        }
        private = {str(entry): str(digest) for entry, digest in found.get("private_keys", {}).items()}
    except (EsyncError, ValueError, KeyError, TypeError, AttributeError):
        return None
    if len(fingerprints) != len(names.ROLES) * len(found["generations"]):
        return None
    if any(state not in names.STATES for state, _role in fingerprints):
        return None
    return {
        **{key: found[key] for key in ("name", "address", "port", "endpoint")},
        "fingerprints": fingerprints,
        "private_keys": private,
    }


# -- writing ---------------------------------------------------------------------------------------------------


def contents(one: RemoteSet) -> Dict[str, bytes]:
    """The files of an export, by name."""
    files = {
        names.remote_file(one.name, role, state): certificate.der
        for state, certificates in one.generations.items()
        for role, certificate in certificates.items()
    }
    files.update({client_file(one.name, state): data for state, data in one.client_sets.items()})
    files[manifest_file(one.name)] = render_manifest(one)
    return files


def write(path: str, one: RemoteSet, web_roots: Sequence[str], check: bool = False) -> bool:
    """Make a folder with a server's certificates: it appears complete, or not at all.

    With private keys in it, it is for nobody but its owner.

    :returns: whether anything changed.
    :raises EsyncError: something is there that is not an unchanged earlier export of this server (kind ``exists``), or
        the folder lies under a web root or where others may write.
    """
    try:
        refuse_web_roots(path, web_roots, one.name)
        parent, entry = Folder.place(path)
    except EsyncError as error:
        raise EsyncError(error.cause, _CHOOSE, kind=error.kind, server=one.name, path=path) from None
    with parent:
        there = parent.status(entry) is not None
        wanted = contents(one)
        if there:
            found, narrow = _earlier_export(parent, entry, one.name, path)
            if found == wanted and (narrow or not one.private):
                return False
        if not check:
            _replace(parent, entry, wanted, there, bool(one.private))
    return True


def _earlier_export(parent: Folder, entry: str, name: str, path: str) -> Tuple[Dict[str, bytes], bool]:
    """The files of an earlier export that nobody has changed, and whether nobody but its owner may look into it.

    :raises EsyncError: kind ``exists``: it is something else.
    """
    found: Dict[str, bytes] = {}
    narrow = False
    with contextlib.suppress(EsyncError), parent.child(entry) as folder:
        found = {entry: folder.read(entry, limit=x509.MAX_BYTES) for entry in folder.entries()}
        modes = [(folder.status(), 0o700), *((folder.status(entry), 0o600) for entry in found)]
        narrow = all(status is not None and stat.S_IMODE(status.st_mode) == mode for status, mode in modes)
    text = found.get(manifest_file(name), b"")
    manifest = parse_manifest(text)
    listed: Set[Tuple[str, str]] = set()
    if manifest and manifest["name"] == name:
        listed = {
            (names.remote_file(name, role, state), fingerprint)
            for (state, role), fingerprint in manifest["fingerprints"].items()
        }
        listed |= set(manifest["private_keys"].items())
    there = {(entry, hashlib.sha256(data).hexdigest()) for entry, data in found.items() if data is not text}
    if not listed or listed != there:
        raise EsyncError(
            "it is there already, and is not an earlier export of this server that nobody has changed",
            "Remove it, or choose another esync_folder",
            kind="exists",
            server=name,
            path=path,
        )
    return found, narrow


def _replace(parent: Folder, entry: str, wanted: Mapping[str, bytes], there: bool, private: bool) -> None:
    fresh, old = temporary_name(), temporary_name()
    try:
        with parent.make_child(fresh, 0o700 if private else 0o755) as folder:
            for name, data in wanted.items():
                folder.write(name, data, 0o600 if private else 0o644)
        if there:
            parent.rename(entry, old)
        # Onto something that was put there meanwhile it fails.
        parent.rename(fresh, entry)
    finally:
        for leftover in (fresh, old):
            parent.remove_tree(leftover, wipe=True)
        parent.sync()
