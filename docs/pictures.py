# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Take the pictures that the documents show, of reports of real runs: make pictures.

A mesh of five servers on this machine is established, tested, broken and tested again; Chromium shows its report.
"""

from __future__ import annotations

import base64
import os
import struct
import subprocess
import sys
import tempfile
import zlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
sys.path.insert(0, str(ROOT / "tests" / "browser"))

from conftest import Browser, chromium

NAMES = ["amsterdam", "berlin", "copenhagen", "dublin", "edinburgh"]
# berlin's service should listen, and nobody has started it.
NOT_STARTED = "{\"esync_endpoint\": \"{{ 'external' if inventory_hostname == 'berlin' else 'temporary' }}\"}"


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="esync-pictures-") as folder:
        mesh = Path(folder) / "mesh"
        work = Path(folder) / "browser"
        work.mkdir()
        with chromium(work) as browser:
            play(mesh, "establish")
            play(mesh, "verify")
            take(browser, mesh, "connected", "amsterdam", "berlin")
            play(mesh, "verify", "-e", NOT_STARTED, fails=True)
            take(browser, mesh, "no-endpoint", "amsterdam", "berlin")
            # New certificates that nobody has given to the others: a regeneration by hand, half-way.
            play(mesh, "establish", "--limit", "dublin", "-e", "esync_discard_existing=true")
            play(mesh, "verify", fails=True)
            take(browser, mesh, "could-not-connect")


def play(mesh: Path, playbook: str, *arguments: str, fails: bool = False) -> None:
    """Run a playbook on the local inventory.

    :param mesh: where the servers' files and the report go, so that a mesh that is there already stays as it is.
    :param fails: whether it has to find something wrong.
    """
    done = subprocess.run(
        [
            Path(sys.executable).with_name("ansible-playbook"),
            ROOT / "playbooks" / f"{playbook}.yml",
            "--inventory",
            ROOT / "inventories" / "local" / "hosts.yml",
            "-e",
            f"esync_local_root={mesh}",
            # A listener that some peer never reached would keep its port until then.
            "-e",
            "esync_listen_seconds=20",
            *arguments,
        ],
        env={**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "ANSIBLE_NOCOLOR": "1"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if (done.returncode != 0) != fails:
        raise SystemExit(f"{done.stdout}\n{playbook} ended with {done.returncode}")


def take(browser: Browser, mesh: Path, name: str, *pair: str) -> None:
    """Take a picture of the report down to the matrix, or to the details of one pair."""
    browser.open((mesh / "report" / "mesh.html").read_text(encoding="utf-8"), width=1000, height=5000)
    if pair:
        browser.click_cell(*(NAMES.index(name) for name in pair), len(NAMES))
    last = "details" if pair else "under"
    end = browser.script("return document.getElementById(arguments[0]).getBoundingClientRect().bottom", last)
    clip = {"x": 0, "y": 0, "width": 1000, "height": round(end) + 10, "scale": 1}
    taken = browser.debug("Page.captureScreenshot", format="png", clip=clip)
    folder = HERE / "pictures"
    folder.mkdir(exist_ok=True)
    (folder / f"{name}.png").write_bytes(reduced(base64.b64decode(taken["data"])))


def reduced(png: bytes) -> bytes:
    """The same picture with at most 256 colours, which is a fifth of the size (https://www.w3.org/TR/png-3).

    :param png: as Chromium writes it: 8 bits a channel, with or without alpha, not interlaced.
    """
    chunks = list(read_chunks(png))
    width, height, depth, kind, _compression, _filter, interlaced = struct.unpack(">IIBBBBB", chunks[0][1])
    if depth != 8 or kind not in (2, 6) or interlaced:
        raise SystemExit(f"Chromium wrote a PNG of another kind: depth {depth}, colour type {kind}")
    size = 4 if kind == 6 else 3
    rows = unfiltered(zlib.decompress(b"".join(data for name, data in chunks if name == b"IDAT")), width, height, size)
    pixels = [[tuple(row[at : at + 3]) for at in range(0, width * size, size)] for row in rows]
    count = Counter(pixel for row in pixels for pixel in row)
    palette = [colour for colour, _times in count.most_common(256)]
    index = {colour: number for number, colour in enumerate(palette)}
    for colour in count:
        if colour not in index:
            index[colour] = min(range(256), key=lambda at: sum((a - b) ** 2 for a, b in zip(palette[at], colour)))
    data = b"".join(b"\0" + bytes(index[pixel] for pixel in row) for row in pixels)
    header = struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0)
    made = [(b"IHDR", header), (b"PLTE", bytes(value for colour in palette for value in colour))]
    made += [(b"IDAT", zlib.compress(data, 9)), (b"IEND", b"")]
    return png[:8] + b"".join(
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body)) for name, body in made
    )


def read_chunks(png: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Each chunk's name and data."""
    at = 8
    while at < len(png):
        (length,) = struct.unpack(">I", png[at : at + 4])
        yield png[at + 4 : at + 8], png[at + 8 : at + 8 + length]
        at += length + 12


def unfiltered(data: bytes, width: int, height: int, size: int) -> Iterator[bytes]:
    """The rows of a picture. :param size: bytes of a pixel."""
    stride = width * size
    above = bytes(stride)
    for start in range(0, height * (stride + 1), stride + 1):
        way = data[start]
        row = bytearray(data[start + 1 : start + 1 + stride])
        for at in range(stride):
            left = row[at - size] if at >= size else 0
            corner = above[at - size] if at >= size else 0
            up = above[at]
            if way == 4:
                near = left + up - corner
                row[at] = (row[at] + min((left, up, corner), key=lambda one: abs(near - one))) & 255
            else:
                row[at] = (row[at] + (0, left, up, (left + up) // 2)[way]) & 255
        above = bytes(row)
        yield above


if __name__ == "__main__":
    main()
