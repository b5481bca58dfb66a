# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""mesh.html in a real browser, used as a reader uses it: with the mouse, with the keyboard, at night, on paper."""

from __future__ import annotations

import re
from dataclasses import replace

import meshes
import pytest

from ansible_collections.esync.mesh.plugins.plugin_utils._report import history
from ansible_collections.esync.mesh.plugins.plugin_utils._report.html import text as document
from ansible_collections.esync.mesh.plugins.plugin_utils._report.model import Mesh

# Goes through the whole matrix by keyboard and reads what the details say.
READ_ALL = """
const body = document.getElementById('body');
const press = (key) => body.dispatchEvent(new KeyboardEvent('keydown', {key}));
const found = [];
for (let row = 0; row < arguments[0]; row += 1) {
  press('Home');
  for (let column = 0; column < arguments[0]; column += 1) {
    const box = document.getElementById('chosen');
    if (row !== column) found.push([...box.querySelectorAll('h3, .verdict, p, dd')].map((one) => one.textContent));
    press('ArrowRight');
  }
  press('ArrowDown');
}
return found;
"""


def show(browser, mesh: Mesh, **size: int) -> None:
    browser.open(document(mesh, meshes.NOW), **size)


def cleaned(text: str) -> str:
    return re.sub("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]", "\ufffd", text)


def drawn(browser, kind: str) -> int:
    """How many cells of a kind the matrix shows."""
    return len(re.findall("M", browser.script("return document.getElementById(arguments[0]).getAttribute('d')", kind)))


@pytest.mark.parametrize("make", [meshes.with_causes, meshes.all_failed, meshes.nothing_tested, meshes.limited])
def test_every_pair_says_what_the_report_says(browser, make):
    mesh = make(9)
    show(browser, mesh)
    check_all(browser, mesh)


def test_hostile_texts_stay_texts(browser):
    mesh = meshes.hostile()
    show(browser, mesh)
    assert browser.script("return window.hacked") is None
    check_all(browser, mesh)
    names = [cleaned(server.name) for server in mesh.servers]
    assert browser.texts("#rows span bdi") == names
    assert sorted(browser.texts("#servers tbody th bdi")) == sorted(names)
    assert sorted(browser.texts("#pending tbody th bdi")) == sorted(names)
    assert set(browser.texts("#problems .key bdi")) == {cleaned(f"kind {server.name}") for server in mesh.servers}
    assert {cleaned(f"repair {server.name}") for server in mesh.servers} == set(browser.texts("#problems .remedy bdi"))
    assert browser.texts("#clusters tbody th bdi") == names
    assert {cleaned(f"call {name}") for name in meshes.HOSTILE} <= set(browser.texts("#causes .remedy bdi"))
    shown = set(browser.texts("#causes bdi"))
    assert {cleaned(refusal.target) for refusal in mesh.refusals} <= shown
    for pair in mesh.wrong:
        if pair.cause in meshes.HOSTILE:
            assert cleaned(pair.cause) in shown
    browser.click("#more")
    assert {tuple(row) for row in browser.script(READ_LIST)} == {
        (cleaned(pair.source), cleaned(pair.target), pair.verdict) for pair in mesh.pairs
    }
    for selector in ("img", "iframe", "object", "link", "body svg[onload]", "[onerror]"):
        assert browser.texts(selector) == [], selector
    assert len(browser.texts("script")) == 2
    assert browser.script("return window.hacked") is None


READ_LIST = """
const rows = [...document.querySelectorAll('#listed tr')];
return rows.map((row) => [...row.children].slice(0, 3).map((cell) => cell.textContent));
"""


def check_all(browser, mesh: Mesh) -> None:
    found = browser.script(READ_ALL, len(mesh.servers))
    assert len(found) == mesh.expected > 0
    for texts, pair in zip(found, mesh.pairs):
        assert texts[0] == cleaned(f"{pair.source} → {pair.target}")
        assert texts[1] == (pair.verdict if pair.in_scope else "not in this run")
        assert any(cleaned(pair.cause or "") in text for text in texts)
        for wanted in (pair.detail, pair.server_fingerprint, pair.client_fingerprint):
            assert not wanted or cleaned(wanted) in texts, (pair.label, wanted)
        assert not pair.remedy or f"What to do{cleaned(pair.remedy)}" in texts
        if pair.handshake_ms is not None:
            assert any(text.startswith(f"{pair.handshake_ms:g} ms, {cleaned(pair.tls)}") for text in texts)


def test_nothing_is_fetched_and_nothing_foreign_runs(browser):
    show(browser, meshes.with_causes(5))
    assert browser.script("return performance.getEntriesByType('resource').length") == 0
    browser.script(
        "const one = document.createElement('script'); one.textContent = 'window.hacked = 9';"
        "const other = document.createElement('p'); other.setAttribute('style', 'display: none');"
        "document.body.append(one, other);"
    )
    assert browser.script("return window.hacked") is None
    complaints = browser.messages()
    assert len([text for text in complaints if "Content Security Policy" in text]) == len(complaints) == 2


@pytest.mark.parametrize(("count", "row", "column"), [(5, 3, 2), (30, 26, 5), (200, 196, 40), (200, 7, 100)])
def test_a_click_shows_the_pair(browser, count, row, column):
    mesh = meshes.with_causes(count)
    show(browser, mesh)
    browser.click_cell(row, column, count)
    names = [server.name for server in mesh.servers]
    assert browser.text("#chosen h3") == f"{names[row]} → {names[column]}"
    (pair,) = [pair for pair in mesh.pairs if (pair.source, pair.target) == (names[row], names[column])]
    assert pair.verdict == "failed"
    assert pair.detail in browser.texts("#chosen p")
    assert browser.text("#rows .at") == names[row]
    assert browser.text("#columns .at") == names[column]
    browser.click("#turn")
    assert browser.text("#chosen h3") == f"{names[column]} → {names[row]}"


def test_the_keyboard_alone_is_enough(browser):
    mesh = meshes.with_causes(30)
    show(browser, mesh)
    names = [server.name for server in mesh.servers]
    browser.click("#search")
    browser.press("tab")
    assert browser.script("return document.activeElement.id") == "body"
    assert browser.style("#body", "outlineStyle") == "solid"
    browser.press("right", "right", "right", "down")
    assert browser.text("#chosen h3") == f"{names[1]} → {names[2]}"
    assert browser.script("return document.getElementById('cursor').getAttribute('aria-label')") == "web02 to web03: ok"
    browser.press("end", "down")
    assert browser.text("#chosen h3") == f"{names[2]} → {names[29]}"
    browser.press("home", "up")
    assert browser.text("#chosen h3") == f"{names[1]} → {names[0]}"
    wrong = [pair.label.replace("->", "→") for pair in mesh.wrong]
    seen = []
    for _time in range(4):
        browser.press("n")
        seen.append(browser.text("#chosen h3"))
    start = next(index for index, label in enumerate(wrong) if label.startswith(names[1]))
    assert seen == wrong[start : start + 4]
    browser.press("p")
    assert browser.text("#chosen h3") == seen[-2]


def test_the_cursor_stays_in_view(browser):
    show(browser, meshes.with_causes(200), width=1100, height=700)
    browser.click("#zoom")
    browser.script("document.getElementById('body').focus()")
    for keys in (("right", "end"), ("down",) * 30, ("home",), ("n",) * 5):
        browser.press(*keys)
        box = browser.script(
            "const box = document.getElementById('cursor').getBoundingClientRect();"
            "const top = document.elementFromPoint(box.left + 7, box.top + 7);"
            "return [box.left, box.top, top && !!top.closest('#body')]"
        )
        assert 0 < box[0] < 1100, keys
        assert 0 < box[1] < 700, keys
        assert box[2], "something lies over it"


def test_the_filter_leaves_what_it_says(browser):
    mesh = meshes.with_causes(30)
    show(browser, mesh)
    assert browser.text("#count") == "870 of 870 pairs"
    assert (drawn(browser, "draw-ok"), drawn(browser, "draw-failed"), drawn(browser, "draw-untested")) == (729, 83, 58)
    for value, count in {"x": 83, "?": 58, "wrong": 141, "+": 729}.items():
        browser.click(f"input[value='{value}']")
        assert browser.text("#count") == f"{count} of 870 pairs"
        assert drawn(browser, "draw-rest") == 870 - count
    browser.click("input[value='x']")
    assert drawn(browser, "draw-ok") == drawn(browser, "draw-untested") == 0
    browser.click("#more")
    rows = browser.script(READ_LIST)
    assert len(rows) == 83
    assert {row[2] for row in rows} == {"failed"}
    browser.click("#search")
    browser.press(*"WEB16")
    rows = browser.script(READ_LIST)
    assert rows
    assert all("web16" in row[:2] for row in rows)
    assert browser.text("#count") == "29 of 870 pairs"


def test_the_search_ignores_case(browser):
    show(browser, meshes.make(["Web-A", "web-b", "db"]))
    browser.click("#search")
    browser.press(*"wEb-a")
    assert browser.text("#count") == "4 of 6 pairs"


def test_a_cause_leads_to_its_pairs_and_back(browser):
    show(browser, meshes.with_causes(30))
    assert browser.texts("#causes h3 bdi") == ["web11", "web27", "web16"]
    browser.click("button[data-cause='2']")
    assert browser.text("#count") == "28 of 870 pairs"
    assert {row[1] for row in browser.script(READ_LIST)} == {"web16"}
    assert browser.text("#chosen h3") == "web01 → web16"
    browser.press("n")
    assert browser.text("#chosen h3") == "web02 → web16"
    browser.click("#only")
    assert browser.text("#count") == "870 of 870 pairs"


def test_the_list_leads_into_the_matrix(browser):
    show(browser, meshes.with_causes(30))
    browser.click("#listed tr:nth-child(2) button")
    row = browser.script(READ_LIST)[1]
    assert browser.text("#chosen h3") == f"{row[0]} → {row[1]}"
    assert browser.script("return document.activeElement.id") == "body"


@pytest.mark.parametrize("count", [5, 30, 100, 200])
def test_the_matrix_fits_the_window_and_names_those_with_a_cause(browser, count):
    mesh = meshes.with_causes(count)
    show(browser, mesh)
    assert browser.script("return document.documentElement.scrollWidth <= innerWidth")
    width, height = browser.script(
        "const box = document.getElementById('body').getBoundingClientRect(); return [box.width, box.height]"
    )
    assert width == pytest.approx(height, abs=1)
    assert width <= 1100
    blamed = set(browser.texts("#causes h3 bdi"))
    for axis in ("rows", "columns"):
        assert set(browser.texts(f"#{axis} .bad:not([hidden])")) == blamed
    labels = browser.script(
        "return [...document.querySelectorAll('#rows span:not([hidden])')].map((e) => e.getBoundingClientRect().top)"
    )
    assert len(labels) >= min(count, 30)
    assert all(below - above >= 11 for above, below in zip(labels, labels[1:])), "labels lie upon each other"


SHAPES = """
const uses = [...document.querySelectorAll('#legend use')];
return uses.map((use) => document.querySelector(use.getAttribute('href')).innerHTML);
"""


def test_a_verdict_has_a_shape_of_its_own(browser):
    show(browser, meshes.with_causes(5))
    shapes = browser.script(SHAPES)
    assert len(set(shapes)) == len(shapes) == 4
    paths = [
        browser.script("return document.getElementById(arguments[0]).getAttribute('d').slice(0, 40)", f"draw-{kind}")
        for kind in ("ok", "failed", "untested")
    ]
    assert len({re.sub(r"^M[\d.]+ [\d.]+", "", path.split("M")[1]) for path in paths}) == 3


def luminance(color: str) -> float:
    parts = [int(part) / 255 for part in re.findall(r"\d+", color)[:3]]
    linear = [part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    """WCAG 2.2, section 1.4.3: 4.5 for text, 3 for shapes (1.4.11)."""
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_can_be_read_by_day_and_by_night(browser, scheme):
    show(browser, meshes.with_causes(30))
    browser.media(scheme=scheme)
    paper = browser.style("body", "backgroundColor")
    assert (luminance(paper) < 0.1) == (scheme == "dark")
    browser.click_cell(0, 1, 30)
    for selector in ("body", "h1", "header dt", ".hint", ".key", "#rows .bad", "#chosen .verdict", ".late b", "small"):
        assert contrast(browser.style(selector, "color"), paper) >= 4.5, selector
    card = browser.style("#body", "backgroundColor")
    for kind, name in (("ok", "stroke"), ("failed", "fill"), ("untested", "fill"), ("outside", "stroke")):
        assert contrast(browser.style(f"#draw-{kind}", name), card) >= 3, kind


@pytest.mark.parametrize("count", [5, 30, 200])
def test_it_prints(browser, count):
    show(browser, meshes.with_causes(count), width=703)  # 186 mm: the page without its margins
    browser.media("print", "dark")
    assert browser.style("body", "backgroundColor") == "rgb(255, 255, 255)"
    for selector in ("#filter", "#details", "#causes button"):
        assert browser.style(selector, "display") == "none"
    assert browser.script("return document.getElementById('plane').getBoundingClientRect().right <= 703")
    assert browser.script("return document.documentElement.scrollWidth <= 703")
    box = browser.script("return document.getElementById('body').getBoundingClientRect().width")
    assert box > 100
    browser.media()
    printed = browser.debug("Page.printToPDF", printBackground=False)
    assert printed["data"].startswith("JVBERi0"), "it is a PDF"


NAMED = {"button", "radio", "searchbox", "checkbox", "grid", "gridcell", "table", "region", "complementary", "search"}


def test_assistive_technology_finds_names_for_everything(browser):
    show(browser, meshes.with_causes(30))
    browser.click_cell(0, 10, 30)
    tree = browser.debug("Accessibility.getFullAXTree")["nodes"]
    nodes = [node for node in tree if not node.get("ignored") and node["role"]["value"] in NAMED]
    roles = {node["role"]["value"] for node in nodes}
    assert roles >= NAMED - {"checkbox", "table"}
    nameless = [
        node["role"]["value"]
        for node in nodes
        if not node.get("name", {}).get("value") and node["role"]["value"] != "table"
    ]
    assert nameless == []
    (cell,) = [node for node in nodes if node["role"]["value"] == "gridcell"]
    assert cell["name"]["value"] == "web01 to web11: untested, The control node cannot reach the server"


def test_what_matters_is_there_without_a_script(browser):
    browser.debug("Emulation.setScriptExecutionDisabled", value=True)
    try:
        show(browser, meshes.with_causes(30))
        assert browser.call("GET", f"/element/{element(browser, '#causes')}/displayed")
        assert browser.call("GET", f"/element/{element(browser, '#servers')}/displayed")
        assert browser.call("GET", f"/element/{element(browser, 'noscript p')}/displayed")
        assert not browser.call("GET", f"/element/{element(browser, '#filter')}/displayed")
    finally:
        browser.debug("Emulation.setScriptExecutionDisabled", value=False)


def element(browser, selector: str) -> str:
    return next(iter(browser.find(selector).values()))


def test_a_sound_mesh_has_no_causes(browser):
    show(browser, meshes.make(meshes.numbered(3)))
    assert browser.text("h1") == "6 of 6 pairs ok."
    assert browser.texts("#causes") == browser.texts("#pending") == []
    browser.script("document.getElementById('body').focus()")
    browser.press("n")
    assert browser.style("#chosen", "display") == "none"


def test_a_mesh_of_one_has_no_matrix(browser):
    show(browser, meshes.make(["alone"]))
    assert browser.style("#board", "display") == "none"
    assert browser.texts("#servers tbody th") == ["alone"]


def test_the_sites_of_a_server_share_a_cell_and_each_is_told_by_itself(browser):
    mesh = meshes.with_sites()
    show(browser, mesh)
    assert browser.text("#count") == "10 of 10 pairs"
    browser.click_cell(0, 1, 3)
    assert browser.texts("#chosen h3") == ["web1 → web2 [shop]", "web1 → web2 [news]", "web1 → web2 [blog]"]
    assert browser.texts("#chosen .verdict") == ["ok", "failed", "ok"]
    (pair,) = mesh.wrong
    assert pair.label == "web1 → web2 [news]".replace("→", "->")
    assert pair.detail in browser.texts("#chosen p")
    spoken = browser.script("return document.getElementById('cursor').getAttribute('aria-label')")
    assert spoken.startswith("web1 to web2: shop ok; news failed, ")
    # The cell shows the worst of them, and the list has each.
    rows = browser.script(READ_LIST)
    assert rows[0] == ["web1", "web2 [news]", "failed"]
    assert ["web3", "web2 [blog]", "ok"] in rows and len(rows) == 10
    browser.click("button[data-cause]")
    assert browser.text("#count") == "1 of 10 pairs"
    assert browser.script(READ_LIST) == [["web1", "web2 [news]", "failed"]]


def test_clusters_have_a_row_each_and_their_causes_stand_with_the_others(browser):
    mesh = meshes.with_clusters()
    show(browser, mesh)
    check_all(browser, mesh)
    cells = browser.texts("#clusters tbody tr > *")
    assert cells[:6] == ["live", "lb.example:8732", "web1, web2, web3", "web1 8, web3 4", "web2", "2 of 2"]
    assert cells[6:] == ["db", "[::1]:8733", "web5", "", "", "0 of 4"]
    assert browser.texts("#causes h3") == ["web1, web2, web3 and web4 → cluster db 4 callers"]
    assert browser.texts("#causes .key") == ["server_certificate_unknown"]


def test_a_thousand_servers_are_drawn_in_time_and_every_pair_can_be_chosen(browser):
    mesh = meshes.with_causes(1000)
    show(browser, mesh)
    assert browser.text("#count") == "999,000 of 999,000 pairs"
    (dead, *_others) = [server.name for server in mesh.servers if server.state == "unreachable"]
    browser.click("input[value='?']")
    assert browser.text("#count") == "1,998 of 999,000 pairs"
    # What is alike in a row is drawn as one, so there are two shapes in most rows and a whole one for the dead server.
    assert drawn(browser, "draw-untested") < 1100
    browser.script("document.getElementById('body').focus()")
    browser.press("n")
    assert browser.text("#chosen h3") == f"web0001 → {dead}"
    assert browser.text("#chosen .verdict") == "untested"
    browser.press("left")
    assert browser.text("#chosen .verdict") == "ok"
    assert "TLSv1.3" in browser.text("#chosen dl") and " ms" not in browser.text("#chosen dl")


def recorded(mesh: Mesh) -> Mesh:
    """A mesh with a history, and with commands as a run of its own makes them."""
    known = history.History()
    for when in ("2026-11-22T02:00:00Z", meshes.NOW):
        known = history.after(known, mesh, when)
    return replace(mesh, history=known, name="esync of hosts.yml", options="-i hosts.yml")


@pytest.mark.parametrize("secure", [True, False])
def test_a_command_is_copied_by_its_button(browser, secure):
    show(browser, recorded(meshes.with_causes(30)))
    # What a page gets that came over plain http.
    browser.script(
        "window.copied = []; document.addEventListener('copy', () => window.copied.push(String(getSelection())));"
        "const write = arguments[0] ? async (text) => { window.copied.push(text); } : () => Promise.reject();"
        "Object.defineProperty(navigator, 'clipboard', { value: { writeText: write } });",
        secure,
    )
    buttons = browser.script("return document.querySelectorAll('button.copy').length")
    assert buttons == len(browser.texts(".command code")) == 2
    browser.click("#causes li:nth-child(2) .copy")
    said = browser.script("return document.querySelector('#causes li:nth-child(2) .copy').textContent")
    assert said in ("Copied", "Selected")
    command = browser.text("#causes li:nth-child(2) .command code")
    assert command.startswith("ansible-playbook -i hosts.yml esync.mesh.")
    assert browser.script("return window.copied") == [command]


@pytest.mark.parametrize("count", [5, 30, 150])
def test_on_a_phone_nothing_is_wider_than_the_screen_but_the_matrix(browser, count):
    show(browser, recorded(meshes.with_causes(count)), width=390, height=844)
    assert browser.script("return document.documentElement.scrollWidth") <= 390
    wide = browser.script(
        "return [...document.querySelectorAll('main *')].filter((one) => !one.closest('#plane, #hover, .table')"
        " && one.getBoundingClientRect().right > 391).map((one) => one.outerHTML.slice(0, 80))"
    )
    assert wide == []
    for table in ("#list", "#servers .table", "#history .table"):
        assert browser.script(
            "const box = document.querySelector(arguments[0]); return box.scrollWidth <= box.clientWidth + 1", table
        ), table
    browser.click("#listed tr:nth-child(2) button")
    assert "→" in browser.text("#chosen h3")


def test_the_history_and_the_timeline_need_no_script(browser):
    browser.debug("Emulation.setScriptExecutionDisabled", value=True)
    try:
        show(browser, recorded(meshes.with_causes(5)))
        assert browser.call("GET", f"/element/{element(browser, '#history tbody tr')}/displayed")
        assert browser.call("GET", f"/element/{element(browser, '#timeline rect.soon')}/displayed")
        assert not browser.call("GET", f"/element/{element(browser, 'button.copy')}/displayed")
    finally:
        browser.debug("Emulation.setScriptExecutionDisabled", value=False)
