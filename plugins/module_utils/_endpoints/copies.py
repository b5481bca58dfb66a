# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Files for services that cannot read ours: copies that belong to the user of the service, in a folder of ours."""

from __future__ import annotations

import contextlib
import pwd
import stat
from dataclasses import dataclass
from typing import Dict, Mapping, Optional, Tuple

from ansible_collections.esync.mesh.plugins.module_utils._connection import tls
from ansible_collections.esync.mesh.plugins.module_utils._core import layout
from ansible_collections.esync.mesh.plugins.module_utils._core.errors import EsyncError
from ansible_collections.esync.mesh.plugins.module_utils._core.folders import Folder
from ansible_collections.esync.mesh.plugins.module_utils._core.names import CURRENT, ROLES, SERVICES
from ansible_collections.esync.mesh.plugins.module_utils._core.regular_file import read_file
from ansible_collections.esync.mesh.plugins.module_utils._endpoints.contract import Site

_LIMIT = 16 << 20
_OLD = "old"
"""The second name of a key that is being replaced, until it is overwritten."""
_NAMES = tuple(
    # A certificate and its key are written right after each other, so that the pair changes within a moment.
    [f"{role}s.pem" for role in ROLES] + [f"{role}.{suffix}" for role in ROLES for suffix in layout.PEM_FILES]
)


@dataclass(frozen=True)
class Copies:
    """Those of all attached services of this server that name an owner.

    :param directory: of the mesh. :param server: the name of this server.
    """

    directory: str
    server: str
    services: Tuple[Site, ...]

    def wanted(self) -> str:
        """What there should be, a line for each file; empty: nothing."""
        owned = sorted((one.name, one.owner) for one in self.services if one.owner)
        return "".join(_line(service, name, owner) for service, owner in owned for name in sorted(_NAMES))

    def found(self) -> str:
        """What there is, in the same words for what is as it should be; empty: nothing."""
        base = Folder.find(self.directory)
        if base is None:
            return ""
        with base:
            if base.status(SERVICES) is None:
                return ""
            sources: Dict[str, bytes] = {}
            # What they are made from may be missing or damaged: then none is as it should be.
            with contextlib.suppress(EsyncError, OSError):
                sources = self._sources()
            with base.child(SERVICES) as folder:
                lines = [self._found(folder, name, sources) for name in folder.entries()]
        return "".join(lines) or f"{SERVICES}: empty\n"

    def write(self) -> None:
        """Bring the files into the state that is wanted.

        :raises EsyncError: kinds ``bad_setting`` (no such user), ``no_certificate``, ``damaged_file``, ...
        """
        owned = {one.name: _uid_of(one, self.server) for one in self.services if one.owner}
        if not owned:
            return
        sources = self._sources()
        # The folders are ours, so that a service cannot put anything in the place of a file.
        with Folder.open(self.directory) as base, base.ensure_child(SERVICES, layout.BASE_MODE) as folder:
            for name in folder.entries():
                if name not in owned:
                    folder.remove_tree(name, wipe=True)
            for service, uid in owned.items():
                with folder.ensure_child(service, layout.BASE_MODE) as own:
                    for name in own.entries():
                        if name not in _NAMES:
                            own.remove_tree(name, wipe=True)
                    for name in _NAMES:
                        _replace(own, name, sources[name], uid)

    def remove(self) -> None:
        """Destroy all of them."""
        with Folder.open(self.directory) as base:
            base.remove_tree(SERVICES, wipe=True)

    def _sources(self) -> Dict[str, bytes]:
        trust = tls.read_trust(self.directory)
        found = {f"{role}s.pem": read_file(trust.bundle(role), _LIMIT) for role in ROLES}
        for role in ROLES:
            credential = tls.read_credential(self.directory, CURRENT, role)
            found[f"{role}.crt"] = read_file(credential.certificate, _LIMIT)
            found[f"{role}.key"] = read_file(credential.key, _LIMIT)
        return found

    def _found(self, folder: Folder, service: str, sources: Mapping[str, bytes]) -> str:
        site: Optional[Site] = next((one for one in self.services if one.name == service and one.owner), None)
        if site is None:
            return f"{service}: belongs to no service\n"
        with contextlib.suppress(EsyncError, OSError):
            uid = _uid_of(site, self.server)
            with folder.child(service) as own:
                return "".join(
                    _line(service, name, site.owner if _is_right(own, name, sources.get(name), uid) else None)
                    for name in sorted({*_NAMES, *own.entries()})
                )
        return f"{service}: cannot be read\n"


def _line(service: str, name: str, owner: Optional[str]) -> str:
    return f"{service}/{name}: {f'current, of {owner}' if owner else 'differs'}\n"


def _mode_of(name: str) -> int:
    return layout.SECRET_MODE if name.endswith(".key") else layout.PUBLIC_MODE


def _uid_of(service: Site, server: str) -> int:
    try:
        return pwd.getpwnam(str(service.owner)).pw_uid
    except KeyError:
        raise EsyncError(
            f"the owner {service.owner!r} of the service {service.name} is no user of this host",
            "Correct owner of that service in esync_services, or install the service first",
            kind="bad_setting",
            server=server,
        ) from None


def _is_right(folder: Folder, name: str, wanted: Optional[bytes], uid: int) -> bool:
    status = folder.status(name)
    # An access control list that lets anybody in shows in the bits of the group.
    if wanted is None or status is None or stat.S_IMODE(status.st_mode) != _mode_of(name):
        return False
    try:
        return folder.read(name, _LIMIT, uid) == wanted
    except EsyncError:
        return False


def _replace(folder: Folder, name: str, data: bytes, uid: int) -> None:
    """Write a file in one step, and overwrite what it held before if that was a key."""
    if _is_right(folder, name, data, uid):
        return
    status = folder.status(name)
    if status is not None and not stat.S_ISREG(status.st_mode):
        folder.remove_tree(name)
    kept = name.endswith(".key") and status is not None and folder.hardlink(folder, name, _OLD)
    folder.write(name, data, _mode_of(name), uid=uid)
    if kept:
        folder.remove(_OLD, wipe=True)
