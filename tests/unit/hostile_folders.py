# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Folders that must be refused, with real files, each with what must be said about it.

The unit tests judge them one by one; the integration tests let the playbook judge all of them.
"""

from __future__ import annotations

import datetime
import json
import os
import shutil
import stat
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

from cryptography import x509 as library
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from ansible_collections.esync.mesh.plugins.module_utils._core import names
from ansible_collections.esync.mesh.plugins.module_utils._crypto import certificates as x509
from ansible_collections.esync.mesh.plugins.module_utils._crypto import pkcs12, pvk
from ansible_collections.esync.mesh.plugins.module_utils._store.exchange_folder import (
    RemoteSet,
    manifest_file,
    render_manifest,
)

NOW = datetime.datetime.now(datetime.timezone.utc)
PASSPHRASE = "correct-horse"
CASES: dict[str, tuple[Callable[[Hostile], None], set[tuple[str, str]]]] = {}
"""Title to what spoils a folder, and the kind and the file of everything that is to be told; no file: the folder."""


def key(label: str, form: str = "ecdsa") -> Any:
    """A key, the same for the same arguments."""
    return _key(label, form)


@lru_cache(maxsize=None)
def _key(_label: str, form: str) -> Any:
    return x509.generate_key(form, {"rsa": 2048}.get(form))


def certificate(name: str, role: str, label: str = "", form: str = "ecdsa", start: int = 0, days: int = 100) -> Any:
    """A certificate, the same for the same arguments. :param start: days from now."""
    return _certificate(name, role, label, form, start, days)


@lru_cache(maxsize=None)
def _certificate(name: str, role: str, label: str, form: str, start: int, days: int) -> Any:
    profile = x509.Profile(name, (name,), form, 2048, days)
    moment = NOW + datetime.timedelta(days=start)
    return x509.self_sign(key(f"{name}{role}{label}", form), role, profile, moment)


def odd(
    name: str,
    usages: Any = (ExtendedKeyUsageOID.SERVER_AUTH,),
    ca: bool = False,
    issuer: str | None = None,
    signer: Any = None,
    own: Any = None,
) -> bytes:
    """A server certificate that the mesh itself would never make, DER."""
    own = own or key(f"odd{name}")
    builder = (
        library.CertificateBuilder()
        .subject_name(library.Name([library.NameAttribute(NameOID.COMMON_NAME, name)]))
        .issuer_name(library.Name([library.NameAttribute(NameOID.COMMON_NAME, issuer or name)]))
        .public_key(own.public_key())
        .serial_number(library.random_serial_number())
        .not_valid_before(NOW - datetime.timedelta(days=1))
        .not_valid_after(NOW + datetime.timedelta(days=100))
        .add_extension(library.BasicConstraints(ca=ca, path_length=None), critical=True)
        .add_extension(library.ExtendedKeyUsage(list(usages)), critical=False)
    )
    der: bytes = builder.sign(signer or own, hashes.SHA256()).public_bytes(serialization.Encoding.DER)
    return der


class Hostile:
    """A folder with one sound set, of ``guest``, to be spoilt.

    :param server: the server that it lies on. :param own: that server's own certificate, DER.
    """

    def __init__(self, path: Path, server: str, own: bytes) -> None:
        self.path = path
        self.server = server
        self.own = own
        path.mkdir()
        path.chmod(0o755)
        self.add("guest")

    def add(self, name: str, state: str = names.CURRENT, **options: Any) -> None:
        """Put a set there."""
        for role in names.ROLES:
            self.put(names.remote_file(name, role, state), certificate(name, role, **options).der)

    def put(self, entry: str, data: bytes) -> None:
        (self.path / entry).write_bytes(data)
        (self.path / entry).chmod(0o644)

    def drop(self, *entries: str) -> None:
        for entry in entries:
            (self.path / entry).unlink()

    def manifest(self, **changes: Any) -> bytes:
        """The manifest of guest, changed."""
        one = RemoteSet(
            "guest",
            {names.CURRENT: {role: certificate("guest", role) for role in names.ROLES}},
            "guest.example.org",
            8732,
            "nginx",
        )
        return json.dumps({**json.loads(render_manifest(one)), **changes}).encode()


SERVER, CLIENT = "guest_SyncServer.cer", "guest_SyncClient.cer"


def case(*told: tuple[str, str]) -> Any:
    """Register what spoils a folder."""

    def register(spoil: Callable[[Hostile], None]) -> Callable[[Hostile], None]:
        CASES[spoil.__name__] = spoil, set(told)
        return spoil

    return register


@case(("empty_folder", ""))
def empty(folder: Hostile) -> None:
    folder.drop(SERVER, CLIENT)


@case(("missing_folder", ""))
def missing(folder: Hostile) -> None:
    shutil.rmtree(folder.path)


@case(("not_a_folder", ""))
def a_file_in_its_place(folder: Hostile) -> None:
    shutil.rmtree(folder.path)
    folder.path.write_bytes(b"")


@case(("unexpected_file", "notes.txt"))
def a_text(folder: Hostile) -> None:
    folder.put("notes.txt", b"hello")


@case(("unexpected_file", ".profile"))
def a_hidden_file(folder: Hostile) -> None:
    folder.put(".profile", b"")


@case(("unexpected_file", "more"))
def a_folder_in_it(folder: Hostile) -> None:
    (folder.path / "more").mkdir()


@case(("unexpected_file", "guest_SyncServer.key"))
def a_key_in_pem(folder: Hostile) -> None:
    folder.put("guest_SyncServer.key", x509.key_to_pem(key("guestserver")))


@case(("incomplete_set", ""))
def no_client(folder: Hostile) -> None:
    folder.drop(CLIENT)


@case(("incomplete_set", ""))
def a_key_without_certificates(folder: Hostile) -> None:
    folder.put("other_SyncServer.pvk", pvk.write_pvk(key("otherserver", "rsa")))


@case(("incomplete_set", ""))
def half_a_next_generation(folder: Hostile) -> None:
    folder.put("guest_SyncServer.next.cer", certificate("guest", "server", "next").der)


@case(("duplicate_name", ""))
def doubled_by_case(folder: Hostile) -> None:
    folder.add("GUEST")


@case(("duplicate_file", "guest_SyncServer.CER"))
def a_file_doubled_by_case(folder: Hostile) -> None:
    folder.put("guest_SyncServer.CER", certificate("guest", "server").der)


@case(("unexpected_file", "guest_syncserver.cer"), ("incomplete_set", ""))
def misspelt(folder: Hostile) -> None:
    (folder.path / SERVER).rename(folder.path / "guest_syncserver.cer")


@case(("duplicate_certificate", "guest_SyncServer.next.cer"), ("duplicate_certificate", "guest_SyncClient.next.cer"))
def the_same_twice(folder: Hostile) -> None:
    folder.add("guest", names.NEXT)


@case(("mismatch", "guest_SyncServer.pvk"))
def a_key_of_another_certificate(folder: Hostile) -> None:
    folder.put("guest_SyncServer.pvk", pvk.write_pvk(key("other", "rsa")))


@case(("damaged_file", "guest_SyncServer.pvk"))
def half_a_key(folder: Hostile) -> None:
    folder.put("guest_SyncServer.pvk", pvk.write_pvk(key("other", "rsa"))[:-40])


@case(("passphrase_needed", "guest_SyncServer.pvk"))
def a_locked_key(folder: Hostile) -> None:
    plain = pvk.write_pvk(key("other", "rsa"))
    header = plain[:12] + (1).to_bytes(4, "little") + (16).to_bytes(4, "little") + plain[20:24]
    folder.put("guest_SyncServer.pvk", header + bytes(16) + plain[24:32] + os.urandom(len(plain) - 32))


def pfx(folder: Hostile, label: str, passphrase: str) -> None:
    mine = certificate("guest", "server", label)
    data = pkcs12.write_pfx("guest", key(f"guestserver{label}"), mine.der, passphrase.encode(), pkcs12.MODERN)
    folder.put("guest_SyncServer.pfx", data)


@case(("mismatch", "guest_SyncServer.pfx"))
def a_store_of_another_certificate(folder: Hostile) -> None:
    pfx(folder, "another", PASSPHRASE)


@case(("mismatch", "guest_SyncServer.pfx"))
def a_store_of_another_certificate_for_the_same_key(folder: Hostile) -> None:
    mine = key("guestserver")
    older = x509.self_sign(mine, "server", x509.Profile("guest", ("guest",), "ecdsa", 256, 50), NOW)
    data = pkcs12.write_pfx("guest", mine, older.der, PASSPHRASE.encode(), pkcs12.MODERN)
    folder.put("guest_SyncServer.pfx", data)


@case(("damaged_file", "guest_SyncServer.pfx"))
def a_store_with_another_passphrase(folder: Hostile) -> None:
    pfx(folder, "", "another")


@case(("wrong_name", SERVER))
def issued_to_another(folder: Hostile) -> None:
    folder.put(SERVER, certificate("other", "server").der)


@case(("expired", SERVER))
def expired(folder: Hostile) -> None:
    folder.put(SERVER, certificate("guest", "server", start=-50, days=49).der)


@case(("not_yet_valid", CLIENT))
def not_yet_valid(folder: Hostile) -> None:
    folder.put(CLIENT, certificate("guest", "client", start=3).der)


@case(("wrong_role", SERVER), ("wrong_role", CLIENT))
def roles_swapped(folder: Hostile) -> None:
    folder.put(SERVER, certificate("guest", "client").der)
    folder.put(CLIENT, certificate("guest", "server").der)


@case(("wrong_role", SERVER))
def both_roles_in_one(folder: Hostile) -> None:
    folder.put(SERVER, odd("guest", [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]))


@case(("own_name", "{server}_SyncServer.cer"), ("own_name", "{server}_SyncClient.cer"))
def the_own_name(folder: Hostile) -> None:
    folder.add(folder.server)


@case(("own_name", "{SERVER}_SyncServer.cer"), ("own_name", "{SERVER}_SyncClient.cer"))
def the_own_name_in_capitals(folder: Hostile) -> None:
    folder.add(folder.server.upper())


@case(("own_certificate", SERVER), ("wrong_name", SERVER))
def the_own_certificate(folder: Hostile) -> None:
    folder.put(SERVER, folder.own)


@case(("not_a_file", SERVER))
def a_link(folder: Hostile) -> None:
    (folder.path / SERVER).rename(folder.path.parent / f"{folder.path.name}.elsewhere")
    (folder.path / SERVER).symlink_to(folder.path.parent / f"{folder.path.name}.elsewhere")


@case(("unexpected_file", "etc"))
def a_link_to_a_folder(folder: Hostile) -> None:
    (folder.path / "etc").symlink_to("/etc")


@case(("not_a_file", SERVER))
def a_fifo(folder: Hostile) -> None:
    folder.drop(SERVER)
    os.mkfifo(folder.path / SERVER)


@case(("not_a_file", SERVER))
def a_device_or_socket(folder: Hostile) -> None:
    folder.drop(SERVER)
    kind = stat.S_IFCHR if os.geteuid() == 0 else stat.S_IFSOCK
    os.mknod(folder.path / SERVER, kind | 0o644, os.makedev(1, 5))


@case(("too_large", "guest_SyncServer.pfx"))
def enormous(folder: Hostile) -> None:
    folder.put("guest_SyncServer.pfx", b"")
    os.truncate(folder.path / "guest_SyncServer.pfx", 1 << 36)


@case(("unreadable", SERVER))
def unreadable(folder: Hostile) -> None:
    # Root reads everything, and still does not take what belongs to somebody else.
    if os.geteuid() == 0:
        os.chown(folder.path / SERVER, 65534, 65534)
    else:
        (folder.path / SERVER).chmod(0)


@case(("damaged_file", SERVER))
def no_content(folder: Hostile) -> None:
    folder.put(SERVER, b"")


@case(("damaged_file", SERVER))
def bytes_after_the_certificate(folder: Hostile) -> None:
    folder.put(SERVER, certificate("guest", "server").der + b"\0")


@case(("not_a_certificate", SERVER))
def a_private_key_in_the_certificate(folder: Hostile) -> None:
    folder.put(SERVER, certificate("guest", "server").pem.encode() + x509.key_to_pem(key("guestserver")))


@case(("not_self_signed", SERVER))
def a_flipped_bit(folder: Hostile) -> None:
    der = bytearray(certificate("guest", "server").der)
    der[-1] ^= 1
    folder.put(SERVER, bytes(der))


@case(("not_self_signed", SERVER))
def issued_by_an_authority(folder: Hostile) -> None:
    folder.put(SERVER, odd("guest", issuer="somebody", signer=key("authority")))


@case(("authority", SERVER))
def an_authority(folder: Hostile) -> None:
    folder.put(SERVER, odd("guest", ca=True))


@case(("weak_key", SERVER))
def a_weak_key(folder: Hostile) -> None:
    folder.put(SERVER, odd("guest", own=rsa.generate_private_key(public_exponent=65537, key_size=1024)))


@case(("bad_name", "con_SyncServer.cer"), ("bad_name", "con_SyncClient.cer"))
def the_name_of_a_device(folder: Hostile) -> None:
    folder.add("con")


@case(("bad_name", "a\\nb_SyncServer.cer"), ("bad_name", "a\\nb_SyncClient.cer"))
def a_line_break_in_the_name(folder: Hostile) -> None:
    for role in names.ROLES:
        folder.put(names.remote_file("a\nb", role, names.CURRENT), certificate("guest", role).der)


@case(("writable_by_others", SERVER))
def a_file_that_others_may_write(folder: Hostile) -> None:
    (folder.path / SERVER).chmod(0o666)


@case(("writable_by_others", ""))
def a_folder_that_others_may_write(folder: Hostile) -> None:
    folder.path.chmod(0o757)


@case(("writable_by_others", ""))
def a_folder_that_a_group_may_write(folder: Hostile) -> None:
    folder.path.chmod(0o775)


@case(("manifest_differs", SERVER))
def a_manifest_of_another_set(folder: Hostile) -> None:
    other = certificate("guest", "server", "another").fingerprint
    mine = certificate("guest", "client").fingerprint
    generations = [{"state": "current", "server": other, "client": mine}]
    folder.put(manifest_file("guest"), folder.manifest(generations=generations))


@case(("damaged_file", "guest_Sync.json"))
def a_manifest_of_another_server(folder: Hostile) -> None:
    folder.put(manifest_file("guest"), folder.manifest(name="other"))


@case(("damaged_file", "guest_Sync.json"))
def a_manifest_with_a_command_for_an_address(folder: Hostile) -> None:
    folder.put(manifest_file("guest"), folder.manifest(address="$(reboot)"))


@case(("damaged_file", "guest_Sync.json"))
def a_manifest_without_a_bottom(folder: Hostile) -> None:
    folder.put(manifest_file("guest"), b"[" * 60000)


@case(("incomplete_set", ""))
def a_manifest_alone(folder: Hostile) -> None:
    folder.drop(SERVER, CLIENT)
    folder.put(manifest_file("guest"), folder.manifest())


def told(title: str, server: str) -> set[tuple[str, str]]:
    """What must be said about a folder: kind and file."""
    other = "wrong_owner" if os.geteuid() == 0 else "no_permission"
    return {
        (other if kind == "unreadable" else kind, entry.format(server=server, SERVER=server.upper()))
        for kind, entry in CASES[title][1]
    }
