# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The manifest settles what has not changed, and never what has."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.esync.mesh.plugins.module_utils._core import folders as files
from ansible_collections.esync.mesh.plugins.module_utils._core import names
from ansible_collections.esync.mesh.plugins.module_utils._core.folders import Folder
from ansible_collections.esync.mesh.plugins.module_utils._crypto import certificates as x509
from ansible_collections.esync.mesh.plugins.module_utils._store import manifest
from ansible_collections.esync.mesh.plugins.module_utils._store.local_generation import Expected
from ansible_collections.esync.mesh.plugins.module_utils._store.local_sets import Inspection, inspect

from ..conftest import Dying, killed


def look(alpha: Any, deep: bool, **changes: Any) -> Inspection:
    """What is found there."""
    settings = replace(alpha.settings, **changes)
    with Folder.open(str(alpha.path)) as base:
        return inspect(base, settings.expected, deep)


def in_words(found: Inspection) -> tuple[Inspection, list[str]]:
    """What was found, with errors and keys that can be compared."""
    restorations = {
        identity: replace(one, private={role: x509.key_to_pem(key) for role, key in one.private.items()})
        for identity, one in found.restorations.items()
    }
    return replace(found, problems=(), restorations=restorations), [str(error) for error in found.errors()]


def noted(alpha: Any, **changes: Any) -> bool:
    """Whether the manifest of the current generation settled everything."""
    found = look(alpha, False, **changes).generations.get("current")
    return bool(found and found.noted)


def file_of(alpha: Any) -> Path:
    """The manifest of the current generation."""
    path: Path = (alpha.path / "current").resolve() / "manifest.json"
    return path


def all_but_the_manifest(alpha: Any) -> Any:
    """Everything that lies there, of the manifest only its mode: the untrusted certificates in it are new each time."""
    found = alpha.contents()
    mode, _data = found[str(file_of(alpha))]
    return {**found, str(file_of(alpha)): mode}


def untrusted_in(alpha: Any) -> Any:
    """The untrusted certificates of the current generation."""
    return json.loads(file_of(alpha).read_bytes())["untrusted"]


@pytest.mark.parametrize("form", ["ecdsa", "pfx", "rsa"])
def test_it_says_what_parsing_finds(server: Any, form: str) -> None:
    alpha = server(form, "current", "next")
    deep, short = look(alpha, True), look(alpha, False)
    assert short == deep
    assert {state: one.noted for state, one in short.generations.items()} == {"current": True, "next": True}
    assert not any(one.noted for one in deep.generations.values())
    assert (deep.unnoted, short.unnoted) == ((), ())


def test_nothing_secret_is_in_it(server: Any, fresh: Any, tmp_path: Path) -> None:
    alpha = fresh("pfx", tmp_path / "given" / "esync")
    alpha.do("present", settings={"passphrase": b"very-secret"})
    text = file_of(alpha).read_bytes()
    assert b"very-secret" not in text
    # Those of the untrusted certificates, which open nothing.
    assert text.count(b"BEGIN PRIVATE KEY") == 2
    for role in names.ROLES:
        assert alpha.file(role, "key").read_bytes().split(b"\n")[1] not in text
    assert file_of(alpha).stat().st_mode & 0o777 == 0o600
    assert file_of(alpha).parent.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize(
    "name", ["alpha_SyncServer.key", "alpha_SyncClient.cer", "alpha_SyncServer.pfx", "pfx.passphrase"]
)
@pytest.mark.parametrize("how", ["flipped", "gone", "mode", "link", "copy"])
def test_whatever_differs_is_parsed(server: Any, name: str, how: str) -> None:
    alpha = server("pfx", "current")
    path = file_of(alpha).with_name(name)
    assert noted(alpha)
    data = bytearray(path.read_bytes())
    if how == "flipped":
        data[len(data) // 2] ^= 1
        path.write_bytes(data)
    elif how == "gone":
        path.unlink()
    elif how == "mode":
        path.chmod(0o640)
    elif how == "link":
        shutil.move(path, alpha.path / "elsewhere")
        path.symlink_to(alpha.path / "elsewhere")
    else:
        shutil.copy(path, path.with_name("copy"))
    assert not noted(alpha)
    assert in_words(look(alpha, False)) == in_words(look(alpha, True))


@pytest.mark.parametrize("what", ["server.key", "folder", "manifest.json"])
def test_links_and_modes_count(server: Any, what: str) -> None:
    alpha = server("ecdsa", "current")
    if what == "server.key":
        link = file_of(alpha).with_name(what)
        link.unlink()
        link.symlink_to("alpha_SyncClient.key")
    else:
        (file_of(alpha).parent if what == "folder" else file_of(alpha)).chmod(0o755)
    assert not noted(alpha)
    assert in_words(look(alpha, False)) == in_words(look(alpha, True))


def rewritten(text: str, **changes: Any) -> str:
    """A manifest that says something else, with the digest that belongs to that."""
    said = {**json.loads(text), **changes}
    del said["digest"]
    canonical = json.dumps(said, sort_keys=True, separators=(",", ":"))
    return json.dumps({**said, "digest": hashlib.sha256(canonical.encode()).hexdigest()})


def verifier(iterations: Any) -> Any:
    return {"salt": "00", "iterations": iterations, "hash": "00"}


SPOILT = {name: {"pem": "x", "sha256": "0" * 64} for name in ("untrusted", "alpha_SyncClient")}
BROKEN = {
    "empty": lambda text: "",
    "no JSON": lambda text: "{",
    "a list": lambda text: "[]",
    "deep": lambda text: "[" * 100000,
    "cut": lambda text: text[:-100],
    "one digit": lambda text: text.replace('"key_size": 256', '"key_size": 257', 1),
    "another version": lambda text: rewritten(text, version=manifest.VERSION + 1),
    "another name": lambda text: rewritten(text, name="bravo"),
    "no files": lambda text: rewritten(text, files={}),
    "no certificates": lambda text: rewritten(text, certificates={}),
    "no untrusted ones": lambda text: rewritten(text, untrusted={}),
    "untrusted ones that are damaged": lambda text: rewritten(text, untrusted=SPOILT),
    "untrusted ones in a form of their own": lambda text: rewritten(text, untrusted=["x"]),
    "files of another form": lambda text: rewritten(text, formats=["cer", "../x"]),
    "iterations that are no number": lambda text: rewritten(text, pfx_passphrase=verifier(None)),
    "iterations without end": lambda text: rewritten(text, pfx_passphrase=verifier(9_000_000_000)),
    "no text": lambda text: "\udcff",
}


@pytest.mark.parametrize("how", BROKEN)
def test_one_that_is_damaged_is_written_again(server: Any, how: str) -> None:
    alpha = server("ecdsa", "current")
    before, path = all_but_the_manifest(alpha), file_of(alpha)
    text = path.read_text()
    broken = BROKEN[how](text)
    assert broken != text
    path.write_bytes(broken.encode("utf-8", "surrogateescape"))
    assert not noted(alpha)
    found = look(alpha, False)
    assert (found.errors(), found.modes, found.unnoted) == ([], (), (path.parent.name,))
    outcome = alpha.do("present")
    assert (outcome.changed, outcome.reasons, outcome.repaired) == (True, (), (str(path),))
    assert noted(alpha)
    assert all_but_the_manifest(alpha) == before


@pytest.mark.parametrize("what", ["folder", "fifo", "link", "gone", "others"])
def test_whatever_stands_in_its_place(server: Any, what: str) -> None:
    alpha = server("ecdsa", "current")
    before, path = all_but_the_manifest(alpha), file_of(alpha)
    if what != "others":
        path.unlink()
    if what == "folder":
        path.mkdir()
        (path / "x").write_text("x")
    elif what == "fifo":
        os.mkfifo(path)
    elif what == "link":
        path.symlink_to("/etc/passwd")
    elif what == "others":
        if os.geteuid() != 0:
            pytest.skip("only root can give a file away")
        os.chown(path, 4321, 4321)
    assert look(alpha, False).errors() == []
    assert alpha.do("present").repaired == (str(path),)
    assert all_but_the_manifest(alpha) == before


def test_every_live_generation_gets_one(server: Any) -> None:
    alpha = server("ecdsa", "current", "next")
    for path in (alpha.path / "generations").glob("*/manifest.json"):
        path.unlink()
    assert len(alpha.do("next").repaired) == 2
    assert not alpha.do("next").changed


@pytest.mark.parametrize("deep", [False, True])
def test_passphrases_are_told_apart_without_opening_a_file(fresh: Any, deep: bool) -> None:
    alpha = fresh("pfx")
    alpha.do("present", settings={"passphrase": b"very-secret"})
    for passphrase, verdict in ((b"very-secret", "opens"), (b"another", "differs"), (None, "unknown")):
        assert noted(alpha, passphrase=passphrase)
        assert look(alpha, deep, passphrase=passphrase).generations["current"].pfx == verdict


def test_a_passphrase_that_was_not_known_yet_is_noted(fresh: Any) -> None:
    alpha = fresh("pfx")
    given = {"passphrase": b"very-secret"}
    alpha.do("present", settings=given)
    file_of(alpha).unlink()
    assert alpha.do("present").repaired == (str(file_of(alpha)),)
    assert noted(alpha) and not noted(alpha, **given)
    # Only one that opens the files.
    assert not alpha.do("present", settings={"passphrase": b"another"}).repaired
    kept = untrusted_in(alpha)
    assert alpha.do("present", settings=given).repaired == (str(file_of(alpha)),)
    assert noted(alpha, **given)
    assert untrusted_in(alpha) == kept, "only what is missing is made"
    assert not alpha.do("present", settings=given).changed


def test_with_a_group_and_for_readers_who_were_not_told(server: Any) -> None:
    alpha = server("pfx", "current")
    gid = os.getegid()
    assert not noted(alpha, gid=gid)
    alpha.do("present", settings={"gid": gid})
    assert noted(alpha, gid=gid)
    assert file_of(alpha).stat().st_mode & 0o777 == 0o640
    file_of(alpha).unlink()
    assert alpha.do("present", settings={"gid": gid}).repaired == (str(file_of(alpha)),)
    assert file_of(alpha).stat().st_mode & 0o777 == 0o640
    assert noted(alpha, gid=gid)
    with Folder.open(str(alpha.path)) as base:
        for expected in (Expected("alpha", any_group=True), Expected("alpha", gid=gid)):
            assert inspect(base, expected, False).generations["current"].noted


def test_killed_while_it_is_written_again(server: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "os", Dying(sys.maxsize))
    for moment in range(1, 100):
        alpha = server("ecdsa", "current", path=tmp_path / str(moment) / "esync")
        before = all_but_the_manifest(alpha)
        file_of(alpha).unlink()
        if not killed(moment, partial(alpha.do, "present")):
            break
        assert look(alpha, False).errors() == [], moment
        alpha.do("present")
        assert noted(alpha)
        assert all_but_the_manifest(alpha) == before, moment
    assert moment > 5


def test_a_full_disk_is_an_error_and_no_damage(server: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    alpha = server("ecdsa", "current")
    file_of(alpha).unlink()
    before = alpha.contents()

    def fails(*_arguments: Any, **_options: Any) -> Any:
        raise OSError(28, "full")

    with monkeypatch.context() as patched:
        patched.setattr(files.os, "write", fails)
        with pytest.raises(Exception, match="no space left"):
            alpha.do("present")
    assert alpha.contents() == before
