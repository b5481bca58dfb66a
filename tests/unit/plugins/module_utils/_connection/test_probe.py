# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Every cause that can be brought about on one machine, by real connections, gives exactly its key."""

from __future__ import annotations

import contextlib
import datetime
import itertools
import json
import os
import shutil
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.esync.mesh.plugins.module_utils._connection import probe, protocols, tls
from ansible_collections.esync.mesh.plugins.module_utils._connection.causes import CAUSES, TOO_WEAK
from ansible_collections.esync.mesh.plugins.module_utils._core import names
from ansible_collections.esync.mesh.plugins.module_utils._core.errors import EsyncError
from ansible_collections.esync.mesh.plugins.module_utils._core.folders import Folder
from ansible_collections.esync.mesh.plugins.module_utils._crypto import certificates as x509
from ansible_collections.esync.mesh.plugins.module_utils._store import trust_writer, untrusted

NOW = datetime.datetime.now(datetime.timezone.utc)
DAY = datetime.timedelta(days=1)
LONG_AGO = {"now": NOW - 10 * DAY, "valid_days": 5}
TO_COME = {"now": NOW + 10 * DAY}
OPTIONS = {"TLSv1.2": "-tls1_2", "TLSv1.3": "-tls1_3"}
SHORT = {"connect_timeout": 0.4, "answer_timeout": 0.4}


def is_cause(found: dict[str, Any], cause: str, *said: str) -> None:
    """The test failed for exactly this cause, and says what to do."""
    assert (found["verdict"], found["cause"]) == ("failed", cause), found["detail"]
    assert found["remedy"]
    for part in said:
        assert part in found["detail"]
    assert "PRIVATE" not in json.dumps(found)


def closed_port() -> int:
    """A port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
    return port


# -- proved ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("present", ["current", "next"])
def test_a_pair_that_works(mesh: Any, listen: Any, version: str, present: str) -> None:
    started = listen("bravo", product_version="1")
    found = mesh.one("alpha", "bravo", started["port"], present=present, product_version="1")
    milliseconds = found.pop("handshake_ms")
    assert milliseconds > 0
    assert found == {
        "to": "bravo",
        "site": None,
        "verdict": "ok",
        "cause": None,
        "detail": "",
        "remedy": "",
        "tls": version,
        "server_fingerprint": started["fingerprint"],
        "client_fingerprint": tls.read_credential(str(mesh.root / "alpha"), present, "client").fingerprint,
        "served": "current",
        "served_subject": None,
    }


def test_the_previous_certificate_works_until_it_is_retired(mesh: Any, listen: Any) -> None:
    port = listen("bravo")["port"]
    mesh.server("alpha").do("switched")
    for state in ("current", "previous"):
        assert mesh.one("alpha", "bravo", port, present=state)["verdict"] == "ok"


def test_the_generation_that_is_required(mesh: Any, listen: Any, version: str) -> None:
    port = listen("bravo", serve="next")["port"]
    for require in (("next",), ("current", "next"), ("current", "next", "previous")):
        found = mesh.one("alpha", "bravo", port, require=require)
        assert (found["verdict"], found["served"]) == ("ok", "next")


def test_an_endpoint_of_another_program(mesh: Any, s_server: Any, version: str) -> None:
    bundle = str(mesh.root / "bravo" / "trusted" / "clients.pem")
    options = ["-www", "-Verify", "1", "-verify_return_error", "-partial_chain", "-CAfile", bundle]
    port = s_server("bravo", OPTIONS[version], *options)
    found = mesh.one("alpha", "bravo", port)
    assert (found["verdict"], found["tls"]) == ("ok", version)
    for present in probe.MUST_BE_REFUSED:
        assert mesh.one("alpha", "bravo", port, present=present, refused=True)["verdict"] == "ok", present


def test_many_peers_at_once_each_with_its_own_result(mesh: Any, listen: Any) -> None:
    working = listen("bravo")["port"], listen("charlie")["port"]
    peers = [
        mesh.peer("bravo", working[0]),
        mesh.peer("charlie", closed_port()),
        mesh.peer("charlie", working[1]),
        mesh.peer("bravo", working[1]),
    ]
    found = mesh.probe("alpha", *peers)
    assert [(one["to"], one["cause"]) for one in found] == [
        ("bravo", None),
        ("charlie", "endpoint_not_listening"),
        ("charlie", None),
        ("bravo", "another_server_answers"),
    ]
    assert mesh.probe("alpha") == []


@pytest.mark.parametrize("concurrency", [1, 3])
def test_never_more_at_once_than_asked_for(mesh: Any, serve: Any, concurrency: int) -> None:
    lock, together = threading.Lock(), threading.Barrier(concurrency)
    open_now, most, total = 0, 0, 0

    def answer(connection: socket.socket) -> None:
        nonlocal open_now, most, total
        with lock:
            open_now, total = open_now + 1, total + 1
            most = max(most, open_now)
        # Nobody is let go before so many are here, so there were so many at once, nor before more could have come.
        together.wait(20)
        time.sleep(0.2)
        with lock:
            open_now -= 1

    peer = mesh.peer("bravo", serve(answer))
    found = mesh.probe("alpha", *[peer] * 6, concurrency=concurrency)
    assert {one["cause"] for one in found} == {"not_tls"}
    assert (most, total) == (concurrency, 6)


# -- before TLS ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("address", ["no-such-host.invalid", "a..b", "a" * 64 + ".example", "1.2.3.4.5", "with space"])
def test_name_not_resolved(mesh: Any, address: str) -> None:
    is_cause(mesh.one("alpha", "bravo", 8732, address=address), "name_not_resolved", address, "alpha", "bravo")


def test_a_resolver_that_hangs_is_not_waited_for(mesh: Any, monkeypatch: pytest.MonkeyPatch, serve: Any) -> None:
    released = threading.Event()
    real = socket.getaddrinfo

    def hangs(host: Any, *arguments: Any, **options: Any) -> Any:
        if host == "slow.example" and not options.get("flags"):
            released.wait(60)
        return real(host, *arguments, **options)

    monkeypatch.setattr(socket, "getaddrinfo", hangs)
    try:
        found = mesh.one("alpha", "bravo", 8732, address="slow.example", **SHORT)
    finally:
        released.set()
    is_cause(found, "name_not_resolved", "the resolver did not answer within 0.4 s")


def test_a_name_with_an_address_of_a_kind_that_this_host_does_not_have(
    mesh: Any, monkeypatch: pytest.MonkeyPatch, listen: Any
) -> None:
    port = listen("bravo")["port"]
    found = [(99, socket.SOCK_STREAM, 6, "", ("x", port)), (socket.AF_INET, 1, 6, "", ("127.0.0.1", port))]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_arguments, **_options: found)
    assert mesh.one("alpha", "bravo", port, address="bravo.example")["verdict"] == "ok"
    del found[1]
    is_cause(mesh.one("alpha", "bravo", port, address="bravo.example"), "host_unreachable")


def test_endpoint_not_listening(mesh: Any) -> None:
    port = closed_port()
    is_cause(mesh.one("alpha", "bravo", port), "endpoint_not_listening", f"bravo (127.0.0.1:{port})", "alpha")


def test_host_unreachable(mesh: Any) -> None:
    # A multicast address: the kernel knows no way for TCP to it.
    is_cause(mesh.one("alpha", "bravo", 8732, address="224.0.0.1"), "host_unreachable", "alpha", "bravo (224.0.0.1:")


@pytest.fixture
def full() -> Iterator[int]:
    """A port whose backlog is full, so that nothing comes back: the kernel drops what it has no room for."""
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        for _number in range(4):
            caller = stack.enter_context(socket.socket())
            caller.setblocking(False)
            caller.connect_ex(server.getsockname())
        yield server.getsockname()[1]


def test_connection_timed_out(mesh: Any, full: int) -> None:
    found = mesh.one("alpha", "bravo", full, **SHORT)
    is_cause(found, "connection_timed_out", "within 0.4 s when alpha connected")


def with_reset(connection: socket.socket) -> None:
    connection.recv(16)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


PLAIN: dict[str, tuple[Callable[[socket.socket], Any], str]] = {
    "ssh": (
        lambda connection: connection.sendall(b"SSH-2.0-OpenSSH_9.2\r\n") or connection.recv(4096),
        "else than TLS",
    ),
    "http": (
        lambda connection: connection.recv(4096) and connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n"),
        "else than TLS",
    ),
    "database": (lambda connection: connection.sendall(b"\x4a\x00\x00\x00\x0a8.0.35\x00") or connection.recv(9), "TLS"),
    "closes": (lambda connection: None, "closed the connection in the middle"),
    "closes later": (lambda connection: connection.recv(1 << 16), "closed the connection in the middle"),
    "resets": (with_reset, "closed the connection in the middle"),
    "silent": (
        lambda connection: connection.recv(1 << 16) and connection.recv(1),
        "did not answer the TLS handshake within 0.4 s",
    ),
}


@pytest.mark.parametrize("kind", PLAIN)
def test_not_tls(mesh: Any, serve: Any, kind: str) -> None:
    answer, said = PLAIN[kind]
    found = mesh.one("alpha", "bravo", serve(answer), connect_timeout=0.4 if kind == "silent" else 20)
    is_cause(found, "not_tls", said, "bravo (127.0.0.1:", "alpha")


# -- the handshake ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options",
    [
        ["-tls1_1", "-cipher", "ALL:@SECLEVEL=0"],
        ["-tls1_2", "-cipher", "NULL-SHA256:@SECLEVEL=0"],
        ["-tls1_3", "-ciphersuites", "TLS_AES_128_CCM_8_SHA256"],
    ],
)
def test_tls_version_refused(mesh: Any, s_server: Any, options: list[str]) -> None:
    is_cause(mesh.one("alpha", "bravo", s_server("bravo", *options)), "tls_version_refused", "bravo (127.0.0.1:")


def test_tls_failed(mesh: Any, serve: Any) -> None:
    def alerts(connection: socket.socket) -> None:
        connection.recv(1 << 16)
        # An alert record: fatal, internal_error (RFC 5246, 7.2).
        connection.sendall(bytes.fromhex("15030300020250"))
        connection.recv(1)

    is_cause(mesh.one("alpha", "bravo", serve(alerts)), "tls_failed", "internal_error")


def test_server_certificate_unknown(mesh: Any, listen: Any, version: str) -> None:
    # Made anew, and never exchanged.
    expected, known = mesh.expected("bravo"), mesh.known()
    mesh.make("bravo")
    mesh.trust("bravo", "alpha")
    started = listen("bravo")
    found = mesh.one("alpha", "bravo", started["port"], expected=expected, known=known)
    is_cause(found, "server_certificate_unknown", started["fingerprint"], *expected)
    assert found["server_fingerprint"] == started["fingerprint"]
    assert found["served"] is None


def test_server_certificate_that_only_the_trust_on_the_disk_lacks(mesh: Any, listen: Any, version: str) -> None:
    mesh.trust("alpha", "charlie")
    found = mesh.one("alpha", "bravo", listen("bravo")["port"])
    is_cause(found, "server_certificate_unknown", "the trust on the disk of alpha")
    assert "Run establish for alpha" in found["remedy"]


def test_a_caller_that_trusts_nobody(mesh: Any, listen: Any, version: str) -> None:
    mesh.trust("alpha")
    found = mesh.one("alpha", "bravo", listen("bravo")["port"])
    is_cause(found, "server_certificate_unknown", "the trust on the disk of alpha")


@pytest.fixture
def dated(mesh: Any) -> Callable[..., None]:
    """Makes a server's sets with other dates, and tells the others."""

    def make(name: str, **dates: Any) -> None:
        mesh.make(name, **dates)
        for one in ("alpha", "bravo", "charlie"):
            mesh.trust(one, *({"alpha", "bravo", "charlie"} - {one}))

    return make


def test_server_certificate_expired(mesh: Any, listen: Any, version: str, dated: Any) -> None:
    dated("bravo", **LONG_AGO)
    end = (NOW - 5 * DAY).strftime("%Y-%m-%dT%H:%M:%SZ")
    is_cause(
        mesh.one("alpha", "bravo", listen("bravo")["port"]), "server_certificate_expired", end, "the clock of alpha"
    )


def test_server_certificate_not_yet_valid(mesh: Any, listen: Any, version: str, dated: Any) -> None:
    dated("bravo", **TO_COME)
    begin = (NOW + 9 * DAY).strftime("%Y-%m-%dT%H:%M:%SZ")
    is_cause(mesh.one("alpha", "bravo", listen("bravo")["port"]), "server_certificate_not_yet_valid", begin)


def test_clock_skew_of_the_caller_seen_by_both_certificates(mesh: Any, listen: Any, version: str, dated: Any) -> None:
    for name in ("alpha", "bravo"):
        dated(name, **TO_COME)
    is_cause(mesh.one("alpha", "bravo", listen("bravo")["port"]), "clock_skew", "the clock of alpha", "slow")


def test_clock_skew_of_the_caller_seen_by_its_own_certificate(mesh: Any, listen: Any, version: str, dated: Any) -> None:
    dated("alpha", **TO_COME)
    is_cause(mesh.one("alpha", "bravo", listen("bravo")["port"]), "clock_skew", "refused", "is not valid before")


def test_clock_skew_of_the_peer(mesh: Any, s_server: Any, version: str) -> None:
    bundle = str(mesh.root / "bravo" / "trusted" / "clients.pem")
    fast = str(int((NOW + 1000 * DAY).timestamp()))
    options = ["-Verify", "1", "-verify_return_error", "-partial_chain", "-CAfile", bundle, "-attime", fast]
    found = mesh.one("alpha", "bravo", s_server("bravo", OPTIONS[version], "-www", *options))
    is_cause(found, "clock_skew", "the clock of bravo seems to be fast")


@pytest.mark.parametrize(("serves", "require"), [("current", "next"), ("next", "current"), ("current", "previous")])
def test_stale_generation_served(mesh: Any, listen: Any, version: str, serves: str, require: str) -> None:
    found = mesh.one("alpha", "bravo", listen("bravo", serve=serves)["port"], require=(require,))
    is_cause(found, "stale_generation_served", f"serves its {serves} certificate", f"requires the {require} one")


def test_another_server_answers(mesh: Any, listen: Any, version: str) -> None:
    found = mesh.one("alpha", "bravo", listen("charlie")["port"])
    is_cause(found, "another_server_answers", "charlie", "bravo", "alpha")


def test_another_server_answers_by_its_own_words(mesh: Any, listen: Any, version: str) -> None:
    found = mesh.one("alpha", "bravo", listen("zulu", directory="bravo")["port"])
    is_cause(found, "another_server_answers", "zulu")


def test_another_site_answers(mesh: Any, secured: Any) -> None:
    peer = replace(mesh.peer("bravo", 0), site="shop", server_name="shop.example")
    asked = []

    def answers(status: str, **said: str) -> Callable[[ssl.SSLSocket], Any]:
        body = json.dumps({"server": "bravo", "generation": "aa", **said})

        def answer(connection: ssl.SSLSocket) -> None:
            asked.append(connection.recv(4096))
            connection.sendall(f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode())

        return answer

    [found] = mesh.probe("alpha", replace(peer, port=secured(answers("200 OK", site="shop"))))
    assert (found["verdict"], found["site"]) == ("ok", "shop")
    assert b"Host: shop.example:" in asked[0]
    for answer, said in (
        (answers("200 OK", site="news"), "'news'"),
        (answers("421 Misdirected Request"), "another site"),
    ):
        [found] = mesh.probe("alpha", replace(peer, port=secured(answer)))
        is_cause(found, "another_site_answers", said, "bravo [shop] (")
    # An external peer of another control node has sites that nobody here knows of.
    assert mesh.one("alpha", "bravo", secured(answers("421 Misdirected Request")))["verdict"] == "ok"


def test_a_site_is_asked_for_by_its_name(mesh: Any, serve: Any) -> None:
    names = []

    def looks(connection: socket.socket) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.sni_callback = note
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        incoming.write(connection.recv(1 << 16))
        with contextlib.suppress(ssl.SSLError):
            context.wrap_bio(incoming, outgoing, server_side=True).do_handshake()

    def note(_connection: Any, name: Any, _context: Any) -> None:
        names.append(name)

    port = serve(looks)
    peer = mesh.peer("bravo", port)
    mesh.probe("alpha", peer, replace(peer, site="shop", server_name="shop.example"), replace(peer, site="news"))
    assert sorted(names) == ["bravo", "bravo", "shop.example"]


def test_a_silent_site_says_nothing_of_another(mesh: Any, listen: Any) -> None:
    peers = [
        replace(mesh.peer("bravo", closed_port()), site="shop"),
        replace(mesh.peer("bravo", listen("bravo")["port"]), site="news"),
    ]
    found = probe.probe_refusals(peers, probe.ProbeSettings("alpha", str(mesh.root / "alpha"), known=mesh.known()))
    assert {(one["site"], one["verdict"]) for one in found} == {("shop", "untested"), ("news", "ok")}
    assert len(found) == 2 * len(probe.MUST_BE_REFUSED)


def test_self_connection(mesh: Any, listen: Any, version: str) -> None:
    is_cause(mesh.one("alpha", "bravo", listen("alpha")["port"]), "self_connection", "alpha", "bravo")


@pytest.mark.parametrize("owner", ["bravo", "charlie", "alpha"])
def test_wrong_role(mesh: Any, s_server: Any, version: str, owner: str) -> None:
    port = s_server(owner, OPTIONS[version], role="client")
    is_cause(mesh.one("alpha", "bravo", port), "wrong_role", f"the client certificate of {owner}")


def test_wrong_role_of_a_certificate_that_is_trusted_as_a_server_s(mesh: Any, s_server: Any, version: str) -> None:
    bundle = Path(tls.read_trust(str(mesh.root / "alpha")).bundle("server"))
    bundle.write_text(bundle.read_text() + mesh.server("bravo").file("client", "crt").read_text())
    port = s_server("bravo", OPTIONS[version], role="client")
    is_cause(mesh.one("alpha", "bravo", port), "wrong_role", "bravo")
    known = {key: value for key, value in mesh.known().items() if " client " not in value}
    fingerprint = tls.read_credential(str(mesh.root / "bravo"), "current", "client").fingerprint
    found = mesh.one("alpha", "bravo", port, known=known, expected={fingerprint: "current"})
    is_cause(found, "wrong_role", "not meant for servers")


# -- the caller's certificate ----------------------------------------------------------------------------------


def test_client_certificate_refused(mesh: Any, listen: Any, version: str) -> None:
    mesh.trust("bravo", "charlie")
    found = mesh.one("alpha", "bravo", listen("bravo")["port"])
    is_cause(found, "client_certificate_refused", "bravo (127.0.0.1:", "of alpha", "alert")


def test_client_certificate_refused_that_was_made_anew(mesh: Any, listen: Any, version: str) -> None:
    # The same subject, another key.
    port = listen("bravo")["port"]
    mesh.make("alpha")
    mesh.trust("alpha", "bravo")
    is_cause(mesh.one("alpha", "bravo", port), "client_certificate_refused")


def test_client_certificate_expired(mesh: Any, listen: Any, version: str, dated: Any) -> None:
    dated("alpha", **LONG_AGO)
    end = (NOW - 5 * DAY).strftime("%Y-%m-%dT%H:%M:%SZ")
    is_cause(mesh.one("alpha", "bravo", listen("bravo")["port"]), "client_certificate_expired", end)


def test_wrong_role_shown(mesh: Any, listen: Any, version: str) -> None:
    # Trusted by mistake: the extended key usage still tells.
    bundle = Path(tls.read_trust(str(mesh.root / "bravo")).bundle("client"))
    bundle.write_text(bundle.read_text() + mesh.server("alpha").file("server", "crt").read_text())
    found = mesh.one("alpha", "bravo", listen("bravo")["port"], present="server")
    is_cause(found, "wrong_role", "not meant for clients")


def test_taken_for_another(mesh: Any, listen: Any, version: str) -> None:
    mesh.trust("bravo", alpha="zulu")
    is_cause(mesh.one("alpha", "bravo", listen("bravo")["port"]), "taken_for_another", "zulu")


def test_version_mismatch(mesh: Any, listen: Any) -> None:
    port = listen("bravo", product_version="2.0")["port"]
    is_cause(mesh.one("alpha", "bravo", port, product_version="1.0"), "version_mismatch", "2.0", "1.0")
    assert mesh.one("alpha", "bravo", port)["verdict"] == "ok"
    assert mesh.one("alpha", "bravo", listen("bravo")["port"], product_version="1.0")["verdict"] == "ok"


# -- the answer ------------------------------------------------------------------------------------------------


@pytest.fixture
def secured(mesh: Any, serve: Any, version: str) -> Any:
    """Serves bravo's certificate, demands alpha's, and then does as told: ``secured(lambda connection: ...)``."""
    directory = str(mesh.root / "bravo")

    def start(answer: Callable[[ssl.SSLSocket], Any]) -> int:
        context = tls.server_context(tls.read_credential(directory, "current", "server"), tls.read_trust(directory))

        def shake(connection: socket.socket) -> None:
            with context.wrap_socket(connection, server_side=True) as wrapped:
                answer(wrapped)

        port: int = serve(shake)
        return port

    return start


def test_no_answer_after_handshake_but_an_end(mesh: Any, secured: Any) -> None:
    for answer in (lambda connection: None, lambda connection: connection.recv(4096)):
        found = mesh.one("alpha", "bravo", secured(answer))
        is_cause(found, "no_answer_after_handshake", "without a byte after the handshake")


def test_a_service_that_hangs_up_is_asked_once_more_unless_a_refusal_is_to_be_proved(mesh: Any, secured: Any) -> None:
    asked = []

    def hangs_up_first(connection: ssl.SSLSocket) -> None:
        asked.append(connection.recv(4096))
        if len(asked) % 2 == 0:
            connection.sendall(b"220 welcome")

    port = secured(hangs_up_first)
    assert mesh.one("alpha", "bravo", port)["verdict"] == "ok"
    assert len(asked) == 2
    mesh.one("alpha", "bravo", port, refused=True)
    assert len(asked) == 3


def test_a_service_that_speaks_first_may_do_so_at_last(mesh: Any, secured: Any) -> None:
    """rsync's daemon on a busy host: a request is there before its greeting, and takes the greeting with it."""

    def greets(connection: ssl.SSLSocket) -> None:
        connection.settimeout(0.3)
        with contextlib.suppress(socket.timeout):
            connection.recv(4096)
            return
        connection.sendall(b"@RSYNCD: 31.0\n")
        connection.recv(1)

    assert mesh.one("alpha", "bravo", secured(greets))["verdict"] == "ok"


def test_no_answer_after_handshake_but_silence(mesh: Any, secured: Any) -> None:
    port = secured(lambda connection: connection.recv(4096) and connection.recv(1))
    found = mesh.one("alpha", "bravo", port, connect_timeout=20, answer_timeout=0.4)
    is_cause(found, "no_answer_after_handshake", "sent nothing within 0.4 s after the handshake")
    assert found["tls"]


def test_no_answer_after_handshake_but_a_reset(mesh: Any, secured: Any) -> None:
    def resets(connection: ssl.SSLSocket) -> None:
        connection.recv(4096)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        os.close(connection.detach())

    is_cause(mesh.one("alpha", "bravo", secured(resets)), "no_answer_after_handshake")


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        b"220 welcome\r\n",
        b"HTTP/1.1 200",
    ],
)
def test_any_answer_proves_that_bytes_went_both_ways(mesh: Any, secured: Any, answer: bytes) -> None:
    asked = []

    def answers(connection: ssl.SSLSocket) -> None:
        asked.append(connection.recv(4096))
        connection.sendall(answer)
        connection.recv(1)

    assert mesh.one("alpha", "bravo", secured(answers), answer_timeout=0.5)["verdict"] == "ok"
    assert asked[0].startswith(b"GET /esync/health HTTP/1.1\r\n")


def test_an_answer_that_drips_is_not_waited_for(mesh: Any, secured: Any) -> None:
    ended = threading.Event()

    def drips(connection: ssl.SSLSocket) -> None:
        connection.recv(4096)
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        for _number in range(100):
            connection.sendall(b"x")
            time.sleep(0.1)
        ended.set()

    assert mesh.one("alpha", "bravo", secured(drips), answer_timeout=0.5)["verdict"] == "ok"
    assert not ended.is_set()


def test_an_answer_without_end_ends(mesh: Any, secured: Any) -> None:
    ended = threading.Event()

    def floods(connection: ssl.SSLSocket) -> None:
        connection.recv(4096)
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        for _number in range(64):
            connection.sendall(bytes(1 << 20))
        ended.set()

    assert mesh.one("alpha", "bravo", secured(floods), answer_timeout=60)["verdict"] == "ok"
    assert not ended.is_set()


@pytest.mark.parametrize("status", ["400 Bad Request", "403 Forbidden", "495 x", "496 x"])
def test_a_refusal_by_http(mesh: Any, secured: Any, status: str) -> None:
    # How nginx refuses: inside the connection.
    def refuses(connection: ssl.SSLSocket) -> None:
        connection.recv(4096)
        connection.sendall(f"HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n".encode())
        connection.recv(1)

    port = secured(refuses)
    is_cause(mesh.one("alpha", "bravo", port), "client_certificate_refused", f"with HTTP {status[:3]}")
    assert mesh.one("alpha", "bravo", port, refused=True)["verdict"] == "ok"


def test_nothing_is_sent_to_a_server_that_is_not_the_pinned_one(mesh: Any, serve: Any, version: str) -> None:
    directory = str(mesh.root / "charlie")
    context = tls.server_context(tls.read_credential(directory, "current", "server"), tls.read_trust(directory))
    received = []

    def takes(connection: socket.socket) -> None:
        with context.wrap_socket(connection, server_side=True) as wrapped, contextlib.suppress(OSError):
            received.append(wrapped.recv(4096))

    # Charlie is trusted, but it is not bravo.
    is_cause(mesh.one("alpha", "bravo", serve(takes)), "another_server_answers")
    assert b"".join(received) == b""


# -- the policy of the caller's OpenSSL ------------------------------------------------------------------------


def level(context: ssl.SSLContext, number: int) -> ssl.SSLContext:
    """A context with a security level, as the policy of a host may set it."""
    context.set_ciphers(f"DEFAULT@SECLEVEL={number}")
    return context


def handshake(client: ssl.SSLContext, server: ssl.SSLContext) -> tuple[ssl.SSLError | None, ssl.SSLError | None]:
    """How it ends for both."""
    to_client, to_server = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [client.wrap_bio(to_client, to_server), server.wrap_bio(to_server, to_client, server_side=True)]
    errors: list[ssl.SSLError | None] = [None, None]
    for turn in range(12):
        try:
            ends[turn % 2].do_handshake()
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLError as error:
            errors[turn % 2] = errors[turn % 2] or error
    return errors[0], errors[1]


def test_what_openssl_says_of_keys_that_are_too_small_for_it(tmp_path: Path, rsa_key: Any, ecdsa_key: Any) -> None:
    def contexts(server_key: Any, client_key: Any) -> list[ssl.SSLContext]:
        """Client and server that trust each other, at level 1; with TLS 1.2 both learn all in the handshake."""
        found = []
        for role, key in (("client", client_key), ("server", server_key)):
            made = x509.self_sign(key, role, x509.Profile("bravo", ("bravo",), "rsa", 2048, 5), NOW)
            (tmp_path / f"{role}.crt").write_text(made.pem)
            (tmp_path / f"{role}.key").write_bytes(x509.key_to_pem(key))
        for role, other, kind in (
            ("client", "server", ssl.PROTOCOL_TLS_CLIENT),
            ("server", "client", ssl.PROTOCOL_TLS_SERVER),
        ):
            context = level(ssl.SSLContext(kind), 1)
            context.maximum_version = ssl.TLSVersion.TLSv1_2
            context.check_hostname = False
            context.verify_mode = ssl.CERT_REQUIRED
            context.verify_flags |= getattr(ssl, "VERIFY_X509_PARTIAL_CHAIN", 0)
            context.load_cert_chain(tmp_path / f"{role}.crt", tmp_path / f"{role}.key")
            context.load_verify_locations(tmp_path / f"{other}.crt")
            found.append(context)
        return found

    client, server = contexts(rsa_key, ecdsa_key)
    assert handshake(client, server) == (None, None)
    error, _other = handshake(level(client, 3), server)
    assert isinstance(error, ssl.SSLCertVerificationError) and error.verify_code in TOO_WEAK
    client, server = contexts(ecdsa_key, rsa_key)
    error, _other = handshake(client, level(server, 3))
    assert error and tls.alert_of(error) == "bad_certificate"


def test_a_certificate_of_ones_own_that_is_too_weak_is_not_damaged(mesh: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    harden = tls._harden
    # Keys on P-256 are too small from level 4 on.
    monkeypatch.setattr(tls, "_harden", lambda context: harden(level(context, 4)))
    found = mesh.one("alpha", "bravo", 1)
    is_cause(found, "certificate_too_weak", "alpha cannot use", "client.crt", "ee key too small")
    alpha = str(mesh.root / "alpha")
    with pytest.raises(EsyncError) as caught:
        tls.server_context(tls.read_credential(alpha, "current", "server"), tls.read_trust(alpha))
    assert caught.value.kind == "certificate_too_weak" and "esync_key_size: 3072" in caught.value.remedy


# -- the caller's own files ------------------------------------------------------------------------------------


def test_own_files_that_cannot_be_used_are_told_for_every_peer(mesh: Any, listen: Any) -> None:
    peers = [mesh.peer("bravo", listen("bravo")["port"]), mesh.peer("charlie", 1)]
    alpha = mesh.server("alpha")

    def causes(*said: str, **settings: Any) -> set[Any]:
        found = mesh.probe("alpha", *peers, known={}, **settings)
        assert [one["to"] for one in found] == ["bravo", "charlie"]
        for one in found:
            is_cause(one, one["cause"], "alpha cannot use", *said)
        return {one["cause"] for one in found}

    assert causes("previous", present="previous") == {"no_certificate"}
    alpha.file("client", "key", "next").write_bytes(alpha.file("server", "key").read_bytes())
    assert causes("client.key", present="next") == {"key_mismatch"}
    alpha.file("client", "key").write_bytes(b"")
    assert causes("client.key") == {"damaged_file"}
    alpha.file("client", "crt").unlink()
    assert causes("client.crt") == {"damaged_file"}
    (alpha.path / "trusted" / "servers.pem").write_text("x")
    assert causes("servers.pem") == {"damaged_file"}
    (alpha.path / "trusted" / "trust.json").write_text("x")
    assert causes("trust.json") == {"damaged_file"}
    (alpha.path / "trusted").unlink()
    assert causes("trusted") == {"no_trust"}


# -- what must be refused --------------------------------------------------------------------------------------


@pytest.mark.parametrize("present", probe.MUST_BE_REFUSED)
def test_the_listener_refuses_what_it_must(mesh: Any, listen: Any, version: str, present: str) -> None:
    port = listen("bravo")["port"]
    found = mesh.one("alpha", "bravo", port, present=present, refused=True)
    assert (found["verdict"], found["cause"], found["detail"]) == ("ok", None, "")
    shown = found["client_fingerprint"]
    assert (shown is None) is (present in ("none", "plain"))
    assert shown not in mesh.known() or present == "server"
    # The same, taken for an attempt to get in, is a failure with a cause.
    is_cause(mesh.one("alpha", "bravo", port, present=present), "client_certificate_refused")
    assert mesh.one("alpha", "bravo", port)["verdict"] == "ok"


def test_everything_that_must_be_refused_in_one_call(mesh: Any, listen: Any) -> None:
    peers = [mesh.peer("bravo", listen("bravo")["port"]), mesh.peer("charlie", listen("charlie")["port"])]
    settings = probe.ProbeSettings("alpha", str(mesh.root / "alpha"), known=mesh.known())
    found = probe.probe_refusals(peers, settings)
    pairs = [(one["to"], one["present"]) for one in found]
    assert sorted(pairs) == sorted((peer, one) for peer in ("bravo", "charlie") for one in probe.MUST_BE_REFUSED)
    assert {one["verdict"] for one in found} == {"ok"}


def test_a_peer_that_hangs_is_not_waited_for_once_for_each(mesh: Any) -> None:
    with socket.socket() as hanging:
        hanging.bind(("127.0.0.1", 0))
        hanging.listen()
        settings = probe.ProbeSettings("alpha", str(mesh.root / "alpha"), connect_timeout=0.3, answer_timeout=0.3)
        found = probe.probe_refusals([mesh.peer("bravo", hanging.getsockname()[1])], settings)
        calls = 0
        hanging.settimeout(0.3)
        with contextlib.suppress(TimeoutError):
            while True:
                hanging.accept()[0].close()
                calls += 1
    assert calls == 2, "once with TLS, once without"
    assert [one["present"] for one in found] == list(probe.MUST_BE_REFUSED)
    assert {one["verdict"] for one in found[:-1]} == {"untested"}


@pytest.mark.parametrize(("present", "subject"), [("stranger", "untrusted"), ("stranger_same_subject", "alpha")])
def test_what_a_stranger_shows(mesh: Any, serve: Any, present: str, subject: str) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_credential(context, tls.read_credential(str(mesh.root / "bravo"), "current", "server"))
    context.load_verify_locations(cadata=mesh.server("alpha").file("client", "crt").read_text())
    context.verify_mode = ssl.CERT_OPTIONAL
    # In TLS 1.2 the client's certificate comes in clear, as the first of the client's second messages.
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    shown = []

    def looks(connection: socket.socket) -> None:
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        wrapped = context.wrap_bio(incoming, outgoing, server_side=True)
        while piece := connection.recv(1 << 16):
            shown.append(tls.certificate_in(piece))
            incoming.write(piece)
            with contextlib.suppress(ssl.SSLError):
                wrapped.do_handshake()
            connection.sendall(outgoing.read())

    found = mesh.one("alpha", "bravo", serve(looks), present=present, refused=True)
    assert found["verdict"] == "ok"
    [der] = [one for one in shown if one]
    assert tls.fingerprint_of(der) == found["client_fingerprint"]
    assert found["client_fingerprint"] not in mesh.known()
    certificate = x509.parse_certificate(der, "x", "client")
    assert (certificate.subject, certificate.alt_names) == (subject, (subject,))


@pytest.mark.parametrize("present", ["none", "stranger", "stranger_same_subject", "server"])
def test_not_refused(mesh: Any, s_server: Any, version: str, present: str) -> None:
    # It asks for a certificate, or does not, and lets everybody in.
    for options in ([], ["-verify", "1"]):
        port = s_server("bravo", OPTIONS[version], "-www", *options)
        found = mesh.one("alpha", "bravo", port, present=present, refused=True)
        is_cause(found, "not_refused", "bravo", "alpha", present)


def test_not_refused_without_tls(mesh: Any, serve: Any) -> None:
    def answers(connection: socket.socket) -> None:
        connection.recv(4096)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        connection.recv(1)

    is_cause(mesh.one("alpha", "bravo", serve(answers), present="plain", refused=True), "not_refused", "plain")


def test_a_closed_port_refuses_nobody(mesh: Any, listen: Any) -> None:
    for port, cause in (
        (closed_port(), "endpoint_not_listening"),
        (listen("charlie")["port"], "another_server_answers"),
    ):
        found = mesh.one("alpha", "bravo", port, present="stranger", refused=True)
        assert (found["verdict"], found["cause"]) == ("untested", cause)


def test_a_withdrawn_generation_is_refused_and_the_others_are_not(mesh: Any, listen: Any, version: str) -> None:
    directory = mesh.root / "bravo"
    current = mesh.certificates("alpha", "charlie")
    kept = [(entry, pem) for entry, pem in current if entry.state == "current"]
    with Folder.open(str(directory)) as base:
        trust_writer.apply(base, "bravo", [entry for entry, _pem in kept], [pem for _entry, pem in kept], "kept")
    port = listen("bravo")["port"]
    assert mesh.one("alpha", "bravo", port)["verdict"] == "ok"
    assert mesh.one("alpha", "bravo", port, present="next", refused=True)["verdict"] == "ok"
    is_cause(mesh.one("alpha", "bravo", port, present="next"), "client_certificate_refused")


# -- peers that handed their client set to the caller ------------------------------------------------------------


def hand_over(mesh: Any, server: str, caller: str, *states: str) -> None:
    """Let a server accept its own client certificates only, and give a caller its client sets."""
    own = [(entry, pem) for entry, pem in mesh.certificates(server) if entry.role == "client"]
    others = [(entry, pem) for entry, pem in mesh.certificates(caller) if entry.role == "server"]
    with Folder.open(str(mesh.root / server)) as base:
        entries = [entry for entry, _pem in own + others]
        trust_writer.apply(base, server, entries, [pem for _entry, pem in own + others], f"{time.monotonic_ns()}")
    folder = mesh.root / caller / "handed-over"
    folder.mkdir()
    for state in states:
        stem = names.remote_stem(server, "client", state)
        for suffix in ("crt", "key"):
            shutil.copy(mesh.server(server).file("client", suffix, state), folder / f"{stem}.{suffix}")
    like = mesh.server(server).inspect().generations["current"].certificates["client"]
    (folder / "shared.json").write_text(json.dumps({"untrusted": untrusted.make(server, like)}))


def shown_by(mesh: Any, name: str, state: str) -> str:
    """The fingerprint of a client certificate."""
    found: str = mesh.server(name).inspect().generations[state].certificates["client"].fingerprint
    return found


def test_each_peer_is_shown_what_it_shared_keys(mesh: Any, listen: Any) -> None:
    hand_over(mesh, "bravo", "alpha", "current", "next")
    port = listen("bravo")["port"]
    for state in ("current", "next"):
        found = mesh.one("alpha", "bravo", port, trust_model="shared_keys", present=state)
        assert (found["verdict"], found["detail"]) == ("ok", "")
        assert found["client_fingerprint"] == shown_by(mesh, "bravo", state)
    # The caller's own client certificate is nothing to it.
    is_cause(mesh.one("alpha", "bravo", port), "client_certificate_refused")
    refusals = mesh.one("alpha", "bravo", port, trust_model="shared_keys", present="own_client", refused=True)
    assert refusals["verdict"] == "ok"
    assert refusals["client_fingerprint"] == shown_by(mesh, "alpha", "current")


def test_without_a_next_set_the_current_one_is_shown(mesh: Any, listen: Any) -> None:
    hand_over(mesh, "bravo", "alpha", "current")
    port = listen("bravo")["port"]
    found = mesh.one("alpha", "bravo", port, trust_model="shared_keys", present="next")
    assert (found["verdict"], found["client_fingerprint"]) == ("ok", shown_by(mesh, "bravo", "current"))


def test_a_peer_that_handed_nothing_over_concerns_only_its_pair(mesh: Any, listen: Any) -> None:
    hand_over(mesh, "bravo", "alpha", "current")
    peers = [mesh.peer(name, listen(name)["port"]) for name in ("bravo", "charlie")]
    found = mesh.probe("alpha", *peers, trust_model="shared_keys")
    assert [(one["to"], one["verdict"], one["cause"]) for one in found] == [
        ("bravo", "ok", None),
        ("charlie", "failed", "not_handed"),
    ]


def test_one_more_thing_must_be_refused_by_who_hands_over(mesh: Any, listen: Any) -> None:
    hand_over(mesh, "bravo", "alpha", "current")
    settings = probe.ProbeSettings("alpha", str(mesh.root / "alpha"), known=mesh.known(), trust_model="shared_keys")
    found = probe.probe_refusals([mesh.peer("bravo", listen("bravo")["port"])], settings)
    assert [one["present"] for one in found] == [*probe.MUST_BE_REFUSED, "own_client"]
    assert {one["verdict"] for one in found} == {"ok"}


def test_who_hands_over_is_presented_its_own_name(mesh: Any, listen: Any) -> None:
    hand_over(mesh, "bravo", "alpha", "current")
    port = listen("bravo")["port"]
    options = {"trust_model": "shared_keys", "present": "stranger_same_subject", "refused": True}
    found = mesh.one("alpha", "bravo", port, **options)
    path = mesh.root / "alpha" / "handed-over" / "shared.json"
    assert (found["verdict"], found["client_fingerprint"]) == (
        "ok",
        tls.Untrusted(str(mesh.root / "alpha")).of_peer("bravo").fingerprint,
    )
    path.unlink()
    found = mesh.one("alpha", "bravo", port, **options)
    assert (found["verdict"], found["cause"]) == ("untested", "no_certificate")
    assert str(path) in found["detail"]
    assert "establish" in found["remedy"]


def test_what_cannot_be_presented_does_not_hide_what_a_peer_refuses(mesh: Any, listen: Any) -> None:
    path = mesh.root / "alpha" / "current" / "manifest.json"
    said = json.loads(path.read_bytes())
    del said["untrusted"]["untrusted"]
    path.write_text(json.dumps(said))
    settings = probe.ProbeSettings("alpha", str(mesh.root / "alpha"), known=mesh.known())
    found = probe.probe_refusals([mesh.peer("bravo", listen("bravo")["port"])], settings)
    verdicts = {one["present"]: one["verdict"] for one in found}
    assert verdicts.pop("stranger") == "untested"
    assert verdicts and set(verdicts.values()) == {"ok"}


def test_every_cause_of_the_table_is_brought_about_here() -> None:
    text = Path(__file__).read_text(encoding="utf-8")
    # These are the control node's, about runs that ended early.
    elsewhere = {"host_failed", "not_tested"}
    assert {cause for cause in CAUSES if f'"{cause}"' not in text} <= elsewhere


# -- clusters --------------------------------------------------------------------------------------------------


@pytest.fixture
def balance(serve: Any) -> Any:
    """Starts a balancer that passes each connection on to the next of some ports: ``balance(1234, 1235)``."""

    def start(*ports: int) -> int:
        number = itertools.count()

        def pass_on(connection: socket.socket) -> None:
            with socket.create_connection(("127.0.0.1", ports[next(number) % len(ports)]), 20) as other:
                back = threading.Thread(target=pump, args=(other, connection), daemon=True)
                back.start()
                pump(connection, other)
                back.join()

        port: int = serve(pass_on)
        return port

    return start


def pump(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while piece := source.recv(65536):
            target.sendall(piece)
    with contextlib.suppress(OSError):
        target.shutdown(socket.SHUT_WR)


def cluster(mesh: Any, port: int, *members: str) -> probe.Peer:
    """The cluster web behind a port."""
    expected = {name: mesh.expected(name) for name in members}
    together = {key: value for one in expected.values() for key, value in one.items()}
    return probe.Peer("web", "127.0.0.1", port, together, members=expected)


def call(mesh: Any, *clusters: probe.Peer, caller: str = "alpha", **settings: Any) -> list[dict[str, Any]]:
    settings = {"known": mesh.known(), **settings}
    return probe.probe_clusters(clusters, probe.ProbeSettings(caller, str(mesh.root / caller), **settings))


@pytest.mark.parametrize(("members", "attempts"), [(1, 2), (2, 4), (5, 10), (8, 16), (100, 16)])
def test_how_often_a_cluster_is_called(members: int, attempts: int) -> None:
    assert probe.attempts_for(members) == attempts


def test_any_member_of_a_cluster_may_answer(mesh: Any, listen: Any, balance: Any, version: str) -> None:
    ports = listen("bravo", product_version="1")["port"], listen("charlie")["port"]
    both, first = balance(*ports), balance(ports[0])
    found = call(mesh, cluster(mesh, both, "bravo", "charlie"), cluster(mesh, first, "bravo", "charlie"))
    fine = {"cluster": "web", "verdict": "ok", "cause": None, "detail": "", "remedy": ""}
    assert found == [{**fine, "answered": {"bravo": 2, "charlie": 2}}, {**fine, "answered": {"bravo": 4}}]
    # The versions of members are compared with each of them by itself.
    [found_one] = call(mesh, cluster(mesh, first, "bravo"), product_version="2")
    assert found_one["verdict"] == "ok"
    assert call(mesh) == []


def test_a_member_of_the_mesh_that_is_none_of_the_cluster(mesh: Any, listen: Any, balance: Any) -> None:
    port = balance(listen("bravo")["port"], listen("charlie")["port"])
    [found] = call(mesh, cluster(mesh, port, "bravo"))
    is_cause(found, "another_server_answers", "the server certificate of charlie", "1 of 2 connections failed.")
    assert "the balancer's list" in found["remedy"]
    assert found["answered"] == {"bravo": 1}


def test_a_balancer_that_leads_back_to_the_caller(mesh: Any, listen: Any, balance: Any) -> None:
    own, port = listen("alpha")["port"], listen("bravo")["port"]
    [found] = call(mesh, cluster(mesh, balance(own), "bravo"))
    is_cause(found, "self_connection", "the cluster web")
    assert "connections failed" not in found["detail"]
    # OpenSSL does not accept what it does not trust, and the next connections lead to others.
    both = cluster(mesh, balance(port, port, own, port), "bravo", "charlie")
    [found] = call(mesh, both, concurrency=1)
    is_cause(found, "self_connection", "the cluster web", "1 of 4 connections failed.")


def test_a_balancer_at_which_tls_ends(mesh: Any, s_server: Any) -> None:
    mesh.make("delta")
    [found] = call(mesh, cluster(mesh, s_server("delta", "-www"), "bravo", "charlie"), known={})
    is_cause(found, "server_certificate_unknown", "TLS may be ending at the balancer")
    assert "TCP mode" in found["remedy"]
    [key] = [one for one, state in mesh.expected("delta").items() if state == "current"]
    assert key in found["detail"]


def test_a_balancer_that_ends_tls_with_the_key_of_a_member(mesh: Any, listen: Any, balance: Any) -> None:
    # What answers behind the certificate of bravo calls itself another.
    port = balance(listen("other", directory="bravo")["port"])
    [found] = call(mesh, cluster(mesh, port, "bravo", "charlie"))
    is_cause(found, "another_server_answers", "bravo of cluster web", "TLS may be ending at the balancer")


def test_a_balancer_that_knows_nobody_who_is_up(mesh: Any, serve: Any) -> None:
    [found] = call(mesh, cluster(mesh, serve(socket.socket.close), "bravo"), **SHORT)
    is_cause(found, "not_tls", "the cluster web")
    assert "at least one member up" in found["remedy"]
    [found] = call(mesh, cluster(mesh, closed_port(), "bravo"), **SHORT)
    is_cause(found, "endpoint_not_listening", "the cluster web")
    assert "Start the balancer" in found["remedy"]


def test_a_balancer_that_tells_the_members_who_calls(mesh: Any, listen: Any, serve: Any) -> None:
    port = listen("bravo")["port"]

    def announce(connection: socket.socket) -> None:
        with socket.create_connection(("127.0.0.1", port), 20) as other:
            other.sendall(b"PROXY TCP4 10.0.0.1 10.0.0.2 5000 8732\r\n")
            threading.Thread(target=pump, args=(other, connection), daemon=True).start()
            pump(connection, other)

    [found] = call(mesh, cluster(mesh, serve(announce), "bravo"))
    is_cause(found, "not_tls", "the cluster web")
    assert "without the PROXY protocol" in found["remedy"]


def test_a_balancer_that_notices_late_who_is_up(mesh: Any, listen: Any, serve: Any) -> None:
    port, number = listen("bravo")["port"], itertools.count()

    def wake(connection: socket.socket) -> None:
        if next(number) < 3:
            return
        with socket.create_connection(("127.0.0.1", port), 20) as other:
            threading.Thread(target=pump, args=(other, connection), daemon=True).start()
            pump(connection, other)

    [found] = call(mesh, cluster(mesh, serve(wake), "bravo"), cluster_patience=20)
    assert (found["verdict"], found["answered"]) == ("ok", {"bravo": 2})


def test_the_generation_that_members_must_serve(mesh: Any, listen: Any, balance: Any) -> None:
    port = balance(listen("bravo")["port"], listen("charlie", serve="next")["port"])
    [found] = call(mesh, cluster(mesh, port, "bravo", "charlie"))
    assert found["answered"] == {"bravo": 2, "charlie": 2}
    [found] = call(mesh, cluster(mesh, port, "bravo", "charlie"), require=("current",))
    is_cause(found, "stale_generation_served", "charlie of cluster web", "2 of 4 connections failed.")
    assert found["answered"] == {"bravo": 2}


def test_one_member_of_a_cluster_has_expired(mesh: Any, listen: Any, balance: Any) -> None:
    mesh.make("bravo", **LONG_AGO)
    mesh.trust("alpha", "bravo", "charlie")
    mesh.trust("bravo", "alpha")
    port = balance(listen("charlie")["port"], listen("bravo")["port"])
    [found] = call(mesh, cluster(mesh, port, "bravo", "charlie"), concurrency=1)
    is_cause(found, "server_certificate_expired", "bravo of cluster web", "2 of 4 connections failed.")
    assert found["answered"] == {"charlie": 2}


def test_a_trust_on_the_disk_that_lacks_a_member(mesh: Any, listen: Any, balance: Any) -> None:
    mesh.trust("alpha", "charlie")
    [found] = call(mesh, cluster(mesh, balance(listen("bravo")["port"]), "bravo"))
    is_cause(found, "server_certificate_unknown", "bravo of cluster web", "the trust on the disk of alpha")
    assert "TLS may be ending" not in found["detail"]
    # Of several nobody can say which it was.
    port = balance(listen("charlie")["port"], listen("bravo")["port"])
    [found] = call(mesh, cluster(mesh, port, "bravo", "charlie"), concurrency=1)
    is_cause(found, "server_certificate_unknown", "the cluster web", "verification error")


def test_own_files_that_cannot_be_used_are_told_of_every_cluster(mesh: Any) -> None:
    (mesh.root / "alpha" / "current" / "client.key").resolve().write_text("")
    found = call(mesh, cluster(mesh, closed_port(), "bravo"), cluster(mesh, closed_port(), "charlie"))
    assert len(found) == 2
    for one in found:
        is_cause(one, "damaged_file", "alpha cannot use")


class Dripping:
    """A connection on which a byte comes now and then, for five seconds."""

    def __init__(self) -> None:
        self.end = time.monotonic() + 5

    def settimeout(self, seconds: float) -> None:
        assert seconds > 0

    def sendall(self, _data: bytes) -> None:
        pass

    def recv(self, _size: int) -> bytes:
        time.sleep(0.01)
        return b"x" if time.monotonic() < self.end else b""


def test_a_peer_that_sends_a_byte_now_and_then_gets_no_more_time(mesh: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tls, "is_complete", lambda _answer: False)
    began = time.monotonic()
    call = protocols.Call("alpha", "bravo", 1, "", True, 0.3)
    assert set(protocols.Http().ask(Dripping(), call).body) == set(b"x")  # type: ignore[arg-type]
    assert time.monotonic() - began < 2
