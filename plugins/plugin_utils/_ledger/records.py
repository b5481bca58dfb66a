# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The ledger: on the control node, one small file of public data for each server (docs/ledger.md)."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ansible_collections.esync.mesh.plugins.module_utils._core import json_text
from ansible_collections.esync.mesh.plugins.module_utils._core.certificate import TIMESTAMP
from ansible_collections.esync.mesh.plugins.module_utils._core.errors import EsyncError
from ansible_collections.esync.mesh.plugins.module_utils._core.names import (
    BOTH,
    CURRENT,
    MODELS,
    NEXT,
    PREVIOUS,
    ROLES,
    STATES,
    problems,
)
from ansible_collections.esync.mesh.plugins.module_utils._store.distrust import (
    REMOVED,
    Distrust,
    distrust_from,
)
from ansible_collections.esync.mesh.plugins.plugin_utils._ledger.control_files import locked, read_file, replace_file
from ansible_collections.esync.mesh.plugins.plugin_utils._ledger.pem import fingerprint_of, has_role, key_of

VERSION = 1
INVENTORY, APPLIED = "inventory", "applied"
_PRIVATE = re.compile("PRIVATE KEY")
_FACTS = ("role", "fingerprint", "subject", "not_before", "not_after", "alt_names", "pem")
_ROTATION = re.compile(r"[A-Za-z0-9]{1,40}\Z")


@dataclass(frozen=True)
class RecordedGeneration:
    """One pair of certificates that a server presents.

    :param state: ``current``, ``next`` or ``previous``.
    :param certificates: role to the certificate's facts.
    """

    state: str
    certificates: Mapping[str, Mapping[str, Any]]

    @property
    def fingerprints(self) -> tuple[str, ...]:
        return tuple(str(self.certificates[role]["fingerprint"]) for role in ROLES)


@dataclass(frozen=True)
class Retired:
    """A certificate that was replaced, remembered until it ends by itself, so that it cannot become another server's.

    :param key: the hash of its public key. :param not_after: UTC.
    """

    fingerprint: str
    key: str
    not_after: str


@dataclass(frozen=True)
class LedgerRecord:
    """What the ledger knows of one server.

    :param generations: in the order current, next, previous.
    :param trust: what it last received, None before: peer to the digest of that peer's certificates (see
        pending.expected_digests).
    :param removed_at: when it was removed from the mesh, None while it is a member.
    :param distrusted: certificates that lost all trust. :param retired: those that were replaced.
    :param rotation: the id of the rotation in which its next certificates were announced, until that has ended.
    :param model: the trust model by which it last received what it trusts; ``both`` in a change of it.
    :param not_loaded: whether the last test showed that its endpoint does not serve by what lies on its disk, whatever
        was noted there when it was reloaded.
    :param replaced: of a removed server: whether every client key of the others that it held was replaced.
    :param origin: ``inventory``, or ``applied``: an external peer, whose certificates came in a folder. One
        without a known endpoint has no address and the port 0.
    """

    name: str
    address: str
    port: int
    generations: tuple[RecordedGeneration, ...] = ()
    trust: Mapping[str, str] | None = None
    removed_at: str | None = None
    distrusted: tuple[Distrust, ...] = ()
    origin: str = INVENTORY
    retired: tuple[Retired, ...] = ()
    rotation: str | None = None
    model: str | None = None
    not_loaded: bool = False
    replaced: bool = False

    @property
    def fingerprints(self) -> frozenset[str]:
        return frozenset(fingerprint for generation in self.generations for fingerprint in generation.fingerprints)


@dataclass(frozen=True)
class PresentedSets:
    """What a server presents in this run, and what the user allows of it.

    :param accept_changed: whether it may differ from what the ledger has.
    :param rotation: whether next certificates are announced. :param rotation_id: by which rotation of this mesh.
    """

    name: str
    address: str
    port: int
    generations: tuple[RecordedGeneration, ...]
    accept_changed: bool = False
    rotation: bool = False
    rotation_id: str | None = None


def read_generations(presented: Iterable[Mapping[str, Any]], path: str) -> tuple[RecordedGeneration, ...]:
    """Generations as the modules return them and as the files hold them, validated strictly.

    :raises EsyncError: kind ``damaged_ledger``, naming ``path``.
    """
    found: list[RecordedGeneration] = []
    for item in presented:
        if item.get("state") not in STATES:
            raise _damaged(path, "a generation has no known state")
        if item["state"] in [one.state for one in found]:
            raise _damaged(path, f"there are two {item['state']} generations")
        certificates = {}
        for role in ROLES:
            facts = item.get(role)
            if not isinstance(facts, Mapping) or any(key not in facts for key in _FACTS) or facts["role"] != role:
                raise _damaged(path, f"the {role} certificate of a generation is incomplete")
            if fingerprint_of(str(facts["pem"]), path) != facts["fingerprint"]:
                raise _damaged(path, f"the {role} certificate does not have the fingerprint beside it")
            if not has_role(str(facts["pem"]), role, path):
                raise _damaged(path, f"the certificate in the place of the {role} certificate is none")
            if not all(TIMESTAMP.match(str(facts[key])) for key in ("not_before", "not_after")):
                raise _damaged(path, f"the validity of the {role} certificate is malformed")
            certificates[role] = {key: facts[key] for key in _FACTS}
        found.append(RecordedGeneration(str(item["state"]), certificates))
    order = {state: index for index, state in enumerate(STATES)}
    return tuple(sorted(found, key=lambda one: order[one.state]))


class Ledger:
    """The folder with the files.

    :param folder: where they lie, on the control node.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def path(self, name: str) -> Path:
        """A server's file.

        :raises EsyncError: kind ``bad_name``: it could lie anywhere.
        """
        for problem in problems(name):
            raise EsyncError(
                f"{name!r} is no server name: {problem}", "Correct it", kind="bad_name", path=str(self.folder)
            )
        return self.folder / f"{name}.json"

    def read(self, name: str) -> LedgerRecord | None:
        """What is known of a server; None if nothing is.

        :raises EsyncError: kind ``damaged_ledger``.
        """
        path = self.path(name)
        try:
            text = read_file(path)
        except EsyncError as error:
            raise _damaged(str(path), error.cause) from None
        if text is None:
            return None
        if _PRIVATE.search(text):
            raise _damaged(str(path), "it holds a private key, which has no place in the ledger")
        try:
            data = json_text.loads(text)
            if data["version"] != VERSION:
                raise _damaged(str(path), f"its version is {data['version']}, not {VERSION}")
            if data["name"] != name:
                raise _damaged(str(path), f"it is about {data['name']}")
            return LedgerRecord(
                name=name,
                address=_text(data["address"]),
                port=_port(data["port"]),
                generations=read_generations(data["generations"], str(path)),
                trust=_texts(data["trust"]),
                removed_at=_time(data["removed_at"]) if data["removed_at"] is not None else None,
                distrusted=distrust_from({**item, "peer": name} for item in data["distrusted"]),
                origin=_origin(data.get("origin", INVENTORY)),
                retired=tuple(_retired(item) for item in data.get("retired") or ()),
                rotation=_rotation(data.get("rotation")),
                model=_model(data.get("model")),
                not_loaded=_flag(data.get("not_loaded", False)),
                replaced=_flag(data.get("replaced", False)),
            )
        except EsyncError as error:
            raise _damaged(str(path), error.cause) from None
        except (ValueError, KeyError, TypeError, AttributeError):
            raise _damaged(str(path), "it is no ledger file, or damaged") from None

    def read_all(self) -> Iterator[LedgerRecord]:
        """Every server that is or was in the mesh."""
        for path in sorted(self.folder.glob("[!.]*.json")):
            entry = self.read(path.stem)
            if entry:
                yield entry

    def write(self, entry: LedgerRecord) -> bool:
        """Write one server's file; call it under :meth:`lock`. Returns whether it changed."""
        path = self.path(entry.name)
        for leftover in self.folder.glob(f".{path.name}.*"):
            leftover.unlink()  # of a writer that was killed: nobody else writes while the lock is held
        return replace_file(path, render(entry))

    def lock(self) -> Any:
        """Hold the ledger for a read and the write that follows from it."""
        return locked(self.folder)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value


def _time(value: Any) -> str:
    if not TIMESTAMP.match(_text(value)):
        raise ValueError
    return str(value)


def _origin(value: Any) -> str:
    if value not in (INVENTORY, APPLIED):
        raise ValueError
    return str(value)


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise TypeError
    return value


def _port(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError
    return value


def _texts(value: Any) -> dict[str, str] | None:
    return None if value is None else {_text(key): _text(item) for key, item in value.items()}


def _retired(item: Mapping[str, Any]) -> Retired:
    found = Retired(**{key: _text(value) for key, value in item.items()})
    _time(found.not_after)
    return found


def _model(value: Any) -> str | None:
    if value not in (None, *MODELS, BOTH):
        raise ValueError
    return None if value is None else str(value)


def _rotation(value: Any) -> str | None:
    if value is not None and not _ROTATION.match(_text(value)):
        raise ValueError
    return None if value is None else str(value)


def render(entry: LedgerRecord) -> str:
    """The file's text: sorted, indented, one fact a line."""
    # Only external peers say where they come from, so that the files of all others stay as they were.
    data = {
        "version": VERSION,
        **({"origin": APPLIED} if entry.origin == APPLIED else {}),
        "name": entry.name,
        "address": entry.address,
        "port": entry.port,
        "generations": [{"state": generation.state, **generation.certificates} for generation in entry.generations],
        "trust": dict(entry.trust) if entry.trust is not None else None,
        "removed_at": entry.removed_at,
        "distrusted": [
            {key: value for key, value in vars(one).items() if key != "peer"}
            for one in sorted(entry.distrusted, key=lambda one: one.fingerprint)
        ],
        **({"retired": [vars(one) for one in entry.retired]} if entry.retired else {}),
        **({"rotation": entry.rotation} if entry.rotation else {}),
        **({"model": entry.model} if entry.model else {}),
        **({"not_loaded": True} if entry.not_loaded else {}),
        **({"replaced": True} if entry.replaced else {}),
    }
    return json.dumps(data, indent=1, sort_keys=True, ensure_ascii=False) + "\n"


def recorded(known: LedgerRecord | None, presented: PresentedSets, now: str) -> LedgerRecord:
    """What the ledger is to hold after a server presented its certificates.

    A ``next`` that no rotation announced, and a ``previous`` that was already retired, are not recorded.

    :param now: UTC, recorded with what loses trust.
    :raises EsyncError: kind ``changed_certificate``: certificates that nobody announced, with both fingerprints.
    """
    before = known or LedgerRecord(presented.name, presented.address, presented.port)
    # A server that is new, joins again, or lost all trust may present anything but what lost it.
    fresh = not before.generations
    distrusted = {one.fingerprint: one for one in before.distrusted}
    kept = []
    for generation in presented.generations:
        unknown = [one for one in generation.fingerprints if one not in before.fingerprints]
        bad = [one for one in generation.fingerprints if one in distrusted]
        if generation.state == NEXT and unknown and not presented.rotation and not presented.accept_changed:
            continue
        if generation.state == PREVIOUS and unknown:
            continue
        if bad:
            raise _refused_distrusted(presented.name, distrusted[bad[0]])
        if generation.state == CURRENT and unknown and not fresh and not presented.accept_changed:
            raise _refused_change(before, generation)
        kept.append(generation)
    generations = tuple(kept) or before.generations
    return replace(
        before,
        address=presented.address,
        port=presented.port,
        generations=generations,
        removed_at=None,
        replaced=False,
        origin=INVENTORY,
        retired=_retired_by(before, generations, now),
        rotation=presented.rotation_id or before.rotation,
    )


def _retired_by(before: LedgerRecord, generations: Sequence[RecordedGeneration], now: str) -> tuple[Retired, ...]:
    """Those that were replaced by these, besides those of before, as long as they are valid."""
    live = {fingerprint for generation in generations for fingerprint in generation.fingerprints}
    found = {one.fingerprint: one for one in before.retired}
    for generation in before.generations:
        for role in ROLES:
            facts = generation.certificates[role]
            one = Retired(str(facts["fingerprint"]), key_of(str(facts["pem"])), str(facts["not_after"]))
            found[one.fingerprint] = one
    return tuple(found[key] for key in sorted(found) if key not in live and found[key].not_after > now)


def withdrawn(known: LedgerRecord, why: str, now: str) -> LedgerRecord:
    """The entry of a server whose certificates lose all trust at once.

    :param why: ``removed``, then it is no member any more, or ``compromised``, then it is one without certificates.
    :param now: UTC.
    """
    removed = why == REMOVED
    distrusted = {one.fingerprint: one for one in known.distrusted}
    for generation in known.generations:
        for role in ROLES:
            facts = generation.certificates[role]
            fingerprint = str(facts["fingerprint"])
            distrusted[fingerprint] = Distrust(
                known.name, role, fingerprint, key_of(str(facts["pem"])), now, why, str(facts["not_after"])
            )
    return replace(
        known,
        generations=(),
        trust=None if removed else known.trust,
        model=None if removed else known.model,
        removed_at=(known.removed_at or now) if removed else None,
        distrusted=tuple(distrusted.values()),
        rotation=None,
        not_loaded=known.not_loaded and not removed,
    )


def _refused_change(before: LedgerRecord, presented: RecordedGeneration) -> EsyncError:
    known = next((one for one in before.generations if one.state == CURRENT), before.generations[0])
    role = next(role for role in ROLES if presented.certificates[role]["fingerprint"] not in before.fingerprints)
    return EsyncError(
        f"it presents a {role} certificate that no rotation announced, "
        f"fingerprint {presented.certificates[role]['fingerprint']}; "
        f"the ledger knows {known.certificates[role]['fingerprint']}",
        f"If the host was rebuilt, name it: -e esync_accept_changed={before.name}. If not, find out who changed it",
        kind="changed_certificate",
        server=before.name,
    )


def _refused_distrusted(name: str, distrusted: Distrust) -> EsyncError:
    return EsyncError(
        f"it presents the {distrusted.role} certificate {distrusted.fingerprint}, "
        f"which is distrusted ({distrusted.why}, since {distrusted.since})",
        f"Give it new certificates: run establish over the whole group with -e esync_discard_existing={name}",
        kind="distrusted_certificate",
        server=name,
    )


def _damaged(path: str, cause: str) -> EsyncError:
    return EsyncError(
        cause,
        "Restore it (it is public data, git has it if you committed it), "
        "or delete it and run establish over the whole group, which writes it again",
        kind="damaged_ledger",
        path=path,
    )


def is_news(before: Mapping[str, LedgerRecord], after: Mapping[str, LedgerRecord]) -> bool:
    """Whether records change by more than a note of what a server has received, or its endpoint has not loaded.

    :param before: name to record. :param after: the records that are written.
    """

    def news(record: LedgerRecord) -> LedgerRecord:
        return replace(record, trust=None, model=None, not_loaded=False)

    return any(name not in before or news(before[name]) != news(record) for name, record in after.items())


def difference(
    ledger: Ledger, before: Mapping[str, LedgerRecord], after: Mapping[str, LedgerRecord]
) -> list[dict[str, str]]:
    """What changes in the ledger, as Ansible shows it, without the certificates themselves: nobody can read those.

    :param before: name to record. :param after: the records that change.
    """
    return [
        {
            "before_header": str(ledger.path(name)),
            "after_header": str(ledger.path(name)),
            "before": _summary(before.get(name)),
            "after": _summary(record),
        }
        for name, record in sorted(after.items())
    ]


def _summary(record: LedgerRecord | None) -> str:
    if record is None:
        return ""
    lines = [f"{record.name} {record.address} port {record.port}" + (" (external)" if record.origin == APPLIED else "")]
    lines += [f"{record.name} was removed at {record.removed_at}"] if record.removed_at else []
    lines += [
        f"{record.name} {role} {one.state} {one.certificates[role]['fingerprint']} "
        f"until {one.certificates[role]['not_after']}"
        for one in record.generations
        for role in ROLES
    ]
    lines += [f"{record.name} {one.role} distrusted {one.fingerprint} ({one.why})" for one in record.distrusted]
    return "".join(f"{line}\n" for line in lines)
