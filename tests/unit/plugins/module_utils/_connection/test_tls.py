# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import contextlib
import datetime
import json
import os
import pty
import select
import signal
import socket
import ssl
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Optional

import pytest
from cryptography.hazmat.primitives import serialization

from ansible_collections.esync.mesh.plugins.module_utils._connection import tls
from ansible_collections.esync.mesh.plugins.module_utils._core.errors import EsyncError
from ansible_collections.esync.mesh.plugins.module_utils._crypto import certificates as x509


@pytest.fixture
def bravo(mesh: Any) -> str:
    """The directory of one server."""
    return str(mesh.root / "bravo")


# -- what lies on the disk -------------------------------------------------------------------------------------


def test_the_trust(mesh: Any, bravo: str) -> None:
    trust = tls.read_trust(bravo)
    assert trust.server == "bravo"
    assert trust.folder == os.path.realpath(os.path.join(bravo, "trusted"))
    assert {entry.peer for entry in trust.entries} == {"alpha", "charlie"}
    fingerprints = {entry.fingerprint: entry.peer for entry, _pem in mesh.certificates("alpha", "charlie")}
    assert {**trust.pins("server"), **trust.pins("client")} == fingerprints
    assert len(trust.pins("client")) == 4
    assert trust.bundle("client") == os.path.join(trust.folder, "clients.pem")
    assert Path(trust.bundle("server")).read_text().count("BEGIN CERTIFICATE") == 4


def test_no_trust(mesh: Any, bravo: str) -> None:
    Path(bravo, "trusted").unlink()
    with pytest.raises(EsyncError) as caught:
        tls.read_trust(bravo)
    assert (caught.value.kind, caught.value.path) == ("no_trust", f"{bravo}/trusted")


def test_a_place_where_others_could_replace_it_is_told_as_such(bravo: str) -> None:
    Path(bravo).parent.chmod(0o777)
    with pytest.raises(EsyncError) as caught:
        tls.read_trust(bravo)
    assert (caught.value.kind, caught.value.path) == ("unsafe_parent", bravo)


ENTRY = {"peer": "alpha", "role": "client", "state": "current", "fingerprint": "ab"}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{",
        "[" * 100000,
        '{"version": 1}',
        json.dumps({"version": 2, "server": "bravo", "entries": []}),
        json.dumps({"version": 1, "server": "bravo", "entries": 7}),
        json.dumps({"version": 1, "server": "bravo", "entries": [7]}),
        json.dumps({"version": 1, "server": "bravo", "entries": [{**ENTRY, "role": "other"}]}),
        json.dumps({"version": 1, "server": "bravo", "entries": [{**ENTRY, "state": "other"}]}),
        "\udcff",
    ],
)
def test_a_damaged_trust(bravo: str, text: str) -> None:
    path = Path(bravo, "trusted", "trust.json")
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(EsyncError) as caught:
        tls.read_trust(bravo)
    assert (caught.value.kind, caught.value.path) == ("damaged_file", str(path.resolve()))


@pytest.mark.parametrize("what", ["gone", "fifo", "folder"])
def test_what_is_no_file_does_not_block(bravo: str, what: str) -> None:
    path = Path(bravo, "trusted").resolve() / "trust.json"
    path.unlink()
    {"gone": lambda: None, "fifo": lambda: os.mkfifo(path), "folder": path.mkdir}[what]()
    with pytest.raises(EsyncError) as caught:
        tls.read_trust(bravo)
    assert (caught.value.kind, caught.value.path) == ("damaged_file", str(path))


@pytest.mark.parametrize("state", ["current", "next"])
@pytest.mark.parametrize("role", ["server", "client"])
def test_a_credential(mesh: Any, bravo: str, state: str, role: str) -> None:
    credential = tls.read_credential(bravo, state, role)
    file = mesh.server("bravo").file(role, "cer", state)
    assert credential.der == file.read_bytes()
    assert credential.fingerprint == x509.parse_certificate(credential.der, "x", role).fingerprint
    assert credential.certificate == str(file.with_name(f"{role}.crt"))
    assert credential.key == str(file.with_name(f"{role}.key"))


def test_no_such_generation(bravo: str) -> None:
    with pytest.raises(EsyncError) as caught:
        tls.read_credential(bravo, "previous", "server")
    assert (caught.value.kind, caught.value.path) == ("no_certificate", f"{bravo}/previous")


BEGIN, END = "-----BEGIN CERTIFICATE-----\n", "-----END CERTIFICATE-----\n"


@pytest.mark.parametrize("text", ["", "nothing", BEGIN + END, BEGIN + "MII", END + BEGIN, BEGIN + "M\n" + END])
def test_a_credential_without_a_certificate(mesh: Any, bravo: str, text: str) -> None:
    mesh.server("bravo").file("server", "crt").write_text(text)
    with pytest.raises(EsyncError) as caught:
        tls.read_credential(bravo, "current", "server")
    assert caught.value.kind == "damaged_file"
    assert str(caught.value.path).endswith("/server.crt")


def test_own_certificates_as_far_as_they_can_be_read(mesh: Any, bravo: str) -> None:
    own = {entry.fingerprint: f"{entry.role} {entry.state}" for entry, _pem in mesh.certificates("bravo")}
    assert tls.own_certificates(bravo) == own
    mesh.server("bravo").file("client", "crt").write_text("")
    assert sorted(tls.own_certificates(bravo).values()) == ["client next", "server current", "server next"]
    assert tls.own_certificates("/nowhere") == {}


@pytest.mark.parametrize("server", [None, "bravo"])
@pytest.mark.parametrize("memory", [True, False])
def test_an_untrusted_certificate(
    mesh: Any, bravo: str, server: str | None, memory: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    credential = tls.Untrusted(bravo).own(server)
    assert credential.fingerprint not in mesh.known()
    assert tls.subject_of(credential.der) == (server or "untrusted")
    assert "PRIVATE" not in repr(credential)
    if not memory:
        monkeypatch.delattr(os, "memfd_create")
    opened = os.listdir("/proc/self/fd")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    tls.load_credential(context, credential)
    assert os.listdir("/proc/self/fd") == opened
    with pytest.raises(EsyncError) as caught:
        tls.load_credential(context, replace(credential, pem=b"x"))
    assert (caught.value.kind, caught.value.path) == ("damaged_file", credential.key)


def without_untrusted(path: Path) -> None:
    path.write_text(json.dumps({**json.loads(path.read_bytes()), "untrusted": {}}))


def spoil_both(path: Path) -> None:
    path.write_text(path.read_text().replace("PRIVATE KEY", "private key"))


SPOIL = [os.unlink, lambda path: path.write_text(""), lambda path: path.write_text("[" * 100000), without_untrusted]


@pytest.mark.parametrize("spoil", [*SPOIL, lambda path: path.write_text("[]"), spoil_both])
def test_an_untrusted_certificate_that_is_missing_or_damaged(bravo: str, spoil: Any) -> None:
    path = Path(bravo, "current").resolve() / "manifest.json"
    spoil(path)
    for server in (None, "bravo"):
        with pytest.raises(EsyncError) as caught:
            tls.Untrusted(bravo).own(server)
        assert (caught.value.kind, caught.value.path) == ("no_certificate", str(path))
        assert "establish" in caught.value.remedy


def test_no_untrusted_certificate_of_another_server(bravo: str) -> None:
    with pytest.raises(EsyncError, match="there is no untrusted certificate"):
        tls.Untrusted(bravo).own("alpha")
    with pytest.raises(EsyncError) as caught:
        tls.Untrusted(bravo).of_peer("alpha")
    assert (caught.value.kind, caught.value.path) == ("no_certificate", f"{bravo}/handed-over/shared.json")


def test_validity(ecdsa_key: Any) -> None:
    now = datetime.datetime(2026, 11, 23, 12, 0, tzinfo=datetime.timezone.utc)
    certificate = x509.self_sign(ecdsa_key, "server", x509.Profile("a", ("a",), "ecdsa", 256, 10), now)
    validity = tls.validity_of(certificate.der)
    assert validity
    assert validity.not_before == now - datetime.timedelta(days=1)
    assert validity.not_after == now + datetime.timedelta(days=10)
    assert tls.validity_of(b"nothing") is None


# -- contexts --------------------------------------------------------------------------------------------------


def handshake(
    client: ssl.SSLContext, server: ssl.SSLContext, session: Optional[ssl.SSLSession] = None
) -> tuple[ssl.SSLObject, ssl.SSLObject, bytes]:
    """Both ends of a connection in memory over which a byte went, and what the server sent."""
    to_server, to_client, incoming = ssl.MemoryBIO(), ssl.MemoryBIO(), ssl.MemoryBIO()
    caller = client.wrap_bio(incoming, to_server, session=session)
    callee = server.wrap_bio(to_server, to_client, server_side=True)
    sent = b""
    steps: list[Callable[[], Any]] = [caller.do_handshake, callee.do_handshake]
    for step in [*steps * 4, lambda: callee.write(b"x"), lambda: caller.read(1)]:
        with contextlib.suppress(ssl.SSLWantReadError):
            step()
        piece = to_client.read()
        sent += piece
        incoming.write(piece)
    return caller, callee, sent


def contexts(mesh: Any, caller: str, callee: str) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    client = tls.client_context(tls.read_trust(str(mesh.root / caller)))
    tls.load_credential(client, tls.read_credential(str(mesh.root / caller), "current", "client"))
    directory = str(mesh.root / callee)
    return client, tls.server_context(tls.read_credential(directory, "current", "server"), tls.read_trust(directory))


def test_two_servers_that_trust_each_other(mesh: Any, version: str) -> None:
    client, server = contexts(mesh, "alpha", "bravo")
    caller, callee, _sent = handshake(client, server)
    assert caller.version() == callee.version() == version
    assert caller.getpeercert(binary_form=True) == mesh.server("bravo").file("server", "cer").read_bytes()
    assert callee.getpeercert(binary_form=True) == mesh.server("alpha").file("client", "cer").read_bytes()


def test_the_newest_version_is_preferred_and_old_ones_are_not_used(mesh: Any) -> None:
    client, server = contexts(mesh, "alpha", "bravo")
    assert handshake(client, server)[0].version() == "TLSv1.3"
    assert client.minimum_version == server.minimum_version == ssl.TLSVersion.TLSv1_2
    assert client.verify_mode == server.verify_mode == ssl.CERT_REQUIRED


def test_no_ticket_is_given(mesh: Any, version: str) -> None:
    # A resumed session would skip the judgement of a certificate that lost trust meanwhile.
    client, server = contexts(mesh, "alpha", "bravo")
    caller, _callee, _sent = handshake(client, server)
    assert caller.version() == version
    if version == "TLSv1.2":
        assert caller.session and not caller.session.has_ticket
    else:
        again, _callee, _sent = handshake(client, server, caller.session)
        assert not again.session_reused


def test_no_session_outlives_the_trust_that_it_was_judged_by(mesh: Any, version: str) -> None:
    client, server = contexts(mesh, "alpha", "bravo")
    caller, _callee, _sent = handshake(client, server)
    mesh.trust("bravo", "charlie")
    _client, server = contexts(mesh, "alpha", "bravo")
    with pytest.raises(ssl.SSLError):
        handshake(client, server, caller.session)


def test_both_generations_of_one_subject_are_accepted_in_any_order(mesh: Any) -> None:
    for state in ("current", "next"):
        client, _server = contexts(mesh, "alpha", "bravo")
        directory = str(mesh.root / "bravo")
        server = tls.server_context(tls.read_credential(directory, state, "server"), tls.read_trust(directory))
        caller, _callee, _sent = handshake(client, server)
        assert caller.getpeercert(binary_form=True) == mesh.server("bravo").file("server", "cer", state).read_bytes()


def test_a_trust_without_client_certificates(mesh: Any, bravo: str) -> None:
    mesh.trust("bravo")
    trust = tls.read_trust(bravo)
    with pytest.raises(EsyncError) as caught:
        tls.server_context(tls.read_credential(bravo, "current", "server"), trust)
    assert (caught.value.kind, caught.value.path) == ("empty_trust", trust.bundle("client"))
    # A caller that trusts nobody can still find out what is wrong.
    assert tls.client_context(trust).verify_mode == ssl.CERT_REQUIRED


@pytest.mark.parametrize("text", [None, "", "nothing", BEGIN + "MII\n" + END])
def test_a_damaged_bundle(bravo: str, text: Any) -> None:
    trust = tls.read_trust(bravo)
    for role in ("client", "server"):
        path = Path(trust.bundle(role))
        path.unlink()
        if text is not None:
            path.write_text(text)
    with pytest.raises(EsyncError) as caught:
        tls.server_context(tls.read_credential(bravo, "current", "server"), trust)
    assert (caught.value.kind, caught.value.path) == ("damaged_file", trust.bundle("client"))
    with pytest.raises(EsyncError) as caught:
        tls.client_context(trust)
    assert (caught.value.kind, caught.value.path) == ("damaged_file", trust.bundle("server"))


def test_a_key_that_is_not_the_certificate_s(mesh: Any, bravo: str) -> None:
    mesh.server("bravo").file("server", "key").write_bytes(mesh.server("bravo").file("client", "key").read_bytes())
    with pytest.raises(EsyncError) as caught:
        tls.load_credential(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), tls.read_credential(bravo, "current", "server"))
    assert caught.value.kind == "key_mismatch"
    assert str(caught.value.path).endswith("/server.key")


def test_a_key_of_another_type(mesh: Any, bravo: str, rsa_key: Any) -> None:
    mesh.server("bravo").file("server", "key").write_bytes(x509.key_to_pem(rsa_key))
    with pytest.raises(EsyncError) as caught:
        tls.load_credential(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), tls.read_credential(bravo, "current", "server"))
    assert caught.value.kind == "key_mismatch"


def test_keys_that_cannot_be_read(mesh: Any, bravo: str, ecdsa_key: Any) -> None:
    secret = b"very-secret"
    encrypted = ecdsa_key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.BestAvailableEncryption(secret)
    )
    file = mesh.server("bravo").file("server", "key")
    for content in (b"", b"nothing", file.read_bytes()[:100], encrypted, None):
        file.unlink() if content is None else file.write_bytes(content)
        with pytest.raises(EsyncError) as caught:
            tls.load_credential(
                ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), tls.read_credential(bravo, "current", "server")
            )
        assert caught.value.kind == "damaged_file"
        assert str(caught.value.path).endswith("/server.key")


def test_nobody_is_asked_for_a_passphrase(mesh: Any, bravo: str, ecdsa_key: Any) -> None:
    encrypted = ecdsa_key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.BestAvailableEncryption(b"secret")
    )
    mesh.server("bravo").file("server", "key").write_bytes(encrypted)
    credential = tls.read_credential(bravo, "current", "server")
    # OpenSSL asks the terminal, so the process gets one.
    child, terminal = pty.fork()
    if child == 0:
        with contextlib.suppress(EsyncError):
            tls.load_credential(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), credential)
        os._exit(0)
    said = b""
    with open(terminal, "rb", buffering=0) as stream, contextlib.suppress(OSError):
        while select.select([stream], [], [], 20)[0] and b":" not in said:
            said += stream.read(100) or b":"
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    assert b"phrase" not in said


# -- what OpenSSL says -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "reason", "alert"),
    [
        ("TLSV1_ALERT_UNKNOWN_CA", "TLSV1_ALERT_UNKNOWN_CA", "unknown_ca"),
        ("TLSV13_ALERT_CERTIFICATE_REQUIRED", "TLSV13_ALERT_CERTIFICATE_REQUIRED", "certificate_required"),
        ("SSLV3_ALERT_BAD_CERTIFICATE", "SSLV3_ALERT_BAD_CERTIFICATE", "bad_certificate"),
        ("tlsv1 alert protocol version", "TLSV1_ALERT_PROTOCOL_VERSION", "protocol_version"),
        ("wrong version number", "WRONG_VERSION_NUMBER", None),
        ("", "", None),
    ],
)
def test_reasons_and_alerts(said: str, reason: str, alert: Any) -> None:
    error = ssl.SSLError(1, said)
    assert tls.reason_of(error) == reason
    assert tls.alert_of(error) == alert
    assert tls.reason_of(ssl.SSLError()) == ""


# -- the served certificate ------------------------------------------------------------------------------------


def test_the_certificate_in_the_clear_part_of_a_handshake(mesh: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    client, server = contexts(mesh, "alpha", "bravo")
    client.maximum_version = ssl.TLSVersion.TLSv1_2
    _caller, _callee, sent = handshake(client, server)
    der = mesh.server("bravo").file("server", "cer").read_bytes()
    assert tls.certificate_in(sent) == der
    found = {tls.certificate_in(sent[:length]) for length in range(len(sent))}
    assert found == {None, der}
    # Records of any size.
    assert sent[0] == 22
    size = int.from_bytes(sent[3:5], "big")
    records = b"".join(sent[:3] + b"\x00\x01" + sent[at : at + 1] for at in range(5, 5 + size))
    assert tls.certificate_in(records + sent[5 + size :]) == der


def test_nothing_is_in_clear_from_tls_1_3_on(mesh: Any) -> None:
    _caller, _callee, sent = handshake(*contexts(mesh, "alpha", "bravo"))
    assert len(sent) > 500
    assert tls.certificate_in(sent) is None


@pytest.mark.parametrize(
    "stream",
    [
        b"",
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        b"\x15\x03\x03\x00\x02\x02\x28",
        # What would be a certificate, in a record that holds none.
        b"\x17\x03\x03\x00\x0b\x0b\x00\x00\x07\x00\x00\x04\x00\x00\x01x",
        b"\x16\x03\x03\x00\x07\x0b\x00\x00\x03\x00\x00\x00",
        b"\x16\x03\x03\x00\x0a\x0b\x00\x00\x06\x00\x00\x03\xff\xff\xff",
        b"\x16\x03\x03\x00\x04\x0b\x00\x00\x00",
        b"\x16\x03\x03\xff\xff\x0b\xff\xff\xff" + bytes(100),
    ],
)
def test_streams_without_a_certificate(stream: bytes) -> None:
    assert tls.certificate_in(stream) is None


def test_reading_what_an_endpoint_serves_without_showing_anything(mesh: Any, listen: Any, version: str) -> None:
    port = listen("bravo")["port"]
    der = mesh.server("bravo").file("server", "cer").read_bytes()
    assert tls.read_served(("127.0.0.1", port), socket.AF_INET, 10, "bravo") == der


@pytest.mark.parametrize("option", ["-tls1_2", "-tls1_3"])
def test_reading_what_openssl_serves(mesh: Any, s_server: Any, option: str) -> None:
    port = s_server("charlie", option, "-Verify", "1", "-verify_return_error")
    der = mesh.server("charlie").file("server", "cer").read_bytes()
    assert tls.read_served(("127.0.0.1", port), socket.AF_INET, 10, None) == der


def test_reading_what_is_served_before_the_line_is_cut(mesh: Any, serve: Any) -> None:
    _client, server = contexts(mesh, "alpha", "bravo")
    server.maximum_version = ssl.TLSVersion.TLSv1_2

    def cut(connection: socket.socket) -> None:
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        incoming.write(connection.recv(1 << 16))
        with contextlib.suppress(ssl.SSLWantReadError):
            server.wrap_bio(incoming, outgoing, server_side=True).do_handshake()
        connection.sendall(outgoing.read())
        connection.recv(1 << 16)

    der = mesh.server("bravo").file("server", "cer").read_bytes()
    assert tls.read_served(("127.0.0.1", serve(cut)), socket.AF_INET, 10, None) == der


def test_reading_where_nothing_is_served(serve: Any) -> None:
    for answer in (lambda connection: None, lambda connection: connection.sendall(b"SSH-2.0-x\r\n")):
        assert tls.read_served(("127.0.0.1", serve(answer)), socket.AF_INET, 10, None) is None
    silent = serve(lambda connection: connection.recv(1 << 20) and connection.recv(1))
    assert tls.read_served(("127.0.0.1", silent), socket.AF_INET, 0.2, None) is None
    with socket.create_server(("127.0.0.1", 0)) as closed:
        address = closed.getsockname()
    assert tls.read_served(address, socket.AF_INET, 10, None) is None


# -- HTTP ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "asked"),
    [
        ("web-1", "web-1"),
        ("web-1.example.org", "web-1.example.org"),
        ("1web", "1web"),
        ("10.0.0.1", None),
        ("fe80::1", None),
        ("a_b", None),
        ("a-", None),
        ("a..b", None),
        ("", None),
        ("a" * 64, None),
        (".".join(["a" * 60] * 5), None),
    ],
)
def test_the_name_that_is_asked_for(name: str, asked: Any) -> None:
    assert tls.sni_of(name) == asked


def test_the_request() -> None:
    assert tls.request_for("web-1", 8732).startswith(b"GET /esync/health HTTP/1.1\r\nHost: web-1:8732\r\n")
    assert b"\r\nHost: [fe80::1]:1\r\n" in tls.request_for("fe80::1", 1)
    assert tls.request_for("a\r\nX: y", 1).count(b"\r\n") == tls.request_for("a", 1).count(b"\r\n")
    assert tls.request_for("a", 1).endswith(b"\r\nConnection: close\r\n\r\n")


HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n"
CHUNKED = b"HTTP/1.1 200 OK\r\ntransfer-encoding: Chunked\r\n\r\n"


@pytest.mark.parametrize(
    ("answer", "complete", "status", "body"),
    [
        (b"", False, 0, b""),
        (b"HT", False, 0, b"HT"),
        (b"HTTP/1.1 200 OK\r\nContent-Le", False, 200, b""),
        (HEAD, False, 200, b""),
        (HEAD + b"ab", False, 200, b"ab"),
        (HEAD + b"abc", True, 200, b"abc"),
        (b"HTTP/1.0 404 Not Found\r\nCONTENT-LENGTH:0\r\n\r\n", True, 404, b""),
        # Without a length the end of the connection is the end.
        (b"HTTP/1.1 200 OK\r\n\r\nabc", False, 200, b"abc"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\nabc", False, 200, b"abc"),
        (CHUNKED + b"3\r\nabc\r\n", False, 200, b"abc"),
        (CHUNKED + b"3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\n", True, 200, b"abcde"),
        (CHUNKED + b"0\r\n\r\n", True, 200, b""),
        (CHUNKED + b"a\r\n", False, 200, b""),
        (CHUNKED + b"x\r\nabc", False, 200, b""),
        (CHUNKED + b"fffffffff\r\nabc", False, 200, b""),
        (b"SSH-2.0-OpenSSH", True, 0, b"SSH-2.0-OpenSSH"),
        (b"\x15\x03\x01\x00\x02\x02\x28", True, 0, b"\x15\x03\x01\x00\x02\x02\x28"),
    ],
)
def test_answers(answer: bytes, complete: bool, status: int, body: bytes) -> None:
    assert tls.is_complete(answer) is complete
    assert tls.parse_answer(answer) == (status, body)


def test_the_request_through_a_balancer_is_told_from_a_direct_one() -> None:
    through = tls.request_for("a", 1, "web")
    assert b"\r\nX-Esync-Cluster: web\r\n" in through and through.endswith(b"\r\nConnection: close\r\n\r\n")
    assert tls.is_through_balancer(through)
    assert not tls.is_through_balancer(tls.request_for("a", 1))
    assert tls.request_for("a", 1, "w\r\nX: y").count(b"\r\n") == through.count(b"\r\n")


def test_time_that_is_up_is_up() -> None:
    assert 9 < tls.seconds_left(time.monotonic() + 10) <= 10
    with pytest.raises(socket.timeout):
        tls.seconds_left(time.monotonic())
