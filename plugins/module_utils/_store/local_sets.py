# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What lies in the directory of a server: its generations, the links to them, and what does not belong there.

Nothing is changed here. A generation is compared with its manifest; only where that does not settle it, or where it is
asked for, its files are parsed, which is what needs cryptography.
"""

from __future__ import annotations

import re
import stat
from dataclasses import dataclass, field, replace
from typing import Dict, List, Mapping, Optional, Sequence, Tuple

from ansible_collections.esync.mesh.plugins.module_utils._core import json_text, layout, names
from ansible_collections.esync.mesh.plugins.module_utils._core.errors import EsyncError
from ansible_collections.esync.mesh.plugins.module_utils._core.folders import TEMPORARY, Folder, kind_of
from ansible_collections.esync.mesh.plugins.module_utils._core.libraries import require
from ansible_collections.esync.mesh.plugins.module_utils._store import manifest
from ansible_collections.esync.mesh.plugins.module_utils._store.local_generation import (
    DISCARD,
    LOST,
    NEXT_AGAIN,
    RESTORABLE,
    Expected,
    Findings,
    LocalGeneration,
    Mode,
    Restoration,
    SetProblem,
)


@dataclass(frozen=True)
class Inspection:
    """Everything that was found.

    :param links: state to generation id, as far as the links themselves are sound.
    :param generations: state to generation, as far as they are sound.
    :param modes: what has to be corrected; no problem.
    :param orphans: generations that no link names; never used, or retired by a run that was killed.
    :param adopt: the generation that ``current`` has to name: a run was killed between making it and linking it.
    :param leftovers: unfinished entries of the directory that a killed run left.
    :param unfinished: such entries of ``generations``.
    :param unnoted: sound generations whose manifest is missing, damaged or not up to date.
    :param unexpected: entries of the directory that are not ours.
    :param unexpected_generations: entries of ``generations`` that are not ours.
    :param restorations: generation id to what of it can be written again; of those that are damaged.
    :param keys: what would be destroyed with all generations, such as ``current client``: sound private keys, and
        whatever else may hold one. Empty although there are problems: there is nothing left to lose.
    :param rotation: who rotates, since when, and which rotation; ``holder`` is empty if the note cannot be read.
    """

    links: Mapping[str, str] = field(default_factory=dict)
    generations: Mapping[str, LocalGeneration] = field(default_factory=dict)
    problems: Tuple[SetProblem, ...] = ()
    modes: Tuple[Mode, ...] = ()
    orphans: Tuple[str, ...] = ()
    adopt: Optional[str] = None
    leftovers: Tuple[str, ...] = ()
    unfinished: Tuple[str, ...] = ()
    unexpected: Tuple[str, ...] = ()
    unexpected_generations: Tuple[str, ...] = ()
    unnoted: Tuple[str, ...] = ()
    restorations: Mapping[str, Restoration] = field(default_factory=dict)
    keys: Tuple[str, ...] = ()
    rotation: Optional[Mapping[str, str]] = None

    def errors(self, *states: Optional[str]) -> List[EsyncError]:
        """The problems of these states (None: what concerns all), or all of them; each file once."""
        found: Dict[Tuple[Optional[str], str], EsyncError] = {}
        for problem in self.problems:
            if not states or problem.state in states:
                found.setdefault((problem.error.path, problem.error.cause), problem.error)
        return list(found.values())

    @property
    def restorable(self) -> Tuple[Tuple[str, str, str], ...]:
        """The place below the directory of every file and link that can be written again."""
        return tuple(
            (names.GENERATIONS, identity, name) for identity, one in self.restorations.items() for name in one.names
        )

    @property
    def is_lost(self) -> bool:
        """Whether the sets are damaged, and no private key would be destroyed with them."""
        return bool(self.problems) and not self.keys


def inspect(base: Folder, expected: Expected, deep: bool = True) -> Inspection:
    """Inspect all generations below the directory.

    Nothing is raised for what is wrong with them: it is in ``problems``, everything at once.

    :param deep: parse everything, also where every file is the one that the manifest names.
    :raises EsyncError: kind ``missing_dependency``, if something has to be parsed and cryptography is missing.
    """
    findings = Findings(expected)
    findings.mode((), base, None, layout.BASE_MODE, None)
    entries = base.entries()
    links = _links(base, findings)
    ids: Tuple[str, ...] = ()
    unfinished: Tuple[str, ...] = ()
    unexpected: Tuple[str, ...] = ()
    sound: Dict[str, LocalGeneration] = {}
    unnoted: Tuple[str, ...] = ()
    adopt = None
    if names.GENERATIONS in entries:
        try:
            with base.child(names.GENERATIONS) as folder:
                findings.mode((names.GENERATIONS,), folder, None, layout.GENERATIONS_MODE, None)
                ids, unfinished, unexpected = _sort_out(folder, findings)
                for state, identity in links.items():
                    if identity in ids:
                        twin = next((other for other in sound if links[other] == identity), None)
                        found = sound[twin] if twin else _inspect_child(folder, identity, state, findings, deep)
                        if found:
                            sound[state] = found
                adopt = _adoptable(folder, base, links, ids, findings, deep)
                unnoted = _unnoted(folder, sound, expected)
        except EsyncError as error:
            if error.kind == "missing_dependency":
                raise
            findings.problem(None, error)
    _check_links(base, links, ids, findings)
    keys = _keys(links, ids, sound, findings, unexpected)
    return Inspection(
        links=links,
        generations=sound,
        problems=_with_remedies(base, findings, keys),
        modes=tuple(findings.modes),
        orphans=tuple(name for name in ids if name not in links.values() and name != adopt),
        adopt=adopt,
        leftovers=tuple(name for name in entries if name.startswith(TEMPORARY)),
        unfinished=unfinished,
        unexpected=tuple(name for name in entries if not is_ours(name)),
        unexpected_generations=unexpected,
        unnoted=unnoted,
        restorations=findings.restorations,
        keys=keys,
        rotation=_rotation(base, links),
    )


def _keys(
    links: Mapping[str, str],
    ids: Sequence[str],
    sound: Mapping[str, LocalGeneration],
    findings: Findings,
    unexpected: Sequence[str],
) -> Tuple[str, ...]:
    """What would be destroyed with all generations: sound private keys, and whatever may hold one."""
    found = []
    for state, identity in links.items():
        if state in sound:
            found += [f"{state} {role}" for role in names.ROLES]
        elif identity in ids:
            damaged = findings.restorations.get(identity)
            found += [f"{state} {key}" for key in damaged.keys] if damaged else [f"{state} {identity}"]
    found += [name for name in (*ids, *unexpected) if name not in links.values()]
    # A folder in the place of a link may be a copy of what it led to.
    in_the_way = ("not_a_link", "wrong_owner", "no_permission", "io_error")
    found += [state for state in names.STATES if state not in links and _kind_of_link(findings, state) in in_the_way]
    # Problems of no state are those of the folder itself, which was not looked into then.
    blocked = any(problem.state is None for problem in findings.problems) and not unexpected
    return (*found, *([names.GENERATIONS] if blocked else []))


def _kind_of_link(findings: Findings, state: str) -> str:
    """What is wrong with the link of a state that has no sound one; empty: there is none."""
    return next((problem.error.kind for problem in findings.problems if problem.state == state), "")


def _with_remedies(base: Folder, findings: Findings, keys: Sequence[str]) -> Tuple[SetProblem, ...]:
    """The problems; what can be written again, and what is lost for good, is said to be."""
    again = {
        f"{base.path}/{names.GENERATIONS}/{identity}/{name}"
        for identity, one in findings.restorations.items()
        for name in one.names
    }
    found = []
    for problem in findings.problems:
        error = problem.error
        remedy = error.remedy
        if error.path in again:
            remedy = RESTORABLE
        elif remedy == DISCARD:
            remedy = LOST if not keys else NEXT_AGAIN if problem.state == names.NEXT else DISCARD
        found.append(
            replace(
                problem,
                error=EsyncError(error.cause, remedy, kind=error.kind, server=error.server, path=error.path),
            )
        )
    return tuple(found)


def is_ours(name: str) -> bool:
    """Does an entry of the directory belong to this collection?"""
    return name in OURS or name.startswith(TEMPORARY)


OURS = frozenset(
    [
        *(*names.STATES, names.GENERATIONS, names.REMOTE, names.TRUSTED),
        *(names.SHARED, names.HANDED_OVER, names.HANDED_BEFORE, names.SERVICES),
        *(layout.ROTATION, layout.LOADED, layout.LISTENER),
    ]
)


_NOTED = {
    "holder": re.compile(r".{1,300}\Z"),
    "since": re.compile(r".{1,60}\Z"),
    "id": re.compile(r"[A-Za-z0-9]{1,40}\Z"),
}
"""What a note of a rotation says."""


def _links(base: Folder, findings: Findings) -> Dict[str, str]:
    links = {}
    for state in names.STATES:
        try:
            target = base.link_target(state)
        except EsyncError as error:
            findings.problem(state, error)
            continue
        if target is None:
            continue
        match = layout.LINK_TARGET.match(target)
        if match and layout.GENERATION_ID.match(match["id"]):
            links[state] = match["id"]
        else:
            findings.problem(
                state,
                EsyncError(
                    f"the link points to {target!r}, which is no generation",
                    DISCARD,
                    kind="unexpected_link",
                    path=f"{base.path}/{state}",
                ),
            )
    return links


def _sort_out(folder: Folder, findings: Findings) -> Tuple[Tuple[str, ...], Tuple[str, ...], Tuple[str, ...]]:
    ids, unfinished, unexpected = [], [], []
    for name in folder.entries():
        status = folder.status(name)
        if name.startswith(TEMPORARY):
            unfinished.append(name)
        elif status and layout.GENERATION_ID.match(name) and stat.S_ISDIR(status.st_mode):
            ids.append(name)
        elif status:
            unexpected.append(name)
            findings.problem(
                None,
                EsyncError(
                    f"{kind_of(status)} that this collection did not create lies among the generations",
                    "Move it elsewhere, or have it destroyed with everything else here: "
                    "run establish with -e esync_discard_existing=NAME",
                    kind="unexpected_file",
                    path=f"{folder.path}/{name}",
                ),
            )
    return tuple(ids), tuple(unfinished), tuple(unexpected)


def _inspect_child(
    folder: Folder, identity: str, state: str, findings: Findings, deep: bool
) -> Optional[LocalGeneration]:
    try:
        with folder.child(identity) as generation:
            noted = None if deep else manifest.compare(generation, identity, findings.expected)
            return noted or _parse(generation, identity, state, findings)
    except EsyncError as error:
        if error.kind == "missing_dependency":
            raise
        findings.problem(state, error)
        return None


def _parse(generation: Folder, identity: str, state: str, findings: Findings) -> Optional[LocalGeneration]:
    require()
    # Only here, because importing cryptography takes longer than all the rest of a call that has nothing to do.
    from ansible_collections.esync.mesh.plugins.module_utils._store.inspection import inspect_generation

    return inspect_generation(generation, identity, state, findings)


def _unnoted(folder: Folder, sound: Mapping[str, LocalGeneration], expected: Expected) -> Tuple[str, ...]:
    found = []
    for generation in {one.id: one for one in sound.values()}.values():
        with folder.child(generation.id) as inside:
            if not generation.noted and not manifest.is_current(inside, generation, expected):
                found.append(generation.id)
    return tuple(found)


def _adoptable(
    folder: Folder,
    base: Folder,
    links: Mapping[str, str],
    ids: Tuple[str, ...],
    findings: Findings,
    deep: bool,
) -> Optional[str]:
    # The very first generation is renamed into place before current is linked; a run can be killed in between.
    # Anything else without a current is nobody's crash, and guessing could destroy the keys in use.
    if names.CURRENT in links or not ids or any(problem.state == names.CURRENT for problem in findings.problems):
        return None
    if not links and len(ids) == 1:
        return ids[0] if _inspect_child(folder, ids[0], names.CURRENT, findings, deep) else None
    return None


def _check_links(base: Folder, links: Mapping[str, str], ids: Tuple[str, ...], findings: Findings) -> None:
    known_bad = {problem.state for problem in findings.problems}
    for state, identity in links.items():
        if identity not in ids and None not in known_bad:
            findings.problem(
                state,
                EsyncError(
                    f"the link points to the generation {identity}, which does not exist",
                    DISCARD,
                    kind="missing_file",
                    path=f"{base.path}/{state}",
                ),
            )
    if names.CURRENT not in links and names.CURRENT not in known_bad and (links or len(ids) > 1):
        findings.problem(
            names.CURRENT,
            EsyncError(
                f"the link is missing, although there are generations ({', '.join(ids) or 'none'})",
                f"Set it again to the one in use (ln -s {names.GENERATIONS}/ID current), "
                "or have all of this server's sets replaced by new ones with -e esync_discard_existing=NAME",
                kind="missing_file",
                path=f"{base.path}/{names.CURRENT}",
            ),
        )


def _rotation(base: Folder, links: Mapping[str, str]) -> Optional[Dict[str, str]]:
    try:
        if base.status(layout.ROTATION) is None:
            return None
        found = json_text.loads(base.read(layout.ROTATION, limit=4096))
        rotation = {key: found[key] for key in ("holder", "since")}
        if "id" in found:
            rotation["id"] = found["id"]
        if not all(_NOTED[key].match(value) for key, value in rotation.items()):
            raise ValueError
    except (EsyncError, ValueError, KeyError, TypeError):
        return {"holder": "", "since": ""}
    pending = names.NEXT in links or names.PREVIOUS in links
    done = "id" not in rotation or links.get(names.CURRENT, "").endswith("-" + rotation["id"])
    # A run that was killed after it had retired leaves the note; the rotation is over here all the same.
    return None if done and not pending else rotation
