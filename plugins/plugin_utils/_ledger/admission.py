# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which certificates may enter the ledger: those of the server that presents them, and of nobody else.

A host is believed in nothing but the certificate itself. What the ledger says of one is read from it here.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from ansible_collections.esync.mesh.plugins.module_utils._core.certificate import Certificate, normal_alt_names
from ansible_collections.esync.mesh.plugins.module_utils._core.errors import EsyncError
from ansible_collections.esync.mesh.plugins.module_utils._core.names import ROLES, problems
from ansible_collections.esync.mesh.plugins.module_utils._crypto import key_types, pins
from ansible_collections.esync.mesh.plugins.module_utils._crypto.certificates import parse_certificate
from ansible_collections.esync.mesh.plugins.plugin_utils._ledger.pem import key_of
from ansible_collections.esync.mesh.plugins.plugin_utils._ledger.records import LedgerRecord, RecordedGeneration

_UNCOMPRESSED = 4
_DISCARD = "run establish over the whole group with -e esync_discard_existing={name}"
_COPIED = (
    "a copied machine, an image with certificates in it, a copied folder, or one host that is listed twice is the "
    "usual cause"
)


@lru_cache(maxsize=4096)
def certificate_of(pem: str, role: str) -> Certificate:
    """A certificate as it came from a host, read strictly.

    :raises EsyncError: kinds ``damaged_file``, ``wrong_role``, ``too_large``, ``bad_name``, ``unfit_certificate``.
    """
    found = parse_certificate(pem.encode("ascii", "replace"), "", role)
    if not _has_usual_form(found):
        raise EsyncError(
            "its public key is written in an unusual form, by which it could pass for another one",
            "Have it created again",
            kind="unfit_certificate",
        )
    # They are printed, and stand in files of others.
    if any(" " in text or not text.isprintable() for text in (found.subject, *found.alt_names)):
        raise EsyncError("its names hold spaces or control characters", "Have it created again", kind="bad_name")
    return found


def _has_usual_form(found: Certificate) -> bool:
    """Whether its public key is written as everybody writes it.

    Else one key could be written in two forms (RFC 5480, 2.2), and come back as another after it was distrusted.
    """
    if found.key_type == "ecdsa":
        # Some versions of the library keep the compressed form of a point.
        length = 2 * (found.key_size // 8) + 1
        if len(found.public_key) <= length or found.public_key[-length] != _UNCOMPRESSED:
            return False
    return found.key == key_of(found.pem)


def demand_own(
    name: str,
    generations: Sequence[RecordedGeneration],
    known: LedgerRecord | None,
    expected: Collection[str] | None,
    any_names: bool = False,
) -> None:
    """Refuse certificates that are not by the profile of the mesh, and issued to the server that presents them.

    Those that the ledger has of the server already were validated when they came.

    :param known: its entry. :param expected: the names and addresses that its certificates may have besides those
        that the ledger's have; None: it need not be made by this collection.
    :param any_names: whether the user accepts whatever names it has besides its own.
    :raises EsyncError: kinds ``wrong_name``, ``unfit_certificate``, ``unexpected_alt_names``.
    """
    recorded = known.fingerprints if known else frozenset()
    for generation in generations:
        for role in ROLES:
            facts = generation.certificates[role]
            if facts["fingerprint"] in recorded:
                continue
            certificate = certificate_of(str(facts["pem"]), role)
            what = f"its {generation.state} {role} certificate {certificate.fingerprint}"
            if certificate.subject != name:
                raise _other_subject(name, what, certificate.subject)
            found = list(pins.unfit(certificate))
            if expected is not None:
                found += pins.unlike_ours(certificate)
                if certificate.key_type not in key_types.KEY_TYPES:
                    found.append(("bad_key_type", "its key is of a type that is never made here"))
            if found:
                raise EsyncError(
                    f"{what} cannot be trusted: {'; '.join(cause for _kind, cause in found)}",
                    f"Find out who changed it; to replace it, {_DISCARD.format(name=name)}",
                    kind="unfit_certificate",
                    server=name,
                )
            if expected is not None and not any_names:
                _demand_alt_names(name, what, certificate, {*expected, *_recorded_names(known)})


def _recorded_names(known: LedgerRecord | None) -> set[str]:
    return {
        str(text)
        for generation in (known.generations if known else ())
        for role in ROLES
        for text in generation.certificates[role]["alt_names"]
    }


def _demand_alt_names(name: str, what: str, certificate: Certificate, allowed: Collection[str]) -> None:
    strange = sorted(set(certificate.alt_names) - {*allowed, *normal_alt_names(tuple(allowed))})
    if strange:
        raise EsyncError(
            f"{what} is also issued to {', '.join(strange[:5])}, which its settings do not name",
            f"If that is right, name it: -e esync_accept_changed={name}; to replace the certificates, "
            + _DISCARD.format(name=name),
            kind="unexpected_alt_names",
            server=name,
        )


def renaming(name: str, subject: str) -> str:
    """What to do where a server was renamed. :param subject: whom its certificates are issued to."""
    # Nothing is to be typed into a shell that came from a host and is no name.
    old = "OLD_NAME" if problems(subject) else subject
    return f"{_DISCARD.format(name=name)}, then remove with -e esync_remove={old}"


def _other_subject(name: str, what: str, subject: str) -> EsyncError:
    return EsyncError(
        f"{what} is issued to {subject!r}, not to {name!r}; {_COPIED}, or esync_server_name was changed",
        f"If it is a copy, {_DISCARD.format(name=name)}. If the server was renamed, {renaming(name, subject)}",
        kind="wrong_name",
        server=name,
    )


# -- one owner ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Owners:
    """Whose every certificate and every public key is.

    :param live: fingerprint, or hash of a key, to the servers that the ledger has it of, or that present it.
    :param recorded: likewise, only by the ledger. :param retired: likewise, of certificates that were replaced.
    :param distrusted: fingerprint, or hash of a key, to the server and why nobody may trust it.
    """

    live: Mapping[str, frozenset[str]]
    recorded: Mapping[str, frozenset[str]]
    retired: Mapping[str, frozenset[str]]
    distrusted: Mapping[str, str]

    @classmethod
    def of(
        cls,
        ledger: Mapping[str, LedgerRecord],
        presented: Mapping[str, Sequence[RecordedGeneration]],
        replaced: Collection[str] = (),
    ) -> Owners:
        """By the ledger, and by what servers present now.

        :param presented: name to generations. :param replaced: the names whose entries are about to be replaced.
        """
        live: dict[str, set[str]] = {}
        recorded: dict[str, set[str]] = {}
        retired: dict[str, set[str]] = {}
        distrusted: dict[str, str] = {}
        for record in ledger.values():
            for one in identities(record.generations) if record.name not in replaced else ():
                live.setdefault(one, set()).add(record.name)
                recorded.setdefault(one, set()).add(record.name)
            for gone in record.retired:
                for one in (gone.fingerprint, gone.key):
                    retired.setdefault(one, set()).add(record.name)
            for row in record.distrusted:
                for one in filter(None, (row.fingerprint, row.key)):
                    distrusted[one] = str(row)
        for name, generations in presented.items():
            for one in identities(generations):
                live.setdefault(one, set()).add(name)
        return cls(_frozen(live), _frozen(recorded), _frozen(retired), distrusted)

    def demand_only(self, name: str, generations: Sequence[RecordedGeneration]) -> None:
        """Refuse what belongs to another server, or lost all trust under whichever name.

        :raises EsyncError: kinds ``distrusted_certificate``, ``second_owner``.
        """
        for generation in generations:
            for role in ROLES:
                facts = generation.certificates[role]
                for one in _identities_of(facts):
                    what = f"its {generation.state} {role} certificate {facts['fingerprint']}"
                    if one in self.distrusted:
                        raise _distrusted(name, what, self.distrusted[one])
                    self._demand_first(name, what, one)

    def _demand_first(self, name: str, what: str, one: str) -> None:
        others = self.live.get(one, frozenset()) - {name}
        recorded = self.recorded.get(one, frozenset())
        if others and recorded != {name}:
            by = "and the ledger has it of" if recorded - {name} else "and so does"
            raise _second(name, f"{what} has a key that another server uses, {by} {', '.join(sorted(others))}")
        before = self.retired.get(one, frozenset()) - {name}
        if before and name not in recorded:
            raise _second(name, f"{what} has a key that {', '.join(sorted(before))} used before")


def identities(generations: Sequence[RecordedGeneration]) -> set[str]:
    """The fingerprints of certificates and the hashes of their public keys."""
    return {one for each in generations for role in ROLES for one in _identities_of(each.certificates[role])}


def _identities_of(facts: Mapping[str, object]) -> tuple[str, str]:
    return str(facts["fingerprint"]), key_of(str(facts["pem"]))


def _frozen(found: Mapping[str, set[str]]) -> dict[str, frozenset[str]]:
    return {key: frozenset(names) for key, names in found.items()}


def _second(name: str, cause: str) -> EsyncError:
    return EsyncError(
        f"{cause}; {_COPIED}",
        f"Give the copy keys of its own: if that is {name}, {_DISCARD.format(name=name)}",
        kind="second_owner",
        server=name,
    )


def _distrusted(name: str, what: str, which: str) -> EsyncError:
    return EsyncError(
        f"{what} has a key that is distrusted ({which})",
        f"Give it new certificates: {_DISCARD.format(name=name)}",
        kind="distrusted_certificate",
        server=name,
    )
