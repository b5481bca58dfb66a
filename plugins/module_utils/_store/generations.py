# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A server's own certificate sets, from their making to their destruction (docs/files-on-the-host.md).

Every change of state is a rename of a link. Whenever a run is killed, what it leaves is a state that the next run
understands: ``next`` equal to ``current`` is a switch that only has to drop ``next``, ``previous`` equal to ``current``
one that has not happened yet, and a generation that no link names was never used, or is retired.
"""

from __future__ import annotations

import contextlib
import datetime
import json
from dataclasses import dataclass, field, replace
from typing import Any, Dict, List, Optional, Tuple

from ansible_collections.esync.mesh.plugins.module_utils._core import layout, names
from ansible_collections.esync.mesh.plugins.module_utils._core.certificate import normal_alt_names
from ansible_collections.esync.mesh.plugins.module_utils._core.errors import EsyncError, raise_all
from ansible_collections.esync.mesh.plugins.module_utils._core.folders import TEMPORARY, Folder
from ansible_collections.esync.mesh.plugins.module_utils._core.libraries import require
from ansible_collections.esync.mesh.plugins.module_utils._crypto import key_types
from ansible_collections.esync.mesh.plugins.module_utils._store import manifest
from ansible_collections.esync.mesh.plugins.module_utils._store.local_generation import (
    PFX_DIFFERS,
    Expected,
    LocalGeneration,
    Mode,
)
from ansible_collections.esync.mesh.plugins.module_utils._store.local_sets import OURS, Inspection, inspect


@dataclass(frozen=True)
class SetSettings:
    """What the sets are to be.

    :param alt_names: all names and addresses of the certificates.
    :param key_size: one of the sizes of ``key_type``; None for its default.
    :param passphrase: of the ``.pfx`` files; None lets the host make one.
    :param gid: the group that may read the keys, if any.
    """

    name: str
    alt_names: Tuple[str, ...]
    key_type: str = key_types.DEFAULT
    key_size: Optional[int] = None
    valid_days: int = 365
    renew_before_days: int = 30
    formats: Tuple[str, ...] = layout.FORMATS
    passphrase: Optional[bytes] = field(default=None, repr=False)
    pfx_encryption: str = layout.MODERN
    gid: Optional[int] = None

    @property
    def expected(self) -> Expected:
        return Expected(self.name, self.passphrase, self.gid)


@dataclass(frozen=True)
class RotationLock:
    """The rotation that a control node holds on this server.

    :param holder: who, as the user should read it. :param since: UTC. :param id: of the rotation.
    """

    holder: str
    since: str
    id: str
    take_over: bool = False


@dataclass(frozen=True)
class SetOutcome:
    """What was, or in check mode would be, done.

    :param reasons: why certificates were made. :param due: why the current ones should be rotated.
    :param repaired: paths whose mode was corrected, or that were written again. :param inspection: what lies there now.
    """

    changed: bool
    inspection: Inspection
    reasons: Tuple[str, ...] = ()
    due: Tuple[str, ...] = ()
    repaired: Tuple[str, ...] = ()

    def generations(self) -> List[Dict[str, Any]]:
        """The live generations with their public certificates."""
        found = live(self.inspection)
        return [found[state].facts(state) for state in names.STATES if state in found]


def check_settings(settings: SetSettings) -> None:
    """Refuse settings that no set can have, before anything is made.

    :raises EsyncError: kinds ``bad_name``, ``bad_key_type``.
    """
    for problem in names.problems(settings.name):
        raise EsyncError(
            f"{settings.name!r} is no server name: {problem}", "Choose another esync_server_name", kind="bad_name"
        )
    try:
        key_types.wanted_size(settings.key_type, settings.key_size)
        key_types.demand_formats(settings.key_type, settings.formats)
    except EsyncError as error:
        raise EsyncError(error.cause, error.remedy, kind=error.kind, server=settings.name) from None


def live(inspection: Inspection) -> Dict[str, LocalGeneration]:
    """The sound generations by the state that they really have, whatever a killed run left of the links."""
    found = dict(inspection.generations)
    links = inspection.links
    current = links.get(names.CURRENT)
    for state in (names.NEXT, names.PREVIOUS):
        if current is not None and links.get(state) == current:
            found.pop(state, None)
    return found


def due_reasons(generation: LocalGeneration, settings: SetSettings, now: datetime.datetime) -> Tuple[str, ...]:
    """Why a sound generation should be replaced; empty if it should not.

    :param now: with a time zone.
    """
    certificates = list(generation.certificates.values())
    end = min(certificate.not_after for certificate in certificates)
    # Those of a certificate are normal already, which saves the rest of the work nearly always.
    present = set(certificates[0].alt_names)
    wanted = present if present == set(settings.alt_names) else set(normal_alt_names(settings.alt_names))
    size = key_types.wanted_size(settings.key_type, settings.key_size)
    reasons = {
        "expired": end <= now,
        "expires_soon": now < end <= now + datetime.timedelta(days=settings.renew_before_days),
        "not_yet_valid": any(certificate.not_before > now for certificate in certificates),
        "name_differs": generation.name != settings.name,
        "subject_alt_names_differ": any(set(certificate.alt_names) != wanted for certificate in certificates),
        "key_differs": any(
            (certificate.key_type, certificate.key_size) != (settings.key_type, size) for certificate in certificates
        ),
        "formats_differ": not set(settings.formats) <= set(generation.formats),
        "pfx_passphrase_differs": "pfx" in settings.formats and generation.pfx == PFX_DIFFERS,
        "pfx_encryption_differs": "pfx" in settings.formats
        and any(found != settings.pfx_encryption for found in generation.encryptions),
    }
    return tuple(reason for reason, holds in reasons.items() if holds)


class Sets:
    """The sets of one server; use it under the lock of ``base``, unless in check mode.

    :param base: the directory of the mesh; None if it does not exist yet (then ``check`` must be set).
    :param now: the host's time, with a time zone.
    :param check: only say what would be done.
    :param deep: parse every file, also where the manifest says that nothing has changed.
    """

    def __init__(
        self,
        base: Optional[Folder],
        settings: SetSettings,
        now: datetime.datetime,
        check: bool = False,
        deep: bool = False,
    ) -> None:
        self.base = base
        self.settings = settings
        self.now = now
        self.check = check
        self.deep = deep
        self._repaired: Tuple[str, ...] = ()
        self.found = inspect(base, settings.expected, deep) if base else Inspection()

    # -- the states a user can ask for ------------------------------------------------------------------------

    def present(
        self,
        renew: bool = False,
        discard: bool = False,
        lock: Optional[RotationLock] = None,
        repair: bool = False,
    ) -> SetOutcome:
        """Make the current sets if there are none, keep them if they are sound.

        :param renew: replace sound ones that are due; else that is only said.
        :param discard: destroy whatever there is, and make new ones.
        :param repair: write what is damaged again from what is sound in the same generation; make new sets if no
            private key is left that would be destroyed with the old ones.
        :raises EsyncError: everything that is damaged or unexpected, file by file; nothing is then changed, unless
            ``repair`` could restore some of it.
        """
        if discard:
            self._hold(lock)
            return self._discard("discard_existing")
        if repair:
            if self.found.is_lost:
                return self._discard("keys_lost")
            if self._restore():
                return self._outcome(True)
        raise_all(self.found.errors())
        locked = self._hold(lock) or bool(self._repaired)
        current = live(self.found).get(names.CURRENT)
        if current is None and not self.found.adopt:
            self._tidy()
            return self._made(("absent",), names.CURRENT, lock)
        changed = self._tidy(repair=True) or locked
        current = live(self.found).get(names.CURRENT)
        due = due_reasons(current, self.settings, self.now) if current else ()
        if due and renew:
            return self._made(due, names.CURRENT, lock)
        return self._outcome(changed, due=due)

    def next(self, only_due: bool = False, lock: Optional[RotationLock] = None) -> SetOutcome:
        """Make the next sets, or keep them if some are pending and sound; none are made while previous ones wait.

        :param only_due: make none if the current ones need no replacement.
        :raises EsyncError: the current ones are missing or damaged.
        """
        # A damaged next was never used: it is created again. A damaged previous only waits for its destruction.
        raise_all(self.found.errors(None, names.CURRENT))
        self._demand_current()
        locked = self._hold(lock)
        changed = self._tidy(repair=True) or locked
        found = live(self.found)
        due = due_reasons(found[names.CURRENT], self.settings, self.now)
        if names.PREVIOUS in found:
            # Switched already, perhaps by what a killed run left at work on this host: retirement comes first.
            return self._outcome(changed, due=due)
        pending = found.get(names.NEXT)
        if pending and not due_reasons(pending, self.settings, self.now):
            return self._outcome(changed, due=due)
        if only_due and not due and not pending:
            return self._outcome(changed, due=due)
        return self._made(due or ("asked_for",), names.NEXT, lock)

    def switched(self) -> SetOutcome:
        """Make next the current, and the current previous; nothing if there is no next."""
        raise_all(self.found.errors(None, names.CURRENT, names.NEXT))
        changed = self._tidy()
        links = self.found.links
        if names.NEXT in links and names.PREVIOUS in links:
            raise EsyncError(
                "the certificates before the current ones are still waiting for retirement",
                "Run the regenerate playbook, which finishes that first",
                kind="previous_pending",
                server=self.settings.name,
            )
        if names.NEXT not in links:
            return self._outcome(changed)
        if self._base:
            _link(self._base, names.PREVIOUS, links[names.CURRENT])
            _link(self._base, names.CURRENT, links[names.NEXT])
            self._base.remove(names.NEXT)
            self._base.sync()
        return self._outcome(True)

    def rolled_back(self) -> SetOutcome:
        """Undo a switch: previous is current again, and what was current is next."""
        raise_all(self.found.errors(None, names.PREVIOUS))
        changed = self._tidy()
        links = self.found.links
        if names.PREVIOUS not in links:
            return self._outcome(changed)
        if self._base:
            _link(self._base, names.NEXT, links[names.CURRENT])
            _link(self._base, names.CURRENT, links[names.PREVIOUS])
            self._base.remove(names.PREVIOUS)
            self._base.sync()
        return self._outcome(True)

    def retired(self) -> SetOutcome:
        """Destroy the previous sets, and end the rotation."""
        raise_all(self.found.errors(None, names.CURRENT))
        changed = self._tidy()
        pending = [name for name in (names.PREVIOUS, layout.ROTATION) if self._exists(name)]
        if self._base:
            for name in pending:
                self._base.remove(name)
            self._base.sync()
            self._again()
            self._tidy()
        return self._outcome(changed or bool(pending))

    def absent(self) -> SetOutcome:
        """Destroy everything of ours; what is not ours stays, and the folder with it."""
        ours = [name for name in sorted(OURS) if self._exists(name)]
        if self._base:
            for name in self.found.leftovers:
                self._base.remove_tree(name, wipe=True)
            # The links first: nothing may point to a key that is being destroyed. Last the folder that bears the lock.
            folders = (names.REMOTE, names.SHARED, names.GENERATIONS)
            for name in sorted(ours, key=lambda one: folders.index(one) if one in folders else -1):
                self._base.remove_tree(name, wipe=True)
            self._again()
        return self._outcome(bool(ours))

    # -- parts ------------------------------------------------------------------------------------------------

    @property
    def _base(self) -> Optional[Folder]:
        """The directory, if it may be changed."""
        return None if self.check else self.base

    def _again(self) -> None:
        if self.base:
            self.found = inspect(self.base, self.settings.expected, self.deep)

    def _exists(self, name: str) -> bool:
        return self.base is not None and self.base.status(name) is not None

    def _outcome(self, changed: bool, reasons: Tuple[str, ...] = (), due: Tuple[str, ...] = ()) -> SetOutcome:
        if changed and self._base:
            self._again()
        return SetOutcome(changed, self.found, reasons, due, self._repaired)

    def _hold(self, lock: Optional[RotationLock]) -> bool:
        """Note who rotates this server.

        :raises EsyncError: kind ``locked``: somebody else does.
        """
        if lock is None:
            return False
        found = self.found.rotation
        if found and found["holder"] != lock.holder and not lock.take_over:
            who = found["holder"] or "somebody whose note cannot be read"
            raise EsyncError(
                f"{who} has been rotating it since {found['since'] or 'an unknown time'}",
                "Wait until that run has ended, or take the lock over with -e esync_take_over_lock=true",
                kind="locked",
                server=self.settings.name,
                path=f"{self.base.path}/{layout.ROTATION}" if self.base else None,
            )
        note = {"holder": lock.holder, "since": lock.since, "id": lock.id}
        text = (json.dumps(note, indent=1, sort_keys=True) + "\n").encode("utf-8")
        # Compared with the file, because the inspection does not find the note of a rotation that is over here.
        with contextlib.suppress(EsyncError):
            if self.base and self._exists(layout.ROTATION) and self.base.read(layout.ROTATION) == text:
                return False
        if self._base:
            if found and not found["holder"]:
                # Whatever is in its place: taken over by the option that says so.
                self._base.remove_tree(layout.ROTATION)
            self._base.write(layout.ROTATION, text, layout.PUBLIC_MODE)
        return True

    def _demand_current(self) -> None:
        if names.CURRENT not in self.found.generations and not self.found.adopt:
            raise EsyncError(
                "it has no certificates yet, so there are none to follow them",
                "Run the establish playbook first",
                kind="not_established",
                server=self.settings.name,
            )

    def _tidy(self, repair: bool = False) -> bool:
        """Finish what a killed run left, correct modes, destroy what no link names; returns whether it had to.

        :param repair: make again what is missing besides the sets. What is on its way to its end can do without that,
            and a full disk must not keep a key alive.
        """
        found = self.found
        links = dict(found.links)
        stale = [
            state
            for state in (names.NEXT, names.PREVIOUS)
            if state in links and links[state] == links.get(names.CURRENT)
        ]
        unnoted = found.unnoted if repair else ()
        self._repaired += self._paths(found.modes, unnoted)
        needed = bool(stale or found.adopt or found.modes or found.orphans or found.unfinished or found.leftovers)
        if not (needed or unnoted):
            return False
        if self._base is None:
            if found.adopt is None:
                self.found = replace(
                    found,
                    links={key: value for key, value in links.items() if key not in stale},
                    generations={key: value for key, value in found.generations.items() if key not in stale},
                )
            return True
        if needed:
            self._finish(self._base, stale)
        if repair:
            self._note(self._base)
        return True

    def _paths(self, modes: Tuple[Mode, ...], unnoted: Tuple[str, ...]) -> Tuple[str, ...]:
        if self.base is None:
            return ()
        places = [mode.place for mode in modes]
        places += [(names.GENERATIONS, identity, layout.MANIFEST) for identity in unnoted]
        return tuple(dict.fromkeys("/".join((self.base.path, *place)) for place in places))

    def _finish(self, base: Folder, stale: List[str]) -> None:
        found = self.found
        if found.adopt:
            _link(base, names.CURRENT, found.adopt)
        for state in stale:
            base.remove(state)
        for name in found.leftovers:
            base.remove_tree(name, wipe=True)
        if found.orphans or found.unfinished:
            with base.child(names.GENERATIONS) as folder:
                for name in (*found.orphans, *found.unfinished):
                    folder.remove_tree(name, wipe=True)
        for mode in found.modes:
            _correct(base, mode)
        base.sync()
        self._again()

    def _note(self, base: Folder) -> None:
        """Write the manifests that are missing or damaged."""
        if not self.found.unnoted:
            return
        sound = {generation.id: generation for generation in self.found.generations.values()}
        with base.child(names.GENERATIONS) as folder:
            for identity in self.found.unnoted:
                manifest.write_again(folder, sound[identity], self.settings.passphrase, self.settings.gid)
        self._again()

    def _restore(self) -> bool:
        """Write again what can be; returns whether that is all there was to be done, because it is check mode.

        :raises EsyncError: the disk fails or is full, or what could not be restored.
        """
        places = self.found.restorable
        if not places or self.base is None:
            return False
        self._repaired += tuple("/".join((self.base.path, *place)) for place in places)
        if self._base is None:
            raise_all([error for error in self.found.errors() if error.path not in self._repaired])
            return True
        from ansible_collections.esync.mesh.plugins.module_utils._store import generation_writer

        with self._base.child(names.GENERATIONS) as folder:
            for identity, what in self.found.restorations.items():
                generation_writer.restore(folder, identity, what, self.settings)
        self._again()
        return False

    def _discard(self, reason: str) -> SetOutcome:
        """Destroy all generations and make a new current one."""
        require()
        if self._base:
            identity = self._make(self._base, None, in_the_way=True)
            for state in names.STATES:
                if not self._is_link(state):
                    self._base.remove_tree(state, wipe=True)
            _link(self._base, names.CURRENT, identity)
            leftovers = [name for name in self._base.entries() if name.startswith(TEMPORARY)]
            for name in (names.NEXT, names.PREVIOUS, layout.ROTATION, *leftovers):
                self._base.remove_tree(name, wipe=True)
            with self._base.child(names.GENERATIONS) as folder:
                for name in folder.entries():
                    if name != identity:
                        folder.remove_tree(name, wipe=True)
        return self._outcome(True, (reason,))

    def _is_link(self, name: str) -> bool:
        try:
            return self.base is not None and self.base.link_target(name) is not None
        except EsyncError:
            return False

    def _made(self, reasons: Tuple[str, ...], state: str, lock: Optional[RotationLock]) -> SetOutcome:
        """Make a generation and put it in its place."""
        require()
        if self._base:
            old = self.found.links.get(names.CURRENT)
            replaced = self.found.links.get(names.NEXT if state == names.NEXT else names.PREVIOUS)
            identity = self._make(self._base, lock)
            if state == names.CURRENT and old:
                # What the others trust now, and not what they trusted before that.
                _link(self._base, names.PREVIOUS, old)
            _link(self._base, state, identity)
            if replaced:
                with self._base.child(names.GENERATIONS) as folder:
                    folder.remove_tree(replaced, wipe=True)
        return self._outcome(True, reasons)

    def _make(self, base: Folder, lock: Optional[RotationLock], in_the_way: bool = False) -> str:
        # Only here, because importing cryptography takes longer than a call that has nothing to make.
        from ansible_collections.esync.mesh.plugins.module_utils._store.generation_writer import GenerationWriter

        writer = GenerationWriter(base, self.settings, self.now)
        if in_the_way:
            writer.clear_the_way()
        return writer.make(lock.id if lock else None)


def _link(base: Folder, state: str, identity: str) -> None:
    base.set_link(state, f"{names.GENERATIONS}/{identity}")


def _correct(base: Folder, mode: Mode) -> None:
    if not mode.place:
        base.set_mode(mode.wanted, mode.gid)
        return
    folder = base.child(mode.place[0])
    try:
        for name in mode.place[1:]:
            if _is_file(folder, name):
                folder.set_file_mode(name, mode.wanted, mode.gid)
                return
            deeper = folder.child(name)
            folder.close()
            folder = deeper
        folder.set_mode(mode.wanted, mode.gid)
    finally:
        folder.close()


def _is_file(folder: Folder, name: str) -> bool:
    try:
        folder.child(name).close()
    except EsyncError:
        return True
    return False
