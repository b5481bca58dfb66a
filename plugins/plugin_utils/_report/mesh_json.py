# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""``mesh.json``, for programs; docs/verify.md describes every field, which is part of the interface."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from ansible_collections.esync.mesh.plugins.plugin_utils._inventory import clusters as balanced
from ansible_collections.esync.mesh.plugins.plugin_utils._report.model import (
    CODES,
    FAILED,
    LARGE,
    OUTSIDE,
    UNTESTED,
    Mesh,
    Refusal,
    ReportPair,
    summary,
)

VERSION = 2

PAIR_LIMIT = LARGE * (LARGE - 1)
"""Never more pairs than the largest mesh has that is listed completely."""


def to_json(mesh: Mesh, generated_at: str) -> dict[str, Any]:
    """The content of ``mesh.json``.

    :param generated_at: UTC.
    """
    return {
        "version": VERSION,
        "generated_at": generated_at,
        "mesh": mesh.name,
        "servers": [asdict(server) for server in mesh.servers],
        "pairs": [_pair(pair) for pair in _listed(mesh)],
        "pairs_complete": not mesh.large,
        "summary": summary(mesh),
        "pending": [asdict(update) for update in mesh.pending],
        "problems": [asdict(problem) for problem in mesh.problems],
        "refusals": [_refusal(refusal) for refusal in mesh.refusals],
        "clusters": balanced.to_json(mesh.clusters, mesh.connections),
        "trust_model": mesh.trust_model,
    }


def text(mesh: Mesh, generated_at: str, _before: str = "") -> str:
    """The file: a line for each entry of a list, so that it stays small and differences stay readable."""
    fields = [f" {_dump(key)}: {_value(value)}" for key, value in to_json(mesh, generated_at).items()]
    return "{\n" + ",\n".join(fields) + "\n}\n"


def _value(value: Any) -> str:
    if isinstance(value, list) and value:
        return "[\n  " + ",\n  ".join(map(_dump, value)) + "\n ]"
    return _dump(value)


def _dump(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _listed(mesh: Mesh) -> Iterator[ReportPair]:
    """Every pair of a mesh that is not large; else those that are not ok, the worst first where they are too many."""
    if not mesh.large:
        yield from mesh.pairs
        return
    kinds = (CODES[FAILED], CODES[UNTESTED], OUTSIDE)
    fits = sum(map(mesh.pairs.count, kinds)) <= PAIR_LIMIT
    found = 0
    for codes in ["".join(kinds)] if fits else kinds:
        for index in mesh.pairs.find(codes):
            if found == PAIR_LIMIT:
                return
            found += 1
            yield mesh.pairs.at(index)


def _pair(pair: ReportPair) -> dict[str, Any]:
    return {
        "from": pair.source,
        "to": pair.target,
        "site": pair.site,
        "verdict": pair.verdict,
        "cause": pair.cause,
        "detail": pair.detail,
        "remedy": pair.remedy,
        "handshake_ms": pair.handshake_ms,
        "tls": pair.tls,
        "server_fingerprint": pair.server_fingerprint,
        "client_fingerprint": pair.client_fingerprint,
    }


def _refusal(refusal: Refusal) -> dict[str, Any]:
    data = asdict(refusal)
    return {"from": data.pop("source"), "to": data.pop("target"), **data}
