# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What root on a member can put in the place of Python: it runs the real module, and edits what that returns.

An edit is a path and the new value there. The path begins with the name of a step, or with ``reply`` for the result as
a whole; ``*`` stands for every item of a list.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

Edit = tuple[str, Any]
RAW = "__raw__"
"""A mapping with this key alone is replaced by its text in the JSON itself."""


def edit(reply: Any, edits: Sequence[Edit]) -> Any:
    """Apply edits, where their places are there; the new value may be a function of an old one."""
    for path, value in edits:
        first, *rest = path.split(".")
        results = reply.get("results")
        steps = results if isinstance(results, list) else []
        tops = [reply] if first == "reply" else [one for one in steps if one.get("step") == first]
        for top in tops:
            for container, key in _ends(top, rest):
                if not callable(value):
                    container[key] = value
                elif isinstance(container, list) or key in container:
                    container[key] = value(container[key])
    return reply


def _ends(container: Any, keys: Sequence[str]) -> Iterator[tuple[Any, Any]]:
    """The places that a path leads to: container and key."""
    key, *rest = keys
    known: list[Any] = [key]
    if isinstance(container, list):
        known = [one for one in range(len(container)) if key in ("*", str(one))]
    elif not isinstance(container, dict):
        return
    for one in known:
        if not rest:
            yield container, one
        elif isinstance(container, list) or one in container:
            yield from _ends(container[one], rest)


def main() -> int:
    lies = json.loads(Path(sys.argv[1]).read_text())
    done = subprocess.run([sys.executable, *sys.argv[2:]], stdout=subprocess.PIPE, check=False)
    try:
        reply = json.loads(done.stdout)
    except ValueError:
        sys.stdout.buffer.write(done.stdout)
        return done.returncode
    if "seed" in lies:
        from hostile import Mutator, seeded

        said = json.dumps(
            Mutator(seeded(lies["seed"], reply), lies["evil"])(lies["evil"], reply.get("results", []), reply)
        )
    else:
        said = json.dumps(edit(reply, lies["edits"]))
        for raw in lies.get("raw", []):
            said = said.replace(json.dumps({RAW: raw}), raw)
    sys.stdout.write(said)
    return 0


if __name__ == "__main__":
    sys.exit(main())
