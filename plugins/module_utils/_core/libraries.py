# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The one library that hosts need: which versions will do, what to say when it is missing, and where versions differ.

Nothing else in the collection knows the version of cryptography, or a name that not every version has.
"""

from __future__ import annotations

import datetime
import os
import sys
from typing import Any, Dict, Optional, Tuple

from ansible_collections.esync.mesh.plugins.module_utils import _interpreter
from ansible_collections.esync.mesh.plugins.module_utils._core.errors import EsyncError

MINIMUM = (3, 3)
"""The oldest version of cryptography: Debian 11 and RHEL 8's Python 3.9 have it."""

WANTED = ".".join(str(part) for part in MINIMUM)

FOUND: Optional[str] = None
"""The version that is installed, empty if there is none; None until it is needed, because importing it takes time."""

PLACE = ""

LOADED = False
"""Whether it can be used: it may be found, and yet not to be loaded, if its compiled part does not fit."""


class MissingLibraryError(EsyncError):
    """cryptography is missing or too old. :param package: what would bring it to this Python; empty: nothing does."""

    def __init__(self, cause: str, remedy: str, package: str) -> None:
        super().__init__(cause, remedy, kind="missing_dependency")
        self.package = package

    def to_result(self) -> Dict[str, Any]:
        result = super().to_result()
        result["error"]["package"] = self.package
        return result


def require() -> None:
    """Make sure that cryptography can be used.

    :raises EsyncError: kind ``missing_dependency``, naming the interpreter, what was found where, and the ways out.
    """
    found = _found()
    if LOADED and _version(found) >= MINIMUM:
        return
    said = "there is none"
    if found:
        said = f"version {found} was found at {PLACE}" + ("" if LOADED else ", which cannot be loaded")
    version = ".".join(str(part) for part in sys.version_info[:2])
    packaged, release = _interpreter.is_packaged(), _interpreter.os_release()
    raise MissingLibraryError(
        f"the Python library cryptography, version {WANTED} or later, is needed for {sys.executable}, which is Python "
        f"{version}, and {said}",
        _interpreter.ways_out(sys.executable, version, packaged, release),
        _interpreter.package_for(version, release) if packaged else "",
    )


def require_installed() -> None:
    """Make sure that cryptography is there, without the time that importing it takes.

    :raises EsyncError: kind ``missing_dependency``.
    """
    if not any(os.path.isdir(os.path.join(place, "cryptography")) for place in sys.path):
        require()


def _found() -> str:
    global FOUND, PLACE, LOADED
    if FOUND is None:
        version = ""
        try:
            import cryptography

            version, PLACE = str(cryptography.__version__), str(cryptography.__file__)
            from cryptography import x509  # noqa: F401

            LOADED = True
        except ImportError:
            pass
        FOUND = version
    return FOUND


def _version(text: str) -> Tuple[int, ...]:
    found = []
    for part in text.split(".")[: len(MINIMUM)]:
        if not part.isdigit():
            break
        found.append(int(part))
    return tuple(found) + (0,) * (len(MINIMUM) - len(found))


# -- where versions differ -----------------------------------------------------------------------------------------


def validity(certificate: Any) -> Tuple[datetime.datetime, datetime.datetime]:
    """From when to when a certificate of the library is valid, UTC with a time zone."""
    return _utc(certificate, "not_valid_before"), _utc(certificate, "not_valid_after")


def _utc(certificate: Any, name: str) -> datetime.datetime:
    # Version 42 brought times with a zone and deprecated those without.
    found = getattr(certificate, name + "_utc", None)
    if found is None:
        found = getattr(certificate, name).replace(tzinfo=datetime.timezone.utc)
    moment: datetime.datetime = found
    return moment


def load_pem_key(data: bytes) -> Any:
    """An unencrypted private key in PEM, without the slow test of an RSA key's primes where it can be omitted.

    :raises Exception: of many types, as the library does.
    """
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    return _without_test(load_pem_private_key, data)


def load_der_key(data: bytes) -> Any:
    """The same in DER."""
    from cryptography.hazmat.primitives.serialization import load_der_private_key

    return _without_test(load_der_private_key, data)


def _without_test(load: Any, data: bytes) -> Any:
    try:
        return load(data, None, unsafe_skip_rsa_key_validation=True)
    except TypeError:
        # Before version 39 there was no such choice.
        return load(data, None)


def rsa_key(numbers: Any) -> Any:
    """A key from RSAPrivateNumbers, without the slow test of its primes where it can be omitted.

    :raises Exception: of many types, as the library does.
    """
    try:
        return numbers.private_key(unsafe_skip_rsa_key_validation=True)
    except TypeError:
        # Before version 39 there was no such choice.
        return numbers.private_key()


def triple_des(key: bytes) -> Any:
    """3DES with 24 bytes of key; version 43 put it among what is outdated, and a later one took it from its old place.

    :raises EsyncError: kind ``unsupported_algorithm``: a library without 3DES.
    """
    try:
        from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES
    except ImportError:
        try:
            from cryptography.hazmat.primitives.ciphers.algorithms import TripleDES
        except ImportError:
            raise unsupported("3DES", "Set esync_pfx_encryption to modern") from None
    return TripleDES(key)


def unsupported(algorithm: str, remedy: str) -> EsyncError:
    """The error for what this host's library, or the policy of its system (FIPS), does not offer."""
    return EsyncError(
        f"this host offers no {algorithm} (cryptography {_found()} at {PLACE})", remedy, kind="unsupported_algorithm"
    )
