# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What every peer must refuse: as long valid as what it resembles, and never half of it."""

from __future__ import annotations

import datetime
from dataclasses import replace
from typing import Any

import pytest

from ansible_collections.esync.mesh.plugins.module_utils._crypto import certificates as x509
from ansible_collections.esync.mesh.plugins.module_utils._store import untrusted

NOW = datetime.datetime(2026, 11, 24, 12, tzinfo=datetime.timezone.utc)
DAY = datetime.timedelta(days=1)


@pytest.fixture(scope="module")
def like() -> x509.Certificate:
    """The certificate of a generation."""
    key = x509.generate_key("ecdsa", 256)
    return x509.self_sign(key, "client", x509.Profile("alpha", ("alpha",), "ecdsa", 256, 90), NOW)


@pytest.fixture
def kept(like: x509.Certificate) -> dict[str, dict[str, str]]:
    """Those of a generation."""
    return untrusted.make_own("alpha", like)


@pytest.mark.parametrize(("server", "subject"), [(None, "untrusted"), ("alpha", "alpha")])
def test_certificate_key_and_validity(like: x509.Certificate, kept: Any, server: Any, subject: str) -> None:
    pem, end, key = untrusted.pem_of(kept, server).partition(b"-----END CERTIFICATE-----\n")
    certificate = x509.parse_certificate(pem + end, "x", "client")
    assert (certificate.subject, certificate.alt_names) == (subject, (subject,))
    assert (certificate.not_before, certificate.not_after) == (like.not_before, like.not_after)
    assert x509.public_key_of(x509.key_from_pem(key, "x")) == certificate.public_key
    assert certificate.public_key != like.public_key


def test_a_server_may_have_the_name_of_nobody(like: x509.Certificate) -> None:
    kept = untrusted.make_own("untrusted", like)
    assert untrusted.pem_of(kept, None) != untrusted.pem_of(kept, "untrusted")


@pytest.mark.parametrize(
    ("begin", "end"), [(NOW, NOW + 40000 * DAY), (NOW - 40000 * DAY, NOW), (NOW, NOW + DAY / 2), (NOW, NOW)]
)
def test_whatever_validity_it_resembles(like: x509.Certificate, begin: Any, end: Any) -> None:
    kept = untrusted.make("bravo", replace(like, not_before=begin, not_after=end))
    assert untrusted.is_complete(kept, ["bravo"])


def test_complete_is_exactly_these(kept: Any) -> None:
    assert untrusted.is_complete(kept, (None, "alpha"))
    assert untrusted.is_complete(kept, ("alpha", None, "alpha"))
    for others in ((None,), ("alpha",), (None, "bravo"), (None, "alpha", "bravo"), ()):
        assert not untrusted.is_complete(kept, others)


DAMAGED = {
    "no certificate": {"pem": "", "sha256": "0" * 64},
    "no hash": {"pem": "x"},
    "a number": {"pem": 1, "sha256": "0" * 64},
    "a hash that is a number": {"pem": "x", "sha256": 1},
    "no ASCII": {"pem": "\u00e4", "sha256": "0" * 64},
    "a list": [],
    "nothing": None,
}


@pytest.mark.parametrize("how", [*DAMAGED, "flipped"])
def test_damage_is_found(kept: Any, how: str) -> None:
    sound = kept["untrusted"]
    flipped = {**sound, "pem": sound["pem"].replace("A", "B", 1)}
    spoilt = {**kept, "untrusted": flipped if how == "flipped" else DAMAGED[how]}
    assert not untrusted.is_complete(spoilt, (None, "alpha"))
    with pytest.raises((ValueError, KeyError, TypeError, AttributeError)):
        untrusted.pem_of(spoilt, None)


@pytest.mark.parametrize("kept", [None, [], "x", 1, {}])
def test_nothing_is_not_complete(kept: Any) -> None:
    assert not untrusted.is_complete(kept, (None,))
