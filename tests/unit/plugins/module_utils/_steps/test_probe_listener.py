# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.esync.mesh.plugins.module_utils._connection.listener import lock_path
from ansible_collections.esync.mesh.plugins.module_utils._core.errors import EsyncError


def test_started_and_not_in_check_mode(host: Any) -> None:
    alpha = host("alpha")
    made = alpha.make()
    with pytest.raises(EsyncError) as caught:
        alpha.do("probe_listener", address="127.0.0.1", port=0)
    assert caught.value.to_result()["error"]["kind"] == "no_trust"
    alpha.trust(host("bravo").make())
    checked = alpha.do("probe_listener", address="127.0.0.1", port=0, check=True)
    assert checked == {"step": "probe_listener", "changed": True}
    started = alpha.do("probe_listener", address="127.0.0.1", port=0, lifetime=60)
    os.kill(started["pid"], signal.SIGKILL)
    Path(lock_path(str(alpha.directory))).unlink(missing_ok=True)
    assert started["fingerprint"] == made["generations"][0]["server"]["fingerprint"]
