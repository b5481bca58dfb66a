# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import datetime
import grp
import os
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.esync.mesh.plugins.module_utils._core.errors import EsyncError
from ansible_collections.esync.mesh.plugins.module_utils._core.folders import Folder
from ansible_collections.esync.mesh.plugins.module_utils._crypto import certificates as x509
from ansible_collections.esync.mesh.plugins.module_utils._steps import options as sets_adapter
from ansible_collections.esync.mesh.plugins.module_utils._store import trust_folder as trust
from ansible_collections.esync.mesh.plugins.module_utils._store import trust_writer

NOW = datetime.datetime(2026, 11, 23, 12, 0, tzinfo=datetime.timezone.utc)
OPTIONS: dict[str, Any] = {
    "name": "alpha",
    "address": "10.0.0.1",
    "subject_alt_names": ["sync.example"],
    "key_type": "ecdsa",
    "key_size": 384,
    "renew_before_days": 20,
    "formats": ["pvk", "cer"],
    "pfx_passphrase": None,
    "pfx_encryption": "compat",
    "file_group": None,
}


def test_options_become_settings() -> None:
    settings = sets_adapter.settings_of({**OPTIONS, "valid_days": 100, "pfx_passphrase": "straße"})
    assert settings.alt_names == ("alpha", "10.0.0.1", "sync.example")
    assert (settings.key_type, settings.key_size) == ("ecdsa", 384)
    assert (settings.valid_days, settings.renew_before_days) == (100, 20)
    assert settings.formats == ("cer", "pvk")
    assert settings.passphrase == "straße".encode()
    assert settings.pfx_encryption == "compat"
    assert settings.gid is None


@pytest.mark.parametrize("nothing", [None, ""])
def test_what_is_left_out_or_empty(nothing: Any) -> None:
    settings = sets_adapter.settings_of({**OPTIONS, "address": nothing, "pfx_passphrase": nothing, "file_group": ""})
    assert settings.alt_names == ("alpha", "sync.example")
    assert settings.passphrase is None
    assert settings.valid_days == 365
    assert settings.gid is None


def test_the_passphrase_is_not_shown_where_settings_are() -> None:
    settings = sets_adapter.settings_of({**OPTIONS, "pfx_passphrase": "very-secret"})
    assert "very-secret" not in repr(settings)
    assert "very-secret" not in repr(settings.expected)


def test_a_group_by_its_name() -> None:
    group = grp.getgrgid(os.getegid())
    assert sets_adapter.settings_of({**OPTIONS, "file_group": group.gr_name}).gid == group.gr_gid
    with pytest.raises(EsyncError) as caught:
        sets_adapter.settings_of({**OPTIONS, "file_group": "no-such-group"})
    assert (caught.value.kind, caught.value.server) == ("unknown_group", "alpha")
    assert "no-such-group" in caught.value.cause


def test_the_trust_as_the_control_node_needs_it(tmp_path: Path) -> None:
    key = x509.generate_key("ecdsa", 256)
    certificate = x509.self_sign(key, "server", x509.Profile("bravo", ("bravo",), "ecdsa", 256, 10), NOW)
    entry = trust.TrustEntry("bravo", "server", "current", certificate.fingerprint)
    warnings: list[str] = []
    with Folder.open(str(tmp_path / "esync"), 0o755) as base:
        assert sets_adapter.trust_of(base, "alpha", warnings) is None
        trust_writer.apply(base, "alpha", [entry], [certificate.pem], "one")
        found = sets_adapter.trust_of(base, "alpha", warnings)
        assert found == {"digest": trust.digest_of([entry]), "entries": [vars(entry)], "distrusted": []}
        assert warnings == []
        (tmp_path / "esync" / "remote" / "one" / "trust.json").write_text("{")
        assert sets_adapter.trust_of(base, "alpha", warnings) is None
    assert len(warnings) == 1
    assert str(tmp_path / "esync" / "trusted") in warnings[0]
    assert sets_adapter.trust_of(None, "alpha", warnings) is None


@pytest.mark.parametrize("skew", [-301, 301, 86400])
def test_clocks_that_differ_too_much_are_both_named(skew: int) -> None:
    with pytest.raises(EsyncError) as caught:
        sets_adapter.check_clock(NOW, NOW.timestamp() + skew, 300, "alpha")
    there = x509.timestamp(NOW + datetime.timedelta(seconds=skew))
    assert (caught.value.kind, caught.value.server) == ("clock_skew", "alpha")
    for part in ("2026-11-23T12:00:00Z", there, f"{abs(skew)} s", "300 s"):
        assert part in caught.value.cause


@pytest.mark.parametrize("control", [None, NOW.timestamp() - 300, NOW.timestamp() + 300])
def test_clocks_that_agree_or_are_not_compared(control: Any) -> None:
    sets_adapter.check_clock(NOW, control, 300, "alpha")


def test_the_clock_has_a_zone() -> None:
    assert sets_adapter.clock().utcoffset() == datetime.timedelta(0)


def version_of(wanted: Any, seconds: float = 10) -> Any:
    return sets_adapter.product_version({**OPTIONS, "product_version": wanted, "product_version_timeout": seconds})


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        (None, None),
        ("", None),
        ([], None),
        (" 8.3.1 ", "8.3.1"),
        (8, "8"),
        (["printf", "8.3.1\\nand more\\n"], "8.3.1"),
        (["printf", "\\n  8.3.1 \\n"], "8.3.1"),
        (["printf", "%s", 8], "8"),
    ],
)
def test_a_version_given_or_printed(wanted: Any, found: Any) -> None:
    assert version_of(wanted) == (found, None)


@pytest.mark.parametrize(
    ("command", "why"),
    [
        (["/no/such/program"], "cannot be started"),
        (["sh", "-c", "echo 8.3; echo no licence >&2; exit 3"], "ended with 3 and said: no licence"),
        (["true"], "printed nothing"),
        (["printf", "8.3\\0331"], "printed no version"),
        (["sh", "-c", "printf '%0201d' 1"], "printed no version"),
        (["sh", "-c", "echo 'PRIVATE KEY' >&2; exit 1"], "ended with 1"),
    ],
)
def test_a_version_that_cannot_be_found_out_is_a_problem_with_its_command(command: Any, why: str) -> None:
    version, problem = version_of(command)
    assert version is None
    assert problem["kind"] == "product_version_unknown"
    assert problem["server"] == "alpha"
    assert problem["cause"].startswith(f"the command {' '.join(command)} {why}")
    assert "esync_product_version" in problem["remedy"]


def test_a_command_that_hangs_is_ended() -> None:
    version, problem = version_of(["sleep", "60"], 0.2)
    assert version is None
    assert "did not end within 0.2 seconds" in problem["cause"]


def test_damaged_files_of_the_trust_are_named_each(tmp_path: Path) -> None:
    key = x509.generate_key("ecdsa", 256)
    certificate = x509.self_sign(key, "server", x509.Profile("bravo", ("bravo",), "ecdsa", 256, 10), NOW)
    entry = trust.TrustEntry("bravo", "server", "current", certificate.fingerprint)
    with Folder.open(str(tmp_path / "esync"), 0o755) as base:
        trust_writer.apply(base, "alpha", [entry], [certificate.pem], "one")
        assert sets_adapter.read_trust(base, "alpha")[1] == []
        inside = tmp_path / "esync" / "remote" / "one"
        (inside / "servers.pem").write_text("")
        (inside / "foreign").write_text("")
        found, errors = sets_adapter.read_trust(base, "alpha")
        assert found == {"digest": "", "entries": [vars(entry)], "distrusted": []}
        assert {(error.kind, error.path) for error in errors} == {
            ("damaged_trust", f"{inside}/servers.pem"),
            ("damaged_trust", f"{inside}/foreign"),
        }


def test_the_skew_has_a_sign_and_needs_both_clocks() -> None:
    assert sets_adapter.skew_of(NOW, NOW.timestamp() + 4.5) == -4.5
    assert sets_adapter.skew_of(NOW, None) is None
