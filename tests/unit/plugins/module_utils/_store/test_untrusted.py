# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What every peer must refuse: made once, private, and made again when it is missing."""

from __future__ import annotations

import datetime
import os
import stat
import sys
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.esync.mesh.plugins.module_utils._core import folders as files
from ansible_collections.esync.mesh.plugins.module_utils._core.folders import Folder
from ansible_collections.esync.mesh.plugins.module_utils._crypto import certificates as x509
from ansible_collections.esync.mesh.plugins.module_utils._store import untrusted

from ..conftest import Dying, killed

NOW = datetime.datetime.now(datetime.timezone.utc)
DAY = datetime.timedelta(days=1)
WANTED = ("untrusted.pem", "alpha_SyncClient.pem", "bravo_SyncClient.pem")


@pytest.fixture
def base(tmp_path: Path) -> Any:
    with Folder.open(str(tmp_path / "esync"), 0o755) as folder:
        yield folder


def missing(base: Any, now: datetime.datetime = NOW) -> tuple[str, ...]:
    return untrusted.missing(base, ["alpha", "bravo", "alpha"], now)


def make(base: Any) -> Path:
    untrusted.make(base, missing(base), NOW)
    return Path(base.path) / "probe"


def test_made_private_and_complete(base: Any) -> None:
    assert missing(base) == WANTED
    folder = make(base)
    assert missing(base) == ()
    assert sorted(path.name for path in folder.iterdir()) == sorted(WANTED)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o600}
    for name, subject in zip(WANTED, ("untrusted", "alpha", "bravo")):
        text = (folder / name).read_bytes()
        assert untrusted.is_intact(text)
        pem, _end, key = text[text.index(b"-----BEGIN") :].partition(b"-----END CERTIFICATE-----\n")
        certificate = x509.parse_certificate(pem + _end, name, "client")
        assert (certificate.subject, certificate.alt_names) == (subject, (subject,))
        assert x509.public_key_of(x509.key_from_pem(key, name)) == certificate.public_key


@pytest.mark.parametrize("how", ["gone", "flipped", "cut", "mode", "folder", "link", "others"])
def test_only_what_is_missing_or_damaged_is_made_again(base: Any, how: str) -> None:
    folder = make(base)
    path, other = folder / WANTED[0], (folder / WANTED[1]).read_bytes()
    data = bytearray(path.read_bytes())
    if how == "flipped":
        data[300] ^= 1
        path.write_bytes(data)
    elif how == "cut":
        path.write_bytes(data[:-50])
    elif how == "mode":
        path.chmod(0o640)
    elif how == "others":
        if os.geteuid() != 0:
            pytest.skip("only root can give a file away")
        os.chown(path, 4321, 4321)
    else:
        path.unlink()
        if how == "folder":
            path.mkdir()
        elif how == "link":
            path.symlink_to(WANTED[1])
    assert missing(base) == (WANTED[0],)
    make(base)
    assert missing(base) == ()
    assert (folder / WANTED[1]).read_bytes() == other


@pytest.mark.parametrize("what", ["file", "link", "mode", "others"])
def test_what_stands_in_the_place_of_the_folder(base: Any, what: str, tmp_path: Path) -> None:
    folder = Path(base.path) / "probe"
    if what == "file":
        folder.write_text("x")
    elif what == "link":
        (tmp_path / "elsewhere").mkdir()
        folder.symlink_to(tmp_path / "elsewhere")
    elif what == "mode":
        make(base).chmod(0o755)
    else:
        if os.geteuid() != 0:
            pytest.skip("only root can give a folder away")
        os.chown(make(base), 4321, 4321)
    assert missing(base) == WANTED
    make(base)
    assert missing(base) == ()
    assert not folder.is_symlink()


def test_made_again_long_before_their_time_is_over(base: Any) -> None:
    make(base)
    assert missing(base, NOW + 3650 * DAY - 366 * DAY) == ()
    assert missing(base, NOW + 3650 * DAY - 364 * DAY) == WANTED


def test_killed_between_any_two_system_calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "os", Dying(sys.maxsize))
    for moment in range(1, 100):
        with Folder.open(str(tmp_path / str(moment)), 0o755) as base:
            if not killed(moment, lambda: make(base)):
                break
            folder = make(base)
            assert missing(base) == ()
            assert sorted(path.name for path in folder.iterdir()) == sorted(WANTED), moment
    assert moment > 10
