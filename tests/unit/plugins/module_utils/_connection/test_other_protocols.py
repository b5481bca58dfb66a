# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a service speaks that does not begin with TLS; how an endpoint is told is in the tests of the drivers."""

from __future__ import annotations

import socket
from typing import Any

import pytest

from ansible_collections.esync.mesh.plugins.module_utils._connection import other_protocols


def test_a_greeting_is_shown_without_what_a_terminal_would_obey(serve: Any) -> None:
    port = serve(lambda connection: connection.sendall(b"220 \x1b[31mred\r\nmore"))
    said = other_protocols.spoken_at(socket.AF_INET, ("127.0.0.1", port))
    assert said and "'220 ?[31mred'" in said


def test_a_server_of_tls_and_a_closed_port_are_nothing_else(
    mesh: Any, listen: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(other_protocols, "_PATIENCE", 0.3)
    for port in (listen("bravo")["port"], 1):
        assert other_protocols.spoken_at(socket.AF_INET, ("127.0.0.1", port)) is None
