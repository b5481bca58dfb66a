# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Test mutual TLS from this server to many peers at once."""

from __future__ import annotations

from typing import Any, Dict, Mapping, Sequence

from ansible_collections.esync.mesh.plugins.module_utils._connection.probe import (
    PRESENT,
    Peer,
    ProbeSettings,
    probe,
    probe_clusters,
    probe_refusals,
)
from ansible_collections.esync.mesh.plugins.module_utils._connection.tls import read_trust
from ansible_collections.esync.mesh.plugins.module_utils._core.errors import EsyncError
from ansible_collections.esync.mesh.plugins.module_utils._steps.context import PROTOCOL, SERVER, Context
from ansible_collections.esync.mesh.plugins.module_utils._store.trust_folder import servers_in

SPEC: Dict[str, Any] = {
    **SERVER,
    "peers": {
        "type": "list",
        "elements": "dict",
        "required": True,
        "options": {
            "name": {"type": "str", "required": True},
            "address": {"type": "str", "required": True},
            "port": {"type": "int", "required": True},
            "expected": {"type": "dict"},
            "host": {"type": "str"},
            "site": {"type": "str"},
            "server_name": {"type": "str"},
            "protocol": PROTOCOL,
        },
    },
    "present": {"type": "str", "choices": list(PRESENT), "default": "current"},
    "expect": {"type": "str", "choices": ["accepted", "refused"], "default": "accepted"},
    "require": {
        "type": "list",
        "elements": "str",
        "choices": ["current", "next", "previous"],
        "default": ["current", "next", "previous"],
    },
    "known": {"type": "dict", "default": {}},
    "refusals": {"type": "list", "elements": "str", "default": []},
    "clusters": {
        "type": "list",
        "elements": "dict",
        "default": [],
        "options": {
            "name": {"type": "str", "required": True},
            "address": {"type": "str", "required": True},
            "port": {"type": "int", "required": True},
            "members": {"type": "list", "elements": "str", "required": True},
        },
    },
    "cluster_patience": {"type": "float", "default": 0},
    "concurrency": {"type": "int", "default": 16},
    "connect_timeout": {"type": "float", "default": 10},
    "answer_timeout": {"type": "float", "default": 15},
    "product_version": {"type": "str"},
    "trust_model": {"type": "str", "choices": ["pinned", "shared_keys"], "default": "pinned"},
}


_SETTINGS = (
    *("name", "directory", "present", "known", "concurrency", "connect_timeout", "answer_timeout"),
    *("product_version", "trust_model", "cluster_patience"),
)


def run(options: Mapping[str, Any], context: Context) -> Dict[str, Any]:
    """Test the peers, unless in check mode.

    :raises EsyncError: something is wrong that is not a finding about a pair.
    """
    if context.check:
        return {"changed": False, "results": [], "refusals": [], "clusters": []}
    peers = _peers(options["peers"], options["directory"])
    settings = ProbeSettings(
        **{name: options[name] for name in _SETTINGS},
        refused=options["expect"] == "refused",
        require=tuple(options["require"]),
    )
    clusters = [_cluster(one, peers) for one in options["clusters"]]
    # Before the rest, because a temporary endpoint ends as soon as all expected peers were served.
    refusals = probe_refusals([peer for peer in peers if peer.name in options["refusals"]], settings)
    balanced = probe_clusters([one for one in clusters if one.members], settings)
    return {"changed": False, "results": probe(peers, settings), "refusals": refusals, "clusters": balanced}


def _peers(given: Sequence[Mapping[str, Any]], directory: str) -> Sequence[Peer]:
    """The peers; what one may serve that nothing is said of is what the trust in force says."""
    trusted: Dict[str, Dict[str, str]] = {}
    if any(peer["expected"] is None for peer in given):
        try:
            trusted = servers_in(read_trust(directory).entries)
        except EsyncError:
            # The test itself says so, for each peer.
            trusted = {}
    return [
        Peer(
            name=peer["name"],
            address=peer["address"],
            port=peer["port"],
            expected=trusted.get(peer["name"], {}) if peer["expected"] is None else peer["expected"],
            site=peer["site"],
            server_name=peer["server_name"],
            protocol=peer["protocol"],
        )
        for peer in given
    ]


def _cluster(given: Mapping[str, Any], peers: Sequence[Peer]) -> Peer:
    """A cluster as the peer that the balancer is: it may present what any of its members may."""
    members = {peer.name: peer.expected for peer in peers if peer.name in given["members"]}
    expected = {fingerprint: state for one in members.values() for fingerprint, state in one.items()}
    return Peer(given["name"], given["address"], given["port"], expected, members=members)
