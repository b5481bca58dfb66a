# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is wrong with a server itself: its files, its certificates' time, its trust, its clock, its endpoint.

Everything here is concluded from what the host returned and what the ledger has; docs/check.md has the table.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.esync.mesh.plugins.module_utils._connection.cause_table import REGENERATE, REPAIR
from ansible_collections.esync.mesh.plugins.module_utils._core import layout, names
from ansible_collections.esync.mesh.plugins.module_utils._core.names import CURRENT, ROLES, SERVER, STATES
from ansible_collections.esync.mesh.plugins.module_utils._store.local_generation import NEXT_AGAIN
from ansible_collections.esync.mesh.plugins.plugin_utils._ledger.records import LedgerRecord
from ansible_collections.esync.mesh.plugins.plugin_utils._report.problem_kinds import (
    AS_FOUND,
    BY_HAND,
    FAULT,
    KINDS,
    NOT_CHECKED,
    NOTE,
    OTHER,
    OWN_FILE_KINDS,
    RENEW,
    RESTORE,
    SEVERITIES,
    ProblemKind,
)
from ansible_collections.esync.mesh.plugins.plugin_utils._wording import abbreviated, sentence

__all__ = ["FAULT", "KINDS", "NOTE", "NOT_CHECKED", "SEVERITIES", "Problem", "ServerFindings", "problems_of"]

_TRUST_FOLDERS = frozenset([names.REMOTE, names.TRUSTED])
_SHARED_FOLDERS = frozenset([names.SHARED, names.HANDED_OVER, names.HANDED_BEFORE])
_PLACES = frozenset([*_TRUST_FOLDERS, *_SHARED_FOLDERS, *STATES, names.GENERATIONS])
_TEST_FAILED = "test_failed"


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong with one server.

    :param kind: a key, usually one of KINDS.
    :param severity: ``fault``, ``note`` or ``not_checked``.
    :param path: the file or folder on the host, if it is one.
    :param cause: in plain words.
    :param evidence: what was seen; may be empty.
    :param remedy: what to do.
    :param command: the command that does it; empty if none does.
    :param repair: what the repair playbook does about it, as in the table of kinds; empty: as the table says.
    """

    server: str
    kind: str
    severity: str
    path: str | None
    cause: str
    evidence: str
    remedy: str
    command: str = ""
    repair: str = ""


@dataclass(frozen=True)
class ServerFindings:
    """What is known of one server when it is checked.

    :param read: what ``certificate_info`` or ``certificate_set`` returned; empty if it returned nothing.
    :param planned: what ``peer_trust`` planned: ``added``, ``removed`` and ``kept``.
    :param record: its entry in the ledger.
    :param failures: the errors by which reading or testing ended: ``kind``, ``cause``, ``remedy``, ``path``.
    :param at_rest: whether nothing was changed since it was read, so that it can be compared with ledger and trust.
    :param now: UTC, such as ``2027-11-23T19:00:00Z``. :param soon: the time until which an end counts as soon.
    :param max_clock_skew: seconds.
    :param shared_keys_missing: the shared client keys of peers that it should have and does not.
    :param shared_keys_unexpected: those that it has and should not.
    """

    name: str
    read: Mapping[str, Any] = field(default_factory=dict)
    planned: Mapping[str, Any] = field(default_factory=dict)
    record: LedgerRecord | None = None
    failures: Sequence[Mapping[str, Any]] = ()
    at_rest: bool = True
    now: str = ""
    soon: str = ""
    max_clock_skew: float = 300
    shared_keys_missing: Sequence[str] = ()
    shared_keys_unexpected: Sequence[str] = ()


def problems_of(known: ServerFindings) -> list[Problem]:
    """Everything that is wrong with a server; each file and fact once."""
    found: dict[tuple[str, str | None, str], Problem] = {}
    for problem in _check(known):
        found.setdefault((problem.kind, problem.path, problem.evidence), problem)
    return list(found.values())


def _check(known: ServerFindings) -> Iterator[Problem]:
    yield from _failures(known)
    yield from _files(known)
    yield from _times(known)
    yield from _left_group(known)
    if known.at_rest and known.read.get("generations") is not None:
        yield from _clock(known)
        yield from _rotation(known)
        yield from _trust(known)
        yield from _shared_keys(known)
        yield from _ledger(known)
        yield from _endpoint(known)
    problem = known.read.get("product_version_problem")
    if problem:
        yield _reported(known, problem)


def _of_kind(known: ServerFindings, kind: str, evidence: str = "", path: str | None = None) -> Problem:
    row = KINDS[kind]
    command = _command_of(known, row)
    return Problem(known.name, kind, row.severity, path, row.cause, evidence, sentence(row.remedy), command, row.repair)


def _command_of(known: ServerFindings, row: ProblemKind) -> str:
    """The command that does what a row says, with the names of this server and of those that left the group."""
    left = ",".join(str(name) for name in known.planned.get("kept") or ())
    return row.command.format(server=known.name, left=left)


def _reported(known: ServerFindings, error: Mapping[str, Any], kind: str | None = None) -> Problem:
    """An error of the host as a problem: its cause is the evidence, and its remedy is the better one."""
    kind = kind or kind_of(error)
    row = KINDS.get(kind, OTHER)
    # "Find out who removed it" is right for a key, and no help for what is written again from the ledger.
    own_remedy = kind in (str(error.get("kind")), _TEST_FAILED) and error.get("remedy")
    remedy = sentence(str(own_remedy or row.remedy))
    path = str(error["path"]) if error.get("path") else None
    repair = _repair_of(known, row, path)
    command = _command_of(known, row)
    evidence = [str(error.get("cause") or "")]
    if row.repair == AS_FOUND and repair != BY_HAND:
        command = REPAIR
    elif row.repair == AS_FOUND and remedy == sentence(NEXT_AGAIN):
        command = REGENERATE
    elif row.repair == AS_FOUND and command and known.read.get("keys"):
        kept = [str(one) for one in known.read["keys"]]
        evidence.append(f"Replacing all sets would destroy what is left: {abbreviated(kept)}")
    return Problem(
        server=known.name,
        kind=kind,
        severity=row.severity,
        path=path,
        cause=row.cause,
        evidence=" ".join(sentence(text) for text in evidence if text),
        remedy=remedy,
        command=command,
        repair=repair,
    )


def _repair_of(known: ServerFindings, row: ProblemKind, path: str | None) -> str:
    """What the repair playbook does about an error of the host."""
    if row.repair != AS_FOUND:
        return row.repair
    # Who uses a file names it by the link ``current``.
    name = (path or "").rpartition("/")[2]
    if any(str(one).rpartition("/")[2] == name for one in known.read.get("restorable") or ()):
        return RESTORE
    return RENEW if known.read.get("keys") == [] else BY_HAND


def kind_of(error: Mapping[str, Any]) -> str:
    """The kind of a host's error; that of a file depends on where the file is.

    A host reports a file that is missing or damaged as such, whichever it is. Only the path identifies a private key,
    which is lost, from a file of the trust, which is written again from the ledger.
    """
    kind = str(error.get("kind") or "damaged_file")
    if kind not in OWN_FILE_KINDS:
        return kind
    # The last one counts: the directory of the mesh may itself be below a folder of such a name.
    place = next((part for part in reversed(str(error.get("path") or "").split("/")) if part in _PLACES), "")
    if place in _TRUST_FOLDERS:
        return "damaged_trust"
    return "damaged_shared_keys" if place in _SHARED_FOLDERS else kind


def _failures(known: ServerFindings) -> Iterator[Problem]:
    # What a test could not use is named by whoever has read the same files, and with a better cause.
    told = {_files_of(error) for error in known.read.get("problems") or ()} - {None}
    for error in known.failures:
        found_none = error.get("kind") == "no_certificate" and str(error.get("path")).endswith(f"/{CURRENT}")
        if found_none and known.read.get("generations") is None:
            yield _of_kind(known, _without_certificates(known), path=str(error["path"]))
        elif not (found_none and _has_none(known)) and _files_of(error) not in told:
            yield _reported(known, error, None if error.get("kind") in KINDS else _TEST_FAILED)


def _files_of(error: Mapping[str, Any]) -> str | None:
    """Which files an error is about, as the subject of its kind; None if it is about none."""
    kind = kind_of({**error, "kind": "mismatch"} if error.get("kind") == "key_mismatch" else error)
    return KINDS[kind].subject if kind in (*OWN_FILE_KINDS, "damaged_trust", "damaged_shared_keys") else None


def _files(known: ServerFindings) -> Iterator[Problem]:
    problems = known.read.get("problems") or ()
    for error in problems:
        yield _reported(known, error)
    for path, mode in (known.read.get("modes") or {}).items():
        yield _of_kind(known, "wrong_mode", f"Its mode is {mode['found']}, and must be {mode['wanted']}.", path)
    for path in known.read.get("stale_manifests") or ():
        yield _of_kind(known, "stale_manifest", path=path)
    if _has_none(known):
        yield _of_kind(known, _without_certificates(known), path=known.read.get("directory"))


def _has_none(known: ServerFindings) -> bool:
    """Whether it was read, and there are no certificates; damaged ones are there."""
    generations = known.read.get("generations")
    there = generations is None or CURRENT in _by_state(generations) or _own(known.read.get("problems") or ())
    return known.at_rest and not there


def _without_certificates(known: ServerFindings) -> str:
    """What it is to have none: to be new, or to have lost them."""
    return "certificates_gone" if _recorded_server(known.record) else "no_certificates"


def _times(known: ServerFindings) -> Iterator[Problem]:
    for reason in known.read.get("due") or ():
        if reason in KINDS:
            yield _of_kind(known, str(reason), _why_due(known, str(reason)))
    current = _by_state(known.read.get("generations") or ()).get(CURRENT)
    if current is None and known.at_rest and known.record and not known.read.get("readable", True):
        # Its own files are closed to us, but the ledger has the same certificates.
        end = min((_end(one.certificates) for one in known.record.generations if one.state == CURRENT), default="")
        if end and known.now and end <= known.soon:
            kind = "expired" if end <= known.now else "expires_soon"
            yield _of_kind(known, kind, f"By the ledger the first of them ends at {end}.")


def _why_due(known: ServerFindings, reason: str) -> str:
    current = _by_state(known.read.get("generations") or ()).get(CURRENT)
    if current is None:
        return ""
    if reason in ("expired", "expires_soon"):
        return f"The first of them ends at {_end(current)}."
    if reason == "not_yet_valid":
        return f"They begin at {max(str(current[role]['not_before']) for role in ROLES)}."
    if reason == "subject_alt_names_differ":
        return f"They have {abbreviated([str(name) for name in current[SERVER]['alt_names']])}."
    return ""


def _left_group(known: ServerFindings) -> Iterator[Problem]:
    kept = [str(name) for name in known.planned.get("kept") or ()]
    if kept:
        yield _of_kind(known, "left_group", f"It trusts {abbreviated(kept)}.")


def _clock(known: ServerFindings) -> Iterator[Problem]:
    skew = known.read.get("clock_skew")
    if skew is not None and abs(skew) > known.max_clock_skew:
        way = "ahead of" if skew > 0 else "behind"
        yield _of_kind(
            known,
            "clock_skew",
            f"It is {abs(skew):.0f} s {way} the control node's, and {known.max_clock_skew:g} s are allowed.",
        )


def _rotation(known: ServerFindings) -> Iterator[Problem]:
    rotation = known.read.get("rotation")
    if rotation:
        if rotation.get("holder") and rotation.get("since"):
            said = f"{rotation['holder']} has been rotating it since {rotation['since']}."
            yield _of_kind(known, "rotation_pending", said)
        else:
            yield _of_kind(known, "rotation_unreadable", path=f"{known.read.get('directory') or ''}/{layout.ROTATION}")
        return
    states = sorted(set(_by_state(known.read["generations"])) - {CURRENT})
    if states:
        yield _of_kind(
            known, "rotation_pending", f"It has {' and '.join(states)} certificates besides the current ones."
        )


def _trust(known: ServerFindings) -> Iterator[Problem]:
    damaged = [error for error in known.read.get("problems") or () if kind_of(error) == "damaged_trust"]
    added = [str(name) for name in known.planned.get("added") or ()]
    removed = [str(name) for name in known.planned.get("removed") or ()]
    if known.read.get("trust") is None:
        # What is gone entirely is reported once.
        is_gone = _has_none(known) and _recorded_server(known.record)
        if not damaged and added and not is_gone:
            yield _of_kind(known, "no_trust", f"The ledger has {abbreviated(added)} for it.")
        return
    # What is damaged is reported already, file by file.
    damaged_names = {str(error.get("path")).rpartition("/")[2] for error in damaged}
    missing = [name for name in added if name not in damaged_names]
    if missing:
        yield _of_kind(known, "trust_missing", f"Missing: {abbreviated(missing)}.")
    if removed:
        yield _of_kind(known, "trust_unexpected", f"It has {abbreviated(removed)}.")


def _shared_keys(known: ServerFindings) -> Iterator[Problem]:
    """The shared client keys of its peers; what is damaged, or may not be read, is reported already."""
    unusable = not known.read.get("readable", True) or any(
        kind_of(error) == "damaged_shared_keys" for error in known.read.get("problems") or ()
    )
    if known.shared_keys_missing and not unusable:
        yield _of_kind(known, "shared_keys_missing", f"Missing: {abbreviated(known.shared_keys_missing)}.")
    if known.shared_keys_unexpected:
        yield _of_kind(known, "shared_keys_unexpected", f"It has {abbreviated(known.shared_keys_unexpected)}.")


def _ledger(known: ServerFindings) -> Iterator[Problem]:
    shown = _by_state(known.read["generations"])
    if not shown or _own(known.read.get("problems") or ()):
        return  # reported by file; what could not be read cannot be compared
    recorded = {one.state: one.certificates for one in known.record.generations} if known.record else {}
    for state in STATES:
        for role in ROLES:
            here = str(shown[state][role]["fingerprint"]) if state in shown else None
            there = str(recorded[state][role]["fingerprint"]) if state in recorded else None
            if here and here != there:
                known_one = f"the ledger has {there}" if there else "the ledger has none"
                yield _of_kind(known, "ledger_missing", f"Its {state} {role} certificate is {here}; {known_one}.")
            elif there and not here:
                yield _of_kind(known, "ledger_unexpected", f"The ledger has the {state} {role} certificate {there}.")


def _endpoint(known: ServerFindings) -> Iterator[Problem]:
    observed = known.read.get("observed")
    if not observed:
        return
    current = _by_state(known.read["generations"]).get(CURRENT)
    wanted = str(current[SERVER]["fingerprint"]) if current else _recorded_server(known.record)
    for site, served in (observed.get("sites") or {"": observed.get("served")}).items():
        who = f"Its site {site}" if site else "It"
        if served is None:
            text = f"{who} was looked for on the host itself."
            yield _of_kind(known, "endpoint_not_listening", text if site else "Looked for on the host itself.")
        elif wanted and served != wanted:
            text = f"{who} serves {served}, and the current one is {wanted}."
            yield _of_kind(known, "another_certificate_served", text)


def _recorded_server(record: LedgerRecord | None) -> str | None:
    for generation in record.generations if record else ():
        if generation.state == CURRENT:
            return str(generation.certificates[SERVER]["fingerprint"])
    return None


def _own(problems: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Those of the server's own sets."""
    return [error for error in problems if kind_of(error) not in ("damaged_trust", "damaged_shared_keys")]


def _by_state(generations: Sequence[Mapping[str, Any]]) -> dict[str, Mapping[str, Any]]:
    return {str(generation["state"]): generation for generation in generations}


def _end(certificates: Mapping[str, Any]) -> str:
    return min(str(certificates[role]["not_after"]) for role in ROLES)
