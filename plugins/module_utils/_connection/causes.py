# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is concluded from the evidence of a pair: exactly one cause of the table in cause_table.py.

Everything here is pure; the evidence is collected by probe.py. The caller is the server that connects, the peer the one
that is connected to.
"""

from __future__ import annotations

import datetime
import errno
import os
import socket
from dataclasses import replace
from typing import Any, Dict, Optional, Tuple

from ansible_collections.esync.mesh.plugins.module_utils._connection.cause_table import CAUSES, Cause
from ansible_collections.esync.mesh.plugins.module_utils._connection.evidence import (
    Diagnosis,
    PairEvidence,
    short,
    utc_text,
)
from ansible_collections.esync.mesh.plugins.module_utils._core import json_text
from ansible_collections.esync.mesh.plugins.module_utils._core.certificate import Validity
from ansible_collections.esync.mesh.plugins.module_utils._core.errors import EsyncError
from ansible_collections.esync.mesh.plugins.module_utils._core.names import (
    CLIENT,
    CURRENT,
    ESYNC_PORT,
    SERVER,
    UNKNOWN,
)

__all__ = ["CAUSES", "Cause", "Diagnosis", "PairEvidence", "Validity", "short"]

# -- the caller's own files -------------------------------------------------------------------------------------

OWN_FILES = frozenset(
    {"no_certificate", "not_handed", "no_trust", "key_mismatch", "damaged_file", "certificate_too_weak"}
)
"""The causes that lie on the caller's own disk."""


def diagnose_own_files(server: str, error: EsyncError) -> Optional[Diagnosis]:
    """The caller's own files cannot be used, so none of its peers can be tested.

    :returns: ``None`` if ``error`` is about something else than a file.
    """
    if error.kind not in OWN_FILES:
        return None
    return Diagnosis(error.kind, f"{server} cannot use {error.path}: {error.cause}.")


# -- before TLS -----------------------------------------------------------------------------------------------


def diagnose_resolution(pair: PairEvidence, why: str) -> Diagnosis:
    """The name could not be resolved."""
    return Diagnosis(
        "name_not_resolved", f"{pair.server} cannot resolve {pair.address!r}, the address of {pair.called}: {why}."
    )


def diagnose_connection(pair: PairEvidence, error: OSError, waited: float) -> Diagnosis:
    """No TCP connection came about within ``waited`` seconds."""
    if isinstance(error, socket.timeout) or error.errno == errno.ETIMEDOUT:
        return Diagnosis(
            "connection_timed_out", f"{pair.place} did not answer within {waited:g} s when {pair.server} connected."
        )
    if error.errno == errno.ECONNREFUSED:
        return Diagnosis("endpoint_not_listening", f"{pair.place} refused the connection of {pair.server}.")
    if error.errno == errno.ECONNRESET:
        # The connection stood, and was cut before a word was said.
        return diagnose_cut_handshake(pair, waited, timed_out=False)
    why = os.strerror(error.errno).lower() if error.errno else "no reason given"
    return Diagnosis("host_unreachable", f"{pair.server} cannot reach {pair.place}: {why}.")


# -- the handshake --------------------------------------------------------------------------------------------

_NOT_TLS = (
    "WRONG_VERSION_NUMBER",
    "HTTP_REQUEST",
    "HTTPS_PROXY_REQUEST",
    "UNKNOWN_PROTOCOL",
    "RECORD_LAYER_FAILURE",
    "PACKET_LENGTH_TOO_LONG",
    "UNEXPECTED_MESSAGE",
    "BAD_RECORD_TYPE",
    "DATA_LENGTH_TOO_LONG",
    "ENCRYPTED_LENGTH_TOO_LONG",
)
_NO_VERSION = (
    "UNSUPPORTED_PROTOCOL",
    "VERSION_TOO_LOW",
    "NO_PROTOCOLS_AVAILABLE",
    "WRONG_SSL_VERSION",
    "NO_SHARED_CIPHER",
    "DH_KEY_TOO_SMALL",
    "WRONG_CIPHER_RETURNED",
    "UNSUPPORTED_SIGNATURE",
    "WRONG_SIGNATURE_TYPE",
    "BAD_PROTOCOL_VERSION_NUMBER",
)
_VERSION_ALERTS = ("protocol_version", "insufficient_security", "handshake_failure")

CERTIFICATE_ALERTS = frozenset(
    {
        "unknown_ca",
        "bad_certificate",
        "certificate_required",
        "certificate_unknown",
        "certificate_expired",
        "certificate_revoked",
        "unsupported_certificate",
        "access_denied",
        "decrypt_error",
        "no_certificate",
    }
)
"""The alerts by which a TLS server refuses the caller's certificate (RFC 8446, section 6.2)."""


def diagnose_cut_handshake(pair: PairEvidence, waited: float, timed_out: bool) -> Diagnosis:
    """The peer took the TCP connection and then fell silent, or cut it, in the middle of the handshake."""
    if timed_out:
        what = f"took the connection, but did not answer the TLS handshake within {waited:g} s"
    else:
        what = "closed the connection in the middle of the TLS handshake"
    return Diagnosis("not_tls", f"{pair.place} {what} of {pair.server}.")


def diagnose_tls(pair: PairEvidence, reason: str, alert: Optional[str]) -> Diagnosis:
    """The handshake failed for a reason that is not a certificate.

    :param reason: OpenSSL's reason, such as ``WRONG_VERSION_NUMBER``.
    :param alert: the alert received, such as ``protocol_version``.
    """
    if alert in _VERSION_ALERTS or any(word in reason for word in _NO_VERSION):
        shown = f"alert {alert}" if alert else reason.lower().replace("_", " ")
        return Diagnosis(
            "tls_version_refused", f"{pair.place} and {pair.server} have no TLS version or cipher in common ({shown})."
        )
    if alert:
        return Diagnosis("tls_failed", f"{pair.place} ended the TLS handshake of {pair.server} with the alert {alert}.")
    if any(word in reason for word in _NOT_TLS):
        return Diagnosis(
            "not_tls", f"{pair.place} answered the TLS handshake of {pair.server} with something else than TLS."
        )
    shown = reason.lower().replace("_", " ") or "no reason given"
    return Diagnosis("tls_failed", f"The TLS handshake of {pair.server} with {pair.place} failed: {shown}.")


def check_served(pair: PairEvidence, fingerprint: str) -> Optional[Diagnosis]:
    """Compare the served certificate with the exact fingerprints expected of the peer.

    :param fingerprint: SHA-256 of the served certificate. :returns: ``None`` if it is right.
    """
    state = pair.expected.get(fingerprint)
    if state in pair.require:
        return None
    if fingerprint in pair.own:
        role = pair.own[fingerprint].split()[0]
        if role == SERVER:
            return Diagnosis(
                "self_connection",
                f"Where {pair.server} looked for {pair.place} its own server certificate was served: "
                f"{short(fingerprint)}.",
            )
        return _wrong_role(pair, fingerprint, pair.server)
    if state is not None:
        return _stale(pair, fingerprint, state)
    owner, role, known_state = _split(pair.known.get(fingerprint, ""))
    if role == CLIENT:
        return _wrong_role(pair, fingerprint, owner)
    if owner and owner != pair.peer:
        return Diagnosis(
            "another_server_answers",
            f"Where {pair.server} looked for {pair.place} the server certificate of {owner} was served: "
            f"{short(fingerprint)}.",
        )
    if owner and known_state:
        return _stale(pair, fingerprint, known_state)
    wanted = pair.wanted
    return Diagnosis(
        "server_certificate_unknown",
        f"{pair.place} serves {fingerprint}, which nobody in the mesh is known to own; {pair.server} expects {wanted}.",
    )


def diagnose_unverified(
    pair: PairEvidence,
    code: int,
    served: Optional[str],
    validity: Optional[Validity],
    now: datetime.datetime,
    own_not_yet: bool,
) -> Diagnosis:
    """OpenSSL did not accept the served certificate.

    :param code: OpenSSL's X509_V_ERR number. :param served: the fingerprint, if it could be read.
    :param validity: of the served certificate, if it could be read. :param own_not_yet: whether the caller's own
        certificate is not valid yet by the caller's own clock, which is then the one that is wrong.
    """
    if served is not None:
        finding = check_served(pair, served)
        if finding is not None and finding.cause != "stale_generation_served":
            return finding
    shown = f" {short(served)}" if served else ""
    dates = f" (from {utc_text(validity.not_before)} to {utc_text(validity.not_after)})" if validity else ""
    clock = f"the clock of {pair.server} says {utc_text(now)}"
    if code == EXPIRED:
        return Diagnosis(
            "server_certificate_expired",
            f"The certificate{shown} that {pair.place} serves has expired{dates}; {clock}.",
        )
    if code == NOT_YET_VALID:
        if own_not_yet:
            return Diagnosis(
                "clock_skew",
                f"By the clock of {pair.server} neither its own certificate nor that of {pair.place}{dates} "
                f"is valid yet; {clock}, which seems to be slow.",
            )
        return Diagnosis(
            "server_certificate_not_yet_valid",
            f"The certificate{shown} that {pair.place} serves is not valid yet{dates}; {clock}. "
            "One made a moment ago is set back by a day, so a clock may be wrong by more than that.",
        )
    if code in TOO_WEAK:
        return Diagnosis(
            "certificate_too_weak",
            f"The certificate{shown} that {pair.place} serves is too weak for the OpenSSL policy of {pair.server} "
            f"(verification error {code}).",
        )
    if code == WRONG_PURPOSE:
        return Diagnosis("wrong_role", f"The certificate{shown} that {pair.place} serves is not meant for servers.")
    if served is not None:
        stale = check_served(pair, served)
        if stale is not None:
            return stale
        return Diagnosis(
            "server_certificate_unknown",
            f"{pair.place} serves the certificate{shown} that the ledger expects, but the trust on the disk of "
            f"{pair.server} does not accept it (verification error {code}).",
            f"Run establish for {pair.server}, so that its trust is brought up to date.",
        )
    return Diagnosis(
        "server_certificate_unknown",
        f"{pair.place} serves a certificate that {pair.server} does not trust (verification error {code}); "
        f"expected is {pair.wanted}.",
    )


# X509_V_ERR_* of OpenSSL's x509_vfy.h; Python's ssl has no names for them.
NOT_YET_VALID = 9
EXPIRED = 10
WRONG_PURPOSE = 26
# The key of the certificate or of its issuer is too small, or the digest too weak.
TOO_WEAK = (66, 67, 68)
STRONG_RSA = 3072
"""Bits from which on an RSA key is accepted at OpenSSL's security level 3 (SSL_CTX_set_security_level(3))."""


# -- after the handshake --------------------------------------------------------------------------------------


def diagnose_refusal(
    pair: PairEvidence,
    how: str,
    alert: Optional[str],
    presented: Optional[str],
    validity: Optional[Validity],
    now: datetime.datetime,
    rsa_bits: Optional[int] = None,
) -> Diagnosis:
    """The peer refused the caller's certificate.

    :param how: the evidence in words, such as ``with the alert unknown_ca``. :param alert: the alert, if it was one.
    :param presented: the fingerprint of the certificate that was presented; :param validity: its dates, if known.
    :param rsa_bits: the size of its key, if that is an RSA key.
    """
    what = f"the client certificate {short(presented)} of {pair.server}" if presented else f"{pair.server}"
    if validity and now > validity.not_after:
        return Diagnosis(
            "client_certificate_expired",
            f"{pair.place} refused {what} {how}; it expired at {utc_text(validity.not_after)}.",
        )
    if validity and now < validity.not_before:
        return Diagnosis(
            "clock_skew",
            f"{pair.place} refused {what} {how}; by the clock of {pair.server}, which says {utc_text(now)}, "
            f"it is not valid before {utc_text(validity.not_before)}.",
        )
    if alert == "certificate_expired":
        if validity:
            return Diagnosis(
                "clock_skew",
                f"{pair.place} says that {what} has expired, which by the clock of {pair.server} ({utc_text(now)}) "
                f"happens only at {utc_text(validity.not_after)}: the clock of {pair.peer} seems to be fast.",
            )
        return Diagnosis("client_certificate_expired", f"{pair.place} refused {what} {how}.")
    if alert == "bad_certificate" and rsa_bits and rsa_bits < STRONG_RSA:
        return Diagnosis(
            "certificate_too_weak",
            f"{pair.place} refused {what} {how}, as OpenSSL does with a key that is too small for its policy; this one "
            f"is RSA with {rsa_bits} bits.",
        )
    if alert == "unsupported_certificate":
        return Diagnosis("wrong_role", f"{pair.place} refused {what} {how}: it is not meant for clients.")
    return Diagnosis("client_certificate_refused", f"{pair.place} refused {what} {how}.")


def diagnose_silence(pair: PairEvidence, waited: float, timed_out: bool) -> Diagnosis:
    """The handshake went well, and then no byte came back."""
    what = f"sent nothing within {waited:g} s" if timed_out else "closed the connection without a byte"
    return Diagnosis("no_answer_after_handshake", f"{pair.place} {what} after the handshake with {pair.server}.")


def check_answer(pair: PairEvidence, body: bytes, product_version: Optional[str]) -> Optional[Diagnosis]:
    """Compare what the peer says of itself, if it speaks our JSON, with what is expected.

    :param body: the body of the answer. :param product_version: the caller's own, if it has one.
    :returns: ``None`` if nothing speaks against the pair.
    """
    said = health_of(body)
    if said is None:
        return None
    if said["server"] != pair.peer:
        return Diagnosis(
            "another_server_answers",
            f"Where {pair.server} looked for {pair.place} a server answered that calls itself {said['server'][:64]!r}.",
        )
    # Only endpoints of ours report a generation; services of other makes know nothing of sites.
    if pair.site not in (None, ESYNC_PORT) and "generation" in said and said.get("site") != pair.site:
        site = said.get("site")
        what = f"its site {str(site)[:64]!r}" if site else "an endpoint that knows of no site"
        return _another_site(pair, f"{what} answered")
    seen = said.get("peer")
    # An endpoint that shares its own client set with all of its peers does not know who calls.
    if isinstance(seen, str) and seen not in ("", UNKNOWN, pair.server):
        return Diagnosis("taken_for_another", f"{pair.place} takes {pair.server} for {seen[:64]!r}.")
    theirs = said.get("product_version")
    if product_version and isinstance(theirs, str) and theirs and theirs != product_version:
        return Diagnosis(
            "version_mismatch", f"{pair.peer} runs {theirs[:64]!r}, {pair.server} runs {product_version!r}."
        )
    return None


def diagnose_misdirected(pair: PairEvidence) -> Diagnosis:
    """The peer says that the site is none that it serves there."""
    return _another_site(pair, "another site, which knows nothing of it, answered")


def health_of(body: bytes) -> Optional[Dict[str, Any]]:
    """The health answer of an endpoint of ours, or ``None`` for anything else."""
    try:
        said = json_text.loads(body)
    except ValueError:
        return None
    if not isinstance(said, dict) or not isinstance(said.get("server"), str):
        return None
    return said


# -- through a load balancer ----------------------------------------------------------------------------------


def answering(pair: PairEvidence, fingerprint: str) -> PairEvidence:
    """The pair with that member of the called cluster whose certificate was served; unchanged if it is no member's."""
    owner = _split(pair.known.get(fingerprint, ""))[0]
    for member, expected in pair.members.items():
        if fingerprint in expected or member == owner:
            return replace(pair, peer=member, expected=expected)
    return pair


def diagnose_balanced(finding: Diagnosis, cluster: str, peer: Optional[str]) -> Diagnosis:
    """What a finding means if the connection went through a cluster's load balancer.

    :param peer: the member whose certificate was served, if one was.
    """
    row = CAUSES[finding.cause]
    different = row.balancer if peer in (None, cluster) else row.member
    detail = f"{finding.detail} {different.hint}".strip()
    return Diagnosis(finding.cause, detail, different.remedy or finding.remedy)


# -- parts of sentences ----------------------------------------------------------------------------------------


def _stale(pair: PairEvidence, fingerprint: str, state: str) -> Diagnosis:
    wanted = " or ".join(pair.require) if pair.require else CURRENT
    return Diagnosis(
        "stale_generation_served",
        f"{pair.place} serves its {state} certificate {short(fingerprint)}; {pair.server} requires the {wanted} one: "
        f"{pair.wanted}.",
    )


def _another_site(pair: PairEvidence, what: str) -> Diagnosis:
    return Diagnosis("another_site_answers", f"Where {pair.server} looked for {pair.place} {what}.")


def _wrong_role(pair: PairEvidence, fingerprint: str, owner: str) -> Diagnosis:
    return Diagnosis(
        "wrong_role", f"{pair.place} serves {pair.server} the client certificate of {owner}: {short(fingerprint)}."
    )


def _split(text: str) -> Tuple[str, str, str]:
    parts = (text.split() + ["", "", ""])[:3]
    return parts[0], parts[1], parts[2]
