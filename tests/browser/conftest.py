# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A headless Chromium, driven over the WebDriver protocol, which is JSON over HTTP (https://www.w3.org/TR/webdriver2)."""

from __future__ import annotations

import base64
import json
import os
import re
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "playbooks" / "collections"))

ELEMENT = "element-6066-11e4-a52e-4f735466cecf"
ARGUMENTS = [
    "--headless=new",
    "--no-sandbox",  # the tests may run as root
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--force-device-scale-factor=1",
]
KEYS = {"tab": "\ue004", "enter": "\ue007", "end": "\ue010", "home": "\ue011"}
KEYS.update(left="\ue012", up="\ue013", right="\ue014", down="\ue015")


@dataclass
class Browser:
    """One session. ``script`` is evaluated by the debugger, which the page's content security policy does not bind."""

    url: str
    work: Path

    def call(self, method: str, path: str, body: Any = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data, {"Content-Type": "application/json"}, method=method)
        try:
            with _DIRECT.open(request, timeout=120) as answer:
                return json.load(answer)["value"]
        except urllib.error.HTTPError as error:
            value = json.load(error)["value"]
            raise AssertionError(f"{value['error']}: {value['message']}") from None

    def debug(self, command: str, **parameters: Any) -> Any:
        return self.call("POST", "/goog/cdp/execute", {"cmd": command, "params": parameters})

    def open(self, html: str, width: int = 1440, height: int = 1000) -> None:
        """Show a page from a file, as whoever got the report by mail does."""
        path = self.work / "mesh.html"
        path.write_text(html, encoding="utf-8")
        self.debug("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
        self.debug("Emulation.setEmulatedMedia", media="", features=[])
        self.messages()
        self.call("POST", "/url", {"url": path.as_uri()})

    def script(self, text: str, *arguments: Any) -> Any:
        return self.call("POST", "/execute/sync", {"script": text, "args": list(arguments)})

    def find(self, selector: str) -> dict[str, str]:
        found: dict[str, str] = self.call("POST", "/element", {"using": "css selector", "value": selector})
        return found

    def click(self, selector: str) -> None:
        self.call("POST", f"/element/{self.find(selector)[ELEMENT]}/click", {})

    def click_cell(self, row: int, column: int, count: int) -> None:
        """A real click of the mouse on the middle of a cell."""
        box = self.script(
            "const body = document.getElementById('body'); body.scrollIntoView({block: 'nearest'});"
            "const box = body.getBoundingClientRect(); return [box.left, box.top, box.width, box.height]"
        )
        x = box[0] + box[2] * (column + 0.5) / count
        y = box[1] + box[3] * (row + 0.5) / count
        mouse = [
            {"type": "pointerMove", "x": round(x), "y": round(y), "duration": 0},
            {"type": "pointerDown", "button": 0},
            {"type": "pointerUp", "button": 0},
        ]
        self.call("POST", "/actions", {"actions": [{"type": "pointer", "id": "mouse", "actions": mouse}]})

    def press(self, *keys: str) -> None:
        """Type on the keyboard, wherever the focus is."""
        strokes = []
        for key in keys:
            value = KEYS.get(key, key)
            strokes += [{"type": "keyDown", "value": value}, {"type": "keyUp", "value": value}]
        self.call("POST", "/actions", {"actions": [{"type": "key", "id": "keyboard", "actions": strokes}]})

    def text(self, selector: str) -> str:
        return str(self.script("return document.querySelector(arguments[0]).textContent", selector))

    def texts(self, selector: str) -> list[str]:
        found: list[str] = self.script(
            "return [...document.querySelectorAll(arguments[0])].map(e => e.textContent)", selector
        )
        return found

    def style(self, selector: str, name: str) -> str:
        return str(
            self.script("return getComputedStyle(document.querySelector(arguments[0]))[arguments[1]]", selector, name)
        )

    def media(self, kind: str = "", scheme: str = "light") -> None:
        """Emulate ``print``, or a reader who prefers a ``dark`` scheme."""
        self.debug(
            "Emulation.setEmulatedMedia", media=kind, features=[{"name": "prefers-color-scheme", "value": scheme}]
        )

    def messages(self) -> list[str]:
        """What the browser complained about since the last call."""
        return [entry["message"] for entry in self.call("POST", "/se/log", {"type": "browser"})]

    def screenshot(self, path: Path, whole: bool = False) -> None:
        taken = self.debug("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        path.write_bytes(base64.b64decode(taken["data"]))


# Never through a proxy: the driver is on this machine.
_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


@pytest.fixture(scope="session")
def session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with chromium(tmp_path_factory.mktemp("browser")) as browser:
        yield browser


@contextmanager
def chromium(work: Path) -> Iterator[Browser]:
    """A session that is over when the block is. :param work: an empty folder, for the profile and the page."""
    driver = subprocess.Popen(
        ["chromedriver", "--port=0"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        # What Chromium writes beside its profile goes away with it.
        env={**os.environ, "HOME": str(work), "TMPDIR": str(work)},
    )
    try:
        server = f"http://127.0.0.1:{_port(driver)}"
        capabilities = {
            "browserName": "chrome",
            "goog:chromeOptions": {"args": [*ARGUMENTS, f"--user-data-dir={work / 'profile'}"]},
            "goog:loggingPrefs": {"browser": "ALL"},
        }
        opened = Browser(server, work).call("POST", "/session", {"capabilities": {"alwaysMatch": capabilities}})
        browser = Browser(f"{server}/session/{opened['sessionId']}", work)
        try:
            yield browser
        finally:
            browser.call("DELETE", "")
    finally:
        driver.terminate()
        driver.wait(timeout=30)


def _port(driver: subprocess.Popen[str]) -> int:
    said = []
    for line in driver.stdout or ():
        said.append(line)
        match = re.search(r"started successfully on port (\d+)", line)
        if match:
            return int(match[1])
    raise AssertionError(f"chromedriver did not start: {''.join(said)}")


@pytest.fixture
def browser(session: Browser) -> Iterator[Browser]:
    """The browser; after every test it must have had nothing to complain about."""
    yield session
    assert session.messages() == []
