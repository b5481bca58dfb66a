# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""rsync's daemon behind stunnel, and rsync through stunnel, as docs/endpoint-stunnel.md says."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from local_mesh import ROOT, Mesh, free_ports

NAMES = ("amsterdam", "berlin")
PAGE = (ROOT / "docs" / "endpoint-stunnel.md").read_text(encoding="utf-8")


def block(title: str, changes: dict[str, str]) -> str:
    """A block of the page, by what its first line names. :param changes: what is different on this machine."""
    [text] = re.findall(rf"^```ini\n([;#] {re.escape(title)}.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
    for here, there in changes.items():
        assert here in text, here
        text = text.replace(here, there)
    return str(text)


class Copying:
    """Two servers with rsync's daemon behind stunnel, and what each needs to call the other."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.mesh = Mesh(root, list(NAMES), {"esync_endpoint": "stunnel", "esync_reload_jitter": 0})
        self.daemons = []
        for name, port in zip(NAMES, free_ports(len(NAMES))):
            own = root / name
            (own / "content").mkdir(parents=True)
            (own / "content" / "said").write_text(f"by {name}")
            configuration = block(
                "/etc/rsyncd.conf", {"port = 873": f"port = {port}", "/srv/content": str(own / "content")}
            )
            (own / "rsyncd.conf").write_text(f"pid file = {own}/rsyncd.pid\n{configuration}")
            command = ["rsync", "--daemon", "--no-detach", f"--config={own}/rsyncd.conf"]
            self.daemons.append(subprocess.Popen(command))
            reachable(port)
            self.mesh.host_settings[name] = {
                "esync_endpoint_configuration": f"{own}/endpoint.cfg",
                # It is no unit, also where systemd runs.
                "esync_endpoint_service": f"esync-rsync-{name}",
                "esync_endpoint_upstream": f"proxy://127.0.0.1:{port}",
                "esync_endpoint_access_log": f"{own}/endpoint.log",
            }
        self.mesh.write()
        for caller, peer in (NAMES, NAMES[::-1]):
            changes = {
                "berlin.example.com:8732": f"127.0.0.1:{self.mesh.ports[peer]}",
                "checkHost = berlin": f"checkHost = {peer}",
                "/etc/esync": str(self.mesh.host(caller)),
            }
            (root / caller / f"esync-{peer}.cfg").write_text(block("/etc/stunnel/esync-berlin.cfg", changes))

    def copied(self, caller: str, peer: str) -> subprocess.CompletedProcess[str]:
        """Copy what a server offers to another one, by the command of the page."""
        [command] = re.findall(r"^RSYNC_CONNECT_PROG=.*$", PAGE, re.MULTILINE)
        own = self.root / caller
        for here, there in (("/etc/stunnel", str(own)), ("//berlin/", f"//{peer}/"), ("/srv/copy", f"{own}/copy")):
            assert here in command
            command = command.replace(here, there)
        shutil.rmtree(own / "copy", ignore_errors=True)
        return subprocess.run(command, shell=True, capture_output=True, text=True, timeout=60, check=False)

    def stop(self) -> None:
        for one in self.daemons:
            one.terminate()
            one.wait(10)
        # Without systemd a stunnel of ours is a process like any other.
        subprocess.run(["pkill", "--full", f"stunnel {self.root}/.*/endpoint.cfg"], check=False)


def reachable(port: int) -> None:
    deadline = time.monotonic() + 20
    while True:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        assert time.monotonic() < deadline, f"nothing listens on port {port}"
        time.sleep(0.1)


@pytest.fixture(scope="module")
def copying() -> Iterator[Copying]:
    root = Path(tempfile.mkdtemp(prefix="esync-rsync-", dir="/var/tmp"))
    made = Copying(root)
    try:
        made.mesh.succeed("establish")
        yield made
    finally:
        made.stop()
        shutil.rmtree(root)


def test_each_copies_from_the_other_and_again_after_a_rotation(copying: Any) -> None:
    for _time in range(2):
        for caller, peer in (NAMES, NAMES[::-1]):
            done = copying.copied(caller, peer)
            assert done.returncode == 0, done.stderr
            assert (copying.root / caller / "copy" / "said").read_text() == f"by {peer}"
        copying.mesh.succeed("regenerate")


def test_a_peer_under_another_name_is_refused(copying: Any) -> None:
    path = copying.root / "amsterdam" / "esync-berlin.cfg"
    kept = path.read_text()
    # A trusted server, but not the one that is meant.
    path.write_text(kept.replace("checkHost = berlin", "checkHost = amsterdam"))
    try:
        assert copying.copied("amsterdam", "berlin").returncode
    finally:
        path.write_text(kept)


def test_a_caller_without_its_certificate_is_refused(copying: Any) -> None:
    path = copying.root / "amsterdam" / "esync-berlin.cfg"
    kept = path.read_text()
    path.write_text("".join(line for line in kept.splitlines(True) if not line.startswith(("cert =", "key ="))))
    try:
        assert copying.copied("amsterdam", "berlin").returncode
    finally:
        path.write_text(kept)
    assert os.listdir(copying.root / "amsterdam" / "content") == ["said"]
