# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Every reader of what others may have written, what it may raise, and real files to begin with."""

from __future__ import annotations

import contextlib
import datetime
import hashlib
import json
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
for place in (ROOT / "playbooks" / "collections", ROOT / "tests" / "unit" / "plugins" / "plugin_utils" / "_planning"):
    sys.path.insert(0, str(place))

import test_records  # noqa: E402
from mutation import changed, raw_or_changed  # noqa: E402

from ansible_collections.esync.mesh.plugins.module_utils._connection import (  # noqa: E402
    causes,
    evidence,
    listener,
    served_certificate,
    tls,
)
from ansible_collections.esync.mesh.plugins.module_utils._core import layout  # noqa: E402
from ansible_collections.esync.mesh.plugins.module_utils._core.errors import EsyncError  # noqa: E402
from ansible_collections.esync.mesh.plugins.module_utils._core.folders import Folder  # noqa: E402
from ansible_collections.esync.mesh.plugins.module_utils._crypto import certificates as x509  # noqa: E402
from ansible_collections.esync.mesh.plugins.module_utils._crypto import der, file_kinds, key_types, pins, pkcs12, pvk  # noqa: E402
from ansible_collections.esync.mesh.plugins.module_utils._store import (  # noqa: E402
    distrust,
    exchange_folder,
    indexed_folder,
    inspection,
    local_sets,
    manifest,
    shared_sets,
    trust_folder,
)
from ansible_collections.esync.mesh.plugins.plugin_utils._ledger import admission, pem  # noqa: E402
from ansible_collections.esync.mesh.plugins.plugin_utils._ledger.records import Ledger  # noqa: E402
from ansible_collections.esync.mesh.plugins.plugin_utils._planning import records  # noqa: E402

NOW = datetime.datetime.now(datetime.timezone.utc)
PASSPHRASE = b"fuzz"
# A file with many iterations takes as long as the real limit allows. Here the reader is tried, not the limit.
pkcs12.ITERATIONS, pkcs12.MAX_ITERATIONS = 10, 5000


@dataclass(frozen=True)
class Reader:
    """One reader.

    :param read: reads some bytes; raises EsyncError, or nothing.
    :param seeds: real files.
    """

    read: Callable[[bytes], None]
    seeds: Callable[[], list[bytes]]


# -- real files ----------------------------------------------------------------------------------------------------


def _pair(key_type: str = "ecdsa", role: str = "server", name: str = "alpha") -> tuple[Any, x509.Certificate]:
    size = 2048 if key_type == "rsa" else None
    key = x509.generate_key(key_type, size)
    return key, x509.self_sign(key, role, x509.Profile(name, (name, "127.0.0.1"), key_type, size, 300), NOW)


def _facts(role: str) -> dict[str, Any]:
    return _pair(role=role)[1].facts()


def _generations() -> list[dict[str, Any]]:
    return [{"id": "1-x", "state": "current", "server": _facts("server"), "client": _facts("client")}]


def _digest(rows: Any, read: Any, digest_of: Any) -> str:
    with contextlib.suppress(Exception):
        return str(digest_of(read(rows)))
    return ""


LEDGER = {
    "version": 1,
    "name": "alpha",
    "address": "127.0.0.1",
    "port": 8732,
    "generations": _generations(),
    "trust": {"bravo": "ab" * 32},
    "removed_at": None,
    "distrusted": [
        {
            "fingerprint": "ab" * 32,
            "role": "client",
            "not_after": "2027-01-01T00:00:00Z",
            "since": "2026-01-01T00:00:00Z",
            "why": "compromised",
        }
    ],
}
ENTRIES = [
    {"peer": peer, "role": role, "state": "current", "fingerprint": number * 32}
    for peer, number in (("bravo", "ab"), ("charlie", "cd"))
    for role in ("server", "client")
]
REMEMBERED = {
    "distrusted": [
        {
            "peer": "delta",
            "role": "client",
            "fingerprint": "ef" * 32,
            "key": "",
            "since": "2026-01-01T00:00:00Z",
            "why": "removed",
        }
    ],
    "distrusted_digest": "",
}
TRUST = {"version": 1, "server": "alpha", "digest": "", "model": "pinned", "entries": ENTRIES, **REMEMBERED}
SHARED = {
    "version": 1,
    "server": "alpha",
    "digest": "",
    "entries": [
        {
            "peer": "bravo",
            "state": "current",
            "fingerprint": "ab" * 32,
            "files": {"crt": "ab" * 32, "key": "cd" * 32, "pfx": "ef" * 32},
        }
    ],
    "untrusted": {},
}
ROTATION = {"holder": "joe@node process 1 started 2", "since": "2026-11-26T00:00:00Z", "id": "r1"}
EXCHANGE = {
    "version": 1,
    "name": "bravo",
    "address": "192.0.2.1",
    "port": 8732,
    "endpoint": "nginx",
    "generations": [{"state": "current", "server": "abab " * 16, "client": "cdcd " * 16}],
    "private_keys": {"bravo_SyncClient.pfx": "ab" * 32},
}
HEALTH = {"server": "bravo", "generation": "ab" * 32, "product_version": "7", "peer": "alpha", "site": None}


class _Folder:
    """A folder on a file system in memory, with one file in it that every execution writes again."""

    def __init__(self) -> None:
        memory = Path("/dev/shm")
        self._kept = tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None)
        self.path = Path(self._kept.name)
        self.path.chmod(0o755)
        self.open = Folder.open(str(self.path))


# -- readers -------------------------------------------------------------------------------------------------------


def _read_der(data: bytes) -> None:
    with contextlib.suppress(ValueError):
        der.elements(data)
    with contextlib.suppress(ValueError):
        der.open_sequence(data)
    with contextlib.suppress(ValueError):
        list(pkcs12.pbe.counts(der.Element(der.SEQUENCE, data, data)))
    served_certificate.validity(data)
    served_certificate.common_name(data)
    x509.signed_by_itself(data)
    _certificate(data)


def _certificate(data: bytes) -> None:
    found = x509.parse_certificate(data, "x.cer")
    json.dumps(found.facts())
    x509.signed_by_itself(found.der)
    list(pins.unfit(found, NOW))


def _read_pem(data: bytes) -> None:
    text = data.decode("utf-8", "replace")
    for read in (
        lambda: _certificate(data),
        lambda: pem.fingerprint_of(text, "x"),
        lambda: pem.has_role(text, "server", "x"),
        lambda: tls._first_certificate(data, "x"),
        lambda: inspection._check_pem(data, "x"),
        lambda: pem.key_of.__wrapped__(text),
        lambda: file_kinds.refuse_other_kind(data, "x"),
        lambda: _certificate(file_kinds.bare_certificate(data)),
        lambda: admission.certificate_of.__wrapped__(text, "server"),
    ):
        with contextlib.suppress(EsyncError):
            read()
    _consistent(x509.key_from_pem(data, "x.key"))


def _consistent(key: Any) -> None:
    key_types.consistent(key)
    key_types.pkcs8(key)
    x509.public_key_of(key)


def _read_pvk(data: bytes) -> None:
    with contextlib.suppress(EsyncError):
        pvk.read_pvk(data, "x.pvk")
    _consistent(pvk.read_pvk(data, "x.pvk", PASSPHRASE))


def _read_pkcs12(data: bytes) -> None:
    """The first byte says whether the rest is a file, or its content, which is then given the right MAC."""
    content = data[1:]
    if data[:1] != b"\0":
        outer = der.sequence(der.oid(pkcs12._DATA), der.explicit(0, der.octets(content)))
        content = der.sequence(
            der.integer(3), outer, pkcs12._mac(pkcs12._FORMS["modern"], content, PASSPHRASE.decode())
        )
    pkcs12.encryption_of(content)
    key, _certificate = pkcs12.read_pfx(content, "x.pfx", PASSPHRASE)
    _consistent(key)


def _pkcs12_seeds() -> list[bytes]:
    found = []
    for key_type in ("ecdsa", "rsa"):
        key, made = _pair(key_type)
        for encryption in pkcs12.ENCRYPTIONS:
            file = pkcs12.write_pfx("alpha", key, made.der, PASSPHRASE, encryption)
            found += [b"\0" + file, b"\1" + pkcs12._data(pkcs12._outer(file)[1])]
    return found


def _ledger() -> Callable[[bytes], None]:
    folder = _Folder()
    ledger = Ledger(folder.path)

    def read(data: bytes) -> None:
        (folder.path / "alpha.json").write_bytes(raw_or_changed([LEDGER], data))
        found = ledger.read("alpha")
        if found:
            ledger.write(found)

    return read


def _trust() -> Callable[[bytes], None]:
    folder = _Folder()
    (folder.path / "remote" / "x").mkdir(parents=True)
    (folder.path / "handed" / "x").mkdir(parents=True)
    (folder.path / "trusted").symlink_to("remote/x")
    (folder.path / "handed-over").symlink_to("handed/x")

    def read(data: bytes) -> None:
        which, rest = data[:1], data[1:]
        document = changed(SHARED if which == b"\2" else TRUST, rest)
        if which != b"\0" and isinstance(document, dict):
            # With its own digest, or nothing behind the comparison would ever be reached.
            kind = shared_sets.entries_from if which == b"\2" else trust_folder.entries_from
            if document.get("digest") == "":
                document["digest"] = _digest(document.get("entries"), kind, indexed_folder.digest_of)
            if document.get("distrusted_digest") == "":
                rows = document.get("distrusted")
                document["distrusted_digest"] = _digest(rows, distrust.distrust_from, distrust.memory_digest)
            rest = json.dumps(document).encode("utf-8", "surrogatepass")
        (folder.path / "handed" / "x" / layout.SHARED_INDEX).write_bytes(rest)
        (folder.path / "remote" / "x" / trust_folder.INDEX).write_bytes(rest)
        if which == b"\2":
            shared_sets.read(folder.open, "alpha")
        else:
            with contextlib.suppress(EsyncError):
                trust_folder.read_index(folder.open)
            trust_folder.read(folder.open, "alpha")

    return read


def _manifest() -> Callable[[bytes], None]:
    folder = _Folder()
    document = json.loads(_manifest_text(folder.open))

    def read(data: bytes) -> None:
        rest = raw_or_changed([document], data)
        with contextlib.suppress(ValueError, TypeError, AttributeError, RecursionError):
            said = json.loads(rest)
            if data[:1] != b"\0" and said.pop("digest", None) is not None:
                # With its own digest, or nothing behind the comparison would ever be reached.
                rest = json.dumps({**said, "digest": manifest._digest(said)}).encode("ascii")
        (folder.path / layout.MANIFEST).write_bytes(rest)
        found = manifest.load(folder.open, "1-x")
        if found and found.verifier:
            found.verifier.accepts(PASSPHRASE)
        manifest.compare(folder.open, "1-x", local_sets.Expected("alpha"))

    return read


def _manifest_text(folder: Folder) -> bytes:
    from ansible_collections.esync.mesh.plugins.module_utils._store.local_generation import PFX_OPENS, LocalGeneration

    named = {role: _pair(role=role)[1] for role in ("server", "client")}
    for role, stem in (("server", "alpha_SyncServer"), ("client", "alpha_SyncClient")):
        folder.write(f"{stem}.crt", named[role].pem.encode("ascii"), 0o644)
        folder.write(f"{stem}.key", b"key", 0o600)
        folder.write(f"{stem}.cer", named[role].der, 0o644)
        folder.write(f"{stem}.pfx", b"pfx", 0o600)
    generation = LocalGeneration("1-x", "alpha", named, ("cer", "pfx"), PFX_OPENS, ("modern",))
    return manifest.text_of(folder, generation, PASSPHRASE)


def _rotation() -> Callable[[bytes], None]:
    folder = _Folder()

    def read(data: bytes) -> None:
        (folder.path / layout.ROTATION).write_bytes(raw_or_changed([ROTATION], data))
        found = local_sets._rotation(folder.open, {"current": "1-x"})
        json.dumps(found)

    return read


def _read_exchange(data: bytes) -> None:
    found = exchange_folder.parse_manifest(raw_or_changed([EXCHANGE], data))
    if found:
        sorted(found["fingerprints"])
        json.dumps({**found, "fingerprints": list(found["fingerprints"].values())})


def _read_http(data: bytes) -> None:
    pair = evidence.PairEvidence("alpha", "bravo", "192.0.2.1", 1, {"ab" * 32: "current"})
    body = raw_or_changed([HEALTH], data)
    tls.is_complete(data)
    status, said = tls.parse_answer(data)
    causes.check_answer(pair, said, "7")
    finding = causes.check_answer(pair, body, "7")
    json.dumps([status, str(finding)])
    tls.is_through_balancer(data)
    listener.answer_to(data, "alpha", "ab" * 32, None, "bravo")
    served = tls.certificate_in(data)
    if served:
        tls.validity_of(served), tls.subject_of(served)


def _http_seeds() -> list[bytes]:
    body = json.dumps(HEALTH).encode("ascii")
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
    flight = b"\x16\x03\x03\x00\x10\x0b\x00\x00\x0c\x00\x00\x09\x00\x00\x06\x30\x04\x30\x02\x30\x00"
    return [
        head + b"Content-Length: %d\r\n\r\n" % len(body) + body,
        head + b"Transfer-Encoding: chunked\r\n\r\n%x\r\n" % len(body) + body + b"\r\n0\r\n\r\n",
        tls.request_for("bravo", 8732, "web"),
        flight,
        b"\1\0\1\0\1",
    ]


def _read_visit(data: bytes) -> None:
    names = tuple(sorted(records.STEPS))
    step = names[data[0] % len(names)] if data else names[0]
    reply = changed(VISITS[step], data[1:])
    found, errors = records.parse("alpha", SENT[step], reply)
    if isinstance(reply, Mapping):
        found += records.diffs(reply)
    json.dumps([found, [records.message_of(one) for one in errors]], ensure_ascii=False).encode("utf-8")


VISITS = {
    step: {
        "results": [
            {"step": step, **test_records.REPLIES[step], "diff": {"before": "x", "after": "y"}},
            {"step": "peer_trust", **test_records.REPLIES["peer_trust"]},
        ][: 1 + number % 2],
        "errors": [{"kind": "damaged_file", "cause": "x", "remedy": "y", "server": "alpha", "path": "/x"}],
        "msg": "x",
    }
    for number, step in enumerate(sorted(records.STEPS))
}
SENT = {step: test_records.sent(step, "peer_trust")[: len(visit["results"])] for step, visit in VISITS.items()}


def _text(*documents: Any) -> list[bytes]:
    return [
        *(b"\0" + json.dumps(one).encode("ascii") for one in documents),
        b"\0" + b"[" * 9000,
        b'\0{"version": 1' + b"0" * 5000 + b"}",
        bytes((1, 0, 1, 0, 2)),
        bytes((2, 0, 3)),
    ]


def _pem_seeds() -> list[bytes]:
    pairs = [_pair(key_type) for key_type in ("ecdsa", "rsa", "ed25519")]
    marked = ("\ufeff" + pairs[0][1].pem).encode("utf-16-le")
    return [marked, *(text for key, made in pairs for text in (made.pem.encode("ascii"), x509.key_to_pem(key)))]


def _pvk_seeds() -> list[bytes]:
    plain = pvk.write_pvk(_pair("rsa")[0])
    salt = bytes(16)
    hidden = pvk._rc4(hashlib.sha1(salt + PASSPHRASE).digest()[:16], plain[32:])
    header = pvk._HEADER.pack(pvk._MAGIC, 0, 1, 1, len(salt), len(plain) - 24)
    return [plain, header + salt + plain[24:32] + hidden]


# The parts of all executions, in hundredths: what derives keys, or signs, is slow.
SHARES = {
    "der": 12,
    "pem": 12,
    "pvk": 12,
    "pkcs12": 6,
    "ledger": 8,
    "trust": 8,
    "manifest": 4,
    "rotation": 10,
    "exchange": 10,
    "http": 12,
    "visit": 6,
}

READERS: Mapping[str, Callable[[], Reader]] = {
    "der": lambda: Reader(
        _read_der, lambda: [_pair(one)[1].der for one in ("ecdsa", "rsa", "ed25519")] + _pkcs12_seeds()[:1]
    ),
    "pem": lambda: Reader(_read_pem, _pem_seeds),
    "pvk": lambda: Reader(_read_pvk, _pvk_seeds),
    "pkcs12": lambda: Reader(_read_pkcs12, _pkcs12_seeds),
    "ledger": lambda: Reader(_ledger(), lambda: _text(LEDGER)),
    "trust": lambda: Reader(_trust(), lambda: [*_text(TRUST, SHARED), b"\1\0\1", b"\2\0\1"]),
    "manifest": lambda: Reader(_manifest(), lambda: _text({})),
    "rotation": lambda: Reader(_rotation(), lambda: _text(ROTATION)),
    "exchange": lambda: Reader(_read_exchange, lambda: _text(EXCHANGE)),
    "http": lambda: Reader(_read_http, _http_seeds),
    "visit": lambda: Reader(_read_visit, lambda: [bytes((one, 0, one, 0, 1)) for one in range(9)]),
}
