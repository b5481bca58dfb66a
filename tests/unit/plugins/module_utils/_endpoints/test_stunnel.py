# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The text of the configuration, byte for byte, and with the real stunnel what only it does."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from endpoint_hosts import call, mirror, settings, site

from ansible_collections.esync.mesh.plugins.module_utils._core import processes
from ansible_collections.esync.mesh.plugins.module_utils._core.errors import EsyncError
from ansible_collections.esync.mesh.plugins.module_utils._endpoints.in_force import InForce
from ansible_collections.esync.mesh.plugins.module_utils._endpoints.stunnel import render, words_of

EXPECTED = Path(__file__).parent / "configurations" / "stunnel"
THIS = InForce("ab" * 32, "dd", "one", 2)
PLAIN = settings("/etc/esync", 8732, name="alpha", service="esync-stunnel", upstream="tcp://127.0.0.1:873")

CASES = {
    "plain": (replace(PLAIN, access_log="stdout"), THIS, True, True),
    "no_peers": (PLAIN, InForce(None, None, None, 0), False, False),
    "sites": (
        replace(
            PLAIN,
            access_log="/var/log/esync-stunnel.log",
            sites=(site("files", 8732), site("more", 8733, upstream="proxy://[::1]:874")),
        ),
        THIS,
        True,
        True,
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_the_text(case):
    assert render(*CASES[case]) == (EXPECTED / f"{case}.cfg").read_text()


def test_every_expected_text_is_compared():
    assert {path.stem for path in EXPECTED.iterdir()} == set(CASES)


def test_more_peers_than_it_can_announce_are_told():
    assert render(PLAIN, replace(THIS, peers=500), True, True)
    with pytest.raises(EsyncError) as caught:
        render(PLAIN, replace(THIS, peers=501), True, True)
    assert caught.value.kind == "bad_setting"
    assert "haproxy" in caught.value.remedy


@pytest.mark.parametrize("own_host", ["stunnel"], indirect=True)
def test_a_service_learns_the_address_of_the_caller_and_the_log_its_name(own_host):
    log = own_host.root / "access.log"
    with mirror() as behind:
        own_host.present(upstream=f"proxy://127.0.0.1:{behind}", access_log=str(log))
        with call(own_host.settings.port, own_host.root / "peers" / "b") as connection:
            connection.sendall(b"end")
            got = connection.recv(4096)
            port = connection.getsockname()[1]
    assert got == f"PROXY TCP4 127.0.0.1 127.0.0.1 {port} {own_host.settings.port}\r\nend".encode()
    assert processes.wait_until(lambda: "CN=b" in log.read_text(), 5)


@pytest.mark.parametrize(
    "said, words",
    [
        (
            '[.] Reading\n[!] x:13: "verifyPeer = maybe": bad\n[!] Configuration failed\n',
            'x:13: "verifyPeer = maybe": bad',
        ),
        (
            "[ ] Loading private key from file: /k\n[!] /k: No such file\n",
            "/k: No such file; Loading private key from file: /k",
        ),
        ("2026.11.27 01:01:15 LOG3[ui]: bad\n2026.11.27 01:01:15 LOG7[ui]: more\n", "bad"),
        ("something else\n", "something else"),
        ("", ""),
    ],
)
def test_its_own_words_are_found(said, words):
    assert words_of(said) == words
