# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The firewalls' commands of docs/distributions.md, run as they stand there on a host with Debian's packages."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(1, str(ROOT / "molecule" / "shared"))

import lab  # noqa: E402  (the folder has to be on the path first)

ADDRESS, CALLER = "10.123.97.10", "10.123.97.1"
HOST: dict[str, Any] = {
    **{"name": "host", "address": ADDRESS, "suite": "bookworm"},
    "packages": ["firewalld", "nftables", "ufw"],
}
BASE = """
flush ruleset
table inet filter {
    chain input {
        type filter hook input priority filter; policy drop;
        ct state established,related accept
        tcp dport 22 accept
        drop
    }
}
"""


def commands(label: str) -> str:
    """The commands of a block of the page, whatever it is labelled with."""
    text = (ROOT / "docs" / "distributions.md").read_text(encoding="utf-8")
    found = re.findall(rf"^```sh {label}\n(.*?)^```$", text, re.M | re.S)
    assert found, label
    return "".join(found)


def run(script: str) -> str:
    command = ["podman", "exec", "-i", lab.container(HOST), "sh", "-eu"]
    done = subprocess.run(command, input=f"exec 2>&1\n{script}", capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def is_open() -> bool:
    """Whether this machine, which is CALLER there, can connect to the eSync port."""
    try:
        with socket.create_connection((ADDRESS, 8732), 2):
            return True
    except OSError:
        return False


def becomes(wanted: bool) -> bool:
    """Whether the port becomes open, or closed: firewalld counts as started before its rules are in force."""
    end = time.monotonic() + 30
    while is_open() != wanted and time.monotonic() < end:
        time.sleep(0.2)
    return is_open() == wanted


@pytest.fixture(scope="module", autouse=True)
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A host on which something listens on the eSync port."""
    folder = tmp_path_factory.mktemp("lab")
    (folder / "containers.conf").write_text(lab.CONTAINERS_CONF)
    os.environ["CONTAINERS_CONF"] = str(folder / "containers.conf")
    lab.destroy([HOST])
    try:
        lab.create([HOST], folder)
        run("systemd-run --quiet python3 -m http.server 8732\nsystemctl disable --now firewalld")
        assert becomes(True), "nothing listens, or a firewall is there already"
        yield
    finally:
        lab.destroy([HOST])


def opens(label: str, undo: str) -> None:
    """The commands for everybody open a port that is closed; those for peers do it for the named one and no other."""
    assert becomes(False)
    run(commands(label))
    assert becomes(True)
    run(undo)
    assert becomes(False)
    peers = commands(f"{label} peers")
    assert "192.0.2.11" in peers and "2001:db8::11" in peers
    run(peers)
    assert not is_open()
    run(peers.replace("192.0.2.11", CALLER))
    assert becomes(True)


def test_firewalld() -> None:
    run("systemctl start firewalld")
    try:
        opens("firewalld", "firewall-cmd --permanent --remove-service=esync; firewall-cmd --reload")
        assert "esync" in run("firewall-cmd --list-rich-rules")
    finally:
        run("systemctl stop firewalld")


def test_ufw() -> None:
    run("ufw allow 22/tcp; ufw --force enable")
    try:
        opens("ufw", "ufw delete allow 8732/tcp")
        assert CALLER in run("ufw status")
    finally:
        run("ufw --force disable; nft flush ruleset")


def test_nftables() -> None:
    run(f"nft -f - <<'END'\n{BASE}END")
    try:
        opens("nftables", f"nft -f - <<'END'\n{BASE}END")
    finally:
        run("nft flush ruleset")
