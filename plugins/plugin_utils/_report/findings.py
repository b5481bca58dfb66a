# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is wrong with a server itself: its files, its certificates' time, its trust, its clock, its endpoint.

Everything here is judged from what the host returned and what the ledger says; docs/check.md has the table.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from ansible_collections.esync.mesh.plugins.module_utils._core.names import CURRENT, ROLES, SERVER, STATES
from ansible_collections.esync.mesh.plugins.plugin_utils._ledger.records import LedgerRecord
from ansible_collections.esync.mesh.plugins.plugin_utils._report.wording import few

FAULT, NOTE, NOT_JUDGED = "fault", "note", "not_judged"
SEVERITIES = (FAULT, NOTE, NOT_JUDGED)


class ErrorKind(NamedTuple):
    """What a kind of problem means.

    :param cause: in plain words. :param remedy: what to do, unless the host knew something better.
    """

    cause: str
    remedy: str
    severity: str = FAULT


_ESTABLISH = "Run establish"
_REGENERATE = "Run the regenerate playbook; it renews without an outage, and works over ssh when all has expired"
_RELOAD = "Run establish, which lets the endpoint take up what is in force; look into the service's log if it does not"

KINDS: Mapping[str, ErrorKind] = {
    "damaged_file": ErrorKind("A file of its certificate sets is damaged", ""),
    "missing_file": ErrorKind("A file of its certificate sets is missing", ""),
    "mismatch": ErrorKind("Files of its certificate sets do not belong together", ""),
    "wrong_name": ErrorKind("A certificate is issued to another name", ""),
    "wrong_role": ErrorKind("A certificate lies in the place of one for the other role", ""),
    "unexpected_file": ErrorKind("Something that is none of ours lies among its certificate sets", ""),
    "unexpected_link": ErrorKind("A link leads elsewhere", ""),
    "not_a_file": ErrorKind("Something else lies in the place of a file", ""),
    "not_a_folder": ErrorKind("Something else lies in the place of a folder", ""),
    "not_a_link": ErrorKind("Something else lies in the place of a link", ""),
    "wrong_owner": ErrorKind("A file or folder belongs to somebody else", ""),
    "no_permission": ErrorKind("It could not be judged, for Ansible's user there may not read it", "", NOT_JUDGED),
    "wrong_mode": ErrorKind(
        "A file or folder has another mode than the one it was made with", "Run establish, which mends it"
    ),
    "no_certificates": ErrorKind("It has no certificates", f"{_ESTABLISH}, which makes them"),
    "expired": ErrorKind("Its certificates have expired", _REGENERATE),
    "expires_soon": ErrorKind("Its certificates expire soon", _REGENERATE),
    "not_yet_valid": ErrorKind("Its certificates are not valid yet", "Compare its clock with the others', and mend it"),
    "name_differs": ErrorKind("Its certificates are issued to another name than it has now", _REGENERATE, NOTE),
    "subject_alt_names_differ": ErrorKind("Its certificates hold other names than its settings", _REGENERATE, NOTE),
    "key_differs": ErrorKind("Its keys are of another type or size than its settings", _REGENERATE, NOTE),
    "formats_differ": ErrorKind("Its sets lack files of a format that its settings name", _REGENERATE, NOTE),
    "pfx_passphrase_differs": ErrorKind("Its .pfx files have another passphrase than its settings", _REGENERATE, NOTE),
    "pfx_encryption_differs": ErrorKind(
        "Its .pfx files are encrypted in another way than its settings", _REGENERATE, NOTE
    ),
    "no_trust": ErrorKind("It trusts nobody yet", f"{_ESTABLISH}, which exchanges the certificates"),
    "damaged_trust": ErrorKind("A file of its trust is damaged", "Run establish, which writes it anew from the ledger"),
    "damaged_shared_keys": ErrorKind(
        "A client set that a peer handed to it is damaged", "Run establish, which has it handed over anew"
    ),
    "shared_keys_missing": ErrorKind(
        "It was not handed the client sets of all its peers",
        f"{_ESTABLISH} over the whole group, which hands them over; those of an external peer come in a "
        "folder: run apply",
    ),
    "shared_keys_unexpected": ErrorKind(
        "It holds client sets of peers that it should not",
        f"{_ESTABLISH}, which destroys them; in a change of the trust model the regenerate playbook does",
    ),
    "other_trust_model": ErrorKind("Its trust is by another model than its settings", _REGENERATE),
    "trust_missing": ErrorKind(
        "Its trust lacks certificates that the ledger has", f"{_ESTABLISH}, which delivers them"
    ),
    "trust_unexpected": ErrorKind("It trusts certificates that it should not", f"{_ESTABLISH}, which takes them out"),
    "left_group": ErrorKind(
        "It trusts servers that are not in the inventory group",
        "Put them back into the group, or run the remove playbook for them",
    ),
    "ledger_missing": ErrorKind(
        "The ledger does not know certificates that it has",
        "Run establish; if its certificates were made anew on purpose, name it in esync_accept_changed. "
        "Otherwise find out who changed them",
    ),
    "ledger_unexpected": ErrorKind(
        "The ledger has certificates that it has no more",
        "Run establish or, in a rotation, regenerate, which finishes it",
    ),
    "rotation_pending": ErrorKind(
        "A rotation of it has begun and not ended",
        "Wait for that run to end. If it was killed, run the regenerate playbook again, which finishes it",
    ),
    "clock_skew": ErrorKind("Its clock is wrong", "Synchronise both clocks (chrony, systemd-timesyncd)"),
    "another_certificate_served": ErrorKind("Its endpoint serves another certificate than the current one", _RELOAD),
    "endpoint_not_listening": ErrorKind(
        "Nothing serves a certificate on its eSync port", "Start the service; if it runs, stop it, then start it"
    ),
    "product_version_unknown": ErrorKind("Its product version could not be found out", ""),
    "test_failed": ErrorKind("It could not be read or tested", "Mend what it says, and run again"),
}
"""Every kind that is made here, and those of the hosts' errors that are common."""

_OTHER = ErrorKind("Something is wrong with its files", "Mend it, and run again")


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong with one server.

    :param kind: a key, as a rule one of KINDS. :param severity: ``fault``, ``note`` or ``not_judged``.
    :param path: the file or folder on the host, if it is one.
    :param cause: in plain words. :param evidence: what was seen; may be empty.
    """

    server: str
    kind: str
    severity: str
    path: str | None
    cause: str
    evidence: str
    remedy: str


@dataclass(frozen=True)
class ServerFindings:
    """What is known of one server when it is judged.

    :param read: what ``certificate_info`` or ``certificate_set`` returned; empty if it returned nothing.
    :param planned: what ``peer_trust`` planned: ``added``, ``removed`` and ``kept``.
    :param record: its entry in the ledger.
    :param failures: the errors by which reading or testing ended: ``kind``, ``cause``, ``remedy``, ``path``.
    :param at_rest: whether nothing was changed since it was read, so that it can be compared with ledger and trust.
    :param now: UTC, such as ``2027-11-23T19:00:00Z``. :param soon: the time until which an end counts as soon.
    :param max_clock_skew: seconds.
    :param not_handed: the client sets of peers that it should hold and does not. :param handed_too_much: the reverse.
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
    not_handed: Sequence[str] = ()
    handed_too_much: Sequence[str] = ()


def problems_of(known: ServerFindings) -> list[Problem]:
    """Everything that is wrong with a server; each file and fact once."""
    found: dict[tuple[str, str | None, str], Problem] = {}
    for problem in _judge(known):
        found.setdefault((problem.kind, problem.path, problem.evidence), problem)
    return list(found.values())


def _judge(known: ServerFindings) -> Iterator[Problem]:
    yield from _failures(known)
    yield from _files(known)
    yield from _times(known)
    yield from _left(known)
    if known.at_rest and known.read.get("generations") is not None:
        yield from _clock(known)
        yield from _rotation(known)
        yield from _trust(known)
        yield from _handed(known)
        yield from _ledger(known)
        yield from _endpoint(known)
    problem = known.read.get("product_version_problem")
    if problem:
        yield _told(known, problem)


def _made(known: ServerFindings, kind: str, evidence: str = "", path: str | None = None) -> Problem:
    row = KINDS[kind]
    return Problem(known.name, kind, row.severity, path, row.cause, evidence, _sentence(row.remedy))


def _told(known: ServerFindings, error: Mapping[str, Any], kind: str | None = None) -> Problem:
    """An error of the host as a problem: what it says is the evidence, and its remedy is the better one."""
    kind = kind or str(error.get("kind") or "damaged_file")
    row = KINDS.get(kind, _OTHER)
    remedy = str(error.get("remedy") or row.remedy)
    evidence = _sentence(str(error.get("cause") or ""))
    path = error.get("path")
    return Problem(known.name, kind, row.severity, str(path) if path else None, row.cause, evidence, _sentence(remedy))


def _failures(known: ServerFindings) -> Iterator[Problem]:
    for error in known.failures:
        yield _told(known, error, None if error.get("kind") in KINDS else "test_failed")


def _files(known: ServerFindings) -> Iterator[Problem]:
    problems = known.read.get("problems") or ()
    for error in problems:
        yield _told(known, error)
    for path, mode in (known.read.get("modes") or {}).items():
        yield _made(known, "wrong_mode", f"Its mode is {mode['found']}, and must be {mode['wanted']}.", path)
    generations = known.read.get("generations")
    if known.at_rest and not _own(problems) and generations is not None and CURRENT not in _by_state(generations):
        yield _made(known, "no_certificates", path=known.read.get("directory"))


def _times(known: ServerFindings) -> Iterator[Problem]:
    for reason in known.read.get("due") or ():
        if reason in KINDS:
            yield _made(known, str(reason), _why_due(known, str(reason)))
    current = _by_state(known.read.get("generations") or ()).get(CURRENT)
    if current is None and known.at_rest and known.record and not known.read.get("readable", True):
        # Its own files are closed to us, but the ledger has the same certificates.
        end = min((_end(one.certificates) for one in known.record.generations if one.state == CURRENT), default="")
        if end and known.now and end <= known.soon:
            kind = "expired" if end <= known.now else "expires_soon"
            yield _made(known, kind, f"By the ledger the first of them ends at {end}.")


def _why_due(known: ServerFindings, reason: str) -> str:
    current = _by_state(known.read.get("generations") or ()).get(CURRENT)
    if current is None:
        return ""
    if reason in ("expired", "expires_soon"):
        return f"The first of them ends at {_end(current)}."
    if reason == "not_yet_valid":
        return f"They begin at {max(str(current[role]['not_before']) for role in ROLES)}."
    if reason == "subject_alt_names_differ":
        return f"They hold {few([str(name) for name in current[SERVER]['alt_names']])}."
    return ""


def _left(known: ServerFindings) -> Iterator[Problem]:
    kept = [str(name) for name in known.planned.get("kept") or ()]
    if kept:
        yield _made(known, "left_group", f"It trusts {few(kept)}.")


def _clock(known: ServerFindings) -> Iterator[Problem]:
    skew = known.read.get("clock_skew")
    if skew is not None and abs(skew) > known.max_clock_skew:
        way = "ahead of" if skew > 0 else "behind"
        yield _made(
            known,
            "clock_skew",
            f"It is {abs(skew):.0f} s {way} the control node's, and {known.max_clock_skew:g} s are allowed.",
        )


def _rotation(known: ServerFindings) -> Iterator[Problem]:
    rotation = known.read.get("rotation")
    if rotation:
        holder = rotation.get("holder") or "somebody whose note cannot be read"
        since = rotation.get("since") or "an unknown time"
        yield _made(known, "rotation_pending", f"{holder} has been rotating it since {since}.")
        return
    states = sorted(set(_by_state(known.read["generations"])) - {CURRENT})
    if states:
        yield _made(known, "rotation_pending", f"It has {' and '.join(states)} certificates besides the current ones.")


def _trust(known: ServerFindings) -> Iterator[Problem]:
    damaged = [error for error in known.read.get("problems") or () if error.get("kind") == "damaged_trust"]
    added = [str(name) for name in known.planned.get("added") or ()]
    removed = [str(name) for name in known.planned.get("removed") or ()]
    if known.read.get("trust") is None:
        if not damaged and added:
            yield _made(known, "no_trust", f"The ledger has {few(added)} for it.")
        return
    # What is there and damaged is told already, file by file.
    hurt = {str(error.get("path")).rpartition("/")[2] for error in damaged}
    lacking = [name for name in added if name not in hurt]
    if lacking:
        yield _made(known, "trust_missing", f"It lacks {few(lacking)}.")
    if removed:
        yield _made(known, "trust_unexpected", f"It holds {few(removed)}.")


def _handed(known: ServerFindings) -> Iterator[Problem]:
    """The client sets that it holds of its peers; what is there and damaged, or may not be read, is told already."""
    spoilt = not known.read.get("readable", True) or any(
        error.get("kind") == "damaged_shared_keys" for error in known.read.get("problems") or ()
    )
    if known.not_handed and not spoilt:
        yield _made(known, "shared_keys_missing", f"It lacks {few(known.not_handed)}.")
    if known.handed_too_much:
        yield _made(known, "shared_keys_unexpected", f"It holds {few(known.handed_too_much)}.")


def _ledger(known: ServerFindings) -> Iterator[Problem]:
    shown = _by_state(known.read["generations"])
    if not shown or _own(known.read.get("problems") or ()):
        return  # told by file; what could not be read cannot be compared
    recorded = {one.state: one.certificates for one in known.record.generations} if known.record else {}
    for state in STATES:
        for role in ROLES:
            here = str(shown[state][role]["fingerprint"]) if state in shown else None
            there = str(recorded[state][role]["fingerprint"]) if state in recorded else None
            if here and here != there:
                known_one = f"the ledger has {there}" if there else "the ledger has none"
                yield _made(known, "ledger_missing", f"Its {state} {role} certificate is {here}; {known_one}.")
            elif there and not here:
                yield _made(known, "ledger_unexpected", f"The ledger has the {state} {role} certificate {there}.")


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
            yield _made(known, "endpoint_not_listening", text if site else "Looked for on the host itself.")
        elif wanted and served != wanted:
            text = f"{who} serves {served}, and the current one is {wanted}."
            yield _made(known, "another_certificate_served", text)


def _recorded_server(record: LedgerRecord | None) -> str | None:
    for generation in record.generations if record else ():
        if generation.state == CURRENT:
            return str(generation.certificates[SERVER]["fingerprint"])
    return None


def _own(problems: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Those of the server's own sets."""
    return [error for error in problems if error.get("kind") not in ("damaged_trust", "damaged_shared_keys")]


def _by_state(generations: Sequence[Mapping[str, Any]]) -> dict[str, Mapping[str, Any]]:
    return {str(generation["state"]): generation for generation in generations}


def _end(certificates: Mapping[str, Any]) -> str:
    return min(str(certificates[role]["not_after"]) for role in ROLES)


def _sentence(text: str) -> str:
    text = text.strip()
    if not text:
        return ""
    # What a host says begins in the middle of a sentence: its path stood before it.
    text = text[0].upper() + text[1:]
    return text if text[-1] in ".!?" else text + "."
