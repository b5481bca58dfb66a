# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What came in a folder from elsewhere, admitted to the ledger: external peers, and members that nobody can reach."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ansible_collections.esync.mesh.plugins.module_utils._core.certificate import fingerprint_line
from ansible_collections.esync.mesh.plugins.module_utils._core.errors import EsyncError, raise_all
from ansible_collections.esync.mesh.plugins.module_utils._core.names import CURRENT, NEXT, ROLES
from ansible_collections.esync.mesh.plugins.plugin_utils._ledger.admission import Owners, demand_own
from ansible_collections.esync.mesh.plugins.plugin_utils._ledger.records import (
    APPLIED,
    LedgerRecord,
    PresentedSets,
    RecordedGeneration,
    read_generations,
    recorded,
)


@dataclass(frozen=True)
class AppliedSet:
    """A server's sets as they lay in a host's folder.

    :param host: the server whose folder it was.
    :param path: the folder there.
    :param address: where it listens, empty if nothing says so.
    :param port: 0 if nothing says so.
    """

    host: str
    path: str
    name: str
    address: str
    port: int
    generations: tuple[RecordedGeneration, ...]

    @classmethod
    def read(cls, host: str, path: str, item: Mapping[str, Any]) -> AppliedSet:
        """One of the ``sets`` that exchange_folder_info returned on a host.

        :raises EsyncError: kind ``damaged_ledger``: they contradict themselves.
        """
        return cls(
            host=host,
            path=path,
            name=str(item["name"]),
            address=str(item["address"] or ""),
            port=int(item["port"] or 0),
            generations=read_generations(item["generations"], f"{host}: {path}"),
        )

    def fingerprint_lines(self) -> list[str]:
        """A line for each certificate, to be compared by telephone."""
        return [
            fingerprint_line(self.name, role, one.state, str(one.certificates[role]["fingerprint"]))
            for one in self.generations
            for role in ROLES
        ]


def admit(
    found: Sequence[AppliedSet],
    folders: Mapping[str, str],
    members: Mapping[str, tuple[str, int]],
    ledger: Mapping[str, LedgerRecord],
    accepted: Sequence[str],
    now: str,
) -> list[LedgerRecord]:
    """The entries that the ledger is to hold after the folders of all hosts were read; those that differ only.

    :param folders: the folder of every host that was to have one: server name to path.
    :param members: name to address and port of every member of the mesh.
    :param ledger: name to record.
    :param accepted: names whose certificates may differ from the ledger's.
    :param now: UTC, recorded with what loses trust.
    :raises EsyncError: everything that is wrong, at once.
    """
    errors: list[EsyncError] = []
    entries: list[LedgerRecord] = []
    by_name: dict[str, AppliedSet] = {}
    for one in found:
        twin = by_name.setdefault(one.name.lower(), one)
        if replace(twin, host="", path="") != replace(one, host="", path=""):
            errors.append(
                EsyncError(
                    f"it holds {_shown(one)}; on {twin.host} it holds {_shown(twin)}",
                    "Find out which of them is right, and copy it to all",
                    kind="differing_folders",
                    server=one.host,
                    path=one.path,
                )
            )
    errors += _missing(found, by_name, folders)
    known_names = {name.lower(): name for name in (*ledger, *members)}
    owners = Owners.of(ledger, {one.name: one.generations for one in by_name.values()}, accepted)
    for one in by_name.values():
        try:
            known_as = known_names.get(one.name.lower(), one.name)
            if known_as != one.name:
                raise _refused(one, f"a server is known as {known_as}, and upper and lower case count as the same")
            known = ledger.get(one.name)
            demand_own(one.name, one.generations, known, None)
            owners.demand_only(one.name, one.generations)
            entry = _entry(one, members.get(one.name), known, one.name in accepted, now)
        except EsyncError as error:
            errors.append(error if one.name in members else _elsewhere(one, error))
            continue
        if entry != ledger.get(one.name):
            entries.append(entry)
    raise_all(errors)
    return entries


def _missing(
    found: Sequence[AppliedSet], by_name: Mapping[str, AppliedSet], folders: Mapping[str, str]
) -> Iterator[EsyncError]:
    """What a single host says of others is not enough: whoever is to be trusted lies in the folder of every host."""
    there = {(one.host, one.name.lower()) for one in found}
    for host, path in folders.items():
        missing = {
            one.name: one.host
            for name, one in by_name.items()
            if (host, name) not in there and name != host.lower()  # its own set has no place there
        }
        for name, other in sorted(missing.items()):
            yield EsyncError(
                f"the set of {name} is not in it, but in the folder on {other}",
                "Find out which of them is right, and copy it to all",
                kind="differing_folders",
                server=host,
                path=path,
            )


def _entry(
    found: AppliedSet, member: tuple[str, int] | None, known: LedgerRecord | None, accepted: bool, now: str
) -> LedgerRecord:
    if member and known and set(_fingerprints(found)) <= known.fingerprints:
        return known  # the mesh's own exchange knows as much of it, or more
    generations = found.generations
    if known:
        # An older copy of a folder takes nothing away that was announced since.
        announced = [one for one in known.generations if one.state == NEXT]
        same = [one for one in known.generations if one.state == CURRENT and one in generations]
        if same and all(one.state != NEXT for one in generations):
            generations = (*generations, *announced)
    address, port = member or (found.address, found.port)
    if not port and known and not known.removed_at:
        address, port = known.address, known.port
    # What announces the next certificates of a server from elsewhere is the folder, so they need no rotation here.
    entry = recorded(known, PresentedSets(found.name, address, port, generations, accepted, rotation=True), now)
    return entry if member else replace(entry, origin=APPLIED, trust=None)


def _fingerprints(found: AppliedSet) -> tuple[str, ...]:
    return tuple(fingerprint for generation in found.generations for fingerprint in generation.fingerprints)


def _shown(found: AppliedSet) -> str:
    place = f" at {found.address} port {found.port}" if found.port else ""
    sets = ", ".join(f"{one.state} {' and '.join(one.fingerprints)}" for one in found.generations)
    return f"{found.name}{place} with {sets}"


_NEEDS_NEW_SETS = ("distrusted_certificate", "second_owner", "wrong_name", "unfit_certificate")


def _elsewhere(found: AppliedSet, error: EsyncError) -> EsyncError:
    """An error about an external peer: nobody here can make new certificates for it."""
    if error.kind not in _NEEDS_NEW_SETS:
        return error
    return EsyncError(
        error.cause,
        f"Have {found.name} given new certificates by whoever runs it, and apply the folder that they export then",
        kind=error.kind,
        server=error.server,
        path=found.path,
    )


def _refused(found: AppliedSet, cause: str) -> EsyncError:
    return EsyncError(
        f"{found.name} cannot be applied: {cause}",
        "Give it another name, or remove it from the folder",
        kind="duplicate_name",
        server=found.host,
        path=found.path,
    )
