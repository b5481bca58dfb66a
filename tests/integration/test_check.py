# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""check as a schedule runs it: it changes nothing, and its exit code tells a sound mesh from each kind of fault."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import ssl
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from local_mesh import Mesh


def kinds(mesh: Mesh) -> dict[str, set[str]]:
    """The kinds of problems that the report lists, by server."""
    found: dict[str, set[str]] = {}
    for problem in mesh.report()["problems"]:
        found.setdefault(problem["server"], set()).add(problem["kind"])
    return found


def check(mesh: Mesh, *arguments: str, ok: bool) -> Any:
    """A check that must end well, or must not; either way it may change nothing."""
    before = mesh.snapshot()
    result = mesh.run("check", *arguments)
    assert (result.code == 0) is ok, result.output
    assert set(result.changed.values()) == {0}
    assert mesh.snapshot() == before
    assert "Traceback" not in result.output
    return result


def test_a_sound_mesh_in_at_most_three_remote_calls(mesh: Mesh) -> None:
    result = check(mesh, "-vvv", ok=True)
    assert 0 < len(re.findall(r"^<[^>]+> EXEC ", result.output, re.M)) <= 3 * len(mesh.names)
    report = mesh.report()
    assert report["problems"] == []
    assert report["summary"] == {"servers": 3, "expected": 6, "ok": 6, "failed": 0, "untested": 0}
    assert {(one["to"], one["present"]) for one in report["refusals"] if one["verdict"] == "ok"} == {
        (server, present)
        for server in mesh.names
        for present in ("none", "stranger", "stranger_same_subject", "server", "plain")
    }


def damaged(mesh: Mesh, name: str) -> None:
    path = mesh.current(name) / f"{name}_SyncServer.cer"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0x10
    path.write_bytes(data)


def emptied(mesh: Mesh, name: str) -> None:
    (mesh.current(name) / f"{name}_SyncClient.key").write_bytes(b"")


def swapped(mesh: Mesh, name: str) -> None:
    one, other = (mesh.current(name) / f"{name}_Sync{role}.key" for role in ("Server", "Client"))
    content = one.read_bytes()
    one.write_bytes(other.read_bytes())
    other.write_bytes(content)


def foreign(mesh: Mesh, name: str) -> None:
    (mesh.current(name) / "notes.txt").write_text("mine")


def opened(mesh: Mesh, name: str) -> None:
    (mesh.current(name) / f"{name}_SyncServer.key").chmod(0o644)


def without_a_file_of_trust(mesh: Mesh, name: str) -> None:
    (mesh.host(name) / "trusted" / "b_SyncServer.cer").unlink()


def without_trust(mesh: Mesh, name: str) -> None:
    (mesh.host(name) / "trusted").unlink()
    shutil.rmtree(mesh.host(name) / "remote")


def without_certificates(mesh: Mesh, name: str) -> None:
    shutil.rmtree(mesh.host(name))


def another_in_the_ledger(mesh: Mesh, name: str) -> None:
    # As after a rebuild that nobody announced: its own files are those of another mesh's server of that name.
    (mesh.root / "other").mkdir()
    other = Mesh(mesh.root / "other", [name, "d"])
    other.succeed("establish")
    for entry in ("generations", "current"):
        path, source = mesh.host(name) / entry, other.host(name) / entry
        if path.is_symlink():
            path.unlink()
            path.symlink_to(os.readlink(source))
        else:
            shutil.rmtree(path)
            shutil.copytree(source, path, symlinks=True)


def left(mesh: Mesh, _name: str) -> None:
    mesh.names = ["a", "b"]
    mesh.write()


def expiring(mesh: Mesh, name: str) -> None:
    mesh.host_settings[name] = {"esync_renew_before_days": 366}
    mesh.write()


def rotating(mesh: Mesh, name: str) -> None:
    note = {"holder": "somebody on another node", "since": "2026-11-01T00:00:00Z", "id": "abc"}
    (mesh.host(name) / "rotation.json").write_text(json.dumps(note))


def wrong_clock(mesh: Mesh, name: str) -> None:
    wrapper = mesh.root / "python"
    wrapper.write_text(f'#!/bin/sh\nexec faketime -f -400s {sys.executable} "$@"\n')
    wrapper.chmod(0o755)
    mesh.host_settings[name] = {"ansible_python_interpreter": str(wrapper)}
    mesh.write()


def nothing_listening(mesh: Mesh, name: str) -> None:
    mesh.host_settings[name] = {"esync_endpoint": "external"}
    mesh.write()


def unknown_version(mesh: Mesh, name: str) -> None:
    mesh.host_settings[name] = {"esync_product_version": ["sh", "-c", "echo no licence >&2; exit 3"]}
    mesh.write()


Fault = tuple[str, Callable[[Mesh, str], None], str, str]

# In each row every member has a fault of its own: the member, what is done to it, the kind, and words that are told.
# No kind may be told of any other member.
FAULTS: dict[str, list[Fault]] = {
    "sets": [
        ("a", damaged, "damaged_file", "a_SyncServer.cer"),
        ("b", emptied, "damaged_file", "b_SyncClient.key"),
        ("c", swapped, "mismatch", "c_SyncServer.key"),
    ],
    "files": [
        ("a", foreign, "unexpected_file", "notes.txt"),
        ("b", opened, "wrong_mode", "Its mode is 0644, and must be 0600."),
        ("c", without_a_file_of_trust, "damaged_trust", "b_SyncServer.cer"),
    ],
    "all or nothing": [
        ("a", without_trust, "no_trust", "There is no trust in force"),
        ("b", without_certificates, "certificates_gone", "If the host was rebuilt, run establish"),
        ("c", another_in_the_ledger, "ledger_missing", "the ledger has"),
    ],
    "changes": [
        ("a", expiring, "expires_soon", "The first of them ends at 20"),
        (
            "b",
            rotating,
            "rotation_pending",
            "somebody on another node has been rotating it since 2026-11-01T00:00:00Z.",
        ),
        ("a", left, "left_group", "It trusts c."),
        ("b", left, "left_group", "It trusts c."),
    ],
    "surroundings": [
        ("a", wrong_clock, "clock_skew", "s behind the control node's, and 300 s are allowed."),
        ("b", nothing_listening, "endpoint_not_listening", "Looked for on the host itself."),
        ("c", unknown_version, "product_version_unknown", "ended with 3 and said: no licence."),
    ],
}


@pytest.mark.parametrize("row", FAULTS)
def test_each_fault_is_named_and_fails(mesh: Mesh, row: str) -> None:
    for name, harm in dict.fromkeys((name, harm) for name, harm, _kind, _words in FAULTS[row]):
        harm(mesh, name)
    result = check(mesh, ok=False)
    severity = {(one["server"], one["kind"]): one["severity"] for one in mesh.report()["problems"]}
    for name, harm, kind, words in FAULTS[row]:
        # A fault fails the run whatever else is found.
        assert severity.get((name, kind)) == "fault", harm.__name__
        assert words in result.prose
        assert re.search(rf"\b{name}\b[^:]*: {kind}", result.prose)
        named = {server for server, found in severity if found == kind}
        assert named == {one for one, _harm, its, _words in FAULTS[row] if its == kind}, "and nobody else is named"


def test_everything_is_judged_even_if_every_host_is_spoilt(mesh: Mesh) -> None:
    for name in mesh.names:
        shutil.rmtree(mesh.host(name) / "generations")
    check(mesh, ok=False)
    assert set(kinds(mesh)) == {"a", "b", "c"}
    assert mesh.report()["summary"]["ok"] == 0


def test_what_ends_the_test_of_a_host_is_told_and_the_others_are_judged(mesh: Mesh) -> None:
    mesh.host_settings["b"] = {"esync_listen_address": "192.0.2.1"}
    mesh.write()
    opened(mesh, "b")
    result = check(mesh, ok=False)
    assert kinds(mesh) == {"b": {"test_failed", "wrong_mode"}}
    assert f"Cannot listen on 192.0.2.1 port {mesh.ports['b']}" in result.prose
    assert {server["name"]: server["state"] for server in mesh.report()["servers"]}["b"] == "failed"
    assert mesh.report()["summary"]["ok"] == 2


def test_settings_that_differ_are_told_and_fail_nothing(mesh: Mesh) -> None:
    mesh.settings["esync_subject_alt_names"] = ["other.example"]
    mesh.write()
    result = check(mesh, ok=True)
    assert kinds(mesh) == {name: {"subject_alt_names_differ"} for name in mesh.names}
    assert "subject_alt_names_differ" in result.prose


def test_verify_tells_problems_of_servers_in_every_report_and_fails_for_pairs_only(mesh: Mesh) -> None:
    opened(mesh, "b")
    result = mesh.succeed("verify")
    assert kinds(mesh) == {"b": {"wrong_mode"}}
    assert "b: wrong_mode" in result.prose
    folder = mesh.root / "report"
    assert 'esync_server_problems{server="b"} 1\n' in (folder / "mesh.prom").read_text()
    assert 'esync_server_problems{server="a"} 0\n' in (folder / "mesh.prom").read_text()
    assert "wrong_mode" in (folder / "mesh.html").read_text()
    assert 'type="wrong_mode"' in (folder / "mesh.xml").read_text()


# -- versions -------------------------------------------------------------------------------------------------


def test_servers_with_different_versions_are_told_apart(mesh: Mesh) -> None:
    mesh.settings["esync_product_version"] = ["sh", "-c", "echo 8.3.1; echo build 7"]
    mesh.write()
    mesh.succeed("establish")
    assert set(mesh.succeed("establish").changed.values()) == {0}
    mesh.host_settings["b"] = {"esync_product_version": "8.2"}
    mesh.write()
    result = check(mesh, ok=False)
    causes = {(pair["from"], pair["to"]): (pair["cause"], pair["detail"]) for pair in mesh.report()["pairs"]}
    assert causes["a", "b"] == ("version_mismatch", "b runs '8.2', a runs '8.3.1'.")
    assert causes["b", "c"] == ("version_mismatch", "c runs '8.3.1', b runs '8.2'.")
    assert causes["a", "c"][0] is None
    assert "version_mismatch" in result.prose
    # What works with another version is still rotated under the protection of its pairs.
    assert "4 failed" in mesh.fail("regenerate", "-e", "esync_regenerate=a").prose
    assert {pair["cause"] for pair in mesh.report()["pairs"]} == {None, "version_mismatch"}


# -- refusals -------------------------------------------------------------------------------------------------


class Answer(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing."""


class Patient(HTTPServer):
    def handle_error(self, request: Any, client_address: Any) -> None:
        """Whoever does not get in is none of our business."""


@contextlib.contextmanager
def endpoint(mesh: Mesh, name: str, demanding: bool) -> Iterator[None]:
    """A service of the user's own on a member's port, that checks certificates or lets in everybody."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(mesh.current(name) / "server.crt", mesh.current(name) / "server.key")
    if demanding:
        context.verify_mode = ssl.CERT_REQUIRED
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        context.load_verify_locations(mesh.host(name) / "trusted" / "clients.pem")
    server = Patient(("127.0.0.1", mesh.ports[name]), Answer)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture
def resident(mesh: Mesh) -> Iterator[Mesh]:
    """A mesh whose endpoints are services of the user's own; that of b lets in everybody."""
    mesh.settings["esync_endpoint"] = "external"
    mesh.write()
    with contextlib.ExitStack() as stack:
        for name in mesh.names:
            stack.enter_context(endpoint(mesh, name, demanding=name != "b"))
        yield mesh


@pytest.mark.parametrize("playbook", ["verify", "check", "establish"])
def test_a_service_that_lets_everybody_in_is_caught_by_name(resident: Mesh, playbook: str) -> None:
    result = resident.fail(playbook)
    let_in = {
        (one["from"], one["to"], one["present"]) for one in resident.report()["refusals"] if one["verdict"] != "ok"
    }
    assert let_in == {("a", "b", present) for present in ("none", "stranger", "stranger_same_subject", "server")}
    assert "b accepted a, which presented no certificate; an untrusted certificate" in result.prose
    assert "trust only trusted/clients.pem" in result.prose


def test_services_that_demand_certificates_pass(mesh: Mesh) -> None:
    mesh.settings["esync_endpoint"] = "external"
    mesh.write()
    with contextlib.ExitStack() as stack:
        for name in mesh.names:
            stack.enter_context(endpoint(mesh, name, demanding=True))
        check(mesh, ok=True)
    assert kinds(mesh) == {}
    assert {one["verdict"] for one in mesh.report()["refusals"]} == {"ok"}


# -- without root ---------------------------------------------------------------------------------------------


@pytest.fixture
def public(mesh: Mesh) -> Iterator[Mesh]:
    """The mesh where other users come by, who are told as much as the modes of its files allow."""
    with tempfile.TemporaryDirectory(prefix="esync-public-") as folder:
        root = Path(folder) / "mesh"
        shutil.copytree(mesh.root, root, symlinks=True)
        for path in (root.parent, root, root / "hosts"):
            path.chmod(0o755)
        somebody = {
            "ansible_become": True,
            "ansible_become_user": "nobody",
            "ansible_become_method": "ansible.builtin.su",
            "ansible_become_flags": "-s /bin/sh",
            # The one of this test may lie where nobody else comes by.
            "ansible_python_interpreter": "/usr/bin/python3",
        }
        yield Mesh(root, mesh.names, somebody, ports=mesh.ports)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_a_user_without_root_is_told_what_was_not_judged(public: Mesh) -> None:
    # No pair can be tested, so the run proved nothing.
    result = check(public, ok=False)
    assert kinds(public) == {name: {"no_permission"} for name in public.names}
    report = public.report()
    assert report["summary"]["untested"] == 6
    assert {server["state"] for server in report["servers"]} == {"unreadable"}
    assert all("may not read the keys there" in pair["detail"] for pair in report["pairs"])
    assert "no_permission" in result.prose
    # What is public is judged all the same.
    (public.host("b") / "trusted" / "c_SyncServer.cer").unlink()
    check(public, ok=False)
    assert kinds(public)["b"] == {"no_permission", "damaged_trust"}
    public.settings["esync_renew_before_days"] = 366
    public.write()
    check(public, ok=False)
    assert kinds(public)["a"] == {"no_permission", "expires_soon"}
