# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The invariants of the design, read from the disks, with the openssl program and with TLS itself."""

from __future__ import annotations

import hashlib
import os
import stat
import subprocess
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from members import ChaosMesh
from secret_scanner import Secret, everything_below, leaks, secrets_of
from test_regenerate import works

LINKS = ("current", "next", "previous")
_PRIVATE = (b"PRIVATE KEY", b"\x1e\xf1\xb5\xb0")  # PEM; PVK, by its magic number
_seen: set[str] = set()


def pairs(mesh: ChaosMesh, names: Iterable[str]) -> list[tuple[str, str]]:
    """The pairs among these servers that work, by the files on their disks."""
    members = [name for name in names if (mesh.current(name) / "server.key").exists()]
    return [(one, other) for one in members for other in members if one != other and accepted(mesh, one, other)]


def accepted(mesh: ChaosMesh, source: str, target: str) -> bool:
    """Whether a caller is accepted that does as docs/shared-keys.md says: uses a shared set as soon as there is one."""
    shared = (mesh.host(source) / "handed-over").resolve() / f"{target}_SyncClient.crt"
    try:
        return works(mesh, source, target, shared if shared.exists() else None)
    except (OSError, ValueError):
        return False


def damaged_sets(mesh: ChaosMesh, name: str, passphrase: str | None) -> list[str]:
    """I1: what is wrong with the sets that a server's links lead to."""
    found = []
    if not (mesh.host(name) / "current").is_symlink():
        found.append(f"I1: {name} has no current sets")
    for link in LINKS:
        path = mesh.host(name) / link
        if path.is_symlink():
            found += [f"I1: {name} {link}: {what}" for what in _damage(path.resolve(), name, passphrase)]
    return found


def _damage(folder: Path, name: str, passphrase: str | None) -> Iterator[str]:
    if not folder.is_dir():
        yield "it leads nowhere"
        return
    files = sorted(path for path in folder.iterdir() if path.is_file())
    digest = hashlib.sha256(b"".join(path.name.encode() + path.read_bytes() for path in files)).hexdigest()
    if digest in _seen:
        return
    before = False
    for role in ("SyncServer", "SyncClient"):
        for what in _damage_of_set(folder / f"{name}_{role}", passphrase):
            before = True
            yield what
    if not before:
        _seen.add(digest)


def _damage_of_set(stem: Path, passphrase: str | None) -> Iterator[str]:
    crt, key, pfx = (Path(f"{stem}{suffix}") for suffix in (".crt", ".key", ".pfx"))
    own = stem.parent / "pfx.passphrase"
    word = passphrase if passphrase is not None else own.read_text().rstrip("\n") if own.exists() else ""
    public = _openssl("x509", "-in", crt, "-noout", "-pubkey")
    if not public:
        yield f"openssl cannot read {crt.name}"
        return
    certificate = _openssl("x509", "-in", crt, "-outform", "DER")
    opened = _openssl("pkcs12", "-in", pfx, "-passin", "env:WORD", "-nodes", word=word)
    others = {
        key.name: _openssl("pkey", "-in", key, "-pubout") == public,
        f"{stem.name}.cer": _openssl("x509", "-inform", "DER", "-in", f"{stem}.cer", "-outform", "DER") == certificate,
        f"the key in {pfx.name}": _openssl("pkey", "-pubout", data=opened) == public,
        f"the certificate in {pfx.name}": _openssl("x509", "-outform", "DER", data=opened) == certificate,
    }
    if b"BEGIN RSA" in key.read_bytes() or b"id-ecPublicKey" not in _openssl("x509", "-in", crt, "-noout", "-text"):
        pvk = _openssl("rsa", "-inform", "PVK", "-in", f"{stem}.pvk", "-pubout")
        others[f"{stem.name}.pvk"] = pvk == public
    for what, same in others.items():
        if not same:
            yield f"{what} does not agree with {crt.name}"


def _openssl(*words: object, data: bytes = b"", word: str = "") -> bytes:
    """What the openssl program prints; nothing if it fails."""
    done = subprocess.run(
        ["openssl", *map(str, words)], input=data, capture_output=True, check=False, env={**os.environ, "WORD": word}
    )
    return done.stdout if done.returncode == 0 else b""


def readable_keys(mesh: ChaosMesh) -> Iterator[str]:
    """I3: files with a private key that others than their owner may read, under whatever name."""
    for path in sorted((mesh.root / "hosts").rglob("*")):
        status = path.lstat()
        if not stat.S_ISREG(status.st_mode) or not status.st_mode & 0o077:
            continue
        if path.suffix in (".key", ".pfx", ".pvk", ".passphrase") or any(one in path.read_bytes() for one in _PRIVATE):
            yield f"I3: {path.relative_to(mesh.root)} has the mode {stat.S_IMODE(status.st_mode):04o}"


def secrets(mesh: ChaosMesh, passphrase: str | None) -> list[Secret]:
    """All that lie on the hosts now."""
    try:
        found = secrets_of([mesh.root / "hosts"])
    except (AssertionError, OSError, ValueError):
        found = []  # there is none yet, or a damaged one
    return [*found, Secret("the passphrase", passphrase.encode())] if passphrase else found


def leaked(mesh: ChaosMesh, known: Sequence[Secret], outputs: Sequence[str]) -> list[str]:
    """I4: which of the secrets stands in an output, in what the control node wrote, or in a temporary file."""
    texts = [(f"the output of run {number}", text.encode()) for number, text in enumerate(outputs)]
    for folder in ("ledger", "report", "tmp", "tmpdir", "remote-tmp"):
        texts += everything_below(mesh.root / folder)
    said = mesh.note("stderr")
    texts += [(str(said), said.read_bytes())] if said.exists() else []
    unique = {secret.value: secret for secret in known}
    return [f"I4: {what}" for what in leaks(unique.values(), texts)]
