# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A mesh of three members on this machine, each with every product as an attached service."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(1, str(Path(__file__).resolve().parents[1] / "integration"))
from local_mesh import Mesh, free_ports  # noqa: E402 - found by the path above
from products import PRODUCTS, Postgresql, Product  # noqa: E402 - beside this file

NAMES = ("alpha", "bravo", "charlie")


class Attached:
    """The mesh, and what runs on its members: ``services["alpha"]["redis"]``."""

    def __init__(self, root: Path) -> None:
        # Each service reads its own copies, and may pass through the folders to them.
        root.chmod(0o755)
        self.mesh = Mesh(root, list(NAMES), {"esync_reload_jitter": 0})
        (root / "hosts").chmod(0o755)
        self.services: dict[str, dict[str, Product]] = {}
        for name in NAMES:
            ports = free_ports(len(PRODUCTS))
            files = self.mesh.host(name) / "services"
            self.services[name] = {
                one.name: one(root / "products" / name / one.name, files / one.name, port)
                for one, port in zip(PRODUCTS, ports)
            }
            self.mesh.host_settings[name] = {"esync_services": [one.setting for one in self.services[name].values()]}
        # An address of its own, so that it is known where it calls from.
        self.mesh.host_settings["charlie"] |= {"esync_address": "127.0.0.3", "esync_listen_address": "127.0.0.3"}
        self.mesh.write()

    def stop(self) -> None:
        for own in self.services.values():
            for one in own.values():
                one.stop()

    def command(self, caller: str, peer: str, product: str, state: str = "current") -> list[str]:
        """How a member calls a product of another one with its own client."""
        service = self.services[peer][product]
        host = self.mesh.host(caller)
        return service.asks(service.port, host / state, host / "trusted", caller)

    @property
    def all(self) -> list[tuple[str, str, str]]:
        """Caller, called member and product of all pairs."""
        return [(one, other, product.name) for one in NAMES for other in NAMES if one != other for product in PRODUCTS]


@pytest.fixture(scope="session")
def attached() -> Iterator[Attached]:
    """It is established once, and the tests follow each other as in the life of a mesh."""
    # Not below pytest's folder, which only its user may enter.
    with tempfile.TemporaryDirectory(prefix="esync-services-", dir="/var/tmp") as root:
        made = Attached(Path(root))
        try:
            made.mesh.succeed("establish")
            for name in NAMES:
                postgresql = made.services[name]["postgresql"]
                assert isinstance(postgresql, Postgresql)
                for other in set(NAMES) - {name}:
                    postgresql.user(other)
            yield made
        finally:
            made.stop()
