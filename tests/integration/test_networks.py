# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A mesh in each kind of network: IPv6 alone, names with addresses of both kinds, hosts behind one address."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

from networks import Network, network

OURS = ("esync_address", "esync_listen_address", "esync_port")


def on(mesh: Any, net: Network, **addresses: str | None) -> None:
    """Put a mesh into a network, with the default port and listening address.

    :param addresses: each server's esync_address; None: the default.
    """
    path = mesh.root / "hosts.json"
    group = json.loads(path.read_text())["esync"]
    for name in OURS:
        group["vars"].pop(name, None)
    for name, own in group["hosts"].items():
        own.pop("esync_port")
        own.setdefault("ansible_python_interpreter", net.python(name))
        if addresses[name.split(".")[0]] is not None:
            own["esync_address"] = addresses[name.split(".")[0]]
    path.write_text(json.dumps({"esync": group}))


def names_in(certificate: Path) -> str:
    """The alternative names in a certificate, as OpenSSL prints them."""
    command = ["openssl", "x509", "-noout", "-ext", "subjectAltName", "-in", str(certificate)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def test_hosts_with_ipv6_alone_by_address_and_by_name(make_mesh: Any, tmp_path: Path) -> None:
    """Also with names as long and as strange as they may be."""
    mesh = make_mesh("a", "b", "c")
    long = "Long_Name.With-Everything." + "x" * 27
    assert len(long) == 53
    mesh.host_settings = {"b": {"esync_server_name": long}, "c": {"esync_server_name": "UPPER_c.1"}}
    mesh.write()
    servers = {"a": ["fd00:99::a/64"], "b": ["fd00:99::b/64"], "c": ["10.99.0.12/24", "fd00:99::c/64"]}
    with network(tmp_path / "net", servers) as net:
        on(mesh, net, a="fd00:99:0::A", b="six.example", c="both.example")
        # The first address of c is one that hosts with IPv6 alone cannot reach.
        net.hosts({"10.99.0.12": ["both.example"], "fd00:99::c": ["both.example"], "fd00:99::b": ["six.example"]})
        assert "10.99" not in net.run("ip -n a address; ip -n b address")
        output = mesh.succeed("establish", prefix=net.prefix).output
        assert "6 of 6 pairs ok" in output, output
        again = mesh.succeed("establish", prefix=net.prefix)
        assert set(again.changed.values()) == {0}
        assert "6 of 6 pairs ok" in mesh.succeed("regenerate", prefix=net.prefix).output
    assert "IP Address:FD00:99:0:0:0:0:0:A" in names_in(mesh.current("a") / "server.crt")
    assert "DNS:six.example" in names_in(mesh.current("b") / "server.crt")
    assert {long, "UPPER_c.1"} == mesh.trusted("a")


def test_names_with_addresses_of_both_kinds_lead_to_whichever_answers(make_mesh: Any, tmp_path: Path) -> None:
    mesh = make_mesh("a", "b", "c")
    servers = {"a": ["10.99.0.10/24"], "b": ["10.99.0.11/24", "fd00:99::b/64"], "c": ["10.99.0.12/24"]}
    with network(tmp_path / "net", servers) as net:
        net.run("ip netns exec a sysctl -qw net.ipv6.conf.all.disable_ipv6=1")
        on(mesh, net, a="a.example", b="b.example", c="c.example")
        # c is in the mesh by a name, one of whose addresses it does not have.
        names = {address: [f"{name}.example"] for name, found in servers.items() for address in found}
        names = {address.partition("/")[0]: found for address, found in names.items()}
        net.hosts({**names, "fd00:99::dead": ["c.example"]})
        output = mesh.succeed("establish", "-e", "esync_connect_timeout=2", prefix=net.prefix).output
        assert "6 of 6 pairs ok" in output, output


def test_a_name_that_only_the_control_node_knows_is_told_for_all_before_anything_is_made(
    make_mesh: Any, tmp_path: Path
) -> None:
    mesh = make_mesh("a", "b", "c")
    addresses = {name: f"10.99.0.1{number}" for number, name in enumerate("abc")}
    with network(tmp_path / "net", {name: [f"{one}/24"] for name, one in addresses.items()}) as net:
        on(mesh, net, a="a.internal", b="b.internal", c="10.99.0.12")
        net.hosts({one: [f"{name}.internal"] for name, one in addresses.items()})
        for name in addresses:
            net.hosts({}, name)
        result = mesh.fail("establish", prefix=net.prefix)
        for name, others in (("a", "b and c"), ("b", "a and c")):
            assert f"{name}: its esync_address {name}.internal cannot be resolved by {others}" in result.prose
        assert "Set esync_address to an IP address" in result.prose and "10.99.0.12" not in result.prose
        assert not list((mesh.root / "hosts").glob("*/current")) and not list(mesh.ledger.glob("*.json"))
        net.hosts({one: [f"{name}.internal"] for name, one in addresses.items()}, "a")
        # One whose own resolver is to blame keeps nobody else waiting.
        for name in "bc":
            (net.folder / f"hosts-{name}").unlink()
        net.hosts({}, "a")
        result = mesh.fail("establish", prefix=net.prefix)
        assert "a: it cannot resolve b.internal (b), and most of the others can" in result.prose
        assert sorted(path.stem for path in mesh.ledger.glob("*.json")) == ["b", "c"]
        (net.folder / "hosts-a").unlink()
        assert "6 of 6 pairs ok" in mesh.succeed("establish", prefix=net.prefix).output
        # From now on a resolver that fails is a matter of the test.
        net.hosts({}, "a")
        mesh.fail("establish", prefix=net.prefix)
        assert {one["cause"] for one in mesh.report()["pairs"] if one["verdict"] != "ok"} == {"name_not_resolved"}


def test_hosts_behind_one_address_with_an_ssh_port_each(make_mesh: Any, tmp_path: Path) -> None:
    mesh = make_mesh("a", "b")
    key = tmp_path / "key"
    for path in (key, tmp_path / "host"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(path)], check=True)
    with network(tmp_path / "net", {"a": ["10.99.0.10/24"], "b": ["10.99.0.11/24"]}) as net:
        net.run("mkdir -p -m 0755 /run/sshd")
        rules = ""
        for number, name in enumerate("ab"):
            (tmp_path / f"sshd-{name}").write_text(
                f"HostKey {tmp_path}/host\nAuthorizedKeysFile {key}.pub\nPidFile none\nUsePAM no\nStrictModes no\n"
                "MaxStartups 100\nSubsystem sftp internal-sftp\n"
            )
            net.run(f"ip netns exec {name} ip route add default via 10.99.0.1")
            net.run(f"ip netns exec {name} /usr/sbin/sshd -f {tmp_path}/sshd-{name}")
            rules += f"ip daddr 127.0.0.1 tcp dport 220{number} dnat to 10.99.0.1{number}:22; "
            mesh.host_settings[name] = {
                "ansible_connection": "ssh",
                "ansible_host": "127.0.0.1",
                "ansible_port": 2200 + number,
                "ansible_ssh_private_key_file": str(key),
                "ansible_ssh_common_args": "-o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null "
                "-o ControlPath=none",
                # Over ssh the server is in its namespace already.
                "ansible_python_interpreter": "{{ ansible_playbook_python }}",
            }
        mesh.write()
        net.run("sysctl -qw net.ipv4.conf.all.route_localnet=1; sysctl -qw net.ipv4.ip_forward=1")
        net.run(
            "nft 'table ip forwarded { chain out { type nat hook output priority -100; " + rules + "}; "
            'chain back { type nat hook postrouting priority 100; oifname "bridge" masquerade; }; }\''
        )
        on(mesh, net, a=None, b=None)
        refused = mesh.fail("establish", prefix=net.prefix)
        assert "esync_address of the hosts a and b is 127.0.0.1, which leads every server to itself" in refused.prose
        assert "set esync_address of each to the address by which the other servers reach it" in refused.prose
        assert not re.search(r"^(?:ok|changed): \[b\]", refused.output, re.M) and not mesh.ledger.exists()
        on_inventory = json.loads((mesh.root / "hosts.json").read_text())
        for number, name in enumerate("ab"):
            on_inventory["esync"]["hosts"][name]["esync_address"] = f"10.99.0.1{number}"
        (mesh.root / "hosts.json").write_text(json.dumps(on_inventory))
        output = mesh.succeed("establish", prefix=net.prefix).output
        assert "2 of 2 pairs ok" in output, output
