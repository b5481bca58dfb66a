# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Why a pair fails: one table of causes, and the functions that turn evidence into one of them.

Messages, reports and docs/diagnosis.md are made from the table. Everything here is pure; the evidence is collected by
probe.py. The caller is the server that connects, the peer the one that is connected to.
"""

from __future__ import annotations

import datetime
import errno
import json
import os
import socket
from dataclasses import dataclass, field, replace
from typing import Any, Dict, Mapping, NamedTuple, Optional, Tuple

from ansible_collections.esync.mesh.plugins.module_utils._core.certificate import Validity
from ansible_collections.esync.mesh.plugins.module_utils._core.errors import EsyncError
from ansible_collections.esync.mesh.plugins.module_utils._core.names import CLIENT, CURRENT, SERVER, STATES, UNKNOWN


class Cause(NamedTuple):
    """A row of the table, in plain words.

    :param title: what happened, a few words. :param cause: why. :param remedy: what to do.
    """

    title: str
    cause: str
    remedy: str


CAUSES: Dict[str, Cause] = {
    "name_not_resolved": Cause(
        "The peer's address cannot be resolved",
        "The caller's resolver knows no address for the name under which the peer is listed.",
        "Correct esync_address of the peer, or make the name known on the caller (DNS or /etc/hosts).",
    ),
    "host_unreachable": Cause(
        "No way to the peer",
        "The network says that the peer's address cannot be reached: the host is down, there is no route, "
        "or a firewall rejects the connection.",
        "Start the peer, and look at routes and firewalls between the two; correct esync_address if it is wrong.",
    ),
    "connection_timed_out": Cause(
        "The peer does not answer the connection",
        "Nothing came back, neither yes nor no: as a rule a firewall drops the packets, or the host is down.",
        "Allow TCP from the caller to the peer's eSync port in the firewalls on the way, and see that the peer is up.",
    ),
    "endpoint_not_listening": Cause(
        "Nothing listens on the peer's eSync port",
        "The peer's host refused the connection: the eSync service is not started, or uses another port.",
        "Start the service on the peer and see that it listens on esync_port. If it is hosted but exists already, "
        "stop it, then start it.",
    ),
    "not_tls": Cause(
        "What listens there does not speak TLS",
        "The port answers with something else than TLS, or takes the connection and says nothing: "
        "another service has the port, or the right one hangs.",
        "See which process listens (ss -ltnp on the peer). Correct esync_port, or stop the service, then start it.",
    ),
    "tls_version_refused": Cause(
        "No TLS version or cipher in common",
        "The peer offers nothing from TLS 1.2 on, or no cipher suite that the caller takes.",
        "Allow TLS 1.2 and 1.3 in the peer's service, or update it. Older versions are not safe and are not used.",
    ),
    "tls_failed": Cause(
        "The TLS connection failed",
        "The two could not agree, for a reason that says nothing about certificates.",
        "Look into the log of the peer's service at this moment; stop the service, then start it.",
    ),
    "server_certificate_unknown": Cause(
        "The peer shows a certificate that nobody expects",
        "Neither the ledger nor the caller's trust know the certificate that the peer's endpoint serves: "
        "its certificates were made anew without an exchange, or something else answers.",
        "If the peer's certificates were made anew on purpose, run establish with esync_accept_changed for it. "
        "Otherwise find out what answers at its address before you trust it.",
    ),
    "server_certificate_expired": Cause(
        "The peer's certificate has expired",
        "The certificate is the expected one, but its time is over.",
        "Run the regenerate playbook; it works over ssh, also when every certificate has expired.",
    ),
    "server_certificate_not_yet_valid": Cause(
        "The peer's certificate is not valid yet",
        "The certificate is the expected one, but its time begins later than the caller's clock says.",
        "Compare the clocks of both servers (timedatectl) and mend the wrong one; then test again.",
    ),
    "stale_generation_served": Cause(
        "The peer still serves another generation",
        "The peer's files were changed, but its endpoint serves a generation other than the required one: "
        "it was not reloaded, or its reload failed.",
        "Reload the peer's service and look at what the reload says; if that does not help, stop it, then start it.",
    ),
    "another_server_answers": Cause(
        "Another member of the mesh answers",
        "At the peer's address and port a different server answers: addresses are mixed up.",
        "Correct esync_address and esync_port in the inventory, or the name's entry in DNS or /etc/hosts.",
    ),
    "another_site_answers": Cause(
        "Another site of the peer answers",
        "Where one site of the peer was looked for another one answers, or an endpoint that knows of no sites: "
        "what is served there is not what the inventory describes.",
        "Run establish for the peer. If that does not help, correct port and server_name of the site in "
        "esync_endpoint_sites, and look for another program that has them.",
    ),
    "self_connection": Cause(
        "The caller reached itself",
        "The peer's address leads back to the caller, which served its own certificate.",
        "Correct esync_address of the peer, and look for a name in /etc/hosts that points to 127.0.0.1 or 127.0.1.1.",
    ),
    "wrong_role": Cause(
        "A certificate is used in the wrong role",
        "A client certificate is served as the server's, or a server certificate shown as the client's.",
        "Point the service at current/server.crt and current/server.key, callers at current/client.crt and client.key.",
    ),
    "client_certificate_refused": Cause(
        "The peer refuses the caller's certificate",
        "The peer does not trust the certificate that the caller shows: its trust lacks the caller, "
        "or its endpoint has not taken up the trust that lies on its disk.",
        "Run establish for both; if the peer's trust holds the caller already, reload the peer's service.",
    ),
    "client_certificate_expired": Cause(
        "The caller's certificate has expired",
        "The peer refuses the caller because the time of its client certificate is over.",
        "Run the regenerate playbook; it works over ssh, also when every certificate has expired.",
    ),
    "taken_for_another": Cause(
        "The peer takes the caller for another server",
        "The peer accepted the certificate, but knows it under another name: its trust is mixed up.",
        "Run establish for both, so that the peer's trust is written anew; then reload its service.",
    ),
    "no_certificate": Cause(
        "The caller has no such certificate",
        "There is no set of the wanted generation on the caller, so it has nothing to show.",
        "Run establish, which makes the sets.",
    ),
    "not_handed": Cause(
        "The caller was not handed the peer's client set",
        "The peer accepts only its own client set (esync_trust_model: shared_keys), and the caller does not have it, "
        "or not the wanted generation of it.",
        "Run establish for both, which hands the client sets over; that of an external peer comes in a "
        "folder: run apply.",
    ),
    "no_trust": Cause(
        "The caller has no trust in force",
        "There are no certificates of the other servers on the caller, so it can accept none of them.",
        "Run establish, which exchanges the certificates.",
    ),
    "key_mismatch": Cause(
        "Key and certificate do not belong together",
        "The private key on the caller is not the one of the certificate beside it.",
        "Restore the files, or make new ones: the regenerate playbook, or esync_discard_existing.",
    ),
    "damaged_file": Cause(
        "A file on the caller is damaged or missing",
        "A certificate, key or trust file cannot be read.",
        "Restore the file. For the server's own set also esync_discard_existing helps, for the trust run establish.",
    ),
    "no_answer_after_handshake": Cause(
        "No answer after the handshake",
        "The TLS connection came about, but the peer closed it or said nothing when it was asked: "
        "its service hangs, has trouble behind TLS, or refuses without saying so.",
        "Look into the log of the peer's service; stop it, then start it. "
        "See also that the peer's trust holds the caller.",
    ),
    "clock_skew": Cause(
        "A clock is wrong",
        "The certificates' times cannot be right on both sides: the clock of the caller or the peer is off.",
        "Compare the clocks of both servers (timedatectl), mend the wrong one and let both follow a time server.",
    ),
    "version_mismatch": Cause(
        "The product versions differ",
        "The two servers run different versions of the product, which must be the same in the whole mesh.",
        "Update the older one.",
    ),
    "not_refused": Cause(
        "The peer let somebody in whom it must refuse",
        "The endpoint answered a caller without a trusted certificate: it does not check, or trusts too many.",
        "Let the service demand certificates and trust only trusted/clients.pem; reload it, and test again.",
    ),
    "host_failed": Cause(
        "A server failed before the test",
        "One of the two servers ended with an error earlier in the run, so the pair was not tested.",
        "Read that error in the output of the run, mend its cause and run again.",
    ),
    "not_tested": Cause(
        "The pair was not tested",
        "Both servers took part, but the caller returned no result for the pair.",
        "Look at what went wrong before in the output of the run, and run again.",
    ),
}


@dataclass(frozen=True)
class Diagnosis:
    """What was found out about a pair.

    :param cause: a key of CAUSES. :param detail: the evidence in words, with names, addresses and fingerprints.
    :param remedy: what to do; that of the table unless something better is known.
    """

    cause: str
    detail: str
    remedy: str = ""

    def __post_init__(self) -> None:
        if not self.remedy:
            object.__setattr__(self, "remedy", CAUSES[self.cause].remedy)


@dataclass(frozen=True)
class PairEvidence:
    """One directed pair, and what is known before the test.

    :param server: the caller's name. :param peer: the peer's name.
    :param address: a name or an address. :param port: TCP.
    :param expected: the peer's server certificates: fingerprint to state.
    :param require: the states that the peer may serve.
    :param known: every other fingerprint of the mesh: to ``NAME role state``.
    :param own: the caller's own certificates: fingerprint to ``role state``.
    :param site: the site of the peer that is meant; None: it has none.
    :param cluster: the name of the cluster whose balancer is called; until it is known which member
        answers, the peer is called so, too. :param members: the cluster's members: name to what is expected of each.
    """

    server: str
    peer: str
    address: str
    port: int
    expected: Mapping[str, str]
    require: Tuple[str, ...] = STATES
    known: Mapping[str, str] = field(default_factory=dict)
    own: Mapping[str, str] = field(default_factory=dict)
    site: Optional[str] = None
    cluster: str = ""
    members: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    @property
    def place(self) -> str:
        """Peer, address and port for messages."""
        address = f"[{self.address}]" if ":" in self.address else self.address
        return f"{self.called} ({address}:{self.port})"

    @property
    def called(self) -> str:
        """The peer for messages."""
        if not self.cluster:
            return f"{self.peer} [{self.site}]" if self.site else self.peer
        return f"the cluster {self.cluster}" if self.peer == self.cluster else f"{self.peer} of cluster {self.cluster}"


# -- the caller's own files -------------------------------------------------------------------------------------

OWN_FILES = frozenset({"no_certificate", "not_handed", "no_trust", "key_mismatch", "damaged_file"})
"""The causes that lie on the caller's own disk."""


def judge_own_files(server: str, error: EsyncError) -> Optional[Diagnosis]:
    """The caller's own files cannot be used, so none of its peers can be tested.

    :returns: ``None`` if ``error`` is about something else than a file.
    """
    if error.kind not in OWN_FILES:
        return None
    return Diagnosis(error.kind, f"{server} cannot use {error.path}: {error.cause}.")


# -- before TLS -----------------------------------------------------------------------------------------------


def judge_resolution(pair: PairEvidence, error: Optional[BaseException], waited: float) -> Diagnosis:
    """The name could not be resolved; without ``error`` nothing came back in ``waited`` seconds."""
    if error is None:
        why = f"the resolver did not answer within {waited:g} s"
    elif isinstance(error, socket.gaierror) and error.strerror:
        why = str(error.strerror)
    else:
        why = "it is neither a valid host name nor an address"
    return Diagnosis(
        "name_not_resolved", f"{pair.server} cannot resolve {pair.address!r}, the address of {pair.called}: {why}."
    )


def judge_connection(pair: PairEvidence, error: OSError, waited: float) -> Diagnosis:
    """No TCP connection came about within ``waited`` seconds."""
    if isinstance(error, socket.timeout) or error.errno == errno.ETIMEDOUT:
        return Diagnosis(
            "connection_timed_out", f"{pair.place} did not answer within {waited:g} s when {pair.server} connected."
        )
    if error.errno == errno.ECONNREFUSED:
        return Diagnosis("endpoint_not_listening", f"{pair.place} refused the connection of {pair.server}.")
    if error.errno == errno.ECONNRESET:
        # The connection stood, and was cut before a word was said.
        return judge_cut_handshake(pair, waited, timed_out=False)
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


def judge_cut_handshake(pair: PairEvidence, waited: float, timed_out: bool) -> Diagnosis:
    """The peer took the TCP connection and then fell silent, or cut it, in the middle of the handshake."""
    if timed_out:
        what = f"took the connection, but did not answer the TLS handshake within {waited:g} s"
    else:
        what = "closed the connection in the middle of the TLS handshake"
    return Diagnosis("not_tls", f"{pair.place} {what} of {pair.server}.")


def judge_tls(pair: PairEvidence, reason: str, alert: Optional[str]) -> Diagnosis:
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


def judge_served(pair: PairEvidence, fingerprint: str) -> Optional[Diagnosis]:
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
    wanted = _listed(pair)
    return Diagnosis(
        "server_certificate_unknown",
        f"{pair.place} serves {fingerprint}, which nobody in the mesh is known to own; {pair.server} expects {wanted}.",
    )


def judge_unverified(
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
        finding = judge_served(pair, served)
        if finding is not None and finding.cause != "stale_generation_served":
            return finding
    shown = f" {short(served)}" if served else ""
    dates = f" (from {_time(validity.not_before)} to {_time(validity.not_after)})" if validity else ""
    clock = f"the clock of {pair.server} says {_time(now)}"
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
    if code == WRONG_PURPOSE:
        return Diagnosis("wrong_role", f"The certificate{shown} that {pair.place} serves is not meant for servers.")
    if served is not None:
        stale = judge_served(pair, served)
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
        f"expected is {_listed(pair)}.",
    )


# X509_V_ERR_* of OpenSSL's x509_vfy.h; Python's ssl has no names for them.
NOT_YET_VALID = 9
EXPIRED = 10
WRONG_PURPOSE = 26


# -- after the handshake --------------------------------------------------------------------------------------


def judge_refusal(
    pair: PairEvidence,
    how: str,
    alert: Optional[str],
    shown: Optional[str],
    validity: Optional[Validity],
    now: datetime.datetime,
) -> Diagnosis:
    """The peer refused the caller's certificate.

    :param how: the evidence in words, such as ``with the alert unknown_ca``. :param alert: the alert, if it was one.
    :param shown: the fingerprint of the certificate that was presented; :param validity: its dates, if known.
    """
    what = f"the client certificate {short(shown)} of {pair.server}" if shown else f"{pair.server}"
    if validity and now > validity.not_after:
        return Diagnosis(
            "client_certificate_expired",
            f"{pair.place} refused {what} {how}; it expired at {_time(validity.not_after)}.",
        )
    if validity and now < validity.not_before:
        return Diagnosis(
            "clock_skew",
            f"{pair.place} refused {what} {how}; by the clock of {pair.server}, which says {_time(now)}, "
            f"it is not valid before {_time(validity.not_before)}.",
        )
    if alert == "certificate_expired":
        if validity:
            return Diagnosis(
                "clock_skew",
                f"{pair.place} says that {what} has expired, which by the clock of {pair.server} ({_time(now)}) "
                f"happens only at {_time(validity.not_after)}: the clock of {pair.peer} seems to be fast.",
            )
        return Diagnosis("client_certificate_expired", f"{pair.place} refused {what} {how}.")
    if alert == "unsupported_certificate":
        return Diagnosis("wrong_role", f"{pair.place} refused {what} {how}: it is not meant for clients.")
    return Diagnosis("client_certificate_refused", f"{pair.place} refused {what} {how}.")


def judge_silence(pair: PairEvidence, waited: float, timed_out: bool) -> Diagnosis:
    """The handshake went well, and then no byte came back."""
    what = f"sent nothing within {waited:g} s" if timed_out else "closed the connection without a byte"
    return Diagnosis("no_answer_after_handshake", f"{pair.place} {what} after the handshake with {pair.server}.")


def judge_answer(pair: PairEvidence, body: bytes, product_version: Optional[str]) -> Optional[Diagnosis]:
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
    # Only endpoints of ours tell a generation; services of other makes know nothing of sites.
    if pair.site and "generation" in said and said.get("site") != pair.site:
        site = said.get("site")
        what = f"its site {str(site)[:64]!r}" if site else "an endpoint that knows of no site"
        return _another_site(pair, f"{what} answered")
    seen = said.get("peer")
    # An endpoint that handed its own client set to all of its peers does not know who calls.
    if isinstance(seen, str) and seen not in ("", UNKNOWN, pair.server):
        return Diagnosis("taken_for_another", f"{pair.place} takes {pair.server} for {seen[:64]!r}.")
    theirs = said.get("product_version")
    if product_version and isinstance(theirs, str) and theirs and theirs != product_version:
        return Diagnosis(
            "version_mismatch", f"{pair.peer} runs {theirs[:64]!r}, {pair.server} runs {product_version!r}."
        )
    return None


def judge_misdirected(pair: PairEvidence) -> Diagnosis:
    """The peer says that the site is none that it serves there."""
    return _another_site(pair, "another site, which knows nothing of it, answered")


def health_of(body: bytes) -> Optional[Dict[str, Any]]:
    """The health answer of an endpoint of ours, or ``None`` for anything else."""
    try:
        said = json.loads(body.decode("utf-8"))
    except (ValueError, RecursionError):
        return None
    if not isinstance(said, dict) or not isinstance(said.get("server"), str):
        return None
    return said


# -- through a balancer ---------------------------------------------------------------------------------------


def answering(pair: PairEvidence, fingerprint: str) -> PairEvidence:
    """The pair with that member of the called cluster whose certificate was served; as it is if it is none's."""
    owner = _split(pair.known.get(fingerprint, ""))[0]
    for member, expected in pair.members.items():
        if fingerprint in expected or member == owner:
            return replace(pair, peer=member, expected=expected)
    return pair


_ENDS_AT_BALANCER = (
    "TLS may be ending at the balancer, which then shows a certificate that is not the one of who answers."
)
_PASS_THROUGH = (
    "Let the balancer pass the connection on as it comes, without ending TLS (TCP mode). If it does, and a member's "
    "certificates were made anew on purpose, run establish with esync_accept_changed for that member."
)
_LISTED = (
    "Take that server out of the balancer's list for this cluster, or give it the cluster's esync_cluster; "
    "see also that the address in esync_cluster is the balancer's."
)
_BALANCER_REMEDIES = {
    "name_not_resolved": "Correct the address in esync_cluster, or make the name known on the caller "
    "(DNS or /etc/hosts).",
    "host_unreachable": "Start the balancer, and look at routes and firewalls between the caller and it; "
    "correct the address in esync_cluster if it is wrong.",
    "connection_timed_out": "Allow TCP from the caller to the balancer in the firewalls on the way, "
    "and see that the balancer is up.",
    "endpoint_not_listening": "Start the balancer, and see that it listens on the port in esync_cluster.",
    "not_tls": "See that the balancer takes at least one member for up, and that it passes the connection on "
    "as it comes: TCP mode, without the PROXY protocol.",
    "server_certificate_unknown": _PASS_THROUGH,
    "another_server_answers": _LISTED,
    "self_connection": _LISTED,
}


def judge_balanced(finding: Diagnosis, cluster: str, peer: Optional[str]) -> Diagnosis:
    """What a finding means if the connection went through a cluster's balancer.

    :param peer: the member whose certificate was served, if one was.
    """
    if peer in (None, cluster):
        detail = finding.detail
        if finding.cause == "server_certificate_unknown":
            detail = f"{detail} {_ENDS_AT_BALANCER}"
        return Diagnosis(finding.cause, detail, _BALANCER_REMEDIES.get(finding.cause, finding.remedy))
    if finding.cause in ("another_server_answers", "taken_for_another"):
        # Served was the certificate of one, the answer is another's, or was got under another name.
        return Diagnosis(finding.cause, f"{finding.detail} {_ENDS_AT_BALANCER}", _PASS_THROUGH)
    return finding


# -- words ----------------------------------------------------------------------------------------------------


def short(fingerprint: Optional[str]) -> str:
    """A fingerprint that can be recognised and still be read."""
    return f"{fingerprint[:16]}..." if fingerprint else "none"


def markdown() -> str:
    """The table as docs/diagnosis.md shows it, key by key."""
    lines = []
    for key, row in CAUSES.items():
        lines += [f"## `{key}`", "", f"**{row.title}.** {row.cause}", "", f"What to do: {row.remedy}", ""]
    return "\n".join(lines)


def _stale(pair: PairEvidence, fingerprint: str, state: str) -> Diagnosis:
    wanted = " or ".join(pair.require) if pair.require else CURRENT
    return Diagnosis(
        "stale_generation_served",
        f"{pair.place} serves its {state} certificate {short(fingerprint)}; {pair.server} requires the {wanted} one: "
        f"{_listed(pair)}.",
    )


def _another_site(pair: PairEvidence, what: str) -> Diagnosis:
    return Diagnosis("another_site_answers", f"Where {pair.server} looked for {pair.place} {what}.")


def _wrong_role(pair: PairEvidence, fingerprint: str, owner: str) -> Diagnosis:
    return Diagnosis(
        "wrong_role", f"{pair.place} serves {pair.server} the client certificate of {owner}: {short(fingerprint)}."
    )


def _listed(pair: PairEvidence) -> str:
    if pair.members and pair.peer == pair.cluster:
        return f"one of the {len(pair.expected)} certificates of its members"
    found = [f"{fingerprint} ({state})" for fingerprint, state in pair.expected.items() if state in pair.require]
    return ", ".join(found) or "none, for no certificate of it is known"


def _split(text: str) -> Tuple[str, str, str]:
    parts = (text.split() + ["", "", ""])[:3]
    return parts[0], parts[1], parts[2]


def _time(moment: datetime.datetime) -> str:
    return moment.astimezone(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
