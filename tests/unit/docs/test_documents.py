# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the documents name exists: links, files, tests, settings."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from ansible_collections.esync.mesh.plugins.plugin_utils._inventory.settings import MESH_WIDE
from ansible_collections.esync.mesh.plugins.plugin_utils._ledger.pending import PendingUpdate
from ansible_collections.esync.mesh.plugins.plugin_utils._planning.operations import OPERATIONS
from ansible_collections.esync.mesh.plugins.plugin_utils._report.builder import assemble
from ansible_collections.esync.mesh.plugins.plugin_utils._report.mesh_json import to_json
from ansible_collections.esync.mesh.plugins.plugin_utils._report.model import ReportServer

ROOT = Path(__file__).resolve().parents[3]
# Where a file of the repository is, for those who have no checkout.
FILES = "https://github.com/esync-mesh/esync.mesh/blob/main/"
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("benchmarks/*.md")])
DECISIONS = sorted(path for path in ROOT.glob("docs/decisions/*.md") if path.name != "README.md")
IDS = [str(path.relative_to(ROOT)) for path in DOCUMENTS]

# With blanks too: such a link leads nowhere, and has to be found.
_LINK = re.compile(r"\]\(([^)\n]+)\)")
# Only with words that say what is to be seen.
_PICTURE = re.compile(r"!\[[^\]]{20,}\]\(([^)\s]+)\)")
_CODE = re.compile(r"`([^`\n]+)`")
_PATH = re.compile(r"(?:benchmarks|docs|inventories|molecule|playbooks|plugins|roles|tests)/[\w./-]*\w")
_TEST = re.compile(r"\btest_\w+\b(?!\.py)")
_SETTING = re.compile(r"\besync_[a-z_]*[a-z]\b")
_NAME = re.compile(r"\besync\.mesh\.([a-z_]+)\b")
_TASK = re.compile(r"^TASK \[esync\.mesh\.esync : (.+?)\]", re.M)
_ROW = re.compile(r"^\| (M\d+) \|(.*)\|$", re.M)


def anchors(text: str) -> set[str]:
    """The anchors of a document's headings, as code hosts make them."""
    titles = re.findall(r"^#+ (.+)$", text, re.M)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def settings() -> set[str]:
    """Every variable that the roles take."""
    found: set[str] = set()
    for path in ROOT.glob("roles/*/meta/argument_specs.yml"):
        for entry in yaml.safe_load(path.read_text(encoding="utf-8"))["argument_specs"].values():
            found |= set(entry.get("options") or {})
    assert "esync_server_name" in found
    return found


def test_there_are_documents() -> None:
    assert {"README.md", "CONTRIBUTING.md", "docs/establish.md", "docs/decisions/README.md"} <= set(IDS)


@pytest.mark.parametrize("document", DOCUMENTS, ids=IDS)
def test_links_lead_somewhere(document: Path) -> None:
    for link in _LINK.findall(document.read_text(encoding="utf-8")):
        ours = link.startswith(FILES)
        if not ours and link.startswith(("https:", "http:", "mailto:")):
            continue
        assert not re.search(r"\s", link), f"{link}: no link has blanks"
        name, _hash, anchor = link.removeprefix(FILES).partition("#")
        target = ((ROOT if ours else document.parent) / name).resolve() if name else document
        assert target.exists(), f"{link} leads nowhere"
        assert not anchor or anchor in anchors(target.read_text(encoding="utf-8")), f"{link}: no such heading"


def test_pictures_are_small_have_words_and_are_those_that_are_taken() -> None:
    """Whoever cannot see a picture reads its words; and none is left over from an earlier document."""
    found = {path.name: path.read_bytes() for path in ROOT.glob("docs/pictures/*")}
    shown = {Path(link).name for path in DOCUMENTS for link in _PICTURE.findall(path.read_text(encoding="utf-8"))}
    taken = re.findall(r'take\(browser, mesh, "([\w-]+)"', (ROOT / "docs" / "pictures.py").read_text(encoding="utf-8"))
    assert set(found) == shown == {f"{name}.png" for name in taken}
    assert found
    for name, content in found.items():
        assert content.startswith(b"\x89PNG\r\n"), f"{name} is no PNG"
        assert len(content) < 60_000, f"{name} has {len(content)} bytes"


def test_the_readme_is_what_galaxy_shows() -> None:
    """Both show the README alone, where relative links lead nowhere, and ask for these headings."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert [link for link in _LINK.findall(text) if not link.startswith("https://")] == []
    assert f"{FILES}docs/README.md" in _LINK.findall(text)
    headings = re.findall(r"(?m)^## (.+)$", text)
    asked = ["Description", "Installation", "Requirements", "Use Cases", "Testing", "Support"]
    asked += ["Release Notes and Roadmap", "Related Information", "License Information"]
    assert [heading for heading in headings if heading in asked] == asked


def test_the_list_of_decisions_leads_to_each_of_them_and_all_say_the_same_kinds_of_things() -> None:
    linked = _LINK.findall((ROOT / "docs" / "decisions" / "README.md").read_text(encoding="utf-8"))
    assert linked == [path.name for path in DECISIONS]
    for number, path in enumerate(DECISIONS, 1):
        text = path.read_text(encoding="utf-8")
        assert path.name.startswith(f"{number:04}-") and text.startswith(f"# {number:04}: ")
        titles = re.findall(r"^## (.+)$", text, re.M)
        assert titles == ["Context", "Decision", "Consequences", "Alternatives considered"], path.name
        assert re.search(r"^Status: (accepted|superseded)", text, re.M), path.name


def test_the_map_of_the_house_has_every_package_and_every_kind_of_change_names_its_files() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    packages = {path.name for half in ("module_utils", "plugin_utils") for path in ROOT.glob(f"plugins/{half}/_*/")}
    packages.discard("__pycache__")
    assert "_planning" in packages
    assert [name for name in sorted(packages) if f"| `{name}` |" not in text] == []
    changes = text.partition("## Worked changes")[2].partition("\n## ")[0].split("\n### ")[1:]
    assert len(changes) == 7
    for change in changes:
        assert "test" in change and re.search(r"docs/|`docs`", change), change.partition("\n")[0]


@pytest.mark.parametrize("document", DOCUMENTS, ids=IDS)
def test_modules_roles_and_playbooks_that_are_named_exist(document: Path) -> None:
    known = {path.stem for pattern in ("plugins/modules/*.py", "playbooks/*.yml") for path in ROOT.glob(pattern)}
    known |= {path.name for path in ROOT.glob("roles/*")}
    assert {"visit", "establish", "esync"} <= known
    for name in _NAME.findall(document.read_text(encoding="utf-8")):
        assert name in known, f"there is no esync.mesh.{name}"


@pytest.mark.parametrize("document", DOCUMENTS, ids=IDS)
def test_files_that_are_named_exist(document: Path) -> None:
    for path in _PATH.findall(document.read_text(encoding="utf-8")):
        # Placeholders in capitals, such as tasks/ENTRY.yml.
        assert re.search(r"/[A-Z]+\b", path) or (ROOT / path).exists(), f"{path} does not exist"


@pytest.mark.parametrize("document", DOCUMENTS, ids=IDS)
def test_settings_that_are_named_exist(document: Path) -> None:
    known = settings()
    # The metrics of the report, and the example of a misspelt one.
    metrics = re.findall(r'"(esync_[a-z_]+)', "\n".join(_sources("plugins/plugin_utils/_report/*.py")))
    other = {"esync_prot", *metrics}
    for code in _CODE.findall(document.read_text(encoding="utf-8")):
        for name in _SETTING.findall(code):
            assert name in known | other, f"there is no setting {name}"


def test_the_settings_that_are_one_value_for_the_mesh_are_listed() -> None:
    text = (ROOT / "docs" / "establish.md").read_text(encoding="utf-8")
    listed = text.partition("These settings are one value for the whole mesh:")[2].partition("All others")[0]
    assert set(_CODE.findall(listed)) == set(MESH_WIDE)


def test_tasks_that_are_quoted_are_those_that_a_run_shows() -> None:
    shown = {stage.title for operation in OPERATIONS.values() for stage in operation.stages}
    for text in _sources("roles/esync/tasks/**/*.yml"):
        shown |= {task["name"] for task in yaml.safe_load(text)}
    quoted = [title for path in DOCUMENTS for title in _TASK.findall(path.read_text(encoding="utf-8"))]
    assert len(quoted) > 10
    assert [title for title in quoted if title not in shown] == []


def _sources(pattern: str) -> list[str]:
    return [path.read_text(encoding="utf-8") for path in sorted(ROOT.glob(pattern))]


def test_every_field_of_mesh_json_is_described() -> None:
    servers = [ReportServer(name, "127.0.0.1", 8732, "ok") for name in ("a", "b")]
    report = to_json(
        assemble(servers, {}, "temporary", [PendingUpdate("a", "trust", ("b",), "")]), "2026-11-24T07:06:40Z"
    )
    text = (ROOT / "docs" / "verify.md").read_text(encoding="utf-8").partition("## mesh.json")[2]
    assert text
    fields = [f"`{key}`" if not isinstance(report[key], list) else f"`{key}[]`" for key in report]
    fields += [f"`.{key}`" for kind in ("servers", "pairs") for key in report[kind][0]]
    fields += [f"`{key}`" for key in [*report["summary"], *report["pending"][0]]]
    assert [field for field in fields if field not in text] == []


def test_every_row_of_the_manual_names_a_test_that_exists() -> None:
    rows = _ROW.findall((ROOT / "docs" / "manual-rows.md").read_text(encoding="utf-8"))
    assert [number for number, _text in rows] == [f"M{number}" for number in range(1, 18)]
    for number, text in rows:
        proof = text.rpartition("|")[2]
        paths = [path for path in _PATH.findall(proof) if path.endswith(".py")]
        tests = _TEST.findall(proof)
        assert paths and tests and "not built" not in text, f"{number} names no test"
        sources = "\n".join((ROOT / path).read_text(encoding="utf-8") for path in paths)
        for name in tests:
            assert f"def {name}(" in sources, f"{number}: there is no {name} in {', '.join(paths)}"
