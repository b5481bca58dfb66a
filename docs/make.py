# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Write the documents that are made from the code: make docs."""

from __future__ import annotations

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "playbooks" / "collections"))

from ansible_collections.esync.mesh.plugins.module_utils._connection.causes import markdown

DIAGNOSIS = """\
# Why a pair fails

<!-- Made by `make docs` from plugins/module_utils/_connection/causes.py: change the table there. -->

Every failed pair in the terminal and in `mesh.json` names one of these causes, with the evidence (`detail`) and what to
do (`remedy`). *Caller* is the server that connects, *peer* the one that is connected to. How a pair is tested says
[verify.md](verify.md).

Where the peer took part in the run too, its view is added to the evidence: whether the trust on its disk holds the
refused certificate, what it serves by its own word, and which certificates lie on its disk. That is how a service that
was not reloaded is told from a server that nobody has told.

"""


def documents() -> dict[str, str]:
    """The text of each document by its file name."""
    return {"diagnosis.md": DIAGNOSIS + markdown().rstrip("\n") + "\n"}


def main() -> None:
    for name, text in documents().items():
        (HERE / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
