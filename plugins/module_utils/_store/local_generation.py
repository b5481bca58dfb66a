# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One generation of a server's own sets, as a record, and what its inspection needs to know."""

from __future__ import annotations

import stat
from dataclasses import dataclass, field
from typing import Any, Dict, List, Mapping, Optional, Tuple

from ansible_collections.esync.mesh.plugins.module_utils._core import names
from ansible_collections.esync.mesh.plugins.module_utils._core.certificate import Certificate
from ansible_collections.esync.mesh.plugins.module_utils._core.errors import EsyncError
from ansible_collections.esync.mesh.plugins.module_utils._core.folders import Folder

DISCARD = (
    "Restore it from a backup, or have all of this server's sets replaced by new ones: "
    "run establish with -e esync_discard_existing=NAME"
)
RESTORABLE = "Run the repair playbook, which writes it again from what is sound beside it"
NEXT_AGAIN = "Run the regenerate playbook, which makes the next certificates again; they are not in use yet"
LOST = "Restore it from a backup, or run the repair playbook, which makes new sets: no private key of them is left"
PFX_OPENS = "opens"
PFX_DIFFERS = "differs"
PFX_UNKNOWN = "unknown"
# What no reader of ours can decide by looking at the content keeps its own remedy.
_OTHER_REMEDY = frozenset(["no_permission", "io_error", "read_only", "missing_dependency", "locked"])


@dataclass(frozen=True)
class Expected:
    """What the inspection needs to know.

    :param name: the server name.
    :param passphrase: of the ``.pfx`` files, if the user gave one.
    :param gid: the group that may read the keys, if any.
    :param any_group: accept the modes with and without a group, because the reader does not know the group.
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
    :param noted: whether its manifest says all of this.
    """

    id: str
    name: str
    certificates: Mapping[str, Certificate]
    formats: Tuple[str, ...]
    pfx: Optional[str] = None
    encryptions: Tuple[str, ...] = ()
    noted: bool = field(default=False, compare=False)

    def facts(self, state: str) -> Dict[str, Any]:
        """The generation as modules return it; public data only."""
        facts: Dict[str, Any] = {"id": self.id, "state": state}
        facts.update((role, self.certificates[role].facts()) for role in names.ROLES)
        return facts


@dataclass(frozen=True)
class Mode:
    """A mode or group to be corrected.

    :param place: the names of the folders and the file below the directory; empty for the directory itself.
    :param acl: whether an access control list lets others in besides.
    """

    place: Tuple[str, ...]
    found: int
    wanted: int
    gid: Optional[int]
    acl: bool = False


@dataclass(frozen=True)
class SetProblem:
    """What makes it impossible to go on without a decision of the user.

    :param state: the generation concerned (current, next, previous); None for what concerns all.
    """

    state: Optional[str]
    error: EsyncError


@dataclass(frozen=True)
class Restoration:
    """What of a damaged generation can be written again from what is sound in it, and which private keys it holds.

    :param name: the server name in its file names.
    :param files: the names of files to be written again. :param links: likewise of links, with their targets.
    :param certificates: role to its certificate, where it is known for certain. :param private: likewise its key.
    :param passphrase: by which ``.pfx`` files are written; None: a new one, if the file for it is among ``files``.
    :param encryption: how the ``.pfx`` files are encrypted; None: as the settings say.
    :param keys: what would be destroyed with the generation: roles with a sound private key, and files that hold, or
        may hold, another one.
    """

    name: str
    files: Tuple[str, ...] = ()
    links: Mapping[str, str] = field(default_factory=dict)
    certificates: Mapping[str, Certificate] = field(default_factory=dict)
    private: Mapping[str, Any] = field(default_factory=dict, repr=False)
    passphrase: Optional[bytes] = field(default=None, repr=False)
    encryption: Optional[str] = None
    keys: Tuple[str, ...] = ()

    @property
    def names(self) -> Tuple[str, ...]:
        """Everything that is written again."""
        return (*self.files, *self.links)


class Findings:
    """Collects while reading; becomes an Inspection."""

    def __init__(self, expected: Expected) -> None:
        self.expected = expected
        self.problems: List[SetProblem] = []
        self.modes: List[Mode] = []
        self.restorations: Dict[str, Restoration] = {}

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
            return  # reported elsewhere, or to be reported: it cannot be corrected
        found = stat.S_IMODE(status.st_mode)
        wrong_group = gid is not None and status.st_gid != gid
        # A group's modes have exactly the group's read (and search) bits more.
        if self.expected.any_group and found & ~0o050 == wanted & ~0o050:
            return
        acl = folder.has_acl(name)
        if found != wanted or wrong_group or acl:
            self.modes.append(Mode(place, found, wanted, gid, acl))
