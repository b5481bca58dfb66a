# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import dataclasses

from probed_meshes import decided, numbered

from ansible_collections.esync.mesh.plugins.plugin_utils._report.grouping import group_pairs


def test_both_directions_of_one_remedy_are_one_cause():
    def decide(source, target):
        return {"s001": "expired"}.get(target)

    mesh = decided(numbered(5), decide)
    other = [pair for pair in mesh.pairs if pair.source == "s001"]
    both = [
        *mesh.wrong,
        *(dataclasses.replace(mesh.wrong[0], source="s001", target=p.target, cause="x") for p in other),
    ]
    (cause,) = group_pairs(both)
    assert cause.servers == ("s001",)
    assert cause.causes == ("expired", "x")
    assert len(cause.pairs) == 8


def test_different_remedies_are_different_causes():
    names = numbered(6)
    mesh = decided(names, lambda source, target: {"s001": "refused"}.get(target) or {"s001": "silent"}.get(source))
    assert [(cause.servers, cause.causes, len(cause.pairs)) for cause in group_pairs(mesh.wrong)] == [
        (("s001",), ("refused",), 5),
        (("s001",), ("silent",), 5),
    ]


def test_every_wrong_pair_is_in_one_cause():
    names = numbered(40)
    mesh = decided(names, lambda source, target: "abc"[int(source[1:]) % 3] if int(target[1:]) % 7 == 0 else None)
    found = group_pairs(mesh.wrong)
    labels = [pair.label for cause in found for pair in cause.pairs]
    assert sorted(labels) == sorted(pair.label for pair in mesh.wrong)
    assert [len(cause.pairs) for cause in found] == sorted((len(cause.pairs) for cause in found), reverse=True)


def test_whose_certificates_have_expired_is_blamed_and_nobody_else():
    names = numbered(3)
    mesh = decided(names, lambda source, target: "server_certificate_expired")
    found = group_pairs(mesh.wrong, set(names))
    assert {cause.servers: {pair.target for pair in cause.pairs} for cause in found} == {
        (name,): {name} for name in names
    }
    # By one clock that is fast all others have expired, and none of them says so of itself.
    mesh = decided(names, lambda source, target: "server_certificate_expired" if source == "s001" else None)
    assert [cause.servers for cause in group_pairs(mesh.wrong, set())] == [("s001",)]


def test_what_is_wrong_with_the_callers_own_files_is_the_callers():
    names = numbered(3)
    mesh = decided(names, lambda source, target: "client_certificate_expired" if source != "s000" else None)
    found = group_pairs(mesh.wrong, {"s001", "s002"})
    assert {cause.servers: {pair.source for pair in cause.pairs} for cause in found} == {
        ("s001",): {"s001"},
        ("s002",): {"s002"},
    }
