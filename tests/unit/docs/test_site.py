# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The site of the documents: where its links lead, and that a broken one is found. `make docs-site` builds it."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
SITE = runpy.run_path(str(ROOT / "docs" / "site.py"))
REPOSITORY = "https://github.com/esync-mesh/esync.mesh"


@pytest.mark.parametrize(
    ("link", "leads_to"),
    [
        ("verify.md#mesh-json", "verify.md#mesh-json"),
        ("../CONTRIBUTING.md", "../CONTRIBUTING.md"),
        ("decisions", "decisions/README.md"),
        ("../plugins/modules/visit.py", "../reference/visit_module.rst"),
        ("../roles/esync/meta/argument_specs.yml", "../reference/esync_role.rst"),
        ("../examples/schedule", f"{REPOSITORY}/tree/main/examples/schedule"),
        ("../examples/haproxy.cfg", f"{REPOSITORY}/blob/main/examples/haproxy.cfg"),
        (f"{REPOSITORY}/blob/main/docs/verify.md#the-files", "verify.md#the-files"),
        (f"{REPOSITORY}/issues", f"{REPOSITORY}/issues"),
        ("#a-heading", "#a-heading"),
    ],
)
def test_links_of_the_repository_lead_to_the_same_thing_in_the_site(link: str, leads_to: str) -> None:
    known = {**SITE["pages"](ROOT), "docs/page.md": f"[words]({link}), `[code](x)`\n"}
    assert SITE["translate"](ROOT, known, "docs/page.md") == f"[words]({leads_to}), `[code](x)`\n"


def test_a_link_to_a_file_that_does_not_exist_stops_the_build() -> None:
    with pytest.raises(SITE["LinkError"], match="docs/page.md: ../no/such"):
        SITE["translate"](ROOT, {"docs/page.md": "[words](../no/such)"}, "docs/page.md")


def test_broken_links_and_anchors_of_a_built_site_are_found(tmp_path: Path) -> None:
    (tmp_path / "a.html").write_text('<h1 id="top"></h1><a href="b.html#here">b</a><a href="#top">a</a>')
    (tmp_path / "b.html").write_text('<p id="here"></p><a href="https://example.com/x">x</a><img src="c.png">')
    (tmp_path / "c.png").write_bytes(b"")
    assert SITE["broken_links"](tmp_path) == (3, [])
    (tmp_path / "b.html").write_text('<a href="a.html#nowhere">a</a><a href="d.html">d</a><a href="#here"></a>')
    number, broken = SITE["broken_links"](tmp_path)
    assert number == 5
    assert sorted(broken) == ["a.html: b.html#here", "b.html: #here", "b.html: a.html#nowhere", "b.html: d.html"]


def test_the_index_leads_to_every_document_once() -> None:
    """A page that the index does not list has no place in the site's navigation."""
    index = (ROOT / "docs" / "README.md").read_text(encoding="utf-8")
    listed = {name.partition("#")[0] for name in SITE["_LISTED"].findall(index)}
    assert {path.name for path in ROOT.glob("docs/*.md")} - listed == {"README.md"}


def test_every_page_on_how_to_do_something_says_when_not_to() -> None:
    index = (ROOT / "docs" / "README.md").read_text(encoding="utf-8")
    pages = SITE["_LISTED"].findall(index.partition("## How to")[2].partition("\n## ")[0])
    assert len(pages) > 15
    # A table of the manual's steps, each with its own page.
    pages.remove("manual-rows.md")
    missing = [
        name for name in pages if "\n**When not to**: " not in (ROOT / "docs" / name).read_text(encoding="utf-8")
    ]
    assert missing == []
