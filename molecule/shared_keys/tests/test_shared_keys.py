# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Servers that hand their client sets to each other: rotated, changed to pins and back under load, and reduced."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from hosts import address, connect, members, pairs, power
from load import Load
from runs import fail, ledger, report, succeed

sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "tests" / "integration"))
from secret_scanner import Secret, everything_below, leaks, secrets_of  # noqa: E402  only found by the line above

DIRECTORY = "/etc/esync"
SHARED = f"{DIRECTORY}/handed-over"
PASSPHRASE = b"the passphrase of this mesh Rk7wTz3qLm9"


class HandedLoad(Load):
    """Every server calls every other, several times a second."""

    def __init__(self) -> None:
        others = {
            name: " ".join(f"{other}={address(other)}" for other in members() if other != name) for name in members()
        }
        super().__init__(
            {name: f"python3 /usr/local/bin/load.py {callees}" for name, callees in others.items()},
            lambda lines: len(lines) > 3,
        )

    def result(self) -> tuple[Counter[str], list[str]]:
        """Requests by whose client set was shown, and the lines of those that failed."""
        lines = self.lines()
        return Counter(line.split()[2] for line in lines), [line for line in lines if line.split()[3] != "200"]


def call(source: str, target: str, stem: str) -> str:
    """The body that a caller gets with a client set of its choice; empty if it is refused."""
    done = connect(source).run(
        f"curl --silent --fail --max-time 20 --insecure --include --cert {stem}.crt --key {stem}.key"
        f" https://{address(target)}:8732/esync/health"
    )
    return str(done.stdout) if done.rc == 0 else ""


def keys(folder: Path) -> list[Secret]:
    """Every private key and .pfx file on every host, now."""
    for name in members():
        target = folder / name
        target.mkdir(parents=True, exist_ok=True)
        archive = (
            connect(name)
            .run_expect([0], f"tar -C {DIRECTORY} -cf - generations handed 2>/dev/null | base64 -w0")
            .stdout
        )
        subprocess.run(["sh", "-c", f"base64 -d | tar -C {target} -xf -"], input=archive, text=True, check=True)
    found = secrets_of([folder])
    pfx = [path for path in folder.rglob("*.pfx") if not path.is_symlink()]
    assert pfx
    return found + [Secret(path.name, path.read_bytes()) for path in pfx]


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, list]]:
    """Collects what the runs write, and the secrets that were on the hosts; everything is searched at the end."""
    log = tmp_path_factory.mktemp("log") / "ansible.log"
    found: dict[str, list] = {"outputs": [], "secrets": [Secret("the passphrase", PASSPHRASE)], "log": [log]}
    os.environ["ANSIBLE_LOG_PATH"] = str(log)
    yield found
    del os.environ["ANSIBLE_LOG_PATH"]


@pytest.fixture
def run(watched: dict[str, list], tmp_path: Path) -> Iterator:
    """Runs a playbook as loudly as it goes, and remembers its output and the keys that there are after it."""

    def play(playbook: str, *arguments: str) -> str:
        output = succeed(playbook, "-vvvv", "--diff", *arguments).output
        watched["outputs"].append((playbook, output.encode()))
        return output

    watched["secrets"] += keys(tmp_path / "before")
    yield play
    watched["secrets"] += keys(tmp_path / "after")


def test_a_server_lets_in_whoever_shows_the_set_that_it_shared_keys_and_nobody_else() -> None:
    for source, target in pairs():
        answer = call(source, target, f"{SHARED}/{target}_SyncClient")
        assert "X-Esync-Peer: -" in answer and '"peer": "-"' in answer, "it cannot know who calls"
        assert not call(source, target, f"{DIRECTORY}/current/client")
        (other,) = set(members()) - {source, target}
        assert not call(source, target, f"{SHARED}/{other}_SyncClient")
        host = connect(source)
        assert host.file(f"{SHARED}/{target}_SyncClient.key").mode == 0o600
        assert host.check_output(f"stat -Lc %a {SHARED}") == "700"
    assert report()["trust_model"] == "shared_keys"
    assert report()["summary"]["ok"] == 6


def test_rotated_and_changed_to_pins_and_back_under_load(run) -> None:
    for name in members():
        connect(name).check_output(f"rm -rf /root/old && mkdir /root/old && cp -rL {SHARED} /root/old/one")
    with HandedLoad() as load:
        run("regenerate")
        for source, target in pairs():
            assert not call(source, target, f"/root/old/one/{target}_SyncClient"), "retired, and held no more"
            assert call(source, target, f"{SHARED}/{target}_SyncClient")
            connect(source).check_output(f"rm -rf /root/old/two && cp -rL {SHARED} /root/old/two")
        for name in members():
            assert len(connect(name).check_output(f"ls -d {DIRECTORY}/handed/*").split()) == 1, "nothing old is left"
        run("regenerate", "-e", "esync_trust_model=pinned")
        for source, target in pairs():
            assert not call(source, target, f"/root/old/two/{target}_SyncClient")
            assert f'"peer": "{source}"' in call(source, target, f"{DIRECTORY}/current/client")
            assert connect(source).run(f"ls -d {DIRECTORY}/handed*").rc != 0, "the keys are destroyed"
        assert report()["trust_model"] == "pinned"
        pinned, failed = load.result()
        assert pinned["own"]
        run("regenerate")
        for source, target in pairs():
            assert call(source, target, f"{SHARED}/{target}_SyncClient")
            assert not call(source, target, f"{DIRECTORY}/current/client")
    requests, failed = load.result()
    print(f"\n{sum(requests.values())} requests ({dict(requests)}) during three rotations, {len(failed)} failures")
    assert min(requests["handed"], requests["own"]) >= 5 * len(pairs())
    assert failed == []


def test_a_breach_is_answered_while_a_server_is_down() -> None:
    both = (("alpha", "bravo"), ("bravo", "alpha"))
    for source, _target in both:
        connect(source).check_output(f"rm -rf /root/old && cp -rL {SHARED} /root/old")
    power("charlie", on=False)
    result = fail("regenerate", "-e", "esync_compromised=bravo")
    assert "a key compromise on one compromises all" in result.output
    assert "charlie" in result.output.partition("PLAY RECAP")[0]
    for source, target in both:
        assert not call(source, target, f"/root/old/{target}_SyncClient")
        assert call(source, target, f"{SHARED}/{target}_SyncClient"), "the others have new sets and work"
    power("charlie", on=True)
    # What it has of its own lost all trust with the others', so it needs new ones.
    succeed("establish", "-e", "esync_discard_existing=charlie")
    assert report()["summary"]["ok"] == len(pairs())
    assert set(succeed("establish").changed.values()) == {0}


def test_a_removed_server_keeps_nothing_that_is_accepted(run) -> None:
    host = connect("charlie")
    host.check_output(f"rm -rf /root/kept && cp -rL {SHARED} /root/kept")
    stay = ("alpha", "bravo")
    for target in stay:
        assert call("charlie", target, f"/root/kept/{target}_SyncClient")
    before = {name: {one["client"]["fingerprint"] for one in ledger(name)["generations"]} for name in stay}
    run("remove", "-e", "esync_remove=charlie")
    for target in stay:
        assert not call("charlie", target, f"/root/kept/{target}_SyncClient")
        assert not before[target] & {one["client"]["fingerprint"] for one in ledger(target)["generations"]}
    assert host.run(f"find {DIRECTORY} -name '*.key' -o -name '*.pfx' | grep .").rc != 0
    assert call("alpha", "bravo", f"{SHARED}/bravo_SyncClient")
    assert report()["summary"] == {"servers": 2, "expected": 2, "ok": 2, "failed": 0, "untested": 0}


def test_no_key_is_in_any_output_nor_on_the_control_node(watched: dict[str, list]) -> None:
    assert len(watched["outputs"]) == 4 and all(b"PLAY RECAP" in output for _name, output in watched["outputs"])
    (log,) = watched["log"]
    assert b"PLAY RECAP" in log.read_bytes()
    ephemeral = Path(os.environ["MOLECULE_EPHEMERAL_DIRECTORY"])
    # The inventory holds the passphrase that the user gives, and the lab's own ssh key is no key of the mesh.
    places = [("the log", log.read_bytes()), *watched["outputs"]]
    for folder in ("ledger", "report"):
        places += everything_below(ephemeral / folder)
    assert leaks(watched["secrets"], places) == []
    for name in members():
        assert connect(name).run("ls -A /root/.ansible/tmp | grep .").rc != 0, "nothing is left in temporary folders"
        journal = connect(name).check_output("journalctl --no-pager --output=cat").encode()
        assert leaks(watched["secrets"], [(f"the journal of {name}", journal)]) == []
