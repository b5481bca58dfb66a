# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the endpoints answer to curl and openssl, and what becomes of them when something is broken.

The tests run in their order: the last one takes a server out of the mesh.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import pytest
from hosts import address, connect, members, pairs
from load import Load
from runs import wait_until
from streams import end_streams, stream, streamed

ROOT = Path(os.environ["MOLECULE_PROJECT_DIRECTORY"])
DIRECTORY = "/etc/esync"
PORT = 8732
CONFIGURATION = "/etc/nginx/conf.d/esync-mesh.conf"
NGINX = ["alpha", "bravo", "charlie"]
# Those that run for us alone: the server, its product, the file of ours.
STUNNEL, HAPROXY = "delta", "echo"
OWN_FILES = {STUNNEL: "/etc/stunnel/esync-mesh.cfg", HAPROXY: "/etc/haproxy/esync-mesh.cfg"}
OWN_UNITS = {STUNNEL: "esync-stunnel", HAPROXY: "esync-haproxy"}
# A setting of ours that makes the configuration another one.
OTHER_LOG = ("-e", "esync_endpoint_access_log=off")

HTTP_PAIRS = [(source, target) for source, target in pairs() if target in (*NGINX, HAPROXY)]
EVERY_TARGET = [(next(name for name in members() if name != target), target) for target in members()]


@dataclass
class Answer:
    """What curl got. :param status: 0 if no answer came."""

    status: int
    headers: dict[str, str]
    body: str


def own(role: str = "client") -> str:
    return f"--cert {DIRECTORY}/current/{role}.crt --key {DIRECTORY}/current/{role}.key"


def pin(source: str, target: str) -> str:
    """The only certificate that one host accepts of the other, for curl."""
    pinned = f"/run/pinned-{target}.pem"
    pem = f"openssl x509 -inform DER -in {DIRECTORY}/trusted/{target}_SyncServer.cer -out {pinned}"
    connect(source).check_output(pem)
    return pinned


def ask(source: str, target: str, path: str = "/esync/health", shown: str | None = None, more: str = "") -> Answer:
    """A request from one host to another, which is known by its pinned certificate only."""
    known = f"--cacert {pin(source, target)} {own() if shown is None else shown}"
    done = connect(source).run(
        f"curl --silent --include --max-time 10 {known} {more}"
        f" --connect-to {target}:{PORT}:{address(target)}:{PORT} https://{target}:{PORT}{path}"
    )
    head, _separator, body = done.stdout.replace("\r\n", "\n").partition("\n\n")
    first, *lines = head.split("\n")
    status = re.match(r"HTTP/1\.1 (\d+)", first)
    headers = {key.lower(): value.strip() for key, _colon, value in (line.partition(":") for line in lines)}
    return Answer(int(status.group(1)) if status else 0, headers, body)


def fingerprint(name: str) -> str:
    """What openssl says is the fingerprint of a host's current server certificate."""
    text = connect(name).check_output(f"openssl x509 -in {DIRECTORY}/current/server.crt -noout -fingerprint -sha256")
    return str(text).partition("=")[2].replace(":", "").lower()


def digest(name: str, path: str = CONFIGURATION) -> str:
    return str(connect(name).check_output(f"sha256sum < {path}"))


def playbook(name: str, *options: str) -> subprocess.CompletedProcess[str]:
    """Run a playbook as a user does."""
    return subprocess.run(
        ["ansible-playbook", "-i", os.environ["LAB_INVENTORY"], f"playbooks/{name}.yml", *options],
        cwd=ROOT,
        env={**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "ANSIBLE_FORCE_COLOR": "false"},
        capture_output=True,
        text=True,
        check=False,
    )


def prose(done: subprocess.CompletedProcess[str]) -> str:
    """The output with its line breaks and escapes folded, to look for a sentence in it."""
    return re.sub(r"(\\n|\s|\\)+", " ", done.stdout)


def changes(done: subprocess.CompletedProcess[str]) -> dict[str, int]:
    found = {name: int(count) for name, count in re.findall(r"^(\w+)\s+: ok=\d+\s+changed=(\d+)", done.stdout, re.M)}
    assert found
    return found


# -- who is let in --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("source", "target"), HTTP_PAIRS)
def test_health_says_who_answers_and_who_asked(source: str, target: str) -> None:
    answer = ask(source, target)
    assert answer.status == 200
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["x-esync-peer"] == source
    assert json.loads(answer.body) == {
        "server": target,
        "generation": fingerprint(target),
        "product_version": "9.0 \"beta\" $uri \\n 'x' } {",
        "peer": source,
    }


def test_the_peer_stands_in_the_access_log() -> None:
    ask("bravo", "alpha", "/known-by-this-path")
    lines = connect("alpha").check_output("grep known-by-this-path /var/log/nginx/esync-mesh.access.log")
    assert lines.startswith(f"{address('bravo')} - bravo [")


def test_without_an_upstream_everything_else_is_404() -> None:
    answer = ask("alpha", "bravo", "/content")
    assert (answer.status, answer.headers["x-esync-peer"]) == (404, "alpha")


def test_the_upstream_learns_who_calls_whatever_the_caller_says() -> None:
    answer = ask("bravo", "alpha", "/content?a=b", more="-H 'X-Esync-Peer: charlie' -H 'X_Esync_Peer: charlie'")
    assert (answer.status, answer.body) == (200, "/content?a=b for bravo\n")
    # And the caller learns it from us alone, whatever the upstream says.
    assert answer.headers["x-esync-peer"] == "bravo"


def test_haproxy_tells_its_upstream_and_its_log_who_calls() -> None:
    answer = ask("bravo", HAPROXY, "/content", more="-H 'X-Esync-Peer: charlie' -H 'X_Esync_Peer: charlie'")
    assert (answer.status, answer.body) == (200, "/content for bravo\n")
    assert answer.headers["x-esync-peer"] == "bravo"
    logged = f"{address('bravo')} - bravo "
    wait_until(lambda: logged in connect(HAPROXY).check_output("journalctl --quiet --unit esync-haproxy"))


def test_stunnel_tells_its_log_who_calls() -> None:
    # Whatever is behind it speaks for itself.
    assert ask("bravo", STUNNEL, "/content").body == "/content for \n"
    wait_until(lambda: "CN=bravo" in connect(STUNNEL).check_output("journalctl --quiet --unit esync-stunnel"))


@lru_cache(maxsize=None)
def stranger(source: str, subject: str) -> str:
    """A certificate that nobody trusts, on a host."""
    stem = f"/run/stranger-{subject}"
    connect(source).check_output(
        f"openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN={subject}"
        f" -addext extendedKeyUsage=clientAuth -keyout {stem}.key -out {stem}.crt 2>/dev/null"
    )
    return f"--cert {stem}.crt --key {stem}.key"


@pytest.mark.parametrize("version", ["1.2", "1.3"])
@pytest.mark.parametrize(("source", "target"), EVERY_TARGET)
def test_nobody_but_the_pinned_peers_is_let_in(source: str, target: str, version: str) -> None:
    only = f"--tlsv{version} --tls-max {version}"
    for shown in ("", stranger(source, "stranger"), stranger(source, source), own("server")):
        # 400 is what nginx answers to those that it does not let in.
        answer = ask(source, target, shown=shown, more=only)
        assert answer.status in (0, 400), shown
        assert "x-esync-peer" not in answer.headers
    assert ask(source, target, more=only).status == 200, "the pinned one, right after"


@pytest.mark.parametrize(("source", "target"), EVERY_TARGET)
def test_tls_before_1_2_is_refused(source: str, target: str) -> None:
    def handshake(version: str) -> str:
        command = (
            f"openssl s_client -connect {address(target)}:{PORT} -{version} -cipher ALL:@SECLEVEL=0"
            f" -cert {DIRECTORY}/current/client.crt -key {DIRECTORY}/current/client.key < /dev/null 2>&1"
        )
        return str(connect(source).run(command).stdout)

    assert "no peer certificate available" in handshake("tls1_1")
    assert "BEGIN CERTIFICATE" in handshake("tls1_2")


@pytest.mark.parametrize("target", NGINX)
def test_only_the_port_of_ours_is_listened_on(target: str) -> None:
    listening = connect(target).check_output("ss -Hltnp | grep nginx | awk '{print $4}'").split()
    assert {place for place in listening if place.endswith(f":{PORT}")} == {f"0.0.0.0:{PORT}", f"[::]:{PORT}"}
    others = {"0.0.0.0:80", "[::]:80"} | ({"127.0.0.1:8080"} if target != "bravo" else set())
    assert set(listening) - {f"0.0.0.0:{PORT}", f"[::]:{PORT}"} == others


@pytest.mark.parametrize("target", NGINX)
def test_other_sites_are_untouched(target: str) -> None:
    host = connect(target)
    host.check_output("sha256sum --quiet --check /root/nginx.before")
    assert host.check_output("find -L /etc/nginx -type f | wc -l") == str(
        int(host.check_output("wc -l < /root/nginx.before")) + 1
    )
    assert "Welcome to nginx" in host.check_output("curl --silent http://127.0.0.1/")
    if target != "bravo":
        assert host.check_output("curl --silent http://127.0.0.1:8080/other") == "/other for "


def test_another_haproxy_is_untouched() -> None:
    host = connect(HAPROXY)
    host.check_output("sha256sum --quiet --check /root/haproxy.before")
    assert host.check_output("curl --silent http://127.0.0.1:8090/") == "own"
    assert host.check_output("ls /etc/haproxy") == "errors\nesync-mesh.cfg\nhaproxy.cfg"


def test_the_role_installed_what_was_missing() -> None:
    assert connect("bravo").package("nginx").is_installed
    assert connect(STUNNEL).package("stunnel4").is_installed


@pytest.mark.parametrize(("name", "unit"), [("bravo", "nginx"), *OWN_UNITS.items()])
def test_it_comes_back_at_boot(name: str, unit: str) -> None:
    assert connect(name).check_output(f"systemctl is-enabled {unit}") == "enabled"


@pytest.mark.parametrize("name", OWN_UNITS)
def test_what_runs_for_us_alone_can_do_little_else(name: str) -> None:
    host = connect(name)
    main = host.check_output(f"systemctl show --property MainPID --value {OWN_UNITS[name]}")
    status = dict(
        line.split(":\t") for line in host.check_output(f"cat /proc/{main}/status").splitlines() if ":\t" in line
    )
    assert status["NoNewPrivs"] == "1"
    # CAP_SYS_ADMIN is the 21st (capabilities(7)).
    assert not int(status["CapEff"], 16) & 1 << 21
    workers = host.check_output(f"ps -o user= --ppid {main} || true").split()
    assert set(workers) == ({"haproxy"} if name == HAPROXY else set())


# -- runs -----------------------------------------------------------------------------------------------------


def test_a_run_that_changes_nothing_makes_two_calls_a_server() -> None:
    done = playbook("establish", "-vvv")
    assert done.returncode == 0, done.stdout
    assert set(changes(done).values()) == {0}
    # A setting decides which of the two channels such lines go to.
    calls = re.findall(r"^<(\S+)> SSH: EXEC", done.stdout + done.stderr, re.M)
    assert sorted(calls) == sorted(2 * [address(name) for name in members()])


@pytest.fixture
def spoilt() -> Iterator[None]:
    """alpha's nginx is stopped, anybody may read bravo's key, and echo's HAProxy lets in everybody."""
    reload = "systemctl reload esync-haproxy"
    harm = {
        "alpha": ("systemctl stop nginx", "systemctl start nginx"),
        "bravo": (f"chmod 0644 {DIRECTORY}/current/server.key", f"chmod 0600 {DIRECTORY}/current/server.key"),
        HAPROXY: (
            f"cp {OWN_FILES[HAPROXY]} /run/sound && "
            f"sed -i 's/verify required/verify none/; /session reject/d' {OWN_FILES[HAPROXY]} && {reload}",
            f"cp /run/sound {OWN_FILES[HAPROXY]} && {reload}",
        ),
    }
    for name, (do, _undo) in harm.items():
        connect(name).check_output(do)
    yield
    for name, (_do, undo) in harm.items():
        connect(name).check_output(undo)


def test_check_names_every_fault_with_one_call_a_server(spoilt: None) -> None:
    done = playbook("check", "-vvv")
    assert done.returncode != 0
    assert len(re.findall(r"^<[^>]+> SSH: EXEC ", done.stdout + done.stderr, re.M)) == len(members())
    assert set(changes(done).values()) == {0}
    report = json.loads((Path(os.environ["MOLECULE_EPHEMERAL_DIRECTORY"]) / "report" / "mesh.json").read_text())
    assert {(one["server"], one["kind"]) for one in report["problems"]} == {
        ("alpha", "endpoint_not_listening"),
        ("bravo", "wrong_mode"),
    }
    let_in = {(one["to"], one["present"]) for one in report["refusals"] if one["verdict"] == "failed"}
    assert let_in == {("echo", present) for present in ("none", "stranger", "stranger_same_subject", "server")}
    assert "echo accepted delta, which presented no certificate" in prose(done)


def test_check_finds_a_sound_mesh_sound() -> None:
    done = playbook("check")
    assert done.returncode == 0, done.stdout
    report = json.loads((Path(os.environ["MOLECULE_EPHEMERAL_DIRECTORY"]) / "report" / "mesh.json").read_text())
    assert report["problems"] == []
    assert [one["verdict"] for one in report["refusals"]] == ["ok"] * 5 * len(members())


@pytest.fixture
def broken() -> Iterator[None]:
    """Another site of alpha that nginx refuses, and one of charlie that it accepts but then cannot listen for.

    And the configuration of echo's own HAProxy is one that no HAProxy takes.
    """
    own = "/etc/haproxy/haproxy.cfg"
    connect(HAPROXY).check_output(f"cp {own} /run/own && echo no_such_directive >> {own}")
    site = "/etc/nginx/sites-enabled/broken"
    connect("alpha").check_output(f"echo 'no_such_directive on;' > {site}")
    connect("charlie").check_output(f"echo 'server {{ listen 127.0.0.1:9999; }}' > {site}")
    listen = 'import socket, time; s = socket.create_server(("127.0.0.1", 9999)); time.sleep(300)'
    connect("charlie").check_output(
        f"nohup python3 -c {shlex.quote(listen)} > /dev/null 2>&1 & echo $! > /run/holder.pid;"
        " timeout 10 sh -c 'until ss -Hltn sport = :9999 | grep -q .; do sleep 0.1; done'"
    )
    yield
    connect(HAPROXY).check_output(f"cp /run/own {own}")
    connect("charlie").check_output("kill $(cat /run/holder.pid)")
    for name in ("alpha", "charlie"):
        connect(name).check_output(f"rm {site}")


def test_what_nginx_refuses_leaves_the_old_configuration_serving(broken: None) -> None:
    before = {name: digest(name) for name in ("alpha", "charlie")}
    done = playbook("establish", "--limit", "alpha,charlie", *OTHER_LOG)
    assert done.returncode != 0
    assert f"alpha: {CONFIGURATION}: nginx refuses its configuration: unknown directive" in prose(done)
    assert "in /etc/nginx/sites-enabled/broken:1." in prose(done)
    assert f"charlie: {CONFIGURATION}: nginx did not take up the new configuration within 8 seconds" in prose(done)
    assert {name: digest(name) for name in before} == before
    for name in before:
        assert ask("bravo", name).status == 200


def test_a_fault_elsewhere_keeps_nobody_from_what_runs_for_us_alone(broken: None) -> None:
    before = digest(HAPROXY, OWN_FILES[HAPROXY])
    done = playbook("establish", "--limit", HAPROXY, *OTHER_LOG)
    assert done.returncode == 0, done.stdout
    assert digest(HAPROXY, OWN_FILES[HAPROXY]) != before
    assert ask("bravo", HAPROXY).status == 200
    assert connect(HAPROXY).check_output("curl --silent http://127.0.0.1:8090/") == "own"


def test_what_haproxy_refuses_leaves_the_old_configuration_serving() -> None:
    before = digest(HAPROXY, OWN_FILES[HAPROXY])
    done = playbook("establish", "--limit", HAPROXY, "-e", "esync_endpoint_access_log=nobody.invalid:514")
    assert done.returncode != 0
    assert f"{HAPROXY}: {OWN_FILES[HAPROXY]}: HAProxy refuses its configuration: " in prose(done)
    assert "invalid address: 'nobody.invalid'" in prose(done)
    assert digest(HAPROXY, OWN_FILES[HAPROXY]) == before
    assert ask("bravo", HAPROXY).status == 200


def test_what_a_product_cannot_do_is_refused_before_any_host_is_touched() -> None:
    done = playbook("establish", "--limit", STUNNEL, "-e", "esync_endpoint_upstream=http://127.0.0.1:8080", "-vvv")
    assert done.returncode != 0
    assert "stunnel needs an upstream with tcp:// or proxy://HOST:PORT, not 'http://127.0.0.1:8080'" in prose(done)
    assert "SSH: EXEC" not in done.stdout + done.stderr


def test_what_was_mended_needs_nothing_and_what_stopped_is_started() -> None:
    connect("bravo").check_output("systemctl stop nginx")
    for name, unit in OWN_UNITS.items():
        connect(name).check_output(f"systemctl stop {unit}")
    connect("charlie").check_output("nginx -s stop; timeout 10 sh -c 'while pgrep -x nginx; do sleep 0.1; done'")
    stopped = ("bravo", "charlie", *OWN_UNITS)
    assert {ask("alpha", name).status for name in stopped} == {0}
    done = playbook("establish")
    assert done.returncode == 0, done.stdout
    assert changes(done) == {**dict.fromkeys([*members(), "localhost"], 0), **dict.fromkeys(stopped, 1)}
    assert {ask("alpha", name).status for name in stopped} == {200}


def test_a_change_by_hand_is_undone_and_meanwhile_an_unnamed_certificate_is_refused() -> None:
    host = connect("bravo")
    before = digest("bravo")
    host.check_output(f"sed -i 's!include .*clients.map;!!' {CONFIGURATION}; systemctl reload nginx")
    # nginx takes up a reload a little after the command has ended; the workers of before may answer until then.
    wait_until(lambda: ask("alpha", "bravo").status == 403)
    host.check_output("timeout 10 sh -c 'while pgrep -f \"[w]orker process is shutting down\"; do sleep 0.1; done'")
    # The bundle accepts it, but nobody knows whose it is.
    answer = ask("alpha", "bravo")
    assert answer.status == 403
    assert "x-esync-peer" not in answer.headers
    done = playbook("establish", "--check", "--diff", "--limit", "bravo")
    assert f"+    include {DIRECTORY}/trusted/clients.map;" in done.stdout
    assert ask("alpha", "bravo").status == 403, "check mode changes nothing"
    assert changes(playbook("establish", "--limit", "bravo"))["bravo"] == 1
    assert digest("bravo") == before
    assert ask("alpha", "bravo").status == 200


def test_the_temporary_endpoint_says_that_nginx_has_the_port() -> None:
    done = playbook("establish", "--limit", "alpha,bravo", "-e", "esync_endpoint=temporary")
    assert done.returncode != 0
    assert re.search(rf"alpha: 0\.0\.0\.0 port {PORT} is taken by nginx \(process \d+\)", prose(done))
    assert "set esync_endpoint to nginx" in prose(done)


# -- a rotation under load ------------------------------------------------------------------------------------


def test_haproxy_loses_no_request_in_a_rotation_and_stunnel_hardly_any() -> None:
    """stunnel closes the port when it reads its files again, and opens it a moment later."""
    targets = {STUNNEL: address(STUNNEL), HAPROXY: address(HAPROXY)}
    command = f"--setenv WAYS=new --setenv PAUSE=0.02 /usr/local/bin/load.sh {' '.join(targets.values())}"
    callers = ("alpha", "bravo")
    before = {name: fingerprint(name) for name in targets}
    with Load(dict.fromkeys(callers, command), lambda lines: len(lines) > 20) as load:
        done = playbook("regenerate")
        assert done.returncode == 0, done.stdout
    assert not set(before.values()) & {fingerprint(name) for name in targets}
    for name, where in targets.items():
        lines = [line.split(maxsplit=5) for line in load.lines()]
        made = [words for words in lines if words[2] == where]
        failed = [words for words in made if words[3:5] != ["200", "0"]]
        print(f"\n{name}: {len(made)} requests during a rotation, {len(failed)} failures")
        assert len(made) > 100
        assert len(failed) <= (len(made) // 100 if name == STUNNEL else 0), failed
        # Nobody was refused: nobody answered, or not any more.
        assert {words[4] for words in failed} <= {"7", "35", "56"}, failed


# -- answers under way ----------------------------------------------------------------------------------------


def test_after_a_compromise_answers_to_it_end_through_each_product_and_others_go_on() -> None:
    targets = ("alpha", STUNNEL, HAPROXY)
    cut, kept = ([(source, target) for target in targets] for source in ("charlie", "bravo"))
    for source, target in cut + kept:
        stream(source, target, 10)
    try:
        wait_until(lambda: all(len(streamed(*pair)) == 10 and min(streamed(*pair)) > 0 for pair in cut + kept))
        done = playbook("regenerate", "-e", "esync_compromised=charlie")
        assert done.returncode == 0, done.stdout
        before = {pair: streamed(*pair) for pair in cut + kept}
        time.sleep(3)
        after = {pair: streamed(*pair) for pair in cut + kept}
    finally:
        for name in ("charlie", "bravo"):
            end_streams(name)
    assert [after[pair] for pair in cut] == [before[pair] for pair in cut]
    for pair in kept:
        assert all(late > early for late, early in zip(after[pair], before[pair])), pair


# -- what is taken away ---------------------------------------------------------------------------------------


def call_with_session(target: str, version: str) -> str:
    """What a thief gets from a target who has the certificate of charlie, and its last session if it was given one."""
    session = f"/run/session-{target}-{version}"
    command = (
        "printf 'GET /esync/health HTTP/1.1\\r\\nHost: x\\r\\nConnection: close\\r\\n\\r\\n'"
        f" | timeout 10 openssl s_client -connect {address(target)}:{PORT} -{version} -ign_eof"
        f" -cert /run/thief.crt -key /run/thief.key $(test -e {session} && echo -sess_in {session}) -sess_out {session}"
    )
    answer = str(connect("charlie").run(f"{command} 2>/dev/null").stdout)
    assert "BEGIN CERTIFICATE" in answer, "it was connected"
    return answer


def test_a_removed_server_is_refused_also_with_its_saved_sessions() -> None:
    host = connect("charlie")
    for suffix in ("crt", "key"):
        host.check_output(f"cp {DIRECTORY}/current/client.{suffix} /run/thief.{suffix}")
    targets = [(target, version) for target in ("alpha", STUNNEL, HAPROXY) for version in ("tls1_2", "tls1_3")]
    for target, version in targets:
        for _attempt in range(2):
            answer = call_with_session(target, version)
            assert "HTTP/1.1 200" in answer, (target, version)
            assert "New, TLS" in answer, f"{target} resumed a session of {version}"
    done = playbook("remove", "-e", "esync_remove=charlie")
    assert done.returncode == 0, done.stdout
    for target, version in targets:
        assert "HTTP/1.1 200" not in call_with_session(target, version), (target, version)
    # nginx goes on with its other sites, without ours.
    assert not host.file(CONFIGURATION).exists
    assert not host.file(DIRECTORY).exists or host.check_output(f"ls {DIRECTORY}") == ""
    assert host.check_output("curl --silent http://127.0.0.1:8080/other") == "/other for "
    assert host.run(f"ss -Hltn sport = :{PORT} | grep .").rc != 0


def test_what_runs_for_us_alone_is_taken_away_with_its_server() -> None:
    # charlie is gone, but the inventory still has it.
    done = playbook("remove", "-e", f"esync_remove=charlie,{STUNNEL},{HAPROXY}")
    assert done.returncode == 0, done.stdout
    for name, unit in OWN_UNITS.items():
        host = connect(name)
        assert not host.file(OWN_FILES[name]).exists
        assert not host.file(f"/etc/systemd/system/{unit}.service").exists
        assert host.run(f"systemctl is-enabled {unit}").rc != 0
        assert host.run(f"ss -Hltn sport = :{PORT} | grep .").rc != 0
    assert connect(HAPROXY).check_output("curl --silent http://127.0.0.1:8090/") == "own"
    connect(HAPROXY).check_output("sha256sum --quiet --check /root/haproxy.before")
    assert ask("alpha", "bravo").status == 200
