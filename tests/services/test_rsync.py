# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""rsync's daemon behind stunnel, and rsync through stunnel, as docs/endpoint-stunnel.md says."""

from __future__ import annotations

import re
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import lab
import pytest
from local_mesh import ROOT, Mesh, free_ports

NAMES = ("amsterdam", "berlin")
PAGE = (ROOT / "docs" / "endpoint-stunnel.md").read_text(encoding="utf-8")


def changed(text: str, changes: dict[str, str]) -> str:
    """A text with what is different on this machine, or in this test; all of it has to be there."""
    for here, there in changes.items():
        assert here in text, here
        text = text.replace(here, there)
    return text


def block(title: str) -> str:
    """A block of the page, by what its first line names."""
    [text] = re.findall(rf"^```ini\n([;#] {re.escape(title)}.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
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
            changes = {"port = 873": f"port = {port}", "/srv/content": str(own / "content")}
            configuration = changed(block("/etc/rsyncd.conf"), changes)
            (own / "rsyncd.conf").write_text(f"pid file = {own}/rsyncd.pid\n{configuration}")
            command = ["rsync", "--daemon", "--no-detach", f"--config={own}/rsyncd.conf"]
            self.daemons.append(subprocess.Popen(command))
            lab.wait(lambda port=port: listens(port), f"rsync's daemon on port {port}", 20)
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
            (root / caller / f"esync-{peer}.cfg").write_text(changed(block("/etc/stunnel/esync-berlin.cfg"), changes))

    def copied(self, caller: str, peer: str) -> subprocess.CompletedProcess[str]:
        """Copy what a server offers to another one, by the command of the page."""
        [command] = re.findall(r"^RSYNC_CONNECT_PROG=.*$", PAGE, re.MULTILINE)
        own = self.root / caller
        changes = {"/etc/stunnel": str(own), "//berlin/": f"//{peer}/", "/srv/copy": f"{own}/copy"}
        shutil.rmtree(own / "copy", ignore_errors=True)
        return subprocess.run(
            changed(command, changes), shell=True, capture_output=True, text=True, timeout=60, check=False
        )

    def stop(self) -> None:
        for one in self.daemons:
            one.terminate()
            one.wait(10)
        # Without systemd a stunnel of ours is a process like any other.
        subprocess.run(["pkill", "--full", f"stunnel {self.root}/.*/endpoint.cfg"], check=False)


def listens(port: int) -> bool:
    with socket.socket() as connection:
        return connection.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture(scope="module")
def copying(tmp_path_factory: Any) -> Iterator[Copying]:
    made = Copying(tmp_path_factory.mktemp("rsync"))
    try:
        made.mesh.succeed("establish")
        yield made
    finally:
        made.stop()


def test_each_copies_from_the_other_and_again_after_a_rotation(copying: Copying) -> None:
    for rotated in (False, True):
        if rotated:
            copying.mesh.succeed("regenerate")
        for caller, peer in (NAMES, NAMES[::-1]):
            done = copying.copied(caller, peer)
            assert done.returncode == 0, done.stderr
            assert (copying.root / caller / "copy" / "said").read_text() == f"by {peer}"


def refusal(copying: Copying, changes: dict[str, str]) -> str:
    """What amsterdam's stunnel says when it calls berlin otherwise. :param changes: of its file."""
    path, log = copying.root / "amsterdam" / "esync-berlin.cfg", copying.root / "amsterdam" / "esync-berlin.log"
    log.unlink(missing_ok=True)
    kept = path.read_text()
    path.write_text(changed(kept, {**changes, "syslog = no": f"syslog = no\noutput = {log}"}))
    try:
        done = copying.copied("amsterdam", "berlin")
    finally:
        path.write_text(kept)
    assert done.returncode
    assert not (copying.root / "amsterdam" / "copy" / "said").exists()
    return log.read_text()


def test_a_peer_under_another_name_is_refused(copying: Copying) -> None:
    # A trusted server, but not the one that is meant.
    said = refusal(copying, {"checkHost = berlin": "checkHost = amsterdam"})
    assert "certificate verify failed" in said


def test_a_caller_without_its_certificate_is_refused(copying: Copying) -> None:
    served = copying.root / "berlin" / "endpoint.log"
    before = len(served.read_text())
    refusal(copying, {"cert =": "; cert =", "key =": "; key ="})
    assert "peer did not return a certificate" in served.read_text()[before:]
