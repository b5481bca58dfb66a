# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The ledger: on the control node, one small file of public data for each server (docs/ledger.md)."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ansible_collections.esync.mesh.plugins.module_utils.errors import EsyncError
from ansible_collections.esync.mesh.plugins.module_utils.names import CURRENT, NEXT, PREVIOUS, ROLES, STATES
from ansible_collections.esync.mesh.plugins.plugin_utils.files import locked, replace_file
from ansible_collections.esync.mesh.plugins.plugin_utils.pem import fingerprint_of

VERSION = 1
_PRIVATE = re.compile("PRIVATE KEY")
_FACTS = ("role", "fingerprint", "subject", "not_before", "not_after", "alt_names", "pem")


@dataclass(frozen=True)
class Generation:
    """One pair of certificates that a server shows.

    :param state: ``current``, ``next`` or ``previous``.
    :param certificates: role to the certificate's facts.
    """

    state: str
    certificates: Mapping[str, Mapping[str, Any]]

    @property
    def fingerprints(self) -> tuple[str, ...]:
        return tuple(str(self.certificates[role]["fingerprint"]) for role in ROLES)


@dataclass(frozen=True)
class Struck:
    """A certificate that nobody may trust any more.

    :param why: ``removed``, ``compromised`` or ``replaced``.
    :param since: when it was struck, UTC. :param not_after: when it would have ended by itself, UTC.
    """

    fingerprint: str
    role: str
    not_after: str
    since: str
    why: str


@dataclass(frozen=True)
class Entry:
    """What the ledger knows of one server.

    :param generations: in the order current, next, previous.
    :param trust: the digest of what the ledger asked the server to trust when it was last reached, None before.
    :param removed_at: when it was removed from the mesh, None while it is a member.
    :param struck: certificates that lost all trust before their end.
    """

    name: str
    address: str
    port: int
    generations: tuple[Generation, ...] = ()
    trust: str | None = None
    removed_at: str | None = None
    struck: tuple[Struck, ...] = ()

    @property
    def fingerprints(self) -> frozenset[str]:
        return frozenset(fingerprint for generation in self.generations for fingerprint in generation.fingerprints)


@dataclass(frozen=True)
class Shown:
    """What a server shows in this run, and what the user allows of it."""

    name: str
    address: str
    port: int
    generations: tuple[Generation, ...]
    accept_changed: bool = False
    rotation: bool = False
    trust: str | None = None


def read_generations(shown: Iterable[Mapping[str, Any]], path: str) -> tuple[Generation, ...]:
    """Generations as the modules return them and as the files hold them, judged strictly.

    :raises EsyncError: kind ``damaged_ledger``, naming ``path``.
    """
    found = []
    for item in shown:
        if item.get("state") not in STATES:
            raise _damaged(path, "a generation has no known state")
        certificates = {}
        for role in ROLES:
            facts = item.get(role)
            if not isinstance(facts, Mapping) or any(key not in facts for key in _FACTS) or facts["role"] != role:
                raise _damaged(path, f"the {role} certificate of a generation is incomplete")
            if fingerprint_of(str(facts["pem"]), path) != facts["fingerprint"]:
                raise _damaged(path, f"the {role} certificate does not have the fingerprint beside it")
            certificates[role] = {key: facts[key] for key in _FACTS}
        found.append(Generation(str(item["state"]), certificates))
    order = {state: index for index, state in enumerate(STATES)}
    return tuple(sorted(found, key=lambda one: order[one.state]))


class Ledger:
    """The folder with the files.

    :param folder: where they lie, on the control node.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def path(self, name: str) -> Path:
        return self.folder / f"{name}.json"

    def read(self, name: str) -> Entry | None:
        """What is known of a server; None if nothing is.

        :raises EsyncError: kind ``damaged_ledger``.
        """
        path = self.path(name)
        try:
            text = path.read_text(encoding="utf-8")
        except FileNotFoundError:
            return None
        except (OSError, UnicodeDecodeError):
            raise _damaged(str(path), "it cannot be read") from None
        if _PRIVATE.search(text):
            raise _damaged(str(path), "it holds a private key, which has no place in the ledger")
        try:
            data = json.loads(text)
            if data["version"] != VERSION:
                raise _damaged(str(path), f"its version is {data['version']}, not {VERSION}")
            if data["name"] != name:
                raise _damaged(str(path), f"it is about {data['name']}")
            return Entry(
                name=name,
                address=str(data["address"]),
                port=int(data["port"]),
                generations=read_generations(data["generations"], str(path)),
                trust=data["trust"],
                removed_at=data["removed_at"],
                struck=tuple(Struck(**item) for item in data["struck"]),
            )
        except (ValueError, KeyError, TypeError, AttributeError):
            raise _damaged(str(path), "it is no ledger file, or damaged") from None

    def read_all(self) -> Iterator[Entry]:
        """Every server that is or was in the mesh."""
        for path in sorted(self.folder.glob("[!.]*.json")):
            entry = self.read(path.stem)
            if entry:
                yield entry

    def write(self, entry: Entry) -> bool:
        """Write one server's file; call it under :meth:`lock`. Returns whether it changed."""
        for leftover in self.folder.glob(f".{entry.name}.json.*"):
            leftover.unlink()  # of a writer that was killed: nobody else writes while the lock is held
        return replace_file(self.path(entry.name), render(entry))

    def lock(self) -> Any:
        """Hold the ledger for a read and the write that follows from it."""
        return locked(self.folder)


def render(entry: Entry) -> str:
    """The file's text: sorted, indented, one fact a line."""
    data = {
        "version": VERSION,
        "name": entry.name,
        "address": entry.address,
        "port": entry.port,
        "generations": [{"state": generation.state, **generation.certificates} for generation in entry.generations],
        "trust": entry.trust,
        "removed_at": entry.removed_at,
        "struck": [vars(struck) for struck in sorted(entry.struck, key=lambda one: one.fingerprint)],
    }
    return json.dumps(data, indent=1, sort_keys=True, ensure_ascii=False) + "\n"


def recorded(known: Entry | None, shown: Shown, now: str) -> Entry:
    """What the ledger is to hold after a server showed its certificates.

    A ``next`` that no rotation announced, and a ``previous`` that was already retired, are not recorded.

    :param now: UTC, for what is struck.
    :raises EsyncError: kind ``changed_certificate``: certificates that nobody announced, with both fingerprints.
    """
    before = known or Entry(shown.name, shown.address, shown.port)
    new = not before.generations and not before.struck
    struck = {one.fingerprint: one for one in before.struck}
    kept = []
    for generation in shown.generations:
        unknown = [one for one in generation.fingerprints if one not in before.fingerprints]
        bad = [one for one in generation.fingerprints if one in struck]
        if generation.state == NEXT and unknown and not shown.rotation and not shown.accept_changed:
            continue
        if generation.state == PREVIOUS and unknown:
            continue
        if bad and not shown.accept_changed:
            raise _refused_struck(shown.name, struck[bad[0]])
        # After all was struck, whatever is shown is as new as a new server's.
        fresh = new or not before.generations
        if generation.state == CURRENT and unknown and not fresh and not shown.accept_changed:
            raise _refused_change(before, generation)
        kept.append(generation)
    live = {fingerprint for generation in kept for fingerprint in generation.fingerprints}
    return Entry(
        name=shown.name,
        address=shown.address,
        port=shown.port,
        generations=tuple(kept) if shown.generations else before.generations,
        trust=shown.trust or before.trust,
        removed_at=None,
        struck=tuple(one for one in before.struck if one.fingerprint not in live and one.not_after > now),
    )


def struck_out(known: Entry, why: str, now: str, removed: bool) -> Entry:
    """The entry of a server whose certificates lose all trust at once: it was removed, or broken into."""
    struck = {one.fingerprint: one for one in known.struck if one.not_after > now}
    for generation in known.generations:
        for role in ROLES:
            facts = generation.certificates[role]
            fingerprint = str(facts["fingerprint"])
            struck[fingerprint] = Struck(fingerprint, role, str(facts["not_after"]), now, why)
    return replace(
        known,
        generations=(),
        trust=None if removed else known.trust,
        removed_at=(known.removed_at or now) if removed else None,
        struck=tuple(struck.values()),
    )


def _refused_change(before: Entry, shown: Generation) -> EsyncError:
    known = next((one for one in before.generations if one.state == CURRENT), before.generations[0])
    role = next(role for role in ROLES if shown.certificates[role]["fingerprint"] not in before.fingerprints)
    return EsyncError(
        f"it shows a {role} certificate that no rotation announced, "
        f"fingerprint {shown.certificates[role]['fingerprint']}; "
        f"the ledger knows {known.certificates[role]['fingerprint']}",
        f"If the host was rebuilt, name it: -e esync_accept_changed={before.name}. If not, find out who changed it",
        kind="changed_certificate",
        server=before.name,
    )


def _refused_struck(name: str, struck: Struck) -> EsyncError:
    return EsyncError(
        f"it shows the {struck.role} certificate {struck.fingerprint}, "
        f"which lost all trust at {struck.since} ({struck.why})",
        f"Give it new certificates: run the playbook with -e esync_discard_existing=true --limit {name}",
        kind="struck_certificate",
        server=name,
    )


def _damaged(path: str, cause: str) -> EsyncError:
    return EsyncError(
        cause,
        "Restore it (it is public data, git has it if you committed it), "
        "or delete it and run establish over the whole group, which writes it anew",
        kind="damaged_ledger",
        path=path,
    )
