# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Write the documents that are made from the code: make docs."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
sys.path.insert(0, str(ROOT / "playbooks" / "collections"))

from ansible_collections.esync.mesh.plugins.module_utils._connection.cause_table import (
    BY_HAND,
    CAUSES,
    FOLLOWS_FROM_SERVER,
    RESTART_PEER,
    Cause,
)
from ansible_collections.esync.mesh.plugins.plugin_utils._report.problem_kinds import KINDS

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


SETTINGS = """\
# Settings

<!-- Made by `make docs` from roles/esync/defaults/main.yml and meta/argument_specs.yml: change them there. -->

Every setting is a variable of the role. Set it in the inventory, or with `-e` where its text says so. Values of all
members are [validated before any host is touched](establish.md#what-is-validated). A list may be text with commas, too.
"""


def settings() -> str:
    """Every setting, in the order and with the comments of the role's defaults."""
    specs = yaml.safe_load((ROOT / "roles/esync/meta/argument_specs.yml").read_text(encoding="utf-8"))["argument_specs"]
    parts = [SETTINGS]
    comment: list[str] = []
    for line in (ROOT / "roles/esync/defaults/main.yml").read_text(encoding="utf-8").splitlines():
        title = re.match(r"# --- (.+?) -+$", line)
        setting = re.match(r"(# )?(esync_\w+): ?(.*)$", line)
        if title:
            parts.append(f"\n## {title[1]}\n")
            comment = []
        elif setting and f"### `{setting[2]}`" not in "".join(parts):
            parts.append(_setting(setting[2], comment, specs))
            comment = []
        elif line.startswith("#"):
            comment.append(line[1:].removeprefix(" "))
        elif not line:
            comment = []
    return "".join(parts)


def _setting(name: str, comment: list[str], specs: dict[str, Any]) -> str:
    takers = [entry for entry, spec in specs.items() if name in (spec.get("options") or {})]
    option = specs[takers[0]]["options"][name]
    of = f" of {option['elements']}" if "elements" in option else ""
    facts = [f"{option['type']}{of}"]
    if "choices" in option:
        facts.append("one of " + ", ".join(f"`{choice}`" for choice in option["choices"]))
    if "default" in option:
        facts.append(f"default `{yaml.safe_dump(option['default'], default_flow_style=True).split(chr(10))[0]}`")
    if len(takers) < len(specs):
        facts.append("for " + ", ".join(entry for entry in takers if entry != "main"))
    text = "\n".join(comment) or " ".join(option["description"])
    # What a comment shows as an example, or as a row of a table, stays as it is.
    text = re.sub(r"(?m)^((?:  |esync_).*)$", r"    \1", text)
    text = re.sub(r"(?m)(?<!^    )(?<! \n)^(    .*(?:\n    .*)*)", r"\n\1\n", text)
    text = re.sub(r"docs/([\w-]+\.md)", r"[\1](\1)", text)
    return f"\n### `{name}`\n\n{'; '.join(facts)}\n\n{text.strip(chr(10))}\n"


ERROR_KINDS = """\
# Error kinds

<!-- Made by `make docs` from the errors in plugins: change them there. -->

A task that fails returns `error` with a `kind` for programs, besides `cause`, `remedy`, `server` and `path` for people.
What differs from case to case is in capitals here. Causes of failed *pairs* are in [diagnosis.md](diagnosis.md), and
[check.md](check.md#problems-of-servers) says which kinds fail a check.
"""


def error_kinds() -> str:
    """Every kind, with what its errors say, and the command that repairs it if there is one."""
    found: dict[str, list[str]] = {}
    for path in sorted((ROOT / "plugins").rglob("*.py")):
        for kind, cause, remedy in _errors(ast.parse(path.read_text(encoding="utf-8"))):
            says = f"{_sentence(cause)} {_sentence(remedy)}"
            # Elsewhere the same error is passed on, with nothing of its own in it.
            if says not in found.setdefault(kind, []) and not re.fullmatch(r"[A-Z_]+\. [A-Z_]+\.", says):
                found[kind].append(says)
    for kind, row in KINDS.items():
        if row.remedy or kind not in found:
            found.setdefault(kind, []).insert(0, " ".join(_sentence(part) for part in (row.cause, row.remedy) if part))
    return ERROR_KINDS + "".join(_kind(kind, found[kind]) for kind in sorted(found) if found[kind])


def _kind(kind: str, says: list[str]) -> str:
    command = KINDS[kind].command.format(server="NAME", left="NAME") if kind in KINDS else ""
    lines = [f"- {text}" for text in says] if len(says) > 1 else says
    return f"\n## `{kind}`\n\n" + "\n".join(lines) + (f"\n\nCommand: `{command}`\n" if command else "\n")


def _errors(tree: ast.Module) -> Iterator[tuple[str, str, str]]:
    """The kind, the cause and the remedy of each error that a file raises with a kind of its own."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call) or len(node.args) < 2:
            continue
        for keyword in node.keywords:
            if keyword.arg == "kind" and isinstance(keyword.value, ast.Constant):
                yield keyword.value.value, _text(node.args[0]), _text(node.args[1])


def _text(node: ast.expr) -> str:
    """A text as it stands in the source, with what is put into it in capitals."""
    if isinstance(node, ast.Constant):
        return str(node.value)
    if isinstance(node, ast.JoinedStr):
        return "".join(_text(part) for part in node.values)
    if isinstance(node, ast.FormattedValue):
        return _text(node.value)
    if isinstance(node, ast.BinOp):
        return _text(node.left) + _text(node.right)
    if isinstance(node, ast.IfExp):
        return _text(node.body) or _text(node.orelse)
    names = [part.id for part in ast.walk(node) if isinstance(part, ast.Name)]
    names += [part.attr for part in ast.walk(node) if isinstance(part, ast.Attribute)]
    return names[-1].strip("_").upper() if names else "..."


def _sentence(text: str) -> str:
    text = text.strip().replace("<", "\\<")
    begun = text if text.startswith("esync_") else text[:1].upper() + text[1:]
    return begun.rstrip(".") + "."


MODULES = """\
# Modules, role and playbooks

<!-- Made by `make docs` from plugins/modules, roles/esync/meta/argument_specs.yml and playbooks: change them there. -->

`ansible-doc esync.mesh.NAME` shows all options, examples and returned values of a module. So does its page on the site
that `make docs-site` builds.
"""


def modules() -> str:
    """A line for each module, entry point and playbook."""
    specs = yaml.safe_load((ROOT / "roles/esync/meta/argument_specs.yml").read_text(encoding="utf-8"))["argument_specs"]
    parts = [MODULES, "\n## Modules\n\n| module | what it does |\n| --- | --- |\n"]
    for path in sorted((ROOT / "plugins" / "modules").glob("*.py")):
        documentation = re.search(r'DOCUMENTATION = r?"""(.*?)"""', path.read_text(encoding="utf-8"), re.S)
        assert documentation, path
        what = yaml.safe_load(documentation[1])["short_description"]
        parts.append(f"| [`{path.stem}`](../plugins/modules/{path.name}) | {what} |\n")
    parts.append("\n## Role\n\n[`esync.mesh.esync`](../roles/esync/README.md) has these entry points:\n\n")
    parts.append("| `tasks_from` | what it does |\n| --- | --- |\n")
    parts += [f"| `{entry}` | {spec['short_description']} |\n" for entry, spec in specs.items()]
    parts.append("\n## Playbooks\n\n| playbook | what it does |\n| --- | --- |\n")
    parts += [
        f"| `esync.mesh.{entry}` | {spec['short_description']} |\n"
        for entry, spec in specs.items()
        if (ROOT / "playbooks" / f"{entry}.yml").exists()
    ]
    return "".join(parts)


def documents() -> dict[str, str]:
    """The text of each document by its file name."""
    return {
        "diagnosis.md": DIAGNOSIS + markdown().rstrip("\n") + "\n",
        "error-kinds.md": error_kinds(),
        "modules.md": modules(),
        "settings.md": settings(),
    }


def main() -> None:
    for name, text in documents().items():
        (HERE / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
