# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Evidence becomes exactly one cause; that real connections give this evidence is tested with the probe."""

from __future__ import annotations

import dataclasses
import datetime
import errno
import json
import socket
from typing import Any

import pytest

from ansible_collections.esync.mesh.plugins.module_utils._connection import causes as diagnosis
from ansible_collections.esync.mesh.plugins.module_utils._connection.causes import (
    CAUSES,
    Diagnosis,
    PairEvidence,
    Validity,
)
from ansible_collections.esync.mesh.plugins.module_utils._core.errors import EsyncError

NOW = datetime.datetime(2026, 11, 23, 12, 0, tzinfo=datetime.timezone.utc)
DAY = datetime.timedelta(days=1)
VALID = Validity(NOW - DAY, NOW + DAY)
SHARED_KEYS = Validity(NOW - 2 * DAY, NOW - DAY)
TO_COME = Validity(NOW + DAY, NOW + 2 * DAY)
A, B, C, D, E, F, G = (letter * 64 for letter in "abcdef0")
PAIR = PairEvidence(
    "alpha",
    "bravo",
    "10.0.0.2",
    8732,
    expected={A: "current", B: "next"},
    require=("current",),
    known={
        A: "bravo server current",
        C: "bravo client current",
        D: "charlie server current",
        E: "charlie client current",
        F: "bravo server previous",
    },
    own={"1" * 64: "server current", "2" * 64: "client current"},
)


def test_a_finding_has_the_remedy_of_the_table_unless_there_is_a_better_one() -> None:
    assert Diagnosis("not_tls", "x").remedy == CAUSES["not_tls"].remedy
    assert Diagnosis("not_tls", "x", "Do that.").remedy == "Do that."


def test_the_place_of_an_address_with_colons() -> None:
    assert PAIR.place == "bravo (10.0.0.2:8732)"
    assert PairEvidence("a", "b", "fe80::1", 1, {}).place == "b ([fe80::1]:1)"


# -- the caller's own files ------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["no_certificate", "no_trust", "key_mismatch", "damaged_file", "certificate_too_weak"])
def test_own_files(kind: str) -> None:
    found = diagnosis.diagnose_own_files("alpha", EsyncError("it is empty", "x", kind=kind, path="/x/server.key"))
    assert found
    assert found.cause == kind
    assert found.detail == "alpha cannot use /x/server.key: it is empty."


def test_what_is_wrong_with_something_else_than_files() -> None:
    assert diagnosis.diagnose_own_files("alpha", EsyncError("x", "y", kind="missing_dependency")) is None


# -- before TLS ------------------------------------------------------------------------------------------------


def test_names() -> None:
    found = diagnosis.diagnose_resolution(PAIR, "Name or service not known")
    assert found.cause == "name_not_resolved"
    assert "Name or service not known" in found.detail
    assert "10.0.0.2" in found.detail and "bravo" in found.detail and "alpha" in found.detail


@pytest.mark.parametrize(
    ("error", "cause", "said"),
    [
        (socket.timeout(), "connection_timed_out", "within 0.5 s"),
        (OSError(errno.ETIMEDOUT, ""), "connection_timed_out", "within 0.5 s"),
        (OSError(errno.ECONNREFUSED, ""), "endpoint_not_listening", "refused the connection"),
        (OSError(errno.ECONNRESET, ""), "not_tls", "closed the connection"),
        (OSError(errno.EHOSTUNREACH, ""), "host_unreachable", "no route to host"),
        (OSError(errno.ENETUNREACH, ""), "host_unreachable", "network is unreachable"),
        (OSError(), "host_unreachable", "no reason given"),
    ],
)
def test_connections(error: OSError, cause: str, said: str) -> None:
    found = diagnosis.diagnose_connection(PAIR, error, 0.5)
    assert found.cause == cause
    assert said in found.detail
    assert "bravo (10.0.0.2:8732)" in found.detail and "alpha" in found.detail


# -- the handshake ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reason", "alert", "cause"),
    [
        ("TLSV1_ALERT_PROTOCOL_VERSION", "protocol_version", "tls_version_refused"),
        ("SSLV3_ALERT_HANDSHAKE_FAILURE", "handshake_failure", "tls_version_refused"),
        ("TLSV1_ALERT_INSUFFICIENT_SECURITY", "insufficient_security", "tls_version_refused"),
        ("UNSUPPORTED_PROTOCOL", None, "tls_version_refused"),
        ("DH_KEY_TOO_SMALL", None, "tls_version_refused"),
        ("TLSV1_ALERT_INTERNAL_ERROR", "internal_error", "tls_failed"),
        ("TLSV1_UNRECOGNIZED_NAME", "unrecognized_name", "tls_failed"),
        ("WRONG_VERSION_NUMBER", None, "not_tls"),
        ("HTTP_REQUEST", None, "not_tls"),
        ("SOMETHING_NEW", None, "tls_failed"),
        ("", None, "tls_failed"),
    ],
)
def test_handshakes(reason: str, alert: Any, cause: str) -> None:
    found = diagnosis.diagnose_tls(PAIR, reason, alert)
    assert found.cause == cause
    assert "bravo (10.0.0.2:8732)" in found.detail and "alpha" in found.detail


@pytest.mark.parametrize(("timed_out", "said"), [(True, "within 2 s"), (False, "closed the connection in the middle")])
def test_handshakes_that_were_cut(timed_out: bool, said: str) -> None:
    found = diagnosis.diagnose_cut_handshake(PAIR, 2, timed_out)
    assert (found.cause, said in found.detail) == ("not_tls", True)


SERVED = [
    (A, None, ""),
    (B, "stale_generation_served", "its next certificate"),
    (F, "stale_generation_served", "its previous certificate"),
    (C, "wrong_role", "the client certificate of bravo"),
    (E, "wrong_role", "the client certificate of charlie"),
    (D, "another_server_answers", "charlie"),
    ("1" * 64, "self_connection", "its own server certificate"),
    ("2" * 64, "wrong_role", "the client certificate of alpha"),
    (G, "server_certificate_unknown", G),
]


@pytest.mark.parametrize(("fingerprint", "cause", "said"), SERVED)
def test_the_served_certificate(fingerprint: str, cause: Any, said: str) -> None:
    found = diagnosis.check_served(PAIR, fingerprint)
    assert (found.cause if found else None) == cause
    if found:
        assert said in found.detail
        assert "bravo (10.0.0.2:8732)" in found.detail and "alpha" in found.detail


def test_the_served_certificate_of_a_peer_that_nothing_is_known_of() -> None:
    found = diagnosis.check_served(PairEvidence("alpha", "bravo", "x", 1, {}), A)
    assert found and found.cause == "server_certificate_unknown"
    assert "none, because no certificate of it is known" in found.detail


@pytest.mark.parametrize(
    ("code", "served", "validity", "own_not_yet", "cause", "said"),
    [
        (diagnosis.EXPIRED, A, SHARED_KEYS, False, "server_certificate_expired", "2026-11-22T12:00:00Z"),
        (diagnosis.EXPIRED, B, SHARED_KEYS, False, "server_certificate_expired", "has expired"),
        (diagnosis.EXPIRED, None, None, False, "server_certificate_expired", "2026-11-23T12:00:00Z"),
        (diagnosis.EXPIRED, D, SHARED_KEYS, False, "another_server_answers", "charlie"),
        (diagnosis.EXPIRED, G, SHARED_KEYS, False, "server_certificate_unknown", G),
        (diagnosis.NOT_YET_VALID, A, TO_COME, False, "server_certificate_not_yet_valid", "2026-11-24T12:00:00Z"),
        (diagnosis.NOT_YET_VALID, A, TO_COME, True, "clock_skew", "seems to be slow"),
        (diagnosis.WRONG_PURPOSE, A, VALID, False, "wrong_role", "not meant for servers"),
        (66, A, VALID, False, "certificate_too_weak", "verification error 66"),
        (67, None, None, False, "certificate_too_weak", "the OpenSSL policy of alpha"),
        (68, D, VALID, False, "another_server_answers", "charlie"),
        (18, A, VALID, False, "server_certificate_unknown", "verification error 18"),
        (18, B, VALID, False, "stale_generation_served", "its next certificate"),
        (18, "1" * 64, VALID, False, "self_connection", "its own"),
        (18, None, None, False, "server_certificate_unknown", A),
    ],
)
def test_certificates_that_openssl_did_not_accept(
    code: int, served: Any, validity: Any, own_not_yet: bool, cause: str, said: str
) -> None:
    found = diagnosis.diagnose_unverified(PAIR, code, served, validity, NOW, own_not_yet)
    assert found.cause == cause
    assert said in found.detail


def test_a_certificate_that_only_the_trust_on_the_disk_lacks() -> None:
    found = diagnosis.diagnose_unverified(PAIR, 18, A, VALID, NOW, False)
    assert found.remedy == "Run establish for alpha, so that its trust is brought up to date."


# -- after the handshake ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("alert", "bits", "cause"),
    [
        ("bad_certificate", 2048, "certificate_too_weak"),
        ("bad_certificate", 3072, "client_certificate_refused"),
        ("bad_certificate", None, "client_certificate_refused"),
        ("unknown_ca", 2048, "client_certificate_refused"),
    ],
)
def test_a_small_key_that_was_refused_is_the_likely_cause(alert: str, bits: Any, cause: str) -> None:
    found = diagnosis.diagnose_refusal(PAIR, "with the alert x", alert, A, VALID, NOW, bits)
    assert found.cause == cause and ("2048 bits" in found.detail) == (cause == "certificate_too_weak")


@pytest.mark.parametrize(
    ("alert", "shown", "validity", "cause", "said"),
    [
        ("unknown_ca", A, VALID, "client_certificate_refused", "with the alert x"),
        (None, None, None, "client_certificate_refused", "refused alpha"),
        ("certificate_expired", A, SHARED_KEYS, "client_certificate_expired", "2026-11-22T12:00:00Z"),
        ("bad_certificate", A, SHARED_KEYS, "client_certificate_expired", "expired at"),
        ("certificate_expired", A, None, "client_certificate_expired", ""),
        ("certificate_expired", A, VALID, "clock_skew", "the clock of bravo seems to be fast"),
        ("bad_certificate", A, TO_COME, "clock_skew", "not valid before 2026-11-24T12:00:00Z"),
        ("unsupported_certificate", A, VALID, "wrong_role", "not meant for clients"),
    ],
)
def test_refusals(alert: Any, shown: Any, validity: Any, cause: str, said: str) -> None:
    found = diagnosis.diagnose_refusal(PAIR, "with the alert x", alert, shown, validity, NOW)
    assert found.cause == cause
    assert said in found.detail
    assert shown is None or diagnosis.short(shown) in found.detail


@pytest.mark.parametrize(("timed_out", "said"), [(True, "nothing within 3 s"), (False, "without a byte")])
def test_silence(timed_out: bool, said: str) -> None:
    found = diagnosis.diagnose_silence(PAIR, 3, timed_out)
    assert (found.cause, said in found.detail) == ("no_answer_after_handshake", True)


@pytest.mark.parametrize(
    ("body", "version", "cause"),
    [
        (b"", "1", None),
        (b"<html>", "1", None),
        (b"[]", "1", None),
        (b"[" * 100000, "1", None),
        (b"\xff", "1", None),
        (json.dumps({"server": 7}).encode(), "1", None),
        (json.dumps({"server": "bravo"}).encode(), "1", None),
        (json.dumps({"server": "bravo", "peer": "alpha", "product_version": "1"}).encode(), "1", None),
        (json.dumps({"server": "bravo", "peer": None, "product_version": None}).encode(), "1", None),
        (json.dumps({"server": "bravo", "product_version": "2"}).encode(), None, None),
        (json.dumps({"server": "charlie"}).encode(), "1", "another_server_answers"),
        (json.dumps({"server": "bravo", "peer": "charlie"}).encode(), "1", "taken_for_another"),
        (json.dumps({"server": "bravo", "peer": "alpha", "product_version": "2"}).encode(), "1", "version_mismatch"),
    ],
)
def test_what_the_peer_says_of_itself(body: bytes, version: Any, cause: Any) -> None:
    found = diagnosis.check_answer(PAIR, body, version)
    assert (found.cause if found else None) == cause


def test_what_a_foreign_peer_says_cannot_fill_the_report() -> None:
    for said in ({"server": "x" * 9999}, {"server": "bravo", "peer": "x" * 9999}):
        found = diagnosis.check_answer(PAIR, json.dumps(said).encode(), None)
        assert found and len(found.detail) < 300


def test_short_fingerprints() -> None:
    assert diagnosis.short(A) == "a" * 16 + "..."
    assert diagnosis.short(None) == "none"


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ({"server": "bravo", "generation": A, "site": "shop"}, None),
        # A service of another make knows nothing of sites.
        ({"server": "bravo"}, None),
        ({"server": "bravo", "generation": A, "site": "news"}, "its site 'news' answered"),
        ({"server": "bravo", "generation": A}, "an endpoint that knows of no site answered"),
    ],
)
def test_another_site_answers(said: Any, words: Any) -> None:
    found = diagnosis.check_answer(dataclasses.replace(PAIR, site="shop"), json.dumps(said).encode(), None)
    assert (found.cause if found else None) == ("another_site_answers" if words else None)
    if found:
        assert words in found.detail and "bravo [shop] (" in found.detail
        assert "esync_endpoint_sites" in found.remedy
    # Beside attached services, the endpoint on the eSync port is called as if it were a site.
    assert diagnosis.check_answer(dataclasses.replace(PAIR, site="esync"), json.dumps(said).encode(), None) is None
    # A server that has no sites by the inventory, as an external peer has none for us, may have some all the same.
    assert diagnosis.check_answer(PAIR, json.dumps({**said, "site": "shop"}).encode(), None) is None


def test_a_site_that_is_not_served_is_told() -> None:
    found = diagnosis.diagnose_misdirected(dataclasses.replace(PAIR, site="shop"))
    assert (found.cause, "bravo [shop] (" in found.detail) == ("another_site_answers", True)


# -- through a balancer ----------------------------------------------------------------------------------------

WEB = PairEvidence(
    "alpha",
    "web",
    "10.0.0.9",
    8732,
    expected={A: "current", B: "next", D: "current"},
    known=PAIR.known,
    own=PAIR.own,
    cluster="web",
    members={"bravo": {A: "current", B: "next"}, "charlie": {D: "current"}},
)


def test_whose_certificate_is_served_is_who_answers() -> None:
    assert WEB.place == "the cluster web (10.0.0.9:8732)"
    for fingerprint, member in ((A, "bravo"), (B, "bravo"), (D, "charlie"), (F, "bravo")):
        found = diagnosis.answering(WEB, fingerprint)
        assert found.peer == member and found.expected == WEB.members[member]
        assert found.place == f"{member} of cluster web (10.0.0.9:8732)"
    for fingerprint in (G, "1" * 64):
        assert diagnosis.answering(WEB, fingerprint) == WEB
    assert diagnosis.answering(PAIR, A) == PAIR


@pytest.mark.parametrize("fingerprint", [A, B, D])
def test_any_member_is_right(fingerprint: str) -> None:
    assert diagnosis.check_served(diagnosis.answering(WEB, fingerprint), fingerprint) is None


@pytest.mark.parametrize(
    ("fingerprint", "cause", "said"),
    [
        (F, "stale_generation_served", "bravo of cluster web (10.0.0.9:8732) serves its previous certificate"),
        (G, "server_certificate_unknown", "expects one of the 3 certificates of its members"),
        ("1" * 64, "self_connection", "Where alpha looked for the cluster web (10.0.0.9:8732)"),
        ("3" * 64, "another_server_answers", "the server certificate of delta was served"),
        (C, "wrong_role", "serves alpha the client certificate of bravo"),
    ],
)
def test_whatever_else_is_served_through_a_balancer(fingerprint: str, cause: str, said: str) -> None:
    pair = dataclasses.replace(WEB, known={**WEB.known, "3" * 64: "delta server current"})
    found = diagnosis.check_served(diagnosis.answering(pair, fingerprint), fingerprint)
    assert found
    assert (found.cause, said in found.detail) == (cause, True), found.detail


def test_what_it_means_if_nobody_of_the_cluster_answered() -> None:
    for cause in CAUSES:
        found = diagnosis.diagnose_balanced(Diagnosis(cause, "Seen."), "web", None)
        assert found.cause == cause and found.detail.startswith("Seen.") and found.remedy
        assert diagnosis.diagnose_balanced(Diagnosis(cause, "Seen."), "web", "web") == found
    ended = diagnosis.diagnose_balanced(Diagnosis("server_certificate_unknown", "Seen."), "web", "web")
    assert "TLS may be ending at the balancer" in ended.detail and "TCP mode" in ended.remedy
    for cause in ("another_server_answers", "self_connection"):
        assert "the balancer's list" in diagnosis.diagnose_balanced(Diagnosis(cause, "Seen."), "web", "web").remedy
    for cause in ("endpoint_not_listening", "host_unreachable", "connection_timed_out", "not_tls"):
        assert "the balancer" in diagnosis.diagnose_balanced(Diagnosis(cause, "Seen."), "web", None).remedy


def test_what_it_means_if_a_member_was_served() -> None:
    plain = Diagnosis("client_certificate_refused", "Seen.")
    assert diagnosis.diagnose_balanced(plain, "web", "bravo") == plain
    for cause in ("another_server_answers", "taken_for_another"):
        found = diagnosis.diagnose_balanced(Diagnosis(cause, "Seen."), "web", "bravo")
        assert (found.cause, "TLS may be ending at the balancer" in found.detail) == (cause, True)


def test_the_name_of_a_balancer_that_cannot_be_resolved() -> None:
    assert "the address of the cluster web" in diagnosis.diagnose_resolution(WEB, "no answer").detail
