# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Rotations under load, and while things go wrong: whatever happens, the pairs that work go on working."""

from __future__ import annotations

import itertools
import json
import random
import re
import subprocess
import time
from collections import Counter
from dataclasses import dataclass

import pytest
from hosts import address, connect, members, pairs, power
from load import Load
from runs import Result, Run, fail, ledger, report, succeed, wait_until
from streams import end_streams, stream, streamed

PORT = 8732
DIRECTORY = "/etc/esync"


class CurlLoad(Load):
    """Every server calls every other with curl, in new connections and in long-lived ones."""

    def __init__(self) -> None:
        others = {name: " ".join(address(other) for other in members() if other != name) for name in members()}
        super().__init__(
            {name: f"/usr/local/bin/load.sh {callees}" for name, callees in others.items()},
            lambda lines: {line.split()[0] for line in lines} == {"new", "kept", "long"},
        )

    def result(self) -> tuple[Counter[str], list[str]]:
        """Requests by the way they were made, and the lines of those that failed."""
        lines = self.lines()
        failed = [line for line in lines if line.split()[3:5] != ["200", "0"]]
        return Counter(line.split()[1] for line in lines), failed


def current(name: str) -> str:
    """The fingerprint of a server's current certificate, by its own file."""
    found: str = connect(name).check_output(
        f"openssl x509 -noout -fingerprint -sha256 -in {DIRECTORY}/current/server.crt"
    )
    return found.partition("=")[2].replace(":", "").lower()


def currents() -> dict[str, str]:
    """The same of every server."""
    return {name: current(name) for name in members()}


def settled() -> None:
    """One live generation everywhere, nothing pending or orphaned, every pair ok, and the next run changes nothing."""
    for name in members():
        host = connect(name)
        assert host.check_output(f"ls {DIRECTORY}/generations {DIRECTORY}/remote | grep -c -- '-'") == "2", name
        assert not host.file(f"{DIRECTORY}/next").exists and not host.file(f"{DIRECTORY}/previous").exists
        assert not host.file(f"{DIRECTORY}/rotation.json").exists
    assert report()["summary"]["ok"] == len(pairs())
    assert set(succeed("establish").changed.values()) == {0}


@dataclass
class Rotations:
    """What was seen while one rotation followed the other under load.

    :param fingerprints: the certificates by server, before the first rotation and after each.
    :param requests: how many requests the load made, by the way they were made. :param failed: those that failed.
    :param second: what a second control node was told during one of the rotations.
    :param only_alpha: the certificates after a last rotation, of one server alone.
    :param before: alpha's answers from bravo before that last rotation, by version of TLS. :param after: what it got
        after it with the old certificate. :param resumed: the same in a resumed session.
    :param new: the same as after, with the new certificate.
    """

    fingerprints: list[dict[str, str]]
    requests: Counter[str]
    failed: list[str]
    second: Result
    only_alpha: dict[str, str]
    before: dict[str, str]
    after: dict[str, str]
    resumed: dict[str, str]
    new: dict[str, str]


VERSIONS = ("tls1_2", "tls1_3")


@pytest.fixture(scope="module")
def rotations() -> Rotations:
    """Ten rotations of all servers and one of alpha alone, under load from the first to the last."""
    fingerprints = [currents()]
    with CurlLoad() as load:
        for number in range(10):
            if number == 0:
                run = Run("regenerate")
                run.until("Apply the next certificates besides the current ones")
                second = fail("regenerate", "-e", '{"esync_regenerate": ["alpha"]}')
                first = run.wait()
                assert first.code == 0, first.output
            else:
                succeed("regenerate")
            fingerprints.append(currents())
        keep_certificates()
        before = {version: call(version, f"-sess_out /root/{version}") for version in VERSIONS}
        succeed("regenerate", "-e", "esync_regenerate=alpha")
        only_alpha = currents()
        after = {version: call(version) for version in VERSIONS}
        resumed = {version: call(version, resume(version)) for version in VERSIONS}
        keep_certificates()
        new = {version: call(version) for version in VERSIONS}
    requests, failed = load.result()
    return Rotations(fingerprints, requests, failed, second, only_alpha, before, after, resumed, new)


def keep_certificates() -> None:
    """Put alpha's certificates where no rotation finds them."""
    connect("alpha").check_output(f"rm -rf /root/old && cp -rL {DIRECTORY}/current /root/old")


def resume(version: str) -> str:
    """The option that resumes a session, if there is one."""
    return f"-sess_in /root/{version}" if connect("alpha").file(f"/root/{version}").exists else ""


def call(version: str, options: str = "") -> str:
    """What alpha gets from bravo with the certificates that were kept."""
    command = (
        "printf 'GET /esync/health HTTP/1.1\\r\\nHost: x\\r\\nConnection: close\\r\\n\\r\\n' |"
        # -quiet: it goes on reading after its own input has ended, until the server closes the connection.
        f" timeout 20 openssl s_client -connect {address('bravo')}:{PORT} -{version} -quiet"
        f" -cert /root/old/client.crt -key /root/old/client.key {options} 2>&1"
    )
    return str(connect("alpha").run(command).stdout)


def test_ten_rotations_under_load_lose_no_request(rotations: Rotations) -> None:
    for before, after in itertools.pairwise(rotations.fingerprints):
        assert not set(before.values()) & set(after.values())
    requests = rotations.requests
    count = len(rotations.fingerprints) - 1
    print(f"\n{sum(requests.values())} requests ({dict(requests)}) during {count} rotations, ", end="")
    print(f"{len(rotations.failed)} failures")
    assert count == 10
    # A long answer takes five seconds, so a fast machine has few of them; of the others there is one each second.
    assert min(requests["new"], requests["kept"]) >= 10 * len(pairs())
    assert requests["long"] >= len(pairs())
    assert rotations.failed == []


def test_a_second_control_node_stops_and_names_the_first(rotations: Rotations) -> None:
    assert "has been rotating it since" in rotations.second.output


def test_one_server_is_rotated_alone(rotations: Rotations) -> None:
    before = rotations.fingerprints[-1]
    assert {name for name in members() if before[name] != rotations.only_alpha[name]} == {"alpha"}
    settled()


@pytest.mark.parametrize("version", VERSIONS)
def test_a_retired_certificate_is_refused_in_new_connections_and_in_resumed_ones(
    version: str, rotations: Rotations
) -> None:
    assert "200 OK" in rotations.before[version]
    for answer in (rotations.after[version], rotations.resumed[version]):
        assert "200 OK" not in answer, answer
    # The same call with the certificates of now: it is them that are refused, not the call.
    assert "200 OK" in rotations.new[version]


def test_the_load_notices_a_rotation_that_retires_too_early() -> None:
    with CurlLoad() as load:
        # The order of a rotation by hand: new certificates first, the exchange after that.
        succeed("establish", "-e", "esync_discard_existing=true")
    requests, failed = load.result()
    print(f"\n{sum(requests.values())} requests during a rotation in the wrong order, {len(failed)} failures")
    assert failed


def test_with_nothing_due_nothing_changes() -> None:
    result = succeed("regenerate", "-e", "esync_only_due=true", "-vvv")
    assert set(result.changed.values()) == {0}
    assert sum(line.startswith("<") and " EXEC " in line for line in result.output.splitlines()) <= 2 * len(members())


def test_check_mode_shows_the_plan_and_changes_nothing() -> None:
    before = currents()
    result = succeed("regenerate", "--check")
    for name in members():
        assert (
            f"{name}: make the next certificates (asked for), then switch, then retire the old ones." in result.output
        )
    assert set(result.changed.values()) == {0}
    assert currents() == before


# Each of the next three begins with what the one before it left, so it shows too that the rotation goes on from there;
# the last of them goes to the end.


def test_a_full_disk_at_make_is_named_and_harms_nobody() -> None:
    before = currents()
    host = connect("charlie")
    host.run(f"dd if=/dev/zero of={DIRECTORY}/filler bs=1k")
    result = fail("regenerate")
    assert "charlie: " in result.output and "there is no space left" in result.output
    assert currents() == before
    succeed("verify")
    host.check_output(f"rm {DIRECTORY}/filler")


def test_a_host_that_dies_before_the_switch_stops_it_for_all() -> None:
    before = currents()
    run = Run("regenerate")
    run.until("Apply the next certificates besides the current ones")
    run.until("Test that every peer accepts the next certificates")
    power("bravo", on=False)
    result = run.wait()
    assert result.code != 0
    assert "bravo" in result.output.partition("PLAY RECAP")[0]
    for name in ("alpha", "charlie"):
        assert current(name) == before[name]
    others = {(pair["from"], pair["to"]): pair["verdict"] for pair in _verified_without("bravo")}
    assert others["alpha", "charlie"] == others["charlie", "alpha"] == "ok"
    power("bravo", on=True)
    connect("bravo").check_output("systemd-run --quiet --unit upstream python3 /usr/local/bin/upstream.py 8080")


def _verified_without(name: str) -> list[dict[str, str]]:
    assert name in fail("verify").output
    found: list[dict[str, str]] = report()["pairs"]
    return found


def test_a_reload_that_fails_after_the_switch_rolls_everything_back() -> None:
    before = currents()
    # A foreign file that is sound until there are previous certificates, and broken from then on.
    broken = "/etc/nginx/conf.d/broken.conf"
    connect("bravo").check_output(f"echo 'include {DIRECTORY}/previou*/server.crt;' > {broken}")
    with CurlLoad() as load:
        result = fail("regenerate")
    requests, failed = load.result()
    assert requests["new"] and failed == []
    assert "bravo: " in result.output and "nginx refuses its configuration" in result.output
    assert "Every pair that worked before works again." in result.output
    assert currents() == before
    connect("bravo").check_output(f"rm {broken}")
    succeed("regenerate")
    assert not set(before.values()) & set(currents().values())
    settled()


def test_killed_at_random_moments_it_loses_no_request_and_converges() -> None:
    seed = random.randrange(1 << 30)
    dice = random.Random(seed)
    moments = [
        "Test which pairs work, and make the next certificates",
        "Plan the next stage",
        "Apply the next certificates besides the current ones",
        "Test that every peer accepts the next certificates",
        "Switch every server to its next certificates",
        "Destroy the keys of the previous certificates",
    ]
    with CurlLoad() as load:
        for moment in moments:
            run = Run("regenerate")
            run.until(moment)
            try:
                run.process.wait(timeout=dice.uniform(0, 1.5))
            except subprocess.TimeoutExpired:
                run.kill()
        succeed("regenerate")
    requests, failed = load.result()
    print(f"\n{sum(requests.values())} requests while {len(moments)} rotations were killed, {len(failed)} failures")
    assert failed == [], f"seed {seed}"
    settled()


@pytest.mark.parametrize(
    ("key_type", "size", "said"),
    [("ed25519", None, "ED25519 Public-Key"), ("rsa", 2048, "(2048 bit)"), ("ecdsa", 256, "NIST CURVE: P-256")],
)
def test_another_type_of_key_is_rotated_to_and_loses_no_request(key_type: str, size: int | None, said: str) -> None:
    with CurlLoad() as load:
        succeed("regenerate", "-e", json.dumps({"esync_key_type": key_type, "esync_key_size": size}))
    requests, failed = load.result()
    assert requests["new"] and failed == []
    for name in members():
        for role in ("server", "client"):
            text = connect(name).check_output(f"openssl x509 -noout -text -in {DIRECTORY}/current/{role}.crt")
            assert said in text
    assert report()["summary"]["ok"] == len(pairs())


def test_a_breach_leaves_the_pairs_of_the_others_alone() -> None:
    old = ledger("alpha")["generations"][0]["server"]["fingerprint"]
    with CurlLoad() as load:
        succeed("regenerate", "-e", "esync_compromised=alpha")
    requests, failed = load.result()
    assert requests["new"]
    assert [line for line in failed if not line.startswith("alpha: ") and line.split()[2] != address("alpha")] == []
    assert old in {one["fingerprint"] for one in ledger("alpha")["distrusted"]}
    settled()


class CachedLoad(Load):
    """A program on alpha that calls the others with a certificate that it holds in memory for some seconds."""

    def __init__(self, seconds: int) -> None:
        others = " ".join(address(other) for other in members() if other != "alpha")
        super().__init__({"alpha": f"python3 /usr/local/bin/cached.py {seconds} {others}"}, bool)

    def failed(self) -> list[str]:
        """The requests that failed, of those that were made."""
        lines = self.lines()
        assert lines
        return [line for line in lines if line.split()[3:5] != ["200", "0"]]


FOR_EVER = 10**6


def test_a_caller_that_caches_its_certificate_is_named_and_loses_requests_unless_it_is_waited_for() -> None:
    with CachedLoad(FOR_EVER) as load:
        pid = connect("alpha").check_output("systemctl show --property MainPID --value load")
        stopped = fail("regenerate", "-e", "esync_retire_timeout=3", "-e", "esync_retire_stragglers=stop")
        assert load.failed() == []
        before = currents()
        retired = succeed("regenerate")
        wait_until(lambda: bool(load.failed()))
    for result in (stopped, retired):
        for name in ("bravo", "charlie"):
            assert re.search(
                rf"alpha presented its previous client certificate to [^:]*{name}[^:]* from {address('alpha')}",
                result.output,
            ), result.output
    assert f"that was python3 (process {pid})" in stopped.output, stopped.output
    # The second run has only retired what the first one switched away from.
    assert currents() == before
    with CachedLoad(12) as load:
        waited = succeed("regenerate", "-e", "esync_retire_timeout=16", "-e", "esync_retire_stragglers=stop")
    assert load.failed() == []
    assert "presented" not in waited.output
    assert not set(before.values()) & set(currents().values())
    settled()


def test_after_a_compromise_open_connections_end_and_the_others_go_on() -> None:
    cut, kept = (
        [("alpha", "bravo"), ("alpha", "charlie"), ("bravo", "alpha")],
        [("bravo", "charlie"), ("charlie", "bravo")],
    )
    for pair in cut + kept:
        stream(*pair, 5)
    try:
        wait_until(lambda: all(len(streamed(*pair)) == 5 and min(streamed(*pair)) > 0 for pair in cut + kept))
        done = succeed("regenerate", "-e", "esync_compromised=alpha", "-e", "esync_regenerate=alpha")
        assert "opened with certificates which are not trusted any more" in done.output
        assert "had to be restarted" not in done.output
        before = {pair: streamed(*pair) for pair in cut + kept}
        time.sleep(3)
        after = {pair: streamed(*pair) for pair in cut + kept}
        assert [after[pair] for pair in cut] == [before[pair] for pair in cut]
        for pair in kept:
            assert all(late > early for late, early in zip(after[pair], before[pair])), pair
    finally:
        for name in members():
            end_streams(name)
    settled()
