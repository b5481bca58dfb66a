# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Steps called as a visit calls them: options validated, no module around them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ansible_collections.esync.mesh.plugins.module_utils._steps import visit
from ansible_collections.esync.mesh.plugins.module_utils._steps.context import Context

SET = {"key_type": "ecdsa", "formats": ["cer", "pfx"], "address": "127.0.0.1"}


class Host:
    """The directory of one server, and the visits to it."""

    def __init__(self, name: str, directory: Path) -> None:
        self.name = name
        self.directory = directory
        self.warnings: list[str] = []

    def visit(
        self, *steps: dict[str, Any], check: bool = False, diff: bool = False, secrets: Any = None, **limits: Any
    ) -> dict[str, Any]:
        """What a visit returns. :param limits: how long it may go on."""
        given = [{"options": {}, "when": None, "check": False, **step} for step in steps]
        for step in given:
            if step["when"] is not None:
                step["when"] = {"unchanged": False, "trust": None, **step["when"]}
        options = {"name": self.name, "directory": str(self.directory), "steps": given, "secrets": secrets or {}}
        options.update(limits)
        return visit.run(options, Context(check, diff, self.warnings.append))

    def do(self, step: str, check: bool = False, diff: bool = False, secrets: Any = None, **options: Any) -> Any:
        """What one step returns."""
        [result] = self.visit({"step": step, "options": options}, check=check, diff=diff, secrets=secrets)["results"]
        return result

    def make(self, **options: Any) -> Any:
        """Make or keep the sets."""
        return self.do("certificate_set", **{**SET, **options})

    def trust(self, *peers: Any, **options: Any) -> Any:
        """Trust exactly these peers: results of ``make``."""
        facts = [(peer["name"], peer["generations"][0][role]) for peer in peers for role in ("server", "client")]
        return self.do(
            "peer_trust",
            entries=[{"peer": name, "role": one["role"], "fingerprint": one["fingerprint"]} for name, one in facts],
            certificates=[one["pem"] for _name, one in facts],
            **options,
        )


@pytest.fixture
def host(tmp_path: Path) -> Any:
    """Gives servers: ``host("alpha")``."""
    return lambda name: Host(name, tmp_path / name)
