# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import base64
import datetime

import pytest
from cryptography import x509 as library
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from ansible_collections.esync.mesh.plugins.module_utils._core.certificate import pem_of
from ansible_collections.esync.mesh.plugins.module_utils._core.errors import EsyncError
from ansible_collections.esync.mesh.plugins.module_utils._crypto import certificates as x509
from ansible_collections.esync.mesh.plugins.plugin_utils._ledger.admission import (
    Owners,
    certificate_of,
    demand_own,
    renaming,
)
from ansible_collections.esync.mesh.plugins.plugin_utils._ledger.records import (
    PresentedSets,
    read_generations,
    recorded,
    withdrawn,
)

NOW = "2026-11-23T00:00:00Z"
START = datetime.datetime(2026, 11, 1, tzinfo=datetime.timezone.utc)
KEY = x509.generate_key("ecdsa", 256)
OTHER = x509.generate_key("ecdsa", 256)


def facts(role, name="a", key=KEY, alt_names=None, days=365):
    profile = x509.Profile(name, tuple(alt_names or (name,)), "ecdsa", 256, days)
    return x509.self_sign(key, role, profile, START).facts()


def generation(name="a", key=KEY, **changes):
    made = {role: facts(role, name, key if role == "server" else OTHER) for role in ("server", "client")}
    return read_generations([{"state": "current", **made, **changes}], "test")


def entry(name, *generations):
    return recorded(None, PresentedSets(name, "10.0.0.1", 8732, generations), NOW)


def kind_of(check, *arguments, **options):
    with pytest.raises(EsyncError) as caught:
        check(*arguments, **options)
    return caught.value.kind


def crafted(subject="a", issuer="a", identifier=None, extra=(), size=0):
    """A self-signed server certificate that differs from the profile in what is named."""

    def name(text):
        return library.Name([library.NameAttribute(NameOID.COMMON_NAME, one) for one in text.split("+")])

    own = library.SubjectKeyIdentifier.from_public_key(KEY.public_key()).digest
    identifier = own if identifier is None else identifier
    builder = (
        library.CertificateBuilder()
        .subject_name(name(subject))
        .issuer_name(name(issuer))
        .public_key(KEY.public_key())
        .serial_number(7)
        .not_valid_before(START)
        .not_valid_after(START + datetime.timedelta(days=300))
        .add_extension(library.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(library.SubjectAlternativeName([library.DNSName("a"), *extra]), critical=False)
        .add_extension(library.SubjectKeyIdentifier(identifier), critical=False)
        .add_extension(library.AuthorityKeyIdentifier(identifier, None, None), critical=False)
    )
    if size:
        unknown = library.UnrecognizedExtension(library.ObjectIdentifier("1.2.3.4"), b"\x04" + bytes(size))
        builder = builder.add_extension(unknown, critical=False)
    # As it says itself, because some of them are refused where they are read.
    return x509._view(builder.sign(KEY, hashes.SHA256()), "server").facts()


def test_what_the_server_made_itself_is_its_own():
    demand_own("a", generation(), None, ("a",))


@pytest.mark.parametrize(
    ("changed", "kind"),
    [
        ({"server": facts("server", "b")}, "wrong_name"),
        ({"server": crafted("a+b", "a+b")}, "unfit_certificate"),
        ({"server": crafted(issuer="b")}, "unfit_certificate"),
        ({"server": crafted(identifier=b"x" * 20)}, "unfit_certificate"),
        ({"server": crafted(size=9)}, "unfit_certificate"),
        ({"server": facts("server", alt_names=["a", "bravo.example"])}, "unexpected_alt_names"),
        ({"server": facts("server", alt_names=["a", "10.0.0.2"])}, "unexpected_alt_names"),
    ],
)
def test_what_is_not_its_own_is_refused(changed, kind):
    assert kind_of(demand_own, "a", generation(**changed), None, ("a",)) == kind


def test_a_forged_signature_is_refused():
    """Somebody who has no key of bravo cannot have a certificate of it by another name."""
    theirs = facts("server", key=OTHER)
    der = bytearray(base64.b64decode("".join(theirs["pem"].split("\n")[1:-2])))
    der[-4] ^= 1
    pem = pem_of(bytes(der)).decode()
    forged = certificate_of(pem, "server").facts()
    assert kind_of(demand_own, "a", generation(server=forged), None, ("a",)) == "unfit_certificate"


def test_names_that_its_settings_have_are_expected_as_its_certificates_hold_them():
    long = facts("server", alt_names=["a", "www.example.org", "::1"])
    demand_own("a", generation(server=long), None, ("a", "www.example.org", "0:0::1"))


def test_what_the_ledger_has_of_it_already_was_validated_when_it_came():
    known = entry("a", *generation(server=facts("server", alt_names=["a", "old.example.org"])))
    demand_own("a", known.generations, known, ("a",))
    # Its next certificates may have the names that it had before.
    later = generation(server=facts("server", alt_names=["a", "old.example.org"], days=300))
    demand_own("a", later, known, ("a",))


def test_names_that_the_user_accepts():
    strange = generation(server=facts("server", alt_names=["a", "www.example.org"]))
    demand_own("a", strange, None, ("a",), any_names=True)


def test_what_was_made_elsewhere_need_not_be_like_ours_but_is_nobody_elses():
    demand_own("a", generation(server=crafted(identifier=b"x" * 20)), None, None)
    assert kind_of(demand_own, "b", generation(), None, None) == "wrong_name"


@pytest.mark.parametrize(
    ("pem", "kind"),
    [
        ("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "damaged_file"),
        ("", "damaged_file"),
        ("\u00e9", "damaged_file"),
        (facts("client")["pem"], "wrong_role"),
        (facts("server")["pem"] * 2, "damaged_file"),
        (crafted(size=17_000)["pem"], "too_large"),
        (crafted(extra=[library.DNSName("PRIVATE KEY")])["pem"], "bad_name"),
        (crafted("a\x1b[31m", "a\x1b[31m")["pem"], "bad_name"),
    ],
)
def test_what_is_no_certificate_for_its_place(pem, kind):
    assert kind_of(certificate_of, pem, "server") == kind


# -- one owner ------------------------------------------------------------------------------------------------------


def owners(ledger=(), replaced=(), **presented):
    return Owners.of({one.name: one for one in ledger}, presented, replaced)


def test_everybody_has_keys_of_his_own(generation):
    one, two = read_generations([generation("a")], "t"), read_generations([generation("b")], "t")
    found = owners(a=one, b=two)
    found.demand_only("a", one)
    found.demand_only("b", two)


def test_two_that_present_the_same_key_are_both_refused_by_name():
    one, two = generation("a"), generation("b")
    found = owners(a=one, b=two)
    with pytest.raises(EsyncError) as caught:
        found.demand_only("a", one)
    assert (caught.value.kind, caught.value.server) == ("second_owner", "a")
    assert "and so does b" in str(caught.value)
    assert "copied machine" in str(caught.value)
    assert "esync_discard_existing=a" in str(caught.value)
    assert kind_of(found.demand_only, "b", two) == "second_owner"


def test_the_one_that_the_ledger_knows_keeps_its_key():
    one, two = generation("a"), generation("b")
    found = owners([entry("a", *one)], a=one, b=two)
    found.demand_only("a", one)
    with pytest.raises(EsyncError, match="and the ledger has it of a"):
        found.demand_only("b", two)


def test_two_that_were_recorded_before_are_told_until_one_of_them_is_replaced():
    one, two = generation("a"), generation("b")
    both = [entry("a", *one), entry("b", *two)]
    assert kind_of(owners(both, a=one, b=two).demand_only, "a", one) == "second_owner"
    fresh = generation(
        "b", x509.generate_key("ecdsa", 256), client=facts("client", "b", x509.generate_key("ecdsa", 256))
    )
    found = owners(both, ["b"], a=one, b=fresh)
    found.demand_only("a", one)
    found.demand_only("b", fresh)
    replaced = recorded(both[1], PresentedSets("b", "10.0.0.1", 8732, fresh, accept_changed=True), NOW)
    owners([both[0], replaced], a=one, b=fresh).demand_only("a", one)


@pytest.mark.parametrize("name", ["a", "b"])
@pytest.mark.parametrize("why", ["removed", "compromised"])
def test_a_key_that_lost_trust_is_refused_under_every_name(name, why):
    gone = withdrawn(entry("a", *generation("a")), why, NOW)
    later = generation(name, server=facts("server", name, days=300))
    with pytest.raises(EsyncError) as caught:
        owners([gone], **{name: later}).demand_only(name, later)
    assert caught.value.kind == "distrusted_certificate"
    assert f"({why}, since {NOW})" in str(caught.value)


def test_a_key_that_was_replaced_cannot_become_anothers():
    old, new = generation("a"), generation("a", x509.generate_key("ecdsa", 256))
    known = recorded(entry("a", *old), PresentedSets("a", "10.0.0.1", 8732, new, accept_changed=True), NOW)
    theirs = generation("b", client=facts("client", "b", x509.generate_key("ecdsa", 256)))
    with pytest.raises(EsyncError, match="that a used before"):
        owners([known], b=theirs).demand_only("b", theirs)


def test_what_is_to_be_typed_has_no_text_of_a_host_in_it() -> None:
    assert renaming("bravo", "b").endswith("-e esync_discard_existing=bravo, then remove with -e esync_remove=b")
    assert renaming("bravo", "$(reboot)").endswith("-e esync_remove=OLD_NAME")


def tlv(tag, content):
    length = len(content)
    size = bytes([length]) if length < 128 else b"\x82" + length.to_bytes(2, "big")
    return bytes([tag]) + size + content


def in_another_form(pem):
    """The same certificate of the same key, whose point is written compressed."""
    found = library.load_pem_x509_certificate(pem.encode("ascii"))
    raw, point = serialization.Encoding.X962, serialization.PublicFormat
    usual = found.public_key().public_bytes(raw, point.UncompressedPoint)
    spki = found.public_key().public_bytes(serialization.Encoding.DER, point.SubjectPublicKeyInfo)
    short = tlv(3, b"\0" + found.public_key().public_bytes(raw, point.CompressedPoint))
    other = tlv(0x30, spki[2 : -len(tlv(3, b"\0" + usual))] + short)
    return signed_again(found, spki, other)


def signed_again(found, before, after):
    """A certificate with other bytes in one place, self-signed as before."""
    tbs = tlv(0x30, found.tbs_certificate_bytes.replace(before, after, 1)[4:])
    signature = KEY.sign(tbs, ec.ECDSA(hashes.SHA256()))
    algorithm = bytes.fromhex("300a06082a8648ce3d040302")
    return pem_of(tlv(0x30, tbs + algorithm + tlv(3, b"\0" + signature))).decode("ascii")


def test_a_distrusted_key_does_not_come_back_in_another_form():
    pem = in_another_form(facts("server")["pem"])
    assert library.load_pem_x509_certificate(pem.encode("ascii")).public_key() == KEY.public_key()
    assert kind_of(certificate_of, pem, "server") == "unfit_certificate"


def test_a_serial_number_that_some_versions_of_the_library_refuse_is_refused():
    found = library.load_pem_x509_certificate(crafted()["pem"].encode("ascii"))
    pem = signed_again(found, bytes.fromhex("020107"), tlv(2, b"\0\x80" + bytes(19)))
    facts_of_it = certificate_of(pem, "server").facts()
    assert kind_of(demand_own, "a", generation(server=facts_of_it), None, ("a",)) == "unfit_certificate"


@pytest.mark.parametrize(("kind", "size"), [("rsa", 2048), ("ecdsa", 256), ("ecdsa", 384), ("ed25519", None)])
def test_every_key_that_is_made_here_has_the_usual_form(kind, size):
    key = x509.generate_key(kind, size)
    made = x509.self_sign(key, "server", x509.Profile("a", ("a",), kind, size, 365), START)
    assert certificate_of(made.facts()["pem"], "server").fingerprint == made.fingerprint
