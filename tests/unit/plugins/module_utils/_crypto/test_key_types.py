# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What holds for every row of the registry, and what is particular to each."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import yaml
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed448, padding

from ansible_collections.esync.mesh.plugins.doc_fragments.sets import ModuleDocFragment
from ansible_collections.esync.mesh.plugins.module_utils._core import layout
from ansible_collections.esync.mesh.plugins.module_utils._core.errors import EsyncError
from ansible_collections.esync.mesh.plugins.module_utils._crypto import key_types
from ansible_collections.esync.mesh.plugins.module_utils._crypto.key_types import KEY_TYPES, KeyType
from ansible_collections.esync.mesh.plugins.module_utils._steps import options

ROOT = Path(__file__).resolve().parents[5]
KINDS = [("rsa", 2048), ("ecdsa", 256), ("ecdsa", 384), ("ed25519", 0)]


@pytest.fixture(scope="module")
def keys(rsa_key: Any) -> dict[tuple[str, int], Any]:
    """A key of each kind; of RSA one size will do."""
    made = {(kind, size): key_types.generate(kind, size or None) for kind, size in KINDS if kind != "rsa"}
    return {("rsa", 2048): rsa_key, **made}


def refused(kind: str, function: Any, *arguments: Any) -> EsyncError:
    with pytest.raises(EsyncError) as caught:
        function(*arguments)
    assert caught.value.kind == kind
    return caught.value


# -- every row -----------------------------------------------------------------------------------------------------


def test_no_row_leaves_a_question_to_a_default() -> None:
    fields = dataclasses.fields(KeyType)
    assert len(fields) > 10
    assert [one.name for one in fields if one.default is not dataclasses.MISSING] == []
    assert [one.name for one in fields if one.default_factory is not dataclasses.MISSING] == []


@pytest.mark.parametrize("name", KEY_TYPES)
def test_a_row_is_consistent(name: str) -> None:
    row = KEY_TYPES[name]
    assert row.name == name
    assert row.default_size in row.sizes or (row.sizes, row.default_size) == ((), 0)
    assert row.weak_below <= min(row.sizes, default=0)
    assert set(row.formats) <= set(layout.FORMATS)
    assert {"cer", "pfx"} <= set(row.formats)


def test_the_types_and_their_sizes() -> None:
    assert {name: (row.sizes, row.default_size) for name, row in KEY_TYPES.items()} == {
        "rsa": ((2048, 3072, 4096), 3072),
        "ecdsa": ((256, 384), 256),
        "ed25519": ((), 0),
    }
    assert [name for name, row in KEY_TYPES.items() if "pvk" in row.formats] == ["rsa"]
    assert [name for name, row in KEY_TYPES.items() if row.key_encipherment] == ["rsa", "ecdsa"]
    assert {kind for kind, _size in KINDS} == set(KEY_TYPES)


def test_what_users_are_offered_is_what_there_is() -> None:
    role = yaml.safe_load((ROOT / "roles/esync/meta/argument_specs.yml").read_text(encoding="utf-8"))
    offered = role["argument_specs"]["main"]["options"]
    fragment = yaml.safe_load(ModuleDocFragment.DOCUMENTATION)["options"]
    for types, sizes in (
        (offered["esync_key_type"], offered["esync_key_size"]),
        (fragment["key_type"], fragment["key_size"]),
        (options.SPEC["key_type"], options.SPEC["key_size"]),
    ):
        assert types["choices"] == list(KEY_TYPES)
        assert types["default"] == key_types.DEFAULT
        assert "default" not in sizes
        described = " ".join(sizes.get("description", [])) or str(sizes["choices"])
        assert all(str(size) in described for size in key_types.SIZES)
    # A host can only take back its group's size by null, which no choice can be.
    assert "choices" not in offered["esync_key_size"]
    assert fragment["key_size"]["choices"] == options.SPEC["key_size"]["choices"] == [256, 384, 2048, 3072, 4096]


@pytest.mark.parametrize("kind", KINDS)
def test_a_key_is_known_again(kind: tuple[str, int], keys: dict[tuple[str, int], Any]) -> None:
    public = keys[kind].public_key()
    assert key_types.type_and_size(public) == kind
    assert [row.name for row in KEY_TYPES.values() if row.is_public(public)] == [kind[0]]
    assert key_types.type_of(public) is KEY_TYPES[kind[0]]
    assert key_types.consistent(keys[kind])


@pytest.mark.parametrize("kind", KINDS)
def test_the_form_is_the_one_of_the_library(kind: tuple[str, int], keys: dict[tuple[str, int], Any]) -> None:
    # Written here byte for byte, so that no version of the library can make sound sets look damaged.
    expected = keys[kind].private_bytes(
        serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    assert key_types.pkcs8(keys[kind]) == expected


def test_a_private_value_that_begins_with_zeros() -> None:
    for curve, size in ((ec.SECP256R1(), 256), (ec.SECP384R1(), 384)):
        key = ec.derive_private_key(5, curve)
        expected = key.private_bytes(
            serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        assert key_types.pkcs8(key) == expected
        assert (5).to_bytes(size // 8, "big") in expected


@pytest.mark.parametrize("kind", KINDS)
def test_signatures(kind: tuple[str, int], keys: dict[tuple[str, int], Any]) -> None:
    key = keys[kind]
    public = key.public_key()
    algorithm = KEY_TYPES[kind[0]].signature_hash(public)
    assert (algorithm.name if algorithm else None) == {
        ("rsa", 2048): "sha256",
        ("ecdsa", 256): "sha256",
        ("ecdsa", 384): "sha384",
        ("ed25519", 0): None,
    }[kind]
    further = {
        "rsa": lambda: (padding.PKCS1v15(), algorithm),
        "ecdsa": lambda: (ec.ECDSA(algorithm),),
        "ed25519": lambda: (),
    }[kind[0]]()
    signature = key.sign(b"what is signed", *further)
    key_types.verify(public, signature, b"what is signed", algorithm)
    with pytest.raises(InvalidSignature):
        key_types.verify(public, signature, b"what is not", algorithm)
    with pytest.raises(InvalidSignature):
        key_types.verify(public, signature[:-1] + bytes([signature[-1] ^ 1]), b"what is signed", algorithm)


# -- sizes and formats -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "given", "meant"),
    [
        ("rsa", None, 3072),
        ("rsa", 2048, 2048),
        ("rsa", 4096, 4096),
        ("ecdsa", None, 256),
        ("ecdsa", 384, 384),
        ("ed25519", None, 0),
    ],
)
def test_the_size_that_is_meant(name: str, given: int | None, meant: int) -> None:
    assert key_types.wanted_size(name, given) == meant


@pytest.mark.parametrize(
    ("name", "size", "allowed"),
    [
        ("rsa", 0, "2048, 3072, 4096"),
        ("rsa", 256, "2048, 3072, 4096"),
        ("rsa", 1024, "2048, 3072, 4096"),
        ("ecdsa", 0, "256, 384"),
        ("ecdsa", 3072, "256, 384"),
        ("ecdsa", 521, "256, 384"),
        ("ed25519", 256, "Do not set esync_key_size"),
        ("ed25519", 0, "Do not set esync_key_size"),
    ],
)
def test_a_size_that_a_type_does_not_have(name: str, size: int, allowed: str) -> None:
    for function in (key_types.wanted_size, key_types.generate):
        error = refused("bad_key_type", function, name, size)
        for part in ("esync_key_type", "esync_key_size", name, str(size)):
            assert part in error.cause
        assert allowed in error.remedy


@pytest.mark.parametrize("name", ["dsa", "", "RSA"])
def test_a_type_that_there_is_not(name: str) -> None:
    error = refused("bad_key_type", key_types.generate, name, None)
    assert "rsa, ecdsa, ed25519" in error.remedy


def test_formats_that_cannot_hold_a_key() -> None:
    key_types.demand_formats("rsa", ("cer", "pfx", "pvk"))
    for name in ("ecdsa", "ed25519"):
        key_types.demand_formats(name, ("cer", "pfx"))
        error = refused("bad_key_type", key_types.demand_formats, name, ("cer", "pvk"))
        assert "pvk" in error.cause and name in error.cause
        assert "esync_formats" in error.remedy and "esync_key_type to rsa" in error.remedy


def test_a_host_that_cannot_make_such_a_key(monkeypatch: pytest.MonkeyPatch) -> None:
    def generate(_size: int) -> Any:
        raise UnsupportedAlgorithm("by policy")

    monkeypatch.setitem(KEY_TYPES, "ed25519", dataclasses.replace(KEY_TYPES["ed25519"], generate=generate))
    error = refused("unsupported_algorithm", key_types.generate, "ed25519", None)
    assert "ed25519" in error.cause
    assert "esync_key_type" in error.remedy


# -- keys that do not fit, or are never made here --------------------------------------------------------------------


@pytest.mark.parametrize("curve", [ec.SECP256K1(), ec.SECP521R1(), ec.BrainpoolP384R1()])
def test_other_curves(curve: Any) -> None:
    # Some have as many bits as one of ours.
    key = ec.generate_private_key(curve)
    assert key_types.type_and_size(key.public_key()) == ("ecdsa", 0)
    assert key_types.pkcs8(key) is None
    assert key_types.consistent(key)
    # A certificate of others may have one, and its signature is verified.
    key_types.verify(key.public_key(), key.sign(b"x", ec.ECDSA(hashes.SHA256())), b"x", hashes.SHA256())


def test_another_type() -> None:
    key = ed448.Ed448PrivateKey.generate()
    assert key_types.type_of(key.public_key()) is None
    assert key_types.type_and_size(key.public_key()) == ("other", 0)
    assert key_types.pkcs8(key) is None
    with pytest.raises(ValueError):
        key_types.verify(key.public_key(), key.sign(b"x"), b"x", None)


def test_numbers_of_an_rsa_key_that_do_not_fit(rsa_key: Any) -> None:
    private = rsa_key.private_numbers()
    public = private.public_numbers
    numbers = [public.n, public.e, private.d, private.p, private.q, private.dmp1, private.dmq1, private.iqmp]
    assert key_types.rsa_numbers_fit(*numbers)
    for place in range(len(numbers)):
        for bit in (0, 1, 7):
            changed = list(numbers)
            changed[place] ^= 1 << bit
            assert not key_types.rsa_numbers_fit(*changed), (place, bit)
    for p in (0, 1, 2):
        assert not key_types.rsa_numbers_fit(*numbers[:3], p, *numbers[4:])


# -- in use ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "size"), [("ecdsa", 384), ("ed25519", None)])
def test_both_ends_of_a_connection(mesh: Any, listen: Any, version: str, name: str, size: int | None) -> None:
    for member in ("alpha", "bravo"):
        mesh.make(member, key_type=name, key_size=size)
    mesh.trust("alpha", "bravo")
    mesh.trust("bravo", "alpha")
    found = mesh.one("alpha", "bravo", listen("bravo")["port"])
    assert (found["verdict"], found["tls"]) == ("ok", version)


@pytest.mark.parametrize(("name", "size"), [("ecdsa", 384), ("ed25519", None)])
def test_one_end_of_a_connection(mesh: Any, s_server: Any, name: str, size: int | None) -> None:
    # OpenSSL's own server presents it; ours calls with a key of another type.
    mesh.make("bravo", key_type=name, key_size=size)
    mesh.trust("alpha", "bravo")
    mesh.trust("bravo", "alpha")
    options = ["-www", "-Verify", "1", "-verify_return_error", "-partial_chain"]
    port = s_server("bravo", *options, "-CAfile", str(mesh.root / "bravo" / "trusted" / "clients.pem"))
    assert mesh.one("alpha", "bravo", port)["verdict"] == "ok"
