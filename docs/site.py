# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Build the documents, the plugins and the role as one site, and fail on a broken link: make docs-site.

The pages stay what a code host shows: links between files. The site is built from a copy. In it a link to a file that
is no page leads to the repository, and one to a plugin leads to the page of that plugin.
"""

from __future__ import annotations

import os
import posixpath
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

ROOT = Path(__file__).resolve().parent.parent
SITE = ROOT / ".site"
BIN = Path(sys.executable).parent
INDEX = "docs/README.md"
REPOSITORY = "https://github.com/esync-mesh/esync.mesh"
PAGES = ("docs/*.md", "docs/decisions/*.md", "benchmarks/README.md", "[A-Z]*.md")
PROJECT = ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md", "CODE_OF_CONDUCT.md", "benchmarks/README.md")

CONFIGURATION = """\
project = "esync.mesh"
html_title = "esync.mesh"
extensions = ["myst_parser", "sphinx_antsibull_ext"]
root_doc = "docs/README"
myst_heading_anchors = 4
html_theme = "furo"
antsibull_ext_color_scheme = "default-autodark"
html_show_copyright = html_show_sphinx = html_copy_source = False
html_use_index = html_use_modindex = False
highlight_language = "none"
nitpicky = True
suppress_warnings = ["misc.highlighting_failure"]
"""

# A link, and a fence of code, in which nothing is a link.
_LINK = re.compile(r"(?ms)(^```.*?^```$)|(`[^`\n]*`)|\]\(([^)\s]+)\)")
_LISTED = re.compile(r"\]\(([\w./-]+\.md)\)")


class LinkError(Exception):
    """A link that leads nowhere."""


def pages(root: Path) -> dict[str, str]:
    """The text of each page by its path in the repository."""
    paths = sorted({path for pattern in PAGES for path in root.glob(pattern)})
    return {path.relative_to(root).as_posix(): path.read_text(encoding="utf-8") for path in paths}


def translate(root: Path, known: Mapping[str, str], page: str) -> str:
    """The text of a page for the site.

    :raises LinkError: a link to a file that does not exist.
    """

    def link(found: re.Match[str]) -> str:
        if found[3] is None:
            return found[0]
        return f"]({_target(root, known, page, found[3])})"

    return _LINK.sub(link, known[page])


def _target(root: Path, known: Mapping[str, str], page: str, link: str) -> str:
    """Where a link of a page leads in the site."""
    name, hash_, anchor = link.partition("#")
    own = re.fullmatch(re.escape(REPOSITORY) + r"/(?:blob|tree)/main/(.+)", name)
    if own:
        path = own[1]
    elif not name or ":" in name:
        return link
    else:
        path = posixpath.normpath(posixpath.join(posixpath.dirname(page), name))
    if not (root / path).exists():
        raise LinkError(f"{page}: {link} leads nowhere")
    path = _page_of(known, path)
    if path is None:
        return name if own else f"{REPOSITORY}/{_view(root, page, name)}"
    return posixpath.relpath(path, posixpath.dirname(page) or ".") + hash_ + anchor


def _page_of(known: Mapping[str, str], path: str) -> str | None:
    """The page that stands for a file in the site; None if none does."""
    module = re.fullmatch(r"plugins/modules/(\w+)\.py", path)
    if module:
        return f"reference/{module[1]}_module.rst"
    if path in ("roles/esync/README.md", "roles/esync/meta/argument_specs.yml"):
        return "reference/esync_role.rst"
    index = f"{path.rstrip('/')}/README.md"
    if path in known or path.endswith(".png"):
        return path
    return index if index in known else None


def _view(root: Path, page: str, name: str) -> str:
    path = posixpath.normpath(posixpath.join(posixpath.dirname(page), name))
    return f"{'tree' if (root / path).is_dir() else 'blob'}/main/{path}"


def navigation(page: str, text: str) -> str:
    """What a page that is a list of pages adds to the navigation: a part for each of its headings."""
    folder, _slash, name = page.rpartition("/")
    if name != "README.md" or not folder.startswith("docs"):
        return ""
    if page != INDEX:
        return "\n" + _tree("", (f"/{folder}/{name}" for name in _LISTED.findall(text)))
    parts = re.split(r"(?m)^## ", text)[1:]
    listed = [(part.partition("\n")[0], [f"/{folder}/{name}" for name in _LISTED.findall(part)]) for part in parts]
    listed.append(("Plugins and role", ["/reference/index", "/reference/esync_role", "/reference/*_module"]))
    listed.append(("Project", [f"/{name}" for name in PROJECT]))
    return "\n" + "\n".join(_tree(title, names) for title, names in listed)


def _tree(title: str, names: Iterable[str]) -> str:
    lines = dict.fromkeys(name.removesuffix(".md") for name in names)
    return "\n".join(
        ["```{toctree}", ":hidden:", ":glob:", *([f":caption: {title}"] if title else []), "", *lines, "```", ""]
    )


class _Page(HTMLParser):
    """The links and anchors of a built page."""

    def __init__(self) -> None:
        super().__init__()
        self.links: list[str] = []
        self.anchors: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name in ("href", "src") and value and tag != "link":
                self.links.append(value)
            elif name in ("id", "name") and value:
                self.anchors.add(value)


def broken_links(site: Path) -> tuple[int, list[str]]:
    """Follow every link within a built site.

    :returns: how many there are, and those that lead nowhere, each with its page.
    """
    read: dict[Path, _Page] = {}
    for path in site.rglob("*.html"):
        read[path] = _Page()
        read[path].feed(path.read_text(encoding="utf-8"))
    number, broken = 0, []
    for path, page in read.items():
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            number += 1
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            anchors = read[target].anchors if target in read else set()
            if not target.is_file() or (parts.fragment and unquote(parts.fragment) not in anchors):
                broken.append(f"{path.relative_to(site)}: {link}")
    return number, broken


def stage(root: Path, source: Path) -> None:
    """Copy the pages to where Sphinx reads them."""
    known = pages(root)
    for page in known:
        text = translate(root, known, page)
        (source / page).parent.mkdir(parents=True, exist_ok=True)
        (source / page).write_text(text + navigation(page, text), encoding="utf-8")
    shutil.copytree(root / "docs" / "pictures", source / "docs" / "pictures")
    (source / "conf.py").write_text(CONFIGURATION, encoding="utf-8")


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="esync-site-") as folder:
        source, built = Path(folder) / "source", Path(folder) / "site"
        source.mkdir()
        stage(ROOT, source)
        _reference(source / "reference")
        subprocess.run([BIN / "sphinx-build", "-q", "-W", "--keep-going", "-j", "2", source, built], check=True)
        number, broken = broken_links(built)
        if broken or not number:
            raise SystemExit("\n".join(broken) or "the site has no link")
        (built / "index.html").write_text('<meta http-equiv="refresh" content="0; url=docs/README.html">\n')
        shutil.rmtree(built / ".doctrees")
        shutil.rmtree(SITE, ignore_errors=True)
        shutil.move(built, SITE)
    print(f"site: {len(list(SITE.rglob('*.html')))} pages, {number} internal links, none broken: {SITE}/index.html")


def _reference(folder: Path) -> None:
    """The pages of the plugins and the role, written by antsibull-docs."""
    folder.mkdir(mode=0o700)
    environment = {**os.environ, "PATH": f"{BIN}:{os.environ['PATH']}", "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg")}
    environment["ANSIBLE_COLLECTIONS_PATH"] = str(ROOT / "playbooks" / "collections")
    command = [BIN / "antsibull-docs", "collection", "--use-current", "--squash-hierarchy", "--fail-on-error"]
    command += ["--no-breadcrumbs", "--dest-dir", folder, "esync.mesh"]
    subprocess.run(command, env=environment, check=True)
    (folder / "environment_variables.rst").unlink()
    for path in folder.glob("*.rst"):
        text = _CONTENTS.sub("", path.read_text(encoding="utf-8"))
        path.write_text(_ANSIBLES_LABEL.sub(_ansibles_page, text), encoding="utf-8")


# The theme has a list of a page's headings of its own.
_CONTENTS = re.compile(r"(?m)^\.\. contents::\n(?: +:.*\n)*")
# A reference to what Ansible itself documents.
_ANSIBLES_LABEL = re.compile(
    r":ref:`([^`<]+) <(common_return_values|action_plugins|ansible_collections\.ansible\.builtin\.\w+)>`"
)
_ANSIBLES_PAGES = {
    "common_return_values": "reference_appendices/common_return_values",
    "action_plugins": "plugins/action",
}


def _ansibles_page(found: re.Match[str]) -> str:
    label = found[2]
    page = _ANSIBLES_PAGES.get(label) or label.replace("ansible_collections.", "collections/").replace(".", "/")
    return f"`{found[1]} <https://docs.ansible.com/ansible/latest/{page}.html>`__"


if __name__ == "__main__":
    main()
