# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Load-balanced clusters with the temporary endpoint, behind a balancer that passes TCP on."""

from __future__ import annotations

import contextlib
import itertools
import socket
import subprocess
import threading
from collections.abc import Iterator, Sequence
from typing import Any

from local_mesh import Mesh, free_ports


class Balancer:
    """Passes each connection on to the next of its servers that takes it, byte by byte; cuts it if none does."""

    def __init__(self, ports: Sequence[int]) -> None:
        self.ports = list(ports)
        self._number = itertools.count()
        self._server = socket.create_server(("127.0.0.1", free_ports(1)[0]), backlog=128)
        self.port = int(self._server.getsockname()[1])
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        # The thread that waits in accept would keep the port otherwise.
        self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _address = self._server.accept()
                threading.Thread(target=self._serve, args=[connection], daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        first = next(self._number)
        with contextlib.closing(connection):
            for step in range(len(self.ports)):
                port = self.ports[(first + step) % len(self.ports)]
                with contextlib.suppress(ConnectionRefusedError), socket.create_connection(
                    ("127.0.0.1", port)
                ) as other:
                    back = threading.Thread(target=_pass_on, args=[other, connection], daemon=True)
                    back.start()
                    _pass_on(connection, other)
                    back.join()
                    return


def _pass_on(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while piece := source.recv(65536):
            target.sendall(piece)
    with contextlib.suppress(OSError):
        target.shutdown(socket.SHUT_WR)


@contextlib.contextmanager
def balancer(*ports: int) -> Iterator[Balancer]:
    one = Balancer(ports)
    try:
        yield one
    finally:
        one.close()


def join(mesh: Mesh, names: str, cluster: str, port: int) -> None:
    """Put members into a cluster."""
    for name in names:
        mesh.host_settings[name] = {"esync_cluster": {"name": cluster, "address": "127.0.0.1", "port": port}}
    mesh.write()


def calls(mesh: Mesh) -> dict[tuple[str, str], dict[str, Any]]:
    """Caller and cluster to what came of the calls."""
    return {
        (one["from"], cluster["name"]): one for cluster in mesh.report()["clusters"] for one in cluster["connections"]
    }


def alt_names(mesh: Mesh, name: str) -> str:
    return subprocess.run(
        ["openssl", "x509", "-noout", "-ext", "subjectAltName", "-in", str(mesh.current(name) / "server.crt")],
        capture_output=True,
        text=True,
        check=True,
    ).stdout


def test_clusters_of_one_and_two_are_called_through_their_balancers(make_mesh) -> None:
    mesh = make_mesh("a", "b", "c")
    with balancer(mesh.ports["a"], mesh.ports["b"]) as pair, balancer(mesh.ports["c"]) as solo:
        join(mesh, "ab", "pair", pair.port)
        join(mesh, "c", "solo", solo.port)
        result = mesh.succeed("establish")
        assert "cluster pair: 1 of 1 callers ok; answered a 2, b 2." in result.output.splitlines()
        assert "6 of 6 pairs ok." in result.output.splitlines()
        found = calls(mesh)
        assert {key: (one["verdict"], one["answered"]) for key, one in found.items()} == {
            ("c", "pair"): ("ok", {"a": 2, "b": 2}),
            ("a", "solo"): ("ok", {"c": 2}),
            ("b", "solo"): ("ok", {"c": 2}),
        }
        for name, cluster in (("a", "pair"), ("b", "pair"), ("c", "solo")):
            assert f"DNS:{cluster}" in alt_names(mesh, name) and "IP Address:127.0.0.1" in alt_names(mesh, name)
        assert set(mesh.succeed("establish").changed.values()) == {0}
        assert {one["verdict"] for one in calls(mesh).values()} == {"ok"}
        # Where b does not listen, the balancer could not lead c to it; all of the other cluster is there.
        mesh.succeed("verify", "--limit", "a,c")
        found = calls(mesh)
        assert {key: one["verdict"] for key, one in found.items()} == {
            ("c", "pair"): "untested",
            ("a", "solo"): "ok",
            ("b", "solo"): "untested",
        }
        assert found["c", "pair"]["detail"] == "b took no part in this run."
    # Both balancers are gone.
    result = mesh.fail("verify", "-e", "esync_connect_timeout=1")
    assert mesh.report()["summary"]["ok"] == 6
    assert {one["cause"] for one in calls(mesh).values()} == {"endpoint_not_listening"}
    assert "6 of 6 pairs ok, 3 of 3 calls to clusters not ok." in result.output.splitlines()
    assert "Start the balancer" in result.prose


def test_joining_a_cluster_makes_certificates_due_and_breaks_nothing(mesh: Mesh) -> None:
    with balancer(mesh.ports["a"], mesh.ports["b"]) as pair:
        join(mesh, "ab", "pair", pair.port)
        result = mesh.succeed("establish")
        for name in "ab":
            said = f"{name}: the certificates are sound, but due for renewal (subject_alt_names_differ)."
            assert said in result.prose
        # The pins do not look at names.
        assert calls(mesh)["c", "pair"]["answered"] == {"a": 2, "b": 2}
        assert "DNS:pair" not in alt_names(mesh, "a")
        mesh.succeed("regenerate", "-e", "esync_only_due=true")
        assert "DNS:pair" in alt_names(mesh, "a") and "DNS:pair" in alt_names(mesh, "b")
        assert "DNS:pair" not in alt_names(mesh, "c")
        assert calls(mesh)["c", "pair"]["answered"] == {"a": 2, "b": 2}
