# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A mesh with load-balanced clusters, for the tests of every report."""

from __future__ import annotations

from ansible_collections.esync.mesh.plugins.plugin_utils._inventory.membership import Cluster
from ansible_collections.esync.mesh.plugins.plugin_utils._report.builder import assemble
from ansible_collections.esync.mesh.plugins.plugin_utils._report.model import Mesh, ReportServer


def with_clusters() -> Mesh:
    """a calls the cluster of b through its balancer, and fails; c is not in the run."""
    servers = [ReportServer(name, "x", 1, "not_in_run" if name == "c" else "ok") for name in "abc"]
    failed = {"cluster": "web", "verdict": "failed", "cause": "not_tls", "detail": "<Seen>.", "remedy": "Repair it."}
    web, solo = Cluster("web", "::1", 8732, ("b",)), Cluster("solo", "lb", 9000, ("c",))
    calls = {"a": [failed, {"cluster": "solo", "verdict": "ok", "answered": {"c": 2}}]}
    return assemble(servers, {}, "nginx", clusters=[web, solo], connections=calls)
