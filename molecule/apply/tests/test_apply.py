# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Two meshes whose control nodes never see each other, joined by folders that are carried by hand.

The tests run in their order: each goes on from where the one before it stopped.
"""

from __future__ import annotations

import base64
import json
import os
import shlex
import shutil
from pathlib import Path
from typing import Any

import pytest
import runs
from hosts import address, connect, platforms

DIRECTORY = "/etc/esync"
OUT, IN = "/root/esync-out", "/root/esync-in"
PORT = 18443
STATE = Path(os.environ["MOLECULE_EPHEMERAL_DIRECTORY"])

# What listens there, as each mesh has it.
MESHES = {"north": "temporary", "south": "nginx"}


def members(mesh: str) -> list[str]:
    found = [str(platform["name"]) for platform in platforms() if mesh in platform["groups"]]
    assert len(found) == 2
    return found


def mesh_of(name: str) -> str:
    return next(mesh for mesh in MESHES if name in members(mesh))


ACROSS = [
    (source, target)
    for here, there in (("north", "south"), ("south", "north"))
    for source in members(here)
    for target in members(there)
]


def other(mesh: str) -> str:
    return next(one for one in MESHES if one != mesh)


@pytest.fixture(autouse=True, scope="module")
def inventories() -> None:
    """An inventory for each mesh, which knows nothing of the other."""
    for mesh, endpoint in MESHES.items():
        folder = STATE / mesh
        # A run that was killed leaves its ledger, which knows the certificates of hosts that are gone.
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        variables = {
            "ansible_user": "root",
            "ansible_ssh_private_key_file": str(STATE / "id_ed25519"),
            "ansible_ssh_common_args": "-o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR",
            "ansible_python_interpreter": "/usr/bin/python3",
            "esync_ledger": str(folder / "ledger"),
            "esync_report_directory": str(folder / "report"),
            "esync_key_size": 2048,
            "esync_endpoint": endpoint,
            "esync_reload_jitter": 0.2,
        }
        hosts = {name: {"ansible_host": address(name)} for name in members(mesh)}
        (folder / "hosts.json").write_text(json.dumps({"esync": {"hosts": hosts, "vars": variables}}))


def play(mesh: str, playbook: str, *arguments: str) -> Any:
    """Run a playbook from the control node of one mesh."""
    os.environ["LAB_INVENTORY"] = str(STATE / mesh / "hosts.json")
    return runs.succeed(playbook, *arguments)


def export(mesh: str) -> Any:
    return play(mesh, "export", "-e", f"esync_folder={OUT}")


def carry(mesh: str) -> None:
    """Carry the exported folders of one mesh to every server of the other, as a courier would."""
    files = {}
    for name in members(mesh):
        for entry in connect(name).check_output(f"ls -A {OUT}").split():
            files[entry] = connect(name).check_output(f"base64 -w0 {OUT}/{entry}")
    assert len(files) >= 6
    assert not any(b"PRIVATE" in base64.b64decode(text) for text in files.values())
    for name in members(other(mesh)):
        script = f"rm -rf {IN} && mkdir -m 0755 {IN} && cd {IN}\n"
        script += "".join(f"echo {text} | base64 -d > {shlex.quote(entry)}\n" for entry, text in files.items())
        connect(name).check_output(script)


def apply(mesh: str) -> Any:
    return play(mesh, "apply", "-e", f"esync_folder={IN}")


def ask(source: str, target: str, shown: str = "client", trusted: str | None = None) -> str:
    """What openssl on one host gets from openssl on the other: the answer to 'hello', or nothing."""
    pinned = trusted or f"{DIRECTORY}/trusted/{target}_SyncServer.cer"
    connect(source).check_output(f"openssl x509 -inform DER -in {pinned} -out /run/pinned.pem")
    certificate = f"-cert {DIRECTORY}/current/{shown}.crt -key {DIRECTORY}/current/{shown}.key" if shown else ""
    command = (
        # s_client ends at the end of its input, so the input stays open until the answer is there.
        f"{{ printf 'hello\\n'; sleep 1; }} | timeout 20 openssl s_client -connect {address(target)}:{PORT}"
        f" {certificate} -CAfile /run/pinned.pem -verify_return_error -quiet -no_ign_eof 2>/dev/null"
    )
    return str(connect(source).run(command).stdout)


def serve(name: str) -> None:
    """Let openssl listen with the mesh's files until the host ends: it reverses each line that it gets."""
    trusted = f"-CAfile {DIRECTORY}/trusted/clients.pem"
    own = f"-cert {DIRECTORY}/current/server.crt -key {DIRECTORY}/current/server.key"
    command = f"openssl s_server -accept {PORT} -Verify 0 -verify_return_error {trusted} {own} -rev"
    connect(name).check_output("systemctl stop s-server || true")
    # Without a shell, for systemd cannot tell in a container that a process's children have ended, and waits.
    connect(name).check_output(f"systemd-run --quiet --collect --unit s-server {command}")
    connect(name).check_output(f"timeout 20 sh -c 'until ss -Hltn sport = :{PORT} | grep -q .; do sleep 0.1; done'")


def calls(target: str) -> str:
    """A request with curl to a mesh's nginx; its certificate and key are of one generation."""
    return (
        "own=$(readlink -f /etc/esync/current); curl --silent --max-time 20 --output /dev/null"
        f" --write-out '%{{http_code}} %{{exitcode}} %{{errormsg}}\\n' --cert $own/client.crt --key $own/client.key"
        f" --cacert {DIRECTORY}/trusted/servers.pem https://{address(target)}:8732/esync/health"
    )


def serials(name: str, peer: str) -> set[str]:
    """The fingerprints of the server certificates that a host accepts of a peer."""
    text = connect(name).check_output(f"sha256sum {DIRECTORY}/trusted/{peer}_SyncServer*.cer")
    return {line.split()[0] for line in str(text).splitlines()}


def shown(name: str) -> str:
    return str(connect(name).check_output(f"sha256sum < {DIRECTORY}/current/{name}_SyncServer.cer")).split()[0]


def test_the_meshes_are_strangers() -> None:
    for mesh in MESHES:
        play(mesh, "establish")
    target = members("south")[0]
    assert connect(members("north")[0]).run(calls(target)).stdout.split()[0] == "000"


def test_each_exports_public_parts_and_applies_the_others() -> None:
    for mesh in MESHES:
        assert set(export(mesh).changed.values()) == {0, 1}
        carry(mesh)
    apply("south")
    # Now both sides know each other, and the endpoint there is a resident one.
    result = apply("north")
    assert "Every external peer answered as it should." in result.output
    for playbook in ("establish", "verify"):
        assert set(play("north", playbook).changed.values()) == {0}
    assert set(apply("south").changed.values()) == {0}
    assert set(export("south").changed.values()) == {0}


def test_ledgers_hold_public_data_of_both() -> None:
    for mesh in MESHES:
        records = {path.stem: json.loads(path.read_text()) for path in (STATE / mesh / "ledger").glob("*.json")}
        assert set(records) == {*members(mesh), *members(other(mesh))}
        external_peers = {name for name, record in records.items() if record.get("origin") == "applied"}
        assert external_peers == set(members(other(mesh)))
        assert "PRIVATE" not in json.dumps(records)


@pytest.mark.parametrize("target", [target for mesh in MESHES for target in members(mesh)])
def test_openssl_agrees_for_every_pair_across_in_both_directions(target: str) -> None:
    serve(target)
    sources = [source for source, other in ACROSS if other == target]
    assert len(sources) == 2
    for source in sources:
        assert "olleh" in ask(source, target), f"{source} -> {target}"
    source = sources[0]
    assert "olleh" not in ask(source, target, "server"), "a server certificate shown by a client"
    assert "olleh" not in ask(source, target, ""), "no certificate"
    pinned = f"{DIRECTORY}/trusted/{next(name for name in members(mesh_of(source)) if name != source)}_SyncServer.cer"
    assert "olleh" not in ask(source, target, trusted=pinned), "another server's certificate"


def test_a_rotation_that_is_exported_before_it_switches_loses_no_request() -> None:
    target = members("south")[0]
    old = shown(target)
    for name in members("north"):
        loop = f"while [ ! -e /run/stop ]; do {calls(target)}; sleep 0.3; done > /run/calls.log 2>&1"
        connect(name).check_output(f"systemd-run --quiet --collect --unit calls sh -c {shlex.quote(loop)}")
    play("south", "regenerate", "-e", "esync_announce_only=true")
    assert shown(target) == old
    export("south")
    carry("south")
    apply("north")
    both = serials("alpha", target)
    assert old in both
    assert len(both) == 2
    play("south", "regenerate")
    new = shown(target)
    assert both == {old, new}
    export("south")
    carry("south")
    apply("north")
    assert serials("alpha", target) == {new}
    for name in members("north"):
        connect(name).check_output("touch /run/stop")
        connect(name).check_output("timeout 30 sh -c 'while systemctl -q is-active calls; do sleep 0.2; done'")
        lines = str(connect(name).check_output("cat /run/calls.log")).splitlines()
        assert len(lines) > 10
        assert {line.split()[0] for line in lines} == {"200"}, sorted(set(lines))


def test_a_bad_folder_on_one_host_changes_nothing_anywhere() -> None:
    connect("bravo").check_output(f"mknod {IN}/xray_SyncClient.pvk b 7 0")
    connect("alpha").check_output(f"rm {IN}/yankee_Sync*")
    before = {path: path.read_bytes() for path in (STATE / "north" / "ledger").iterdir()}
    trusted = [connect(name).check_output(f"readlink {DIRECTORY}/trusted") for name in members("north")]
    os.environ["LAB_INVENTORY"] = str(STATE / "north" / "hosts.json")
    result = runs.fail("apply", "-e", f"esync_folder={IN}")
    assert f"bravo: {IN}/xray_SyncClient.pvk: it is a device" in " ".join(result.output.split())
    assert {path: path.read_bytes() for path in (STATE / "north" / "ledger").iterdir()} == before
    assert [connect(name).check_output(f"readlink {DIRECTORY}/trusted") for name in members("north")] == trusted


def test_a_removed_guest_is_let_in_no_more() -> None:
    source, target = "alpha", members("south")[0]
    assert connect(source).run(calls(target)).stdout.split()[0] == "200"
    play("south", "remove", "-e", f"esync_remove={source}")
    assert connect(source).run(calls(target)).stdout.split()[0] != "200"
    assert connect("bravo").run(calls(target)).stdout.split()[0] == "200"
