# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""PostgreSQL and Redis as attached services: proved, called by their own clients, rotated, withdrawn."""

from __future__ import annotations

import json
import socket
import ssl
import stat
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from products import PRODUCTS, run


def answers(command: list[str]) -> bool:
    done = run(*command)
    return done.returncode == 0 and done.stdout.strip() == "42"


def test_the_services_are_proved_beside_the_endpoint(attached: Any) -> None:
    found = Counter((pair["site"], pair["verdict"]) for pair in attached.mesh.report()["pairs"])
    assert found == {("esync", "ok"): 6, **{(one.name, "ok"): 6 for one in PRODUCTS}}


def test_a_second_run_changes_nothing(attached: Any) -> None:
    assert set(attached.mesh.succeed("establish").changed.values()) == {0}


def test_their_own_clients_are_let_in_with_the_certificates_of_the_mesh(attached: Any) -> None:
    failed = [pair for pair in attached.all if not answers(attached.command(*pair))]
    assert failed == []


def test_a_replica_is_made_with_client_certificates(attached: Any) -> None:
    primary = attached.services["bravo"]["postgresql"]
    host = attached.mesh.host("alpha")
    target = primary.root.parent / "replica"
    address = primary.address(primary.port, host / "current", host / "trusted", "alpha").replace("dbname=postgres ", "")
    done = run(str(primary.binaries / "pg_basebackup"), "-d", address, "-D", str(target), "-R", "-X", "stream")
    assert done.returncode == 0, done.stderr
    assert (target / "standby.signal").exists()


def test_keys_belong_to_the_user_of_the_service_and_to_nobody_else(attached: Any) -> None:
    for name, own in attached.services.items():
        for one in own.values():
            for path in one.files.iterdir():
                status = path.stat()
                wanted = 0o600 if path.suffix == ".key" else 0o644
                assert (path.owner(), stat.S_IMODE(status.st_mode)) == (one.owner, wanted), path
            assert (one.files.owner(), stat.S_IMODE(one.files.stat().st_mode)) == ("root", 0o755), name


def test_what_must_be_refused_is_refused_by_each(attached: Any) -> None:
    attached.mesh.succeed("verify")
    assert attached.mesh.report()["summary"]["ok"] == 18
    refusals = attached.mesh.report()["refusals"]
    assert {one["verdict"] for one in refusals} == {"ok"}
    # Each member tries five things at one other member, at each of its three places.
    assert len(refusals) == 3 * 5 * 3


def test_a_copy_that_somebody_changed_is_written_again(attached: Any) -> None:
    key = attached.services["alpha"]["redis"].files / "server.key"
    before = key.read_bytes()
    key.write_bytes(b"changed")
    assert attached.mesh.succeed("establish").changed["alpha"]
    assert (key.read_bytes(), key.owner(), stat.S_IMODE(key.stat().st_mode)) == (before, "redis", 0o600)
    assert set(attached.mesh.succeed("establish").changed.values()) == {0}


def test_a_rotation_under_load_fails_no_request(attached: Any) -> None:
    ended = threading.Event()
    failed: Counter[str] = Counter()
    made: Counter[str] = Counter()

    def call(pair: tuple[str, str, str]) -> None:
        while not ended.is_set():
            done = run(*attached.command(*pair))
            made[pair[2]] += 1
            if done.stdout.strip() != "42":
                failed[f"{pair[2]}: {done.stderr.strip() or done.stdout.strip()}"] += 1
            time.sleep(0.2)

    pairs = [("alpha", "bravo", one.name) for one in PRODUCTS]
    callers = [threading.Thread(target=call, args=(pair,)) for pair in pairs]
    for one in callers:
        one.start()
    try:
        attached.mesh.succeed("regenerate")
    finally:
        ended.set()
        for one in callers:
            one.join()
    assert all(made[one.name] > 10 for one in PRODUCTS), made
    assert not failed, failed
    assert [pair for pair in attached.all if not answers(attached.command(*pair))] == []


def test_a_fault_in_the_users_own_configuration_stops_neither_the_rotation_nor_the_service(attached: Any) -> None:
    own = attached.services["alpha"]
    files = [own["postgresql"].root / "data" / name for name in ("postgresql.conf", "pg_hba.conf")]
    files.append(own["redis"].root / "redis.conf")
    sound = {path: path.read_bytes() for path in files}
    for path, content in sound.items():
        path.write_bytes(content + b"no_such_setting on\n")
    attached.mesh.succeed("regenerate", "-e", "esync_regenerate=alpha")
    attached.mesh.succeed("verify")
    assert attached.mesh.report()["summary"]["ok"] == 18
    assert [pair for pair in attached.all if not answers(attached.command(*pair))] == []
    # What is the user's own is left as it is, faults and all.
    for path, content in sound.items():
        assert path.read_bytes() == content + b"no_such_setting on\n"
        path.write_bytes(content)


def test_a_service_that_does_not_reload_is_named(attached: Any) -> None:
    own = attached.mesh.host_settings["charlie"]["esync_services"]
    kept = json.loads(json.dumps(own))
    own[0]["reload"] = ["true"]
    attached.mesh.write()
    result = attached.mesh.fail("regenerate", "-e", "esync_endpoint_timeout=3", "-e", "esync_regenerate=charlie")
    assert "site postgresql" in result.prose
    assert "esync_services" in result.prose
    own[:] = kept
    attached.mesh.write()
    attached.mesh.succeed("regenerate", "-e", "esync_regenerate=charlie")
    attached.mesh.succeed("verify")


@pytest.mark.parametrize("protocol", ["http", "tls"])
def test_a_wrong_protocol_is_named(attached: Any, protocol: str) -> None:
    own = attached.mesh.host_settings["charlie"]["esync_services"]
    own[0]["protocol"] = protocol
    attached.mesh.write()
    result = attached.mesh.fail("establish", "-e", "esync_endpoint_timeout=4")
    own[0]["protocol"] = "postgresql"
    attached.mesh.write()
    assert "it speaks the protocol of PostgreSQL" in result.prose
    assert "protocol: postgresql" in result.prose
    attached.mesh.succeed("establish")


def test_a_service_may_be_in_the_place_of_the_endpoint(attached: Any) -> None:
    settings = attached.mesh.host_settings["charlie"]
    kept = dict(settings)
    settings["esync_port"] = attached.services["charlie"]["postgresql"].port
    attached.mesh.write()
    attached.mesh.succeed("establish")
    attached.mesh.succeed("verify")
    report = attached.mesh.report()
    called = {pair["site"] for pair in report["pairs"] if pair["to"] == "charlie"}
    assert (called, report["summary"]["ok"]) == ({one.name for one in PRODUCTS}, 16)
    settings.clear()
    settings.update(kept)
    attached.mesh.write()
    attached.mesh.succeed("establish")
    attached.mesh.succeed("verify")


def test_a_removed_server_is_cut_and_let_in_nowhere(attached: Any) -> None:
    host, redis, postgresql = (
        attached.mesh.host("charlie"),
        *(attached.services["alpha"][one] for one in ("redis", "postgresql")),
    )
    copied = redis.root.parent / "of-charlie"
    copied.mkdir()
    for name in ("current/client.crt", "current/client.key", "trusted/servers.pem"):
        path = copied / name.split("/")[1]
        path.write_bytes((host / name).read_bytes())
        path.chmod(0o600)
    calls = [one.asks(one.port, copied, copied, "charlie") for one in (redis, postgresql)]
    assert [answers(one) for one in calls] == [True, True]
    with connected(redis.port, copied, "127.0.0.3") as removed, connected(
        redis.port, host / "current", "127.0.0.1"
    ) as another:
        attached.mesh.succeed("remove", "-e", "esync_remove=charlie")
        assert not is_alive(removed)
        # Of a service of the user's own, the address of a withdrawn caller is all that is known.
        assert is_alive(another)
    assert not (host / "services").exists()
    assert [answers(one) for one in calls] == [False, False]


def connected(port: int, files: Path, address: str) -> ssl.SSLSocket:
    """An open connection to a Redis, from an address of this machine."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.load_cert_chain(files / "client.crt", files / "client.key")
    raw = socket.create_connection(("127.0.0.1", port), timeout=10, source_address=(address, 0))
    made = context.wrap_socket(raw)
    assert is_alive(made)
    return made


def is_alive(connection: ssl.SSLSocket) -> bool:
    try:
        connection.sendall(b"PING\r\n")
        return connection.recv(100) == b"+PONG\r\n"
    except OSError:
        return False
