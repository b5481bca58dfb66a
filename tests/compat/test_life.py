# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The life of a mesh whose servers each run on another Python and another cryptography.

The tests run in their order: each goes on from where the one before it stopped.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from cells import FEW, NEWEST, OWN, Cell, Host, environment, interpreters
from conftest import HERE, mesh_of


def unchanged(mesh: Any, playbook: str, *arguments: str) -> None:
    """The second run changes nothing, and says so."""
    before = mesh.snapshot()
    assert set(mesh.succeed(playbook, *arguments).changed.values()) == {0}
    assert mesh.snapshot() == before


def all_pairs(mesh: Any) -> str:
    """Every pair is proved; returns how many there are, in words."""
    count = len(mesh.names) * (len(mesh.names) - 1)
    summary = mesh.report()["summary"]
    assert summary == {"servers": len(mesh.names), "expected": count, "ok": count, "failed": 0, "untested": 0}
    pairs = [(pair["from"], pair["to"]) for pair in mesh.report()["pairs"]]
    assert len(set(pairs)) == count
    return f"{count} pairs"


def generations(mesh: Any) -> list[Path]:
    """The folders of the current sets."""
    return [mesh.current(name).resolve() for name in mesh.names]


def read_by(python: str | Path, folders: list[Path]) -> dict[str, list[str | None]]:
    """What a host's Python finds in the files of these folders."""
    command = [str(python), "-W", "ignore", str(HERE / "files.py"), "read", *map(str, folders)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, f"{python}:\n{done.stderr[-3000:]}"
    found: dict[str, list[str | None]] = json.loads(done.stdout)
    return found


def read_by_openssl(path: Path) -> list[str | None]:
    """The same by OpenSSL."""

    def run(*command: str, data: bytes = b"") -> bytes:
        done = subprocess.run(["openssl", *command], input=data, capture_output=True, check=False)
        assert done.returncode == 0, f"{path}: {done.stderr.decode(errors='replace')}"
        return done.stdout

    certificate, key = b"", b""
    if path.suffix in (".cer", ".crt"):
        form = "DER" if path.suffix == ".cer" else "PEM"
        certificate = run("x509", "-inform", form, "-in", str(path), "-outform", "DER")
    elif path.suffix == ".pfx":
        words = ("-in", str(path), "-passin", f"file:{path.with_name('pfx.passphrase')}")
        certificate = run("x509", "-outform", "DER", data=run("pkcs12", *words, "-nokeys"))
        key = run("pkcs12", *words, "-nocerts", "-nodes")
    elif path.suffix == ".pvk":
        key = run("rsa", "-inform", "PVK", "-pvk-none", "-in", str(path))
    else:
        key = path.read_bytes()
    if key:
        public = run("pkey", "-pubout", "-outform", "DER", data=key)
    else:
        pem = run("x509", "-inform", "DER", "-noout", "-pubkey", data=certificate)
        public = run("pkey", "-pubin", "-pubout", "-outform", "DER", data=pem)
    return [_hash(certificate) if certificate else None, _hash(public)]


def _hash(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def each_reads_all(hosts: dict[str, Host], folders: list[Path], files: int) -> None:
    """Every Python, and OpenSSL, find the same in every file, and the files of a set belong together.

    :param files: how many there are in each folder.
    """
    with ThreadPoolExecutor(2) as pool:
        by_host = dict(zip(hosts, pool.map(lambda host: read_by(host.python, folders), hosts.values())))
        paths = [Path(path) for path in next(iter(by_host.values()))]
        by_openssl = {str(path): found for path, found in zip(paths, pool.map(read_by_openssl, paths))}
    assert len(by_openssl) == files * len(folders) and len(folders) >= FEW
    for name, found in by_host.items():
        assert found == by_openssl, name
    sets: dict[tuple[Path, str], list[list[str | None]]] = {}
    for path in paths:
        sets.setdefault((path.parent, path.stem), []).append(by_openssl[str(path)])
    for found in sets.values():
        certificates, keys = ({one for one in column if one} for column in zip(*found))
        assert len(certificates) == len(keys) == 1
    assert len({found[0][1] for found in sets.values()}) == len(sets)


def test_there_are_enough_kinds_of_hosts_and_each_is_what_it_says(hosts: dict[str, Host], cells: list[Cell]) -> None:
    assert len({tuple(host.versions) for host in hosts.values()}) == len(hosts) == len(cells) >= FEW
    for host in hosts.values():
        python, library, _ssl, _library_ssl = host.versions
        assert python.startswith(f"{host.cell.python}.")
        if host.cell.library not in (NEWEST, OWN):
            assert library == host.cell.library


def test_every_pair_is_proved(mesh: Any, seen: dict[str, str]) -> None:
    mesh.succeed("establish")
    told = all_pairs(mesh)
    for name in mesh.names:
        seen[name] = f"{2 * (len(mesh.names) - 1)} of {told} proved"
    unchanged(mesh, "establish")


def test_each_reads_the_files_of_all(mesh: Any, hosts: dict[str, Host]) -> None:
    # Of the server and of the client: .cer, .crt, .key, .pfx, .pvk.
    each_reads_all(hosts, generations(mesh), 10)


def test_each_reads_keys_of_the_other_types_of_all(hosts: dict[str, Host], folder: Path) -> None:
    written = [folder / "others" / name for name in hosts]
    for host, place in zip(hosts.values(), written):
        command = [str(host.python), "-W", "ignore", str(HERE / "files.py"), "write", str(place)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == 0, f"{host.cell.name}:\n{done.stderr}"
    # Of three types of keys: .cer, .crt, .key, .pfx.
    each_reads_all(hosts, written, 12)


def test_verify_and_check_find_everything_sound(mesh: Any) -> None:
    for playbook in ("verify", "check"):
        unchanged(mesh, playbook)
        all_pairs(mesh)


def test_all_are_rotated_to_another_encryption(mesh: Any, hosts: dict[str, Host]) -> None:
    before = set(generations(mesh))
    mesh.settings["esync_pfx_encryption"] = "compat"
    mesh.write()
    mesh.succeed("regenerate")
    all_pairs(mesh)
    assert not before & set(generations(mesh))
    each_reads_all(hosts, generations(mesh), 10)
    unchanged(mesh, "regenerate", "-e", "esync_only_due=true")


def test_what_is_damaged_is_repaired_with_the_keys_that_are_there(mesh: Any) -> None:
    keys = {path: path.read_bytes() for folder in generations(mesh) for path in folder.glob("*_Sync*.key")}
    assert len(keys) == 2 * len(mesh.names)
    for folder in generations(mesh)[::2]:
        for suffix in ("pfx", "pvk", "cer"):
            (path,) = folder.glob(f"*_SyncServer.{suffix}")
            path.write_bytes(path.read_bytes()[:-9])
    for name in mesh.names[1::2]:
        (mesh.host(name) / "trusted" / "clients.pem").unlink()
    mesh.fail("check")
    mesh.succeed("repair")
    all_pairs(mesh)
    now = {path.name: path.read_bytes() for folder in generations(mesh) for path in folder.glob("*_Sync*.key")}
    assert now == {path.name: data for path, data in keys.items()}
    unchanged(mesh, "repair")


def test_what_one_mesh_exports_is_applied_by_another(mesh: Any, hosts: dict[str, Host], folder: Path) -> None:
    oldest, newest = (str(list(hosts.values())[place].python) for place in (0, -1))
    there = mesh_of(folder / "there", {"x": oldest, "y": newest}, esync_pfx_encryption="compat")
    there.succeed("establish")
    for one, other in ((mesh, there), (there, mesh)):
        to = ("-e", json.dumps({"esync_folder": f"{one.root}/out/{{{{ esync_server_name }}}}"}))
        (one.root / "out").mkdir()
        one.succeed("export", *to)
        carried = other.root / "in"
        carried.mkdir()
        for name in one.names:
            for path in (one.root / "out" / name).iterdir():
                shutil.copy(path, carried)
        other.succeed("apply", "-e", f"esync_folder={carried}")
        if one is there:
            unchanged(mesh, "apply", "-e", f"esync_folder={carried}")
        else:
            unchanged(mesh, "export", *to)
    for one, other in ((mesh, there), (there, mesh)):
        for name in one.names:
            assert one.trusted(name) == {*one.names, *other.names} - {name}


def test_a_server_is_removed(mesh: Any) -> None:
    gone = mesh.names[-1]
    mesh.succeed("remove", "-e", f"esync_remove={gone}")
    mesh.names.remove(gone)
    mesh.write()
    unchanged(mesh, "establish")
    all_pairs(mesh)
    for name in mesh.names:
        assert gone not in mesh.trusted(name)
    assert not list(mesh.host(gone).rglob("*.key"))


# -- what is refused -----------------------------------------------------------------------------------------------

# Python, cryptography: the last that will not do, Ubuntu 20.04's, none; and Pythons that are too old.
OLD = {
    "last": ("", "3.2.1"),
    "ubuntu": ("3.8", "2.8"),
    "none": ("", "none"),
    "py3.6": ("3.6", ""),
    "py3.7": ("3.7", ""),
}


@dataclass(frozen=True)
class Refused:
    """Hosts that will not do, beside two that do. :param pythons: the interpreters of those that are there.

    :param output: of a run. :param problems: what its report says of each.
    """

    pythons: dict[str, Path]
    output: str
    problems: dict[str, dict[str, str]]


@pytest.fixture(scope="session")
def refused(hosts: dict[str, Host], folder: Path) -> Refused:
    """One run with all that will not do."""
    here = interpreters()
    some = next(iter(hosts.values())).cell.python
    pythons = {}
    for name, (python, library) in OLD.items():
        if not python or python in here:
            pythons[name] = environment(here[python or some], f"refused-{name}", library.replace("none", ""))
    good = {f"good-{number}": str(host.python) for number, host in enumerate(list(hosts.values())[:2])}
    mesh = mesh_of(folder / "old", {**good, **{name: str(path) for name, path in pythons.items()}})
    output = mesh.fail("establish").output
    report = mesh.report()
    # They hold up nobody else.
    assert [pair["verdict"] for pair in report["pairs"] if {pair["from"], pair["to"]} == set(good)] == ["ok", "ok"]
    return Refused(pythons, output, {one["server"]: one for one in report["problems"]})


@pytest.mark.parametrize("name", OLD)
def test_a_host_that_will_not_do_is_told_why_and_the_three_ways_out(name: str, refused: Refused) -> None:
    python, library = OLD[name]
    if name not in refused.pythons:
        pytest.skip(f"this machine has no Python {python}")
    path, problem = refused.pythons[name], refused.problems[name]
    assert f"fatal: [{name}]: FAILED!" in refused.output
    if library:
        found = "there is none" if library == "none" else f"version {library} was found at {path.parents[1]}/lib/"
        for text in (f"cryptography, version 3.3 or later, is needed for {path}, which is Python ", f", and {found}"):
            assert text in problem["evidence"]
        assert problem["remedy"].startswith(f"Install it for that Python ({path} -m pip install cryptography); or ")
    else:
        assert f"{path}, is {python}." in problem["evidence"] and ", and 3.8 or later is needed" in problem["evidence"]
    for text in (
        "; or set ansible_python_interpreter to another Python of the host that has cryptography; or ",
        " -m venv /opt/esync-python && /opt/esync-python/bin/pip install cryptography) and set ansible_python_inter",
    ):
        assert text in problem["remedy"]
        assert text in refused.output
