# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Write the documents that are made from the code: make docs."""

from __future__ import annotations

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "playbooks" / "collections"))

from ansible_collections.esync.mesh.plugins.module_utils._connection.cause_table import (
    BY_HAND,
    CAUSES,
    FOLLOWS_FROM_SERVER,
    RESTART_PEER,
    Cause,
)

REPAIRS = {
    RESTART_PEER: "stops and starts the endpoint of the peer.",
    FOLLOWS_FROM_SERVER: "repairs the [problem of the server](check.md#problems-of-servers) that it follows from; "
    "if there is none, it is left to you.",
    BY_HAND: "leaves it to you.",
}
"""What [repair](repair.md) does, in words."""

DIAGNOSIS = """\
# Why a pair fails

<!-- Made by `make docs` from plugins/module_utils/_connection/cause_table.py: change the table there. -->

Every failed pair in the terminal and in `mesh.json` names one of these causes, with the evidence (`detail`) and what to
do (`remedy`). The *caller* is the server that connects, the *peer* the one that is connected to. [verify.md](verify.md)
describes how a pair is tested, [repair.md](repair.md) what the repair playbook does.

If the peer took part in the run too, what it reported is added to the evidence: whether the trust on its disk has the
refused certificate, what its endpoint serves, and which certificates are on its disk. This distinguishes a service that
was not reloaded from a server that has not received the certificate.

"""


def markdown() -> str:
    """The table of causes, key by key."""
    return "\n".join(line for key, row in CAUSES.items() for line in _section(key, row))


def _section(key: str, row: Cause) -> list[str]:
    lines = [f"## `{key}`", "", f"**{row.title}.** {row.cause}", "", f"What to do: {row.remedy}", ""]
    if row.command:
        lines += [f"Command: `{row.command.format(caller='CALLER', peer='PEER')}`", ""]
    for where, behind in (
        ("Behind a load balancer", row.balancer),
        ("Behind a load balancer that leads to a member", row.member),
    ):
        said = " ".join(filter(None, [behind.hint, behind.remedy]))
        lines += [f"{where}: {said}", ""] if said else []
    return [*lines, f"The repair playbook {REPAIRS[row.repair]}", ""]


def documents() -> dict[str, str]:
    """The text of each document by its file name."""
    return {"diagnosis.md": DIAGNOSIS + markdown().rstrip("\n") + "\n"}


def main() -> None:
    for name, text in documents().items():
        (HERE / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
