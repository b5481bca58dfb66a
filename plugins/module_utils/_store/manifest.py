# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The manifest of a generation: what it holds, so that nobody has to parse it to know that nothing has changed.

It is written last, from what was read back and parsed. A file that has the SHA-256 noted there is the file that was
parsed then, so its facts are those that were noted. Whatever differs is parsed again (inspection.py); a manifest is
never a reason to call a generation damaged, for it can be written again at any time. Nothing here needs cryptography,
except to make the untrusted certificates of a manifest that is written again (untrusted.py).
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
import stat
from dataclasses import dataclass, field, replace
from typing import Any, Dict, FrozenSet, Mapping, Optional

from ansible_collections.esync.mesh.plugins.module_utils._core import json_text, layout, names
from ansible_collections.esync.mesh.plugins.module_utils._core.certificate import (
    Certificate,
    moment_of,
    pem_of,
)
from ansible_collections.esync.mesh.plugins.module_utils._core.errors import EsyncError
from ansible_collections.esync.mesh.plugins.module_utils._core.folders import Folder, temporary_name
from ansible_collections.esync.mesh.plugins.module_utils._store import untrusted
from ansible_collections.esync.mesh.plugins.module_utils._store.local_generation import (
    PFX_DIFFERS,
    PFX_OPENS,
    PFX_UNKNOWN,
    Expected,
    Findings,
    LocalGeneration,
)

VERSION = 1

_SALT_BYTES = 16
# More would keep everybody waiting who compares a passphrase.
_MAX_ITERATIONS = 100 * layout.PFX_ITERATIONS


@dataclass(frozen=True)
class Verifier:
    """By which a passphrase is recognised without opening a ``.pfx`` file: PBKDF2 with HMAC-SHA-256 (RFC 8018).

    The iterations are as many as the files beside it have at the most, so it is no easier to guess from than they are.
    """

    salt: bytes
    iterations: int
    hash: bytes

    def accepts(self, passphrase: bytes) -> bool:
        """Whether the ``.pfx`` files open with it."""
        derived = hashlib.pbkdf2_hmac("sha256", passphrase, self.salt, self.iterations)
        return hmac.compare_digest(derived, self.hash)


@dataclass(frozen=True)
class Manifest:
    """What a manifest says.

    :param generation: without a statement on the passphrase.
    :param files: the name of each file to its SHA-256, lower-case hex.
    :param untrusted: what the connection test presents to prove refusals (untrusted.py).
    :param verifier: of the passphrase that the user gave; None if none was, or it is not known.
    """

    generation: LocalGeneration
    files: Mapping[str, str]
    untrusted: Mapping[str, Mapping[str, str]] = field(repr=False)
    verifier: Optional[Verifier] = None


def compare(folder: Folder, identity: str, expected: Expected) -> Optional[LocalGeneration]:
    """The generation in a folder, if each file, link and mode there is the one that the manifest names.

    :returns: None if anything differs, or the manifest does not tell; then everything has to be parsed.
    """
    found = load(folder, identity)
    if found is None:
        return None
    try:
        if _hashes(folder, found.generation) != found.files or not _is_tidy(folder, found, expected):
            return None
        if "pfx" not in found.generation.formats:
            return replace(found.generation, noted=True)
        pfx = _pfx(folder, found, expected.passphrase)
    except EsyncError:
        return None
    return replace(found.generation, pfx=pfx, noted=True) if pfx else None


def is_current(folder: Folder, generation: LocalGeneration, expected: Expected) -> bool:
    """Whether the manifest says what was found by parsing, and by which passphrase the ``.pfx`` files open."""
    found = load(folder, generation.id)
    try:
        if found is None or replace(generation, pfx=None) != found.generation:
            return False
        if _hashes(folder, generation) != found.files:
            return False
    except EsyncError:
        return False
    if not _is_verifiable(found.files, generation, expected.passphrase) or expected.passphrase is None:
        return True
    return found.verifier is not None and found.verifier.accepts(expected.passphrase)


def text_of(
    folder: Folder,
    generation: LocalGeneration,
    passphrase: Optional[bytes],
    kept: Optional[Mapping[str, Mapping[str, str]]] = None,
) -> bytes:
    """The manifest of a generation that was parsed.

    :param passphrase: that the user gave, if one was given.
    :param kept: the untrusted certificates that it has already; None to make them.
    :raises EsyncError: a file cannot be read.
    """
    files = _hashes(folder, generation)
    said: Dict[str, Any] = {
        "version": VERSION,
        "name": generation.name,
        "formats": list(generation.formats),
        "pfx_encryptions": list(generation.encryptions),
        "pfx_passphrase": None,
        "files": files,
        "certificates": {role: _facts(one) for role, one in generation.certificates.items()},
        untrusted.KEY: kept or untrusted.make_own(generation.name, generation.certificates[names.CLIENT]),
    }
    if passphrase is not None and _is_verifiable(files, generation, passphrase):
        salt = os.urandom(_SALT_BYTES)
        derived = hashlib.pbkdf2_hmac("sha256", passphrase, salt, layout.PFX_ITERATIONS)
        said["pfx_passphrase"] = {"salt": salt.hex(), "iterations": layout.PFX_ITERATIONS, "hash": derived.hex()}
    said["digest"] = _digest(said)
    return (json.dumps(said, indent=1, sort_keys=True) + "\n").encode("ascii")


def write_again(
    generations: Folder, generation: LocalGeneration, passphrase: Optional[bytes], gid: Optional[int] = None
) -> None:
    """Write the manifest of a generation that is in force.

    It is written beside the generations, where a killed run may leave something unfinished, and moved to its place.

    :param gid: the group that may read the keys, if any.
    :raises EsyncError: the disk is full, ...
    """
    with generations.child(generation.id) as folder:
        found = load(folder, generation.id)
        kept = found.untrusted if found and found.generation.name == generation.name else None
        standing = folder.status(layout.MANIFEST)
        if standing and stat.S_ISDIR(standing.st_mode):
            folder.remove_tree(layout.MANIFEST)
        unfinished = temporary_name()
        mode, group = layout.file_mode(layout.MANIFEST, gid), layout.file_gid(layout.MANIFEST, gid)
        try:
            generations.write(unfinished, text_of(folder, generation, passphrase, kept), mode, group)
            generations.move(unfinished, folder, layout.MANIFEST)
        except BaseException:
            generations.remove(unfinished)
            raise


# -- reading --------------------------------------------------------------------------------------------------


def load(folder: Folder, identity: str) -> Optional[Manifest]:
    """What the manifest in a generation's folder says; None if it is missing, damaged or of another version."""
    try:
        said = json_text.loads(folder.read(layout.MANIFEST))
        digest = said.pop("digest")
        if said["version"] != VERSION or digest != _digest(said):
            return None
        return _parsed(said, identity)
    except (EsyncError, ValueError, KeyError, TypeError, AttributeError):
        return None


def _parsed(said: Mapping[str, Any], identity: str) -> Optional[Manifest]:
    name, formats, encryptions = said["name"], said["formats"], said["pfx_encryptions"]
    if names.problems(name) or not set(formats) <= set(layout.FORMATS) or not set(encryptions) <= {*layout.ENCRYPTIONS}:
        return None
    generation = LocalGeneration(
        identity,
        name,
        {role: _certificate(said["certificates"][role], role) for role in names.ROLES},
        tuple(formats),
        encryptions=tuple(encryptions),
    )
    if not untrusted.is_complete(said[untrusted.KEY], (None, generation.name)):
        return None
    files = said["files"]
    for role, certificate in generation.certificates.items():
        pem = hashlib.sha256(certificate.pem.encode("ascii")).hexdigest()
        # The facts are those of the certificate in the file.
        if files[f"{names.set_name(generation.name, role)}.crt"] != pem or certificate.subject != generation.name:
            return None
    verifier = said["pfx_passphrase"]
    return Manifest(generation, files, said[untrusted.KEY], None if verifier is None else _verifier(verifier))


def _verifier(said: Mapping[str, Any]) -> Verifier:
    iterations = said["iterations"]
    if isinstance(iterations, bool) or not isinstance(iterations, int) or not 1 <= iterations <= _MAX_ITERATIONS:
        raise ValueError
    return Verifier(bytes.fromhex(said["salt"]), iterations, bytes.fromhex(said["hash"]))


def _certificate(said: Mapping[str, Any], role: str) -> Certificate:
    pem = said["pem"]
    der = base64.b64decode("".join(pem.split("\n")[1:-2]), validate=True)
    if hashlib.sha256(der).hexdigest() != said["fingerprint"] or pem_of(der).decode("ascii") != pem:
        raise ValueError
    return Certificate(
        role=role,
        der=der,
        pem=pem,
        fingerprint=said["fingerprint"],
        subject=said["subject"],
        not_before=moment_of(said["not_before"]),
        not_after=moment_of(said["not_after"]),
        alt_names=tuple(said["alt_names"]),
        key_type=said["key_type"],
        key_size=said["key_size"],
        public_key=base64.b64decode(said["public_key"], validate=True),
    )


def _facts(certificate: Certificate) -> Dict[str, Any]:
    return {
        **certificate.facts(),
        "key_type": certificate.key_type,
        "key_size": certificate.key_size,
        "public_key": base64.b64encode(certificate.public_key).decode("ascii"),
    }


def _digest(said: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(said, sort_keys=True, separators=(",", ":")).encode("ascii")).hexdigest()


# -- comparing ------------------------------------------------------------------------------------------------


def _names(generation: LocalGeneration) -> FrozenSet[str]:
    """The files of a generation, without the passphrase that was made here and without the manifest."""
    return frozenset(
        f"{names.set_name(generation.name, role)}.{suffix}"
        for role in names.ROLES
        for suffix in (*layout.PEM_FILES, *generation.formats)
    )


def _hashes(folder: Folder, generation: LocalGeneration) -> Dict[str, str]:
    wanted = set(_names(generation))
    if "pfx" in generation.formats and folder.status(layout.PASSPHRASE):
        wanted.add(layout.PASSPHRASE)
    return {name: hashlib.sha256(folder.read(name)).hexdigest() for name in sorted(wanted)}


def _is_tidy(folder: Folder, found: Manifest, expected: Expected) -> bool:
    """Whether nothing but the generation lies there, every link leads where it should, and every mode is right."""
    links = layout.stable_links(found.generation.name)
    if set(folder.entries()) != {*found.files, *links, layout.MANIFEST}:
        return False
    if any(folder.link_target(name) != target for name, target in links.items()):
        return False
    findings, gid = Findings(expected), expected.gid
    findings.mode((), folder, None, layout.folder_mode(gid), gid)
    for name in (*found.files, layout.MANIFEST):
        findings.mode((name,), folder, name, layout.file_mode(name, gid), layout.file_gid(name, gid))
    return not findings.modes


def _is_verifiable(files: Mapping[str, str], generation: LocalGeneration, passphrase: Optional[bytes]) -> bool:
    """Whether the passphrase is the user's, and known to open the ``.pfx`` files."""
    return layout.PASSPHRASE not in files and passphrase is not None and generation.pfx == PFX_OPENS


def _pfx(folder: Folder, found: Manifest, given: Optional[bytes]) -> Optional[str]:
    """Whether the ``.pfx`` files open with the passphrase wanted; None if only opening them can tell."""
    if layout.PASSPHRASE in found.files:
        line = folder.read(layout.PASSPHRASE)
        stored = line[:-1] if line.endswith(b"\n") else line
        return PFX_OPENS if given in (None, stored) else PFX_DIFFERS
    if given is None:
        return PFX_UNKNOWN
    if found.verifier is None:
        return None
    return PFX_OPENS if found.verifier.accepts(given) else PFX_DIFFERS
