# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""``mesh.xml``: the mesh as a CI system shows it, a suite for each server that calls, a case for each pair.

JUnit has no standard; this is what Jenkins, GitLab and the xunit schema of pytest have in common.
"""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections.abc import Sequence

from ansible_collections.esync.mesh.plugins.plugin_utils.matrix import FAILED, OK, Mesh, Pair, title_of

# What XML 1.0 cannot hold in any form (https://www.w3.org/TR/xml/#charsets), lone surrogates among it.
_FORBIDDEN = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def document(mesh: Mesh, generated_at: str) -> str:
    """The content of ``mesh.xml``.

    A failed pair is a failure, one that should have been tested and was not an error, one outside the run is skipped.

    :param generated_at: UTC.
    """
    by_source: dict[str, list[Pair]] = {server.name: [] for server in mesh.servers}
    for pair in mesh.pairs:
        by_source[pair.source].append(pair)
    top = ET.Element("testsuites", {"name": "esync.mesh", **_counts(mesh.pairs)})
    for name, pairs in by_source.items():
        suite = ET.SubElement(top, "testsuite", {"name": _clean(name), **_counts(pairs)})
        # The schema wants no time zone; the time is UTC.
        suite.set("timestamp", generated_at.rstrip("Z"))
        for pair in pairs:
            _add_case(suite, pair)
    ET.indent(top, " ")
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{ET.tostring(top, encoding="unicode")}\n'


def _counts(pairs: Sequence[Pair]) -> dict[str, str]:
    outcomes = [_outcome(pair) for pair in pairs]
    seconds = sum(pair.handshake_ms or 0 for pair in pairs) / 1000
    return {
        "tests": str(len(pairs)),
        "failures": str(outcomes.count("failure")),
        "errors": str(outcomes.count("error")),
        "skipped": str(outcomes.count("skipped")),
        "time": f"{seconds:.4f}",
    }


def _add_case(suite: ET.Element, pair: Pair) -> None:
    case = ET.SubElement(suite, "testcase", {"classname": _clean(pair.source), "name": _clean(pair.label)})
    case.set("time", f"{(pair.handshake_ms or 0) / 1000:.4f}")
    outcome = _outcome(pair)
    if outcome is None:
        return
    found = ET.SubElement(case, outcome, {"message": _clean(title_of(pair) or pair.detail)})
    if outcome != "skipped":
        found.set("type", _clean(pair.cause or pair.verdict))
    found.text = _clean("\n".join(text for text in (pair.cause, pair.detail, pair.remedy) if text))


def _outcome(pair: Pair) -> str | None:
    if pair.verdict == OK:
        return None
    if pair.verdict == FAILED:
        return "failure"
    return "error" if pair.in_scope else "skipped"


def _clean(text: str) -> str:
    return _FORBIDDEN.sub("\ufffd", text)
