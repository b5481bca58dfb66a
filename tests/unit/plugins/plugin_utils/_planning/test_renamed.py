# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A server gets another name in the way that its refusal tells."""

from __future__ import annotations

import pytest

from .model_mesh import Model


@pytest.mark.parametrize("model_name", ["pinned", "shared_keys"])
@pytest.mark.parametrize("new", ["d", "C"])
def test_the_way_that_the_refusal_tells_ends_well(established: Model, new: str, model_name: str) -> None:
    if model_name == "shared_keys":
        established.run("regenerate", trust_model="shared_keys")
    established.names = ["a", "b", new]
    host = established.hosts.pop("c")
    host.name = new
    established.hosts[new] = host
    refused = established.run("establish", trust_model=model_name)
    assert f"esync_discard_existing={new}, then remove with -e esync_remove=c" in refused.failures[0]
    for operation, options in (("establish", {"discard": [new]}), ("remove", {"remove": ["c"]}), ("establish", {})):
        run = established.run(operation, trust_model=model_name, **options)
        assert not run.failures
    assert len(established.works()) == 6
    assert not any(one["peer"] == "c" for host in established.hosts.values() for one in host.trust or ())
    assert not run.written
