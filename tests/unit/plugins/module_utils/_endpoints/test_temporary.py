# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import os

from endpoint_hosts import free_port, settings

from ansible_collections.esync.mesh.plugins.module_utils._endpoints import procedure
from ansible_collections.esync.mesh.plugins.module_utils._endpoints.places import Place
from ansible_collections.esync.mesh.plugins.module_utils._endpoints.temporary import TemporaryEndpoint


def test_there_is_nothing_to_do_between_runs(directory):
    asked = settings(directory, free_port(), restart=True)
    assert procedure.bring_up(TemporaryEndpoint, asked) == procedure.NOTHING
    assert procedure.take_down(TemporaryEndpoint, asked, "present") == procedure.NOTHING
    assert os.listdir(directory) == []


def test_nor_does_any_part_of_it_do_something(directory):
    endpoint = TemporaryEndpoint(settings(directory, free_port()))
    before = endpoint.observe()
    assert (before.missing, before.configuration, before.is_running) == (None, None, False)
    endpoint.configure("text")
    endpoint.validate()
    endpoint.reload()
    endpoint.restart()
    endpoint.undo(before, True)
    endpoint.remove()
    assert endpoint.served(Place(free_port())) is None
    assert os.listdir(directory) == []
