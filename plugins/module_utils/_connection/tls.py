# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What both ends of the connection test share: the files of a server, TLS contexts, and what OpenSSL says.

Only Python's own ssl and hashlib are needed.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import re
import socket
import ssl
import tempfile
import time
from dataclasses import dataclass, field
from typing import Any, Callable, Dict, Iterator, List, Optional, Tuple

from ansible_collections.esync.mesh.plugins.module_utils._core import json_text, layout
from ansible_collections.esync.mesh.plugins.module_utils._core.certificate import Validity
from ansible_collections.esync.mesh.plugins.module_utils._core.errors import EsyncError
from ansible_collections.esync.mesh.plugins.module_utils._core.folders import Folder
from ansible_collections.esync.mesh.plugins.module_utils._core.names import (
    CLIENT,
    CURRENT,
    HANDED_BEFORE,
    HANDED_OVER,
    NEXT,
    REMOTE,
    ROLES,
    STATES,
    TRUSTED,
    UNKNOWN,
    remote_stem,
)
from ansible_collections.esync.mesh.plugins.module_utils._core.regular_file import read_file
from ansible_collections.esync.mesh.plugins.module_utils._store import trust_folder, untrusted
from ansible_collections.esync.mesh.plugins.module_utils._store.trust_folder import TrustEntry

HEALTH = "/esync/health"
"""What is requested and answered in a test, on every endpoint that speaks HTTP."""

THROUGH = "X-Esync-Cluster"
"""The header by which a request says that it comes through the balancer of a cluster, and which one."""

_LIMIT = 16 << 20
_BEGIN, _END = b"-----BEGIN CERTIFICATE-----", b"-----END CERTIFICATE-----"
# Python has names for OpenSSL's flags only from some version on (facts: 3.10 for this one).
_PARTIAL_CHAIN = getattr(ssl, "VERIFY_X509_PARTIAL_CHAIN", None)


# -- what lies on the disk ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class LoadedTrust:
    """The trust in force. :param folder: its real path, so that a switch meanwhile does not mix two trusts."""

    folder: str
    server: str
    entries: Tuple[TrustEntry, ...]

    def bundle(self, role: str) -> str:
        """The path of the PEM bundle of all peers' certificates of this role."""
        return os.path.join(self.folder, role + "s.pem")

    def pins(self, role: str) -> Dict[str, str]:
        """Fingerprint to peer, for one role."""
        return {entry.fingerprint: entry.peer for entry in self.entries if entry.role == role}

    def callers(self) -> Dict[str, str]:
        """Fingerprint to caller; the server's own client certificate, shared with all peers, identifies none."""
        pins = self.pins(CLIENT).items()
        return {fingerprint: UNKNOWN if peer == self.server else peer for fingerprint, peer in pins}


@dataclass(frozen=True)
class Credential:
    """A certificate with its key, by path.

    :param fingerprint: SHA-256 of the DER. :param der: the certificate.
    :param pem: both, if the paths only say in which file of another kind they lie.
    """

    certificate: str
    key: str
    fingerprint: str
    der: bytes
    pem: Optional[bytes] = field(default=None, repr=False)


def read_trust(directory: str) -> LoadedTrust:
    """Read the trust in force.

    :raises EsyncError: kinds ``no_trust``, ``damaged_file``.
    """
    link = os.path.join(directory, TRUSTED)
    try:
        with Folder.open(directory, any_owner=True) as base:
            found = trust_folder.read_index(base)
    except EsyncError as error:
        if error.kind == "missing_folder":
            found = None
        elif error.kind == "unsafe_parent":
            raise  # nothing that is written again would help
        else:
            raise EsyncError(
                f"the list of trusted certificates cannot be used: {error.cause}",
                "Run establish, which writes the trust again",
                kind="damaged_file",
                path=os.path.realpath(error.path or link),
            ) from None
    if found is None:
        raise EsyncError(
            "there is no trust in force, so nobody could be accepted",
            "Run establish, which exchanges the certificates",
            kind="no_trust",
            path=link,
        )
    return LoadedTrust(os.path.join(os.path.realpath(directory), REMOTE, found.folder), found.server, found.entries)


def read_credential(directory: str, state: str, role: str) -> Credential:
    """Find a certificate of this server and its key.

    :param state: ``current``, ``next`` or ``previous``. :param role: ``server`` or ``client``.
    :raises EsyncError: kinds ``no_certificate``, ``damaged_file``.
    """
    link = os.path.join(directory, state)
    folder = os.path.realpath(link)
    if not os.path.isdir(folder):
        raise EsyncError(
            f"there is no {state} generation",
            "Run establish, which makes the sets",
            kind="no_certificate",
            path=link,
        )
    path = os.path.join(folder, role + ".crt")
    der = _first_certificate(_read(path), path)
    return Credential(path, os.path.join(folder, role + ".key"), fingerprint_of(der), der)


def read_shared_key(directory: str, peer: str, state: str) -> Credential:
    """Find the client set that a peer shares with this server.

    :param state: ``current``, ``next`` (the current one if there is no next) or ``previous``.
    :raises EsyncError: kinds ``not_handed``, ``damaged_file``.
    """
    folder = _shared_folder(directory)
    for one in [NEXT, CURRENT] if state == NEXT else [state]:
        stem = os.path.join(folder, remote_stem(peer, CLIENT, one))
        if os.path.lexists(stem + ".crt"):
            der = _first_certificate(_read(stem + ".crt"), stem + ".crt")
            return Credential(stem + ".crt", stem + ".key", fingerprint_of(der), der)
    raise EsyncError(
        f"there is no {state} client set that {peer} shares with this server",
        "Run establish, which distributes the shared client keys",
        kind="not_handed",
        path=os.path.join(directory, HANDED_OVER, remote_stem(peer, CLIENT, state) + ".crt"),
    )


def _shared_folder(directory: str) -> str:
    """The folder of the client sets that the peers share with this server."""
    # What is withdrawn is kept only to prove that nobody accepts it any more.
    links = [os.path.join(directory, name) for name in (HANDED_OVER, HANDED_BEFORE)]
    return os.path.realpath(next((link for link in links if os.path.isdir(link)), links[0]))


class Untrusted:
    """The untrusted certificates with their keys that lie on this server; each file is read once at the most."""

    def __init__(self, directory: str) -> None:
        self._directory = directory
        self._said: Dict[str, Any] = {}

    def own(self, server: Optional[str] = None) -> Credential:
        """One of the current generation.

        :param server: this server's name, to find the one with it; None: the one without any server's.
        :raises EsyncError: kind ``no_certificate``.
        """
        return self._found(
            os.path.join(os.path.realpath(os.path.join(self._directory, CURRENT)), layout.MANIFEST), server
        )

    def of_peer(self, peer: str) -> Credential:
        """The one with the name of a peer that shares its client set with this server.

        :raises EsyncError: kind ``no_certificate``.
        """
        return self._found(os.path.join(_shared_folder(self._directory), layout.SHARED_INDEX), peer)

    def _found(self, path: str, server: Optional[str]) -> Credential:
        with contextlib.suppress(EsyncError, ValueError, KeyError, TypeError, AttributeError):
            if path not in self._said:
                self._said[path] = json_text.loads(_read(path))
            pem = untrusted.pem_of(self._said[path][untrusted.KEY], server)
            der = _first_certificate(pem, path)
            return Credential(path, path, fingerprint_of(der), der, pem)
        raise EsyncError(
            "there is no untrusted certificate to prove the refusal with, or it is damaged",
            "Run establish, which makes it again",
            kind="no_certificate",
            path=path,
        )


def own_certificates(directory: str) -> Dict[str, str]:
    """The fingerprints of all this server's own certificates that can be read: to ``role state``."""
    found = {}
    for state in STATES:
        for role in ROLES:
            with contextlib.suppress(EsyncError):
                found[read_credential(directory, state, role).fingerprint] = f"{role} {state}"
    return found


def fingerprint_of(der: bytes) -> str:
    """SHA-256 of a certificate, lower-case hex."""
    return hashlib.sha256(der).hexdigest()


def validity_of(der: bytes) -> Optional[Validity]:
    """From when to when a certificate is valid; ``None`` if it cannot be read."""
    # Only where it is needed: a call that finds nothing wrong compiles nothing of it.
    from ansible_collections.esync.mesh.plugins.module_utils._connection.served_certificate import validity

    return validity(der)


def rsa_bits_of(der: bytes) -> Optional[int]:
    """The size of a certificate's RSA key; ``None`` if it has another key, or cannot be read."""
    from ansible_collections.esync.mesh.plugins.module_utils._connection.served_certificate import rsa_bits

    return rsa_bits(der)


def subject_of(der: bytes) -> Optional[str]:
    """The common name that a certificate is issued to; ``None`` if it has none or cannot be read."""
    from ansible_collections.esync.mesh.plugins.module_utils._connection.served_certificate import common_name

    return common_name(der)


def _first_certificate(data: bytes, path: str) -> bytes:
    _before, begin, rest = data.partition(_BEGIN)
    body, end, _after = rest.partition(_END)
    if begin and end:
        with contextlib.suppress(ValueError):
            der = ssl.PEM_cert_to_DER_cert((begin + body + end).decode("ascii"))
            if der:
                return der
    raise _damaged(path, "it holds no certificate in PEM")


def _read(path: str) -> bytes:
    try:
        return read_file(path, _LIMIT)
    except OSError as error:
        raise _damaged(path, f"it cannot be read: {os.strerror(error.errno or errno.EIO).lower()}") from None


def _damaged(path: str, cause: str) -> EsyncError:
    return EsyncError(cause, "Restore it, or have it created again", kind="damaged_file", path=path)


# -- contexts -------------------------------------------------------------------------------------------------


def server_context(credential: Credential, trust: LoadedTrust) -> ssl.SSLContext:
    """A context that serves this credential and demands a client certificate of the trust, TLS 1.2 or later.

    :raises EsyncError: kinds ``empty_trust``, ``damaged_file``, ``key_mismatch``.
    """
    if not trust.pins(CLIENT):
        raise EsyncError(
            "the trust holds no client certificate, so every caller would be refused",
            "Run establish, so that the certificates of the other servers are brought here",
            kind="empty_trust",
            path=trust.bundle(CLIENT),
        )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    _harden(context)
    context.verify_mode = ssl.CERT_REQUIRED
    load_credential(context, credential)
    _load_trust(context, trust.bundle(CLIENT))
    # A resumed session would skip the validation of a certificate that may have been withdrawn meanwhile.
    context.options |= ssl.OP_NO_TICKET
    context.num_tickets = 0
    return context


def client_context(trust: LoadedTrust) -> ssl.SSLContext:
    """A context that accepts only the servers of the trust, TLS 1.2 or later; names are not compared, pins are.

    :raises EsyncError: kind ``damaged_file``.
    """
    context = _client()
    context.verify_mode = ssl.CERT_REQUIRED
    if any(entry.role != CLIENT for entry in trust.entries):
        _load_trust(context, trust.bundle("server"))
    return context


def _client() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    _harden(context)
    return context


def _harden(context: ssl.SSLContext) -> None:
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if _PARTIAL_CHAIN is not None:
        context.verify_flags |= _PARTIAL_CHAIN


def _load_trust(context: ssl.SSLContext, path: str) -> None:
    try:
        context.load_verify_locations(cafile=path)
    except (OSError, ValueError):
        raise _damaged(path, "it is no bundle of certificates, or damaged") from None


def load_credential(context: ssl.SSLContext, credential: Credential) -> None:
    """Give a context a certificate and key to present.

    :raises EsyncError: kinds ``damaged_file``, ``key_mismatch``; never with OpenSSL's text.
    """
    reason = ""
    try:
        # The callback keeps OpenSSL from asking a terminal for the passphrase of an encrypted key.
        with _paths(credential) as (certificate, key):
            context.load_cert_chain(certificate, key, password=lambda: "none")
        return
    except ssl.SSLError as error:
        reason = (error.reason or "").upper()
    except (OSError, ValueError):
        pass
    # The last: there is a certificate, but none for a key of this type.
    if reason in ("KEY_VALUES_MISMATCH", "KEY_TYPE_MISMATCH", "NO_CERTIFICATE_ASSIGNED"):
        raise EsyncError(
            f"it is not the private key of the certificate {credential.certificate}",
            "Restore both, or have the set created again",
            kind="key_mismatch",
            path=credential.key,
        )
    if "TOO_SMALL" in reason or "TOO_WEAK" in reason:
        raise EsyncError(
            "the OpenSSL policy of this host refuses it, because its key is too small or its digest too weak "
            f"({reason.lower().replace('_', ' ')})",
            "Set esync_key_size: 3072 (384 with esync_key_type: ecdsa) for the whole mesh, and have its sets created "
            "again: establish with esync_discard_existing for this server; the others: regenerate",
            kind="certificate_too_weak",
            path=credential.certificate,
        )
    raise _damaged(credential.key, f"it, or the certificate {credential.certificate}, cannot be read")


@contextlib.contextmanager
def _paths(credential: Credential) -> Iterator[Tuple[str, str]]:
    """Where the ssl module, which reads nothing but files, finds the certificate and the key."""
    if credential.pem is None:
        yield credential.certificate, credential.key
        return
    # Neither kind has a name that could outlive the process; some builds of Python know only the second.
    with open(os.memfd_create("esync"), "w+b") if hasattr(os, "memfd_create") else tempfile.TemporaryFile() as stream:
        stream.write(credential.pem)
        stream.flush()
        path = f"/proc/self/fd/{stream.fileno()}"
        yield path, path


# -- what OpenSSL says ----------------------------------------------------------------------------------------


def reason_of(error: ssl.SSLError) -> str:
    """OpenSSL's reason, such as ``WRONG_VERSION_NUMBER``, however this Python reports it."""
    text = getattr(error, "reason", None) or str(error.args[-1] if error.args else "")
    return re.sub(r"[^A-Z0-9]+", "_", text.upper()).strip("_")


def alert_of(error: ssl.SSLError) -> Optional[str]:
    """The name of the alert received (RFC 8446), such as ``unknown_ca``; ``None`` if it was none."""
    # Those that came with RFC 6066 are reported without the word.
    found = re.search(r"(?:ALERT_|TLSV1_(?!ALERT_))([A-Z_]+)", reason_of(error))
    return found.group(1).strip("_").lower() if found else None


# -- reading a served certificate -----------------------------------------------------------------------------


def read_served(
    address: Any,
    family: int,
    timeout: float,
    sni: Optional[str],
    begin: Optional[Callable[[socket.socket], None]] = None,
) -> Optional[bytes]:
    """The certificate that an endpoint serves, DER, for the diagnosis only.

    Nothing is verified, so nothing is presented: the connection has no client certificate, and sends no byte.
    A peer of TLS 1.2 that demands a certificate ends the handshake, but has presented its own in clear by then.

    :param address: for connect(). :param timeout: seconds for all of it. :param begin: says what precedes TLS.
    :returns: ``None`` if it could not be read.
    """
    context = _client()
    context.verify_mode = ssl.CERT_NONE
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = context.wrap_bio(incoming, outgoing, server_hostname=sni)
    seen = bytearray()
    end = time.monotonic() + timeout
    try:
        with socket.socket(family, socket.SOCK_STREAM) as raw:
            raw.settimeout(timeout)
            raw.connect(address)
            if begin:
                begin(raw)
            drive(tls.do_handshake, raw, incoming, outgoing, end, seen)
        return tls.getpeercert(binary_form=True)
    except (OSError, ValueError):
        return certificate_in(bytes(seen))


def drive(
    act: Callable[[], Any],
    raw: socket.socket,
    incoming: ssl.MemoryBIO,
    outgoing: ssl.MemoryBIO,
    end: float,
    seen: bytearray,
) -> None:
    """Do something in TLS over memory, with as many bytes both ways as it takes.

    :param end: by the monotonic clock. :param seen: where what comes is kept; 1 MiB of it is the end, as a hang-up is.
    :raises OSError: also socket.timeout and ssl.SSLError.
    """
    while True:
        try:
            act()
            return
        except ssl.SSLWantReadError:
            raw.sendall(outgoing.read())
        raw.settimeout(seconds_left(end))
        piece = raw.recv(16384)
        if piece and len(seen) <= 1 << 20:
            seen += piece
            incoming.write(piece)
        else:
            incoming.write_eof()


def seconds_left(end: float) -> float:
    """How many seconds are left; whoever sends a byte now and then gets no more of them.

    :param end: by the monotonic clock.
    :raises socket.timeout: none.
    """
    left = end - time.monotonic()
    if left <= 0:
        raise socket.timeout
    return left


def certificate_in(stream: bytes) -> Optional[bytes]:
    """The server's certificate in the clear part of a TLS 1.2 handshake (RFC 5246, sections 6.2 and 7.4)."""
    handshake = bytearray()
    at = 0
    while at + 5 <= len(stream) and stream[at] == 22:
        size = int.from_bytes(stream[at + 3 : at + 5], "big")
        handshake += stream[at + 5 : at + 5 + size]
        at += 5 + size
    at = 0
    while at + 4 <= len(handshake):
        size = int.from_bytes(handshake[at + 1 : at + 4], "big")
        body = bytes(handshake[at + 4 : at + 4 + size])
        if handshake[at] == 11:
            length = int.from_bytes(body[3:6], "big")
            return body[6 : 6 + length] if 0 < length <= len(body) - 6 else None
        at += 4 + size
    return None


# -- HTTP -----------------------------------------------------------------------------------------------------

_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_HOST_NAME = re.compile(rf"{_LABEL}(?:\.{_LABEL})*\Z")
_ADDRESS = re.compile(r"[0-9.]+\Z")


def sni_of(name: str) -> Optional[str]:
    """The name to ask for in the handshake: the peer's, if it is a DNS name."""
    return name if _HOST_NAME.match(name) and not _ADDRESS.match(name) and len(name) <= 253 else None


_NOT_IN_HEADERS = re.compile(r"[^A-Za-z0-9.:\[\]_-]")


def request_for(host: str, port: int, cluster: str = "") -> bytes:
    """The request of a test.

    :param cluster: the cluster's name, if the connection goes through its balancer.
    """
    through = f"{THROUGH}: {_NOT_IN_HEADERS.sub('-', cluster)}\r\n" if cluster else ""
    shown = f"[{host}]" if ":" in host else host
    safe = _NOT_IN_HEADERS.sub("-", shown)
    return (
        f"GET {HEALTH} HTTP/1.1\r\nHost: {safe}:{port}\r\nUser-Agent: esync-mesh\r\n"
        f"Accept: application/json\r\n{through}Connection: close\r\n\r\n"
    ).encode("ascii")


def is_through_balancer(request: bytes) -> bool:
    """Whether a request of a test came through the balancer of a cluster."""
    return f"\r\n{THROUGH}:".encode("ascii") in request


def is_complete(answer: bytes) -> bool:
    """Whether an answer needs no more reading; of what is no HTTP the first byte suffices."""
    if not answer:
        return False
    if answer[:5] != b"HTTP/"[: len(answer)]:
        return True
    head, found, body = answer.partition(b"\r\n\r\n")
    if not found:
        return False
    headers = _headers(head)
    if "chunked" in headers.get("transfer-encoding", "").lower():
        return body.startswith(b"0\r\n") or b"\r\n0\r\n" in body
    length = headers.get("content-length", "")
    return length.isdigit() and len(body) >= int(length)


def parse_answer(answer: bytes) -> Tuple[int, bytes]:
    """Status and body of an answer; status 0 for what is no HTTP."""
    head, _found, body = answer.partition(b"\r\n\r\n")
    status = re.match(rb"HTTP/1\.[01] (\d{3})", head)
    if not status:
        return 0, answer
    if "chunked" in _headers(head).get("transfer-encoding", "").lower():
        body = _dechunked(body)
    return int(status.group(1)), body


def _headers(head: bytes) -> Dict[str, str]:
    found = {}
    for line in head.decode("latin-1").split("\r\n")[1:]:
        key, _colon, value = line.partition(":")
        found[key.strip().lower()] = value.strip()
    return found


def _dechunked(body: bytes) -> bytes:
    pieces: List[bytes] = []
    while True:
        line, _found, rest = body.partition(b"\r\n")
        size_text = line.split(b";")[0].strip()
        if not re.match(rb"[0-9A-Fa-f]{1,8}\Z", size_text) or int(size_text, 16) == 0:
            return b"".join(pieces)
        size = int(size_text, 16)
        pieces.append(rest[:size])
        body = rest[size + 2 :]
