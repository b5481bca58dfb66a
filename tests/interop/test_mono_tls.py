# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A program in C#, run by Mono, takes part in a mesh: it calls the nginx endpoint, and is called.

It proves each peer as our own programs do: mutual TLS, exact pins, and bytes both ways.
"""

from __future__ import annotations

import datetime
import socket
import ssl
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from conftest import HERE, Run
from make_material import PASSPHRASE, short_key

from ansible_collections.esync.mesh.plugins.module_utils._core import names
from ansible_collections.esync.mesh.plugins.module_utils._core.folders import Folder
from ansible_collections.esync.mesh.plugins.module_utils._crypto import certificates as x509
from ansible_collections.esync.mesh.plugins.module_utils._endpoints.in_force import read_in_force
from ansible_collections.esync.mesh.plugins.module_utils._endpoints.nginx_configuration import render
from ansible_collections.esync.mesh.plugins.module_utils._steps import endpoint
from ansible_collections.esync.mesh.plugins.module_utils._store import generations, trust_writer
from ansible_collections.esync.mesh.plugins.module_utils._store import trust_folder as trust

# The C# program is one member, nginx serves the other, and nobody knows the stranger.
DOTNET, NGINX, STRANGER = "dotnet", "nginx-host", "stranger"


@pytest.fixture(scope="module")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directories of three servers; the stranger trusts nobody and is trusted by nobody.

    The program is given the keys that are the hardest to read.
    """
    root = tmp_path_factory.mktemp("mesh")
    found = {}
    for name in (DOTNET, NGINX, STRANGER):
        settings = generations.SetSettings(
            name,
            (name, "127.0.0.1"),
            "rsa",
            2048,
            formats=("cer", "pfx", "pvk"),
            passphrase=PASSPHRASE.encode("ascii"),
            pfx_encryption="compat",
        )
        with Folder.open(str(root / name), 0o755) as base, pytest.MonkeyPatch.context() as patch:
            if name == DOTNET:
                patch.setattr(x509, "generate_key", lambda *_kind: short_key())
            now = datetime.datetime.now(datetime.timezone.utc)
            outcome = generations.Sets(base, settings, now, False).present()
        (found[name],) = outcome.generations()
    for name, peer in ((DOTNET, NGINX), (NGINX, DOTNET)):
        shown = found[peer]
        entries = [trust.TrustEntry(peer, role, names.CURRENT, shown[role]["fingerprint"]) for role in names.ROLES]
        with Folder.open(str(root / name)) as base:
            trust_writer.apply(base, name, entries, [shown[role]["pem"] for role in names.ROLES], "first")
    return root


@pytest.fixture(scope="module")
def program(run: Run, tmp_path_factory: pytest.TempPathFactory) -> str:
    path = str(tmp_path_factory.mktemp("mono") / "peer.exe")
    run("mcs", "-warnaserror", "-r:Mono.Security.dll", f"-out:{path}", str(HERE / "mono_peer.cs"))
    return path


@pytest.fixture(scope="module")
def nginx(mesh: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """nginx with the configuration that the driver writes, for the length of the tests; its port."""
    folder = tmp_path_factory.mktemp("nginx")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    directory = str(mesh / NGINX)
    options = {"name": NGINX, "directory": directory, "driver": "nginx", "port": port, "access_log": "off"}
    settings = endpoint.settings_of(ArgumentSpecValidator(endpoint.SPEC).validate(options).validated_parameters)
    text = render(settings, read_in_force(directory), ipv6=False, notes=False)
    (folder / "mesh.conf").write_text(text, encoding="utf-8")
    places = "".join(
        f"    {kind}_temp_path {folder}/{kind};\n" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    (folder / "nginx.conf").write_text(
        f"daemon off;\npid {folder}/nginx.pid;\nerror_log {folder}/error.log;\nevents {{}}\n"
        f"http {{\n{places}    include {folder}/mesh.conf;\n}}\n",
        encoding="utf-8",
    )
    process = subprocess.Popen(["nginx", "-c", str(folder / "nginx.conf"), "-e", str(folder / "error.log")])
    try:
        for _attempt in range(300):
            assert process.poll() is None, (folder / "error.log").read_text()
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.1)
        yield port
    finally:
        process.terminate()
        process.wait()


def files(mesh: Path, name: str, role: str) -> str:
    """The common stem of the paths of a set."""
    return str((mesh / name / "current").resolve() / names.set_name(name, role))


def credential(mesh: Path, form: str, name: str = DOTNET, role: str = "client") -> list[str]:
    stem = files(mesh, name, role)
    return {
        "pfx": ["pfx", f"{stem}.pfx", PASSPHRASE],
        "pvk": ["pvk", f"{stem}.cer", f"{stem}.pvk"],
        "none": ["none"],
    }[form]


@pytest.fixture
def call(mesh: Path, program: str, nginx: int) -> Callable[..., tuple[bool, str]]:
    """Lets the program call nginx; whether nginx let it in, and what it printed."""

    def _call(shown: list[str], pinned: str = NGINX) -> tuple[bool, str]:
        words = ["mono", program, "call", str(nginx), *shown, f"{files(mesh, pinned, 'server')}.cer"]
        done = subprocess.run(words, capture_output=True, text=True, timeout=120, check=False)
        return done.returncode == 0 and "HTTP/1.1 200" in done.stdout, done.stdout + done.stderr

    return _call


@pytest.mark.parametrize("form", ["pfx", "pvk"])
def test_nginx_lets_the_program_in_and_knows_it(form: str, call, mesh: Path) -> None:
    accepted, text = call(credential(mesh, form))
    assert accepted, text
    assert text.splitlines() == ["Tls12 HTTP/1.1 200 OK", f"X-Esync-Peer: {DOTNET}"]


@pytest.mark.parametrize(
    ("title", "form", "name", "role"),
    [
        ("a stranger", "pfx", STRANGER, "client"),
        ("no certificate", "none", DOTNET, "client"),
        ("the server certificate", "pfx", DOTNET, "server"),
    ],
)
def test_nginx_refuses_anything_else(title: str, form: str, name: str, role: str, call, mesh: Path) -> None:
    accepted, text = call(credential(mesh, form, name, role))
    assert not accepted, f"{title}: {text}"
    # Refused by nginx, that is, and not for a failure of the program.
    assert "HTTP/1.1 400" in text or "Exception" in text
    assert call(credential(mesh, "pfx"))[0], "the endpoint still works"


def test_the_program_refuses_a_server_that_is_not_pinned(call, mesh: Path) -> None:
    accepted, text = call(credential(mesh, "pfx"), pinned=STRANGER)
    assert not accepted
    assert "AuthenticationException" in text
    assert "HTTP" not in text, "nothing was sent"


def ask(port: int, mesh: Path, pinned: str, shown: tuple[str, str] | None) -> bytes:
    """What the program answers a client of Python's, which knows it by its pinned certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    context.load_verify_locations(f"{files(mesh, pinned, 'server')}.crt")
    if shown:
        stem = files(mesh, *shown)
        context.load_cert_chain(f"{stem}.crt", f"{stem}.key")
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=60) as connection, context.wrap_socket(
            connection
        ) as secured:
            secured.sendall(b"hello\n")
            return secured.recv(100)
    except OSError:  # among them ssl.SSLError
        return b""


@pytest.mark.parametrize("form", ["pfx", "pvk"])
def test_the_program_serves_its_peer_and_refuses_everybody_else(form: str, mesh: Path, program: str) -> None:
    callers = [
        (b"olleh\n", NGINX, DOTNET, (NGINX, "client")),
        (b"", "a stranger", DOTNET, (STRANGER, "client")),
        (b"", "no certificate", DOTNET, None),
        (b"", "a server certificate", DOTNET, (NGINX, "server")),
        (b"", "a caller that has pinned another server", STRANGER, (NGINX, "client")),
        (b"olleh\n", "its peer again", DOTNET, (NGINX, "client")),
    ]
    shown = credential(mesh, form, role="server")
    words = ["mono", program, "serve", *shown, f"{files(mesh, NGINX, 'client')}.cer", str(len(callers))]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            port = int(process.stdout.readline())
            for expected, who, pinned, certificate in callers:
                assert ask(port, mesh, pinned, certificate) == expected, who
            verdicts = [line.split()[0] for line in process.stdout]
        finally:
            process.kill()
    assert verdicts == ["accepted" if expected else "refused" for expected, *_rest in callers]
