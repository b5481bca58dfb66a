# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The table of what can be wrong with a server itself: how bad it is, what to do, and what repair does about it.

A new kind is one row here, its test, and its line in docs/check.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from ansible_collections.esync.mesh.plugins.module_utils._connection.cause_table import (
    ESTABLISH,
    NO_COMMAND,
    REGENERATE,
    REPAIR,
)

FAULT, NOTE, NOT_CHECKED = "fault", "note", "not_checked"
SEVERITIES = (FAULT, NOTE, NOT_CHECKED)

OWN_SET, TRUST, SHARED_KEYS, LEDGER, ENDPOINT = "own set", "trust", "shared client keys", "ledger", "endpoint"
CLOCK, PRODUCT, RUN = "clock", "product", "run"
SUBJECTS = (OWN_SET, TRUST, SHARED_KEYS, LEDGER, ENDPOINT, CLOCK, PRODUCT, RUN)

RENEW, RESTORE, EXCHANGE, RESTART = "renew", "restore", "exchange", "restart"
AS_FOUND = "as_found"
"""Repair depends on what the host found: a file is restored from what is sound beside it; the sets are renewed if no
private key is left that would be destroyed with them; anything else is left to a person."""
BY_HAND = "by_hand"
"""Repair leaves it to a person, and repeats the remedy."""
REPAIRS = (RENEW, RESTORE, EXCHANGE, RESTART, AS_FOUND, BY_HAND)


class ProblemKind(NamedTuple):
    """A row of the table. No field has a default, so that no row leaves one out.

    :param cause: in plain words.
    :param remedy: what to do; empty if the host that reports it always knows something better.
    :param command: the command that does it, with ``{server}`` for the name; NO_COMMAND if none does.
    :param severity: one of SEVERITIES.
    :param subject: what is concerned, one of SUBJECTS.
    :param repair: what the repair playbook does about it, one of REPAIRS.
    """

    cause: str
    remedy: str
    command: str
    severity: str
    subject: str
    repair: str


FROM_HOST = ""
PORT_TAKEN = "port_taken"
_DISCARD = f"{ESTABLISH} -e esync_discard_existing={{server}}"
_ACCEPT = f"{ESTABLISH} -e esync_accept_changed={{server}}"
_REMOVE = "ansible-playbook esync.mesh.remove -e esync_remove={left}"
_REGENERATE = "Run the regenerate playbook, which renews them without an outage"


def _own_file(cause: str) -> ProblemKind:
    """A file or a link of the server's own sets that is not what it must be."""
    return ProblemKind(cause, FROM_HOST, _DISCARD, FAULT, OWN_SET, AS_FOUND)


def _differs(cause: str) -> ProblemKind:
    """The sets are sound, but not what the settings ask for now."""
    return ProblemKind(cause, _REGENERATE, REGENERATE, NOTE, OWN_SET, BY_HAND)


KINDS: Mapping[str, ProblemKind] = {
    "damaged_file": _own_file("A file of its certificate sets is damaged"),
    "missing_file": _own_file("A file of its certificate sets is missing"),
    "mismatch": _own_file("Files of its certificate sets do not belong together"),
    "wrong_name": _own_file("A certificate is issued to another name"),
    "wrong_role": _own_file("A certificate is in the place of one for the other role"),
    "unexpected_link": _own_file("A link leads elsewhere"),
    "certificate_too_weak": ProblemKind(
        "Its certificates are too weak for the OpenSSL policy of the host", FROM_HOST, _DISCARD, FAULT, OWN_SET, BY_HAND
    ),
    "not_a_file": _own_file("Something else is in the place of a file"),
    "not_a_folder": _own_file("Something else is in the place of a folder"),
    "not_a_link": _own_file("Something else is in the place of a link"),
    "unexpected_file": ProblemKind(
        "An unexpected file is among its certificate sets", FROM_HOST, NO_COMMAND, FAULT, OWN_SET, BY_HAND
    ),
    "wrong_owner": ProblemKind(
        "A file or folder belongs to another user", FROM_HOST, NO_COMMAND, FAULT, OWN_SET, AS_FOUND
    ),
    "no_permission": ProblemKind(
        "It could not be checked, because Ansible's user there may not read it",
        FROM_HOST,
        NO_COMMAND,
        NOT_CHECKED,
        OWN_SET,
        BY_HAND,
    ),
    "wrong_mode": ProblemKind(
        "A file or folder has another mode than it was created with, or an access control list",
        "Run establish, which corrects it",
        ESTABLISH,
        FAULT,
        OWN_SET,
        RESTORE,
    ),
    "stale_manifest": ProblemKind(
        "The manifest of a generation is missing, damaged or not up to date",
        "Run repair or establish, which writes it again from the files",
        REPAIR,
        NOTE,
        OWN_SET,
        RESTORE,
    ),
    "no_certificates": ProblemKind(
        "It has no certificates", "Run establish, which creates them", ESTABLISH, FAULT, OWN_SET, EXCHANGE
    ),
    "certificates_gone": ProblemKind(
        "It has no certificates, and the ledger has some of it",
        "If the host was rebuilt, run establish and name it in esync_accept_changed, so that it gets new ones. "
        "If not, find out what became of its files",
        _ACCEPT,
        FAULT,
        OWN_SET,
        BY_HAND,
    ),
    "expired": ProblemKind(
        "Its certificates have expired",
        "Run the regenerate playbook; it works over ssh, also when every certificate has expired",
        REGENERATE,
        FAULT,
        OWN_SET,
        BY_HAND,
    ),
    "expires_soon": ProblemKind("Its certificates expire soon", _REGENERATE, REGENERATE, FAULT, OWN_SET, BY_HAND),
    "not_yet_valid": ProblemKind(
        "Its certificates are not valid yet",
        "Compare its clock with the others', and correct it",
        NO_COMMAND,
        FAULT,
        CLOCK,
        BY_HAND,
    ),
    "name_differs": ProblemKind(
        "Its certificates are issued to another name than it has now",
        "Give it new certificates under its new name, then remove the old name with -e esync_remove=OLD_NAME",
        _DISCARD,
        FAULT,
        OWN_SET,
        BY_HAND,
    ),
    "subject_alt_names_differ": _differs("Its certificates have other names than its settings"),
    "key_differs": _differs("Its keys are of another type or size than its settings"),
    "formats_differ": _differs("Files of a format that its settings name are missing in its sets"),
    "pfx_passphrase_differs": _differs("Its .pfx files have another passphrase than its settings"),
    "pfx_encryption_differs": _differs("Its .pfx files are encrypted in another way than its settings"),
    "no_trust": ProblemKind(
        "It trusts no other server yet",
        "Run establish, which exchanges the certificates",
        ESTABLISH,
        FAULT,
        TRUST,
        EXCHANGE,
    ),
    "damaged_trust": ProblemKind(
        "A file of its trust is damaged or missing",
        "Run establish, which writes it again from the ledger",
        ESTABLISH,
        FAULT,
        TRUST,
        EXCHANGE,
    ),
    "trust_missing": ProblemKind(
        "Certificates that the ledger has are missing in its trust",
        "Run establish, which delivers them",
        ESTABLISH,
        FAULT,
        TRUST,
        EXCHANGE,
    ),
    "trust_unexpected": ProblemKind(
        "It trusts certificates that it should not",
        "Run establish, which takes them out",
        ESTABLISH,
        FAULT,
        TRUST,
        EXCHANGE,
    ),
    "left_group": ProblemKind(
        "It trusts servers that are not in the inventory group",
        "Put them back into the group, or run the remove playbook for them",
        _REMOVE,
        FAULT,
        TRUST,
        BY_HAND,
    ),
    "other_trust_model": ProblemKind(
        "Its trust is by another model than its settings", _REGENERATE, REGENERATE, FAULT, TRUST, BY_HAND
    ),
    "damaged_shared_keys": ProblemKind(
        "A shared client key of a peer is damaged",
        "Run establish, which distributes it again",
        ESTABLISH,
        FAULT,
        SHARED_KEYS,
        EXCHANGE,
    ),
    "shared_keys_missing": ProblemKind(
        "It does not have the shared client keys of all its peers",
        "Run establish over the entire group, which distributes them; those of an external peer come in a folder: "
        "run apply",
        ESTABLISH,
        FAULT,
        SHARED_KEYS,
        EXCHANGE,
    ),
    "shared_keys_unexpected": ProblemKind(
        "It has shared client keys of peers that it should not have",
        "Run establish, which destroys them; in a change of the trust model the regenerate playbook does",
        ESTABLISH,
        FAULT,
        SHARED_KEYS,
        EXCHANGE,
    ),
    "ledger_missing": ProblemKind(
        "The ledger does not have certificates that it has",
        "Run establish; if its certificates were regenerated on purpose, name it in esync_accept_changed. "
        "Otherwise find out who changed them",
        _ACCEPT,
        FAULT,
        LEDGER,
        BY_HAND,
    ),
    "changed_certificate": ProblemKind(
        "It presents certificates that the ledger does not have", FROM_HOST, _ACCEPT, FAULT, LEDGER, BY_HAND
    ),
    "ledger_unexpected": ProblemKind(
        "The ledger has certificates that it no longer has",
        "Run establish or, in a rotation, regenerate, which finishes it",
        ESTABLISH,
        FAULT,
        LEDGER,
        EXCHANGE,
    ),
    "rotation_pending": ProblemKind(
        "A rotation of it has begun and not ended",
        "Wait for that run to end. If it was killed, run the regenerate playbook again, which finishes it",
        REGENERATE,
        FAULT,
        LEDGER,
        BY_HAND,
    ),
    "rotation_unreadable": ProblemKind(
        "Its note of a rotation is damaged, so nobody knows who has been rotating it",
        "See that no other run works on it, and let regenerate take the lock over",
        f"{REGENERATE} -e esync_take_over_lock=true",
        FAULT,
        LEDGER,
        BY_HAND,
    ),
    "clock_skew": ProblemKind(
        "Its clock is wrong",
        "Synchronise both clocks (chrony, systemd-timesyncd)",
        NO_COMMAND,
        FAULT,
        CLOCK,
        BY_HAND,
    ),
    "another_certificate_served": ProblemKind(
        "Its endpoint serves another certificate than the current one",
        "Run establish, which has the endpoint load what is in force; read the service's log if it does not",
        REPAIR,
        FAULT,
        ENDPOINT,
        RESTART,
    ),
    "endpoint_not_listening": ProblemKind(
        "Nothing serves a certificate on its eSync port",
        "Start the service; if it runs, stop it, then start it",
        REPAIR,
        FAULT,
        ENDPOINT,
        RESTART,
    ),
    PORT_TAKEN: ProblemKind(
        "Another process has its eSync port, so it could not be tested", FROM_HOST, NO_COMMAND, FAULT, ENDPOINT, BY_HAND
    ),
    "product_version_unknown": ProblemKind(
        "Its product version could not be found out", FROM_HOST, NO_COMMAND, FAULT, PRODUCT, BY_HAND
    ),
    "test_failed": ProblemKind(
        "It could not be read or tested", "Correct what it says, and run again", NO_COMMAND, FAULT, RUN, BY_HAND
    ),
}
"""Every kind that is made on the control node, and those of the hosts' errors that are common."""

OTHER = ProblemKind(
    "Something is wrong with its files", "Correct it, and run again", NO_COMMAND, FAULT, OWN_SET, BY_HAND
)
"""A kind that only the host knows."""

OWN_FILE_KINDS = frozenset(key for key, row in KINDS.items() if row.repair == AS_FOUND and key != "wrong_owner")
