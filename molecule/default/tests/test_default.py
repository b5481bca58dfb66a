# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What lies on the hosts, and what openssl alone, without any program of ours, says of it."""

from __future__ import annotations

import json
import os
import shlex

import pytest
from hosts import address, connect, members, pairs

DIRECTORY = "/etc/esync"
PORT = 18443

# M2: the files of a server's own two sets, and their modes.
OWN = {
    f"_{role}.{suffix}": mode
    for role in ("SyncServer", "SyncClient")
    for suffix, mode in (("cer", "644"), ("pfx", "600"), ("pvk", "600"), ("crt", "644"), ("key", "600"))
}


def listing(name: str, folder: str) -> dict[str, str]:
    """The modes of the files in a folder, by name."""
    text = connect(name).check_output(f"find {shlex.quote(folder)}/ -maxdepth 1 -mindepth 1 -printf '%f %m %y %U\\n'")
    rows = [line.split() for line in text.splitlines()]
    assert rows
    assert {row[3] for row in rows} == {"0"}, "everything belongs to root"
    return {row[0]: row[1] for row in rows if row[2] == "f"}


@pytest.mark.parametrize("name", members())
def test_own_sets_are_complete_and_narrow(name: str) -> None:
    found = listing(name, f"{DIRECTORY}/current")
    assert found == {
        **{name + suffix: mode for suffix, mode in OWN.items()},
        "pfx.passphrase": "600",
        "manifest.json": "600",
    }
    folders = connect(name).check_output(
        f"stat -L -c %a {DIRECTORY} {DIRECTORY}/current {DIRECTORY}/trusted {DIRECTORY}/remote"
    )
    assert folders.split() == ["755", "700", "755", "755"]


@pytest.mark.parametrize("name", members())
def test_stable_names_point_at_the_sets(name: str) -> None:
    for link, target in (("server", "SyncServer"), ("client", "SyncClient")):
        for suffix in ("crt", "key"):
            found = connect(name).check_output(f"readlink {DIRECTORY}/current/{link}.{suffix}")
            assert found == f"{name}_{target}.{suffix}"


@pytest.mark.parametrize("name", members())
def test_one_local_and_all_remote_certificates(name: str) -> None:
    # M3: N servers, N certificates of each role on each: one local, N - 1 remote.
    remote = listing(name, f"{DIRECTORY}/trusted")
    peers = [peer for peer in members() if peer != name]
    wanted = [f"{peer}_{role}.cer" for peer in peers for role in ("SyncServer", "SyncClient")]
    assert sorted(remote) == sorted([*wanted, "servers.pem", "clients.pem", "clients.map", "trust.json"])
    assert set(remote.values()) == {"644"}
    for bundle in ("servers.pem", "clients.pem"):
        text = connect(name).file(f"{DIRECTORY}/trusted/{bundle}").content_string
        assert text.count("BEGIN CERTIFICATE") == len(peers)
    assert "PRIVATE" not in connect(name).check_output(f"cat {DIRECTORY}/trusted/*.pem {DIRECTORY}/trusted/trust.json")


@pytest.mark.parametrize(("source", "target"), pairs())
def test_what_lies_there_is_what_the_peer_has(source: str, target: str) -> None:
    for role in ("SyncServer", "SyncClient"):
        held = connect(source).check_output(f"sha256sum < {DIRECTORY}/trusted/{target}_{role}.cer")
        own = connect(target).check_output(f"sha256sum < {DIRECTORY}/current/{target}_{role}.cer")
        assert held == own


@pytest.mark.parametrize("name", members())
def test_every_format_holds_the_same_key(name: str) -> None:
    folder = f"{DIRECTORY}/current"
    host = connect(name)
    for role in ("SyncServer", "SyncClient"):
        stem = f"{folder}/{name}_{role}"
        keys = [
            host.check_output(f"openssl x509 -in {stem}.crt -noout -pubkey"),
            host.check_output(f"openssl x509 -inform DER -in {stem}.cer -noout -pubkey"),
            host.check_output(f"openssl pkey -in {stem}.key -pubout"),
            host.check_output(f"openssl rsa -inform PVK -in {stem}.pvk -pubout 2>/dev/null"),
            host.check_output(
                f"openssl pkcs12 -in {stem}.pfx -passin file:{folder}/pfx.passphrase -nodes -nocerts 2>/dev/null"
                " | openssl pkey -pubout"
            ),
        ]
        assert keys[0].startswith("-----BEGIN PUBLIC KEY")
        assert len(set(keys)) == 1


class Server:
    """openssl s_server on a host, with the mesh's files, for a few connections."""

    def __init__(self, name: str) -> None:
        self.host = connect(name)
        trusted = f"-CAfile {DIRECTORY}/trusted/clients.pem -partial_chain"
        own = f"-cert {DIRECTORY}/current/server.crt -key {DIRECTORY}/current/server.key"
        # -rev answers each line reversed, which shows that bytes went both ways.
        command = f"openssl s_server -accept {PORT} -Verify 1 -verify_return_error {trusted} {own} -rev"
        # Without a shell, for systemd cannot tell in a container that a process's children have ended, and waits.
        self.host.check_output(f"systemd-run --quiet --collect --unit s-server {command}")
        self.host.check_output(f"timeout 20 sh -c 'until ss -Hltn sport = :{PORT} | grep -q .; do sleep 0.1; done'")

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *_unused: object) -> None:
        self.host.check_output("systemctl stop s-server")


def ask(source: str, target: str, certificate: str, trusted: str | None = None) -> str:
    """What openssl s_client on one host gets from the other: the answer to 'hello', or nothing."""
    trusted = trusted or f"{DIRECTORY}/trusted/{target}_SyncServer.cer"
    connect(source).check_output(
        f"openssl x509 -inform DER -in {trusted} -out /run/pinned.pem && rm -f /run/answer /run/ended"
    )
    # s_client ends at the end of its input, so that stays open until the answer is there, or the connection has ended.
    command = (
        "{ printf 'hello\\n'; n=0; until grep -qs olleh /run/answer || [ -e /run/ended ] || [ $n -gt 100 ];"
        " do sleep 0.1; n=$((n + 1)); done; } |"
        f" {{ timeout 20 openssl s_client -connect {address(target)}:{PORT} {certificate} -CAfile /run/pinned.pem"
        " -partial_chain -verify_return_error -quiet -no_ign_eof > /run/answer 2>/dev/null; touch /run/ended; };"
        " cat /run/answer"
    )
    return str(connect(source).run(command).stdout)


def own(role: str) -> str:
    return f"-cert {DIRECTORY}/current/{role}.crt -key {DIRECTORY}/current/{role}.key"


@pytest.mark.parametrize("target", members())
def test_openssl_agrees_with_openssl_for_every_pair_and_refuses_everything_else(target: str) -> None:
    # M4 and M10: in both directions, for every peer.
    peers = [name for name in members() if name != target]
    stranger = f"/run/stranger-{target}"
    with Server(target):
        for source in peers:
            assert "olleh" in ask(source, target, own("client")), f"{source} -> {target}"
        source = peers[0]
        connect(source).check_output(
            f"openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN={source}"
            f" -addext extendedKeyUsage=clientAuth -keyout {stranger}.key -out {stranger}.crt 2>/dev/null"
        )
        assert "olleh" not in ask(source, target, f"-cert {stranger}.crt -key {stranger}.key"), "a stranger's"
        assert "olleh" not in ask(source, target, own("server")), "a server certificate shown by a client"
        assert "olleh" not in ask(source, target, ""), "no certificate"
        # The caller, too, refuses a server that is not the pinned one.
        other = f"{DIRECTORY}/trusted/{peers[1]}_SyncServer.cer"
        assert "olleh" not in ask(source, target, own("client"), trusted=other), "another server's certificate"
        assert "olleh" in ask(source, target, own("client")), "the endpoint still works"


def test_the_role_installed_what_was_missing() -> None:
    assert connect("bravo").package("python3-cryptography").is_installed


def test_a_host_outside_the_group_is_untouched() -> None:
    # M5: database servers and the like need no certificates.
    host = connect("outsider")
    assert not host.file(DIRECTORY).exists
    assert host.run("find / -xdev -name '*Sync*' -newer /root/.ssh/authorized_keys | grep .").rc != 0
    assert host.run("find /root/.ansible /tmp -name 'ansible*' | grep .").rc != 0


@pytest.mark.parametrize("name", members())
def test_nothing_is_left_behind(name: str) -> None:
    host = connect(name)
    assert host.run("find /root/.ansible /tmp /run -name '*ansible*' -o -name 'esync-listener*' | grep .").rc != 0
    host.check_output("timeout 30 sh -c 'while ss -Hltn sport = :8732 | grep -q .; do sleep 0.2; done'")


def test_the_report_says_every_pair_is_ok() -> None:
    with open(
        os.path.join(os.environ["MOLECULE_EPHEMERAL_DIRECTORY"], "report", "mesh.json"), encoding="utf-8"
    ) as stream:
        report = json.load(stream)
    count = len(pairs())
    assert report["summary"] == {"servers": len(members()), "expected": count, "ok": count, "failed": 0, "untested": 0}
    assert {(pair["from"], pair["to"]) for pair in report["pairs"]} == set(pairs())


def test_the_ledger_holds_public_data_only() -> None:
    folder = os.path.join(os.environ["MOLECULE_EPHEMERAL_DIRECTORY"], "ledger")
    assert sorted(os.listdir(folder)) == sorted(f"{name}.json" for name in members())
    for name in os.listdir(folder):
        with open(os.path.join(folder, name), encoding="utf-8") as stream:
            assert "PRIVATE" not in stream.read()
