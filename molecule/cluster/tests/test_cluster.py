# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Clusters behind HAProxy in TCP mode: of five members and of two, and after a removal of four and of one."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

from hosts import address, connect, members, pairs
from load import Load
from runs import fail, ledger, report, succeed

DIRECTORY = "/etc/esync"
WEB = ("web1", "web2", "web3", "web4", "web5")
DB = ("db1", "db2")
PORTS = {"web": 8732, "db": 8733}
CONFIGURATION = "/etc/haproxy/haproxy.cfg"


def calls(cluster: str) -> dict[str, dict[str, Any]]:
    """What came of the calls to a cluster in the last run, by caller."""
    (found,) = [one for one in report()["clusters"] if one["name"] == cluster]
    assert (found["address"], found["port"]) == (address("balancer"), PORTS[cluster])
    return {one["from"]: one for one in found["connections"]}


def answered(cluster: str) -> Counter[str]:
    """Which members answered, all callers together."""
    return sum((Counter(one["answered"]) for one in calls(cluster).values()), Counter())


def ask(caller: str, cluster: str, credentials: str = f"{DIRECTORY}/current", count: int = 1) -> list[dict[str, Any]]:
    """What a cluster answers to curl, which looks for the name that it called in the certificate."""
    url = f"https://{address('balancer')}:{PORTS[cluster]}/esync/health"
    command = (
        f"curl --silent --max-time 20 --cert {credentials}/client.crt --key {credentials}/client.key"
        f" --cacert {DIRECTORY}/trusted/servers.pem {url}"
    )
    said = connect(caller).check_output(f"for i in $(seq {count}); do {command} && echo; done")
    found = [json.loads(line) for line in said.splitlines()]
    assert len(found) == count
    return found


class BalancedLoad(Load):
    """The servers of the one cluster call the other through the balancer, in new connections and in long-lived ones."""

    def __init__(self) -> None:
        # Each address is called by processes of its own, once a second each.
        callees = " ".join([address("balancer")] * 3)
        super().__init__(
            dict.fromkeys(DB, f"--setenv 'WAYS=new kept' /usr/local/bin/load.sh {callees}"),
            lambda lines: {line.split()[0] for line in lines} == {"new", "kept"},
        )

    def result(self, *names: str) -> tuple[Counter[str], list[str]]:
        """Requests of these callers by the way they were made, and the lines of those that failed."""
        lines = self.lines(*names)
        failed = [line for line in lines if line.split()[3:5] != ["200", "0"]]
        return Counter(line.split()[1] for line in lines), failed


def haproxy(command: str) -> str:
    """Give the balancer a command, as an administrator does, through its socket."""
    script = (
        "import socket; s = socket.socket(socket.AF_UNIX); s.connect('/run/haproxy/admin.sock');"
        f" s.sendall(b'{command}\\n'); print(s.makefile().read())"
    )
    found: str = connect("balancer").check_output(f'python3 -c "{script}"')
    return found


def configure(content: str) -> None:
    """Give the balancer another configuration, as text for a shell's here-document."""
    connect("balancer").check_output(
        f"cat > {CONFIGURATION} <<'END'\n{content}\nEND\nhaproxy -c -q -f {CONFIGURATION} && systemctl reload haproxy"
    )


def test_every_member_answers_through_the_balancer_and_by_itself() -> None:
    assert report()["summary"]["ok"] == len(pairs()) == 42
    assert {name: one["verdict"] for name, one in calls("web").items()} == dict.fromkeys(DB, "ok")
    assert {name: one["verdict"] for name, one in calls("db").items()} == dict.fromkeys(WEB, "ok")
    # Twice as many calls as there are members, by each caller.
    assert set(answered("web")) == set(WEB) and answered("web").total() == 2 * 10
    assert set(answered("db")) == set(DB) and answered("db").total() == 5 * 4


def test_curl_finds_the_name_of_the_cluster_and_a_pinned_member() -> None:
    found = ask("db1", "web", count=10)
    assert {one["server"] for one in found} == set(WEB)
    assert {one["peer"] for one in found} == {"db1"}
    for one in found:
        assert one["generation"] == ledger(one["server"])["generations"][0]["server"]["fingerprint"]
    for name, cluster in ((WEB[0], "web"), (DB[0], "db")):
        names = connect(name).check_output(
            f"openssl x509 -noout -ext subjectAltName -in {DIRECTORY}/current/server.crt"
        )
        assert f"DNS:{cluster}" in names and f"IP Address:{address('balancer')}" in names
        for other in ("web", "db"):
            assert other == cluster or f"DNS:{other}" not in names.split(", ")


def test_a_rotation_of_all_loses_no_request_through_the_balancer() -> None:
    before = {name: ledger(name)["generations"][0]["server"]["fingerprint"] for name in members()}
    with BalancedLoad() as load:
        succeed("regenerate")
    requests, failed = load.result(*DB)
    print(f"\n{requests.total()} requests ({dict(requests)}) during a rotation, {len(failed)} failures")
    assert min(requests["new"], requests["kept"]) >= 60
    assert failed == []
    after = {name: ledger(name)["generations"][0]["server"]["fingerprint"] for name in members()}
    assert not set(before.values()) & set(after.values())
    assert {one["verdict"] for cluster in PORTS for one in calls(cluster).values()} == {"ok"}
    assert set(answered("web")) == set(WEB)


def test_what_the_balancer_does_wrong_is_told() -> None:
    good = connect("balancer").check_output(f"cat {CONFIGURATION}")
    # A server of the mesh among those of the cluster that it is none of, and TLS that ends at the balancer.
    connect("balancer").check_output(
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=db"
        " -keyout /etc/haproxy/own.pem.key -out /etc/haproxy/own.pem 2>&1"
    )
    # It weighs so much that it is met by everybody: taking turns, two callers at once could miss it by chance.
    bad = good.replace("    server web1 ", f"    server foreign {address('db1')}:8732 weight 256\n    server web1 ")
    bad = bad.replace("bind :8733", "bind :8733 ssl crt /etc/haproxy/own.pem")
    assert bad.count("foreign") == bad.count("own.pem") == 1
    configure(bad)
    try:
        result = fail("verify")
    finally:
        configure(good)
    assert report()["summary"]["ok"] == 42, "every member is proved by itself all the same"
    web, db = calls("web"), calls("db")
    assert {name: one["cause"] for name, one in web.items()} == {
        "db1": "self_connection",
        "db2": "another_server_answers",
    }
    assert all("the balancer's list" in one["remedy"] and set(one["answered"]) <= set(WEB) for one in web.values())
    assert {one["cause"] for one in db.values()} == {"server_certificate_unknown"}
    assert all("TLS may be ending at the balancer" in one["detail"] for one in db.values())
    assert "7 of 7 calls to clusters not ok" in result.output
    assert "cluster db (5 callers, such as web1 -> [cluster db]): server_certificate_unknown" in result.output


def test_members_are_removed_from_their_clusters_without_a_failed_request() -> None:
    connect("web5").check_output(f"cp -rL {DIRECTORY}/current /root/kept")
    with BalancedLoad() as load:
        # First out of the balancer, then out of the mesh.
        for server in ("web/web5", "db/db2"):
            haproxy(f"set server {server} state drain")
        succeed("remove", "-e", "esync_remove=web5,db2")
    # The calls of db2 end with the trust in it; those of the other go on.
    requests, failed = load.result("db1")
    print(f"\n{requests.total()} requests ({dict(requests)}) during a removal, {len(failed)} failures")
    assert min(requests["new"], requests["kept"]) >= 20
    assert failed == []
    assert set(answered("web")) == set(WEB) - {"web5"} and set(calls("web")) == {"db1"}
    assert answered("db") == Counter(db1=4 * 2) and set(calls("db")) == set(WEB) - {"web5"}
    assert {one["verdict"] for cluster in PORTS for one in calls(cluster).values()} == {"ok"}
    assert report()["summary"]["ok"] == report()["summary"]["expected"] == 20
    # What the removed member had is refused, through the balancer too.
    assert connect("web5").run(f"ls {DIRECTORY}/current").rc != 0
    command = "curl --silent --insecure --max-time 20 --output /dev/null --write-out '%{http_code}'"
    url = f"https://{address('balancer')}:{PORTS['db']}/esync/health"
    for credentials, status in (("/root/kept", False), (f"{DIRECTORY}/current", True)):
        caller = "web1" if status else "web5"
        shown = f"--cert {credentials}/client.crt --key {credentials}/client.key"
        assert (connect(caller).run(f"{command} {shown} {url}").stdout == "200") is status
