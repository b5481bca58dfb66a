# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is killed: for each operation the situations that together pass through all of its stages."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from members import ChaosMesh

PASSPHRASE = "the passphrase of the mesh: Jt4hVq8sLw2n"
SHARED = {"esync_trust_model": "shared_keys", "esync_pfx_passphrase": PASSPHRASE}
RSA = {"esync_key_type": "rsa", "esync_key_size": 2048, "esync_formats": ["cer", "pfx", "pvk"]}
ALL = ("a", "b", "c")


@dataclass(frozen=True)
class Scenario:
    """A playbook, and the mesh that it finds.

    :param base: what was done before, a key of BASES. :param damage: done to the files after that.
    :param excepted: the servers whose pairs, or sets, may be down until the playbook has ended.
    :param removed: the servers that do not belong to the mesh when it has ended.
    :param fails_at: a stage, by its title, and the member that fails in it in every killed run.
    :param absent: the member that cannot be reached in any killed run, and does not know what the others changed to.
    :param again: the playbook with its arguments that must change nothing after that; None: the same.
    """

    operation: str
    arguments: Sequence[str] = ()
    base: str = "established"
    settings: Mapping[str, Any] = field(default_factory=dict)
    damage: Callable[[ChaosMesh], None] | None = None
    excepted: Sequence[str] = ()
    removed: Sequence[str] = ()
    fails_at: tuple[str, str] | None = None
    absent: str | None = None
    killed_arguments: Sequence[str] = ()
    again: Sequence[str] | None = None


def nothing(mesh: ChaosMesh) -> None:
    """No server has anything yet."""


def two(mesh: ChaosMesh) -> None:
    mesh.names = ["a", "b"]
    mesh.write()
    mesh.succeed("establish")
    mesh.names = list(ALL)
    mesh.write()


def established(mesh: ChaosMesh) -> None:
    mesh.succeed("establish")


def pending(mesh: ChaosMesh) -> None:
    mesh.succeed("establish")
    mesh.succeed("regenerate", "-e", "esync_announce_only=true")


def exported(mesh: ChaosMesh) -> None:
    """Another mesh has put its certificates into the folder `folder`."""
    mesh.succeed("establish")
    (mesh.root / "other").mkdir()
    other = ChaosMesh(mesh.root / "other", ["x", "y"], dict(mesh.settings))
    other.succeed("establish")
    other.succeed("export", "-e", json.dumps({"esync_folder": f"{other.root}/out-{{{{ esync_server_name }}}}"}))
    folder = mesh.root / "folder"
    folder.mkdir(mode=0o700)
    for name in other.names:
        for file in (other.root / f"out-{name}").iterdir():
            shutil.copy(file, folder)
    shutil.rmtree(other.root)


BASES: Mapping[str, tuple[Callable[[ChaosMesh], None], Mapping[str, Any]]] = {
    "nothing": (nothing, {}),
    "two": (two, {}),
    "established": (established, {}),
    "rsa": (established, RSA),
    "shared": (established, SHARED),
    "shared, a rotation pending": (pending, SHARED),
    "a folder": (exported, {}),
    "shared, a folder": (exported, SHARED),
}


def damage(mesh: ChaosMesh) -> None:
    """A key, a mode, and a trust."""
    (mesh.current("b") / "b_SyncServer.key").write_bytes(b"")
    (mesh.current("a") / "a_SyncServer.crt").chmod(0o600)
    shutil.rmtree(mesh.host("c") / "remote" / os.readlink(mesh.host("c") / "trusted").rpartition("/")[2])


def damage_shared(mesh: ChaosMesh) -> None:
    """A shared client set is gone."""
    for path in (mesh.host("c") / "handed-over").resolve().glob("a_SyncClient*"):
        path.unlink()


_FOLDER = ("-e", "esync_folder={root}/folder")
_FOLDER_PASSPHRASE = ("-e", json.dumps({"esync_folder_passphrase": PASSPHRASE}))
_ONLY_DUE = ("regenerate", "-e", "esync_only_due=true")
_COMPROMISE = ("-e", "esync_compromised=b")
_REMOVE = ("-e", "esync_remove=c")
_DEFER = ("-e", "esync_offline=defer")
_SWITCH = "Switch every server to its next certificates"

SCENARIOS: Mapping[str, Scenario] = {
    "establish, new": Scenario("establish", base="nothing", excepted=ALL),
    "establish, new, shared keys": Scenario("establish", base="nothing", settings=SHARED, excepted=ALL),
    "establish, one joins": Scenario("establish", base="two", excepted=("c",)),
    "establish, one is discarded": Scenario(
        "establish", ("-e", "esync_discard_existing=c"), excepted=("c",), again=("establish",)
    ),
    "regenerate": Scenario("regenerate", again=_ONLY_DUE),
    "regenerate, rsa": Scenario("regenerate", base="rsa", settings=RSA, again=_ONLY_DUE),
    "regenerate, rolled back": Scenario("regenerate", fails_at=(_SWITCH, "c"), again=_ONLY_DUE),
    "regenerate, one is away": Scenario(
        "regenerate", excepted=("c",), absent="c", killed_arguments=_DEFER, again=_ONLY_DUE
    ),
    "regenerate, compromised": Scenario("regenerate", _COMPROMISE, excepted=("b",), again=_ONLY_DUE),
    "regenerate, one compromised, one rotated": Scenario(
        "regenerate", (*_COMPROMISE, "-e", "esync_regenerate=a"), excepted=("b",), again=_ONLY_DUE
    ),
    "regenerate, shared keys": Scenario("regenerate", base="shared", settings=SHARED, again=_ONLY_DUE),
    "regenerate, shared keys, rolled back": Scenario(
        "regenerate", base="shared", settings=SHARED, fails_at=(_SWITCH, "c"), again=_ONLY_DUE
    ),
    "regenerate, shared keys, compromised": Scenario(
        "regenerate", _COMPROMISE, base="shared", settings=SHARED, excepted=ALL, again=_ONLY_DUE
    ),
    "regenerate, to shared keys": Scenario("regenerate", settings=SHARED, again=_ONLY_DUE),
    "regenerate, from shared keys": Scenario(
        "regenerate", base="shared", settings={"esync_pfx_passphrase": PASSPHRASE}, again=_ONLY_DUE
    ),
    "remove": Scenario("remove", _REMOVE, excepted=("c",), removed=("c",)),
    "remove, shared keys": Scenario("remove", _REMOVE, base="shared", settings=SHARED, excepted=("c",), removed=("c",)),
    "remove, shared keys, rolled back": Scenario(
        "remove", _REMOVE, base="shared", settings=SHARED, excepted=("c",), removed=("c",), fails_at=(_SWITCH, "a")
    ),
    "remove, shared keys, a rotation pending": Scenario(
        "remove",
        _REMOVE,
        base="shared, a rotation pending",
        settings=SHARED,
        excepted=("c",),
        removed=("c",),
    ),
    "apply": Scenario("apply", _FOLDER, base="a folder"),
    "apply, shared keys": Scenario("apply", (*_FOLDER, *_FOLDER_PASSPHRASE), base="shared, a folder", settings=SHARED),
    "repair": Scenario("repair", damage=damage, excepted=("c",)),
    "repair, shared keys": Scenario("repair", base="shared", settings=SHARED, damage=damage_shared),
}
