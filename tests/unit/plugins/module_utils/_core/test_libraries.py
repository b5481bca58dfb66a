# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import datetime
import subprocess
import sys
import types
from pathlib import Path

import pytest

from ansible_collections.esync.mesh.plugins.module_utils import _interpreter
from ansible_collections.esync.mesh.plugins.module_utils._core import libraries as requirements
from ansible_collections.esync.mesh.plugins.module_utils._core.errors import EsyncError

COLLECTIONS = Path(__file__).resolve().parents[5] / "playbooks" / "collections"


def test_what_is_here_will_do() -> None:
    requirements.require()


@pytest.mark.parametrize("version", ["3.3", "3.3.2", "3.4.8", "35.0.0", "38", "38.0.4", "50.0.2", "100.0", "4.0.dev1"])
def test_new_enough(version: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(requirements, "FOUND", version)
    requirements.require()


@pytest.mark.parametrize("version", ["3.2.1", "3", "2.9", "unknown", "3.x"])
def test_too_old_names_what_was_found_and_where(version: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(requirements, "FOUND", version)
    monkeypatch.setattr(requirements, "PLACE", "/usr/lib/somewhere/cryptography/__init__.py")
    with pytest.raises(EsyncError) as caught:
        requirements.require()
    assert caught.value.kind == "missing_dependency"
    for part in (f"version {version} ", "/usr/lib/somewhere/cryptography", "3.3 or later"):
        assert part in str(caught.value)
    assert f"for {sys.executable}, which is Python {sys.version_info[0]}.{sys.version_info[1]}, " in str(caught.value)


@pytest.mark.parametrize("packaged", [True, False])
def test_what_is_missing_comes_with_the_three_ways_out_and_the_package_to_install(
    packaged: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(requirements, "FOUND", "")
    monkeypatch.setattr(requirements, "LOADED", False)
    monkeypatch.setattr(_interpreter, "is_packaged", lambda: packaged)
    monkeypatch.setattr(_interpreter, "os_release", lambda: "")
    with pytest.raises(EsyncError) as caught:
        requirements.require()
    error = caught.value.to_result()["error"]
    # Of a Python that is not the distribution's no package is installed: it would be for another.
    assert error["package"] == ("python3-cryptography" if packaged else "")
    version = ".".join(str(part) for part in sys.version_info[:2])
    assert error["remedy"] == _interpreter.ways_out(sys.executable, version, packaged, "")


def test_a_library_that_cannot_be_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(requirements, "LOADED", False)
    with pytest.raises(EsyncError) as caught:
        requirements.require()
    assert caught.value.kind == "missing_dependency"
    assert f"at {requirements.PLACE}, which cannot be loaded" in str(caught.value)


class Certificate:
    """A certificate of the library as versions before 42 and since then have it."""

    def __init__(self, suffix: str, zone: datetime.timezone | None) -> None:
        for number, name in enumerate(("not_valid_before", "not_valid_after")):
            setattr(self, name + suffix, datetime.datetime(2026 + number, 1, 2, tzinfo=zone))


@pytest.mark.parametrize(("suffix", "zone"), [("", None), ("_utc", datetime.timezone.utc)])
def test_times_have_a_zone_in_every_version(suffix: str, zone: datetime.timezone | None) -> None:
    found = requirements.validity(Certificate(suffix, zone))
    assert found == tuple(datetime.datetime(year, 1, 2, tzinfo=datetime.timezone.utc) for year in (2026, 2027))


def test_3des_by_a_published_example() -> None:
    # NIST SP 800-20, table A.1: the first block of the variable plaintext test.
    from cryptography.hazmat.primitives.ciphers import Cipher, modes

    key = bytes.fromhex("0101010101010101" * 3)
    encryptor = Cipher(requirements.triple_des(key), modes.CBC(bytes(8))).encryptor()
    assert (encryptor.update(bytes.fromhex("8000000000000000")) + encryptor.finalize()).hex() == "95f8a5e5dd31d900"


def test_a_library_without_3des(monkeypatch: pytest.MonkeyPatch) -> None:
    for place in ("decrepit", "primitives"):
        monkeypatch.setitem(sys.modules, f"cryptography.hazmat.{place}.ciphers.algorithms", types.ModuleType("empty"))
    with pytest.raises(EsyncError) as caught:
        requirements.triple_des(bytes(24))
    assert caught.value.kind == "unsupported_algorithm"
    assert "3DES" in str(caught.value)
    assert "esync_pfx_encryption" in str(caught.value)


class Numbers:
    """The numbers of an RSA key as versions before 39 and since then take them."""

    def __init__(self, new: bool) -> None:
        self.private_key = self.since if new else self.before

    def before(self) -> str:
        return "tested"

    def since(self, unsafe_skip_rsa_key_validation: bool = False) -> str:
        return "not tested" if unsafe_skip_rsa_key_validation else "tested"


def test_primes_are_tested_only_where_that_cannot_be_left_out() -> None:
    assert requirements.rsa_key(Numbers(new=True)) == "not tested"
    assert requirements.rsa_key(Numbers(new=False)) == "tested"


def test_without_the_library_everything_imports_and_says_what_to_install() -> None:
    program = """
import sys
sys.modules["cryptography"] = None
sys.path.insert(0, sys.argv[1])
from ansible_collections.esync.mesh.plugins.module_utils._crypto import pkcs12
from ansible_collections.esync.mesh.plugins.module_utils._crypto import pvk
from ansible_collections.esync.mesh.plugins.module_utils._crypto import key_types
from ansible_collections.esync.mesh.plugins.module_utils._core import libraries as requirements
from ansible_collections.esync.mesh.plugins.module_utils._crypto import certificates as x509
try:
    requirements.require()
except Exception as error:
    print(type(error).__name__, error.kind, error)
"""
    run = subprocess.run(
        [sys.executable, "-c", program, str(COLLECTIONS)], capture_output=True, text=True, timeout=60, check=False
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout.startswith("MissingLibraryError missing_dependency ")
    assert "there is none" in run.stdout
    assert "virtual environment" in run.stdout
