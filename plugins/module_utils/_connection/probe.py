# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Connect from this server to many peers at once, and find out of each whether mutual TLS works, or why it does not."""

from __future__ import annotations

import contextlib
import datetime
import socket
import ssl
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple, Union

from ansible_collections.esync.mesh.plugins.module_utils._connection import causes as diagnosis
from ansible_collections.esync.mesh.plugins.module_utils._connection import tls
from ansible_collections.esync.mesh.plugins.module_utils._connection.causes import Diagnosis, PairEvidence
from ansible_collections.esync.mesh.plugins.module_utils._connection.protocols import (
    PROTOCOLS,
    Call,
    NotSpoken,
    Protocol,
)
from ansible_collections.esync.mesh.plugins.module_utils._connection.resolution import NotResolved, resolve
from ansible_collections.esync.mesh.plugins.module_utils._core.certificate import Validity
from ansible_collections.esync.mesh.plugins.module_utils._core.errors import EsyncError
from ansible_collections.esync.mesh.plugins.module_utils._core.names import (
    CLIENT,
    CURRENT,
    HTTP,
    PINNED,
    SERVER,
    SHARED_KEYS,
    STATES,
)

NONE, UNTRUSTED, SAME_SUBJECT, PLAIN = "none", "stranger", "stranger_same_subject", "plain"
OWN_CLIENT = "own_client"
MUST_BE_REFUSED = (NONE, UNTRUSTED, SAME_SUBJECT, SERVER, PLAIN)
PRESENT = (*STATES, *MUST_BE_REFUSED, OWN_CLIENT)

# What a site answers to a request for another name (RFC 9110, section 15.5.20).
_MISDIRECTED = 421

# How a balancer reports that no member is up.
_NOBODY_THERE = ("endpoint_not_listening", "not_tls")
_CLUSTER_POLL = 0.25
_GREETING_SECONDS = 2.0


@dataclass(frozen=True)
class Peer:
    """A peer to connect to.

    :param expected: fingerprint to state of the server certificates that it may present.
    :param site: the site of it that is meant; None: it has none. :param server_name: by which it is requested.
    :param protocol: a key of PROTOCOLS.
    :param members: if it is a cluster, whose address is its balancer's: server name to what may be expected of it.
    """

    name: str
    address: str
    port: int
    expected: Mapping[str, str]
    site: Optional[str] = None
    server_name: Optional[str] = None
    protocol: str = HTTP
    members: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    @property
    def spoken(self) -> Protocol:
        """The protocol itself."""
        return PROTOCOLS[self.protocol]()

    @property
    def sni(self) -> Optional[str]:
        """The name to ask for in the handshake."""
        return tls.sni_of(self.server_name or self.name)


@dataclass(frozen=True)
class ProbeSettings:
    """How to test.

    :param present: what to present to the peers, one of PRESENT.
    :param refused: whether a refusal is what is to be proved.
    :param require: the generations that a peer may serve.
    :param known: fingerprint to ``NAME role state``, of certificates that the trust on the disk does not hold.
    :param connect_timeout: seconds for each of connecting and the handshake.
    :param answer_timeout: seconds for the answer.
    :param product_version: this server's, to be compared with the peer's; None: not compared.
    :param trust_model: ``pinned``: this server presents its own client set; ``shared_keys``: to each peer the one that
        this peer shares with it.
    :param cluster_patience: seconds for a balancer to notice that a member of its cluster is up.
    """

    name: str
    directory: str
    present: str = CURRENT
    refused: bool = False
    require: Tuple[str, ...] = STATES
    known: Mapping[str, str] = field(default_factory=dict)
    concurrency: int = 16
    connect_timeout: float = 10
    answer_timeout: float = 15
    product_version: Optional[str] = None
    trust_model: str = PINNED
    cluster_patience: float = 0


@dataclass(frozen=True)
class ProbeOutcome:
    """The outcome of one connection.

    :param finding: what is wrong; None if bytes went both ways.
    :param refusal: whether the peer refused this caller, as opposed to any other failure.
    :param subject: to whom the served certificate is issued, if nothing more is known of it.
    :param peer: whose certificate was served; of a cluster one of its members, or the cluster if it was nobody's.
    :param cut: whether the connection ended after the handshake, without an answer and without a word.
    """

    finding: Optional[Diagnosis]
    refusal: bool = False
    handshake_ms: Optional[float] = None
    version: Optional[str] = None
    served: Optional[str] = None
    subject: Optional[str] = None
    peer: Optional[str] = None
    cut: bool = False


class _Ended(Exception):
    """A connection ended early, with its outcome."""

    def __init__(
        self,
        finding: Diagnosis,
        refusal: bool = False,
        served: Optional[str] = None,
        subject: Optional[str] = None,
        peer: Optional[str] = None,
    ) -> None:
        super().__init__()
        self.outcome = ProbeOutcome(finding, refusal, served=served, subject=subject, peer=peer)


def probe(peers: Sequence[Peer], settings: ProbeSettings) -> List[Dict[str, Any]]:
    """Test every peer, many at the same time.

    :returns: a result for each peer, in their order; if this server's own files cannot be used, all of them
        say so.
    """
    callers = _callers(peers, settings)

    def call(caller: Union[_Caller, Diagnosis], peer: Peer) -> ProbeOutcome:
        return ProbeOutcome(caller) if isinstance(caller, Diagnosis) else caller.call(peer)

    with ThreadPoolExecutor(max_workers=max(1, min(settings.concurrency, len(peers)))) as pool:
        outcomes = list(pool.map(call, callers, peers))
    return [
        _result(peer, outcome, settings, caller.presented if isinstance(caller, _Caller) else None)
        for peer, outcome, caller in zip(peers, outcomes, callers)
    ]


def probe_refusals(peers: Sequence[Peer], settings: ProbeSettings) -> List[Dict[str, Any]]:
    """Try to get in at every peer with each thing that it must refuse, one kind after the other.

    A peer that neither answers nor refuses is not tried with each, because that would cost all their time-outs; only
    whether it answers without TLS may be another matter.

    :returns: a result for each peer and kind, with ``present``.
    """
    found: List[Dict[str, Any]] = []
    silent: Dict[Tuple[str, Optional[str]], Dict[str, Any]] = {}
    # Where a server accepts only its own shared client key, it must refuse the caller's own client set.
    for present in (*MUST_BE_REFUSED, OWN_CLIENT) if settings.trust_model == SHARED_KEYS else MUST_BE_REFUSED:
        tried = [peer for peer in peers if (peer.name, peer.site) not in silent or present == PLAIN]
        results = probe(tried, replace(settings, present=present, refused=True)) if tried else []
        again = [(peer.name, peer.site) for peer in tried]
        known = [result for place, result in silent.items() if place not in again]
        found += [{**result, "present": present} for result in (*results, *known)]
        silent.update(
            {
                (str(result["to"]), result["site"]): result
                for result in results
                # What this server cannot present proves nothing about the peer.
                if result["verdict"] == "untested" and result["cause"] not in diagnosis.OWN_FILES
            }
        )
    return found


def attempts_for(members: int) -> int:
    """How many connections are made to a cluster: enough for a balancer that distributes to reach all members."""
    return min(16, max(2, 2 * members))


def probe_clusters(clusters: Sequence[Peer], settings: ProbeSettings) -> List[Dict[str, Any]]:
    """Call every cluster through its balancer, several times: whichever member answers, it must be a pinned one.

    :returns: a result for each cluster, in their order: ``cluster``, ``verdict``, ``cause``, ``detail``, ``remedy``,
        ``answered`` (server name to how often it did).
    """
    if not clusters:
        return []
    # Versions are compared with each member by itself.
    settings = replace(settings, product_version=None)
    caller = _prepared(settings, [None])[None]
    if isinstance(caller, Diagnosis):
        return [_cluster_result(cluster, [ProbeOutcome(caller)]) for cluster in clusters]
    calls = [cluster for cluster in clusters for _number in range(attempts_for(len(cluster.members)))]
    with ThreadPoolExecutor(max_workers=max(1, min(settings.concurrency, len(calls)))) as pool:
        # All that is asked before the rest is whether the balancer passes on what comes.
        list(pool.map(caller.await_member, clusters if settings.cluster_patience > 0 else ()))
        outcomes = list(zip(calls, pool.map(caller.call, calls)))
    return [_cluster_result(one, [outcome for called, outcome in outcomes if called is one]) for one in clusters]


def _cluster_result(cluster: Peer, outcomes: Sequence[ProbeOutcome]) -> Dict[str, Any]:
    bad = [outcome for outcome in outcomes if outcome.finding]
    finding = bad[0].finding if bad else None
    if finding:
        finding = diagnosis.diagnose_balanced(finding, cluster.name, bad[0].peer)
    answered = Counter(str(outcome.peer) for outcome in outcomes if not outcome.finding)
    some = f" {len(bad)} of {len(outcomes)} connections failed." if 0 < len(bad) < len(outcomes) else ""
    return {
        "cluster": cluster.name,
        "verdict": "failed" if finding else "ok",
        "cause": finding.cause if finding else None,
        "detail": f"{finding.detail}{some}" if finding else "",
        "remedy": finding.remedy if finding else "",
        "answered": {name: answered[name] for name in cluster.members if answered[name]},
    }


@dataclass(frozen=True)
class _Caller:
    """What all connections share.

    :param context: None to speak without TLS. :param by_handshake: the same without TLS 1.3, if it is needed for a
        protocol of which only the handshake can be proved. :param presented: the fingerprint of what is presented.
    :param known: whose a certificate is: fingerprint to ``NAME role state``.
    :param listens: for how many seconds it waits whether a peer says something by itself, before it asks.
    """

    settings: ProbeSettings
    context: Optional[ssl.SSLContext]
    own: Mapping[str, str]
    by_handshake: Optional[ssl.SSLContext] = None
    presented: Optional[str] = None
    validity: Optional[Validity] = None
    rsa_bits: Optional[int] = None
    known: Mapping[str, str] = field(default_factory=dict)
    listens: float = 0

    def call(self, peer: Peer) -> ProbeOutcome:
        """One connection, from the name to the answer."""
        pair = PairEvidence(
            self.settings.name,
            peer.name,
            peer.address,
            peer.port,
            peer.expected,
            self.settings.require,
            self.known,
            self.own,
            peer.site,
            cluster=peer.name if peer.members else "",
            members=peer.members,
        )
        by_handshake = peer.spoken.by_handshake
        context = self.by_handshake if by_handshake else self.context
        outcome = self._connection(pair, peer, context)
        if by_handshake and outcome.finding and outcome.finding.cause == "tls_version_refused":
            context = self.context
            outcome = self._connection(pair, peer, context)
        # A service that is no HTTP server hangs up on the request, now and then before what it said has arrived.
        if outcome.cut and not self.settings.refused:
            listening = replace(self, listens=min(_GREETING_SECONDS, self.settings.answer_timeout))
            outcome = listening._connection(pair, peer, context)
        return outcome

    def _connection(self, pair: PairEvidence, peer: Peer, context: Optional[ssl.SSLContext]) -> ProbeOutcome:
        try:
            raw, family, address = self._connect(pair)
            with contextlib.closing(raw):
                if context is None:
                    return self._plain(raw, pair, peer)
                return self._encrypted(raw, pair, peer, context, family, address)
        except _Ended as ended:
            return ended.outcome

    def await_member(self, cluster: Peer) -> None:
        """Wait until a balancer passes connections on: one that looks after its members notices late that one is up."""
        end = time.monotonic() + self.settings.cluster_patience
        while True:
            finding = self.call(cluster).finding
            if finding is None or finding.cause not in _NOBODY_THERE or time.monotonic() >= end:
                return
            time.sleep(_CLUSTER_POLL)

    def _connect(self, pair: PairEvidence) -> Tuple[socket.socket, int, Any]:
        waited = self.settings.connect_timeout
        problem: OSError = OSError()
        try:
            places = resolve(pair.address, pair.port, waited)
        except NotResolved as error:
            raise _Ended(diagnosis.diagnose_resolution(pair, str(error))) from None
        for family, kind, protocol, _name, address in places:
            try:
                # A name can have addresses of a family that this host does not have.
                raw = socket.socket(family, kind, protocol)
            except OSError as error:
                problem = problem if problem.errno else error
                continue
            raw.settimeout(waited)
            try:
                raw.connect(address)
                raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                return raw, family, address
            except OSError as error:
                raw.close()
                problem = error
        raise _Ended(diagnosis.diagnose_connection(pair, problem, waited))

    def _plain(self, raw: socket.socket, pair: PairEvidence, peer: Peer) -> ProbeOutcome:
        """Speak without TLS: whatever is not a proper answer is a refusal."""
        with contextlib.suppress(OSError):
            if peer.spoken.answers_in_plain(raw, self._call_of(peer)):
                return ProbeOutcome(None)
        return ProbeOutcome(self._refused(pair, "when it spoke without TLS", None), refusal=True)

    def _encrypted(
        self, raw: socket.socket, pair: PairEvidence, peer: Peer, context: ssl.SSLContext, family: int, address: Any
    ) -> ProbeOutcome:
        started = time.monotonic()
        try:
            peer.spoken.begin(raw)
        except NotSpoken as words:
            raise _Ended(Diagnosis("not_tls", f"{pair.place} {words}.")) from None
        except OSError as error:
            timed_out = isinstance(error, socket.timeout)
            raise _Ended(diagnosis.diagnose_cut_handshake(pair, self.settings.connect_timeout, timed_out)) from None
        secured = self._handshake(raw, pair, peer, context, family, address)
        elapsed = round((time.monotonic() - started) * 1000, 1)
        with secured:
            served = tls.fingerprint_of(secured.getpeercert(binary_form=True) or b"")
            version = secured.version()
            pair = diagnosis.answering(pair, served)
            # Nothing is sent to a server that is not the pinned one.
            finding = diagnosis.check_served(pair, served)
            refusal = False
            if finding is None:
                finding, refusal = self._converse(secured, pair, peer)
        cut = refusal and finding is not None and finding.cause == "no_answer_after_handshake"
        return ProbeOutcome(finding, refusal, elapsed, version, served, peer=pair.peer, cut=cut)

    def _handshake(
        self, raw: socket.socket, pair: PairEvidence, peer: Peer, context: ssl.SSLContext, family: int, address: Any
    ) -> ssl.SSLSocket:
        waited = self.settings.connect_timeout
        try:
            return context.wrap_socket(raw, server_hostname=peer.sni)
        except ssl.SSLCertVerificationError as error:
            raise self._unverified(pair, peer, error.verify_code, family, address) from None
        except ssl.SSLError as error:
            alert = tls.alert_of(error)
            if alert in diagnosis.CERTIFICATE_ALERTS or (alert == "handshake_failure" and self.presented is None):
                raise _Ended(self._refused(pair, f"with the alert {alert}", alert), refusal=True) from None
            # Some versions of Python report an end without a goodbye as an orderly one.
            if isinstance(error, (ssl.SSLEOFError, ssl.SSLZeroReturnError)):
                raise _Ended(diagnosis.diagnose_cut_handshake(pair, waited, timed_out=False)) from None
            raise _Ended(diagnosis.diagnose_tls(pair, tls.reason_of(error), alert)) from None
        except socket.timeout:
            raise _Ended(diagnosis.diagnose_cut_handshake(pair, waited, timed_out=True)) from None
        except OSError:
            raise _Ended(diagnosis.diagnose_cut_handshake(pair, waited, timed_out=False)) from None

    def _unverified(self, pair: PairEvidence, peer: Peer, code: int, family: int, address: Any) -> _Ended:
        der = self._unaccepted(pair, peer, family, address)
        served = tls.fingerprint_of(der) if der else None
        pair = diagnosis.answering(pair, served or "")
        validity = tls.validity_of(der) if der else None
        now = _now()
        own_not_yet = bool(self.validity and now < self.validity.not_before)
        finding = diagnosis.diagnose_unverified(pair, code, served, validity, now, own_not_yet)
        return _Ended(finding, served=served, subject=tls.subject_of(der) if der else None, peer=pair.peer)

    def _unaccepted(self, pair: PairEvidence, peer: Peer, family: int, address: Any) -> Optional[bytes]:
        """The certificate that OpenSSL did not accept, read over further connections; None if it is not known.

        A balancer may lead them to somebody else, so the one that is looked for is one with which something is wrong.
        """
        seen = []
        for _number in range(attempts_for(len(peer.members)) if peer.members else 1):
            der = tls.read_served(address, family, self.settings.connect_timeout, peer.sni, peer.spoken.begin)
            if der is None:
                break
            fingerprint, validity, now = tls.fingerprint_of(der), tls.validity_of(der), _now()
            timely = validity is not None and validity.not_before <= now <= validity.not_after
            if not timely or diagnosis.check_served(diagnosis.answering(pair, fingerprint), fingerprint):
                return der
            seen.append(der)
        return seen[0] if len(set(seen)) == 1 else None

    def _converse(self, secured: ssl.SSLSocket, pair: PairEvidence, peer: Peer) -> Tuple[Optional[Diagnosis], bool]:
        """Exchange bytes both ways. With TLS 1.3 a refusal shows only here."""
        waited = self.settings.answer_timeout
        try:
            reply = peer.spoken.ask(secured, self._call_of(peer))
        except ssl.SSLError as error:
            alert = tls.alert_of(error)
            if alert:
                return self._refused(pair, f"with the alert {alert}", alert), True
            return diagnosis.diagnose_silence(pair, waited, timed_out=False), False
        except socket.timeout:
            return diagnosis.diagnose_silence(pair, waited, timed_out=True), False
        except OSError:
            # Reset after the handshake: how some servers end what they do not accept.
            return self._cut(pair), True
        if reply.cut and peer.spoken.by_handshake:
            # That it ends without a word is how some end what they do accept.
            return diagnosis.diagnose_silence(pair, waited, timed_out=False), False
        if reply.cut:
            return self._cut(pair), True
        if reply.refused:
            return self._refused(pair, reply.refused, None), True
        if reply.status == _MISDIRECTED and pair.site:
            return diagnosis.diagnose_misdirected(pair), False
        return diagnosis.check_answer(pair, reply.body, self.settings.product_version), False

    def _cut(self, pair: PairEvidence) -> Diagnosis:
        if self.settings.refused:
            return self._refused(pair, "by closing the connection", None)
        return diagnosis.diagnose_silence(pair, self.settings.answer_timeout, timed_out=False)

    def _refused(self, pair: PairEvidence, how: str, alert: Optional[str]) -> Diagnosis:
        return diagnosis.diagnose_refusal(pair, how, alert, self.presented, self.validity, _now(), self.rsa_bits)

    def _call_of(self, peer: Peer) -> Call:
        return Call(
            self.settings.name,
            peer.server_name or peer.address,
            peer.port,
            peer.name if peer.members else "",
            self.presented is not None,
            self.settings.answer_timeout,
            self.listens,
        )


def _callers(peers: Sequence[Peer], settings: ProbeSettings) -> List[Union[_Caller, Diagnosis]]:
    """For each peer what it is called with, or why it cannot be."""
    alike = settings.trust_model != SHARED_KEYS or settings.present not in (*STATES, SAME_SUBJECT)
    by_handshake = any(peer.spoken.by_handshake for peer in peers)
    prepared = _prepared(settings, [None] if alike else [peer.name for peer in peers], by_handshake)
    return [prepared[None if alike else peer.name] for peer in peers]


def _prepared(
    settings: ProbeSettings, peers: Sequence[Optional[str]], by_handshake: bool = False
) -> Dict[Optional[str], Union[_Caller, Diagnosis]]:
    """What this server presents to each peer, or why its files cannot be used.

    :param peers: None for all alike. :param by_handshake: whether the handshake is all that can be proved of some.

    :raises EsyncError: something else than its files is wrong.
    """
    own = tls.own_certificates(settings.directory)
    untrusted = tls.Untrusted(settings.directory)
    trust: Optional[tls.LoadedTrust] = None
    prepared: Dict[Optional[str], Union[_Caller, Diagnosis]] = {}
    for peer in dict.fromkeys(peers):
        try:
            if trust is None and settings.present != PLAIN:
                trust = tls.read_trust(settings.directory)
            prepared[peer] = _prepare(settings, own, trust, untrusted, peer, by_handshake)
        except EsyncError as error:
            finding = diagnosis.diagnose_own_files(settings.name, error)
            if finding is None:
                raise
            prepared[peer] = finding
    return prepared


def _prepare(
    settings: ProbeSettings,
    own: Mapping[str, str],
    trust: Optional[tls.LoadedTrust],
    untrusted: tls.Untrusted,
    peer: Optional[str],
    by_handshake: bool,
) -> _Caller:
    """What this server presents to all of its peers, or to one of them if it depends on the peer.

    :param trust: the one in force; None to speak without TLS.
    :raises EsyncError: its files cannot be used.
    """
    if trust is None:
        return _Caller(settings, None, own)
    known = {entry.fingerprint: f"{entry.peer} {entry.role} {entry.state}" for entry in trust.entries}
    known.update(settings.known)
    context = tls.client_context(trust)
    handshake = tls.client_context(trust) if by_handshake else None
    if handshake:
        handshake.maximum_version = ssl.TLSVersion.TLSv1_2
    if settings.present == NONE:
        return _Caller(settings, context, own, handshake, known=known)
    credential = _credential(settings, untrusted, peer)
    for one in filter(None, (context, handshake)):
        tls.load_credential(one, credential)
    der = credential.der
    return _Caller(
        settings,
        context,
        own,
        handshake,
        credential.fingerprint,
        tls.validity_of(der),
        tls.rsa_bits_of(der),
        known,
    )


def _credential(settings: ProbeSettings, untrusted: tls.Untrusted, peer: Optional[str]) -> tls.Credential:
    """The certificate that is presented.

    :param peer: to whom; None: to all alike.
    :raises EsyncError: kinds ``no_certificate``, ``not_handed``, ``damaged_file``.
    """
    present, directory = settings.present, settings.directory
    if present == UNTRUSTED:
        return untrusted.own()
    if present == SAME_SUBJECT:
        return untrusted.own(settings.name) if peer is None else untrusted.of_peer(peer)
    state, role = (present, CLIENT) if present in STATES else (CURRENT, SERVER)
    if peer is not None:
        return tls.read_shared_key(directory, peer, state)
    return tls.read_credential(directory, state, CLIENT if present == OWN_CLIENT else role)


def _result(peer: Peer, outcome: ProbeOutcome, settings: ProbeSettings, presented: Optional[str]) -> Dict[str, Any]:
    finding = outcome.finding
    verdict = "failed" if finding else "ok"
    if settings.refused:
        # Only a refusal proves that the peer refuses; a closed port proves nothing.
        if finding is None:
            finding = Diagnosis(
                "not_refused", f"{peer.name} answered {settings.name}, which presented: {settings.present}."
            )
            verdict = "failed"
        elif outcome.refusal:
            finding = None
            verdict = "ok"
        else:
            verdict = "untested"
    return {
        "to": peer.name,
        "site": peer.site,
        "verdict": verdict,
        "cause": finding.cause if finding else None,
        "detail": finding.detail if finding else "",
        "remedy": finding.remedy if finding else "",
        "handshake_ms": outcome.handshake_ms,
        "tls": outcome.version,
        "server_fingerprint": outcome.served,
        "client_fingerprint": presented,
        "served": peer.expected.get(outcome.served or ""),
        "served_subject": outcome.subject,
    }


def _now() -> datetime.datetime:
    return datetime.datetime.now(datetime.timezone.utc)
