# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Make a generation: keys, certificates and every file of them, complete or not at all."""

from __future__ import annotations

import datetime
import secrets
import stat
from dataclasses import replace
from typing import Any, Dict, Mapping, Optional

from ansible_collections.esync.mesh.plugins.module_utils._core import layout, names
from ansible_collections.esync.mesh.plugins.module_utils._core.folders import Folder, temporary_name
from ansible_collections.esync.mesh.plugins.module_utils._crypto import certificates as x509
from ansible_collections.esync.mesh.plugins.module_utils._crypto import pkcs12, pvk
from ansible_collections.esync.mesh.plugins.module_utils._store import manifest
from ansible_collections.esync.mesh.plugins.module_utils._store.generations import SetSettings
from ansible_collections.esync.mesh.plugins.module_utils._store.inspection import check_generation
from ansible_collections.esync.mesh.plugins.module_utils._store.local_generation import Restoration

PASSPHRASE_BYTES = 24
"""Random bytes of a passphrase that is made here: 192 bits, for some writers stretch it with one iteration only."""


class GenerationWriter:
    """Makes generations in a directory; use it under the lock of ``base``.

    :param base: the directory of the mesh. :param now: the host's time, with a time zone.
    """

    def __init__(self, base: Folder, settings: SetSettings, now: datetime.datetime) -> None:
        self.base = base
        self.settings = settings
        self.now = now

    def clear_the_way(self) -> None:
        """Put aside what stands in the place of the generations' folder; it is destroyed as a leftover."""
        status = self.base.status(names.GENERATIONS)
        if status and not (stat.S_ISDIR(status.st_mode) and status.st_uid == self.base.owner):
            self.base.rename(names.GENERATIONS, temporary_name())

    def make(self, rotation: Optional[str] = None) -> str:
        """Write a complete generation and give it its name; what fails half-way leaves nothing.

        :param rotation: the id of the rotation that it is made for.
        :returns: its id.
        :raises EsyncError: what the settings ask for cannot be made, or the disk fails or is full.
        """
        base = self.base
        identity = f"{self.now.strftime('%Y%m%dT%H%M%SZ')}-{secrets.token_hex(4)}"
        if rotation:
            identity = f"{identity}-{rotation}"
        with base.ensure_child(names.GENERATIONS, layout.GENERATIONS_MODE) as generations:
            unfinished = temporary_name()
            try:
                with generations.make_child(
                    unfinished, layout.folder_mode(self.settings.gid), self.settings.gid
                ) as folder:
                    self._fill(folder)
                    found = check_generation(folder, identity, self.settings.expected)
                    # Last, and from what was read back: what it says of a file was true of a complete generation.
                    text = manifest.text_of(folder, found, self.settings.passphrase)
                    self._write(folder, layout.MANIFEST, text)
                    folder.sync()
                generations.rename(unfinished, identity)
            except BaseException:
                generations.remove_tree(unfinished, wipe=True)
                raise
        return identity

    def _fill(self, folder: Folder) -> None:
        settings = self.settings
        profile = x509.Profile(
            settings.name, settings.alt_names, settings.key_type, settings.key_size, settings.valid_days
        )
        passphrase = settings.passphrase
        if "pfx" in settings.formats and passphrase is None:
            passphrase = _new_passphrase()
            self._write(folder, layout.PASSPHRASE, passphrase + b"\n")
        for role in names.ROLES:
            key = x509.generate_key(settings.key_type, settings.key_size)
            certificate = x509.self_sign(key, role, profile, self.now)
            for suffix, data in _files(settings, role, key, certificate, passphrase).items():
                self._write(folder, f"{names.set_name(settings.name, role)}.{suffix}", data)
        for link, target in layout.stable_links(settings.name).items():
            folder.set_link(link, target)

    def _write(self, folder: Folder, name: str, data: bytes) -> None:
        folder.write(name, data, layout.file_mode(name, self.settings.gid), layout.file_gid(name, self.settings.gid))


def restore(generations: Folder, identity: str, what: Restoration, settings: SetSettings) -> None:
    """Write files and links of a generation again, each in one step; the private keys stay the same.

    They are written beside the generations, where a killed run may leave something unfinished, and then moved.

    :raises EsyncError: the disk fails or is full.
    """
    passphrase = what.passphrase
    contents: Dict[str, bytes] = {}
    if layout.PASSPHRASE in what.files:
        passphrase = _new_passphrase()
        contents[layout.PASSPHRASE] = passphrase + b"\n"
    wanted = replace(
        settings,
        name=what.name,
        formats=tuple({name.rpartition(".")[2] for name in what.files} & set(layout.FORMATS)),
        pfx_encryption=what.encryption or settings.pfx_encryption,
    )
    for role, certificate in what.certificates.items():
        stem = names.set_name(what.name, role)
        contents[f"{stem}.crt"], contents[f"{stem}.cer"] = certificate.pem.encode("ascii"), certificate.der
        if role in what.private:
            for suffix, data in _files(wanted, role, what.private[role], certificate, passphrase).items():
                contents[f"{stem}.{suffix}"] = data
    with generations.child(identity) as folder:
        for name in what.files:
            mode, gid = layout.file_mode(name, settings.gid), layout.file_gid(name, settings.gid)
            unfinished = temporary_name()
            generations.write(unfinished, contents[name], mode, gid)
            generations.move(unfinished, folder, name)
        for name, target in what.links.items():
            unfinished = temporary_name()
            generations.set_link(unfinished, target)
            generations.move(unfinished, folder, name)


def _new_passphrase() -> bytes:
    return secrets.token_urlsafe(PASSPHRASE_BYTES).encode("ascii")


def _files(
    settings: SetSettings, role: str, key: Any, certificate: x509.Certificate, passphrase: Optional[bytes]
) -> Mapping[str, bytes]:
    """The files of one set, by their suffix."""
    files = {"crt": certificate.pem.encode("ascii"), "key": x509.key_to_pem(key)}
    if "cer" in settings.formats:
        files["cer"] = certificate.der
    if "pvk" in settings.formats:
        files["pvk"] = pvk.write_pvk(key)
    if "pfx" in settings.formats and passphrase is not None:
        friendly = names.set_name(settings.name, role)
        files["pfx"] = pkcs12.write_pfx(friendly, key, certificate.der, passphrase, settings.pfx_encryption)
    return files
