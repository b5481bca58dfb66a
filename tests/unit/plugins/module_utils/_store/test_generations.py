# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A server's own sets through their whole life, and through a kill between any two system calls of it."""

from __future__ import annotations

import contextlib
import datetime
import itertools
import json
import os
import re
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from other_users import acls, let_in

from ansible_collections.esync.mesh.plugins.module_utils._core import folders as files
from ansible_collections.esync.mesh.plugins.module_utils._core import layout, names
from ansible_collections.esync.mesh.plugins.module_utils._core.errors import EsyncError
from ansible_collections.esync.mesh.plugins.module_utils._core.folders import TEMPORARY
from ansible_collections.esync.mesh.plugins.module_utils._crypto import certificates as x509
from ansible_collections.esync.mesh.plugins.module_utils._crypto import pkcs12
from ansible_collections.esync.mesh.plugins.module_utils._store import generations
from ansible_collections.esync.mesh.plugins.module_utils._store.generations import RotationLock, check_settings, live

from ..conftest import Dying, killed

ROOT = os.geteuid() == 0
NOW = datetime.datetime.now(datetime.timezone.utc)
RENEWED = ("alpha", "127.0.0.1", "sync.example")
LOCK = RotationLock("root@node process 1 started 2", "2026-11-23T12:00:00Z", "r1")


def identities(alpha: Any) -> list[str]:
    """What lies among the generations."""
    return sorted(path.name for path in (alpha.path / "generations").iterdir())


def is_tidy(alpha: Any) -> None:
    """Everything that lies there is named by a link, whole, and has the modes that it should have."""
    found = alpha.inspect()
    assert found.errors() == []
    assert (found.modes, found.orphans, found.adopt, found.leftovers, found.unfinished) == ((), (), None, (), ())
    assert found.unnoted == ()
    assert all(generation.noted for generation in found.generations.values())
    assert sorted(set(found.links.values())) == identities(alpha)
    assert set(live(found)) == set(found.links) == set(alpha.links())


# -- making and keeping ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["ecdsa", "pfx", "rsa"])
def test_what_is_made(fresh: Any, form: str) -> None:
    alpha = fresh(form)
    outcome = alpha.do("present")
    assert (outcome.changed, outcome.reasons, outcome.due, outcome.repaired) == (True, ("absent",), (), ())
    is_tidy(alpha)
    folder = alpha.path / "generations" / alpha.links()["current"]
    suffixes = ["crt", "key", *alpha.settings.formats]
    expected = [f"alpha_Sync{role}.{suffix}" for role in ("Server", "Client") for suffix in suffixes]
    expected += ["manifest.json", "server.crt", "server.key", "client.crt", "client.key"] + ["pfx.passphrase"] * (
        form == "pfx"
    )
    assert sorted(path.name for path in folder.iterdir()) == sorted(expected)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir() if not path.is_symlink()}
    secret = ("key", "pfx", "pvk", "passphrase", "manifest.json")
    assert modes == {name: 0o600 if name.endswith(secret) else 0o644 for name in modes}
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE(alpha.path.stat().st_mode) == 0o755
    assert (alpha.path / "current" / "server.key").read_bytes() == alpha.file("server", "key").read_bytes()
    [shown] = outcome.generations()
    assert (shown["state"], shown["server"]["role"], shown["client"]["role"]) == ("current", "server", "client")
    assert shown["server"]["alt_names"] == ["alpha", "127.0.0.1"]
    assert "PRIVATE" not in json.dumps(outcome.generations())


def test_what_is_kept(server: Any) -> None:
    alpha = server("pfx", "current", "next")
    before = alpha.contents()
    for state, options in (("present", {}), ("present", {"renew": True}), ("next", {}), ("next", {"only_due": True})):
        outcome = alpha.do(state, **options)
        assert (outcome.changed, outcome.reasons) == (False, ())
        assert [one["state"] for one in outcome.generations()] == ["current", "next"]
    assert alpha.contents() == before


def test_nothing_is_wider_than_it_should_be_whatever_the_umask(fresh: Any) -> None:
    for umask in (0o000, 0o077):
        alpha = fresh("pfx")
        old = os.umask(umask)
        try:
            alpha.do("present", discard=True)
        finally:
            os.umask(old)
        is_tidy(alpha)


def test_the_passphrase_made_here(fresh: Any, tmp_path: Path) -> None:
    seen = set()
    for number in range(3):
        alpha = fresh("pfx", tmp_path / f"{number}" / "esync")
        alpha.do("present")
        line = alpha.file("server", "pfx").with_name("pfx.passphrase").read_bytes()
        # 192 random bits in base64, and the end of the line.
        assert re.fullmatch(rb"[A-Za-z0-9_-]{32}\n", line)
        seen.add(line)
        for role in names.ROLES:
            key, der = pkcs12.read_pfx(alpha.file(role, "pfx").read_bytes(), "x", line[:-1])
            assert der == alpha.file(role, "cer").read_bytes()
            assert x509.public_key_of(key) == x509.parse_certificate(der, "x").public_key
    assert len(seen) == 3


def test_a_passphrase_given_is_not_kept_here(fresh: Any) -> None:
    alpha = fresh("pfx")
    alpha.do("present", settings={"passphrase": b"very-secret"})
    folder = alpha.file("server", "pfx").parent
    assert not (folder / "pfx.passphrase").exists()
    assert all(b"very-secret" not in path.read_bytes() for path in folder.iterdir())
    pkcs12.read_pfx(alpha.file("client", "pfx").read_bytes(), "x", b"very-secret")
    assert alpha.inspect(passphrase=b"very-secret").errors() == []


@pytest.mark.parametrize(("state", "options"), [("next", {}), ("present", {"renew": True})])
def test_ids_say_when_and_for_which_rotation(server: Any, state: str, options: Any) -> None:
    alpha = server("ecdsa", "current")
    moment = datetime.datetime(2026, 11, 23, 12, 0, tzinfo=datetime.timezone.utc)
    alpha.do(state, lock=LOCK, now=moment, settings={"alt_names": RENEWED}, **options)
    made = alpha.links()["next" if state == "next" else "current"]
    assert re.fullmatch(r"20261123T120000Z-[0-9a-f]{8}-r1", made)
    assert layout.GENERATION_ID.match(made)


@pytest.mark.parametrize(
    ("changes", "kind"),
    [
        ({"name": "a/b"}, "bad_name"),
        ({"name": "con"}, "bad_name"),
        ({"formats": ("cer", "pvk")}, "bad_key_type"),
        ({"key_type": "ed25519", "formats": ("pvk",)}, "bad_key_type"),
        ({"key_size": 3072}, "bad_key_type"),
        ({"key_type": "ed25519", "key_size": 256}, "bad_key_type"),
        ({"key_type": "rsa", "key_size": 384}, "bad_key_type"),
    ],
)
def test_settings_that_no_set_can_have(fresh: Any, changes: Any, kind: str) -> None:
    with pytest.raises(EsyncError) as caught:
        check_settings(replace(fresh("ecdsa").settings, **changes))
    assert caught.value.kind == kind
    for form in ("ecdsa", "p384", "ed25519", "rsa"):
        check_settings(fresh(form).settings)


@pytest.mark.parametrize(
    "changes", [{"alt_names": ("a b",)}, {"valid_days": 0}, {"passphrase": b""}, {"key_type": "dsa"}]
)
def test_what_cannot_be_made_leaves_nothing(server: Any, changes: Any) -> None:
    alpha = server("pfx", "current")
    before = alpha.contents()
    for state, options in (("present", {"discard": True}), ("next", {})):
        with pytest.raises(EsyncError):
            alpha.do(state, settings=changes, **options)
        assert alpha.contents() == before


def test_what_cannot_be_read_back_is_not_put_to_use(
    server: Any, monkeypatch: pytest.MonkeyPatch, ecdsa_key: Any
) -> None:
    alpha = server("ecdsa", "current")
    before = alpha.contents()
    wrong = x509.key_to_pem(ecdsa_key)
    monkeypatch.setattr(x509, "key_to_pem", lambda key: wrong)
    for state, options in (("present", {"discard": True}), ("next", {})):
        with pytest.raises(EsyncError) as caught:
            alpha.do(state, **options)
        assert (caught.value.kind, caught.value.server) == ("io_error", "alpha")
        assert alpha.contents() == before


# -- renewal ---------------------------------------------------------------------------------------------------

DAY = datetime.timedelta(days=1)
DUE = [
    ({}, 0, ()),
    ({}, 334, ()),
    ({}, 336, ("expires_soon",)),
    ({"renew_before_days": 10}, 336, ()),
    ({}, 366, ("expired",)),
    ({}, -2, ("not_yet_valid",)),
    ({"name": "other"}, 0, ("name_differs",)),
    ({"alt_names": RENEWED}, 0, ("subject_alt_names_differ",)),
    ({"alt_names": ("alpha",)}, 0, ("subject_alt_names_differ",)),
    ({"alt_names": ("127.0.0.1", "alpha", "alpha")}, 0, ()),
    ({"key_type": "rsa"}, 0, ("key_differs",)),
    ({"key_size": 256}, 0, ()),
    ({"key_size": 384}, 0, ("key_differs",)),
    ({"key_type": "ed25519"}, 0, ("key_differs",)),
    ({"formats": ("cer", "pfx", "pvk")}, 0, ("formats_differ",)),
    ({"formats": ("cer",)}, 0, ()),
    ({"formats": ("cer",), "pfx_encryption": "compat", "passphrase": b"other"}, 0, ()),
    ({"pfx_encryption": "compat"}, 0, ("pfx_encryption_differs",)),
    ({"passphrase": b"other"}, 0, ("pfx_passphrase_differs",)),
    (
        {"alt_names": RENEWED, "passphrase": b"other"},
        366,
        ("expired", "subject_alt_names_differ", "pfx_passphrase_differs"),
    ),
]


@pytest.mark.parametrize(("changes", "days", "reasons"), DUE)
def test_why_sound_sets_are_due(server: Any, changes: Any, days: int, reasons: tuple[str, ...]) -> None:
    alpha = server("pfx", "current")
    now = NOW + days * DAY
    before = alpha.contents()
    assert alpha.do("present", now=now, settings=changes).due == reasons
    assert alpha.do("present", True, now=now, settings=changes, check=True).reasons == reasons
    assert alpha.contents() == before


def test_an_rsa_key_of_another_size_is_due(server: Any) -> None:
    alpha = server("rsa", "current")
    assert alpha.do("present").due == ()
    assert alpha.do("present", settings={"key_size": 3072}).due == ("key_differs",)


@pytest.mark.parametrize("changes", [{"alt_names": RENEWED}, {"name": "other"}, {"pfx_encryption": "compat"}])
def test_renewal_keeps_the_old_sets_as_previous(server: Any, changes: Any) -> None:
    alpha = server("pfx", "current")
    old = alpha.links()["current"]
    outcome = alpha.do("present", renew=True, settings=changes)
    assert outcome.changed and outcome.reasons
    assert [one["state"] for one in outcome.generations()] == ["current", "previous"]
    assert alpha.links()["previous"] == old != alpha.links()["current"]
    again = alpha.do("present", renew=True, settings=changes)
    assert (again.changed, again.reasons, again.due) == (False, (), ())


@pytest.mark.parametrize("states", [("current", "previous"), ("current", "next")])
def test_renewal_in_the_middle_of_a_rotation(server: Any, states: tuple[str, ...]) -> None:
    alpha = server("ecdsa", *states)
    old = alpha.links()
    outcome = alpha.do("present", renew=True, settings={"alt_names": RENEWED})
    assert outcome.reasons == ("subject_alt_names_differ",)
    # What the others trust until now is what must be kept for them.
    assert alpha.links()["previous"] == old["current"]
    assert alpha.links().get("next") == old.get("next")
    is_tidy(alpha)
    assert not alpha.do("present", renew=True, settings={"alt_names": RENEWED}).changed


def test_a_pending_next_that_is_due_itself_is_made_anew(server: Any) -> None:
    alpha = server("ecdsa", "current", "next")
    old = alpha.links()
    outcome = alpha.do("next", settings={"alt_names": RENEWED})
    assert (outcome.changed, outcome.reasons) == (True, ("subject_alt_names_differ",))
    assert alpha.links()["current"] == old["current"]
    assert alpha.links()["next"] != old["next"]
    is_tidy(alpha)
    assert not alpha.do("next", settings={"alt_names": RENEWED}).changed


def test_next_only_if_due(server: Any) -> None:
    alpha = server("ecdsa", "current")
    outcome = alpha.do("next", only_due=True)
    assert (outcome.changed, outcome.due) == (False, ())
    outcome = alpha.do("next", only_due=True, now=NOW + 340 * DAY)
    assert outcome.reasons == ("expires_soon",)
    assert alpha.do("next", now=NOW + 340 * DAY).due == ("expires_soon",)


def test_next_because_it_was_asked_for(server: Any) -> None:
    alpha = server("ecdsa", "current")
    assert alpha.do("next").reasons == ("asked_for",)
    is_tidy(alpha)


def test_next_of_nothing(fresh: Any) -> None:
    alpha = fresh("ecdsa")
    with pytest.raises(EsyncError) as caught:
        alpha.do("next")
    assert (caught.value.kind, caught.value.server) == ("not_established", "alpha")


# -- switching and retiring ------------------------------------------------------------------------------------


def test_a_whole_rotation(server: Any) -> None:
    alpha = server("rsa", "current", "next")
    old = alpha.links()
    contents = {state: alpha.file("server", "key", state).read_bytes() for state in old}
    for again in (True, False):
        assert alpha.do("switched").changed is again
        assert alpha.links() == {"current": old["next"], "previous": old["current"]}
    assert alpha.file("server", "key").read_bytes() == contents["next"]
    for again in (True, False):
        assert alpha.do("rolled_back").changed is again
        assert alpha.links() == old
    assert alpha.file("server", "key").read_bytes() == contents["current"]
    alpha.do("switched")
    with alpha.file("server", "key", "previous").open("rb") as retired:
        for again in (True, False):
            assert alpha.do("retired").changed is again
            assert alpha.links() == {"current": old["next"]}
        # Its blocks do not keep the key.
        assert retired.read() == bytes(len(contents["current"]))
    assert identities(alpha) == [old["next"]]
    is_tidy(alpha)


def test_a_switch_waits_for_the_retirement_of_the_one_before(server: Any) -> None:
    alpha = server("ecdsa", "current", "next")
    generations = alpha.path / "generations"
    older = "20250101T000000Z-00000000"
    shutil.copytree(generations / alpha.links()["current"], generations / older, symlinks=True)
    (alpha.path / "previous").symlink_to(f"generations/{older}")
    before = alpha.contents()
    with pytest.raises(EsyncError) as caught:
        alpha.do("switched")
    assert (caught.value.kind, caught.value.server) == ("previous_pending", "alpha")
    assert alpha.contents() == before


def test_no_next_is_made_while_a_previous_waits_for_its_retirement(server: Any) -> None:
    alpha = server("ecdsa", "current", "previous")
    before = alpha.contents()
    outcome = alpha.do("next")
    assert (outcome.changed, outcome.reasons) == (False, ())
    assert alpha.contents() == before


def _a_link(file: Path) -> None:
    elsewhere = file.parents[3] / "elsewhere"
    file.rename(elsewhere)
    file.symlink_to(elsewhere)


def _a_fifo(file: Path) -> None:
    file.unlink()
    os.mkfifo(file, 0o644)


def _empty(file: Path) -> None:
    file.write_bytes(b"")


def _foreign(file: Path) -> None:
    (file.parent / "notes.txt").write_text("x")


def _given_away(file: Path) -> None:
    os.chown(file, 12345, -1)
    file.chmod(0o644)


SPOILT = [
    _a_link,
    _a_fifo,
    _empty,
    _foreign,
    pytest.param(_given_away, marks=pytest.mark.skipif(not ROOT, reason="only root can give files away")),
]


@pytest.mark.parametrize("spoil", SPOILT)
def test_a_damaged_previous_keeps_nobody_from_rotating_and_from_its_destruction(server: Any, spoil: Any) -> None:
    alpha = server("ecdsa", "current", "previous")
    spoil(alpha.file("server", "key", "previous"))
    assert alpha.do("next").changed
    for state in ("present", "rolled_back"):
        with pytest.raises(EsyncError):
            alpha.do(state)
    assert alpha.do("retired").changed
    assert set(alpha.links()) == {"current", "next"}
    is_tidy(alpha)


@pytest.mark.parametrize("spoil", SPOILT)
def test_a_damaged_next_is_made_anew(server: Any, spoil: Any) -> None:
    alpha = server("ecdsa", "current", "next")
    spoil(alpha.file("server", "key", "next"))
    before = alpha.contents()
    with pytest.raises(EsyncError):
        alpha.do("switched")
    assert alpha.contents() == before
    assert alpha.do("next").reasons == ("asked_for",)
    is_tidy(alpha)


@pytest.mark.parametrize("state", ["switched", "rolled_back", "retired", "absent"])
def test_on_nothing_nothing_is_to_be_done(fresh: Any, state: str) -> None:
    alpha = fresh("ecdsa")
    assert not alpha.do(state).changed
    assert list(alpha.path.iterdir()) == []


def test_absent_leaves_what_is_not_ours(server: Any) -> None:
    alpha = server("ecdsa", "current", "next")
    (alpha.path / "rotation.json").write_text("{}")
    (alpha.path / "remote").mkdir()
    (alpha.path / "trusted").symlink_to("remote/x")
    (alpha.path / (TEMPORARY + "1")).write_text("x")
    (alpha.path / "notes.txt").write_text("x")
    copy = alpha.path / "services" / "db" / "client.key"
    copy.parent.mkdir(parents=True)
    copy.write_bytes(alpha.file("client", "key").read_bytes())
    with alpha.file("client", "key").open("rb") as stream, copy.open("rb") as copied:
        assert alpha.do("absent").changed
        assert not any(stream.read()) and not any(copied.read())
    assert [path.name for path in alpha.path.iterdir()] == ["notes.txt"]
    assert not alpha.do("absent").changed


# -- discarding ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("states", [("current",), ("current", "next"), ("current", "previous")])
def test_discarding_makes_everything_anew(server: Any, states: tuple[str, ...]) -> None:
    alpha = server("ecdsa", *states)
    old = identities(alpha)
    (alpha.path / "rotation.json").write_text("{}")
    (alpha.path / "generations" / "notes.txt").write_text("x")
    (alpha.path / "notes.txt").write_text("x")
    outcome = alpha.do("present", discard=True)
    assert (outcome.changed, outcome.reasons) == (True, ("discard_existing",))
    assert set(alpha.links()) == {"current"}
    assert not set(identities(alpha)) & set(old)
    is_tidy(alpha)
    assert sorted(path.name for path in alpha.path.iterdir()) == ["current", "generations", "notes.txt"]
    assert alpha.do("present", discard=True).changed


@pytest.mark.parametrize("state", names.STATES)
def test_discarding_what_stands_in_the_place_of_a_link(server: Any, state: str) -> None:
    alpha = server("ecdsa", "current")
    (alpha.path / state).unlink(missing_ok=True)
    (alpha.path / state).mkdir()
    (alpha.path / state / "file").write_text("x")
    alpha.do("present", discard=True)
    is_tidy(alpha)
    assert set(alpha.links()) == {"current"}


def test_discarding_what_stands_in_the_place_of_the_generations(server: Any) -> None:
    alpha = server("ecdsa", "current")
    (alpha.path / "generations").rename(alpha.path.parent / "away")
    (alpha.path / "generations").write_text("x")
    alpha.do("present", discard=True)
    is_tidy(alpha)


@pytest.mark.skipif(not ROOT, reason="only root can give files away")
@pytest.mark.parametrize("name", ["generations", "current", "generations/ID", "generations/ID/alpha_SyncServer.key"])
def test_discarding_what_belongs_to_somebody_else(server: Any, name: str) -> None:
    alpha = server("ecdsa", "current")
    os.lchown(alpha.path / name.replace("ID", alpha.links()["current"]), 12345, -1)
    with pytest.raises(EsyncError, match="12345"):
        alpha.do("present")
    alpha.do("present", discard=True)
    is_tidy(alpha)


# -- modes -----------------------------------------------------------------------------------------------------


def test_wrong_modes_are_mended_and_listed(server: Any) -> None:
    alpha = server("pfx", "current")
    wrong = {
        alpha.path: 0o755,
        alpha.path / "generations": 0o711,
        alpha.file("server", "key").parent: 0o700,
        alpha.file("server", "key"): 0o600,
        alpha.file("client", "pfx"): 0o600,
        alpha.file("client", "pfx").with_name("pfx.passphrase"): 0o600,
        alpha.file("client", "crt"): 0o644,
    }
    for path in wrong:
        path.chmod(0o777)
    outcome = alpha.do("present", check=True)
    assert outcome.changed
    assert sorted(outcome.repaired) == sorted(str(path) for path in wrong)
    assert {stat.S_IMODE(path.stat().st_mode) for path in wrong} == {0o777}
    outcome = alpha.do("present")
    assert (outcome.changed, outcome.reasons) == (True, ())
    assert sorted(outcome.repaired) == sorted(str(path) for path in wrong)
    assert {path: stat.S_IMODE(path.stat().st_mode) for path in wrong} == wrong
    outcome = alpha.do("present")
    assert (outcome.changed, outcome.repaired) == (False, ())


def test_access_control_lists_are_taken_away_and_listed(server: Any) -> None:
    alpha = server("pfx", "current")
    gid = os.getegid()
    alpha.do("present", settings={"gid": gid})
    changed = [alpha.path, alpha.path / "generations", alpha.file("server", "key").parent]
    for path in changed:
        let_in(path, 7, inherited=True)
    changed.append(alpha.file("server", "key"))
    let_in(changed[-1], 4)
    found = alpha.inspect(gid=gid)
    assert found.errors() == []
    assert {"/".join((str(alpha.path), *mode.place)): mode.acl for mode in found.modes} == {
        str(path): True for path in changed
    }
    outcome = alpha.do("present", settings={"gid": gid})
    assert sorted(outcome.repaired) == sorted(map(str, changed))
    assert [acls(path) for path in changed] == [[]] * 4
    assert not alpha.do("present", settings={"gid": gid}).changed


def test_a_new_generation_inherits_no_access_control_list(server: Any) -> None:
    alpha = server("pfx", "current")
    let_in(alpha.path, 7, inherited=True)
    let_in(alpha.path / "generations", 7, inherited=True)
    alpha.do("next", settings={"gid": os.getegid()})
    folder = alpha.file("server", "key", "next").parent
    assert [path for path in (folder, *folder.iterdir()) if not path.is_symlink() and acls(path)] == []


@pytest.mark.parametrize("state", ["next", "switched", "rolled_back", "retired"])
def test_modes_mended_by_every_state_are_listed(server: Any, state: str) -> None:
    alpha = server("ecdsa", "current", "next" if state in ("next", "switched") else "previous")
    file = alpha.file("server", "key")
    file.chmod(0o644)
    outcome = alpha.do(state)
    assert outcome.repaired == (str(file),)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


@pytest.mark.parametrize("form", ["pfx", "rsa"])
def test_a_group_that_may_read_the_keys(fresh: Any, form: str) -> None:
    alpha = fresh(form)
    gid = 4321 if ROOT else os.getegid()
    alpha.do("present", settings={"gid": gid})
    files_of_keys = [alpha.file(role, suffix) for role in names.ROLES for suffix in ("key", form.replace("rsa", "pvk"))]
    folder = files_of_keys[0].parent
    files_of_keys.append(folder / "manifest.json")
    assert (stat.S_IMODE(folder.stat().st_mode), folder.stat().st_gid) == (0o750, gid)
    for file in files_of_keys:
        assert (stat.S_IMODE(file.stat().st_mode), file.stat().st_gid) == (0o640, gid)
    if form == "pfx":
        assert stat.S_IMODE((folder / "pfx.passphrase").stat().st_mode) == 0o600
    assert not alpha.do("present", settings={"gid": gid}).changed
    # Taken back: the keys are the owner's alone again.
    outcome = alpha.do("present")
    assert sorted(outcome.repaired) == sorted(str(path) for path in (folder, *files_of_keys))
    is_tidy(alpha)


@pytest.mark.skipif(not ROOT, reason="only root can give files to any group")
def test_a_group_given_to_sets_that_have_none(server: Any) -> None:
    alpha = server("ecdsa", "current")
    outcome = alpha.do("present", settings={"gid": 4321})
    assert len(outcome.repaired) == 4, "the folder, both keys and the manifest"
    file = alpha.file("client", "key")
    assert (stat.S_IMODE(file.stat().st_mode), file.stat().st_gid) == (0o640, 4321)
    assert not alpha.do("present", settings={"gid": 4321}).changed


# -- who rotates -----------------------------------------------------------------------------------------------


def note(alpha: Any) -> Any:
    """The note of a rotation."""
    return json.loads((alpha.path / "rotation.json").read_text())


def test_a_rotation_is_noted_and_keeps_others_out(server: Any) -> None:
    alpha = server("ecdsa", "current")
    outcome = alpha.do("next", lock=LOCK)
    assert note(alpha) == {"holder": LOCK.holder, "since": LOCK.since, "id": "r1"}
    assert outcome.inspection.rotation == note(alpha)
    assert stat.S_IMODE((alpha.path / "rotation.json").stat().st_mode) == 0o644
    assert not alpha.do("next", lock=LOCK).changed
    before = alpha.contents()
    other = RotationLock("root@elsewhere process 3 started 4", "2026-11-24T12:00:00Z", "r2")
    for state, options in (("next", {}), ("present", {}), ("present", {"discard": True})):
        with pytest.raises(EsyncError) as caught:
            alpha.do(state, lock=other, **options)
        assert (caught.value.kind, caught.value.server) == ("locked", "alpha")
        assert LOCK.holder in caught.value.cause and LOCK.since in caught.value.cause
        assert "esync_take_over_lock" in caught.value.remedy
    assert alpha.contents() == before


def test_a_rotation_is_taken_over(server: Any) -> None:
    alpha = server("ecdsa", "current")
    alpha.do("next", lock=LOCK)
    old = alpha.links()
    other = RotationLock("root@elsewhere process 3 started 4", LOCK.since, "r1", take_over=True)
    assert alpha.do("next", lock=other).changed
    assert note(alpha)["holder"] == other.holder
    assert alpha.links() == old
    assert not alpha.do("next", lock=other).changed


@pytest.mark.parametrize(
    "text", ["{", '{"holder": "root on', "[" * 4000, None], ids=["begun", "cut", "nested", "folder"]
)
def test_a_note_that_cannot_be_read_keeps_everybody_out_until_taken_over(server: Any, text: str | None) -> None:
    alpha = server("ecdsa", "current")
    if text is None:
        (alpha.path / "rotation.json").mkdir()
    else:
        (alpha.path / "rotation.json").write_text(text)
    with pytest.raises(EsyncError, match="somebody whose note cannot be read has been rotating it") as caught:
        alpha.do("next", lock=LOCK)
    assert caught.value.path == str(alpha.path / "rotation.json")
    alpha.do("next", lock=replace(LOCK, take_over=True))
    assert note(alpha)["id"] == "r1"


def test_a_rotation_ends_with_the_retirement(server: Any) -> None:
    alpha = server("ecdsa", "current")
    alpha.do("next", lock=LOCK)
    alpha.do("switched")
    assert note(alpha)["id"] == "r1"
    assert alpha.do("retired").inspection.rotation is None
    assert not (alpha.path / "rotation.json").exists()
    # One that had nothing to make here only takes its note away.
    (alpha.path / "rotation.json").write_text("{}")
    assert alpha.do("retired").changed
    assert not alpha.do("retired").changed


def test_damage_is_told_before_anything_is_noted(server: Any) -> None:
    alpha = server("ecdsa", "current")
    alpha.file("server", "key").write_bytes(b"")
    before = alpha.contents()
    for state in ("present", "next"):
        with pytest.raises(EsyncError, match="it is empty"):
            alpha.do(state, lock=LOCK)
        assert alpha.contents() == before


# -- check mode ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("states", "state", "options"),
    [
        (("current",), "present", {"discard": True}),
        (("current",), "present", {"lock": LOCK}),
        (("current",), "next", {}),
        (("current", "next"), "switched", {}),
        (("current", "previous"), "rolled_back", {}),
        (("current", "previous"), "retired", {}),
        (("current", "next"), "absent", {}),
    ],
)
def test_check_mode_says_what_would_be_done_and_does_nothing(
    server: Any, states: tuple[str, ...], state: str, options: Any
) -> None:
    alpha = server("ecdsa", *states)
    before = alpha.contents()
    planned = alpha.do(state, check=True, **options)
    assert alpha.contents() == before
    done = alpha.do(state, **options)
    assert planned.changed and done.changed
    assert planned.reasons == done.reasons
    assert planned.due == done.due


def test_check_mode_without_a_directory(fresh: Any) -> None:
    settings = fresh("ecdsa").settings
    outcome = generations.Sets(None, settings, NOW, check=True).present()
    assert (outcome.changed, outcome.reasons, outcome.generations()) == (True, ("absent",), [])
    for state in ("switched", "rolled_back", "retired", "absent"):
        assert not getattr(generations.Sets(None, settings, NOW, check=True), state)().changed
    with pytest.raises(EsyncError):
        generations.Sets(None, settings, NOW, check=True).next()


@pytest.mark.parametrize(("target", "states"), [("next", {"current", "previous"}), ("previous", {"current"})])
def test_check_mode_sees_what_a_killed_run_meant(server: Any, target: str, states: set[str]) -> None:
    alpha = server("ecdsa", "current", "next")
    alpha.do("switched") if target == "next" else (alpha.path / "next").unlink()
    (alpha.path / target).symlink_to((alpha.path / "current").readlink())
    before = alpha.contents()
    assert set(live(alpha.inspect())) == states
    outcome = alpha.do("present", check=True)
    assert outcome.changed
    assert {one["state"] for one in outcome.generations()} == states
    assert alpha.contents() == before
    outcome = alpha.do("present")
    assert {one["state"] for one in outcome.generations()} == states
    is_tidy(alpha)


# -- killed ----------------------------------------------------------------------------------------------------


SECRETS = (b"PRIVATE KEY", bytes.fromhex("1ef1b5b0"), bytes.fromhex("06092a864886f70d010701"))
"""How keys in PEM, .pvk files and .pfx files are told, whatever the name of their file."""


def no_key_is_open(alpha: Any) -> None:
    """No file with a key, or a part of one, has bits for the group or for others."""
    for path in alpha.path.rglob("*"):
        status = path.lstat()
        if stat.S_ISREG(status.st_mode) and status.st_mode & 0o077:
            assert path.suffix not in (".key", ".pfx", ".pvk", ".passphrase"), path
            assert not any(mark in path.read_bytes() for mark in SECRETS), path


def current_is_whole(alpha: Any) -> None:
    """Whoever reads the current sets finds complete ones."""
    found = alpha.inspect()
    assert [str(error) for error in found.errors(None, "current")] == []
    assert "current" in found.generations


def with_remains(alpha: Any) -> None:
    """As if several runs had been killed there before."""
    (alpha.path / "next").unlink()
    unfinished = alpha.path / "generations" / (TEMPORARY + "1")
    unfinished.mkdir()
    (unfinished / "alpha_SyncServer.key").touch(0o600)
    (alpha.path / (TEMPORARY + "2")).write_text("x")
    alpha.file("client", "crt").chmod(0o600)


ANEW = {"settings": {"alt_names": RENEWED}}
KILLED = {
    # What is done, to what, how, and which links it leads to: state to the old state of that generation, None if new.
    "first": ("ecdsa", (), "present", {}, {"current": None}),
    "first in a rotation": ("ecdsa", (), "present", {"lock": LOCK}, {"current": None}),
    "first with pfx": ("pfx", (), "present", {}, {"current": None}),
    "remains": ("ecdsa", ("current", "next"), "present", {}, {"current": "current"}),
    "renewed": ("ecdsa", ("current",), "present", {"renew": True, **ANEW}, {"current": None, "previous": "current"}),
    "renewed amid": (
        "ecdsa",
        ("current", "previous"),
        "present",
        {"renew": True, **ANEW},
        {"current": None, "previous": "current"},
    ),
    "discarded": ("ecdsa", ("current", "next"), "present", {"discard": True}, {"current": None}),
    "next": ("ecdsa", ("current",), "next", {"lock": LOCK}, {"current": "current", "next": None}),
    "next anew": ("ecdsa", ("current", "next"), "next", ANEW, {"current": "current", "next": None}),
    "next with pvk": ("rsa", ("current",), "next", {}, {"current": "current", "next": None}),
    "switched": ("ecdsa", ("current", "next"), "switched", {}, {"current": "next", "previous": "current"}),
    "rolled back": ("ecdsa", ("current", "previous"), "rolled_back", {}, {"current": "previous", "next": "current"}),
    "retired": ("ecdsa", ("current", "previous"), "retired", {}, {"current": "current"}),
    "absent": ("ecdsa", ("current", "next"), "absent", {}, {}),
}


@pytest.mark.parametrize("name", KILLED)
def test_killed_between_any_two_system_calls(
    server: Any, fresh: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    form, states, state, options, leads_to = KILLED[name]
    # Nobody is killed but where it says so; this only leaves out the waiting for the disk.
    monkeypatch.setattr(files, "os", Dying(sys.maxsize))
    # Sets that take long to judge are made by the same calls, so every fifth of them must do.
    for moment in itertools.count(1, 1 if form == "ecdsa" else 5):
        path = tmp_path / str(moment) / "esync"
        alpha = server(form, *states, path=path) if states else fresh(form, path)
        if name == "remains":
            with_remains(alpha)
        elif name == "retired":
            (path / "rotation.json").write_text("{}")
        old = alpha.links() if states else {}
        if not killed(moment, partial(alpha.do, state, **options)):
            break
        no_key_is_open(alpha)
        if states and state != "absent":
            current_is_whole(alpha)
        elif states:
            # Not even on the way to its end does a link name what is being destroyed.
            assert alpha.inspect().errors(*(alpha.links() or ["none"])) == [], moment
        # Whatever comes next, the same again or only establish, there is something to go on with.
        if moment % 2 and state != "absent":
            alpha.do("present")
            current_is_whole(alpha)
            assert not alpha.do("present").changed, moment
        alpha.do(state, **options)
        assert set(alpha.links()) == set(leads_to), moment
        for link, source in leads_to.items():
            assert (alpha.links()[link] in old.values()) == (source is not None), moment
            assert source is None or alpha.links()[link] == old[source], moment
        if state == "absent":
            assert list(path.iterdir()) == []
        else:
            is_tidy(alpha)
        if name != "discarded":
            assert not alpha.do(state, **options).changed, moment
        shutil.rmtree(path.parent)
    # Two or one calls for each link, five for each file that is made, two for one that is destroyed.
    assert moment > {"switched": 5, "rolled_back": 5, "retired": 15}.get(state, 20)


# -- a disk that is full ---------------------------------------------------------------------------------------


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 pages."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = (
        ROOT
        and not subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=256k,mode=755", "esync-test", str(place)],
            check=False,
            capture_output=True,
        ).returncode
    )
    if not mounted:
        pytest.skip("a file system can only be mounted by root, where it is allowed")
    yield place
    subprocess.run(["umount", "--lazy", str(place)], check=True)


def filled(place: Path, free: int) -> Path:
    """Leave so many pages free."""
    filler = place / "filler"
    filler.write_bytes(b"")
    status = os.statvfs(place)
    with contextlib.suppress(OSError):
        filler.write_bytes(bytes(max(status.f_bavail - free, 0) * status.f_bsize))
    return filler


@pytest.mark.parametrize(("state", "options"), [("next", {}), ("present", {"discard": True}), ("present", {})])
def test_a_full_disk_leaves_everything_as_it_was(
    server: Any, fresh: Any, small_disk: Path, state: str, options: Any
) -> None:
    path = small_disk / "esync"
    existing = state == "next" or bool(options)
    alpha = server("pfx", "current", path=path) if existing else fresh("pfx", path)
    failed = 0
    for free in range(30):
        filler = filled(small_disk, free)
        before = alpha.contents()
        try:
            alpha.do(state, **options)
        except EsyncError as error:
            assert (error.kind, error.cause.partition(": ")[2]) == ("no_space", "there is no space left")
            assert str(error.path).startswith(str(path))
            if existing:
                assert alpha.contents() == before
            else:
                assert [one for one in alpha.contents() if TEMPORARY in one or "SyncServer" in one] == []
            failed += 1
            filler.unlink()
            continue
        break
    assert failed > 5
    filler.unlink()
    is_tidy(alpha)
    assert not alpha.do(state, **({} if "discard" in options else options)).changed


def test_a_full_disk_keeps_nobody_from_retiring(server: Any, small_disk: Path) -> None:
    alpha = server("ecdsa", "current", "previous", path=small_disk / "esync")
    filled(small_disk, 0)
    assert alpha.do("retired").changed
    is_tidy(alpha)
