# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Untrusted certificates with their keys, for the connection test to present (docs/files-on-the-host.md).

No peer trusts them, so every peer must refuse them; their keys open nothing. They are made together with what they
resemble, so that the test itself needs no cryptography, and lie in no files of their own: the manifest of a generation
holds one without any server's name and one with this server's own. Where client keys are shared, the index of those
holds one with the name of each peer, because there a peer expects its own name in the certificates of its callers.
"""

from __future__ import annotations

import datetime
import hashlib
import hmac
from typing import Any, Dict, Iterable, Mapping, Optional

from ansible_collections.esync.mesh.plugins.module_utils._core import names
from ansible_collections.esync.mesh.plugins.module_utils._core.certificate import Certificate

NOBODY = "untrusted"
"""To whom the one without a server's name is issued."""

KEY = "untrusted"
"""Under which they lie in a manifest, and in the index of the shared client keys."""

# What was made elsewhere may have any validity; these are bounds within which a certificate can be made.
_FIRST = datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)
_MAX_DAYS = 36500


def make(server: Optional[str], like: Certificate) -> Dict[str, Dict[str, str]]:
    """Make one, as it is kept: under its name, with a hash to recognise damage by. This needs cryptography.

    :param server: to whom it is issued; None: to no server. :param like: the certificate whose validity it has.
    """
    from ansible_collections.esync.mesh.plugins.module_utils._crypto import certificates as x509

    subject = server or NOBODY
    now = max(like.not_before, _FIRST) + x509.BACKDATED
    days = min(max((like.not_after - now).days, 1), _MAX_DAYS)
    key = x509.generate_key("ecdsa", 256)
    certificate = x509.self_sign(key, names.CLIENT, x509.Profile(subject, (subject,), "ecdsa", 256, days), now)
    pem = certificate.pem + x509.key_to_pem(key).decode("ascii")
    return {_name(server): {"pem": pem, "sha256": _hash(pem)}}


def make_own(server: str, like: Certificate) -> Dict[str, Dict[str, str]]:
    """Make those of a generation: the one without a server's name, and the one with this server's own."""
    return {**make(None, like), **make(server, like)}


def pem_of(kept: Mapping[str, Any], server: Optional[str]) -> bytes:
    """A certificate and its key, PEM.

    :param kept: what lies under ``KEY``. :param server: to whom it is issued; None: to no server.
    :raises ValueError: it is missing or damaged; likewise KeyError, TypeError and AttributeError.
    """
    one = kept[_name(server)]
    pem: str = one["pem"]
    if not hmac.compare_digest(_hash(pem), one["sha256"]):
        raise ValueError
    return pem.encode("ascii")


def is_complete(kept: Any, servers: Iterable[Optional[str]]) -> bool:
    """Whether exactly those of these servers are there (None: the one of no server), and intact."""
    wanted = set(servers)
    try:
        return all(pem_of(kept, server) for server in wanted) and set(kept) == {_name(server) for server in wanted}
    except (ValueError, KeyError, TypeError, AttributeError):
        return False


def _name(server: Optional[str]) -> str:
    return names.set_name(server, names.CLIENT) if server else NOBODY


def _hash(pem: str) -> str:
    return hashlib.sha256(pem.encode("ascii")).hexdigest()
