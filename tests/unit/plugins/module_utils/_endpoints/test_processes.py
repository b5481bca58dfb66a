# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import os
import socket
import subprocess

from ansible_collections.esync.mesh.plugins.module_utils._core import processes


def test_the_holder_of_a_port_is_named():
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert [holder.pid for holder in processes.holders(port)] == [os.getpid()]
        error = processes.port_taken(port, "a")
        with socket.create_connection(("127.0.0.1", port)) as connection:
            assert processes.holders(connection.getsockname()[1]) == [], "it is used, but nobody listens on it"
    assert error.kind == "port_taken"
    assert f"port {port} is taken by " in str(error)
    assert f"(process {os.getpid()})" in str(error)
    assert processes.holders(port) == []


def test_who_hides_what_it_has_open():
    assert not processes.hides_files(os.getpid())
    with subprocess.Popen(["sleep", "60"]) as gone:
        gone.kill()
    assert not processes.hides_files(gone.pid), "it hides nothing, it is not there"
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert processes.is_listened_on(port)
        assert {pid for pid, _socket in processes.listeners(port)} == {os.getpid()}
    assert not processes.is_listened_on(port)


def test_children_and_their_titles():
    with subprocess.Popen(["sleep", "60"]) as child:
        try:
            assert child.pid in processes.children_of(os.getpid())
            assert processes.wait_until(lambda: processes.title_of(child.pid) == "sleep 60", 5)
        finally:
            child.kill()
    assert child.pid not in processes.children_of(os.getpid())
    assert processes.title_of(child.pid) == ""


def test_waiting_ends_with_the_answer_or_the_time():
    answers = iter([False, False, True])
    assert processes.wait_until(lambda: next(answers), 5)
    assert not processes.wait_until(lambda: False, 0.1)


def test_a_command_says_how_it_ended():
    assert processes.run_command(["sh", "-c", "echo out; echo err >&2; exit 3"], 10) == (3, "out\n", "err\n")
    assert processes.run_command(["/no/such/command"], 10)[0] == 127
    assert processes.run_command(["sleep", "60"], 0.1)[0] == -1


def test_a_command_may_leave_a_service_behind_that_keeps_its_output_open(tmp_path):
    # Were it waited for, the command would not end within its time.
    assert processes.run_command(["sh", "-c", f"sleep 60 & echo $! > {tmp_path}/pid"], 10)[0] == 0
    os.kill(int((tmp_path / "pid").read_text()), 9)


def test_last_words_are_short_and_hold_no_key():
    assert processes.last_words("one\n two \n\n") == "two"
    assert processes.last_words("-----BEGIN PRIVATE KEY-----\nx\n") == ""
    assert len(processes.last_words("x" * 9999)) < 1000
