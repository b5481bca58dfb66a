# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations


class ModuleDocFragment:
    """What attributes mean; each module says which support it has. No other collection is needed for them."""

    DOCUMENTATION = r"""
attributes:
  check_mode:
    description: Can run in check mode, and says what would change without changing it.
  diff_mode:
    description: Returns what changed, or would change in check mode, when in diff mode.
"""

    LINUX = r"""
attributes:
  platform:
    description: The operating systems of the hosts that it runs on.
    support: full
    platforms: linux
"""

    CONTROL_NODE = r"""
attributes:
  platform:
    description: The operating systems of the control node, where it runs; it touches no host.
    support: full
    platforms: posix
"""

    MESH_GROUP = r"""
attributes:
  action_group:
    description: Options that all modules of the group take can be given once, by C(module_defaults).
    support: full
    membership:
      - esync.mesh.mesh
"""
