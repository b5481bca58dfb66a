# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Do what the tutorial says, and compare what comes out with what it shows: make tutorial.

A block after a line such as "`inventory.yml`:" is a file. In a block of the kind `console` a line that begins with
`$ ` is a command, and the lines below it are its output. With --write the outputs are written into the page instead.
"""

from __future__ import annotations

import argparse
import difflib
import os
import queue
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PAGES = [ROOT / "docs" / f"{name}.md" for name in ("tutorial", "rename", "backup")]
"""Each continues where the one before ends."""
FOLDER = "/home/you/mesh"
SECONDS = 120

_BLOCK = re.compile(r"(?m)^(?:`(?P<name>[\w.-]+)`:\n\n)?```(?P<kind>\w+)\n(?P<text>(?s:.*?))^```$")
_INCLUDED = re.compile(r"(included: .* for )(.+)")
_HOST = re.compile(r"(ok|changed|skipping|fatal): \[|\w+ +: ok=")
_MASKS = (
    (re.compile(r"\b[0-9a-f]{32,}\b"), "FINGERPRINT"),
    (re.compile(r"\b\d{8}T\d{6}Z-[0-9a-f]{8}\b"), "GENERATION"),
    (re.compile(r"\b\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d)?Z?"), "TIME"),
)


class Shell:
    """One shell for the whole tutorial, in a folder and, if asked for, in a network of its own, which needs root."""

    def __init__(self, folder: Path, own_network: bool) -> None:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_")}
        path = f"{Path(sys.executable).parent}:{environment['PATH']}"
        environment.update(PATH=path, HOME=str(folder), ANSIBLE_NOCOLOR="1", NO_COLOR="1", ESYNC_CHECKOUT=str(ROOT))
        alone = ["unshare", "--net", "sh", "-c", 'ip link set lo up; exec "$@"', "sh"] if own_network else []
        self._process = subprocess.Popen(
            [*alone, "bash"],
            cwd=folder,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self._lines: queue.Queue[str] = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._lines.put(line)

    def run(self, command: str) -> str:
        """The output of a command.

        :raises queue.Empty: it did not end in time.
        """
        assert self._process.stdin is not None
        self._process.stdin.write(f"{{ {command}\n}} </dev/null\necho '# end of the command'\n")
        self._process.stdin.flush()
        lines: list[str] = []
        while not (lines and lines[-1] == "# end of the command\n"):
            lines.append(self._lines.get(timeout=SECONDS))
        return "".join(lines[:-1])

    def close(self) -> None:
        """End the shell and all that it started."""
        try:
            os.killpg(self._process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self._process.wait()


def follow(shell: Shell, text: str, folder: Path) -> tuple[int, str]:
    """Do what a page says.

    :returns: how many commands it has, and the page with the outputs that came.
    """
    number = 0

    def block(found: re.Match[str]) -> str:
        nonlocal number
        if found["name"]:
            (folder / found["name"]).write_text(found["text"], encoding="utf-8")
        if found["kind"] != "console":
            return found[0]
        commands = re.findall(r"(?m)^\$ (.+)$", found["text"])
        number += len(commands)
        shown = [f"$ {command}\n" + _shown(shell.run(command), folder) for command in commands]
        return "```console\n" + "\n".join(shown) + "```"

    page = _BLOCK.sub(block, text)
    return number, page


def _shown(output: str, folder: Path) -> str:
    """An output as the page shows it: hosts in the order of their names, and the folder of the reader."""
    lines = [_in_order(line.rstrip()) for line in output.replace(str(folder), FOLDER).strip("\n").splitlines()]
    ordered: list[str] = []
    group: list[str] = []
    for line in lines:
        if _HOST.match(line):
            group.append(line)
            continue
        ordered += [*sorted(group), line]
        group = []
    ordered += sorted(group)
    return "".join(f"{line}\n" for line in ordered)


def _in_order(line: str) -> str:
    included = _INCLUDED.fullmatch(line)
    return included[1] + ", ".join(sorted(included[2].split(", "))) if included else line


def masked(text: str) -> str:
    """A page without what differs from run to run."""
    for pattern, name in _MASKS:
        text = pattern.sub(name, text)
    return text


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help="write the outputs into the pages")
    write = parser.parse_args().write
    folder = Path(tempfile.mkdtemp(prefix="esync-tutorial-"))
    shell = Shell(folder, own_network=os.geteuid() == 0)
    try:
        numbers = [_page(shell, page, folder, write) for page in PAGES]
    finally:
        shell.close()
        shutil.rmtree(folder)
    if not all(numbers):
        print("Where that is right: .venv/bin/python docs/run_tutorial.py --write")
        return 1
    print(f"tutorial: {sum(numbers)} commands, their outputs as shown")
    return 0


def _page(shell: Shell, page: Path, folder: Path, write: bool) -> int:
    """How many commands a page has; 0 if it has none, or shows other outputs than came."""
    text = page.read_text(encoding="utf-8")
    number, came = follow(shell, text, folder)
    if masked(came) != masked(text):
        if not write:
            shown, now = masked(text).splitlines(), masked(came).splitlines()
            print(
                "\n".join(
                    difflib.unified_diff(shown, now, f"{page.name} shows", "the commands print", n=1, lineterm="")
                )
            )
            return 0
        page.write_text(came, encoding="utf-8")
    return number


if __name__ == "__main__":
    sys.exit(main())
