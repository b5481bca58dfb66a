# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One member returns anything: what must not happen whatever it is, and a run of random changes (`make hostile`).

Every run starts from the same mesh of four, lets one member change each of its replies at random places, and compares
what the control node made of it with what the honest members really have.
"""

from __future__ import annotations

import argparse
import base64
import copy
import datetime
import hashlib
import itertools
import json
import random
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from control_half import ControlNode, Lie, Outcome, Reply, everything_else, public_files
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from local_mesh import Mesh

from ansible_collections.esync.mesh.plugins.module_utils._connection.cause_table import CAUSES

NOW = datetime.datetime.now(datetime.timezone.utc)
RAW = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
"""What a terminal obeys, or what turns the direction of a text."""

NAMES = ("a", "b", "c", "d")

SLOW = 10
"""Seconds: no stage of four members keeps the control node busy for longer, on a loaded machine either."""

_USAGE = {"server": ExtendedKeyUsageOID.SERVER_AUTH, "client": ExtendedKeyUsageOID.CLIENT_AUTH}


# -- certificates that a member can make up ---------------------------------------------------------------------------


@lru_cache(maxsize=None)
def _key(label: str) -> Any:
    return ec.generate_private_key(ec.SECP256R1())


def made_up(name: str, role: str, label: str = "", days: tuple[int, int] = (-1, 100), size: int = 0) -> bytes:
    """A certificate, DER. :param label: another one has another key. :param days: from when to when. :param size: of
    an extension that nobody needs."""
    key = _key(f"{name} {role} {label}")
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    builder = (
        x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number())
        .not_valid_before(NOW + datetime.timedelta(days=days[0]))
        .not_valid_after(NOW + datetime.timedelta(days=days[1]))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([_USAGE[role]]), critical=False)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("evil.example")]), critical=False)
    )
    if size:
        oid = x509.ObjectIdentifier("1.3.6.1.4.1.55555.1")
        builder = builder.add_extension(x509.UnrecognizedExtension(oid, b"\x04\x00" * (size // 2)), critical=False)
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.DER)


def facts(der: bytes, role: str, **lies: Any) -> dict[str, Any]:
    """A certificate as a member returns it. :param lies: facts that are not those of the certificate."""
    found = {
        "role": role,
        "fingerprint": hashlib.sha256(der).hexdigest(),
        "subject": "a",
        "not_before": "2026-01-01T00:00:00Z",
        "not_after": "2027-06-01T00:00:00Z",
        "alt_names": ["a"],
        "pem": f"-----BEGIN CERTIFICATE-----\n{base64.encodebytes(der).decode()}-----END CERTIFICATE-----\n",
    }
    try:
        loaded = x509.load_der_x509_certificate(der)
    except ValueError:
        return {**found, **lies}
    names = loaded.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return {
        **found,
        "subject": str(loaded.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value),
        "not_before": loaded.not_valid_before_utc.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "not_after": loaded.not_valid_after_utc.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "alt_names": [str(one) for one in names.get_values_for_type(x509.DNSName)],
        **lies,
    }


def generation(server: dict[str, Any], client: dict[str, Any], state: str = "current") -> dict[str, Any]:
    return {"id": "20260101T000000Z-1", "state": state, "server": server, "client": client}


def made_up_generations(name: str) -> Mapping[str, dict[str, Any]]:
    """Generations that no member may present, by what is wrong with them.

    :param name: the member that presents them.
    """

    def pair(make: Callable[[str], dict[str, Any]]) -> dict[str, Any]:
        return generation(make("server"), make("client"))

    rubbish = b"\x30\x82\x00\x10" + bytes(16)
    return {
        "rubbish": pair(lambda role: facts(rubbish + role.encode(), role)),
        "another subject": pair(lambda role: facts(made_up("b", role), role, subject=name)),
        "a private key in the subject": pair(lambda role: facts(made_up("PRIVATE KEY", role), role)),
        "a private key in a fact": pair(lambda role: facts(made_up(name, role), role, subject="PRIVATE KEY")),
        "64 KB": pair(lambda role: facts(made_up(name, role, size=64_000), role)),
        "16 KB": pair(lambda role: facts(made_up(name, role, size=16_400), role)),
        "expired": pair(lambda role: facts(made_up(name, role, "expired", (-20, -10)), role)),
        "expired, and said to be valid": pair(
            lambda role: facts(made_up(name, role, "expired", (-20, -10)), role, not_after="2099-01-01T00:00:00Z")
        ),
        "roles swapped": generation(facts(made_up(name, "client"), "server"), facts(made_up(name, "server"), "client")),
        "one key for both": pair(lambda role: facts(made_up(name, "server"), role)),
    }


# -- what must hold whatever a member returns -------------------------------------------------------------------------


@dataclass(frozen=True)
class Before:
    """What there was before a run: what the honest members really have, the ledger, their trust, all other files."""

    public: Mapping[str, Mapping[str, bytes]]
    ledger: Mapping[str, Any]
    trust: Mapping[str, Any]
    rest: Mapping[str, bytes]
    files: frozenset[str]

    @classmethod
    def of(cls, mesh: Mesh) -> Before:
        return cls(
            {name: public_files(mesh, name) for name in mesh.names},
            ledger_of(mesh),
            {name: trust_of(mesh, name) for name in mesh.names},
            everything_else(mesh.root, *_OURS),
            frozenset(_control_files(mesh)),
        )


def ledger_of(mesh: Mesh) -> dict[str, Any]:
    return {path.stem: json.loads(path.read_text()) for path in mesh.ledger.glob("*.json")}


def trust_of(mesh: Mesh, name: str) -> list[dict[str, Any]] | None:
    return mesh.trust(name)["entries"] if (mesh.host(name) / "trusted" / "trust.json").exists() else None


def _control_files(mesh: Mesh) -> list[str]:
    return [
        str(path.relative_to(mesh.root))
        for top in (mesh.ledger, mesh.root / "report")
        for path in top.rglob("*")
        if not path.name.startswith(".")
    ]


_OURS = ("hosts", "ledger", "report", "tmp", "remote-tmp", ".ansible")
"""Where files may change: the last three are Ansible's own."""

_REPORT = frozenset([*(f"report/mesh.{end}" for end in ("json", "html", "xml", "prom")), "report/history.json"])


@dataclass(frozen=True)
class Case:
    """A run to be examined.

    :param evil: the member that lies. :param renews: whether honest members get new certificates in it.
    :param broken: the honest pairs that really cannot connect. :param leaving: a member that is removed in it.
    :param outside: servers of another mesh that may be admitted. :param reports: whether nobody's failure may keep it
        from its report.
    """

    evil: str
    renews: bool = False
    broken: frozenset[tuple[str, str]] = frozenset()
    leaving: str = ""
    outside: frozenset[str] = frozenset()
    reports: bool = False


def violations(mesh: Mesh, case: Case, before: Before, outcome: Outcome) -> list[str]:
    """What the lies of one member brought about and must not have; empty if nothing."""
    return [
        *_outside_its_folders(mesh, case, before),
        *_honest_keys(mesh, case, before),
        *_honest_records(mesh, case, before),
        *_honest_trust(mesh, case, before),
        *_report(mesh, case, outcome),
        *_output(mesh, outcome),
    ]


def _honest(mesh: Mesh, case: Case) -> list[str]:
    return [name for name in mesh.names if name not in (case.evil, case.leaving)]


def _truth(mesh: Mesh, before: Before, name: str) -> set[str]:
    """The fingerprints of all certificates that a member has, or had before."""
    return {
        hashlib.sha256(der).hexdigest()
        for found in (before.public[name], public_files(mesh, name))
        for der in found.values()
    }


def _outside_its_folders(mesh: Mesh, case: Case, before: Before) -> Iterator[str]:
    if everything_else(mesh.root, *_OURS) != before.rest:
        yield "a file outside the folders of the ledger and the report"
    for path in (ELSEWHERE, Path("CANARY")):
        if path.exists():
            yield f"{path} was made"
    names = {f"ledger/{name}.json" for name in (*mesh.names, *case.outside)}
    for path in sorted(set(_control_files(mesh)) - before.files - names - _REPORT):
        yield f"an unknown file {path!r}"


def _honest_keys(mesh: Mesh, case: Case, before: Before) -> Iterator[str]:
    for name in _honest(mesh, case):
        if not case.renews and public_files(mesh, name) != before.public[name]:
            yield f"the certificates of {name} are others"


def _honest_records(mesh: Mesh, case: Case, before: Before) -> Iterator[str]:
    found = ledger_of(mesh)
    for name in _honest(mesh, case):
        record, known = found.get(name), before.ledger.get(name)
        if record is None:
            if known:
                yield f"the record of {name} is gone"
            continue
        recorded = {one[role]["fingerprint"] for one in record["generations"] for role in ("server", "client")}
        if not recorded <= _truth(mesh, before, name):
            yield f"the record of {name} has certificates that it does not have"
        if known and known["generations"] and not recorded:
            yield f"the record of {name} is empty"
        settled = ("name", "removed_at", "distrusted")
        if known and [known[key] for key in settled] != [record[key] for key in settled]:
            yield f"the record of {name} says that it lost trust"
        if known and not case.renews and known["generations"] != record["generations"]:
            yield f"the record of {name} is another"
        if record["port"] != mesh.ports[name]:
            yield f"the record of {name} has another port"


def _honest_trust(mesh: Mesh, case: Case, before: Before) -> Iterator[str]:
    honest = _honest(mesh, case)
    theirs = {name: _truth(mesh, before, name) for name in honest}
    for name in honest:
        entries, known = trust_of(mesh, name), before.trust[name]
        for peer in sorted({one["peer"] for one in entries or ()} - {*mesh.names, *case.outside}):
            yield f"{name} trusts {peer!r}"
        for one in entries or ():
            owner = next((peer for peer in honest if one["fingerprint"] in theirs[peer]), None)
            if (one["peer"] if one["peer"] in honest else None) != owner:
                yield f"{name} trusts a certificate of {owner or case.evil} as {one['peer']}"
        for peer in honest if known is not None else ():
            mine = {one["fingerprint"] for one in entries or () if one["peer"] == peer}
            wanted = {
                hashlib.sha256(der).hexdigest() for key, der in public_files(mesh, peer).items() if "current" in key
            }
            had = {one["fingerprint"] for one in known or () if one["peer"] == peer}
            if peer != name and had and not wanted <= mine:
                yield f"{name} does not trust {peer} any more"


def _report(mesh: Mesh, case: Case, outcome: Outcome) -> Iterator[str]:
    if outcome.ok and case.broken:
        yield "success, and a pair is broken"
    if not outcome.reported:
        if case.reports:
            yield "no report"
        return
    try:
        report = mesh.report()
    except (OSError, ValueError):
        yield "the report is not intact"
        return
    members = [name for name in mesh.names if name != case.leaving]
    if [one["name"] for one in report["servers"]] != members:
        yield "the report does not have every server"
    pairs = {(one["from"], one["to"]): one for one in report["pairs"]}
    if sorted(pairs) != sorted((a, b) for a in members for b in members if a != b) or len(pairs) != len(
        report["pairs"]
    ):
        yield "the report does not have every pair once"
    counts = {key: sum(one["verdict"] == key for one in report["pairs"]) for key in ("ok", "failed", "untested")}
    if {key: report["summary"][key] for key in counts} != counts:
        yield "the counts of the report are wrong"
    # A member may say that its files may not be read: then its own pairs are not tested, and the report says so.
    [state] = [one["state"] for one in report["servers"] if one["name"] == case.evil]
    unknown = counts["untested"] if state == "unreadable" else 0
    if outcome.ok and counts["ok"] + unknown != len(pairs):
        yield "success, and not every pair is ok"
    for (source, target), one in pairs.items():
        if case.evil in (source, target):
            continue
        if one["verdict"] != ("failed" if (source, target) in case.broken else "ok"):
            yield f"{source} -> {target} is {one['verdict']} ({one['cause']})"


def _output(mesh: Mesh, outcome: Outcome) -> Iterator[str]:
    if RAW.search(outcome.output):
        yield "a terminal would obey the output"
    for path in (mesh.root / "report").glob("mesh.*"):
        if RAW.search(path.read_text(encoding="utf-8")):
            yield f"control characters in {path.name}"
    for one in outcome.unexpected:
        yield f"an unexpected error: {one}"
    if outcome.seconds > SLOW:
        yield f"the control node was busy for {outcome.seconds:.0f} seconds"


# -- random changes ---------------------------------------------------------------------------------------------------

ELSEWHERE = Path(tempfile.gettempdir()) / "esync-hostile-elsewhere"
CANARY = "{{ lookup('pipe', 'touch CANARY') }}"
TEXTS = (
    *("", "a", "b", "c", "d", "B", "mallory", "ok", "failed", "untested", "next", "previous", "current", "server"),
    *("../../victim/**/*", "/etc/passwd", "*", "b.json", "PRIVATE KEY", "-----BEGIN PRIVATE KEY-----", "no id"),
    *(
        CANARY,
        "{% raw %}",
        "\x1b[2J\x1b]0;x\x07",
        "\u202egnp.exe",
        "\x9b31m",
        "\ud800",
        "\x00",
        "x" * 300,
        "x" * 100_000,
    ),
    *("9999-99-99T99:99:99Z", "2020-01-01T00:00:00Z", "ab" * 32, "clock_skew", "expired", "discard_existing"),
    *("client_certificate_refused", "server_certificate_expired", "endpoint_not_listening", "a\nb: ok"),
)
JUNK: tuple[Any, ...] = (
    *(None, True, False, 0, 1, -1, 2**63, 10**400, 1e308, float("nan"), float("inf"), -0.5),
    *([], {}, [[]], [None], {"": None}, {"a": {"b": {}}}, list(range(5000)), {str(one): one for one in range(5000)}),
)
PLAUSIBLE: Mapping[str, Sequence[Any]] = {
    "verdict": ("ok", "failed", "untested"),
    "cause": (*sorted(CAUSES), None),
    "state": ("current", "next", "previous"),
    "role": ("server", "client"),
    "to": NAMES,
    "peer": (*NAMES, "mallory"),
    "fingerprint": ("ab" * 32,),
    "due": ([], ["expired"], ["name_differs"], ["expires_soon", "key_differs"]),
    "reasons": ([], ["discard_existing"], ["differs"]),
    "rotation": (
        None,
        {"holder": "x@y process 1 started 1", "since": "2020-01-01T00:00:00Z", "id": "20200101T000000Z"},
    ),
    "trust": (None,),
    "kind": ("clock_skew", "missing_dependency", "expired", "damaged_file", "no_permission", "host_frozen"),
    "problems": tuple(
        [{"kind": kind, "cause": "x", "remedy": "y", "server": "b", "path": None}]
        for kind in ("clock_skew", "damaged_file", "missing_file", "expired", "damaged_trust", "no_permission")
    ),
    "generations": ([],),
    "skipped": (True,),
}
"""What passes the parser, by the key under which it stands."""

FACTS = {
    "ansible_facts": {"esync_server_name": "b", "esync_ledger": str(ELSEWHERE), "esync_compromised": ["b"]},
    "esync_report_directory": str(ELSEWHERE),
    "_ansible_no_log": True,
    "_ansible_verbose_always": True,
    "unreachable": True,
    "skipped": True,
    "failed": True,
    "changed": True,
    "msg": "\x1b[2J",
    "error": {"kind": "clock", "cause": "\x1b[2J", "remedy": CANARY, "server": "b", "path": "/"},
    "errors": [{"kind": "missing_dependency", "cause": "x", "remedy": "y"}],
    "exception": "\x1b[2J",
    "warnings": ["\x1b[2J", CANARY, {"x": 1}],
    "diff": {"before": "\x1b[2J", "after": CANARY, "before_header": "\x1b", "after_header": "x"},
    "results": [],
    "reasons": ["discard_existing"],
    "readable": False,
    "rotation": {"holder": "x@y process 1 started 1", "since": "2020", "id": "20260101T000000Z"},
    "invocation": {"module_args": {"pfx_passphrase": "x"}},
}


@dataclass
class Mutator:
    """Changes the replies of one member.

    :param rng: makes it reproducible. :param evil: the member. :param seen: what the others returned before, by step.
    :param changes: what was done, in words.
    """

    rng: random.Random
    evil: str
    seen: dict[str, list[Any]] = field(default_factory=dict)
    changes: list[str] = field(default_factory=list)

    def __call__(self, name: str, steps: Sequence[Mapping[str, Any]], reply: Reply) -> Any:
        key = " ".join(str(one["step"]) for one in steps)
        if name != self.evil:
            self.seen.setdefault(key, []).append(copy.deepcopy(reply))
            return reply
        made: Any = {"reply": reply}
        for _number in range(self.rng.choice((0, 1, 1, 1, 2, 3, 10))):
            self._change(made, self.seen.get(key, []))
        return made["reply"] if isinstance(made["reply"], dict) else {}

    def _change(self, made: Any, others: Sequence[Any]) -> None:
        places = _places(made["reply"], ("reply",))
        # A kind of place first, then one of them: else only the rows of long lists would be changed.
        kinds: dict[tuple[Any, ...], list[tuple[Any, ...]]] = {}
        for place in places:
            kinds.setdefault(tuple(one if isinstance(one, str) else 0 for one in place), []).append(place)
        place = self.rng.choice(kinds[self.rng.choice(sorted(kinds, key=repr))])
        container = _at(made, place[:-1])
        key, value = place[-1], container[place[-1]]
        wild = (self._junk, self._text, self._of_elsewhere, self._of_others, self._add, self._shape, self._certificates)
        how = self._plausible if self.rng.random() < 0.6 else self.rng.choice(wild)
        new = how(made, place, value, others)
        self.changes.append(f"{how.__name__[1:]} at {'.'.join(map(str, place[1:]))}: {json.dumps(new)[:80]}")
        if new is _DELETE:
            del container[key]
        else:
            container[key] = new

    def _plausible(self, made: Any, place: Any, value: Any, others: Any) -> Any:
        """Of the right type and form, so that it gets past the parser: what stands under that key anywhere."""
        named = next((one for one in reversed(place) if isinstance(one, str)), "")
        if isinstance(value, bool):
            return not value
        if isinstance(value, (int, float)):
            return value * self.rng.choice((-1, 0, 2, 10**6)) + self.rng.choice((-1, 0, 1))
        choices = [*PLAUSIBLE.get(named, ()), *_under([made["reply"], *others], named)]
        return copy.deepcopy(self.rng.choice(choices)) if choices else value

    def _junk(self, made: Any, place: Any, value: Any, others: Any) -> Any:
        return copy.deepcopy(self.rng.choice(JUNK))

    def _text(self, made: Any, place: Any, value: Any, others: Any) -> Any:
        new = self.rng.choice(TEXTS)
        if isinstance(value, str) and value and self.rng.random() < 0.5:
            at = self.rng.randrange(len(value))
            return value[:at] + self.rng.choice((new, self.rng.choice("\x1b\n/*0a"))) + value[at + 1 :]
        return new

    def _of_elsewhere(self, made: Any, place: Any, value: Any, others: Any) -> Any:
        return copy.deepcopy(_at(made, self.rng.choice(list(_places(made["reply"], ("reply",))))))

    def _of_others(self, made: Any, place: Any, value: Any, others: Any) -> Any:
        """What another member returned at the same place."""
        try:
            return copy.deepcopy(_at({"reply": self.rng.choice(others)}, place))
        except (IndexError, KeyError, TypeError):
            return None

    def _add(self, made: Any, place: Any, value: Any, others: Any) -> Any:
        if not isinstance(value, dict):
            return value
        names = self.rng.sample(sorted(FACTS), self.rng.randint(1, 4))
        return {**value, **{name: copy.deepcopy(FACTS[name]) for name in names}}

    def _shape(self, made: Any, place: Any, value: Any, others: Any) -> Any:
        if isinstance(value, list) and value:
            return self.rng.choice((value[1:], value[::-1], [*value, value[0]], value * 2000, value * 10))
        if isinstance(value, dict) and value:
            key = self.rng.choice(sorted(value))
            return {self.rng.choice(TEXTS) if one == key else one: item for one, item in value.items()}
        return _DELETE if len(place) > 1 else value

    def _certificates(self, made: Any, place: Any, value: Any, others: Any) -> Any:
        """Certificates that it made up, in the place of its own."""
        mine = made_up_generations(self.evil)
        made_generation = copy.deepcopy(mine[self.rng.choice(sorted(mine))])
        results = made["reply"].get("results") if isinstance(made["reply"], dict) else None
        for result in results if isinstance(results, list) else ():
            if isinstance(result, dict) and isinstance(result.get("generations"), list):
                state = self.rng.choice(("current", "current", "next", "previous"))
                kept = [one for one in result["generations"] if isinstance(one, dict) and one.get("state") != state]
                result["generations"] = [*kept, {**made_generation, "state": state}]
        return _at(made, place) if _has(made, place) else _DELETE


_DELETE = "<deleted>"


def _under(value: Any, key: str) -> Iterator[Any]:
    """Every value that stands under a key, at any depth."""
    for one in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from _under(one, key)
    if isinstance(value, dict) and key in value:
        yield value[key]


def _places(value: Any, at: tuple[Any, ...]) -> Iterator[tuple[Any, ...]]:
    yield at
    if isinstance(value, dict):
        for key, one in value.items():
            yield from _places(one, (*at, key))
    elif isinstance(value, list):
        for index, one in enumerate(value[:50]):
            yield from _places(one, (*at, index))


def _at(value: Any, place: Sequence[Any]) -> Any:
    for key in place:
        value = value[key]
    return value


def _has(value: Any, place: Sequence[Any]) -> bool:
    try:
        _at(value, place)
    except (IndexError, KeyError, TypeError):
        return False
    return True


# -- many runs --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Scenario:
    """An operation, and the mesh that it starts from.

    :param start: ``established`` or ``nothing``. :param extra: what the user gives with ``-e``.
    :param unreachable: a member that the others really cannot reach.
    """

    operation: str
    start: str = "established"
    extra: Mapping[str, Any] = field(default_factory=dict)
    renews: bool = False
    leaving: str = ""
    unreachable: str = ""

    def case(self, evil: str) -> Case:
        broken = {(name, self.unreachable) for name in NAMES if self.unreachable not in ("", name)}
        reports = self.operation in ("verify", "check", "repair")
        return Case(evil, self.renews, frozenset(broken), self.leaving, reports=reports)


SCENARIOS = (
    Scenario("establish", start="nothing", renews=True),
    Scenario("establish"),
    Scenario("verify"),
    Scenario("verify", unreachable="c"),
    Scenario("check"),
    Scenario("check", unreachable="c"),
    Scenario("repair"),
    Scenario("regenerate", renews=True),
    Scenario("regenerate", extra={"esync_only_due": True}),
    Scenario("remove", extra={"esync_remove": ["d"]}, leaving="d", renews=True),
)
EVIL = ("a", "b")


class Meshes:
    """Copies of an established mesh, always in the same folder and on the same ports."""

    def __init__(self, folder: Path) -> None:
        (folder / "mesh").mkdir()
        self.mesh = Mesh(folder / "mesh", list(NAMES))
        self.kept = folder / "kept"
        outcome = ControlNode(self.mesh).run("establish")
        assert outcome.ok, outcome.output
        shutil.copytree(self.mesh.root, self.kept, symlinks=True)

    def fresh(self, scenario: Scenario) -> Mesh:
        """The mesh as a scenario wants it."""
        for top in ("hosts", "ledger", "report"):
            shutil.rmtree(self.mesh.root / top, ignore_errors=True)
            if scenario.start == "established":
                shutil.copytree(self.kept / top, self.mesh.root / top, symlinks=True)
        victim = self.mesh.root / "victim" / "deep" / "x.json.y"
        victim.parent.mkdir(parents=True, exist_ok=True)
        victim.write_text("of somebody else")
        # Nothing listens on that address.
        self.mesh.host_settings = {scenario.unreachable: {"esync_address": "127.0.0.2"}} if scenario.unreachable else {}
        self.mesh.write()
        return self.mesh


def run_one(meshes: Meshes, scenario: Scenario, evil: str, lie: Lie) -> tuple[list[str], Outcome]:
    """One run of an operation with one member that lies: what must not have happened, and how it ended."""
    mesh = meshes.fresh(scenario)
    before = Before.of(mesh)
    outcome = ControlNode(mesh, lie).run(scenario.operation, **scenario.extra)
    return violations(mesh, scenario.case(evil), before, outcome), outcome


def run_many(folder: Path, runs: int, seed: int, first: int = 0) -> Iterator[str]:
    """Random changes in many runs: what must not have happened, with what brought it about."""
    meshes = Meshes(folder)
    for number in range(first, first + runs):
        rng = random.Random(f"{seed} {number}")
        scenario, evil = SCENARIOS[number % len(SCENARIOS)], rng.choice(EVIL)
        mutator = Mutator(rng, evil)
        bad, outcome = run_one(meshes, scenario, evil, mutator)
        if bad:
            told = "; ".join(mutator.changes)
            yield (f"run {number}, {scenario}, {evil} lies: {bad}\n  {told}\n  {list(outcome.failed.items())[:1]}")


def seeded(seed: str, reply: Any) -> random.Random:
    """The same changes for the same reply, in whichever process."""
    results = reply.get("results") if isinstance(reply, dict) else None
    return random.Random(f"{seed} {[one.get('step') for one in results or ()]}")


def run_real(folder: Path, runs: int, seed: int) -> Iterator[str]:
    """Likewise with the real ansible-playbook, whose Python on that member is a program that changes the replies."""
    meshes = Meshes(folder)
    helper = Path(__file__).with_name("hostile_interpreter.py")
    for number in range(runs):
        scenario, evil = SCENARIOS[(3 * number) % len(SCENARIOS)], EVIL[number % len(EVIL)]
        mesh = meshes.fresh(scenario)
        wrapper, lies = mesh.root / "python", mesh.root / "lies.json"
        lies.write_text(json.dumps({"seed": f"{seed} {number}", "evil": evil}))
        wrapper.write_text(f'#!/bin/sh\nexec {sys.executable} {helper} {lies} "$@"\n')
        wrapper.chmod(0o755)
        mesh.host_settings = {**mesh.host_settings, evil: {"ansible_python_interpreter": str(wrapper)}}
        mesh.write()
        before = Before.of(mesh)
        result = mesh.run(scenario.operation, "-e", json.dumps(scenario.extra))
        failed = {} if result.code == 0 else {evil: ""}
        outcome = Outcome(result.output, failed, reported="TASK [esync.mesh.esync : Report]" in result.output)
        bad = violations(mesh, scenario.case(evil), before, outcome)
        bad += ["a traceback"] if "Traceback" in result.output else []
        if bad:
            yield f"run {number} with ansible-playbook, {scenario}, {evil} lies: {bad}\n{result.output[-3000:]}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=500)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--first", type=int, default=0, help="the number of the first run, to repeat one")
    parser.add_argument("--real", type=int, default=5, help="how many more with ansible-playbook (%(default)s)")
    arguments = parser.parse_args()
    count = 0
    with tempfile.TemporaryDirectory(prefix="esync-hostile-") as one, tempfile.TemporaryDirectory() as other:
        many = run_many(Path(one), arguments.runs, arguments.seed, arguments.first)
        for found in itertools.chain(many, run_real(Path(other), arguments.real, arguments.seed)):
            count += 1
            print(found, file=sys.stderr, flush=True)
    print(f"{arguments.runs + arguments.real} runs, seed {arguments.seed}, {count} violations")
    return 1 if count else 0


if __name__ == "__main__":
    sys.exit(main())
