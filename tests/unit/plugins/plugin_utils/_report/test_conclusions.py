# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.esync.mesh.plugins.plugin_utils._report.conclusions import View, conclude, view_of

OLD, NEW, CLIENT, OTHER = (digit * 64 for digit in "0123")


def result(cause: str | None = None, **more: Any) -> dict[str, Any]:
    return {
        "to": "b",
        "verdict": "failed" if cause else "ok",
        "cause": cause,
        "detail": "Seen." if cause else "",
        "remedy": "Do." if cause else "",
        "server_fingerprint": None,
        "client_fingerprint": CLIENT,
        **more,
    }


def told(found: dict[str, Any], view: View | None, refusals: list[dict[str, Any]] | None = None) -> dict[str, Any]:
    return conclude("a", found, refusals or [], view)


def test_a_pair_that_works_stays_as_it_is() -> None:
    assert told(result(), View({}, {NEW: "current"}, True, OTHER)) == result()


@pytest.mark.parametrize("cause", ["client_certificate_refused", "server_certificate_unknown", "connection_timed_out"])
def test_a_peer_outside_the_run_adds_nothing(cause: str) -> None:
    assert told(result(cause, server_fingerprint=OLD), None) == result(cause, server_fingerprint=OLD)


@pytest.mark.parametrize(
    ("clients", "detail", "remedy"),
    [
        ({CLIENT: "a"}, "The trust on the disk of b has this certificate", "Reload the service of b"),
        (
            {OTHER: "a"},
            f"missing in the trust on the disk of b: it has {OTHER[:16]}... of a.",
            "esync_accept_changed=a",
        ),
        ({OTHER: "c"}, "missing in the trust on the disk of b: it has none of a.", "Run establish for both"),
        ({}, "it has none of a.", "Run establish for both"),
    ],
)
def test_a_refusal_is_told_by_the_peers_trust(clients: dict[str, str], detail: str, remedy: str) -> None:
    found = told(result("client_certificate_refused"), View(clients))
    assert found["cause"] == "client_certificate_refused"
    assert found["detail"].startswith("Seen. ") and detail in found["detail"] and remedy in found["remedy"]


def test_a_trust_that_may_have_changed_since_says_nothing() -> None:
    assert told(result("client_certificate_refused"), View(None)) == result("client_certificate_refused")


@pytest.mark.parametrize(
    ("seen", "subject", "served", "cause", "detail"),
    [
        (OLD, "b", OLD, "stale_generation_served", f"b itself serves it, but has {NEW[:16]}... as its current"),
        (OLD, "other", OLD, "server_certificate_unknown", f"b itself serves it, but has {NEW[:16]}... as its current"),
        (NEW, "b", NEW, "server_certificate_unknown", "It is the current certificate on the disk of b"),
        (OLD, "b", NEW, "server_certificate_unknown", f"On b itself its port serves {NEW[:16]}..., so something else"),
        (OLD, "b", None, "server_certificate_unknown", "Seen."),
    ],
)
def test_an_unknown_certificate_is_told_by_what_the_peer_has(
    seen: str, subject: str, served: str | None, cause: str, detail: str
) -> None:
    found = told(
        result("server_certificate_unknown", server_fingerprint=seen, served_subject=subject),
        View({}, {OTHER: "previous", NEW: "current"}, True, served),
    )
    assert found["cause"] == cause and detail in found["detail"]


def test_a_certificate_that_nobody_saw_says_nothing() -> None:
    found = result("server_certificate_unknown")
    assert told(found, View({}, {NEW: "current"}, True, NEW)) == found


def test_a_network_fault_is_told_by_what_the_peer_sees_of_itself() -> None:
    found = result("connection_timed_out")
    assert "its endpoint answers" in told(found, View(looked=True, served=NEW))["detail"]
    assert "nothing answers on its eSync port either" in told(found, View(looked=True))["detail"]
    assert told(found, View()) == found


def refusal(verdict: str, to: str = "b") -> dict[str, Any]:
    return {"to": to, "verdict": verdict, "cause": "not_refused", "detail": "b answered a.", "remedy": "Check."}


def test_a_pair_whose_peer_lets_in_what_it_must_refuse_has_failed() -> None:
    found = told(result(), None, [refusal("failed")])
    assert (found["verdict"], found["cause"], found["detail"], found["remedy"]) == (
        *("failed", "not_refused"),
        *("b answered a.", "Check."),
    )


def test_a_pair_that_failed_keeps_its_cause() -> None:
    assert told(result("not_tls"), None, [refusal("failed")])["cause"] == "not_tls"


def entry(fingerprint: str, peer: str, role: str = "client") -> dict[str, str]:
    return {"peer": peer, "role": role, "state": "current", "fingerprint": fingerprint}


def test_a_view_holds_what_is_in_force() -> None:
    read = {
        "trust": {"entries": [entry(OLD, "a"), entry(OTHER, "a", "server")]},
        "generations": [{"id": "1", "state": "current", "server": {"fingerprint": NEW}}],
        "observed": {"served": OLD},
    }
    applied = {"changed": True, "trust": {"entries": [entry(CLIENT, "a")]}}
    own = ({NEW: "current"}, True, OLD)
    assert view_of(read, {}) == View({OLD: "a"}, *own)
    assert view_of(read, {**applied, "changed": False}) == View({OLD: "a"}, *own)
    assert view_of(read, applied) == View({CLIENT: "a"}, *own)
    assert view_of(read, applied, settled=False) == View(None, *own)


def test_a_view_of_a_server_that_has_nothing() -> None:
    assert view_of({"trust": None, "observed": None}, {"skipped": True, "changed": False}) == View({})


def test_what_was_seen_of_one_site_says_nothing_of_another() -> None:
    lost = result("endpoint_not_listening", site="shop")
    view = View({}, {NEW: "current"}, True, None, {"shop": None, "news": NEW})
    assert told(lost, view)["detail"] == "Seen. On b itself nothing answers on the port of shop either."
    assert "its endpoint answers" in told({**lost, "site": "news"}, view)["detail"]
    # A site that was not looked at.
    assert told({**lost, "site": "blog"}, view) == {**lost, "site": "blog"}
    seen = view_of({"observed": {"served": None, "sites": {"shop": NEW}}, "generations": []}, {})
    assert (seen.looked, seen.sites) == (True, {"shop": NEW})
