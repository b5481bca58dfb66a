# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The gate in front of a synchronisation with rsync through the mesh: examples/sync.yml as it stands."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from faults import FILES
from hosts import address, connect
from runs import fail, succeed

SYNC = "../examples/sync"
FROM_CHARLIE = ("-e", "sync_from=charlie")
PAGE = "/srv/content/page.html"
OTHERS = ("alpha", "bravo")
KEEP = "rm -rf /root/kept && cp -a /etc/esync /root/kept"
PUT_BACK = f"find {FILES} -mindepth 1 -delete && cp -a /root/kept/. {FILES}"


def content(name: str) -> str | None:
    file = connect(name).file(PAGE)
    return str(file.content_string) if file.exists else None


@pytest.fixture(autouse=True)
def edition() -> Iterator[str]:
    """What charlie has to hand out; the others have nothing before each test."""
    text = "Another edition.\n"
    connect("charlie").check_output(f"printf '{text}' > {PAGE}")
    for name in OTHERS:
        connect(name).check_output("rm -rf /srv/content && mkdir -p /srv/content")
    yield text
    for name in OTHERS:
        connect(name).check_output("rm -rf /srv/content")


@pytest.fixture
def damaged() -> Iterator[str]:
    """alpha shows a certificate that charlie does not trust."""
    host = connect("alpha")
    host.check_output(
        f"{KEEP} && cd {FILES}/current && openssl req -x509 -newkey rsa:2048 -nodes -subj /CN=alpha -days 9"
        " -addext extendedKeyUsage=clientAuth -keyout client.key -out client.crt 2>/dev/null"
    )
    yield "alpha"
    host.check_output(PUT_BACK)


def calls(output: str, name: str) -> int:
    """The remote calls for a host, by what ansible-playbook says of its connections."""
    return sum(line.startswith(f"<{address(name)}>") and " EXEC " in line for line in output.splitlines())


def test_it_lets_a_synchronisation_through_and_changes_nothing_itself(edition: str) -> None:
    result = succeed(SYNC, *FROM_CHARLIE)
    assert {name: content(name) for name in OTHERS} == dict.fromkeys(OTHERS, edition)
    # rsync's is the only change, and there is none when nothing differs.
    assert {name: result.changed[name] for name in ("alpha", "bravo", "charlie")} == {
        "alpha": 1,
        "bravo": 1,
        "charlie": 0,
    }
    assert set(succeed(SYNC, *FROM_CHARLIE).changed.values()) == {0}


def test_it_stops_one_server_whose_certificate_does_not_match_and_nothing_is_copied(edition: str, damaged: str) -> None:
    result = fail(SYNC, *FROM_CHARLIE)
    assert content(damaged) is None
    assert content("bravo") == edition
    said = " ".join(result.output.split())
    assert "The gate is closed, and nothing was changed. alpha: /etc/esync/generations/" in said
    assert "alpha -> charlie: client_certificate_refused. charlie (charlie.mesh.test:8732) refused the client" in said
    assert "Run establish for both" in said and "bravo ->" not in said
    # Without the gate the endpoint itself would have refused it.
    done = connect(damaged).run(
        "ESYNC_ADDRESS=charlie.mesh.test rsync -a -e esync-connect charlie::content/ /srv/content/"
    )
    assert done.rc != 0 and content(damaged) is None


def test_it_stops_everybody_where_the_source_shows_another_certificate(edition: str) -> None:
    host = connect("charlie")
    host.check_output(
        f"{KEEP} && cd {FILES}/current && openssl req -x509 -newkey rsa:2048 -nodes -subj /CN=charlie -days 9"
        " -keyout server.key -out server.crt 2>/dev/null && systemctl restart haproxy"
    )
    try:
        result = fail(SYNC, *FROM_CHARLIE)
        bare = connect("alpha").run(
            "ESYNC_ADDRESS=charlie.mesh.test rsync -a -e esync-connect charlie::content/ /srv/content/"
        )
    finally:
        host.check_output(f"{PUT_BACK} && systemctl restart haproxy")
    assert {name: content(name) for name in OTHERS} == dict.fromkeys(OTHERS)
    said = " ".join(result.output.split())
    for name in OTHERS:
        assert f"{name} -> charlie: server_certificate_unknown." in said
    # The example's client is pinned by itself, and says nothing before it has compared.
    assert bare.rc != 0


@pytest.mark.parametrize("options", [("--limit", "alpha"), ("-e", "sync_serial=1"), ("--check",)])
def test_it_works_for_some_at_a_time_and_in_check_mode(options: tuple[str, ...], edition: str) -> None:
    result = succeed(SYNC, *FROM_CHARLIE, *options)
    expected: dict[str, Any] = dict.fromkeys(OTHERS, None if options == ("--check",) else edition)
    if options[0] == "--limit":
        expected["bravo"] = None
    assert {name: content(name) for name in OTHERS} == expected
    assert "Connect to the peers that are about to be called" in result.output


def test_it_costs_one_remote_call() -> None:
    gate, found, _sync = succeed(SYNC, *FROM_CHARLIE, "-vvv").output.partition("TASK [Copy what differs]")
    assert found
    assert {name: calls(gate, name) for name in OTHERS} == dict.fromkeys(OTHERS, 1)
    # charlie has nobody to call.
    assert calls(gate, "charlie") == 1


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"esync_endpoint": "temporary"}, "there is nothing to pass through, because esync_endpoint is temporary"),
        ({"esync_gate_peers": ["charly"]}, "esync_gate_peers names charly, which is no other server of the mesh"),
        ({"esync_group": "ungrouped_hosts"}, "ungrouped_hosts"),
    ],
)
def test_it_refuses_what_it_cannot_test(values: dict[str, Any], words: str) -> None:
    result = fail(SYNC, *FROM_CHARLIE, "-e", json.dumps(values))
    assert words in " ".join(result.output.split())
    assert {name: content(name) for name in OTHERS} == dict.fromkeys(OTHERS)


def test_a_server_that_cannot_be_reached_does_not_pass(edition: str) -> None:
    result = fail(SYNC, *FROM_CHARLIE, "-e", '{"ansible_port": "{{ 9 if inventory_hostname == \'bravo\' else 22 }}"}')
    assert "bravo: the control node cannot reach it" in " ".join(result.output.split())
    assert {name: content(name) for name in OTHERS} == {"alpha": edition, "bravo": None}
